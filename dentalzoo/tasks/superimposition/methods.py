"""Methods to superimpose images: the bundle's own, and plainer ones to compare it with."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import cv2
import numpy as np

from dentalzoo.errors import DentalzooError

if TYPE_CHECKING:
    from dentalzoo.bundle import Bundle

METHODS = {
    "bundle": "the bundle's own method",
    "sum": "the decoded sum of the means, all units, as in the paper",
    "mean": "the decoded mean of the means",
    "decoded": "each mean decoded; at every pixel the value that differs most from its background",
}
_REACH = 4  # ours: a background is the median over windows of a side / _REACH to each side


def superimposed(bundle: "Bundle", images: np.ndarray, z_mean: np.ndarray) -> dict[str, np.ndarray]:
    """Superimpose K images by each of METHODS.

    Args:
        images: (K, H, W, C) uint8.
        z_mean: (K, D) float32, of the same images.

    Returns:
        (H, W, C) float32 in [0, 1] each.
    """
    sums = np.stack([z_mean.sum(0), z_mean.mean(0)])
    decoded = bundle.decode(np.concatenate([sums, z_mean]).astype(np.float32))["image"]
    own = bundle.overlay(images, np.ones(len(images), np.float32))["image"]
    return {
        "bundle": own,
        "sum": decoded[0],
        "mean": decoded[1],
        "decoded": extremes(decoded[2:]),
    }


def extremes(images: np.ndarray) -> np.ndarray:
    """Return the mean background plus, at every pixel, the largest deviation from its own.

    Args:
        images: (K, H, W, C) float32 in [0, 1].

    Returns:
        (H, W, C) float32 in [0, 1].
    """
    behind = np.stack([_background(image) for image in images])
    defects = images - behind
    strongest = np.abs(defects).argmax(0)[None]
    combined = behind.mean(0) + np.take_along_axis(defects, strongest, 0)[0]
    return np.asarray(np.clip(combined, 0, 1))


def _background(image: np.ndarray) -> np.ndarray:
    """Remove from an image (H, W, C) in [0, 1] what is smaller than half a window."""
    side = 2 * (max(image.shape[:2]) // _REACH) + 1
    levels = np.rint(image * 255).astype(np.uint8)  # medians of large windows need 8 bits
    smooth = cv2.medianBlur(levels, min(side, 255))
    return np.asarray(smooth.reshape(image.shape), np.float32) / 255


def check_sampling(bundle: "Bundle") -> None:
    """Check that the bundle superimposes by a sum or a mean of latent vectors.

    Raises:
        DentalzooError: it does not.
    """
    method = bundle.metadata["config"].get("overlay", "sum")
    if method not in ("sum", "mean"):
        raise DentalzooError(
            "noise must be 0 for bundles that do not superimpose by the sum or mean of latent "
            f"vectors. Received: {bundle.name}, which superimposes by {method!r}"
        )


def sampled(
    bundle: "Bundle",
    z_mean: np.ndarray,
    z_log_var: np.ndarray,
    noise: float,
    rng: np.random.Generator,
) -> np.ndarray:
    """Superimpose, as the bundle does, samples z = mean + noise * deviation * eps.

    Args:
        z_mean, z_log_var: (K, D).
        noise: factor on the deviations.
        rng: random generator of eps, N(0, 1).

    Returns:
        (H, W, C) float32 in [0, 1].
    """
    eps = rng.standard_normal(z_mean.shape, dtype=np.float32)
    z = z_mean + np.float32(noise) * np.exp(z_log_var / 2) * eps
    config = bundle.metadata["config"]
    averaged = config.get("averaged", 0)
    if config.get("overlay", "sum") == "mean":
        averaged = z.shape[1]
    together = np.concatenate([z[:, :averaged].mean(0), z[:, averaged:].sum(0)])
    decoded: np.ndarray = bundle.decode(together[None].astype(np.float32))["image"][0]
    return decoded


def check_weights(weights: Sequence[float] | None, count: int) -> np.ndarray:
    """Return weights (count,) float32, ones where none are given.

    Raises:
        DentalzooError: not one positive number for each image.
    """
    if weights is None:
        return np.ones(count, np.float32)
    factors = np.asarray(weights, np.float32)
    if factors.shape != (count,) or not np.isfinite(factors).all() or (factors <= 0).any():
        raise DentalzooError(
            f"weights must be {count} positive numbers, one for each image. Received: {weights!r}"
        )
    return factors
