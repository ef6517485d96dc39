"""Kinds of findings on teeth: what a class of a bundle is called and how it is drawn on a chart."""

from typing import NamedTuple

from dentalzoo.plots.palette import BLUE, GREEN, ORANGE, PURPLE, VERMILLION, hex_colour


class Kind(NamedTuple):
    """A kind of findings.

    Attributes:
        key: as charts name it.
        title: in words; of "other" the class of the bundle stands for it.
        colour: for HTML.
        appeared: what a finding is called that the older of two charts does not have.
    """

    key: str
    title: str
    colour: str
    appeared: str


_OTHER = Kind("other", "", "#5a5a5a", "new finding")
KINDS = {
    kind.key: kind
    for kind in (
        Kind("restoration", "Restoration", hex_colour(BLUE), "new restoration"),
        Kind("caries", "Caries", hex_colour(VERMILLION), "new caries"),
        Kind("implant", "Implant", hex_colour(PURPLE), "new implant"),
        Kind("impacted", "Impacted tooth", hex_colour(GREEN), "newly seen as impacted"),
        Kind("endodontic", "Root canal treatment", hex_colour(ORANGE), "new root canal treatment"),
        Kind("periapical", "Periapical lesion", "#7a3e9d", "new periapical lesion"),
        _OTHER,
    )
}
_CLASSES = {
    "restoration": ("filling", "fillings", "restoration", "restorations", "crown"),
    "caries": ("caries", "cavity", "cavities", "deep caries", "decay"),
    "implant": ("implant", "implants"),
    "impacted": ("impacted", "impacted tooth", "impacted teeth"),
    "endodontic": ("endodontic", "root canal treatment", "root canal filling", "endodontics"),
    "periapical": ("periapical lesion", "periapical lesions"),
}
_KIND_OF = {name: key for key, names in _CLASSES.items() for name in names}


def kind_of(label: str) -> Kind:
    """Return the kind of a class of a bundle; "other" for a class that is not known."""
    plain = " ".join(label.replace("_", " ").casefold().split())
    return KINDS[_KIND_OF.get(plain, "other")]


def title_of(kind: str, label: str) -> str:
    """Return the kind of a finding in words, by its key and the class of the bundle."""
    return KINDS[kind].title or label
