"""Write samples in an annotation format: nothing that it cannot hold is dropped without a word."""

import csv
import logging
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from dentalzoo.contracts import AnnotationFormat
from dentalzoo.data.formats.base import Box, BoxSample, RunLengths
from dentalzoo.data.formats.names import normal
from dentalzoo.data.formats.outcomes import EXTENT, PARTS, attributes_lost, outcome
from dentalzoo.data.formats.outlines import along_pixels, as_coco, outline_edges
from dentalzoo.data.formats.rules import image_size
from dentalzoo.data.io.decode import is_dicom, upright_size
from dentalzoo.data.io.images import read_image, write_png
from dentalzoo.data.io.stored import StoredImage
from dentalzoo.errors import DentalzooError, few_of
from dentalzoo.limits import max_pixels
from dentalzoo.output_dirs import whole_folder

_log = logging.getLogger("dentalzoo")

_WRITER = "write_annotations"
_SAME_EDGE = 1.0  # ours, in pixels: a box is the extent of its outline up to rounding


class ImagePlacer:
    """Puts the images of samples into folders of a new data set, under different names.

    A file that tools show upright goes there as it is; DICOM and images with an EXIF orientation
    become upright PNG, since annotations refer to the upright image.

    Args:
        link: make hard links, or symbolic ones where the file system refuses, instead of copies.
        names: sample name -> file name without suffix; None takes the images' own names.
    """

    def __init__(self, link: bool = False, names: dict[str, str] | None = None):
        self._link, self._names = link, names
        self._taken: set[tuple[Path, str]] = set()

    def __call__(self, sample: BoxSample, folder: Path) -> Path:
        """Put the image of a sample into `folder`, which is made, and return its path.

        Raises:
            BadFile: the image cannot be read.
            DentalzooError: two images would get one name.
        """
        source = sample.image
        suffix = ".png" if self._to_be_turned(source) else source.suffix.lower() or ".png"
        stem = _in_unicode(self._names[sample.name] if self._names else source.stem)
        if (folder, stem.casefold()) in self._taken:
            stem = _in_unicode(sample.name.replace("/", "_"))
        if (folder, stem.casefold()) in self._taken:
            raise DentalzooError(f"images must have different names. Received: {stem!r} twice")
        self._taken.add((folder, stem.casefold()))
        path = folder / f"{stem}{suffix}"
        folder.mkdir(parents=True, exist_ok=True)
        if self._to_be_turned(source):
            write_png(path, read_image(source))
        elif self._link:
            _link(source, path)
        else:
            shutil.copyfile(source, path)
        return path

    @staticmethod
    def _to_be_turned(source: Path) -> bool:
        if is_dicom(source) or isinstance(source, StoredImage):
            return True
        known = upright_size(source, max_pixels())
        return known is None or known[1] != 1


def _in_unicode(name: str) -> str:
    """Return a name that texts can hold: that of a file may be in Windows-1252."""
    return normal(name) if any("\ud800" <= sign <= "\udfff" for sign in name) else name


def _link(source: Path, path: Path) -> None:
    try:
        os.link(source.resolve(), path)
    except OSError:  # another disk, or a file system without hard links
        path.symlink_to(source.resolve())


def losses(form: AnnotationFormat, samples: Sequence[BoxSample]) -> list[str]:
    """Return what a format cannot hold of samples; empty for nothing.

    A phrase for each kind: how many objects, the first images with any, and what is written
    instead, such as "3 objects marked difficult (in a, b): the mark is left out".
    """
    counts: Counter[str] = Counter()
    images: dict[str, dict[str, None]] = {}
    for sample in samples:
        mine = Counter(_not_held(form, sample))
        counts += mine
        for what in mine:
            images.setdefault(what, {})[sample.name] = None
    if more := form.lost(samples):
        counts.update(more)
        for sample in samples:
            for what in form.lost([sample]):
                images.setdefault(what, {})[sample.name] = None
    lines = []
    for what, count in counts.items():
        names = few_of([*images[what]], 3) if what in images else ""
        where = f" (in {names})" if names else ""
        lines.append(f"{count} objects {what}{where}: {outcome(form.NAME, what)}")
    return lines


def _not_held(form: AnnotationFormat, sample: BoxSample) -> Iterator[str]:
    """Yield a phrase for each object that has what `form.WRITES` does not name."""
    holds = form.WRITES
    for box in sample.boxes:
        if box.difficult and "difficult" not in holds:
            yield "marked difficult"
        if box.crowd and "crowd" not in holds:
            yield "marked as a crowd"
        if box.outline is None:
            if "boxes" not in holds:
                yield "without an outline"
        elif isinstance(box.outline, RunLengths):
            if "masks" not in holds:
                yield "drawn in pixels"
        elif "polygons" not in holds and not ("masks" in holds and along_pixels(box.outline)):
            yield "with a polygon"


def with_splits(name: str, samples: Sequence[BoxSample]) -> list[BoxSample]:
    """Return samples with a split each, "train" where there was none, for formats that need one.

    Args:
        name: of the format, for the line of the log.
        samples: to write.
    """
    count = sum(not sample.split for sample in samples)
    if count:
        _log.info("%s must have splits: %d images without one are written as train", name, count)
    return [sample if sample.split else replace(sample, split="train") for sample in samples]


# ---- what a format may lose: for `lost` ----------------------------------------------------------


def nothing_more(samples: Sequence[BoxSample]) -> list[str]:
    """Return nothing: the format holds all that its `WRITES` names."""
    return []


def several_parts(samples: Sequence[BoxSample]) -> list[str]:
    """Return a phrase for each object of several polygons, where an object has one."""
    outlines = [box.outline for sample in samples for box in sample.boxes]
    parts = [outline for outline in outlines if isinstance(outline, tuple)]
    return [PARTS for outline in parts if len(outline) > 1]


def other_extents(samples: Sequence[BoxSample]) -> list[str]:
    """Return a phrase for each box that its outline does not give, where only that is written."""
    return [EXTENT for sample in samples for box in sample.boxes if not _is_extent(sample, box)]


def _is_extent(sample: BoxSample, box: Box) -> bool:
    if box.outline is None:
        return True
    (height, width), _ = image_size(sample.image)
    try:
        ends: Sequence[float] = outline_edges(as_coco(box.outline))
    except ValueError:  # no pixel at all
        return False
    sides = (height, width, height, width)
    ends = [min(max(end, 0), side) for end, side in zip(ends, sides, strict=True)]
    edges = (box.top * height, box.left * width, box.bottom * height, box.right * width)
    return all(abs(a - b) <= _SAME_EDGE for a, b in zip(ends, edges, strict=True))


def write_annotations(
    form: AnnotationFormat,
    samples: Sequence[BoxSample],
    out: str | Path,
    classes: Sequence[str],
    *,
    link: bool = False,
    lossy: bool = False,
    names: dict[str, str] | None = None,
) -> Path:
    """Write images with their annotations as a data set, which is complete or absent.

    Splits that the format cannot hold go to split.csv, and groups to index.csv, which every reader
    of this package obeys. Attributes that it cannot hold are left out, which is logged.

    Args:
        form: of the table `dentalzoo.data.formats.FORMATS`.
        samples: with outlines where they have any.
        out: a folder that is absent or empty, or that this function wrote.
        classes: the names of the ids 1..n.
        link: link the images instead of copying them.
        lossy: write what the format can hold and leave out the rest, which is logged.
        names: sample name -> name of its image without suffix; None keeps the names.

    Returns:
        The file or folder that a tool opens.

    Raises:
        DentalzooError: there is no sample, the format is not written or cannot hold something and
            `lossy` is False, or `out` cannot be written.
        BadFile: an image cannot be read.
    """
    if not form.WRITES:
        raise DentalzooError(f"{form.NAME} is not written by this version")
    if not samples:
        raise DentalzooError("samples must hold one image or more. Received: none")
    lost = losses(form, samples)
    if lost and not lossy:
        raise DentalzooError(
            f"{form.NAME} cannot hold all of it; lossy writes the rest. Received: {'; '.join(lost)}"
        )
    for what in lost:
        _log.warning("%s cannot hold %s", form.NAME, what)
    for what in attributes_lost(form, samples):
        _log.warning("%s does not hold %s", form.NAME, what)
    placed: dict[str, Path] = {}
    with whole_folder(out, _WRITER) as folder, _recorded(ImagePlacer(link, names), placed) as place:
        opened = form.write(samples, folder, classes, place)
        _write_tables(form, samples, folder, placed)
    return Path(out) / opened.relative_to(folder)


@contextmanager
def _recorded(
    placer: ImagePlacer, placed: dict[str, Path]
) -> Iterator[Callable[[BoxSample, Path], Path]]:
    def place(sample: BoxSample, folder: Path) -> Path:
        placed[sample.name] = placer(sample, folder)
        return placed[sample.name]

    yield place


def _write_tables(
    form: AnnotationFormat, samples: Sequence[BoxSample], folder: Path, placed: dict[str, Path]
) -> None:
    """Write split.csv where the format has no splits, and index.csv where groups have members."""
    sizes = Counter(sample.group for sample in samples if sample.group)
    tables = {
        "split.csv": [(s, s.split) for s in samples if s.split and "splits" not in form.WRITES],
        "index.csv": [(s, s.group) for s in samples if s.group and max(sizes.values()) > 1],
    }
    for name, rows in tables.items():
        if not rows or (folder / name).exists():
            continue
        with open(folder / name, "w", newline="", encoding="utf-8") as stream:
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerow(("id", "split" if name == "split.csv" else "group"))
            writer.writerows(
                (placed[s.name].name if s.name in placed else s.name, value) for s, value in rows
            )
