"""A morphable model of jaws: shape families, each a mean and the modes of its variation.

Jaws whose vertices have the same place in each, as drawn jaws have, vary about their mean along few
directions: those of a principal component analysis (Blanz and Vetter 1999,
doi:10.1145/311535.311556). Jaws of another topology are a family of their own.

A model is kept as an `.npz` of `mean_<i>` (N, 3), `modes_<i>` (N, 3, K), each mode times the
deviation of its coefficient, so that coefficients vary by 1, and `faces_<i>` (M, 3); lengths in
the frame of the cameras, see `dentalzoo.data.jaw_pose`.
"""

import hashlib
import logging
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from dentalzoo.atomic import write_atomically
from dentalzoo.data.jaw_pose import SCALE
from dentalzoo.data.meshes import find_meshes, load_mesh
from dentalzoo.errors import BadFile, DentalzooError

_log = logging.getLogger("dentalzoo")

MOST = 1500  # ours: jaws of a family that are analysed, 0.6 MB each


@dataclass(frozen=True)
class MorphableModel:
    """Shape families; 40 mm = 1.

    Attributes:
        means: of each family (N, 3) float32.
        modes: of each (N, 3, K) float32.
        faces: of each (M, 3) int32.
    """

    means: Sequence[np.ndarray]
    modes: Sequence[np.ndarray]
    faces: Sequence[np.ndarray]

    def check(self, num_points: int, components: int, faces: Sequence[int]) -> None:
        """Refuses a network of other sizes.

        Raises:
            DentalzooError: the message has the settings that fit.
        """
        fitting = {
            "num_points": len(self.means[0]),
            "components": self.modes[0].shape[2],
            "faces": tuple(map(len, self.faces)),
        }
        if fitting != {"num_points": num_points, "components": components, "faces": tuple(faces)}:
            settings = " ".join(f'--set "{key}={value}"' for key, value in fitting.items())
            raise DentalzooError(
                f"the network has other sizes than the morphable model; it fits with {settings}. "
                f"Received: num_points={num_points}, components={components}, faces={faces}"
            )

    def coefficients(self, points: np.ndarray, family: int = 0) -> np.ndarray:
        """What the modes say of jaws (B, N, 3) of a family: (B, K) float64, 0 for the mean."""
        modes = self.modes[family].reshape(-1, self.modes[family].shape[2]).astype(np.float64)
        apart = (points - self.means[family]).reshape(len(points), -1)
        return apart @ modes / (modes**2).sum(axis=0)

    def points(self, coefficients: np.ndarray, family: int = 0) -> np.ndarray:
        """The jaws (B, N, 3) float32 of coefficients (B, K)."""
        return self.means[family] + np.einsum(
            "bk,nck->bnc", np.float32(coefficients), self.modes[family], optimize=True
        )


def fit(
    data_dir: str | Path, out: str | Path, components: int = 64, split: str | None = "train"
) -> dict:
    """Finds the shape families of a data set and writes their morphable model.

    Args:
        data_dir: a folder of meshes, see docs/data_formats.md. Jaws with the same faces are one
            family, of which the first 1,500 count; all families have the same number of vertices.
        out: the `.npz` to write.
        components: modes of each family; it needs more jaws than that.
        split: whose jaws; None for all.

    Returns:
        "families": of each its "jaws", "vertices", "faces", "explained" (the part of the variance
        that the modes hold) and "mean_shape_mm" (how far a vertex is from its mean, on average);
        "skipped": [name, reason]; "settings" for `dentalzoo train`. All of it fits into JSON.

    Raises:
        DentalzooError: no jaws, no family with enough of them, or families of other sizes.
    """
    if components < 1 or int(components) != components:
        raise DentalzooError(f"components is a whole number from 1. Received: {components!r}")
    components = int(components)
    groups, faces, skipped = _families(find_meshes(data_dir, split))
    small = {key: jaws for key, jaws in groups.items() if len(jaws) <= components}
    skipped += [(n, f"one of {len(jaws)} alike") for jaws in small.values() for n, _ in jaws]
    groups = {key: jaws for key, jaws in groups.items() if key not in small}
    if not groups:
        most = max(map(len, small.values()), default=0)
        raise DentalzooError(
            f"a family of more than {components} jaws with the same faces is needed. "
            f"Received: {len(small)} families in {data_dir}, the largest of {most}"
        )
    sizes = {len(jaws[0][1]) for jaws in groups.values()}
    if len(sizes) > 1:
        raise DentalzooError(
            f"families of the same number of vertices are needed. Received: {sorted(sizes)}"
        )
    arrays, families = {}, []
    for index, (key, jaws) in enumerate(sorted(groups.items(), key=lambda g: -len(g[1]))):
        points = np.stack([points for _, points in jaws])
        mean, modes, explained = _analyse(points, components)
        arrays |= {f"mean_{index}": mean, f"modes_{index}": modes, f"faces_{index}": faces[key]}
        apart = np.linalg.norm(points - mean, axis=-1).mean()
        families.append(
            {
                "jaws": len(jaws),
                "vertices": len(mean),
                "faces": len(faces[key]),
                "explained": round(explained, 4),
                "mean_shape_mm": round(float(apart) * SCALE, 3),
            }
        )
    write_atomically(out, lambda stream: np.savez(stream, **arrays))
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


def _families(found) -> tuple[dict, dict, list]:
    """Of each topology its jaws as (name, points) and its faces; and (name, reason) of the rest."""
    groups, faces, skipped = defaultdict(list), {}, list(found.skipped)
    for sample in tqdm(found.samples, "reading", leave=False, disable=None):
        try:
            mesh, pose = load_mesh(sample)
        except BadFile as error:
            _log.warning("skipped %s", error)
            skipped.append((sample.name, error.reason))
            continue
        key = len(mesh.vertices), hashlib.sha256(mesh.faces.tobytes()).hexdigest()
        faces.setdefault(key, mesh.faces.astype(np.int32))
        if len(groups[key]) < MOST:
            groups[key].append((sample.name, pose.apply(mesh.vertices)))
    return groups, faces, skipped


def _analyse(points: np.ndarray, components: int) -> tuple[np.ndarray, np.ndarray, float]:
    """The mean (N, 3), the modes (N, 3, K) of (B, N, 3), and the part of the variance they hold.

    By the products of the jaws with each other, which are far fewer than coordinates.
    """
    mean = points.mean(axis=0)
    apart = (points - mean).reshape(len(points), -1)
    values, vectors = np.linalg.eigh(np.float64(apart @ apart.T))
    kept = vectors[:, ::-1][:, :components]
    modes = (apart.T @ kept.astype(np.float32)) / np.float32(np.sqrt(len(points)))
    explained = values[::-1][:components].sum() / max(values.sum(), np.finfo(float).tiny)
    return mean, modes.reshape(*mean.shape, components), float(explained)


def load(path: str | Path) -> MorphableModel:
    """Reads a morphable model.

    Raises:
        DentalzooError: there is no such file.
        BadFile: it is none.
    """
    path = Path(path)
    if not path.is_file():
        raise DentalzooError(f"a file that fit() wrote was expected. Received: {path}")
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as arrays:
            count = sum(key.startswith("mean_") for key in arrays.files)
            model = MorphableModel(
                *([arrays[f"{word}_{i}"] for i in range(count)]
                  for word in ("mean", "modes", "faces"))
            )  # fmt: skip
    except Exception as error:  # a flipped bit in a zip file's directory can raise anything
        raise BadFile(path, f"expected a morphable model. Received: {error!r}") from error
    families = list(zip(model.means, model.modes, model.faces, strict=True))
    wrong = [f for f in families if not _is_family(*f) or f[1].shape != model.modes[0].shape]
    if wrong or not families:
        received = [array.shape for array in wrong[0]] if wrong else "no mean_0"
        raise BadFile(path, f"expected means, modes and faces that fit. Received: {received}")
    return model


def _is_family(mean: np.ndarray, modes: np.ndarray, faces: np.ndarray) -> bool:
    """Whether these are (N, 3), (N, 3, K) of finite numbers, and (M, 3) of vertices."""
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
