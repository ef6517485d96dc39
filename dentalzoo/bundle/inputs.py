"""What a bundle's signatures take, from arrays and bytes."""

from typing import Any

from dentalzoo.errors import DentalzooError


def as_tensor(key: str, spec: dict, array) -> tuple[Any, bool]:
    """An input of a signature as a tensor.

    Args:
        key: its name.
        spec: its "shape" (None is any size) and "dtype", as in the metadata.
        array: of that dtype and shape, or without the batch axis; grey images may be without
            their channel axis too. For strings the bytes of a file, or a list of them.

    Returns:
        The tensor, and whether a batch axis was added.

    Raises:
        DentalzooError: it is of another dtype or shape, or empty.
    """
    import numpy as np
    import tensorflow as tf

    if spec["dtype"] == "string":
        return _as_strings(key, spec, array)
    array = np.asarray(array)
    if array.dtype != spec["dtype"]:
        hint = " (grey values 0..255)" if spec["dtype"] == "uint8" else ""
        raise DentalzooError(
            f"{key} is {spec['dtype']}{hint}. Received: {array.dtype} of shape {array.shape}"
        )
    if not array.size:
        raise DentalzooError(f"{key} holds nothing. Received: shape {array.shape}")
    rank = len(spec["shape"])
    if rank in (4, 5) and array.ndim == rank - 2:
        array = array[..., None]
    single = array.ndim == rank - 1
    if single:
        array = array[None]
    if array.ndim != rank:
        raise DentalzooError(
            f"{key} has the shape {tuple(spec['shape'])}. Received: shape {array.shape}"
        )
    return tf.constant(array), single


def _as_strings(key: str, spec: dict, content) -> tuple[Any, bool]:
    """The same for what files hold; NumPy would cut zeros off the end of bytes."""
    import numpy as np
    import tensorflow as tf

    content = content.numpy() if tf.is_tensor(content) else content
    batch = bool(spec["shape"])
    several = batch and isinstance(content, list | tuple | np.ndarray)
    items = list(content) if several else [content]
    wrong = [type(item).__name__ for item in items if not isinstance(item, bytes)]
    if wrong or not items:
        words = "bytes or a list of them" if batch else "bytes"
        told = wrong[0] if wrong else "an empty list"
        raise DentalzooError(f"{key} is {words}, as Path.read_bytes() gives. Received: {told}")
    return tf.constant(items if batch else content), batch and not several
