"""Scores of reconstructed points and meshes beside the true ones, in NumPy and SciPy.

All lengths are in the unit of the coordinates. Precision looks from the found points to the true
ones, recall from the true to the found: points that crowd where they are sure to be right have a
high precision and a low recall, so that one of them alone says little.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dentalzoo.errors import DentalzooError
from dentalzoo.ops import meshes

Mesh = tuple[np.ndarray, np.ndarray]  # vertices (V, 3) and faces (F, 3)

MILLIMETRES = (0.25, 0.5, 1.0)  # thresholds of coordinates in mm


@dataclass(frozen=True)
class Errors:
    """How far points are from the nearest of the other cloud.

    Attributes:
        found: of N found points the distance to the nearest true one, (N,) float64.
        true: of M true points the distance to the nearest found one, (M,) float64.
    """

    found: np.ndarray
    true: np.ndarray

    def at(self, threshold: float) -> dict[str, float]:
        """The shares of points that are no farther than a threshold.

        Returns:
            "threshold"; "precision", "recall" and "f_score", in [0, 1]. The F-score is the harmonic
            mean of both, 0 where both are 0.
        """
        precision, recall = (float(np.mean(part <= threshold)) for part in (self.found, self.true))
        both = precision + recall
        f_score = 2 * precision * recall / both if both else 0.0
        return {
            "threshold": threshold,
            "precision": precision,
            "recall": recall,
            "f_score": f_score,
        }

    def chamfer(self, squared: bool = False) -> float:
        """The mean of both directions' means; `ops.points.chamfer` is the same in TensorFlow."""
        power = 2 if squared else 1
        return float((self.found**power).mean() + (self.true**power).mean()) / 2


def errors(found: np.ndarray, true: np.ndarray) -> Errors:
    """Measures found points (N, 3) and true points (M, 3) against each other.

    Raises:
        DentalzooError: a cloud without points, or a coordinate that is not finite.
    """
    return Errors(meshes.nearest(found, true)[0], meshes.nearest(true, found)[0])


def spacing(points: np.ndarray) -> dict[str, float | None]:
    """How far points (N, 3) are from their nearest neighbours among themselves.

    Returns:
        "mean", and "variation", its deviation over the mean: 0 for a regular grid, 0.52 for points
        thrown at random on a plane, above that for points in clusters; None where all coincide.

    Raises:
        DentalzooError: fewer than two points, or a coordinate that is not finite.
    """
    if len(meshes.check(points)) < 2:
        raise DentalzooError(f"a spacing needs two points. Received: {len(points)}")
    gaps = meshes.tree(points).query(points, k=[2])[0]
    mean = float(gaps.mean())
    return {"mean": mean, "variation": float(gaps.std()) / mean if mean else None}


def normal_consistency(found: Mesh, true: Mesh, count: int = 50_000, seed: int = 0) -> float:
    """How alike surfaces are turned: the mean |cosine| of the normals of nearest points.

    Both directions' mean over `count` points of each mesh, by area (Mescheder et al. 2019,
    arXiv:1812.03828, section 4). Which side is outside does not matter.

    Args:
        found, true: vertices (V, 3) and faces (F, 3).
        count: points on each mesh.
        seed: of the points.

    Returns:
        In [0, 1].

    Raises:
        DentalzooError: not a mesh, or one without an area.
    """
    sides = []
    for number, (vertices, faces) in enumerate((found, true)):
        points, face = meshes.sample_surface(vertices, faces, count, (seed, number))
        sides.append((points, meshes.normals(vertices, faces)[0][face]))
    cosines = [
        np.abs((normals * others[meshes.nearest(points, there)[1]]).sum(-1)).mean()
        for (points, normals), (there, others) in (sides, sides[::-1])
    ]
    return float(np.mean(cosines))


def scores(
    found: np.ndarray,
    true: np.ndarray,
    thresholds: Sequence[float] = MILLIMETRES,
    faces: np.ndarray | None = None,
    surface: Mesh | None = None,
    seed: int = 0,
) -> dict:
    """What a reconstruction is judged by, ready for JSON.

    Args:
        found: (N, 3).
        true: (M, 3), in the same unit.
        thresholds: the distances beyond which a point is wrong.
        faces: (F, 3), where the found points are the vertices of a mesh.
        surface: the true mesh, where there is one: vertices (V, 3) and faces (F, 3).
        seed: of the samples of surfaces.

    Returns:
        "chamfer" and "chamfer_squared", see `Errors.chamfer`; "found_to_true" and "true_to_found",
        each the "mean", "median" and "p95" of the distances; "at", of each threshold
        `Errors.at`; "spacing" of the found points, see `spacing`. With `surface` also
        "spacing_by_area", that of as many points spread over it by area; with `faces` too
        "normal_consistency".

    Raises:
        DentalzooError: a cloud of fewer than two points, a coordinate that is not finite, or a mesh
            that is none.
    """
    measured = errors(found, true)
    report = {
        "chamfer": measured.chamfer(),
        "chamfer_squared": measured.chamfer(squared=True),
        "found_to_true": _summary(measured.found),
        "true_to_found": _summary(measured.true),
        "at": [measured.at(float(threshold)) for threshold in thresholds],
        "spacing": spacing(found),
    }
    if surface is not None:
        report["spacing_by_area"] = spacing(meshes.sample_surface(*surface, len(found), seed)[0])
        if faces is not None:
            report["normal_consistency"] = normal_consistency((found, faces), surface, seed=seed)
    return report


def _summary(values: np.ndarray) -> dict[str, float]:
    median, p95 = np.percentile(values, (50, 95))
    return {"mean": float(values.mean()), "median": float(median), "p95": float(p95)}
