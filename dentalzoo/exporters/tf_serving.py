"""TensorFlow Serving: a SavedModel in a folder of versions."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from dentalzoo.exporters import saved_model

NAME = "tf_serving"
SUFFIX = ""
BOUND = 0.005
FAMILIARITY = True
PACKAGES: Mapping[str, str] = {}

_VERSION = "1"


def export(
    model: Any,
    path: Path,
    functions: Mapping[str, Any],
    samples: Mapping[str, Sequence[Mapping[str, Any]]],
) -> Path:
    """Write `path`/1, a SavedModel, whose serving_default is that of `exporters.saved_model`."""
    path.mkdir()
    saved_model.export(model, path / _VERSION, functions, samples)
    return path


def load(path: Path) -> Mapping[str, Callable[..., dict[str, Any]]]:
    """Load the SavedModel of the folder, name -> function of named arrays."""
    return saved_model.load(path / _VERSION)
