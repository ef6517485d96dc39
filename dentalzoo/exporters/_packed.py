"""Constants of an ONNX file in fewer bytes, from which the runtime makes the same values.

A bundle with weights in int8 or float16 has float32 weights in a file of constants, four or two
times as large. Here each large constant that such weights give is found by its values, stored so
again, and decoded by nodes that ONNX Runtime computes once, when it loads the file.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from dentalzoo.errors import require

MIN_BYTES = 1024
"""Of constants that are packed; others gain less than the nodes that decode them take."""

MAX_ERROR = 4e-7
"""Of a value, relative: the last bits, where a converter multiplied weights by a normalisation."""

_FEWEST = 8  # values of a channel: fewer are no longer than with their scale, or fit by chance


class Form(NamedTuple):
    """A constant: `stored`, cast to its dtype, times `scale` or plus `offset` where there is one.

    `stored` is int8, uint8, uint16 or float16; `scale` (float32) and `offset` can be broadcast.
    """

    stored: np.ndarray
    scale: np.ndarray | None = None
    offset: np.ndarray | None = None


def form(value: np.ndarray) -> Form | None:
    """Return a constant in fewer bytes; None where none gives its values.

    Args:
        value: float32, int32 or int64, of any shape.
    """
    if value.dtype in (np.int32, np.int64):
        return _integers(value)
    if value.dtype != np.float32 or not np.isfinite(value).all():
        return None
    for axis in range(value.ndim if value.ndim > 1 else 0):
        if (found := _scaled(value, axis)) is not None:
            return found
    with np.errstate(over="ignore"):
        half = value.astype(np.float16)
    return Form(half) if np.array_equal(half.astype(np.float32), value) else None


def _integers(value: np.ndarray) -> Form | None:
    low, high = int(value.min()), int(value.max())
    for dtype in (np.uint8, np.uint16):
        top = np.iinfo(dtype).max
        if low >= 0 and high <= top:
            return Form(value.astype(dtype))
        if high - low <= top:
            return Form((value - low).astype(dtype), offset=np.array(low, value.dtype))
    return None


def _scaled(value: np.ndarray, axis: int) -> Form | None:
    """Return int8 with a scale for each index of an axis, as `bundle.weights` stores it."""
    if value.size < _FEWEST * value.shape[axis]:
        return None
    others = tuple(other for other in range(value.ndim) if other != axis)
    largest = np.abs(value).max(axis=others, keepdims=True)
    guess = largest / np.float32(127)
    guess = np.where(guess > 0, guess, np.float32(1))
    stored = np.round(value / guess)
    best, error = guess, np.abs(stored * guess - value).max(axis=others, keepdims=True)
    # The scale was rounded, and 127 times it: often a neighbour of the guess is exact.
    for side in (0, np.inf):
        other = np.nextafter(guess, np.float32(side))
        error_then = np.abs(stored * other - value).max(axis=others, keepdims=True)
        best = np.where(error_then < error, other, best)
        error = np.minimum(error_then, error)
    if not (np.abs(stored * best - value) <= MAX_ERROR * np.abs(value)).all():
        return None
    return Form(stored.astype(np.int8), scale=best)


def packed(content: bytes) -> bytes:
    """Return an ONNX file with its constants packed, in its branches and loops too.

    Names of tensors inside become numbers: a converter's take more bytes than small weights.
    """
    model = require("onnx", "onnx").load_from_string(content)
    for graph in _graphs(model.graph):
        _pack(graph)
    _rename(model.graph)
    smaller: bytes = model.SerializeToString()
    return smaller


def _pack(graph: Any) -> None:
    onnx = require("onnx", "onnx")
    helper, numpy_helper = onnx.helper, onnx.numpy_helper
    kept, nodes = [], []
    for tensor in graph.initializer:
        value = numpy_helper.to_array(tensor)
        found = form(value) if value.nbytes >= MIN_BYTES else None
        if found is None:
            kept.append(tensor)
            continue
        name = tensor.name
        kept.append(numpy_helper.from_array(found.stored, f"{name}/stored"))
        factor = found.scale if found.scale is not None else found.offset
        cast = name if factor is None else f"{name}/cast"
        nodes.append(helper.make_node("Cast", [kept[-1].name], [cast], to=tensor.data_type))
        if factor is not None:
            kind = "Mul" if found.scale is not None else "Add"
            kept.append(numpy_helper.from_array(factor, f"{name}/{kind.lower()}"))
            nodes.append(helper.make_node(kind, [cast, kept[-1].name], [name]))
    others = list(graph.node)
    del graph.initializer[:], graph.node[:]
    graph.initializer.extend(kept)
    graph.node.extend([*nodes, *others])


def _rename(whole: Any) -> None:
    """Number the tensors of a graph and of its branches, but for its inputs and outputs."""
    short: dict[str, str] = {tensor.name: tensor.name for tensor in [*whole.input, *whole.output]}
    short[""] = ""  # an input that is left out

    def number(name: str) -> str:
        return short.setdefault(name, f"_{len(short)}")

    for graph in _graphs(whole):
        del graph.value_info[:]
        for tensor in [*graph.initializer, *graph.input, *graph.output]:
            tensor.name = number(tensor.name)
        for node in graph.node:
            node.name = ""
            node.input[:] = [number(name) for name in node.input]
            node.output[:] = [number(name) for name in node.output]


def _graphs(graph: Any) -> Iterator[Any]:
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _graphs(attribute.g)
