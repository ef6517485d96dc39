"""Images with masks: find them in the usual layouts, load them by one set of rules, check them."""

import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from dentalzoo.data.duplicates import PerceptualHash, perceptual_hash, report_duplicates
from dentalzoo.data.formats import format_names, read_annotations, unread
from dentalzoo.data.formats.base import (
    check_class_names,
    naming_files,
    notice_once,
    report_skipped,
)
from dentalzoo.data.formats.outlines import Regions, rasterise
from dentalzoo.data.formats.rules import orientation_to_fit
from dentalzoo.data.formats.splits import (
    check_split,
    check_val_fraction,
    describe,
    select_split,
    split_files,
)
from dentalzoo.data.formats.tree import SPLITS, UNDERSTOOD, FileEntry, Skip, scan
from dentalzoo.data.formats.unused import find_unused, report_unused
from dentalzoo.data.io.decode import upright
from dentalzoo.data.io.grey_levels import nothing_to_see
from dentalzoo.data.io.images import read_mask, read_oriented
from dentalzoo.data.mask_regions import leave_out_boxes, regions_of, tell_union
from dentalzoo.data.mask_values import (
    MaskFacts,
    MaskStatistics,
    class_ids,
    facts_of,
    fdi_values,
    inverted_masks,
)
from dentalzoo.data.pipeline.prefetch import for_each
from dentalzoo.data.privacy import check_privacy
from dentalzoo.errors import DentalzooError


@dataclass(frozen=True)
class MaskSample:
    """An image and its mask.

    Attributes:
        name: unique in its data set.
        image: its file.
        mask: the file of its mask; None where `regions` are its mask.
        regions: the outlines of its objects; None where `mask` is its mask.
        split: "train", "val", "test" or "".
        group: images of one group lie in one split.
        numbers: the values that `mask` stores for the ids 1..n; empty where it stores the ids.
        label: the image group, by the name of a folder or in `defects.csv`; "" where unknown.
    """

    name: str
    image: Path
    mask: Path | None = None
    regions: Regions | None = None
    split: str = ""
    group: str = ""
    numbers: tuple[int, ...] = ()
    label: str = ""


@dataclass(frozen=True)
class MaskDataset:
    """Images with masks. Class ids are 1..n in the order of `classes`; 0 is background.

    Attributes:
        samples: the images.
        classes: the names of the ids 1..n.
        skipped: (file or row, reason) of everything that cannot be used.
        unused: (what, reason) of everything else in the folder that is not used.
    """

    samples: list[MaskSample]
    classes: tuple[str, ...] = ("foreground",)
    skipped: Sequence[tuple[str, str]] = ()
    unused: Sequence[tuple[str, str]] = ()

    @property
    def num_classes(self) -> int:
        """1 for a binary mask, else the number of class ids including the background."""
        return 1 if len(self.classes) == 1 else len(self.classes) + 1

    def __len__(self) -> int:
        return len(self.samples)

    def check_names(self, num_classes: int) -> None:
        """Check that COCO data has class names where ids 0..num_classes - 1 are needed.

        Raises:
            DentalzooError: without names, all outlines would be one class.
        """
        outlined = any(sample.regions is not None for sample in self.samples)
        if outlined and num_classes > 2 and len(self.classes) == 1:
            raise DentalzooError(
                f"COCO data of {num_classes - 1} classes must be given their names in the order of "
                "the ids: classes=('Caries', 'Crown'). Received: no classes"
            )


def find_masks(
    data_dir: str | Path,
    split: str | None = None,
    classes: Sequence[str] | None = None,
    annotations: str = "auto",
    *,
    val_fraction: float | None = 0.1,
) -> MaskDataset:
    """Find images with masks in the layouts of docs/data_formats.md. No image is opened.

    Args:
        data_dir: the data folder.
        split: "train", "val" or "test" (or "valid", "validation", "testing", ...); None for all.
        classes: names for the ids 1..n; with COCO, categories in this order and no others. None
            takes those of a list beside mask images, else makes a binary mask, of annotated
            objects the union of all outlines, without the boxes of labels that have none.
        annotations: the annotation format to read, by its name ("masks", "coco", "labelme", ...);
            "auto" takes masks where there are any, else the first format that annotates an image.
        val_fraction: where neither `split.csv` nor the format nor folders name a split, this part
            of the groups, by the hash of their names, is "val" and the rest "train"; None leaves
            the split of all of them "".

    Raises:
        DentalzooError: nothing usable is there; the message lists what is understood and what is
            there.
        MissingSplit: there are images, but none of the split.
        BadFile: `split.csv` or an annotation file is broken.
    """
    only = format_names(annotations, "masks")
    chosen = check_split(split)
    check_val_fraction(val_fraction)
    names = check_class_names(classes)
    tree = scan(Path(data_dir))
    hint = 'annotations="coco" uses them' if tree.coco else ""
    _, parsed = read_annotations(tree, "masks", only, hint)
    if not parsed.annotations:
        first = next((f"; the first skipped: {s.name}: {s.reason}" for s in parsed.skips), "")
        raise DentalzooError(
            f"{data_dir}: no image with a mask; {unread(tree, 'masks')}expected {UNDERSTOOD}. "
            f"Received: {tree.summary()}{first}"
        )
    not_drawn = leave_out_boxes(tree, parsed) if names is None else []
    if names is None:
        tell_union(tree, parsed)
    skips = parsed.skips + [
        Skip(tree.name(p), "a folder or a broken link") for p in tree.unreadable
    ]
    by_folder = {entry.path: entry.split for entry in parsed.images}
    files = [
        FileEntry(image, split=parsed.splits.get(image) or by_folder.get(image, ""))
        for image in parsed.annotations
    ]
    where = parsed.split_source or "the folders' names"
    files, skips = split_files(tree, describe(tree, files), skips, val_fraction, where)
    unused = not_drawn + find_unused(tree, files, skips, parsed)
    report_unused(tree, unused)
    if chosen:
        files, skips = select_split(tree, files, skips, chosen, val_fraction)
    if not files:
        raise DentalzooError(
            f"{data_dir}: none of {len(parsed.annotations)} images with masks is in a split. "
            f"Received: {skips[0].name}: {skips[0].reason}"
        )
    stored = [parsed.annotations[file.path].mask for file in files]
    listed = check_class_names(parsed.classes) if parsed.classes and all(stored) else None
    names = _named_ids(data_dir, names, listed)
    # A list of the ids leaves nothing to guess: id 32 is its 32nd name, not the tooth 32.
    numbers = fdi_values(() if listed else names or (), filter(None, stored), read_mask)
    if numbers:
        shown = f"{numbers[0]}..{numbers[-1]}"
        notice_once(f"the masks hold FDI numbers, {shown}", Path(data_dir), logging.INFO)
    samples = []
    stems = Counter(file.path.stem for file in files)
    for file in files:
        name = file.path.stem if stems[file.path.stem] == 1 else file.name
        one = parsed.annotations[file.path]
        regions = None if one.mask else regions_of(one, names, parsed.listed.get(one.source, []))
        samples.append(
            MaskSample(
                *(name, file.path, one.mask, regions, file.split, file.group, numbers),
                label=file.label,
            )
        )
    skipped = [(skip.name, skip.reason) for skip in skips]
    report_skipped(skipped)
    return MaskDataset(samples, names or ("foreground",), skipped, unused)


def _named_ids(
    data_dir: str | Path, chosen: tuple[str, ...] | None, listed: tuple[str, ...] | None
) -> tuple[str, ...] | None:
    """Return the names of the ids in mask images, chosen or as a list beside the masks has them.

    Raises:
        DentalzooError: a name stands for another id in the list.
    """
    if (
        chosen
        and listed
        and any(a != b for a, b in zip(chosen, listed, strict=False) if a in listed)
    ):
        raise DentalzooError(
            f"{data_dir}: classes must be in the order of the ids, {', '.join(listed)}. "
            f"Received: {', '.join(chosen)}"
        )
    return chosen or listed


def load(sample: MaskSample, num_classes: int = 1, channels: int | None = None) -> dict[str, Any]:
    """Load a sample; all rules for masks are here.

    Binary (`num_classes` 1 or 2): 0/1 unchanged; 0/255 and 0/65535 become 0/1; soft and lossy
    masks are thresholded at > 0.5 with a notice. Else: ids 0..num_classes - 1 as stored, or the
    FDI numbers of the classes.
    A mask of the stored pixels of an image with an EXIF orientation is turned like the image.

    Args:
        sample: of a `MaskDataset`.
        num_classes: 1 or 2 for a binary mask, else the number of class ids.
        channels: of the image: 1, 3, or None for those of the file.

    Returns:
        "image": (H, W, C) uint8; "mask": (H, W, 1) uint8 class ids; "name": str.

    Raises:
        BadFile: either file is unreadable, sizes differ, or the mask holds an unknown id.
    """
    image, turn = read_oriented(sample.image, channels)
    height, width = image.shape[:2]
    if sample.regions is not None:
        source = sample.regions.source
        size = (sample.regions.height or height, sample.regions.width or width)
        turn = orientation_to_fit(source, sample.image, size, (height, width), turn)
        mask = rasterise(sample.regions, *size)
        if mask.max() >= max(num_classes, 2):
            raise DentalzooError(
                f"{source}: class ids must be below num_classes = {num_classes}. "
                f"Received: {mask.max()}"
            )
    elif sample.mask is not None:
        source = sample.mask
        mask = read_mask(source)
        if turn > 1 and mask.shape == (height, width):
            notice_once("masks of turned images are taken as drawn upright", source.parent)
        turn = orientation_to_fit(source, sample.image, mask.shape, (height, width), turn)
        mask = class_ids(source, mask, num_classes, sample.numbers)
    else:
        raise DentalzooError(f"{sample.name}: a sample must have a mask or regions")
    mask = np.ascontiguousarray(upright(mask, turn))[..., None]
    return {"image": image, "mask": mask, "name": sample.name}


def check(
    dataset: MaskDataset,
    num_classes: int | None = None,
    keep: Callable[[int, dict[str, Any]], None] | None = None,
) -> MaskDataset:
    """Load every sample once and move those that cannot be used to `skipped`.

    Args:
        dataset: of `find_masks`.
        num_classes: as in `load`; None for `dataset.num_classes`.
        keep: called with (index among the usable samples, loaded sample).

    Raises:
        DentalzooError: no sample can be used, or `num_classes` contradicts COCO classes.
    """
    num_classes = dataset.num_classes if num_classes is None else num_classes
    if not 1 <= num_classes <= 255:
        raise DentalzooError(f"num_classes must be in 1..255. Received: {num_classes}")
    if num_classes != dataset.num_classes and any(s.regions for s in dataset.samples):
        raise DentalzooError(
            f"num_classes must be {dataset.num_classes} for the classes {dataset.classes}. "
            f"Received: {num_classes}"
        )

    def read(sample: MaskSample) -> dict[str, Any]:
        with naming_files(sample.image):
            return load(sample, num_classes)

    good: list[MaskSample] = []
    failed: list[tuple[str, str]] = []
    for sample, arrays, _ in for_each(
        dataset.samples,
        read,
        lambda sample, arrays: None,
        title="reading",
        failed=failed,
        name=lambda sample: sample.name,
    ):
        if keep:
            keep(len(good), arrays)
        good.append(sample)
    if not good:
        first = failed[0][1] if failed else "no sample"
        raise DentalzooError(f"none of {len(dataset)} images can be used. Received: {first}")
    return replace(dataset, samples=good, skipped=[*dataset.skipped, *failed])


def check_folder(
    data_dir: str | Path,
    split: str | None = None,
    num_classes: int | None = None,
    *,
    classes: Sequence[str] | None = None,
    annotations: str = "auto",
    watch: Callable[[MaskSample, dict[str, Any]], None] | None = None,
) -> dict[str, Any]:
    """Read a data set once and report what is wrong with it, for `dentalzoo check`.

    Args:
        data_dir: the data folder.
        split: as for `find_masks`.
        num_classes: as in `load`.
        classes: as for `find_masks`.
        annotations: as for `find_masks`.
        watch: called with each usable sample, its "image" and "mask", as `load` returns them, and
            the "classes".

    Returns:
        "data", "usable" (number of images), the number of images of each split, "groups" (their
        number), "masks" (number that hold each class), "empty_masks" (their number);
        "without_objects", the names of their images; "skipped"
        [name, reason], "suspicious" [name, reason] of images that show nothing, of single masks
        that are inverted and of what all masks have in common, "duplicates" [name, name, kind and
        splits] between splits, and "patients" [name, name, reason] of one patient in two splits,
        all empty where nothing is wrong; to look at: "duplicates_within" as of `check_boxes`,
        "personal" [name, what] of personal data, "not_used" [what, reason] of what else is in the
        folder. All of it fits into JSON.

    Raises:
        DentalzooError: as `find_masks` and `check`.
    """
    hashes: dict[str, dict[str, PerceptualHash]] = defaultdict(dict)
    ordered: list[PerceptualHash] = []
    suspicious: list[list[str]] = []
    dataset = find_masks(data_dir, split, classes, annotations)
    names = _id_names(dataset, num_classes)
    statistics = MaskStatistics(names)
    facts: dict[str, MaskFacts] = {}
    by_name = {sample.name: sample for sample in dataset.samples}

    def keep(index: int, arrays: dict[str, Any]) -> None:
        facts[arrays["name"]] = facts_of(arrays["mask"])
        statistics.add_facts(facts[arrays["name"]])
        ordered.append(perceptual_hash(arrays["image"]))
        if reason := nothing_to_see(arrays["image"]):
            suspicious.append([arrays["name"], reason])
        if watch:
            watch(by_name[arrays["name"]], arrays | {"classes": names})

    dataset = check(dataset, num_classes, keep)
    suspicious += inverted_masks(facts)
    suspicious += [["masks", problem] for problem in statistics.problems()]
    for sample, one in zip(dataset.samples, ordered, strict=True):
        hashes[sample.split][sample.name] = one
    group = {sample.name: sample.group for sample in dataset.samples}
    across, within = report_duplicates(hashes, group)
    personal, patients = check_privacy(dataset.samples, data_dir)
    return {
        "data": str(data_dir),
        "usable": len(dataset),
        **{name: len(hashes[name]) for name in SPLITS if hashes[name]},
        "groups": len({*group.values()}),
        "masks": statistics.per_class(),
        "empty_masks": statistics.empty,
        "without_objects": [
            sample.name for sample in dataset.samples if not facts[sample.name].area
        ],
        "skipped": [list(pair) for pair in dataset.skipped],
        "suspicious": suspicious,
        "duplicates": across,
        "patients": patients,
        "duplicates_within": within,
        "personal": personal,
        "not_used": [list(pair) for pair in dataset.unused],
    }


def _id_names(dataset: MaskDataset, num_classes: int | None) -> tuple[str, ...]:
    if num_classes is None or max(num_classes - 1, 1) == len(dataset.classes):
        return dataset.classes
    return tuple(f"id {number}" for number in range(1, max(num_classes, 2)))
