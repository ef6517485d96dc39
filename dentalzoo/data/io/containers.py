"""Headers of PNG, TIFF and JPEG files: stated depths, and files made to take hours or memory.

Pillow follows every chunk, page, tag and scan that a file lists. Here they are counted before,
without reading what they hold.
"""

import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from dentalzoo.errors import BadFile

MAX_PAGES = 64  # ours: far more than the reduced copies in one TIFF; frames of other kinds alike
_MAX_IDAT = 100_000  # ours: 100 million pixels of 48 bits in chunks of 8 KiB are 75,000
_MAX_CHUNKS = 2_000  # ours, besides IDAT: encoders write fewer than 50
_MAX_SHARED = 16  # ours: tags of a sound file are smaller than the file
_MAX_SCANNED = 4_000_000_000  # pixels times scans, ours: seconds; progressive files have 10 scans
_CHUNK, _CLUSTER = 1 << 16, 4096  # bytes read at once; bytes of a cluster of most file systems
_ZEROS_BEFORE = 3  # of the last words before, such as upper bytes
_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd8\xff]")  # of a segment, or the end
_TIFF_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
_BIG_TIFF_SIZES = {**_TIFF_SIZES, 16: 8, 17: 8, 18: 8}


@dataclass(frozen=True)
class PngHeader:
    """What the chunks of a PNG say without being decoded.

    Attributes:
        kinds: the kinds of chunks.
        significant_bits: the largest entry of sBIT for grey or colour; None without the chunk.
    """

    kinds: frozenset[bytes]
    significant_bits: int | None


def png_header(path: Path, stream: BinaryIO) -> PngHeader:
    """Read the list of chunks of a PNG; the position of `stream` stays.

    Raises:
        BadFile: more chunks than any image needs.
    """
    kinds: set[bytes] = set()
    bits, data, others = None, 0, 0
    position = stream.tell()
    stream.seek(8)
    while len(head := stream.read(8)) == 8:
        length, kind = int.from_bytes(head[:4]), head[4:]
        kinds.add(kind)
        data, others = data + (kind == b"IDAT"), others + (kind != b"IDAT")
        if data > _MAX_IDAT or others > _MAX_CHUNKS:
            raise BadFile(
                path,
                f"a PNG must have at most {_MAX_IDAT:,} chunks of pixels and {_MAX_CHUNKS:,} "
                f"others; save it again. Received: more",
            )
        if kind == b"sBIT" and not data and 1 <= length <= 4:
            entries = stream.read(length)
            # PNG 1.2, 4.2.6: grey, grey and alpha, RGB, RGB and alpha
            bits = max(entries[: 1 if length <= 2 else 3])
            length = 0
        if kind == b"IEND":
            break
        stream.seek(length + 4, 1)
    stream.seek(position)
    return PngHeader(frozenset(kinds), bits)


def check_tiff(path: Path, stream: BinaryIO) -> None:
    """Follow the pages of a TIFF without decoding them; the position of `stream` stays.

    Raises:
        BadFile: more than `MAX_PAGES` pages, or tags that together are many times larger than the
            file, since they share their bytes.
    """
    position = stream.tell()
    length = stream.seek(0, 2)
    stream.seek(0)
    head = stream.read(16)
    order = "<" if head[:2] == b"II" else ">"
    big = 43 in (head[2], head[3])
    entry, count_type, offset_type = (20, "Q", "Q") if big else (12, "H", "I")
    inline, sizes = (8, _BIG_TIFF_SIZES) if big else (4, _TIFF_SIZES)
    at = head[8:16] if big else head[4:8]
    seen: set[int] = set()
    tags = 0
    while len(at) == struct.calcsize(offset_type):
        (offset,) = struct.unpack(order + offset_type, at)
        if offset == 0 or offset >= length or offset in seen:  # Pillow too ends at a page seen
            break
        if len(seen) == MAX_PAGES:
            raise too_many_pages(path)
        seen.add(offset)
        stream.seek(offset)
        counted = stream.read(struct.calcsize(count_type))
        if len(counted) < struct.calcsize(count_type):
            break
        (number,) = struct.unpack(order + count_type, counted)
        block = stream.read(min(number, length // entry + 1) * entry)
        for start in range(0, len(block) - entry + 1, entry):
            kind, values = struct.unpack_from(order + "H" + offset_type, block, start + 2)
            size = values * sizes.get(kind, 1)
            tags += min(size, length) if size > inline else 0
        if tags > _MAX_SHARED * length:
            raise BadFile(
                path,
                "the tags of a TIFF must not share their bytes; save it again. "
                f"Received: tags of {tags:,} bytes in a file of {length:,}",
            )
        at = stream.read(struct.calcsize(offset_type))
    stream.seek(position)


def check_strips(path: Path, tags: Mapping[int, Any]) -> None:
    """Check that a TIFF page has all its strips or tiles, uncompressed ones with all their bytes.

    Pillow leaves missing ones black, and reads what follows in place of short ones.

    Args:
        path: the file, for messages.
        tags: of the page, by their numbers in TIFF 6.0.

    Raises:
        BadFile: some are missing or short.
    """

    def values(tag: int, default: int) -> tuple[int, ...]:
        value = tags.get(tag, default)
        return tuple(value) if isinstance(value, tuple) else (value,)

    width, height = values(256, 0)[0], values(257, 0)[0]
    samples, bits = values(277, 1)[0], values(258, 1)
    planes = samples if values(284, 1)[0] == 2 else 1
    if 322 in tags or 324 in tags:
        across, down = max(values(322, 1)[0], 1), max(values(323, 1)[0], 1)
        what, needed = "tiles", -(-width // across) * -(-height // down) * planes
        found = len(values(324, 0))
        sizes: list[int] = []
    else:
        rows = max(min(values(278, height)[0], height), 1)
        strips = -(-height // rows)
        what, needed, found = "strips", strips * planes, len(values(273, 0))
        line = (width * (bits[0] if planes > 1 else sum(bits[:samples])) + 7) // 8
        sizes = [line * min(rows, height - index % strips * rows) for index in range(needed)]
    if found < needed:
        raise BadFile(
            path, f"damaged: the TIFF must have {needed} {what}; save it again. Received: {found}"
        )
    counts = values(279, 0)
    is_plain = values(259, 1)[0] == 1 and values(262, 1)[0] != 6  # 6: colours of half the pixels
    if not is_plain or needed == 1 or len(counts) < needed:
        return
    short = [index for index, size in enumerate(sizes) if counts[index] < size]
    if short:
        raise BadFile(
            path,
            f"damaged: strip {short[0] + 1} of the TIFF must have {sizes[short[0]]} bytes; save it "
            f"again. Received: {counts[short[0]]}",
        )


def check_jpeg(path: Path, stream: BinaryIO, size: tuple[int, int]) -> None:
    """Look for the end of a JPEG, and count its scans, each of which is a pass over all pixels.

    The position of `stream` stays.

    Raises:
        BadFile: there is no end, as in an interrupted copy that zeros fill up; or the scans would
            take minutes.
    """
    most = max(_MAX_SCANNED // (size[0] * size[1]), 16)
    position = stream.tell()
    stream.seek(0)
    content = stream.read()
    stream.seek(position)
    at = 2
    while (found := _MARKER.search(content, at)) and found[0] != b"\xff\xda":
        at = found.end() + int.from_bytes(content[found.end() : found.end() + 2])
    if found and content.find(b"\xff\xd9", found.end()) < 0:
        raise BadFile(
            path,
            "damaged: the JPEG must have an end; copy it again. Received: a file that ends before",
        )
    if content.count(b"\xff\xda") <= most:  # also counts what only looks like a scan
        return
    at, scans = 2, 0
    while (found := _MARKER.search(content, at)) and found[0] != b"\xff\xd9":
        scans += found[0] == b"\xff\xda"
        at = found.end() + int.from_bytes(content[found.end() : found.end() + 2])
        if scans > most:
            raise BadFile(
                path,
                f"a JPEG of {size[0]} x {size[1]} must have at most {most} scans; save it again. "
                "Received: more",
            )


def zero_tail(stream: BinaryIO) -> int:
    """Return the number of zeros that end a TIFF, BMP or DICOM as an interrupted copy does.

    They begin at a multiple of 4,096, where file systems divide files. 0 for fewer than 4,096
    zeros. The position of `stream` stays.
    """
    position = stream.tell()
    size = end = stream.seek(0, 2)
    while end > 0:
        start = max(0, end - _CHUNK)
        stream.seek(start)
        content = stream.read(end - start).rstrip(b"\0")
        end = start + len(content)
        if content:
            break
    stream.seek(position)
    first = -(-end // _CLUSTER) * _CLUSTER
    is_there = first - end <= _ZEROS_BEFORE and size - first >= _CLUSTER
    return size - first if is_there else 0


def too_many_pages(path: Path) -> BadFile:
    """Return the error for a file of more than `MAX_PAGES` pages or frames."""
    return _pages(path, f"more than {MAX_PAGES} pages or frames")


def different_pages(path: Path) -> BadFile:
    """Return the error for a file whose pages or frames differ."""
    return _pages(path, "pages or frames that differ")


def _pages(path: Path, received: str) -> BadFile:
    return BadFile(
        path,
        "must hold one image; save the page or frame you need as a separate file. "
        f"Received: {received}",
    )
