"""Test whether generated images are copies of training images.

Images are compared at 16 x 16 pixels, where blur costs little: the distance is the root mean
squared difference of the inner 14 x 14 pixels, minimised over shifts by one pixel and mirroring.

A sample counts as copied if its nearest training image is less than half as far away as is usual
for an unseen image: the median distance of held-out images to their nearest training image, or of
training images to their nearest other one, whichever is less. Held-out images are counted by the
same bound.

A second test needs no bound and is fair to blurred samples, which are close to everything: among
training and held-out images together, is the nearest to a sample a held-out one less often than
their share? A model that has copied nothing cannot tell them apart, unless the held-out images are
of another kind, other patients for example. (Meehan et al. 2020, arXiv:2004.05675, compare the
same distances.)
"""

from typing import Any

import cv2
import numpy as np

SIDE, _SHIFT = 16, 1  # pixels; ours
SPACE = "16 x 16 pixels, shifted by up to 1 and mirrored, root mean square in [0, 1]"
MAX_RATIO = 0.5  # ours: to the usual distance; a copy shifted by 5 % of its side has 0.3
MAX_EXCESS = 0.05  # ours: share of copied samples that is tolerated, beyond that of held-out images
_SHUFFLES, _BLOCK, _QUERIES = 999, 256, 1000


def thumbnails(images: np.ndarray) -> np.ndarray:
    """Shrink images (B, H, W, C) float32 in [0, 1] to (B, 16, 16, C) float32."""
    small = [cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for image in images]
    return np.asarray(small, np.float32).reshape(len(images), SIDE, SIDE, images.shape[-1])


def nearest(
    queries: np.ndarray, others: np.ndarray, itself: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Find the nearest of `others` to each query, thumbnails (N, 16, 16, C) and (M, 16, 16, C).

    Args:
        itself: `queries` are the first of `others`; each is compared with the rest only.

    Returns:
        The index of the nearest, (N,) int, and its distance, (N,) float64.
    """
    best, indices = np.full(len(queries), np.inf), np.zeros(len(queries), int)
    for start in range(0, len(others), _BLOCK):
        squares = _squares(queries, others[start : start + _BLOCK])
        if itself:
            own = np.arange(start, min(len(queries), start + squares.shape[1]))
            squares[own, own - start] = np.inf
        column = squares.argmin(1)
        smallest = squares[np.arange(len(queries)), column]
        closer = smallest < best
        best[closer], indices[closer] = smallest[closer], start + column[closer]
    return indices, np.sqrt(best)


def _squares(queries: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return mean squared differences, minimised over shifts and mirroring: (N, M) float64."""
    side, shifts = SIDE - 2 * _SHIFT, range(2 * _SHIFT + 1)
    middle = _rows(queries[:, _SHIFT:-_SHIFT, _SHIFT:-_SHIFT])
    shifted = [
        _rows(images[:, top : top + side, left : left + side])
        for images in (others, others[:, :, ::-1])
        for top in shifts
        for left in shifts
    ]
    moved = np.concatenate(shifted)
    squares = np.square(moved).sum(1) - 2 * np.asarray(middle @ moved.T, np.float64)
    least = squares.reshape(len(queries), -1, len(others)).min(1)
    sums = np.maximum(least + np.square(middle).sum(1)[:, None], 0)
    return np.asarray(sums / middle.shape[1])


def _rows(thumbnails: np.ndarray) -> np.ndarray:
    """Return one row per image, centred on 0, where float32 is finest."""
    return thumbnails.reshape(len(thumbnails), -1) - np.float32(0.5)


def copying(
    generated: np.ndarray, training: np.ndarray, held_out: np.ndarray, seed: int = 0
) -> tuple[dict[str, Any], np.ndarray, np.ndarray]:
    """Test generated images for copies of training images.

    Args:
        generated, training, held_out: thumbnails; at least one, two and one.
        seed: of the shuffles behind the p-value.

    Returns:
        The findings, and for each sample the index of the nearest training image and its distance.
        The findings are

        - "copied", the share of the samples that count as copied, and "copied_held_out";
        - "closer_than_any_held_out", the share of the samples closer to a training image than
          every held-out image;
        - the median distance to the nearest training image: of "samples", "held_out" and
          "training" images, the last without themselves; "ratio" is the first by the second;
        - "nearest_is_held_out", the share of the samples whose nearest image is a held-out one,
          the share "expected" without copying, and the "p_value" of so few or fewer, by shuffling
          which images were held out;
        - "warning": a sentence, or None.
    """
    indices, distances = nearest(generated, training)
    _, held = nearest(held_out, training)
    _, own = nearest(training[:_QUERIES], training, itself=True)
    others, to_others = nearest(generated, held_out)
    groups = {"samples": distances, "held_out": held, "training": own}
    medians = {key: float(np.median(values)) for key, values in groups.items()}
    bound = MAX_RATIO * min(medians["held_out"], medians["training"])
    copied, copied_held_out = ((part < bound).mean() for part in (distances, held))

    winners = np.where(to_others < distances, len(training) + others, indices)
    wins = np.bincount(winners, minlength=len(training) + len(held_out))
    rng, held_out_wins = np.random.default_rng(seed), wins[len(training) :].sum()
    shuffled = [rng.permutation(wins)[: len(held_out)].sum() for _ in range(_SHUFFLES)]
    values = {
        "copied": copied,
        "copied_held_out": copied_held_out,
        "closer_than_any_held_out": (distances < held.min()).mean(),
        **medians,
        "ratio": medians["samples"] / max(medians["held_out"], 1e-6),
        "nearest_is_held_out": held_out_wins / len(generated),
        "expected": len(held_out) / len(wins),
        "p_value": (1 + np.sum(shuffled <= held_out_wins)) / (1 + _SHUFFLES),
    }
    findings: dict[str, Any] = {key: round(float(value), 4) for key, value in values.items()}
    warning = None
    if copied > copied_held_out + MAX_EXCESS:
        warning = (
            f"{copied:.0%} of the samples are copies of training images, and "
            f"{copied_held_out:.0%} of the held-out images. Train on more images, for fewer "
            "epochs, or with a smaller latent_dim or higher beta"
        )
    return findings | {"warning": warning}, indices, distances
