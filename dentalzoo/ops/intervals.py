"""Bootstrap intervals of means and other numbers over images or jaws."""

from collections.abc import Callable

import numpy as np

RESAMPLES = 1000  # ours
_TAILS = (0.025, 0.975)  # of a 95 % interval


def interval(
    statistic: Callable[[np.ndarray], float | None], images: int, seed: int
) -> dict[str, float | None]:
    """Return a number with its 95 % bootstrap interval over images (percentiles).

    Args:
        statistic: (images,) int64, how often each image counts -> the number; None or NaN where it
            is not defined.
        images: their number.
        seed: of the resamples, the same for every number of a report.

    Returns:
        "value" of all images once, and "low" and "high"; None where they are not defined. With one
        image there is no interval.
    """
    value = _number(statistic(np.ones(images, np.int64)))
    if value is None or images < 2:
        return {"value": value, "low": None, "high": None}
    rng = np.random.default_rng(seed)
    times = rng.multinomial(images, np.full(images, 1 / images), size=RESAMPLES)
    values = [v for row in times if (v := _number(statistic(row))) is not None]
    low, high = np.quantile(values, _TAILS) if values else (np.nan, np.nan)
    return {"value": value, "low": _number(low), "high": _number(high)}


def mean_of(values: np.ndarray) -> Callable[[np.ndarray], float | None]:
    """Return the statistic "mean over images" of (images,) numbers, NaN where there is none."""
    present = ~np.isnan(values)
    filled = np.where(present, values, 0.0)

    def mean(times: np.ndarray) -> float | None:
        count = (times * present).sum()
        return float((times * filled).sum() / count) if count else None

    return mean


def _number(value: float | None) -> float | None:
    return None if value is None or np.isnan(value) else round(float(value), 6)


def bounds_text(row: dict[str, float | None]) -> str:
    """Return the bounds of an `interval` as they are shown; empty where there are none."""
    low, high = row["low"], row["high"]
    return "" if low is None or high is None else f"  ({low:.4f} to {high:.4f})"
