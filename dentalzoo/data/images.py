"""Images with or without masks, whole or cut to single teeth and defects: finds and loads them.

docs/data_formats.md has the layouts and rules. Images of one group (copies, views of one
defect, crops of one photograph) never lie in two splits.
"""

from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from tqdm import tqdm

from dentalzoo.atomic import stamp
from dentalzoo.data import masks
from dentalzoo.data.crops import (
    Box,
    Region,
    blob_regions,
    class_names_above,
    coco_regions,
    drawn_regions,
    square,
    yolo_regions,
)
from dentalzoo.data.duplicates import fingerprint, report_duplicates
from dentalzoo.data.formats import tree as layouts
from dentalzoo.data.formats.image_files import (
    FileEntry,
    describe,
    find_files,
    of_split,
    split_files,
)
from dentalzoo.data.formats.tree import SPLITS, Skip, Tree
from dentalzoo.data.io.decode import orientation
from dentalzoo.data.io.images import read_image, resize
from dentalzoo.errors import BadFile, DentalzooError

CROPS = (None, "boundaries", "boxes", "masks")
_UNDERSTOOD = {
    None: "a folder of images, images/ (with masks/ beside it), or train/ and val/ folders",
    "boundaries": "images/ beside a folder *boundary/ of the same names with white lines on black",
    "boxes": "images/ beside labels/*.txt (YOLO), or *annotations.coco.json with the images",
    "masks": "images/ beside masks/",
}


@dataclass(frozen=True)
class ImageSample:
    """An image, or a window of one.

    Attributes:
        name: unique in its data set.
        window: top, left, bottom, right in pixels of the upright image; None for all of it.
        group: what it must not be parted from: images of one group lie in one split.
        label: what it shows, where the data tell: a folder's, a class's or a defect's name.
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
    """What was found. `skipped` lists (file, row or line, reason) of all that takes no part."""

    samples: list[ImageSample]
    skipped: list[tuple[str, str]] = ()

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def fingerprint(self) -> tuple:
        """What decoded images depend on: names, windows, and size and time of every file."""
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
    val_fraction: float = 0.1,
    least: int = 1,
    one_per_image: bool = False,
    with_masks: bool = True,
) -> ImageDataset:
    """Finds images in the layouts of docs/data_formats.md; only with `crops` are they opened.

    Args:
        split: "train", "val" or "test" (or "valid", "validation", "testing", ...); None for all.
        crops: None for whole images, with their masks where there are any; else a square window
            around each region that lines enclose ("boundaries"), each box ("boxes", YOLO or COCO)
            or each connected blob of the mask ("masks").
        margin: the side of a window in longer sides of the box.
        window: the side of every window in pixels instead.
        val_fraction: where neither folders nor `split.csv` tell a split, this part of the groups,
            by the hash of their names, is "val" and the rest "train".
        least: how many images of the split are needed.
        one_per_image: of each image the largest region alone.
        with_masks: False leaves masks out of the samples.

    Raises:
        DentalzooError: nothing usable is there, or fewer than `least`; the message lists what is
            understood and seen.
        MissingSplit: there are images, but none of the split.
        BadFile: a table (`split.csv`, `index.csv`, names of classes, COCO) is broken.
    """
    _check_options(crops, margin, window, val_fraction, least)
    wanted = split and layouts.split_word(split)
    if split is not None and not wanted:
        raise DentalzooError(f"split is one of {SPLITS} or None. Received: {split!r}")
    tree = layouts.scan(Path(data_dir))
    files, skips = find_files(tree, crops)
    skips += [Skip(tree.name(p), "a folder or a broken link") for p in tree.unreadable]
    if not files:
        first = f"; the first skipped: {skips[0].name}: {skips[0].reason}" if skips else ""
        raise DentalzooError(
            f"{data_dir}: no usable image; expected {_UNDERSTOOD[crops]}. "
            f"Received: {tree.seen()}{first}"
        )
    files, skips = split_files(tree, describe(tree, files), skips, val_fraction)
    if wanted:
        files, skips = of_split(tree, files, skips, wanted, val_fraction)
    if crops is None:
        samples = [
            ImageSample(f.name, f.image, None, f.partner, f.group, f.label, f.split) for f in files
        ]
    else:
        samples, more = _cut(tree, files, crops, margin, window, one_per_image)
        skips = skips + more
    if not with_masks:
        samples = [replace(sample, mask=None) for sample in samples]
    skipped = [(skip.name, skip.reason) for skip in skips]
    masks.report_skipped(skipped)
    if len(samples) < least:
        what = f" of the split {wanted!r}" if wanted else ""
        first = f"; the first skipped: {': '.join(skipped[0])}" if skipped else ""
        raise DentalzooError(
            f"{data_dir}: expected {least} or more usable images{what}. "
            f"Received: {len(samples)} ({len(skipped)} skipped{first})"
        )
    return ImageDataset(samples, skipped)


def load_image(sample: ImageSample, size: tuple[int, int], channels: int) -> dict:
    """Loads a sample at a network's size.

    A pixel of the mask is 1 where the mask covers half of it or more; a blob too thin or small
    for that keeps the pixel it covers most.

    Args:
        size: (height, width).
        channels: 1 or 3.

    Returns:
        "image": (H, W, C) uint8; with `sample.mask`, "mask": (H, W, 1) uint8 of 0 and 1.

    Raises:
        BadFile: a file is unreadable, the mask has another size than its image or is none, or
            the window lies outside.
    """
    arrays = _native(sample, channels)
    loaded = {"image": resize(arrays["image"], size)}
    if "mask" in arrays:
        loaded["mask"] = _shrink_mask(arrays["mask"][..., 0], size)[..., None]
    return loaded


def check_images(data_dir: str | Path, split: str | None = None, **options) -> dict:
    """Reads every sample once and says what is wrong.

    Args:
        options: of `find_images`.

    Returns:
        "data", "usable" (number of images), the number of each split, "groups" (their number)
        and "labels" (number of images of each); "skipped" [name, reason], "duplicates" [name,
        name, kind and splits] between splits, all empty where nothing is wrong, and
        "duplicates_within" [name, name, kind and split] of different groups, or of the same
        pixels. All of it fits into JSON.

    Raises:
        DentalzooError: as `find_images`; or no image can be read.
    """
    found = find_images(data_dir, split, **options)
    prints, bad, good = defaultdict(dict), [], []
    for sample in tqdm(found.samples, "reading", leave=False, disable=None):
        try:
            prints[sample.split][sample.name] = fingerprint(_native(sample, None)["image"])
        except BadFile as error:
            part = "" if error.path == sample.image else f"{error.path.name}: "
            bad.append((sample.name, part + error.reason))
            continue
        good.append(sample)
    masks.report_skipped(bad)
    if not good:
        raise DentalzooError(
            f"{data_dir}: none of {len(found)} images can be used. Received: {bad[0][1]}"
        )
    group = {sample.name: sample.group for sample in good}
    across, within = report_duplicates(prints, group)
    labels = Counter(sample.label for sample in good if sample.label)
    return {
        "data": str(data_dir),
        "usable": len(good),
        **{name: len(prints[name]) for name in SPLITS if prints[name]},
        "groups": len(set(group.values())),
        "labels": dict(sorted(labels.items())),
        "skipped": [list(pair) for pair in (*found.skipped, *bad)],
        "duplicates": across,
        "duplicates_within": within,
    }


def _check_options(crops, margin, window, val_fraction, least) -> None:
    if crops not in CROPS:
        raise DentalzooError(f"crops is one of {CROPS}. Received: {crops!r}")
    if not 1 <= margin <= 100:
        raise DentalzooError(f"margin is a number from 1 to 100. Received: {margin!r}")
    if window is not None and (window != int(window) or window < 1):
        raise DentalzooError(f"window is a whole number of pixels. Received: {window!r}")
    if not 0 <= val_fraction < 1:
        raise DentalzooError(
            f"val_fraction is at least 0 and less than 1. Received: {val_fraction!r}"
        )
    if least < 1:
        raise DentalzooError(f"least is 1 or more. Received: {least!r}")


# ---- windows -------------------------------------------------------------------------------------


def _cut(
    tree: Tree, files: list[FileEntry], crops, margin, window, one_per_image
) -> tuple[list[ImageSample], list[Skip]]:
    """One sample per region of each image, and what cannot be used."""
    names, samples, skips = {}, [], []
    for file in tqdm(files, "cutting", leave=False, disable=None):
        listed = tree.name(file.partner) + (f": {file.image.name}" if file.boxes else "")
        folder = file.partner.parent
        if crops == "boxes" and not file.boxes and folder not in names:
            names[folder] = class_names_above(folder, tree.root)
        try:
            if crops == "boxes":
                (height, width), regions, bad = _boxes(file, names.get(folder))
                skips += [Skip(f"{listed}, {at}", reason, file.split) for at, reason in bad]
            else:
                loaded = masks.load(masks.MaskSample(file.name, file.image, file.partner))
                drawn = loaded["mask"][..., 0]
                height, width = drawn.shape
                regions = drawn_regions(drawn) if crops == "boundaries" else blob_regions(drawn)
        except BadFile as error:
            part = "" if error.path == file.image else f"{error.path.name}: "
            skips.append(Skip(tree.name(file.image), part + error.reason, file.split))
            continue
        if not regions:
            what = {"boundaries": "closed line", "boxes": "usable box", "masks": "blob"}[crops]
            skips.append(Skip(listed, f"no {what} in it", file.split))
        if one_per_image:
            regions = sorted(regions, key=lambda region: -region.area)[:1]
        digits = max(2, len(str(len(regions))))
        samples += [
            ImageSample(
                f"{file.name}_{index:0{digits}d}",
                file.image,
                square(region, height, width, margin, window),
                file.partner if crops == "masks" else None,
                file.group,
                region.label or file.label,
                file.split,
            )
            for index, region in enumerate(regions, start=1)
        ]
    return samples, skips


def _boxes(
    file: FileEntry, names: list[str] | None
) -> tuple[tuple[int, int], list[Region], list[tuple[str, str]]]:
    """Size of the upright image, regions, and (where, reason) of boxes that cannot be used."""
    size = read_image(file.image).shape[:2]
    turn = orientation(file.image)
    if file.boxes is None:
        if turn > 1:
            masks.notice_once(
                "boxes of turned images are taken as drawn upright", file.image.parent
            )
        return size, *yolo_regions(file.partner, names, *size)
    drawn = (file.boxes.height or size[0], file.boxes.width or size[1])
    turn = masks.turn_to_fit(file.partner, file.image, drawn, size, turn)
    return size, *coco_regions(file.boxes, drawn, turn)


# ---- pixels --------------------------------------------------------------------------------------


def _native(sample: ImageSample, channels: int | None) -> dict[str, np.ndarray]:
    """The window of a sample at its own resolution: "image" and, where it has one, "mask"."""
    stamps = tuple(stamp(path) for path in (sample.image, sample.mask) if path)
    arrays = _source(sample.image, sample.mask, channels, stamps)
    if sample.window is None:
        return arrays
    top, left, bottom, right = sample.window
    height, width = arrays["image"].shape[:2]
    if not (0 <= top < bottom <= height and 0 <= left < right <= width):
        raise BadFile(
            sample.image,
            f"the window {sample.window} lies outside; was the image changed? "
            f"Received: {width} x {height} (width x height)",
        )
    return {key: np.ascontiguousarray(a[top:bottom, left:right]) for key, a in arrays.items()}


@lru_cache(maxsize=2)  # the crops of an image follow each other, and two threads read ahead
def _source(image: Path, mask: Path | None, channels: int | None, stamps) -> dict[str, np.ndarray]:
    if mask is None:
        return {"image": read_image(image, channels)}
    loaded = masks.load(masks.MaskSample(image.stem, image, mask), channels=channels)
    return {"image": loaded["image"], "mask": loaded["mask"]}


def _shrink_mask(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(h, w) of 0 and 1 -> `size`: covered by half or more; of every blob at least one pixel."""
    image = Image.fromarray(mask.astype(np.float32))
    cover = np.asarray(image.resize(size[::-1], Image.Resampling.BOX))
    small = (cover >= 0.5).astype(np.uint8)
    (height, width), (tall, wide) = mask.shape, size
    row_of = (2 * np.arange(height) + 1) * tall // (2 * height)
    column_of = (2 * np.arange(width) + 1) * wide // (2 * width)
    count, blobs, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    kept = np.bincount(blobs[small[row_of][:, column_of] > 0], minlength=count)
    for lost in np.flatnonzero(kept[1:] == 0) + 1:
        left, top, columns, rows, _ = stats[lost]
        blob = blobs[top : top + rows, left : left + columns] == lost
        y, x = np.nonzero(blob)
        covered = np.bincount(row_of[top + y] * wide + column_of[left + x])
        small.flat[covered.argmax()] = 1
    return small
