"""Results without the patient."""

import json
from pathlib import Path

import pytest

from dentalzoo.errors import BadFile

pydicom = pytest.importorskip("pydicom")
pytest.importorskip("highdicom")

from tests.data.dicom_out.conftest import UIDS  # noqa: E402
from tests.data.dicom_out.test_results import RESULT  # noqa: E402

KINDS = ("seg", "sr", "sc")
PERSONAL = {
    "PatientName": "Personal^Name",
    "PatientID": "Personal1",
    "IssuerOfPatientID": "Personal2",
    "PatientAge": "054Y",
    "PatientWeight": 77,
    "StudyID": "Personal3",
    "AccessionNumber": "Personal4",
    "ReferringPhysicianName": "Personal^Physician",
    "StudyDescription": "Personal description",
    "FrameOfReferenceUID": "1.2.826.0.1.3680043.8.498.9",
    "PositionReferenceIndicator": "Personal5",
    "PixelSpacing": [0.1, 0.1],
    "PixelSpacingCalibrationType": "GEOMETRY",
    "PixelSpacingCalibrationDescription": "Personal6",
}


def write(writer, path, name="x", kinds=KINDS):
    run, failed = writer(*kinds, anonymize=True), []
    run.write(path, name, RESULT, failed)
    run.close()
    return failed


def read(tmp_path, name="x"):
    return [pydicom.dcmread(tmp_path / "out" / f"{name}_{kind}.dcm") for kind in KINDS]


def test_nothing_of_the_patient_and_no_date_is_left(radiograph, writer, tmp_path):
    assert write(writer, radiograph(private=True, **PERSONAL)) == []
    for kind, result in zip(KINDS, read(tmp_path), strict=True):
        raw = (tmp_path / "out" / f"x_{kind}.dcm").read_bytes()
        for secret in (b"Personal", b"Secret", b"GEOMETRY"):
            assert secret not in raw, (kind, secret)
        assert not any(uid.encode() + b"\0" in raw for uid in UIDS.values())
        dates = {e.value for e in result.iterall() if e.VR in ("DA", "DT") and e.value}
        assert dates <= {"19000101"}
        assert "101112" not in {e.value for e in result.iterall() if e.VR == "TM"}
        assert not result.PatientSex and not result.PatientBirthDate
        assert "PatientAge" not in result and "PatientWeight" not in result
        assert result.PatientIdentityRemoved == "YES"
        assert result.DeidentificationMethodCodeSequence[0].CodeValue == "113100"
        assert result.PatientID.startswith("ANON")


def test_the_same_patient_and_study_stay_the_same_in_a_folder(radiograph, writer, tmp_path):
    first = radiograph("1.dcm")
    other = {"SOPInstanceUID": f"{UIDS['SOPInstanceUID']}.2"}
    write(writer, first, "a")
    write(writer, radiograph("2.dcm", **other), "b")
    write(writer, radiograph("3.dcm", PatientID="other", **other), "c")
    (a, *_), (b, *_), (c, *_) = (read(tmp_path, name) for name in "abc")
    assert a.PatientID == b.PatientID != c.PatientID
    assert a.StudyInstanceUID == b.StudyInstanceUID != UIDS["StudyInstanceUID"]
    names = [
        r.PerFrameFunctionalGroupsSequence[0]
        .DerivationImageSequence[0]
        .SourceImageSequence[0]
        .ReferencedSOPInstanceUID
        for r in (a, b)
    ]
    assert names[0] != names[1]
    key = json.loads((tmp_path / "out_dicom_key.json").read_text())
    assert key["patients"] == {a.PatientID: "4711", c.PatientID: "other"}
    assert key["uids"][a.StudyInstanceUID] == UIDS["StudyInstanceUID"]
    assert key["uids"][names[0]] == UIDS["SOPInstanceUID"]


def test_the_current_folder_has_its_key_beside_it_too(tmp_path, monkeypatch, caplog):
    from dentalzoo.data.dicom_out.identity import Pseudonyms

    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with caplog.at_level("INFO", "dentalzoo"):
        key = Pseudonyms(Path(".")).key
        Pseudonyms(Path("."), key)  # of another process
    assert (tmp_path / "here_dicom_key.json").is_file()
    (line,) = caplog.messages
    assert line.startswith(f"{tmp_path / 'here_dicom_key.json'} leads from the pseudonyms")


def test_another_folder_has_other_pseudonyms(radiograph, writer, tmp_path):
    path = radiograph()
    write(writer, path)
    (first, *_) = read(tmp_path)
    (tmp_path / "out_dicom_key.json").unlink()
    write(writer, path)
    (second, *_) = read(tmp_path)
    assert first.PatientID != second.PatientID


def test_an_overlay_that_shows_the_name_is_refused(radiograph, writer, tmp_path):
    ((_, reason),) = write(writer, radiograph(BurnedInAnnotation="YES"))
    assert reason.startswith("not written as DICOM SC: without identity")
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"x_seg.dcm", "x_sr.dcm"}


def test_a_patient_without_an_id(radiograph, writer, tmp_path):
    write(writer, radiograph(PatientID=None, PatientName=None))
    key = json.loads((tmp_path / "out_dicom_key.json").read_text())
    assert list(key["patients"].values()) == [UIDS["StudyInstanceUID"]]


@pytest.mark.parametrize("content", ["", "[]", '{"key": "00", "patients": {}, "uids": {}}'])
def test_another_file_is_no_key(writer, tmp_path, content):
    (tmp_path / "out_dicom_key.json").write_text(content)
    with pytest.raises(BadFile, match="must be a key file of dentalzoo"):
        writer("seg", anonymize=True)


def test_a_source_without_identity_stays_so(radiograph, writer, tmp_path):
    run = writer("seg")
    path = radiograph(PatientIdentityRemoved="YES", DeidentificationMethod="by hand")
    run.write(path, "x", RESULT, [])
    result = pydicom.dcmread(tmp_path / "out" / "x_seg.dcm")
    assert (result.PatientIdentityRemoved, result.DeidentificationMethod) == ("YES", "by hand")
