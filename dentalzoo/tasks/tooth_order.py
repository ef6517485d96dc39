"""Doubts about the numbers of teeth: said for each image, since its picture looks right."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dentalzoo.tasks.image_lines import ImageLines
from dentalzoo.tasks.postprocessing import in_quadrant_order


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


class OrderWarnings(ImageLines):
    """Logs the images with numbers out of order, the first 20 one by one.

    Args:
        advice: what to do, the end of each line.
    """

    def __init__(self, advice: str) -> None:
        super().__init__()
        self._advice = advice

    def add(self, path: Path, numbers: Sequence[int]) -> None:
        """Take the numbers of an image that are out of order; none for most images."""
        if numbers:
            found = ", ".join(map(str, sorted(numbers)))
            self.log(
                path,
                f"not in the order of teeth: {found}; these numbers, or those beside them, are "
                f"wrong; {self._advice}",
            )

    def close(self) -> None:
        """Say how many images are left out of the log."""
        self.close_with(f"have numbers out of order; {self._advice}")


class UnnumberedWarnings(ImageLines):
    """Logs the images with outlines of teeth that have no number, the first 20 one by one."""

    def add(self, path: Path, pieces: int, share: float) -> None:
        """Take the pieces of an image that are as large as teeth, and their share of its mask."""
        if pieces:
            outlines = "an outline" if pieces == 1 else f"{pieces} outlines"
            self.log(
                path,
                f"{outlines} as large as a tooth without a number: no box of a tooth was found "
                f"there ({100 * share:.0f} % of the mask have no number)",
            )

    def close(self) -> None:
        """Say how many images are left out of the log."""
        self.close_with('have outlines of teeth without a number; see "tooth" in the results')
