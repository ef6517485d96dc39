"""Images with or without masks, whole or cut to single teeth and defects: find, load, check.

docs/data_formats.md has the layouts and rules. Images of one group (copies, views of one
defect, crops of one photograph) always lie in one split.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from dentalzoo.atomic import stamp
from dentalzoo.data import masks
from dentalzoo.data.crops import (
    Box,
    Region,
    blob_regions,
    box_regions,
    enclosed_regions,
    shrink_mask,
    square,
)
from dentalzoo.data.duplicates import PerceptualHash, perceptual_hash, report_duplicates
from dentalzoo.data.formats import read_annotations, unread
from dentalzoo.data.formats.base import (
    ImageAnnotation,
    ParsedAnnotations,
    Purpose,
    RawBox,
    naming_files,
    notice_once,
    report_skipped,
)
from dentalzoo.data.formats.rules import Classes, normalize_boxes, orientation_to_fit
from dentalzoo.data.formats.splits import (
    check_split,
    check_val_fraction,
    describe,
    select_split,
    split_files,
)
from dentalzoo.data.formats.tree import SPLITS, FileEntry, Skip, Tree, scan, skip_alone
from dentalzoo.data.formats.unused import find_unused, report_unused
from dentalzoo.data.io.grey_levels import nothing_to_see
from dentalzoo.data.io.images import read_image, read_oriented, resize
from dentalzoo.data.pipeline.prefetch import for_each
from dentalzoo.data.privacy import check_privacy
from dentalzoo.errors import BadFile, DentalzooError

CROPS = (None, "boundaries", "boxes", "masks", "auto")
_NO_PARTNER = {"boundaries": "drawing of boundaries", "boxes": "boxes", "masks": "mask"}
_NO_REGION = {"boundaries": "closed line", "boxes": "usable box", "masks": "blob"}
_UNDERSTOOD = {
    None: "a folder of images, images/ (with masks/ beside it), or train/ and val/ folders",
    "boundaries": "images/ beside a folder *boundary/ of the same names with white lines on black",
    "boxes": "images/ beside labels/*.txt (YOLO), COCO, VOC or another format with boxes",
    "masks": "images/ beside masks/",
}


@dataclass(frozen=True)
class ImageSample:
    """An image, or a window of one.

    Attributes:
        name: unique in its data set.
        image: its file.
        window: top, left, bottom, right in pixels of the upright image; None for all of it.
        mask: the file of its mask; None without one.
        group: images of one group lie in one split.
        label: what it shows, by the name of a folder, a class or a defect; "" where unknown.
        split: "train", "val" or "test".
    """

    name: str
    image: Path
    window: Box | None = None
    mask: Path | None = None
    group: str = ""
    label: str = ""
    split: str = ""


@dataclass(frozen=True)
class ImageDataset:
    """Images.

    Attributes:
        samples: the images.
        skipped: (file, row or line, reason) of everything that cannot be used.
        unused: (what, reason) of everything else in the folder that is not used.
    """

    samples: list[ImageSample]
    skipped: Sequence[tuple[str, str]] = ()
    unused: Sequence[tuple[str, str]] = ()

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def cache_key(self) -> tuple[object, ...]:
        """Everything that decoded images depend on: windows, and size and time of every file."""
        return tuple(
            (s.name, s.window, *(stamp(path) for path in (s.image, s.mask) if path))
            for s in self.samples
        )


def find_images(
    data_dir: str | Path,
    split: str | None = None,
    *,
    crops: str | None = None,
    margin: float = 1.3,
    window: int | None = None,
    smallest: int = 1,
    val_fraction: float = 0.1,
    min_images: int = 1,
    one_per_image: bool = False,
    with_masks: bool = True,
) -> ImageDataset:
    """Find images in the layouts of docs/data_formats.md; only with `crops` are they opened.

    Args:
        data_dir: the data folder.
        split: "train", "val" or "test" (or "valid", "validation", "testing", ...); None for all.
        crops: None for whole images, with their masks where there are any; else a square window
            around each region that lines enclose ("boundaries"), each box ("boxes", of any format
            with boxes) or each connected blob of the mask ("masks"). "auto": masks where there
            are any, else whole images.
        margin: the side of a window as a multiple of the longer side of its box.
        window: the side of every window in pixels instead.
        smallest: the least side of a window in pixels. Of equal windows of an image one is kept.
        val_fraction: where neither folders nor `split.csv` name a split, this part of the groups,
            by the hash of their names, is "val" and the rest "train".
        min_images: the smallest number of images of the split.
        one_per_image: only the largest region of each image.
        with_masks: False leaves masks out of the samples.

    Raises:
        DentalzooError: nothing usable is there, or fewer than `min_images`; the message lists
            what is understood and what is there.
        MissingSplit: there are images, but none of the split.
        BadFile: a table (`split.csv`, `index.csv`, names of classes, COCO) is broken.
    """
    _check_options(crops, margin, window, val_fraction, min_images)
    chosen = check_split(split)
    tree = scan(Path(data_dir))
    if crops == "auto":
        crops = "masks" if any(entry.partner for entry in tree.entries[0]) else None
    files, skips, parsed = _find_files(tree, crops)
    skips += [Skip(tree.name(p), "a folder or a broken link") for p in tree.unreadable]
    if not files:
        first = f"; the first skipped: {skips[0].name}: {skips[0].reason}" if skips else ""
        raise DentalzooError(
            f"{data_dir}: no usable image; {_unread(tree, crops)}expected {_UNDERSTOOD[crops]}. "
            f"Received: {tree.summary()}{first}"
        )
    files, skips = split_files(tree, describe(tree, files), skips, val_fraction)
    unused = find_unused(tree, files, skips, parsed if crops else None)
    report_unused(tree, unused)
    if chosen:
        files, skips = select_split(tree, files, skips, chosen, val_fraction)
    if crops is None:
        samples = [
            ImageSample(f.name, f.path, None, f.partner, f.group, f.label, f.split) for f in files
        ]
    else:
        fitted = partial(square, margin=margin, window=window, smallest=smallest)
        samples, more = _cut(tree, files, parsed, crops, fitted, one_per_image)
        skips = skips + more
    if not with_masks:
        samples = [replace(sample, mask=None) for sample in samples]
    skipped = [(skip.name, skip.reason) for skip in skips]
    report_skipped(skipped)
    if len(samples) < min_images:
        what = f" of the split {chosen!r}" if chosen else ""
        first = f"; the first skipped: {': '.join(skipped[0])}" if skipped else ""
        raise DentalzooError(
            f"{data_dir}: must hold {min_images} or more usable images{what}. "
            f"Received: {len(samples)} ({len(skipped)} skipped{first})"
        )
    return ImageDataset(samples, skipped, unused)


def load_image(sample: ImageSample, size: tuple[int, int], channels: int) -> dict[str, np.ndarray]:
    """Load a sample at the input size of a network.

    A pixel of the mask is 1 where the mask covers half of it or more; a blob too thin or small
    for that keeps the pixel it covers most.

    Args:
        sample: of an `ImageDataset`.
        size: (height, width).
        channels: 1 or 3.

    Returns:
        "image": (H, W, C) uint8; with `sample.mask`, "mask": (H, W, 1) uint8 of 0 and 1.

    Raises:
        BadFile: a file is unreadable, the mask has another size than its image or is not a
            mask, or the window lies outside.
    """
    arrays = _native(sample, channels)
    loaded = {"image": resize(arrays["image"], size)}
    if "mask" in arrays:
        loaded["mask"] = shrink_mask(arrays["mask"][..., 0], size)[..., None]
    return loaded


def check_images(
    data_dir: str | Path,
    split: str | None = None,
    watch: Callable[[ImageSample, dict[str, Any]], None] | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Read every sample once and report what is wrong.

    Args:
        data_dir: the data folder.
        split: as for `find_images`.
        watch: called with each usable sample, its "image" and its "mask" if it has one.
        options: of `find_images`.

    Returns:
        "data", "usable" (number of images), the number of each split, "groups" (their number)
        and "labels" (number of images of each); and the lists of `boxes.check_boxes` but those of
        single boxes and of repairs. All of it fits into JSON.

    Raises:
        DentalzooError: as `find_images`; or no image can be read.
    """
    dataset = find_images(data_dir, split, **options)
    hashes: dict[str, dict[str, PerceptualHash]] = defaultdict(dict)
    failed: list[tuple[str, str]] = []
    suspicious: list[list[str]] = []
    good: list[ImageSample] = []

    def read(sample: ImageSample) -> dict[str, np.ndarray]:
        with naming_files(sample.image):
            return _native(sample, None)

    for sample, arrays, one in for_each(
        dataset.samples,
        read,
        lambda sample, arrays: perceptual_hash(arrays["image"]),
        title="reading",
        failed=failed,
        name=lambda sample: sample.name,
    ):
        hashes[sample.split][sample.name] = one
        good.append(sample)
        if reason := nothing_to_see(arrays["image"]):
            suspicious.append([sample.name, reason])
        if watch:
            watch(sample, arrays)
    if not good:
        raise DentalzooError(
            f"{data_dir}: none of {len(dataset)} images can be used. Received: {failed[0][1]}"
        )
    group = {sample.name: sample.group for sample in good}
    across, within = report_duplicates(hashes, group)
    labels = Counter(sample.label for sample in good if sample.label)
    personal, patients = check_privacy(good, data_dir)
    return {
        "data": str(data_dir),
        "usable": len(good),
        **{name: len(hashes[name]) for name in SPLITS if hashes[name]},
        "groups": len(set(group.values())),
        "labels": dict(sorted(labels.items())),
        "skipped": [list(pair) for pair in (*dataset.skipped, *failed)],
        "suspicious": suspicious,
        "duplicates": across,
        "patients": patients,
        "duplicates_within": within,
        "personal": personal,
        "not_used": [list(pair) for pair in dataset.unused],
    }


def _check_options(
    crops: str | None, margin: float, window: int | None, val_fraction: float, min_images: int
) -> None:
    if crops not in CROPS:
        raise DentalzooError(f"crops must be one of {CROPS}. Received: {crops!r}")
    if not 1 <= margin <= 100:
        raise DentalzooError(f"margin must be a number from 1 to 100. Received: {margin!r}")
    if window is not None and (window != int(window) or window < 1):
        raise DentalzooError(f"window must be an integer >= 1, in pixels. Received: {window!r}")
    check_val_fraction(val_fraction)
    if min_images < 1:
        raise DentalzooError(f"min_images must be an integer >= 1. Received: {min_images!r}")


# ---- files ---------------------------------------------------------------------------------------


def _find_files(
    tree: Tree, crops: str | None
) -> tuple[list[FileEntry], list[Skip], ParsedAnnotations]:
    """Return the images that have what `crops` needs, the skips, and their annotations."""
    entries, skips = tree.entries
    parsed = ParsedAnnotations(images=entries, skips=list(skips))
    if crops is None:
        return list(entries), list(skips), parsed
    purpose: Purpose = "boundaries" if crops == "boundaries" else "boxes"
    if crops == "masks":
        annotated = {entry.path for entry in entries if entry.partner}
    else:
        _, parsed = read_annotations(tree, purpose)
        annotated = {*parsed.annotations, *parsed.refused}
        entries = parsed.images
    skips = list(parsed.skips)
    if not annotated:
        return [], skips, parsed
    skips += skip_alone(tree, entries, annotated, f"image without {_NO_PARTNER[crops]}")
    files = [
        replace(entry, split=parsed.splits.get(entry.path, entry.split))
        for entry in entries
        if entry.path in annotated and entry.path not in parsed.refused
    ]
    return files, skips, parsed


def _unread(tree: Tree, crops: str | None) -> str:
    if crops is None:
        return ""
    purpose: Purpose = "boxes" if crops == "boxes" else "masks"
    return unread(tree, "boundaries" if crops == "boundaries" else purpose)


# ---- windows -------------------------------------------------------------------------------------


def _cut(
    tree: Tree,
    files: Sequence[FileEntry],
    parsed: ParsedAnnotations,
    crops: str,
    fitted: Callable[[Region, int, int], Box],
    one_per_image: bool,
) -> tuple[list[ImageSample], list[Skip]]:
    """Return one sample for each region of each image, and what cannot be used."""
    samples: list[ImageSample] = []
    skips: list[Skip] = []
    known = Classes(parsed.classes, None, parsed.annotations.values())
    for file in tqdm(files, "cutting", leave=False, disable=None):
        annotation = parsed.annotations.get(file.path)
        mask = annotation.mask if annotation else file.partner
        listed = annotation.name if annotation else tree.name(mask or file.path)
        try:
            with naming_files(file.path):
                if annotation and crops == "boxes":
                    (height, width), regions, invalid = _boxes(file.path, annotation, known)
                    skips += [Skip(f"{listed}, {at}", reason, file.split) for at, reason in invalid]
                else:
                    loaded = masks.load(masks.MaskSample(file.name, file.path, mask))
                    drawn = loaded["mask"][..., 0]
                    height, width = drawn.shape
                    regions = (
                        enclosed_regions(drawn) if crops == "boundaries" else blob_regions(drawn)
                    )
        except BadFile as error:
            skips.append(Skip(tree.name(file.path), error.reason, file.split))
            continue
        if not regions:
            skips.append(Skip(listed, f"no {_NO_REGION[crops]} in it", file.split))
        if one_per_image:
            regions = sorted(regions, key=lambda region: -region.area)[:1]
        windows = dict.fromkeys((fitted(one, height, width), one.label) for one in regions)
        digits = max(2, len(str(len(regions))))
        kept = file.partner if crops == "masks" else None
        for index, (window, label) in enumerate(windows, start=1):
            whole = window == (0, 0, height, width) and len(windows) == 1
            name = file.name if whole else f"{file.name}_{index:0{digits}d}"
            of = label or file.label
            samples.append(ImageSample(name, file.path, window, kept, file.group, of, file.split))
    return samples, skips


def _boxes(
    image: Path, annotation: ImageAnnotation, known: Classes
) -> tuple[tuple[int, int], list[Region], list[tuple[str, str]]]:
    """Return the size of the upright image, regions, and (where, reason) of unusable boxes."""
    pixels, turn = read_oriented(image)
    height, width, _ = pixels.shape
    if annotation.unit == "parts":
        if turn > 1:
            notice_once("boxes of turned images are taken as drawn upright", image.parent)
        regions, invalid = box_regions(annotation, height, width)
    else:
        tall, wide = annotation.size or (height, width)
        if annotation.unit == "pixels" and (tall, wide) in ((height, width), (width, height)):
            turn = orientation_to_fit(annotation.source, image, (tall, wide), (height, width), turn)
            regions, invalid = box_regions(annotation, tall, wide, turn)
        else:  # drawn on another size
            result = normalize_boxes(image, annotation, known)
            parts = replace(annotation, unit="parts", invalid=result.invalid)
            parts.boxes = [
                RawBox(b.label, (b.top, b.left, b.bottom, b.right), f"box {number}")
                for number, b in enumerate(result.boxes, start=1)
            ]
            regions, invalid = box_regions(parts, height, width)
    return (height, width), regions, invalid


# ---- pixels --------------------------------------------------------------------------------------


def native_image(sample: ImageSample) -> np.ndarray:
    """Return the image of a sample at its own size: (H, W, 1 or 3) uint8.

    Raises:
        BadFile: the file is unreadable, or the window lies outside.
    """
    return _native(sample, None)["image"]


def _native(sample: ImageSample, channels: int | None) -> dict[str, np.ndarray]:
    """Return the window of a sample at full resolution: "image" and, where it has one, "mask"."""
    stamps = tuple(stamp(path) for path in (sample.image, sample.mask) if path)
    arrays = _source(sample.image, sample.mask, channels, stamps)
    if sample.window is None:
        return arrays
    top, left, bottom, right = sample.window
    height, width = arrays["image"].shape[:2]
    if not (0 <= top < bottom <= height and 0 <= left < right <= width):
        raise BadFile(
            sample.image,
            f"the window {sample.window} must lie in the image; was it changed? "
            f"Received: {width} x {height} (width x height)",
        )
    return {key: np.ascontiguousarray(a[top:bottom, left:right]) for key, a in arrays.items()}


@lru_cache(maxsize=2)  # the crops of an image follow each other, and two threads read ahead
def _source(
    image: Path, mask: Path | None, channels: int | None, stamps: tuple[object, ...]
) -> dict[str, np.ndarray]:
    if mask is None:
        return {"image": read_image(image, channels)}
    loaded = masks.load(masks.MaskSample(image.stem, image, mask), channels=channels)
    return {"image": loaded["image"], "mask": loaded["mask"]}
