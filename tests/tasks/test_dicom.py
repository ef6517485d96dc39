"""`predict` with DICOM results, on the stand-ins of the two tasks."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import dentalzoo as dz
from dentalzoo.data.io.images import read_image, read_mask, write_png
from dentalzoo.data.synthetic import panoramic
from dentalzoo.errors import DentalzooError
from dentalzoo.tasks import detection, segmentation
from dentalzoo.tasks.options import DetectionPredictOptions, SegmentationPredictOptions
from tests.data.dicom_out.conftest import radiograph  # noqa: F401, a fixture
from tests.data.dicom_out.test_validation import validate
from tests.tasks import test_detection, test_segmentation
from tests.tasks.test_predictor import apart

pydicom = pytest.importorskip("pydicom")
highdicom = pytest.importorskip("highdicom")

ROOT = Path(__file__).resolve().parents[2]

GREY = np.zeros((40, 60), np.uint8)
GREY[4:20, 6:30] = 190  # of class 2 with score 0.9 for detection


@pytest.fixture
def mixed(radiograph):  # noqa: F811
    """Return a folder with a DICOM and a PNG radiograph."""
    path = radiograph("a.dcm", pixels=GREY, BitsStored=8, HighBit=7)
    write_png(path.parent / "b.png", GREY)
    return path.parent


def masks(**options):
    return SegmentationPredictOptions(**options)


@pytest.mark.parametrize("channels", [1, 24])
def test_a_segmentation_holds_the_pixels_of_the_png(mixed, tmp_path, channels):
    bundle = test_segmentation.StandIn(channels)
    segmentation.predict(bundle, mixed, tmp_path / "out", options=masks(dicom=("seg", "sc")))
    seg = highdicom.seg.segread(tmp_path / "out" / "a_seg.dcm")
    stored = seg.get_pixels_by_source_instance(
        [pydicom.dcmread(mixed / "a.dcm").SOPInstanceUID],
        segment_numbers=range(1, max(2, channels)),
        combine_segments=True,
        assert_missing_frames_are_empty=True,
    )[0]
    png = read_mask(tmp_path / "out" / "a.png")
    np.testing.assert_array_equal(stored, png // 255 if channels == 1 else png)
    assert stored.any()
    assert seg.SegmentSequence[0].SegmentLabel == ("tooth" if channels == 1 else "class_1")


def test_an_image_that_is_not_dicom_has_its_mask_and_is_named(mixed, tmp_path):
    report = segmentation.predict(
        test_segmentation.StandIn(), mixed, tmp_path / "out", options=masks(dicom=("seg", "sc"))
    )
    assert report.written == 2
    ((name, reason),) = report.failed
    assert name == str((mixed / "b.png").resolve())
    assert reason.startswith("not written as DICOM: must be a DICOM file")
    assert {p.name for p in (tmp_path / "out").glob("[!.]*")} == {
        *("a.png", "b.png", "a_seg.dcm", "a_sc.dcm")
    }


def test_the_capture_is_the_overlay(mixed, tmp_path):
    options = masks(dicom=("sc",), overlay=True)
    segmentation.predict(test_segmentation.StandIn(), mixed, tmp_path / "out", options=options)
    capture = pydicom.dcmread(tmp_path / "out" / "a_sc.dcm").pixel_array
    np.testing.assert_array_equal(capture, read_image(tmp_path / "out" / "a_overlay.png"))


def test_class_names_may_be_given(mixed, tmp_path):
    options = masks(dicom=("seg",), classes=("mandible",))
    segmentation.predict(test_segmentation.StandIn(), mixed, tmp_path / "out", options=options)
    segment = pydicom.dcmread(tmp_path / "out" / "a_seg.dcm").SegmentSequence[0]
    assert segment.SegmentedPropertyTypeCodeSequence[0].CodeMeaning == "Mandible"


def test_names_must_be_as_many_as_the_classes(mixed, tmp_path):
    with pytest.raises(DentalzooError, match="classes must be the 1 of stand_in"):
        segmentation.predict(
            test_segmentation.StandIn(),
            mixed,
            tmp_path / "out",
            options=masks(classes=("a", "b")),
        )


def test_a_report_holds_the_boxes_of_the_table(mixed, tmp_path):
    report = detection.predict(
        test_detection.StandIn(),
        mixed,
        tmp_path / "out",
        options=DetectionPredictOptions(dicom=("sr", "sc"), anonymize=True),
    )
    assert report.written == 2 and len(report.failed) == 1
    (entry, _) = json.loads((tmp_path / "out" / "detections.json").read_text())
    (path,) = (tmp_path / "out").glob("*_sr.dcm")
    content = highdicom.sr.srread(path).content
    (group,) = content.get_planar_roi_measurement_groups()
    left, top, width, height = entry["bbox"]
    assert group.roi.value.min(axis=0).tolist() == [left, top] == [6, 4]
    assert group.roi.value.max(axis=0).tolist() == [left + width, top + height] == [30, 20]
    assert group.finding_type.meaning == "endodontic"
    assert group.get_measurements()[0].value == pytest.approx(100 * entry["score"])
    key = json.loads((tmp_path / "out_dicom_key.json").read_text())
    assert list(key["patients"].values()) == ["4711"]


def test_boxes_have_no_segmentation():
    with pytest.raises(DentalzooError, match="dicom.* must .*Received: .*seg"):
        DetectionPredictOptions(dicom=("seg",))


def test_the_report_of_a_mask_needs_its_segmentation(mixed, tmp_path):
    with pytest.raises(DentalzooError, match="dicom must hold seg where it holds sr"):
        masks(dicom=("sr", "sc"))
    options = masks(dicom=("sr", "seg"))
    segmentation.predict(test_segmentation.StandIn(), mixed, tmp_path / "out", options=options)
    content = highdicom.sr.srread(tmp_path / "out" / "a_sr.dcm").content
    (group,) = content.get_planar_roi_measurement_groups()
    assert group.finding_type.meaning == "Tooth"
    assert group.get_measurements()[0].value == (GREY > 0).sum()


def test_hashed_names_go_with_results_without_identity(mixed, tmp_path):
    segmentation.predict(
        test_segmentation.StandIn(),
        mixed,
        tmp_path / "out",
        options=masks(dicom=("seg",), anonymize=True),
    )
    (path,) = (tmp_path / "out").glob("*_seg.dcm")
    assert path.name != "a_seg.dcm"
    assert pydicom.dcmread(path).PatientIdentityRemoved == "YES"
    assert b"4711" not in path.read_bytes()


def test_results_are_not_taken_for_radiographs(mixed, tmp_path):
    bundle, options = test_segmentation.StandIn(), masks(dicom=("seg", "sr", "sc"))
    segmentation.predict(bundle, mixed / "a.dcm", tmp_path / "out", options=options)
    results = [tmp_path / "out" / name for name in ("a_sc.dcm", "a_seg.dcm", "a_sr.dcm")]
    report = segmentation.predict(bundle, results, tmp_path / "again")
    assert report.written == 0
    reasons = [reason.rpartition("Received: ")[2] for _, reason in report.failed]
    assert reasons[:2] == ["a result, such as a segmentation"] * 2 and len(reasons) == 3


def test_a_name_that_a_result_takes_is_not_given_twice(radiograph, tmp_path):  # noqa: F811
    for name in ("a.dcm", "a_seg.dcm"):
        path = radiograph(name, pixels=GREY, BitsStored=8, HighBit=7)
    report = segmentation.predict(
        test_segmentation.StandIn(), path.parent, tmp_path / "out", options=masks(dicom=("seg",))
    )
    assert report.failed == []
    assert len(list((tmp_path / "out").glob("*.dcm"))) == 2


# ---- a study and the released bundles ------------------------------------------------------------


@pytest.fixture
def study(radiograph):  # noqa: F811
    """Return a folder with three synthetic radiographs of one study, each stored another way."""
    forms = (
        {"WindowCenter": 2048, "WindowWidth": 4096, "PixelSpacing": [0.1, 0.1]},
        {"PhotometricInterpretation": "MONOCHROME1", "FrameOfReferenceUID": "1.2.3"},
        {"ImagerPixelSpacing": [0.1, 0.1], "PatientOrientation": None, "StudyID": None},
    )
    for number, elements in enumerate(forms):
        pixels = panoramic(number).image.astype(np.uint16) * 16
        if "PhotometricInterpretation" in elements:
            pixels = 4095 - pixels
        uid = {"SOPInstanceUID": f"1.2.826.0.1.3680043.8.498.1.{number}"}
        path = radiograph(f"{number}.dcm", pixels=pixels, private=True, **uid, **elements)
    return path.parent


@pytest.mark.slow
def test_a_study_in_and_segmentations_reports_and_captures_out(study, tmp_path):
    out = tmp_path / "masks"
    unet, detector = (
        ROOT / "pretrained" / name
        for name in (
            "panoramic_unet.panoramic_teeth_v2",
            "panoramic_detection.dental_radiography_v4",
        )
    )
    assert dz.predict(unet, study, out, dicom=("seg", "sr", "sc")).failed == []
    report = dz.predict(detector, study, tmp_path / "boxes", dicom=("sr", "sc"))
    assert (report.written, report.failed) == (3, [])
    for number in range(3):
        stored = highdicom.seg.segread(out / f"{number}_seg.dcm")
        source = pydicom.dcmread(study / f"{number}.dcm")
        mask = stored.get_pixels_by_source_instance([source.SOPInstanceUID], combine_segments=True)
        png = read_mask(out / f"{number}.png")
        np.testing.assert_array_equal(mask[0] * 255, png)
        assert 0.05 < (png > 0).mean() < 0.5
        assert stored.StudyInstanceUID == source.StudyInstanceUID
    entries = json.loads((tmp_path / "boxes" / "detections.json").read_text())
    for number in range(3):
        content = highdicom.sr.srread(tmp_path / "boxes" / f"{number}_sr.dcm").content
        groups = content.get_planar_roi_measurement_groups()
        mine = [entry for entry in entries if entry["file_name"] == f"{number}.dcm"]
        assert len(groups) == len(mine)
        for group, entry in zip(groups, mine, strict=True):
            assert group.roi.value[0].tolist() == pytest.approx(entry["bbox"][:2], abs=0.01)
    if shutil.which("dciodvfy"):
        results = [*out.glob("*.dcm"), *(tmp_path / "boxes").glob("*.dcm")]
        assert len(results) == 15
        for path in results:
            assert validate(path) == [], path.name


def test_results_of_several_processes_are_one_series(radiograph, tmp_path):  # noqa: F811
    """Each image in a process of its own, as `test_predictor.apart` runs them."""
    uid = "1.2.826.0.1.3680043.8.498.77."
    for number, patient in enumerate(("7", "7", "8"), 1):
        radiograph(f"{number}.dcm", SOPInstanceUID=f"{uid}{number}", PatientID=patient)
    options = masks(dicom=("seg", "sr"), anonymize=True)
    apart(segmentation, test_segmentation.StandIn(), options, tmp_path / "in", tmp_path / "out")
    results = [pydicom.dcmread(path) for path in sorted((tmp_path / "out").glob("*_seg.dcm"))]
    assert len(results) == 3 and len({result.SeriesInstanceUID for result in results}) == 1
    assert {result.InstanceNumber for result in results} == {1, 2, 3}
    assert len({result.SOPInstanceUID for result in results}) == 3
    key = json.loads((tmp_path / "out_dicom_key.json").read_text())
    assert sorted(key["patients"].values()) == ["7", "8"]
    assert {result.PatientID for result in results} == {*key["patients"]}
    assert {f"{uid}{number}" for number in (1, 2, 3)} <= {*key["uids"].values()}
    again = segmentation.predict(
        test_segmentation.StandIn(), tmp_path / "in", tmp_path / "out", options=options
    )
    assert again.written == 3
    assert json.loads((tmp_path / "out_dicom_key.json").read_text()) == key
