"""Rows of upper crowns by a seed, from a statistical shape model of real teeth.

The model has a mean crown and its principal components for each tooth, as points that are the same
places of every crown. The points get one mesh for all rows, whose vertices are fixed weighted sums
of them. A row is statistically real, no patient's; it has no gum, and each crown is closed.

docs/data_formats.md has the model's file.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dentalzoo.data.io.mesh_files import Mesh
from dentalzoo.data.jaw_pose import find_pose
from dentalzoo.data.synthetic.crown_mesh import crown_faces, even_mesh
from dentalzoo.data.synthetic.jaw import COLUMNS, ROWS, TEETH, Jaw
from dentalzoo.errors import BadFile, DentalzooError
from dentalzoo.ops.meshes import normals

CROWNS = TEETH[1:-1]  # 17 to 27: the model has no wisdom teeth
_TURN = np.array([(-1, 0, 0), (0, 0, -1), (0, -1, 0)])  # from the axes of the model's file to ours
_MIRROR = np.array([-1, 1, 1, 1, -1, -1])  # of a shift and a rotation vector, left to right
# Ours: a crown's own part of its pose's variance. All of it as its own, one in six neighbours would
# cross by more than 1 mm, and arches would hardly be wide or narrow.
_OWN = 0.4**2
_GAP = 0.1  # ours: mm; neighbours of a real row are 0.0 to 0.2 apart
_MOST = 3.0  # ours: mm, root mean square, for one standard deviation; real crowns have 0.5
_CELL = 0.5  # ours: mm; wider than vertices are apart, 0.2


@dataclass(frozen=True)
class CrownModel:
    """A statistical shape model of the crowns 17 to 27, and the mesh of its rows.

    Axes are those of `Jaw`, in mm; crowns are in the order of `CROWNS`.

    Attributes:
        mean: (14, P, 3) float64.
        modes: (14, 3P, K) float64, what one standard deviation of each component moves.
        poses: (14, 6, 6) float64: times six independent standard normal numbers, the same for
            both sides of a symmetric row, the shift and the rotation vector of a crown.
        weights: SciPy's sparse (50000, 14P), of the points in each vertex.
        faces: (99944, 3) int32, counter-clockwise from outside.
        labels: (50000,) uint8, FDI numbers.
    """

    mean: np.ndarray
    modes: np.ndarray
    poses: np.ndarray
    weights: object
    faces: np.ndarray
    labels: np.ndarray


def read_crown_model(path: str | Path) -> CrownModel:
    """Reads a shape model and makes the mesh of its rows, which takes some seconds.

    Raises:
        BadFile: it is missing, damaged, lacks an array, is in another unit or other axes, or a
            mean crown is not seen whole from its middle.
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
        raise BadFile(path, f"pose_covariance is positive definite. Received: {error}") from error
    try:
        faces = [crown_faces(points) for points in mean]
        _refuse_pose(mean, faces)
        weights, faces, labels = _row_mesh(mean, faces)
    except DentalzooError as error:
        raise BadFile(path, str(error)) from error
    modes = modes.reshape(len(CROWNS), -1, modes.shape[-1])
    return CrownModel(mean, modes, np.stack(poses), weights, faces, labels)


def crown_row(model: CrownModel, seed: int) -> Jaw:
    """Draws the row of crowns of a seed.

    Shapes are normal, and so are poses: one part of their variance is the arch, the same for all
    crowns and mirrored, the other is each crown's own. Then crowns move along the arch until
    neighbours nearly touch.

    Args:
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
    poses = np.einsum("tij,tj->ti", model.poses, np.sqrt(1 - _OWN) * arch + np.sqrt(_OWN) * own)
    centre = crowns.mean(axis=1, keepdims=True)
    turns = Rotation.from_rotvec(poses[:, 3:]).as_matrix()
    turned = (crowns - centre) @ turns.transpose(0, 2, 1)
    crowns = centre + turned + poses[:, None, :3]
    vertices = model.weights @ crowns.reshape(-1, 3)
    _close_up(np.split(vertices, np.flatnonzero(np.diff(model.labels)) + 1))
    return Jaw(vertices.astype(np.float32), model.faces, model.labels)


# ---- the file ------------------------------------------------------------------------------------


def _read(path) -> dict[str, np.ndarray]:
    """The arrays of a shape model's file, float64 but for "fdi", in its own order and axes."""
    names = ("fdi", "mean", "modes", "eigenvalues", "pose_covariance")
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
            content = {name: archive[name] for name in names}
    except OSError as error:
        raise BadFile(path, f"cannot be read. Received: {error.strerror or error}") from error
    except Exception as error:  # a flipped bit in a zip file's directory can raise anything
        shown = " ".join(str(error).split())[:100] or type(error).__name__
        reason = f"expected a shape model, .npz of {', '.join(names)}. Received: {shown}"
        raise BadFile(path, reason) from error
    fdi, mean, modes = (content[name] for name in names[:3])
    if sorted(fdi.ravel().tolist()) != sorted(CROWNS):
        raise BadFile(path, f"fdi is each of 11 to 17 and 21 to 27. Received: {fdi.tolist()}")
    points = max(mean.shape[1], 4) if mean.ndim == 3 else 1500
    components = modes.shape[2] if modes.ndim == 3 else 40
    shapes = [(), (points, 3), (3 * points, components), (components,), (6, 6)]
    for (name, array), shape in zip(content.items(), shapes, strict=True):
        shape = (len(CROWNS), *shape)
        if array.shape != shape:
            raise BadFile(path, f"{name} has the shape {shape}. Received: {array.shape}")
        if array.dtype.kind not in "iuf":
            raise BadFile(path, f"{name} holds numbers. Received: {array.dtype}")
        if not np.isfinite(array).all():
            raise BadFile(path, f"{name} holds finite numbers. Received: NaN or infinite ones")
    content = {
        name: array if array is fdi else np.float64(array) for name, array in content.items()
    }
    if (content["eigenvalues"] < 0).any():
        least = content["eigenvalues"].min()
        raise BadFile(path, f"eigenvalues are variances, in square mm. Received: {least:g}")
    moved = np.sqrt(np.einsum("tpk,tk->t", content["modes"] ** 2, content["eigenvalues"]) / points)
    if moved.max() > _MOST:
        reason = (
            f"eigenvalues and modes move points by {_MOST} mm or less. Received: {moved.max():g}"
        )
        raise BadFile(path, reason)
    covariance = content["pose_covariance"]
    if not np.allclose(covariance, covariance.transpose(0, 2, 1), atol=1e-6):
        raise BadFile(path, "pose_covariance is symmetric. Received: others")
    return content


# ---- the mesh ------------------------------------------------------------------------------------


def _refuse_pose(mean: np.ndarray, faces: list[np.ndarray]) -> None:
    crown = len(mean[0]) * np.arange(len(CROWNS))
    faces = np.concatenate([some + start for some, start in zip(faces, crown, strict=True)])
    labels = np.repeat(np.array(CROWNS, np.uint8), len(mean[0]))
    if find_pose(Mesh(mean.reshape(-1, 3), faces, labels)).turned:
        raise DentalzooError("expected biting edges towards -y. Received: towards y")


def _row_mesh(mean: np.ndarray, faces: list[np.ndarray]) -> tuple[object, np.ndarray, np.ndarray]:
    """The mesh of all rows: `CrownModel.weights`, `faces` and `labels`.

    A crown gets its part of the vertices by its area.

    Args:
        mean: (14, P, 3).
        faces: of the points of each crown.

    Raises:
        DentalzooError: there are too many points.
    """
    from scipy.sparse import block_diag

    area = np.array([normals(*crown)[1].sum() for crown in zip(mean, faces, strict=True)])
    ends = np.rint(np.cumsum(area) / area.sum() * COLUMNS * ROWS).astype(int)
    starts = np.concatenate([[0], ends[:-1]])
    if (ends - starts).min() < mean.shape[1]:
        raise DentalzooError(
            f"expected {(ends - starts).min()} points of a crown or less. Received: {mean.shape[1]}"
        )
    parts = [even_mesh(*part) for part in zip(mean, faces, ends - starts, strict=True)]
    weights = block_diag([weights for weights, _ in parts], "csr")
    faces = np.concatenate([faces + start for (_, faces), start in zip(parts, starts, strict=True)])
    return weights, faces.astype(np.int32), np.repeat(np.array(CROWNS, np.uint8), ends - starts)


# ---- the row -------------------------------------------------------------------------------------


def _close_up(crowns: list[np.ndarray]) -> None:
    """Moves crowns (V, 3) in place: from the middle to the back, each and all behind it along the
    arch until it is `_GAP` from the one before."""
    right, left = crowns[6::-1], crowns[7:]
    apart = (_GAP - _gap(right[0], left[0], np.array([-1.0, 0, 0]))) / 2
    for side, sign in ((right, 1), (left, -1)):
        for crown in side:
            crown[:, 0] += sign * apart
        for place in range(1, len(side)):
            for _ in range(2):  # the first move turns the way along the arch a little
                before, crown = side[place - 1 : place + 1]
                way = (crown.mean(axis=0) - before.mean(axis=0)) * (1, 1, 0)
                way /= np.linalg.norm(way)
                move = way * (_GAP - _gap(before, crown, way))
                for behind in side[place:]:
                    behind += move


def _gap(before: np.ndarray, crown: np.ndarray, way: np.ndarray) -> float:
    """How far `crown` (V, 3) is from `before` along the horizontal unit vector `way`, seen in
    beams of square section; negative where they cross."""
    across = np.stack([np.cross(way, (0, 0, 1)), (0, 0, 1)], axis=1)
    beams = [np.rint(points @ across / _CELL).astype(int) for points in (before, crown)]
    low = np.minimum(beams[0].min(axis=0), beams[1].min(axis=0))
    shape = np.maximum(beams[0].max(axis=0), beams[1].max(axis=0)) - low + 1
    end, start = np.full(shape, -np.inf), np.full(shape, np.inf)
    np.maximum.at(end, tuple((beams[0] - low).T), before @ way)
    np.minimum.at(start, tuple((beams[1] - low).T), crown @ way)
    gap = (start - end).min()
    return gap if np.isfinite(gap) else _GAP  # one is above the other
