"""Pictures and label masks from disk, under one rule for bit depth, colour and orientation.

The content decides, never the suffix: PNG, JPEG, TIFF, BMP, GIF, WebP and DICOM are told apart by
their first bytes. docs/data_formats.md has the rules as a table; in short, for pictures:

- more than 8 bits: the smallest of 8, 12 and 16 bits that holds the brightest pixel is the depth,
  and its top becomes 255, so nothing saturates; 1 bit becomes 0 and 255;
- floats lie in [0, 1] and become times 255, or lie in [0, 255];
- a palette becomes its colours, CMYK becomes RGB, alpha is dropped;
- EXIF and TIFF orientations are applied;
- pages and frames that differ are refused, and so are more than `MAX_PIXELS` pixels, from the
  header, before memory is taken.

Masks keep the numbers they store; a palette keeps its indices.
"""

import os
import re
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

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

from dentalzoo.errors import BadFile, DentalzooError

MAX_PIXELS = 100_000_000  # ours: a 10,000 x 10,000 picture, about 30 times a panoramic film

IMAGE_SUFFIXES = frozenset(
    (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".gif", ".webp", ".dcm", ".dicom")
)

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
_EXIF_TO_UPRIGHT = {  # EXIF 2.3, section 4.6.4, tag 274
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: a.swapaxes(0, 1)[:, ::-1],
    7: lambda a: a.swapaxes(0, 1)[::-1, ::-1],
    8: lambda a: a.swapaxes(0, 1)[::-1],
}


def read_image(
    path: str | Path, channels: int | None = None, max_pixels: int = MAX_PIXELS
) -> np.ndarray:
    """Reads a picture, upright.

    Args:
        channels: 1 (luma of ITU-R 601), 3 (grey repeated), or None for what the file holds.
        max_pixels: a larger picture is refused before it is decoded.

    Returns:
        (H, W, 1) or (H, W, 3) uint8.

    Raises:
        BadFile: the file is missing, damaged, too large, or no single picture.
    """
    if channels not in (None, 1, 3):
        raise DentalzooError(f"channels is 1, 3 or None. Received: {channels!r}")
    path = Path(path)
    if _is_dicom(path):
        from dentalzoo.data.dicom import read_dicom

        image = read_dicom(path, max_pixels)
    else:
        image = _colours(path, _decode(path, max_pixels))
    if channels == 1 and image.shape[2] == 3:
        image = np.asarray(Image.fromarray(image).convert("L"))[..., None]
    elif channels == 3 and image.shape[2] == 1:
        image = np.repeat(image, 3, axis=2)
    return np.ascontiguousarray(image)


def read_mask(path: str | Path, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Reads a label mask, upright, with the numbers it stores; a palette keeps its indices.

    A palette of greys alone that does not brighten from black with its index, or that stays
    below grey 64, is the work of a PNG optimiser: its greys are the numbers.

    Returns:
        (H, W) of an integer dtype.

    Raises:
        BadFile: as `read_image`; and for coloured masks, and masks kept in the alpha channel.
    """
    path = Path(path)
    if _is_dicom(path):
        raise BadFile(path, "a mask is a PNG, TIFF, BMP or JPEG. Received: a DICOM file")
    labels = _labels(path, _decode(path, max_pixels))
    return np.ascontiguousarray(labels, dtype=labels.dtype.newbyteorder("="))


def orientation(path: str | Path) -> int:
    """The EXIF or TIFF orientation, 1..8, that `read_image` undoes; 1 where there is none."""
    path = Path(path)
    if _is_dicom(path):
        return 1
    with _opened(path) as picture:
        return _orientation(picture)


def upright(array: np.ndarray, orientation: int) -> np.ndarray:
    """Turns (H, W, ...) stored pixels upright, as their EXIF orientation 1..8 says."""
    return _EXIF_TO_UPRIGHT.get(orientation, lambda a: a)(array)


def list_images(paths: str | Path | Iterable[str | Path]) -> list[Path]:
    """Lists pictures: files as given, folders one level deep in natural order (x2 before x10).

    In a folder a picture is what has a suffix of `IMAGE_SUFFIXES` and is not hidden, whatever it
    turns out to be when read, and DICOM files without a suffix.

    Raises:
        DentalzooError: a folder holds no picture.
    """
    found = []
    for path in [Path(paths)] if isinstance(paths, str | Path) else [Path(p) for p in paths]:
        if not path.is_dir():
            found.append(path)
            continue
        entries = [entry for entry in path.iterdir() if not entry.name.startswith(".")]
        pictures = [e for e in entries if e.suffix.lower() in IMAGE_SUFFIXES or _bare_dicom(e)]
        if not pictures:
            suffixes = sorted({entry.suffix or "no suffix" for entry in entries})[:8]
            raise DentalzooError(
                f"{path}: no picture in this folder; expected files ending in "
                f"{', '.join(sorted(IMAGE_SUFFIXES))}. "
                f"Received: {len(entries)} entries ({', '.join(suffixes) or 'none'})"
            )
        found += sorted(pictures, key=natural_key)
    return found


def natural_key(path: str | Path) -> list:
    """A sort key that orders x2 before x10 and is total: equal keys mean equal paths."""
    parts = re.split(r"(\d+)", str(path))
    return [int(p) if i % 2 else p.casefold() for i, p in enumerate(parts)] + [str(path)]


def write_png(
    path: str | Path, array: np.ndarray, palette: Sequence[Sequence[int]] | None = None
) -> None:
    """Writes a PNG so that `path` holds either the old file or the whole new one.

    Args:
        array: (H, W), (H, W, 1) or (H, W, 3) uint8.
        palette: up to 256 (r, g, b), the colour of each value of a one-channel `array`.

    Raises:
        BadFile: the folder cannot be written, or the disk is full.
    """
    path, array = Path(path), np.asarray(array)
    flat = array[..., 0] if array.ndim == 3 and array.shape[2] == 1 else array
    if array.dtype != np.uint8 or flat.shape[2:] not in ((), (3,)) or (palette and flat.ndim == 3):
        raise DentalzooError(
            "a PNG is written from uint8 (H, W), (H, W, 1) or, without a palette, (H, W, 3). "
            f"Received: {array.dtype} {array.shape}"
        )
    image = Image.fromarray(flat)
    if palette:
        image.putpalette(bytes(np.asarray(palette, np.uint8).ravel()))
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(temporary, format="PNG")
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise BadFile(path, f"cannot be written. Received: {error.strerror or error}") from error


@dataclass(frozen=True)
class _Stored:
    """Upright samples as the file stores them, with what is needed to read them."""

    samples: np.ndarray  # (H, W) or (H, W, bands)
    mode: str  # of PIL
    palette: np.ndarray | None  # (256, 3) uint8
    grey_bits: int  # of a grey picture, before PIL spread them over 8
    white_is_zero: bool  # a grey TIFF whose samples PIL left inverted


def _decode(path: Path, max_pixels: int) -> _Stored:
    with _opened(path) as picture:
        _check_size(path, picture.size, max_pixels)
        raw_mode = _raw_mode(picture)
        pages = getattr(picture, "n_frames", 1)
        if pages > 1 and picture.format != "MPO":  # a phone's JPEG with a preview behind it
            _refuse_different_pages(path, picture, pages, max_pixels)
        # TIFF: PIL turns it while loading and forgets the tag; the others are turned here.
        white_is_zero = _tags(picture).get(_TIFF_PHOTOMETRIC) == 0
        picture.load()
        turn = 1 if picture.format == "TIFF" else _orientation(picture)
        mode, samples, palette = picture.mode, np.asarray(picture), None
        if mode == "P":
            palette = np.zeros((256, 3), np.uint8)
            colours = np.asarray(picture.getpalette("RGB"), np.uint8).reshape(-1, 3)
            palette[: len(colours)] = colours
        elif mode in ("CMYK", "YCbCr", "LAB", "PA"):
            mode, samples = "RGB", np.asarray(picture.convert("RGB"))
        elif "16" in raw_mode and mode in ("LA", "RGB", "RGBA"):
            samples = _decode_16_bit_colour(path, samples)
    bits = re.fullmatch(r"L;([24])I?R?", raw_mode)
    return _Stored(
        upright(samples, turn),
        mode,
        palette,
        int(bits[1]) if bits else 8,
        white_is_zero and mode.startswith("I;16"),
    )


@contextmanager
def _opened(path: Path) -> Iterator[ImageFile.ImageFile]:
    """The picture with its header read; whatever goes wrong with it becomes a `BadFile`."""
    if not path.exists():
        what = "a broken link" if path.is_symlink() else "no such file"
        raise BadFile(path, f"expected a picture. Received: {what}")
    if not path.is_file():
        what = "a folder" if path.is_dir() else "no regular file"
        raise BadFile(path, f"expected a picture. Received: {what}")
    try:
        # PIL gets a stream, not the name: by name it maps a turned TIFF with its sides swapped.
        with path.open("rb") as stream, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            head = stream.read(16)
            stream.seek(0)
            plugin = next((p for magic, p in _PLUGINS.items() if head.startswith(magic)), None)
            if plugin is None:
                what = f"a file that begins with {head[:8]!r}" if head else "an empty file"
                raise BadFile(
                    path, f"expected PNG, JPEG, TIFF, BMP, GIF, WebP or DICOM. Received: {what}"
                )
            with plugin(stream) as picture:
                yield picture
    except DentalzooError:
        raise
    except Exception as error:  # decoders raise whatever they like on damaged data
        what = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise BadFile(
            path, f"damaged or of an unknown kind; save it anew as PNG. Received: {what}"
        ) from error


def _check_size(path: Path, size: tuple[int, int], max_pixels: int) -> None:
    width, height = size
    if width < 1 or height < 1:
        raise BadFile(path, f"the picture has no pixels. Received: {width} x {height}")
    if width * height > max_pixels:
        raise BadFile(
            path,
            f"the picture is over the limit of {max_pixels:,} pixels; make it smaller or raise "
            f"max_pixels. Received: {width} x {height} (width x height)",
        )


def _refuse_different_pages(path: Path, picture, pages: int, max_pixels: int) -> None:
    """Leaves `picture` at its first page. Thumbnails of a TIFF do not count as pages."""
    first = _page(picture)
    for index in range(1, pages):
        picture.seek(index)
        if _tags(picture).get(_TIFF_KIND, 0) & 1:
            continue
        _check_size(path, picture.size, max_pixels)
        if _page(picture) != first:
            raise BadFile(
                path,
                "expected one picture; save the page or frame you mean as its own file. "
                f"Received: {pages} pages or frames that differ",
            )
    picture.seek(0)


def _page(picture) -> tuple:
    plain = picture if picture.mode[0] in "IF" else picture.convert("RGBA")
    return picture.size, plain.tobytes()


def _tags(picture) -> dict:
    return getattr(picture, "tag_v2", {})


def _raw_mode(picture) -> str:
    """How PIL will unpack the samples, such as "L;4" or "RGB;16B"; empty where it does not say."""
    arguments = picture.tile[0].args if picture.tile else ""
    first = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
    return first if isinstance(first, str) else ""


def _orientation(picture) -> int:
    try:
        return int(_tags(picture).get(_ORIENTATION) or picture.getexif().get(_ORIENTATION, 1))
    except Exception:  # a broken EXIF block does not spoil the picture
        return 1


def _decode_16_bit_colour(path: Path, high_bytes: np.ndarray) -> np.ndarray:
    """All 16 bits, where PIL keeps the upper 8: OpenCV's reading, checked against PIL's."""
    deep = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
    if deep is not None and deep.ndim == 3 and deep.shape[2] >= 3:
        deep = deep[..., [2, 1, 0]]
        bands = high_bytes[..., :1] if high_bytes.shape[2] == 2 else high_bytes[..., :3]
        if deep.shape[:2] == bands.shape[:2] and np.array_equal(
            deep[..., : bands.shape[2]] >> 8, bands
        ):
            return deep[..., : bands.shape[2]]
    raise BadFile(path, "16-bit colour that cannot be read; save it with 8 bits. Received: 16 bits")


def _colours(path: Path, stored: _Stored) -> np.ndarray:
    samples, mode = stored.samples, stored.mode
    if mode == "P":
        used = stored.palette[np.unique(samples)]
        image = stored.palette[samples]
        return image[..., :1] if (used == used[:, :1]).all() else image
    if mode == "1":
        samples = samples.astype(np.uint8) * 255
    if mode in ("LA", "La"):
        samples = samples[..., :1]
    if samples.dtype != np.uint8:
        samples = _scale_to_uint8(path, samples, stored.white_is_zero)
    return samples[..., None] if samples.ndim == 2 else samples[..., :3]


def _scale_to_uint8(path: Path, samples: np.ndarray, white_is_zero: bool) -> np.ndarray:
    if not np.isfinite(samples).all():
        raise BadFile(path, "every pixel must be a number. Received: NaN or infinite pixels")
    low, high = samples.min(), samples.max()
    if samples.dtype.kind == "f":
        if low < 0 or high > 255:
            raise BadFile(
                path,
                "floating-point pixels lie in [0, 1] or [0, 255]; rescale them. "
                f"Received: values from {low:g} to {high:g}",
            )
        return np.rint(samples * (255 if high <= 1 else 1)).astype(np.uint8)
    if low < 0 or high > 65535:
        raise BadFile(
            path,
            "integer pixels lie in 0..65535; save the picture with 8 or 16 bits without sign. "
            f"Received: values from {low} to {high}",
        )
    top = next((1 << bits) - 1 for bits in (8, 12, 16) if high < 1 << bits)
    scaled = ((samples.astype(np.uint32) * 255 + top // 2) // top).astype(np.uint8)
    return 255 - scaled if white_is_zero else scaled


def _labels(path: Path, stored: _Stored) -> np.ndarray:
    samples, mode = stored.samples, stored.mode
    if mode == "P":
        used = np.unique(samples)
        colours = stored.palette[used]
        greys = colours[:, 0].astype(int)
        if (colours != colours[:, :1]).any():
            return samples
        brightens = (np.diff(greys) > 0).all() and (used[0] == 0) == (greys[0] == 0)
        if brightens and greys[-1] >= 64:
            return samples
        return stored.palette[samples][..., 0]
    if mode == "1":
        return samples.astype(np.uint8)
    if mode in ("LA", "RGBA"):
        alpha, colour = samples[..., -1], samples[..., :-1]
        if (alpha != alpha.flat[0]).any() and (colour == colour[:1, :1]).all():
            raise BadFile(
                path,
                "the labels are in the alpha channel; save that channel as a grey PNG. "
                "Received: one flat colour with varying alpha",
            )
        samples = colour
    if samples.ndim == 3:
        if (samples != samples[..., :1]).any():
            raise BadFile(
                path,
                "a mask holds one number per pixel; map each colour to its class id and save a "
                "grey or palette PNG. Received: a coloured mask",
            )
        samples = samples[..., 0]
    if samples.dtype.kind == "f":
        return _labels_from_floats(path, samples)
    if samples.dtype.kind == "i" and samples.min() < 0:
        raise BadFile(path, f"class ids start at 0. Received: the value {samples.min()}")
    if stored.grey_bits < 8:
        top = (1 << stored.grey_bits) - 1
        if np.isin(samples, (0, 255)).all():
            return samples
        return samples // (255 // top)
    return samples


def _labels_from_floats(path: Path, samples: np.ndarray) -> np.ndarray:
    if not np.isfinite(samples).all():
        raise BadFile(path, "every label must be a number. Received: NaN or infinite values")
    low, high = samples.min(), samples.max()
    if low >= 0 and high <= 65535 and (samples == np.rint(samples)).all():
        return samples.astype(np.uint16)
    if low >= 0 and high <= 1:
        return np.rint(samples * 255).astype(np.uint8)
    raise BadFile(
        path,
        "a floating-point mask holds whole numbers, or values in [0, 1]. "
        f"Received: values from {low:g} to {high:g}",
    )


def _is_dicom(path: Path) -> bool:
    """By content; and by suffix where the content is no other picture, for a named refusal."""
    if not path.is_file():
        return False
    with path.open("rb") as stream:
        head = stream.read(132)
    if head[128:] == b"DICM":
        return True
    return path.suffix.lower() in (".dcm", ".dicom") and not head.startswith(tuple(_PLUGINS))


def _bare_dicom(path: Path) -> bool:
    return not path.suffix and _is_dicom(path)
