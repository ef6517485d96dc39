"""Where radiograph units become pixels: exact coverage of outlines, smooth random fields."""

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np


@dataclass(frozen=True)
class Frame:
    """A radiograph of (height, width) pixels and the (2, 3) matrix from radiograph units to its
    pixels.

    `fine` is the number of sub-pixels a side by which the coverage of a pixel is counted.
    """

    height: int
    width: int
    matrix: np.ndarray
    fine: int = 4

    @cached_property
    def scale(self) -> float:
        """Pixels per radiograph unit (geometric mean of both axes)."""
        return float(np.sqrt(abs(np.linalg.det(self.matrix[:, :2]))))

    def pixels(self, points) -> np.ndarray:
        """Radiograph units (N, 2) x, y -> continuous pixel coordinates (N, 2) x, y."""
        return np.asarray(points, float) @ self.matrix[:, :2].T + self.matrix[:, 2]

    def shrunk(self, factor: int) -> "Frame":
        """The same radiograph with `factor` times fewer pixels a side."""
        return Frame(-(-self.height // factor), -(-self.width // factor), self.matrix / factor, 2)

    def units(self, window=None) -> tuple[np.ndarray, np.ndarray]:
        """Radiograph units x, y at the centre of every pixel of a window: two float32 arrays."""
        rows, columns = window or (slice(0, self.height), slice(0, self.width))
        x = np.arange(columns.start, columns.stop) + (0.5 - self.matrix[0, 2])
        y = np.arange(rows.start, rows.stop)[:, None] + (0.5 - self.matrix[1, 2])
        inverse = np.linalg.inv(self.matrix[:, :2])
        return tuple((a * x + b * y).astype(np.float32) for a, b in inverse)

    def window(self, outlines, margin: float = 0.0) -> tuple[slice, slice] | None:
        """The rows and columns around outlines, or None where they miss the radiograph."""
        points = self.pixels(np.concatenate(outlines))
        low = np.maximum(np.floor(points.min(0) - margin), 0).astype(int)
        high = np.ceil(points.max(0) + margin).astype(int)
        high = np.minimum(high, (self.width, self.height))
        if (high <= low).any():
            return None
        return slice(low[1], high[1]), slice(low[0], high[0])

    def cover(self, outlines, window, thickness: float = 0.0, closed: bool = True) -> np.ndarray:
        """How much of each pixel of a window the union of outlines covers.

        Args:
            outlines: (N, 2) arrays in radiograph units.
            window: rows and columns, from `window`.
            thickness: 0 fills; more draws the lines alone, that many units thick.
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


def field(rng, shape: tuple[int, int], cell: tuple[float, float]) -> np.ndarray:
    """Smooth gaussian noise, float32 of `shape`, whose grains are `cell` (y, x) pixels wide."""
    small = [max(2, round(n / max(c, 1.0)) + 1) for n, c in zip(shape, cell, strict=True)]
    noise = rng.standard_normal(small, dtype=np.float32)
    return cv2.resize(noise, shape[::-1], interpolation=cv2.INTER_CUBIC)


def blur(image: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian unsharpness of `sigma` pixels; none under 0.2."""
    return cv2.GaussianBlur(image, (0, 0), sigma) if sigma > 0.2 else image


def wave(rng, count: int, cells: int) -> np.ndarray:
    """Smooth gaussian noise along one axis, float32 (count,), with about `cells` grains."""
    return field(rng, (1, count), (1.0, count / cells))[0]
