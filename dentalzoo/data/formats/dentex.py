"""DENTEX JSON: COCO with the quadrant, the number in it, and the disease of each tooth.

An annotation has `category_id_1` (quadrant), `category_id_2` (enumeration) and `category_id_3`
(disease), each with a list of categories. The classes are the diseases where a file has them, since
it marks diseased teeth alone; else FDI tooth numbers, quadrant and enumeration; else quadrants.
https://arxiv.org/abs/2305.19112
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dentalzoo.data.formats.base import BoxSample, Content, ParsedAnnotations, Place, Purpose
from dentalzoo.data.formats.coco.files import CocoFile, check, is_dentex
from dentalzoo.data.formats.coco.reader import read_files
from dentalzoo.data.formats.coco.writer import entries_by_split, write_file
from dentalzoo.data.formats.tree import Tree
from dentalzoo.data.formats.writing import nothing_more
from dentalzoo.errors import BadFile, DentalzooError

NAME = "DENTEX"
HOLDS: tuple[Content, ...] = ("boxes", "polygons", "masks", "names", "splits", "crowd")
WRITES: tuple[Content, ...] = ("boxes", "polygons", "masks", "splits", "crowd")
READS: tuple[Purpose, ...] = ("boxes", "masks")
lost = nothing_more

_QUADRANTS, _TEETH = range(1, 5), range(1, 9)
_FDI = re.compile(r"[1-4][1-8]")


def sniff(tree: Tree) -> str:
    """Name the classes of the first file."""
    files = _files(tree)
    return f"DENTEX JSON ({_kind(tree, files[0])})" if files else ""


def read(tree: Tree, purpose: Purpose) -> ParsedAnnotations:
    """Read the objects of every image that the files list.

    Raises:
        BadFile: a file is damaged, or has other classes than another one: quadrants, tooth numbers
            and diseases are data sets of their own.
    """
    files = _files(tree)
    kinds = {_kind(tree, path): path for path in files}
    if len(kinds) > 1:
        names = " and ".join(f"{kind} ({tree.name(path)})" for kind, path in kinds.items())
        raise BadFile(
            files[-1],
            f"the data folder must hold files of one kind; choose one of its folders. "
            f"Received: {names}",
        )
    parsed = read_files(tree, purpose, files, _parse)
    parsed.category_ids.clear()  # ids are ours
    return parsed


def write(samples: Sequence[BoxSample], out: Path, classes: Sequence[str], place: Place) -> Path:
    """Write teeth with FDI numbers: `<split>_quadrant_enumeration.json` beside `xrays/`.

    The file always names all 32 permanent teeth.

    Returns:
        The file, or the folder of several.

    Raises:
        DentalzooError: a class is not the number of a permanent tooth, or some images have a split
            and others none.
    """
    others = [name for name in classes if not _FDI.fullmatch(name)]
    if others:
        raise DentalzooError(
            "DENTEX is written for permanent teeth alone, whose classes are 11 to 48; COCO holds "
            f"all classes. Received: {', '.join(others[:5])}"
        )
    lists = {
        f"categories_{i}": [{"id": n - 1, "name": n, "supercategory": n} for n in numbers]
        for i, numbers in enumerate((_QUADRANTS, _TEETH), start=1)
    }
    paths = []
    for split, entries in entries_by_split(
        NAME,
        samples,
        lambda sample: place(sample, out / "xrays" / sample.split),
        lambda label: {"category_id_1": int(label[0]) - 1, "category_id_2": int(label[1]) - 1},
    ):
        path = out / f"{split or 'all'}_quadrant_enumeration.json"
        write_file(path, {**lists, **entries})
        paths.append(path)
    return paths[0] if len(paths) == 1 else out


def _files(tree: Tree) -> list[Path]:
    return [path for path in tree.notes_of(".json") if is_dentex(tree.json_keys(path))]


def _kind(tree: Tree, path: Path) -> str:
    keys = tree.json_keys(path)
    if "categories_3" in keys:
        return "diseases"
    return "tooth numbers" if {"categories_1", "categories_2"} <= keys else "quadrants"


def _parse(tree: Tree, path: Path) -> CocoFile:
    """Return a file as COCO with the classes of its kind."""
    kind = _kind(tree, path)

    def as_coco() -> dict[str, Any]:
        content = tree.json(path)
        annotations = list(content["annotations"])
        if kind == "tooth numbers":
            quadrants, teeth = (_numbers(path, content, f"categories_{i}") for i in (1, 2))
            numbers = [10 * q + t for q in _QUADRANTS for t in _TEETH]
            categories = [{"id": number, "name": str(number)} for number in numbers]
            ids = [_tooth(path, one, quadrants, teeth) for one in annotations]
        else:
            key = "3" if kind == "diseases" else "1"
            categories = content[f"categories_{key}"]
            ids = [one.get(f"category_id_{key}") for one in annotations]
        entries = [{**one, "category_id": id_} for one, id_ in zip(annotations, ids, strict=True)]
        return {"images": content["images"], "categories": categories, "annotations": entries}

    return check(path, as_coco)


def _numbers(path: Path, content: dict[str, Any], key: str) -> dict[Any, int]:
    """Return id -> number of quadrants 1..4 or teeth 1..8, which are the names of a list."""
    allowed = _QUADRANTS if key == "categories_1" else _TEETH
    names = {one["id"]: str(one["name"]) for one in content[key]}
    wrong = [name for name in names.values() if name not in map(str, allowed)]
    if wrong or len({*names.values()}) < len(names):
        raise BadFile(
            path,
            f"{key} must name the numbers {allowed[0]} to {allowed[-1]}, each once. "
            f"Received: {', '.join(wrong or names.values())[:80]}",
        )
    return {key: int(name) for key, name in names.items()}


def _tooth(
    path: Path, annotation: dict[str, Any], quadrants: dict[Any, int], teeth: dict[Any, int]
) -> int | None:
    """Return the FDI number of an annotation; None where it has none."""
    ids = annotation.get("category_id_1"), annotation.get("category_id_2")
    if None in ids:
        return None
    if ids[0] not in quadrants or ids[1] not in teeth:
        raise BadFile(
            path,
            f"annotation {annotation.get('id')!r} refers to a category that is not listed. "
            f"Received: category_id_1 {ids[0]!r}, category_id_2 {ids[1]!r}",
        )
    return 10 * quadrants[ids[0]] + teeth[ids[1]]
