"""Constants of a graph: their size before they are unpacked, and their values where few."""

import math
import struct
from typing import Any

from dentalzoo.bundle.guard.refusal import Unsafe

# Bytes of one value by the number of its dtype in TensorFlow's DataType: numbers, bool, string.
# Handles of resources and variants are no constants: they would forge access to objects.
BYTES = {
    **{1: 4, 2: 8, 3: 4, 4: 1, 5: 2, 6: 1, 7: 24, 9: 8, 10: 1},
    **{14: 2, 17: 2, 19: 2, 22: 4, 23: 8},
}
INT32, STRING, INT64 = 3, 7, 9
_FORMATS = {INT32: "i", INT64: "q"}

ELEMENTS = 2**27  # of one tensor whose size is constant: 512 MiB in float32
CONSTANTS = 2**28  # bytes of all constants of a SavedModel, unpacked
_FEW = 64  # values that are worth knowing: a shape, paddings, a number of rows


def bytes_of(tensor: Any) -> int:
    """Return the bytes that a TensorProto takes, which may state far more values than it holds.

    Raises:
        Unsafe: a dtype that is no number, bool or string; a shape that is none; too many values.
    """
    if tensor.dtype not in BYTES:
        raise Unsafe(f"a constant of dtype {tensor.dtype}")
    count = elements(tensor.tensor_shape)
    if count > ELEMENTS:
        raise Unsafe(f"a constant of {count} values")
    if tensor.dtype == STRING:
        if len(tensor.string_val) != count:  # one long string could stand for millions
            raise Unsafe(f"a constant of {count} strings that holds {len(tensor.string_val)}")
        return BYTES[STRING] * count + sum(map(len, tensor.string_val))
    return BYTES[tensor.dtype] * count


def elements(shape: Any) -> int:
    """Return the number of values of a TensorShapeProto.

    Raises:
        Unsafe: a dimension is unknown.
    """
    if shape.unknown_rank or len(shape.dim) > 254 or any(dim.size < 0 for dim in shape.dim):
        raise Unsafe("a constant of unknown shape")
    return math.prod(dim.size for dim in shape.dim)


def values(tensor: Any) -> tuple[int | bytes, ...] | None:
    """Return the integers or strings of a TensorProto, flat; None for others and for many."""
    if tensor.dtype == STRING:
        return tuple(tensor.string_val)
    count = elements(tensor.tensor_shape)
    if tensor.dtype not in _FORMATS or count > _FEW:
        return None
    if tensor.tensor_content:
        code = f"<{count}{_FORMATS[tensor.dtype]}"
        if len(tensor.tensor_content) != struct.calcsize(code):
            return None
        return struct.unpack(code, tensor.tensor_content)
    stored = tuple(tensor.int_val if tensor.dtype == INT32 else tensor.int64_val)[:count]
    return stored + (stored[-1:] or (0,)) * (count - len(stored))  # the last stands for the rest
