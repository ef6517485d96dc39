"""Read the CSV exports of VoTT 2: a row for each box, in pixels counted from 0."""

import csv
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from dentalzoo.data.formats.base import (
    ImageAnnotation,
    ParsedAnnotations,
    RawBox,
    nearest_images,
)
from dentalzoo.data.formats.rules import image_size
from dentalzoo.data.formats.tree import Tree, normal
from dentalzoo.errors import BadFile

_COLUMNS = ("image", "xmin", "ymin", "xmax", "ymax", "label")
_HEAD = 200  # bytes of a file that are read to recognise it

Export = tuple[Path, list[dict[str, str]]]


def export_rows(tree: Tree, parsed: ParsedAnnotations | None) -> Iterator[Export]:
    """Yield each CSV export with its rows; nothing for other CSV files.

    Args:
        tree: the data folder.
        parsed: gets a skip for each file that is broken; None where only the first rows matter.
    """
    for path in tree.notes_of(".csv"):
        try:
            with path.open("rb") as stream:
                head = stream.read(_HEAD)
            first = head.decode("utf-8-sig", "replace").splitlines()[:1]
            delimiter = next((d for d in ",;\t" if first and d in first[0]), ",")
            names = next(csv.reader(first, delimiter=delimiter), [])
            if [name.strip() for name in names] != list(_COLUMNS):
                continue
            yield path, _rows(path, delimiter) if parsed else [{}]
        except (OSError, ValueError, csv.Error) as error:
            if parsed:
                what = " ".join(str(error).split())[:120]
                parsed.refuse(tree.name(path), f"must be a CSV export of VoTT. Received: {what}")


def _rows(path: Path, delimiter: str) -> list[dict[str, str]]:
    content = path.read_bytes()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("cp1252")
    lines = csv.reader(text.splitlines(), delimiter=delimiter, strict=True)
    next(lines)
    return [
        {key: value.strip() for key, value in zip(_COLUMNS, (*row, *[""] * 6), strict=False)}
        for row in lines
        if row
    ]


def read_export(
    tree: Tree, parsed: ParsedAnnotations, export: Export, images: dict[str, list[Path]]
) -> None:
    """Add the boxes of an export to the images that have no annotation yet.

    Args:
        tree: the data folder.
        parsed: gets the annotations.
        export: of `export_rows`.
        images: file name -> images.
    """
    path, rows = export
    by_image: dict[str, list[tuple[int, dict[str, str]]]] = {}
    for number, row in enumerate(rows, start=2):
        by_image.setdefault(row["image"], []).append((number, row))
    earlier = set(parsed.annotations)
    for written, entries in by_image.items():
        image = nearest_images(images.get(normal(written), []), path)
        if image and earlier.issuperset(image):
            continue
        name = f"{tree.name(path)}: {written[:80]}"
        try:
            size = image_size(image[0])[0] if len(image) == 1 else None
        except BadFile as error:
            parsed.refuse(name, error.reason, image)
            continue
        annotation = ImageAnnotation(path, name, size)
        for number, row in entries:
            annotation.add(f"row {number}", partial(_box, row, f"row {number}"))
        parsed.assign(image, annotation)


def _box(row: dict[str, str], where: str) -> RawBox:
    edges = []
    for key in ("ymin", "xmin", "ymax", "xmax"):
        try:
            edges.append(float(row[key]))
        except ValueError:
            raise ValueError(f"{key} must be a number. Received: {row[key][:40]!r}") from None
    if not row["label"]:
        raise ValueError("a row must have a label. Received: none")
    top, left, bottom, right = edges
    return RawBox(row["label"], (top, left, bottom, right), where)
