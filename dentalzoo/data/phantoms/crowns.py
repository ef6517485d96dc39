"""Rows of upper crowns by a seed, from a statistical shape model of real teeth.

The model has a mean crown and its principal components for each tooth, as points that are the same
places of every crown. The points get one mesh for all rows, whose vertices are fixed weighted sums
of them. A row is statistically real, no patient's; it has no gum, and each crown is closed.

docs/data_formats.md has the model's file.
"""

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dentalzoo.data.jaw_pose import find_pose
from dentalzoo.data.mesh_files import Mesh
from dentalzoo.data.phantoms.jaw import COLUMNS, ROWS, TEETH, Jaw
from dentalzoo.errors import BadFile, DentalzooError
from dentalzoo.ops.meshes import edges, normals

CROWNS = TEETH[1:-1]  # 17 to 27: the model has no wisdom teeth
_TURN = np.array([(-1, 0, 0), (0, 0, -1), (0, -1, 0)])  # from the axes of the model's file to ours
_MIRROR = np.array([-1, 1, 1, 1, -1, -1])  # of a shift and a rotation vector, left to right
_OWN = 0.4**2  # ours: of a pose's variance; the rest moves all teeth of a row, and makes the arch
_GAP = 0.1  # ours: mm; real neighbours are as close as this
_CELL = 0.5  # ours: mm; wider than points are apart
_SMOOTHING = (0.5, -0.526) * 2  # Taubin 1995, pass band 0.1; ours: steps; up to 0.07 mm moved


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
        weights, faces, labels = _row_mesh(mean)
        mesh = Mesh((weights @ mean.reshape(-1, 3)).astype(np.float32), faces, labels)
        if find_pose(mesh).turned:
            raise DentalzooError("expected biting edges towards -y. Received: towards y")
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
    turned = np.einsum(
        "tij,tpj->tpi", Rotation.from_rotvec(poses[:, 3:]).as_matrix(), crowns - centre
    )
    crowns = _closed_up(turned + centre + poses[:, None, :3])
    vertices = model.weights @ crowns.reshape(-1, 3)
    return Jaw(vertices.astype(np.float32), model.faces, model.labels)


# ---- the file ------------------------------------------------------------------------------------


def _read(path) -> dict[str, np.ndarray]:
    """The arrays of a shape model's file, float64 but for "fdi", in its own order and axes."""
    names = ("fdi", "mean", "modes", "eigenvalues", "pose_covariance")
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
            content = {name: archive[name] for name in names}
    except OSError as error:
        raise BadFile(path, f"it cannot be read. Received: {error.strerror or error}") from error
    except (ValueError, KeyError, AttributeError, TypeError, EOFError, zipfile.BadZipFile) as error:
        reason = f"expected a shape model: .npz of {', '.join(names)}. Received: {error}"
        raise BadFile(path, reason) from error
    fdi, mean, modes = (content[name] for name in names[:3])
    if sorted(fdi.ravel().tolist()) != sorted(CROWNS):
        raise BadFile(path, f"fdi is each of 11 to 17 and 21 to 27. Received: {fdi.tolist()}")
    teeth, points, components = len(CROWNS), mean.shape[1:2], modes.shape[2:3]
    points, components = (int(*size) if size else 0 for size in (points, components))
    expected = {
        "fdi": (teeth,),
        "mean": (teeth, points, 3),
        "modes": (teeth, 3 * points, components),
        "eigenvalues": (teeth, components),
        "pose_covariance": (teeth, 6, 6),
    }
    for name, shape in expected.items():
        if content[name].shape != shape:
            raise BadFile(path, f"{name} has the shape {shape}. Received: {content[name].shape}")
        if content[name].dtype.kind not in "iuf" or not np.isfinite(content[name]).all():
            raise BadFile(path, f"{name} holds numbers. Received: {content[name].dtype}, or NaN")
    if content["eigenvalues"].min() < 0:
        least = content["eigenvalues"].min()
        raise BadFile(path, f"eigenvalues are variances in square mm. Received: {least}")
    return {name: content[name] if name == "fdi" else np.float64(content[name]) for name in names}


# ---- the mesh ------------------------------------------------------------------------------------


def _row_mesh(mean: np.ndarray) -> tuple[object, np.ndarray, np.ndarray]:
    """The mesh of all rows: `CrownModel.weights`, `faces` and `labels`.

    A crown gets its part of the vertices by its area.

    Raises:
        DentalzooError: the mean crowns have too many points, or two in one direction.
    """
    from scipy.sparse import block_diag

    area = np.array([normals(points, _faces(points, points.mean(0)))[1].sum() for points in mean])
    ends = np.rint(np.cumsum(area) / area.sum() * COLUMNS * ROWS).astype(int)
    starts = np.concatenate([[0], ends[:-1]])
    if (ends - starts).min() < mean.shape[1]:
        raise DentalzooError(
            f"expected {(ends - starts).min()} points of a crown or less. Received: {mean.shape[1]}"
        )
    parts = [_crown_mesh(*part) for part in zip(mean, ends - starts, strict=True)]
    weights = block_diag([weights for weights, _ in parts], "csr")
    faces = np.concatenate([faces + start for (_, faces), start in zip(parts, starts, strict=True)])
    return weights, faces.astype(np.int32), np.repeat(np.array(CROWNS, np.uint8), ends - starts)


def _crown_mesh(points: np.ndarray, count: int) -> tuple[object, np.ndarray]:
    """Evenly spread vertices of a crown: weights (count, P) of its points, sparse; and faces.

    The longest edges are halved, and then all vertices drawn towards their neighbours' middle and
    back: it spreads them evenly, and rounds the facets.
    """
    from scipy.sparse import csr_matrix, eye, vstack

    weights, centre = eye(len(points), format="csr"), points.mean(axis=0)
    while weights.shape[0] < count:
        vertices = weights @ points
        ends = _longest_edges(vertices, _faces(vertices, centre))[: count - len(vertices)]
        row = np.repeat(np.arange(len(ends)), 2)
        half = csr_matrix(
            (np.full(ends.size, 0.5), (row, ends.ravel())), (len(ends), len(vertices))
        )
        weights = vstack([weights, half @ weights], "csr")
    a, b = edges(_faces(weights @ points, centre)).T
    near = csr_matrix((np.ones(2 * len(a)), (np.r_[a, b], np.r_[b, a])), (count, count))
    middle = near.multiply(1 / near.sum(axis=1)).tocsr()
    for step in _SMOOTHING:
        weights = (1 - step) * weights + step * (middle @ weights)
    return weights, _faces(weights @ points, centre)


def _faces(points: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """(F, 3) of the closed surface around `centre`: neighbours on a sphere are neighbours on it.

    Raises:
        DentalzooError: two points lie in the same direction.
    """
    from scipy.spatial import ConvexHull, QhullError

    with np.errstate(invalid="ignore"):
        rays = points - centre
        rays = rays / np.linalg.norm(rays, axis=1, keepdims=True)
    try:
        hull = ConvexHull(rays)
    except (QhullError, ValueError):
        hull = None
    if hull is None or len(hull.vertices) < len(points):
        raise DentalzooError(
            "expected mean crowns that are seen whole from their middle. Received: "
            "points that lie in one direction"
        )
    faces = hull.simplices
    outward, _ = normals(rays, faces)
    inside_out = (outward * hull.equations[:, :3]).sum(axis=1) < 0
    return np.where(inside_out[:, None], faces[:, ::-1], faces)


def _longest_edges(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """(E, 2): of the edges that are the longest of both their faces the longer half, in order."""
    sides = np.sort(faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)
    pairs, of = np.unique(sides, axis=0, return_inverse=True)
    order = np.linalg.norm(np.diff(vertices[pairs], axis=1)[:, 0], axis=1).argsort(kind="stable")
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))  # no two are alike: there is always such an edge
    longest, count = np.unique(rank[of.reshape(-1, 3)].max(axis=1), return_counts=True)
    longest = longest[count == 2][::-1]
    return pairs[order[longest[: (len(longest) + 1) // 2]]]


# ---- the row -------------------------------------------------------------------------------------


def _closed_up(crowns: np.ndarray) -> np.ndarray:
    """(14, P, 3): from the middle to the back, each crown and all behind it move along the arch
    until it is `_GAP` from the one before."""
    crowns, half = crowns.copy(), len(CROWNS) // 2
    gap = _gap(crowns[half - 1], crowns[half], np.array([-1.0, 0, 0]))
    crowns[:half, :, 0] += (_GAP - gap) / 2
    crowns[half:, :, 0] -= (_GAP - gap) / 2
    for side in (crowns[:half][::-1], crowns[half:]):
        for place in range(1, half):
            for _ in range(2):  # the first move turns the way along the arch a little
                before, crown = side[place - 1 : place + 1]
                way = (crown.mean(axis=0) - before.mean(axis=0)) * (1, 1, 0)
                way /= np.linalg.norm(way)
                side[place:] += way * (_GAP - _gap(before, crown, way))
    return crowns


def _gap(before: np.ndarray, crown: np.ndarray, way: np.ndarray) -> float:
    """How far `crown` (P, 3) is from `before` along the horizontal unit vector `way`, seen in
    beams of square section; negative where they cross."""
    across = np.stack([np.cross(way, (0, 0, 1)), (0, 0, 1)], axis=1)
    beams = [np.rint(points @ across / _CELL).astype(int) for points in (before, crown)]
    low = np.minimum(beams[0].min(axis=0), beams[1].min(axis=0))
    shape = np.maximum(beams[0].max(axis=0), beams[1].max(axis=0)) - low + 1
    end, start = np.full(shape, -np.inf), np.full(shape, np.inf)
    np.maximum.at(end, tuple((beams[0] - low).T), before @ way)
    np.minimum.at(start, tuple((beams[1] - low).T), crown @ way)
    return (start - end).min()
