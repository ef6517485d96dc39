#!/usr/bin/env python3
"""Write the table of released bundles in dentalzoo/bundle/released.py from pretrained/.

    python tools/released_sums.py          # rewrites the table
    python tools/released_sums.py --check  # returns 1 where it is not that of pretrained/

Each bundle must be whole: `dentalzoo verify` its folder first. The script needs the standard
library only.
"""

import argparse
import hashlib
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MODULE = "dentalzoo/bundle/released.py"
TABLE = re.compile(r"^RELEASED: Mapping\[str, str\] = \{.*?\}$", re.MULTILINE | re.DOTALL)


def table(root: Path = ROOT) -> str:
    """Return the table as Python: each bundle with the SHA-256 of its SHA256SUMS."""
    lines = [
        f'    "{folder.name}": (\n'
        f'        "{hashlib.sha256((folder / "SHA256SUMS").read_bytes()).hexdigest()}"\n    ),\n'
        for folder in sorted((root / "pretrained").iterdir())
    ]
    return f"RELEASED: Mapping[str, str] = {{\n{''.join(lines)}}}"


def main(arguments: list[str] | None = None, root: Path = ROOT) -> int:
    """Write the table, or compare it; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare only, write nothing")
    options = parser.parse_args(arguments)
    file = root / MODULE
    old = file.read_text(encoding="utf-8")
    new = TABLE.sub(lambda _: table(root), old)
    if new == old:
        return 0
    if options.check:
        print(f"released_sums: {MODULE} is not that of pretrained/; run it", file=sys.stderr)
        return 1
    file.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
