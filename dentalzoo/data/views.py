"""Ten images of an upper jaw, as ten cameras at fixed places see it: no display, no GPU.

Nine cameras stand around the jaw, 40 degrees apart and 35 above the biting edges, and one above it;
view 0 looks at the front teeth, view 9 from the top, with the front teeth up. Rays are cast by
Open3D (Embree). The jaw is matt plaster on black, lit from the upper left of each camera.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from dentalzoo.atomic import stamp
from dentalzoo.data.io.mesh_files import Mesh
from dentalzoo.data.jaw_pose import SCALE
from dentalzoo.data.meshes import METHODS, MeshSample, load_mesh, sample_points
from dentalzoo.data.pipeline.batching import Cache
from dentalzoo.errors import BadFile, DentalzooError, require
from dentalzoo.ops.meshes import unit, vertex_normals

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
    """(10, 2, 3) float64: where each camera stands, and which way is up in its image; all of
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
    scene, side = Scene(mesh), size * _RAYS
    views = np.zeros((VIEWS, size, size, channels), np.uint8)
    for view, camera in zip(views, cameras(), strict=True):
        seen, image = scene.look(camera, side), np.zeros((side, side), np.float32)
        image[seen.hit] = seen.brightness
        small = cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA)
        view[:] = np.rint(small)[..., None]
    return views


@dataclass(frozen=True)
class Seen:
    """What the rays of a camera meet.

    Attributes:
        hit: (S, S) bool, which rays meet the mesh; K of them do.
        corners: (K, 3) int32, the vertices of the face that each of these meets.
        weights: (K, 3) float32, how near it is to each of them; their sum is 1.
        brightness: (K,) of the surface there, see `brightness`.
    """

    hit: np.ndarray
    corners: np.ndarray
    weights: np.ndarray
    brightness: np.ndarray


class Scene:
    """A mesh that cameras look at.

    Args:
        mesh: with vertices in the frame of the cameras.

    Raises:
        DentalzooError: Open3D cannot be imported.
    """

    def __init__(self, mesh: Mesh):
        open3d = _open3d()
        self._faces, self._normals = mesh.faces, vertex_normals(mesh.vertices, mesh.faces)
        # One thread: `Cache` reads several jaws at once
        self._scene = open3d.t.geometry.RaycastingScene(1)
        self._scene.add_triangles(
            open3d.core.Tensor(mesh.vertices.astype(np.float32)),
            open3d.core.Tensor(mesh.faces.astype(np.uint32)),
        )

    def look(self, camera: np.ndarray, side: int) -> Seen:
        """What one of `cameras`, (2, 3), sees with `side` by `side` rays."""
        eye, up = camera
        # Open3D's images are upside down and mirrored: turned by 180 degrees
        rays = self._scene.create_rays_pinhole(
            FIELD_OF_VIEW, [0, 0, 0], eye.tolist(), (-up).tolist(), side, side
        )
        met = self._scene.cast_rays(rays, nthreads=1)
        hit = np.isfinite(met["t_hit"].numpy())
        corners = self._faces[met["primitive_ids"].numpy()[hit].astype(np.int64)]
        u, v = met["primitive_uvs"].numpy()[hit].T
        weights = np.stack([1 - u - v, u, v], axis=1)
        normal = sum(weights[:, k, None] * self._normals[corners[:, k]] for k in range(3))
        shown = brightness(normal, -rays.numpy()[..., 3:][hit], camera)
        return Seen(hit, corners, weights, shown)


def brightness(normal: np.ndarray, back: np.ndarray, camera: np.ndarray) -> np.ndarray:
    """How bright surfaces are in a camera's image, whichever side of them is seen.

    Args:
        normal: (K, 3) of the surfaces, of any length.
        back: (K, 3) from them to the camera, of any length.
        camera: (2, 3), one of `cameras`.

    Returns:
        (K,) float64, from 40 to 245.
    """
    ahead, up = unit(camera)
    right = np.cross(up, ahead)
    light = unit(_LIGHT[0] * right + _LIGHT[1] * np.cross(ahead, right) + _LIGHT[2] * ahead)
    normal, back = unit(normal), unit(back)
    faced = np.where((normal * back).sum(1, keepdims=True) < 0, -normal, normal)
    return _DARK + (_BRIGHT - _DARK) * np.clip(faced @ light, 0, 1)


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
