"""Images as uint8 pixels, of the size and with the channels that a figure needs."""

import cv2
import numpy as np

PANEL = (620, 420)  # the largest panel of a contact sheet, (width, height) in pixels; ours


def as_pixels(image: np.ndarray) -> np.ndarray:
    """Return (H, W, 1 or 3) float in [0, 1] or uint8 as (H, W, 1 or 3) uint8."""
    if image.dtype == np.uint8:
        return image
    return np.asarray(np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8)


def as_rgb(image: np.ndarray) -> np.ndarray:
    """Return a copy of (H, W), (H, W, 1) or (H, W, 3) as (H, W, 3)."""
    image = without_channel(image)
    return np.repeat(image[..., None], 3, axis=2) if image.ndim == 2 else image.copy()


def without_channel(array: np.ndarray) -> np.ndarray:
    """Return (H, W, 1) as (H, W), anything else as it is."""
    return array[..., 0] if array.ndim == 3 and array.shape[2] == 1 else array


def fit(array: np.ndarray, box: tuple[int, int] = PANEL, ids: bool = False) -> np.ndarray:
    """Return an image resized to the largest size within a box.

    Args:
        array: (H, W), (H, W, 1) or (H, W, 3) uint8.
        box: width and height in pixels.
        ids: the values are class ids: take the nearest one instead of an average.

    Returns:
        (H', W') or (H', W', 3) uint8.
    """
    height, width = array.shape[:2]
    scale = min(box[0] / width, box[1] / height)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    smooth = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    interpolation = cv2.INTER_NEAREST if ids else smooth
    return cv2.resize(without_channel(array), size, interpolation=interpolation)
