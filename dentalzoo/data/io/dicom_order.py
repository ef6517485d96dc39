"""The order of the bytes of DICOM words, where the transfer syntax contradicts what they are."""

from __future__ import annotations

import numpy as np

_MANY = 8  # ours: so many times smoother is the image with the other order; a ramp is about 250
_MIN_PIXELS = 1024  # fewer tell nothing


def is_swapped(words: np.ndarray) -> bool:
    """Return whether the bytes of words that use all 16 bits are in the wrong order.

    Neighbouring pixels are alike. With the bytes exchanged, the lower byte, which differs most,
    counts 256 times.

    Args:
        words: (H, W) integers of 0..65535.
    """
    if words.size < _MIN_PIXELS or min(words.shape) < 2:
        return False
    swapped = (words >> 8) | ((words & 255) << 8)
    return bool(_roughness(words) > _MANY * max(_roughness(swapped), 1e-9))


def _roughness(words: np.ndarray) -> float:
    """Return the mean step between neighbours as a share of the spread of all values."""
    low, high = np.percentile(words, (5, 95))
    steps = np.abs(np.diff(words.astype(np.int64), axis=1))
    return float(steps.mean()) / max(float(high - low), 1.0)
