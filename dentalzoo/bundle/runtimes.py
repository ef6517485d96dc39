"""What computes a bundle's signatures: TensorFlow, or a light runtime that it has files for.

A bundle holds a SavedModel, or the folder of another exporter, or several of them. A runtime that
lacks a function, such as one that decodes image files, leaves it to TensorFlow where there is a
SavedModel too.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from dentalzoo.bundle import guard
from dentalzoo.bundle.metadata import Metadata
from dentalzoo.bundle.schema import shown
from dentalzoo.environment import prepare_tensorflow
from dentalzoo.errors import DentalzooError, MissingPackage, reason_of
from dentalzoo.exporters import EXPORTERS, saved_model
from dentalzoo.limits import limited

if TYPE_CHECKING:
    import numpy as np


Function = Callable[..., "dict[str, np.ndarray]"]


class Runtime(NamedTuple):
    """A runtime: its folder in a bundle, its module, its extra, the exporters that write for it."""

    folder: str
    module: str
    extra: str
    exporters: tuple[str, ...]


# The first that a bundle has files for, and that is installed, is taken.
RUNTIMES: Mapping[str, Runtime] = {
    "onnxruntime": Runtime("onnx", "onnxruntime", "runtime", ("onnx", "onnx-int8")),
    "litert": Runtime("litert", "ai_edge_litert", "litert", ("litert", "litert-int8")),
    "tensorflow": Runtime("saved_model", "tensorflow", "tensorflow", ("saved_model",)),
}
LIGHT: Mapping[str, str] = {
    exporter: runtime.folder
    for name, runtime in RUNTIMES.items()
    if name != "tensorflow"
    for exporter in runtime.exporters
}
"""Exporter -> its folder in a bundle, of the runtimes without TensorFlow."""

VARIABLE = "DENTALZOO_RUNTIME"


def choose(path: Path, wanted: str | None = None) -> str:
    """Return the runtime that computes a bundle.

    Args:
        path: its folder.
        wanted: a name of RUNTIMES, or "auto": the first one possible. None: the environment
            variable DENTALZOO_RUNTIME, else "auto".

    Raises:
        DentalzooError: there is no such runtime, or the bundle has no files for it.
        MissingPackage: it is not installed.
    """
    wanted = wanted or os.environ.get(VARIABLE) or "auto"
    if wanted != "auto" and wanted not in RUNTIMES:
        raise DentalzooError(
            f"runtime must be one of: auto, {', '.join(RUNTIMES)}. Received: {wanted!r}"
        )
    held = [name for name, runtime in RUNTIMES.items() if (path / runtime.folder).is_dir()]
    possible = [name for name in held if find_spec(RUNTIMES[name].module)]
    if wanted in possible or wanted == "auto" and possible:
        return possible[0] if wanted == "auto" else wanted
    if wanted in held or wanted == "auto" and held:
        missing = wanted if wanted in held else held[-1]
        raise MissingPackage(
            f"{missing} must be installed to run this bundle: pip install "
            f"'dentalzoo[{RUNTIMES[missing].extra}]'. Received: {path}"
        )
    raise DentalzooError(
        f"the bundle must hold files for {'a runtime' if wanted == 'auto' else wanted}; it holds "
        f"them for: {', '.join(held) or 'none'}. Received: {path}"
    )


class Functions(Mapping[str, Function]):
    """The functions of a bundle by the name of their signature: named arrays -> arrays by name.

    Args:
        path: the folder of a bundle whose files are verified.
        metadata: its metadata.
        runtime: a name of RUNTIMES, possible for it.

    Raises:
        DentalzooError: the graph of a SavedModel could do more than compute, or its functions are
            not those of the metadata; nothing was run.
    """

    def __init__(self, path: Path, metadata: Metadata, runtime: str) -> None:
        self._path, self._specs = path, metadata["signatures"]
        self._light: Mapping[str, Function] = {}
        self._limited: dict[str, Function] = {}
        if runtime == "tensorflow":
            self._saved_model  # noqa: B018  # a bad one must fail now, not at the first call
        else:
            folder = RUNTIMES[runtime].folder
            self._light = EXPORTERS[folder].load(path / folder)

    def __len__(self) -> int:
        return len(self._specs)

    def __iter__(self) -> Iterator[str]:
        return iter(self._specs)

    def __getitem__(self, name: str) -> Function:
        if name not in self._limited:  # kept, since a call that does not end bars others
            function = self._light[name] if name in self._light else self._saved_model[name]
            self._limited[name] = limited(name, function)
        return self._limited[name]

    def read_weights(self) -> "list[np.ndarray]":
        """Return the weights in float32, in the order of `model.weights` when it was exported.

        Raises:
            DentalzooError: the bundle has no SavedModel.
        """
        saved: list[np.ndarray] = limited("read_weights", self._saved_model.read_weights)()
        return saved

    def read_familiarity(self) -> "list[np.ndarray]":
        """Return the statistics of the training images; empty where the bundle has none.

        Raises:
            DentalzooError: the bundle has no SavedModel.
        """
        saved: list[np.ndarray] = limited("read_familiarity", self._saved_model.read_familiarity)()
        return saved

    @cached_property
    def _saved_model(self) -> saved_model.SavedModel:
        folder = self._path / RUNTIMES["tensorflow"].folder
        if not folder.is_dir():
            raise DentalzooError(
                "this needs a bundle with a SavedModel, for the functions that other runtimes lack "
                f"and for the weights. Received: {self._path}"
            )
        choose(self._path, "tensorflow")
        prepare_tensorflow()
        guard.refuse_unsafe_graph(self._path)
        try:
            loaded = saved_model.load(folder)
        except Exception as error:  # parts that do not fit together raise errors of any class
            raise DentalzooError(
                f"{self._path}: the SavedModel is corrupt or incomplete. "
                f"Received: {reason_of(error)}"
            ) from error
        _compare(self._path, self._specs, loaded.described())
        return loaded


def _compare(path: Path, specs: Mapping[str, Any], described: Mapping[str, Any]) -> None:
    """Refuse a bundle whose functions are not those that its metadata describe."""
    for name in sorted(specs.keys() | described.keys()):
        spec = specs.get(name)
        if spec is None or name not in described:
            received = f"{name}, in {'metadata.json' if spec else 'saved_model'} only"
        elif spec != described[name]:
            received = f"{name} with {shown(described[name])}"
        else:
            continue
        raise DentalzooError(
            f"{path}: the signatures of saved_model must be those of metadata.json. "
            f"Received: {received}"
        )
