import numpy as np
import pytest

from dentalzoo.data.io.images import read_image
from dentalzoo.errors import BadFile, DentalzooError
from tests.data.io.dicom_files import VALUES, grey, table

pydicom = pytest.importorskip("pydicom")


def test_without_window_smallest_to_largest(dicom):
    assert grey(dicom(VALUES // 2 + 500)) == [0, 64, 128, 255]


def test_a_hot_pixel_does_not_darken_an_image_without_window(dicom):
    clean = np.arange(4096, dtype=np.uint16).reshape(64, 64) // 8  # 9 of 12 bits
    hot = clean.copy()
    hot[60, 60] = 4095
    exact, found = (read_image(dicom(pixels)).astype(int) for pixels in (clean, hot))
    assert found[60, 60] == 255
    found[60, 60] = exact[60, 60]
    assert np.abs(found - exact).max() <= 1


def test_eight_bits_without_window_as_stored(dicom):
    assert grey(dicom(np.array([[10, 20, 30, 200]], np.uint8))) == [10, 20, 30, 200]


def test_monochrome1_is_inverted_once(dicom):
    path = dicom(PhotometricInterpretation="MONOCHROME1", PresentationLUTShape="INVERSE")
    assert grey(path) == [255, 191, 127, 0]


@pytest.mark.parametrize("function", [None, "LINEAR", "LINEAR_EXACT", "SIGMOID"])
@pytest.mark.parametrize("signed", [False, True])
def test_window_agrees_with_pydicom(dicom, function, signed):
    from pydicom.pixels import apply_modality_lut, apply_windowing

    pixels = np.arange(0, 4096, 16, dtype=np.uint16)[None]
    if signed:
        pixels = (pixels.astype(int) - 2048).astype(np.int16)
    path = dicom(
        pixels,
        WindowCenter=[300.0, 9.0],
        WindowWidth=[800.0, 9.0],
        VOILUTFunction=function,
        RescaleSlope=1.5,
        RescaleIntercept=-100.0,
    )
    dataset = pydicom.dcmread(path)
    rescaled = apply_modality_lut(dataset.pixel_array, dataset)
    shown = apply_windowing(rescaled, dataset)
    low, high = (-2048, 2047) if signed else (0, 4095)
    low, high = low * 1.5 - 100, high * 1.5 - 100
    expected = (shown - low) / (high - low) * 255
    assert np.abs(np.array(grey(path)) - expected.ravel()).max() <= 0.51


@pytest.mark.parametrize("width", [0, "", -5])
def test_window_without_width_is_ignored(dicom, width):
    assert grey(dicom(WindowCenter=2000, WindowWidth=width)) == [0, 64, 128, 255]


@pytest.mark.parametrize("vr", ["US", "OW"])
def test_voi_table_wins_over_the_window(dicom, vr):
    entries = (4095 - np.arange(4096)).tolist()  # inverts
    path = dicom(VOILUTSequence=[table(entries, 12, vr=vr)], WindowCenter=1, WindowWidth=2)
    assert grey(path) == [255, 191, 127, 0]


def test_voi_table_of_eight_bits_over_twelve(dicom):
    entries = (np.arange(4096) // 16).tolist()
    assert grey(dicom(VOILUTSequence=[table(entries, 8)])) == [0, 64, 128, 255]


def test_voi_table_clamps_outside_its_range(dicom):
    path = dicom(VOILUTSequence=[table([0, 1000, 4095], 12, first=1023)])
    assert grey(path) == [0, 62, 255, 255]


def test_modality_table(dicom):
    entries = (np.arange(4096) // 2).tolist()
    path = dicom(ModalityLUTSequence=[table(entries, 12)], WindowCenter=512.5, WindowWidth=1025)
    assert grey(path) == [0, 128, 255, 255]


def test_signed_and_negative_slope(dicom):
    pixels = np.array([[-1000, 0, 1000]], np.int16)
    assert grey(dicom(pixels)) == [0, 128, 255]
    assert grey(dicom(pixels, RescaleSlope=-1, RescaleIntercept=0)) == [255, 128, 0]


def test_padding_is_not_part_of_the_range(dicom):
    assert grey(dicom(np.array([[0, 1000, 2000]], np.uint16), PixelPaddingValue=0)) == [0, 0, 255]


def test_flat_image(dicom):
    assert grey(dicom(np.full((2, 2), 7, np.uint16))) == [0, 0, 0, 0]


def test_colour(dicom):
    rgb = np.array([[[255, 0, 7], [1, 2, 3]]], np.uint8)
    path = dicom(rgb, SamplesPerPixel=3, PhotometricInterpretation="RGB", PlanarConfiguration=0)
    assert np.array_equal(read_image(path), rgb)


def test_content_decides_not_the_suffix(dicom, tmp_path):
    from PIL import Image

    assert grey(dicom(name="x.png")) == [0, 64, 128, 255]
    Image.fromarray(np.array([[3, 4]], np.uint8)).save(tmp_path / "y.dcm", format="PNG")
    assert read_image(tmp_path / "y.dcm").ravel().tolist() == [3, 4]


def assert_refused(path, reason):
    with pytest.raises(BadFile, match=reason) as error:
        read_image(path)
    message = str(error.value)
    assert "Received: " in message and "\n" not in message
    assert "Secret" not in message and "Person" not in message


@pytest.mark.parametrize("start", [b"MZ\x90\0", b"\x7fELF\x02", b"#!/bin/sh\n"])
def test_a_program_in_the_preamble_is_refused(dicom, start):
    assert_refused(dicom(preamble=start.ljust(128, b"\0")), "an executable")


def test_tiff_in_the_preamble_is_no_program(dicom):
    assert grey(dicom(preamble=b"II*\0".ljust(128, b"\0"))) == [0, 64, 128, 255]


def test_several_frames_are_refused(dicom):
    assert_refused(dicom(np.zeros((4, 4), np.uint16), Rows=2, NumberOfFrames=2), "one frame")


def test_no_image_is_refused(dicom):
    assert_refused(dicom(Rows=None, Columns=None, PixelData=None), "without one")
    assert_refused(dicom(PixelData=None), r"must have Pixel Data \(7FE0,0010\)")


def test_compression_without_a_decoder_is_named(dicom):
    from pydicom.encaps import encapsulate
    from pydicom.uid import JPEGLSLossless

    path = dicom(syntax=JPEGLSLossless, PixelData=encapsulate([b"\xff\xd8nothing\xff\xd9"]))
    assert_refused(path, "JPEG-LS Lossless")


def test_size_is_checked_before_the_pixels(dicom):
    assert_refused(dicom(Rows=60000, Columns=60000), "60000 x 60000")


def test_damage_is_refused(dicom, tmp_path):
    path = dicom(np.zeros((50, 50), np.uint16))
    path.write_bytes(path.read_bytes()[:-2000])
    assert_refused(path, "damaged")
    (tmp_path / "text.dcm").write_text("no DICOM")
    assert_refused(tmp_path / "text.dcm", "no DICOM header")
    (tmp_path / "empty.dcm").write_bytes(b"")
    assert_refused(tmp_path / "empty.dcm", "an empty file")


def test_deflated_is_refused(tmp_path):
    from pydicom.data import get_testdata_file

    source = get_testdata_file("image_dfl.dcm", download=False)
    assert_refused(source, "deflated")


def test_missing_pydicom_is_reported_with_the_install_command(dicom, monkeypatch):
    import sys

    path = dicom()
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(DentalzooError, match=r"pip install 'dentalzoo\[dicom\]'"):
        read_image(path)
