"""PASCAL VOC annotations: XML files of boxes, label maps and ImageSets.

VoTT, labelImg and `DatasetWriter` write them. Known errors of VoTT are corrected, or the file is
refused with the reason.
"""

import logging
import math
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from xml.etree import ElementTree

from tqdm import tqdm

from dentalzoo.data.formats import vott
from dentalzoo.data.formats.base import (
    BoxSample,
    Content,
    ImageAnnotation,
    ParsedAnnotations,
    Place,
    Purpose,
    RawBox,
    merge_names,
    nearest_images,
    parse_size,
    refuse_to_write,
)
from dentalzoo.data.formats.label_maps import class_list_above, read_label_map
from dentalzoo.data.formats.tree import SPLITS, Skip, Tree, normal, split_word
from dentalzoo.errors import BadFile

_log = logging.getLogger("dentalzoo")

NAME = "VOC"
HOLDS: tuple[Content, ...] = ("boxes", "names", "splits", "difficult")
WRITES: tuple[Content, ...] = ()
READS: tuple[Purpose, ...] = ("boxes",)

_SNIFFED_FILES, _SNIFFED_BYTES = 3, 4096
_LOST_YMAX = (
    "every ymax repeats xmin, as previews of VoTT 2 wrote it; export it again, or put the JSON "
    "files of the project beside it"
)
_CORNERS = ("ymin", "xmin", "ymax", "xmax")
_XY = ("xmin", "ymin", "xmax", "ymax")  # as the files have them
_BARE_AMPERSAND = re.compile(r"&(?!#?\w{1,31};)")
_DECLARATION = re.compile(r"\s*<\?xml\b[^>]*\?>")
_ENCODING = re.compile(rb"<\?xml\b[^>]*\bencoding\s*=\s*[\"']([\w.:-]{1,40})[\"']")
_MEMBER = re.compile(r"(.*\S)\s+(-?[01])")


@dataclass
class _File:
    """The content of an annotation file."""

    path: Path
    root: ElementTree.Element
    repaired: list[str]
    objects: list[dict[str, str]] = field(default_factory=list)

    def text(self, name: str) -> str:
        return (self.root.findtext(name) or "").strip()

    @property
    def counts_from_0(self) -> bool:
        """True where a corner or the writer shows that pixels are counted from 0."""
        corners = [entry[key] for entry in self.objects for key in _CORNERS[:2]]
        numbers = [n for n in map(_number, corners) if n is not None and math.isfinite(n)]
        by_vott = self.text("folder") == "Annotation"
        return by_vott or any(n < 1 or n != int(n) for n in numbers)

    @property
    def lost_ymax(self) -> bool:
        """True where every ymax repeats xmin, as previews of VoTT 2.0 wrote it."""
        pairs = [(entry["xmin"], entry["ymax"]) for entry in self.objects]
        return all(a == b != "" for a, b in pairs) and (
            len(set(pairs)) > 1 or any("." in a for a, _ in pairs)
        )


def sniff(tree: Tree) -> str:
    """Name XML files whose root is `annotation`."""
    for path in tree.notes_of(".xml")[:_SNIFFED_FILES]:
        try:
            with path.open("rb") as stream:
                head = stream.read(_SNIFFED_BYTES)
        except OSError:
            continue
        if re.search(rb"<annotation[\s>]", head.replace(b"\0", b"")):  # UTF-16 has zeros
            return "PASCAL VOC XML (boxes)"
    return ""


def read(tree: Tree, purpose: Purpose) -> ParsedAnnotations:
    """Read `*.xml` files anywhere in the tree, with their label map and ImageSets.

    Raises:
        BadFile: a label map is broken.
    """
    entries, _ = tree.entries
    parsed = ParsedAnnotations(images=entries)
    imgs = _Images(entry.path for entry in entries)
    files = list(_files(tree, parsed, imgs))
    if not files:
        return parsed
    from_0 = _origins(tree, files)
    others: dict[Path, ImageAnnotation] | None = None
    for file in files:
        name = tree.name(file.path)
        images, notes = imgs.of(file)
        annotation = _annotation(name, file, from_0[file.path.parent])
        annotation.repaired += notes
        if file.lost_ymax and len(images) == 1:
            others = vott.read(tree, purpose).annotations if others is None else others
            if images[0] not in others:
                parsed.refuse(name, _LOST_YMAX, images)
                continue
            annotation = others[images[0]]
            annotation.repaired.append(f"read instead of {name}, whose ymax repeats xmin")
        parsed.assign(images, annotation)
    parsed.classes = _class_list(tree, {file.path.parent for file in files})
    _read_sets(tree, parsed, [entry.path for entry in entries], files)
    return parsed


def write(samples: Iterable[BoxSample], out: Path, classes: Sequence[str], place: Place) -> Path:
    """Raise DentalzooError: this version writes VOC files of objects with masks only."""
    refuse_to_write(NAME, "DatasetWriter writes it from objects with masks")


def _class_list(tree: Tree, folders: Iterable[Path]) -> list[str] | None:
    maps = tree.notes_of(".pbtxt")
    if maps:
        return merge_names(map(read_label_map, maps))
    lists = [class_list_above(folder, tree.root) for folder in sorted(folders)]
    known = [names for names in lists if names is not None]
    return merge_names(known) if len(known) == len(lists) else None


# ---- XML -----------------------------------------------------------------------------------------


def _files(tree: Tree, parsed: ParsedAnnotations, images: "_Images") -> Iterator[_File]:
    for path in tqdm(tree.notes_of(".xml"), "reading boxes", leave=False, disable=None):
        try:
            root, notes = parse_xml(path)
        except BadFile as error:
            parsed.refuse(tree.name(path), error.reason, images.named(path.stem, path))
            continue
        if root.tag != "annotation":
            _log.info("%s: not a VOC annotation, not used", tree.name(path))
            continue
        file = _File(path, root, notes)
        for entry in root.iterfind("object"):
            box = entry.find("bndbox")
            texts = {key: "" if box is None else (box.findtext(key) or "") for key in _CORNERS}
            texts["instead"] = "" if box is not None else _other_shape(entry)
            for key in ("name", "difficult"):
                texts[key] = entry.findtext(key) or ""
            file.objects.append({key: text.strip() for key, text in texts.items()})
        yield file


def _other_shape(entry: ElementTree.Element) -> str:
    """Name what an object without a bndbox has instead."""
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


def _annotation(name: str, file: _File, from_0: bool) -> ImageAnnotation:
    size = parse_size(file.text("size/height"), file.text("size/width"))
    annotation = ImageAnnotation(file.path, name, size, repaired=file.repaired)
    for number, entry in enumerate(file.objects, start=1):
        where = f"object {number}"
        annotation.add(where, partial(_box, entry, where, from_0))
    return annotation


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


# ---- which image -------------------------------------------------------------------------------


class _Images:
    """Finds the image of an annotation file, also by the names that VoTT makes of it."""

    _KEYS: tuple[Callable[[str], str], ...] = (
        lambda name: name,
        lambda name: name.rpartition(".")[0],
        lambda name: name[:-4],  # VoTT 1: of x.jpeg remains "x."
        lambda name: name[:-4].replace(".", "", 1),  # VoTT 1.7
    )

    def __init__(self, images: Iterable[Path]):
        self._tables: list[dict[str, list[Path]]] = [defaultdict(list) for _ in self._KEYS]
        for image in images:
            for table, key in zip(self._tables, self._KEYS, strict=True):
                table[key(normal(image.name))].append(image)

    def of(self, file: _File) -> tuple[list[Path], list[str]]:
        """Return the images of an annotation file, and what was corrected.

        Its element `path` is not used: it may name another machine or folder.
        """
        listed = file.text("filename").replace("\\", "/").rsplit("/", 1)[-1]
        own = self.named(file.path.stem, file.path)
        by_element = self.named(listed, file.path) if listed else []
        if len(own) > 1 and len(by_element) == 1 and by_element[0] in own:
            return by_element, []
        if len(own) == 1 and by_element and own[0] not in by_element:
            return own, [f"its image is {own[0].name}, not filename. Received: {listed!r}"]
        return own or by_element, []

    def named(self, name: str, source: Path) -> list[Path]:
        """Return the images that a name may mean, those that lie nearest to `source`."""
        for table in self._tables:
            if images := table.get(normal(name)):
                return nearest_images(images, source)
        return []


# ---- ImageSets -----------------------------------------------------------------------------------


def _read_sets(
    tree: Tree, parsed: ParsedAnnotations, images: Sequence[Path], files: Sequence[_File]
) -> None:
    """Read the splits of `ImageSets/Main/*_train.txt` and the like, beside the annotations.

    The boxes decide what an image shows: the flags 1 and -1 of a line do not count, nor does a
    repeated line. An image in several sets goes to the one with the strictest use: test, then val,
    then train.
    """
    roots = {file.path.parent.parent for file in files}
    for root in sorted(roots):
        folders = [f for f in (root / "ImageSets/Main", root / "ImageSets") if f.is_dir()]
        lists = {
            path: split
            for path in (sorted(folders[0].glob("*.txt")) if folders else ())
            if (split := split_word(path.stem.rpartition("_")[2]))
        }
        if not lists:
            continue
        parsed.split_source = "ImageSets"
        imgs = _Images(image for image in images if image.is_relative_to(root))
        members: dict[Path, dict[str, Path]] = defaultdict(dict)
        lost: set[str] = set()
        for path, split in lists.items():
            _read_set(tree, parsed, path, split, imgs, members, lost)
        for image, splits in members.items():
            split = next(s for s in reversed(SPLITS) if s in splits)
            parsed.splits[image] = split
            if len(splits) > 1:
                both = " and ".join(sorted(splits))
                parsed.repaired.append(
                    (tree.name(image), f"in {both} of ImageSets; {split} counts")
                )


def _read_set(
    tree: Tree,
    parsed: ParsedAnnotations,
    path: Path,
    split: str,
    imgs: _Images,
    members: dict[Path, dict[str, Path]],
    lost: set[str],
) -> None:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = f"must be a list of images. Received: {error}"
        parsed.skips.append(Skip(tree.name(path), reason, split))
        return
    flags: dict[Path, Counter[str]] = defaultdict(Counter)
    for line in filter(None, map(str.strip, lines)):
        match = _MEMBER.fullmatch(line)
        names = [(line, "")] + ([match.groups()] if match else [])  # "radiograph 1" may be a name
        images, flag = next(
            ((i, f) for name, f in names if (i := imgs.named(name, path))), ([], "")
        )
        if len(images) != 1:
            if names[-1][0] not in lost:
                what = f"row of {len(images)} images of one name" if images else ""
                name = f"{tree.name(path)}: {names[-1][0]}"
                parsed.skips.append(Skip(name, what or "row of ImageSets without image", split))
            lost.add(names[-1][0])
            continue
        members[images[0]].setdefault(split, path)
        flags[images[0]][flag] += 1
    several = [image for image, counts in flags.items() if len(counts) > 1]
    if several:
        parsed.repaired.append(
            (
                tree.name(path),
                "images listed with 1 and with -1; their boxes decide. "
                f"Received: {several[0].name} and {len(several) - 1} more",
            )
        )


# ---- writing -------------------------------------------------------------------------------------


def object_xml(
    file_name: str,
    shape: tuple[int, int, int],
    objects: Sequence[tuple[str, tuple[int, int, int, int]]],
    database: str,
) -> bytes:
    """Return the annotation file of an image.

    Args:
        file_name: of the image, in a folder `images`.
        shape: its height, width and depth.
        objects: (label, (top, left, bottom, right) in pixels, lower ends exclusive).
        database: the source of the image.
    """
    height, width, depth = shape
    root = ElementTree.Element("annotation")

    def put(parent: ElementTree.Element, **entries: object) -> None:
        for key, value in entries.items():
            ElementTree.SubElement(parent, key).text = str(value)

    put(root, folder="images", filename=file_name)
    put(ElementTree.SubElement(root, "source"), database=database)
    put(ElementTree.SubElement(root, "size"), width=width, height=height, depth=depth)
    put(root, segmented=int(bool(objects)))
    for label, (top, left, bottom, right) in objects:
        cut = top == 0 or left == 0 or bottom == height or right == width
        entry = ElementTree.SubElement(root, "object")
        put(entry, name=label, pose="Unspecified", truncated=int(cut), difficult=0)
        box = ElementTree.SubElement(entry, "bndbox")
        put(box, xmin=left + 1, ymin=top + 1, xmax=right, ymax=bottom)
    ElementTree.indent(root)
    content: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return content + b"\n"
