"""Images and label masks from disk, under one rule for bit depth, colour and orientation.

The first bytes decide, never the suffix, whether a file is PNG, JPEG, TIFF, BMP, GIF, WebP or
DICOM. docs/data_formats.md has the rules as a table; in short, for images:

- more than 8 bits: the depth is the one that the file states, else the smallest of 8, 10, 12, 14
  and 16 bits that holds all but a few pixels (see `grey_levels`), and its maximum becomes 255;
  1 bit becomes 0 and 255;
- floats in [0, 1] are multiplied by 255, other floats must lie in [0, 255];
- a palette becomes its colours, CMYK becomes RGB, alpha is dropped;
- EXIF and TIFF orientations are applied;
- files whose pages or frames differ are refused, and so are images of more than
  `limits.max_pixels()` pixels, by the header, before memory is allocated.

Masks keep the values they store; a palette keeps its indices.
"""

import io
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from dentalzoo.atomic import write_atomically
from dentalzoo.data.io.containers import zero_tail
from dentalzoo.data.io.decode import Stored, decode
from dentalzoo.data.io.file_warnings import note_depth, warn_of_file
from dentalzoo.data.io.grey_levels import MAX_BEYOND, nothing_to_see, to_8_bits
from dentalzoo.errors import BadFile, DentalzooError
from dentalzoo.limits import max_pixels as allowed_pixels

_FEW_COLOURS = 12  # ours, of a mask: more are a photograph or soft edges

IMAGE_SUFFIXES = frozenset(
    (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".gif", ".webp", ".dcm", ".dicom")
)


def read_image(
    path: str | Path,
    channels: int | None = None,
    max_pixels: int | None = None,
    *,
    warn: bool = True,
) -> np.ndarray:
    """Read an image, upright.

    Args:
        path: the file.
        channels: 1 (luma of ITU-R 601), 3 (grey repeated), or None for what the file holds.
        max_pixels: a larger image is refused before it is decoded; None: DENTALZOO_MAX_PIXELS,
            else 100 million.
        warn: log a warning if nothing can be seen in it, see `grey_levels.nothing_to_see`, or if
            it ends as an interrupted copy does, see `containers.zero_tail`.

    Returns:
        (H, W, 1) or (H, W, 3) uint8.

    Raises:
        BadFile: the file is missing, damaged, too large, or not a single image.
        DentalzooError: channels is something else.
    """
    return read_oriented(path, channels, max_pixels, warn=warn)[0]


def read_oriented(
    path: str | Path,
    channels: int | None = None,
    max_pixels: int | None = None,
    *,
    warn: bool = True,
) -> tuple[np.ndarray, int]:
    """Read an image, upright, and its orientation in the file, which is opened once.

    Args:
        path: the file.
        channels: as for `read_image`.
        max_pixels: as for `read_image`.
        warn: as for `read_image`.

    Returns:
        (H, W, 1) or (H, W, 3) uint8, and the EXIF or TIFF orientation 1..8 that was undone; 1
        where there is none.

    Raises:
        BadFile: as `read_image`.
        DentalzooError: as `read_image`.
    """
    if channels not in (None, 1, 3):
        raise DentalzooError(f"channels must be 1, 3 or None. Received: {channels!r}")
    path = path if isinstance(path, Path) else Path(path)  # a subclass may point into another file
    max_pixels = allowed_pixels() if max_pixels is None else max_pixels
    stored = _decoded(path, max_pixels)
    if stored is None:
        from dentalzoo.data.io.dicom import read_dicom

        image, turn = read_dicom(path, max_pixels), 1
        with path.open("rb") as stream:
            zeros = zero_tail(stream)
    else:
        image, turn, zeros = _colours(path, stored), stored.orientation, stored.zeros
    if warn and (reason := nothing_to_see(image)):
        warn_of_file(path, reason)
    if warn and zeros:
        warn_of_file(
            path, f"its last {zeros:,} bytes are zeros, as an interrupted copy leaves them"
        )
    if channels == 1 and image.shape[2] == 3:
        image = np.asarray(Image.fromarray(image).convert("L"))[..., None]
    elif channels == 3 and image.shape[2] == 1:
        image = np.repeat(image, 3, axis=2)
    return np.ascontiguousarray(image), turn


def read_mask(path: str | Path, max_pixels: int | None = None) -> np.ndarray:
    """Read a label mask, upright, with the values it stores; a palette keeps its indices.

    A palette of only greys that does not brighten from black with its index, or that stays below
    grey 64, was written by a PNG optimiser: there the greys are the values.

    Args:
        path: the file.
        max_pixels: a larger mask is refused before it is decoded; None: as for `read_image`.

    Returns:
        (H, W) of an integer dtype.

    Raises:
        BadFile: as `read_image`; and for coloured masks, and labels in the alpha channel.
    """
    path = Path(path)
    stored = _decoded(path, allowed_pixels() if max_pixels is None else max_pixels)
    if stored is None:
        raise BadFile(path, "a mask must be a PNG, TIFF, BMP or JPEG. Received: a DICOM file")
    labels = _labels(path, stored)
    return np.ascontiguousarray(labels, dtype=labels.dtype.newbyteorder("="))


def _decoded(path: Path, max_pixels: int) -> Stored | None:
    """Return `decode` of a file; memory that does not suffice is the file's fault."""
    try:
        return decode(path, max_pixels)
    except MemoryError:
        raise BadFile(
            path, "the image must fit in memory; make it smaller. Received: MemoryError"
        ) from None


def natural_key(path: str | Path) -> tuple[list[int | str], str]:
    """Return a sort key that orders x2 before x10; equal keys mean equal paths."""
    parts = re.split(r"(\d+)", str(path))
    return [int(p) if i % 2 else p.casefold() for i, p in enumerate(parts)], str(path)


def write_png(
    path: str | Path, array: np.ndarray, palette: Sequence[Sequence[int]] | None = None
) -> None:
    """Write a PNG, atomically.

    Args:
        path: the file; its folder is created.
        array, palette: as for `encode_png`.

    Raises:
        DentalzooError: another dtype or shape, the folder is not writable, or the disk is full.
    """
    write_atomically(path, encode_png(array, palette), durable=False)


def encode_png(array: np.ndarray, palette: Sequence[Sequence[int]] | None = None) -> bytes:
    """Return an image as the bytes of a PNG file.

    Args:
        array: (H, W), (H, W, 1) or (H, W, 3) uint8; or (H, W) or (H, W, 1) uint16.
        palette: up to 256 (r, g, b), the colour of each value of a one-channel `array`.

    Raises:
        DentalzooError: another dtype or shape.
    """
    array = np.asarray(array)
    flat = array[..., 0] if array.ndim == 3 and array.shape[2] == 1 else array
    deep = array.dtype == np.uint16 and flat.ndim == 2 and not palette
    wrong = flat.shape[2:] not in ((), (3,)) or (palette and flat.ndim == 3)
    if not deep and (array.dtype != np.uint8 or wrong):
        raise DentalzooError(
            "a PNG must be uint8 (H, W), (H, W, 1) or, without a palette, (H, W, 3), or uint16 of "
            f"one channel. Received: {array.dtype} {array.shape}"
        )
    image = Image.fromarray(flat)
    if palette:
        image.putpalette(bytes(np.asarray(palette, np.uint8).ravel()))
    content = io.BytesIO()
    # Of colour pictures level 1 takes a quarter of the time of 6 and is an eighth larger.
    image.save(content, format="PNG", compress_level=1 if deep or flat.ndim == 3 else 6)
    return content.getvalue()


def encode_jpeg(array: np.ndarray) -> bytes:
    """Return an image, (H, W), (H, W, 1) or (H, W, 3) uint8, as the bytes of a JPEG to look at."""
    flat = array[..., 0] if array.ndim == 3 and array.shape[2] == 1 else array
    content = io.BytesIO()
    # Colours at full resolution keep thin lines and letters sharp.
    Image.fromarray(flat).save(content, format="JPEG", quality=90, subsampling=0)
    return content.getvalue()


def resize(image: np.ndarray, size: tuple[int, int], nearest: bool = False) -> np.ndarray:
    """Resize an image with Pillow's Lanczos filter.

    Args:
        image: (h, w, C) uint8.
        size: (H, W).
        nearest: take the nearest pixel instead, which class ids need.

    Returns:
        (H, W, C) uint8.
    """
    pil_image = Image.fromarray(image if image.shape[-1] > 1 else image[..., 0])
    method = Image.Resampling.NEAREST if nearest else Image.Resampling.LANCZOS
    return np.asarray(pil_image.resize(size[::-1], method)).reshape(*size, image.shape[-1])


def _colours(path: Path, stored: Stored) -> np.ndarray:
    """Convert stored samples to an image (H, W, 1 or 3) uint8."""
    samples, mode = stored.samples, stored.mode
    if stored.palette is not None:
        used = stored.palette[np.unique(samples)]
        image = stored.palette[samples]
        return image[..., :1] if (used == used[:, :1]).all() else image
    if mode == "1":
        samples = samples.astype(np.uint8) * 255
    if mode in ("LA", "La"):
        samples = samples[..., :1]
    if samples.dtype != np.uint8:
        samples = _scale_to_uint8(path, samples, stored)
    return samples[..., None] if samples.ndim == 2 else samples[..., :3]


def _scale_to_uint8(path: Path, samples: np.ndarray, stored: Stored) -> np.ndarray:
    if not np.isfinite(samples).all():
        raise BadFile(path, "pixels must be finite. Received: NaN or infinite pixels")
    low, high = samples.min(), samples.max()
    if samples.dtype.kind == "f":
        if low < 0 or high > 255:
            raise BadFile(
                path,
                "floating-point pixels must lie in [0, 1] or [0, 255]; rescale them. "
                f"Received: values from {low:g} to {high:g}",
            )
        is_share = np.count_nonzero(samples > 1) * MAX_BEYOND <= samples.size
        grey = np.rint(np.minimum(samples, 1) * 255 if is_share else samples).astype(np.uint8)
        return 255 - grey if stored.white_is_zero else grey
    if low < 0 or high > 65535:
        raise BadFile(
            path,
            "integer pixels must lie in 0..65535; save the image with 8 or 16 unsigned bits. "
            f"Received: values from {low} to {high}",
        )
    scaled, guessed = to_8_bits(samples, stored.stated_bits)
    if guessed:
        note_depth(path.parent, guessed)
    return 255 - scaled if stored.white_is_zero else scaled


def _labels(path: Path, stored: Stored) -> np.ndarray:
    """Convert stored samples to labels (H, W) of an integer dtype."""
    samples, mode = stored.samples, stored.mode
    if stored.palette is not None:
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
                "labels must not be in the alpha channel; save that channel as a grey PNG. "
                "Received: one flat colour with varying alpha",
            )
        samples = colour
    if samples.ndim == 3:
        if (samples != samples[..., :1]).any():
            raise BadFile(
                path,
                "a mask must have one value per pixel; map each colour to its class id and save a "
                f"grey or palette PNG. Received: a coloured mask{_listed_colours(samples)}",
            )
        samples = samples[..., 0]
    if samples.dtype.kind == "f":
        return _labels_from_floats(path, samples)
    if samples.dtype.kind == "i" and samples.min() < 0:
        raise BadFile(path, f"class ids must not be negative. Received: {samples.min()}")
    if stored.grey_bits < 8:
        top = (1 << stored.grey_bits) - 1
        if np.isin(samples, (0, 255)).all():
            return samples
        return samples // (255 // top)
    return samples


def _listed_colours(samples: np.ndarray) -> str:
    """Return the colours of a mask of few of them, as text; "" for more than 12."""
    step = max(1, int((samples.shape[0] * samples.shape[1] / 1_000_000) ** 0.5))  # to be quick
    samples = samples[::step, ::step]
    colours, counts = np.unique(samples.reshape(-1, samples.shape[-1]), axis=0, return_counts=True)
    if len(colours) > _FEW_COLOURS:
        return ""
    ordered = colours[np.argsort(-counts, kind="stable")].tolist()
    return f" of {len(ordered)} colours: {', '.join(str(tuple(colour)) for colour in ordered)}"


def _labels_from_floats(path: Path, samples: np.ndarray) -> np.ndarray:
    if not np.isfinite(samples).all():
        raise BadFile(path, "labels must be finite. Received: NaN or infinite values")
    low, high = samples.min(), samples.max()
    if low >= 0 and high <= 65535 and (samples == np.rint(samples)).all():
        return samples.astype(np.uint16)
    if low >= 0 and high <= 1:
        return np.rint(samples * 255).astype(np.uint8)
    raise BadFile(
        path,
        "a floating-point mask must hold whole numbers, or values in [0, 1]. "
        f"Received: values from {low:g} to {high:g}",
    )
