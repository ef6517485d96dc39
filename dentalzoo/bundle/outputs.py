"""Results of a bundle's signatures, compared with what its metadata state of them."""

from collections.abc import Mapping
from typing import Any

from dentalzoo.bundle.metadata import TensorSpec
from dentalzoo.errors import DentalzooError


def check_outputs(
    name: str, specs: Mapping[str, TensorSpec], results: Mapping[str, Any]
) -> "dict[str, Any]":
    """Return the results of a signature, in the order of its specs.

    The files of a light runtime are not compared with the metadata before they run, and any network
    may divide by zero: what is wrong here would become a mask or an image.

    Args:
        name: of the signature.
        specs: name -> shape, where None is any size, and dtype of each result.
        results: name -> array.

    Raises:
        DentalzooError: a result is missing, of another dtype or shape, or NaN or infinite.
    """
    import numpy as np

    if specs.keys() != results.keys():
        raise DentalzooError(
            f"{name} must return {', '.join(specs)}. Received: {', '.join(results) or 'nothing'}"
        )
    for key, spec in specs.items():
        array = np.asarray(results[key])
        dtype = "string" if array.dtype.kind in "OSU" else array.dtype.name
        if dtype != spec["dtype"] or not _fits(array.shape, spec["shape"]):
            sizes = ", ".join("?" if size is None else str(size) for size in spec["shape"])
            raise DentalzooError(
                f"{key} of {name} must be {spec['dtype']} ({sizes}). Received: {dtype} of shape "
                f"{array.shape}"
            )
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise DentalzooError(
                f"{key} of {name} must be finite; the bundle computes no result for this input. "
                "Received: NaN or infinite values"
            )
    return {key: results[key] for key in specs}


def _fits(shape: tuple[int, ...], spec: "list[int | None]") -> bool:
    return len(shape) == len(spec) and all(
        size in (None, found) for found, size in zip(shape, spec, strict=True)
    )
