"""Write broken, odd and hostile images and masks, to test that each is read or refused."""

import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

HEIGHT, WIDTH = 64, 96


@dataclass(frozen=True)
class Expectation:
    """What has to happen to one file of `images/`.

    Attributes:
        image: True if the image can be read, False if it must be refused by name; None for a
            mask that has no image.
        pair: True if image and mask can be used to train a binary model, False if not.
        why: the trap.
    """

    image: bool | None
    pair: bool
    why: str


def make_hostile(folder: str | Path) -> dict[str, Expectation]:
    """Write `folder`/images and `folder`/masks, below 5 MB in all.

    Returns:
        file name in images/ -> what is expected of it.
    """
    maker = _Maker(Path(folder))
    maker.images.mkdir(parents=True)
    maker.masks.mkdir()
    _write_good_images(maker)
    _write_bad_images(maker)
    _write_masks(maker)
    return maker.expected


class _Maker:
    def __init__(self, folder: Path):
        self.images, self.masks = folder / "images", folder / "masks"
        self.expected: dict[str, Expectation] = {}
        rows, columns = np.mgrid[:HEIGHT, :WIDTH]
        noise = np.random.default_rng(0).integers(0, 9, (HEIGHT, WIDTH))
        self.radiograph = (2 * columns + rows // 2 + noise).astype(np.uint8)
        self.ground_truth = np.zeros((HEIGHT, WIDTH), np.uint8)
        self.ground_truth[20:50, 30:70] = 255

    def add(self, name: str, why: str, image: bool | None, pair: bool, mask="ground truth") -> Path:
        """Note the expectation and write the mask, by the naming of either kind in turn."""
        self.expected[name] = Expectation(image, pair, why)
        if mask is not None:
            mask = self.ground_truth if isinstance(mask, str) else mask
            both = (f"{Path(name).stem}.png", f"{name}_mask.png")
            Image.fromarray(mask).save(self.masks / both[len(self.expected) % 2])
        return self.images / name


def _write_good_images(make: _Maker) -> None:
    radiograph = Image.fromarray(make.radiograph)
    colour = Image.merge("RGB", [radiograph, radiograph.point(lambda v: 255 - v), radiograph])

    for number in range(6):  # enough to train on
        path = make.add(f"plain_{number}.png", "nothing wrong", True, True)
        Image.fromarray(np.roll(make.radiograph, 7 * number, axis=1)).save(path)
    radiograph.save(make.add("jpeg inside.png", "a JPEG called PNG", True, True), format="JPEG")
    radiograph.save(make.add("røntgen bild ü.png", "a name beyond ASCII, with blanks", True, True))
    deep = make.radiograph.astype(np.uint16)
    Image.fromarray(deep * 257).save(make.add("deep_16.png", "16 bits", True, True))
    Image.fromarray(deep * 16).save(make.add("deep_12.png", "12 bits in 16", True, True))
    Image.fromarray(make.radiograph / np.float32(255)).save(
        make.add("float.tif", "floating point in [0, 1]", True, True)
    )
    Image.fromarray(make.ground_truth).convert("1").save(
        make.add("one_bit.png", "1 bit", True, True)
    )
    rgba = colour.copy()
    rgba.putalpha(radiograph)
    rgba.save(make.add("alpha.png", "RGB and alpha", True, True))
    radiograph.convert("LA").save(make.add("grey_alpha.png", "grey and alpha", True, True))
    colour.quantize(16).save(make.add("palette.png", "16 colours", True, True))
    colour.convert("CMYK").save(make.add("cmyk.jpg", "CMYK", True, True))
    radiograph.save(make.add("bitmap.bmp", "BMP", True, True))
    Image.fromarray(make.radiograph[:1, :1]).save(
        make.add("one_pixel.png", "1 x 1", True, True, mask=make.ground_truth[:1, :1])
    )
    radiograph.save(
        make.add("equal_pages.tif", "two pages, the same", True, True),
        save_all=True,
        append_images=[radiograph],
    )
    exif = Image.Exif()
    exif[274] = 6  # stored lying on its side
    lying = radiograph.transpose(Image.Transpose.ROTATE_90)
    lying.save(make.add("turned.jpg", "EXIF orientation", True, True), exif=exif)
    lying.save(
        make.add(
            "turned_mask_stored.jpg",
            "EXIF orientation, the mask drawn on the stored pixels",
            True,
            True,
            mask=np.rot90(make.ground_truth),
        ),
        exif=exif,
    )
    row = np.tile((np.arange(10000) // 64).astype(np.uint8), (3000, 1))
    large = np.zeros(row.shape, bool)
    large[1000:2000, 3000:7000] = True
    Image.fromarray(row).save(
        make.add("large.png", "10,000 x 3,000", True, True, mask=large), compress_level=1
    )


def _write_bad_images(make: _Maker) -> None:
    radiograph = Image.fromarray(make.radiograph)

    def refused(name: str, why: str) -> Path:
        return make.add(name, why, False, False)

    for suffix in (".png", ".jpg", ".tif", ".bmp"):
        path = refused(f"truncated_{suffix[1:]}{suffix}", "cut after 60 %")
        radiograph.save(path)
        path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    refused("empty.png", "no bytes").write_bytes(b"")
    refused("text.png", "text called PNG").write_text("patient,age\n1,41\n")
    refused("page.jpg", "an error page").write_text("<!doctype html><title>404</title>")
    path = refused("flipped.png", "one byte of the pixels changed")
    radiograph.save(path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    refused("header_only.png", "8 bytes").write_bytes(b"\x89PNG\r\n\x1a\n")
    refused("no_pixels.png", "0 x 0").write_bytes(_png(0, 0, zlib.compress(b"")))
    refused("bomb.png", "20,000 x 20,000 in 400 kB").write_bytes(_bomb(20000))
    refused("folder.png", "a folder").mkdir()
    refused("broken_link.png", "a link to nothing").symlink_to("nowhere.png")
    spoilt = make.radiograph.astype(np.float32)
    Image.fromarray(spoilt * 16 - 1000).save(refused("hounsfield.tif", "floats of any range"))
    spoilt[3, 4] = np.nan
    Image.fromarray(spoilt).save(refused("nan.tif", "a NaN pixel"))
    Image.fromarray(make.radiograph.astype(np.int32) - 100).save(refused("negative.tif", "below 0"))
    other = Image.fromarray(255 - make.radiograph)
    radiograph.save(
        refused("pages.tif", "two different pages"), save_all=True, append_images=[other]
    )
    radiograph.save(refused("moving.gif", "an animation"), save_all=True, append_images=[other])


def _write_masks(make: _Maker) -> None:
    radiograph = Image.fromarray(make.radiograph)
    inside = make.ground_truth > 0

    def usable(name: str, why: str, mask) -> None:
        radiograph.save(make.add(name, why, True, True, mask))

    def refused(name: str, why: str, mask) -> None:
        radiograph.save(make.add(name, why, True, False, mask))

    usable("mask_01.png", "0 and 1", inside.astype(np.uint8))
    usable("mask_1_bit.png", "1 bit", inside)
    usable("mask_16_bit.png", "0 and 65535", inside.astype(np.uint16) * 65535)
    usable("mask_background.png", "nothing but background", np.zeros_like(make.ground_truth))
    usable("mask_rgb.png", "three equal channels", np.repeat(make.ground_truth[..., None], 3, 2))
    soft = Image.fromarray(make.ground_truth).resize(
        (WIDTH * 3, HEIGHT * 3), Image.Resampling.BICUBIC
    )
    soft = soft.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
    usable("mask_soft.png", "grey edges", np.asarray(soft))

    radiograph.save(make.add("mask_jpeg.png", "a lossy mask", True, True, mask=None))
    Image.fromarray(make.ground_truth).save(make.masks / "mask_jpeg.jpg", quality=60)
    radiograph.save(make.add("mask_palette.png", "a palette", True, True, mask=None))
    palette = Image.fromarray(inside.astype(np.uint8), mode="P")
    palette.putpalette([0, 0, 0, 200, 30, 30])
    palette.save(make.masks / "mask_palette.png")

    refused("mask_wrong_size.png", "another size", make.ground_truth[:-1])
    refused("mask_lying.png", "turned, without an orientation", np.rot90(make.ground_truth))
    refused("mask_unknown_id.png", "ids 0 and 7", inside.astype(np.uint8) * 7)
    labels = inside.astype(np.uint8)
    labels[:3] = 255
    refused("mask_ignore_label.png", "0, 1 and 255", labels)
    coloured = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    coloured[inside] = (200, 30, 30)
    refused("mask_coloured.png", "a coloured mask", coloured)
    alpha = np.zeros((HEIGHT, WIDTH, 4), np.uint8)
    alpha[..., 3] = make.ground_truth
    refused("mask_in_alpha.png", "labels in the alpha channel", alpha)
    refused("mask_is_the_radiograph.png", "the radiograph once more", make.radiograph)
    refused("mask_missing.png", "no mask", None)
    refused("mask_empty_file.png", "a mask of no bytes", None)
    (make.masks / "mask_empty_file.png").write_bytes(b"")
    make.add("without_image.png", "a mask without an image", None, False)


def _chunk(kind: bytes, content: bytes) -> bytes:
    body = kind + content
    return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))


def _png(width: int, height: int, compressed: bytes) -> bytes:
    """An 8-bit grey PNG."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = _chunk(b"IHDR", header) + _chunk(b"IDAT", compressed) + _chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def _bomb(side: int) -> bytes:
    """A valid black PNG, without ever holding its pixels: one flushed block, repeated."""
    size, block = side * (side + 1), 1_000_000
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    repeated = deflate.compress(bytes(block)) + deflate.flush(zlib.Z_FULL_FLUSH)
    last = deflate.compress(bytes(size % block)) + deflate.flush()
    adler = (size % 65521) << 16 | 1  # Adler-32 of `size` zeros
    stream = b"\x78\xda" + repeated * (size // block) + last + struct.pack(">I", adler)
    return _png(side, side, stream)
