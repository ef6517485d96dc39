import os

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from dentalzoo.data.io.decode import upright, upright_size
from dentalzoo.data.io.images import natural_key, read_image, read_mask, write_png
from dentalzoo.data.io.listing import list_images
from dentalzoo.errors import BadFile, DentalzooError
from tests.hostile import make_hostile


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile") / "data"
    return folder, make_hostile(folder)


@pytest.fixture
def save(tmp_path):
    """Save an array or a PIL image and return its path."""

    def write(image, name="x.png", **options):
        if isinstance(image, np.ndarray):
            image = Image.fromarray(image)
        image.save(tmp_path / name, **options)
        return tmp_path / name

    return write


def test_hostile_images_are_read_or_refused(hostile):
    folder, expected = hostile
    assert len(expected) >= 40
    for name, expectation in expected.items():
        if expectation.image:
            image = read_image(folder / "images" / name)
            assert image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] in (1, 3), name
        elif expectation.image is False:
            with pytest.raises(BadFile) as error:
                read_image(folder / "images" / name)
            message = str(error.value)
            assert name in message and "Received: " in message and "\n" not in message


def test_hostile_folder_is_small_and_listed_completely(hostile):
    folder, expected = hostile
    files = [p for p in folder.rglob("*") if p.is_file()]
    assert sum(p.stat().st_size for p in files) < 5e6
    listed = [path.name for path in list_images(folder / "images")]
    assert sorted(listed) == sorted(n for n, e in expected.items() if e.image is not None)


def test_bomb_is_refused_before_memory_is_taken(hostile):
    import tracemalloc

    tracemalloc.start()
    with pytest.raises(BadFile, match="20000 x 20000"):
        read_image(hostile[0] / "images" / "bomb.png")
    assert tracemalloc.get_traced_memory()[1] < 5e6
    tracemalloc.stop()
    assert Image.MAX_IMAGE_PIXELS == 89478485  # PIL's own limit is unchanged


def test_max_pixels_is_exact(save):
    path = save(np.zeros((10, 10), np.uint8))
    assert read_image(path, max_pixels=100).shape == (10, 10, 1)
    with pytest.raises(BadFile, match="10 x 10"):
        read_image(path, max_pixels=99)


@pytest.mark.parametrize(
    ("top", "expected"),
    [
        (255, [0, 100, 255]),  # 8 bits in 16: unchanged
        (4095, [0, 100, 255]),
        (2000, [0, 49, 125]),  # fits into 12 bits: 2000 / 4095 of white
        (65535, [0, 100, 255]),
    ],
)
def test_depth_is_the_smallest_that_holds_the_brightest(save, top, expected):
    path = save(np.array([[0, round(top * 100 / 255), top]], np.uint16))
    assert read_image(path).ravel().tolist() == expected


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_16_bit_colour_keeps_its_low_bits(tmp_path, suffix):
    import cv2

    bgr = np.array([[[100, 2000, 4095], [4095, 0, 7]]], np.uint16)
    cv2.imwrite(str(tmp_path / f"x.{suffix}"), bgr)
    expected = np.rint(bgr[..., ::-1] * (255 / 4095)).astype(np.uint8)
    assert np.array_equal(read_image(tmp_path / f"x.{suffix}"), expected)


@pytest.mark.parametrize(
    ("dtype", "scale"), [(np.uint8, 1), (np.uint16, 257), (np.float32, 1 / 255)]
)
def test_tiff_of_every_depth(save, dtype, scale):
    path = save((np.array([[0, 10, 255]]) * scale).astype(dtype), "x.tif")
    assert read_image(path).ravel().tolist() == [0, 10, 255]


def test_tiff_whose_white_is_zero(save):
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[262] = 0  # WhiteIsZero; PIL inverts 8 bits by itself, but not 16
    for dtype, scale, expected in ((np.uint8, 1, [0, 10, 255]), (np.uint16, 257, [255, 245, 0])):
        path = save((np.array([[0, 10, 255]]) * scale).astype(dtype), "x.tif", tiffinfo=tags)
        assert read_image(path).ravel().tolist() == expected


@pytest.mark.parametrize("position", ["before", "after", "none"])
def test_a_header_has_the_size_of_a_turned_png(tmp_path, position):
    path, exif = tmp_path / "a.png", Image.Exif()
    exif[274] = 6
    Image.new("L", (30, 20)).save(path, **({} if position == "none" else {"exif": exif}))
    if position == "after":  # the chunk may follow the pixels
        content = path.read_bytes()
        start = content.index(b"eXIf") - 4
        length = 12 + int.from_bytes(content[start : start + 4])
        chunk, end = content[start : start + length], content.index(b"IEND") - 4
        rest = content[:start] + content[start + length : end]
        path.write_bytes(rest + chunk + content[end:])
    assert upright_size(path, 10**6) == (((20, 30), 1) if position == "none" else ((30, 20), 6))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["jpg", "png", "tif", "tif16"])
def test_orientation_is_applied(tmp_path, kind, orientation):
    """The upright image has its dark quarter at the top left, wherever the file stores it."""
    expected = np.full((16, 24), 200, np.uint8)
    expected[:8, :8] = 0
    stored = next(
        candidate
        for turned in (expected, expected.T)
        for candidate in (turned, turned[::-1], turned[:, ::-1], turned[::-1, ::-1])
        if np.array_equal(upright(candidate, orientation), expected)
    )
    exif = Image.Exif()
    exif[274] = orientation
    deep = kind == "tif16"
    stored = np.ascontiguousarray(stored.astype(np.uint16) * 257 if deep else stored)
    path = tmp_path / f"x.{kind[:3]}"
    Image.fromarray(stored).save(path, exif=exif, **({"quality": 95} if kind == "jpg" else {}))
    image = read_image(path)[..., 0].astype(int)
    assert image.shape == expected.shape
    assert np.abs(image - expected).max() <= (8 if kind == "jpg" else 0)
    if kind != "jpg":
        assert np.array_equal(read_mask(path) // (257 if deep else 1), expected)


def test_upright_agrees_with_pil():
    from PIL import ImageOps

    array = np.arange(24, dtype=np.uint8).reshape(4, 6)
    for orientation in range(1, 9):
        image = Image.fromarray(array)
        image.getexif()[274] = orientation
        assert np.array_equal(
            upright(array, orientation), np.asarray(ImageOps.exif_transpose(image))
        )


def test_channels(save):
    rgb = np.zeros((2, 2, 3), np.uint8)
    rgb[0, 0] = (255, 0, 0)
    path = save(rgb)
    assert read_image(path).shape == (2, 2, 3)
    assert read_image(path, channels=1)[0, 0, 0] == 76  # ITU-R 601: 0.299 red
    grey = save(np.array([[7, 9]], np.uint8), "g.png")
    assert read_image(grey, channels=3).tolist() == [[[7, 7, 7], [9, 9, 9]]]
    with pytest.raises(DentalzooError, match="Received: 4"):
        read_image(path, channels=4)


def test_equal_channels_stay_colour(save):
    path = save(np.full((2, 2, 3), 9, np.uint8))
    assert read_image(path).shape == (2, 2, 3)


def palette_image(indices, colours):
    image = Image.fromarray(np.array([indices], np.uint8)).convert("L")
    image.putpalette([v for colour in colours for v in colour])
    return image


def test_a_palette_gives_colours_in_an_image_and_ids_in_a_mask(save):
    path = save(palette_image([0, 1, 2], [(0, 0, 0), (9, 90, 200), (255, 0, 0)]))
    assert read_image(path).tolist() == [[[0, 0, 0], [9, 90, 200], [255, 0, 0]]]
    assert read_mask(path).tolist() == [[0, 1, 2]]
    greys = save(palette_image([0, 1, 2], [(0, 0, 0), (90, 90, 90), (255, 255, 255)]), "g.png")
    assert read_image(greys).tolist() == [[[0], [90], [255]]]
    assert read_mask(greys).tolist() == [[0, 1, 2]]


@pytest.mark.parametrize(
    ("colours", "indices", "expected"),
    [
        ([255, 0], [0, 1], [255, 0]),  # white comes first: the greys count
        ([255, 0], [1, 1], [0, 0]),
        ([5, 0, 9], [0, 1, 2], [5, 0, 9]),  # near-black greys are the ids themselves
        ([0, 5, 9], [0, 1, 2], [0, 5, 9]),
        ([0, 255], [0, 1], [0, 1]),
    ],
)
def test_palette_of_a_png_optimiser(save, colours, indices, expected):
    path = save(palette_image(indices, [(c, c, c) for c in colours]))
    assert read_mask(path).ravel().tolist() == expected


def test_four_bit_masks_keep_their_values(tmp_path):
    import struct
    import zlib

    from tests.hostile import _chunk, _png  # PIL writes no 4-bit grey

    def write(nibbles):
        rows = b"\0" + bytes(a << 4 | b for a, b in zip(nibbles[::2], nibbles[1::2], strict=True))
        png = _png(len(nibbles), 1, zlib.compress(rows))
        header = struct.pack(">IIBBBBB", len(nibbles), 1, 4, 0, 0, 0, 0)
        (tmp_path / "x.png").write_bytes(png[:8] + _chunk(b"IHDR", header) + png[33:])
        return tmp_path / "x.png"

    assert read_mask(write([0, 1, 2, 3])).tolist() == [[0, 1, 2, 3]]
    assert read_image(write([0, 1, 2, 15])).ravel().tolist() == [0, 17, 34, 255]
    assert read_mask(write([0, 15, 15, 0])).tolist() == [[0, 255, 255, 0]]


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (np.array([[[1, 2, 3]]], np.uint8), "coloured"),
        (np.array([[[0, 0, 0, 0], [0, 0, 0, 255]]], np.uint8), "alpha"),
        (np.array([[0.5, np.nan]], np.float32), "NaN"),
        (np.array([[0.5, 3.2]], np.float32), "from 0.5 to 3.2"),
        (np.array([[-1, 3]], np.int32), "-1"),
    ],
)
def test_masks_that_are_refused(save, array, reason):
    path = save(array, "x.tif" if array.dtype != np.uint8 else "x.png")
    with pytest.raises(BadFile, match=reason):
        read_mask(path)


def test_mask_values(save):
    assert read_mask(save(np.array([[0, 300]], np.uint16))).tolist() == [[0, 300]]
    assert read_mask(save(np.array([[0, 2]], np.float32), "f.tif")).tolist() == [[0, 2]]
    assert read_mask(save(np.array([[0, 0.5, 1]], np.float32), "s.tif")).tolist() == [[0, 128, 255]]
    big = save(np.array([[0, 300]], np.uint16).astype(">u2"), "b.tif")
    assert read_mask(big).dtype == np.uint16


def test_thumbnail_pages_do_not_count(tmp_path):
    page = Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8))
    small = page.resize((4, 4))
    small.encoderinfo = {"tiffinfo": {254: 1}}  # NewSubfileType: a reduced image
    page.save(tmp_path / "x.tif", save_all=True, append_images=[small])
    assert read_image(tmp_path / "x.tif").shape == (8, 8, 1)


def test_list_images_sorts_naturally_and_keeps_named_files(tmp_path):
    for name in ("x10.png", "x2.PNG", "notes.txt", ".hidden.png", "a.jpg"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "IM0001").write_bytes(bytes(128) + b"DICM")
    names = [path.name for path in list_images(tmp_path)]
    assert names == ["a.jpg", "IM0001", "x2.PNG", "x10.png"]
    assert list_images([tmp_path / "notes.txt", tmp_path / "gone.png"]) == [
        tmp_path / "notes.txt",
        tmp_path / "gone.png",
    ]


def test_folders_with_a_common_prefix_are_ordered():
    names = ["crack2/1.png", "crack/1.png", "2/a.png", "a/2.png", "A/2.png", "crack/10.png"]
    for order in (names, names[::-1]):
        assert sorted(order, key=natural_key) == sorted(names, key=natural_key)


def test_list_images_of_a_folder_without_any(tmp_path):
    (tmp_path / "a.txt").write_text("")
    with pytest.raises(DentalzooError, match=r"Received: 1 entries \(1 x .txt\)"):
        list_images(tmp_path)


def test_write_png_round_trip_and_palette(tmp_path):
    rng = np.random.default_rng(0)
    for shape in ((5, 7), (5, 7, 1), (5, 7, 3)):
        array = rng.integers(0, 256, shape, np.uint8)
        write_png(tmp_path / "new" / "x.png", array)
        stored = read_image(tmp_path / "new" / "x.png")
        assert np.array_equal(stored.reshape(shape), array)
    ids = np.array([[0, 1, 2]], np.uint8)
    write_png(tmp_path / "p.png", ids, palette=[(0, 0, 0), (255, 0, 0), (0, 255, 0)])
    assert read_mask(tmp_path / "p.png").tolist() == [[0, 1, 2]]
    assert read_image(tmp_path / "p.png")[0, 1].tolist() == [255, 0, 0]
    assert os.listdir(tmp_path / "new") == ["x.png"]


def test_write_png_that_fails_keeps_the_old_file(tmp_path, monkeypatch):
    write_png(tmp_path / "x.png", np.zeros((2, 2), np.uint8))
    before = (tmp_path / "x.png").read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(DentalzooError, match="No space left"):
        write_png(tmp_path / "x.png", np.ones((9, 9), np.uint8))
    assert (tmp_path / "x.png").read_bytes() == before
    assert os.listdir(tmp_path) == ["x.png"]
    with pytest.raises(DentalzooError, match="float64"):
        write_png(tmp_path / "x.png", np.zeros((2, 2)))


def test_pipe_is_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "x.png")
    with pytest.raises(BadFile, match="not a regular file"):
        read_image(tmp_path / "x.png")


def test_real_radiographs(shared_data):
    path = shared_data / "panoramic_teeth"
    if not path.is_dir():
        pytest.skip("shared data panoramic_teeth is absent")
    radiograph = read_image(list_images(path / "images")[0])
    mask = read_mask(list_images(path / "masks")[0])
    assert radiograph.shape == (*mask.shape, 1) and set(np.unique(mask)) == {0, 255}


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"\n<!doctype html><html>", "a web page"),
        (b"<?xml version='1.0'?><svg/>", "XML or SVG"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC"),
        (b"\0\0\0\x1cftypavif", "AVIF"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
        (b"%PDF-1.4", "PDF"),
        (b"PK\3\4", "a ZIP archive"),
        (b"version https://git-lfs.github.com/spec/v1", "git lfs pull"),
        (bytes(400), "zeros"),
        (b"", "an empty file"),
        (b"abcdefghi", "a file that begins with b'abcdefgh'"),
    ],
)
def test_files_that_are_named_as_images_are_refused_by_their_kind(tmp_path, content, kind):
    path = tmp_path / "x.png"
    path.write_bytes(content)
    with pytest.raises(BadFile, match=f"must be PNG, JPEG, .*Received: .*{kind}"):
        read_image(path)


def test_negative_pixels_of_8_bits_are_refused(tmp_path):
    path = tmp_path / "x.tif"
    for top in (127, 128):
        pixels = np.arange(top + 1, dtype=np.uint8)[None]
        Image.fromarray(pixels).save(path, tiffinfo={339: 2})
        if top == 127:
            assert np.array_equal(read_image(path)[..., 0], pixels)
        else:
            with pytest.raises(BadFile, match="must not be negative"):
                read_image(path)


def test_an_image_that_does_not_fit_in_memory_is_named(save, monkeypatch):
    path = save(np.zeros((4, 4), np.uint8))

    def decode(path, max_pixels):
        raise MemoryError

    monkeypatch.setattr("dentalzoo.data.io.images.decode", decode)
    for read in (read_image, read_mask):
        with pytest.raises(BadFile, match="the image must fit in memory"):
            read(path)
