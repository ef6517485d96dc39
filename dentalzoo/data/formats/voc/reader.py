"""PASCAL VOC annotations: XML files of boxes, label maps and ImageSets.

VoTT, labelImg and `DatasetWriter` write them. Known errors of VoTT are corrected, or the file is
refused with the reason.
"""

import logging
import math
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from xml.etree import ElementTree

from tqdm import tqdm

from dentalzoo.data.formats import vott
from dentalzoo.data.formats.base import (
    ImageAnnotation,
    ParsedAnnotations,
    Polygons,
    Purpose,
    RawBox,
    merge_names,
    parse_size,
)
from dentalzoo.data.formats.label_maps import class_list_above, read_label_map
from dentalzoo.data.formats.rules import check_order
from dentalzoo.data.formats.shapes import finish
from dentalzoo.data.formats.tree import Tree
from dentalzoo.data.formats.voc.image_sets import VocImages, read_sets
from dentalzoo.data.formats.voc.pixels import labelmap_above, without_background
from dentalzoo.data.formats.voc.polygons import Extras, first_pixel, outlined, read_extras
from dentalzoo.data.formats.voc.segmentation import (
    read_class_pixels,
    read_objects,
    segmentation_files,
)
from dentalzoo.data.formats.voc.writer import ABOUT
from dentalzoo.errors import BadFile

_log = logging.getLogger("dentalzoo")

_SNIFFED_FILES, _SNIFFED_BYTES = 3, 4096
_LOST_YMAX = (
    "every ymax repeats xmin, as previews of VoTT 2 wrote it; export it again, or put the JSON "
    "files of the project beside it"
)
_CORNERS = ("ymin", "xmin", "ymax", "xmax")
_SHAPES = ("bndbox", "robndbox", "polygon")
_XY = ("xmin", "ymin", "xmax", "ymax")  # as the files have them
_BARE_AMPERSAND = re.compile(r"&(?!#?\w{1,31};)")
_DECLARATION = re.compile(r"\s*<\?xml\b[^>]*\?>")
_ENCODING = re.compile(rb"<\?xml\b[^>]*\bencoding\s*=\s*[\"']([\w.:-]{1,40})[\"']")


@dataclass
class _File:
    """The content of an annotation file."""

    path: Path
    root: ElementTree.Element
    repaired: list[str]
    objects: list[dict[str, str]] = field(default_factory=list)
    extras: list[Extras] = field(default_factory=list)  # of each object

    def text(self, name: str) -> str:
        return (self.root.findtext(name) or "").strip()

    @property
    def counts_from_0(self) -> bool:
        """True where a corner or the writer shows that pixels are counted from 0."""
        by_vott = self.text("folder") == "Annotation"
        return by_vott or any(
            (n < 1 and key in _CORNERS[:2]) or n != int(n)
            for entry in self.objects
            for key in _CORNERS
            if (n := _number(entry[key])) is not None and math.isfinite(n)
        )

    @property
    def lost_ymax(self) -> bool:
        """True where every ymax repeats xmin, as previews of VoTT 2.0 wrote it."""
        if self.text("source/database") == ABOUT:  # ours, where it is chance
            return False
        pairs = [(entry["xmin"], entry["ymax"]) for entry in self.objects]
        return all(a == b != "" for a, b in pairs) and (
            len(set(pairs)) > 1 or any("." in a for a, _ in pairs)
        )


def sniff(tree: Tree) -> str:
    """Name XML files whose root is `annotation`, and folders SegmentationClass."""
    pixels = "SegmentationClass (masks)" if segmentation_files(tree, "class") else ""
    xml = _sniff_xml(tree)
    return f"PASCAL VOC {' and '.join(filter(None, (xml, pixels)))}" if xml or pixels else ""


def _sniff_xml(tree: Tree) -> str:
    for path in tree.notes_of(".xml")[:_SNIFFED_FILES]:
        try:
            with path.open("rb") as stream:
                head = stream.read(_SNIFFED_BYTES)
        except OSError:
            continue
        if re.search(rb"<annotation[\s>]", head.replace(b"\0", b"")):  # UTF-16 has zeros
            return "XML (boxes)"
    return ""


def read(tree: Tree, purpose: Purpose) -> ParsedAnnotations:
    """Read `*.xml` files anywhere in the tree, SegmentationClass and SegmentationObject.

    For masks the pixels of SegmentationClass count, else the polygons of the XML files. For boxes
    those of the XML files; objects of SegmentationObject, else polygons, are their outlines, and
    objects stand alone where an image has no XML file.

    Raises:
        BadFile: a label map is broken.
    """
    entries, _ = tree.entries
    parsed = ParsedAnnotations(images=entries)
    imgs = VocImages(entry.path for entry in entries)
    paths = [entry.path for entry in entries]
    if purpose == "masks":
        roots = read_class_pixels(tree, parsed, imgs)
        if not roots:
            roots = _read_polygons(tree, parsed, imgs)
        read_sets(tree, parsed, paths, roots, "Segmentation")
        return parsed
    files = list(_files(tree, parsed, imgs))
    _read_boxes(tree, parsed, imgs, files)
    roots = {file.path.parent.parent for file in files}
    if files:
        parsed.classes = _class_list(tree, {file.path.parent for file in files})
    roots |= read_objects(tree, parsed, imgs)
    if parsed.annotations:
        read_sets(tree, parsed, paths, roots)
    return parsed


def _read_polygons(tree: Tree, parsed: ParsedAnnotations, imgs: VocImages) -> set[Path]:
    """Read XML files as masks where an object has a polygon; return the folders above them."""
    files = list(_files(tree, ParsedAnnotations(), imgs))
    if not any(extras.polygons for file in files for extras in file.extras):
        return set()
    _read_boxes(tree, parsed, imgs, files)
    finish(tree, parsed, "masks", _class_list(tree, {file.path.parent for file in files}))
    return {file.path.parent.parent for file in files}


def _read_boxes(tree: Tree, parsed: ParsedAnnotations, imgs: VocImages, files: list[_File]) -> None:
    check_order(tree.root, map(_stored, files))
    from_0 = _origins(tree, files)
    first = _first_pixels(files, from_0)
    others: dict[Path, ImageAnnotation] | None = None
    for file in files:
        name = tree.name(file.path)
        images, notes = imgs.of(file.path, file.text("filename"))
        folder = file.path.parent
        annotation = _annotation(name, file, from_0[folder], first[folder])
        annotation.repaired += notes
        if file.lost_ymax and len(images) == 1:
            others = vott.read(tree, "boxes").annotations if others is None else others
            if images[0] not in others:
                parsed.refuse(name, _LOST_YMAX, images)
                continue
            annotation = others[images[0]]
            annotation.repaired.append(f"read instead of {name}, whose ymax repeats xmin")
        parsed.assign(images, annotation)


def _class_list(tree: Tree, folders: Iterable[Path]) -> list[str] | None:
    maps = tree.notes_of(".pbtxt")
    if maps:
        return merge_names(map(read_label_map, maps))
    colours = [labelmap_above(folder, tree.root) for folder in sorted(folders)]
    if colours and None not in colours:
        return without_background(merge_names(map(list, filter(None, colours)))) or None
    lists = [class_list_above(folder, tree.root) for folder in sorted(folders)]
    known = [names for names in lists if names is not None]
    return merge_names(known) if len(known) == len(lists) else None


# ---- XML -----------------------------------------------------------------------------------------


def _files(tree: Tree, parsed: ParsedAnnotations, images: VocImages) -> Iterator[_File]:
    for path in tqdm(tree.notes_of(".xml"), "reading boxes", leave=False, disable=None):
        try:
            root, notes = parse_xml(path)
        except BadFile as error:
            parsed.refuse(tree.name(path), error.reason, images.named(path.stem, path))
            continue
        if root.tag != "annotation":
            continue  # another format's, or listed as unused
        file = _File(path, root, notes)
        if elsewhere := _shapes_in(root) - sum(map(_shapes_in, root.iterfind("object"))):
            reason = (
                "every object must be an `object` directly below `annotation`. "
                f"Received: {elsewhere} shapes elsewhere"
            )
            parsed.refuse(tree.name(path), reason, images.of(path, file.text("filename"))[0])
            continue
        deleted = 0
        for entry in root.iterfind("object"):
            if _is_set(entry, "deleted"):  # LabelMe keeps them
                deleted += 1
                continue
            box = entry.find("bndbox")
            texts = {key: "" if box is None else (box.findtext(key) or "") for key in _CORNERS}
            texts["instead"] = _other_shape(entry)
            texts["name"] = entry.findtext("name") or ""
            hard = any(_is_set(entry, key) for key in ("difficult", "ignore"))
            texts["difficult"] = "1" if hard else ""
            file.objects.append({key: text.strip() for key, text in texts.items()})
            file.extras.append(read_extras(entry))
        if deleted:
            notes.append(f"{deleted} deleted objects are left out")
        yield file


def _shapes_in(element: ElementTree.Element) -> int:
    return sum(str(one.tag).lower() in _SHAPES for one in element.iter())


def _is_set(entry: ElementTree.Element, key: str) -> bool:
    return (entry.findtext(key) or "").strip().lower() in ("1", "1.0", "true", "yes")


def _other_shape(entry: ElementTree.Element) -> str:
    """Name what an object has in place of one bndbox; "" where it has one."""
    if count := len(entry.findall("bndbox")):
        return "" if count == 1 else f"{count} bndbox in one object"
    kinds = {"robndbox": "a rotated box (robndbox)", "polygon": "a polygon without a bndbox"}
    return next((what for tag, what in kinds.items() if entry.find(tag) is not None), "no bndbox")


def parse_xml(path: Path, what: str = "a VOC annotation") -> tuple[ElementTree.Element, list[str]]:
    """Parse an untrusted XML file: without entities, and without fetching anything.

    Args:
        path: the file.
        what: what it must be, for messages.

    Returns:
        The root, and what was corrected: a text that is not UTF-8 and names no encoding, a bare
        "&".

    Raises:
        BadFile: the file is not XML, or declares entities.
    """
    try:
        text, notes = _decoded(path.read_bytes())
        text = _DECLARATION.sub("", text.removeprefix("\ufeff"), count=1)
        if "<!ENTITY" in text:  # they can expand without limit, or name other files
            raise ValueError("a declaration of entities")
        try:
            return ElementTree.fromstring(text), notes
        except ElementTree.ParseError:
            mended = _BARE_AMPERSAND.sub("&amp;", text)
            return ElementTree.fromstring(mended), notes + ["a bare & is read as one"]
    except (OSError, ValueError, LookupError, ElementTree.ParseError) as error:
        shown = " ".join(str(error).split())[:120]
        raise BadFile(path, f"must be {what} in XML. Received: {shown}") from error


def _decoded(content: bytes) -> tuple[str, list[str]]:
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return content.decode("utf-16"), []
    encoding = _ENCODING.match(content.removeprefix(b"\xef\xbb\xbf").lstrip())
    if encoding:
        return content.decode(encoding[1].decode()), []
    try:
        return content.decode("utf-8"), []
    except UnicodeDecodeError:
        return content.decode("cp1252"), ["the text is not UTF-8; read as Windows-1252"]


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _origins(tree: Tree, files: list[_File]) -> dict[Path, bool]:
    """Return folder -> whether its files count pixels from 0, with the lower ends exclusive.

    VOC counts from 1 and includes the last pixel. VoTT does not; one corner below 1 or between
    pixels shows this for all files of the folder.
    """
    origins: dict[Path, bool] = defaultdict(bool)
    for file in files:
        origins[file.path.parent] |= file.counts_from_0
    for folder, from_0 in origins.items():
        what = "0, the last one excluded" if from_0 else "1, the last one included"
        _log.info("%s/: pixels are counted from %s", tree.name(folder), what)
    return origins


def _first_pixels(files: Iterable[_File], from_0: Mapping[Path, bool]) -> dict[Path, int]:
    """Return folder -> the number of the first pixel in its polygons."""
    drawn: dict[Path, list[tuple[list[float], Polygons]]] = defaultdict(list)
    for file in files:
        for entry, extras in zip(file.objects, file.extras, strict=True):
            corner = [n for key in _XY[:2] if (n := _number(entry[key])) is not None]
            if extras.polygons and len(corner) == 2:
                drawn[file.path.parent].append((corner, extras.polygons))
    return {folder: first_pixel(value, drawn[folder]) for folder, value in from_0.items()}


def _stored(file: _File) -> tuple[tuple[int, int] | None, list[tuple[float, float, float, float]]]:
    """Return the size that a file states and its corners as they are stored."""
    boxes = []
    for entry in file.objects:
        numbers = [n for key in _CORNERS if (n := _number(entry[key])) is not None]
        if len(numbers) == len(_CORNERS):
            top, left, bottom, right = numbers
            boxes.append((top, left, bottom, right))
    return parse_size(file.text("size/height"), file.text("size/width")), boxes


def _annotation(name: str, file: _File, from_0: bool, first: int) -> ImageAnnotation:
    size = parse_size(file.text("size/height"), file.text("size/width"))
    annotation = ImageAnnotation(file.path, name, size, repaired=file.repaired)
    for number, (entry, extras) in enumerate(zip(file.objects, file.extras, strict=True), start=1):
        where = f"object {number}"
        annotation.add(where, partial(_object, entry, extras, where, from_0, first))
    return annotation


def _object(entry: dict[str, str], extras: Extras, where: str, from_0: bool, first: int) -> RawBox:
    return outlined(_box(entry, where, from_0), extras, first)


def _box(entry: dict[str, str], where: str, from_0: bool) -> RawBox:
    edges = [number for key in _CORNERS if (number := _number(entry[key])) is not None]
    if entry["instead"]:
        raise ValueError(f"bndbox must have four numbers. Received: {entry['instead']}")
    if len(edges) < len(_CORNERS):
        bad = (f"{key}={entry[key]!r}" for key in _XY if _number(entry[key]) is None)
        raise ValueError(f"bndbox must have four numbers. Received: {' '.join(bad)}")
    if not entry["name"]:
        raise ValueError("unknown class; it must not be empty. Received: ''")
    top, left, bottom, right = edges
    repaired: tuple[str, ...] = ()
    if not from_0:
        low, high = sorted((top, bottom)), sorted((left, right))
        if low != [top, bottom] or high != [left, right]:
            repaired = ("edges exchanged: the lower end came first",)
        # Sorted before the last pixel is included: `normalize_boxes` could not tell any more.
        edges = [low[0] - 1, high[0] - 1, low[1], high[1]]
    y0, x0, y1, x1 = edges
    difficult = entry["difficult"] == "1"
    return RawBox(entry["name"], (y0, x0, y1, x1), where, difficult, repaired=repaired)
