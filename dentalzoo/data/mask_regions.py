"""Outlines of annotated objects as the mask of an image: which are drawn, and which cannot be."""

import logging
from collections.abc import Iterable, Sequence

from dentalzoo.data.formats.base import (
    ImageAnnotation,
    ParsedAnnotations,
    RawBox,
    notice_once,
)
from dentalzoo.data.formats.outlines import Regions
from dentalzoo.data.formats.rules import loose_name
from dentalzoo.data.formats.tree import Tree
from dentalzoo.data.formats.unused import Unused
from dentalzoo.errors import DentalzooError, few_of


def leave_out_boxes(tree: Tree, parsed: ParsedAnnotations) -> list[Unused]:
    """Leave out the boxes of labels that never have an outline, where other labels have outlines.

    An image that has only such boxes is skipped: it may not have been looked at for the outlines.
    Where any image has a mask of pixels, of labels that it does not tell, nothing is left out.

    Args:
        tree: the data folder.
        parsed: its annotations, which are changed.

    Returns:
        (what, reason) of what is left out, one at most.
    """
    annotations = parsed.annotations.values()
    objects = [box for one in annotations for box in one.boxes]
    outlined = {loose_name(box.label): box.label for box in objects if box.outline}
    alone = {loose_name(box.label): box.label for box in objects} | outlined
    alone = {key: label for key, label in alone.items() if key not in outlined}
    if not alone or not outlined or any(one.mask for one in annotations):
        return []
    drawn = tuple(sorted(outlined.values()))
    for image, one in list(parsed.annotations.items()):
        boxes = [box for box in one.boxes if loose_name(box.label) in outlined]
        if one.boxes and not boxes:
            names = _quoted({box.label for box in one.boxes})
            reason = f"only boxes of {names}, without outlines; classes={drawn} takes it as empty"
            parsed.refuse(tree.name(image), reason, [image])
            del parsed.annotations[image]
        one.boxes = boxes
    reason = f"they have no outlines; masks show {_quoted(drawn)}"
    return [(f"boxes of {_quoted(alone.values())}", reason)]


def tell_union(tree: Tree, parsed: ParsedAnnotations) -> None:
    """Log that the outlines of several labels become one binary mask, once for a folder."""
    drawn: dict[str, str] = {}
    for one in parsed.annotations.values():
        drawn |= {loose_name(box.label): box.label for box in one.boxes if box.outline}
    if len(drawn) > 1:
        names = sorted(drawn.values())
        what = f"the outlines of {len(names)} classes make one mask, {few_of(names)}"
        notice_once(f"{what}; classes={tuple(names[:2])} tells them apart", tree.root, logging.INFO)


def regions_of(
    annotation: ImageAnnotation, classes: tuple[str, ...] | None, listed: Sequence[str]
) -> Regions:
    """Return the outlines of an image with class ids: 1..n in the order of `classes`, or 1.

    Raises:
        DentalzooError: a class is not in the annotation file.
    """
    unknown = [name for name in classes or () if name not in listed]
    if unknown:
        raise DentalzooError(
            f"{annotation.source}: classes must be among its categories {sorted(set(listed))}. "
            f"Received: {unknown}"
        )
    boxes = [one for one in annotation.boxes if classes is None or one.label in classes]
    shapes = tuple(
        (1 if classes is None else classes.index(one.label) + 1, one.outline) for one in boxes
    )
    height, width = annotation.size or (None, None)
    in_parts = annotation.unit == "parts"
    return Regions(annotation.source, height, width, shapes, in_parts, _cannot_be_drawn(boxes))


def _cannot_be_drawn(boxes: Sequence[RawBox]) -> str:
    """Return why an image has no mask, the first box without an outline; "" where it has one."""
    bare = [box for box in boxes if not box.outline]
    if not bare:
        return ""
    missing = {loose_name(box.label) for box in bare}
    rest = sorted({box.label for box in boxes if loose_name(box.label) not in missing})
    way_out = "outline or remove it"
    if rest:
        names = " ".join(f"'{name}'" if " " in name else name for name in rest)
        way_out += f", or choose other classes: --classes {names}"
        way_out += f' (of train: --set "classes={tuple(rest)}")'
    return f"{bare[0].where}: a box without an outline of the class {bare[0].label!r}; {way_out}"


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(map(repr, sorted(names)))
