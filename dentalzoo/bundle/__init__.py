"""A model on disk: save, verify, load, download. docs/bundle_format.md has the details."""

from dentalzoo.bundle.calibrating import Calibrate as Calibrate
from dentalzoo.bundle.converting import add_runtime as add_runtime
from dentalzoo.bundle.converting import convert as convert
from dentalzoo.bundle.loaded import Bundle as Bundle
from dentalzoo.bundle.loaded import Signature as Signature
from dentalzoo.bundle.metadata import Metadata as Metadata
from dentalzoo.bundle.pushing import push as push
from dentalzoo.bundle.reading import find as find
from dentalzoo.bundle.reading import identify as identify
from dentalzoo.bundle.reading import load as load
from dentalzoo.bundle.reading import task_on_disk as task_on_disk
from dentalzoo.bundle.reading import verify as verify
from dentalzoo.bundle.writing import add_metrics as add_metrics
from dentalzoo.bundle.writing import export as export
from dentalzoo.bundle.writing import reexport as reexport
