"""Scores of superimposed images: is every source's defect visible, and the background kept?

For source i with the mask M_i, all at the network's size:

- contrast c_i(image): the mean over a ring around M_i, 3 to 6 pixels away and clear of every mask
  and its edge pixel, minus the mean over the part of M_i that no other mask covers. It is positive
  for a dark defect and negative for a bright one, and linear in the image.
- recovered_i = c_i(superimposed) / c_i(source i): 1 where the defect is as it was, 0 where it is
  gone, below 0 where it has turned from dark to bright; the same for either polarity.
- visible_i: recovered_i >= VISIBLE.
- halo_i: how far the surroundings of M_i, 2 to 6 pixels away and clear of every mask, have gone
  along with the defect: |mean over them of superimposed - mean of the sources| / |c_i(source i)|.
  0 where they are as they were, 1 where they are as dark (or bright) as the defect.
- background error: the mean of |superimposed - mean of the sources| outside all masks and their
  edges.
- success: all sources are visible, no halo is above HALO, and the background error is at most
  BACKGROUND. The background error alone is blind to a blob around the defects, the contrast alone
  to one that is dark enough.

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
keeps half of each; averaging is not superimposition, so the bound lies clearly above it."""

BACKGROUND = 0.05
"""The largest background error: 13 of 255 grey levels. A change of shade of that size lies within
what the surfaces of one product vary; a second defect or an edge that is not theirs exceeds it."""

HALO = 0.4
"""The largest part of a defect's contrast that its surroundings may take over: as much as a visible
defect may lose."""

FAINT = 0.03
"""The least contrast of a source that can be judged: 8 of 255 grey levels. Below it the ratio
measures grain and noise, whose means over a small mask differ by as much."""

_NEAR, _FAR = 3, 6  # pixels: the ring starts where the soft edge of a defect has ended
_EDGE = 1  # pixels around every mask that belong to no background
_MIN_FREE = 0.25  # of a mask must be free of the other masks, or the whole mask is measured


@dataclass(frozen=True)
class SuperimpositionScore:
    """Scores of a superimposed image of K sources.

    Attributes:
        recovered: the share of its own contrast that each source keeps; NaN for a
            source that cannot be judged.
        halo: the share of its own contrast that the surroundings of each source take over; NaN
            for a source that cannot be judged.
        background_error: in [0, 1]; 0 where the masks leave no background.
        visible: recovered >= VISIBLE.
        success: all visible, no halo above HALO, and background_error <= BACKGROUND.
    """

    recovered: tuple[float, ...]
    halo: tuple[float, ...]
    background_error: float
    visible: tuple[bool, ...]
    success: bool

    @property
    def largest_halo(self) -> float:
        """Return the largest halo of a source that can be judged, else 0."""
        return max((halo for halo in self.halo if not math.isnan(halo)), default=0.0)


class Scorer:
    """Scores of any number of superimposed images of the same sources, in one matrix product.

    Args:
        sources: (K, H, W) in [0, 1], at the network's size.
        masks: (K, H, W) bool.
        weights: (K,), the factor on each source's contrast, and its share of the background; ones
            where there are none.

    Attributes:
        contrast_weights: (K, H, W) float32; c_i(image) = sum(contrast_weights[i] * image).
        own: (K,) contrasts of the sources, weighted.
        judgeable: (K,) bool: |own| >= FAINT.
        covered: (K,) bool: less than a quarter of the mask is free of the other masks, so that
            they are visible in it; it is measured whole.
        surroundings: (K, H, W) float32 of sum 1, or 0 where the masks leave none.
        expected: (H, W) the weighted mean of the sources.
        background: (H, W) bool: outside all masks and their edges.
    """

    def __init__(
        self, sources: np.ndarray, masks: np.ndarray, weights: np.ndarray | None = None
    ) -> None:
        sources, masks = np.asarray(sources, np.float32), np.asarray(masks, bool)
        if sources.ndim != 3 or sources.shape != masks.shape or not len(sources):
            raise DentalzooError(
                "sources and masks must have one shape (K, H, W). "
                f"Received: {sources.shape} and {masks.shape}"
            )
        self.contrast_weights = np.stack(
            [contrast_weights(mask, np.delete(masks, i, 0)) for i, mask in enumerate(masks)]
        )
        self.surroundings = np.stack([_surroundings(mask, masks) for mask in masks])
        factors = np.ones(len(sources)) if weights is None else np.asarray(weights, np.float64)
        self.own = factors * np.einsum("khw,khw->k", self.contrast_weights, sources)
        self.judgeable = np.abs(self.own) >= FAINT
        alone = masks & (masks.sum(0) == 1)
        self.covered = alone.sum((1, 2)) < _MIN_FREE * masks.sum((1, 2))
        self.expected = np.average(sources, axis=0, weights=factors).astype(np.float32)
        self.background = ~grown(np.any(masks, axis=0), _EDGE)

    @cached_property
    def _flat(self) -> np.ndarray:
        return self.contrast_weights.reshape(len(self.own), -1).T

    def recovered(self, images: np.ndarray) -> np.ndarray:
        """Return the recovered shares (B, K) of superimposed images (B, H, W) in [0, 1].

        NaN in the column of a source that cannot be judged.
        """
        contrasts = np.reshape(images, (len(images), -1)) @ self._flat
        return np.asarray(contrasts / np.where(self.judgeable, self.own, np.nan))

    def halos(self, images: np.ndarray) -> np.ndarray:
        """Return the halos (B, K) of superimposed images (B, H, W) in [0, 1].

        0 where the masks leave no surroundings, NaN for a source that cannot be judged.
        """
        changes = np.reshape(images - self.expected, (len(images), -1))
        taken = np.abs(changes @ self.surroundings.reshape(len(self.own), -1).T)
        return np.asarray(taken / np.where(self.judgeable, np.abs(self.own), np.nan))

    def kept(self, images: np.ndarray) -> np.ndarray:
        """Return (B,) bool: background and surroundings are kept in images (B, H, W) in [0, 1]."""
        calm = ~(self.halos(images) > HALO).any(1)
        return np.asarray(calm & (self.background_errors(images) <= BACKGROUND))

    def background_errors(self, images: np.ndarray) -> np.ndarray:
        """Return the background errors (B,) in [0, 1] of superimposed images (B, H, W) in [0, 1].

        0 where the masks leave no background.
        """
        if not self.background.any():
            return np.zeros(len(images))
        return np.asarray(np.abs(images - self.expected)[:, self.background].mean(1))

    def score(self, image: np.ndarray) -> SuperimpositionScore:
        """Score one superimposed image, (H, W) in [0, 1].

        Raises:
            DentalzooError: its shape is not that of the sources.
        """
        image = np.asarray(image, np.float32)
        if image.shape != self.expected.shape:
            raise DentalzooError(
                f"the superimposed image must have the sources' shape {self.expected.shape}. "
                f"Received: {image.shape}"
            )
        recovered = self.recovered(image[None])[0]
        visible = recovered >= VISIBLE
        return SuperimpositionScore(
            tuple(map(float, recovered)),
            tuple(map(float, self.halos(image[None])[0])),
            float(self.background_errors(image[None])[0]),
            tuple(map(bool, visible)),
            bool(visible.all() and self.kept(image[None])[0]),
        )


def score(image: np.ndarray, sources: np.ndarray, masks: np.ndarray) -> SuperimpositionScore:
    """Score a superimposed image.

    Args:
        image: (H, W) in [0, 1].
        sources: (K, H, W) in [0, 1], at the network's size.
        masks: (K, H, W) bool.
    """
    return Scorer(sources, masks).score(image)


def contrast(
    image: np.ndarray, mask: np.ndarray, others: np.ndarray | Sequence[np.ndarray] = ()
) -> float:
    """Mean of an image around a mask minus its mean inside.

    Args:
        image: (H, W) in [0, 1].
        mask: (H, W) bool.
        others: (N, H, W) bool, the masks of the other defects.

    Returns:
        In [-1, 1]; 0 for a mask that is empty or leaves nothing to compare it with.
    """
    return float((contrast_weights(mask, others) * image).sum())


def contrast_weights(
    mask: np.ndarray, others: np.ndarray | Sequence[np.ndarray] = ()
) -> np.ndarray:
    """Return the contrast as weights (H, W) float32, of sum 0.

    1 / |ring| on the ring, -1 / |core| on the core; 0 everywhere for a mask that is empty or leaves
    nothing to compare it with. Where the ring is empty, all background takes its place.
    """
    mask = np.asarray(mask, bool)
    elsewhere = np.any(np.asarray(others, bool).reshape(-1, *mask.shape), axis=0)
    core = mask & ~elsewhere
    if core.sum() < _MIN_FREE * mask.sum():
        core = mask
    clear = ~grown(mask | elsewhere, _EDGE)
    ring = clear & grown(mask, _FAR) & ~grown(mask, _NEAR - 1)
    ring = ring if ring.any() else clear
    if not ring.any() or not core.any():
        return np.zeros(mask.shape, np.float32)
    return np.asarray(ring / ring.sum() - core / core.sum(), np.float32)


def _surroundings(mask: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Return weights (H, W) float32 of sum 1 on the surroundings of a mask, 0 without any."""
    around = grown(mask, _FAR) & ~grown(np.any(masks, axis=0), _EDGE)
    return np.asarray(around / max(1, around.sum()), np.float32)


def grown(mask: np.ndarray, pixels: int) -> np.ndarray:
    """Dilate a mask (H, W) bool by a number of pixels."""
    kernel = np.ones((2 * pixels + 1,) * 2, np.uint8)
    return cv2.dilate(mask.astype(np.uint8), kernel).astype(bool)


def random_sets(
    images: int | Sequence[str], count: int, sizes: Sequence[int] = (2, 3), seed: int = 0
) -> list[tuple[int, ...]]:
    """Choose random sets of different images, no set twice.

    Args:
        images: their number; or their labels, each of which is then chosen about as often as
            another, whatever the number of its images, while it has sets left.
        count: number of sets; fewer are returned where no more exist.
        sizes: of the sets, in turn.
        seed: the same arguments give the same sets.

    Returns:
        Tuples of rising indices.

    Raises:
        DentalzooError: no sizes, or fewer images than the smallest set.
    """
    if not sizes:
        raise DentalzooError(f"sizes must be one or more integers. Received: {tuple(sizes)!r}")
    labels = [""] * images if isinstance(images, int) else list(images)
    if len(labels) < min(sizes):
        raise DentalzooError(
            f"at least {min(sizes)} images that can be judged are needed. Received: {len(labels)}"
        )
    rng = np.random.default_rng((seed, 23))
    names, codes = np.unique(labels, return_inverse=True)
    chances = 1 / (len(names) * np.bincount(codes)[codes])
    left = {size: math.comb(len(labels), size) for size in sizes}
    sets: list[tuple[int, ...]] = []
    seen: set[tuple[int, ...]] = set()
    while len(sets) < count and any(left.values()):
        size = sizes[len(sets) % len(sizes)]
        if not left[size]:
            size = next(other for other in sizes if left[other])
        chosen = _new_set(rng, chances, size, seen)
        left[size] -= 1
        seen.add(chosen)
        sets.append(chosen)
    return sets


def _new_set(
    rng: np.random.Generator, chances: np.ndarray, size: int, seen: set[tuple[int, ...]]
) -> tuple[int, ...]:
    """Return a random set that is not in `seen`; there must be one."""
    for _ in range(100):
        chosen = tuple(sorted(rng.choice(len(chances), size, replace=False, p=chances).tolist()))
        if chosen not in seen:
            return chosen
    from itertools import combinations  # few are left: take from those

    rest = [one for one in combinations(range(len(chances)), size) if one not in seen]
    return rest[rng.integers(len(rest))]
