"""What each rater says of each image: read from data sets and from results of `predict`."""

import csv
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np

from dentalzoo.data import masks
from dentalzoo.data.boxes import find_boxes
from dentalzoo.data.formats.base import Box, BoxSample
from dentalzoo.data.formats.names import last_parts
from dentalzoo.data.formats.rules import image_size
from dentalzoo.data.formats.tree import normal
from dentalzoo.errors import BadFile, DentalzooError
from dentalzoo.output_dirs import are_results

Kind = Literal["masks", "boxes"]
Sample = TypeVar("Sample")
_DETECTIONS = "detections.csv"  # of `dentalzoo predict`
_OVERLAY = "_overlay"
_ANY_CLASS = "object"


@dataclass(frozen=True)
class Boxes:
    """The boxes of an image.

    Attributes:
        size: (height, width) of the image in pixels.
        boxes: annotated or, with scores, predicted.
    """

    size: tuple[int, int]
    boxes: tuple[Box, ...]


@dataclass(frozen=True)
class Rater:
    """A reader or a model.

    Attributes:
        name: different for each rater.
        kind: what it has of each image.
        classes: the names of the ids 1..n.
        samples: stem of the image -> its mask or its boxes.
        skipped: [name, reason] of what could not be used.
        is_model: `dentalzoo predict` wrote it.
    """

    name: str
    kind: Kind
    classes: tuple[str, ...]
    samples: Mapping[str, masks.MaskSample | Boxes]
    skipped: list[list[str]]
    is_model: bool = False

    @property
    def has_scores(self) -> bool:
        """Whether its boxes are predictions with scores."""
        boxes = [b for s in self.samples.values() if isinstance(s, Boxes) for b in s.boxes]
        return any(box.score is not None for box in boxes)

    @property
    def used_classes(self) -> tuple[str, ...]:
        """The classes that its boxes have, in the order of `classes`."""
        boxes = [b for s in self.samples.values() if isinstance(s, Boxes) for b in s.boxes]
        labels = {box.label for box in boxes}
        return tuple(name for name in self.classes if name in labels)

    def without_classes(self) -> "Rater":
        """Return it with all boxes of one class."""
        samples: dict[str, masks.MaskSample | Boxes] = {}
        for stem, sample in self.samples.items():
            assert isinstance(sample, Boxes)
            boxes = tuple(replace(box, label=_ANY_CLASS) for box in sample.boxes)
            samples[stem] = replace(sample, boxes=boxes)
        return replace(self, classes=(_ANY_CLASS,), samples=samples)

    def mask(self, stem: str, num_classes: int) -> np.ndarray:
        """Return the class ids of an image, (H, W) uint8.

        Raises:
            BadFile: the mask or its image cannot be read.
        """
        sample = self.samples[stem]
        assert isinstance(sample, masks.MaskSample)
        ids: np.ndarray = masks.load(sample, num_classes)["mask"][..., 0]
        return ids


def read_raters(
    folders: Sequence[str | Path], kind: str = "auto", classes: Sequence[str] | None = None
) -> list[Rater]:
    """Read two folders or more.

    Args:
        folders: annotated images, or results of `dentalzoo predict`.
        kind: "masks", "boxes" or "auto": masks where every folder has them, else boxes.
        classes: the names of the ids 1..n; None for those of the data.

    Raises:
        DentalzooError: fewer than two folders, or one without what is compared.
    """
    paths = [Path(folder) for folder in folders]
    if len(paths) < 2:
        raise DentalzooError(f"folders must be two or more. Received: {len(paths)}")
    for path in paths:
        if not path.is_dir():
            raise DentalzooError(f"folders must be folders of annotations. Received: {path}")
    names = last_parts(paths)
    failure: DentalzooError | None = None
    for tried in ("masks", "boxes") if kind == "auto" else (kind,):
        read = _read_masks if tried == "masks" else _read_boxes
        try:
            return read(paths, names, classes)
        except DentalzooError as error:
            failure = failure or error
    assert failure is not None
    if kind != "auto":
        raise failure
    raise DentalzooError(
        f"every folder must have masks, or every folder boxes; give kind to see why. {failure}"
    )


# ---- masks ---------------------------------------------------------------------------------------


def _read_masks(
    paths: Sequence[Path], names: Sequence[str], classes: Sequence[str] | None
) -> list[Rater]:
    """Read masks; those of `predict` are paired with the images of the other folders."""
    raters: list[Rater | None] = []
    images: dict[str, Path] = {}
    for path, name in zip(paths, names, strict=True):
        try:
            dataset = masks.find_masks(path, classes=classes, val_fraction=0)
        except BadFile:
            raise
        except DentalzooError:
            if not _result_masks(path):
                raise
            raters.append(None)
            continue
        samples = _by_stem(path, {s.image: s for s in dataset.samples})
        images |= {stem: sample.image for stem, sample in samples.items()}
        skipped = [list(pair) for pair in dataset.skipped]
        files = (s.mask or (s.regions.source if s.regions else s.image) for s in dataset.samples)
        model = are_results(files)
        raters.append(Rater(name, "masks", dataset.classes, samples, skipped, model))
    known = next((rater.classes for rater in raters if rater), None)
    if known is None:
        raise DentalzooError(
            "one folder or more must have images beside its masks. "
            f"Received: masks alone in {', '.join(map(str, paths))}"
        )
    return [
        rater or _rater_of_results(path, name, known, images)
        for path, name, rater in zip(paths, names, raters, strict=True)
    ]


def _result_masks(path: Path) -> list[Path]:
    """Return the masks that `dentalzoo predict` wrote."""
    return [p for p in sorted(path.glob("*.png")) if not p.stem.endswith(_OVERLAY)]


def _rater_of_results(
    path: Path, name: str, classes: tuple[str, ...], images: Mapping[str, Path]
) -> Rater:
    samples: dict[str, masks.MaskSample | Boxes] = {}
    skipped: list[list[str]] = []
    for mask in _result_masks(path):
        stem = normal(mask.stem)
        if stem in images:
            samples[stem] = masks.MaskSample(stem, images[stem], mask)
        else:
            skipped.append([mask.name, "mask without an image in another folder"])
    if not samples:
        raise DentalzooError(f"{path}: no mask is named like an image of another folder")
    return Rater(name, "masks", classes, samples, skipped, is_model=True)


# ---- boxes ---------------------------------------------------------------------------------------


def _read_boxes(
    paths: Sequence[Path], names: Sequence[str], classes: Sequence[str] | None
) -> list[Rater]:
    raters = []
    for path, name in zip(paths, names, strict=True):
        table = path / _DETECTIONS
        if table.is_file():
            raters.append(_read_detections(table, name, classes))
            continue
        dataset = find_boxes(path, classes=classes, val_fraction=0)
        samples = {
            stem: Boxes(image_size(sample.image)[0], sample.boxes)
            for stem, sample in _by_stem(path, {s.image: s for s in dataset.samples}).items()
            if isinstance(sample, BoxSample)
        }
        skipped = [list(pair) for pair in dataset.skipped]
        model = are_results(sample.image for sample in dataset.samples)
        raters.append(Rater(name, "boxes", dataset.classes, samples, skipped, model))
    return raters


def _read_detections(table: Path, name: str, classes: Sequence[str] | None) -> Rater:
    """Read detections.csv: a row for each box, and one for each image without any."""
    boxes: dict[str, list[Box]] = {}
    sizes: dict[str, tuple[int, int]] = {}
    try:
        with table.open(encoding="utf-8", newline="") as stream:
            for row in csv.DictReader(stream):
                stem = normal(Path(row["file"]).stem)
                height, width = int(row["height"]), int(row["width"])
                sizes[stem] = height, width
                mine = boxes.setdefault(stem, [])
                if not row["class"] or (classes is not None and row["class"] not in classes):
                    continue
                left, right = float(row["left"]) / width, float(row["right"]) / width
                top, bottom = float(row["top"]) / height, float(row["bottom"]) / height
                edges = (top, left, bottom, right)
                mine.append(Box(row["class"], *edges, score=float(row["score"])))
    except (OSError, ValueError, KeyError, TypeError, ZeroDivisionError, csv.Error) as error:
        raise BadFile(
            table, f"must be a table that predict wrote. Received: {type(error).__name__}: {error}"
        ) from error
    known = classes or sorted({box.label for mine in boxes.values() for box in mine})
    samples = {stem: Boxes(sizes[stem], tuple(mine)) for stem, mine in boxes.items()}
    return Rater(name, "boxes", tuple(known), samples, [], is_model=True)


def _by_stem(path: Path, samples: Mapping[Path, Sample]) -> dict[str, Sample]:
    """Return the samples by the stems of their images.

    Raises:
        DentalzooError: two images have one stem.
    """
    counts = Counter(normal(image.stem) for image in samples)
    if twice := next((stem for stem, count in counts.items() if count > 1), None):
        raise DentalzooError(f"{path}: images must have different names. Received: {twice!r} twice")
    return {normal(image.stem): sample for image, sample in samples.items()}
