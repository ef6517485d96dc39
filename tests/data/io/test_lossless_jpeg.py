"""Against an encoder that follows ITU-T T.81 annex H pixel by pixel."""

import numpy as np
import pytest

from dentalzoo.data.io.lossless_jpeg import decode_lossless_jpeg
from tests.data.io.dicom_files import lossless_jpeg


def image_of(bits, bands=1, seed=0):
    rng = np.random.default_rng(seed)
    top = 2**bits - 1
    ramp = np.linspace(0, top, 24 * 20 * bands).reshape(24, 20, bands)
    image = np.clip(ramp + rng.normal(0, top / 50 + 1, ramp.shape), 0, top).astype(np.uint16)
    image[3, 4:6], image[5, :2] = top, 0
    return image


@pytest.mark.parametrize("predictor", range(1, 8))
@pytest.mark.parametrize("bits", [2, 8, 12, 16])
def test_every_predictor(predictor, bits):
    image = image_of(bits)
    content = lossless_jpeg(image, bits, predictor)
    assert np.array_equal(decode_lossless_jpeg(content, 24, 20, 1), image)


@pytest.mark.parametrize("predictor", [1, 4, 7])
def test_colours_and_restart_intervals(predictor):
    image = image_of(8, bands=3)
    content = lossless_jpeg(image, 8, predictor)
    assert np.array_equal(decode_lossless_jpeg(content, 24, 20, 3), image)
    content = lossless_jpeg(image, 8, predictor, rows_each=5)
    assert content.count(b"\xff\xd3") == 1
    assert np.array_equal(decode_lossless_jpeg(content, 24, 20, 3), image)


def test_bands_with_tables_of_their_own():
    image = image_of(8, bands=3)
    content = lossless_jpeg(image, 8, 1, tables=3)
    assert np.array_equal(decode_lossless_jpeg(content, 24, 20, 3), image)


def test_point_transform():
    image = image_of(12)
    content = lossless_jpeg(image >> 3, 12, 1, shift=3)
    assert np.array_equal(decode_lossless_jpeg(content, 24, 20, 1), image >> 3 << 3)


def test_codes_across_the_bounds_of_chunks(monkeypatch):
    monkeypatch.setattr("dentalzoo.data.io.lossless_jpeg._CHUNK", 7)
    image = image_of(16)
    assert np.array_equal(decode_lossless_jpeg(lossless_jpeg(image, 16, 1), 24, 20, 1), image)


def test_damage_is_a_value_error_and_quick():
    content = lossless_jpeg(image_of(12), 12, 1, rows_each=8)
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(300):
        damaged = bytearray(content)
        for position in rng.integers(0, len(content), 3):
            damaged[position] = rng.integers(256)
        try:
            decode_lossless_jpeg(bytes(damaged[: rng.integers(len(content) // 2, 9999)]), 24, 20, 1)
        except (ValueError, KeyError, IndexError):
            refused += 1
    assert refused > 100


@pytest.mark.parametrize("size", [(23, 20, 1), (24, 20, 3)])
def test_another_size_is_refused(size):
    with pytest.raises(ValueError, match="the size differs"):
        decode_lossless_jpeg(lossless_jpeg(image_of(8), 8, 1), *size)
