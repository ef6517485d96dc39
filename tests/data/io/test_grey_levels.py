import logging
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from dentalzoo.data import synthetic
from dentalzoo.data.io import grey_levels
from dentalzoo.data.io.file_warnings import forget_files
from dentalzoo.data.io.grey_levels import depth_of, nothing_to_see, robust_range
from dentalzoo.data.io.images import read_image
from dentalzoo.data.io.listing import list_images
from tests.hostile import _chunk


def radiograph(bits, seed=0, size=(64, 256), fill=1.0):
    """A textured image that fills `fill` of its depth."""
    rng = np.random.default_rng(seed)
    ramp = np.linspace(0, 1, size[1])[None] * 0.9 + rng.random(size) * 0.1
    return np.rint(ramp / ramp.max() * ((1 << bits) - 1) * fill).astype(np.uint16)


def counts(samples):
    return np.bincount(samples.ravel(), minlength=65536)


def to_8_bits(samples):
    return grey_levels.to_8_bits(samples)[0]


EXACT = to_8_bits(radiograph(16)).astype(int)


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_every_depth_gives_the_same_image(bits):
    samples = radiograph(bits)
    assert depth_of(counts(samples)) == bits
    assert np.abs(to_8_bits(samples) - EXACT).max() <= 1


@pytest.mark.parametrize("bits", [8, 10, 12, 14])
@pytest.mark.parametrize("brightest", [1, 7, 65535])
def test_hot_pixels_do_not_change_the_brightness(bits, brightest):
    clean = radiograph(bits)
    hot = clean.copy()
    hot[5, 5] = min((1 << bits) - 1 + brightest, 65535)
    hot[50, 200] = 65535
    expected = to_8_bits(clean)
    expected[5, 5] = expected[50, 200] = 255
    assert np.array_equal(to_8_bits(hot), expected)


def test_the_border_of_hot_pixels_is_one_in_a_thousand():
    """Just above the depth, without a gap."""
    samples = radiograph(10)  # 16,384 pixels
    samples.flat[:16] = np.arange(1100, 1116)
    assert depth_of(counts(samples)) == 10
    samples.flat[:18] = np.arange(1100, 1118)  # one value is let off, as a label's would be
    assert depth_of(counts(samples)) == 12
    few = radiograph(10, size=(10, 10))
    few[0, :2] = 1100, 1101
    assert depth_of(counts(few)) == 12


@pytest.mark.parametrize("white", [4095, 65535])
def test_a_label_or_a_frame_of_one_value_does_not_count(white):
    clean = radiograph(10)
    labelled = clean.copy()
    labelled[:30] = white  # 47 %
    assert np.array_equal(to_8_bits(labelled)[30:], to_8_bits(clean)[30:])
    labelled[:57] = white  # 89 %
    assert np.array_equal(to_8_bits(labelled)[57:], to_8_bits(clean)[57:])
    labelled[:58] = white  # nearly all of the image is no label
    assert depth_of(counts(labelled)) == (12 if white == 4095 else 16)


def with_letters(samples, share=0.03):
    """Burn a label of many values, as letters with soft edges have, into the first rows."""
    samples = samples.copy()
    number = int(samples.size * share) // 2
    samples.flat[:number] = 65535
    soft = np.linspace(0, 65535, number).astype(np.uint16)
    samples.flat[number : 2 * number] = np.maximum(samples.flat[number : 2 * number], soft)
    return samples


@pytest.mark.parametrize("bits", [10, 12, 14])
def test_a_label_with_soft_edges_does_not_count(bits):
    clean = radiograph(bits)
    assert np.array_equal(to_8_bits(with_letters(clean))[2:], to_8_bits(clean)[2:])
    assert depth_of(counts(with_letters(clean, 0.08))) == 16


def test_a_bright_object_before_darkness_keeps_its_depth():
    rng = np.random.default_rng(0)
    dark = rng.integers(0, 220, (64, 256)).astype(np.uint16)  # the noise of a camera
    dark[10:14, 10:110] = rng.integers(20000, 40000, (4, 100))
    assert depth_of(counts(dark)) == 16
    smooth = np.rint(rng.exponential(900, (64, 256))).clip(0, 65535).astype(np.uint16)
    assert depth_of(counts(smooth)) == 14  # 1 % are above 4095, without a gap


def test_a_drawing_keeps_its_brightest_value():
    steps = np.repeat(np.array([0, 300, 900, 40000], np.uint16), [500, 300, 180, 20])
    assert depth_of(counts(steps)) == 16


def test_a_dark_radiograph_gets_the_depth_that_it_fills():
    """The border: of two radiographs of 12 bits the darker one gets 10."""
    assert depth_of(counts(radiograph(12, fill=1023 / 4095))) == 10
    assert depth_of(counts(radiograph(12, fill=1100 / 4095))) == 12


@pytest.mark.parametrize(
    ("low", "high", "changed"),
    [
        (1000, 5095, False),
        (800, 5000, False),  # the extremes add less than a quarter: an ordinary tail
        (1000, 5096 * 16, True),
        (-70_000, 5095, True),
        (-70_000, 70_000, True),
    ],
)
def test_the_range_without_outliers(low, high, changed):
    values = radiograph(12).astype(float) + 1000
    exact = (values.min(), values.max())
    values[3, :20], values[40, :30] = low, high
    first, last = robust_range(values)
    if changed:
        assert abs(first - exact[0]) < 50 and abs(last - exact[1]) < 50
    else:
        assert (first, last) == (min(low, exact[0]), max(high, exact[1]))
    assert robust_range(np.array([0.0, 4000, 70_000])) == (0, 70_000)
    assert robust_range(np.zeros(0)) == (0, 0)


def test_widened_bits_become_those_bits():
    dark = (np.arange(64, dtype=np.uint16).reshape(8, 8)) * 257
    assert to_8_bits(dark).ravel().tolist() == list(range(64))


def png_of_16_bits(path, samples, significant=None):
    """PIL writes no sBIT."""
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)
    header = struct.pack(">IIBBBBB", samples.shape[1], samples.shape[0], 16, 0, 0, 0, 0)
    stated = _chunk(b"sBIT", bytes([significant])) if significant else b""
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + _chunk(b"IHDR", header)
        + stated
        + _chunk(b"IDAT", zlib.compress(rows))
        + _chunk(b"IEND", b"")
    )
    return path


def test_the_depth_that_a_png_states(tmp_path):
    dark = radiograph(12, fill=0.2)
    exact = np.rint(dark * (255 / 4095))
    path = tmp_path / "x.png"
    assert read_image(png_of_16_bits(path, dark)).max() > 200
    assert np.array_equal(read_image(png_of_16_bits(path, dark, 12))[..., 0], exact)
    hot = dark.copy()
    hot[3, 3] = 5000
    assert np.array_equal(read_image(png_of_16_bits(path, hot, 12))[..., 0][4:], exact[4:])
    for spread in (dark << 4, dark << 4 | dark >> 8):  # as the standard wants it
        image = read_image(png_of_16_bits(path, spread, 12))[..., 0]
        assert np.abs(image - exact).max() <= 1
    untrue = radiograph(16)
    assert np.array_equal(read_image(png_of_16_bits(path, untrue, 12))[..., 0], EXACT)


@pytest.mark.parametrize(
    ("tag", "value", "counts"),
    [
        (341, 4095, True),
        (281, 4095, True),
        (281, 65535, False),  # what every 16-bit file may hold
        (281, 819, False),  # the brightest pixel, which states no depth
    ],
)
def test_the_depth_that_a_tiff_states(tmp_path, tag, value, counts):
    dark = radiograph(12, fill=0.2)
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[tag] = value
    tags.tagtype[tag] = 3
    Image.fromarray(dark).save(tmp_path / "x.tif", tiffinfo=tags)
    assert read_image(tmp_path / "x.tif").max() == (51 if counts else 204)


def test_floats_of_0_to_1_with_a_hot_pixel(tmp_path):
    samples = radiograph(16).astype(np.float32) / 65535
    samples[4, 4] = 1.5
    Image.fromarray(samples).save(tmp_path / "x.tif")
    assert np.abs(read_image(tmp_path / "x.tif")[5:, :, 0] - EXACT[5:]).max() <= 1


@pytest.mark.parametrize(
    ("pixels", "reason"),
    [
        (np.zeros((40, 40)), "nearly black"),
        (np.full((1, 1), 128), "nearly flat"),
        (np.arange(1600).reshape(40, 40) % 32, "nearly black"),
        (np.arange(1600).reshape(40, 40) % 33, ""),
        (255 - np.arange(1600).reshape(40, 40) % 32, "nearly white"),
        (100 + np.arange(1600).reshape(40, 40) % 16, "nearly flat"),
        (100 + np.arange(1600).reshape(40, 40) % 17, ""),
        (np.arange(1600).reshape(40, 40) % 2 * 255, "no grey values"),
        (np.where(np.arange(1600) < 40, 128, 255).reshape(40, 40), ""),
        (np.where(np.arange(1600) < 30, 128, 255).reshape(40, 40), "no grey values"),
        (np.where(np.arange(1600) < 7, 128, 0).reshape(40, 40), "nearly black"),
    ],
)
def test_nothing_to_see(pixels, reason):
    image = pixels.astype(np.uint8)[..., None]
    assert nothing_to_see(image).startswith(reason) and bool(nothing_to_see(image)) == bool(reason)
    assert bool(nothing_to_see(np.repeat(image, 3, axis=2))) == bool(reason)


@pytest.mark.parametrize("kind", ["radiographs", "teeth", "defects"])
def test_synthetic_images_show_something(tmp_path, kind):
    write = {
        "radiographs": lambda: synthetic.write_panoramic_dataset(tmp_path, 1, height=64, width=128),
        "teeth": lambda: synthetic.write_tooth_photos(tmp_path, 6),
        "defects": lambda: synthetic.write_defect_dataset(tmp_path, 6),
    }
    write[kind]()
    images = list_images(tmp_path if kind == "teeth" else tmp_path / "images")
    assert images and not any(nothing_to_see(read_image(path)) for path in images)


@pytest.mark.parametrize(
    "name", ["panoramic_teeth/images", "dental_radiography/images", "intraoral_photos/images"]
)
def test_real_images_show_something(shared_data, name):
    if not (shared_data / name).is_dir():
        pytest.skip(f"no {name} there")
    for path in list_images(shared_data / name)[::20]:
        assert nothing_to_see(read_image(path)) == "", path


def test_a_colour_image_needs_one_channel():
    image = np.zeros((40, 40, 3), np.uint8)
    image[..., 2] = np.arange(1600).reshape(40, 40) % 200
    assert nothing_to_see(image) == ""


def test_what_shows_nothing_is_logged_once_for_a_file(tmp_path, caplog):
    forget_files()
    Image.new("L", (40, 40), 3).save(tmp_path / "a.png")
    for _ in range(3):
        read_image(tmp_path / "a.png")
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage().startswith(f"{tmp_path / 'a.png'}: nearly black")
    for index in range(120):
        (tmp_path / f"{index}.png").write_bytes((tmp_path / "a.png").read_bytes())
        read_image(tmp_path / f"{index}.png")
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 11
    assert "(the 10th such image of its folder; the next named is the 100th)" in lines[-2]
    assert "(the 100th such image of its folder" in lines[-1]


def test_a_folder_of_two_depths_is_named_once(tmp_path, caplog):
    forget_files()
    for index, bits in enumerate((12, 12, 10, 10, 14)):
        png_of_16_bits(tmp_path / f"{index}.png", radiograph(bits))
        read_image(tmp_path / f"{index}.png")
    (line,) = caplog.messages
    assert line.startswith(f"{tmp_path}: ") and "of 10 and of 12 bits" in line
    forget_files()
    for bits in (10, 12):  # the files say it
        read_image(png_of_16_bits(tmp_path / "x.png", radiograph(bits), bits))
    assert len(caplog.messages) == 1
