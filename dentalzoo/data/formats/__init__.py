"""Annotation formats: a module for each, and the one table of them.

A format recognises its files in a data folder (`sniff`), reads them (`read`) and, where it can,
writes them (`write`); `dentalzoo.contracts.AnnotationFormat` is the type. `read_annotations` asks
the formats of the table in order. docs/adding_an_annotation_format.md shows how to add one.
"""

import logging
import re
from collections.abc import Collection
from types import ModuleType

from dentalzoo.config import did_you_mean
from dentalzoo.contracts import AnnotationFormat
from dentalzoo.data.formats import (
    boundaries,
    coco,
    cvat,
    dentex,
    label_studio,
    labelme,
    mask_images,
    nnunet,
    supervisely,
    tfrecord,
    voc,
    vott,
    yolo,
)
from dentalzoo.data.formats.base import Content, ParsedAnnotations, Purpose
from dentalzoo.data.formats.tree import Skip, Tree
from dentalzoo.data.formats.unused import unrecognised
from dentalzoo.errors import DentalzooError

_log = logging.getLogger("dentalzoo")

# Where a folder holds several formats, the first one that annotates an image is used.
FORMATS: tuple[AnnotationFormat, ...] = (
    nnunet,
    mask_images,
    boundaries,
    yolo,
    dentex,
    coco,
    voc,
    vott,
    tfrecord,
    labelme,
    label_studio,
    cvat,
    supervisely,
)


def key_of(form: AnnotationFormat) -> str:
    """Return the name of a format on the command line: that of its module."""
    return form.__name__.rpartition(".")[2] if isinstance(form, ModuleType) else form.NAME.lower()


def format_named(key: str) -> AnnotationFormat:
    """Return the format of a key.

    Raises:
        DentalzooError: there is no such format.
    """
    forms = {key_of(form): form for form in FORMATS}
    if key not in forms:
        raise DentalzooError(
            f"the annotation format must be one of: {', '.join(forms)}. "
            f"{did_you_mean(key, forms)}Received: {key!r}"
        )
    return forms[key]


def read_annotations(
    tree: Tree, purpose: Purpose, only: Collection[str] | None = None, hint: str = ""
) -> tuple[str, ParsedAnnotations]:
    """Read the first format that annotates an image.

    Args:
        tree: the data folder.
        purpose: what is to be read: "boxes", "masks" or "boundaries".
        only: names of the formats to try; None for all that can be read for the purpose.
        hint: how to use another format, for the log.

    Returns:
        The name of the format and its annotations. Where no format annotates an image: "", and
        annotations that have the images and the skips of all formats.

    Raises:
        BadFile: a file that all annotations depend on is broken, such as a COCO file.
    """
    skips: list[Skip] = []
    images = tree.entries[0]
    for form in FORMATS:
        if purpose not in form.READS or (only is not None and form.NAME not in only):
            continue
        parsed = form.read(tree, purpose)
        if purpose == "masks" and _boxes_alone(parsed):
            continue
        if parsed.annotations:
            _note_unused(tree, purpose, form, hint if only is None else None)
            return form.NAME, parsed
        skips += parsed.skips
        images = images or parsed.images
    return "", ParsedAnnotations(images=images, skips=skips)


def format_names(annotations: str, purpose: Purpose) -> tuple[str, ...] | None:
    """Return the `only` of `read_annotations` for a format's name as users write it.

    Args:
        annotations: the name in any case, with or without blanks ("labelme", "label_studio");
            "masks" for mask images, "auto" for all formats.
        purpose: that the format must be read for.

    Raises:
        DentalzooError: no format that is read for the purpose has the name.
    """
    if annotations == "auto":
        return None
    known = {_plain(form.NAME): form.NAME for form in FORMATS if purpose in form.READS}
    if purpose == "masks":
        known["masks"] = known["maskimages"]
    if _plain(annotations) not in known:
        raise DentalzooError(
            f"annotations must be auto, {', '.join(sorted(known))}. Received: {annotations!r}"
        )
    return (known[_plain(annotations)],)


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", "", str(name).lower())


def _boxes_alone(parsed: ParsedAnnotations) -> bool:
    """Return whether there are objects, and none of them has an outline or a mask."""
    annotations = parsed.annotations.values()
    outlined = any(one.mask or any(b.outline for b in one.boxes) for one in annotations)
    return not outlined and any(one.boxes for one in annotations)


def unread(tree: Tree, purpose: Purpose) -> str:
    """Return a phrase for error messages: what is there that is not read for a purpose.

    Such as "found LabelMe JSON (polygons), which this version does not read; "; empty where
    nothing is recognised.
    """
    seen = [(what, form.READS) for form in FORMATS if (what := form.sniff(tree))]
    unknown = [what for what, reads in seen if not reads]
    others = [what for what, reads in seen if reads and purpose not in reads]
    unusable = [what for what, reads in seen if purpose in reads]
    parts = []
    if unusable:
        parts.append(f"{' and '.join(unusable)}, in which there is nothing to use as {purpose}")
    if unknown:
        parts.append(f"{' and '.join(unknown)}, which this version does not read")
    if others:
        parts.append(f"{' and '.join(others)}, not read as {purpose}")
    if not parts and (files := unrecognised(tree)):
        return f"found {files}, which no format recognises; export COCO or YOLO; "
    return f"found {'; '.join(parts)}; " if parts else ""


def markdown_table() -> str:
    """Return the table of docs/data_formats.md: what is read and written of each format."""
    columns: tuple[Content, ...] = ("boxes", "polygons", "masks", "names", "splits")
    lines = [f"| format | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    for form in FORMATS:
        cells = [
            ", ".join(
                w for w, held in (("read", form.HOLDS), ("written", form.WRITES)) if c in held
            )
            for c in columns
        ]
        lines.append(f"| {form.NAME} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _note_unused(tree: Tree, purpose: Purpose, used: AnnotationFormat, hint: str | None) -> None:
    """Note the other formats that are there, and log them unless `hint` is None."""
    rest = [form for form in FORMATS if form is not used]
    readable = [w for form in rest if purpose in form.READS and (w := form.sniff(tree))]
    others = readable + [w for form in rest if not form.READS and (w := form.sniff(tree))]
    tree.other_formats[:] = others
    if others and hint is not None:
        more = f"; {hint}" if hint and readable else ""
        _log.info("used: %s; not used: %s%s", used.NAME, " and ".join(others), more)
