"""From lengths to pixels: exact coverage of outlines, and smooth random fields."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
import numpy.typing as npt

Window = tuple[slice, slice]
"""Rows and columns of a part of an image."""


@dataclass(frozen=True)
class Frame:
    """The pixels of an image and the transform from its units of length.

    Attributes:
        height, width: in pixels.
        matrix: (2, 3), from units x, y to pixels x, y.
        fine: sub-pixels along each side of a pixel, by which its coverage is measured.
    """

    height: int
    width: int
    matrix: np.ndarray
    fine: int = 4

    @cached_property
    def scale(self) -> float:
        """Pixels per unit (geometric mean of both axes)."""
        return float(np.sqrt(abs(np.linalg.det(self.matrix[:, :2]))))

    def pixels(self, points: npt.ArrayLike) -> np.ndarray:
        """Convert units (N, 2) x, y to continuous pixel coordinates (N, 2) x, y."""
        return np.asarray(points, float) @ self.matrix[:, :2].T + self.matrix[:, 2]

    def shrunk(self, factor: int) -> "Frame":
        """Return the frame of the same image with `factor` times fewer pixels along each side."""
        return Frame(-(-self.height // factor), -(-self.width // factor), self.matrix / factor, 2)

    def units(self, window: Window | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Return x and y in units at the centre of each pixel of a window: two float32 arrays."""
        rows, columns = window or (slice(0, self.height), slice(0, self.width))
        x = np.arange(columns.start, columns.stop) + (0.5 - self.matrix[0, 2])
        y = np.arange(rows.start, rows.stop)[:, None] + (0.5 - self.matrix[1, 2])
        inverse = np.linalg.inv(self.matrix[:, :2])
        across, down = ((a * x + b * y).astype(np.float32) for a, b in inverse)
        return across, down

    def window(self, outlines: Sequence[npt.ArrayLike], margin: float = 0.0) -> Window | None:
        """Return the window around outlines, `margin` pixels wider; None outside the image."""
        points = self.pixels(np.concatenate([np.asarray(outline) for outline in outlines]))
        low = np.maximum(np.floor(points.min(0) - margin), 0).astype(int)
        high = np.ceil(points.max(0) + margin).astype(int)
        high = np.minimum(high, (self.width, self.height))
        if (high <= low).any():
            return None
        return slice(low[1], high[1]), slice(low[0], high[0])

    def cover(
        self,
        outlines: Sequence[npt.ArrayLike],
        window: Window,
        thickness: float = 0.0,
        closed: bool = True,
    ) -> np.ndarray:
        """Return the part of each pixel of a window that the union of outlines covers.

        Args:
            outlines: (N, 2) arrays in units.
            window: of `window`.
            thickness: of the lines in units; 0 fills the outlines.
            closed: whether the lines return to their start.

        Returns:
            float32 (rows, columns) in [0, 1].
        """
        rows, columns = window
        shape = (rows.stop - rows.start, columns.stop - columns.start)
        fine = np.zeros((shape[0] * self.fine, shape[1] * self.fine), np.uint8)
        corner = np.array([columns.start, rows.start], float)
        wide = max(1, round(thickness * self.scale * self.fine))
        for outline in outlines:
            points = (self.pixels(outline) - corner) * self.fine - 0.5
            points = np.round(points * 16).astype(np.int32)
            if thickness:
                cv2.polylines(fine, [points], closed, 255, wide, shift=4)
            else:
                cv2.fillPoly(fine, [points], 255, shift=4)
        small = cv2.resize(fine, shape[::-1], interpolation=cv2.INTER_AREA)
        return small.astype(np.float32) * np.float32(1 / 255)


def field(
    rng: np.random.Generator, shape: tuple[int, int], cell: tuple[float, float]
) -> np.ndarray:
    """Generate smooth Gaussian noise, float32 of `shape`, with grains of `cell` (y, x) pixels."""
    small = [max(2, round(n / max(c, 1.0)) + 1) for n, c in zip(shape, cell, strict=True)]
    noise = rng.standard_normal(small, dtype=np.float32)
    return cv2.resize(noise, shape[::-1], interpolation=cv2.INTER_CUBIC)


def blur(image: np.ndarray, sigma: float) -> np.ndarray:
    """Blur with a Gaussian of `sigma` pixels; no blur below 0.2."""
    return cv2.GaussianBlur(image, (0, 0), sigma) if sigma > 0.2 else image


def wave(rng: np.random.Generator, count: int, cells: int) -> np.ndarray:
    """Generate smooth Gaussian noise along an axis, float32 (count,), with about `cells` grains."""
    return field(rng, (1, count), (1.0, count / cells))[0]
