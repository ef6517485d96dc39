"""Images that one of two raters leaves empty: nothing to see, or not annotated yet."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from dentalzoo.errors import few_of


def without_empty(
    names: tuple[str, str],
    images: Sequence[str],
    filled: np.ndarray,
    measure: Callable[[np.ndarray], dict[str, Any]],
) -> dict[str, Any]:
    """Return which images one of two raters alone leaves empty, and the numbers without them.

    Args:
        names: of the raters.
        images: names of all images.
        filled: (images, 2) bool, whether each rater has something there.
        measure: returns the numbers of some images from (images,) bool.

    Returns:
        "empty": rater -> names of the images that are empty in its annotations alone;
        "without_empty": "images", the number of the others, and what `measure` returns of them;
        None where there is no such image.
    """
    alone = {
        name: [
            image for image, has in zip(images, filled, strict=True) if not has[i] and has[1 - i]
        ]
        for i, name in enumerate(names)
    }
    kept = filled[:, 0] == filled[:, 1]
    if kept.all():
        return {"empty": alone, "without_empty": None}
    return {"empty": alone, "without_empty": {"images": int(kept.sum()), **measure(kept)}}


def lines_of(pair: dict[str, Any]) -> list[str]:
    """Return a line for each rater of a pair's report that alone leaves images empty."""
    other = {pair["reference"]: pair["rater"], pair["rater"]: pair["reference"]}
    return [
        f"{len(images)} of {pair['images']} images are empty in {name} alone, not in "
        f"{other[name]}: {few_of(images)}"
        for name, images in pair["empty"].items()
        if images
    ]
