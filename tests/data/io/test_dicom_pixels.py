"""Stored bits, missing elements, files without a preamble, palettes."""

import logging

import numpy as np
import pytest

from dentalzoo.data.io.file_warnings import forget_files
from dentalzoo.data.io.images import read_image
from dentalzoo.errors import BadFile
from tests.data.io.dicom_files import VALUES, directory_file, grey, words

pydicom = pytest.importorskip("pydicom")

AS_STORED = [0, 64, 128, 255]  # VALUES of 12 bits


def refusal(path):
    with pytest.raises(BadFile) as error:
        read_image(path)
    message = str(error.value)
    assert "Received: " in message and "\n" not in message and "Secret" not in message
    return message


# ---- bits ----------------------------------------------------------------------------------------


def test_pixels_in_the_upper_bits(dicom):
    window = {"WindowCenter": 1024.5, "WindowWidth": 2049}  # 0..2048
    assert grey(dicom(VALUES << 4, HighBit=15, **window)) == [0, 128, 255, 255]
    signed = (np.array([[-2048, 0, 2047]], np.int16) * 16).astype(np.int16)
    path = dicom(signed, HighBit=15, WindowCenter=0.5, WindowWidth=4096)
    assert grey(path) == [0, 128, 255]


def test_high_bit_that_contradicts_the_pixels(dicom, caplog):
    forget_files()
    with caplog.at_level(logging.WARNING, "dentalzoo"):
        assert grey(dicom(HighBit=15)) == AS_STORED
    assert "High Bit (0028,0102) 15 is ignored: the pixels fill the lower 12 bits" in caplog.text
    message = refusal(dicom(np.array([[1, 65535]], np.uint16), HighBit=15))
    assert "High Bit (0028,0102) must be 11" in message


@pytest.mark.parametrize(
    ("elements", "message"),
    [
        ({"BitsStored": 17, "HighBit": 16}, "Bits Stored (0028,0101) must be 1 to 16"),
        ({"BitsStored": 0}, "Bits Stored (0028,0101) must be 1 to 16"),
        ({"HighBit": 16}, "High Bit (0028,0102) must be 11"),
        ({"HighBit": 7}, "High Bit (0028,0102) must be 11"),
        ({"BitsAllocated": 12}, "Bits Allocated (0028,0100) must be 1, 8, 16 or 32"),
        ({"PixelRepresentation": 2}, "Pixel Representation (0028,0103) must be 0 or 1"),
        ({"SamplesPerPixel": 3}, "Samples per Pixel (0028,0002) must be 1 for MONOCHROME2"),
        ({"PhotometricInterpretation": "HSV"}, "Photometric Interpretation (0028,0004) must be"),
    ],
)
def test_contradictions_are_refused_by_name(dicom, elements, message):
    assert message in refusal(dicom(**elements))


def test_values_beyond_bits_stored(dicom):
    pixels = np.array([[0, 4095, 40000]], np.uint16)
    assert "values up to 40000" in refusal(dicom(pixels))
    assert grey(dicom(pixels, PixelPaddingValue=40000)) == [0, 255, 255]
    overlay = {"OverlayBitPosition": 15}
    path = dicom(np.array([[0, 1024, 4095, 0x8000 | 2048]], np.uint16), name="o.dcm")
    dataset = pydicom.dcmread(path)
    dataset.add_new(0x60000102, "US", overlay["OverlayBitPosition"])
    dataset.save_as(path)
    assert grey(path) == [0, 64, 255, 128]


def test_signed_pixels_without_sign_extension(dicom):
    pixels = np.array([[0xF800 & 0xFFF, 0, 0x7FF]], np.uint16)  # -2048, 0, 2047 of 12 bits
    assert grey(dicom(pixels, PixelRepresentation=1)) == [0, 128, 255]


def test_several_frames_without_their_number_are_refused(dicom):
    assert "must have one frame" in refusal(dicom(np.zeros((4, 4), np.uint16), Rows=2))


def test_float_pixels_are_refused_by_name(dicom):
    path = dicom(PixelData=None, FloatPixelData=np.zeros(4, "<f4").tobytes())
    assert "Received: Float Pixel Data (7FE0,0008)" in refusal(path)


# ---- missing elements, no preamble ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("keyword", "message"),
    [
        ("PhotometricInterpretation", "(0028,0004): MONOCHROME2 if 0 is black"),
        ("PixelRepresentation", "(0028,0103): 0 if no pixel is negative, as in nearly all"),
        ("BitsAllocated", 'dcmodify -i "(0028,0100)=VALUE" FILE'),
        ("BitsStored", "must have Bits Stored (0028,0101)"),
    ],
)
def test_missing_elements_are_named_with_the_remedy(dicom, keyword, message):
    assert message in refusal(dicom(**{keyword: None}))


def test_a_missing_side_is_named(dicom):
    assert "must have Rows (0028,0010): the height" in refusal(dicom(Rows=None))
    assert "must have Columns (0028,0011): the width" in refusal(dicom(Columns=None))


def test_compressed_pixels_described_as_uncompressed_are_refused(dicom):
    path = dicom(PixelData=b"\xfe\xff\x00\xe0" + bytes(9))
    assert "compressed pixels that are described as uncompressed" in refusal(path)


def test_elements_that_follow_from_others(dicom):
    assert grey(dicom(SamplesPerPixel=None, HighBit=None)) == AS_STORED
    assert grey(dicom(VALUES.astype(np.uint8), BitsStored=None)) == [0, 0, 0, 255]
    rgb = np.array([[[255, 0, 7], [1, 2, 3]]], np.uint8)
    path = dicom(rgb, SamplesPerPixel=None, PhotometricInterpretation="RGB", PlanarConfiguration=0)
    assert np.array_equal(read_image(path), rgb)
    path = dicom(rgb, PhotometricInterpretation="RGB", SamplesPerPixel=3)
    assert "must have Planar Configuration (0028,0006)" in refusal(path)


@pytest.mark.parametrize("start", [132, "study"])
def test_file_without_preamble(dicom, tmp_path, start):
    path = dicom(SOPClassUID="1.2.840.10008.5.1.4.1.1.1.3", StudyDate="20200101")
    content = path.read_bytes()
    start = content.index(b"\x08\0\x16\0UI") if start == "study" else start
    (tmp_path / "IM1").write_bytes(content[start:])
    assert grey(tmp_path / "IM1") == AS_STORED


def test_file_of_implicit_representation_without_preamble(dicom, tmp_path):
    from pydicom.uid import ImplicitVRLittleEndian

    path = dicom(syntax=ImplicitVRLittleEndian, SOPClassUID="1.2.3", StudyDate="20200101")
    content = path.read_bytes()
    (tmp_path / "IM1").write_bytes(content[content.index(b"\x08\0\x16\0") :])
    assert grey(tmp_path / "IM1") == AS_STORED


def test_other_files_are_not_taken_for_dicom_without_preamble(tmp_path):
    for content in (b"\x08\0\x05\0", b"\x02\0\0\0UL\x04\0" + bytes(200), bytes(300)):
        (tmp_path / "x").write_bytes(content)
        assert "must be PNG, JPEG, TIFF, BMP, GIF, WebP or DICOM" in refusal(tmp_path / "x")


def test_missing_transfer_syntax(dicom):
    path = dicom()
    dataset = pydicom.dcmread(path)
    del dataset.file_meta.TransferSyntaxUID
    pydicom.dcmwrite(path, dataset, implicit_vr=False, little_endian=True)
    assert grey(path) == AS_STORED


# ---- what is no radiograph -----------------------------------------------------------------------


def test_other_objects_are_named(dicom):
    report = {"Rows": None, "Columns": None, "PixelData": None}
    path = dicom(SOPClassUID="1.2.840.10008.5.1.4.1.1.88.11", **report)
    assert "Received: a DICOM file without one, Basic Text SR Storage" in refusal(path)
    path = dicom(SOPClassUID="1.2.840.10008.5.1.4.1.1.66.4")
    assert "such as a segmentation, Segmentation Storage" in refusal(path)


def test_list_of_a_cd_is_named(tmp_path):
    (tmp_path / "DICOMDIR").write_bytes(directory_file())
    assert "DICOMDIR, which lists the files of a CD" in refusal(tmp_path / "DICOMDIR")


# ---- palettes ------------------------------------------------------------------------------------

PALETTE = [(0, 0, 0), (255, 10, 0), (3, 200, 255)]


@pytest.mark.parametrize(
    ("told", "entries", "scale"),
    [
        (8, "bytes", 1),
        (16, "bytes", 1),  # 8 bits told as 16
        (16, "words", 1),
        (8, "words", 1),
        (16, "words", 257),
        (8, "words", 257),  # 16 bits told as 8
        (16, "words", 256),
    ],
)
def test_palettes_of_8_and_16_bits_whatever_is_told(dicom, told, entries, scale):
    tables = {}
    for band, colour in enumerate(("Red", "Green", "Blue")):
        column = [row[band] * scale for row in PALETTE]
        data = bytes([*column, 0]) if entries == "bytes" else words(column)
        tables[f"{colour}PaletteColorLookupTableDescriptor"] = [3, 0, told]
        tables[f"{colour}PaletteColorLookupTableData"] = data
    pixels = np.array([[0, 1, 2, 9]], np.uint8)
    path = dicom(pixels, PhotometricInterpretation="PALETTE COLOR", **tables)
    image = read_image(path)
    expected = np.array([[*PALETTE, PALETTE[-1]]])
    assert np.abs(image - expected).max() <= (1 if scale == 256 else 0)


def test_palette_without_a_table_is_refused(dicom):
    message = refusal(dicom(PhotometricInterpretation="PALETTE COLOR"))
    assert "Red Palette Color Lookup Table Descriptor (0028,1101) must have three" in message
