"""Points and meshes from views, in millimetres; used by `evaluate` and `predict`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dentalzoo.data.io.mesh_files import Mesh
from dentalzoo.data.jaw_pose import SCALE, Pose
from dentalzoo.data.shading import MAX_DIFFERENCE, shading_difference
from dentalzoo.data.silhouettes import MIN_AGREEMENT, agreement
from dentalzoo.data.views import VIEWS
from dentalzoo.errors import DentalzooError
from dentalzoo.ops import meshes

if TYPE_CHECKING:
    from dentalzoo.bundle import Bundle

MIN_POINTS = 10_000  # ours: fewer leave gaps in silhouettes and in a surface through them
POINTS = 50_000  # of the ground truth, whatever the number of predicted points: the paper
NOT_REFINED = (
    "not refined, as the points found are not shaded like the views (another light or exposure, or "
    "a poor result)"
)


@dataclass(frozen=True)
class Shape:
    """A jaw as points or as a mesh, in mm in the frame of the cameras: `dentalzoo.data.jaw_pose`.

    Attributes:
        points: (N, 3) float32; the vertices where it is a mesh.
        faces: (M, 3) int32, or None for points alone.
        refined: False where `reconstruct` should have refined it, and left it as it is.
    """

    points: np.ndarray
    faces: np.ndarray | None = None
    refined: bool | None = None

    @property
    def surface(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the vertices and faces of a mesh.

        Raises:
            DentalzooError: it consists of points alone.
        """
        if self.faces is None:
            raise DentalzooError(f"a mesh is needed. Received: {len(self.points)} points")
        return self.points, self.faces


def reconstruct(
    bundle: "Bundle",
    views: np.ndarray,
    cameras: np.ndarray | Sequence[int] | None = None,
    refine: bool = False,
) -> Shape:
    """Reconstruct a jaw from its views.

    Args:
        bundle: a bundle of the task "reconstruction".
        views: (10, S, S, 1 or 3) uint8, those of `dentalzoo.data.views.render_views`; with
            `cameras` any number of them.
        cameras: the camera index of each view, (V,), all different; None for all in order.
        refine: fit the shading of the points to the views, see `check_refines`; a jaw whose views
            are lit otherwise than those of `render_views` stays as it is.

    Returns:
        A mesh where the bundle makes one with an area, else points.

    Raises:
        DentalzooError: the bundle needs all ten views and fewer were given, it refuses them, or it
            returned coordinates that are not finite.
    """
    if refine:
        places = np.arange(VIEWS) if cameras is None else cameras
        results = bundle.serve_refined(views, np.asarray(places, np.int32))
    elif cameras is None or np.array_equal(cameras, np.arange(VIEWS)):
        results = bundle.serve(views)
    elif "serve_some" in bundle.metadata["signatures"]:
        results = bundle.serve_some(views, np.asarray(cameras, np.int32))
    else:
        raise DentalzooError(f"{bundle.name} needs all {VIEWS} views. Received: {len(views)}")
    points = meshes.check_points(np.float32(results["points"]))
    if "faces" not in results:
        return Shape(points, refined=bool(results["refined"]) if refine else None)
    faces = results["faces"][(results["faces"] >= 0).all(axis=1)]  # -1: padding
    # Without a fitted morphable model, all corners of a face are one vertex.
    return Shape(points, faces if meshes.normals(points, faces)[1].any() else None)


def check_refines(bundle: "Bundle", refine: bool) -> None:
    """Check, if it shall, that a bundle refines its points by the grey values of the views.

    Raises:
        DentalzooError: it does not.
    """
    if refine and "serve_refined" not in bundle.metadata["signatures"]:
        raise DentalzooError(
            "refine must be False for bundles without the function serve_refined, which those of "
            f"the variant depth have. Received: {bundle.name}"
        )


def poor_agreement(
    shape: Shape, views: np.ndarray, cameras: np.ndarray | Sequence[int]
) -> str | None:
    """Describe how little a reconstruction agrees with its views; None where it agrees.

    Args:
        shape: of `reconstruct`; not judged with fewer than 10,000 points without faces, and points
            by their silhouettes alone.
        views: (V, S, S, 1 or 3) uint8.
        cameras: the camera index of each view.
    """
    points, numbers, doubts = shape.points, np.asarray(cameras), []
    if shape.faces is not None:
        points = meshes.sample_surface(points, shape.faces, POINTS)[0]
    elif len(points) < MIN_POINTS:
        return None
    overlap = agreement(points / SCALE, views, numbers)
    if overlap < MIN_AGREEMENT:
        doubts.append(
            f"the IoU of their silhouettes is {overlap:.2f}, of good ones at least {MIN_AGREEMENT}"
        )
    if shape.faces is not None:
        jaw = Mesh(np.asarray(shape.points / SCALE, np.float32), shape.faces)
        difference = shading_difference(jaw, views, numbers)
        if difference > MAX_DIFFERENCE:
            doubts.append(
                f"their grey values differ by {difference:.0f}, of good ones by at most "
                f"{MAX_DIFFERENCE:g} (another light, exposure, program or shape)"
            )
    return "; ".join(doubts) or None


def makes_meshes(bundle: "Bundle") -> bool:
    """Return True if a bundle returns faces, not points only."""
    return "faces" in bundle.metadata["signatures"]["serve"]["outputs"]


def mean_shapes(bundle: "Bundle") -> list[Shape]:
    """Return the mean shapes of a bundle's training jaws, one per family (jaws of one topology).

    Empty where the bundle has none.
    """
    if "mean_shapes" not in bundle.metadata["signatures"]:
        return []
    return [Shape(meshes.check_points(np.float32(p))) for p in bundle.mean_shapes()["points"]]


def as_seen(mesh: Mesh, pose: Pose) -> tuple[Mesh, Shape]:
    """Transform the jaw of a file to the frame of the cameras.

    Returns:
        The mesh for `render_views`, 40 mm = 1, and the shape in mm.
    """
    seen = Mesh(pose.apply(mesh.vertices), mesh.faces, mesh.labels)
    return seen, Shape(seen.vertices * np.float32(pose.scale), mesh.faces)
