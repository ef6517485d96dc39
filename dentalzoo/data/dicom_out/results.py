"""The parts of a result that are the same in SEG, SR and SC: series, device, patient, study."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from highdicom.coding_schemes import CodingSchemeIdentificationItem
from highdicom.content import AlgorithmIdentificationSequence
from highdicom.sr import AlgorithmIdentification, CodedConcept
from pydicom.dataset import Dataset
from pydicom.uid import UID, generate_uid

from dentalzoo.data.dicom_out.codes import PRIVATE, Concept, text
from dentalzoo.data.dicom_out.source import Source
from dentalzoo.data.dicom_out.writer import ImageWarning

MANUFACTURER = "dentalzoo"
_FAMILY = Concept("123109", "DCM", "Artificial Intelligence")  # CID 7162
# Series of results begin where those of a study end; ours.
_SERIES_NUMBERS = {"seg": 9001, "sr": 9002, "sc": 9003}
_TITLES = {"seg": "segmentation", "sr": "findings", "sc": "overlay"}


@dataclass(frozen=True)
class Algorithm:
    """What computed a result.

    Attributes:
        name: of the bundle.
        version: of dentalzoo.
        parameters: settings that change the result, such as the threshold.
    """

    name: str
    version: str
    parameters: dict[str, str] = field(default_factory=dict)

    @property
    def device_uid(self) -> str:
        """An identifier that is the same wherever this bundle and version run, PS3.5 B.2."""
        return _derived_uid(f"dentalzoo {self.name} {self.version}")

    def of_segment(self) -> AlgorithmIdentificationSequence:
        """Return the Algorithm Identification Macro, PS3.3 10.16."""
        return AlgorithmIdentificationSequence(
            name=text(self.name),
            family=concept(_FAMILY),
            version=text(self.version),
            source=MANUFACTURER,
            parameters=self.parameters or None,
        )

    def of_finding(self) -> AlgorithmIdentification:
        """Return the Algorithm Identification template, PS3.16 TID 4019."""
        parameters = [f"{key}={value}" for key, value in self.parameters.items()]
        return AlgorithmIdentification(
            name=text(self.name),
            version=text(self.version),
            parameters=parameters or None,
            family=concept(_FAMILY),
            manufacturer=MANUFACTURER,
        )


class Series:
    """One series for each kind of result, source series and frame of reference of a run.

    Args:
        run: of a run in several processes: a random text that they share. Series get the same
            identifiers in all of them.

    Attributes:
        number: of the instances in such a run: that of the input, since no process counts all.
    """

    def __init__(self, run: str | None = None) -> None:
        self._known: dict[tuple[str, ...], tuple[UID, int]] = {}
        self._run, self.number = run, 0

    def next_instance(self, kind: str, source: Source) -> dict[str, Any]:
        """Return the identifiers and numbers of the next instance, as highdicom names them.

        The identifiers are random: a second run gives new instances, never others of the same name.
        """
        image = source.image
        frame = str(image.get("FrameOfReferenceUID", ""))
        key = (kind, str(image.StudyInstanceUID), str(image.SeriesInstanceUID), frame)
        if self._run is None:
            uid, count = self._known.get(key, (generate_uid(prefix=None), 0))
            self._known[key] = uid, count + 1
        else:
            uid, count = _derived_uid("\0".join((self._run, *key))), self.number - 1
        return {
            "series_instance_uid": uid,
            "series_number": _SERIES_NUMBERS[kind],
            "sop_instance_uid": generate_uid(prefix=None),
            "instance_number": count + 1,
        }


def _derived_uid(text: str) -> UID:
    """Return an identifier that is the same for the same text, PS3.5 B.2."""
    return UID(f"2.25.{int(hashlib.sha256(text.encode()).hexdigest()[:32], 16)}")


def equipment(algorithm: Algorithm, kind: str) -> dict[str, Any]:
    """Return device and description of a series, as highdicom names them."""
    return {
        "manufacturer": MANUFACTURER,
        "manufacturer_model_name": text(algorithm.name),
        "software_versions": text(algorithm.version),
        "device_serial_number": text(algorithm.name),
        "series_description": text(f"dentalzoo {_TITLES[kind]}: {algorithm.name}"),
        "specific_character_set": "ISO_IR 192",
        "content_qualification": "RESEARCH",  # not for diagnosis
    }


def concept(code: Concept) -> CodedConcept:
    """Return a code as highdicom takes it."""
    return CodedConcept(code.value, code.scheme, code.meaning)


def add_comments(result: Dataset, warnings: Sequence[ImageWarning]) -> None:
    """Add the warnings of an image to its SEG or SC, in place.

    Image Comments, PS3.3 C.7.6.1, is of the General Image Module, which both have: it is the place
    for free text of one image, is long enough (LT), and viewers list it. Series Description, which
    they show first, must be the same in the whole series, whose other images may be familiar. What
    the profile of `identity` removes are the radiograph's comments; these are of the result.
    """
    if warnings:
        result.ImageComments = "\r\n".join(warning.text for warning in warnings)


def complete(result: Dataset, source: Source) -> None:
    """Add patient and study of the source to a result, in place, and the private scheme's name."""
    result.update(source.identity)
    result.CodingSchemeIdentificationSequence = [
        CodingSchemeIdentificationItem(
            PRIVATE, name="Classes of models of dentalzoo", responsible_organization=MANUFACTURER
        )
    ]
