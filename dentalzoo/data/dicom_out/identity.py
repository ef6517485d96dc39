"""Results without the patient: the Basic Application Level Confidentiality Profile of PS3.15 E.

It is applied to everything that a result holds: a result takes over few elements, see `source`,
so few are left to remove. Pseudonyms and identifiers are keyed hashes (HMAC-SHA256), the same for
the same patient and study in one output folder; without the key file beside that folder nothing
leads back to the patient.
"""

import hashlib
import hmac
import json
import logging
import secrets
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset

from dentalzoo.atomic import write_json
from dentalzoo.data.dicom_out.source import REFERENCES, TYPE_2, Source
from dentalzoo.errors import BadFile

_log = logging.getLogger("dentalzoo")

_KEY_FILE = "{}_dicom_key.json"  # of the folder's name
_METHOD = "dentalzoo: PS3.15 Basic Profile; pixels not inspected"  # LO: 64 characters
_NO_DATE, _NO_TIME = "19000101", "000000"  # where DICOM demands a value
_KEY_BYTES = 32


class Pseudonyms:
    """Keyed hashes of patients and identifiers, and the file that leads back."""

    def __init__(self, folder: Path, key: str | None = None) -> None:
        """Use the key in `folder`_dicom_key.json, which is made where it is absent.

        It lies beside the folder, not in it, so that it is not passed on with the results; a line
        of the log names it.

        Args:
            folder: of the results.
            key: the key, for a process that does not write the file; nothing is read then.

        Raises:
            BadFile: the key file is no key file.
            DentalzooError: it cannot be written.
        """
        self._new: dict[str, dict[str, str]] = {"patients": {}, "uids": {}}
        folder = folder.resolve()  # "." has no name
        self._path = folder.with_name(_KEY_FILE.format(folder.name))
        self._content: dict[str, Any] = {
            "key": key or secrets.token_hex(_KEY_BYTES),
            "patients": {},
            "uids": {},
        }
        if key is None and self._path.is_file():
            self._content = self._read()
        elif key is None:
            self.write()
        if key is None:
            _log.info("%s leads from the pseudonyms to the patients; do not pass it on", self._path)
        self.key: str = self._content["key"]
        self._key = bytes.fromhex(self.key)

    def _read(self) -> dict[str, Any]:
        try:
            content = json.loads(self._path.read_text(encoding="utf-8"))
            if len(bytes.fromhex(content["key"])) != _KEY_BYTES:
                raise ValueError
            dict(content["patients"]), dict(content["uids"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise BadFile(
                self._path, f"must be a key file of dentalzoo. Received: {type(error).__name__}"
            ) from error
        return dict(content)

    def write(self) -> None:
        """Write the key, and the patients and identifiers that pseudonyms stand for."""
        write_json(self._path, self._content)

    def take_new(self) -> dict[str, dict[str, str]]:
        """Return what pseudonyms stood for since the last call: kind -> pseudonym -> value."""
        new, self._new = self._new, {"patients": {}, "uids": {}}
        return new

    def add(self, entries: Mapping[str, Mapping[str, str]]) -> None:
        """Add entries of `take_new`, of any process, to the content of the key file."""
        for kind, values in entries.items():
            self._content[kind].update(values)

    def remove_identity(self, source: Source) -> Source:
        """Return a source without patient and dates, and with new identifiers throughout."""
        image, identity = deepcopy(source.image), Dataset()
        for keyword in (*REFERENCES[1:], "FrameOfReferenceUID"):
            if keyword in image:
                setattr(image, keyword, self._uid(str(image.get(keyword))))
        image.PositionReferenceIndicator = ""
        if "FrameOfReferenceUID" not in image:
            del image.PositionReferenceIndicator
        identity.SpecificCharacterSet = source.identity.SpecificCharacterSet
        for keyword in TYPE_2:
            setattr(identity, keyword, "")
        name = self._patient(source)
        identity.PatientName, identity.PatientID = f"{name}^", name
        identity.PatientIdentityRemoved = "YES"
        identity.DeidentificationMethod = _METHOD
        code = Dataset()
        code.CodeValue, code.CodingSchemeDesignator = "113100", "DCM"  # CID 7050
        code.CodeMeaning = "Basic Application Confidentiality Profile"
        identity.DeidentificationMethodCodeSequence = [code]
        identity.LongitudinalTemporalInformationModified = "REMOVED"
        return replace(source, image=image, identity=identity, calibration=Dataset())

    def _patient(self, source: Source) -> str:
        """Return the pseudonym of a patient; of a study where the patient has no ID and no name."""
        known = source.identity
        person = [str(known.get(key, "")) for key in ("PatientID", "IssuerOfPatientID")]
        if not person[0]:
            person = [str(known.get("PatientName", "")), str(known.get("PatientBirthDate", ""))]
        if not person[0]:
            person = [str(source.image.StudyInstanceUID)]
        pseudonym = f"ANON{self._hash('patient', *person)[:12].upper()}"
        self._new["patients"][pseudonym] = person[0]
        return pseudonym

    def _uid(self, uid: str) -> str:
        """Return a new identifier below 2.25, PS3.5 B.2."""
        new = f"2.25.{int(self._hash('uid', uid)[:32], 16)}"
        self._new["uids"][new] = uid
        return new

    def _hash(self, *parts: str) -> str:
        return hmac.new(self._key, "\0".join(parts).encode(), hashlib.sha256).hexdigest()


def remove_dates(result: Dataset) -> None:
    """Remove when a result was made, in place: it may be the day of the examination.

    Dates that DICOM demands become 1 January 1900; empty ones stay empty.
    """
    for element in result:
        if element.VR == "SQ":
            for item in element.value:
                remove_dates(item)
        elif element.VR in ("DA", "TM", "DT") and element.value:
            if element.keyword in ("ContentDate", "ContentTime"):
                element.value = _NO_DATE if element.VR == "DA" else _NO_TIME
            else:
                del result[element.tag]
