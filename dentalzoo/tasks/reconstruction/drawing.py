"""Reconstructed jaws as images: what the cameras of the views see of points and meshes.

Distances are coloured from blue by yellow to red, in colours of Okabe & Ito, Color Universal
Design, 2008, which colour-blind people can tell apart.
"""

from collections.abc import Sequence

import cv2
import numpy as np
from PIL import Image, ImageDraw

from dentalzoo.data.io.mesh_files import Mesh
from dentalzoo.data.jaw_pose import SCALE
from dentalzoo.data.views import FIELD_OF_VIEW, VIEWS, Scene, brightness, cameras
from dentalzoo.ops.meshes import point_normals, unit
from dentalzoo.plots.contact_sheet import contact_sheet
from dentalzoo.plots.fonts import font
from dentalzoo.plots.pixels import fit
from dentalzoo.tasks.reconstruction.inference import Shape
from dentalzoo.tasks.reconstruction.scores import Errors

LIMIT = 2.0  # mm; ours: farther is drawn alike, so that the colours of all jaws compare
RAMP = ((86, 180, 233), (240, 228, 66), (213, 94, 0))  # from 0 over LIMIT / 2 to LIMIT
CAMERAS = {"from the front": 0, "from the right": 2, "from above": 9}
_PANEL, _SMALL, _CASE, _GAP = 340, 204, 260, 4  # pixels; ours
_RAYS = 2  # by 2 for each pixel, averaged
_BAR = (190, 14)  # pixels of the colour bar without its numbers, width and height
_WHITE, _INK = (255, 255, 255), (30, 30, 30)


def colours(distances: np.ndarray, limit: float = LIMIT) -> np.ndarray:
    """Colours (K, 3) float64 in [0, 255] of distances (K,) in mm."""
    places = np.linspace(0, limit, len(RAMP))
    return np.stack([np.interp(distances, places, c) for c in np.transpose(RAMP)], axis=1)


def draw(
    shape: Shape,
    numbers: Sequence[int],
    size: int = _PANEL,
    distances: np.ndarray | None = None,
) -> list[np.ndarray]:
    """What some of the ten cameras see of a jaw, as matt plaster on black.

    A mesh is ray-cast as the views are. A point is a small disc, turned as those around it lie.

    Args:
        shape: points or a mesh, in mm.
        numbers: of the cameras, 0..9.
        size: height and width in pixels.
        distances: in mm, of each point or vertex, to be coloured; None for grey.

    Returns:
        (size, size, 3) uint8 each.

    Raises:
        DentalzooError: it is a mesh and Open3D cannot be imported.
    """
    if shape.faces is None:
        look = _points_seen(shape.points, distances)
    else:
        look = _mesh_seen(shape, distances)
    images = []
    for number in numbers:
        image = np.zeros((size * _RAYS, size * _RAYS, 3), np.float32)
        hit, shades, values = look(cameras()[number], size * _RAYS)
        image[hit] = shades[:, None] * (1 if values is None else colours(values) / 255)
        small = cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA)
        images.append(np.rint(small).astype(np.uint8))
    return images


def _mesh_seen(shape: Shape, distances: np.ndarray | None):
    """A function from a camera and the side of its image in pixels to which of them show the
    mesh, (S, S) bool, and these ones' brightness and distances, (K,)."""
    scene = Scene(Mesh(np.float32(shape.points / SCALE), shape.faces))

    def look(camera, side):
        seen = scene.look(camera, side)
        if distances is None:
            return seen.hit, seen.brightness, None
        return seen.hit, seen.brightness, (distances[seen.corners] * seen.weights).sum(1)

    return look


def _points_seen(points: np.ndarray, distances: np.ndarray | None):
    """The same for points."""
    normals = point_normals(points)
    width, depth, _ = np.ptp(points, axis=0)
    apart = np.sqrt(2 * width * depth / len(points))  # a jaw has twice the area of its box

    def look(camera, side):
        eye, ahead, up = camera[0] * SCALE, *unit(np.stack([-camera[0], camera[1]]))
        across = unit(np.cross(ahead, up))
        from_eye = points - eye
        far = np.maximum(from_eye @ ahead, 1)
        focal = side / 2 / np.tan(np.deg2rad(FIELD_OF_VIEW / 2))  # pixels
        column = side / 2 + focal * (from_eye @ across) / far
        row = side / 2 - focal * (from_eye @ np.cross(across, ahead)) / far
        order = np.argsort(-far, kind="stable")  # the nearest is drawn last
        radius = np.clip(1.1 * apart * focal / np.median(far), 1, side / 40)
        down, right = _disc(radius)
        rows = np.floor(row[order, None]).astype(int) + down
        columns = np.floor(column[order, None]).astype(int) + right
        kept = (rows >= 0) & (rows < side) & (columns >= 0) & (columns < side)
        shown = np.full((side, side), -1)
        shown[rows[kept], columns[kept]] = np.broadcast_to(order[:, None], kept.shape)[kept]
        hit = shown >= 0
        shades = brightness(normals, -from_eye, camera)[shown[hit]]
        return hit, shades, None if distances is None else distances[shown[hit]]

    return look


def _disc(radius: float) -> tuple[np.ndarray, np.ndarray]:
    """The pixels around one that a disc covers: rows and columns, from its own."""
    reach = np.arange(-int(radius), int(radius) + 1)
    down, right = (part.ravel() for part in np.meshgrid(reach, reach, indexing="ij"))
    inside = down**2 + right**2 <= radius**2
    return down[inside], right[inside]


# ---- sheets --------------------------------------------------------------------------------------


def jaw_sheet(
    views: np.ndarray,
    places: Sequence[int],
    shape: Shape,
    truth: Shape | None = None,
    measured: Errors | None = None,
) -> np.ndarray:
    """The views of a jaw and what was made of them; beside it the truth, where it is known.

    Args:
        views: (V, S, S, 1 or 3) uint8.
        places: which of the ten each is.
        shape: the reconstruction.
        truth: the true jaw.
        measured: the distances between their points, with `truth`.

    Returns:
        (H, W, 3) uint8.
    """
    numbers = list(CAMERAS.values())
    what = f"{len(shape.points):,} points"
    if shape.faces is not None:
        what = f"a mesh of {len(shape.points):,} points and {len(shape.faces):,} faces"
    grid = _grid(views, places)
    rows = [
        ("All ten views" if len(views) == VIEWS else f"{len(views)} of ten views", grid),
        (
            f"Reconstruction, {what}:  {', '.join(CAMERAS)}",
            _beside(_closer(draw(shape, numbers))),
        ),
    ]
    if truth is not None:
        rows.append(("True jaw", _beside(_closer(draw(truth, numbers)))))
        rows.append(
            (told(measured), _beside(_closer(draw(shape, numbers, distances=measured.found))))
        )
        rows.append(("", colour_bar()))
    return contact_sheet([[image] for _, image in rows], [caption for caption, _ in rows])


def cases_sheet(cases: Sequence[tuple[str, Shape, Shape, np.ndarray]]) -> np.ndarray:
    """Jaws in rows, from above and from the front: true, reconstructed, and the distance.

    Args:
        cases: caption, reconstruction, truth, and how far each point or vertex of the
            reconstruction is from the truth in mm, of each jaw.

    Returns:
        (H, W, 3) uint8.
    """
    images, numbers = [], (CAMERAS["from above"], CAMERAS["from the front"])
    for _, shape, truth, distances in cases:
        columns = (truth, None), (shape, None), (shape, distances)
        drawn = [draw(what, numbers, distances=values) for what, values in columns]
        row = [image for view in zip(*drawn, strict=True) for image in view]
        images.append([fit(image, (_CASE, _CASE)) for image in _closer(row)])
    headings = ("True jaw", "Reconstruction", "Distance to the true jaw")
    bar = [colour_bar()] + [np.full((1, 1), 255, np.uint8)] * 5
    captions = [caption for caption, *_ in cases]
    return contact_sheet([*images, bar], [*captions, "Distance"], headings * 2)


def told(measured: Errors) -> str:
    """How far a reconstruction is from the truth, in a line."""
    found, true = measured.found, measured.true
    return (
        f"Distance to the true jaw: mean {found.mean():.2f} mm, 95 % below "
        f"{np.percentile(found, 95):.2f} mm; of the true jaw from it: mean {true.mean():.2f} mm"
    )


def colour_bar() -> np.ndarray:
    """The colours of distances with their mm, (H, W, 3) uint8."""
    width, height = _BAR
    bar = Image.new("RGB", (width + 70, height + 24), _WHITE)
    ramp = colours(np.linspace(0, LIMIT, width))
    bar.paste(Image.fromarray(np.uint8(np.tile(ramp, (height, 1, 1)))), (8, 0))
    pen = ImageDraw.Draw(bar)
    for value in np.linspace(0, LIMIT, 5):
        text = f"≥ {value:g} mm" if value == LIMIT else f"{value:g}"
        place = 8 + width * value / LIMIT
        pen.line((place, height, place, height + 4), _INK)
        pen.text((place - 4, height + 6), text, _INK, font(13))
    return np.asarray(bar)


def _grid(views: np.ndarray, places: Sequence[int]) -> np.ndarray:
    """The ten views in two rows, each in its place; those that were not given are left white."""
    cells = [np.full((_SMALL, _SMALL, 3), 255, np.uint8) for _ in range(VIEWS)]
    for view, place in zip(views, places, strict=True):
        image = fit(view, (_SMALL, _SMALL))
        cells[place][:] = image if image.ndim == 3 else image[..., None]
        cell = Image.fromarray(cells[place])
        ImageDraw.Draw(cell).text((6, 4), str(place), _WHITE, font(14))
        cells[place] = np.asarray(cell)
    half, gap = VIEWS // 2, np.full((_GAP, 1, 3), 255, np.uint8)
    upper, lower = _beside(cells[:half]), _beside(cells[half:])
    return np.concatenate([upper, np.repeat(gap, upper.shape[1], 1), lower])


def _closer(images: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Images of one size, cut alike around their middle to the square that shows something, and
    as large as before."""
    side = images[0].shape[0]
    shown = np.argwhere(np.max(images, axis=(0, 3)))
    half = side / 2 if not len(shown) else np.abs(shown - (side - 1) / 2).max() * 1.04 + 1
    cut = slice(max(0, int(side / 2 - half)), min(side, int(np.ceil(side / 2 + half))))
    return [fit(image[cut, cut], (side, side)) for image in images]


def _beside(images: Sequence[np.ndarray]) -> np.ndarray:
    """Images of one size in a row, with seams."""
    height, width = images[0].shape[:2]
    row = np.full((height, len(images) * (width + _GAP) - _GAP, 3), 255, np.uint8)
    for index, image in enumerate(images):
        left = index * (width + _GAP)
        row[:, left : left + width] = image
    return row
