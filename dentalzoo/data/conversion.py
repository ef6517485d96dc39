"""Read annotated images in any format and write them in another, without a silent loss."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dentalzoo.data import masks
from dentalzoo.data.anonymity import anonymous_names, warning_of_names
from dentalzoo.data.boxes import BoxDataset, find_boxes
from dentalzoo.data.formats import FORMATS, format_named, key_of
from dentalzoo.data.formats.base import BoxSample
from dentalzoo.data.formats.outcomes import attributes_lost, attributes_of
from dentalzoo.data.formats.outlines import objects_of_mask
from dentalzoo.data.formats.writing import write_annotations
from dentalzoo.data.pipeline.prefetch import for_each
from dentalzoo.errors import DentalzooError

_log = logging.getLogger("dentalzoo")

WRITABLE = tuple(key_of(form) for form in FORMATS if form.WRITES)


@dataclass(frozen=True)
class ConversionReport:
    """What `convert` has written.

    Attributes:
        opened: the file or folder that a tool opens.
        source: the name of the format that was read.
        written: number of images.
        objects: number of objects.
        failed: (name, reason) of what could not be used.
        lost: phrases for what was read and is not in the new data set besides: attributes that the
            format does not hold, or that `anonymize` left out, and colours of labels.
    """

    opened: Path
    source: str
    written: int
    objects: int
    failed: list[tuple[str, str]]
    lost: list[str]


def find_objects(
    data_dir: str | Path, split: str | None = None, *, classes: Sequence[str] | None = None
) -> BoxDataset:
    """Find annotated objects with their outlines, in any format of the table.

    Where no format has objects, those of mask images are the connected areas of each class.

    Args:
        data_dir: the data folder.
        split: "train", "val" or "test"; None for all.
        classes: the names of the ids 1..n, as for `find_boxes` and `find_masks`.

    Returns:
        Samples whose boxes have outlines where the data have any. Images of data without splits
        have the split "".

    Raises:
        DentalzooError: nothing usable is there; the message says what is.
        MissingSplit: there are images, but none of the split.
        BadFile: a file that all annotations depend on is broken.
    """
    try:
        return find_boxes(data_dir, split, classes=classes, val_fraction=None, outlines=True)
    except DentalzooError as no_boxes:
        try:
            dataset = masks.find_masks(data_dir, split, classes, val_fraction=None)
        except DentalzooError:
            raise no_boxes from None
    return _objects_of_masks(dataset)


def _objects_of_masks(dataset: masks.MaskDataset) -> BoxDataset:
    failed: list[tuple[str, str]] = []
    samples: list[BoxSample] = []
    for sample, _, boxes in for_each(
        dataset.samples,
        lambda sample: masks.load(sample, dataset.num_classes),
        lambda _, loaded: objects_of_mask(loaded["mask"][..., 0], dataset.classes),
        title="reading masks",
        failed=failed,
        name=lambda sample: sample.name,
    ):
        samples.append(
            BoxSample(sample.name, sample.image, tuple(boxes), sample.group, sample.split)
        )
    if not samples:
        first = failed[0][1] if failed else "no image"
        raise DentalzooError(f"none of {len(dataset)} masks can be used. Received: {first}")
    skipped = [*dataset.skipped, *failed]
    return BoxDataset(samples, dataset.classes, skipped, [], "mask images")


def convert(
    data: str | Path,
    to: str,
    out: str | Path,
    *,
    split: str | None = None,
    classes: Sequence[str] | None = None,
    link: bool = False,
    lossy: bool = False,
    anonymize: bool = False,
) -> ConversionReport:
    """Write annotated images in another format, as a data set that its tool opens.

    Args:
        data: a folder in any format of docs/data_formats.md.
        to: the format, a key of `WRITABLE`.
        out: a folder that is absent or empty, or that this function wrote, which is replaced.
        split: only the images of this split.
        classes: only these classes, numbered from 1 in this order; the names of the ids of masks.
        link: link the images instead of copying them.
        lossy: leave out what the format cannot hold, with a line in the log, instead of refusing.
        anonymize: give the images hashed names, with their key in `out`_key.csv, and leave out the
            attributes of objects, whose texts may name a person.

    Raises:
        DentalzooError: nothing usable is there, the format cannot hold it, or `out` holds
            something else or cannot be written.
        BadFile: an image cannot be read.
    """
    form = format_named(to)
    if not form.WRITES:
        raise DentalzooError(f"to must be one of: {', '.join(WRITABLE)}. Received: {to!r}")
    out = Path(out)
    dataset = find_objects(data, split, classes=classes)
    images = [sample.image for sample in dataset.samples]
    names, lost = None, attributes_lost(form, dataset.samples)
    if anonymize:
        lost = attributes_of(dataset.samples)
        for what in lost:
            _log.warning("%s are left out, whose texts may name a person", what)
        dataset.samples[:] = map(_without_attributes, dataset.samples)
        hashed = anonymous_names(images, out.with_name(f"{out.resolve().name}_key.csv"))
        names = {s.name: name for s, name in zip(dataset.samples, hashed, strict=True)}
    elif warning := warning_of_names(image.name for image in images):
        _log.warning("%s; --anonymize (anonymize=True) writes hashed names", warning)
    if dataset.dropped:
        _log.info("not kept: %s", "; ".join(dataset.dropped))
    opened = write_annotations(
        form, dataset.samples, out, dataset.classes, link=link, lossy=lossy, names=names
    )
    count = sum(len(sample.boxes) for sample in dataset.samples)
    failed, lost = list(dataset.skipped), [*lost, *dataset.dropped]
    return ConversionReport(opened, dataset.format, len(dataset), count, failed, lost)


def _without_attributes(sample: BoxSample) -> BoxSample:
    return replace(sample, boxes=tuple(replace(box, attributes=()) for box in sample.boxes))
