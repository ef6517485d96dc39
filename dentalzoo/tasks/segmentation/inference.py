"""Masks of images, for measuring and applying a bundle."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

import numpy as np

from dentalzoo.errors import DentalzooError
from dentalzoo.tasks import flips
from dentalzoo.tasks.flips import Flip

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


def flips_of(bundle: "Bundle", tta: Sequence[str]) -> tuple[Flip, ...]:
    """Return how a bundle sees an image, see `dentalzoo.tasks.flips.flips_of`.

    Raises:
        DentalzooError: it has several classes without names, which may be those of sides.
    """
    names = tuple(bundle.metadata.get("config", {}).get("classes") or ())
    if tta and num_channels(bundle) > 1 and not names:
        raise DentalzooError(
            f"tta must be empty for {bundle.name}, whose classes have no names: those of left and "
            f"right teeth change places in a mirror. Received: {' '.join(tta)}"
        )
    return flips.flips_of(tta, names, bundle.name)


def segment(
    bundle: "Bundle",
    image: np.ndarray,
    threshold: float | None = None,
    seen: Sequence[Flip] = (Flip(),),
) -> np.ndarray:
    """Return the class ids of an image at its own size.

    Args:
        image: (H, W, 1 or 3) uint8.
        threshold: a pixel is foreground where its probability is above it; None for the bundle's
            own mask.
        seen: the ways in which the bundle sees it; the mean of their probabilities counts.

    Returns:
        (H, W, 1) uint8, 0 for background.
    """
    # Bundles of 0.2 and before have no function for masks alone.
    if threshold is None and len(seen) == 1 and "segment" in bundle.metadata["signatures"]:
        mask: np.ndarray = bundle.segment(image)["mask"]
        return mask
    return segment_and_probabilities(bundle, image, threshold, seen)[0]


def segment_and_probabilities(
    bundle: "Bundle",
    image: np.ndarray,
    threshold: float | None = None,
    seen: Sequence[Flip] = (Flip(),),
) -> tuple[np.ndarray, np.ndarray]:
    """Return what `segment` does, and the probabilities (H, W, K) float32 that it comes from."""
    if threshold is None and len(seen) == 1:
        result = bundle.serve(image)
        return result["mask"], result["probabilities"]
    mean = np.mean([_probabilities(bundle, image, flip) for flip in seen], 0)
    if mean.shape[-1] > 1:
        return np.argmax(mean, -1).astype(np.uint8)[..., None], mean
    own = THRESHOLD if threshold is None else threshold
    return np.asarray(mean > own).astype(np.uint8), mean


def _probabilities(bundle: "Bundle", image: np.ndarray, flip: Flip) -> np.ndarray:
    """Return the probabilities (H, W, K) of an image that the bundle sees flipped."""
    values: np.ndarray = flip.image(bundle.serve(flip.image(image))["probabilities"])
    names = bundle.metadata.get("config", {}).get("classes") or ()
    if values.shape[-1] == 1 or not names:
        return values
    ids = flip.classes(np.arange(1, values.shape[-1]), names)
    return values[..., [0, *ids]]
