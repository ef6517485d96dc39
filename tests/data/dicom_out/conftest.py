"""Radiographs as dental devices write them, made by code."""

import numpy as np
import pytest

UIDS = {
    "SOPInstanceUID": "1.2.826.0.1.3680043.8.498.1",
    "SeriesInstanceUID": "1.2.826.0.1.3680043.8.498.2",
    "StudyInstanceUID": "1.2.826.0.1.3680043.8.498.3",
}
DX, CR, INTRAORAL, CAPTURE = (f"1.2.840.10008.5.1.4.1.1.{end}" for end in ("1.1", "1", "1.3", "7"))


@pytest.fixture
def radiograph(tmp_path):
    """Write a radiograph of 40 x 60 pixels; elements are added, changed, or removed by None."""
    pytest.importorskip("highdicom")
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian

    def write(name="film.dcm", pixels=None, private=False, **elements):
        pixels = np.arange(2400, dtype=np.uint16).reshape(40, 60) if pixels is None else pixels
        dataset = Dataset()
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset.file_meta.MediaStorageSOPClassUID = DX
        dataset.file_meta.MediaStorageSOPInstanceUID = UIDS["SOPInstanceUID"]
        given = UIDS | {
            "SOPClassUID": DX,
            "SpecificCharacterSet": "ISO_IR 100",
            "Modality": "PX",
            "PatientName": "Sørensen^Åse",
            "PatientID": "4711",
            "PatientBirthDate": "19700102",
            "PatientSex": "F",
            "StudyDate": "20240305",
            "StudyTime": "101112",
            "StudyID": "S1",
            "AccessionNumber": "A1",
            "ReferringPhysicianName": "Secret^Physician",
            "StudyDescription": "Panoramic radiograph",
            "InstitutionName": "Secret Practice",
            "Rows": pixels.shape[0],
            "Columns": pixels.shape[1],
            "SamplesPerPixel": 1,
            "PhotometricInterpretation": "MONOCHROME2",
            "BitsAllocated": 8 * pixels.itemsize,
            "BitsStored": 12 if pixels.itemsize == 2 else 8,
            "HighBit": 11 if pixels.itemsize == 2 else 7,
            "PixelRepresentation": 0,
            "PatientOrientation": ["L", "F"],
            "PixelData": pixels.tobytes(),
        }
        dataset.SpecificCharacterSet = given["SpecificCharacterSet"]
        for key, value in (given | elements).items():
            if value is not None:
                setattr(dataset, key, value)
        if private:
            dataset.private_block(0x0011, "SECRET", create=True).add_new(1, "LO", "Secret^Person")
        dataset["PixelData"].VR = "OW"
        path = tmp_path / "in" / name
        path.parent.mkdir(exist_ok=True)
        dataset.save_as(path, enforce_file_format=True)
        return path

    return write


@pytest.fixture
def writer(tmp_path):
    """Return a function that writes results with the elements of a run given."""
    pytest.importorskip("highdicom")
    from dentalzoo.data.dicom_out.writer import DicomWriter

    def make(*kinds, anonymize=False):
        return DicomWriter(
            tmp_path / "out",
            kinds,
            name="panoramic_unet.teeth_v1",
            version="dentalzoo 0.1.0",
            parameters={"threshold": "0.5"},
            anonymize=anonymize,
        )

    return make
