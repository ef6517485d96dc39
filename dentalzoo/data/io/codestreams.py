"""Sizes of JPEG, JPEG-LS and JPEG 2000 streams, which decoders believe whatever the file says."""

import struct

_FRAMES = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}  # ITU-T T.81 table B.1, T.87 C.1.1
_MAX_TILES = 4096  # ours: openjpeg takes time and memory for each, however small


def stream_size(content: bytes) -> tuple[int, int, int] | None:
    """Return (height, width, components) of a compressed image, None where no frame is found.

    None too for JPEG 2000 of more than 4,096 tiles.

    Args:
        content: a JPEG or JPEG-LS stream, a JPEG 2000 codestream, or one in a JP2 file.
    """
    if content[4:8] == b"jP  ":
        content = content[max(content.find(b"jp2c\xff\x4f") + 4, 0) :]
    if content[:4] == b"\xff\x4f\xff\x51":
        return _size_of_jpeg_2000(content)
    frame = _frame_of_jpeg(content)
    if frame is None:
        return None
    rows, columns, bands = struct.unpack_from(">HHB", content, frame + 5)
    return rows, columns, bands


def is_subsampled(content: bytes) -> bool:
    """Return whether the components of a JPEG have different sizes, as only chrominance has."""
    frame = _frame_of_jpeg(content)
    if frame is None:
        return False
    bands = content[frame + 9]
    factors = content[frame + 11 : frame + 10 + 3 * bands : 3]  # of height and width, T.81 B.2.2
    return len(set(factors)) > 1


def _frame_of_jpeg(content: bytes) -> int | None:
    """Return where the frame header of a JPEG begins, ITU-T T.81 B.2.2."""
    if content[:2] != b"\xff\xd8":
        return None
    position = 2
    while position + 10 <= len(content) and content[position] == 255:
        marker, length = content[position + 1], int.from_bytes(content[position + 2 : position + 4])
        if marker in _FRAMES:
            return position
        position += 1 if marker == 255 else 2 + length
    return None


def _size_of_jpeg_2000(content: bytes) -> tuple[int, int, int] | None:
    """Read the marker segment SIZ, ITU-T T.800 A.5.1."""
    if len(content) < 42:
        return None
    right, bottom, left, top, tile_width, tile_height, tile_left, tile_top, bands = (
        struct.unpack_from(">8IH", content, 8)
    )
    if not tile_width or not tile_height or right <= left or bottom <= top:
        return None
    across = (right - min(tile_left, right) + tile_width - 1) // tile_width
    down = (bottom - min(tile_top, bottom) + tile_height - 1) // tile_height
    if across * down > _MAX_TILES:
        return None
    return bottom - top, right - left, bands
