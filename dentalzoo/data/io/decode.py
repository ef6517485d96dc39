"""Opening image files of any kind: by content, within a size, upright, one page, all bits."""

import re
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from dentalzoo.errors import BadFile, DentalzooError

_PLUGINS = {
    b"\x89PNG\r\n\x1a\n": PngImagePlugin.PngImageFile,
    b"\xff\xd8\xff": JpegImagePlugin.jpeg_factory,
    b"II*\0": TiffImagePlugin.TiffImageFile,
    b"MM\0*": TiffImagePlugin.TiffImageFile,
    b"II+\0": TiffImagePlugin.TiffImageFile,
    b"MM\0+": TiffImagePlugin.TiffImageFile,
    b"BM": BmpImagePlugin.BmpImageFile,
    b"GIF8": GifImagePlugin.GifImageFile,
    b"RIFF": WebPImagePlugin.WebPImageFile,
}
_TIFF_KIND, _TIFF_PHOTOMETRIC, _ORIENTATION = 254, 262, 274  # tags of TIFF 6.0 and EXIF 2.3
_TOLD = {b"eXIf", b"iTXt", b"tEXt", b"zTXt"}  # where a PNG may have an orientation
_EXIF_TO_UPRIGHT = {  # EXIF 2.3, section 4.6.4, tag 274
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: a.swapaxes(0, 1)[:, ::-1],
    7: lambda a: a.swapaxes(0, 1)[::-1, ::-1],
    8: lambda a: a.swapaxes(0, 1)[::-1],
}


@dataclass(frozen=True)
class Stored:
    """Upright samples as the file stores them, with what is needed to read them."""

    samples: np.ndarray  # (H, W) or (H, W, bands)
    mode: str  # of PIL
    palette: np.ndarray | None  # (256, 3) uint8
    grey_bits: int  # of a grey image, before PIL spread them over 8
    white_is_zero: bool  # a grey TIFF whose samples PIL left inverted


def decode(path: Path, max_pixels: int) -> Stored:
    """Decodes an image file that is no DICOM; raises BadFile where that cannot be done."""
    with _opened(path) as image:
        _check_size(path, image.size, max_pixels)
        raw_mode = _raw_mode(image)
        pages = getattr(image, "n_frames", 1)
        if pages > 1 and image.format != "MPO":  # a phone's JPEG with a preview behind it
            _refuse_different_pages(path, image, pages, max_pixels)
        # TIFF: PIL turns it while loading and forgets the tag; the others are turned here.
        white_is_zero = _tags(image).get(_TIFF_PHOTOMETRIC) == 0
        image.load()
        turn = 1 if image.format == "TIFF" else _orientation(image)
        mode, samples, palette = image.mode, np.asarray(image), None
        if mode == "P":
            palette = np.zeros((256, 3), np.uint8)
            colours = np.asarray(image.getpalette("RGB"), np.uint8).reshape(-1, 3)
            palette[: len(colours)] = colours
        elif mode in ("CMYK", "YCbCr", "LAB", "PA"):
            mode, samples = "RGB", np.asarray(image.convert("RGB"))
        elif "16" in raw_mode and mode in ("LA", "RGB", "RGBA"):
            samples = _decode_16_bit_colour(path, samples)
    bits = re.fullmatch(r"L;([24])I?R?", raw_mode)
    return Stored(
        upright(samples, turn),
        mode,
        palette,
        int(bits[1]) if bits else 8,
        white_is_zero and mode.startswith("I;16"),
    )


@contextmanager
def _opened(path: Path) -> Iterator[ImageFile.ImageFile]:
    """The image with its header read; whatever goes wrong with it becomes a `BadFile`."""
    try:
        if not path.is_file():
            raise BadFile(path, f"expected an image. Received: {_what_else(path)}")
        # PIL gets a stream, not the name: by name it maps a turned TIFF with its sides swapped.
        with path.open("rb") as stream:
            head = stream.read(16)
            stream.seek(0)
            plugin = next((p for magic, p in _PLUGINS.items() if head.startswith(magic)), None)
            if plugin is None:
                what = f"a file that begins with {head[:8]!r}" if head else "an empty file"
                raise BadFile(
                    path, f"expected PNG, JPEG, TIFF, BMP, GIF, WebP or DICOM. Received: {what}"
                )
            with plugin(stream) as image:
                yield image
    except DentalzooError:
        raise
    except Exception as error:  # decoders raise whatever they like on damaged data
        what = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise BadFile(
            path, f"damaged or of an unknown kind; save it anew as PNG. Received: {what}"
        ) from error


def _what_else(path: Path) -> str:
    if path.is_dir():
        return "a folder"
    if path.exists():
        return "no regular file"
    return "a broken link" if path.is_symlink() else "no such file"


def _check_size(path: Path, size: tuple[int, int], max_pixels: int) -> None:
    width, height = size
    if width < 1 or height < 1:
        raise BadFile(path, f"the image has no pixels. Received: {width} x {height}")
    if width * height > max_pixels:
        raise BadFile(
            path,
            f"the image is over the limit of {max_pixels:,} pixels; make it smaller or raise "
            f"max_pixels. Received: {width} x {height} (width x height)",
        )


def _refuse_different_pages(path: Path, image, pages: int, max_pixels: int) -> None:
    """Leaves `image` at its first page. Thumbnails of a TIFF do not count as pages."""
    first = _page(image)
    for index in range(1, pages):
        image.seek(index)
        if _tags(image).get(_TIFF_KIND, 0) & 1:
            continue
        _check_size(path, image.size, max_pixels)
        if _page(image) != first:
            raise BadFile(
                path,
                "expected one image; save the page or frame you mean as its own file. "
                f"Received: {pages} pages or frames that differ",
            )
    image.seek(0)


def _page(image) -> tuple:
    plain = image if image.mode[0] in "IF" else image.convert("RGBA")
    return image.size, plain.tobytes()


def _tags(image) -> dict:
    return getattr(image, "tag_v2", {})


def _raw_mode(image) -> str:
    """How PIL will unpack the samples, such as "L;4" or "RGB;16B"; empty where it does not say."""
    arguments = image.tile[0].args if image.tile else ""
    first = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
    return first if isinstance(first, str) else ""


def _orientation(image) -> int:
    try:
        return int(_tags(image).get(_ORIENTATION) or image.getexif().get(_ORIENTATION, 1))
    except Exception:  # a broken EXIF block does not spoil the image
        return 1


def _decode_16_bit_colour(path: Path, high_bytes: np.ndarray) -> np.ndarray:
    """All 16 bits, where PIL keeps the upper 8: OpenCV's reading, checked against PIL's."""
    with path.open("rb") as stream:
        content = np.frombuffer(stream.read(), np.uint8)
    deep = cv2.imdecode(content, cv2.IMREAD_UNCHANGED)
    if deep is not None and deep.ndim == 3 and deep.shape[2] >= 3:
        deep = deep[..., [2, 1, 0]]
        bands = high_bytes[..., :1] if high_bytes.shape[2] == 2 else high_bytes[..., :3]
        if deep.shape[:2] == bands.shape[:2] and np.array_equal(
            deep[..., : bands.shape[2]] >> 8, bands
        ):
            return deep[..., : bands.shape[2]]
    raise BadFile(path, "16-bit colour that cannot be read; save it with 8 bits. Received: 16 bits")


def upright_size(path: Path, max_pixels: int) -> tuple[tuple[int, int], int]:
    """((height, width) of the upright image, EXIF or TIFF orientation) from a file's header.

    Raises:
        BadFile: the file is no image, or too large; what lies behind the header is not read.
    """
    with _opened(path) as image:
        _check_size(path, image.size, max_pixels)
        plain = image.format == "PNG" and not _TOLD & _png_chunks(path)
        turn = 1 if plain else _orientation(image)  # PIL reads a whole PNG to tell
        # A TIFF's header is turned already.
        width, height = image.size[:: -1 if turn >= 5 and image.format != "TIFF" else 1]
    return (height, width), turn


def _png_chunks(path: Path) -> set[bytes]:
    """The kinds of chunks of a PNG, without reading what they hold."""
    found = set()
    with path.open("rb") as stream:
        stream.seek(8)
        while len(head := stream.read(8)) == 8:
            found.add(head[4:])
            stream.seek(int.from_bytes(head[:4]) + 4, 1)
    return found


def plain_jpeg(path: Path) -> bytes | None:
    """The content of a JPEG that shows without any rule what `read_image` makes of it: one upright
    image, grey or RGB, 8 bits; None for every other file.

    Raises:
        BadFile: the file is no image.
    """
    if is_dicom(path):
        return None
    with _opened(path) as image:
        if image.format != "JPEG" or image.mode not in ("L", "RGB"):
            return None
        if _orientation(image) != 1:
            return None
    with path.open("rb") as stream:
        return stream.read()


def orientation(path: str | Path) -> int:
    """The EXIF or TIFF orientation, 1..8, that `read_image` undoes; 1 where there is none."""
    path = Path(path)
    if is_dicom(path):
        return 1
    with _opened(path) as image:
        return _orientation(image)


def upright(array: np.ndarray, orientation: int) -> np.ndarray:
    """Turns (H, W, ...) stored pixels upright, as their EXIF orientation 1..8 says."""
    return _EXIF_TO_UPRIGHT.get(orientation, lambda a: a)(array)


def is_dicom(path: Path) -> bool:
    """By content; and by suffix where the content is no other image, for a named refusal."""
    try:
        with path.open("rb") if path.is_file() else nullcontext() as stream:
            head = stream.read(132) if stream else b""
    except OSError:  # told when the image is opened
        return False
    if head[128:] == b"DICM":
        return True
    named = path.suffix.lower() in (".dcm", ".dicom")
    return named and head != b"" and not head.startswith(tuple(_PLUGINS))
