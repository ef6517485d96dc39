"""The teeth of a mask one by one: divided by the boxes of a bundle that numbers teeth."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
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
# Ours: the least part of a tooth's largest piece that another piece of it has.
_MIN_PIECE = 0.1
_NONE = 256  # stands for the pixels of the mask that belong to no tooth
# Ours: the least part of a tooth that a piece without a number must have to be called one. On 32
# validation radiographs 15 pieces had 0.43 or more, all parts of teeth, and 29 at most 0.27.
_LIKE_A_TOOTH = 0.4
_SHARE = 0.007  # of an image: a tooth, where none has a number

UNNUMBERED = "tooth"
"""Name of the class of what has no number."""


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


def like_teeth(unnumbered: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Return the pieces without a number that are as large as a good part of a tooth.

    Args:
        unnumbered: (H, W) bool: what of a mask has no number.
        ids: (H, W) uint8, the teeth that have one, whose median area is that of a tooth.

    Returns:
        (H, W) int32: 0 for none, else the number of a piece, 1..P.
    """
    areas = np.bincount(ids.ravel(), minlength=2)[1:]
    tooth = float(np.median(areas[areas > 0])) if areas.any() else _SHARE * ids.size
    _, pieces, stats, _ = cv2.connectedComponentsWithStats(
        np.asarray(unnumbered, np.uint8), connectivity=4
    )
    large = stats[:, cv2.CC_STAT_AREA] >= _LIKE_A_TOOTH * tooth
    large[0] = False  # the background
    renumbered: np.ndarray = np.where(large, np.cumsum(large), 0).astype(np.int32)[pieces]
    return renumbered


def divide(mask: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Return for each pixel of a mask the box whose ellipse it is nearest to.

    Where boxes overlap, as those of neighbours do, the ellipse that fills a box follows a tooth
    better than its edges. Pixels that are far out of all boxes belong to none. A tooth is one
    piece wherever the mask allows it, see `in_one_piece`.

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
    return in_one_piece(nearest, mask)


def in_one_piece(ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return teeth without strays: pieces that do not touch the largest one of their tooth.

    A stray becomes part of what it touches: the tooth that it has the longest border with, or the
    part of the mask without a number, where that is larger than the stray. One that touches
    nothing stays where it has a tenth of the largest piece, as the root below a gap in the mask
    has; a smaller one loses its number. Pixels touch by an edge.

    Args:
        ids: (H, W) uint8: 0 for no tooth.
        mask: (H, W) bool: what the teeth were divided from.

    Returns:
        (H, W) uint8: 0 for no tooth.
    """
    pieces, owner, area = _pieces(np.where(mask & (ids == 0), np.int32(_NONE), ids))
    borders = _borders(pieces, len(owner))
    settled = np.zeros_like(owner)  # of each piece its tooth; 0 for a stray
    largest: dict[int, int] = {}  # of each tooth the pixels of its largest piece
    order = np.argsort(-area[1:], kind="stable") + 1
    for piece in order.tolist():
        tooth = int(owner[piece])
        if tooth == _NONE or tooth not in largest:
            settled[piece] = tooth
            largest.setdefault(tooth, int(area[piece]))

    def neighbour(stray: int) -> int:
        lengths: Counter[int] = Counter()
        for piece, length in borders[stray].items():
            if settled[piece] != _NONE or area[piece] > area[stray]:
                lengths[int(settled[piece])] += length
        del lengths[0]
        return max(lengths, key=lambda tooth: (lengths[tooth], -tooth), default=0)

    strays = [piece for piece in order.tolist() if not settled[piece]]
    while strays:
        moved = {stray: tooth for stray in strays if (tooth := neighbour(stray))}
        if not moved:  # the largest one, so that others may touch it
            small = area[strays[0]] < _MIN_PIECE * largest[owner[strays[0]]]
            moved = {strays[0]: _NONE if small else int(owner[strays[0]])}
        for stray, tooth in moved.items():
            settled[stray] = tooth
        strays = [stray for stray in strays if stray not in moved]
    return np.where(settled == _NONE, 0, settled).astype(np.uint8)[pieces]


def _pieces(ids: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the pieces of all teeth: (H, W) int32 1..P, and of each its tooth and its pixels."""
    pieces = np.zeros(ids.shape, np.int32)
    owner, area = [0], [0]
    for tooth in np.unique(ids[ids > 0]).tolist():
        mine = np.asarray(ids == tooth, np.uint8)
        left, top, width, height = cv2.boundingRect(mine)
        window = slice(top, top + height), slice(left, left + width)
        count, names, stats, _ = cv2.connectedComponentsWithStats(mine[window], connectivity=4)
        inside = names > 0
        pieces[window][inside] = names[inside] + (len(owner) - 1)
        owner += [tooth] * (count - 1)
        area += stats[1:, cv2.CC_STAT_AREA].tolist()
    return pieces, np.array(owner), np.array(area)


def _borders(pieces: np.ndarray, count: int) -> list[Counter[int]]:
    """Return for each piece those that it touches, with the length of the border in pixels."""
    borders: list[Counter[int]] = [Counter() for _ in range(count)]
    for one, other in ((pieces[1:], pieces[:-1]), (pieces[:, 1:], pieces[:, :-1])):
        touching = (one != other) & (one > 0) & (other > 0)
        for a, b in zip(one[touching].tolist(), other[touching].tolist(), strict=True):
            borders[a][b] += 1
            borders[b][a] += 1
    return borders


def _axis(start: float, stop: float, size: int) -> tuple[slice, np.ndarray]:
    """Return the pixels that a side of a box reaches, and their distance in halves of it."""
    middle, half = (start + stop) / 2, max((stop - start) / 2, 0.5)
    reach = half * (1 + _MARGIN)
    first, last = max(0, int(middle - reach)), min(size, int(np.ceil(middle + reach)))
    pixels = np.arange(first, max(first, last))
    return slice(first, max(first, last)), (pixels + 0.5 - middle) / half
