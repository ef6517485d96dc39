"""Boxes as annotation files draw them, and the rules that make upright boxes in [0, 1] of them."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from tqdm import tqdm

from dentalzoo.data import masks
from dentalzoo.data.crops import class_names_above, coco_edges, turned, yolo_edges, yolo_lines
from dentalzoo.data.formats.coco import category_names
from dentalzoo.data.formats.image_files import FileEntry
from dentalzoo.data.formats.tree import Skip, Tree
from dentalzoo.data.io.decode import is_dicom, upright_size
from dentalzoo.data.io.images import MAX_PIXELS, natural_key, read_image
from dentalzoo.errors import BadFile

# Ours, in pixels of the image: what rounding makes of a box at the border, and the thinnest box.
_ROUNDING = _THINNEST = 0.5
_LEAST_INSIDE = 0.5  # ours: the part of a box that the image holds
_SAME_SHAPE = 2.0  # pixels: by how much two sizes of one shape may differ, for rounding
_DISPLAY_SHAPE = 0.02  # ours: a window's sides are whole pixels


@dataclass(frozen=True)
class Box:
    """One object in an image.

    Attributes:
        top, left, bottom, right: in [0, 1] of the upright image, lower ends exclusive.
        difficult: hard to recognise, as VOC marks it.
        crowd: several objects in one box, as COCO marks it.
    """

    label: str
    top: float
    left: float
    bottom: float
    right: float
    difficult: bool = False
    crowd: bool = False


@dataclass(frozen=True)
class BoxSample:
    """An image with its boxes.

    Attributes:
        name: unique in its data set.
        boxes: none where the image was looked at and shows nothing.
        group: what it must not be parted from: images of one group lie in one split.
        split: "train", "val", "test" or "".
    """

    name: str
    image: Path
    boxes: tuple[Box, ...]
    group: str = ""
    split: str = ""


@dataclass(frozen=True)
class DrawnBox:
    """A box as a file has it.

    Attributes:
        edges: top, left, bottom, right, in the unit of its `Drawing`; lower ends exclusive.
        where: its place in the file, such as "object 3".
        repaired: what its reader has put right.
    """

    label: str
    edges: tuple[float, float, float, float]
    where: str
    difficult: bool = False
    crowd: bool = False
    repaired: tuple[str, ...] = ()


@dataclass
class Drawing:
    """The boxes of one image as a file has them.

    Attributes:
        name: of the file and of the image in it, for messages.
        size: (height, width) of what the boxes were drawn on; None where the file does not say.
        unit: "pixels" of `size`; "display", the same for a window that may be stretched; "parts"
            of the upright image.
        bad: (where, reason) of boxes that cannot be read.
        repaired: what the reader has put right, besides single boxes.
    """

    source: Path
    name: str
    size: tuple[int, int] | None = None
    unit: str = "pixels"
    boxes: list[DrawnBox] = field(default_factory=list)
    bad: list[tuple[str, str]] = field(default_factory=list)
    repaired: list[str] = field(default_factory=list)

    def add(self, where: str, make: Callable[[], DrawnBox]) -> None:
        """Adds what `make` returns; a ValueError makes the box a bad one."""
        try:
            self.boxes.append(make())
        except ValueError as error:
            self.bad.append((where, " ".join(str(error).split())[:200]))


@dataclass
class Found:
    """What files of one format draw.

    Attributes:
        drawings: image -> its boxes.
        refused: the images that `skips` account for.
        names: the classes in the order of their ids; None where nothing tells them.
        splits: image -> split, where the format has a place for it; `split_source` is that.
        repaired: (file, what) besides the drawings' own.
    """

    drawings: dict[Path, Drawing] = field(default_factory=dict)
    skips: list[Skip] = field(default_factory=list)
    refused: set[Path] = field(default_factory=set)
    names: list[str] | None = None
    splits: dict[Path, str] = field(default_factory=dict)
    split_source: str = ""
    repaired: list[tuple[str, str]] = field(default_factory=list)

    def refuse(self, name: str, reason: str, images: Iterable[Path] = ()) -> None:
        """Notes an annotation that is not used, and the images that it may have meant."""
        self.skips.append(Skip(name, reason))
        self.refused.update(images)

    def place(self, images: list[Path], drawing: Drawing) -> None:
        """Keeps a drawing that belongs to one image, the first one of it."""
        if len(images) != 1:
            what = f"annotation of {len(images)} images of one name" if images else ""
            self.refuse(drawing.name, what or "annotation without image", images)
        elif images[0] in self.drawings:
            self.refuse(drawing.name, "image in several annotation files")
        else:
            self.drawings[images[0]] = drawing


# ---- YOLO and COCO -------------------------------------------------------------------------------


def read_labels(tree: Tree, files: list[FileEntry]) -> Found:
    """The YOLO lines or COCO boxes of images that have either as their `partner`."""
    found, lists = Found(), {}
    for file in tqdm(files, "reading boxes", leave=False, disable=None):
        source = file.partner
        key = source if file.boxes else source.parent
        if key not in lists:
            lists[key] = category_names(key) if file.boxes else class_names_above(key, tree.root)
        try:
            found.drawings[file.image] = (
                _coco_drawing(tree, file) if file.boxes else _yolo_drawing(tree, file, lists[key])
            )
        except BadFile as error:
            found.refuse(tree.name(source), error.reason, [file.image])
    if all(names is not None for names in lists.values()):
        found.names = merged(lists.values())
    return found


def _yolo_drawing(tree: Tree, file: FileEntry, names: list[str] | None) -> Drawing:
    drawing = Drawing(file.partner, tree.name(file.partner), unit="parts")

    def box(line: str, where: str) -> DrawnBox:
        return DrawnBox(*yolo_edges(line, names), where)

    for where, line in yolo_lines(file.partner):
        drawing.add(where, partial(box, line, where))
    return drawing


def _coco_drawing(tree: Tree, file: FileEntry) -> Drawing:
    name = f"{tree.name(file.partner)}: {file.image.name}"
    drawing = Drawing(file.partner, name, told_size(file.boxes.height, file.boxes.width))

    def box(label: str, bbox, crowd: bool, where: str) -> DrawnBox:
        return DrawnBox(label, coco_edges(bbox), where, crowd=crowd)

    for number, entry in enumerate(file.boxes.boxes, start=1):
        where = f"box {number}"
        drawing.add(where, partial(box, *entry, where))
    return drawing


def told_size(height, width) -> tuple[int, int] | None:
    """A size as a file tells it; None where it is missing, 0 or no number."""
    try:
        size = int(float(height)), int(float(width))
    except (TypeError, ValueError, OverflowError):
        return None
    return size if min(size) > 0 else None


def merged(lists: Iterable[Iterable[str]]) -> list[str]:
    """The names of all lists, each once, in the order of their first."""
    return list(dict.fromkeys(name for names in lists for name in names))


def nearest(images: list[Path], source: Path) -> list[Path]:
    """Those that share most folders with `source`."""
    if len(images) == 1:
        return images

    def shared(image: Path) -> int:
        pairs = zip(image.parts, source.parts, strict=False)
        return next((i for i, (a, b) in enumerate(pairs) if a != b), len(source.parts))

    most = max(map(shared, images))
    return [image for image in images if shared(image) == most]


# ---- classes -------------------------------------------------------------------------------------


class Classes:
    """Which class a label means.

    Args:
        known: the classes of the data; None takes the labels that `drawings` have, sorted.
        wanted: the classes to keep, in this order; None keeps all.
    """

    def __init__(
        self,
        known: Sequence[str] | None,
        wanted: Sequence[str] | None,
        drawings: Iterable[Drawing],
    ):
        self.told = known is not None
        if known is None:
            seen = {" ".join(b.label.split()) for drawing in drawings for b in drawing.boxes}
            known = sorted(seen - {""}, key=natural_key)
        self.known = tuple(known)
        self.names = self.known if wanted is None else tuple(wanted)
        self._all = tuple(dict.fromkeys((*self.names, *self.known)))
        self._loose = {}
        for name in self._all:
            self._loose.setdefault(_loose(name), []).append(name)

    def look_up(self, label: str) -> str | None:
        """The class of a label, whatever its case and blanks; None if it is left out.

        Raises:
            ValueError: there is no such class.
        """
        names = [label] if label in self._all else self._loose.get(_loose(label), [])
        if len(names) != 1:
            what = f"a class is one of {', '.join(self.known)}" if label.strip() else "no class"
            raise ValueError(f"unknown class; {what}. Received: {label[:60]!r}")
        return names[0] if names[0] in self.names else None


def _loose(name: str) -> str:
    return "".join(name.casefold().split())


# ---- boxes ---------------------------------------------------------------------------------------


@dataclass
class Upright:
    """What the rules make of a drawing: boxes, (where, reason) of those refused, (where, what) of
    those repaired, and the labels left out."""

    boxes: list[Box] = field(default_factory=list)
    bad: list[tuple[str, str]] = field(default_factory=list)
    repaired: list[tuple[str, str]] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)


def upright_boxes(image: Path, drawing: Drawing, classes: Classes) -> Upright:
    """The boxes of a drawing in the upright image; docs/data_formats.md has the rules.

    Raises:
        BadFile: the image cannot be opened, or the drawing is of another size.
    """
    size, turn = image_size(image)
    frame, turn, notes = _frame(image, drawing, size, turn)
    made = Upright(bad=list(drawing.bad), repaired=[("", note) for note in notes])
    seen = set()
    for drawn in drawing.boxes:
        try:
            name = classes.look_up(drawn.label)
            if name is None:
                made.left_out.append(drawn.label)
                continue
            edges, notes = _upright_edges(drawn.edges, frame, turn, size)
        except ValueError as error:
            made.bad.append((drawn.where, str(error)))
            continue
        if name != drawn.label:
            notes.append(f"class read as {name!r}. Received: {drawn.label[:60]!r}")
        key = (name, *(round(edge, 6) for edge in edges))
        if key in seen:
            notes = ["the same box as one before; it counts once"]
        else:
            made.boxes.append(Box(name, *edges, drawn.difficult, drawn.crowd))
        seen.add(key)
        made.repaired += [(drawn.where, note) for note in (*drawn.repaired, *notes)]
    return made


def image_size(image: Path) -> tuple[tuple[int, int], int]:
    """((height, width) of the upright image, its EXIF orientation), from its header.

    Raises:
        BadFile: the file is no image.
    """
    if is_dicom(image):  # compressed or with a window: what it is shows when it is read
        return read_image(image).shape[:2], 1
    return upright_size(image, MAX_PIXELS)


def _frame(image: Path, drawing: Drawing, size: tuple[int, int], turn: int):
    """What the boxes are drawn on: its (height, width), the EXIF orientation that makes it
    upright, and what had to be put right."""
    height, width = size
    notes = list(drawing.repaired)
    if not drawing.boxes:  # and so nothing that a size would place
        return size, 1, notes
    if turn > 1 and (drawing.unit == "parts" or drawing.size == size):
        masks.notice_once("boxes of turned images are taken as drawn upright", image.parent)
    if drawing.unit == "parts":
        return (1, 1), 1, notes
    if drawing.size is None:
        return size, 1, notes + ["no size; the image's is taken"]
    if drawing.size == size:
        return size, 1, notes
    tall, wide = drawing.size
    shown = f"Received: {wide} x {tall} (width x height)"
    upright, stored = _stretch(drawing.size, size), _stretch(drawing.size, size[::-1])
    if turn >= 5 and upright > stored <= _SAME_SHAPE / min(*size, *drawing.size):
        notes.append(f"drawn on the stored image; turned upright with it. {shown}")
        return drawing.size, turn, notes
    if drawing.unit == "display":
        if min(upright, stored if turn >= 5 else upright) > _DISPLAY_SHAPE:
            notes.append(f"drawn on a window of another shape; stretched. {shown}")
        return drawing.size, turn if turn >= 5 and stored < upright else 1, notes
    if upright <= _SAME_SHAPE / min(*size, *drawing.size):
        return drawing.size, 1, notes + [f"drawn on another size; scaled to the image. {shown}"]
    ends = [(max(b.edges[::2]), max(b.edges[1::2])) for b in drawing.boxes]
    fits = all(y <= height + 1 and x <= width + 1 for y, x in ends)
    if drawing.size == size[::-1] and fits and any(y > tall or x > wide for y, x in ends):
        return size, 1, notes + [f"width and height were exchanged. {shown}"]
    raise BadFile(
        drawing.source,
        f"expected the size of {image.name}, {width} x {height} (width x height), or its shape. "
        f"{shown}",
    )


def _stretch(size: tuple[int, int], other: tuple[int, int]) -> float:
    """How far two sizes are from one shape."""
    return abs(size[0] * other[1] / (size[1] * other[0]) - 1)


def _upright_edges(edges, frame, turn: int, size) -> tuple[tuple[float, ...], list[str]]:
    """Edges in [0, 1] of the upright image of `size`, and what was put right.

    Raises:
        ValueError: the box cannot be used.
    """
    shown = "Received: " + " ".join(f"{e:.5g}" for e in edges) + " (top left bottom right)"
    if not all(math.isfinite(edge) for edge in edges):
        raise ValueError(f"every edge must be a number. {shown}")
    notes = []
    top, bottom = sorted(edges[::2])
    left, right = sorted(edges[1::2])
    if (top, left, bottom, right) != tuple(edges):
        notes.append(f"edges exchanged: the lower end came first. {shown}")
    corners = np.divide([[top, left], [bottom, right]], frame)
    if turn > 1:
        corners = np.sort(turned(corners, 1, 1, turn), axis=0)
    inside = np.clip(corners, 0, 1)
    whole, kept = ((c[1] - c[0]) * size for c in (corners, inside))  # height, width in pixels
    if whole.min() < _THINNEST:
        raise ValueError(f"a box without area. {shown}")
    if kept.prod() < _LEAST_INSIDE * whole.prod() or kept.min() < _THINNEST:
        raise ValueError(
            f"more than half of the box lies outside of its image of {size[1]} x {size[0]}. {shown}"
        )
    if (np.abs(corners - inside) * size).max() > _ROUNDING:
        notes.append(f"cut off at the border of the image. {shown}")
    return tuple(inside.ravel().tolist()), notes
