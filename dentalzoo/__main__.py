"""`python -m dentalzoo` is the `dentalzoo` command."""

import sys

from dentalzoo.cli import main

sys.exit(main())
