"""Pictures with or without masks, whole or cut to single teeth and defects: finds and loads them.

docs/data_formats.md has the layouts and rules. Pictures of one group (copies, views of one
defect, crops of one photograph) never lie in two splits.
"""

import csv
import hashlib
import logging
import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from tqdm import tqdm

from dentalzoo.data import layouts, masks
from dentalzoo.data.crops import (
    Box,
    blob_regions,
    class_names,
    drawn_regions,
    square,
    yolo_regions,
)
from dentalzoo.data.images import read_image, resize
from dentalzoo.data.layouts import SPLITS, Folder, Skip, Tree
from dentalzoo.errors import BadFile, DentalzooError, MissingSplit

_log = logging.getLogger("dentalzoo")

CROPS = (None, "boundaries", "boxes", "masks")
_UNDERSTOOD = {
    None: "a folder of pictures, images/ (with masks/ beside it), or train/ and val/ folders",
    "boundaries": "images/ beside a folder *boundary/ of the same names with white lines on black",
    "boxes": "images/ beside labels/*.txt (YOLO), or *annotations.coco.json with the pictures",
    "masks": "images/ beside masks/",
}
_BOUNDARY = re.compile(r"(.*?)[ _-]?(boundary|boundaries)", re.IGNORECASE)
_GROUP_COLUMNS = ("near_dup_group", "group", "patient")
_ID_COLUMNS = ("id", "file", "name", "image")


@dataclass(frozen=True)
class Picture:
    """A picture, or a window of one.

    Attributes:
        name: unique in its data set.
        window: top, left, bottom, right in pixels of the upright picture; None for all of it.
        group: what it must not be parted from: pictures of one group lie in one split.
        label: what it shows, where the data tell: a folder's, a class's or a defect's name.
        split: "train", "val", "test" or "".
    """

    name: str
    image: Path
    window: Box | None = None
    mask: Path | None = None
    group: str = ""
    label: str = ""
    split: str = ""


@dataclass(frozen=True)
class PictureDataset:
    """What was found. `skipped` lists (file, row or line, reason) of all that takes no part."""

    samples: list[Picture]
    skipped: list[tuple[str, str]] = ()

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def fingerprint(self) -> tuple:
        """What decoded pictures depend on: names, windows, and size and time of every file."""
        return tuple(
            (s.name, s.window, *(_stamp(path) for path in (s.image, s.mask) if path))
            for s in self.samples
        )


@dataclass(frozen=True)
class _Entry:
    """A picture file. `partner` is its mask, its drawing of boundaries or its file of boxes."""

    image: Path
    folder: Folder
    partner: Path | None
    name: str = ""
    group: str = ""
    label: str = ""
    split: str = ""


def find_pictures(
    data_dir: str | Path,
    split: str | None = None,
    *,
    crops: str | None = None,
    margin: float = 1.3,
    window: int | None = None,
    holdout: float = 0.1,
    least: int = 1,
    one_per_picture: bool = False,
) -> PictureDataset:
    """Finds pictures in the layouts of docs/data_formats.md; only with `crops` are they opened.

    Args:
        split: "train", "val" or "test" (or "valid", "validation", "testing", ...); None for all.
        crops: None for whole pictures, with their masks where there are any; else a square window
            around each region that lines enclose ("boundaries"), each box ("boxes", YOLO or COCO)
            or each connected blob of the mask ("masks").
        margin: the side of a window in longer sides of the box.
        window: the side of every window in pixels instead.
        holdout: where neither folders nor `split.csv` tell a split, this part of the groups, by
            the hash of their names, is "val" and the rest "train".
        least: how many pictures of the split are needed.
        one_per_picture: of each mask the largest blob alone.

    Raises:
        DentalzooError: nothing usable is there, or fewer than `least`; the message lists what is
            understood and seen.
        MissingSplit: there are pictures, but none of the split.
        BadFile: `split.csv`, `index.csv` or a list of classes is broken.
    """
    _check_options(crops, margin, window, holdout, least)
    wanted = split and layouts.split_word(split)
    if split is not None and not wanted:
        raise DentalzooError(f"split is one of {SPLITS} or None. Received: {split!r}")
    tree = layouts.scan(Path(data_dir))
    entries, skips = _entries(tree, crops)
    skips += [Skip(tree.name(p), "a folder or a broken link") for p in tree.unreadable]
    if not entries:
        first = f" (the first skipped: {skips[0].name}: {skips[0].reason})" if skips else ""
        raise DentalzooError(
            f"{data_dir}: no usable picture; expected {_UNDERSTOOD[crops]}. "
            f"Received: {tree.seen()}{first}"
        )
    entries, more = _with_splits(tree, _described(tree, entries), holdout)
    skips += more
    if wanted:
        present = Counter(entry.split or "no split" for entry in entries)
        entries = [entry for entry in entries if entry.split == wanted]
        skips = [skip for skip in skips if skip.split in (wanted, "")]
        if not entries:
            raise MissingSplit(
                f"{data_dir}: expected pictures of the split {wanted!r}, from the folders' names, "
                f"from split.csv (id,split) or held out. Received: {dict(present)}, "
                f"holdout={holdout}"
            )
    if crops is None:
        samples = [
            Picture(e.name, e.image, None, e.partner, e.group, e.label, e.split) for e in entries
        ]
    else:
        samples, more = _cut(tree, entries, crops, margin, window, one_per_picture)
        skips += more
    skipped = [(skip.name, skip.reason) for skip in skips]
    masks.report_skipped(skipped)
    if len(samples) < least:
        what = f"of the split {wanted!r} " if wanted else ""
        first = f"; the first skipped: {': '.join(skipped[0])}" if skipped else ""
        raise DentalzooError(
            f"{data_dir}: at least {least} pictures {what}are needed. "
            f"Received: {len(samples)} ({len(skipped)} skipped{first})"
        )
    return PictureDataset(samples, skipped)


def load_picture(sample: Picture, size: tuple[int, int], channels: int) -> dict:
    """Loads a sample at a network's size.

    A pixel of the mask is 1 where the mask covers half of it or more; a blob too thin or small
    for that keeps the pixel it covers most.

    Args:
        size: (height, width).
        channels: 1 or 3.

    Returns:
        "image": (H, W, C) uint8; with `sample.mask`, "mask": (H, W, 1) uint8 of 0 and 1.

    Raises:
        BadFile: a file is unreadable, the mask has another size than its picture or is none, or
            the window lies outside.
    """
    arrays = _native(sample, channels)
    loaded = {"image": resize(arrays["image"], size)}
    if "mask" in arrays:
        loaded["mask"] = _shrink_mask(arrays["mask"][..., 0], size)[..., None]
    return loaded


def _check_options(crops, margin, window, holdout, least) -> None:
    if crops not in CROPS:
        raise DentalzooError(f"crops is one of {CROPS}. Received: {crops!r}")
    if not 1 <= margin <= 100:
        raise DentalzooError(f"margin is a number from 1 to 100. Received: {margin!r}")
    if window is not None and (window != int(window) or window < 1):
        raise DentalzooError(f"window is a number of pixels or None. Received: {window!r}")
    if not 0 <= holdout < 1:
        raise DentalzooError(f"holdout is a part from 0 up to 1. Received: {holdout!r}")
    if least < 1:
        raise DentalzooError(f"least is 1 or more. Received: {least!r}")


# ---- what belongs together -----------------------------------------------------------------------


def _entries(tree: Tree, crops: str | None) -> tuple[list[_Entry], list[Skip]]:
    drawings = [folder for folder in tree.folders if _boundary_key(folder.path, tree.root)]
    tree = replace(tree, folders=[f for f in tree.folders if f not in drawings])
    pairs, pair_skips = layouts.pair_folders(tree)
    skips = [skip for skip in pair_skips if skip.reason != "image without mask"]
    not_pictures = {tree.root / skip.name for skip in skips} | {mask for _, mask, _ in pairs}
    named = any(folder.role == "images" for folder in tree.folders)
    found = []
    for folder in tree.folders:
        pictures = [p for p in folder.pictures if p not in not_pictures]
        if folder.role == "masks":
            continue
        if named and not folder.role and not folder.split:
            layouts.unused(tree, folder, folder.pictures, "not used")
            continue
        found += [_Entry(picture, folder, None) for picture in pictures]
    if crops in (None, "masks"):
        mask_of = {image: mask for image, mask, _ in pairs}
        split_of = {image: split for image, _, split in pairs}
        found = [
            replace(e, partner=mask_of.get(e.image), split=split_of.get(e.image, e.folder.split))
            for e in found
        ]
    elif crops == "boundaries":
        found, more = _with_drawings(tree, found, drawings)
        skips += more
    else:
        found, more = _with_label_files(tree, found)
        skips += more
    if crops is None:
        return found, skips
    what = {"boundaries": "drawing of boundaries", "boxes": "labels", "masks": "mask"}[crops]
    skips += [
        Skip(tree.name(e.image), f"image without {what}", e.split) for e in found if not e.partner
    ]
    return [entry for entry in found if entry.partner], skips


def _boundary_key(path: Path, root: Path) -> tuple[str, ...] | None:
    """The `Folder.key` of the pictures that a folder of drawings belongs to; else None."""
    parts = path.relative_to(root).parts
    for i in reversed(range(len(parts))):
        if match := _BOUNDARY.fullmatch(parts[i]):
            word = match[1].lower() if layouts.split_word(match[1]) else ""
            return (*parts[:i], word + "*", *parts[i + 1 :])
    return None


def _with_drawings(tree, entries, drawings) -> tuple[list[_Entry], list[Skip]]:
    lines, skips, used = defaultdict(dict), [], set()
    for folder in drawings:
        key = _boundary_key(folder.path, tree.root)
        for drawing in folder.pictures:
            other = lines[key].setdefault(layouts.normal(drawing.stem), drawing)
            if other != drawing:
                reason = f"a second drawing beside {other.name}"
                skips.append(Skip(tree.name(drawing), reason, folder.split))
    found = []
    for entry in entries:
        drawing = lines[entry.folder.key].get(layouts.normal(entry.image.stem))
        used.add(drawing)
        found.append(replace(entry, partner=drawing, split=entry.folder.split))
    skips += [
        Skip(tree.name(drawing), "drawing of boundaries without image")
        for drawings_of in lines.values()
        for drawing in drawings_of.values()
        if drawing not in used
    ]
    return found, skips


def _with_label_files(tree, entries) -> tuple[list[_Entry], list[Skip]]:
    found, folders = [], {}
    for entry in entries:
        folder = folders.setdefault(entry.folder.path, _label_folder(tree, entry.folder))
        labels = folder / f"{entry.image.stem}.txt"
        partner = labels if labels.is_file() else None
        found.append(replace(entry, partner=partner, split=entry.folder.split))
    used = {entry.partner for entry in found}
    skips = [
        Skip(tree.name(path), "labels without image")
        for folder in dict.fromkeys(folders.values())
        for path in sorted(folder.glob("*.txt"))
        if path not in used and path.name != "classes.txt" and used != {None}
    ]
    return found, skips


def _label_folder(tree: Tree, folder: Folder) -> Path:
    """labels/ in the place of images/, else the folder itself."""
    parts = folder.path.relative_to(tree.root).parts
    for i in reversed(range(len(parts))):
        for pattern, word in ((r"images?$", "labels"), (r"imgs?$", "labels")):
            name = re.sub(pattern, word, parts[i], flags=re.IGNORECASE)
            path = tree.root.joinpath(*parts[:i], name, *parts[i + 1 :])
            if name != parts[i] and path.is_dir():
                return path
    beside = folder.path.parent / "labels"
    return beside if folder.path != tree.root and beside.is_dir() else folder.path


# ---- names, groups, labels, splits ---------------------------------------------------------------


def _described(tree: Tree, entries: list[_Entry]) -> list[_Entry]:
    """Entries with unique names, and groups and labels from index.csv, defects.csv and folders."""
    stems = Counter(entry.image.stem for entry in entries)
    paths = Counter(entry.image.with_suffix("") for entry in entries)
    tables, described = {}, []
    for entry in entries:
        path = entry.image
        name = path.stem if stems[path.stem] == 1 else tree.name(path.with_suffix(""))
        name = name if paths[path.with_suffix("")] == 1 else tree.name(path)
        place, group = _look_up(tree, path, "index.csv", _GROUP_COLUMNS, tables)
        if group:
            group = f"{place}group {group}"
        else:
            source = path.name.partition(".rf.")[0] if ".rf." in path.name else path.name
            group = tree.name(path.with_name(source))
        _, kind = _look_up(tree, path, "defects.csv", ("kind",), tables)
        described.append(
            replace(entry, name=name, group=group, label=kind or _folder_label(tree, path.parent))
        )
    return described


def _folder_label(tree: Tree, folder: Path) -> str:
    """The nearest folder's name that tells of neither images nor a split: MT_Crack/images."""
    for part in reversed(folder.relative_to(tree.root).parts):
        if not re.search(r"(images?|imgs?)$", part, re.IGNORECASE) and not layouts.split_word(part):
            return part
    return ""


def _look_up(tree: Tree, image: Path, file_name: str, columns, tables) -> tuple[str, str]:
    """(place of the table, value) for a picture from the nearest table above it, else empty."""
    for folder in image.parents:
        path = folder / file_name
        if path not in tables:
            tables[path] = _read_table(path, columns) if path.is_file() else None
        if tables[path] is not None:
            row = layouts.split_row(image, tables[path])
            place = "" if folder == tree.root else f"{tree.name(folder)}/"
            return place, tables[path].get(row, "")
        if folder == tree.root:
            break
    return "", ""


def _read_table(path: Path, columns: Iterable[str]) -> dict[str, str] | None:
    """id -> the first of `columns` that is there; None where the table has no such columns."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise BadFile(path, f"expected UTF-8 text. Received: {error}") from error
    lines = text.splitlines()
    delimiter = ";" if lines and ";" in lines[0] and "," not in lines[0] else ","
    rows = csv.DictReader(lines, delimiter=delimiter)
    header = {(name or "").strip().lower(): name for name in rows.fieldnames or ()}
    key = next((header[name] for name in _ID_COLUMNS if name in header), None)
    column = next((header[name] for name in columns if name in header), None)
    if key is None or column is None:
        return None
    values = {}
    for number, row in enumerate(rows, start=2):
        name, value = (layouts.normal((row[c] or "").strip()) for c in (key, column))
        if name and values.setdefault(name, value) != value:
            raise BadFile(
                path,
                f"line {number}: {name!r} has one {column}. Received: {values[name]!r}, {value!r}",
            )
    return values


def _with_splits(
    tree: Tree, entries: list[_Entry], holdout: float
) -> tuple[list[_Entry], list[Skip]]:
    """Splits from split.csv, else from folders, else held out by group."""
    skips = []
    if tree.split_csv:
        rows = layouts.read_splits(tree.split_csv)
        row_of = {entry.image: layouts.split_row(entry.image, rows) for entry in entries}
        skips += [
            Skip(tree.name(image), "image in no split of split.csv")
            for image, row in row_of.items()
            if row is None
        ]
        unused = set(rows) - set(row_of.values())
        skips += [Skip(r, "row of split.csv without files", rows[r]) for r in sorted(unused)]
        entries = [
            replace(entry, split=rows[row_of[entry.image]])
            for entry in entries
            if row_of[entry.image] is not None
        ]
    elif not any(entry.split for entry in entries):
        kept_aside = _held_out({entry.group for entry in entries}, holdout)
        return [
            replace(entry, split="val" if entry.group in kept_aside else "train")
            for entry in entries
        ], skips
    split_of = {}
    for entry in entries:
        if split_of.setdefault(entry.group, entry.split) != entry.split and ".rf." not in str(
            entry.image
        ):
            raise DentalzooError(
                f"{tree.root}: a group lies in one split; correct split.csv, the folders or "
                f"index.csv. Received: {entry.group!r} in {split_of[entry.group]} and {entry.split}"
            )
    return entries, skips


def _held_out(groups: Iterable[str], part: float) -> set[str]:
    """The part of the groups whose names have the smallest hashes, at least one of several."""
    ordered = sorted(groups, key=lambda g: hashlib.blake2b(layouts.normal(g).encode()).digest())
    count = round(part * len(ordered))
    return set(ordered[: max(count, 1) if part and len(ordered) > 1 else 0])


# ---- windows -------------------------------------------------------------------------------------


def _cut(tree, entries, crops, margin, window, one_per_picture) -> tuple[list[Picture], list[Skip]]:
    names_of, samples, skips = {}, [], []
    for entry in tqdm(entries, "cutting", leave=False, disable=None):
        try:
            if crops == "boxes":
                height, width = read_image(entry.image).shape[:2]
                folder = entry.partner.parent
                if folder not in names_of:
                    names_of[folder] = _class_names(tree, folder)
                regions, bad = yolo_regions(entry.partner, names_of[folder], height, width)
                skips += [
                    Skip(f"{tree.name(entry.partner)}, line {number}", reason, entry.split)
                    for number, reason in bad
                ]
            else:
                pair = masks.MaskSample(entry.name, entry.image, entry.partner)
                drawn = masks.load(pair)["mask"][..., 0]
                height, width = drawn.shape
                if crops == "boundaries":
                    regions = drawn_regions(drawn > 0)
                else:
                    regions = blob_regions(drawn, largest=one_per_picture)
        except BadFile as error:
            skips.append(Skip(tree.name(error.path), error.reason, entry.split))
            continue
        if not regions:
            what = {"boundaries": "closed line", "boxes": "usable box", "masks": "blob"}[crops]
            skips.append(Skip(tree.name(entry.partner), f"no {what} in it", entry.split))
        digits = max(2, len(str(len(regions))))
        samples += [
            Picture(
                f"{entry.name}_{index:0{digits}d}",
                entry.image,
                square(region, height, width, margin, window),
                entry.partner if crops == "masks" else None,
                entry.group,
                region.label or entry.label,
                entry.split,
            )
            for index, region in enumerate(regions, start=1)
        ]
    return samples, skips


def _class_names(tree: Tree, folder: Path) -> list[str] | None:
    """From the nearest list of names at or above a folder of labels."""
    for place in (folder, *folder.parents):
        names = class_names(place)
        if names is not None or place == tree.root:
            return names
    return None


# ---- pixels --------------------------------------------------------------------------------------


def _native(sample: Picture, channels: int | None) -> dict[str, np.ndarray]:
    """The window of a sample at its own resolution: "image" and, where it has one, "mask"."""
    stamps = tuple(_stamp(path) for path in (sample.image, sample.mask) if path)
    arrays = _source(sample.image, sample.mask, channels, stamps)
    if sample.window is None:
        return arrays
    top, left, bottom, right = sample.window
    height, width = arrays["image"].shape[:2]
    if not (0 <= top < bottom <= height and 0 <= left < right <= width):
        raise BadFile(
            sample.image,
            f"the window {sample.window} lies outside; was the picture changed? "
            f"Received: {width} x {height} (width x height)",
        )
    return {key: np.ascontiguousarray(a[top:bottom, left:right]) for key, a in arrays.items()}


@lru_cache(maxsize=2)  # the crops of a picture follow each other, and two threads read ahead
def _source(image: Path, mask: Path | None, channels: int | None, stamps) -> dict[str, np.ndarray]:
    if mask is None:
        return {"image": read_image(image, channels)}
    loaded = masks.load(masks.MaskSample(image.stem, image, mask), channels=channels)
    return {"image": loaded["image"], "mask": loaded["mask"]}


def _stamp(path: Path) -> tuple:
    try:
        status = path.stat()
    except OSError:  # told when it is read
        return str(path), None, None
    return str(path), status.st_size, status.st_mtime_ns


def _shrink_mask(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(h, w) of 0 and 1 -> `size`: covered by half or more; of every blob at least one pixel."""
    small = (_cover(mask, size) >= 0.5).astype(np.uint8)
    count, labels = cv2.connectedComponents(mask, connectivity=8)
    for blob in range(1, count):
        cover = _cover((labels == blob).astype(np.uint8), size)
        if not small[cover > 0].any():
            small.flat[int(cover.argmax())] = 1
    return small


def _cover(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The part of each pixel of `size` that a mask of 0 and 1 covers, float32."""
    picture = Image.fromarray(mask.astype(np.float32))
    return np.asarray(picture.resize(size[::-1], Image.Resampling.BOX))
