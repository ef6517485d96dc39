"""The pose of an upper jaw in front of the cameras, and the meshes that are refused.

The frame of the cameras: x to the patient's right, y to the back, z from the palate to the biting
edges; 40 mm = 1; the centre of the jaw's bounding box at 0. In a file z may point either way, as in
scans of both jaws in one frame: a jaw whose crowns point to -z is turned about y.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dentalzoo.data.io.mesh_files import Mesh
from dentalzoo.errors import DentalzooError
from dentalzoo.ops.meshes import normals

SCALE = 40.0  # mm; ours: fixed, so that views show how large a jaw is
TURNED = "turned about y by 180 degrees, as an upper jaw; a lower jaw cannot be told from it"
_MIN_VERTICES = 1000  # ours; the scans of Teeth3DS have 16,282 and more
_BOX = ((40, 100), (30, 90), (8, 60))  # ours: mm; 60 synthetic jaws have 65-86, 56-73, 20-28
_UNITS = (  # (low, high) of the longest side, in the unit of the file
    (0.03, 0.3, "metres: multiply by 1000"),
    (1.5, 4, "inches, or a normalised mesh: convert it to millimetres"),
    (4, 13, "centimetres: multiply by 10"),
    (10_000, 130_000, "micrometres: divide by 1000"),
)
_LEVEL = 0.7  # ours: |z| of the normals of faces that count as level
_CORNER = 0.55  # ours: of half the box
_SIDES: dict[tuple[int, int], str] = {(0, 2): "y", (2, 0): "x", (-2, 0): "-x"}


@dataclass(frozen=True)
class Pose:
    """The transform from the millimetres of a file to the frame of the cameras, and back.

    Attributes:
        centre: (x, y, z) in mm of the point that becomes 0.
        turned: whether the jaw is turned by 180 degrees about y.
        scale: mm that become 1.
    """

    centre: tuple[float, float, float]
    turned: bool = False
    scale: float = SCALE

    def apply(self, points: npt.ArrayLike) -> np.ndarray:
        """Transform (..., 3) mm of the file to (..., 3) float32 in the frame of the cameras."""
        moved = (np.asarray(points, np.float64) - self.centre) / self.scale * self._signs
        return moved.astype(np.float32)

    def invert(self, points: npt.ArrayLike) -> np.ndarray:
        """Transform (..., 3) in the frame of the cameras to (..., 3) float32 mm of the file."""
        moved = np.asarray(points, np.float64) * self._signs * self.scale + self.centre
        return moved.astype(np.float32)

    @property
    def _signs(self) -> np.ndarray:
        return np.array((-1, 1, -1) if self.turned else (1, 1, 1))


def find_pose(mesh: Mesh) -> Pose:
    """Find the pose of an upper jaw.

    Args:
        mesh: in mm, with y to the back and z along the crowns, up or down.

    Raises:
        DentalzooError: it has too few vertices, another unit, size or axes, or is a mirror image.
    """
    if len(mesh.vertices) < _MIN_VERTICES:
        raise DentalzooError(
            f"a jaw must have at least {_MIN_VERTICES} vertices. Received: {len(mesh.vertices)}"
        )
    used = mesh.vertices[np.unique(mesh.faces)].astype(np.float64)
    low, high = used.min(axis=0), used.max(axis=0)
    _refuse_box(high - low)
    x, y, z = ((low + high) / 2).tolist()
    labels = mesh.labels if mesh.labels is not None and mesh.labels.any() else None
    pose = Pose((x, y, z), bool(_points_down(mesh, labels)))
    if labels is None:
        _refuse_turned(pose.apply(used))
    else:
        _refuse_labels(pose.apply(mesh.vertices), labels)
    return pose


def _refuse_box(box: np.ndarray) -> None:
    shown = " x ".join(f"{side:.3g}" for side in box)
    longest = box.max()
    for low, high, unit in _UNITS:
        if low <= longest < high:
            raise DentalzooError(
                f"a jaw must be in millimetres. Received: a box of {shown}, as in {unit}"
            )
    if box.argmin() != 2:
        raise DentalzooError(
            f"z must be along the crowns; this jaw lies on its side. Received: {shown} mm"
        )
    if any(not low <= side <= high for side, (low, high) in zip(box, _BOX, strict=True)):
        expected = " x ".join(f"{low}-{high}" for low, high in _BOX)
        raise DentalzooError(f"an upper jaw must measure {expected} mm. Received: {shown} mm")


def _points_down(mesh: Mesh, labels: np.ndarray | None) -> bool:
    """Return whether the crowns point to -z.

    By the labels, else by the open border of a scan, which is far from the crowns, else by the
    smoother end: the base of a plaster model, or the cut of a crown.
    """
    z = mesh.vertices[:, 2].astype(np.float64)
    if labels is not None and not labels.all():
        return z[labels > 0].mean() < z[labels == 0].mean()
    middle = (z.min() + z.max()) / 2
    corners = np.array([[0, 1], [1, 2], [2, 0]])
    ends = np.sort(mesh.faces[:, corners].reshape(-1, 2), axis=1).astype(np.int64)
    edges, count = np.unique(ends[:, 0] * len(z) + ends[:, 1], return_counts=True)
    border = np.stack(np.divmod(edges[count == 1], len(z)), axis=1)
    if len(border):
        length = np.linalg.norm(mesh.vertices[border[:, 0]] - mesh.vertices[border[:, 1]], axis=1)
        if length.sum() > 50:  # ours: mm; a hole is shorter
            return np.average(z[border].mean(axis=1), weights=length) > middle
    top, base = (_roughness(mesh, sign) for sign in (1, -1))
    return top < base


def _roughness(mesh: Mesh, sign: int) -> float:
    """Return how rough the level faces of the upper end (1) or the lower end (-1) are, in 1/mm.

    It is the sum over edges of angle (radians) times length, divided by the area of the faces.
    """
    directions, areas = normals(mesh.vertices, mesh.faces)
    height = mesh.vertices[:, 2][mesh.faces].mean(axis=1) * sign
    level = np.abs(directions[:, 2]) > _LEVEL
    level &= height > (height.min() + height.max()) / 2
    if not level.any():
        return 0.0
    ends = np.sort(mesh.faces[level][:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)
    order = np.lexsort(ends.T)
    same = np.flatnonzero((np.diff(ends[order], axis=0) == 0).all(axis=1))
    one, other = (directions[level][order[same + k] // 3] for k in (0, 1))
    angle = np.arccos(np.abs((one * other).sum(axis=1)).clip(0, 1))
    a, b = mesh.vertices[ends[order[same]].T]
    return float((angle * np.linalg.norm(a - b, axis=1)).sum() / areas[level].sum())


def _refuse_turned(points: np.ndarray) -> None:
    """Raise DentalzooError unless the two front corners of the jaw's box are the emptiest."""
    x, y = (points[:, k] / np.abs(points[:, k]).max() for k in (0, 1))
    count = {
        (i, j): np.mean((i * x > _CORNER) & (j * y > _CORNER)) for i in (-1, 1) for j in (-1, 1)
    }
    one, other = sorted(count, key=lambda corner: count[corner])[:2]
    front = one[0] + other[0], one[1] + other[1]
    empty = count[one] + count[other]
    if front in _SIDES and empty < 0.5 * (sum(count.values()) - empty):
        raise DentalzooError(
            f"the front teeth must be towards -y. Received: towards {_SIDES[front]}"
        )


def _refuse_labels(points: np.ndarray, labels: np.ndarray) -> None:
    """Raise DentalzooError if the labelled teeth are turned about z or mirrored."""
    quadrant, kind = labels // 10, labels % 10
    right, left = np.isin(quadrant, (1, 5)), np.isin(quadrant, (2, 6))
    front, back = (labels > 0) & (kind <= 3), kind >= 4
    both = [side for side in (right, left) if (side & front).any() and (side & back).any()]
    if both:  # each side by itself, because teeth may be missing on one
        x, y, _ = np.mean(
            [points[side & front].mean(0) - points[side & back].mean(0) for side in both], axis=0
        )
        if y > -abs(x) / 2:
            axis = "y" if y > abs(x) else "x" if x > 0 else "-x"
            raise DentalzooError(f"the front teeth must be towards -y. Received: towards {axis}")
    if right.any() and left.any() and points[right, 0].mean() < points[left, 0].mean():
        raise DentalzooError(
            "teeth 11 to 18 must be on the patient's right. "
            "Received: a mirror image, or swapped labels"
        )
