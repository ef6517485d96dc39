"""Images with boxes: finds them as YOLO, COCO, PASCAL VOC, VoTT or TFRecord keep them, and loads
them.

docs/data_formats.md has the layouts and rules. What is wrong with a box is put right by a rule and
listed in `repaired`, or the box is left out and listed in `skipped`.
"""

import logging
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from dentalzoo.atomic import stamp
from dentalzoo.data import masks
from dentalzoo.data.duplicates import fingerprint, report_duplicates
from dentalzoo.data.formats import tree as layouts
from dentalzoo.data.formats.annotations import Box as Box
from dentalzoo.data.formats.annotations import BoxSample as BoxSample
from dentalzoo.data.formats.annotations import Classes, Found, read_labels, upright_boxes
from dentalzoo.data.formats.image_files import (
    FileEntry,
    describe,
    find_files,
    of_split,
    split_files,
)
from dentalzoo.data.formats.tfrecord import read_records
from dentalzoo.data.formats.tree import SPLITS, Skip, Tree
from dentalzoo.data.formats.voc import read_voc
from dentalzoo.data.formats.vott import read_vott
from dentalzoo.data.io.images import read_image
from dentalzoo.errors import BadFile, DentalzooError

_log = logging.getLogger("dentalzoo")

_UNDERSTOOD = (
    "images/ beside labels/*.txt (YOLO), *annotations.coco.json, Annotations/*.xml beside "
    "JPEGImages/ (PASCAL VOC), or VoTT's JSON files, with the images; or *.tfrecord"
)


@dataclass
class BoxDataset:
    """What was found. The id of `classes[i]` is i + 1; 0 is background.

    Attributes:
        skipped: (file, row or box, reason) of all that takes no part.
        repaired: (file, row or box, what) of all that was put right.
        form: "YOLO", "COCO", "VOC", "VoTT" or "TFRecord".
    """

    samples: list[BoxSample]
    classes: tuple[str, ...]
    skipped: list[tuple[str, str]] = field(default_factory=list)
    repaired: list[tuple[str, str]] = field(default_factory=list)
    form: str = ""

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def fingerprint(self) -> tuple:
        """What loaded samples depend on: classes, names, boxes, and size and time of images."""
        samples = ((s.name, s.split, s.boxes, *stamp(s.image)) for s in self.samples)
        return self.classes, *samples


def find_boxes(
    data_dir: str | Path,
    split: str | None = None,
    *,
    classes: Sequence[str] | None = None,
    val_fraction: float = 0.1,
) -> BoxDataset:
    """Finds images with boxes in the layouts of docs/data_formats.md.

    Of the images the headers are read, for their sizes. An image that was looked at and shows
    nothing is a sample without boxes; one that nobody looked at is skipped, and so is one whose
    boxes are all unusable.

    Args:
        split: "train", "val" or "test" (or "valid", "validation", "testing", ...); None for all.
        classes: the names of the ids 1..n. None takes those of the label map, else all labels,
            sorted. Boxes of other classes of the data are left out, with a line in the log.
        val_fraction: where neither `split.csv` nor ImageSets nor folders tell a split, this part of
            the groups, by the hash of their names, is "val" and the rest "train".

    Raises:
        DentalzooError: nothing usable is there, or none of `classes`; the message lists what is
            understood and seen.
        MissingSplit: there are images, but none of the split.
        BadFile: `split.csv`, a label map or a COCO file is broken.
    """
    wanted = split and layouts.split_word(split)
    if split is not None and not wanted:
        raise DentalzooError(f"split is one of {SPLITS} or None. Received: {split!r}")
    if not 0 <= val_fraction < 1:
        raise DentalzooError(
            f"val_fraction is at least 0 and less than 1. Received: {val_fraction!r}"
        )
    names = masks.checked_classes(classes)
    tree = layouts.scan(Path(data_dir))
    form, found, files = _read(tree)
    skips = found.skips + [Skip(tree.name(p), "a folder or a broken link") for p in tree.unreadable]
    drawn = [file for file in files if file.image in found.drawings]
    if not drawn:
        first = f"; the first skipped: {skips[0].name}: {skips[0].reason}" if skips else ""
        raise DentalzooError(
            f"{data_dir}: no image with boxes; expected {_UNDERSTOOD}. "
            f"Received: {tree.seen()}{first}"
        )
    for folder in {file.folder.path: file.folder for file in files}.values():
        told = found.drawings.keys() | found.refused
        alone = [f.image for f in files if f.folder is folder and f.image not in told]
        skips += layouts.unused(tree, folder, alone, "image without boxes")
    if found.splits:
        drawn = [replace(file, split=found.splits.get(file.image, file.split)) for file in drawn]
    drawn = describe(tree, drawn)
    drawn, skips = split_files(
        tree, drawn, skips, val_fraction, found.split_source or "the folders' names"
    )
    if wanted:
        drawn, skips = of_split(tree, drawn, skips, wanted, val_fraction)
    chosen = Classes(found.names, names, found.drawings.values())
    _check_names(data_dir, chosen)
    dataset = BoxDataset([], chosen.names, [(s.name, s.reason) for s in skips], [], form)
    dataset.repaired += found.repaired
    _fill(tree, dataset, drawn, found, chosen)
    masks.report_skipped(dataset.skipped)
    masks.report_skipped(dataset.repaired, "repaired")
    if not dataset.samples:
        first = ": ".join(dataset.skipped[0]) if dataset.skipped else "images without a box file"
        raise DentalzooError(
            f"{data_dir}: none of {len(drawn)} images with boxes can be used. Received: {first}"
        )
    return dataset


def load_boxes(sample: BoxSample, classes: Sequence[str], channels: int = 3) -> dict:
    """Loads a sample.

    Args:
        classes: of its `BoxDataset`.
        channels: 1 or 3.

    Returns:
        "image": (H, W, C) uint8, upright; "boxes": (N, 4) float32 of top, left, bottom, right in
        [0, 1]; "labels": (N,) int32 from 1; "difficult" and "crowd": (N,) bool.

    Raises:
        BadFile: the image cannot be read.
        DentalzooError: a box is of no class of `classes`.
    """
    ids = {name: number for number, name in enumerate(classes, start=1)}
    unknown = [box.label for box in sample.boxes if box.label not in ids]
    if unknown:
        raise DentalzooError(
            f"{sample.name}: expected boxes of the classes {tuple(classes)}. "
            f"Received: {unknown[0]!r}"
        )
    edges = [(box.top, box.left, box.bottom, box.right) for box in sample.boxes]
    return {
        "image": read_image(sample.image, channels),
        "boxes": np.array(edges, np.float32).reshape(-1, 4),
        "labels": np.array([ids[box.label] for box in sample.boxes], np.int32),
        "difficult": np.array([box.difficult for box in sample.boxes], bool),
        "crowd": np.array([box.crowd for box in sample.boxes], bool),
    }


def check_boxes(
    data_dir: str | Path, split: str | None = None, *, classes: Sequence[str] | None = None
) -> dict:
    """Reads every image once and says what is wrong, for `dentalzoo check --boxes`.

    Returns:
        "data", "form", "usable" (number of images), the number of each split, "groups" (their
        number), "without_boxes" (number of images), "boxes" (number of each class); "skipped"
        [name, reason], "repaired" [name, what], "duplicates" [name, name, kind and splits] between
        splits, and "duplicates_within" [name, name, kind and split] of different groups, or of the
        same pixels; all four empty where nothing is wrong. All of it fits into JSON.

    Raises:
        DentalzooError: as `find_boxes`; or no image can be read.
    """
    found = find_boxes(data_dir, split, classes=classes)
    prints, bad, good = defaultdict(dict), [], []
    for sample in tqdm(found.samples, "reading", leave=False, disable=None):
        try:
            prints[sample.split][sample.name] = fingerprint(read_image(sample.image))
        except BadFile as error:
            bad.append((sample.name, error.reason))
            continue
        good.append(sample)
    masks.report_skipped(bad)
    if not good:
        raise DentalzooError(
            f"{data_dir}: none of {len(found)} images can be used. Received: {bad[0][1]}"
        )
    across, within = report_duplicates(prints, {sample.name: sample.group for sample in good})
    count = Counter(box.label for sample in good for box in sample.boxes)
    return {
        "data": str(data_dir),
        "form": found.form,
        "usable": len(good),
        **{name: len(prints[name]) for name in SPLITS if prints[name]},
        "groups": len({sample.group for sample in good}),
        "without_boxes": sum(not sample.boxes for sample in good),
        "boxes": {name: count[name] for name in found.classes},
        "skipped": [list(pair) for pair in (*found.skipped, *bad)],
        "repaired": [list(pair) for pair in found.repaired],
        "duplicates": across,
        "duplicates_within": within,
    }


def _read(tree: Tree) -> tuple[str, Found, list[FileEntry]]:
    """The first format that draws an image: its name, what it draws, and all images."""
    files, skips = find_files(tree, "boxes")
    if files:
        form = "COCO" if files[0].boxes else "YOLO"
        found = read_labels(tree, files)
        found.skips += skips
        if form == "YOLO" and tree.coco:
            _log.info("labels are used and COCO files are not")
        return form, found, files
    lost = skips if tree.coco else []
    files, _ = find_files(tree, None)
    for form, read in (("VOC", read_voc), ("VoTT", read_vott)):
        found = read(tree, files)
        if found.drawings:
            return form, found, files
        lost = lost + found.skips
    if tree.records:
        found, files = read_records(tree)
        if found.drawings:
            return "TFRecord", found, files
        lost = lost + found.skips
    return "", Found(skips=lost), files


def _check_names(data_dir, chosen: Classes) -> None:
    missing = [name for name in chosen.names if name not in chosen.known]
    if len(missing) == len(chosen.names):
        raise DentalzooError(
            f"{data_dir}: expected classes among those of the data, {', '.join(chosen.known)}. "
            f"Received: {', '.join(chosen.names) or 'no class at all'}"
        )
    if missing:
        _log.warning("%s: the data has no class %s", data_dir, ", ".join(missing))


def _fill(tree: Tree, dataset: BoxDataset, files, found: Found, chosen: Classes) -> None:
    """Makes a sample of each image, or says why not."""
    left_out = Counter()
    for file in tqdm(files, "checking boxes", leave=False, disable=None):
        drawing = found.drawings[file.image]
        try:
            made = upright_boxes(file.image, drawing, chosen)
        except BadFile as error:
            name = tree.name(file.image) if error.path == file.image else drawing.name
            dataset.skipped.append((name, error.reason))
            continue
        left_out.update(made.left_out)
        for listed, entries in ((dataset.skipped, made.bad), (dataset.repaired, made.repaired)):
            listed += [
                (f"{drawing.name}, {where}" if where else drawing.name, what)
                for where, what in entries
            ]
        if made.bad and not made.boxes and not made.left_out:
            reason = f"none of its {len(made.bad)} boxes can be used"
            dataset.skipped.append((drawing.name, reason))
            continue
        dataset.samples.append(
            BoxSample(file.name, file.image, tuple(made.boxes), file.group, file.split)
        )
    if left_out:
        counts = ", ".join(f"{name} ({count} boxes)" for name, count in sorted(left_out.items()))
        _log.info("classes left out: %s", counts)
