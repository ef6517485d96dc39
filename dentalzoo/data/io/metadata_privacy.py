"""Personal data beside the pixels of an image: which tags and elements may hold it, never what.

Headers only are read. A text inside the pixels cannot be seen here.
"""

import hashlib
import os
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from PIL import Image

from dentalzoo.data.io.signatures import HEAD_BYTES, is_dicom_head, is_without_preamble
from dentalzoo.errors import DentalzooError, require

# Exif 2.32 and TIFF 6.0: texts, names, numbers of devices, and dates.
_EXIF = {
    0x010D: "DocumentName",
    0x010E: "ImageDescription",
    0x011D: "PageName",
    0x0132: "DateTime",
    0x013B: "Artist",
    0x013C: "HostComputer",
    0x8298: "Copyright",
    0x8825: "GPSInfo",
    0x9003: "DateTimeOriginal",
    0x9004: "DateTimeDigitized",
    0x9286: "UserComment",
    0x9C9B: "XPTitle",
    0x9C9C: "XPComment",
    0x9C9D: "XPAuthor",
    0x9C9E: "XPKeywords",
    0x9C9F: "XPSubject",
    0xA430: "CameraOwnerName",
    0xA431: "BodySerialNumber",
    0xA435: "LensSerialNumber",
}
_EXIF_IFD, _GPS_IFD = 0x8769, 0x8825
_CHARSETS = re.compile(rb"\A(ASCII|JIS|UNICODE|)\0+")  # Exif 2.32 4.6.5, of UserComment
# Programs that write arrays describe their shape here.
_OF_PROGRAMS = re.compile(r'\s*(\{"shape"|ImageJ=|<\?xml[^>]*>\s*<OME|\{"axes")')
_TEXTS = (  # PNG 1.2 11.3.4.2, JPEG and GIF comments, in the words of Pillow
    *("author", "title", "description", "copyright", "creation time", "comment", "source"),
    *("patient", "patient name", "patientname", "name"),
)
_XMP = {  # properties of XMP (ISO 16684-1) and IPTC
    *("creator", "description", "title", "rights", "subject", "CreateDate", "ModifyDate"),
    *("MetadataDate", "DateCreated", "AuthorsPosition", "Credit", "Location", "City", "OwnerName"),
    *("CameraOwnerName", "SerialNumber", "BodySerialNumber", "LensSerialNumber", "PersonInImage"),
    *("DateTimeOriginal", "DateTimeDigitized", "UserComment", "GPSLatitude", "GPSLongitude"),
}
# A start tag, up to three more (rdf:Alt, rdf:li), and content.
_WITH_CONTENT = re.compile(r"<\w+:(\w+)[^<>]*(?<!/)>(?=\s*(?:<[^/<>][^<>]*>\s*){0,3}[^<>\s])")
# PS3.15 table E.1-1, of the elements to be removed or replaced, those that identify directly.
_ELEMENTS = (
    *("PatientName", "PatientID", "IssuerOfPatientID", "OtherPatientIDs", "OtherPatientNames"),
    *("OtherPatientIDsSequence", "PatientBirthDate", "PatientBirthTime", "PatientBirthName"),
    *("PatientMotherBirthName", "PatientAddress", "PatientTelephoneNumbers", "PatientComments"),
    *("MedicalRecordLocator", "MilitaryRank", "Occupation", "ResponsiblePerson"),
    *("AccessionNumber", "AdmissionID", "InstitutionName", "InstitutionAddress"),
    *("InstitutionalDepartmentName", "ReferringPhysicianName", "ReferringPhysicianAddress"),
    *("PerformingPhysicianName", "OperatorsName", "PhysiciansOfRecord", "RequestingPhysician"),
    *("NameOfPhysiciansReadingStudy", "StationName", "DeviceSerialNumber", "ImageComments"),
    *("StudyDate", "SeriesDate", "AcquisitionDate", "ContentDate", "AcquisitionDateTime"),
)
_OF_PATIENT = ("PatientID", "PatientName", "PatientBirthDate")
_NOBODY = {"", "anon", "anonymous", "anonymized", "anonymised", "unknown", "none", "removed"}
_PNG = b"\x89PNG\r\n\x1a\n"
_MAX_CHUNK = 1 << 20  # ours: bytes of a text that are looked at
_salt = secrets.token_bytes(16)  # of this process: a hash of a short number could be reversed


@dataclass(frozen=True)
class Metadata:
    """Personal data of an image file.

    Attributes:
        personal: the names of tags and elements, such as "Exif GPSInfo" and "DICOM PatientName".
        patient: a hash of the patient in a DICOM file, equal for equal patients within this
            process; "" where the file names none.
    """

    personal: tuple[str, ...] = ()
    patient: str = ""


def personal_metadata(path: str | Path) -> Metadata:
    """Return which metadata of an image may identify a person; values are not returned.

    Looked for are: in Exif and TIFF tags names, texts, positions, serial numbers and dates; the
    texts of PNG, JPEG and GIF; XMP and IPTC; in DICOM the direct identifiers of PS3.15 table E.1-1
    and burned-in annotations. A DICOM file that states Patient Identity Removed holds replacements,
    which are not listed. A header that cannot be read gives nothing: reading the image names it.

    Args:
        path: of an image in any format that `read_image` reads.
    """
    path = path if isinstance(path, Path) else Path(path)  # a subclass may point into a record
    try:
        with path.open("rb") as stream:
            head = stream.read(HEAD_BYTES)
            stream.seek(0)
            if is_dicom_head(head):
                return _of_dicom(stream, force=is_without_preamble(head))
            if head.startswith(_PNG):
                return Metadata(tuple(dict.fromkeys(_named(*_of_png(stream)))))
            with Image.open(stream) as image:
                return Metadata(tuple(dict.fromkeys(_named(image.getexif(), image.info))))
    except Exception:  # noqa: BLE001  damaged tags, of which Pillow raises errors of any type
        return Metadata()


def _of_png(stream: BinaryIO) -> tuple[Image.Exif, dict[str, Any]]:
    """Return the Exif tags and texts of a PNG, which Pillow finds only by decoding the image."""
    exif, info = Image.Exif(), {}
    stream.seek(len(_PNG))
    while len(head := stream.read(8)) == 8 and head[4:] != b"IEND":
        length, kind = int.from_bytes(head[:4], "big"), head[4:]
        if kind not in (b"tEXt", b"zTXt", b"iTXt", b"eXIf"):
            stream.seek(length + 4, os.SEEK_CUR)
            continue
        content = stream.read(min(length, _MAX_CHUNK))
        stream.seek(max(length - _MAX_CHUNK, 0) + 4, os.SEEK_CUR)
        if kind == b"eXIf":
            exif.load(content)
        else:
            name, _, text = content.partition(b"\0")
            # zTXt is compressed, and what it holds is not looked at
            info[name.decode("latin-1")] = b"text" if kind == b"zTXt" else text.lstrip(b"\0\1")
    return exif, info


def _named(exif: Image.Exif, about: Mapping[Any, Any]) -> list[str]:
    """Return the names of the tags and texts that may be personal."""
    tags: dict[int, Any] = {**exif, **exif.get_ifd(_EXIF_IFD)}
    tags.pop(_GPS_IFD, None)
    named = [f"Exif {name}" for tag, name in _EXIF.items() if _has_text(tags.get(tag))]
    if exif.get_ifd(_GPS_IFD):
        named.append("Exif GPSInfo")
    for key, value in about.items():
        if isinstance(key, str) and key.casefold() in _TEXTS and _has_text(value):
            named.append(f"text {key.casefold()}")
    packet = about.get("xmp") or about.get("XML:com.adobe.xmp") or tags.get(700)
    named += [f"XMP {name}" for name in _of_xmp(packet)]
    if about.get("photoshop") or tags.get(33723):
        named.append("IPTC")
    return named


def _of_xmp(packet: Any) -> list[str]:
    if isinstance(packet, bytes):
        packet = packet.decode("utf-8", "replace")
    if not isinstance(packet, str):
        return []
    # <dc:creator> with content, or xmp:CreateDate="..."
    elements = _WITH_CONTENT.findall(packet)
    attributes = re.findall(r"\s\w+:(\w+)\s*=\s*[\"'][^\"']", packet)
    return sorted({*elements, *attributes} & _XMP)


def _has_text(value: Any) -> bool:
    """Return whether a value is more than blanks, and not the note of a program."""
    if isinstance(value, tuple | list):
        value = value[0] if value else None
    if isinstance(value, bytes):
        value = _CHARSETS.sub(b"", value).replace(b"\0", b"").decode("utf-8", "replace")
    if value is None or _OF_PROGRAMS.match(str(value)):
        return False
    return bool(str(value).strip(" \0:0"))


def _of_dicom(stream: BinaryIO, force: bool) -> Metadata:
    from dentalzoo.data.io.dicom import quiet_pydicom

    try:
        pydicom = require("pydicom", "dicom")
    except DentalzooError:  # reading the image says so
        return Metadata()
    wanted = [*_ELEMENTS, "PatientIdentityRemoved", "BurnedInAnnotation"]
    try:
        with quiet_pydicom():
            header = pydicom.dcmread(
                stream, stop_before_pixels=True, specific_tags=wanted, force=force
            )
            texts = {keyword: _text(header, keyword) for keyword in wanted}
    except Exception:  # noqa: BLE001  pydicom raises errors of any type
        return Metadata()
    burned = ("DICOM BurnedInAnnotation",) * (texts["BurnedInAnnotation"] == "YES")
    patient = "\n".join(
        texts[keyword] for keyword in _OF_PATIENT[:1] if texts[keyword]
    ) or "\n".join(texts[keyword] for keyword in _OF_PATIENT[1:] if texts[keyword])
    if patient.casefold() in _NOBODY:
        patient = ""
    elif patient:
        patient = hashlib.blake2b(_salt + patient.encode(), digest_size=8).hexdigest()
    if texts["PatientIdentityRemoved"] == "YES":
        return Metadata(burned, patient)
    named = (k for k in _ELEMENTS if texts[k].strip("^ ").casefold() not in _NOBODY)
    return Metadata((*(f"DICOM {keyword}" for keyword in named), *burned), patient)


def _text(header: Any, keyword: str) -> str:
    try:
        value = header.get(keyword)
    except Exception:  # noqa: BLE001  a value that its representation does not allow
        return "present"
    return "" if value is None else str(value).strip(" \0")
