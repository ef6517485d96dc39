"""ONNX with the convolutions in int8: a quarter of the size, and faster on a CPU."""

import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from dentalzoo.errors import require
from dentalzoo.exporters import _frozen, onnx

NAME = "onnx-int8"
SUFFIX = ""
BOUND = 0.05
FAMILIARITY = True
PACKAGES: Mapping[str, str] = {"tf2onnx": "onnx", "onnxruntime.quantization": "onnx"}

_CONVOLUTIONS = ("Conv", "ConvTranspose")
_IN_FLOAT32 = ("familiarity",)  # its bounds were learned from activations in float32


def export(
    model: Any,
    path: Path,
    functions: Mapping[str, Any],
    samples: Mapping[str, Sequence[Mapping[str, Any]]],
) -> Path:
    """Write NAME.onnx of each function, interface.json, and weights.bin, to the new folder `path`.

    As `exporters.onnx`, with the convolutions, and what lies between them, in int8 (static
    quantization, QDQ, a scale for each channel); the activations are calibrated on `samples`. What
    comes before the first and after the last convolution, such as resizing, stays in float32, and
    so does `familiarity`.

    Raises:
        DentalzooError: a package is missing, or a function cannot be converted.
    """
    from dentalzoo.exporters import _packed, _shared

    def convert(name: str, module: Any) -> bytes:
        content = onnx.converted(module)
        if name not in _IN_FLOAT32:
            content = _quantized(content, _frozen.inputs_of(module, samples[name]))
        return _packed.packed(content)

    return _shared.share(_frozen.write(path, functions, ".onnx", _frozen.LACKING, convert))


def _quantized(content: bytes, samples: Sequence[Mapping[str, Any]]) -> bytes:
    quantization = require("onnxruntime.quantization", "onnx")
    prepare = require("onnxruntime.quantization.shape_inference", "onnx").quant_pre_process
    read = require("onnx", "onnx").load

    class Samples(quantization.CalibrationDataReader):  # type: ignore[name-defined,misc]
        def __init__(self) -> None:
            self.left = iter(samples)

        def get_next(self) -> Any:
            return next(self.left, None)

    with tempfile.TemporaryDirectory() as folder:
        float32, prepared, int8 = (os.path.join(folder, f"{n}.onnx") for n in range(3))
        Path(float32).write_bytes(content)
        # Without the inference of shapes, which fails where sizes are not known.
        prepare(float32, prepared, skip_symbolic_shape=True)
        nodes = _between_convolutions(read(prepared).graph)
        if not nodes:
            return content
        quantization.quantize_static(
            prepared,
            int8,
            Samples(),
            quant_format=quantization.QuantFormat.QDQ,
            per_channel=True,
            # Of int8, what several operations read stays in float32: types that ONNX Runtime mixes.
            activation_type=quantization.QuantType.QUInt8,
            nodes_to_quantize=nodes,
        )
        quantized = read(int8)
        _part(quantized.graph)
        parted: bytes = quantized.SerializeToString()
        return parted


def _part(graph: Any) -> None:
    """Give each convolution weights of its own, where several, as heads of pyramids, share them.

    For processors without VNNI ONNX Runtime writes weights anew for each convolution that reads
    them, under one name, and fails at the second time. Equal ones are in the file once, `_shared`.
    """
    weights = {tensor.name: tensor for tensor in graph.initializer}
    decoders = {
        node.output[0]: node
        for node in graph.node
        if node.op_type == "DequantizeLinear" and node.input[0] in weights
    }
    seen, nodes = set(), []
    for node in list(graph.node):
        for place, name in enumerate(node.input):
            if name in decoders and name in seen:
                copy = type(node)()
                copy.CopyFrom(decoders[name])
                end = f"/{len(graph.initializer)}"
                for index, part in enumerate(copy.input):
                    graph.initializer.add().CopyFrom(weights[part])
                    copy.input[index] = graph.initializer[-1].name = part + end
                copy.name, copy.output[0] = copy.name + end, name + end
                node.input[place] = copy.output[0]
                nodes.append(copy)
            seen.add(name)
        nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)


def _between_convolutions(graph: Any) -> list[str]:
    """Return the names of the convolutions and of the nodes that lie on a path between two."""
    of_tensor = {tensor: node for node in graph.node for tensor in node.output}
    before: dict[str, set[str]] = {}  # node -> itself and all that it depends on
    after_one: set[str] = set()
    for node in graph.node:  # in topological order
        sources = [of_tensor[tensor] for tensor in node.input if tensor in of_tensor]
        before[node.name] = {node.name}.union(*(before[source.name] for source in sources))
        if node.op_type in _CONVOLUTIONS or any(source.name in after_one for source in sources):
            after_one.add(node.name)
    needed = {
        name for node in graph.node if node.op_type in _CONVOLUTIONS for name in before[node.name]
    }
    return [node.name for node in graph.node if node.name in needed & after_one]


def load(path: Path) -> Mapping[str, Callable[..., dict[str, Any]]]:
    """Load the files of a folder with ONNX Runtime, name -> function of named arrays."""
    return onnx.load(path)
