"""Decode image files that are not DICOM: kind by content, limited size, upright, one page."""

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import cv2
import numpy as np
from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from dentalzoo.data.io.containers import (
    MAX_PAGES,
    check_jpeg,
    check_strips,
    check_tiff,
    different_pages,
    png_header,
    too_many_pages,
    zero_tail,
)
from dentalzoo.data.io.signatures import HEAD_BYTES, is_dicom_head, other_kind
from dentalzoo.errors import BadFile, DentalzooError, TooManyPixels

_PLUGINS: dict[bytes, Callable[..., ImageFile.ImageFile]] = {  # first bytes -> PIL's reader
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
_TIFF_FORMAT, _SIGNED = 339, 2  # SampleFormat of TIFF 6.0
_PLANES = ("R", "G", "B", "A")  # how Pillow calls single ones
_TIFF_BITS, _TIFF_LARGEST = 258, (341, 281)  # SMaxSampleValue, MaxSampleValue of TIFF 6.0
_EXIF_CHUNKS = {b"eXIf", b"iTXt", b"tEXt", b"zTXt"}  # where a PNG may have an orientation
_EXIF_TO_UPRIGHT: dict[int, Callable[[np.ndarray], np.ndarray]] = {  # EXIF 2.3, 4.6.4, tag 274
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
    """Upright samples as the file stores them, with what is needed to interpret them.

    Attributes:
        samples: (H, W) or (H, W, bands), of the dtype that the file stores.
        mode: PIL's mode.
        palette: (256, 3) uint8 where the mode is "P", else None.
        grey_bits: bits of a grey pixel in the file, before PIL spread them over 8.
        white_is_zero: whether this is a grey TIFF whose samples PIL left inverted.
        orientation: the EXIF or TIFF orientation 1..8 that was undone.
        stated_bits: the depth of 16-bit samples that the file states, see `_stated_bits`.
        zeros: how many end the file as an interrupted copy does, see `containers.zero_tail`.
    """

    samples: np.ndarray
    mode: str
    palette: np.ndarray | None
    grey_bits: int
    white_is_zero: bool
    orientation: int
    stated_bits: int | None = None
    zeros: int = 0


def decode(path: Path, max_pixels: int) -> Stored | None:
    """Decode an image file that is not DICOM; the file is opened once.

    Args:
        path: the file.
        max_pixels: a larger image is refused before it is decoded.

    Returns:
        The decoded image; None for DICOM, see `is_dicom`.

    Raises:
        BadFile: the file is missing, damaged, too large, of an unknown kind, or has several pages.
    """
    with _opened(path) as (image, stream):
        if image is None:
            return None
        _check_size(path, image.size, max_pixels)
        raw_mode = _raw_mode(image)
        if image.format in ("JPEG", "MPO"):
            check_jpeg(path, stream, image.size)
        stated = _stated_bits(path, image, stream)
        if image.format != "MPO":  # a phone's JPEG with a preview behind it
            _refuse_different_pages(path, image, max_pixels)
        # TIFF: PIL turns it while loading and forgets the tag; the others are turned here.
        white_is_zero = _tags(image).get(_TIFF_PHOTOMETRIC) == 0
        is_tiff = image.format == "TIFF"
        if is_tiff:
            check_strips(path, _tags(image))
        # of planes of 16 bits, Pillow takes the bytes for pixels
        is_deep = _raw_mode(image) in _PLANES and 16 in np.atleast_1d(
            _tags(image).get(_TIFF_BITS, 1)
        )
        is_signed = _SIGNED in np.atleast_1d(_tags(image).get(_TIFF_FORMAT, 1))
        tiff_orientation = _orientation(image) if is_tiff else 1
        image.load()
        turn = tiff_orientation if is_tiff else _orientation(image)
        mode, samples, palette = image.mode, np.asarray(image), None
        if is_signed and samples.dtype == np.uint8 and samples.max() > 127:  # Pillow wraps them
            raise BadFile(
                path,
                "pixels must not be negative; save the image with 8 or 16 unsigned bits. "
                "Received: signed pixels of 8 bits",
            )
        if mode == "P":
            palette = np.zeros((256, 3), np.uint8)
            colours = np.asarray(image.getpalette("RGB"), np.uint8).reshape(-1, 3)
            palette[: len(colours)] = colours
        elif mode in ("CMYK", "YCbCr", "LAB", "PA"):
            mode, samples = "RGB", np.asarray(image.convert("RGB"))
        elif (is_deep or "16" in raw_mode) and mode in ("LA", "RGB", "RGBA"):
            samples = _decode_16_bit_colour(path, stream, samples)
        zeros = zero_tail(stream) if image.format in ("TIFF", "BMP") else 0
    bits = re.fullmatch(r"L;([24])I?R?", raw_mode)
    return Stored(
        samples if is_tiff else upright(samples, turn),
        mode,
        palette,
        int(bits[1]) if bits else 8,
        white_is_zero and mode[0] in "IF",
        turn,
        stated,
        zeros,
    )


@contextmanager
def _opened(path: Path) -> Iterator[tuple[ImageFile.ImageFile | None, BinaryIO]]:
    """Yield the image with its header read, None for DICOM, and the open file.

    Every error of a decoder becomes a `BadFile`.
    """
    try:
        if not path.is_file():
            raise BadFile(path, f"must be an image file. Received: {_what_else(path)}")
        # PIL gets a stream, not the name: by name it maps a turned TIFF with its sides swapped.
        with path.open("rb") as stream:
            head = stream.read(HEAD_BYTES)
            stream.seek(0)
            if _is_dicom(path, head):
                yield None, stream
                return
            plugin = next((p for magic, p in _PLUGINS.items() if head.startswith(magic)), None)
            if plugin is None:
                raise BadFile(
                    path,
                    "must be PNG, JPEG, TIFF, BMP, GIF, WebP or DICOM. "
                    f"Received: {other_kind(head)}",
                )
            if plugin is TiffImagePlugin.TiffImageFile:
                check_tiff(path, stream)
            elif plugin is PngImagePlugin.PngImageFile:
                png_header(path, stream)
            with plugin(stream) as image:
                yield image, stream
    except DentalzooError:
        raise
    except Image.DecompressionBombError as error:  # some kinds tell Pillow their size only then
        raise TooManyPixels(
            path, f"the image must have fewer pixels; make it smaller. Received: {error}"
        ) from error
    except Exception as error:  # decoders raise errors of any type on damaged data
        what = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        wrong = "damaged or of an unknown kind; save it again as PNG"
        if "unknown pixel mode" in what:  # Pillow on a TIFF of 10 or 14 bits, of 5 colours, ...
            wrong = "its bits or colours cannot be read; save it with 8 or 16 bits, grey or RGB"
        raise BadFile(path, f"{wrong}. Received: {what}") from error


def _what_else(path: Path) -> str:
    if path.is_dir():
        return "a folder"
    if path.exists():
        return "not a regular file"
    return "a broken link" if path.is_symlink() else "no such file"


def _check_size(path: Path, size: tuple[int, int], max_pixels: int) -> None:
    width, height = size
    if width < 1 or height < 1:
        raise BadFile(path, f"the image must have pixels. Received: {width} x {height}")
    if width * height > max_pixels:
        raise TooManyPixels(
            path,
            f"the image must have at most {max_pixels:,} pixels; make it smaller or raise "
            f"max_pixels (DENTALZOO_MAX_PIXELS). Received: {width} x {height} (width x height)",
        )


def _refuse_different_pages(path: Path, image: ImageFile.ImageFile, max_pixels: int) -> None:
    """Raise BadFile for pages that differ, else leave `image` at its first page.

    Thumbnails of a TIFF do not count as pages. Pages are found one by one: to count the frames of
    a GIF, Pillow would decode all of them. All pages together are limited like one image, before
    any is decoded, since the pages of a hostile file share their bytes.
    """
    pages, pixels = [0], image.size[0] * image.size[1]
    size = image.size
    for index in range(1, MAX_PAGES + 1 if getattr(image, "is_animated", False) else 1):
        try:
            image.seek(index)
        except EOFError:
            break
        if index == MAX_PAGES:
            raise too_many_pages(path)
        if _tags(image).get(_TIFF_KIND, 0) & 1:
            continue
        _check_size(path, image.size, max_pixels)
        if image.size != size:
            raise different_pages(path)
        pages.append(index)
        pixels += size[0] * size[1]
        if pixels > max_pixels and index > 1:
            raise TooManyPixels(
                path,
                f"the pages must have at most {max_pixels:,} pixels together; save the page you "
                f"need as a separate file. Received: {index + 1} pages of {size[0]} x {size[1]}",
            )
    first: bytes | None = None
    for index in pages if len(pages) > 1 else ():
        image.seek(index)
        page = _page(image)
        first = first or page
        if page != first:
            raise different_pages(path)
    image.seek(0)


def _page(image: Image.Image) -> bytes:
    plain = image if image.mode[0] in "IF" else image.convert("RGBA")
    return hashlib.sha256(plain.tobytes()).digest()


def _stated_bits(path: Path, image: ImageFile.ImageFile, stream: BinaryIO) -> int | None:
    """Return the bits of 16 that the file says are used, 8 to 15; None where it does not say so.

    PNG: sBIT. TIFF: BitsPerSample, and SMaxSampleValue or MaxSampleValue where it is the maximum of
    a depth; else it is that of the image, hot pixels included.
    """
    bits: int | None = None
    if image.format == "PNG" and "16" in _raw_mode(image):
        bits = png_header(path, stream).significant_bits
    elif image.format == "TIFF":
        tags = _tags(image)
        largest = [tags.get(tag) for tag in (*_TIFF_LARGEST, _TIFF_BITS)]
        for index, value in enumerate(largest):
            value = max(value) if isinstance(value, tuple) and value else value
            if isinstance(value, int | float) and 0 < value < 65535 and value == int(value):
                whole = int(value) + 1 if index < len(_TIFF_LARGEST) else 1 << min(int(value), 16)
                if whole & (whole - 1) == 0:
                    bits = bits or whole.bit_length() - 1
    return bits if bits is not None and 8 <= bits <= 15 else None


def _tags(image: Image.Image) -> Mapping[int, Any]:
    return getattr(image, "tag_v2", {})


def _raw_mode(image: ImageFile.ImageFile) -> str:
    """Return how PIL unpacks the samples, such as "L;4" or "RGB;16B"; "" where it is unknown."""
    arguments = image.tile[0].args if image.tile else ""
    first = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
    return first if isinstance(first, str) else ""


def _orientation(image: Image.Image) -> int:
    try:
        return int(_tags(image).get(_ORIENTATION) or image.getexif().get(_ORIENTATION, 1))
    except Exception:  # an image with a broken EXIF block is still usable
        return 1


def _decode_16_bit_colour(path: Path, stream: BinaryIO, high_bytes: np.ndarray) -> np.ndarray:
    """Decode all 16 bits, where PIL keeps the upper 8, with OpenCV; PIL's 8 must agree."""
    stream.seek(0)
    content = np.frombuffer(stream.read(), np.uint8)
    deep: Any = cv2.imdecode(content, cv2.IMREAD_UNCHANGED)  # None for what it cannot read
    if deep is not None and deep.ndim == 3 and deep.shape[2] >= 3:
        deep = deep[..., [2, 1, 0]]
        bands = high_bytes[..., :1] if high_bytes.shape[2] == 2 else high_bytes[..., :3]
        if deep.shape[:2] == bands.shape[:2] and np.array_equal(
            deep[..., : bands.shape[2]] >> 8, bands
        ):
            return deep[..., : bands.shape[2]]
    raise BadFile(
        path, "this kind of 16-bit colour cannot be read; save it with 8 bits. Received: 16 bits"
    )


def upright_size(path: Path, max_pixels: int) -> tuple[tuple[int, int], int] | None:
    """Return the size of the upright image and its orientation from a file's header.

    The file is opened once.

    Returns:
        ((height, width), EXIF or TIFF orientation 1..8); None for DICOM, see `is_dicom`.

    Raises:
        BadFile: the file is not an image, or too large; nothing behind the header is read.
    """
    with _opened(path) as (image, stream):
        if image is None:
            return None
        _check_size(path, image.size, max_pixels)
        plain = image.format == "PNG" and not _EXIF_CHUNKS & png_header(path, stream).kinds
        turn = 1 if plain else _orientation(image)  # PIL reads a whole PNG for its orientation
        # PIL gives the size of a TIFF upright already.
        width, height = image.size[:: -1 if turn >= 5 and image.format != "TIFF" else 1]
    return (height, width), turn


def plain_jpeg(path: Path) -> bytes | None:
    """Return the content of a JPEG that any decoder reads as `read_image` does.

    That is one upright image, grey or RGB, of 8 bits. None for every other file.

    Raises:
        BadFile: the file is not an image, or ends before its end.
    """
    with _opened(path) as (image, stream):
        if image is None or image.format != "JPEG" or image.mode not in ("L", "RGB"):
            return None
        if _orientation(image) != 1:
            return None
        check_jpeg(path, stream, image.size)
        stream.seek(0)
        return stream.read()


def upright(array: np.ndarray, orientation: int) -> np.ndarray:
    """Turn stored pixels (H, W, ...) upright according to their EXIF orientation 1..8."""
    return _EXIF_TO_UPRIGHT.get(orientation, lambda a: a)(array)


def is_dicom(path: Path) -> bool:
    """Return whether a file is DICOM: by its content, or by its suffix.

    The suffix counts only where the content is no other image; the error then names DICOM.
    """
    try:
        with path.open("rb") if path.is_file() else nullcontext() as stream:
            head = stream.read(HEAD_BYTES) if stream else b""
    except OSError:  # reported when the image is opened
        return False
    return _is_dicom(path, head)


def is_image_head(head: bytes) -> bool:
    """Return whether a file that begins with `head`, 132 bytes or more, is an image.

    Stricter than `decode`, where BMP and WebP are known by their first letters.
    """
    if head.startswith(b"BM"):
        return (
            len(head) >= 26
            and head[6:10] == bytes(4)
            and head[14] in (12, 40, 52, 56, 64, 108, 124)
        )
    if head.startswith(b"RIFF"):
        return head[8:12] == b"WEBP"
    return is_dicom_head(head) or head.startswith(tuple(_PLUGINS))


def _is_dicom(path: Path, head: bytes) -> bool:
    if is_dicom_head(head):
        return True
    named = path.suffix.lower() in (".dcm", ".dicom")
    return named and head != b"" and not head.startswith(tuple(_PLUGINS))
