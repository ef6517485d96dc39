"""Upper jaws as meshes: finds them in the usual layouts, loads them under one set of rules, and
draws points on them.

docs/data_formats.md has the layouts and rules.
"""

import logging
import re
from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path

import numpy as np
from tqdm import tqdm

from dentalzoo.atomic import stamp
from dentalzoo.data import masks
from dentalzoo.data.formats import tree as layouts
from dentalzoo.data.formats.image_files import FileEntry, describe, of_split, split_files
from dentalzoo.data.formats.tree import SPLITS, Skip, Tree
from dentalzoo.data.io.mesh_files import MESH_SUFFIXES, Mesh, read_mesh
from dentalzoo.data.jaw_pose import SCALE, Pose, find_pose
from dentalzoo.errors import BadFile, DentalzooError
from dentalzoo.ops.meshes import sample_surface

_log = logging.getLogger("dentalzoo")

METHODS = ("area", "vertices", "order")

_UNDERSTOOD = "upper jaws as *.obj, *.ply or *.stl, as Teeth3DS has them or in plain folders"


@dataclass(frozen=True)
class MeshSample:
    """An upper jaw: its file, its labels where there are any, its group and its split."""

    name: str
    mesh: Path
    labels: Path | None = None
    group: str = ""
    split: str = ""


@dataclass
class MeshDataset:
    """What was found; `skipped` lists (file or row, reason) of all that takes no part."""

    samples: list[MeshSample]
    skipped: list[tuple[str, str]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def fingerprint(self) -> tuple:
        """What loaded samples depend on: names, and size and time of the files."""
        return tuple((s.name, s.split, *stamp(s.mesh)) for s in self.samples)


# ---- finding -------------------------------------------------------------------------------------


def find_meshes(
    data_dir: str | Path, split: str | None = None, *, val_fraction: float = 0.1
) -> MeshDataset:
    """Finds upper jaws in the layouts of docs/data_formats.md. No mesh is opened.

    A file or folder whose name ends in `lower` is not used. The labels of `x.obj` are in `x.json`.

    Args:
        split: "train", "val" or "test" (or "valid", "validation", "testing", ...); None for all.
        val_fraction: where neither `split.csv` nor lists nor folders tell a split, this part of the
            groups, by the hash of their names, is "val" and the rest "train".

    Raises:
        DentalzooError: nothing usable is there; the message lists what is understood.
        MissingSplit: there are meshes, but none of the split.
        BadFile: `split.csv` or a list is broken.
    """
    wanted = split and layouts.split_word(split)
    if split is not None and not wanted:
        raise DentalzooError(f"split is one of {SPLITS} or None. Received: {split!r}")
    if not 0 <= val_fraction < 1:
        raise DentalzooError(
            f"val_fraction is at least 0 and less than 1. Received: {val_fraction!r}"
        )
    root = Path(data_dir)
    if not root.is_dir():
        what = "a file" if root.exists() else "no such folder"
        raise DentalzooError(f"{root}: expected a folder of {_UNDERSTOOD}. Received: {what}")
    paths = sorted((p for p in root.rglob("*") if _visible(root, p)), key=layouts.natural_key)
    meshes = [p for p in paths if p.suffix.lower() in MESH_SUFFIXES]
    upper = [p for p in meshes if not any(map(is_lower, p.relative_to(root).parts))]
    if not upper:
        raise DentalzooError(
            f"{root}: no upper jaw; expected {_UNDERSTOOD}. "
            f"Received: {len(paths)} files, {len(meshes)} of them meshes of lower jaws"
        )
    if len(upper) < len(meshes):
        _log.info("%d meshes of lower jaws, not used", len(meshes) - len(upper))
    table = root / "split.csv"
    tree = Tree(root, [], [], table if table.is_file() else None, [])
    files = [FileEntry(p, None, labels_of(p), split=layouts.split_of(root, p)) for p in upper]
    files = describe(tree, files)
    skips, where = [], "the folders' names"
    if not tree.split_csv:
        files, skips, where = _by_lists(
            tree, files, [p for p in paths if p.suffix == ".txt"], where
        )
    files, skips = split_files(tree, files, skips, val_fraction, where, "mesh")
    if wanted:
        files, skips = of_split(tree, files, skips, wanted, val_fraction, "meshes")
    skipped = [(skip.name, skip.reason) for skip in skips]
    masks.report_skipped(skipped)
    if not files:
        raise DentalzooError(f"{root}: no mesh of {len(upper)} is in a split of {where}")
    return MeshDataset(
        [MeshSample(f.name, f.image, f.partner, f.group, f.split) for f in files], skipped
    )


def _visible(root: Path, path: Path) -> bool:
    parts = path.relative_to(root).parts
    return path.is_file() and not any(part.startswith((".", "__MACOSX")) for part in parts)


def is_lower(part: str) -> bool:
    """Whether the name of a file or folder says that it is of a lower jaw."""
    return re.fullmatch(r"(.*[ _-])?lower", part.partition(".")[0], re.IGNORECASE) is not None


def labels_of(path: Path) -> Path | None:
    """The file of labels beside a mesh."""
    beside = path.with_suffix(".json")
    return beside if beside.is_file() else None


def _by_lists(tree: Tree, files, lists, where) -> tuple[list[FileEntry], list[Skip], str]:
    """Gives splits from lists of names, `training_upper.txt` say.

    A folder of lists speaks of the meshes that lie under the nearest folder above it, so that data
    sets side by side keep their own. Of several that speak of the same meshes the one that names
    most of them counts, then the first.
    """
    told, about = defaultdict(dict), defaultdict(list)
    for path in lists:
        split = layouts.split_word(path.stem)
        for row in path.read_text(errors="replace").splitlines() if split else ():
            name = layouts.normal(Path(row.strip()).name.removesuffix(".obj"))
            if told[path.parent].setdefault(name, split) != split:
                raise BadFile(path, f"a name is in one list. Received: {name!r} in several")
    known = defaultdict(set)  # of each folder, the meshes under it
    for file in files:
        for folder in file.image.parents:
            known[folder].add(layouts.normal(file.image.stem))
    for folder, rows in told.items():
        data = next((parent for parent in folder.parents if parent in known), tree.root)
        if known[data] & rows.keys():
            about[data].append(folder)
    if not about:
        return files, [], where
    skips, splits = [], {}
    for data, folders in about.items():
        best = max(folders, key=lambda folder: len(known[data] & told[folder].keys()))
        splits[data] = best
        if len(folders) > 1:
            others = ", ".join(tree.name(folder) for folder in folders if folder != best)
            _log.info("splits of %s are used, not of %s", tree.name(best), others)
        skips += [
            Skip(name, f"row of {tree.name(best)} without mesh", split)
            for name, split in told[best].items()
            if name and name not in known[data] and not is_lower(name)
        ]
    given = []
    for file in files:
        data = next((folder for folder in file.image.parents if folder in splits), None)
        if data:
            split = told[splits[data]].get(layouts.normal(file.image.stem), "")
            file = replace(file, split=split)
        given.append(file)
    return given, skips, " or ".join(map(tree.name, splits.values()))


# ---- loading -------------------------------------------------------------------------------------


def load_mesh(sample: MeshSample) -> tuple[Mesh, Pose]:
    """Loads an upper jaw, in the millimetres of its file, and the pose it is seen in.

    Raises:
        BadFile: a file is damaged, or the mesh is no upper jaw in millimetres with y to the back
            and z along the crowns; the reason tells what was found.
    """
    mesh = read_mesh(sample.mesh, sample.labels)
    try:
        return mesh, find_pose(mesh)
    except BadFile:
        raise
    except DentalzooError as error:
        raise BadFile(sample.mesh, str(error)) from error


def check_meshes(data_dir: str | Path, split: str | None = None) -> dict:
    """Reads every mesh once and says what is wrong, for `dentalzoo check --meshes`.

    Returns:
        "data", "usable" (number of meshes), the number of each split, "groups" and "labelled"
        (their number), "teeth" (number of jaws with each FDI number), "vertices" and "size_mm"
        (least and most); "skipped" [name, reason], "repaired" [name, what], and the same meshes as
        [name, name, splits], "duplicates" between splits and "duplicates_within" one; all four
        empty where nothing is wrong. All of it fits into JSON.

    Raises:
        DentalzooError: as `find_meshes`; or no mesh can be used.
    """
    found = find_meshes(data_dir, split)
    good, bad, repaired, teeth = [], [], [], Counter()
    vertices, boxes, prints = [], [], defaultdict(list)
    for sample in tqdm(found.samples, "reading", leave=False, disable=None):
        try:
            mesh, pose = load_mesh(sample)
        except BadFile as error:
            part = "" if error.path == sample.mesh else f"{error.path.name}: "
            bad.append((sample.name, part + error.reason))
            continue
        good.append(sample)
        points = pose.apply(mesh.vertices)
        shape = np.concatenate([np.ptp(points, axis=0), points.mean(0), points.std(0)]) * SCALE
        prints[len(points), *shape.round(2).tolist()].append(sample)
        vertices.append(len(points))
        boxes.append((np.ptp(points, axis=0) * SCALE).round(1).tolist())
        if mesh.labels is not None:
            teeth.update(int(fdi) for fdi in np.unique(mesh.labels) if fdi)
        if pose.turned:
            repaired.append((sample.name, "the crowns point to -z: turned about y"))
        if len(np.unique(mesh.faces)) < len(points):
            repaired.append((sample.name, "vertices in no face: not seen, and no points there"))
    masks.report_skipped(bad)
    if not good:
        raise DentalzooError(
            f"{data_dir}: none of {len(found)} meshes can be used. Received: {bad[0][1]}"
        )
    number = Counter(sample.split for sample in good)
    same = [
        [a.name, b.name, "the same mesh, in " + " and ".join(sorted({a.split, b.split}))]
        for group in prints.values()
        for a, b in combinations(group, 2)
    ]
    return {
        "data": str(data_dir),
        "usable": len(good),
        **{name: number[name] for name in SPLITS if number[name]},
        "groups": len({sample.group for sample in good}),
        "labelled": sum(sample.labels is not None for sample in good),
        "teeth": dict(sorted(teeth.items())),
        "vertices": {"least": min(vertices), "most": max(vertices)},
        "size_mm": {
            "least": np.min(boxes, axis=0).tolist(),
            "most": np.max(boxes, axis=0).tolist(),
        },
        "skipped": [list(pair) for pair in (*found.skipped, *bad)],
        "repaired": [list(pair) for pair in repaired],
        "duplicates": [pair for pair in same if " and " in pair[2]],
        "duplicates_within": [pair for pair in same if " and " not in pair[2]],
    }


# ---- points --------------------------------------------------------------------------------------


def sample_points(
    mesh: Mesh, count: int = 50_000, method: str = "area", seed: int = 0
) -> np.ndarray:
    """Points of a mesh.

    Args:
        method: "area" draws them on the faces, evenly by area, in random order; "vertices" takes
            vertices as the paper does: some, in order, or all, and then some twice; "order" takes
            the vertices as they are, of which there are `count`.
        seed: of the draw.

    Returns:
        (count, 3) float32 in the unit of the mesh.

    Raises:
        DentalzooError: count or method is unknown, the mesh has no area, or another number of
            vertices where their order counts.
    """
    if count < 1 or int(count) != count:
        raise DentalzooError(f"count is a whole number from 1. Received: {count!r}")
    if method not in METHODS:
        raise DentalzooError(f"method is one of {METHODS}. Received: {method!r}")
    if method == "order":
        if len(mesh.vertices) != count:
            raise DentalzooError(f"expected {count} vertices. Received: {len(mesh.vertices)}")
        return mesh.vertices
    random = np.random.default_rng(seed)
    if method == "vertices":
        have = len(mesh.vertices)
        whole, rest = divmod(count, have)
        some = np.sort(random.choice(have, rest, replace=False))
        return mesh.vertices[np.concatenate([np.tile(np.arange(have), whole), some])]
    points, _ = sample_surface(mesh.vertices, mesh.faces, count, seed)
    return random.permutation(points).astype(np.float32)
