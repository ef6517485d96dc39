"""Is every source defect visible in an overlay? The score that evaluation and benchmarks share.

For source i with the mask M_i, all as the network sees them:

- contrast c_i(image): the mean over a ring around M_i, 3 to 6 pixels away and clear of every
  mask and its edge pixel, minus the mean over what of M_i no other mask covers. It is positive for
  a dark defect and negative for a bright one, and linear in the image.
- recovered_i = c_i(overlay) / c_i(source i): 1 where the defect is there as it was, 0 where it is
  gone, below 0 where it has turned from dark to bright; the same for either polarity.
- visible_i: recovered_i >= VISIBLE.
- background error: the mean of |overlay - mean of the sources| outside all masks and their edges.
- success: all sources are visible and the background error is at most BACKGROUND.

Distances are the larger of the rows and the columns between two pixels.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from dentalzoo.errors import DentalzooError

VISIBLE = 0.6
"""The least part of its contrast that a visible defect keeps. The mean of two well decoded sources
keeps half of each; averaging is no overlay, so the bound lies clearly above it."""

BACKGROUND = 0.05
"""The largest background error: 13 of 255 grey levels. A change of shade of that size lies within
what the surfaces of one product vary; a second defect or an edge that is not theirs exceeds it."""

FAINT = 0.03
"""The least contrast of a source that can be judged: 8 of 255 grey levels. Below it the ratio
measures grain and noise, whose means over a small mask differ by as much."""

_NEAR, _FAR = 3, 6  # pixels: the ring starts where the soft edge of a defect has ended
_EDGE = 1  # pixels around every mask that belong to no background
_LEAST = 0.25  # of a mask must be free of the other masks, or the whole mask is measured


@dataclass(frozen=True)
class OverlayScore:
    """How well an overlay shows its K sources.

    Attributes:
        recovered: the part of its own contrast that each source has in the overlay; NaN for a
            source that cannot be judged.
        background_error: in [0, 1]; 0 where the masks leave no background.
        visible: recovered >= VISIBLE.
        success: all visible, and background_error <= BACKGROUND.
    """

    recovered: tuple[float, ...]
    background_error: float
    visible: tuple[bool, ...]
    success: bool


class Scorer:
    """Measures any number of overlays of the same sources, each in one product of matrices.

    Args:
        sources: (K, H, W) in [0, 1], as the network sees them.
        masks: (K, H, W) bool.
        weights: (K,), the part of its contrast that each source should have, and its share of the
            background; ones where there are none.

    Attributes:
        contrast_weights: (K, H, W) float32; c_i(image) = sum(contrast_weights[i] * image), for
            those who want its gradient.
        own: (K,) contrasts of the sources, weighted.
        judgeable: (K,) bool: |own| >= FAINT.
        covered: (K,) bool: less than a quarter of the mask is free of the other masks, so that
            they are seen where it is; it is measured whole.
        expected: (H, W) the weighted mean of the sources.
        background: (H, W) bool: outside all masks and their edges.
    """

    def __init__(self, sources: np.ndarray, masks: np.ndarray, weights: np.ndarray | None = None):
        sources, masks = np.asarray(sources, np.float32), np.asarray(masks, bool)
        if sources.ndim != 3 or sources.shape != masks.shape or not len(sources):
            raise DentalzooError(
                "sources and masks are (K, H, W) alike. "
                f"Received: {sources.shape} and {masks.shape}"
            )
        self.contrast_weights = np.stack(
            [contrast_weights(mask, np.delete(masks, i, 0)) for i, mask in enumerate(masks)]
        )
        weights = np.ones(len(sources)) if weights is None else np.asarray(weights, np.float64)
        self.own = weights * np.einsum("khw,khw->k", self.contrast_weights, sources)
        self.judgeable = np.abs(self.own) >= FAINT
        alone = masks & (masks.sum(0) == 1)
        self.covered = alone.sum((1, 2)) < _LEAST * masks.sum((1, 2))
        self.expected = np.average(sources, axis=0, weights=weights).astype(np.float32)
        self.background = ~grown(masks.any(0), _EDGE)

    @cached_property
    def _flat(self) -> np.ndarray:
        return self.contrast_weights.reshape(len(self.own), -1).T

    def recovered(self, overlays: np.ndarray) -> np.ndarray:
        """(B, H, W) in [0, 1] -> (B, K); NaN in the column of a source that cannot be judged."""
        contrasts = np.reshape(overlays, (len(overlays), -1)) @ self._flat
        return contrasts / np.where(self.judgeable, self.own, np.nan)

    def background_errors(self, overlays: np.ndarray) -> np.ndarray:
        """(B, H, W) in [0, 1] -> (B,) in [0, 1]; 0 where the masks leave no background."""
        if not self.background.any():
            return np.zeros(len(overlays))
        return np.abs(overlays - self.expected)[:, self.background].mean(1)

    def score(self, overlay: np.ndarray) -> OverlayScore:
        """Scores one overlay, (H, W) in [0, 1]."""
        overlay = np.asarray(overlay, np.float32)
        if overlay.shape != self.expected.shape:
            raise DentalzooError(
                f"the overlay has the sources' shape {self.expected.shape}. "
                f"Received: {overlay.shape}"
            )
        recovered = self.recovered(overlay[None])[0]
        error = float(self.background_errors(overlay[None])[0])
        visible = recovered >= VISIBLE
        return OverlayScore(
            tuple(map(float, recovered)),
            error,
            tuple(map(bool, visible)),
            bool(visible.all()) and error <= BACKGROUND,
        )


def score(overlay: np.ndarray, sources: np.ndarray, masks: np.ndarray) -> OverlayScore:
    """Scores an overlay.

    Args:
        overlay: (H, W) in [0, 1].
        sources: (K, H, W) in [0, 1], as the network sees them.
        masks: (K, H, W) bool.
    """
    return Scorer(sources, masks).score(overlay)


def contrast(image: np.ndarray, mask: np.ndarray, others: np.ndarray = ()) -> float:
    """How much darker an image is inside a mask than around it.

    Args:
        image: (H, W) in [0, 1].
        mask: (H, W) bool.
        others: (N, H, W) bool, the masks of the other defects.

    Returns:
        In [-1, 1]; 0 for a mask that is empty or leaves nothing to compare it with.
    """
    return float((contrast_weights(mask, others) * image).sum())


def contrast_weights(mask: np.ndarray, others: np.ndarray = ()) -> np.ndarray:
    """The contrast as weights (H, W) float32, of sum 0: 1 / |ring| on the ring, -1 / |core| on the
    core; 0 everywhere for a mask that is empty or leaves nothing to compare it with.

    Where the ring is empty, all background takes its place.
    """
    mask = np.asarray(mask, bool)
    elsewhere = np.any(np.asarray(others, bool).reshape(-1, *mask.shape), axis=0)
    core = mask & ~elsewhere
    if core.sum() < _LEAST * mask.sum():
        core = mask
    clear = ~grown(mask | elsewhere, _EDGE)
    ring = clear & grown(mask, _FAR) & ~grown(mask, _NEAR - 1)
    ring = ring if ring.any() else clear
    if not ring.any() or not core.any():
        return np.zeros(mask.shape, np.float32)
    return np.float32(ring / ring.sum() - core / core.sum())


def grown(mask: np.ndarray, pixels: int) -> np.ndarray:
    """A mask (H, W) bool with everything that lies up to `pixels` away."""
    kernel = np.ones((2 * pixels + 1,) * 2, np.uint8)
    return cv2.dilate(mask.astype(np.uint8), kernel).astype(bool)


def draw_sets(
    images: int | Sequence[str], count: int, sizes: Sequence[int] = (2, 3), seed: int = 0
) -> list[tuple[int, ...]]:
    """Draws sets of different images, no set twice.

    Args:
        images: how many there are; or their labels, each of which is then drawn about as often
            as another, whatever the number of its images, while it has sets left.
        count: how many sets; fewer come back where no more exist.
        sizes: of the sets, in turn.
        seed: the same arguments draw the same sets.

    Returns:
        Tuples of rising indices.

    Raises:
        DentalzooError: fewer images than the smallest set, or an argument is out of range.
    """
    labels = [""] * images if isinstance(images, int) else list(images)
    if count < 1 or not sizes or min(sizes) < 1:
        raise DentalzooError(
            f"count and sizes are at least 1. Received: count {count!r}, sizes {tuple(sizes)!r}"
        )
    if not isinstance(seed, int) or seed < 0:
        raise DentalzooError(f"seed is a whole number, at least 0. Received: {seed!r}")
    if len(labels) < min(sizes):
        raise DentalzooError(
            f"at least {min(sizes)} images are overlaid. Received: {len(labels)} that can be"
        )
    rng = np.random.default_rng((seed, 23))
    names, codes = np.unique(labels, return_inverse=True)
    chances = 1 / (len(names) * np.bincount(codes)[codes])
    left = {size: math.comb(len(labels), size) for size in sizes}
    drawn, seen = [], set()
    while len(drawn) < count and any(left.values()):
        size = sizes[len(drawn) % len(sizes)]
        if not left[size]:
            size = next(other for other in sizes if left[other])
        chosen = _draw(rng, chances, size, seen)
        left[size] -= 1
        seen.add(chosen)
        drawn.append(chosen)
    return drawn


def _draw(rng, chances: np.ndarray, size: int, seen: set) -> tuple[int, ...]:
    """A set that is not in `seen`, of which there must be one."""
    for _ in range(100):
        chosen = tuple(sorted(rng.choice(len(chances), size, replace=False, p=chances).tolist()))
        if chosen not in seen:
            return chosen
    from itertools import combinations  # few are left: take from those

    rest = [one for one in combinations(range(len(chances)), size) if one not in seen]
    return rest[rng.integers(len(rest))]
