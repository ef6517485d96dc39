"""`predict` with DICOM results, on the stand-ins of the two tasks."""

import json

import numpy as np
import pytest

from dentalzoo.data.io.images import read_image, read_mask, write_png
from dentalzoo.errors import DentalzooError
from dentalzoo.tasks import detection, segmentation
from dentalzoo.tasks.options import DetectionPredictOptions, SegmentationPredictOptions
from tests.data.dicom_out.conftest import radiograph  # noqa: F401, a fixture
from tests.tasks import test_detection, test_segmentation

pydicom = pytest.importorskip("pydicom")
highdicom = pytest.importorskip("highdicom")

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
    assert {p.name for p in (tmp_path / "out").iterdir()} == {
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
        options=DetectionPredictOptions(dicom=("sr", "sc"), dicom_anonymize=True),
    )
    assert report.written == 2 and len(report.failed) == 1
    (entry, _) = json.loads((tmp_path / "out" / "detections.json").read_text())
    content = highdicom.sr.srread(tmp_path / "out" / "a_sr.dcm").content
    (group,) = content.get_planar_roi_measurement_groups()
    left, top, width, height = entry["bbox"]
    assert group.roi.value.min(axis=0).tolist() == [left, top] == [6, 4]
    assert group.roi.value.max(axis=0).tolist() == [left + width, top + height] == [30, 20]
    assert group.finding_type.meaning == "endodontic"
    assert group.get_measurements()[0].value == pytest.approx(100 * entry["score"])
    key = json.loads((tmp_path / "out" / "dicom_key.json").read_text())
    assert list(key["patients"].values()) == ["4711"]


@pytest.mark.parametrize(
    ("options", "kind"), [(SegmentationPredictOptions, "sr"), (DetectionPredictOptions, "seg")]
)
def test_a_kind_that_the_task_does_not_have_is_refused(options, kind):
    with pytest.raises(DentalzooError, match=f"Received: .*{kind}"):
        options(dicom=(kind,))


def test_anonymize_alone_is_refused(mixed, tmp_path):
    with pytest.raises(DentalzooError, match="dicom_anonymize must be given with dicom"):
        segmentation.predict(
            test_segmentation.StandIn(),
            mixed,
            tmp_path / "out",
            options=masks(dicom_anonymize=True),
        )


def test_a_name_that_a_result_takes_is_not_given_twice(radiograph, tmp_path):  # noqa: F811
    for name in ("a.dcm", "a_seg.dcm"):
        path = radiograph(name, pixels=GREY, BitsStored=8, HighBit=7)
    report = segmentation.predict(
        test_segmentation.StandIn(), path.parent, tmp_path / "out", options=masks(dicom=("seg",))
    )
    assert report.failed == []
    assert len(list((tmp_path / "out").glob("*.dcm"))) == 2
