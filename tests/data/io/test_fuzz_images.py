"""Thousands of damaged files know only our own errors, and none takes long."""

import io
import time

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from dentalzoo.data.io.decode import plain_jpeg, upright_size
from dentalzoo.data.io.images import read_image, read_mask
from dentalzoo.errors import BadFile

INPUTS = 2_000
MAX_SECONDS = 2  # of one input: most take a millisecond


def whole_files():
    """Small files of every kind, with the chunks and tags that readers follow."""
    rng = np.random.default_rng(0)
    grey = rng.integers(0, 256, (24, 32), np.uint8)
    deep = rng.integers(0, 4096, (24, 32), np.uint16)
    colour = rng.integers(0, 256, (24, 32, 3), np.uint8)
    exif = Image.Exif()
    exif[274], exif[270], exif[36867] = 6, "a description", "2020:01:01 00:00:00"
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[270], tags[281] = "a description", 4095
    text = {"exif": exif}
    pages = {"save_all": True, "append_images": [Image.fromarray(grey)] * 2}
    palette = Image.fromarray(grey).quantize(16)
    for array, kind, options in (
        (grey, "PNG", text),
        (deep, "PNG", {}),
        (colour, "PNG", {**pages, "append_images": [Image.fromarray(colour)]}),
        (palette, "PNG", {"bits": 4, "transparency": 0}),
        (grey, "JPEG", text),
        (colour, "JPEG", {"progressive": True, **text}),
        (deep, "TIFF", {"tiffinfo": tags}),
        (grey, "TIFF", {"compression": "tiff_lzw", **text}),
        (colour, "TIFF", {"compression": "tiff_adobe_deflate"}),
        (colour, "TIFF", {"compression": "jpeg"}),
        (grey, "TIFF", {"compression": "packbits", **pages}),
        (grey.astype(np.float32) / 255, "TIFF", {}),
        (grey, "BMP", {}),
        (colour, "BMP", {}),
        (palette, "GIF", pages),
        (colour, "WEBP", text),
        (colour, "WEBP", {"lossless": True, **pages}),
    ):
        with io.BytesIO() as stream:
            image = array if isinstance(array, Image.Image) else Image.fromarray(array)
            image.save(stream, kind, **options)
            yield stream.getvalue()


def damage(content, others, rng):
    """Flip bytes, cut, splice a piece of another file in, or repeat a piece."""
    content = bytearray(content)
    for _ in range(rng.integers(1, 4)):
        at = int(rng.integers(0, len(content) + 1)) if rng.random() < 0.5 else int(rng.integers(64))
        what = rng.integers(6)
        if what <= 1:
            for position in (
                rng.integers(0, len(content), rng.integers(1, 6)) if len(content) else ()
            ):
                content[position] = rng.integers(256)
        elif what == 2:
            content[at : at + 4] = rng.choice(
                [b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\1\0\0\0", b"\0\0\0\1"]
            )
        elif what == 3:
            del content[at : at + int(rng.integers(1, 64))]
        elif what == 4:
            other = others[rng.integers(len(others))]
            start = int(rng.integers(len(other)))
            content[at:at] = other[start : start + int(rng.integers(1, 200))]
        else:
            content = content[:at] if rng.random() < 0.3 else content + content[at : at + 100]
    return bytes(content)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # Pillow warns of many damages before it raises
@pytest.mark.parametrize(
    "read", [read_image, read_mask, lambda path: upright_size(path, 10**8), plain_jpeg]
)
def test_damaged_files_raise_our_errors_alone(tmp_path, read):
    rng = np.random.default_rng(12)
    whole = list(whole_files())
    path, refused, slowest = tmp_path / "x.png", 0, 0.0
    for index in range(INPUTS):
        path.write_bytes(damage(whole[index % len(whole)], whole, rng))
        start = time.process_time()
        try:
            read(path)
        except BadFile as error:
            refused += 1
            assert "\n" not in str(error) and "Received: " in str(error), index
        slowest = max(slowest, time.process_time() - start)
    assert slowest < MAX_SECONDS
    assert INPUTS // 20 < refused < INPUTS
