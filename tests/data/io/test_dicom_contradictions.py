"""Pixels that contradict what a DICOM file says of their bytes, colours, size and shape."""

import logging

import cv2
import numpy as np
import pytest

from dentalzoo.data.io.file_warnings import forget_files
from dentalzoo.data.io.images import read_image

pydicom = pytest.importorskip("pydicom")


@pytest.fixture
def lines(caplog):
    forget_files()
    caplog.set_level(logging.WARNING, "dentalzoo")
    return lambda: [r.message.split(": ", 1)[1] for r in caplog.records]


def smooth(seed=0, noise=0.003, size=(60, 80)):
    rng = np.random.default_rng(seed)
    grey = cv2.GaussianBlur(rng.normal(size=size).astype(np.float32), (0, 0), 6)
    grey = (grey - grey.min()) / (grey.max() - grey.min())
    return np.clip(grey + rng.normal(size=size) * noise, 0, 1)


def test_words_whose_bytes_are_exchanged(dicom, lines):
    words = np.rint(smooth() * 65535).astype("<u2")
    right = read_image(dicom(words, BitsStored=16, HighBit=15, name="right.dcm"))
    assert lines() == []
    swapped = read_image(dicom(words.byteswap(), BitsStored=16, HighBit=15))
    assert np.array_equal(swapped, right)
    assert lines() == ["the bytes of its pixels are in the other order and are exchanged"]


@pytest.mark.parametrize("top", [200, 4095, 65535])
@pytest.mark.parametrize("noise", [0, 0.003, 0.05, 0.5])
def test_words_in_order_stay(dicom, lines, top, noise):
    for seed in range(5):
        words = np.rint(smooth(seed, noise) * top).astype("<u2")
        read_image(dicom(words, BitsStored=16, HighBit=15, name=f"{seed}.dcm"))
        read_image(dicom(words // 256 * 256, BitsStored=16, HighBit=15, name=f"{seed}h.dcm"))
    assert not any("order" in line for line in lines())


def colours(dicom, samples, kind):
    elements = {"SamplesPerPixel": 3, "PhotometricInterpretation": kind, "PlanarConfiguration": 0}
    return read_image(dicom(np.ascontiguousarray(samples, np.uint8), **elements))


def test_grey_rgb_that_is_described_as_luminance_and_chrominance(dicom, lines):
    grey = np.rint(smooth() * 255).astype(np.uint8)
    image = colours(dicom, np.stack([grey] * 3, -1), "YBR_FULL")
    assert image.shape == (60, 80, 1) and np.array_equal(image[..., 0], grey)
    assert lines() == ["read as grey: what is described as YBR_FULL is RGB"]


def test_luminance_and_chrominance_that_are_described_as_rgb(dicom, lines):
    grey = np.rint(smooth() * 255).astype(np.uint8)
    half = np.full_like(grey, 128)
    image = colours(dicom, np.stack([grey, half, half + grey % 2], -1), "RGB")
    assert image.shape == (60, 80, 1) and np.array_equal(image[..., 0], grey)
    assert lines() == ["read as grey: what is described as RGB is luminance and chrominance"]


@pytest.mark.parametrize("subsampling", [1, 2])
@pytest.mark.parametrize("marker", [b"JFIF", b"JXIF"])
def test_subsampled_jpeg_that_is_described_as_rgb(dicom, lines, marker, subsampling):
    import io

    from PIL import Image
    from pydicom.encaps import encapsulate
    from pydicom.uid import JPEGBaseline8Bit

    grey = np.rint(smooth(noise=0) * 255).astype(np.uint8)
    rgb = np.stack([grey, 255 - grey, grey // 2], -1)
    with io.BytesIO() as stream:
        Image.fromarray(rgb).save(stream, "JPEG", quality=98, subsampling=subsampling)
        content = stream.getvalue().replace(
            b"JFIF", marker
        )  # without it, no colour space is stated
    elements = {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "PlanarConfiguration": 0}
    path = dicom(rgb, syntax=JPEGBaseline8Bit, PixelData=encapsulate([content]), **elements)
    assert np.abs(read_image(path).astype(int) - rgb).mean() < 4
    assert lines() == []


def test_colours_stay(dicom, lines):
    from PIL import Image

    grey = np.rint(smooth() * 255).astype(np.uint8)
    rgb = np.stack([grey, 255 - grey, np.roll(grey, 9)], -1)
    assert np.array_equal(colours(dicom, rgb, "RGB"), rgb)
    ybr = np.asarray(Image.fromarray(rgb).convert("YCbCr"))
    assert np.abs(colours(dicom, ybr, "YBR_FULL").astype(int) - rgb).max() <= 3
    ybr = np.stack([grey, np.full_like(grey, 128), np.full_like(grey, 128)], -1)
    image = colours(dicom, ybr, "YBR_FULL")
    assert np.array_equal(image, np.stack([grey] * 3, -1))
    assert lines() == []


def test_pixels_beyond_rows_and_columns_are_said(dicom, lines):
    words = np.rint(smooth() * 4095).astype(np.uint16)
    assert np.array_equal(
        read_image(dicom(words, Rows=50)), read_image(dicom(words[:50].copy(), name="right.dcm"))
    )
    assert lines() == ["1,600 bytes of Pixel Data (7FE0,0010) beyond Rows and Columns are ignored"]
    read_image(dicom(words, PixelData=words.tobytes() + bytes(100), name="padded.dcm"))
    assert len(lines()) == 1


@pytest.mark.parametrize(
    ("elements", "said"),
    [
        ({"PixelAspectRatio": [2, 1]}, "(Pixel Aspect Ratio (0028,0034) 2 x 1)"),
        ({"PixelSpacing": [0.1, 0.2]}, "(Pixel Spacing (0028,0030) 0.1 x 0.2)"),
        ({"ImagerPixelSpacing": [0.1, 0.12]}, "(Imager Pixel Spacing (0018,1164) 0.1 x 0.12)"),
        ({"PixelAspectRatio": [1, 1]}, ""),
        ({"PixelSpacing": [0.1, 0.1002]}, ""),
        ({"PixelSpacing": [0, 0.1]}, ""),
    ],
)
def test_pixels_that_are_not_square_are_said(dicom, lines, elements, said):
    words = np.rint(smooth() * 4095).astype(np.uint16)
    assert read_image(dicom(words, **elements)).shape == (60, 80, 1)
    assert len(lines()) == bool(said) and said in "".join(lines())
