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


# ---- images that a bundle does not know ----------------------------------------------------------


def knowing(bundle, score):
    """Return the stand-in with a familiarity of this score, by its colour, for every image."""
    bundle.metadata["signatures"]["familiarity"] = {}
    bundle.familiarity = lambda image: {"score": np.float32(score), "colour": np.float32(score)}
    bundle.function = lambda name: getattr(bundle, name)
    return bundle


def comments(path):
    """Return the comments of the group of the whole image of a report, as highdicom reads them."""
    content = highdicom.sr.srread(path).content
    (group,) = content.get_image_measurement_groups()
    items = group[0].ContentSequence
    return [item.value for item in items if item.name.meaning == "Comment"]


@pytest.mark.parametrize("anonymize", [False, True])
@pytest.mark.parametrize(
    ("score", "words"), [(6.74, "do not rely on the result"), (1.5, "check the result")]
)
def test_every_object_of_an_unknown_image_warns(mixed, tmp_path, caplog, score, words, anonymize):
    (mixed / "b.png").unlink()
    masks_out, boxes_out = tmp_path / "masks", tmp_path / "boxes"
    unet, detector = (
        knowing(module.StandIn(), score) for module in (test_segmentation, test_detection)
    )
    options = masks(dicom=("seg", "sr", "sc"), anonymize=anonymize)
    segmentation.predict(unet, mixed, masks_out, options=options)
    options = DetectionPredictOptions(dicom=("sr", "sc"), anonymize=anonymize)
    detection.predict(detector, mixed, boxes_out, options=options)
    lines = [message for message in caplog.messages if "familiarity score" in message]
    assert len(lines) == 2 and lines[0] == lines[1]
    warning = lines[0].removeprefix(f"{(mixed / 'a.dcm').resolve()}: ")
    assert words in warning and warning.endswith(f"(familiarity score {score:.2f}, bound 1)")
    for path in (*masks_out.glob("*_sr.dcm"), *boxes_out.glob("*_sr.dcm")):
        assert comments(path) == [warning]
    (seg,) = map(pydicom.dcmread, masks_out.glob("*_seg.dcm"))
    assert seg.ImageComments == warning and words in seg.ContentDescription
    assert seg.SeriesDescription == "dentalzoo segmentation: stand_in"  # of all its images
    for path in (*masks_out.glob("*_sc.dcm"), *boxes_out.glob("*_sc.dcm")):
        assert pydicom.dcmread(path).ImageComments == warning
    results = [*masks_out.glob("*.dcm"), *boxes_out.glob("*.dcm")]
    assert len(results) == 5
    if shutil.which("dciodvfy"):
        assert [validate(path) for path in results] == [[]] * 5


def test_objects_of_a_familiar_image_warn_of_nothing(mixed, tmp_path):
    options = masks(dicom=("seg", "sr", "sc"), overlay=True)
    segmentation.predict(
        knowing(test_segmentation.StandIn(), 0.9), mixed, tmp_path / "out", options=options
    )
    assert comments(tmp_path / "out" / "a_sr.dcm") == []
    seg, capture = (pydicom.dcmread(tmp_path / "out" / f"a_{kind}.dcm") for kind in ("seg", "sc"))
    assert "ImageComments" not in seg and "ImageComments" not in capture
    assert seg.ContentDescription == "stand_in: tooth"
    overlay = read_image(tmp_path / "out" / "a_overlay.png")
    np.testing.assert_array_equal(capture.pixel_array, overlay)


def test_the_capture_of_an_unknown_image_shows_the_warning(radiograph, tmp_path):  # noqa: F811
    image = panoramic(1).image
    path = radiograph("a.dcm", pixels=image, BitsStored=8, HighBit=7)
    options = masks(dicom=("sc",), overlay=True)
    bundle = knowing(test_segmentation.StandIn(), 3)
    segmentation.predict(bundle, path, tmp_path / "out", options=options)
    capture = pydicom.dcmread(tmp_path / "out" / "a_sc.dcm").pixel_array
    drawn = read_image(tmp_path / "out" / "a_overlay.png")
    changed = (capture != drawn).any(axis=(1, 2))
    height = int(changed.nonzero()[0].max()) + 1
    assert 0.03 < height / len(image) < 0.1 and changed[:height].all()
    assert not changed[height:].any()
    assert len(np.unique(capture[:height].reshape(-1, 3), axis=0)) > 2  # a text on its ground


def test_an_empty_result_is_said_in_the_objects(mixed, tmp_path):
    bundle = knowing(test_segmentation.StandIn(), 0.5)
    options = masks(dicom=("seg", "sr"), threshold=0.9)
    segmentation.predict(bundle, mixed, tmp_path / "out", options=options)
    (comment,) = comments(tmp_path / "out" / "a_sr.dcm")
    assert comment.startswith("check the result: empty result: nothing was found")
    seg = pydicom.dcmread(tmp_path / "out" / "a_seg.dcm")
    assert seg.ContentDescription == "Nothing was found, check the result"


def test_what_several_processes_write_warns_too(mixed, tmp_path):
    bundle, options = knowing(test_detection.StandIn(), 3), DetectionPredictOptions(dicom=("sr",))
    apart(detection, bundle, options, mixed, tmp_path / "out")
    (comment,) = comments(tmp_path / "out" / "a_sr.dcm")
    assert "do not rely on the result" in comment
    assert json.loads((tmp_path / "out" / "familiarity.json").read_text())[0]["score"] == 3


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
