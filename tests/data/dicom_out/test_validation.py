"""Results judged by dciodvfy, of Debian's dicom3tools, which knows the rules of PS3.3."""

import contextlib
import dataclasses
import random
import re
import shutil
import subprocess

import numpy as np
import pytest

from dentalzoo.data.dicom_out.writer import ImageResult, ImageWarning

pytest.importorskip("highdicom")

from tests.data.dicom_out.conftest import CAPTURE, CR, INTRAORAL  # noqa: E402
from tests.data.dicom_out.test_results import BOXES, MASK, RESULT  # noqa: E402

KINDS = ("seg", "sr", "sc")
# What it warns of is the private coding scheme, which it cannot know, an empty Laterality, and
# what a DICOMDIR would need and the radiograph leaves empty.
WARNINGS = (
    "Unrecognized defined term <99DENTALZOO>",
    "only permitted to be empty when actually unknown",
    "needed to build DICOMDIR",
)
EMPTY = ImageResult(
    mask=MASK * 0, classes=("tooth",), boxes=np.zeros((0, 4)), overlay=RESULT.overlay
)
TEETH = tuple(f"{quadrant}{tooth}" for quadrant in range(1, 5) for tooth in range(1, 9))
FDI = ImageResult(
    mask=(np.arange(2400) % 33).astype(np.uint8).reshape(40, 60),
    classes=TEETH,
    boxes=np.repeat(BOXES[:1], 32, axis=0),
    scores=np.linspace(0, 1, 32),
    labels=TEETH,
    overlay=RESULT.overlay,
)
WARNING = ImageWarning("Foreign image, do not rely on the result", "not such an image: " * 20)
RESULTS = {
    "boxes": RESULT,
    "mask": dataclasses.replace(RESULT, boxes=None),
    "no box": EMPTY,
    "empty mask": dataclasses.replace(EMPTY, boxes=None),
    "teeth": FDI,
    "warned": dataclasses.replace(RESULT, warnings=[WARNING, WARNING]),
}
SOURCES = {
    "panoramic": {},
    "nothing optional": dict.fromkeys(
        (
            *("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyID"),
            *("StudyTime", "AccessionNumber", "ReferringPhysicianName", "StudyDescription"),
            *("PatientOrientation", "SpecificCharacterSet", "Modality"),
        )
    ),
    "computed radiography": {"SOPClassUID": CR, "Modality": "CR", "PixelSpacing": [0.1, 0.1]},
    "intra-oral": {"SOPClassUID": INTRAORAL, "Modality": "IO", "ImagerPixelSpacing": [0.02, 0.02]},
    "scan": {"SOPClassUID": CAPTURE, "Modality": "OT", "NominalScannedPixelSpacing": [0.1, 0.1]},
    "frame of reference": {"FrameOfReferenceUID": "1.2.3", "ImagerPixelSpacing": [0.1, 0.1]},
    "plane": {
        "FrameOfReferenceUID": "1.2.3",
        "PixelSpacing": [0.1, 0.1],
        "ImagePositionPatient": [0, 0, 0],
        "ImageOrientationPatient": [1, 0, 0, 0, 0, -1],
    },
    "calibrated": {
        "PixelSpacing": [0.1, 0.1],
        "PixelSpacingCalibrationType": "GEOMETRY",
        "PixelSpacingCalibrationDescription": "by hand",
    },
    "lossy": {
        "LossyImageCompression": "01",
        "LossyImageCompressionRatio": 10,
        "LossyImageCompressionMethod": "ISO_10918_1",
    },
    "without identity": {"PatientIdentityRemoved": "YES", "DeidentificationMethod": "by hand"},
    "Japanese": {
        "SpecificCharacterSet": ["", "ISO 2022 IR 87"],
        "PatientName": "Yamada^Tarou=山田^太郎=やまだ^たろう",
    },
    "old": {"PatientBirthDate": "1970.01.02", "StudyTime": "10:11:12", "PatientSex": "W"},
}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not shutil.which("dciodvfy"), reason="dciodvfy (dicom3tools) is absent"),
    pytest.mark.filterwarnings("ignore::UserWarning"),  # of pydicom, which writes the bad values
]


def validate(path):
    """Return what dciodvfy says, without the name of the IOD; the known warnings are left out."""
    done = subprocess.run(["dciodvfy", path], capture_output=True, text=True, timeout=60)
    lines = (done.stdout + done.stderr).splitlines()
    lines = [line for line in lines if re.match("Error|Warning|Abort", line)]
    return [line for line in lines if not any(known in line for known in WARNINGS)]


@pytest.mark.parametrize("anonymize", [False, True])
@pytest.mark.parametrize("result", RESULTS)
@pytest.mark.parametrize("source", SOURCES)
def test_no_error_is_found(radiograph, writer, tmp_path, source, result, anonymize):
    failed = []
    run = writer(*KINDS, anonymize=anonymize)
    run.write(radiograph(private=True, **SOURCES[source]), "x", RESULTS[result], failed)
    assert failed == []
    for kind in KINDS:
        assert validate(tmp_path / "out" / f"x_{kind}.dcm") == [], kind


def random_value(rng, keyword):
    """Return a value as devices write them, right or wrong; None for none."""
    if "Spacing" in keyword:
        return rng.choice([[0.1, 0.1], [0.1, 0.2], [0, 0], [], "0.1", [1e-9, 1e9], [-1, 1]])
    if keyword == "SliceThickness":
        return rng.choice([0, 1, -1, 20.5, ""])
    if "UID" in keyword:
        return rng.choice(["1.2.3", "", "x", "1." * 40 + "1"])
    texts = ("", "A", "1970.01.02", "19700102", "99999999", "10:11", "101112.123", "F", "Ä^Ö")
    return rng.choice([*texts, "x" * 200, "a\\b", "[L\\F]", ["L", "F"], ["X", "Y"], "012Y"])


@pytest.mark.parametrize("seed", range(60))
def test_any_source_gives_a_valid_result_or_a_reason(radiograph, writer, tmp_path, seed):
    rng = random.Random(seed)
    keywords = (
        *("PatientBirthDate", "PatientSex", "PatientAge", "StudyDate", "StudyTime", "StudyID"),
        *("AccessionNumber", "StudyDescription", "IssuerOfPatientID", "PatientOrientation"),
        *("PixelSpacing", "ImagerPixelSpacing", "SliceThickness", "FrameOfReferenceUID"),
        *("PositionReferenceIndicator", "LossyImageCompression", "BurnedInAnnotation"),
        *("PatientIdentityRemoved", "DeidentificationMethod", "PatientWeight", "PatientSize"),
        *("PixelSpacingCalibrationType", "StudyInstanceUID", "ImagePositionPatient"),
        *("ImageOrientationPatient", "LossyImageCompressionRatio", "SeriesInstanceUID"),
    )
    elements = {}
    for keyword in rng.sample(keywords, 6):
        value = rng.choice([None, random_value(rng, keyword)])
        with contextlib.suppress(TypeError, ValueError, OverflowError):  # pydicom does not write it
            radiograph(**{keyword: value})
            elements[keyword] = value
    path = radiograph(**elements)
    failed = []
    writer(*KINDS, anonymize=seed % 2 == 0).write(path, "x", RESULT, failed)
    if failed:
        assert "UID" in failed[0][1] or "must show no name" in failed[0][1], failed
    else:
        for kind in KINDS:
            assert validate(tmp_path / "out" / f"x_{kind}.dcm") == [], (kind, elements)
