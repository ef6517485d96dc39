"""Stored values of DICOM images: the elements that describe them, and their decoding."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from dentalzoo.data.io.codestreams import is_subsampled, stream_size
from dentalzoo.data.io.dicom_colour import from_ybr
from dentalzoo.data.io.dicom_elements import integer_of, name_of, text_of
from dentalzoo.data.io.dicom_order import is_swapped
from dentalzoo.data.io.dicom_sign import correct_sign
from dentalzoo.data.io.lossless_jpeg import decode_lossless_jpeg
from dentalzoo.errors import BadFile, MissingDecoder

if TYPE_CHECKING:
    from pydicom.dataset import Dataset
    from pydicom.uid import UID

_OVERLAYS = range(0x6000, 0x6020, 2)  # the groups of PS3.5 7.6
PIXEL_ELEMENTS = (
    *("SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration"),
    *("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"),
    *("PixelPaddingValue", "PixelPaddingRangeLimit"),
    *("SmallestImagePixelValue", "LargestImagePixelValue"),
    *("ExtendedOffsetTable", "ExtendedOffsetTableLengths"),
    *(group << 16 | 0x0102 for group in _OVERLAYS),
)
_SAMPLES = {
    **dict.fromkeys(("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR"), 1),
    **dict.fromkeys(("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_PARTIAL_422"), 3),
    **dict.fromkeys(("YBR_PARTIAL_420", "YBR_ICT", "YBR_RCT"), 3),
}
_ALLOCATED = (1, 8, 16, 32)
# What to write into an element that is missing, for the message.
_REMEDIES = {
    "Rows": "the height in pixels",
    "Columns": "the width in pixels",
    "PhotometricInterpretation": "MONOCHROME2 if 0 is black, MONOCHROME1 if it is white",
    "BitsAllocated": "8 or 16, the bits of a pixel in the file",
    "BitsStored": "the bits of the detector, such as 12",
    "PixelRepresentation": "0 if no pixel is negative, as in nearly all radiographs",
    "PlanarConfiguration": "0 if the colours of a pixel follow each other",
}
_JPEG_BASELINE = "1.2.840.10008.1.2.4.50"
_JPEG_EXTENDED = "1.2.840.10008.1.2.4.51"
_LOSSLESS_JPEG = ("1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70")  # decoded by dentalzoo
# The decoders of the other transfer syntaxes, the best first. Not GDCM, which decodes most of them:
# it ends the process when it meets some kinds of damage.
_DECODERS = {
    _JPEG_BASELINE: ("pillow",),
    _JPEG_EXTENDED: ("pylibjpeg", "pillow"),
    "1.2.840.10008.1.2.4.80": ("pyjpegls", "pylibjpeg"),  # JPEG-LS
    "1.2.840.10008.1.2.4.81": ("pyjpegls", "pylibjpeg"),
    "1.2.840.10008.1.2.4.90": ("pylibjpeg", "pillow"),  # JPEG 2000
    "1.2.840.10008.1.2.4.91": ("pylibjpeg", "pillow"),
    "1.2.840.10008.1.2.4.201": ("pylibjpeg",),  # HTJ2K
    "1.2.840.10008.1.2.4.202": ("pylibjpeg",),
    "1.2.840.10008.1.2.4.203": ("pylibjpeg",),
    "1.2.840.10008.1.2.5": ("pydicom",),  # RLE
}
_RLE = "1.2.840.10008.1.2.5"
_ITEM = b"\xfe\xff\x00\xe0"  # compressed pixel data begins with an item, PS3.5 A.4


@dataclass
class Pixels:
    """The description of an image's pixels, checked.

    Attributes:
        path: the file, for messages.
        rows: height in pixels.
        columns: width in pixels.
        samples: 1 or 3.
        kind: Photometric Interpretation.
        bits_allocated: bits of a sample in the file.
        bits_stored: bits that count.
        high_bit: the highest of those, from 0.
        signed: whether Pixel Representation is 1, or, after decoding, the pixels are signed.
        extremes: Smallest and Largest Image Pixel Value as words; None where one is missing.
        padding: the lowest and highest padding value as stored, or None.
        has_overlay: whether overlays may lie in unused bits.
        notes: what was ignored or assumed.
    """

    path: Path
    rows: int
    columns: int
    samples: int
    kind: str
    bits_allocated: int
    bits_stored: int
    high_bit: int
    signed: bool
    extremes: tuple[int, int] | None
    padding: tuple[int, int] | None
    has_overlay: bool
    notes: list[str] = field(default_factory=list)


def described_pixels(path: Path, header: Dataset) -> Pixels:
    """Read and check the elements that describe the pixels.

    Samples per Pixel follow from Photometric Interpretation, and High Bit is Bits Stored - 1, where
    they are missing. Bits Stored is 8 where Bits Allocated is 8.

    Raises:
        BadFile: another element is missing, or one contradicts another.
    """
    kind = text_of(header, "PhotometricInterpretation")
    if not kind:
        raise missing_element(path, "PhotometricInterpretation")
    if kind not in _SAMPLES:
        raise _invalid(path, "PhotometricInterpretation", f"one of {', '.join(_SAMPLES)}", "other")
    samples = integer_of(path, header, "SamplesPerPixel") or _SAMPLES[kind]
    if samples != _SAMPLES[kind]:
        raise _invalid(path, "SamplesPerPixel", f"{_SAMPLES[kind]} for {kind}", samples)
    allocated = integer_of(path, header, "BitsAllocated")
    if allocated is None:
        raise missing_element(path, "BitsAllocated")
    if allocated not in _ALLOCATED:
        raise _invalid(path, "BitsAllocated", "1, 8, 16 or 32", allocated)
    stored = integer_of(path, header, "BitsStored")
    stored = allocated if stored is None and allocated <= 8 else stored
    if stored is None:
        raise missing_element(path, "BitsStored")
    if not 1 <= stored <= allocated:
        raise _invalid(path, "BitsStored", f"1 to {allocated}, Bits Allocated", stored)
    high = integer_of(path, header, "HighBit")
    high = stored - 1 if high is None else high
    if not stored - 1 <= high < allocated:
        raise _invalid(path, "HighBit", f"{stored - 1}, Bits Stored - 1", high)
    sign = integer_of(path, header, "PixelRepresentation")
    if sign is None:
        raise missing_element(path, "PixelRepresentation")
    if sign not in (0, 1):
        raise _invalid(path, "PixelRepresentation", "0 or 1", sign)
    padding = integer_of(path, header, "PixelPaddingValue")
    limit = integer_of(path, header, "PixelPaddingRangeLimit")
    ends = [value % (1 << 16) for value in (padding, limit) if value is not None]
    return Pixels(
        path,
        integer_of(path, header, "Rows") or 0,
        integer_of(path, header, "Columns") or 0,
        samples,
        kind,
        allocated,
        stored,
        high,
        sign == 1 and samples == 1,  # colours are unsigned, PS3.3 C.7.6.3.1.2
        _extremes(path, header),
        None if padding is None else (min(ends), max(ends)),
        any((group << 16 | 0x0102) in header for group in _OVERLAYS),
    )


def _extremes(path: Path, header: Dataset) -> tuple[int, int] | None:
    try:
        low, high = (
            integer_of(path, header, f"{which}ImagePixelValue") for which in ("Smallest", "Largest")
        )
    except BadFile:  # only a hint
        return None
    return None if low is None or high is None else (low, high)


def missing_element(path: Path, keyword: str) -> BadFile:
    """Return the error of an element that is needed, with how to add it."""
    tag = name_of(keyword)[-11:]
    return BadFile(
        path,
        f"must have {name_of(keyword)}: {_REMEDIES[keyword]}; add it, for example with "
        f'dcmodify -i "{tag}=VALUE" FILE. Received: a file without it',
    )


def _invalid(path: Path, keyword: str, expected: str, received: object) -> BadFile:
    tag = name_of(keyword)[-11:]
    return BadFile(
        path,
        f"{name_of(keyword)} must be {expected}; correct it, for example with "
        f'dcmodify -m "{tag}=VALUE" FILE. Received: {received}',
    )


def decode_pixels(described: Pixels, dataset: Dataset, pixels: ModuleType) -> np.ndarray:
    """Decode the pixels of a file.

    Args:
        described: as `described_pixels` returns it.
        dataset: the file's elements, pixel data included.
        pixels: the module `pydicom.pixels`.

    Returns:
        (H, W) or (H, W, 3), integers as stored, signed where they are: `described.signed` is
        corrected where the pixels contradict it, see `dicom_sign`.

    Raises:
        BadFile: there are no pixels, or fewer than described, or no decoder; or pixels contradict
            Bits Stored and High Bit.
    """
    stored = _decode(described, dataset, pixels)
    return stored if described.samples == 3 else correct_sign(described, stored)


def _decode(described: Pixels, dataset: Dataset, pixels: ModuleType) -> np.ndarray:
    path = described.path
    syntax = _find_syntax(path, dataset)
    is_compressed, plugin = bool(syntax.is_encapsulated), ""
    _clean(described, dataset, is_compressed)
    if syntax in _LOSSLESS_JPEG:
        return _decode_lossless(described, dataset, pixels)
    if not is_compressed:
        _check_length(described, dataset)
    else:
        if syntax == _JPEG_BASELINE and described.bits_allocated != 8:
            raise _invalid(path, "BitsAllocated", f"8 for {syntax.name}", described.bits_allocated)
        plugin = _plugin(path, syntax, pixels)
        if syntax != _RLE:
            _check_stream(described, dataset, syntax)
    in_words = described.samples == 1 and described.bits_allocated > 1
    in_words = in_words and (not is_compressed or syntax == _RLE)
    if in_words:  # take the whole words and find the bits that count here
        dataset.BitsStored = described.bits_allocated
        dataset.HighBit = described.bits_allocated - 1
        dataset.PixelRepresentation = 0
    is_ybr = described.kind == "YBR_FULL" and (not is_compressed or syntax == _RLE)
    try:
        stored = np.asarray(pixels.pixel_array(dataset, decoding_plugin=plugin, raw=is_ybr))
    except (RuntimeError, NotImplementedError):
        if syntax == _JPEG_EXTENDED:
            raise BadFile(
                path,
                "12 bits in lossy JPEG need a decoder under the GPL: pip install pylibjpeg "
                f"pylibjpeg-libjpeg; or save it uncompressed. Received: {syntax.name}",
            ) from None
        raise BadFile(
            path,
            "damaged, or not understood by its decoder; save it uncompressed. "
            f"Received: {syntax.name}",
        ) from None
    if is_ybr:
        return from_ybr(described, stored, pixels)
    return _place_bits(described, stored) if in_words else stored


def _find_syntax(path: Path, dataset: Dataset) -> UID:
    from pydicom.uid import (
        ExplicitVRBigEndian,
        ExplicitVRLittleEndian,
        ImplicitVRLittleEndian,
    )

    if "PixelData" not in dataset:
        floats = [k for k in ("FloatPixelData", "DoubleFloatPixelData") if k in dataset]
        what = name_of(floats[0]) if floats else "none"
        raise BadFile(path, f"must have Pixel Data (7FE0,0010), with integers. Received: {what}")
    if not dataset.get_item("PixelData").value:
        raise BadFile(path, "must have Pixel Data (7FE0,0010). Received: an empty element")
    syntax = dataset.file_meta.get("TransferSyntaxUID")
    if syntax:
        return syntax
    if bytes(dataset.get_item("PixelData").value or b"")[:4] == _ITEM:
        raise BadFile(
            path,
            f"must have {name_of('TransferSyntaxUID')}; export the image again. "
            "Received: compressed pixels without it",
        )
    is_implicit, is_little = dataset.original_encoding
    explicit = ExplicitVRLittleEndian if is_little else ExplicitVRBigEndian
    syntax = dataset.file_meta.TransferSyntaxUID = (
        ImplicitVRLittleEndian if is_implicit else explicit
    )
    return syntax


def _clean(described: Pixels, dataset: Dataset, is_compressed: bool) -> None:
    """Replace the elements that pydicom decodes by with the checked ones."""
    dataset.Rows, dataset.Columns = described.rows, described.columns
    dataset.SamplesPerPixel = described.samples
    dataset.PhotometricInterpretation = described.kind
    dataset.BitsAllocated, dataset.BitsStored = described.bits_allocated, described.bits_stored
    dataset.HighBit = described.high_bit
    dataset.PixelRepresentation = int(described.signed)
    dataset.NumberOfFrames = 1
    if described.samples == 3:
        planar = integer_of(described.path, dataset, "PlanarConfiguration")
        if planar is None and not is_compressed:
            raise missing_element(described.path, "PlanarConfiguration")
        if planar not in (0, 1, None):
            raise _invalid(described.path, "PlanarConfiguration", "0 or 1", planar)
        dataset.PlanarConfiguration = planar or 0


def _check_length(described: Pixels, dataset: Dataset) -> None:
    bits = described.rows * described.columns * described.samples * described.bits_allocated
    if described.kind in ("YBR_FULL_422", "YBR_PARTIAL_422"):
        bits = bits * 2 // 3
    needed, received = (bits + 7) // 8, len(dataset.PixelData)
    if dataset.PixelData[:4] == _ITEM:
        raise BadFile(
            described.path,
            f"{name_of('TransferSyntaxUID')} must be that of the compression; export the image "
            "again. Received: compressed pixels that are described as uncompressed",
        )
    if received < needed:
        raise BadFile(
            described.path,
            f"damaged: Pixel Data (7FE0,0010) must have {needed:,} bytes. Received: {received:,}",
        )
    if received - needed >= needed // described.rows > 1:
        described.notes.append(
            f"{received - needed:,} bytes of Pixel Data (7FE0,0010) beyond Rows and Columns are "
            "ignored"
        )
    if received >= 2 * needed and needed > 1:
        raise BadFile(
            described.path,
            "must have one frame, whose pixels fill Pixel Data (7FE0,0010); save it as a separate "
            f"file. Received: {received:,} bytes where one has {needed:,}",
        )


def _check_stream(described: Pixels, dataset: Dataset, syntax: UID) -> None:
    """Refuse a stream of another size before a decoder allocates memory; correct its colours."""
    from pydicom.encaps import get_frame

    content = get_frame(dataset.PixelData, 0, number_of_frames=1)
    if described.kind == "RGB" and is_subsampled(content):
        dataset.PhotometricInterpretation = "YBR_FULL_422"  # of which RGB is a common misnomer
    size = stream_size(content)
    if size != (described.rows, described.columns, described.samples):
        what = "no image" if size is None else f"{size[1]} x {size[0]} of {size[2]} components"
        raise BadFile(
            described.path,
            f"damaged: the {syntax.name} must hold {described.columns} x {described.rows} "
            f"pixels of {described.samples} components. Received: {what}",
        )


def _decode_lossless(described: Pixels, dataset: Dataset, pixels: ModuleType) -> np.ndarray:
    from pydicom.encaps import get_frame

    shape = described.rows, described.columns, described.samples
    content = get_frame(dataset.PixelData, 0, number_of_frames=1)
    try:
        stored = decode_lossless_jpeg(content, *shape)
    except (ValueError, KeyError, IndexError) as error:
        reason = error if type(error) is ValueError else type(error).__name__
        raise BadFile(described.path, f"damaged lossless JPEG. Received: {reason}") from None
    if described.samples == 1:
        return _place_bits(replace(described, high_bit=described.bits_stored - 1), stored[..., 0])
    stored = stored.astype(np.uint8 if described.bits_allocated == 8 else np.uint16)
    if described.kind == "RGB":
        return stored
    return from_ybr(described, stored, pixels)


def _plugin(path: Path, syntax: UID, pixels: ModuleType) -> str:
    """Return the decoder of a transfer syntax: the first of `_DECODERS` that is installed.

    Raises:
        BadFile: there is none; MissingDecoder where the command of the message installs one.
    """
    try:
        installed = pixels.get_decoder(syntax).available_plugins
    except NotImplementedError:  # video, and what is newer than pydicom
        installed = ()
        if syntax not in _DECODERS:
            raise BadFile(
                path, f"must be an image; save it uncompressed. Received: {syntax.name}"
            ) from None
    wanted = _DECODERS.get(str(syntax), installed)
    for plugin in wanted:
        if plugin in installed:
            return plugin
    kind = MissingDecoder if str(syntax) in _DECODERS else BadFile
    raise kind(
        path,
        "cannot be decompressed; install the decoders with pip install 'dentalzoo[dicom]', or save "
        f"it uncompressed, for example with gdcmconv --raw IN OUT. Received: {syntax.name}",
    )


def _place_bits(described: Pixels, words: np.ndarray) -> np.ndarray:
    """Return the values in the bits that count of each word, PS3.5 8.1.1.

    Unused bits may hold overlays, the sign, or all of a padding value; else they must be 0.
    """
    bits = described.bits_stored
    words = words.astype(np.int32 if described.bits_allocated <= 16 else np.int64)
    words &= (1 << described.bits_allocated) - 1
    if bits == described.bits_allocated == 16 and is_swapped(words):
        described.notes.append("the bytes of its pixels are in the other order and are exchanged")
        words = (words >> 8) | ((words & 255) << 8)
    if shift := described.high_bit + 1 - bits:
        if not (words & ((1 << shift) - 1)).any():
            words >>= shift
        elif int(words.max()) < 1 << bits:
            described.notes.append(
                f"{name_of('HighBit')} {described.high_bit} is ignored: the pixels fill the lower "
                f"{bits} bits"
            )
        else:
            raise _invalid(
                described.path,
                "HighBit",
                f"{bits - 1}, or the bits below must be 0",
                "pixels there",
            )
        unused = described.bits_allocated - bits - shift
    else:
        unused = described.bits_allocated - bits
    values, beyond = words & ((1 << bits) - 1), words >> bits
    is_padding = np.zeros(words.shape, bool)
    if described.signed:
        sign = values >> (bits - 1)
        values -= sign << bits
        wrong = (beyond != 0) & (beyond != sign * ((1 << unused) - 1))
    else:
        wrong = beyond != 0
    if wrong.any() and described.padding is not None:
        low, high = described.padding
        is_padding = wrong & (words >= low) & (words <= high)
    if (wrong & ~is_padding).any() and not described.has_overlay:
        raise _invalid(
            described.path,
            "BitsStored",
            f"the bits of the largest value, or the bits beyond {bits} must be 0",
            f"values up to {int(words.max())}",
        )
    if is_padding.any():
        negative = described.signed and words >> (described.bits_allocated - 1) << (
            described.bits_allocated
        )
        values[is_padding] = (words - negative)[is_padding]
    return values
