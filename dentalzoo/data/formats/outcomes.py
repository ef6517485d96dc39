"""What becomes of objects that a format cannot hold, and of attributes that it drops."""

from collections.abc import Sequence

from dentalzoo.contracts import AnnotationFormat
from dentalzoo.data.formats.base import BoxSample
from dentalzoo.errors import few_of

EXTENT = "with a box that is not the extent of the outline"
PARTS = "of several polygons"

_OUTCOMES = {
    "marked difficult": "the mark is left out",
    "marked as a crowd": "the mark is left out",
    "without an outline": "they are left out",
    "drawn in pixels": "their boxes alone are written",
    "with a polygon": "their boxes alone are written",
    EXTENT: "the extent of the outline becomes the box",
    "without a pixel of its own": "they are left out",
    "overlapping another one": "the later one has the pixels of both",
    "touching another one of its class": "they become one object",
    "of several parts": "each part becomes an object",
    "without an outline beside those with one": "no outline of their images is written",
    "without a polygon beside those with one": "all objects are written as boxes",
    "thinner than a pixel": "they are left out",
}
# Of one format, where it differs.
_OF_FORMAT = {
    ("YOLO", PARTS): "the polygons are joined by lines",
    ("YOLO", "drawn in pixels"): "all objects are written as boxes",
    ("VoTT", PARTS): "the first polygon alone is written",
    ("VoTT", "marked as a crowd"): "they are left out",
    ("VoTT", EXTENT): "both are written, and the box counts",
    ("VOC", EXTENT): "both are written, and are not read as one object",
    ("VOC", "without a pixel of its own"): "their boxes alone are written",
    ("VOC", "after the 254th with an outline"): "their boxes alone are written",
    ("VOC", "with a polygon"): "their pixels are written",
    ("nnU-Net", "with a polygon"): "their pixels are written",
    ("mask images", "with a polygon"): "their pixels are written",
}


def outcome(name: str, what: str) -> str:
    """Return what is written of objects, in words for messages.

    Args:
        name: of the format.
        what: why it cannot hold them, in the words of `AnnotationFormat.lost`.
    """
    words = _OF_FORMAT.get((name, what)) or _OUTCOMES.get(what)
    return words or "they are left out or changed"


def attributes_lost(form: AnnotationFormat, samples: Sequence[BoxSample]) -> list[str]:
    """Return a phrase for the attributes of objects that a format does not hold; [] for none.

    Such as "attributes restored, comment of 23 objects".
    """
    if "attributes" in form.WRITES:
        return []
    return attributes_of(samples)


def attributes_of(samples: Sequence[BoxSample]) -> list[str]:
    """Return a phrase for the attributes that objects have; [] for none."""
    having = [box.attributes for sample in samples for box in sample.boxes if box.attributes]
    names = list(dict.fromkeys(name for attributes in having for name, _ in attributes))
    return [f"attributes {few_of(names)} of {len(having)} objects"] if names else []
