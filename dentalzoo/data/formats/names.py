"""Splits and roles in the names of folders and files."""

import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path

SPLITS = ("train", "val", "test")

_SPLIT_WORDS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
_WORD = "train(?:ing)?|val(?:id(?:ation)?)?|test(?:ing)?"
_THING = "images?|imgs?|masks?|labels?|sets?|data(?:sets?)?|folders?|files?|lists?"
_JOINED = re.compile(rf"({_WORD})(?:{_THING})|(?:{_THING})({_WORD})")  # "testset", "imagestest"
_NNUNET = re.compile(r"(images|labels)(Tr|Ts)", re.IGNORECASE)
_NNUNET_SPLITS = {"tr": "train", "ts": "test"}
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")  # of TrainImages: Train, Images

# "train_images", "JPEGImages"; a word after it only where it is a split, "images_train"
_ROLES = tuple(
    (role, re.compile(rf"(.*?)[ _-]?(?:{words})|(?:{words})[ _-]?({_WORD}|tr|ts)", re.IGNORECASE))
    for role, words in (("images", "images?|imgs?"), ("masks", "masks?|labels?"))
)
_BOUNDARY = re.compile(r"(.*?)[ _-]?(boundary|boundaries)", re.IGNORECASE)
_DRAWN = re.compile(  # what is drawn of images, beside them
    r"(.*[ _-])?(annotat(ed|ions?)|ground[ _-]?truths?|gts?|segs?|segmentations?(class|object)?|"
    r"contours?|overlays?|heatmaps?|previews?|predictions?)",
    re.IGNORECASE,
)


_COPY = re.compile(  # "a_aug1", "a-hflip", "a_rot90", "a - Copy"
    r"(.+?)[ _-]+(aug(mented)?|[hv]?flip(ped)?|mirror(ed)?|rot(ated)?|copy|kopie)[ _-]*\d*",
    re.IGNORECASE,
)


def source_of(stem: str) -> str:
    """Return the stem of the image that one with the name of an augmented copy was made from."""
    match = _COPY.fullmatch(stem)
    return match[1] if match else ""


def normal(name: str) -> str:
    """Return one spelling for names that look alike.

    Some file systems decompose accents, and names in Windows-1252 are no UTF-8.
    """
    if not name.isascii() and any("\udc80" <= sign <= "\udcff" for sign in name):
        name = name.encode("utf-8", "surrogateescape").decode("cp1252", "replace")
    return unicodedata.normalize("NFC", name)


def split_word(text: str) -> str:
    """Return the split in a name ("valid_images", "TrainImages"); "" for none or several."""
    tokens = {*re.findall("[a-z]+", text.lower()), *(w.lower() for w in _WORDS.findall(text))}
    words = {_SPLIT_WORDS[w] for w in tokens if w in _SPLIT_WORDS}
    if not words:
        matches = filter(None, map(_JOINED.fullmatch, tokens))
        words = {_SPLIT_WORDS[match[1] or match[2]] for match in matches}
    if not words and (match := _NNUNET.fullmatch(text)):
        return _NNUNET_SPLITS[match[2].lower()]
    return words.pop() if len(words) == 1 else ""


def role_of(parts: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    """Return the role of a folder, "images", "masks" or "", and the key of `tree.Folder`."""
    for i in reversed(range(len(parts))):
        for role, pattern in _ROLES:
            if match := pattern.fullmatch(parts[i]):
                word = (match[1] or match[2] or "").lower()
                return role, (*parts[:i], word + "*", *parts[i + 1 :])
    return "", (*parts, "*")


def boundary_word(parts: tuple[str, ...]) -> tuple[str, ...] | None:
    """Return the key of the images that a folder of boundary drawings belongs to.

    None where no part of the name ends in "boundary" or "boundaries".
    """
    for i in reversed(range(len(parts))):
        if match := _BOUNDARY.fullmatch(parts[i]):
            word = match[1].lower() if split_word(match[1]) else ""
            return (*parts[:i], word + "*", *parts[i + 1 :])
    return None


def is_drawn(parts: tuple[str, ...]) -> bool:
    """Return whether a folder holds what is drawn of images: label maps, previews, predictions."""
    return any(_DRAWN.fullmatch(part) for part in parts)


def last_parts(paths: Sequence[Path]) -> list[str]:
    """Return the last parts of paths, as many as tell them apart; equal paths are numbered."""
    resolved = [path.resolve() for path in paths]
    for depth in range(1, max(len(path.parts) for path in resolved) + 1):
        names = ["/".join(path.parts[-depth:]) for path in resolved]
        if len(set(names)) == len(names):
            return names
    return [f"{path.name} ({number})" for number, path in enumerate(resolved, 1)]
