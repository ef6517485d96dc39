"""What measuring and applying a bundle share: points and meshes from views, in millimetres."""

from dataclasses import dataclass

import numpy as np

from dentalzoo.data.io.mesh_files import Mesh
from dentalzoo.data.jaw_pose import Pose
from dentalzoo.data.views import VIEWS
from dentalzoo.errors import DentalzooError
from dentalzoo.ops import meshes

POINTS = 50_000  # of the truth that results are compared with, whatever their own number: the paper


@dataclass(frozen=True)
class Shape:
    """A jaw as points or as a mesh, in mm in the frame of the cameras: `dentalzoo.data.jaw_pose`.

    Attributes:
        points: (N, 3) float32; the vertices where it is a mesh.
        faces: (M, 3) int32, or None for points alone.
    """

    points: np.ndarray
    faces: np.ndarray | None = None


def reconstruct(bundle, views: np.ndarray, places: np.ndarray | None = None) -> Shape:
    """A jaw from its views.

    Args:
        bundle: a `Bundle` of the task "reconstruction".
        views: (10, S, S, 1 or 3) uint8, those of `dentalzoo.data.views.render_views`; with `places`
            any number of them.
        places: which of the ten each view is, (V,), all different; None for all in order.

    Returns:
        A mesh where the bundle makes one that has an area, else points.

    Raises:
        DentalzooError: the bundle needs all ten views and fewer came, refuses them, or gave
            coordinates that are not finite.
    """
    if places is None or np.array_equal(places, np.arange(VIEWS)):
        results = bundle.serve(views)
    elif "serve_some" in bundle.metadata["signatures"]:
        results = bundle.serve_some(views, np.asarray(places, np.int32))
    else:
        raise DentalzooError(f"{bundle.name} needs all {VIEWS} views. Received: {len(views)}")
    points = meshes.check(np.float32(results["points"]))
    if "faces" not in results:
        return Shape(points)
    faces = results["faces"][(results["faces"] >= 0).all(axis=1)]  # rows of -1 fill it up
    # Without a morphable model that was fitted, all corners of a face are one vertex.
    return Shape(points, faces if meshes.normals(points, faces)[1].any() else None)


def makes_meshes(bundle) -> bool:
    """Whether a bundle gives faces, not points alone."""
    return "faces" in bundle.metadata["signatures"]["serve"]["outputs"]


def mean_shapes(bundle) -> list[Shape]:
    """The mean shapes of the jaws that a bundle learnt from; none where it keeps none."""
    if "mean_shapes" not in bundle.metadata["signatures"]:
        return []
    return [Shape(meshes.check(np.float32(p))) for p in bundle.mean_shapes()["points"]]


def as_seen(mesh: Mesh, pose: Pose) -> tuple[Mesh, Shape]:
    """A jaw of a file in the frame of the cameras.

    Returns:
        As `render_views` takes it, 40 mm = 1, and in mm.
    """
    seen = Mesh(pose.apply(mesh.vertices), mesh.faces, mesh.labels)
    return seen, Shape(seen.vertices * np.float32(pose.scale), mesh.faces)
