"""The teeth of a mask one by one: divided by the boxes of a bundle that numbers teeth."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dentalzoo import bundle as bundles
from dentalzoo.data.teeth import tooth_numbers
from dentalzoo.errors import DentalzooError
from dentalzoo.tasks.detector import Detections, Detector, class_names, operating_threshold
from dentalzoo.tasks.options import BoxOptions

if TYPE_CHECKING:
    from dentalzoo.bundle import Bundle

# Ours: how far a tooth may reach out of its box, in half sides. Better than 0.05 for boxes that are
# some percent off, on drawn radiographs.
_MARGIN = 0.2


@dataclass(frozen=True)
class Teeth:
    """The numbered teeth of an image, in the order of their numbers.

    Attributes:
        ids: (H, W) uint8: of each pixel of the mask its tooth, as a class id of the bundle that
            numbers them; 0 for none.
        boxes: (K, 4) float32, top, left, bottom, right in [0, 1]: as found.
        scores: (K,) float32 in [0, 1].
        classes: (K,) int32, from 1, no two the same.
    """

    ids: np.ndarray
    boxes: np.ndarray
    scores: np.ndarray
    classes: np.ndarray


class Numbering:
    """What divides masks of teeth into numbered ones.

    Args:
        reference: a bundle of the task "detection" whose classes are FDI numbers, loaded or as
            `load` takes it.
        teeth: "single" or "ordered", see `Detector`.

    Attributes:
        bundle: the loaded bundle.
        detector: it as a function.
        classes: its names of the class ids 1..n.
        numbers: their FDI numbers.

    Raises:
        DentalzooError: there is no such bundle, or it does not number teeth.
    """

    def __init__(self, reference: "Bundle | str | Path", teeth: str = "single") -> None:
        self.bundle: Bundle = (
            bundles.load(reference) if isinstance(reference, str | Path) else reference
        )
        task = self.bundle.metadata["task"]
        self.classes = class_names(self.bundle) if task == "detection" else ()
        numbers = tooth_numbers(self.classes)
        if numbers is None:
            found = ", ".join(self.classes) or f"a bundle for {task}"
            raise DentalzooError(
                "instances must be a bundle for detection whose classes are FDI numbers (11 to "
                f"48). Received: {self.bundle.name} with {found}"
            )
        self.numbers = numbers
        self.threshold = operating_threshold(self.bundle, None)
        self.detector = Detector(self.bundle, BoxOptions(teeth=teeth))

    def __call__(self, image: np.ndarray, mask: np.ndarray) -> Teeth:
        """Return the teeth of an image.

        Args:
            image: (H, W, 1 or 3) uint8.
            mask: (H, W) or (H, W, 1), 0 for background.

        Raises:
            DentalzooError: the bundle refuses the image.
        """
        return self.teeth_of(mask, self.detector(image))

    def teeth_of(self, mask: np.ndarray, found: Detections) -> Teeth:
        """Return the teeth of a mask, as `__call__`, from boxes that the detector has chosen."""
        found = found.take(found.scores >= self.threshold)
        found = found.take(np.argsort(np.array(self.numbers)[found.classes - 1], kind="stable"))
        nearest = divide(mask.reshape(mask.shape[:2]) > 0, found.boxes)
        ids = np.concatenate([[0], found.classes]).astype(np.uint8)[nearest]
        return Teeth(ids, found.boxes, found.scores, found.classes)

    def as_numbers(self, ids: np.ndarray) -> np.ndarray:
        """Return class ids as FDI numbers, uint8; 0 stays."""
        return np.array([0, *self.numbers], np.uint8)[ids]


def divide(mask: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Return for each pixel of a mask the box whose ellipse it is nearest to.

    Where boxes overlap, as those of neighbours do, the ellipse that fills a box follows a tooth
    better than its edges. Pixels that are far out of all boxes belong to none.

    Args:
        mask: (H, W) bool.
        boxes: (K, 4), top, left, bottom, right in [0, 1]; K up to 255.

    Returns:
        (H, W) uint8: 0 for no box, else 1..K.
    """
    height, width = mask.shape
    nearest = np.zeros(mask.shape, np.uint8)
    distance = np.full(mask.shape, np.inf, np.float32)
    edges = np.asarray(boxes, np.float64).reshape(-1, 4) * [height, width, height, width]
    for number, (top, left, bottom, right) in enumerate(edges, 1):
        rows, down = _axis(top, bottom, height)
        columns, across = _axis(left, right, width)
        part = rows, columns
        mine = np.hypot(down[:, None], across[None])
        better = mask[part] & (mine < distance[part])
        distance[part][better] = mine[better]
        nearest[part][better] = number
    return nearest


def _axis(start: float, stop: float, size: int) -> tuple[slice, np.ndarray]:
    """Return the pixels that a side of a box reaches, and their distance in halves of it."""
    middle, half = (start + stop) / 2, max((stop - start) / 2, 0.5)
    reach = half * (1 + _MARGIN)
    first, last = max(0, int(middle - reach)), min(size, int(np.ceil(middle + reach)))
    pixels = np.arange(first, max(first, last))
    return slice(first, max(first, last)), (pixels + 0.5 - middle) / half
