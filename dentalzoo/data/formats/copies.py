"""Copies of one image in several splits, as folders of folds and Roboflow's exports have them."""

import filecmp
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from dentalzoo.data.formats.base import notice_once
from dentalzoo.data.formats.tree import FileEntry, Tree

_MAX_COMPARED = 2000  # ours: pairs of files that are read


def report_copies(tree: Tree, files: Iterable[FileEntry]) -> None:
    """Warn of copies of one image in several splits.

    That is Roboflow's `x_jpg.rf.<hash>.jpg`, and files of one name and the same bytes, such as
    those of `fold_0/train` and `fold_1/val`. `dentalzoo check` compares all images.
    """
    sources: dict[str, set[str]] = defaultdict(set)
    names: dict[str, list[FileEntry]] = defaultdict(list)
    for file in files:
        source, found, _ = file.path.name.partition(".rf.")
        if found:
            sources[source].add(file.split)
        names[file.path.name].append(file)
    shared = [source for source, splits in sources.items() if len(splits) > 1]
    if shared:
        what = f"{len(shared)} Roboflow sources have copies in several splits, such as {shared[0]}"
        notice_once(what, tree.root)
    pairs = [
        (one.path, other.path)
        for alike in names.values()
        for one, other in zip(alike, alike[1:], strict=False)
        if one.split != other.split
    ]
    same = [pair for pair in pairs[:_MAX_COMPARED] if _are_same(*pair)]
    if same:
        shown = " and ".join(map(tree.name, same[0]))
        some = "" if len(pairs) <= _MAX_COMPARED else f" of {_MAX_COMPARED} compared"
        notice_once(
            f"{len(same)}{some} files lie in several splits as copies, such as {shown}; choose one "
            "of several folds",
            tree.root,
        )


def _are_same(one: Path, other: Path) -> bool:
    try:
        return filecmp.cmp(one, other, shallow=False)
    except OSError:
        return False
