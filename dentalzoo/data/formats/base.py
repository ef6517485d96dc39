"""Annotations as the files of a format hold them, and what every reader and writer shares."""

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal, NoReturn

from dentalzoo.data.formats.tree import FileEntry, Skip, normal
from dentalzoo.errors import BadFile, DentalzooError, few_of

_log = logging.getLogger("dentalzoo")
RESULTS_AS_DATA = "as results of a detector have; they are read as ground truth"
_MAX_SIDE = 1 << 31  # ours: pixels; a larger number is a mistake
_MAX_LINES = 20  # of skipped files in the log; beyond it they are counted by reason

Purpose = Literal["boxes", "masks", "boundaries"]
Content = Literal[
    "boxes", "polygons", "masks", "names", "splits", "difficult", "crowd", "attributes"
]
Unit = Literal["pixels", "display", "parts"]
Polygons = tuple[tuple[float, ...], ...]  # x, y, x, y, ... of each
Attributes = tuple[tuple[str, str], ...]  # name, value


@dataclass(frozen=True)
class RunLengths:
    """The pixels of an object, as COCO's uncompressed run lengths.

    Attributes:
        height, width: of the image.
        counts: pixels outside, inside, outside, ..., column by column from the top left.
    """

    height: int
    width: int
    counts: tuple[int, ...]


@dataclass(frozen=True)
class Box:
    """One object in an image.

    Attributes:
        label: its class.
        top, left, bottom, right: in [0, 1] of the upright image, lower ends exclusive.
        difficult: hard to recognise, as VOC marks it.
        crowd: several objects in one box, as COCO marks it.
        outline: polygons or pixels, in pixels of the upright image; None for the box alone, and
            where outlines were not asked for.
        score: confidence of a prediction in [0, 1]; None for an annotation.
        source: who drew it, in the words of CVAT: "manual", "auto" for a model, "semi-auto" or
            "file"; "" where unknown.
        attributes: (name, value) of what else a tool says of it, such as ("restored", "true").
    """

    label: str
    top: float
    left: float
    bottom: float
    right: float
    difficult: bool = False
    crowd: bool = False
    outline: Polygons | RunLengths | None = None
    score: float | None = None
    source: str = field(default="", compare=False)  # which CVAT alone holds
    attributes: Attributes = field(default=(), compare=False)  # the same


@dataclass(frozen=True)
class BoxSample:
    """An image with its boxes.

    Attributes:
        name: unique in its data set.
        image: its file.
        boxes: empty where the image was annotated and shows nothing.
        group: images of one group lie in one split.
        split: "train", "val", "test" or "".
        label: the image group, by the name of a folder or in `defects.csv`; "" where unknown.
    """

    name: str
    image: Path
    boxes: tuple[Box, ...]
    group: str = ""
    split: str = ""
    label: str = field(default="", compare=False)  # which no annotation format holds


@dataclass(frozen=True)
class RawBox:
    """A box as its file has it.

    Attributes:
        label: the name of its class, as written.
        edges: top, left, bottom, right, in the unit of its `ImageAnnotation`; lower ends exclusive.
        where: its place in the file, such as "object 3".
        difficult, crowd: see `Box`.
        repaired: what its reader has corrected.
        outline: its COCO segmentation (a list of polygons [x, y, x, y, ...], or run lengths
            {"size", "counts"}) in the same unit; None for a box alone.
        source, attributes: see `Box`.
    """

    label: str
    edges: tuple[float, float, float, float]
    where: str
    difficult: bool = False
    crowd: bool = False
    repaired: tuple[str, ...] = ()
    outline: Any = None
    source: str = ""
    attributes: Attributes = ()


@dataclass
class ImageAnnotation:
    """The annotation of one image as a file has it.

    Attributes:
        source: the file.
        name: of the file and of the image in it, for messages.
        size: (height, width) that the coordinates refer to; None where the file does not say.
        unit: of boxes: "pixels" of `size`; "display", the same for a window that may be stretched;
            "parts" of the upright image.
        boxes: its objects, each with its box and, where the file has one, its outline.
        invalid: (where, reason) of objects that cannot be read.
        repaired: what the reader has corrected, besides single objects.
        mask: the file of its mask or boundary drawing, where those are read.
    """

    source: Path
    name: str
    size: tuple[int, int] | None = None
    unit: Unit = "pixels"
    boxes: list[RawBox] = field(default_factory=list)
    invalid: list[tuple[str, str]] = field(default_factory=list)
    repaired: list[str] = field(default_factory=list)
    mask: Path | None = None

    def add(self, where: str, make: Callable[[], RawBox]) -> None:
        """Add the box that `make` returns; after a ValueError or an OverflowError it is invalid."""
        try:
            self.boxes.append(make())
        except (ValueError, OverflowError) as error:
            self.invalid.append((where, " ".join(str(error).split())[:200]))


@dataclass
class ParsedAnnotations:
    """The annotations in all files of one format.

    Attributes:
        annotations: image -> its annotation.
        images: all images of the data set, with or without an annotation.
        skips: annotations that are not used.
        refused: the images that `skips` account for.
        classes: the classes in the order of their ids; None where no file lists them.
        listed: annotation file -> every class that it lists, where masks are read.
        category_ids: class -> its id in the files, where the format is COCO.
        image_ids: image -> its id in the files, where the format is COCO.
        splits: image -> split, where the format or the name of its file has one.
        split_source: where `splits` come from; "" for the names of folders and files.
        repaired: (file, what) besides the annotations' own.
        dropped: phrases for what the files have and no sample can hold, which converting loses.
    """

    annotations: dict[Path, ImageAnnotation] = field(default_factory=dict)
    images: list[FileEntry] = field(default_factory=list)
    skips: list[Skip] = field(default_factory=list)
    refused: set[Path] = field(default_factory=set)
    classes: list[str] | None = None
    listed: dict[Path, list[str]] = field(default_factory=dict)
    category_ids: dict[str, int | str] = field(default_factory=dict)
    image_ids: dict[Path, int | str] = field(default_factory=dict)
    splits: dict[Path, str] = field(default_factory=dict)
    split_source: str = ""
    repaired: list[tuple[str, str]] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)

    def refuse(self, name: str, reason: str, images: Iterable[Path] = ()) -> None:
        """Skip an annotation, and note the images that it may refer to."""
        self.skips.append(Skip(name, reason))
        self.refused.update(images)

    def assign(self, images: Sequence[Path], annotation: ImageAnnotation) -> None:
        """Keep an annotation that refers to one image; the first one of each image counts."""
        if len(images) != 1:
            what = f"annotation of {len(images)} images of one name" if images else ""
            self.refuse(annotation.name, what or "annotation without image", images)
        elif images[0] in self.annotations:
            self.refuse(annotation.name, "image in several annotation files")
        else:
            self.annotations[images[0]] = annotation


# ---- shared by readers ---------------------------------------------------------------------------


def parse_size(height: Any, width: Any) -> tuple[int, int] | None:
    """Return (height, width) as a file states them; None where one is missing, 0 or no number."""
    try:
        size = int(float(height)), int(float(width))
    except (TypeError, ValueError, OverflowError):
        return None
    return size if min(size) > 0 and max(size) < _MAX_SIDE else None


def merge_names(lists: Iterable[Iterable[str]]) -> list[str]:
    """Return the names of all lists, each once, in the order of their first appearance."""
    return list(dict.fromkeys(name for names in lists for name in names))


def images_by_name(entries: Iterable[FileEntry]) -> dict[str, list[Path]]:
    """Return file name -> the images of that name, each name as `tree.normal` spells it."""
    images: dict[str, list[Path]] = {}
    for entry in entries:
        images.setdefault(normal(entry.path.name), []).append(entry.path)
    return images


def nearest_images(images: Sequence[Path], source: Path) -> list[Path]:
    """Return the images that share most folders with `source`."""
    if len(images) <= 1:
        return list(images)

    def shared(image: Path) -> int:
        pairs = zip(image.parts, source.parts, strict=False)
        return next((i for i, (a, b) in enumerate(pairs) if a != b), len(source.parts))

    most = max(map(shared, images))
    return [image for image in images if shared(image) == most]


# ---- shared by writers ---------------------------------------------------------------------------


# Puts the image of a sample into a folder of the new data set and returns its path.
Place = Callable[[BoxSample, Path], Path]


def refuse_to_write(name: str, instead: str = "") -> NoReturn:
    """Raise the error of a format that this version does not write.

    Args:
        name: of the format.
        instead: what writes it, or what to write instead.
    """
    hint = f"; {instead}" if instead else ""
    raise DentalzooError(f"{name} cannot be written from samples with boxes{hint}")


def check_class_list(classes: Sequence[str]) -> tuple[str, ...]:
    """Return the classes of a file to write.

    Raises:
        DentalzooError: they are not a list of different names.
    """
    if isinstance(classes, str) or not classes or len(set(classes)) < len(classes):
        raise DentalzooError(f"classes must be a list of different names. Received: {classes!r}")
    return tuple(classes)


# ---- options, errors and the log -----------------------------------------------------------------


def check_class_names(classes: Sequence[str] | None) -> tuple[str, ...] | None:
    """Return the names of the ids 1..n as given; None stays None.

    Raises:
        DentalzooError: they are not a list of 1 to 255 different names without "background".
    """
    if classes is None:
        return None
    names = tuple(classes)
    if isinstance(classes, str) or not names or len(set(names)) < len(names) or len(names) > 255:
        raise DentalzooError(
            f"classes must be a list of 1 to 255 different names. Received: {classes!r}"
        )
    if "background" in names:
        raise DentalzooError(
            f"classes must not hold the background, which is id 0. Received: {classes!r}"
        )
    return names


@contextmanager
def naming_files(image: Path) -> Iterator[None]:
    """Put the file name before the reason of a BadFile that is about another file than `image`."""
    try:
        yield
    except BadFile as error:
        if error.path == image:
            raise
        raise BadFile(error.path, f"{Path(error.path).name}: {error.reason}") from error


def report_skipped(skipped: Sequence[tuple[str, str]], word: str = "skipped") -> None:
    """Log a line for each file; for more than 20, one line with the counts by reason."""
    if len(skipped) <= _MAX_LINES:
        for name, reason in skipped:
            _log.warning("%s %s: %s", word, name, reason)
        return
    reasons = Counter(reason.split(". Received")[0] for _, reason in skipped).most_common(5)
    listed = ", ".join(f"{count} x {reason[:60]}" for reason, count in reasons)
    _log.warning("%s %d files: %s", word, len(skipped), listed)


def note_empty(folder: Path, empty: Sequence[str], count: int) -> None:
    """Log the images to train on that have no annotation, in one line and once for a folder.

    Args:
        folder: the data folder.
        empty: their names.
        count: of all images to train on.
    """
    if empty:
        what = f"{len(empty)} of {count} training images have no annotated object"
        meaning = "they are learned as images that show nothing"
        notice_once(f"{what}, {few_of(empty)}; {meaning}", folder, logging.INFO)


@cache
def notice_once(notice: str, folder: Path, level: int = logging.WARNING) -> None:
    """Log a notice once for a folder, which may hold thousands of files."""
    _log.log(level, "%s: %s", folder, notice)
