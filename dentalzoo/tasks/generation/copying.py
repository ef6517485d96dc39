"""Whether generated images are copies of the training images.

Images are compared at 16 x 16 pixels, where blur costs little: the distance is the root of the
mean squared difference of 14 x 14 of them, the least over shifts by a pixel and over mirroring.

A sample counts as copied if a training image is less than half as far from it as an unseen
image usually is from its nearest: as a held-out image from the training images, or as one of
these from the others, whichever is less. Held-out images are counted by the same bound.

A second test needs no bound and is fair to blurred samples, which are close to everything: is the
image nearest to a sample, of the training and the held-out ones together, a held-out one less
often than their number says? A model that has copied nothing does not know which is which, unless
the held-out images are of another kind, other patients for example. (Meehan et al. 2020,
arXiv:2004.05675, compare the same distances.)
"""

import cv2
import numpy as np

SIDE, _SHIFT = 16, 1  # pixels; ours
SPACE = "16 x 16 pixels, shifted by up to 1 and mirrored, root mean square in [0, 1]"
CLOSE = 0.5  # ours: of the usual distance; a copy shifted by 5 % of its side has 0.3
MANY = 0.05  # ours: part of the samples that may be closer, beyond that of held-out images
_SHUFFLES, _BLOCK, _QUERIES = 999, 256, 1000


def thumbnails(images: np.ndarray) -> np.ndarray:
    """(B, H, W, C) float32 in [0, 1] -> (B, 16, 16, C) float32."""
    small = [cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for image in images]
    return np.float32(small).reshape(len(images), SIDE, SIDE, images.shape[-1])


def nearest(queries: np.ndarray, others: np.ndarray, itself: bool = False):
    """The nearest of `others` to each of `queries`, thumbnails (N, 16, 16, C) and (M, 16, 16, C).

    Args:
        itself: `queries` are the first of `others`; each is compared with the rest alone.

    Returns:
        Its number, (N,) int, and its distance, (N,) float64.
    """
    best, numbers = np.full(len(queries), np.inf), np.zeros(len(queries), int)
    for start in range(0, len(others), _BLOCK):
        squares = _squares(queries, others[start : start + _BLOCK])
        if itself:
            own = np.arange(start, min(len(queries), start + squares.shape[1]))
            squares[own, own - start] = np.inf
        place = squares.argmin(1)
        found = squares[np.arange(len(queries)), place]
        closer = found < best
        best[closer], numbers[closer] = found[closer], start + place[closer]
    return numbers, np.sqrt(best)


def _squares(queries: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Least mean squared differences over shifts and mirroring, (N, M) float64."""
    side, shifts = SIDE - 2 * _SHIFT, range(2 * _SHIFT + 1)
    middle = _rows(queries[:, _SHIFT:-_SHIFT, _SHIFT:-_SHIFT])
    moved = [
        _rows(images[:, top : top + side, left : left + side])
        for images in (others, others[:, :, ::-1])
        for top in shifts
        for left in shifts
    ]
    moved = np.concatenate(moved)
    squares = np.square(moved).sum(1) - 2 * np.float64(middle @ moved.T)
    least = squares.reshape(len(queries), -1, len(others)).min(1)
    return np.maximum(least + np.square(middle).sum(1)[:, None], 0) / middle.shape[1]


def _rows(thumbnails: np.ndarray) -> np.ndarray:
    """One row each, about 0, where float32 is finest."""
    return thumbnails.reshape(len(thumbnails), -1) - np.float32(0.5)


def copying(made, training, held_out, seed: int = 0) -> tuple[dict, np.ndarray, np.ndarray]:
    """Looks for copies.

    Args:
        made, training, held_out: thumbnails; at least one, two and one.
        seed: of the shuffles behind the p-value.

    Returns:
        The findings; for each sample the number of the nearest training image and its distance.
        The findings are

        - "copied", the part of the samples that count as copied, and "copied_held_out";
        - "closer_than_any_held_out", the part of the samples closer to a training image than
          every held-out image;
        - the median distance to the nearest training image: of "samples", "held_out" and
          "training" images, the last without themselves; "ratio" is the first by the second;
        - "nearest_is_held_out", the part of the samples whose nearest image is a held-out one,
          what is "expected" of no copying, and the "p_value" of so few or fewer, by shuffling
          which images were held out;
        - "warning": what is wrong, or None.
    """
    numbers, distances = nearest(made, training)
    _, held = nearest(held_out, training)
    _, own = nearest(training[:_QUERIES], training, itself=True)
    others, to_others = nearest(made, held_out)
    medians = {"samples": distances, "held_out": held, "training": own}
    medians = {key: float(np.median(values)) for key, values in medians.items()}
    bound = CLOSE * min(medians["held_out"], medians["training"])
    copied, copied_held_out = ((values < bound).mean() for values in (distances, held))

    winners = np.where(to_others < distances, len(training) + others, numbers)
    wins = np.bincount(winners, minlength=len(training) + len(held_out))
    rng, found = np.random.default_rng(seed), wins[len(training) :].sum()
    shuffled = [rng.permutation(wins)[: len(held_out)].sum() for _ in range(_SHUFFLES)]
    findings = {
        "copied": copied,
        "copied_held_out": copied_held_out,
        "closer_than_any_held_out": (distances < held.min()).mean(),
        **medians,
        "ratio": medians["samples"] / max(medians["held_out"], 1e-6),
        "nearest_is_held_out": found / len(made),
        "expected": len(held_out) / len(wins),
        "p_value": (1 + np.sum(shuffled <= found)) / (1 + _SHUFFLES),
    }
    findings = {key: round(float(value), 4) for key, value in findings.items()}
    warning = None
    if copied > copied_held_out + MANY:
        warning = (
            f"{copied:.0%} of the samples are copies of training images, of held-out images "
            f"{copied_held_out:.0%}. Train on more images, for fewer epochs, or with a smaller "
            "latent_dim or higher beta"
        )
    return findings | {"warning": warning}, numbers, distances
