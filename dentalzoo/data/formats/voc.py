"""PASCAL VOC annotations: XML files of boxes, label maps and ImageSets, as VoTT, labelImg and
`DatasetWriter` write them; what VoTT is known to get wrong is put right or refused by name."""

import logging
import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from xml.etree import ElementTree

from tqdm import tqdm

from dentalzoo.data.crops import class_names_above
from dentalzoo.data.formats.annotations import Drawing, DrawnBox, Found, merged, nearest, told_size
from dentalzoo.data.formats.image_files import FileEntry
from dentalzoo.data.formats.label_maps import read_label_map
from dentalzoo.data.formats.tree import SPLITS, Skip, Tree, normal, split_word
from dentalzoo.data.formats.vott import read_vott
from dentalzoo.errors import BadFile

_log = logging.getLogger("dentalzoo")

_LOST_YMAX = (
    "every ymax repeats xmin, as previews of VoTT 2 wrote it; export it anew, or put the JSON "
    "files of the project beside it"
)
_CORNERS = ("ymin", "xmin", "ymax", "xmax")
_BARE_AMPERSAND = re.compile(r"&(?!#?\w{1,31};)")
_DECLARATION = re.compile(r"\s*<\?xml\b[^>]*\?>")
_ENCODING = re.compile(rb"<\?xml\b[^>]*\bencoding\s*=\s*[\"']([\w.:-]{1,40})[\"']")
_MEMBER = re.compile(r"(.*\S)\s+(-?[01])")


@dataclass
class _Annotation:
    """An annotation file, as it is written."""

    path: Path
    root: ElementTree.Element
    repaired: list[str]
    objects: list[dict[str, str]] = field(default_factory=list)

    def text(self, name: str) -> str:
        return (self.root.findtext(name) or "").strip()

    @property
    def counts_from_0(self) -> bool:
        """Whether a corner shows that pixels are counted from 0, or who wrote the file."""
        corners = [entry[key] for entry in self.objects for key in _CORNERS[:2]]
        numbers = [n for n in map(_number, corners) if n is not None and math.isfinite(n)]
        told = self.text("folder") == "Annotation"
        return told or any(n < 1 or n != int(n) for n in numbers)

    @property
    def lost_ymax(self) -> bool:
        """Whether every ymax repeats xmin, as VoTT 2.0 previews wrote it."""
        pairs = [(entry["xmin"], entry["ymax"]) for entry in self.objects]
        return all(a == b != "" for a, b in pairs) and (
            len(set(pairs)) > 1 or any("." in a for a, _ in pairs)
        )


def read_voc(tree: Tree, files: list[FileEntry]) -> Found:
    """The boxes of `*.xml` files anywhere in the tree, with their label map and ImageSets.

    Raises:
        BadFile: a label map is broken.
    """
    found = Found()
    imgs = _Images(file.image for file in files)
    read = list(_annotations(tree, found, imgs))
    if not read:
        return found
    from_0 = _origins(tree, read)
    others = None
    for annotation in read:
        name = tree.name(annotation.path)
        images, notes = imgs.of(annotation)
        drawing = _drawing(name, annotation, from_0[annotation.path.parent])
        drawing.repaired += notes
        if annotation.lost_ymax and len(images) == 1:
            others = read_vott(tree, files).drawings if others is None else others
            if images[0] not in others:
                found.refuse(name, _LOST_YMAX, images)
                continue
            drawing = others[images[0]]
            drawing.repaired.append(f"read instead of {name}, whose ymax repeats xmin")
        found.place(images, drawing)
    found.names = _names(tree, {annotation.path.parent for annotation in read})
    _read_sets(tree, found, [file.image for file in files], read)
    return found


def _names(tree: Tree, folders: Iterable[Path]) -> list[str] | None:
    maps = [path for path in tree.notes if path.suffix.lower() == ".pbtxt"]
    if maps:
        return merged(map(read_label_map, maps))
    lists = [class_names_above(folder, tree.root) for folder in sorted(folders)]
    return merged(lists) if all(names is not None for names in lists) else None


# ---- XML -----------------------------------------------------------------------------------------


def _annotations(tree: Tree, found: Found, images: "_Images") -> Iterator[_Annotation]:
    paths = [path for path in tree.notes if path.suffix.lower() == ".xml"]
    for path in tqdm(paths, "reading boxes", leave=False, disable=None):
        try:
            root, notes = parse_xml(path)
        except BadFile as error:
            found.refuse(tree.name(path), error.reason, images.named(path.stem, path))
            continue
        if root.tag != "annotation":
            _log.info("%s: no VOC annotation, not used", tree.name(path))
            continue
        annotation = _Annotation(path, root, notes)
        for entry in root.iterfind("object"):
            box = entry.find("bndbox")
            texts = {key: "" if box is None else (box.findtext(key) or "") for key in _CORNERS}
            for key in ("name", "difficult"):
                texts[key] = entry.findtext(key) or ""
            annotation.objects.append({key: text.strip() for key, text in texts.items()})
        yield annotation


def parse_xml(path: Path) -> tuple[ElementTree.Element, list[str]]:
    """Parses a file that nobody vouches for: no entities, nothing fetched.

    Returns:
        The root, and what had to be put right: a text that is not UTF-8 and does not say what
        else, a bare "&".

    Raises:
        BadFile: the file is no XML, or declares entities.
    """
    try:
        text, notes = _decoded(path.read_bytes())
        text = _DECLARATION.sub("", text.removeprefix("\ufeff"), count=1)
        if "<!ENTITY" in text:  # what makes a large text of a small file, or names other files
            raise ValueError("a declaration of entities, which annotations have no use for")
        try:
            return ElementTree.fromstring(text), notes
        except ElementTree.ParseError:
            mended = _BARE_AMPERSAND.sub("&amp;", text)
            return ElementTree.fromstring(mended), notes + ["a bare & is read as one"]
    except (OSError, ValueError, LookupError, ElementTree.ParseError) as error:
        what = " ".join(str(error).split())[:120]
        raise BadFile(path, f"expected a VOC annotation in XML. Received: {what}") from error


def _decoded(content: bytes) -> tuple[str, list[str]]:
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return content.decode("utf-16"), []
    told = _ENCODING.match(content.removeprefix(b"\xef\xbb\xbf").lstrip())
    if told:
        return content.decode(told[1].decode()), []
    try:
        return content.decode("utf-8"), []
    except UnicodeDecodeError:
        return content.decode("cp1252"), ["the text is not UTF-8; read as Windows-1252"]


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _origins(tree: Tree, read: list[_Annotation]) -> dict[Path, bool]:
    """Folder -> whether its files count pixels from 0, with the lower ends exclusive.

    VOC counts from 1 and includes the last pixel. VoTT does not, and any corner below 1 or between
    pixels tells the same of all files of the folder.
    """
    found = defaultdict(bool)
    for annotation in read:
        found[annotation.path.parent] |= annotation.counts_from_0
    for folder, from_0 in found.items():
        what = "0, the last one excluded" if from_0 else "1, the last one included"
        _log.info("%s/: pixels are counted from %s", tree.name(folder), what)
    return found


def _drawing(name: str, annotation: _Annotation, from_0: bool) -> Drawing:
    size = told_size(annotation.text("size/height"), annotation.text("size/width"))
    drawing = Drawing(annotation.path, name, size, repaired=annotation.repaired)

    def box(entry: dict[str, str], where: str) -> DrawnBox:
        edges = [_number(entry[key]) for key in _CORNERS]
        if None in edges:
            shown = " ".join(f"{key}={entry[key]!r}" for key in _CORNERS)
            raise ValueError(f"expected a bndbox of four numbers. Received: {shown}")
        if not from_0:
            low, high = sorted(edges[::2]), sorted(edges[1::2])
            swapped = low != edges[::2] or high != edges[1::2]
            # Put in order before the last pixel is included; `upright_boxes` will not see it.
            edges = [low[0] - 1, high[0] - 1, low[1], high[1]]
            if swapped:
                note = ("edges exchanged: the lower end came first",)
                return DrawnBox(entry["name"], tuple(edges), where, difficult, repaired=note)
        return DrawnBox(entry["name"], tuple(edges), where, difficult)

    for number, entry in enumerate(annotation.objects, start=1):
        where, difficult = f"object {number}", entry["difficult"] == "1"
        drawing.add(where, partial(box, entry, where))
    return drawing


# ---- which image -------------------------------------------------------------------------------


class _Images:
    """Finds the image of an annotation, by the names that VoTT makes of it too."""

    _KEYS = (
        lambda name: name,
        lambda name: name.rpartition(".")[0],
        lambda name: name[:-4],  # VoTT 1: of x.jpeg remains "x."
        lambda name: name[:-4].replace(".", "", 1),  # VoTT 1.7
    )

    def __init__(self, images: Iterable[Path]):
        self._tables = [defaultdict(list) for _ in self._KEYS]
        for image in images:
            for table, key in zip(self._tables, self._KEYS, strict=True):
                table[key(normal(image.name))].append(image)

    def of(self, annotation: _Annotation) -> tuple[list[Path], list[str]]:
        """The images of an annotation, and what had to be put right; its `path` is not used,
        which tells of another machine or another folder."""
        listed = annotation.text("filename").replace("\\", "/").rsplit("/", 1)[-1]
        own = self.named(annotation.path.stem, annotation.path)
        told = self.named(listed, annotation.path) if listed else []
        if len(own) > 1 and len(told) == 1 and told[0] in own:
            return told, []
        if len(own) == 1 and told and own[0] not in told:
            return own, [f"its image is {own[0].name}, not filename. Received: {listed!r}"]
        return own or told, []

    def named(self, name: str, source: Path) -> list[Path]:
        """The images that a name means, those that lie nearest to `source`."""
        for table in self._tables:
            if images := table.get(normal(name)):
                return nearest(images, source)
        return []


# ---- ImageSets -----------------------------------------------------------------------------------


def _read_sets(tree: Tree, found: Found, images: list[Path], read: list[_Annotation]) -> None:
    """Splits from `ImageSets/Main/*_train.txt` and the like, beside the folder of annotations.

    The boxes tell what an image shows, so the flags 1 and -1 of a line do not count, nor does a
    line that is there twice. Of an image in several sets only the rarest use is safe: test, then
    val, then train.
    """
    roots = {annotation.path.parent.parent for annotation in read}
    for root in sorted(roots):
        folders = [f for f in (root / "ImageSets/Main", root / "ImageSets") if f.is_dir()]
        lists = {
            path: split
            for path in (sorted(folders[0].glob("*.txt")) if folders else ())
            if (split := split_word(path.stem.rpartition("_")[2]))
        }
        if not lists:
            continue
        found.split_source = "ImageSets"
        imgs = _Images(image for image in images if image.is_relative_to(root))
        members = defaultdict(dict)
        lost = set()
        for path, split in lists.items():
            _read_set(tree, found, path, split, imgs, members, lost)
        for image, splits in members.items():
            split = next(s for s in reversed(SPLITS) if s in splits)
            found.splits[image] = split
            if len(splits) > 1:
                both = " and ".join(sorted(splits))
                found.repaired.append((tree.name(image), f"in {both} of ImageSets; {split} counts"))


def _read_set(tree, found, path: Path, split: str, imgs: _Images, members, lost) -> None:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = f"expected a list of images. Received: {error}"
        found.skips.append(Skip(tree.name(path), reason, split))
        return
    flags = defaultdict(Counter)
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
                found.skips.append(Skip(name, what or "row of ImageSets without image", split))
            lost.add(names[-1][0])
            continue
        members[images[0]].setdefault(split, path)
        flags[images[0]][flag] += 1
    several = [image for image, counts in flags.items() if len(counts) > 1]
    if several:
        found.repaired.append(
            (
                tree.name(path),
                "images listed with 1 and with -1; their boxes tell. "
                f"Received: {several[0].name} and {len(several) - 1} more",
            )
        )
