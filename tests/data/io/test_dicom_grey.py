"""Values are computed by hand from PS3.3 C.11.1, C.11.2 and C.7.5.1.1.2."""

import logging

import numpy as np
import pytest

from dentalzoo.data.io.file_warnings import forget_files
from dentalzoo.data.io.images import read_image
from dentalzoo.errors import BadFile
from tests.data.io.dicom_files import VALUES, grey, table, words

pydicom = pytest.importorskip("pydicom")

AS_STORED = [0, 64, 128, 255]  # VALUES of 12 bits


@pytest.fixture
def lines(caplog):
    forget_files()
    caplog.set_level(logging.WARNING, "dentalzoo")
    return lambda: [
        r.message.split(": ", 1)[1] for r in caplog.records if "nearly" not in r.message
    ]


def set_raw(path, keyword, text):
    """Put a text into a DS element that pydicom would not write; it has as many bytes."""
    element = pydicom.dcmread(path)[keyword]
    tag = element.tag.group.to_bytes(2, "little") + element.tag.elem.to_bytes(2, "little")
    content = path.read_bytes()
    start = content.index(tag + b"DS") + 8
    assert int.from_bytes(content[start - 2 : start], "little") == len(text)
    path.write_bytes(content[:start] + text.encode() + content[start + len(text) :])
    return path


# ---- tables --------------------------------------------------------------------------------------


@pytest.mark.parametrize("vr", ["US", "OW"])
@pytest.mark.parametrize("largest", [4095, 1023, 16])
def test_voi_table_that_fills_fewer_bits_than_told(dicom, vr, largest):
    entries = np.rint(np.arange(4096) / 4095 * largest).astype(int)
    expected = np.rint(entries[VALUES.ravel()] / largest * 255).astype(int).tolist()
    assert grey(dicom(VOILUTSequence=[table(entries.tolist(), 16, vr=vr)])) == expected


def test_voi_table_that_fills_its_bits_is_not_stretched(dicom):
    entries = (np.arange(4096) * 3000 // 4095).tolist()
    assert grey(dicom(VOILUTSequence=[table(entries, 12)])) == [0, 47, 93, 187]  # of 4095


def test_voi_table_of_which_pixels_reach_the_beginning(dicom):
    item = table(list(range(65535)), 16, vr="OW")  # as many as 16 bits have
    assert grey(dicom(VOILUTSequence=[item])) == AS_STORED


def test_voi_table_of_more_bits_than_told(dicom):
    assert grey(dicom(VOILUTSequence=[table(list(range(4096)), 8)])) == AS_STORED


@pytest.mark.parametrize("told", [8, 16])
def test_voi_table_of_bytes(dicom, told):
    entries = (np.arange(4096) // 16).astype(np.uint8).tobytes()
    item = table([0] * 4096, told, vr="OW")
    item.LUTData = entries
    assert grey(dicom(VOILUTSequence=[item])) == AS_STORED


def test_voi_table_with_half_its_words_is_refused(dicom):
    item = table([0] * 4096, 12, vr="OW")
    item.LUTData = words(np.arange(2048) * 2)
    with pytest.raises(BadFile, match=r"must have 4096 entries. Received: 2048"):
        read_image(dicom(VOILUTSequence=[item]))


def test_voi_table_that_is_shorter_but_reaches_all_pixels(dicom):
    item = table([0], 12, vr="OW")
    item.LUTDescriptor = [0, 0, 12]  # 65536 entries
    item.LUTData = words(np.arange(4096)[::-1])
    assert grey(dicom(VOILUTSequence=[item])) == [255, 191, 127, 0]


def test_voi_table_that_is_longer_ends_where_it_says(dicom):
    item = table([0] * 1025, 12, vr="OW")
    item.LUTData = words([*(np.arange(1025) * 4095 // 1024), 0, 0])
    pixels = np.array([[0, 512, 1024, 1026]], np.uint16)
    assert grey(dicom(pixels, VOILUTSequence=[item])) == [0, 127, 255, 255]


@pytest.mark.parametrize("representation", ["US", "SS"])
def test_first_mapped_value_has_the_sign_of_the_pixels(dicom, representation):
    item = table(np.arange(4096).tolist(), 12)
    first = -2048 if representation == "SS" else 65536 - 2048
    item.add_new("LUTDescriptor", representation, [4096, first, 12])
    pixels = np.array([[-2048, 0, 2047]], np.int16)
    assert grey(dicom(pixels, VOILUTSequence=[item])) == [0, 128, 255]


def test_first_mapped_value_of_large_unsigned_pixels(dicom):
    item = table(np.arange(4096).tolist(), 12)
    item.add_new("LUTDescriptor", "SS", [4096, 60000 - 65536, 12])
    pixels = np.array([[60000, 62048, 64095]], np.uint16)
    assert grey(dicom(pixels, BitsStored=16, HighBit=15, VOILUTSequence=[item])) == [0, 128, 255]


def test_flat_voi_table_gives_way_to_the_next_rule(dicom, lines):
    tables = [table([7] * 4096, 12), table((4095 - np.arange(4096)).tolist(), 12)]
    assert grey(dicom(VOILUTSequence=tables)) == [255, 191, 127, 0]
    assert "VOI LUT Sequence (0028,3010) leaves nothing to see" in lines()[0]


def test_table_without_descriptor_or_data_is_refused(dicom):
    item = table([1, 2], 12)
    del item.LUTData
    with pytest.raises(BadFile, match=r"LUT Data \(0028,3006\) must have entries"):
        read_image(dicom(VOILUTSequence=[item]))
    item = table([1, 2], 12)
    del item.LUTDescriptor
    with pytest.raises(BadFile, match=r"LUT Descriptor \(0028,3002\) of Modality LUT Sequence"):
        read_image(dicom(ModalityLUTSequence=[item]))


def test_modality_table_told_of_more_bits(dicom):
    item = table((np.arange(4096) // 16).tolist(), 16)
    assert grey(dicom(ModalityLUTSequence=[item])) == AS_STORED
    path = dicom(ModalityLUTSequence=[item], WindowCenter=64.5, WindowWidth=129)
    assert grey(path) == [0, 128, 255, 255]  # 64/128 of the table's own values


def test_presentation_table(dicom):
    item = table((255 - np.arange(256)).tolist(), 8)
    assert grey(dicom(PresentationLUTSequence=[item])) == [255, 191, 127, 0]
    with pytest.raises(BadFile, match="must not be combined with MONOCHROME1"):
        read_image(dicom(PresentationLUTSequence=[item], PhotometricInterpretation="MONOCHROME1"))


# ---- rescale and windows -------------------------------------------------------------------------


@pytest.mark.parametrize("slope", ["0   ", "nan ", "inf ", "1e99"])
def test_impossible_slope_is_ignored(dicom, lines, slope):
    path = set_raw(dicom(RescaleSlope="1.00", RescaleIntercept="0"), "RescaleSlope", slope)
    assert grey(path) == AS_STORED
    assert len(lines()) == 1 and "Rescale Slope (0028,1053)" in lines()[0]


def test_window_of_an_impossible_rescale_with_intercept_is_ignored(dicom):
    path = dicom(RescaleSlope=0, RescaleIntercept=-1000, WindowCenter=100, WindowWidth=1500)
    assert grey(path) == AS_STORED
    path = dicom(RescaleSlope=0, RescaleIntercept=0, WindowCenter=1024.5, WindowWidth=2049)
    assert grey(path) == [0, 128, 255, 255]


@pytest.mark.parametrize("center", ["nan ", "inf ", "1e99", "-9e9"])
def test_impossible_centre_is_ignored(dicom, lines, center):
    path = set_raw(dicom(WindowCenter="2048", WindowWidth="4096"), "WindowCenter", center)
    assert grey(path) == AS_STORED
    assert len(lines()) == 1 and "window" in lines()[0] and "ignored" in lines()[0]


@pytest.mark.parametrize("width", ["nan ", "inf ", "1e99"])
def test_impossible_width_is_ignored(dicom, lines, width):
    path = set_raw(dicom(WindowCenter="2048", WindowWidth="4096"), "WindowWidth", width)
    assert grey(path) == AS_STORED


@pytest.mark.parametrize(("centre", "width"), [(0, 1), (127, 255), (9000, 100)])
def test_window_that_leaves_nothing_to_see_is_ignored(dicom, lines, centre, width):
    pixels = np.arange(0, 4096, dtype=np.uint16)[None]
    image = grey(dicom(pixels, WindowCenter=centre, WindowWidth=width))
    assert image == np.rint(np.arange(4096) / 4095 * 255).astype(int).tolist()
    assert lines() == [f"window {centre}/{width} leaves nothing to see and is ignored"]


@pytest.mark.parametrize(("pixels", "elements"), [
    (VALUES, {"WindowCenter": 32768, "WindowWidth": 65536}),  # of 16 bits
    ((VALUES // 16).astype(np.uint8), {"WindowCenter": 2048, "WindowWidth": 4096}),  # of 12 bits
    (VALUES, {"WindowCenter": 8192, "WindowWidth": 16384, "RescaleSlope": 0.5}),
])  # fmt: skip
def test_window_of_more_bits_than_the_pixels_have_is_ignored(dicom, lines, pixels, elements):
    assert grey(dicom(pixels, **elements)) == AS_STORED
    assert len(lines()) == 1 and "leaves nothing to see and is ignored" in lines()[0]


def test_wide_window_counts(dicom):
    path = dicom(WindowCenter=4096.5, WindowWidth=8192)  # 0..8191 for 12 bits
    assert grey(path) == [0, 32, 64, 127]


def test_first_usable_window_counts(dicom):
    path = dicom(WindowCenter=["", 0, 1024.5, 9], WindowWidth=["", 1, 2049, 9])
    assert grey(path) == [0, 128, 255, 255]


def test_window_of_a_two_valued_image_counts(dicom, lines):
    pixels = np.array([[100, 100, 300]], np.uint16)
    assert grey(dicom(pixels, WindowCenter=200, WindowWidth=1)) == [0, 0, 255]
    assert not any("window" in line for line in lines())


def test_window_without_its_width_is_said(dicom, lines):
    assert grey(dicom(WindowCenter=100)) == AS_STORED
    assert lines() == ["a window without its centre or width is ignored"]


def test_unknown_window_function_is_refused(dicom):
    with pytest.raises(BadFile, match="VOI LUT Function"):
        read_image(dicom(WindowCenter=1, WindowWidth=9, VOILUTFunction="CUBIC"))


def test_decimal_commas(dicom):
    path = dicom(
        RescaleSlope="0.5", RescaleIntercept="-1.0", WindowCenter="512.75", WindowWidth="1024.5"
    )
    expected = grey(path)
    set_raw(path, "RescaleSlope", "0,5 ")
    set_raw(path, "WindowCenter", "512,75")
    set_raw(path, "WindowWidth", "1024,5")
    assert grey(path) == expected != AS_STORED
    with pytest.raises(BadFile, match=r"Window Width \(0028,1051\) must have a decimal point"):
        read_image(set_raw(path, "WindowWidth", " 1,024"))
    with pytest.raises(BadFile, match=r"Window Width \(0028,1051\) must be a number"):
        read_image(set_raw(path, "WindowWidth", " wide "))


def test_slope_without_intercept(dicom):
    path = dicom(RescaleSlope=2, WindowCenter=2048.5, WindowWidth=4097)
    assert grey(path) == [0, 128, 255, 255]


# ---- padding and presentation --------------------------------------------------------------------


@pytest.mark.parametrize("ends", [(0, 10), (10, 0)])
def test_padding_range_of_any_order(dicom, ends):
    pixels = np.array([[0, 5, 10, 1000, 2000]], np.uint16)
    path = dicom(pixels, PixelPaddingValue=ends[0], PixelPaddingRangeLimit=ends[1])
    assert grey(path) == [0, 0, 0, 0, 255]


def test_negative_padding_written_as_unsigned(dicom):
    pixels = np.array([[-2000, 0, 1000, 2000]], np.int16)
    path = dicom(pixels, BitsStored=16, HighBit=15, PixelPaddingValue=-2000)
    assert grey(path) == [0, 0, 128, 255]
    content = path.read_bytes()
    path.write_bytes(content.replace(b"\x28\0\x20\x01SS", b"\x28\0\x20\x01US"))
    assert grey(path) == [0, 0, 128, 255]


def test_padding_of_every_pixel_is_ignored(dicom):
    assert grey(dicom(PixelPaddingValue=0, PixelPaddingRangeLimit=4095)) == AS_STORED


def test_inverse_presentation_of_monochrome2(dicom, lines):
    assert grey(dicom(PresentationLUTShape="INVERSE")) == [255, 191, 127, 0]
    assert lines() == ["inverted, as Presentation LUT Shape (2050,0020) INVERSE says"]
    assert grey(dicom(PresentationLUTShape="IDENTITY")) == AS_STORED
