"""Splits of meshes from lists of names, as Teeth3DS has them."""

import logging
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from dentalzoo.data.formats import tree as layouts
from dentalzoo.data.formats.tree import FileEntry, Skip, Tree
from dentalzoo.data.jaw_names import is_lower
from dentalzoo.errors import BadFile

_log = logging.getLogger("dentalzoo")


def assign_by_lists(
    tree: Tree, files: list[FileEntry], lists: Sequence[Path], where: str
) -> tuple[list[FileEntry], list[Skip], str]:
    """Assign splits from lists of names such as `training_upper.txt`.

    The lists of a folder apply to the meshes under the nearest folder above it, so that several
    data sets in one folder keep their own lists. Of several folders of lists for the same meshes,
    the one that names most of them is used, then the first.

    A row is a stem, or a patient whose mesh is `<patient>_upper`.

    Returns:
        The files with their splits, rows without a mesh, and the source of the splits as text.
    """
    listed: dict[Path, dict[str, str]] = defaultdict(dict)  # folder of lists -> name -> split
    sources: dict[Path, list[Path]] = defaultdict(list)  # folder of meshes -> folders of lists
    for path in lists:
        split = layouts.split_word(path.stem)
        for name in _names(path) if split else ():
            if listed[path.parent].setdefault(name, split) != split:
                raise BadFile(path, f"a name must be in one list. Received: {name!r} in several")
    known: dict[Path, set[str]] = defaultdict(set)  # folder -> the meshes under it
    for file in files:
        for folder in file.path.parents:
            known[folder].add(layouts.normal(file.path.stem))
    for folder, rows in listed.items():
        data = next((parent for parent in folder.parents if parent in known), tree.root)
        for name in rows.keys() - known[data]:
            if f"{name}_upper" in known[data]:  # a patient, whose lower jaw is listed with it
                rows.setdefault(f"{name}_upper", rows.pop(name))
        if known[data] & rows.keys():
            sources[data].append(folder)
        elif rows:
            text = "%s: lists of splits that name none of the meshes, not used"
            _log.warning(text, tree.name(folder))
    if not sources:
        return files, [], where
    skips: list[Skip] = []
    chosen: dict[Path, Path] = {}  # folder of meshes -> folder of lists
    for data, folders in sources.items():
        names = known[data]
        best = max(folders, key=lambda folder: len(names & listed[folder].keys()))
        chosen[data] = best
        if len(folders) > 1:
            others = ", ".join(tree.name(folder) for folder in folders if folder != best)
            _log.info("splits of %s are used, not of %s", tree.name(best), others)
        skips += [
            Skip(name, f"row of {tree.name(best)} without mesh", split)
            for name, split in listed[best].items()
            if name and name not in known[data] and not is_lower(name)
        ]
    assigned = []
    for file in files:
        lists_folder = next((chosen[f] for f in file.path.parents if f in chosen), None)
        if lists_folder:
            split = listed[lists_folder].get(layouts.normal(file.path.stem), "")
            file = replace(file, split=split)
        assigned.append(file)
    return assigned, skips, " or ".join(map(tree.name, chosen.values()))


def _names(path: Path) -> list[str]:
    """Return the names in a list: stems of files, without folders, in any usual encoding."""
    data = path.read_bytes()
    wide = data.startswith((b"\xff\xfe", b"\xfe\xff"))
    rows = data.decode("utf-16" if wide else "utf-8-sig", errors="replace").splitlines()
    stems = [re.split(r"[\\/]", row.strip().strip('"'))[-1] for row in rows]
    return [layouts.normal(re.sub(r"\.(obj|ply|stl|json)$", "", s, flags=re.I)) for s in stems if s]
