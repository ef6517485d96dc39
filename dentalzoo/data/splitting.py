"""Divide a data set into train, val and test: by group, with the classes in proportion, seeded."""

import csv
import io
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dentalzoo.atomic import write_atomically
from dentalzoo.data.boxes import BoxSample, find_boxes
from dentalzoo.data.formats.patients import join_patients, patient_group
from dentalzoo.data.formats.tree import SPLITS
from dentalzoo.data.images import ImageSample, find_images
from dentalzoo.data.masks import find_masks
from dentalzoo.errors import DentalzooError


def split_dataset(
    data: str | Path,
    out: str | Path | None = None,
    *,
    val: float = 0.1,
    test: float = 0.0,
    seed: int = 0,
) -> dict[str, Any]:
    """Write split.csv, which every reader of the package obeys.

    Images of one group (of a patient by index.csv or by the names of folders or files, copies of
    one image) go to one split. Among groups, each class keeps its proportion as far as whole groups
    allow.

    Args:
        data: a folder of images with boxes, with masks, or of images alone.
        out: the file; None for split.csv in `data`.
        val: the part of the images for validation.
        test: the part of the images for testing.
        seed: random seed.

    Returns:
        "out", "images" of each split, "groups" (their number) and "labels", the number of objects
        (or of images, where folders name what they show) of each class in each split.

    Raises:
        DentalzooError: nothing usable is there, parts that leave nothing for training, fewer
            groups than splits, or `out` exists or cannot be written.
    """
    path = Path(data) / "split.csv" if out is None else Path(out)
    if path.exists():
        raise DentalzooError(f"the file must be new; remove it or give another. Received: {path}")
    parts = {"train": 1 - val - test, "val": val, "test": test}
    if not all(0 <= part < 1 for part in (val, test)) or parts["train"] <= 0:
        raise DentalzooError(
            "val and test must be at least 0 and leave a part for training. "
            f"Received: val={val!r}, test={test!r}"
        )
    samples = _samples(data)
    groups: dict[str, Counter[str]] = defaultdict(Counter)
    for _, group, labels in samples:
        groups[group].update(labels)
        groups[group][""] += 1  # the image itself
    wanted = [split for split in SPLITS if parts[split] > 0]
    if len(groups) < len(wanted):
        raise DentalzooError(
            f"{data}: must hold as many groups as splits, {len(wanted)}. Received: {len(groups)}"
        )
    split_of = _divide(groups, {split: parts[split] for split in wanted}, seed)
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    names = _names(Path(data), [image for image, _, _ in samples])
    rows.writerows([("id", "split"), *((names[i], split_of[group]) for i, group, _ in samples)])
    write_atomically(path, text.getvalue())
    counts = {split: Counter[str]() for split in wanted}
    for group, split in split_of.items():
        counts[split].update(groups[group])
    return {
        "out": str(path),
        "images": {split: count.pop("") for split, count in counts.items()},
        "groups": len(groups),
        "labels": {split: dict(sorted(count.items())) for split, count in counts.items()},
    }


def _samples(data: str | Path) -> list[tuple[Path, str, list[str]]]:
    """Return (file, group, labels of its objects) of each image."""
    samples = _found(data)
    group_of = join_patients(Path(data), {image: group for image, group, _ in samples})
    return [  # the folder of a patient is no class
        (i, group_of[i], [name for name in labels if patient_group(name) != group_of[i]])
        for i, _, labels in samples
    ]


def _found(data: str | Path) -> list[tuple[Path, str, list[str]]]:
    try:
        boxes = find_boxes(data, val_fraction=0).samples
        return [(s.image, _group(s), [box.label for box in s.boxes]) for s in boxes]
    except DentalzooError as no_boxes:
        try:
            masks = find_masks(data, val_fraction=0).samples
            grouped = {s.image: _group(s) for s in find_images(data, val_fraction=0).samples}
            return [(s.image, grouped.get(s.image, s.name), []) for s in masks]
        except DentalzooError:
            pass
        try:
            images = find_images(data, val_fraction=0).samples
        except DentalzooError:
            raise no_boxes from None
    return [(s.image, _group(s), [s.label] if s.label else []) for s in images]


def _group(sample: BoxSample | ImageSample) -> str:
    """Return the group; of Roboflow's copies the source, in whatever folder each lies now."""
    source, copied, _ = sample.image.name.partition(".rf.")
    return source if copied and sample.group.endswith(source) else sample.group


def _names(data: Path, images: Sequence[Path]) -> dict[Path, str]:
    """Return the ids of images: their names, with folders where several have one name."""
    count = Counter(image.name for image in images)
    return {
        image: image.name
        if count[image.name] == 1 or not image.is_relative_to(data)
        else image.relative_to(data).as_posix()
        for image in images
    }


def _divide(
    groups: Mapping[str, Counter[str]], parts: Mapping[str, float], seed: int
) -> dict[str, str]:
    """Return group -> split by iterative stratification.

    The groups with the rarest class that is left are given out first, each to the split that lacks
    this class most, then images most (Sechidis et al., ECML 2011, for groups instead of samples).
    """
    order = np.random.default_rng(seed).permutation(len(groups))
    names = [sorted(groups)[i] for i in order]
    total: Counter[str] = Counter()
    for counts in groups.values():
        total.update(counts)
    lack = {s: {key: part * total[key] for key in total} for s, part in parts.items()}
    left = dict.fromkeys(names)
    split_of: dict[str, str] = {}
    rank = {split: -parts[split] for split in parts}

    def give(name: str, key: str) -> None:
        split = max(parts, key=lambda s: (round(lack[s][key], 9), round(lack[s][""], 9), rank[s]))
        split_of[name] = split
        for label, count in groups[name].items():
            lack[split][label] -= count
        del left[name]

    for key in _rarest_first(groups, total):
        for name in [n for n in left if groups[n][key]]:
            give(name, key)
    _fill_empty(split_of, groups, parts)
    return split_of


def _rarest_first(groups: Mapping[str, Counter[str]], total: Counter[str]) -> Sequence[str]:
    holders = {key: sum(1 for counts in groups.values() if counts[key]) for key in total}
    return sorted(total, key=lambda key: (key == "", holders[key], key))


def _fill_empty(
    split_of: dict[str, str], groups: Mapping[str, Counter[str]], parts: Mapping[str, float]
) -> None:
    """Give a split without a group the smallest group of the split with most groups."""
    for split in parts:
        sizes = Counter(split_of.values())
        if not sizes[split]:
            most = sizes.most_common(1)[0][0]
            own = [name for name, s in split_of.items() if s == most]
            split_of[min(own, key=lambda name: (groups[name][""], name))] = split
