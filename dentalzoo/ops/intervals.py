"""Bootstrap intervals of means and other numbers over images, jaws or groups of them."""

import math
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache

import numpy as np

RESAMPLES = 1000  # ours
SEED = 0  # of the resamples where none is given: ours
_TAILS = (0.025, 0.975)  # of a 95 % interval
_BLOCK = 1 << 14  # counts of images in memory at a time

Statistic = Callable[[np.ndarray], np.ndarray]
"""(R, images) float64, how often each image counts in each of R resamples -> (R,) float64, NaN
where it is not defined."""


class Resamples:
    """Resamples of images with replacement; those of one group are drawn together.

    Two sets of resamples of the same groups and seed are the same, so that the difference of two
    numbers has a paired interval.

    Args:
        images: their number, each a group of its own; or the group of each, such as its patient.
        seed: of the draws.

    Attributes:
        images, groups: their numbers.
    """

    def __init__(self, images: int | Sequence[str], seed: int = SEED) -> None:
        groups = range(images) if isinstance(images, int) else list(images)
        numbers = {group: number for number, group in enumerate(dict.fromkeys(groups))}
        self._group_of = np.array([numbers[group] for group in groups], np.int64)
        self.images, self.groups, self._seed = len(groups), len(numbers), seed

    def blocks(self, others: int = 0) -> Iterator[np.ndarray]:
        """Yield (R, images) float64 in blocks: first all images once, then `RESAMPLES` resamples.

        There is no resample of fewer than two groups.

        Args:
            others: images that are drawn beside these; the blocks have as many rows as those of
                that many images more.
        """
        yield np.ones((1, self.images))
        if self.groups < 2:
            return
        drawn, rows = _drawn(self.groups, self._seed), max(1, _BLOCK // (self.images + others))
        for start in range(0, len(drawn), rows):
            yield drawn[start : start + rows, self._group_of].astype(np.float64)

    def values(self, statistic: Statistic) -> np.ndarray:
        """Return a statistic of all images once and then of each resample, (1 + R,) float64."""
        return np.concatenate([statistic(times) for times in self.blocks()])


@lru_cache(8)
def _drawn(groups: int, seed: int) -> np.ndarray:
    """Return how often each group is drawn in each resample, (RESAMPLES, groups) uint8."""
    rng = np.random.default_rng(seed)
    drawn = np.empty((RESAMPLES, groups), np.uint8)  # 256 times one happens once in 10^500
    rows = max(1, _BLOCK // groups)
    for start in range(0, RESAMPLES, rows):
        part = drawn[start : start + rows]
        part[:] = rng.multinomial(groups, np.full(groups, 1 / groups), size=len(part))
    drawn.flags.writeable = False
    return drawn


def bounds(values: np.ndarray) -> dict[str, float | None]:
    """Return a number with its 95 % interval (percentiles of the resamples).

    Args:
        values: (1 + R,), see `Resamples.values`; resamples with NaN do not count.

    Returns:
        "value", "low" and "high"; None where they are not defined. Without resamples, or where the
        number itself is not defined, there is no interval.
    """
    value, resampled = values[0], values[1:]
    known = resampled[~np.isnan(resampled)]
    if np.isnan(value) or not len(known):
        return {"value": _number(value), "low": None, "high": None}
    low, high = np.quantile(known, _TAILS)
    return {"value": _number(value), "low": _number(low), "high": _number(high)}


def interval(
    statistic: Statistic, images: int | Sequence[str], seed: int = SEED
) -> dict[str, float | None]:
    """Return a number over images with its 95 % bootstrap interval, see `Resamples` and `bounds`.

    With one image or group there is no interval.
    """
    return bounds(Resamples(images, seed).values(statistic))


def wilson(hits: int, count: int) -> dict[str, float | None]:
    """Return a share with its 95 % Wilson interval, for shares near 0 and 1, where bootstraps fail.

    Returns:
        "value", "low" and "high" as of `bounds`.
    """
    if not count:
        return {"value": None, "low": None, "high": None}
    z, share = 1.959964, hits / count
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * math.sqrt(share * (1 - share) / count + (z / count / 2) ** 2)
    low, high = max(0.0, middle - half), min(1.0, middle + half)
    return {"value": _number(share), "low": _number(low), "high": _number(high)}


# ---- statistics ----------------------------------------------------------------------------------


def mean_of(values: np.ndarray) -> Statistic:
    """Return the statistic "mean over images" of (images,) numbers, NaN where there is none."""
    present = ~np.isnan(values)
    return ratio_of(np.where(present, values, 0.0), present)


def ratio_of(parts: np.ndarray, wholes: np.ndarray) -> Statistic:
    """Return the statistic "sum of the parts over sum of the wholes" of (images,) numbers each."""
    parts, wholes = np.asarray(parts, np.float64), np.asarray(wholes, np.float64)
    return lambda times: quotient(times @ parts, times @ wholes)


def median_of(values: np.ndarray) -> Statistic:
    """Return the statistic "median over images" of (images,) numbers without NaN."""
    order = np.argsort(values, kind="stable")
    ranked = np.asarray(values, np.float64)[order]

    def median(times: np.ndarray) -> np.ndarray:
        counts = np.cumsum(times[:, order], axis=1)
        total = counts[:, -1:]
        middle = [
            ranked[np.minimum((counts <= rank).sum(1), len(ranked) - 1)]
            for rank in ((total - 1) // 2, total // 2)
        ]
        return np.where(total[:, 0] > 0, np.mean(middle, axis=0), np.nan)

    return median


def quotient(parts: np.ndarray, wholes: np.ndarray) -> np.ndarray:
    """Return parts / wholes, NaN where a whole is 0."""
    return np.where(wholes != 0, parts / np.where(wholes != 0, wholes, 1), np.nan)


def mean_of_known(columns: Sequence[np.ndarray]) -> np.ndarray:
    """Return the mean of (R,) numbers at each place without those that are NaN; NaN without any."""
    table = np.asarray(columns, np.float64)
    known = ~np.isnan(table)
    return quotient(np.where(known, table, 0.0).sum(0), known.sum(0))


def _number(value: float) -> float | None:
    return None if np.isnan(value) else round(float(value), 6)


# ---- words ---------------------------------------------------------------------------------------


def bounds_text(row: dict[str, float | None]) -> str:
    """Return the bounds of an `interval` as they are shown; empty where there are none."""
    low, high = row["low"], row["high"]
    return "" if low is None or high is None else f"  ({low:.4f} to {high:.4f})"


def cell_text(row: dict[str, float | None]) -> str:
    """Return an `interval` as it stands in a table; "-" for a value that is not defined."""
    value = row["value"]
    return "-" if value is None else f"{value:.4f}{bounds_text(row)[1:]}"
