"""Personal data of a data set's images, and patients whose images lie in several splits."""

import itertools
import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from dentalzoo.data.anonymity import personal_data
from dentalzoo.data.formats.names import split_word
from dentalzoo.data.formats.patients import PATIENT
from dentalzoo.data.io.metadata_privacy import personal_metadata

_IMAGES = re.compile("images?|imgs?", re.IGNORECASE)  # of folders


class _Sample(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def image(self) -> Path: ...
    @property
    def split(self) -> str: ...


def check_privacy(
    samples: Sequence[_Sample], root: str | Path
) -> tuple[list[list[str]], list[list[str]]]:
    """Return images with personal data, and images of one patient in different splits.

    A patient is known by the DICOM elements of an image, else by a number in its path below `root`
    (`patient12_left.png`, `sub-01/a.png`). Headers only are read, each file once.

    Args:
        samples: with `name`, `image` and `split`.
        root: the data folder; folders above it are not looked at.

    Returns:
        [name, what] of names, tags and elements, whose values are not returned; and [name, name,
        reason], a pair for each patient and two splits.
    """
    root = Path(root)
    personal: list[list[str]] = []
    by_patient: dict[str, dict[str, str]] = defaultdict(dict)  # patient -> split -> first image
    for sample in {sample.image: sample for sample in reversed(samples)}.values():
        path = sample.image
        below = path.relative_to(root) if path.is_relative_to(root) else Path(path.name)
        metadata = personal_metadata(path)
        by_name = dict.fromkeys(
            word
            for number, part in enumerate(below.parts, 1)
            # a folder has no suffix, which is left out of what is looked at
            if (word := personal_data(part if number == len(below.parts) else f"{part}.x"))
        )
        what = [f"{word} in its path" for word in by_name]
        if metadata.personal:
            what.append(", ".join(metadata.personal))
        if what:
            personal.append([sample.name, "; ".join(what)])
        patient = metadata.patient or _patient_of(below)
        if patient:
            by_patient[patient].setdefault(sample.split, sample.name)
    personal.reverse()
    pairs = [
        [images[one], images[other], f"one patient, in {one} and {other}"]
        for images in reversed(by_patient.values())
        for one, other in itertools.combinations(sorted(images), 2)
    ]
    return personal, pairs


def _patient_of(path: Path) -> str:
    """Return the patient that a path names by a number, with the folders of its site; else ""."""
    site: list[str] = []
    for part in (*path.parts[:-1], path.stem):
        match = PATIENT.search(part.casefold())
        if match:
            return "/".join([*site, *match.groups()])
        if not split_word(part) and not _IMAGES.search(part):
            site.append(part)
    return ""
