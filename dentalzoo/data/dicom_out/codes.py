"""Coded concepts of PS3.16 for the classes of a model: teeth by FDI number, jaws, caries.

A class that no code of the standard is known for gets one of the private scheme `PRIVATE`, whose
value and meaning are its name.
"""

import hashlib
from typing import NamedTuple

from dentalzoo.data.teeth import tooth_numbers

PRIVATE = "99DENTALZOO"  # PS3.16 8.2: private designators begin with 99


class Concept(NamedTuple):
    """Value, scheme and meaning of a code, in pydicom's order."""

    value: str
    scheme: str
    meaning: str


class ClassCodes(NamedTuple):
    """The codes of one class.

    Attributes:
        category: of a segment, from CID 7150 or private.
        kind: the property type of a segment and the finding of a report.
        is_tooth: `kind` is one numbered tooth, which is also the site of a finding.
    """

    category: Concept
    kind: Concept
    is_tooth: bool = False


_ANATOMY = Concept("91723000", "SCT", "Anatomical Structure")  # CID 7150
_ABNORMAL = Concept("49755003", "SCT", "Morphologically Abnormal Structure")  # CID 7150
_CLASS = Concept("CLASS", PRIVATE, "Class of a model")
TOOTH = Concept("38199008", "SCT", "Tooth")  # CID 7151
JAW = Concept("661005", "SCT", "Jaw region")  # CID 4016
PIXELS = Concept("{pixels}", "UCUM", "pixels")  # CID 83
SQUARE_MM = Concept("mm2", "UCUM", "square millimeter")  # CID 7461
COUNT = Concept("COUNT", PRIVATE, "Number of findings")

# SNOMED CT; CID 4016 for the jaws.
_NAMED = {
    **dict.fromkeys(("tooth", "teeth"), ClassCodes(_ANATOMY, TOOTH)),
    **dict.fromkeys(
        ("mandible", "lower jaw"), ClassCodes(_ANATOMY, Concept("91609006", "SCT", "Mandible"))
    ),
    **dict.fromkeys(
        ("maxilla", "upper jaw"), ClassCodes(_ANATOMY, Concept("70925003", "SCT", "Maxilla"))
    ),
    "jaw": ClassCodes(_ANATOMY, JAW),
    **dict.fromkeys(
        ("caries", "cavity"), ClassCodes(_ABNORMAL, Concept("80967001", "SCT", "Dental caries"))
    ),
}

_PERMANENT = (
    *("central incisor", "lateral incisor", "canine", "first premolar"),
    *("second premolar", "first molar", "second molar", "third molar"),
)
_DECIDUOUS = ("central incisor", "lateral incisor", "canine", "first molar", "second molar")
_QUADRANTS = ("maxillary right", "maxillary left", "mandibular left", "mandibular right")

# SNOMED CT codes of the teeth 1 to 8 (permanent) and 1 to 5 (deciduous) of each quadrant.
_CODES = {
    # CID 4018
    1: "422653006 424877001 860767006 57826002 36492000 865995000 863902006 68085002",
    2: "424399000 423185002 860780009 61897005 23226009 865988009 863901004 87704003",
    3: "425106001 423331005 860782001 2400006 24573005 866006002 863898000 74344005",
    4: "424575004 423937004 860785004 80140008 8873007 866005003 863899008 38994002",
    # CID 4019
    5: "88824007 65624003 30618001 17505006 27855007",
    6: "51678005 43622005 73937000 45234009 51943008",
    7: "89552004 14770005 43281008 38896004 49330006",
    8: "67834006 22445006 6062009 58646007 61868007",
}


def tooth_concept(number: int) -> Concept:
    """Return the SNOMED CT code of a tooth, by its ISO 3950 (FDI) number.

    CID 4018 (permanent) and CID 4019 (deciduous) list their teeth by these numbers; the meaning
    is theirs.
    """
    quadrant, position = divmod(number, 10)
    place = _QUADRANTS[(quadrant - 1) % 4]
    if quadrant > 4:
        name = f"deciduous {place} {_DECIDUOUS[position - 1]} tooth"
    else:
        name = f"{place} {_PERMANENT[position - 1]} tooth"
        if quadrant < 3:
            name = f"permanent {name}"
        if number == 32:
            name = "mandibular left lateral tooth"  # as it stands in CID 4018
    return Concept(_CODES[quadrant].split()[position - 1], "SCT", name.capitalize())


def class_codes(name: str) -> ClassCodes:
    """Return the codes of a class: "11" or "tooth 11", a name of the table, or a private code."""
    if numbers := tooth_numbers([name]):
        return ClassCodes(_ANATOMY, tooth_concept(numbers[0]), is_tooth=True)
    known = _NAMED.get(" ".join(name.replace("_", " ").casefold().split()))
    return known or ClassCodes(_CLASS, Concept(_private_value(name), PRIVATE, text(name)))


def text(name: str, most: int = 64) -> str:
    """Return a name as DICOM's LO (64 characters) allows it: no control, no backslash."""
    clean = "".join(c if c.isprintable() and c != "\\" else " " for c in name)
    return " ".join(clean.split())[:most].strip() or "unnamed"


def _private_value(name: str) -> str:
    """Return the name where it fits a code value (SH, 16 characters), else a hash of it."""
    clean = text(name)
    return clean if len(clean) <= 16 else hashlib.sha256(clean.encode()).hexdigest()[:16]
