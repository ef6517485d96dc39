"""DICOM files made by code."""

import pytest

from tests.data.io.dicom_files import VALUES

INTRAORAL = "1.2.840.10008.5.1.4.1.1.1.3"  # Digital Intra-Oral X-Ray Image Storage


@pytest.fixture
def dicom(tmp_path):
    """Write a DICOM file of 12 bits in 16, with elements added, changed, or removed by None."""

    def write(
        pixels=VALUES, name="x.dcm", preamble=bytes(128), syntax=None, sop=INTRAORAL, **elements
    ):
        from pydicom.dataset import Dataset, FileMetaDataset
        from pydicom.uid import ExplicitVRLittleEndian, generate_uid

        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID = sop
        meta.MediaStorageSOPInstanceUID = generate_uid()
        meta.TransferSyntaxUID = syntax or ExplicitVRLittleEndian
        dataset = Dataset()
        dataset.file_meta = meta
        dataset.preamble = preamble
        dataset.PatientName = "Secret^Person"
        given = {
            "Rows": pixels.shape[0],
            "Columns": pixels.shape[1],
            "SamplesPerPixel": 1,
            "PhotometricInterpretation": "MONOCHROME2",
            "BitsAllocated": pixels.itemsize * 8,
            "BitsStored": 12 if pixels.itemsize == 2 else 8,
            "HighBit": 11 if pixels.itemsize == 2 else 7,
            "PixelRepresentation": int(pixels.dtype.kind == "i"),
            "PixelData": pixels.tobytes(),
        }
        for key, value in (given | elements).items():
            if value is not None:
                setattr(dataset, key, value)
        if "PixelData" in dataset:
            dataset["PixelData"].VR = "OW"
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        dataset.save_as(tmp_path / name, enforce_file_format=True)
        return tmp_path / name

    return write
