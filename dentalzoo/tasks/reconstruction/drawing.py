"""Reconstructed jaws as images: points and meshes as the cameras of the views see them.

Distances are coloured from blue by yellow to red, in colours of Okabe & Ito, Color Universal
Design, 2008, which colour-blind people can tell apart.
"""

from collections.abc import Callable, Sequence

import cv2
import numpy as np
from PIL import Image, ImageDraw

from dentalzoo.data.io.mesh_files import Mesh
from dentalzoo.data.jaw_pose import SCALE
from dentalzoo.data.views import FOCAL, VIEWS, Scene, brightness, cameras, image_axes
from dentalzoo.ops.meshes import kd_tree, point_normals
from dentalzoo.plots.contact_sheet import contact_sheet
from dentalzoo.plots.fonts import font
from dentalzoo.plots.palette import INK, SKY_BLUE, VERMILLION, WHITE, YELLOW
from dentalzoo.plots.pixels import fit
from dentalzoo.tasks.reconstruction.inference import Shape
from dentalzoo.tasks.reconstruction.scores import Errors

LIMIT = 2.0  # mm; ours: larger distances look the same, so that the colours of all jaws compare
RAMP = (SKY_BLUE, YELLOW, VERMILLION)  # from 0 over LIMIT / 2 to LIMIT
CAMERAS = {"from the front": 0, "from the right": 2, "from above": 9}
_PANEL, _SMALL, _CASE, _GAP = 340, 204, 260, 4  # pixels; ours
_RAYS = 2  # by 2 for each pixel, averaged
_DENSE = 0.6  # ours: pixels; of 50,000 random points of this spacing a few pixels in 100 lack one
_NEIGHBOURS = 8  # ours
_BAR = (190, 14)  # pixels of the colour bar without its numbers, width and height

_Seen = tuple[np.ndarray, np.ndarray, np.ndarray | None]  # mask, brightness, distances
_Look = Callable[[np.ndarray, int], _Seen]


def colours(distances: np.ndarray, limit: float = LIMIT) -> np.ndarray:
    """Return colours (K, 3) float64 in [0, 255] of distances (K,) in mm."""
    stops = np.linspace(0, limit, len(RAMP))
    return np.stack([np.interp(distances, stops, c) for c in np.transpose(RAMP)], axis=1)


def draw(
    shape: Shape,
    views: Sequence[int],
    size: int = _PANEL,
    distances: np.ndarray | None = None,
) -> list[np.ndarray]:
    """Draw a jaw as some of the ten cameras see it, as matt plaster on black.

    A mesh is ray-cast as the views are. A point is a small disc along the surface around it.

    Args:
        shape: points or a mesh, in mm.
        views: camera indices, 0..9.
        size: height and width in pixels.
        distances: in mm, of each point or vertex, shown as colours; None for grey.

    Returns:
        (size, size, 3) uint8 each.

    Raises:
        DentalzooError: it is a mesh and Open3D cannot be imported.
    """
    if shape.faces is None:
        look = _points_seen(shape.points, distances)
    else:
        look = _mesh_seen(shape, shape.faces, distances)
    images = []
    for index in views:
        image = np.zeros((size * _RAYS, size * _RAYS, 3), np.float32)
        hit, shades, values = look(cameras()[index], size * _RAYS)
        image[hit] = shades[:, None] * (1 if values is None else colours(values) / 255)
        small = cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA)
        images.append(np.rint(small).astype(np.uint8))
    return images


def _mesh_seen(shape: Shape, faces: np.ndarray, distances: np.ndarray | None) -> _Look:
    """Return a function from a camera and the side S of its image in pixels to the visible pixels.

    They are a mask (S, S) bool, and the brightness and distances (K,) of its pixels.
    """
    scene = Scene(Mesh(np.asarray(shape.points / SCALE, np.float32), faces))

    def look(camera: np.ndarray, side: int) -> _Seen:
        seen = scene.cast_rays(camera, side)
        if distances is None:
            return seen.hit, seen.brightness, None
        return seen.hit, seen.brightness, (distances[seen.corners] * seen.weights).sum(1)

    return look


def _points_seen(points: np.ndarray, distances: np.ndarray | None) -> _Look:
    """Return the same for points."""
    normals = point_normals(points)
    apart = _spacing(points)

    def look(camera: np.ndarray, side: int) -> _Seen:
        from_eye = points - camera[0] * SCALE
        across, down, ahead = (from_eye @ image_axes(camera).T).T
        far = np.maximum(ahead, 1)
        focal = side * FOCAL  # pixels
        column, row = side / 2 + focal * across / far, side / 2 + focal * down / far
        order = np.argsort(-far, kind="stable")  # the nearest is drawn last
        radius = 1.1 * apart * focal / np.median(far)
        radius = 0 if radius < _DENSE else np.clip(radius, 1, side / 40)
        down, right = _disc(radius)
        rows = np.floor(row[order, None]).astype(int) + down
        columns = np.floor(column[order, None]).astype(int) + right
        kept = (rows >= 0) & (rows < side) & (columns >= 0) & (columns < side)
        shown = np.full((side, side), -1)
        shown[rows[kept], columns[kept]] = np.broadcast_to(order[:, None], kept.shape)[kept]
        # Discs fill what is between points, and make no silhouette larger.
        middle = kept & (down == 0) & (right == 0)
        among = np.zeros((side, side), np.uint8)
        among[rows[middle], columns[middle]] = 1
        reach = int(radius) + (radius > 0)
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
        shown[cv2.morphologyEx(among, cv2.MORPH_CLOSE, kernel) == 0] = -1
        hit = shown >= 0
        shades = brightness(normals, -from_eye, camera)[shown[hit]]
        return hit, shades, None if distances is None else distances[shown[hit]]

    return look


def _spacing(points: np.ndarray) -> float:
    """Return how far points lie from each other, in mm: the side of the square of surface of one.

    In a plane n points lie within sqrt(n / pi) of it around a point.
    """
    count = min(_NEIGHBOURS, len(points) - 1)
    if count < 1:
        return 0.0
    some = points[:: max(1, len(points) // 2000)]
    reach = np.median(kd_tree(points).query(some, k=[count + 1])[0])
    return float(reach * np.sqrt(np.pi / count))


def _disc(radius: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the pixels around one that a disc covers: relative rows and columns."""
    reach = np.arange(-int(radius), int(radius) + 1)
    down, right = (part.ravel() for part in np.meshgrid(reach, reach, indexing="ij"))
    inside = down**2 + right**2 <= radius**2
    return down[inside], right[inside]


# ---- figures -------------------------------------------------------------------------------------


def jaw_figure(
    views: np.ndarray,
    cameras: Sequence[int] | np.ndarray,
    shape: Shape,
    ground_truth: Shape | None = None,
    measured: Errors | None = None,
) -> np.ndarray:
    """Draw the views of a jaw and its reconstruction, with the ground truth where it is known.

    Args:
        views: (V, S, S, 1 or 3) uint8.
        cameras: the camera index of each view.
        shape: the reconstruction.
        ground_truth: the true jaw.
        measured: the distances between them, with `ground_truth`.

    Returns:
        (H, W, 3) uint8.
    """
    shown = list(CAMERAS.values())
    content = f"{len(shape.points):,} points"
    if shape.faces is not None:
        content = f"a mesh of {len(shape.points):,} points and {len(shape.faces):,} faces"
    rows = [
        (
            "All ten views" if len(views) == VIEWS else f"{len(views)} of ten views",
            _grid(views, cameras),
        ),
        (
            f"Reconstruction, {content}:  {', '.join(CAMERAS)}",
            _beside(_closer(draw(shape, shown))),
        ),
    ]
    if ground_truth is not None and measured is not None:
        coloured = draw(shape, shown, distances=measured.pred_to_gt)
        rows.append(("Ground truth", _beside(_closer(draw(ground_truth, shown)))))
        rows.append((errors_text(measured), _beside(_closer(coloured))))
        rows.append(("", colour_bar()))
    return contact_sheet([[image] for _, image in rows], [caption for caption, _ in rows])


def cases_figure(cases: Sequence[tuple[str, Shape, Shape, np.ndarray]]) -> np.ndarray:
    """Draw jaws in rows, from above and from the front: ground truth, reconstruction, distance.

    Args:
        cases: for each jaw the caption, the reconstruction, the ground truth, and the distance of
            each point or vertex of the reconstruction to the ground truth in mm.

    Returns:
        (H, W, 3) uint8.
    """
    images, views = [], (CAMERAS["from above"], CAMERAS["from the front"])
    for _, shape, ground_truth, distances in cases:
        columns = (ground_truth, None), (shape, None), (shape, distances)
        drawn = [draw(part, views, distances=values) for part, values in columns]
        row = [image for view in zip(*drawn, strict=True) for image in view]
        images.append([fit(image, (_CASE, _CASE)) for image in _closer(row)])
    headings = ("Ground truth", "Reconstruction", "Distance")
    bar = [colour_bar()] + [np.full((1, 1), 255, np.uint8)] * 5
    captions = [caption for caption, *_ in cases]
    return contact_sheet([*images, bar], [*captions, "Distance"], headings * 2)


def errors_text(measured: Errors) -> str:
    """Describe the distances between a reconstruction and the ground truth in a line."""
    accuracy, completeness = measured.pred_to_gt, measured.gt_to_pred
    return (
        f"Distance to the ground truth (accuracy): mean {accuracy.mean():.2f} mm, 95 % below "
        f"{np.percentile(accuracy, 95):.2f} mm; completeness: mean {completeness.mean():.2f} mm"
    )


def colour_bar() -> np.ndarray:
    """Draw the colour bar of distances in mm, (H, W, 3) uint8."""
    width, height = _BAR
    bar = Image.new("RGB", (width + 70, height + 24), WHITE)
    ramp = colours(np.linspace(0, LIMIT, width))
    bar.paste(Image.fromarray(np.tile(ramp, (height, 1, 1)).astype(np.uint8)), (8, 0))
    pen = ImageDraw.Draw(bar)
    for value in np.linspace(0, LIMIT, 5):
        text = f"≥ {value:g} mm" if value == LIMIT else f"{value:g}"
        left = 8 + width * value / LIMIT
        pen.line((left, height, left, height + 4), INK)
        pen.text((left - 4, height + 6), text, INK, font(13))
    return np.asarray(bar)


def _grid(views: np.ndarray, cameras: Sequence[int] | np.ndarray) -> np.ndarray:
    """Lay out the ten views in two rows by camera index; missing views are left white."""
    cells = [np.full((_SMALL, _SMALL, 3), 255, np.uint8) for _ in range(VIEWS)]
    for view, camera in zip(views, cameras, strict=True):
        image = fit(view, (_SMALL, _SMALL))
        cells[camera][:] = image if image.ndim == 3 else image[..., None]
        cell = Image.fromarray(cells[camera])
        ImageDraw.Draw(cell).text((6, 4), str(camera), WHITE, font(14))
        cells[camera] = np.asarray(cell)
    half, gap = VIEWS // 2, np.full((_GAP, 1, 3), 255, np.uint8)
    upper, lower = _beside(cells[:half]), _beside(cells[half:])
    return np.concatenate([upper, np.repeat(gap, upper.shape[1], 1), lower])


def _closer(images: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Crop images of one size to the central square with content, and enlarge them again."""
    side = images[0].shape[0]
    shown = np.argwhere(np.max(images, axis=(0, 3)))
    half = side / 2 if not len(shown) else np.abs(shown - (side - 1) / 2).max() * 1.04 + 1
    cut = slice(max(0, int(side / 2 - half)), min(side, int(np.ceil(side / 2 + half))))
    return [fit(image[cut, cut], (side, side)) for image in images]


def _beside(images: Sequence[np.ndarray]) -> np.ndarray:
    """Lay out images of one size in a row, with seams."""
    height, width = images[0].shape[:2]
    row = np.full((height, len(images) * (width + _GAP) - _GAP, 3), 255, np.uint8)
    for index, image in enumerate(images):
        left = index * (width + _GAP)
        row[:, left : left + width] = image
    return row
