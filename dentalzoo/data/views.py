"""Ten pictures of an upper jaw, as ten cameras at fixed places see it: no display, no GPU.

Nine cameras stand around the jaw, 40 degrees apart and 35 above the biting edges, and one above it;
view 0 looks at the front teeth, view 9 from the top, with the front teeth up. Rays are cast by
Open3D (Embree). The jaw is matt plaster on black, lit from the upper left of each camera.
"""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from dentalzoo.data.jaw_pose import SCALE
from dentalzoo.data.mesh_files import Mesh
from dentalzoo.data.meshes import METHODS, MeshSample, load_mesh, sample_points
from dentalzoo.data.pipeline import Cache
from dentalzoo.errors import BadFile, DentalzooError, require
from dentalzoo.files import stamp
from dentalzoo.ops.meshes import normals

VIEWS = 10  # the paper
AZIMUTHS = tuple(range(0, 360, 40))  # the paper: nine around it
ELEVATION = 35.0  # not stated; ours: crowns and the palate are seen
DISTANCE = 3.6  # not stated; ours: in units of 40 mm, so that no jaw is cut off
FIELD_OF_VIEW = 40.0  # degrees; not stated; ours
_RAYS = 2  # by 2 for each pixel, averaged
_DARK, _BRIGHT = 40, 245  # of the surface; what no ray meets is 0
_LIGHT = (-0.3, 0.4, 1.0)  # to the right, up and towards the camera
_LIBRARIES = "libegl1 libgl1 libidn2-0 libudev1 libusb-1.0-0 libx11-6"


def cameras() -> np.ndarray:
    """(10, 2, 3) float64: where each camera stands, and which way is up in its picture; all of
    them look at 0."""
    azimuth, tilt = np.deg2rad(AZIMUTHS), np.deg2rad(ELEVATION)
    eyes = np.stack(
        [
            np.sin(azimuth) * np.cos(tilt),
            -np.cos(azimuth) * np.cos(tilt),
            np.full(len(AZIMUTHS), np.sin(tilt)),
        ],
        axis=1,
    )
    around = np.stack([eyes * DISTANCE, np.tile((0.0, 0.0, 1.0), (len(eyes), 1))], axis=1)
    return np.concatenate([around, [[(0, 0, DISTANCE), (0, -1, 0)]]])


def render_views(mesh: Mesh, size: int = 224, channels: int = 1) -> np.ndarray:
    """The ten views of a jaw.

    Both sides of a face are seen, so its winding does not matter.

    Args:
        mesh: with vertices in the frame of the cameras, see `dentalzoo.data.jaw_pose`.
        size: height and width in pixels.
        channels: 1, or 3 with grey repeated.

    Returns:
        (10, size, size, channels) uint8.

    Raises:
        DentalzooError: size or channels is unknown, or Open3D cannot be imported.
    """
    if channels not in (1, 3) or size < 1 or int(size) != size:
        raise DentalzooError(
            "size is a whole number of pixels and channels 1 or 3. "
            f"Received: size={size!r}, channels={channels!r}"
        )
    open3d = _open3d()
    scene = open3d.t.geometry.RaycastingScene(1)  # threads: `Cache` reads several jaws at once
    scene.add_triangles(
        open3d.core.Tensor(mesh.vertices.astype(np.float32)),
        open3d.core.Tensor(mesh.faces.astype(np.uint32)),
    )
    smooth = _vertex_normals(mesh)
    views = [_view(scene, mesh.faces, smooth, *camera, size) for camera in cameras()]
    return np.repeat(np.stack(views)[..., None], channels, axis=-1)


def _view(scene, faces, smooth, eye, up, size) -> np.ndarray:
    """(size, size) uint8."""
    side = size * _RAYS
    # Open3D's pictures are upside down and mirrored: turned by 180 degrees
    rays = scene.create_rays_pinhole(
        FIELD_OF_VIEW, [0, 0, 0], eye.tolist(), (-up).tolist(), side, side
    )
    seen = scene.cast_rays(rays, nthreads=1)
    hit = np.isfinite(seen["t_hit"].numpy())
    corners = faces[seen["primitive_ids"].numpy()[hit].astype(np.int64)]
    u, v = seen["primitive_uvs"].numpy()[hit].T[..., None]
    normal = _unit(
        (1 - u - v) * smooth[corners[:, 0]] + u * smooth[corners[:, 1]] + v * smooth[corners[:, 2]]
    )
    back = _unit(-rays.numpy()[..., 3:][hit])
    right = np.cross(_unit(up), _unit(eye))
    above = np.cross(_unit(eye), right)
    light = _unit(_LIGHT[0] * right + _LIGHT[1] * above + _LIGHT[2] * _unit(eye))
    faced = np.where((normal * back).sum(1, keepdims=True) < 0, -normal, normal)
    image = np.zeros((side, side), np.float32)
    image[hit] = _DARK + (_BRIGHT - _DARK) * np.clip(faced @ light, 0, 1)
    small = cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA)
    return np.rint(small).astype(np.uint8)


def _vertex_normals(mesh: Mesh) -> np.ndarray:
    """(V, 3) float64, of any length: the faces around a vertex, each by its area."""
    directions, areas = normals(mesh.vertices, mesh.faces)
    cross, sums = directions * areas[:, None], np.empty(mesh.vertices.shape)
    for axis in range(3):
        sums[:, axis] = np.bincount(
            mesh.faces.ravel(), np.repeat(cross[:, axis], 3), len(mesh.vertices)
        )
    return _unit(sums)


def _unit(vectors: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / np.maximum(length, 1e-12)


def _open3d():
    """Open3D, which needs libraries of the system even where it draws nothing on a screen."""
    try:
        return require("open3d", "jaw_reconstruction")
    except (DentalzooError, OSError) as error:
        cause = error.__cause__ or error
        if isinstance(cause, ModuleNotFoundError):
            raise
        raise DentalzooError(
            "open3d lacks a library of the system; install it (Debian, Ubuntu: "
            f"apt-get install {_LIBRARIES}). Received: {cause}"
        ) from error


# ---- samples -------------------------------------------------------------------------------------


def load_views(
    sample: MeshSample,
    size: int = 224,
    channels: int = 1,
    num_points: int = 50_000,
    method: str = "area",
    seed: int = 0,
) -> dict[str, np.ndarray]:
    """Loads a jaw as a network sees it and as it is.

    Args:
        size, channels: of `render_views`.
        num_points, method, seed: of `dentalzoo.data.meshes.sample_points`.

    Returns:
        "views": (10, size, size, channels) uint8; "points": (num_points, 3) float32 in the frame
        of the cameras, 40 mm = 1; "centre": (3,) float32 mm and "turned": () bool, its pose.

    Raises:
        BadFile: as `dentalzoo.data.meshes.load_mesh`.
    """
    mesh, pose = load_mesh(sample)
    seen = Mesh(pose.apply(mesh.vertices), mesh.faces)
    try:
        points = sample_points(seen, num_points, method, seed)
    except DentalzooError as error:
        raise BadFile(sample.mesh, str(error)) from error
    return {
        "views": render_views(seen, size, channels),
        "points": points,
        "centre": np.float32(pose.centre),
        "turned": np.array(pose.turned),
    }


def cache_views(
    samples: Sequence[MeshSample],
    folder: str | Path | None = None,
    size: int = 224,
    channels: int = 1,
    num_points: int = 50_000,
    method: str = "area",
    seed: int = 0,
    strict: bool = False,
) -> Cache:
    """Draws every jaw once, for `dentalzoo.data.pipeline.batches`.

    Args:
        samples: of `dentalzoo.data.meshes.find_meshes`.
        folder: where to keep what was drawn, and to go on after a kill; None for memory.
        size, channels, num_points, method, seed: of `load_views`.
        strict: raise for the first bad file instead of skipping it.

    Raises:
        DentalzooError: a setting is unknown, no jaw can be used, or Open3D cannot be imported.
    """
    _open3d()
    if method not in METHODS:
        raise DentalzooError(f"method is one of {METHODS}. Received: {method!r}")
    settings = (size, channels, num_points, method, seed)
    files = [(stamp(s.mesh), s.labels and stamp(s.labels)) for s in samples]
    look = (AZIMUTHS, ELEVATION, DISTANCE, FIELD_OF_VIEW, _RAYS, _DARK, _BRIGHT, _LIGHT, SCALE)
    return Cache(
        [sample.name for sample in samples],
        lambda index: load_views(samples[index], *settings),
        folder,
        (settings, files, look),
        strict,
    )


def check_views(views: np.ndarray, path: str | Path = "views") -> np.ndarray:
    """Views as a network reads them, refused by name where they are not ten.

    Raises:
        BadFile: they are not (10, S, S, 1 or 3) uint8, or one of them shows nothing.
    """
    views = np.asarray(views)
    if views.dtype != np.uint8 or views.ndim != 4 or views.shape[1] != views.shape[2]:
        raise BadFile(path, f"expected uint8 (10, S, S, C). Received: {views.dtype} {views.shape}")
    if len(views) != VIEWS or views.shape[3] not in (1, 3):
        raise BadFile(path, f"expected {VIEWS} views of 1 or 3 channels. Received: {views.shape}")
    flat = np.ptp(views.reshape(VIEWS, -1), axis=1) == 0
    if flat.any():
        raise BadFile(path, f"expected a jaw in every view. Received: view {flat.argmax()} is flat")
    return views
