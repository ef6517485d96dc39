"""What a result takes over from its radiograph: references, study, patient, geometry.

Everything else, private elements among it, stays behind. Absent elements that DICOM wants present
but allows to be empty (type 2) are written empty; absent identifiers of study, series and image
cannot be invented and are an error.
"""

import contextlib
import math
import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydicom
from pydicom.dataset import Dataset

from dentalzoo.data.dicom_out.codes import text
from dentalzoo.data.io.decode import is_dicom
from dentalzoo.data.io.stored import content_of
from dentalzoo.errors import BadFile

REFERENCES = ("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID")

# Of the patient and study modules, PS3.3 C.7.1.1, C.7.2.1 and C.7.2.2. Those of type 2 first.
TYPE_2 = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex"),
    *("StudyDate", "StudyTime", "ReferringPhysicianName", "StudyID", "AccessionNumber"),
)
OPTIONAL = (
    *("IssuerOfPatientID", "PatientAge", "PatientSize", "PatientWeight", "StudyDescription"),
    *(
        "PatientIdentityRemoved",
        "DeidentificationMethod",
        "LongitudinalTemporalInformationModified",
    ),
)
_GEOMETRY = (
    *("Rows", "Columns", "NumberOfFrames", "Modality", "PatientOrientation"),
    *("FrameOfReferenceUID", "PositionReferenceIndicator", "SliceThickness"),
    *("ImagePositionPatient", "ImageOrientationPatient"),
    *("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing"),
    *("PixelSpacingCalibrationType", "PixelSpacingCalibrationDescription"),
    *("LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod"),
    *("BurnedInAnnotation", "SpecificCharacterSet", "SamplesPerPixel", "BitsAllocated"),
)

# PS3.5 6.2; the times may be cut off after the hours or the minutes.
_FORMS = {
    "DA": r"\d{4}(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])",
    "TM": r"([01]\d|2[0-3])([0-5]\d([0-5]\d(\.\d{1,6})?)?)?",
    "AS": r"\d{3}[DWMY]",
    "CS": r"[A-Z0-9 _]{0,16}",
    "DS": r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?",
}
_UID = r"[0-9.]{1,64}"  # PS3.5 9.1, without its rule about leading zeros, which devices break
# Transfer syntaxes with losses, PS3.6 A, and their methods, PS3.3 C.7.6.1.1.5.1. That of JPEG 2000
# may be without losses too, but there is another one for that.
_LOSSY = {
    "1.2.840.10008.1.2.4.50": "ISO_10918_1",
    "1.2.840.10008.1.2.4.51": "ISO_10918_1",
    "1.2.840.10008.1.2.4.81": "ISO_14495_1",
    "1.2.840.10008.1.2.4.91": "ISO_15444_1",
}
_MOST = {"LO": 64, "SH": 16}
_VALUES = {
    "PatientSex": ("M", "F", "O"),
    "PatientIdentityRemoved": ("YES", "NO"),
    "LongitudinalTemporalInformationModified": ("UNMODIFIED", "MODIFIED", "REMOVED"),
}

# A projection has no slices, but PS3.3 C.7.6.16.2.1 demands a thickness where there is a frame of
# reference, and highdicom reads no pixel measures without. With 1 mm the volume that a viewer shows
# in mm^3 is the area in mm^2. Ours.
_NO_SLICE = 1.0


@dataclass(frozen=True)
class Source:
    """A radiograph that results refer to.

    Attributes:
        path: its file.
        image: references, size, frame of reference, for highdicom. Its patient and study are empty.
        identity: the elements of patient and study, complete and valid, in UTF-8.
        emptied: keywords of elements that were absent or not valid, and are written empty.
        spacing: (between rows, between columns) in mm; None where the file does not say.
        spacing_from: the element that `spacing` is from.
        orientation: the element Patient Orientation; empty where the file does not say.
        calibration: elements that belong to a Pixel Spacing.
        burned_in: Burned In Annotation, "YES", "NO" or "" where the file does not say.
    """

    path: Path
    image: Dataset
    identity: Dataset
    emptied: tuple[str, ...]
    spacing: tuple[float, float] | None
    spacing_from: str
    orientation: Dataset
    calibration: Dataset
    burned_in: str


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Silence pydicom and highdicom, whose warnings quote values of the patient."""
    with warnings.catch_warnings(), pydicom.config.disable_value_validation():
        warnings.simplefilter("ignore")
        yield


def read_source(path: Path) -> Source:
    """Read what results take over from a radiograph. No pixel is read.

    Raises:
        BadFile: no DICOM file, damage, several frames, or an identifier of study, series, image
            or class is missing.
    """
    if not is_dicom(path):
        raise BadFile(
            path,
            "must be a DICOM file, for a result in DICOM belongs to a patient and a study. "
            "Received: another image format",
        )
    try:
        with quietly():
            keywords = [*REFERENCES, *TYPE_2, *OPTIONAL, *_GEOMETRY]
            given = pydicom.dcmread(
                content_of(path), stop_before_pixels=True, specific_tags=keywords, force=True
            )
            given.decode()
            return _source(path, given)
    except BadFile:
        raise
    except Exception as error:  # pydicom raises errors of any type, which may quote the file
        raise BadFile(path, f"damaged. Received: {type(error).__name__}") from None


def _source(path: Path, given: Dataset) -> Source:
    missing = [keyword for keyword in REFERENCES if not given.get(keyword)]
    unusable = [k for k in REFERENCES if not re.fullmatch(_UID, str(given.get(k) or "1"))]
    if missing:
        raise BadFile(
            path,
            "must have Study, Series and SOP Instance UID and SOP Class UID, to which a result in "
            f"DICOM refers. Received: no {', '.join(missing)}",
        )
    if unusable:
        raise BadFile(
            path,
            "a UID must have digits and points, 64 at most, for a result to refer to it. "
            f"Received: another value as {', '.join(unusable)}",
        )
    image = Dataset()
    for keyword in REFERENCES:
        setattr(image, keyword, str(given.get(keyword)))
    for keyword in ("Rows", "Columns"):
        setattr(image, keyword, int(given.get(keyword)))
    image.Modality = str(given.get("Modality") or "OT")
    for keyword in TYPE_2:  # highdicom reads them; `identity` replaces them in the result
        setattr(image, keyword, "")
    identity, emptied = _identity(given)
    spacing, spacing_from = _spacing(given)
    thickness = _numbers(given.get("SliceThickness"))
    usable = bool(thickness) and 0 < thickness[0] < math.inf
    image.SliceThickness = thickness[0] if usable else _NO_SLICE
    _add_frame_of_reference(image, given, spacing)
    _add_compression(image, given, path)
    calibration = Dataset()
    if spacing_from == "PixelSpacing":
        for keyword in ("PixelSpacingCalibrationType", "PixelSpacingCalibrationDescription"):
            if value := given.get(keyword):
                setattr(calibration, keyword, text(str(value), 16 if "Type" in keyword else 64))
    directions = _values(given.get("PatientOrientation"))
    valid = len(directions) == 2 and all(re.fullmatch("[APRLHF]{1,3}", v) for v in directions)
    orientation = Dataset()
    orientation.PatientOrientation = directions if valid else None
    burned_in = str(given.get("BurnedInAnnotation") or "").strip()
    return Source(
        path=path,
        image=image,
        identity=identity,
        emptied=emptied,
        spacing=spacing,
        spacing_from=spacing_from,
        orientation=orientation,
        calibration=calibration,
        burned_in=burned_in if burned_in in ("YES", "NO") else "",
    )


def _identity(given: Dataset) -> tuple[Dataset, tuple[str, ...]]:
    """Return the elements of patient and study, and the keywords of those written empty."""
    identity, emptied = Dataset(), []
    identity.SpecificCharacterSet = "ISO_IR 192"  # UTF-8 holds every name
    for keyword in (*TYPE_2, *OPTIONAL):
        vr = pydicom.datadict.dictionary_VR(keyword)
        given_text = _text_of(given.get(keyword))
        value = _valid(keyword, vr, given_text)
        if value or keyword in TYPE_2:
            setattr(identity, keyword, value)
        if value != given_text or (keyword in TYPE_2 and keyword not in given):
            emptied.append(keyword)
    return identity, tuple(emptied)


def _text_of(value: Any) -> str:
    """Return one text; several values stand between backslashes, and the first is taken."""
    if value is None:
        return ""
    values = value if isinstance(value, pydicom.multival.MultiValue) else [value]
    return str(values[0]).strip(" \0") if len(values) else ""


def _valid(keyword: str, vr: str, value: str) -> str:
    """Return the value, cut to its greatest length; empty where DICOM does not allow it."""
    if keyword in ("PatientName", "PatientID", "ReferringPhysicianName"):
        return value  # never changed: it identifies
    if keyword in _VALUES:
        return value if value in _VALUES[keyword] else ""
    if vr in _FORMS:
        return value if re.fullmatch(_FORMS[vr], value) else ""
    return text(value, _MOST.get(vr, 64)) if value else ""


def _spacing(given: Dataset) -> tuple[tuple[float, float] | None, str]:
    """Return the distances of pixels and the element that states them.

    Imager Pixel Spacing is the distance on the detector: the body is magnified there. Without a
    Pixel Spacing it is what other programs show too, PS3.3 10.7.1.3.
    """
    for keyword in ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing"):
        values = _numbers(given.get(keyword))
        if len(values) == 2 and all(0 < value < math.inf for value in values):
            return (values[0], values[1]), keyword
    return None, ""


def _add_frame_of_reference(
    image: Dataset, given: Dataset, spacing: tuple[float, float] | None
) -> None:
    uid = str(given.get("FrameOfReferenceUID") or "")
    if not re.fullmatch(_UID, uid):
        return
    image.FrameOfReferenceUID = uid
    indicator = _text_of(given.get("PositionReferenceIndicator"))
    image.PositionReferenceIndicator = text(indicator) if indicator else ""
    position = _numbers(given.get("ImagePositionPatient"))
    orientation = _numbers(given.get("ImageOrientationPatient"))
    if spacing and len(position) == 3 and len(orientation) == 6:
        image.ImagePositionPatient, image.ImageOrientationPatient = position, orientation
        image.PixelSpacing = list(spacing)


def _add_compression(image: Dataset, given: Dataset, path: Path) -> None:
    """Say whether the radiograph was ever compressed with losses, PS3.3 C.7.6.1.1.5."""
    syntax = str(given.file_meta.get("TransferSyntaxUID", ""))
    lossy = str(given.get("LossyImageCompression") or "").strip() == "01"
    image.LossyImageCompression = "01" if lossy or syntax in _LOSSY else "00"
    ratios, methods = (
        _values(given.get(f"LossyImageCompression{part}")) for part in ("Ratio", "Method")
    )
    if lossy and ratios and len(ratios) == len(methods):
        image.LossyImageCompressionRatio = ratios
        image.LossyImageCompressionMethod = methods
    elif syntax in _LOSSY:  # the file does not say how much: about this
        bits = image.Rows * image.Columns * int(given.get("SamplesPerPixel") or 1)
        bits *= int(given.get("BitsAllocated") or 8)
        ratio = max(1.0, bits / 8 / path.stat().st_size)
        image.LossyImageCompressionRatio = f"{ratio:.2f}"
        image.LossyImageCompressionMethod = _LOSSY[syntax]


def _values(value: Any) -> list[str]:
    if value is None or value == "":
        return []
    many = isinstance(value, Sequence) and not isinstance(value, str | bytes)
    return [str(part).strip(" \0") for part in (value if many else [value])]


def _numbers(value: Any) -> list[float]:
    """Return the numbers of an element; none where one is NaN or no number."""
    try:
        numbers = [float(part) for part in _values(value)]
    except ValueError:
        return []
    return [] if any(map(math.isnan, numbers)) else numbers
