"""Images with boxes: find them in any format of `dentalzoo.data.formats`, load and check them.

docs/data_formats.md has the layouts and rules. A box that breaks a rule is corrected and listed in
`repaired`, or left out and listed in `skipped`.
"""

import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from dentalzoo.atomic import stamp
from dentalzoo.data.box_findings import box_findings
from dentalzoo.data.box_values import suspicious_boxes
from dentalzoo.data.duplicates import PerceptualHash, perceptual_hash, report_duplicates
from dentalzoo.data.formats import read_annotations, unread
from dentalzoo.data.formats.base import Box as Box
from dentalzoo.data.formats.base import BoxSample as BoxSample
from dentalzoo.data.formats.base import (
    ParsedAnnotations,
    check_class_names,
    notice_once,
    report_skipped,
)
from dentalzoo.data.formats.rules import Classes, check_order, normalize_boxes
from dentalzoo.data.formats.splits import (
    check_split,
    check_val_fraction,
    describe,
    select_split,
    split_files,
)
from dentalzoo.data.formats.tfrecord import RecordReport, check_settings, write_shards
from dentalzoo.data.formats.tree import SPLITS, FileEntry, Skip, Tree, scan, skip_alone
from dentalzoo.data.formats.unused import find_unused, report_unused
from dentalzoo.data.io.grey_levels import nothing_to_see
from dentalzoo.data.io.images import read_image
from dentalzoo.data.pipeline.prefetch import for_each
from dentalzoo.data.privacy import check_privacy
from dentalzoo.errors import BadFile, DentalzooError

_log = logging.getLogger("dentalzoo")

_UNDERSTOOD = (
    "images/ beside labels/*.txt (YOLO), COCO JSON of any name, Annotations/*.xml beside "
    "JPEGImages/ (PASCAL VOC), or files of VoTT, LabelMe, Label Studio, CVAT or Supervisely, with "
    "the images; or *.tfrecord"
)


@dataclass
class BoxDataset:
    """Images with boxes. The id of `classes[i]` is i + 1; 0 is background.

    Attributes:
        samples: the images.
        classes: the names of the ids 1..n.
        skipped: (file, row or box, reason) of everything that is not used.
        repaired: (file, row or box, what) of everything that was corrected.
        format: the name of the annotation format, such as "YOLO".
        category_ids: class -> its id in COCO files; empty for other formats, and where files
            contradict each other.
        image_ids: name of a sample -> its id in COCO files; empty where `category_ids` would be.
        unused: (what, reason) of everything else in the folder that is not used.
        dropped: phrases for what the files have and no sample can hold.
    """

    samples: list[BoxSample]
    classes: tuple[str, ...]
    skipped: list[tuple[str, str]] = field(default_factory=list)
    repaired: list[tuple[str, str]] = field(default_factory=list)
    format: str = ""
    category_ids: dict[str, int | str] = field(default_factory=dict)
    image_ids: dict[str, int | str] = field(default_factory=dict)
    unused: list[tuple[str, str]] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def cache_key(self) -> tuple[object, ...]:
        """Everything that loaded samples depend on: classes, boxes, size and time of images."""
        samples = ((s.name, s.split, s.boxes, *stamp(s.image)) for s in self.samples)
        return self.classes, *samples


def find_boxes(
    data_dir: str | Path,
    split: str | None = None,
    *,
    classes: Sequence[str] | None = None,
    val_fraction: float | None = 0.1,
    outlines: bool = False,
) -> BoxDataset:
    """Find images with boxes in the layouts of docs/data_formats.md.

    Of each image the header is read, for its size. An image that was annotated and shows nothing
    is a sample without boxes; an image without annotation is skipped, and so is one whose boxes
    are all unusable.

    Args:
        data_dir: the data folder.
        split: "train", "val" or "test" (or "valid", "validation", "testing", ...); None for all.
        classes: the names of the ids 1..n. None takes those of the label map, else all labels,
            sorted. A tooth goes by its number, "11 - Central Incisor" as "11". Boxes of other
            classes of the data are left out, with a line in the log.
        val_fraction: where neither `split.csv` nor ImageSets nor folders name a split, this part
            of the groups, by the hash of their names, is "val" and the rest "train"; None leaves
            the split of all of them "".
        outlines: keep the outlines of objects, which converting needs and training does not.

    Raises:
        DentalzooError: nothing usable is there, or none of `classes`; the message lists what is
            understood and what is there.
        MissingSplit: there are images, but none of the split.
        BadFile: `split.csv`, a label map or a COCO file is broken.
    """
    chosen = check_split(split)
    check_val_fraction(val_fraction)
    names = check_class_names(classes)
    tree = scan(Path(data_dir))
    form, parsed = read_annotations(tree, "boxes")
    skips = parsed.skips + [
        Skip(tree.name(p), "a folder or a broken link") for p in tree.unreadable
    ]
    files = [file for file in parsed.images if file.path in parsed.annotations]
    if not files:
        first = f"; the first skipped: {skips[0].name}: {skips[0].reason}" if skips else ""
        raise DentalzooError(
            f"{data_dir}: no image with boxes; {unread(tree, 'boxes')}expected {_UNDERSTOOD}. "
            f"Received: {tree.summary()}{first}"
        )
    in_pixels = [one for one in parsed.annotations.values() if one.unit == "pixels"]
    check_order(data_dir, ((one.size, [b.edges for b in one.boxes]) for one in in_pixels))
    skips += _without_boxes(tree, parsed)
    files = [replace(file, split=parsed.splits.get(file.path, file.split)) for file in files]
    files = describe(tree, files)
    where = parsed.split_source or "the folders' names"
    files, skips = split_files(tree, files, skips, val_fraction, where)
    unused = find_unused(tree, files, skips, parsed)
    report_unused(tree, unused)
    if chosen:
        files, skips = select_split(tree, files, skips, chosen, val_fraction)
    kept = Classes(parsed.classes, names, parsed.annotations.values())
    _check_names(data_dir, kept, parsed)
    dataset = BoxDataset([], kept.names, [(s.name, s.reason) for s in skips], [], form)
    dataset.repaired += parsed.repaired
    dataset.dropped += parsed.dropped
    known_ids = {kept.look_up(name): number for name, number in parsed.category_ids.items()}
    dataset.category_ids = {name: known_ids[name] for name in kept.names if name in known_ids}
    paths = {file.path: file.name for file in files}
    dataset.image_ids = {paths[p]: i for p, i in parsed.image_ids.items() if p in paths}
    dataset.unused += unused
    _fill(tree, dataset, files, parsed, kept, outlines)
    report_skipped(dataset.skipped)
    report_skipped(dataset.repaired, "repaired")
    if not dataset.samples:
        first = ": ".join(dataset.skipped[0]) if dataset.skipped else "images without a box file"
        raise DentalzooError(
            f"{data_dir}: none of {len(files)} images with boxes can be used. Received: {first}"
        )
    for problem in suspicious_boxes([sample.boxes for sample in dataset.samples]):
        notice_once(problem, Path(data_dir))
    return dataset


def load_boxes(
    sample: BoxSample, classes: Sequence[str], channels: int = 3
) -> dict[str, np.ndarray]:
    """Load a sample.

    Args:
        sample: of a `BoxDataset`.
        classes: of its `BoxDataset`.
        channels: 1 or 3.

    Returns:
        "image": (H, W, C) uint8, upright; "boxes": (N, 4) float32 of top, left, bottom, right in
        [0, 1]; "labels": (N,) int32 from 1; "difficult" and "crowd": (N,) bool.

    Raises:
        BadFile: the image cannot be read.
        DentalzooError: the class of a box is not in `classes`.
    """
    ids = {name: number for number, name in enumerate(classes, start=1)}
    unknown = [box.label for box in sample.boxes if box.label not in ids]
    if unknown:
        raise DentalzooError(
            f"{sample.name}: boxes must have the classes {tuple(classes)}. Received: {unknown[0]!r}"
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
    data_dir: str | Path,
    split: str | None = None,
    *,
    classes: Sequence[str] | None = None,
    val_fraction: float = 0.1,
    watch: Callable[[BoxSample, dict[str, Any]], None] | None = None,
) -> dict[str, Any]:
    """Read every image once and report what is wrong, for `dentalzoo check --boxes`.

    Args:
        data_dir: the data folder.
        split: as for `find_boxes`.
        classes: as for `find_boxes`.
        val_fraction: as for `find_boxes`.
        watch: called with each usable sample, its "image" (H, W, C) uint8, upright, its "findings"
            (see `box_findings`) and the "classes".

    Returns:
        "data", "format", "usable" (number of images), the number of each split, "groups" (their
        number), "without_boxes" (number of images), "boxes" (number of each class);
        "without_objects", the names of images without a box; "skipped"
        [name, reason], "repaired" [name, what], "suspicious" [name, reason] of images that show
        nothing, of objects with two boxes and of what all boxes have in common, "duplicates"
        [name, name, kind and splits] between splits, "patients" [name, name, reason] of one
        patient in two splits, "duplicates_within" [name, name, kind and split] of different
        groups, or of the same pixels; all six empty where nothing is wrong. To look at:
        "boxes_to_check" [name, what] of single boxes, "personal" [name, what] of personal data,
        "not_used" [what, reason] of what else is in the folder. All of it fits into JSON.

    Raises:
        DentalzooError: as `find_boxes`; or no image can be read.
    """
    dataset = find_boxes(data_dir, split, classes=classes, val_fraction=val_fraction)
    hashes: dict[str, dict[str, PerceptualHash]] = defaultdict(dict)
    failed: list[tuple[str, str]] = []
    suspicious: list[list[str]] = []
    good: list[BoxSample] = []
    every = box_findings([sample.boxes for sample in dataset.samples])
    findings = dict(zip((sample.name for sample in dataset.samples), every, strict=True))
    for sample, image, one in for_each(
        dataset.samples,
        lambda sample: read_image(sample.image),
        lambda sample, image: perceptual_hash(image),
        title="reading",
        failed=failed,
        name=lambda sample: sample.name,
    ):
        hashes[sample.split][sample.name] = one
        good.append(sample)
        if reason := nothing_to_see(image):
            suspicious.append([sample.name, reason])
        if watch:
            about = {"image": image, "findings": findings[sample.name]}
            watch(sample, about | {"classes": dataset.classes})
    if not good:
        raise DentalzooError(
            f"{data_dir}: none of {len(dataset)} images can be used. Received: {failed[0][1]}"
        )
    problems = suspicious_boxes([sample.boxes for sample in good])
    suspicious += [["boxes", problem] for problem in problems]
    across, within = report_duplicates(hashes, {sample.name: sample.group for sample in good})
    count = Counter(box.label for sample in good for box in sample.boxes)
    listed = [(sample.name, one) for sample in good for one in findings[sample.name]]
    suspicious += [[name, one.text] for name, one in listed if one.is_wrong]
    personal, patients = check_privacy(good, data_dir)
    return {
        "data": str(data_dir),
        "format": dataset.format,
        "usable": len(good),
        **{name: len(hashes[name]) for name in SPLITS if hashes[name]},
        "groups": len({sample.group for sample in good}),
        "without_boxes": sum(not sample.boxes for sample in good),
        "without_objects": [sample.name for sample in good if not sample.boxes],
        "boxes": {name: count[name] for name in dataset.classes},
        "skipped": [list(pair) for pair in (*dataset.skipped, *failed)],
        "repaired": [list(pair) for pair in dataset.repaired],
        "suspicious": suspicious,
        "boxes_to_check": [[name, one.text] for name, one in listed if not one.is_wrong],
        "duplicates": across,
        "patients": patients,
        "duplicates_within": within,
        "personal": personal,
        "not_used": [list(pair) for pair in dataset.unused],
    }


def write_records(
    data: str | Path,
    out: str | Path,
    *,
    classes: Sequence[str] | None = None,
    clahe: bool = False,
    skip_empty: bool = False,
    shards: int = 8,
    quality: int = 95,
    val_fraction: float = 0.1,
) -> RecordReport:
    """Write the images with boxes of a data folder as TFRecord files.

    An interrupted run is resumed at the first missing file.
    `dentalzoo.data.formats.tfrecord.write_shards` has the details.

    Args:
        data: a folder in a layout of docs/data_formats.md.
        out: a folder that is absent, empty, or holds a part of the same records.
        classes: as for `find_boxes`; their numbers from 1 are `class/label`.
        clahe: equalise the contrast, as in the later state of the paper's repository.
        skip_empty: leave out images without boxes, as the paper's repository does.
        shards: files of each split; fewer where a split has fewer images.
        quality: of JPEG, 1 to 100.
        val_fraction: as for `find_boxes`.

    Returns:
        What `out` holds. An image that cannot be read is logged in one line and left out.

    Raises:
        DentalzooError: as `find_boxes`; `out` holds something else or cannot be written, an
            argument is invalid, or no image can be used.
    """
    check_settings(shards, quality)
    samples, names = samples_of_records(
        data, classes, skip_empty=skip_empty, val_fraction=val_fraction
    )
    return write_shards(
        samples,
        Path(out),
        names,
        root=Path(data),
        clahe=clahe,
        shards=shards,
        quality=quality,
    )


def samples_of_records(
    data: str | Path, classes: Sequence[str] | None, *, skip_empty: bool, val_fraction: float
) -> tuple[list[BoxSample], tuple[str, ...]]:
    """Return the images that `write_records` writes, and the names of all classes.

    Raises:
        DentalzooError: as `find_boxes`, or no image is left.
    """
    dataset = find_boxes(data, classes=classes, val_fraction=val_fraction)
    samples = [sample for sample in dataset.samples if sample.boxes or not skip_empty]
    if not samples:
        raise DentalzooError(
            f"{data}: no image has a box of the classes {', '.join(dataset.classes)}. "
            f"Received: {len(dataset)} images"
        )
    return samples, tuple(dataset.classes)


def _without_boxes(tree: Tree, parsed: ParsedAnnotations) -> list[Skip]:
    """Return skips for the images that no annotation and no other skip is about."""
    known = parsed.annotations.keys() | parsed.refused
    return skip_alone(tree, parsed.images, known, "image without boxes")


def _check_names(data_dir: str | Path, chosen: Classes, parsed: ParsedAnnotations) -> None:
    broken = [one for one in parsed.annotations.values() if one.invalid]
    if not chosen.known and broken:
        name, (where, reason) = broken[0].name, broken[0].invalid[0]
        raise DentalzooError(f"{data_dir}: no box can be read. Received: {name}, {where}: {reason}")
    if not chosen.known:
        reasons = [what for one in parsed.annotations.values() for what in one.repaired]
        raise DentalzooError(
            f"{data_dir}: at least one image must have a box. Received: {len(parsed.annotations)} "
            f"annotated images without any{f'; {reasons[0]}' if reasons else ''}"
        )
    if len(chosen.absent) == len(chosen.names):
        raise DentalzooError(
            f"{data_dir}: classes must be among those of the data, {', '.join(chosen.known)}. "
            f"Received: {', '.join(chosen.names) or 'no class at all'}"
        )
    if chosen.absent:
        _log.warning("%s: the data has no class %s", data_dir, ", ".join(chosen.absent))


def _fill(
    tree: Tree,
    dataset: BoxDataset,
    files: Sequence[FileEntry],
    parsed: ParsedAnnotations,
    chosen: Classes,
    outlines: bool,
) -> None:
    """Add a sample for each image, or the reason why it cannot be used to `skipped`."""
    left_out: Counter[str] = Counter()
    for file in tqdm(files, "checking boxes", leave=False, disable=None):
        annotation = parsed.annotations[file.path]
        try:
            result = normalize_boxes(file.path, annotation, chosen, outlines)
        except BadFile as error:
            name = tree.name(file.path) if error.path == file.path else annotation.name
            dataset.skipped.append((name, error.reason))
            continue
        left_out.update(result.left_out)
        for listed, entries in (
            (dataset.skipped, result.invalid),
            (dataset.repaired, result.repaired),
        ):
            listed += [
                (f"{annotation.name}, {where}" if where else annotation.name, what)
                for where, what in entries
            ]
        if result.invalid and not result.boxes and not result.left_out:
            reason = f"none of its {len(result.invalid)} boxes can be used"
            dataset.skipped.append((annotation.name, reason))
            continue
        dataset.samples.append(
            BoxSample(file.name, file.path, tuple(result.boxes), file.group, file.split, file.label)
        )
    if left_out:
        counts = ", ".join(f"{name} ({count} boxes)" for name, count in sorted(left_out.items()))
        _log.info("classes left out: %s", counts)
