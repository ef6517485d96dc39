"""Inputs of a bundle's signatures, checked and brought to their shape."""

from typing import Any

from dentalzoo.bundle.metadata import TensorSpec
from dentalzoo.errors import DentalzooError


def as_input(key: str, spec: TensorSpec, array: Any) -> tuple[Any, bool]:
    """Return an input as a signature takes it.

    Args:
        key: its name.
        spec: its shape, where None is any size, and its dtype.
        array: of that dtype and shape, or without the batch axis; grey images may be without
            their channel axis too. For strings the bytes of a file, or a list of them; where the
            shape has two axes, lists of lists.

    Returns:
        The array, or for strings bytes or lists of them; and whether a batch axis was added.

    Raises:
        DentalzooError: it is of another dtype or shape, or empty.
    """
    import numpy as np

    if spec["dtype"] == "string":
        return _as_strings(key, spec, array)
    mode = getattr(array, "mode", None) if hasattr(array, "getbands") else None
    if mode not in (None, "L", "RGB"):  # NumPy would take palette indices or YCbCr for greys or RGB
        raise DentalzooError(
            f"{key} must be grey or RGB; call convert('L') or convert('RGB'). "
            f"Received: a Pillow image of mode {mode}"
        )
    try:
        array = np.asarray(array)
    except ValueError:  # a list of arrays of different shapes
        shapes = [np.shape(one) for one in array][:3]
        raise DentalzooError(
            f"{key} must be images of one size, or one at a time. Received: shapes {shapes}"
        ) from None
    if not array.size:
        raise DentalzooError(f"{key} must not be empty. Received: shape {array.shape}")
    if array.dtype != spec["dtype"]:
        hint = " (grey values 0..255)" if spec["dtype"] == "uint8" else ""
        raise DentalzooError(
            f"{key} must be {spec['dtype']}{hint}. Received: {array.dtype} of shape {array.shape}"
        )
    rank = len(spec["shape"])
    if rank in (4, 5) and array.ndim == rank - 2:
        array = array[..., None]
    single = array.ndim == rank - 1
    if single:
        array = array[None]
    if array.ndim != rank:
        raise DentalzooError(
            f"{key} must have the shape {tuple(spec['shape'])}. Received: shape {array.shape}"
        )
    return array, single


def _as_strings(key: str, spec: TensorSpec, content: Any) -> tuple[Any, bool]:
    """Return the bytes of files as they are; NumPy would cut zeros off their end."""
    content = _listed(content)
    depth, rank = _depth(content), len(spec["shape"])
    single = rank > 0 and depth == rank - 1
    items = [content] if single else content
    flat = [items]
    for _ in range(rank):
        flat = [item for part in flat for item in (part if isinstance(part, list) else [part])]
    wrong = [type(item).__name__ for item in flat if not isinstance(item, bytes)]
    lengths = {len(part) for part in items} if rank == 2 and not wrong and depth else set()
    if wrong or not flat or depth not in (rank, rank - 1) or len(lengths) > 1:
        expected = ("bytes", "bytes or a list of bytes", "a list of bytes, or lists of one length")
        received = wrong[0] if wrong else f"lists of {sorted(lengths)}" if lengths else None
        raise DentalzooError(
            f"{key} must be {expected[rank]}, as Path.read_bytes() returns. "
            f"Received: {received or ('bytes' if not depth else 'an empty list')}"
        )
    return items, single


def _listed(content: Any) -> Any:
    """Return tensors, arrays and tuples as lists."""
    import numpy as np

    if hasattr(content, "numpy"):  # a tensor
        content = content.numpy()
    if isinstance(content, list | tuple | np.ndarray):
        return [_listed(item) for item in content]
    return content


def _depth(content: Any) -> int:
    """Return how many lists are around the first item."""
    return 1 + (_depth(content[0]) if content else 0) if isinstance(content, list) else 0
