"""Brightness and contrast of the views of a jaw, brought to those that a network knows."""

from collections.abc import Sequence

import numpy as np

LEVELS = (0.5, 0.95)
"""The quantiles of the grey values of a jaw, over all its views, that `match_tones` looks at."""

BLACK = 24
"""Grey value up to which a pixel shows no jaw, which is rendered with 40 to 245."""

FLAT = 4
"""Grey values between the two quantiles below which views stay as they are."""


def match_tones(views: np.ndarray, tones: Sequence[float]) -> np.ndarray:
    """Return views whose jaw is as bright, and as rich in contrast, as those known to a network.

    Views whose quantiles lie between the known ones stay as they are. Others get a power curve that
    gives both their usual values. Bundles whose config has `tones` do the same in their graph.

    Args:
        views: (V, S, S, 1 or 3) uint8, of one jaw.
        tones: six rising grey values: the least, the usual and the most of the median, then those
            of the 95 % quantile; none for views as they are.

    Returns:
        (V, S, S, 1 or 3) uint8; views without a jaw, or flat ones, as they are.
    """
    jaw = views > BLACK
    if not len(tones) or not jaw.any():
        return views
    middle, bright = np.quantile(views[jaw], LEVELS)
    least, median, most, low, top, high = tones
    if least <= middle <= most and low <= bright <= high or bright - middle < FLAT:
        return views
    gamma = np.log(median / top) / np.log(middle / bright)
    curve = np.minimum(top * (views / bright) ** gamma, 255)
    return np.where(jaw, np.rint(curve), views).astype(np.uint8)
