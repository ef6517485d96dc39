"""A morphable model: a statistical shape model (SSM) of jaws, by principal component analysis.

Jaws with the same faces have one topology: a vertex is the same anatomical point in each, as in
synthetic jaws. They vary about their mean along few directions, the modes (Blanz and Vetter 1999,
doi:10.1145/311535.311556). The mean and the modes of one topology are a shape family; a model has
one or several.

The file is an `.npz` of `mean_<i>` (N, 3), `modes_<i>` (N, 3, K) and `faces_<i>` (M, 3) for each
family i. A mode is scaled by the standard deviation of its coefficient, so that coefficients have a
standard deviation of 1. Lengths are in the frame of the cameras, see `dentalzoo.data.jaw_pose`.
"""

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from dentalzoo.atomic import write_atomically
from dentalzoo.data.jaw_pose import SCALE
from dentalzoo.data.meshes import MeshDataset, find_meshes, load_meshes
from dentalzoo.errors import BadFile, DentalzooError

MAX_JAWS = 1500  # ours: analysed per family, 0.6 MB each

Topology = tuple[int, str]  # number of vertices, SHA-256 of the faces


@dataclass(frozen=True)
class MorphableModel:
    """Shape families, with lengths in units of 40 mm.

    Attributes:
        means: for each family (N, 3) float32.
        modes: for each family (N, 3, K) float32.
        faces: for each family (M, 3) int32.
    """

    means: Sequence[np.ndarray]
    modes: Sequence[np.ndarray]
    faces: Sequence[np.ndarray]

    def check(self, num_points: int, components: int, faces: Sequence[int]) -> None:
        """Check that a network has the sizes of this model.

        Args:
            num_points: vertices of the network's output.
            components: coefficients of each family.
            faces: number of faces of each family.

        Raises:
            DentalzooError: it has not; the message has the settings that fit.
        """
        fitting = {
            "num_points": len(self.means[0]),
            "components": self.modes[0].shape[2],
            "faces": tuple(map(len, self.faces)),
        }
        if fitting != {"num_points": num_points, "components": components, "faces": tuple(faces)}:
            settings = " ".join(f'--set "{key}={value}"' for key, value in fitting.items())
            raise DentalzooError(
                f"the sizes of the network must be those of the morphable model: {settings}. "
                f"Received: num_points={num_points}, components={components}, faces={faces}"
            )

    def coefficients(self, points: np.ndarray, family: int = 0) -> np.ndarray:
        """Project jaws (B, N, 3) of a family on its modes: (B, K) float64, 0 for the mean."""
        modes = self.modes[family].reshape(-1, self.modes[family].shape[2]).astype(np.float64)
        differences = (points - self.means[family]).reshape(len(points), -1)
        return differences @ modes / (modes**2).sum(axis=0)

    def points(self, coefficients: npt.ArrayLike, family: int = 0) -> np.ndarray:
        """Return the jaws (B, N, 3) float32 of coefficients (B, K) of a family."""
        weights = np.asarray(coefficients, np.float32)
        return self.means[family] + np.einsum(
            "bk,nck->bnc", weights, self.modes[family], optimize=True
        )


def fit(
    data_dir: str | Path, out: str | Path, components: int = 64, split: str | None = "train"
) -> dict[str, Any]:
    """Fit a morphable model to the jaws of a data set and write it.

    Args:
        data_dir: a folder of meshes, see docs/data_formats.md. The first 1,500 jaws of a topology
            are used; all topologies must have the same number of vertices.
        out: the `.npz` to write.
        components: modes of each family; a topology needs more jaws than that.
        split: the split to use; None for all jaws.

    Returns:
        "families": for each its "jaws", "vertices", "faces", "explained_variance" (in [0, 1], of
        the modes) and "deviation_mm" (mean distance of a vertex from its mean); "skipped": [name,
        reason]; "settings" for `dentalzoo train`. Everything is JSON-serialisable.

    Raises:
        DentalzooError: no jaws, too few jaws of one topology, or topologies that differ in their
            number of vertices.
    """
    if components < 1 or int(components) != components:
        raise DentalzooError(f"components must be an integer >= 1. Received: {components!r}")
    components = int(components)
    groups, faces, skipped = _by_topology(find_meshes(data_dir, split))
    small = {key: jaws for key, jaws in groups.items() if len(jaws) <= components}
    skipped += [
        (name, f"one of only {len(jaws)} jaws of its topology")
        for jaws in small.values()
        for name, _ in jaws
    ]
    groups = {key: jaws for key, jaws in groups.items() if key not in small}
    if not groups:
        largest = max(map(len, small.values()), default=0)
        raise DentalzooError(
            f"{data_dir} must hold more than {components} jaws of one topology (the same faces). "
            f"Received: {len(small)} topologies, at most {largest} jaws of one"
        )
    sizes = {len(jaws[0][1]) for jaws in groups.values()}
    if len(sizes) > 1:
        raise DentalzooError(
            f"all topologies must have the same number of vertices. Received: {sorted(sizes)}"
        )
    arrays: dict[str, np.ndarray] = {}
    families: list[dict[str, Any]] = []
    for index, (key, jaws) in enumerate(sorted(groups.items(), key=lambda g: -len(g[1]))):
        points = np.stack([points for _, points in jaws])
        mean, modes, explained = _principal_components(points, components)
        arrays |= {f"mean_{index}": mean, f"modes_{index}": modes, f"faces_{index}": faces[key]}
        deviation = np.linalg.norm(points - mean, axis=-1).mean()
        families.append(
            {
                "jaws": len(jaws),
                "vertices": len(mean),
                "faces": len(faces[key]),
                "explained_variance": round(explained, 4),
                "deviation_mm": round(float(deviation) * SCALE, 3),
            }
        )

    def write(stream: BinaryIO) -> None:
        np.savez(stream, **arrays)  # type: ignore[arg-type]  # no array is named allow_pickle

    write_atomically(out, write)
    return {
        "out": str(out),
        "families": families,
        "settings": {
            "num_points": families[0]["vertices"],
            "components": components,
            "faces": [family["faces"] for family in families],
        },
        "skipped": [list(pair) for pair in skipped],
    }


def _by_topology(
    dataset: MeshDataset,
) -> tuple[
    dict[Topology, list[tuple[str, np.ndarray]]],
    dict[Topology, np.ndarray],
    list[tuple[str, str]],
]:
    """Group jaws by topology: (name, points) of each jaw, faces, and (name, reason) of the rest."""
    groups: dict[Topology, list[tuple[str, np.ndarray]]] = defaultdict(list)
    faces: dict[Topology, np.ndarray] = {}
    skipped = list(dataset.skipped)
    for sample, mesh, pose in load_meshes(dataset.samples, skipped):
        key = len(mesh.vertices), hashlib.sha256(mesh.faces.tobytes()).hexdigest()
        faces.setdefault(key, mesh.faces.astype(np.int32))
        if len(groups[key]) < MAX_JAWS:
            groups[key].append((sample.name, pose.apply(mesh.vertices)))
    return groups, faces, skipped


def _principal_components(
    points: np.ndarray, components: int
) -> tuple[np.ndarray, np.ndarray, float]:
    """Return the mean (N, 3) and the modes (N, 3, K) of (B, N, 3), and their part of the variance.

    Computed from the (B, B) products of the jaws, which are far fewer than coordinates.
    """
    mean = points.mean(axis=0)
    differences = (points - mean).reshape(len(points), -1)
    values, vectors = np.linalg.eigh((differences @ differences.T).astype(np.float64))
    kept = vectors[:, ::-1][:, :components]
    modes = (differences.T @ kept.astype(np.float32)) / np.float32(np.sqrt(len(points)))
    explained = values[::-1][:components].sum() / max(values.sum(), np.finfo(float).tiny)
    return mean, modes.reshape(*mean.shape, components), float(explained)


def load(path: str | Path) -> MorphableModel:
    """Read a morphable model that `fit` wrote.

    Raises:
        DentalzooError: there is no such file.
        BadFile: it is not a morphable model.
    """
    path = Path(path)
    if not path.is_file():
        raise DentalzooError(
            "the morphable model must be a file written by `dentalzoo shape-model`. "
            f"Received: {path}"
        )
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as arrays:
            count = sum(key.startswith("mean_") for key in arrays.files)
            means, modes, faces = (
                [arrays[f"{name}_{i}"] for i in range(count)] for name in ("mean", "modes", "faces")
            )
    except Exception as error:  # a flipped bit in a zip file's directory can raise anything
        raise BadFile(path, f"must be a morphable model. Received: {error!r}") from error
    families = list(zip(means, modes, faces, strict=True))
    bad = [f for f in families if not _is_family(*f) or f[1].shape != modes[0].shape]
    if bad or not families:
        received = [array.shape for array in bad[0]] if bad else "no mean_0"
        raise BadFile(
            path, f"must hold means, modes and faces of matching shapes. Received: {received}"
        )
    return MorphableModel(means, modes, faces)


def _is_family(mean: np.ndarray, modes: np.ndarray, faces: np.ndarray) -> bool:
    """Return whether these are (N, 3), (N, 3, K), finite, and (M, 3) indices of vertices."""
    return (
        (mean.ndim, modes.ndim, faces.ndim) == (2, 3, 2)
        and mean.shape[1] == faces.shape[1] == 3
        and modes.shape[:2] == mean.shape
        and mean.size * modes.size * faces.size > 0
        and (mean.dtype.kind, modes.dtype.kind) == ("f", "f")
        and faces.dtype.kind in "iu"
        and bool(np.isfinite(mean).all() and np.isfinite(modes).all())
        and 0 <= faces.min() <= faces.max() < len(mean)
    )
