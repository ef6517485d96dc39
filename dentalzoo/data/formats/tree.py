"""How folders of images and masks are laid out: what belongs together, and to which split."""

import csv
import logging
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from dentalzoo.data.io.images import IMAGE_SUFFIXES, natural_key
from dentalzoo.errors import BadFile, DentalzooError

_log = logging.getLogger("dentalzoo")

SPLITS = ("train", "val", "test")
UNDERSTOOD = (
    "images/ beside masks/ (also <split>/<split>_images and <split>/<split>_mask), x.jpg beside "
    "x_mask.png or x.jpg_mask.png, or *annotations.coco.json with the images"
)

_SPLIT_WORDS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
_IMAGES = re.compile(r"(.*?)[ _-]?(images?|imgs?)", re.IGNORECASE)
_MASKS = re.compile(r"(.*?)[ _-]?(masks?|labels?)", re.IGNORECASE)
_MASK_STEM = re.compile(r"(.+?)[ _-]masks?", re.IGNORECASE)
_RECORDS = re.compile(r".+\.(tf)?records?(-\d+-of-\d+)?", re.IGNORECASE)
_NOTES = frozenset((".xml", ".json", ".vott", ".pbtxt"))
_MAX_DEPTH = 5  # the deepest layout known has 4: <download>/<data set>/<split>/<split>_images
_MAX_FOLDERS = 10_000  # beyond it the path is a mistake, such as a home folder


@dataclass(frozen=True)
class Folder:
    """A folder that holds images."""

    path: Path
    role: str  # "images", "masks" or ""
    key: tuple[str, ...]  # the same for a folder of images and its folder of masks
    split: str  # of SPLITS, or ""
    images: list[Path]


@dataclass(frozen=True)
class Tree:
    """What a data set's folder holds, before anything is paired."""

    root: Path
    folders: list[Folder]
    coco: list[Path]  # *annotations.coco.json
    split_csv: Path | None
    unreadable: list[Path]  # named like images: broken links and folders
    notes: list[Path] = field(default_factory=list)  # other files that may hold annotations
    records: list[Path] = field(default_factory=list)  # TFRecord files

    @cached_property
    def images_by_name(self) -> dict[str, list[tuple[Path, Folder]]]:
        """File name -> the images of that name that are no masks."""
        found = defaultdict(list)
        for folder in self.folders:
            for image in folder.images if folder.role != "masks" else ():
                found[normal(image.name)].append((image, folder))
        return found

    def name(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()

    def seen(self) -> str:
        """One phrase for error messages."""
        folders = [f"{self.name(f.path)}/ ({len(f.images)} images)" for f in self.folders]
        files = [self.name(path) for path in (*self.coco, *self.records)]
        listed = folders[:6] + files[:3]
        more = len(folders) + len(files) - len(listed)
        return (", ".join(listed) or "no image at all") + (f" and {more} more" if more else "")


@dataclass(frozen=True)
class Skip:
    """A file or a row that takes no part, and why."""

    name: str
    reason: str
    split: str = ""


def split_word(text: str) -> str:
    """The split a name tells of ("valid_images", "Update_Test"), or "" for none or several."""
    words = {_SPLIT_WORDS[w] for w in re.findall("[a-z]+", text.lower()) if w in _SPLIT_WORDS}
    return words.pop() if len(words) == 1 else ""


def scan(root: Path, depth: int = _MAX_DEPTH) -> Tree:
    """Walks `root`, `depth` folders deep and without hidden ones, and sorts what it holds."""
    if not root.is_dir():
        what = "a file" if root.exists() else "no such folder"
        raise DentalzooError(f"{root}: expected a data folder with {UNDERSTOOD}. Received: {what}")
    folders, coco, unreadable, notes, records = [], [], [], [], []
    waiting, visited = [(root, depth)], set()
    while waiting:
        path, deeper = waiting.pop(0)
        real = path.resolve()
        if real in visited:  # a link back up
            continue
        visited.add(real)
        if len(visited) > _MAX_FOLDERS:
            raise DentalzooError(
                f"{root}: expected one data set with {UNDERSTOOD}. "
                f"Received: more than {_MAX_FOLDERS:,} folders"
            )
        images = []
        for entry in sorted(path.iterdir(), key=natural_key):
            if entry.name.startswith((".", "__MACOSX")):
                continue
            if entry.suffix.lower() in IMAGE_SUFFIXES:
                (images if entry.is_file() else unreadable).append(entry)
            elif entry.is_dir():
                if deeper:
                    waiting.append((entry, deeper - 1))
            elif entry.name.lower().endswith("annotations.coco.json"):
                coco.append(entry)
            elif entry.suffix.lower() in _NOTES:
                notes.append(entry)
            elif _RECORDS.fullmatch(entry.name):
                records.append(entry)
        if images:
            role, key = _role(path.relative_to(root).parts)
            folders.append(Folder(path, role, key, split_of(root, path), images))
    split_csv = root / "split.csv"
    split_csv = split_csv if split_csv.is_file() else None
    return Tree(root, folders, coco, split_csv, unreadable, notes, records)


def _role(parts: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    for i in reversed(range(len(parts))):
        for role, pattern in (("images", _IMAGES), ("masks", _MASKS)):
            if match := pattern.fullmatch(parts[i]):
                return role, (*parts[:i], match[1].lower() + "*", *parts[i + 1 :])
    return "", (*parts, "*")


def split_of(root: Path, path: Path) -> str:
    """The split that the folder `path` or the nearest one above it tells of, below `root`."""
    parts = path.relative_to(root).parts
    return next((word for part in reversed(parts) if (word := split_word(part))), "")


def coco_split(tree: Tree, path: Path) -> str:
    """The split of an annotation file: of its own name, else of its folder."""
    return split_word(path.name) or split_of(tree.root, path.parent)


def pair_folders(
    tree: Tree, masks_needed: bool = True
) -> tuple[list[tuple[Path, Path, str]], list[Skip]]:
    """Pairs images with masks as (image, mask, split); whatever finds no partner is a skip, images
    only where masks are needed."""
    images, masks, pairs, skips = {}, {}, [], []
    for folder in tree.folders:
        (masks if folder.role == "masks" else images)[folder.path] = folder
    for mask_folder in masks.values():
        same_key = [f for f in images.values() if f.key == mask_folder.key]
        partners = [f for f in same_key if f.role] or same_key
        split = next((f.split for f in partners if f.split), mask_folder.split)
        imgs = [image for f in partners for image in images.pop(f.path).images]
        _pair(tree, imgs, mask_folder.images, split, pairs, skips)
    for folder in images.values():
        beside = [p for p in folder.images if _MASK_STEM.fullmatch(p.stem)]
        rest = [p for p in folder.images if not _MASK_STEM.fullmatch(p.stem)]
        if beside and rest:
            _pair(tree, rest, beside, folder.split, pairs, skips)
        elif masks_needed:
            skips += unused(tree, folder, folder.images, "image without mask")
    return pairs, skips


def unused(tree: Tree, folder: Folder, images: list[Path], reason: str) -> list[Skip]:
    """Skips for `images`; a folder that is called neither images nor after a split, and of which
    nothing is used, holds something else: previews, results, other annotations."""
    if not folder.role and not folder.split and len(images) == len(folder.images):
        _log.info("%s/: %d images, not used", tree.name(folder.path), len(images))
        return []
    return [Skip(tree.name(image), reason, folder.split) for image in images]


def _pair(tree, images, masks, split, pairs, skips) -> None:
    by_name, by_stem = {}, defaultdict(list)
    for image in images:
        by_name[normal(image.name)] = image
        by_stem[normal(image.stem)].append(image)
    claims = defaultdict(list)
    for mask in masks:
        stem = normal(mask.stem)
        match = _MASK_STEM.fullmatch(stem)
        for text in (stem, match[1] if match else ""):
            owners = [by_name[text]] if text in by_name else by_stem.get(text, [])
            if owners:
                break
        if len(owners) == 1:
            claims[owners[0]].append(mask)
        elif owners:
            names = " and ".join(image.name for image in owners)
            skips.append(Skip(tree.name(mask), f"mask of both {names}", split))
        else:
            skips.append(Skip(tree.name(mask), "mask without image", split))
    for image in images:
        if len(claims[image]) == 1:
            pairs.append((image, claims[image][0], split))
        elif claims[image]:
            names = " and ".join(mask.name for mask in claims[image])
            skips.append(Skip(tree.name(image), f"image with several masks: {names}", split))
        else:
            skips.append(Skip(tree.name(image), "image without mask", split))


def normal(name: str) -> str:
    """One spelling for names that look alike: some file systems decompose accents."""
    return unicodedata.normalize("NFC", name)


def find_image(tree: Tree, source: Path, file_name: str, split: str) -> list[tuple[Path, Folder]]:
    """The files an annotation file may mean by `file_name`; never one outside the data folder."""
    file_name = file_name.replace("\\", "/")
    found = tree.images_by_name.get(normal(file_name.rsplit("/", 1)[-1]), [])
    for fits in (
        lambda image, folder: image == source.parent / file_name,
        lambda image, folder: folder.path == source.parent,
        lambda image, folder: split and folder.split == split,
        lambda image, folder: not split or not folder.split,
    ):
        if best := [pair for pair in found if fits(*pair)]:
            return [pair for pair in best if pair[1].role] or best
    return []


def read_splits(path: Path) -> dict[str, str]:
    """Reads `split.csv`, the columns "id" (or "file", "name", "image") and "split".

    Returns:
        id -> one of `SPLITS`.

    Raises:
        BadFile: a column is missing, a split has no known name, or an id is in two splits.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise BadFile(path, f"expected UTF-8 text. Received: {error}") from error
    lines = text.splitlines()
    delimiter = ";" if lines and ";" in lines[0] and "," not in lines[0] else ","
    rows = csv.DictReader(lines, delimiter=delimiter)
    header = {(name or "").strip().lower(): name for name in rows.fieldnames or ()}
    column = next((header[n] for n in ("id", "file", "name", "image") if n in header), None)
    if column is None or "split" not in header:
        raise BadFile(path, f"expected the header id,split. Received: {(lines or [''])[0][:80]!r}")
    splits: dict[str, str] = {}
    for number, row in enumerate(rows, start=2):
        name, word = (row[column] or "").strip(), (row[header["split"]] or "").strip()
        if not name:
            continue
        split = split_word(word)
        if not split:
            raise BadFile(path, f"line {number}: a split is one of {SPLITS}. Received: {word!r}")
        if splits.setdefault(normal(name), split) != split:
            raise BadFile(
                path,
                f"line {number}: {name!r} may be in one split. Received: {splits[name]}, {split}",
            )
    return splits


def split_row(image: Path, rows: Iterable[str]) -> str | None:
    """The row of `split.csv` that means `image`: by its name, or by its stem."""
    return next((n for n in (normal(image.name), normal(image.stem)) if n in rows), None)
