"""Synthetic scans of upper jaws: what an intraoral scanner leaves of crowns, gum and palate.

A scan ends in a ragged rim of gum, has the palate or lacks it, has holes, is coarser and tilted.
Its crowns are those of `upper_jaw`, or crowns of a statistical shape model set into its gum.
"""

from dataclasses import replace

import numpy as np

from dentalzoo.data.synthetic.crowns import CrownModel
from dentalzoo.data.synthetic.jaw import (
    COLUMNS,
    KNOTS,
    ROWS,
    SLOT,
    TEETH,
    Jaw,
    Paths,
    Plan,
    even_rows,
    jaw_sheet,
    make_plan,
    seat_heights,
    smoothed,
)
from dentalzoo.errors import DentalzooError

# All values are ours: what public scans of upper jaws look like.
_SUNK = (0.4, 1.8)  # mm of a crown of the shape model below its gum
_STUB = 0.3  # mm: what the gum itself rises by under such a crown
_NECK = 0.7  # mm: this near to the gum a crown has its neck
_OVERLAP = 0.2  # mm of what is left of hidden surfaces
_WISDOM = 0.88  # of the shape model's second molars, which has no third ones
_PALATE = (0.4, 0.45)  # shares of scans with the whole palate, and with a rim of gum alone
_CHEEK_RIM = (1.5, 7.0)  # mm from the margin of the gum
_PALATE_RIM = (1.5, 8.0)
_PART_OF_PALATE = (8.0, 24.0)
_HOLES = 4  # at most
_HOLE = (0.6, 2.2)  # mm, radius
_NOISE = 0.04  # mm
_TILT = 6.0  # degrees, about x and y


def upper_scan(seed: int, crowns: CrownModel | None = None) -> Jaw:
    """Generate a scan of an upper jaw.

    Args:
        seed: a non-negative integer.
        crowns: of `read_crown_model`; two thirds of the scans have crowns of it. None: all have
            those of `upper_jaw`.

    Returns:
        A jaw whose numbers of vertices and faces depend on the seed.

    Raises:
        DentalzooError: seed is something else.
    """
    if int(seed) != seed or seed < 0:
        raise DentalzooError(f"seed must be a non-negative integer. Received: {seed!r}")
    rng = np.random.default_rng((int(seed), 17))
    shapes = _crowns(crowns, rng) if crowns is not None and rng.random() < 2 / 3 else None
    plan = make_plan(rng, 0.5, None, None if shapes is None else _sizes(shapes))
    paths = Paths(plan)
    drawn = plan if shapes is None else _with_stubs(plan)
    rows = even_rows(paths.across(), jaw_sheet(drawn, paths, paths.across())[0])
    sheet, labels = jaw_sheet(drawn, paths, rows)
    parts = [_cut(sheet, labels if shapes is None else np.zeros_like(labels), plan, rng)]
    if shapes is not None:
        heights = seat_heights(plan, paths)
        for slot in np.flatnonzero(plan.present).tolist():
            parts.append(_set_crown(shapes[slot], slot, plan, paths, heights[slot], rng))
        parts = _without_hidden(parts[0], parts[1:])
    starts = np.cumsum([0, *(len(part.vertices) for part in parts)])
    vertices = np.concatenate([part.vertices for part in parts])
    faces = np.concatenate([p.faces + start for p, start in zip(parts, starts[:-1], strict=True)])
    labels = np.concatenate([part.labels for part in parts])
    faces = _with_holes(vertices, faces, labels, rng)
    used, faces = np.unique(faces, return_inverse=True)
    vertices = _moved(vertices[used], rng)
    return Jaw(vertices.astype(np.float32), faces.reshape(-1, 3).astype(np.int32), labels[used])


# ---- crowns of the shape model -------------------------------------------------------------------


def _crowns(model: CrownModel, rng: np.random.Generator) -> list[Jaw]:
    """Return a crown for each of the 16 slots, in its own axes and its label.

    The axes are to the midline, to the cheek and to the biting edge; the origin is the middle of
    the crown, at the height where it enters the gum.
    """
    teeth, _, components = model.modes.shape
    shape = np.einsum("tpk,tk->tp", model.modes, rng.standard_normal((teeth, components)))
    # A patient's crowns are alike: half of their size is shared.
    scale = rng.normal(1, 0.04)
    crowns = scale * (model.mean + shape.reshape(model.mean.shape))
    centres = model.mean.mean(axis=1)
    tangent = np.gradient(centres[:, :2], axis=0)
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
    outward = np.stack([-tangent[:, 1], tangent[:, 0]], axis=1)
    outward *= np.sign((outward * (centres[:, :2] - centres[:, :2].mean(0))).sum(1, keepdims=True))
    sunk = rng.uniform(*_SUNK)
    local = []
    for index, crown in enumerate(crowns):
        out = outward[index]
        middle = np.array([out[1], -out[0]]) * (1 if index < 7 else -1)
        flat = (crown[:, :2] - crown[:, :2].mean(axis=0)) @ np.stack([middle, out], axis=1)
        height = crown[:, 2:] - crown[:, 2].min() - sunk
        local.append(np.concatenate([flat, height], axis=1))
    faces = model.crown_faces
    wisdom = [local[0] * _WISDOM, local[-1] * _WISDOM]
    return [
        Jaw(crown, face, np.full(len(crown), fdi, np.uint8))
        for crown, face, fdi in zip(
            [wisdom[0], *local, wisdom[1]], [faces[0], *faces, faces[-1]], TEETH, strict=True
        )
    ]


def _sizes(crowns: list[Jaw]) -> np.ndarray:
    """Return mesiodistal width, buccolingual width and height of crowns: (16, 3) mm."""
    spans = [np.ptp(crown.vertices[:, :2], axis=0) for crown in crowns]
    return np.array(
        [(*span, crown.vertices[:, 2].max()) for span, crown in zip(spans, crowns, strict=True)]
    )


def _with_stubs(plan: Plan) -> Plan:
    """Return a plan whose own crowns hardly rise from the gum."""
    flat = plan.size.copy()
    flat[:, 2] = _STUB
    return replace(plan, size=flat, lean=np.zeros_like(plan.lean))


def _set_crown(
    crown: Jaw, slot: int, plan: Plan, paths: Paths, height: float, rng: np.random.Generator
) -> Jaw:
    """Return a crown where the plan has one, with a little lean of its own."""
    angle, (x, y) = plan.turn[slot], paths.outward[slot]
    out = np.array([x * np.cos(angle) - y * np.sin(angle), x * np.sin(angle) + y * np.cos(angle)])
    middle = np.array([out[1], -out[0]]) * (1 if slot < 8 else -1)
    local = crown.vertices + crown.vertices[:, 2:] * np.append(rng.normal(0, 0.06, 2), 0)
    flat = paths.seat[slot] + local[:, :2] @ np.stack([middle, out])
    return replace(crown, vertices=np.concatenate([flat, local[:, 2:] + height], axis=1))


def _without_hidden(gum: Jaw, crowns: list[Jaw]) -> list[Jaw]:
    """Return gum and crowns without the faces of the one that are inside of the other."""
    from scipy.spatial import ConvexHull, KDTree

    below = KDTree(gum.vertices[:, :2])
    covered = np.zeros(len(gum.vertices), bool)
    parts = []
    for crown in crowns:
        height = gum.vertices[below.query(crown.vertices[:, :2])[1], 2]
        over = crown.vertices[:, 2] - height
        parts.append(replace(crown, faces=crown.faces[(over > -_OVERLAP)[crown.faces].any(axis=1)]))
        neck = crown.vertices[np.abs(over) < _NECK, :2]
        if len(neck) > 9:
            sides = ConvexHull(neck).equations  # unit normals: mm from each side
            apart = gum.vertices[:, :2] @ sides[:, :2].T + sides[:, 2]
            covered |= (apart < -_OVERLAP).all(axis=1)
    return [replace(gum, faces=gum.faces[~covered[gum.faces].all(axis=1)]), *parts]


# ---- the border and the holes --------------------------------------------------------------------


def _cut(sheet: np.ndarray, labels: np.ndarray, plan: Plan, rng: np.random.Generator) -> Jaw:
    """Return the part of a sheet (400, 125, 3) that the scanner saw, coarser in half of scans."""
    step = int(rng.integers(1, 3))
    rows = np.unique([*range(0, ROWS, step), *KNOTS, ROWS - 1])
    columns = np.unique([*range(0, COLUMNS, step), COLUMNS - 1])
    length = np.linalg.norm(np.diff(sheet, axis=1), axis=-1)
    length = np.concatenate([np.zeros((COLUMNS, 1)), np.cumsum(length, axis=1)], axis=1)
    cheek = length[:, KNOTS[0], None] - length  # mm from the margin of the gum, to the cheek
    palate = length - length[:, KNOTS[1], None]
    kept = cheek <= _ragged(rng, rng.uniform(*_CHEEK_RIM))[:, None]
    kind = rng.random()
    if kind > _PALATE[0]:
        alone = kind < sum(_PALATE)
        rim = rng.uniform(*(_PALATE_RIM if alone else _PART_OF_PALATE))
        kept &= palate <= _ragged(rng, rim)[:, None]
    kept &= _between_ends(sheet, plan, rng)
    kept = kept[np.ix_(columns, rows)]
    index = np.arange(kept.size).reshape(kept.shape)
    quads = np.stack([index[:-1, :-1], index[:-1, 1:], index[1:, 1:], index[1:, :-1]], axis=-1)
    faces = np.concatenate([quads[..., [0, 1, 3]], quads[..., [1, 2, 3]]]).reshape(-1, 3)
    faces = faces[kept.ravel()[faces].all(axis=1)]
    part = np.ix_(columns, rows)
    return Jaw(sheet[part].reshape(-1, 3), faces, labels[part].ravel())


def _ragged(rng: np.random.Generator, mm: float) -> np.ndarray:
    """Return a distance for each of the 400 columns that varies slowly and a little at random."""
    slow = smoothed(rng.standard_normal(COLUMNS), 41) * 41**0.5
    quick = smoothed(rng.standard_normal(COLUMNS), 5) * 5**0.5
    return np.maximum(mm * (1 + 0.25 * slow) + 0.25 * quick, 0.5)


def _between_ends(sheet: np.ndarray, plan: Plan, rng: np.random.Generator) -> np.ndarray:
    """Return which columns lie between the last teeth, or some mm behind them: (400, 1) bool."""
    present = np.flatnonzero(plan.present)
    ridge = sheet[:, sum(KNOTS) // 2, :2]
    along = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(ridge, axis=0), axis=1))])
    first, last = present[0] * SLOT, (present[-1] + 1) * SLOT - 1
    low, high = along[first] - rng.uniform(0.5, 6), along[last] + rng.uniform(0.5, 6)
    return ((along >= low) & (along <= high))[:, None]


def _with_holes(
    vertices: np.ndarray, faces: np.ndarray, labels: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Return the faces that are left; holes are in the gum, or at its margin."""
    used = np.unique(faces)
    gum = used[labels[used] == 0]
    for centre in vertices[rng.choice(gum, rng.integers(0, _HOLES + 1))]:
        inside = np.linalg.norm(vertices - centre, axis=1) < rng.uniform(*_HOLE)
        faces = faces[~inside[faces].any(axis=1)]
    return faces


def _moved(vertices: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return vertices scaled, tilted, a little bent and noisy."""
    from scipy.spatial.transform import Rotation

    middle = vertices.mean(axis=0)
    angles = np.clip(rng.normal(0, 0.5, 3), -1, 1) * _TILT
    turned = (vertices - middle) @ Rotation.from_euler("xyz", angles, degrees=True).as_matrix().T
    turned *= rng.normal(1, 0.03) * (1 + rng.normal(0, 0.02, 3))
    noise = rng.uniform(0, _NOISE)
    return turned + rng.normal(0, noise, vertices.shape) + middle
