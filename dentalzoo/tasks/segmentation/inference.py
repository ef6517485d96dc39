"""What measuring and applying a bundle share: masks from images."""

import numpy as np

from dentalzoo.errors import DentalzooError

THRESHOLD = 0.5  # of binary masks, inside every bundle's `serve`


def num_channels(bundle) -> int:
    """K of a bundle's probabilities: 1 for a binary mask, else the classes and the background."""
    return bundle.metadata["signatures"]["serve"]["outputs"]["probabilities"]["shape"][-1]


def check_threshold(bundle, threshold: float | None) -> None:
    """Raises DentalzooError unless `threshold` is None or fits the bundle and lies in [0, 1]."""
    if threshold is None:
        return
    if num_channels(bundle) > 1:
        raise DentalzooError(
            "a threshold belongs to binary masks; with several classes the likeliest one is taken. "
            f"Received: threshold {threshold!r} for {num_channels(bundle)} classes"
        )
    if not 0 <= threshold <= 1:
        raise DentalzooError(f"threshold lies in [0, 1]. Received: {threshold!r}")


def segment(bundle, image: np.ndarray, threshold: float | None = None) -> np.ndarray:
    """Class ids of an image at its own size.

    Args:
        image: (H, W, 1 or 3) uint8.
        threshold: a pixel is foreground where its probability is above it; None is the bundle's
            own mask.

    Returns:
        (H, W, 1) uint8, 0 for background.
    """
    results = bundle.serve(image)
    if threshold is None:
        return results["mask"]
    return (results["probabilities"] > threshold).astype(np.uint8)
