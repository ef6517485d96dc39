"""A model on disk: save, verify, load, download. docs/bundle_format.md has the details."""

from dentalzoo.bundle.format import Bundle as Bundle
from dentalzoo.bundle.format import add_metrics as add_metrics
from dentalzoo.bundle.format import export as export
from dentalzoo.bundle.format import find as find
from dentalzoo.bundle.format import load as load
from dentalzoo.bundle.format import reexport as reexport
from dentalzoo.bundle.format import task_on_disk as task_on_disk
from dentalzoo.bundle.format import verify as verify
