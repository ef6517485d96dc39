"""Masks of images, for measuring and applying a bundle."""

from typing import TYPE_CHECKING, cast

import numpy as np

from dentalzoo.errors import DentalzooError

if TYPE_CHECKING:
    from dentalzoo.bundle import Bundle

THRESHOLD = 0.5  # of binary masks, inside every bundle's `serve`


def num_channels(bundle: "Bundle") -> int:
    """Return K of a bundle's probabilities.

    It is 1 for a binary mask, else the number of classes and the background.
    """
    shape = bundle.metadata["signatures"]["serve"]["outputs"]["probabilities"]["shape"]
    return cast(int, shape[-1])  # None for heights and widths alone


def refuse_threshold(bundle: "Bundle", threshold: float | None) -> None:
    """Raise DentalzooError where a threshold is given and the bundle has several classes."""
    if threshold is not None and num_channels(bundle) > 1:
        raise DentalzooError(
            "threshold must be None for several classes, of which the likeliest is taken; it is "
            f"for binary masks. Received: {threshold!r} for {num_channels(bundle)} classes"
        )


def segment(bundle: "Bundle", image: np.ndarray, threshold: float | None = None) -> np.ndarray:
    """Return the class ids of an image at its own size.

    Args:
        image: (H, W, 1 or 3) uint8.
        threshold: a pixel is foreground where its probability is above it; None for the bundle's
            own mask.

    Returns:
        (H, W, 1) uint8, 0 for background.
    """
    if threshold is None:
        # Bundles of 0.2 and before have no function for masks alone.
        alone = "segment" in bundle.metadata["signatures"]
        mask: np.ndarray = (bundle.segment if alone else bundle.serve)(image)["mask"]
        return mask
    return np.asarray(bundle.serve(image)["probabilities"] > threshold).astype(np.uint8)
