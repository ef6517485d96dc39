"""Images with masks: finds them in the usual layouts and loads them under one set of rules."""

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import combinations
from pathlib import Path

import numpy as np
from tqdm import tqdm

from dentalzoo.data.formats import tree as layouts
from dentalzoo.data.formats.coco import Regions, rasterise, read_coco
from dentalzoo.data.formats.tree import SPLITS, UNDERSTOOD, Skip
from dentalzoo.data.io.decode import orientation, upright
from dentalzoo.data.io.images import read_image, read_mask
from dentalzoo.errors import BadFile, DentalzooError, MissingSplit

_log = logging.getLogger("dentalzoo")
_MAX_LINES = 20  # of skipped files; beyond it they are counted by reason
# ours: masks of teeth blurred over 15 pixels have at most 6 %, 95 % of radiographs 16 % and more
_MOST_MIDDLE_GREY = 0.15
_MOST_MIDDLE_GREY_OF_FEW = 0.05  # ours, where a mask has 8 grey levels or fewer


@dataclass(frozen=True)
class MaskSample:
    """An image and its mask, a file or COCO outlines. `split` is "train", "val", "test" or ""."""

    name: str
    image: Path
    mask: Path | None = None
    regions: Regions | None = None
    split: str = ""


@dataclass(frozen=True)
class MaskDataset:
    """What was found. Class ids are 1..n in the order of `classes`; 0 is background.

    `skipped` lists (file or row, reason) of everything that takes no part.
    """

    samples: list[MaskSample]
    classes: tuple[str, ...] = ("foreground",)
    skipped: list[tuple[str, str]] = ()

    @property
    def num_classes(self) -> int:
        """1 for a binary mask, else the number of class ids with the background."""
        return 1 if len(self.classes) == 1 else len(self.classes) + 1

    def __len__(self) -> int:
        return len(self.samples)

    def check_names(self, num_classes: int) -> None:
        """Refuses COCO data found without names where ids 0..num_classes - 1 are wanted.

        Raises:
            DentalzooError: the outlines would all have become one class.
        """
        drawn = any(sample.regions is not None for sample in self.samples)
        if drawn and num_classes > 2 and len(self.classes) == 1:
            raise DentalzooError(
                f"COCO data of {num_classes - 1} classes needs their names in the order of the "
                "ids: classes=('Caries', 'Crown'). Received: no classes"
            )


def find_masks(
    data_dir: str | Path,
    split: str | None = None,
    classes: Sequence[str] | None = None,
    annotations: str = "auto",
) -> MaskDataset:
    """Finds images with masks in the layouts of docs/data_formats.md. No image is opened.

    Args:
        split: "train", "val" or "test" (or "valid", "validation", "testing", ...); None for all.
        classes: names for the ids 1..n; with COCO, categories in this order and no others. None
            makes a binary mask, with COCO the union of all outlines.
        annotations: "masks", "coco", or "auto": masks where there are any, else COCO.

    Raises:
        DentalzooError: nothing usable is there; the message lists what is understood and seen.
        BadFile: `split.csv` or an annotation file is broken.
    """
    if annotations not in ("auto", "masks", "coco"):
        raise DentalzooError(f"annotations is auto, masks or coco. Received: {annotations!r}")
    wanted = split and layouts.split_word(split)
    if split is not None and not wanted:
        raise DentalzooError(f"split is one of {SPLITS} or None. Received: {split!r}")
    names = checked_classes(classes)
    tree = layouts.scan(Path(data_dir))

    pairs, skips = layouts.pair_folders(tree) if annotations != "coco" else ([], [])
    if pairs:
        samples = [MaskSample(i.stem, i, mask=m, split=s) for i, m, s in pairs]
        if tree.coco:
            _log.info('masks are used and COCO files are not; annotations="coco" uses them')
    elif tree.coco and annotations != "masks":
        samples, skips = _from_coco(tree, names)
    else:
        samples = []
    if not samples:
        raise DentalzooError(
            f"{data_dir}: no image with a mask; expected {UNDERSTOOD}. Received: {tree.seen()}"
        )
    skips += [Skip(tree.name(p), "a folder or a broken link") for p in tree.unreadable]
    if tree.split_csv:
        samples, skips = _apply_split_csv(tree, samples, skips)
    if wanted:
        present = Counter(sample.split or "no split" for sample in samples)
        samples = [sample for sample in samples if sample.split == wanted]
        skips = [skip for skip in skips if skip.split in (wanted, "")]
        if not samples:
            raise MissingSplit(
                f"{data_dir}: expected images of the split {wanted!r}, from the folders' names "
                f"or from split.csv (id,split). Received: {dict(present)}"
            )
    skipped = [(skip.name, skip.reason) for skip in skips]
    report_skipped(skipped)
    return MaskDataset(_with_unique_names(tree, samples), names or ("foreground",), skipped)


def load(sample: MaskSample, num_classes: int = 1, channels: int | None = None) -> dict:
    """Loads a sample; the one place where the rules for masks are kept.

    Binary (`num_classes` 1 or 2): 0/1 as it is; 0/255 and 0/65535 become 0/1; soft and lossy
    masks are thresholded at > 0.5 with a notice. Else: ids 0..num_classes - 1 as stored.
    A mask drawn on the unturned pixels of an image with an EXIF orientation is turned alike.

    Returns:
        "image": (H, W, C) uint8; "mask": (H, W, 1) uint8 class ids; "name": str.

    Raises:
        BadFile: either file is unreadable, sizes differ, or the mask holds an unknown id.
    """
    image = read_image(sample.image, channels)
    turn = orientation(sample.image)
    height, width = image.shape[:2]
    if sample.regions is not None:
        source = sample.regions.source
        drawn = (sample.regions.height or height, sample.regions.width or width)
        turn = turn_to_fit(source, sample.image, drawn, (height, width), turn)
        mask = rasterise(sample.regions, *drawn)
        if mask.max() >= max(num_classes, 2):
            raise DentalzooError(
                f"{source}: expected ids below num_classes = {num_classes}. Received: {mask.max()}"
            )
    else:
        source = sample.mask
        mask = read_mask(source)
        if turn > 1 and mask.shape == (height, width):
            notice_once("masks of turned images are taken as drawn upright", source.parent)
        turn = turn_to_fit(source, sample.image, mask.shape, (height, width), turn)
        mask = _class_ids(source, mask, num_classes)
    mask = np.ascontiguousarray(upright(mask, turn))[..., None]
    return {"image": image, "mask": mask, "name": sample.name}


def check(
    dataset: MaskDataset,
    num_classes: int | None = None,
    channels: int | None = None,
    strict: bool = False,
    keep: Callable[[int, dict], None] | None = None,
) -> MaskDataset:
    """Loads every sample once and moves those that cannot be used to `skipped`.

    Args:
        num_classes: as in `load`; None for `dataset.num_classes`.
        strict: the first bad sample raises instead.
        keep: called with (index among the good samples, loaded sample), to fill a cache.

    Raises:
        BadFile: a sample is bad and `strict` is set.
        DentalzooError: no sample is left, or `num_classes` contradicts COCO classes.
    """
    num_classes = dataset.num_classes if num_classes is None else num_classes
    if not 1 <= num_classes <= 255:
        raise DentalzooError(f"num_classes lies in 1..255. Received: {num_classes}")
    if num_classes != dataset.num_classes and any(s.regions for s in dataset.samples):
        raise DentalzooError(
            f"expected num_classes {dataset.num_classes} for the classes {dataset.classes}. "
            f"Received: {num_classes}"
        )
    good, bad = [], []
    for sample in tqdm(dataset.samples, "reading", leave=False, disable=None):
        try:
            arrays = load(sample, num_classes, channels)
        except BadFile as error:
            if strict:
                raise
            part = "" if error.path == sample.image else f"{error.path.name}: "
            bad.append((sample.name, part + error.reason))
            continue
        if keep:
            keep(len(good), arrays)
        good.append(sample)
    report_skipped(bad)
    if not good:
        first = bad[0][1] if bad else "no sample"
        raise DentalzooError(f"none of {len(dataset)} images can be used. Received: {first}")
    return replace(dataset, samples=good, skipped=[*dataset.skipped, *bad])


def check_folder(
    data_dir: str | Path, split: str | None = None, num_classes: int | None = None
) -> dict:
    """Reads a data set once and says what is wrong with it, for `dentalzoo check`.

    Returns:
        "data", "usable" (number of images), the number of images of each split; "skipped"
        [name, reason] and "duplicates" [name, name, kind and splits] between splits, both empty
        where nothing is wrong. All of it fits into JSON.

    Raises:
        DentalzooError: as `find_masks` and `check`.
    """
    from dentalzoo.data.duplicates import find_duplicates, fingerprint

    prints = []
    dataset = check(
        find_masks(data_dir, split),
        num_classes,
        keep=lambda index, arrays: prints.append(fingerprint(arrays["image"])),
    )
    by_split = {name: {} for name in (*SPLITS, "")}
    for sample, one in zip(dataset.samples, prints, strict=True):
        by_split[sample.split][sample.name] = one
    duplicates = [
        [one, other, f"{kind}, in {a} and {b}"]
        for a, b in combinations(SPLITS, 2)
        for one, other, kind in find_duplicates(by_split[a], by_split[b])
    ]
    for one, other, kind in duplicates[:_MAX_LINES]:
        _log.warning("%s and %s: %s", one, other, kind)
    if len(duplicates) > _MAX_LINES:
        _log.warning("%d images in two splits in all", len(duplicates))
    return {
        "data": str(data_dir),
        "usable": len(dataset),
        **{name or "no split": len(group) for name, group in by_split.items() if group},
        "skipped": [list(pair) for pair in dataset.skipped],
        "duplicates": duplicates,
    }


def turn_to_fit(source: Path, image: Path, size, wanted, turn: int) -> int:
    """The orientation that takes a drawing of `size` (height, width) to the upright image's.

    Args:
        source: the file of the drawing.
        image: its image, of size `wanted` once `turn`, its EXIF orientation, is undone.

    Raises:
        BadFile: the drawing fits neither the upright image nor the stored one.
    """
    if tuple(size) == tuple(wanted):
        return 1
    if turn >= 5 and tuple(size) == tuple(wanted[::-1]):
        return turn
    raise BadFile(
        source,
        f"expected the size of {image.name}, {wanted[1]} x {wanted[0]} (width x height). "
        f"Received: {size[1]} x {size[0]}",
    )


def _class_ids(path: Path, mask: np.ndarray, num_classes: int) -> np.ndarray:
    """(H, W) uint8 ids below max(num_classes, 2)."""
    values, counts = _histogram(mask)
    if values[-1] < max(num_classes, 2):
        return mask.astype(np.uint8)
    if num_classes > 2:
        unknown = [int(value) for value in values if value >= num_classes]
        raise BadFile(
            path,
            f"expected the class ids 0..{num_classes - 1} as grey levels or palette indices. "
            f"Received: {_few(unknown)}",
        )
    full = 255 if values[-1] <= 255 else 65535
    between = (values > 0) & (values < full)
    if not between.any():
        return (mask > 0).astype(np.uint8)
    middle = (values > full // 5) & (values < full - full // 5)
    share = counts[middle].sum() / mask.size
    if share > _MOST_MIDDLE_GREY:
        raise BadFile(
            path,
            "expected a mask, nearly all black and white; is it the image itself? "
            f"Received: {share:.0%} middle grey",
        )
    dark_alone = values[between][-1] < full // 8  # ids, with or without a bright "ignore" label
    grey_coded = len(values) <= 8 and share > _MOST_MIDDLE_GREY_OF_FEW
    if dark_alone or grey_coded or values[-1] <= full // 2:
        raise BadFile(
            path,
            "expected a binary mask (0 and 1, or 0 and 255); for several classes name them "
            f"(classes=...) and store ids 0..n. Received: {_few(values.tolist())}",
        )
    notice_once("soft or lossy masks are thresholded at > 0.5", path.parent)
    return (mask > full // 2).astype(np.uint8)


@cache
def notice_once(notice: str, folder: Path) -> None:
    """One line for a folder of thousands of files."""
    _log.warning("%s: %s", folder, notice)


def _histogram(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if mask.dtype != np.uint8:
        return np.unique(mask, return_counts=True)
    counts = np.bincount(mask.ravel(), minlength=256)
    values = np.flatnonzero(counts)
    return values, counts[values]


def _few(values: Sequence[int]) -> str:
    more = f" and {len(values) - 8} more" if len(values) > 8 else ""
    return "the values " + ", ".join(map(str, values[:8])) + more


def _from_coco(
    tree: layouts.Tree, classes: tuple[str, ...] | None
) -> tuple[list[MaskSample], list[Skip]]:
    samples, skips, used = [], [], set()
    for source in tree.coco:
        split = layouts.coco_split(tree, source)
        for file_name, regions in read_coco(source, classes):
            row = f"{tree.name(source)}: {file_name}"
            images = layouts.find_image(tree, source, file_name, split)
            if not images:
                skips.append(Skip(row, "annotation without image", split))
            elif len(images) > 1:
                skips.append(Skip(row, f"annotation of {len(images)} images of one name", split))
            elif images[0][0] in used:
                skips.append(Skip(row, "image in several annotation files", split))
            else:
                image, folder = images[0]
                used.add(image)
                samples.append(
                    MaskSample(image.stem, image, regions=regions, split=split or folder.split)
                )
    for folder in tree.folders:
        if folder.role != "masks":
            rest = [img for img in folder.images if img not in used]
            skips += layouts.unused(tree, folder, rest, "image without annotation")
    return samples, skips


def _apply_split_csv(
    tree: layouts.Tree, samples: list[MaskSample], skips: list[Skip]
) -> tuple[list[MaskSample], list[Skip]]:
    """Rows decide the split, whatever the folders are called."""
    rows = layouts.read_splits(tree.split_csv)
    kept, skips, used = [], list(skips), set()
    for sample in samples:
        row = layouts.split_row(sample.image, rows)
        if row is None:
            skips.append(Skip(tree.name(sample.image), "image in no split of split.csv"))
        else:
            used.add(row)
            kept.append(replace(sample, split=rows[row]))
    skipped = {layouts.split_row(Path(skip.name), rows) for skip in skips}
    skips += [
        Skip(row, "row of split.csv without files", split)
        for row, split in rows.items()
        if row not in used and row not in skipped
    ]
    return kept, skips


def _with_unique_names(tree: layouts.Tree, samples: list[MaskSample]) -> list[MaskSample]:
    """The stem of the image file; where two share it, the path without its suffix."""
    count = Counter(sample.name for sample in samples)
    return [
        replace(s, name=tree.name(s.image.with_suffix(""))) if count[s.name] > 1 else s
        for s in samples
    ]


def report_skipped(skipped: list[tuple[str, str]], word: str = "skipped") -> None:
    """A line for each file; of many, one line with the counts by reason."""
    if len(skipped) <= _MAX_LINES:
        for name, reason in skipped:
            _log.warning("%s %s: %s", word, name, reason)
        return
    reasons = Counter(reason.split(". Received")[0] for _, reason in skipped).most_common(5)
    listed = ", ".join(f"{count} x {reason[:60]}" for reason, count in reasons)
    _log.warning("%s %d files: %s", word, len(skipped), listed)


def checked_classes(classes: Sequence[str] | None) -> tuple[str, ...] | None:
    """The names of the ids 1..n as given; DentalzooError where they are no such list."""
    if classes is None:
        return None
    names = tuple(classes)
    if isinstance(classes, str) or not names or len(set(names)) < len(names) or len(names) > 255:
        raise DentalzooError(
            f"classes is a list of 1 to 255 different names. Received: {classes!r}"
        )
    if "background" in names:
        raise DentalzooError(f"the background is id 0 and not named. Received: {classes!r}")
    return names
