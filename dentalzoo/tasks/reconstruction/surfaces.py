"""A surface through the points of a reconstruction, for bundles that return points alone.

Screened Poisson reconstruction (Kazhdan, Hoppe 2013, doi:10.1145/2487228.2487237) by Open3D. It
closes every gap, so what lies far from all points is cut off again: gaps stay gaps.
"""

import numpy as np

from dentalzoo.data.jaw_pose import SCALE
from dentalzoo.data.silhouettes import project
from dentalzoo.data.views import cameras, import_open3d
from dentalzoo.ops import meshes
from dentalzoo.tasks.reconstruction.inference import Shape

_DEPTH = 7  # ours: cells of 0.7 mm; 8 took four times as long and was no better
_REACH = 0.8  # mm; ours: 0.3 mm lie between 50,000 points of a jaw; 1.6 closes gaps
_SIDE = 128  # ours: pixels of the depth maps that tell which points a camera sees
_HIDDEN = 1.2  # mm; ours: a point so far behind another one is not seen


def surface_of(points: np.ndarray) -> Shape | None:
    """Return the surface through points.

    Args:
        points: (N, 3) in mm, in the frame of the cameras.

    Returns:
        A mesh, its faces counter-clockwise seen from the cameras; None where no surface remains.

    Raises:
        DentalzooError: Open3D cannot be imported.
    """
    open3d = import_open3d()
    points = np.asarray(points, np.float64)
    cloud = open3d.geometry.PointCloud(open3d.utility.Vector3dVector(points))
    cloud.normals = open3d.utility.Vector3dVector(facing_normals(points))
    with open3d.utility.VerbosityContextManager(open3d.utility.VerbosityLevel.Error):
        mesh, _ = open3d.geometry.TriangleMesh.create_from_point_cloud_poisson(
            cloud,
            depth=_DEPTH,
            n_threads=1,  # so that each run gives the same
        )
    vertices, faces = np.asarray(mesh.vertices), np.asarray(mesh.triangles)
    if not len(faces):
        return None
    near = meshes.nearest(vertices, points)[0] < _REACH
    used, faces = np.unique(faces[near[faces].all(axis=1)], return_inverse=True)
    if not len(used):
        return None
    return Shape(vertices[used].astype(np.float32), faces.reshape(-1, 3).astype(np.int32))


def facing_normals(points: np.ndarray) -> np.ndarray:
    """Estimate the normals of the surface under points, to the side that the cameras see.

    Args:
        points: (N, 3) in mm, in the frame of the cameras.

    Returns:
        (N, 3) float64 of length 1.
    """
    normals = meshes.point_normals(points)
    towards = np.zeros_like(normals)
    for camera in cameras():
        to_eye = camera[0] * SCALE - points
        distance = np.linalg.norm(to_eye, axis=1)
        column, row = project(points / SCALE, camera, _SIDE).T
        pixel = row * _SIDE + column
        front = np.full(_SIDE * _SIDE, np.inf)
        np.minimum.at(front, pixel, distance)
        seen = distance < front[pixel] + _HIDDEN
        towards[seen] += meshes.unit(to_eye[seen])
    return np.where((normals * towards).sum(axis=1, keepdims=True) < 0, -normals, normals)
