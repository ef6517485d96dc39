"""Synthetic rows of upper crowns, from a statistical shape model (SSM) of real teeth.

For each tooth the model has a mean crown and its principal components, as points that correspond
between crowns. All rows share one mesh, whose vertices are fixed weighted sums of the points. A row
has the statistics of real teeth and is no patient's; it has no gum, and each crown is closed.

docs/data_formats.md describes the model's file.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dentalzoo.data.io.mesh_files import Mesh
from dentalzoo.data.jaw_pose import find_pose
from dentalzoo.data.synthetic.crown_mesh import crown_faces, even_mesh
from dentalzoo.data.synthetic.jaw import COLUMNS, ROWS, TEETH, Jaw
from dentalzoo.errors import BadFile, DentalzooError
from dentalzoo.ops.meshes import normals

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

CROWNS = TEETH[1:-1]  # 17 to 27: the model has no wisdom teeth
_TURN = np.array([(-1, 0, 0), (0, 0, -1), (0, -1, 0)])  # from the axes of the model's file to ours
_MIRROR = np.array([-1, 1, 1, 1, -1, -1])  # of a shift and a rotation vector, left to right
# Ours: the part of a pose's variance that each crown has independently. If it were 1, one in six
# neighbours would overlap by more than 1 mm, and the width of arches would hardly vary.
_INDEPENDENT = 0.4**2
_GAP = 0.1  # ours: mm; neighbours of a real row are 0.0 to 0.2 apart
_MAX_DEVIATION = 3.0  # ours: mm, root mean square; real crowns have 0.5
_CELL = 0.5  # ours: mm; wider than the spacing of vertices, 0.2


@dataclass(frozen=True)
class CrownModel:
    """A statistical shape model of the crowns 17 to 27, and the mesh of its rows.

    Axes are those of `Jaw`, in mm; crowns are in the order of `CROWNS`.

    Attributes:
        mean: (14, P, 3) float64.
        modes: (14, 3P, K) float64, displacements for one standard deviation of each component.
        poses: (14, 6, 6) float64, which map six standard normal numbers to the shift and the
            rotation vector of a crown; equal numbers give a symmetric row.
        weights: SciPy's sparse (50000, 14P), of the points in each vertex.
        faces: (99944, 3) int32, counter-clockwise from outside.
        labels: (50000,) uint8, FDI numbers.
        crown_faces: for each crown the faces of its P points, (F, 3).
    """

    mean: np.ndarray
    modes: np.ndarray
    poses: np.ndarray
    weights: csr_matrix
    faces: np.ndarray
    labels: np.ndarray
    crown_faces: tuple[np.ndarray, ...]


def read_crown_model(path: str | Path) -> CrownModel:
    """Read a shape model and build the mesh of its rows, which takes some seconds.

    Raises:
        BadFile: it is missing, damaged, lacks an array, has another unit or other axes, or a mean
            crown is not star-shaped about its mean.
    """
    content = _read(path)
    order = [content["fdi"].tolist().index(fdi) for fdi in CROWNS]
    mean, modes = content["mean"][order] @ _TURN.T, content["modes"][order]
    modes = modes * np.sqrt(content["eigenvalues"][order])[:, None]
    modes = np.einsum("ij,tpjk->tpik", _TURN, modes.reshape(*mean.shape, -1))
    turn = np.kron(np.eye(2), _TURN)
    sides = [np.diag(_MIRROR if fdi > 20 else np.ones(6)) for fdi in CROWNS]
    try:
        poses = [
            side @ np.linalg.cholesky(side @ turn @ covariance @ turn.T @ side)
            for side, covariance in zip(sides, content["pose_covariance"][order], strict=True)
        ]
    except np.linalg.LinAlgError as error:
        raise BadFile(
            path, f"pose_covariance must be positive definite. Received: {error}"
        ) from error
    try:
        crown_meshes = [crown_faces(points) for points in mean]
        _check_pose(mean, crown_meshes)
        weights, faces, labels = _row_mesh(mean, crown_meshes)
    except DentalzooError as error:
        raise BadFile(path, str(error)) from error
    modes = modes.reshape(len(CROWNS), -1, modes.shape[-1])
    return CrownModel(mean, modes, np.stack(poses), weights, faces, labels, tuple(crown_meshes))


def crown_row(model: CrownModel, seed: int) -> Jaw:
    """Generate the row of crowns of a seed.

    Shapes and poses are normally distributed. One part of a pose's variance is that of the arch,
    shared by all crowns and mirrored; the other is independent for each crown. Then crowns are
    moved along the arch until neighbours nearly touch.

    Args:
        model: of `read_crown_model`.
        seed: a non-negative integer.

    Raises:
        DentalzooError: seed is something else.
    """
    if int(seed) != seed or seed < 0:
        raise DentalzooError(f"seed must be a non-negative integer. Received: {seed!r}")
    from scipy.spatial.transform import Rotation

    rng = np.random.default_rng((int(seed), 13))
    teeth, _, components = model.modes.shape
    shape = np.einsum("tpk,tk->tp", model.modes, rng.standard_normal((teeth, components)))
    crowns = model.mean + shape.reshape(model.mean.shape)
    arch, own = rng.standard_normal(6), rng.standard_normal((teeth, 6))
    normal = np.sqrt(1 - _INDEPENDENT) * arch + np.sqrt(_INDEPENDENT) * own
    poses = np.einsum("tij,tj->ti", model.poses, normal)
    centre = crowns.mean(axis=1, keepdims=True)
    turns = Rotation.from_rotvec(poses[:, 3:]).as_matrix()
    turned = (crowns - centre) @ turns.transpose(0, 2, 1)
    crowns = centre + turned + poses[:, None, :3]
    vertices = model.weights @ crowns.reshape(-1, 3)
    _close_up(np.split(vertices, np.flatnonzero(np.diff(model.labels)) + 1))
    return Jaw(vertices.astype(np.float32), model.faces, model.labels)


# ---- the file ------------------------------------------------------------------------------------


def _read(path: str | Path) -> dict[str, np.ndarray]:
    """Return the arrays of a model's file, float64 except "fdi", in the file's order and axes."""
    names = ("fdi", "mean", "modes", "eigenvalues", "pose_covariance")
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
            content = {name: archive[name] for name in names}
    except OSError as error:
        raise BadFile(path, f"cannot be read. Received: {error.strerror or error}") from error
    except Exception as error:  # a flipped bit in a zip file's directory can raise anything
        shown = " ".join(str(error).split())[:100] or type(error).__name__
        reason = f"must be a shape model, .npz of {', '.join(names)}. Received: {shown}"
        raise BadFile(path, reason) from error
    fdi, mean, modes = (content[name] for name in names[:3])
    if sorted(fdi.ravel().tolist()) != sorted(CROWNS):
        raise BadFile(path, f"fdi must be 11 to 17 and 21 to 27. Received: {fdi.tolist()}")
    points = max(mean.shape[1], 4) if mean.ndim == 3 else 1500
    components = modes.shape[2] if modes.ndim == 3 else 40
    shapes = [(), (points, 3), (3 * points, components), (components,), (6, 6)]
    for (name, array), of_a_crown in zip(content.items(), shapes, strict=True):
        shape = (len(CROWNS), *of_a_crown)
        if array.shape != shape:
            raise BadFile(path, f"{name} must have the shape {shape}. Received: {array.shape}")
        if array.dtype.kind not in "iuf":
            raise BadFile(path, f"{name} must hold numbers. Received: {array.dtype}")
        if not np.isfinite(array).all():
            raise BadFile(path, f"{name} must be finite. Received: NaN or infinite numbers")
    content = {
        name: array if array is fdi else array.astype(np.float64) for name, array in content.items()
    }
    if (content["eigenvalues"] < 0).any():
        lowest = content["eigenvalues"].min()
        raise BadFile(path, f"eigenvalues must be variances, in square mm. Received: {lowest:g}")
    deviation = np.sqrt(
        np.einsum("tpk,tk->t", content["modes"] ** 2, content["eigenvalues"]) / points
    )
    if deviation.max() > _MAX_DEVIATION:
        raise BadFile(
            path,
            f"the standard deviation of points must be at most {_MAX_DEVIATION} mm. "
            f"Received: {deviation.max():g}",
        )
    covariance = content["pose_covariance"]
    if not np.allclose(covariance, covariance.transpose(0, 2, 1), atol=1e-6):
        raise BadFile(path, "pose_covariance must be symmetric. Received: an asymmetric matrix")
    return content


# ---- the mesh ------------------------------------------------------------------------------------


def _check_pose(mean: np.ndarray, crown_meshes: list[np.ndarray]) -> None:
    starts = len(mean[0]) * np.arange(len(CROWNS))
    faces = np.concatenate([f + start for f, start in zip(crown_meshes, starts, strict=True)])
    labels = np.repeat(np.array(CROWNS, np.uint8), len(mean[0]))
    if find_pose(Mesh(mean.reshape(-1, 3), faces, labels)).turned:
        raise DentalzooError("biting edges must be towards -y. Received: towards y")


def _row_mesh(
    mean: np.ndarray, crown_meshes: list[np.ndarray]
) -> tuple[csr_matrix, np.ndarray, np.ndarray]:
    """Build the mesh of all rows: `CrownModel.weights`, `faces` and `labels`.

    The number of vertices of a crown is proportional to its area.

    Args:
        mean: (14, P, 3).
        crown_meshes: the faces of each crown, as indices of its points.

    Raises:
        DentalzooError: there are too many points.
    """
    from scipy.sparse import block_diag

    area = np.array([normals(*crown)[1].sum() for crown in zip(mean, crown_meshes, strict=True)])
    ends = np.rint(np.cumsum(area) / area.sum() * COLUMNS * ROWS).astype(int)
    starts = np.concatenate([[0], ends[:-1]])
    if (ends - starts).min() < mean.shape[1]:
        raise DentalzooError(
            f"a crown must have at most {(ends - starts).min()} points. Received: {mean.shape[1]}"
        )
    parts = [even_mesh(*part) for part in zip(mean, crown_meshes, ends - starts, strict=True)]
    weights = block_diag([weights for weights, _ in parts], "csr")
    faces = np.concatenate([f + start for (_, f), start in zip(parts, starts, strict=True)])
    return weights, faces.astype(np.int32), np.repeat(np.array(CROWNS, np.uint8), ends - starts)


# ---- the row -------------------------------------------------------------------------------------


def _close_up(crowns: list[np.ndarray]) -> None:
    """Move crowns (V, 3), in place, along the arch until neighbours are `_GAP` apart.

    From the midline to the back: each crown is moved together with all behind it.
    """
    right, left = crowns[6::-1], crowns[7:]
    apart = (_GAP - _gap(right[0], left[0], np.array([-1.0, 0, 0]))) / 2
    for side, sign in ((right, 1), (left, -1)):
        for crown in side:
            crown[:, 0] += sign * apart
        for index in range(1, len(side)):
            for _ in range(2):  # the first move changes the direction along the arch a little
                before, crown = side[index - 1 : index + 1]
                way = (crown.mean(axis=0) - before.mean(axis=0)) * (1, 1, 0)
                way /= np.linalg.norm(way)
                move = way * (_GAP - _gap(before, crown, way))
                for behind in side[index:]:
                    behind += move


def _gap(before: np.ndarray, crown: np.ndarray, way: np.ndarray) -> float:
    """Return the distance in mm of `crown` (V, 3) from `before` along the unit vector `way`.

    `way` is horizontal. The distance is measured in beams of square section; it is negative where
    the crowns overlap.
    """
    across = np.stack([np.cross(way, (0, 0, 1)), (0, 0, 1)], axis=1)
    beams = [np.rint(points @ across / _CELL).astype(int) for points in (before, crown)]
    low = np.minimum(beams[0].min(axis=0), beams[1].min(axis=0))
    shape = np.maximum(beams[0].max(axis=0), beams[1].max(axis=0)) - low + 1
    end, start = np.full(shape, -np.inf), np.full(shape, np.inf)
    np.maximum.at(end, tuple((beams[0] - low).T), before @ way)
    np.minimum.at(start, tuple((beams[1] - low).T), crown @ way)
    gap = (start - end).min()
    return gap if np.isfinite(gap) else _GAP  # one is above the other
