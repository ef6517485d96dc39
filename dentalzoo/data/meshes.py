"""Upper jaws as meshes: find them in the usual layouts, load them by one set of rules, and sample
points on them.

docs/data_formats.md has the layouts and rules.
"""

import logging
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, MutableSequence, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from dentalzoo.data.formats import tree as layouts
from dentalzoo.data.formats.base import report_skipped
from dentalzoo.data.formats.splits import describe, select_split, split_files
from dentalzoo.data.formats.tree import SPLITS, FileEntry, Skip, Tree
from dentalzoo.data.formats.unused import find_unused, report_unused
from dentalzoo.data.io.images import natural_key
from dentalzoo.data.io.mesh_files import MESH_SUFFIXES, Mesh, read_mesh
from dentalzoo.data.jaw_axes import SAME, Axes, axes_text, parse_axes
from dentalzoo.data.jaw_doubts import Neighbour, doubts_of, doubts_of_pairs
from dentalzoo.data.jaw_names import lower_jaws
from dentalzoo.data.jaw_pose import SCALE, Pose, find_pose
from dentalzoo.data.mesh_fixes import CorrectedFolder, corrected
from dentalzoo.data.mesh_lists import assign_by_lists
from dentalzoo.data.pipeline.prefetch import for_each
from dentalzoo.errors import BadFile, DentalzooError
from dentalzoo.ops.meshes import sample_surface

_log = logging.getLogger("dentalzoo")

METHODS = ("area", "vertices", "order")
"""How `sample_points` chooses points."""

_LAYOUTS = "upper jaws as *.obj, *.ply or *.stl, in the layout of Teeth3DS or in plain folders"


@dataclass(frozen=True)
class MeshSample:
    """The files of an upper jaw.

    Attributes:
        name: unique in the data set.
        mesh: an .obj, .ply or .stl file.
        labels: a JSON file of Teeth3DS; None without.
        group: jaws of one group belong to one split; "" without.
        split: "train", "val" or "test".
        label: the group of jaws, by the name of a folder; "" where unknown.
    """

    name: str
    mesh: Path
    labels: Path | None = None
    group: str = ""
    split: str = ""
    label: str = ""


@dataclass
class MeshDataset:
    """Jaws; (file or row, reason) of what is `skipped`; the number of `lower` jaws, not used."""

    samples: list[MeshSample]
    skipped: list[tuple[str, str]] = field(default_factory=list)
    lower: int = 0

    def __len__(self) -> int:
        return len(self.samples)


# ---- finding -------------------------------------------------------------------------------------


def find_meshes(
    data_dir: str | Path, split: str | None = None, *, val_fraction: float = 0.1
) -> MeshDataset:
    """Find upper jaws in the layouts of docs/data_formats.md. No mesh is opened.

    Lower jaws, by the names of files and folders (`dentalzoo.data.jaw_names`), are not used; their
    number is logged. The labels of `x.obj` are in
    `x.json`.

    Args:
        data_dir: the folder.
        split: "train", "val" or "test" (or "valid", "validation", "testing", ...); None for all.
        val_fraction: where neither `split.csv` nor lists nor folders define a split, this fraction
            of the groups, by the hash of their names, is "val" and the rest "train".

    Raises:
        DentalzooError: an argument is out of range, or there is no upper jaw; the message lists
            what is understood.
        MissingSplit: there are meshes, but none of the split.
        BadFile: `split.csv` or a list is broken.
    """
    requested = split and layouts.split_word(split)
    if split is not None and not requested:
        raise DentalzooError(f"split must be one of {SPLITS} or None. Received: {split!r}")
    if not 0 <= val_fraction < 1:
        raise DentalzooError(f"val_fraction must be in [0, 1). Received: {val_fraction!r}")
    root = Path(data_dir)
    if not root.is_dir():
        what = "a file" if root.exists() else "no such folder"
        raise DentalzooError(f"{root}: must be a folder of {_LAYOUTS}. Received: {what}")
    paths = sorted((p for p in root.rglob("*") if _visible(root, p)), key=natural_key)
    meshes = [p for p in paths if p.suffix.lower() in MESH_SUFFIXES]
    lower = lower_jaws(root, meshes)
    upper = [p for p in meshes if p not in lower]
    if not upper:
        raise DentalzooError(
            f"{root}: no upper jaw; the folder must hold {_LAYOUTS}. "
            f"Received: {len(paths)} files, {len(meshes)} of them meshes of lower jaws"
        )
    log_lower(lower)
    tables = [p for p in paths if p.suffix.lower() in (".csv", ".tsv", ".xls", ".xlsx")]
    tree = Tree(root, [], [], layouts.find_table(root, "split.csv"), [], tables)
    files = [FileEntry(p, partner=labels_of(p), split=layouts.split_of(root, p)) for p in upper]
    files = describe(tree, files)
    skips: list[Skip] = []
    where = "the folders' names"
    if not tree.split_csv:
        files, skips, where = assign_by_lists(
            tree, files, [p for p in paths if p.suffix.lower() == ".txt"], where
        )
    files, skips = split_files(tree, files, skips, val_fraction, where, "mesh")
    report_unused(tree, find_unused(tree, files, skips))
    if requested:
        files, skips = select_split(tree, files, skips, requested, val_fraction, "meshes")
    skipped = [(skip.name, skip.reason) for skip in skips]
    report_skipped(skipped)
    if not files:
        raise DentalzooError(
            f"{root}: at least one mesh must be in a split of {where}. "
            f"Received: {len(upper)} meshes in none"
        )
    return MeshDataset(
        [MeshSample(f.name, f.path, f.partner, f.group, f.split, f.label) for f in files],
        skipped,
        len(lower),
    )


def _visible(root: Path, path: Path) -> bool:
    parts = path.relative_to(root).parts
    return path.is_file() and not any(part.startswith((".", "__MACOSX")) for part in parts)


def log_lower(paths: Collection[Path]) -> None:
    """Log in one line which meshes are not used because of their names."""
    if paths:
        names = [path.name for path in sorted(paths, key=natural_key)[:3]]
        shown = ", ".join(names) + ", ..." * (len(paths) > 3)
        _log.info("%d meshes of lower jaws, by their names, not used: %s", len(paths), shown)


def labels_of(path: Path) -> Path | None:
    """Return the JSON file of labels with the name of a mesh; None if there is none."""
    labels = path.with_suffix(".json")
    return labels if labels.is_file() else None


# ---- loading -------------------------------------------------------------------------------------


def load_mesh(sample: MeshSample, axes: Axes | None = SAME) -> tuple[Mesh, Pose]:
    """Load an upper jaw, in the millimetres of its file, and its pose in front of the cameras.

    Args:
        sample: of `find_meshes`.
        axes: the axes of the file, as `dentalzoo.data.jaw_axes.parse_axes` returns them; None to
            detect them where they are not the zoo's.

    Raises:
        BadFile: a file is damaged, or the mesh is not an upper jaw in millimetres with y to the
            back and z along the crowns; the reason says in what way.
    """
    mesh = read_mesh(sample.mesh, sample.labels)
    try:
        return mesh, find_pose(mesh, axes)
    except BadFile:
        raise
    except DentalzooError as error:
        raise BadFile(sample.mesh, str(error)) from error


def log_doubts(name: object, mesh: Mesh, pose: Pose) -> None:
    """Log a turn that was detected, and what is doubtful about a jaw, a line each."""
    if pose.axes != SAME:
        _log.info("%s: turned by --axes=%s", name, axes_text(pose.axes))
    for doubt in doubts_of(mesh, pose):
        _log.warning("%s: %s", name, doubt)


def load_meshes(
    samples: Sequence[MeshSample],
    failed: MutableSequence[tuple[str, str]],
    axes: Axes | None = SAME,
) -> Iterator[tuple[MeshSample, Mesh, Pose]]:
    """Load jaws one by one; those that cannot be used are logged, skipped and added to `failed`.

    Args:
        samples: of `find_meshes`.
        failed: gets (name, reason) of each jaw that cannot be used.
        axes: as `load_mesh`.
    """

    def load(sample: MeshSample) -> tuple[Mesh, Pose]:
        try:
            return load_mesh(sample, axes)
        except BadFile as error:
            if error.path == sample.mesh:
                raise
            raise BadFile(sample.mesh, f"{Path(error.path).name}: {error.reason}") from error

    jaws = for_each(
        samples,
        load,
        lambda sample, jaw: jaw,
        title="reading",
        unit="jaw",
        failed=failed,
        name=lambda sample: sample.name,
    )
    for sample, _, (mesh, pose) in jaws:
        yield sample, mesh, pose


def check_meshes(
    data_dir: str | Path,
    split: str | None = None,
    *,
    axes: str | None = None,
    fix: str | Path | None = None,
) -> dict[str, Any]:
    """Read every mesh once and report what is wrong, for `dentalzoo check --meshes`.

    Args:
        data_dir, split: as `find_meshes`.
        axes: the axes of the files, such as "-x,-z,-y", or "auto".
        fix: a new folder for a copy of the data, in which jaws of other axes or units are
            corrected: by `axes`, or as detected. Other jaws that cannot be used are left out.

    Returns:
        "data"; "usable" (number of meshes, the corrected ones included); the number of each split;
        the number of "groups", of "lower_not_used", lower jaws by their names, and of "labelled"
        jaws; "teeth" (number of jaws with each FDI number); "vertices" and "size_mm", each with
        "min" and "max"; "skipped" [name, reason]; "suspicious" [name, doubt]; "repaired"
        [name, repair]; "fixed" [name, correction], in `fix` or possible; equal meshes as
        [name, name, splits] in "duplicates" between splits and "duplicates_within" a split. The
        last six are empty where nothing is wrong. Everything is JSON-serialisable.

    Raises:
        DentalzooError: as `find_meshes`; no mesh can be used; `axes` is no turn; `fix` lies in the
            data.
    """
    turn_by = parse_axes(axes)
    dataset = find_meshes(data_dir, split)
    bad: list[tuple[str, str]] = []
    jaws = [_Checked.of(*jaw) for jaw in load_meshes(dataset.samples, bad, turn_by)]
    fixed = _fix(dataset, data_dir, fix, None if axes is None else turn_by, jaws, bad)
    if not jaws:
        advice = " (--fix DIR corrects the axes or the unit)" if fixed else ""
        raise DentalzooError(
            f"{data_dir}: at least one of {len(dataset)} meshes must be usable{advice}. "
            f"Received: {bad[0][1]}"
        )
    repaired = [[jaw.sample.name, repair] for jaw in jaws for repair in jaw.repairs]
    for repair, count in Counter(repair for _, repair in repaired).items():
        first = next(name for name, other in repaired if other == repair)
        _log.info("%d meshes, as %s: %s", count, first, repair)
    by_shape: dict[tuple[float, ...], list[MeshSample]] = defaultdict(list)
    for jaw in jaws:
        by_shape[jaw.shape].append(jaw.sample)
    beside = [Neighbour(j.sample.name, j.sample.mesh.parent, j.pose, j.shape) for j in jaws]
    number = Counter(jaw.sample.split for jaw in jaws)
    same = [
        [a.name, b.name, "the same mesh, in " + " and ".join(sorted({a.split, b.split}))]
        for group in by_shape.values()
        for a, b in combinations(group, 2)
    ]
    teeth = Counter(fdi for jaw in jaws for fdi in jaw.teeth)
    counts, boxes = [jaw.shape[0] for jaw in jaws], [jaw.box for jaw in jaws]
    return {
        "data": str(data_dir),
        "usable": len(jaws),
        **{name: number[name] for name in SPLITS if number[name]},
        "groups": len({jaw.sample.group for jaw in jaws}),
        "lower_not_used": dataset.lower,
        "labelled": sum(jaw.sample.labels is not None for jaw in jaws),
        "teeth": dict(sorted(teeth.items())),
        "vertices": {"min": min(counts), "max": max(counts)},
        "size_mm": {
            "min": np.min(boxes, axis=0).tolist(),
            "max": np.max(boxes, axis=0).tolist(),
        },
        "skipped": [list(pair) for pair in (*dataset.skipped, *bad)],
        "suspicious": [[jaw.sample.name, doubt] for jaw in jaws for doubt in jaw.doubts]
        + [list(pair) for pair in doubts_of_pairs(beside)],
        "repaired": repaired,
        "fixed": [list(pair) for pair in fixed],
        "duplicates": [pair for pair in same if " and " in pair[2]],
        "duplicates_within": [pair for pair in same if " and " not in pair[2]],
    }


@dataclass(frozen=True)
class _Checked:
    """What `check_meshes` keeps of a jaw."""

    sample: MeshSample
    pose: Pose
    shape: tuple[float, ...]  # the number of vertices, and their box, mean and deviation
    box: list[float]
    teeth: list[int]
    repairs: list[str]
    doubts: list[str]

    @classmethod
    def of(cls, sample: MeshSample, mesh: Mesh, pose: Pose) -> "_Checked":
        points = pose.apply(mesh.vertices)
        shape = np.concatenate([np.ptp(points, axis=0), points.mean(0), points.std(0)]) * SCALE
        repairs = []
        if pose.turned:
            repairs.append("the crowns point to -z: turned about y")
        if pose.axes != SAME:
            repairs.append(f"turned by --axes={axes_text(pose.axes)}")
        if len(np.unique(mesh.faces)) < len(np.unique(mesh.vertices, axis=0)):
            repairs.append("vertices in no face: neither rendered nor sampled")
        return cls(
            sample,
            pose,
            (len(points), *shape.round(2).tolist()),
            (np.ptp(points, axis=0) * SCALE).round(1).tolist(),
            [] if mesh.labels is None else [int(fdi) for fdi in np.unique(mesh.labels) if fdi],
            repairs,
            doubts_of(mesh, pose),
        )


def _fix(
    dataset: MeshDataset,
    root: str | Path,
    out: str | Path | None,
    axes: Axes | None,
    jaws: list[_Checked],
    bad: list[tuple[str, str]],
) -> list[tuple[str, str]]:
    """Correct jaws and write the copy of the data set, where there is a folder for it.

    Then the corrected jaws move from `bad` to `jaws`.

    Returns:
        (name, correction) of each jaw that is corrected, or could be.
    """
    samples = {sample.name: sample for sample in dataset.samples}
    copy = out and CorrectedFolder(out, root, [sample.mesh for sample in dataset.samples])
    failed, fixed = [name for name, _ in bad], []
    for name in (*(jaw.sample.name for jaw in jaws if copy), *failed):
        sample = samples[name]
        found = corrected(sample.mesh, sample.labels, axes)
        if found is None:
            continue
        if found.change:
            fixed.append((name, found.change))
        if copy:
            copy.add(sample.mesh, sample.labels, found.mesh if found.change else None)
            if name in failed:
                jaws.append(_Checked.of(sample, found.mesh, found.pose))
                bad[:] = [pair for pair in bad if pair[0] != name]
    if copy:
        copy.add_lists()
        for name, change in fixed:
            _log.info("%s: %s in %s", name, change, copy.out)
    elif fixed:
        text = "axes or unit of %d meshes can be corrected, as of %s: %s; `--fix DIR` writes a copy"
        _log.info(text, len(fixed), *fixed[0])
    return fixed


# ---- points --------------------------------------------------------------------------------------


def sample_points(
    mesh: Mesh, count: int = 50_000, method: str = "area", seed: int = 0
) -> np.ndarray:
    """Sample points of a mesh.

    Args:
        mesh: in any unit of length.
        count: number of points.
        method: "area" samples the faces uniformly by area, in random order; "vertices" takes
            vertices as the paper does: a random subset in order, or, where there are too few, all
            of them repeated and then a random subset; "order" takes all vertices unchanged, which
            must be `count`.
        seed: random seed.

    Returns:
        (count, 3) float32 in the unit of the mesh.

    Raises:
        DentalzooError: count or method is invalid, the mesh has no area, or method is "order" and
            the mesh has another number of vertices.
    """
    if count < 1 or int(count) != count:
        raise DentalzooError(f"count must be an integer >= 1. Received: {count!r}")
    if method not in METHODS:
        raise DentalzooError(f"method must be one of {METHODS}. Received: {method!r}")
    if method == "order":
        if len(mesh.vertices) != count:
            raise DentalzooError(
                f"a mesh must have {count} vertices for method='order'. "
                f"Received: {len(mesh.vertices)}"
            )
        return mesh.vertices
    random = np.random.default_rng(seed)
    if method == "vertices":
        size = len(mesh.vertices)
        repeats, rest = divmod(count, size)
        subset = np.sort(random.choice(size, rest, replace=False))
        return mesh.vertices[np.concatenate([np.tile(np.arange(size), repeats), subset])]
    points, _ = sample_surface(mesh.vertices, mesh.faces, count, seed)
    return random.permutation(points).astype(np.float32)
