"""Numbers that contradict where their teeth stand: said for each image, since they look right."""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dentalzoo.tasks.postprocessing import in_quadrant_order

_log = logging.getLogger("dentalzoo")

_MAX_LINES = 20  # of warnings in the log


def out_of_order(boxes: np.ndarray, scores: np.ndarray, numbers: np.ndarray) -> list[int]:
    """Return the positions of the boxes that `in_quadrant_order` would drop, ascending.

    Of the annotated teeth of 84 real radiographs (`dentex_fdi`), which stand as they are numbered,
    these are one of 2,477.

    Args:
        boxes: (N, 4) on a radiograph that is not mirrored.
        scores: (N,), positive.
        numbers: (N,) FDI numbers, no two the same.
    """
    kept = in_quadrant_order(boxes, scores, numbers)
    return [int(index) for index in np.setdiff1d(np.arange(len(scores)), kept)]


class OrderWarnings:
    """Logs the images with such numbers, the first 20 one by one.

    Args:
        advice: what to do, the end of each line.
    """

    def __init__(self, advice: str) -> None:
        self._advice = advice
        self._images = 0

    def add(self, path: Path, numbers: Sequence[int]) -> None:
        """Take the numbers of an image that are out of order; none for most images."""
        if not numbers:
            return
        self._images += 1
        if self._images <= _MAX_LINES:
            found = ", ".join(map(str, sorted(numbers)))
            _log.warning(
                "%s: not in the order of teeth: %s; these numbers, or those beside them, are "
                "wrong; %s",
                path,
                found,
                self._advice,
            )

    def close(self) -> None:
        """Say how many images are left out of the log."""
        if (more := self._images - _MAX_LINES) > 0:
            _log.warning("and %d more images have numbers out of order; %s", more, self._advice)
