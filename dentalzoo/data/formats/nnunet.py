"""Raw data sets of nnU-Net: `dataset.json`, imagesTr, labelsTr, imagesTs and labelsTs."""

import csv
import json
import logging
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dentalzoo.data.formats.base import (
    BoxSample,
    Content,
    ImageAnnotation,
    ParsedAnnotations,
    Place,
    Purpose,
    check_class_list,
    merge_names,
    notice_once,
)
from dentalzoo.data.formats.rules import image_size
from dentalzoo.data.formats.semantic import MAX_CLASSES, areas, label_map, whole_classes
from dentalzoo.data.formats.semantic import lost as lost
from dentalzoo.data.formats.tree import Skip, Tree, normal
from dentalzoo.data.formats.writing import with_splits
from dentalzoo.data.io.images import read_image, read_mask, write_png
from dentalzoo.errors import BadFile, DentalzooError

_log = logging.getLogger("dentalzoo")

NAME = "nnU-Net"
HOLDS: tuple[Content, ...] = ("masks", "names", "splits")
WRITES: tuple[Content, ...] = ("masks", "names", "splits")
READS: tuple[Purpose, ...] = ("boxes", "masks")

_ENDINGS = (".png", ".bmp", ".tif", ".tiff")  # of nnU-Net's, those that are images
_CHANNEL = re.compile(r"(.+)_(\d{4})")
_FOLDS = "splits_final.json"
_IGNORED = "ignore"


def sniff(tree: Tree) -> str:
    """Name a `dataset.json` with labels and channels."""
    return "nnU-Net raw data (masks)" if _datasets(tree) else ""


def read(tree: Tree, purpose: Purpose) -> ParsedAnnotations:
    """Read the label maps of each `dataset.json` in the tree.

    Cases of Tr are "train" and "val" as the first fold of `splits_final.json` has them, those of Ts
    are "test". Of several channels the first one is the image.

    Raises:
        BadFile: `dataset.json` or `splits_final.json` is broken, or the images are NIfTI.
    """
    datasets = _datasets(tree)
    entries, _ = tree.entries if datasets else ([], [])
    parsed = ParsedAnnotations(images=[e for e in entries if _channel(e.path) in ("", "0000")])
    names: list[list[str]] = []
    for path in datasets:
        ids = _label_ids(path, tree.json(path))
        _check_ending(path, tree.json(path))
        names.append([name for name in ids.values() if name not in ("", _IGNORED)])
        folds = _read_folds(tree, path.parent / _FOLDS)
        for part in ("Tr", "Ts"):
            _read_part(tree, parsed, purpose, path.parent, part, ids, folds)
        _report_missing(tree, path, folds)
    parsed.classes = merge_names(names) or None
    return parsed


def write(samples: Sequence[BoxSample], out: Path, classes: Sequence[str], place: Place) -> Path:
    """Write PNG images, label maps, `dataset.json`, and `splits_final.json` where there is "val".

    Images are 8-bit grey, or all of them colour where one is.
    """
    names = check_class_list(classes)
    if len(names) > MAX_CLASSES or {"background", _IGNORED} & set(names):
        raise DentalzooError(
            f"nnU-Net must have at most {MAX_CLASSES} classes, none of them background or ignore. "
            f"Received: {len(names)} classes"
        )
    cases: dict[str, Path] = {}
    samples = with_splits(NAME, samples)
    for sample in samples:
        part = "Ts" if sample.split == "test" else "Tr"
        cases[sample.name] = path = _first_channel(place(sample, out / f"images{part}"))
        size, _ = image_size(path)
        label = out / f"labels{part}" / f"{_case(path)}.png"
        write_png(label, label_map(sample, size, names))
    colour = any(read_image(path).shape[2] == 3 for path in cases.values())
    for path in cases.values():
        write_png(path, read_image(path, 3 if colour else 1))
    channels = ("R", "G", "B") if colour else ("radiograph",)
    content = {
        "channel_names": {str(i): channel for i, channel in enumerate(channels)},
        "labels": {"background": 0, **{name: i for i, name in enumerate(names, start=1)}},
        "numTraining": sum(sample.split != "test" for sample in samples),
        "file_ending": ".png",
    }
    _write_json(out / "dataset.json", content)
    if any(sample.split == "val" for sample in samples):
        fold: dict[str, list[str]] = {"train": [], "val": []}
        for sample in samples:
            if sample.split != "test":
                key = "val" if sample.split == "val" else "train"
                fold[key].append(_case(cases[sample.name]))
        _write_json(out / _FOLDS, [fold])
    _write_groups(out, samples, cases)
    return out


# ---- reading -------------------------------------------------------------------------------------


def _datasets(tree: Tree) -> list[Path]:
    found = []
    for path in tree.notes_of(".json"):
        keys = tree.json_keys(path)
        if "labels" in keys and keys & {"channel_names", "modality"} and "[]" not in keys:
            found.append(path)
    return found


def _label_ids(path: Path, content: dict[str, Any]) -> dict[int, str]:
    """Return id -> name of `labels`, of either version; "" for the background.

    Raises:
        BadFile: they are regions (several ids for a name), or not ids and names.
    """
    labels = content["labels"]
    if not isinstance(labels, dict):
        raise BadFile(path, f"labels must be names and ids. Received: {str(labels)[:80]}")
    regions = [name for name, value in labels.items() if isinstance(value, list)]
    if regions:
        raise BadFile(
            path,
            "labels must have one id for each class; regions of several ids are not read. "
            f"Received: {regions[0]!r}: {str(labels[regions[0]])[:60]}",
        )
    ids: dict[int, str] = {}
    for key, value in labels.items():
        number, name = (key, value) if isinstance(value, str) and key.isdecimal() else (value, key)
        try:
            if isinstance(number, bool) or not isinstance(name, str):
                raise ValueError("no id")
            index = int(number)
            if index in ids or name in ids.values() or not 0 <= index <= 255:
                raise ValueError("not in 0..255, or twice")
        except (TypeError, ValueError, OverflowError):
            shown = f"{key[:40]!r}: {str(value)[:40]}"
            raise BadFile(path, f"labels must have different ids. Received: {shown}") from None
        ids[index] = "" if index == 0 else " ".join(name.split())
    if not any(ids.values()):
        raise BadFile(path, "labels must name a class beside the background. Received: none")
    return dict(sorted(ids.items()))


def _check_ending(path: Path, content: dict[str, Any]) -> None:
    ending = content.get("file_ending", ".nii.gz" if "modality" in content else ".png")
    images = any((path.parent / "labelsTr").glob("*.png"))
    if not images and str(ending).lower() not in _ENDINGS:
        raise BadFile(
            path,
            "file_ending must be that of an image; NIfTI is not read, export PNG. "
            f"Received: {str(ending)[:40]!r}",
        )


def _read_folds(tree: Tree, path: Path) -> dict[str, str] | None:
    """Return case -> split of the first fold; None where there is no file."""
    if not path.is_file():
        return None
    try:
        folds = tree.json(path)
        fold = folds[0]
        splits = {case: split for split in ("train", "val") for case in fold[split]}
        if not all(isinstance(case, str) for case in splits):
            raise TypeError("a case without a name")
    except (OSError, ValueError, RecursionError, TypeError, KeyError, IndexError) as error:
        what = f"{type(error).__name__}: {' '.join(str(error).split())[:80]}"
        raise BadFile(
            path, f"must be a list of folds with train and val. Received: {what}"
        ) from error
    tree.use(path)
    if len(folds) > 1:
        _log.info("%s: the first of %d folds counts", tree.name(path), len(folds))
    return splits


def _read_part(
    tree: Tree,
    parsed: ParsedAnnotations,
    purpose: Purpose,
    root: Path,
    part: str,
    ids: dict[int, str],
    folds: dict[str, str] | None,
) -> None:
    names = [name for name in ids.values() if name not in ("", _IGNORED)]
    images: dict[str, list[Path]] = {}
    for entry in parsed.images:
        if (
            entry.path.parent.name.lower() == f"images{part.lower()}"
            and entry.path.parent.parent == root
        ):
            images.setdefault(normal(_case(entry.path)), []).append(entry.path)
    if any((root / f"images{part}").glob("*_0001.*")):
        notice_once("only the first of several channels is read", root)
    labels = [folder for folder in tree.folders if folder.path == root / f"labels{part}"]
    used = set()
    for path in labels[0].images if labels else ():
        case = normal(path.stem)
        used.add(case)
        owners = images.get(case, [])
        split = "test" if part == "Ts" else (folds or {}).get(path.stem, "" if folds else "train")
        if folds is not None and not split:
            parsed.skips.append(Skip(tree.name(path), f"in no split of {_FOLDS}"))
            parsed.refused.update(owners)
            continue
        try:
            classes = _class_ids(path, ids, names)
        except BadFile as error:
            parsed.refuse(tree.name(path), error.reason, owners)
            continue
        annotation = ImageAnnotation(path, tree.name(path), (classes.shape[0], classes.shape[1]))
        annotation.boxes = (whole_classes if purpose == "masks" else areas)(classes, names)
        parsed.listed[path] = names
        parsed.assign(owners, annotation)
        if len(owners) == 1:
            parsed.splits[owners[0]] = split
    alone = [paths[0] for case, paths in images.items() if case not in used]
    if part == "Ts" and not labels:
        parsed.refused.update(alone)  # images to predict: nothing of them is missing
        if alone:
            _log.info("imagesTs/: %d images without label maps, not used", len(alone))
    elif labels:
        parsed.skips += [Skip(tree.name(path), "image without label map") for path in alone]
        parsed.refused.update(alone)


def _report_missing(tree: Tree, path: Path, folds: Mapping[str, str] | None) -> None:
    """Warn of cases that `dataset.json` counts or `splits_final.json` names and that are absent."""
    labels = [f for f in tree.folders if f.path == path.parent / "labelsTr"]
    cases = {normal(image.stem) for folder in labels for image in folder.images}
    stated = tree.json(path).get("numTraining")
    if isinstance(stated, int) and stated > len(cases):
        what = f"{stated} cases for training, but {len(cases)} label maps are there"
        notice_once(f"{tree.name(path)}: {what}", tree.root)
    lost = [case for case in folds or () if normal(case) not in cases]
    if lost:
        what = f"{len(lost)} cases without label map, such as {lost[0]!r}"
        notice_once(f"{tree.name(path.parent / _FOLDS)}: {what}", tree.root)


def _class_ids(path: Path, ids: dict[int, str], names: Sequence[str]) -> np.ndarray:
    """Return (H, W) uint8 of the ids 1..n of `names`; pixels to be ignored are background."""
    stored = read_mask(path)
    values = np.unique(stored).tolist()
    unknown = [value for value in values if value not in ids and value != 0]
    if unknown:
        shown = ", ".join(map(str, unknown[:8]))
        raise BadFile(path, f"must hold the ids of dataset.json. Received: the values {shown}")
    classes = np.zeros(stored.shape, np.uint8)
    for value in values:
        name = ids.get(value, "")
        if name == _IGNORED:
            notice_once("pixels of the label ignore count as background", path.parent)
        elif name:
            classes[stored == value] = names.index(name) + 1
    return classes


def _channel(path: Path) -> str:
    """Return the channel of an image in a folder of nnU-Net, "" for another image."""
    match = _CHANNEL.fullmatch(path.stem)
    return match[2] if match and path.parent.name.lower() in ("imagestr", "imagests") else ""


def _case(path: Path) -> str:
    match = _CHANNEL.fullmatch(path.stem)
    return match[1] if match else path.stem


# ---- writing -------------------------------------------------------------------------------------


def _first_channel(path: Path) -> Path:
    """Rename an image to that of a first channel, as PNG, and return its path."""
    stem = path.stem if _CHANNEL.sub(r"\2", path.stem) == "0000" else f"{path.stem}_0000"
    target = path.with_name(f"{stem}.png")
    if target != path and target.exists():
        raise DentalzooError(f"images must have different names. Received: {stem!r} twice")
    if path.suffix.lower() == ".png":
        return path.rename(target)
    write_png(target, read_image(path))
    path.unlink()
    return target


def _write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False), encoding="utf-8")


def _write_groups(out: Path, samples: Sequence[BoxSample], cases: dict[str, Path]) -> None:
    """Write index.csv where groups have members: the files have other names than the samples."""
    sizes = Counter(sample.group for sample in samples if sample.group)
    rows = [(cases[s.name].name, s.group) for s in samples if s.group]
    if len(rows) > len(sizes):
        with open(out / "index.csv", "w", newline="", encoding="utf-8") as stream:
            csv.writer(stream, lineterminator="\n").writerows([("id", "group"), *rows])
