"""Files made to take hours or all memory are refused in one line, from their headers."""

import io
import struct
import subprocess
import sys
import time
import zlib

import numpy as np
import pytest
from PIL import Image

from dentalzoo.data.io.containers import MAX_PAGES
from dentalzoo.data.io.decode import upright_size
from dentalzoo.data.io.file_warnings import forget_files
from dentalzoo.data.io.images import read_image, read_mask
from dentalzoo.errors import BadFile
from tests.hostile import _chunk, _png

RAMP = np.arange(256, dtype=np.uint8).reshape(16, 16)


def tiff(pages, size=16, loop=False, tags=(), raw=RAMP.tobytes()):
    """Pages of 114 bytes that share one strip."""
    strip = zlib.compress(raw)
    strip += b"\0" * (len(strip) % 2)
    first = 8 + len(strip)
    entries = [(256, 4, 1, size), (257, 4, 1, size), (258, 3, 1, 8), (259, 3, 1, 8), (262, 3, 1, 1)]
    entries += [(273, 4, 1, 8), (277, 3, 1, 1), (278, 4, 1, size), (279, 4, 1, len(strip)), *tags]
    page = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", *e) for e in entries)
    step = len(page) + 4
    after = [first + step * (index + 1) for index in range(pages - 1)] + [first if loop else 0]
    directory = b"".join(page + struct.pack("<I", at) for at in after)
    return b"II*\0" + struct.pack("<I", first) + strip + directory


def png(*chunks):
    base = _png(16, 16, zlib.compress(b"".join(b"\0" + row.tobytes() for row in RAMP)))
    return base[:33] + b"".join(chunks) + base[33:]


def gif(frames):
    with io.BytesIO() as stream:
        Image.fromarray(RAMP).save(stream, "GIF")
        content = stream.getvalue()
    frame = content.index(b",", 13 + 3 * 256)
    return content[:frame] + content[frame:-1] * frames + b";"


def webp(frames):
    images = [Image.fromarray(RAMP + index % 2) for index in range(frames)]
    with io.BytesIO() as stream:
        images[0].save(stream, "WEBP", save_all=True, append_images=images[1:], lossless=True)
        return stream.getvalue()


def progressive(scans, size):
    with io.BytesIO() as stream:
        Image.new("L", (size, size), 128).save(stream, "JPEG", progressive=True)
        content = stream.getvalue()
    *before, last = content.split(b"\xff\xda")
    return b"\xff\xda".join([*before, *[last[:-2]] * scans]) + b"\xff\xd9"


def compressed(size):
    return zlib.compress(bytes(size), 9)


HOSTILE = {
    "pages that share a strip": (lambda: tiff(2_000), f"more than {MAX_PAGES} pages"),
    "large pages that share a strip": (
        lambda: tiff(60, 5000, raw=bytes(5000 * 5000)),
        "pages must have at most 100,000,000 pixels together",
    ),
    "tags that share their bytes": (
        lambda: tiff(1, tags=[(30000 + i, 1, 300, 8) for i in range(20_000)]),
        "tags of a TIFF must not share",
    ),
    "compressed text": (
        lambda: png(_chunk(b"zTXt", b"k\0\0" + compressed(30_000_000))),
        "too large",
    ),
    "compressed international text": (
        lambda: png(_chunk(b"iTXt", b"k\0\1\0\0\0" + compressed(30_000_000))),
        "too large",
    ),
    "compressed profile": (
        lambda: png(_chunk(b"iCCP", b"k\0\0" + compressed(30_000_000))),
        "too large",
    ),
    "chunks": (lambda: png(_chunk(b"tEXt", b"k\0v") * 100_000), "at most .* chunks"),
    "empty chunks of pixels": (lambda: png(_chunk(b"IDAT", b"") * 101_000), "at most .* chunks"),
    "frames of a GIF": (lambda: gif(20_000), f"more than {MAX_PAGES} pages or frames"),
    "frames of a WebP": (lambda: webp(70), "frames"),
    "frames of a PNG": (
        lambda: png(
            _chunk(b"acTL", struct.pack(">II", 1_000_000, 0)),
            _chunk(b"fcTL", struct.pack(">IIIIIHHBB", 0, 16, 16, 0, 0, 1, 1, 0, 0)),
        ),
        "damaged",
    ),
    "scans": (lambda: progressive(2_000, 3000), "at most .* scans"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_files_are_refused_from_their_headers(tmp_path, kind):
    make, reason = HOSTILE[kind]
    path = tmp_path / "x"
    path.write_bytes(make())
    start = time.process_time()
    for read in (read_image, read_mask):
        with pytest.raises(BadFile, match=reason) as error:
            read(path)
        assert "\n" not in str(error.value) and "Received: " in str(error.value)
    assert time.process_time() - start < 2  # a tenth of it, unless the machine is busy
    try:
        assert upright_size(path, 10**8)
    except BadFile as refused:
        assert "\n" not in str(refused)


@pytest.mark.parametrize(
    "content",
    [
        tiff(MAX_PAGES),
        tiff(3, loop=True),
        tiff(1, tags=[(37500, 7, 2**31, 8)]),  # one tag of a wrong length, as some cameras write
        gif(MAX_PAGES),
        png(_chunk(b"eXIf", b"II*\0\x08\0\0\0" + b"\xff" * 100_000)),
        png(_chunk(b"tEXt", b"k\0v") * 1_000),
    ],
)
@pytest.mark.filterwarnings(
    "ignore:Tag data|Possibly corrupt|Truncated File Read"
)  # by Pillow's version
def test_unusual_but_harmless_files_are_read(tmp_path, content):
    (tmp_path / "x").write_bytes(content)
    assert np.array_equal(read_image(tmp_path / "x")[..., 0], RAMP)


def test_a_tiff_of_packed_bits_is_refused_with_the_remedy(tmp_path):
    content = tiff(1).replace(
        struct.pack("<HHII", 258, 3, 1, 8), struct.pack("<HHII", 258, 3, 1, 10)
    )
    (tmp_path / "x.tif").write_bytes(content)
    with pytest.raises(BadFile, match="save it with 8 or 16 bits, grey or RGB. Received: "):
        read_image(tmp_path / "x.tif")


def test_a_damaged_tag_of_a_usable_image_is_no_noise(tmp_path):
    for name in "ab":
        content = tiff(1, tags=[(37500, 7, 2**31, 8), (37510, 2, 40_000, 8)])
        (tmp_path / f"{name}.tif").write_bytes(content)
    command = [sys.executable, "-m", "dentalzoo", "check", "--images", str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True)
    assert "usable: 2" in result.stdout and "Warning" not in result.stderr


def test_bytes_behind_a_jpeg_are_no_scans(tmp_path):
    """A phone appends a film to a photograph."""
    path = tmp_path / "x.jpg"
    Image.new("L", (16, 16), 128).save(path)
    path.write_bytes(path.read_bytes() + b"\xff\xda\0\2" * 10_000_000)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dentalzoo.data.io.containers._MAX_SCANNED", 4_000)
        assert read_image(path).shape == (16, 16, 1)


@pytest.mark.parametrize("size", [(1, 1), (60_000, 1), (1, 60_000)])
def test_extreme_shapes_are_read(tmp_path, size):
    Image.new("L", size, 77).save(tmp_path / "x.png")
    assert read_image(tmp_path / "x.png").shape == (*size[::-1], 1)


# ---- damage that decoders do not notice ----------------------------------------------------------


def stored_tiff(strips, *, bits=8, photometric=1, rows=16, samples=1, planar=1, form=1):
    """A TIFF of 16 x 16 whose strips lie behind each other, uncompressed."""
    entries = {256: [16], 257: [16], 258: [bits] * samples, 259: [1], 262: [photometric]}
    entries |= {277: [samples], 278: [rows], 284: [planar], 339: [form] * samples}
    entries |= {273: [0] * len(strips), 279: [len(strip) for strip in strips]}
    start = 8 + 2 + 12 * len(entries) + 4
    long = {tag: values for tag, values in sorted(entries.items()) if len(values) > 1}
    at = start + sum(4 * len(values) for values in long.values())
    entries[273] = [at + sum(map(len, strips[:index])) for index in range(len(strips))]
    page, extra = struct.pack("<H", len(entries)), b""
    for tag, values in sorted(entries.items()):
        packed = struct.pack(f"<{len(values)}I", *values)
        where = struct.pack("<I", start + len(extra)) if len(values) > 1 else packed
        extra += packed if len(values) > 1 else b""
        page += struct.pack("<HHI", tag, 4, len(values)) + where
    return b"II*\0" + struct.pack("<I", 8) + page + bytes(4) + extra + b"".join(strips)


QUARTERS = [RAMP[row : row + 4].tobytes() for row in range(0, 16, 4)]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (stored_tiff(QUARTERS[:3], rows=4), "must have 4 strips; save it again. Received: 3"),
        (
            stored_tiff([*QUARTERS[:2], b"", QUARTERS[3]], rows=4),
            "strip 3 of the TIFF must have 64 bytes; save it again. Received: 0",
        ),
        (
            stored_tiff([RAMP.tobytes() * 3], photometric=2, samples=3, planar=2),
            "must have 3 strips; save it again. Received: 1",
        ),
        (
            stored_tiff(
                [(RAMP * np.uint16(257)).astype("<u2").tobytes()] * 3,
                bits=16,
                photometric=2,
                samples=3,
                planar=2,
            ),
            "this kind of 16-bit colour cannot be read",
        ),
    ],
)
def test_a_tiff_without_all_its_strips_is_refused(tmp_path, content, reason):
    (tmp_path / "x.tif").write_bytes(content)
    with pytest.raises(BadFile, match=reason):
        read_image(tmp_path / "x.tif")


def test_strips_and_planes_of_a_whole_tiff(tmp_path):
    path = tmp_path / "x.tif"
    path.write_bytes(stored_tiff(QUARTERS, rows=4))
    assert np.array_equal(read_image(path)[..., 0], RAMP)
    path.write_bytes(stored_tiff([RAMP.tobytes()], rows=2**32 - 1))
    assert np.array_equal(read_image(path)[..., 0], RAMP)
    planes = [RAMP.tobytes(), RAMP[::-1].tobytes(), bytes(256)]
    path.write_bytes(stored_tiff(planes, photometric=2, samples=3, planar=2))
    assert np.array_equal(read_image(path), np.stack([RAMP, RAMP[::-1], RAMP * 0], -1))


@pytest.mark.parametrize("top", [1, 255])
def test_floats_of_which_0_is_white(tmp_path, top):
    values = (RAMP / 255 * top).astype("<f4").tobytes()
    (tmp_path / "x.tif").write_bytes(stored_tiff([values], bits=32, photometric=0, form=3))
    assert np.array_equal(read_image(tmp_path / "x.tif")[..., 0], 255 - RAMP)


@pytest.mark.parametrize("filler", [b"\0", b"\xff"])
def test_a_jpeg_that_ends_before_its_end_is_refused(tmp_path, filler):
    rng = np.random.default_rng(0)
    with io.BytesIO() as stream:
        Image.fromarray(rng.integers(0, 256, (300, 300), np.uint8)).save(stream, "JPEG")
        content = stream.getvalue()
    half = len(content) // 2
    path = tmp_path / "x.jpg"
    path.write_bytes(content[:half] + filler * half)  # an interrupted copy
    with pytest.raises(BadFile, match="damaged: the JPEG must have an end; copy it again"):
        read_image(path)
    path.write_bytes(content + filler * half)
    assert read_image(path).shape == (300, 300, 1)


def test_an_interrupted_copy_of_uncompressed_pixels_is_said(tmp_path, caplog):
    rng = np.random.default_rng(0)
    path = tmp_path / "x.bmp"
    Image.fromarray(rng.integers(1, 256, (200, 200), np.uint8)).save(path)
    content = path.read_bytes()
    forget_files()
    read_image(path)
    path.write_bytes(content[:20000] + bytes(len(content) - 20000))  # black below
    read_image(path)
    path.write_bytes(content + bytes(-len(content) % 4096))
    read_image(path)
    assert caplog.messages == []
    path.write_bytes(content[: 4096 * 5] + bytes(len(content) - 4096 * 5))
    read_image(path)
    assert [line.split(": ", 1)[1] for line in caplog.messages] == [
        f"its last {len(content) - 4096 * 5:,} bytes are zeros, as an interrupted copy leaves them"
    ]
