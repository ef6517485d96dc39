"""Rendered views: ten images of an upper jaw from ten fixed cameras, without a display or a GPU.

Cameras 0 to 8 are around the jaw, 40 degrees apart and 35 degrees above the biting edges; camera 0
looks at the front teeth. Camera 9 is above the jaw, with the front teeth up. Open3D (Embree) casts
the rays. The jaw is rendered as matt plaster on black, lit from the upper left of each camera.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np

from dentalzoo.atomic import stamp
from dentalzoo.data.io.mesh_files import Mesh
from dentalzoo.data.io.view_files import VIEWS as VIEWS
from dentalzoo.data.jaw_pose import SCALE
from dentalzoo.data.meshes import METHODS, MeshSample, load_mesh, log_doubts, sample_points
from dentalzoo.data.pipeline import Cache
from dentalzoo.errors import BadFile, DentalzooError, require
from dentalzoo.ops.meshes import unit, vertex_normals

AZIMUTHS = tuple(range(0, 360, 40))  # degrees; the paper: nine around the jaw
ELEVATION = 35.0  # degrees; not stated; ours: crowns and the palate are visible
DISTANCE = 3.6  # not stated; ours: in units of 40 mm, so that no jaw is cut off
FIELD_OF_VIEW = 40.0  # degrees; not stated; ours
FOCAL = 0.5 / np.tan(np.deg2rad(FIELD_OF_VIEW / 2))  # in widths of the image
_RAYS = 2  # by 2 rays per pixel, averaged
DARK, BRIGHT = 40, 245  # grey values of the surface; the background is 0
_LIGHT = (-0.3, 0.4, 1.0)  # direction: to the right, up and towards the camera
_LIBRARIES = "libegl1 libgl1 libidn2-0 libudev1 libusb-1.0-0 libx11-6"


def cameras() -> np.ndarray:
    """Return the cameras, which look at 0: (10, 2, 3) float64, position and up vector of each."""
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


def image_axes(camera: np.ndarray) -> np.ndarray:
    """Return the axes of the image of a camera (2, 3): (3, 3) float64, right, down and ahead."""
    eye, up = camera
    ahead = -unit(eye)
    right = unit(np.cross(ahead, up))
    return np.stack([right, np.cross(ahead, right), ahead])


def camera_axes() -> np.ndarray:
    """Return `image_axes` of each of `cameras`: (10, 3, 3) float64."""
    return np.stack([image_axes(camera) for camera in cameras()])


def render_views(
    mesh: Mesh, size: int = 224, channels: int = 1, at: np.ndarray | None = None
) -> np.ndarray:
    """Render the ten views of a jaw.

    Both sides of a face are visible, so its winding does not matter.

    Args:
        mesh: with vertices in the frame of the cameras, see `dentalzoo.data.jaw_pose`.
        size: height and width in pixels.
        channels: 1, or 3 with grey repeated.
        at: (10, 2, 3), other positions and up vectors of the cameras; None for those of `cameras`.

    Returns:
        (10, size, size, channels) uint8.

    Raises:
        DentalzooError: size or channels is out of range, or Open3D cannot be imported.
    """
    if channels not in (1, 3) or size < 1 or int(size) != size:
        raise DentalzooError(
            "size must be an integer >= 1 and channels 1 or 3. "
            f"Received: size={size!r}, channels={channels!r}"
        )
    scene, side = Scene(mesh), size * _RAYS
    views = np.zeros((VIEWS, size, size, channels), np.uint8)
    for view, camera in zip(views, cameras() if at is None else at, strict=True):
        hits, image = scene.cast_rays(camera, side), np.zeros((side, side), np.float32)
        image[hits.hit] = hits.brightness
        small = cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA)
        view[:] = np.rint(small)[..., None]
    return views


def render_depth(mesh: Mesh, size: int = 224) -> np.ndarray:
    """Return how far the jaw is from each camera, along its axis, at the middle of each pixel.

    Args:
        mesh, size: as of `render_views`.

    Returns:
        (10, size, size, 1) float16 in units of 40 mm, to 0.08 mm; 0 beside the jaw.

    Raises:
        DentalzooError: as `render_views`.
    """
    scene = Scene(mesh)
    depth = np.zeros((VIEWS, size, size, 1), np.float16)
    for image, camera in zip(depth, cameras(), strict=True):
        hits = scene.cast_rays(camera, size)
        image[hits.hit, 0] = hits.depth
    return depth


@dataclass(frozen=True)
class RayHits:
    """The points where the rays of a camera meet the mesh.

    Attributes:
        hit: (S, S) bool, True for the K rays that meet the mesh.
        corners: (K, 3) int32, indices of the vertices of the face that each of these meets.
        weights: (K, 3) float32, barycentric coordinates of the point in the face.
        brightness: (K,) float64 of the surface there, see `brightness`.
        depth: (K,) float64, distance from the camera along its axis.
    """

    hit: np.ndarray
    corners: np.ndarray
    weights: np.ndarray
    brightness: np.ndarray
    depth: np.ndarray


class Scene:
    """A mesh in front of the cameras.

    Args:
        mesh: with vertices in the frame of the cameras.

    Raises:
        DentalzooError: Open3D cannot be imported.
    """

    def __init__(self, mesh: Mesh) -> None:
        open3d = import_open3d()
        self._faces, self._normals = mesh.faces, vertex_normals(mesh.vertices, mesh.faces)
        # One thread: `Cache` loads several jaws in parallel
        self._scene = open3d.t.geometry.RaycastingScene(1)
        self._scene.add_triangles(
            open3d.core.Tensor(mesh.vertices.astype(np.float32)),
            open3d.core.Tensor(mesh.faces.astype(np.uint32)),
        )

    def cast_rays(self, camera: np.ndarray, side: int) -> RayHits:
        """Cast the rays of a camera.

        Args:
            camera: (2, 3), one of `cameras`.
            side: number of rays S along each side of the image.
        """
        eye, up = camera
        # Open3D's images are upside down and mirrored: rotated by 180 degrees
        rays = self._scene.create_rays_pinhole(
            FIELD_OF_VIEW, [0, 0, 0], eye.tolist(), (-up).tolist(), side, side
        )
        result = self._scene.cast_rays(rays, nthreads=1)
        hit = np.isfinite(result["t_hit"].numpy())
        corners = self._faces[result["primitive_ids"].numpy()[hit].astype(np.int64)]
        u, v = result["primitive_uvs"].numpy()[hit].T
        weights = np.stack([1 - u - v, u, v], axis=1)
        normal: Any = sum(weights[:, k, None] * self._normals[corners[:, k]] for k in range(3))
        ahead = rays.numpy()[..., 3:][hit]
        depth = result["t_hit"].numpy()[hit] * (ahead @ -unit(eye))
        return RayHits(hit, corners, weights, brightness(normal, -ahead, camera), depth)


def brightness(normal: np.ndarray, back: np.ndarray, camera: np.ndarray) -> np.ndarray:
    """Shade surfaces in a camera's image, whichever of their sides is visible.

    Args:
        normal: (K, 3) normals of the surfaces, of any length.
        back: (K, 3) vectors from them to the camera, of any length.
        camera: (2, 3), one of `cameras`.

    Returns:
        (K,) float64 grey values in [40, 245].
    """
    light = _light(camera)
    normal, back = unit(normal), unit(back)
    faced = np.where((normal * back).sum(1, keepdims=True) < 0, -normal, normal)
    return DARK + (BRIGHT - DARK) * np.clip(faced @ light, 0, 1)


def lights() -> np.ndarray:
    """Return the direction from the jaw to the light of each of `cameras`: (10, 3), of length 1."""
    return np.stack([_light(camera) for camera in cameras()])


def _light(camera: np.ndarray) -> np.ndarray:
    ahead, up = unit(camera)
    right = np.cross(up, ahead)
    light: np.ndarray = _LIGHT[0] * right + _LIGHT[1] * np.cross(ahead, right) + _LIGHT[2] * ahead
    return unit(light)


def import_open3d() -> ModuleType:
    """Import Open3D, which needs libraries of the system even without a screen.

    Raises:
        DentalzooError: it or a library cannot be imported; the message has the command.
    """
    try:
        return require("open3d", "jaw-reconstruction")
    except (DentalzooError, OSError) as error:
        cause = error.__cause__ or error
        if isinstance(cause, ModuleNotFoundError):
            raise
        raise DentalzooError(
            "the system libraries of open3d must be installed (Debian, Ubuntu: "
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
    depth: bool = False,
) -> dict[str, np.ndarray]:
    """Load a jaw as the input of a network, ten views, and its ground truth, points.

    Args:
        sample: of `dentalzoo.data.meshes.find_meshes`.
        size, channels: of `render_views`.
        num_points, method, seed: of `dentalzoo.data.meshes.sample_points`.
        depth: add "depth", of `render_depth`.

    Returns:
        "views": (10, size, size, channels) uint8; "points": (num_points, 3) float32 in the frame
        of the cameras, 40 mm = 1; "centre": (3,) float32 mm and "turned": () bool, its pose.

    Raises:
        BadFile: as `dentalzoo.data.meshes.load_mesh`.
    """
    mesh, pose = load_mesh(sample)
    log_doubts(sample.name, mesh, pose)
    posed = Mesh(pose.apply(mesh.vertices), mesh.faces)
    try:
        points = sample_points(posed, num_points, method, seed)
    except DentalzooError as error:
        raise BadFile(sample.mesh, str(error)) from error
    added = {"depth": render_depth(posed, size)} if depth else {}
    return added | {
        "views": render_views(posed, size, channels),
        "points": points,
        "centre": np.array(pose.centre, np.float32),
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
    depth: bool = False,
) -> Cache:
    """Render and sample every jaw once, for `dentalzoo.data.pipeline.batching.batches`.

    Args:
        samples: of `dentalzoo.data.meshes.find_meshes`.
        folder: where to keep the results, from which an interrupted run resumes; None for memory.
        size, channels, num_points, method, seed: of `load_views`.
        strict: raise for the first bad file instead of skipping it.
        depth: of `load_views`.

    Raises:
        DentalzooError: a setting is invalid, no jaw can be used, or Open3D cannot be imported.
    """
    import_open3d()
    if method not in METHODS:
        raise DentalzooError(f"method must be one of {METHODS}. Received: {method!r}")
    settings = (size, channels, num_points, method, seed, depth)
    files = [(stamp(s.mesh), s.labels and stamp(s.labels)) for s in samples]
    look = (AZIMUTHS, ELEVATION, DISTANCE, FIELD_OF_VIEW, _RAYS, DARK, BRIGHT, _LIGHT, SCALE)
    return Cache(
        [sample.name for sample in samples],
        lambda index: load_views(samples[index], *settings),
        folder,
        (settings, files, look),
        strict,
    )
