"""Read an ONNX file without ONNX Runtime, and check what it would compute.

The part of the format that matters here is declared below, as the light install has no package of
ONNX. Nothing of these files can reach a file but through constants that lie outside, in a file that
is named; and none ends late without a loop.
"""

import math
import struct
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from dentalzoo.bundle.guard.refusal import Unsafe, shown
from dentalzoo.bundle.guard.tensors import CONSTANTS, ELEMENTS
from dentalzoo.bundle.paths import is_safe_name

WEIGHTS = ".bin"
"""The end of the name of a file of constants beside the ONNX files."""

_LARGEST = 2**28  # bytes of a file
_DEPTH = 8  # of branches in branches
_FEW = 64  # values of a constant that may be a size

# The operations that a file may consist of, each of ONNX itself: they return values that depend on
# their inputs alone. `Loop`, `Scan` and `SequenceMap` are not among them, nor random numbers, nor
# those on strings (a regular expression can take for ever).
_GROUPS = {
    "arithmetic": "Abs Add Ceil Clip CumSum Div Erf Exp Floor Log Max Mean Min Mod Mul Neg Pow "
    "Reciprocal Round Sign Sqrt Sub Sum",
    "angles": "Acos Asin Atan Cos Cosh Sin Sinh Tan Tanh",
    "comparing and choosing": "And BitShift BitwiseAnd BitwiseNot BitwiseOr BitwiseXor Equal "
    "Greater GreaterOrEqual If IsInf IsNaN Less LessOrEqual Not Or Where Xor",
    "reducing": "ArgMax ArgMin ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean "
    "ReduceMin ReduceProd ReduceSum ReduceSumSquare TopK Unique",
    "shapes and places": "Compress Concat Constant ConstantOfShape DepthToSpace Expand EyeLike "
    "Flatten Gather GatherElements GatherND Identity NonZero OneHot Pad Range Reshape "
    "ReverseSequence ScatterElements ScatterND Shape Size Slice SpaceToDepth Split Squeeze Tile "
    "Transpose Trilu Unsqueeze",
    "dtypes": "Cast CastLike ConvInteger DequantizeLinear DynamicQuantizeLinear MatMulInteger "
    "QLinearConv QLinearMatMul QuantizeLinear",
    "networks": "AveragePool BatchNormalization Conv ConvTranspose Einsum Elu Gelu Gemm "
    "GlobalAveragePool GlobalMaxPool HardSigmoid HardSwish InstanceNormalization "
    "LayerNormalization LeakyRelu LogSoftmax MatMul MaxPool Mish PRelu Relu Selu Sigmoid Softmax "
    "Softplus Softsign ThresholdedRelu",
    "images and boxes": "GridSample NonMaxSuppression Resize RoiAlign",
}
COMPUTING = frozenset(name for group in _GROUPS.values() for name in group.split())

# Inputs that give the size of a result, or how often it repeats one.
SIZES = {"ConstantOfShape": 0, "Expand": 1, "OneHot": 1, "Pad": 1, "Range": 1, "Reshape": 1}
SIZES |= {"Resize": 3, "Tile": 1}

# Bytes of one value by the number of its dtype in ONNX: numbers and bool.
_BYTES = {1: 4, 2: 1, 3: 1, 4: 2, 5: 2, 6: 4, 7: 8, 9: 1, 10: 2, 11: 8, 12: 4, 13: 8, 16: 2}
_FORMATS = {6: "i", 7: "q"}
_OUTSIDE = 1  # a tensor whose values lie in another file

# Message -> field -> (number, type); a type in brackets is of a list. Text is bytes, for it may be
# no UTF-8, and so are messages of which there must be none.
_FORMAT: Mapping[str, Mapping[str, tuple[int, str | list[str]]]] = {
    "Model": {"graph": (7, "Graph"), "training": (20, ["bytes"]), "functions": (25, ["bytes"])},
    "Graph": {"nodes": (1, ["Node"]), "constants": (5, ["Tensor"]), "sparse": (15, ["bytes"])},
    "Node": {
        **{"inputs": (1, ["bytes"]), "outputs": (2, ["bytes"]), "op": (4, "bytes")},
        **{"attributes": (5, ["Attribute"]), "domain": (7, "bytes")},
    },
    "Attribute": {
        **{"tensor": (5, "Tensor"), "graph": (6, "Graph"), "tensors": (10, ["Tensor"])},
        **{"graphs": (11, ["Graph"]), "sparse": (22, "bytes"), "sparses": (23, ["bytes"])},
        "ints": (8, ["int64"]),
    },
    "Tensor": {
        **{"dims": (1, ["int64"]), "dtype": (2, "int32"), "segment": (3, "bytes")},
        "name": (8, "bytes"),
        **{"int32s": (5, ["int32"]), "int64s": (7, ["int64"]), "content": (9, "bytes")},
        **{"outside": (13, ["Entry"]), "location": (14, "int32")},
    },
    "Entry": {"key": (1, "bytes"), "value": (2, "bytes")},
}


def check_file(file: Path) -> None:
    """Check an ONNX file.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no ONNX file.
        Unsafe: it could do more than compute, or its constants are not whole.
    """
    from google.protobuf.message import DecodeError

    size = file.stat().st_size
    if size > _LARGEST:
        raise Unsafe(f"{size} bytes")
    model = _messages()["Model"]()
    try:
        model.ParseFromString(file.read_bytes())
    except DecodeError:
        raise ValueError("other bytes than those of an ONNX file") from None
    if not model.HasField("graph"):
        raise ValueError("no graph")
    if model.functions or model.training:
        raise Unsafe("functions or a training of its own")
    beside = {
        other.name: other.stat().st_size
        for other in file.parent.iterdir()
        if other.suffix == WEIGHTS
    }
    if (size := _check_graph(model.graph, beside, {}, 0)) > CONSTANTS:
        raise Unsafe(f"constants of {size} bytes")


def _check_graph(graph: Any, beside: Mapping[str, int], known: dict[bytes, Any], depth: int) -> int:
    """Check a graph, and return the bytes of its constants.

    Args:
        graph: of the file, or of a branch.
        beside: name -> bytes of the files of constants beside the file.
        known: name -> constant of the graphs around it.
        depth: the number of these.
    """
    if depth > _DEPTH:
        raise Unsafe("branches in branches")
    if graph.sparse:
        raise Unsafe("a sparse constant")
    size = sum(_check_tensor(tensor, beside) for tensor in graph.constants)
    known = known | {tensor.name: tensor for tensor in graph.constants}
    for node in graph.nodes:
        op = node.op.decode(errors="backslashreplace")
        if op not in COMPUTING or node.domain not in (b"", b"ai.onnx"):
            domain = node.domain.decode(errors="backslashreplace")
            raise Unsafe(f"{domain}:{op}" if domain else op)
        for attribute in node.attributes:
            if attribute.sparse or attribute.sparses or attribute.graphs:
                raise Unsafe(f"a sparse constant or many branches of {op}")
            if attribute.HasField("graph"):
                size += _check_graph(attribute.graph, beside, known, depth + 1)
            for tensor in attribute.tensors:
                size += _check_tensor(tensor, beside)
            if attribute.HasField("tensor"):
                size += _check_tensor(attribute.tensor, beside)
                if op == "Constant" and node.outputs:
                    known[node.outputs[0]] = attribute.tensor
        place = SIZES.get(op)
        if place is not None and place < len(node.inputs):
            _check_size(op, known.get(node.inputs[place]))
    return size


def _check_tensor(tensor: Any, beside: Mapping[str, int]) -> int:
    """Check a constant, and return its bytes."""
    count = math.prod(tensor.dims)
    if tensor.dtype not in _BYTES or tensor.segment or min(tensor.dims, default=0) < 0:
        raise Unsafe(f"a constant of dtype {tensor.dtype} and shape {list(tensor.dims)[:8]}")
    if count > ELEMENTS:
        raise Unsafe(f"a constant of {count} values")
    size: int = count * _BYTES[tensor.dtype]
    if tensor.location == _OUTSIDE or tensor.outside:
        _check_place(tensor, beside, size)
    elif tensor.content and len(tensor.content) != size:
        raise Unsafe(f"a constant of {size} bytes that holds {len(tensor.content)}")
    return size


def _check_place(tensor: Any, beside: Mapping[str, int], size: int) -> None:
    """Check that the values of a constant lie in a file beside the ONNX file."""
    places = {entry.key.decode(errors="replace"): entry.value for entry in tensor.outside}
    name = places.pop("location", b"").decode(errors="backslashreplace")
    places.pop("checksum", None)
    try:
        offset, length = (int(places.pop(key, b"-1")) for key in ("offset", "length"))
    except ValueError:
        offset = -1
    if not is_safe_name(name) or name not in beside or places or len(tensor.outside) > 4:
        raise Unsafe(f"constants in {shown(name)}")
    if offset < 0 or length != size or offset + length > beside[name]:
        raise Unsafe(f"constants outside of {name}")


def _check_size(op: str, tensor: Any | None) -> None:
    """Check a constant that gives a size; one that is computed is not known."""
    if tensor is None or tensor.dtype not in _FORMATS or math.prod(tensor.dims) > _FEW:
        return
    if tensor.content:
        code = f"<{math.prod(tensor.dims)}{_FORMATS[tensor.dtype]}"
        values = struct.unpack(code, tensor.content)
    else:
        values = tuple(tensor.int64s or tensor.int32s)
    count = sum(map(abs, values)) if op == "Pad" else math.prod(abs(v) for v in values if v)
    if count > ELEMENTS:
        raise Unsafe(f"{op} of {' x '.join(map(str, values))}")


@cache
def _messages() -> Mapping[str, Any]:
    """Return the classes of the messages of `_FORMAT`."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    kinds = descriptor_pb2.FieldDescriptorProto
    scalars = {"bytes": kinds.TYPE_BYTES, "int32": kinds.TYPE_INT32, "int64": kinds.TYPE_INT64}
    file = descriptor_pb2.FileDescriptorProto(name="guard.proto", package="guard", syntax="proto2")
    for message, fields in _FORMAT.items():
        declared = file.message_type.add(name=message)
        for name, (number, kind) in fields.items():
            one = kind if isinstance(kind, str) else kind[0]
            field = declared.field.add(
                name=name,
                number=number,
                label=kinds.LABEL_OPTIONAL if isinstance(kind, str) else kinds.LABEL_REPEATED,
                type=scalars.get(one, kinds.TYPE_MESSAGE),
            )
            if one not in scalars:
                field.type_name = f".guard.{one}"
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"guard.{name}"))
        for name in _FORMAT
    }
