"""Silhouettes of views: whether images can be views of one jaw, and whether a jaw agrees with them.

The cameras are known, so the silhouettes of a jaw determine each other: the largest solid that no
silhouette cuts, the visual hull, must fill every silhouette (Laurentini 1994). Images that are
mirrored, turned, in another order, or of several jaws leave a part of some silhouette empty.
"""

import functools
import logging
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from dentalzoo.data.shading import light_side, shading_doubts
from dentalzoo.data.views import FOCAL, VIEWS, cameras, image_axes
from dentalzoo.errors import BadFile

_log = logging.getLogger("dentalzoo")

# ours: the part of a silhouette that the visual hull fills. The least of ten views of 21 jaws and
# rows of crowns was 0.999, at 32 x 32 pixels 0.991, shifted by 3 of 224 pixels 0.986; with two
# views exchanged at most 0.939, mirrored 0.833, numbered one off 0.876.
MIN_COHERENCE = 0.96
# ours: of 40 synthetic jaws and 40 rows of crowns, of 224 to 96 pixels, at least 0.999, as JPEG of
# quality 10 at least 0.995; turned by 5 degrees 0.986 to 0.998, of two jaws 0.83 to 0.998
_SURE_COHERENCE = 0.994
_SURE_SIDE = 96  # pixels
_SIDE = 112  # ours: pixels
_STEP = 0.03  # ours: side of a voxel in units of 40 mm
_BOX = (
    1.3,
    1.3,
    0.78,
)  # half the box of the voxels; jaws of 100 x 90 x 60 mm are 1.25 x 1.13 x 0.75
_BACKGROUND = 20  # grey values above it are the jaw, which is rendered with 40 to 245
_MIN_BRIGHT = 60  # ours: 95 % of a jaw are darker; rendered jaws reach 200
# ours: the mean IoU of a good reconstruction's silhouettes and those of the views. The least of 11
# jaws and rows of crowns was 0.85, with an enlarged row 0.64.
MIN_AGREEMENT = 0.8
# ours: `light_side` of ten views of 51 jaws and rows of crowns was -0.19 to -0.08, at 64 x 64
# pixels up to -0.04; mirrored, it has the other sign
_MIRRORED_LIGHT = 0.03
_MIN_AREA = 0.005  # ours: of an image
_SQUARE = np.ones((3, 3), np.uint8)


def project(points: np.ndarray, camera: np.ndarray, side: int) -> np.ndarray:
    """Project points into the image of a camera.

    Args:
        points: (N, 3) in the frame of the cameras, in front of the camera.
        camera: (2, 3), one of `dentalzoo.data.views.cameras`.
        side: height and width of the image in pixels.

    Returns:
        (N, 2) int64, column and row, clipped to the image.
    """
    local = (np.asarray(points) - camera[0]) @ image_axes(camera).T
    pixels = side / 2 + side * FOCAL * local[:, :2] / local[:, 2:]
    return np.clip(np.floor(pixels), 0, side - 1).astype(np.int64)


def silhouettes(views: np.ndarray) -> np.ndarray:
    """Return where views (V, S, S, C) uint8 show the jaw: (V, 112, 112) bool."""
    shape = np.uint8(255) * (views.max(axis=3) > _BACKGROUND)
    size = (_SIDE, _SIDE)
    return np.stack([cv2.resize(s, size, interpolation=cv2.INTER_AREA) >= 128 for s in shape])


def coherence(shapes: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Return the part of each silhouette that the visual hull of all of them fills.

    Args:
        shapes: (V, 112, 112) bool, of `silhouettes`.
        numbers: (V,) camera index of each.

    Returns:
        (V,) float64 in [0, 1].
    """
    pixels = _voxels()
    inside = np.arange(pixels.shape[1])
    for shape, number in zip(shapes, numbers, strict=True):
        wide = cv2.dilate(shape.astype(np.uint8), _SQUARE).ravel() > 0
        inside = inside[wide[pixels[number, inside]]]
    filled = []
    for shape, number in zip(shapes, numbers, strict=True):
        hull = np.zeros(_SIDE * _SIDE, np.uint8)
        hull[pixels[number, inside]] = 1
        wide = cv2.dilate(hull.reshape(_SIDE, _SIDE), _SQUARE) > 0
        filled.append(wide[shape].mean() if shape.any() else 0.0)
    return np.array(filled)


def agreement(points: np.ndarray, views: np.ndarray, numbers: np.ndarray) -> float:
    """Return how well a jaw agrees with views: the mean IoU of its silhouettes and theirs.

    Args:
        points: (N, 3) in the frame of the cameras; some 50,000, so that they fill a silhouette.
        views: (V, S, S, C) uint8.
        numbers: (V,) camera index of each.
    """
    scores = []
    for shape, camera in zip(silhouettes(views), cameras()[numbers], strict=True):
        seen = np.zeros((_SIDE, _SIDE), np.uint8)
        column, row = project(points, camera, _SIDE).T
        seen[row, column] = 1
        jaw = cv2.morphologyEx(seen, cv2.MORPH_CLOSE, _SQUARE) > 0
        scores.append((jaw & shape).sum() / max((jaw | shape).sum(), 1))
    return float(np.mean(scores))


def check_views(folder: Path, views: np.ndarray, numbers: np.ndarray) -> None:
    """Check that images can be views of one jaw from the zoo's cameras.

    Args:
        folder: what errors name.
        views: (V, S, S, C) uint8.
        numbers: (V,) camera index of each.

    Raises:
        BadFile: the background is not black, two images are the same, an image is nearly black, or
            the silhouettes contradict each other; the message says what would make them agree.

    Silhouettes that hardly agree, light from the wrong side, other grey values than rendered ones
    and a jaw that is cut off are logged.
    """
    for view, number in zip(views, numbers, strict=True):
        grey = view.max(axis=2)
        border = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
        if np.median(border) > _BACKGROUND:
            raise BadFile(
                folder,
                "the background of a view must be black, as `dentalzoo views` renders it; is it "
                f"inverted, or on white? Received: view {number} with {np.median(border):.0f} "
                "along its border",
            )
    shapes = silhouettes(views)
    for one, (view, number) in enumerate(zip(views, numbers, strict=True)):
        bright = np.percentile(view[view > 4], 95) if (view > 4).any() else 0
        if shapes[one].mean() < _MIN_AREA or bright < _MIN_BRIGHT:
            raise BadFile(
                folder,
                "a view must show the jaw in grey values of 40 to 245. "
                f"Received: view {number}, nearly black",
            )
        for other in range(one):
            if np.abs(view.astype(np.int16) - views[other]).mean() < 0.5:
                raise BadFile(
                    folder,
                    "views must be from different cameras. "
                    f"Received: the same image as view {numbers[other]} and view {number}",
                )
    filled = coherence(shapes, numbers)
    if filled.min() < MIN_COHERENCE:
        remedies = [text for text, *changed in _remedies(shapes, numbers) if _agree(*changed)]
        advice = " or ".join(remedies[:3]) or "in another order, of other cameras or several jaws"
        raise BadFile(
            folder,
            "the silhouettes of the views must agree with the cameras, see `dentalzoo views`; "
            f"they seem to be {advice}. Received: views that leave {1 - filled.min():.0%} of view "
            f"{numbers[filled.argmin()]} empty",
        )
    if filled.min() < _SURE_COHERENCE and views.shape[1] >= _SURE_SIDE:
        _log.warning(
            "%s: the silhouettes of the views agree less than those of one jaw do (%.3f of view %d "
            "is filled, expected %.3f): of two jaws, or turned, shifted or enlarged?",
            folder,
            filled.min(),
            numbers[filled.argmin()],
            _SURE_COHERENCE,
        )
    if len(views) >= 8 and views.shape[1] >= _SURE_SIDE and light_side(views) > _MIRRORED_LIGHT:
        _log.warning(
            "%s: the jaw is lit from the right instead of the left: are the views mirrored, and "
            "numbered the other way around?",
            folder,
        )
    if doubts := shading_doubts(views):
        _log.warning(
            "%s: the views are shaded otherwise than `dentalzoo views` renders them, which makes "
            "the reconstruction worse: %s",
            folder,
            "; ".join(doubts),
        )
    edge = np.concatenate([shapes[:, 0], shapes[:, -1], shapes[:, :, 0], shapes[:, :, -1]], axis=1)
    if edge.mean(axis=1).max() > 0.02:  # ours
        number = numbers[edge.mean(axis=1).argmax()]
        _log.warning("%s: view %d cuts the jaw off at its border: is it enlarged?", folder, number)


def _agree(shapes: np.ndarray, numbers: np.ndarray) -> bool:
    return coherence(shapes, numbers).min() >= MIN_COHERENCE


def _remedies(
    shapes: np.ndarray, numbers: np.ndarray
) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Yield what may be wrong with views, and the views and numbers without that fault."""
    yield "mirrored left to right", shapes[:, :, ::-1], numbers
    yield "upside down", shapes[:, ::-1], numbers
    yield "rotated by 180 degrees", shapes[:, ::-1, ::-1], numbers
    for turns in (1, 3):
        yield f"rotated by {90 * turns} degrees", np.rot90(shapes, turns, (1, 2)), numbers
    yield "in reverse order", shapes, VIEWS - 1 - numbers
    around = VIEWS - 1
    ring = numbers < around
    yield "numbered the other way around", shapes, np.where(ring, -numbers % around, numbers)
    yield "counted from 1, or with the view from above first", shapes, (numbers - 1) % VIEWS
    for off in (1, -1, 2, -2, 3, -3, 4, -4):
        text = f"numbered {abs(off)} too {'high' if off > 0 else 'low'}"
        yield text, shapes, np.where(ring, (numbers - off) % around, numbers)


@functools.cache
def _voxels() -> np.ndarray:
    """Return the pixel (row * 112 + column) of each voxel in each camera: (10, N) int32."""
    axes = [np.arange(-half, half, _STEP) for half in _BOX]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    pixels = [project(points, camera, _SIDE) for camera in cameras()]
    return np.stack([p[:, 1] * _SIDE + p[:, 0] for p in pixels]).astype(np.int32)
