"""Shading of views: whether images are as bright, as sharp and lit from where rendered views are.

The network has learned one light and one matt surface, so it takes grey values for slopes. Images
of another exposure, light or program look like views, and lead to another jaw: said, not refused.
"""

import cv2
import numpy as np

from dentalzoo.data.io.mesh_files import Mesh
from dentalzoo.data.views import Scene, cameras

_SIDE = 112  # ours: pixels
_BACKGROUND = 20  # grey values above it are the jaw, which is rendered with 40 to 245
# ours, measured with a morphable bundle on views of 224 pixels: of 60 synthetic jaws and 60 rows
# of crowns (seeds 1000 to 1059) the extremes, all views together and each alone, also at 64 and 32
# pixels; beside them the mean error of 3 jaws, 0.35 mm unchanged, just beyond the threshold.
_MIN_BRIGHT = 185  # 95 % are darker: 195 to 245; times 0.7: 167, 0.46 mm, times 0.5: 0.72 mm
_MAX_WHITE = 0.25  # part of 250 or more: 0; times 1.2: 0.39, 0.37 mm, times 3: 0.96, 0.45 mm
_MIN_SPREAD = 0.13  # deviation by brightness: 0.15 to 0.33; two fifths: 0.09, 0.42 mm; 0: 0.54 mm
_MIN_SHARPNESS = 0.1  # 0.18 to 0.38; blurred by 2 pixels 0.12, 0.37 mm, 3: 0.08, 0.41, 5: 0.53 mm
_MIN_SHARP_SIDE = 96  # pixels of views; smaller ones are enlarged
# ours: of 40 synthetic jaws and 40 rows of crowns (seeds 1000 to 1039), reconstructed, it was 3.1
# to 9.4, above 8 only for a jaw with an error of 0.67 mm, whose worst view had 13.6; of a real row
# 7.2; lit from in front, from the right, from below 12 to 43, of twice or half the brightness
# 57 and more, inverted 100, depth maps 30 and more
MAX_DIFFERENCE = 10.0
"""The largest `shading_difference` of a good reconstruction and its views, in grey values."""


def shading_doubts(views: np.ndarray) -> list[str]:
    """Describe in what the grey values of views differ from rendered ones.

    Args:
        views: (V, S, S, C) uint8.

    Returns:
        A phrase each, with what was seen and what was expected; none for rendered views.
    """
    values = views.max(axis=3)
    values = values[values > _BACKGROUND]
    if not len(values):
        return []
    doubts = []
    bright, white, spread = np.percentile(values, 95), np.mean(values >= 250), values.std()
    if bright < _MIN_BRIGHT:
        doubts.append(f"95 % of the jaw is darker than {bright:.0f}, of rendered views than 230")
    if white > _MAX_WHITE:
        doubts.append(f"{white:.0%} of the jaw is white (250 or more), of rendered views nothing")
    if spread < _MIN_SPREAD * bright:
        doubts.append(
            f"the jaw is flat, grey values {values.mean():.0f} +- {spread:.0f}, "
            "of rendered views 180 +- 50"
        )
    if views.shape[1] >= _MIN_SHARP_SIDE and spread > 1 and sharpness(views) < _MIN_SHARPNESS:
        doubts.append(
            f"the jaw is blurred, sharpness {sharpness(views):.2f}, of rendered views at least 0.18"
        )
    return doubts


def sharpness(views: np.ndarray) -> float:
    """Return how fast grey values change their slope within the jaw, compared with the slope.

    Args:
        views: (V, S, S, C) uint8.

    Returns:
        The mean over the views of the mean absolute Laplacian by the mean gradient.
    """
    values = []
    for grey in _small(views):
        inside = _inside(grey, np.ones((5, 5), np.uint8))
        if inside.any():
            bend = np.abs(cv2.Laplacian(grey, cv2.CV_32F)[inside]).mean()
            across, down = (cv2.Sobel(grey, cv2.CV_32F, *way)[inside] for way in ((1, 0), (0, 1)))
            values.append(float(bend / max(np.hypot(across, down).mean(), 1e-3)))
    return float(np.mean(values)) if values else 0.0


def light_side(views: np.ndarray) -> float:
    """Return from which side views are lit: below 0 from the left, as rendered, above 0 the right.

    It is the mean change of brightness to the right within the jaw, by its mean size. Silhouettes
    do not show views that are mirrored and numbered the other way around; the light does.
    """
    sides = []
    for grey in _small(views):
        smooth = cv2.GaussianBlur(grey, (0, 0), 0.7)
        change = cv2.Sobel(smooth, cv2.CV_32F, 1, 0)[_inside(grey, np.ones((5, 5), np.uint8))]
        if change.size:
            sides.append(float(change.mean() / max(np.abs(change).mean(), 1e-6)))
    return float(np.mean(sides)) if sides else 0.0


def shading_difference(jaw: Mesh, views: np.ndarray, numbers: np.ndarray) -> float:
    """Return how much the grey values of views differ from those of a jaw, rendered.

    A wrong shape shows within its silhouette, and so do another light, exposure or surface.

    Args:
        jaw: in the frame of the cameras, 40 mm = 1.
        views: (V, S, S, C) uint8.
        numbers: (V,) camera index of each.

    Returns:
        The mean absolute difference of grey values of 0 to 255 where both show the jaw; 255 where
        they have no place in common.

    Raises:
        DentalzooError: Open3D cannot be imported.
    """
    scene, differences = Scene(jaw), []
    for grey, camera in zip(_small(views), cameras()[numbers], strict=True):
        hits = scene.cast_rays(camera, _SIDE)
        rendered = np.zeros((_SIDE, _SIDE), np.float32)
        rendered[hits.hit] = hits.brightness
        both = np.minimum(grey, rendered)
        inside = _inside(both, np.ones((7, 7), np.uint8))
        if inside.any():  # smooth: fissures a pixel off are no other light
            one, other = (cv2.GaussianBlur(image, (0, 0), 1.5) for image in (grey, rendered))
            differences.append(float(np.abs(one - other)[inside].mean()))
    return float(np.mean(differences)) if differences else 255.0


def _small(views: np.ndarray) -> list[np.ndarray]:
    """Return views (V, S, S, C) as (112, 112) float32 each."""
    size = (_SIDE, _SIDE)
    return [
        cv2.resize(grey, size, interpolation=cv2.INTER_AREA).astype(np.float32)
        for grey in views.max(axis=3)
    ]


def _inside(grey: np.ndarray, square: np.ndarray) -> np.ndarray:
    """Return where an image shows the jaw, without its border: bool."""
    return cv2.erode((grey > _BACKGROUND).astype(np.uint8), square) > 0
