"""Pixels whose sign is not the one that Pixel Representation states."""

import logging

import cv2
import numpy as np
import pytest

from dentalzoo.data.io.dicom_sign import find_sign, with_sign
from dentalzoo.data.io.file_warnings import forget_files
from dentalzoo.data.io.images import read_image

pydicom = pytest.importorskip("pydicom")


@pytest.fixture
def lines(caplog):
    forget_files()
    caplog.set_level(logging.WARNING, "dentalzoo")
    return lambda: [r.message.split(": ", 1)[1] for r in caplog.records]


def radiograph(bits, seed=0, frame=0.0, letters=True, size=(150, 200), gain=1.0):
    """Teeth on a smooth ground with noise, a frame and letters: (H, W) int64 from 0."""
    rng = np.random.default_rng(seed)
    ground = cv2.GaussianBlur(rng.normal(size=size).astype(np.float32), (0, 0), 12)
    ground = (ground - ground.min()) / (ground.max() - ground.min()) * 0.7
    for x in range(20, size[1], 40):
        tooth = np.zeros(size, np.uint8)
        cv2.ellipse(tooth, (x, 80), (12, 40), 0, 0, 360, 255, -1)
        ground += cv2.GaussianBlur(tooth, (0, 0), 2) / 255 * 0.3
    grey = np.clip(gain * ground + rng.normal(size=size) * 0.01, 0, 1)
    grey[:8], grey[:, :5] = frame, frame
    if letters:
        drawn = np.zeros(size, np.uint8)
        cv2.putText(drawn, "R 60kV", (10, 140), cv2.FONT_HERSHEY_SIMPLEX, 0.5, 255, 1, cv2.LINE_AA)
        grey = grey * (1 - drawn / 255) + drawn / 255
    return np.rint(grey * (2**bits - 1)).astype(np.int64)


def written(dicom, values, bits, signed, **elements):
    """Write values as two's complement in 8 or 16 bits, the bits beyond `bits` 0."""
    words = (values & ((1 << bits) - 1)).astype(np.uint8 if bits == 8 else np.uint16)
    elements = {"BitsStored": bits, "HighBit": bits - 1} | elements
    return dicom(words, PixelRepresentation=int(signed), **elements)


@pytest.mark.parametrize("kind", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_unsigned_pixels_that_are_told_signed(dicom, lines, bits, kind):
    values = radiograph(bits)
    right = read_image(
        written(dicom, values, bits, False, PhotometricInterpretation=kind, name="right.dcm")
    )
    assert lines() == []
    wrong = written(dicom, values, bits, True, PhotometricInterpretation=kind)
    assert np.array_equal(read_image(wrong), right)
    assert len(lines()) == 1
    assert lines()[0].startswith("read as unsigned pixels, since by Pixel Representation")


@pytest.mark.parametrize("bits", [12, 16])
def test_signed_pixels_that_are_told_unsigned(dicom, lines, bits):
    values = radiograph(12, letters=False) * 3 // 4 - 1024
    window = {"WindowCenter": 500, "WindowWidth": 3000, "RescaleSlope": 1, "RescaleIntercept": 0}
    right = read_image(written(dicom, values, bits, True, name="right.dcm", **window))
    assert lines() == []
    assert np.array_equal(read_image(written(dicom, values, bits, False, **window)), right)
    assert lines()[0].startswith("read as signed pixels, since by Pixel Representation")


def test_noise_below_zero_that_is_told_unsigned(dicom, lines):
    values = radiograph(11, letters=False)
    rng = np.random.default_rng(0)
    values[:, :80] = np.rint(rng.normal(size=(150, 80)) * 6)  # black, with noise around 0
    right = read_image(written(dicom, values, 12, True, name="right.dcm"))
    assert lines() == []
    assert np.array_equal(read_image(written(dicom, values, 12, False)), right)
    assert "read as signed" in lines()[0]


def test_edges_alone_count_only_without_any_grey(dicom, lines):
    rng = np.random.default_rng(0)
    values = radiograph(11, letters=False)
    values[:60] = rng.integers(-1000, -900, (60, 200))  # a body in air: nothing between
    right = read_image(written(dicom, values, 16, True, name="right.dcm"))
    assert np.array_equal(read_image(written(dicom, values, 16, False)), right)
    assert "read as signed" in lines()[0]
    forget_files()
    values[62:] *= 12
    values[60:62] //= 2
    image = read_image(written(dicom, values, 16, False))
    assert (image[:60] > 200).all()
    assert lines()[1:] == [
        "Pixel Representation (0028,0103) 0 may be wrong, since neighbouring pixels differ by "
        "almost the whole range; look at the image"
    ]


def test_stated_extremes_decide(dicom, lines):
    values = np.array([[100, 1000, 3000]])
    elements = {"SmallestImagePixelValue": 100, "LargestImagePixelValue": 3000}
    path = written(dicom, values, 12, True, **elements)
    assert read_image(path).ravel().tolist() == [0, 79, 255]
    assert "read as unsigned" in lines()[0]
    extremes = {"SmallestImagePixelValue": 0, "LargestImagePixelValue": 4095}  # of any 12 bits
    values = np.array([[-1, -2048, 0, 2047]])
    path = written(dicom, values, 12, True, name="signed.dcm", **extremes)
    assert read_image(path).ravel().tolist() == [127, 0, 128, 255]
    assert len(lines()) == 1


def test_padding_beyond_the_bits_keeps_its_place(dicom, lines):
    values = radiograph(12)
    words = np.where(values == 0x830, 0x831, values).astype(np.uint16)
    words[20:40] = 0xF830  # -2000, of 16 bits
    path = dicom(words, PixelRepresentation=1, PixelPaddingValue=-2000)
    right = dicom(words, PixelRepresentation=0, PixelPaddingValue=0xF830, name="right.dcm")
    assert np.array_equal(read_image(path), read_image(right))


def test_colours_are_unsigned_whatever_they_are_told(dicom):
    colours = np.array([[[0, 100, 200], [255, 128, 127]]], np.uint8)
    path = dicom(
        colours,
        SamplesPerPixel=3,
        PhotometricInterpretation="RGB",
        PlanarConfiguration=0,
        PixelRepresentation=1,
    )
    assert np.array_equal(read_image(path), colours)


@pytest.mark.parametrize("signed", [False, True])
def test_the_sign_and_back(signed):
    values = np.arange(-2048, 2048) if signed else np.arange(4096)
    other = with_sign(values, 12, not signed)
    assert other.min() == (0 if signed else -2048)
    assert np.array_equal(with_sign(other, 12, signed), values)


def good(count):
    """Radiographs of all depths, brightness and frames, unsigned and signed, as CT has them."""
    rng = np.random.default_rng(1)
    for seed in range(count):
        bits = int(rng.choice([8, 10, 12, 14, 16]))
        values = radiograph(
            bits, seed, rng.choice([0, 0.5, 1]), rng.random() < 0.7, gain=rng.uniform(0.2, 1.5)
        )
        values = values if rng.random() < 0.5 else values.max() - values
        if rng.random() < 0.2:
            values[rng.random(values.shape) < 0.001] = (1 << bits) - 1
        yield values, bits, False
        signed = radiograph(12, seed, 0, letters=False, gain=rng.uniform(0.2, 1.5))
        yield np.clip(signed - rng.choice([0, 20, 1000, 1024]), -2048, 2047), 12, True


@pytest.mark.parametrize("count", [20, pytest.param(1000, marks=pytest.mark.slow)])
def test_correct_files_stay_as_they_are(count):
    for number, (values, bits, signed) in enumerate(good(count)):
        sign = find_sign(values, bits, signed)
        assert not sign.is_other and not sign.is_doubtful, (number, bits, signed)
