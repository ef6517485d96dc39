"""ONNX: a file for each function, which ONNX Runtime and others run; weights constant."""

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from dentalzoo.errors import require
from dentalzoo.exporters import _frozen
from dentalzoo.exporters._quiet import without_chatter

NAME = "onnx"
SUFFIX = ""
BOUND = 0.005
FAMILIARITY = True
PACKAGES: Mapping[str, str] = {"tf2onnx": "onnx", "onnxruntime": "onnx"}
_OPSET = 18
_IMAGE_AXES = {  # of the tensors of 4 and 5 axes
    4: ("batch", "height", "width", "channels"),
    5: ("batch", "views", "height", "width", "channels"),
}


def export(
    model: Any,
    path: Path,
    functions: Mapping[str, Any],
    samples: Mapping[str, Sequence[Mapping[str, Any]]],
) -> Path:
    """Write NAME.onnx of each function, interface.json, and weights.bin, to the new folder `path`.

    Functions that decode image files are left out; interface.json says which, and what to do
    instead. Random numbers are drawn outside, see `_noise`: they are an input of the file. Weights
    that the bundle stores in int8 or float16 are stored so here, see `_packed`. ONNX Runtime
    decodes them, and folds the batch normalisations, when it loads a file.

    Raises:
        DentalzooError: a package is missing, or a function cannot be converted.
    """
    from dentalzoo.exporters import _packed, _shared

    def convert(_: str, module: Any) -> bytes:
        return _packed.packed(converted(module))

    return _shared.share(_frozen.write(path, functions, ".onnx", _frozen.LACKING, convert))


def converted(module: Any) -> bytes:
    """Return the content of the ONNX file of a module of `_frozen.freeze`."""
    from dentalzoo.exporters import _upsampling

    tf2onnx, function = require("tf2onnx", "onnx"), module.function
    logging.getLogger("tf2onnx").setLevel(logging.CRITICAL)
    expected = {spec.name for spec in function.input_signature}
    with without_chatter():
        proto, _ = tf2onnx.convert.from_function(
            function, input_signature=function.input_signature, opset=_OPSET
        )
    inputs = {tensor.name for tensor in proto.graph.input}
    if inputs != expected:
        raise ValueError(f"the inputs became {sorted(inputs)}")
    for tensor in (*proto.graph.input, *proto.graph.output):
        _name_axes(tensor)
    return _upsampling.joined(proto.SerializeToString())


def _name_axes(tensor: Any) -> None:
    """Name the axes of an input or output whose length is not fixed, for who looks at the file."""
    axes = tensor.type.tensor_type.shape.dim
    names = _IMAGE_AXES.get(len(axes), ("batch",))
    for index, axis in enumerate(axes):
        if not axis.HasField("dim_value"):
            axis.dim_param = names[index] if index < len(names) else f"{tensor.name}_{index}"


def session_options() -> Any:
    """Return the `onnxruntime.SessionOptions` of all sessions.

    As many threads as there are cores for this process, of which ONNX Runtime knows nothing; they
    do not wait in loops, which takes half as much time again from a process of one core. On x86
    processors without VNNI, products of int8 files are summed without saturating, if slower.
    """
    options = require("onnxruntime", "runtime").SessionOptions()
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.x64quantprecision", "1")
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
        if cores < (os.cpu_count() or 1):
            options.intra_op_num_threads = cores
    return options


def load(path: Path) -> Mapping[str, Callable[..., dict[str, Any]]]:
    """Load the files of a folder with ONNX Runtime, name -> function of named arrays."""
    ort = require("onnxruntime", "runtime")

    def run(file: Path, outputs: list[str]) -> Callable[..., dict[str, Any]]:
        session = ort.InferenceSession(
            str(file), session_options(), providers=["CPUExecutionProvider"]
        )
        return lambda **arrays: dict(zip(outputs, session.run(outputs, arrays), strict=True))

    return _frozen.load(path, ".onnx", run)
