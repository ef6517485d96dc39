"""Compressed DICOM files, from encoders of their own: the decoded pixels equal the source."""

import struct

import numpy as np
import pytest

from dentalzoo.data.io.codestreams import stream_size
from dentalzoo.data.io.images import read_image
from dentalzoo.errors import BadFile
from tests.data.io.dicom_files import grey, lossless_jpeg

pydicom = pytest.importorskip("pydicom")

RLE = "1.2.840.10008.1.2.5"
JPEG_BASELINE = "1.2.840.10008.1.2.4.50"
JPEG_LOSSLESS, JPEG_LOSSLESS_SV1 = "1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70"
JPEG_LS, J2K_LOSSLESS = "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.90"
MODULES = {
    RLE: "pydicom",
    JPEG_LS: "jpeg_ls",
    J2K_LOSSLESS: "openjpeg",
}


def radiograph(bits):
    """A smooth image of all grey values with noise in its lowest bits, and its 8-bit levels."""
    rng = np.random.default_rng(bits)
    top = 2**bits - 1
    ramp = np.linspace(0, top, 48 * 64).reshape(48, 64)
    pixels = np.clip(ramp + rng.normal(0, 3, ramp.shape), 0, top).astype(np.uint16)
    pixels[0, 0], pixels[0, 1] = 0, top
    dtype = np.uint8 if bits == 8 else np.uint16
    return pixels.astype(dtype), np.rint(pixels / top * 255).astype(int).ravel().tolist()


@pytest.mark.parametrize("bits", [8, 12, 14, 16])
@pytest.mark.parametrize("syntax", [RLE, JPEG_LS, J2K_LOSSLESS])
def test_lossless_pixels_equal_the_source(dicom, syntax, bits):
    pytest.importorskip(MODULES[syntax])
    pixels, expected = radiograph(bits)
    path = dicom(pixels, BitsStored=bits, HighBit=bits - 1)
    dataset = pydicom.dcmread(path)
    dataset.SOPClassUID, dataset.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.1.3", "1.2.3"
    dataset.compress(syntax, generate_instance_uid=False)
    dataset.save_as(path)
    assert grey(path) == expected


@pytest.mark.parametrize("bits", [8, 12, 14, 16])
@pytest.mark.parametrize("syntax", [JPEG_LOSSLESS, JPEG_LOSSLESS_SV1])
def test_lossless_jpeg_pixels_equal_the_source(dicom, syntax, bits):
    from pydicom.encaps import encapsulate

    pixels, expected = radiograph(bits)
    content = encapsulate([lossless_jpeg(pixels[..., None], bits, 1)])
    path = dicom(pixels, BitsStored=bits, HighBit=bits - 1, syntax=syntax, PixelData=content)
    assert grey(path) == expected


@pytest.mark.parametrize("syntax", [JPEG_LS, J2K_LOSSLESS])
def test_signed_compressed_pixels(dicom, syntax):
    pytest.importorskip(MODULES[syntax])
    pixels = np.linspace(-2048, 2047, 48 * 64).reshape(48, 64).astype(np.int16)
    path = dicom(pixels)
    dataset = pydicom.dcmread(path)
    dataset.SOPClassUID, dataset.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.1.3", "1.2.3"
    dataset.compress(syntax, generate_instance_uid=False)
    dataset.save_as(path)
    expected = np.rint((pixels.astype(int) + 2048) / 4095 * 255).astype(int)
    assert grey(path) == expected.ravel().tolist()


def test_baseline_jpeg(dicom):
    import io

    from PIL import Image
    from pydicom.encaps import encapsulate

    pixels = np.linspace(0, 255, 64 * 64).reshape(64, 64).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=95)
    content = encapsulate([stream.getvalue()])
    path = dicom(pixels, syntax=JPEG_BASELINE, PixelData=content)
    assert np.abs(read_image(path)[..., 0].astype(int) - pixels).max() <= 4
    path = dicom(pixels.astype(np.uint16), syntax=JPEG_BASELINE, PixelData=content)
    with pytest.raises(BadFile, match=r"Bits Allocated \(0028,0100\) must be 8 for JPEG.*: 16$"):
        read_image(path)


def test_empty_pixel_data_is_named(dicom):
    with pytest.raises(BadFile, match=r"must have Pixel Data .*Received: an empty element"):
        read_image(dicom(PixelData=b""))


@pytest.mark.parametrize("syntax", [JPEG_LS, J2K_LOSSLESS])
def test_a_missing_decoder_is_named_with_its_command(dicom, syntax, monkeypatch):
    from pydicom.encaps import encapsulate
    from pydicom.pixels import get_decoder

    monkeypatch.setattr(get_decoder(syntax), "_available", {})
    path = dicom(syntax=syntax, PixelData=encapsulate([b"\xff\xd8nothing\xff\xd9"]))
    with pytest.raises(
        BadFile, match=r"pip install 'dentalzoo\[dicom\]', or save it uncomp"
    ) as error:
        read_image(path)
    assert pydicom.uid.UID(syntax).name in str(error.value)


def test_video_is_refused_by_name(dicom):
    from pydicom.encaps import encapsulate

    path = dicom(syntax="1.2.840.10008.1.2.4.102", PixelData=encapsulate([bytes(8)]))
    with pytest.raises(BadFile, match="must be an image; save it uncompressed. Received: MPEG-4"):
        read_image(path)


def test_12_bits_in_lossy_jpeg_say_what_to_install(dicom, monkeypatch):
    from pydicom.data import get_testdata_file
    from pydicom.pixels import get_decoder

    available = get_decoder("1.2.840.10008.1.2.4.51")._available
    monkeypatch.delitem(available, "pylibjpeg", raising=False)
    with pytest.raises(BadFile, match="pip install pylibjpeg pylibjpeg-libjpeg"):
        read_image(get_testdata_file("JPGExtended.dcm", download=False))


def test_a_size_of_the_stream_that_differs_is_refused(dicom):
    pytest.importorskip("jpeg_ls")
    pixels, _ = radiograph(12)
    path = dicom(pixels)
    dataset = pydicom.dcmread(path)
    dataset.SOPClassUID, dataset.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.1.3", "1.2.3"
    dataset.compress(JPEG_LS, generate_instance_uid=False)
    dataset.Rows = 24
    dataset.save_as(path)
    with pytest.raises(BadFile, match="damaged"):
        read_image(path)


@pytest.mark.parametrize("syntax", [JPEG_LS, J2K_LOSSLESS])
def test_sizes_of_streams_are_checked_before_they_are_decoded(dicom, syntax, monkeypatch):
    from pydicom.encaps import encapsulate

    large = 60000
    if syntax == J2K_LOSSLESS:
        sizes = struct.pack(">8I", large, large, 0, 0, large, large, 0, 0)
        stream = b"\xff\x4f\xff\x51\0\x29\0\0" + sizes + b"\0\1\x0b\1\1"
    else:
        stream = b"\xff\xd8\xff\xf7\0\x0b\x0c" + struct.pack(">HHB", large, large, 1) + bytes(4)
    path = dicom(syntax=syntax, PixelData=encapsulate([stream + b"\xff\xd9"]))
    monkeypatch.setattr("pydicom.pixels.pixel_array", lambda *_: pytest.fail("decoded"))
    with pytest.raises(BadFile, match="must hold 4 x 1 pixels of 1 components. Received: 60000 x"):
        read_image(path)


def test_sizes_of_other_streams():
    assert stream_size(b"") is None and stream_size(b"\xff\xd8\xff\xda") is None
    tiles = struct.pack(">8I", 9000, 9000, 0, 0, 1, 1, 0, 0)
    assert stream_size(b"\xff\x4f\xff\x51\0\x29\0\0" + tiles + b"\0\1\x0b\1\1") is None
