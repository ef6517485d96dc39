"""Test-time augmentation: an image is seen flipped too, and what was found is flipped back."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dentalzoo.data.teeth import have_sides, mirrored
from dentalzoo.errors import DentalzooError


@dataclass(frozen=True)
class Flip:
    """A way to see an image, and back.

    Attributes:
        across: left and right change places.
        down: top and bottom change places.
    """

    across: bool = False
    down: bool = False

    def image(self, image: np.ndarray) -> np.ndarray:
        """Return a flipped image or mask (H, W, ...); twice gives the same one."""
        return np.ascontiguousarray(image[:: -1 if self.down else 1, :: -1 if self.across else 1])

    def boxes(self, boxes: np.ndarray) -> np.ndarray:
        """Return flipped boxes (N, 4), top, left, bottom, right in [0, 1]; twice gives the same."""
        top, left, bottom, right = np.asarray(boxes).reshape(-1, 4).T
        if self.down:
            top, bottom = 1 - bottom, 1 - top
        if self.across:
            left, right = 1 - right, 1 - left
        return np.stack([top, left, bottom, right], 1)

    def classes(self, classes: np.ndarray, names: Sequence[str]) -> np.ndarray:
        """Return class ids from 1; those of a side become their mirror images where `across`."""
        ids = np.asarray(classes)
        if not self.across:
            return ids
        return np.array([0, *mirrored(names)], ids.dtype)[ids]


def flips_of(tta: Sequence[str], names: Sequence[str], bundle: str) -> tuple[Flip, ...]:
    """Return all ways to see an image, the image itself first.

    Args:
        tta: of "horizontal" and "vertical"; with both there are four ways.
        names: of the classes.
        bundle: its name, for the message.

    Raises:
        DentalzooError: upside down, upper teeth would be lower ones; or the mirror image of a class
            is not among them.
    """
    if "vertical" in tta and have_sides(names):
        raise DentalzooError(
            f"tta must not be vertical for {bundle}, whose classes are tooth numbers, or have "
            f"sides: upside down, upper teeth stand as lower ones do. Received: {' '.join(tta)}"
        )
    across = (False, True) if "horizontal" in tta else (False,)
    if True in across:
        mirrored(names)
    down = (False, True) if "vertical" in tta else (False,)
    return tuple(Flip(x, y) for y in down for x in across)
