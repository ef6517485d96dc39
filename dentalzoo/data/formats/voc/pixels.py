"""Read the pixels of PASCAL VOC: SegmentationClass and SegmentationObject, and their classes."""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from dentalzoo.data.formats.base import notice_once
from dentalzoo.data.formats.label_maps import class_list_above, read_class_file, read_label_items
from dentalzoo.data.formats.tree import Tree
from dentalzoo.data.io.decode import decode
from dentalzoo.errors import BadFile
from dentalzoo.limits import max_pixels

_MAX_COLOURS = 1000  # ours: more objects in one image are a photograph
VOID = 255  # the index of pixels that belong to no class and no background, as borders have it

_LINE = re.compile(r"(.+):\s*(\d{1,3})\s*,\s*(\d{1,3})\s*,\s*(\d{1,3})\s*:([^:]*):([^:]*)")
_BACKGROUNDS = ("background", "_background_", "__background__")
_VOC_CLASSES = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa"),
    *("train", "tvmonitor"),
)

Colour = tuple[int, ...]  # red, green, blue


def palette(count: int = 256) -> list[Colour]:
    """Return the colours of PASCAL VOC: bit i of an index is a bit of red, green or blue."""
    colours = []
    for index in range(count):
        channels = [0, 0, 0]
        for bit in range(8):
            channels[bit % 3] |= (index >> bit & 1) << (7 - bit // 3)
        colours.append(tuple(channels))
    return colours


_COLOURS = palette()
_VOID_COLOUR = _COLOURS[VOID]


@dataclass
class Legend:
    """The classes of the pixels.

    Attributes:
        names: of the ids 1..n.
        ids: index in a file -> id.
        colours: colour in a file -> id; empty where indices count.
    """

    names: list[str]
    ids: dict[int, int] = field(default_factory=dict)
    colours: dict[Colour, int] = field(default_factory=dict)


# ---- the classes ---------------------------------------------------------------------------------


def read_labelmap(path: Path) -> dict[str, Colour]:
    """Return name -> colour of a `labelmap.txt` (`name:r,g,b:parts:actions`), with the background.

    Raises:
        BadFile: the file has another form, or a name or a colour twice.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BadFile(path, f"must be a label map in UTF-8. Received: {error}") from error
    colours: dict[str, Colour] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.startswith("#"):
            continue
        match = _LINE.fullmatch(line.strip())
        colour = tuple(map(int, match.groups()[1:4])) if match else (256,)
        if not match or max(colour) > 255:
            reason = "must be name:r,g,b:parts:actions"
            raise BadFile(path, f"line {number} {reason}. Received: {line[:80]!r}")
        name = match[1].strip()
        if name in colours or colour in colours.values():
            reason = "must have another name and colour than the lines before"
            raise BadFile(path, f"line {number} {reason}. Received: {line[:80]!r}")
        colours[name] = colour
    return colours


def labelmap_above(folder: Path, root: Path) -> dict[str, Colour] | None:
    """Return the `labelmap.txt` of a folder or the nearest one above it, no higher than `root`."""
    for parent in (folder, *folder.parents):
        path = parent / "labelmap.txt"
        if path.is_file():
            return read_labelmap(path)
        if parent == root:
            break
    return None


def without_background(names: Sequence[str]) -> list[str]:
    """Return the names of a label map that are classes of objects."""
    return [name for name in names if name.casefold() not in _BACKGROUNDS]


def read_legend(tree: Tree, folder: Path, labels: Collection[str]) -> Legend:
    """Return the classes of the pixels in a folder `SegmentationClass`.

    The colours of `labelmap.txt` count; else the ids of a label map (`*.pbtxt`), else the lines of
    `class_names.txt`, `classes.json` or `classes.txt`; else the indices are the 20 classes of
    PASCAL VOC, where the file has their colours and no box has another class.

    Args:
        tree: the data folder.
        folder: with the files.
        labels: the classes of the boxes.

    Raises:
        BadFile: a list of classes is broken.
    """
    colours = labelmap_above(folder, tree.root)
    if colours is not None:
        names = without_background(list(colours))
        ids = {name: number for number, name in enumerate(names, start=1)}
        by_colour = {colour: ids.get(name, 0) for name, colour in colours.items()}
        by_colour.setdefault((0, 0, 0), 0)
        by_colour.setdefault(_VOID_COLOUR, VOID)
        return Legend(names, colours=by_colour)
    maps = tree.notes_of(".pbtxt")
    if maps:
        items = read_label_items(maps[0])
        numbers = {index: number for number, index in enumerate(items, start=1)}
        return Legend(list(items.values()), {0: 0, **numbers, VOID: VOID})
    lists = [parent / "class_names.txt" for parent in (folder, folder.parent)]
    path = next((path for path in lists if path.is_file()), None)
    listed = class_list_above(folder, tree.root) if path is None else read_class_file(path)
    if listed is not None:
        listed = [name for name in listed if name != "__ignore__"]
        names = without_background(listed)
        return Legend(names, {**{i: i for i in range(len(names) + 1)}, VOID: VOID})
    if set(labels) <= set(_VOC_CLASSES):
        of_voc = {colour: index for index, colour in enumerate(_COLOURS[:21])}
        return Legend(list(_VOC_CLASSES), colours={**of_voc, _VOID_COLOUR: VOID})
    return Legend([])


# ---- the pixels ----------------------------------------------------------------------------------


def class_ids(path: Path, legend: Legend) -> np.ndarray:
    """Return the ids (H, W) uint8 of a file of SegmentationClass; void is background.

    Raises:
        BadFile: the file cannot be read, or has an index or a colour without a class.
    """
    if not legend.names:
        raise BadFile(
            path,
            "must have the names of its classes in labelmap.txt above its folder. Received: none",
        )
    indices, colours, indexed = _stored(path)
    ids = np.zeros(len(colours), np.uint8)
    for number in np.unique(indices).tolist():
        colour = colours[number]
        if legend.colours:
            known = legend.colours.get(colour)
            known = VOID if known is None and indexed and number == VOID else known
        else:
            known = legend.ids.get(number) if indexed else None
        if known is None:
            shown = f"index {number}, colour {','.join(map(str, colour))}"
            raise BadFile(path, f"must hold the classes of its list and void. Received: {shown}")
        ids[number] = known
    found = ids[indices]
    void = found == VOID
    if void.any():
        notice_once("pixels marked as void (255) count as background", path.parent)
        found[void] = 0
    return np.asarray(found)


def object_masks(
    path: Path, ids: np.ndarray, names: Sequence[str]
) -> tuple[list[tuple[int, str, np.ndarray]], list[tuple[str, str]]]:
    """Return the objects of a file of SegmentationObject.

    Args:
        path: the file.
        ids: (H, W) of the same image, of `class_ids`.
        names: of the ids 1..n.

    Returns:
        (number from 1, class, mask (H, W) bool) of each object, and (where, reason) of those that
        lie in no class or in several.

    Raises:
        BadFile: the file cannot be read, or has another size than `ids`.
    """
    indices, colours, indexed = _stored(path)
    if indices.shape != ids.shape:
        shown = f"{indices.shape[1]} x {indices.shape[0]}"
        raise BadFile(path, f"must have the size of its SegmentationClass. Received: {shown}")
    objects: list[tuple[int, str, np.ndarray]] = []
    invalid: list[tuple[str, str]] = []
    for index in np.unique(indices).tolist():
        colour = colours[index]
        if colour in ((0, 0, 0), _VOID_COLOUR) or (indexed and index in (0, VOID)):
            continue
        number = _COLOURS.index(colour) if colour in _COLOURS else index
        inside = indices == index
        classes = np.unique(ids[inside & (ids > 0)]).tolist()
        if len(classes) == 1:
            objects.append((number, names[classes[0] - 1], inside & (ids > 0)))
        else:
            shown = " and ".join(names[i - 1] for i in classes) or "none"
            reason = f"an object must lie in one class of SegmentationClass. Received: {shown}"
            invalid.append((f"SegmentationObject {number}", reason))
    return sorted(objects, key=lambda one: one[0]), invalid


def _stored(path: Path) -> tuple[np.ndarray, list[Colour], bool]:
    """Return numbers (H, W), the colour of each, and whether the file stores them as indices.

    Grey levels are indices and have the colours of PASCAL VOC.
    """
    stored = decode(path, max_pixels())
    if stored is None:
        raise BadFile(path, "must be a PNG. Received: a DICOM file")
    samples = stored.samples
    if stored.palette is not None:
        return samples, [tuple(colour) for colour in stored.palette.tolist()], True
    if samples.dtype != np.uint8 or (samples.ndim == 3 and samples.shape[2] not in (3, 4)):
        raise BadFile(path, f"must have a palette or 8-bit colours. Received: {samples.dtype}")
    if samples.ndim == 2:
        return samples, list(_COLOURS), True
    flat = samples[..., :3].reshape(-1, 3).astype(np.int64) @ (1 << 16, 1 << 8, 1)
    codes, numbers = np.unique(flat, return_inverse=True)
    if len(codes) > _MAX_COLOURS:
        raise BadFile(path, f"must have a colour for each object. Received: {len(codes)} colours")
    colours: list[Colour] = [(code >> 16, code >> 8 & 255, code & 255) for code in codes.tolist()]
    return np.reshape(numbers, samples.shape[:2]), colours, False
