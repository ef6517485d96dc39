"""Scores of reconstructed points and meshes against the ground truth, in NumPy and SciPy.

All lengths are in the unit of the coordinates. Precision counts predicted points close to the
ground truth (accuracy), recall counts ground-truth points close to the prediction (completeness).
Points that crowd where they are sure to be right have a high precision and a low recall, so
neither is meaningful alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dentalzoo.errors import DentalzooError
from dentalzoo.ops import meshes

Mesh = tuple[np.ndarray, np.ndarray]  # vertices (V, 3) and faces (F, 3)

MILLIMETRES = (0.25, 0.5, 1.0)  # thresholds of coordinates in mm


@dataclass(frozen=True)
class Errors:
    """Distances of points to the nearest point of the other cloud.

    Attributes:
        pred_to_gt: from N predicted points to the ground truth, (N,) float64 (accuracy).
        gt_to_pred: from M ground-truth points to the prediction, (M,) float64 (completeness).
    """

    pred_to_gt: np.ndarray
    gt_to_pred: np.ndarray

    def at(self, threshold: float) -> dict[str, float]:
        """Return the shares of points whose distance is at most a threshold.

        Returns:
            "threshold"; "precision", "recall" and "f_score", in [0, 1]. The F-score is the harmonic
            mean of both, 0 where both are 0.
        """
        precision = float(np.mean(self.pred_to_gt <= threshold))
        recall = float(np.mean(self.gt_to_pred <= threshold))
        both = precision + recall
        f_score = 2 * precision * recall / both if both else 0.0
        return {
            "threshold": threshold,
            "precision": precision,
            "recall": recall,
            "f_score": f_score,
        }

    def chamfer(self, squared: bool = False) -> float:
        """Return the mean of both directions' means, as `ops.points.chamfer` in TensorFlow."""
        power = 2 if squared else 1
        return float((self.pred_to_gt**power).mean() + (self.gt_to_pred**power).mean()) / 2


def at_threshold(threshold: float) -> str:
    """Return the ending of a score's name at a threshold in mm, such as "at_1_4mm"."""
    return f"at_{threshold:g}mm".replace(".", "_")


def errors(prediction: np.ndarray, ground_truth: np.ndarray) -> Errors:
    """Measure predicted points (N, 3) and ground-truth points (M, 3) against each other.

    Raises:
        DentalzooError: a cloud without points, or a coordinate that is not finite.
    """
    return Errors(
        meshes.nearest(prediction, ground_truth)[0], meshes.nearest(ground_truth, prediction)[0]
    )


def spacing(points: np.ndarray) -> dict[str, float | None]:
    """Measure the distances of points (N, 3) to their nearest neighbours.

    Returns:
        "mean", and "variation", the deviation over the mean: 0 for a regular grid, 0.52 for random
        points on a plane, above that for points in clusters; None where all coincide.

    Raises:
        DentalzooError: fewer than two points, or a coordinate that is not finite.
    """
    if len(meshes.check_points(points)) < 2:
        raise DentalzooError(f"points must be at least two. Received: {len(points)}")
    gaps = meshes.kd_tree(points).query(points, k=[2])[0]
    mean = float(gaps.mean())
    return {"mean": mean, "variation": float(gaps.std()) / mean if mean else None}


def normal_consistency(
    prediction: Mesh, ground_truth: Mesh, count: int = 50_000, seed: int = 0
) -> float:
    """Normal consistency: the mean |cosine| between the normals of nearest points.

    The mean of both directions over `count` points of each mesh, by area (Mescheder et al. 2019,
    arXiv:1812.03828, section 4). Which side is outside does not matter.

    Args:
        prediction, ground_truth: vertices (V, 3) and faces (F, 3).
        count: points on each mesh.
        seed: of the points.

    Returns:
        In [0, 1].

    Raises:
        DentalzooError: not a mesh, or one without an area.
    """
    sides = []
    for number, (vertices, faces) in enumerate((prediction, ground_truth)):
        points, face = meshes.sample_surface(vertices, faces, count, (seed, number))
        sides.append((points, meshes.normals(vertices, faces)[0][face]))
    cosines = [
        np.abs((normals * others[meshes.nearest(points, there)[1]]).sum(-1)).mean()
        for (points, normals), (there, others) in (sides, sides[::-1])
    ]
    return float(np.mean(cosines))


def scores(
    prediction: np.ndarray,
    ground_truth: np.ndarray,
    thresholds: Sequence[float] = MILLIMETRES,
    faces: np.ndarray | None = None,
    surface: Mesh | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Score a reconstruction; the result is ready for JSON.

    Args:
        prediction: (N, 3).
        ground_truth: (M, 3), in the same unit.
        thresholds: the distances beyond which a point is wrong.
        faces: (F, 3), where the predicted points are the vertices of a mesh.
        surface: the ground-truth mesh, where there is one: vertices (V, 3) and faces (F, 3).
        seed: of the samples of surfaces.

    Returns:
        "chamfer" and "chamfer_squared", see `Errors.chamfer`; "pred_to_gt" and "gt_to_pred",
        each the "mean", "median" and "p95" of the distances; "at", for each threshold
        `Errors.at`; "spacing" of the predicted points, see `spacing`. With `surface` also
        "spacing_by_area", that of as many points spread over it by area; with `faces` also
        "normal_consistency".

    Raises:
        DentalzooError: a cloud of fewer than two points, a coordinate that is not finite, or a mesh
            with invalid faces.
    """
    measured = errors(prediction, ground_truth)
    report: dict[str, Any] = {
        "chamfer": measured.chamfer(),
        "chamfer_squared": measured.chamfer(squared=True),
        "pred_to_gt": _summary(measured.pred_to_gt),
        "gt_to_pred": _summary(measured.gt_to_pred),
        "at": [measured.at(float(threshold)) for threshold in thresholds],
        "spacing": spacing(prediction),
    }
    if surface is not None:
        by_area = meshes.sample_surface(*surface, len(prediction), seed)[0]
        report["spacing_by_area"] = spacing(by_area)
        if faces is not None:
            mesh = prediction, faces
            report["normal_consistency"] = normal_consistency(mesh, surface, seed=seed)
    return report


def _summary(values: np.ndarray) -> dict[str, float]:
    median, p95 = np.percentile(values, (50, 95))
    return {"mean": float(values.mean()), "median": float(median), "p95": float(p95)}
