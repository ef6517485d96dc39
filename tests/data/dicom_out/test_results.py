"""SEG, SR and SC as pydicom and highdicom read them back."""

import numpy as np
import pytest

from dentalzoo.data.dicom_out.writer import ImageResult
from dentalzoo.errors import DentalzooError

pydicom = pytest.importorskip("pydicom")
highdicom = pytest.importorskip("highdicom")

from tests.data.dicom_out.conftest import CAPTURE, CR, DX, INTRAORAL, UIDS  # noqa: E402

MASK = np.zeros((40, 60), np.uint8)
MASK[3:9, 4:22], MASK[20:30, 2:9] = 1, 3
BOXES = np.array([[0.1, 0.2, 0.5, 0.6], [0, 0, 1, 1], [0.25, 0.25, 0.5, 0.5]])
RESULT = ImageResult(
    mask=MASK,
    classes=("11", "tooth", "Füllung"),
    colours=((230, 159, 0), (86, 180, 233), (0, 158, 115)),
    boxes=BOXES,
    scores=np.array([0.5, 0.875, 1.0]),
    labels=("36", "Cavity", "Füllung"),
    overlay=lambda: np.dstack([MASK * 80] * 3),
)


@pytest.fixture
def results(writer, tmp_path):
    """Write results of a radiograph and return them as pydicom reads them."""

    def write(path, *kinds, result=RESULT, anonymize=False):
        failed = []
        writing = writer(*kinds, anonymize=anonymize)
        writing.write(path, "x", result, failed)
        writing.close()
        assert failed == []
        return [pydicom.dcmread(tmp_path / "out" / f"x_{kind}.dcm") for kind in kinds]

    return write


# ---- all kinds -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["seg", "sr", "sc"])
def test_patient_and_study_are_the_sources_and_the_rest_is_new(radiograph, results, kind):
    (result,) = results(radiograph(private=True), kind)
    assert result.PatientName == "Sørensen^Åse" and result.PatientID == "4711"
    assert (result.StudyInstanceUID, result.StudyID) == (UIDS["StudyInstanceUID"], "S1")
    assert result.SeriesInstanceUID not in UIDS.values()
    assert result.SOPInstanceUID not in UIDS.values()
    assert result.file_meta.MediaStorageSOPInstanceUID == result.SOPInstanceUID
    assert result.ManufacturerModelName == "panoramic_unet.teeth_v1"
    assert result.SoftwareVersions == "dentalzoo 0.1.0"
    assert result.ContentQualification == "RESEARCH"
    assert "Secret^Person" not in str(result) and "Practice" not in str(result)
    assert UIDS["SOPInstanceUID"] in str(result)


@pytest.mark.parametrize("sop_class", [DX, CR, INTRAORAL, CAPTURE])
@pytest.mark.parametrize("kind", ["seg", "sr", "sc"])
def test_every_class_of_radiograph(radiograph, results, kind, sop_class):
    (result,) = results(radiograph(SOPClassUID=sop_class, PatientOrientation=None), kind)
    assert sop_class in [e.value for e in result.iterall() if e.keyword == "ReferencedSOPClassUID"]


def test_images_of_a_series_share_the_series_of_their_results(radiograph, writer, tmp_path):
    run, failed = writer("seg"), []
    for i in (1, 2):
        uid = f"{UIDS['SOPInstanceUID']}.{i}"
        run.write(radiograph(f"{i}.dcm", SOPInstanceUID=uid), str(i), RESULT, failed)
    first, second = (pydicom.dcmread(tmp_path / "out" / f"{i}_seg.dcm") for i in (1, 2))
    assert first.SeriesInstanceUID == second.SeriesInstanceUID
    assert (first.InstanceNumber, second.InstanceNumber) == (1, 2)
    assert first.SOPInstanceUID != second.SOPInstanceUID


def test_a_missing_study_is_a_failure_by_name_and_nothing_is_written(
    radiograph, writer, tmp_path, caplog
):
    failed, path = [], radiograph(StudyInstanceUID=None)
    writer("seg", "sc").write(path, "x", RESULT, failed)
    ((name, reason),) = failed
    assert name == str(path) and reason.startswith("not written as DICOM: must have Study")
    assert not (tmp_path / "out").exists()
    assert len(caplog.messages) == 1


def test_what_was_emptied_is_logged_once(radiograph, writer, caplog):
    caplog.set_level("INFO", logger="dentalzoo")
    run = writer("seg")
    for name in ("1.dcm", "2.dcm"):
        run.write(radiograph(name, StudyID=None), name, RESULT, [])
    assert [m.rpartition(": ")[2] for m in caplog.messages] == ["StudyID"]


def test_a_kind_without_its_result_is_refused(radiograph, writer):
    with pytest.raises(DentalzooError, match="Received: 'seg'"):
        writer("seg").write(radiograph(), "x", ImageResult(boxes=BOXES), [])


def test_a_result_of_another_size_is_a_failure(radiograph, writer):
    failed = []
    small = ImageResult(mask=MASK[:5], classes=RESULT.classes, overlay=lambda: RESULT.overlay()[:5])
    writer("seg", "sc").write(radiograph(), "x", small, failed)
    assert "its mask must be (40, 60) pixels" in failed[0][1]
    assert "its overlay must be (40, 60) pixels" in failed[0][1]


@pytest.mark.parametrize("syntax", ["50", "51", "81", "91"])
def test_a_syntax_with_losses_is_said_where_the_source_does_not(radiograph, results, syntax):
    path = radiograph()
    (seg,) = results(path, "seg")
    assert seg.LossyImageCompression == "00" and "LossyImageCompressionRatio" not in seg
    dataset = pydicom.dcmread(path)
    dataset.file_meta.TransferSyntaxUID = f"1.2.840.10008.1.2.4.{syntax}"
    dataset.PixelData = pydicom.encaps.encapsulate([b"\0" * 400])
    dataset["PixelData"].VR = "OB"
    dataset.save_as(path)
    for result in results(path, "seg", "sc"):
        assert result.LossyImageCompression == "01"
        assert result.LossyImageCompressionMethod.startswith("ISO_1")
        assert 1 < result.LossyImageCompressionRatio < 12


def test_a_name_that_is_too_long_for_the_disk_is_a_failure(radiograph, writer, tmp_path):
    failed, path = [], radiograph()
    writer("seg").write(path, "x" * 250, RESULT, failed)
    assert "at most 255 bytes" in failed[0][1]
    writer("seg").write(path, "x" * 247, RESULT, failed)
    assert len(failed) == 1 and (tmp_path / "out" / f"{'x' * 247}_seg.dcm").is_file()


# ---- SEG -----------------------------------------------------------------------------------------


def read_mask(path):
    """Return class ids as highdicom combines the segments."""
    seg = highdicom.seg.segread(path)
    numbers = list(range(1, seg.number_of_segments + 1))
    uids = [UIDS["SOPInstanceUID"]]
    pixels = seg.get_pixels_by_source_instance(
        uids, segment_numbers=numbers, combine_segments=True, assert_missing_frames_are_empty=True
    )
    return pixels[0]


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_segmentation_is_the_mask(radiograph, results, tmp_path, photometric, dtype):
    pixels = np.arange(2400).reshape(40, 60).astype(dtype)
    results(radiograph(pixels=pixels, PhotometricInterpretation=photometric), "seg")
    np.testing.assert_array_equal(read_mask(tmp_path / "out" / "x_seg.dcm"), MASK)


def test_segments_are_named_and_coded(radiograph, results):
    (seg,) = results(radiograph(), "seg")
    types = [segment.SegmentedPropertyTypeCodeSequence[0] for segment in seg.SegmentSequence]
    assert [segment.SegmentLabel for segment in seg.SegmentSequence] == list(RESULT.classes)
    assert [code.CodeValue for code in types] == ["422653006", "38199008", "Füllung"]
    regions = {s.AnatomicRegionSequence[0].CodeMeaning for s in seg.SegmentSequence}
    assert regions == {"Jaw region"}
    (structure,) = seg.SegmentSequence[0].PrimaryAnatomicStructureSequence
    assert structure.CodeMeaning == "Permanent maxillary right central incisor tooth"
    colour = highdicom.color.CIELabColor.from_dicom_value(
        seg.SegmentSequence[1].RecommendedDisplayCIELabValue
    )
    np.testing.assert_allclose(colour.to_rgb(), (86, 180, 233), atol=1)
    algorithm = seg.SegmentSequence[0].SegmentationAlgorithmIdentificationSequence[0]
    assert algorithm.AlgorithmName == "panoramic_unet.teeth_v1"
    assert algorithm.AlgorithmVersion == "dentalzoo 0.1.0"
    assert algorithm.AlgorithmParameters == "threshold=0.5"


def test_an_empty_mask_is_stored_as_empty(radiograph, results, tmp_path):
    empty = ImageResult(mask=MASK * 0, classes=RESULT.classes)
    (seg,) = results(radiograph(), "seg", result=empty)
    assert seg.NumberOfFrames == 3 and not seg.pixel_array.any()
    np.testing.assert_array_equal(read_mask(tmp_path / "out" / "x_seg.dcm"), MASK * 0)


def test_a_binary_mask_with_a_channel(radiograph, results):
    binary = ImageResult(mask=(MASK > 0).astype(np.uint8)[..., None], classes=("tooth",))
    (seg,) = results(radiograph(), "seg", result=binary)
    np.testing.assert_array_equal(seg.pixel_array, MASK > 0)


@pytest.mark.parametrize(
    ("elements", "measures"),
    [
        ({"PixelSpacing": [0.1, 0.2]}, ([0.1, 0.2], 1)),
        ({"ImagerPixelSpacing": [0.1, 0.1]}, ([0.1, 0.1], 1)),
        ({"ImagerPixelSpacing": [0.1, 0.1], "SliceThickness": 0}, ([0.1, 0.1], 1)),
        ({"PixelSpacing": [0.1, 0.2], "FrameOfReferenceUID": "1.2.3"}, ([0.1, 0.2], 1)),
        (
            {"PixelSpacing": [0.1, 0.2], "FrameOfReferenceUID": "1.2.3", "SliceThickness": 20},
            ([0.1, 0.2], 20),
        ),
        ({"FrameOfReferenceUID": "1.2.3"}, None),
        ({}, None),
    ],
)
def test_pixel_measures_need_no_slice_thickness(radiograph, results, tmp_path, elements, measures):
    (seg,) = results(radiograph(**elements), "seg")
    shared = seg.SharedFunctionalGroupsSequence[0].get("PixelMeasuresSequence")
    given = shared and (list(shared[0].PixelSpacing), shared[0].get("SliceThickness"))
    assert given == measures
    assert seg.get("FrameOfReferenceUID") == elements.get("FrameOfReferenceUID")
    np.testing.assert_array_equal(read_mask(tmp_path / "out" / "x_seg.dcm"), MASK)


def test_a_plane_in_space_is_kept(radiograph, results):
    plane = {"ImagePositionPatient": [1, 2, 3], "ImageOrientationPatient": [1, 0, 0, 0, 0, -1]}
    place = {"FrameOfReferenceUID": "1.2.3", "PixelSpacing": [0.1, 0.1]}
    (seg,) = results(radiograph(**plane, **place), "seg")
    shared = seg.SharedFunctionalGroupsSequence[0]
    frame = seg.PerFrameFunctionalGroupsSequence[0]
    assert shared.PlaneOrientationSequence[0].ImageOrientationPatient == [1, 0, 0, 0, 0, -1]
    assert frame.PlanePositionSequence[0].ImagePositionPatient == [1, 2, 3]


# ---- SR ------------------------------------------------------------------------------------------


def test_a_report_has_a_region_a_finding_and_a_certainty_for_each_box(
    radiograph, results, tmp_path
):
    (report,) = results(radiograph(), "sr")
    texts = [e.value for e in report.iterall() if e.keyword == "TextValue"]
    assert texts.count("panoramic_unet.teeth_v1") == 5  # the device, the image, three boxes
    assert texts.count("threshold=0.5") == 4
    content = highdicom.sr.srread(tmp_path / "out" / "x_sr.dcm").content
    groups = content.get_planar_roi_measurement_groups()
    assert [group.finding_type.value for group in groups] == ["866006002", "80967001", "Füllung"]
    assert [site.value.value for group in groups for site in group.finding_sites] == ["866006002"]
    assert [group.tracking_identifier for group in groups] == ["36 1", "Cavity 1", "Füllung 1"]
    regions = [group.roi.value for group in groups]
    np.testing.assert_allclose(regions[0], [[12, 4], [36, 4], [36, 20], [12, 20], [12, 4]])
    np.testing.assert_allclose(regions[1].max(axis=0), (60, 40))
    assert all(group.roi.graphic_type.value == "POLYLINE" for group in groups)
    certainties = [group.get_measurements()[0] for group in groups]
    assert [certainty.value for certainty in certainties] == [50, 87.5, 100]
    assert certainties[0].name.value == "111012" and certainties[0].unit.value == "%"


@pytest.mark.parametrize("result", [RESULT, ImageResult(boxes=np.zeros((0, 4)))])
def test_a_report_states_the_number_of_boxes(radiograph, results, tmp_path, result):
    results(radiograph(), "sr", result=result)
    content = highdicom.sr.srread(tmp_path / "out" / "x_sr.dcm").content
    (group,) = content.get_image_measurement_groups()
    assert group.get_measurements()[0].value == len(result.boxes)
    assert group.source_images[0].referenced_sop_instance_uid == UIDS["SOPInstanceUID"]
    assert len(content.get_planar_roi_measurement_groups()) == len(result.boxes)


@pytest.mark.parametrize(
    ("elements", "unit", "pixel"),
    [
        ({"PixelSpacing": [0.1, 0.2]}, "mm2", 0.02),
        ({"ImagerPixelSpacing": [0.1, 0.2]}, "{pixels}", 1),
        ({}, "{pixels}", 1),
    ],
)
def test_the_report_of_a_mask_refers_to_its_segments(
    radiograph, results, tmp_path, elements, unit, pixel
):
    only_mask = ImageResult(mask=MASK, classes=RESULT.classes)
    seg, _ = results(radiograph(**elements), "seg", "sr", result=only_mask)
    content = highdicom.sr.srread(tmp_path / "out" / "x_sr.dcm").content
    groups = content.get_planar_roi_measurement_groups()
    assert [group.finding_type.value for group in groups] == ["422653006", "Füllung"]
    for group, value in zip(groups, (1, 3), strict=True):
        frame = group.referenced_segmentation_frame
        assert frame.referenced_sop_instance_uid == seg.SOPInstanceUID
        (number,) = frame.referenced_frame_numbers
        np.testing.assert_array_equal(seg.pixel_array[number - 1], value == MASK)
        (area,) = group.get_measurements()
        assert area.name.meaning == "Area" and area.unit.value == unit
        assert area.value == pytest.approx((value == MASK).sum() * pixel)
    (image,) = content.get_image_measurement_groups()
    assert image.get_measurements()[0].value == 2


def test_a_report_without_its_segmentation_is_a_failure(radiograph, writer):
    failed = []
    small = ImageResult(mask=MASK[:5], classes=RESULT.classes)
    writer("sr", "seg").write(radiograph(), "x", small, failed)
    assert "SEG: its mask must be" in failed[0][1]
    assert failed[0][1].endswith("SR: its report refers to its segmentation, which failed")


def test_a_report_is_neither_final_nor_verified(radiograph, results):
    (report,) = results(radiograph(), "sr")
    flags = report.CompletionFlag, report.PreliminaryFlag, report.VerificationFlag
    assert flags == ("COMPLETE", "PRELIMINARY", "UNVERIFIED")


# ---- SC ------------------------------------------------------------------------------------------


def test_a_capture_is_the_overlay(radiograph, results):
    (capture,) = results(radiograph(PixelSpacing=[0.1, 0.2], BurnedInAnnotation="NO"), "sc")
    np.testing.assert_array_equal(capture.pixel_array, RESULT.overlay())
    assert capture.PhotometricInterpretation == "RGB" and capture.PixelSpacing == [0.1, 0.2]
    assert capture.PatientOrientation == ["L", "F"] and capture.BurnedInAnnotation == "NO"
    assert capture.SourceImageSequence[0].ReferencedSOPInstanceUID == UIDS["SOPInstanceUID"]


def test_a_capture_claims_no_calibration_and_no_orientation_that_the_source_lacks(
    radiograph, results
):
    (capture,) = results(radiograph(ImagerPixelSpacing=[0.1, 0.1], PatientOrientation=None), "sc")
    assert "PixelSpacing" not in capture and "BurnedInAnnotation" not in capture
    assert not capture.PatientOrientation


def test_losses_of_the_source_stay_known(radiograph, results):
    lossy = {
        "LossyImageCompression": "01",
        "LossyImageCompressionRatio": 10,
        "LossyImageCompressionMethod": "ISO_10918_1",
    }
    for result in results(radiograph(**lossy), "seg", "sc"):
        assert {key: result.get(key) for key in lossy} == lossy
