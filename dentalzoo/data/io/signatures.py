"""First bytes by which files are recognised."""

import struct

HEAD_BYTES = 132  # up to DICOM's mark, and more than any other signature

# Data elements of PS3.6 that DICOM files without a preamble begin with: meta information, or the
# group of the study. Value representations that such elements have, with their short lengths.
_GROUPS = (0x0002, 0x0008)
_LAST = (0x7FE0, 0x0010)  # pixel data
_SHORT = (b"UL", b"CS", b"UI", b"DA", b"TM", b"LO", b"SH", b"PN", b"DT", b"AE", b"US", b"ST", b"IS")
_LONG = (b"OB", b"SQ", b"UN", b"UT", b"OW")
_MAX_LENGTH = 1 << 16  # of the first elements, which are short texts
_HTML = (b"<!DOCTYPE HTML", b"<HTML", b"<HEAD", b"<BODY")
_BRANDS = {b"hei": "HEIC", b"hev": "HEIC", b"mif": "HEIC", b"msf": "HEIC", b"avi": "AVIF"}
_OTHER_KINDS = {  # first bytes of files that are given as images
    b"%PDF": "PDF",
    b"PK\x03\x04": "a ZIP archive, which must be unpacked",
    b"\x1f\x8b": "a gzip archive, which must be unpacked",
    b"Rar!": "a RAR archive, which must be unpacked",
    b"7z\xbc\xaf": "a 7z archive, which must be unpacked",
    b"\0\0\0\x0cjP  ": "JPEG 2000",
    b"\xff\x4f\xff\x51": "JPEG 2000",
    b"\0\0\0\x0cJXL ": "JPEG XL",
    b"\xff\x0a": "JPEG XL",
    b"8BPS": "Photoshop",
    b"P5": "a PGM image",
    b"P6": "a PPM image",
    b"\x93NUMPY": "a NumPy array",
    b"\x89HDF": "HDF5",
    b"version https://git-lfs": "a pointer of Git LFS, without the file (git lfs pull)",
    b"\0\x05\x16\x07": "the metadata that macOS puts beside a file",
    b"\0\x05\x16\0": "the metadata that macOS puts beside a file",
    b"{": "text in JSON",
}
_MEDIA_DIRECTORY = b"UI\x14\x001.2.840.10008.1.3.10"  # PS3.4 F.2, the SOP class of a DICOMDIR
_META_BYTES = 1024  # the meta information comes first and is short


def is_dicom_head(head: bytes) -> bool:
    """Return whether a file that begins with `head` is DICOM, with or without a preamble.

    Args:
        head: its first `HEAD_BYTES` bytes.
    """
    return head[128:132] == b"DICM" or is_without_preamble(head)


def other_kind(head: bytes) -> str:
    """Return what a file that is no image begins like, for messages.

    Args:
        head: its first `HEAD_BYTES` bytes.
    """
    if not head:
        return "an empty file"
    if not any(head):
        return "a file that begins with zeros, as an interrupted copy does"
    if head[4:8] == b"ftyp":
        return _BRANDS.get(head[8:11], "a video")
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text.upper().startswith(_HTML):
        return "a web page, as a failed download leaves"
    if text.startswith(b"<?xml") or text.startswith(b"<svg"):
        return "text in XML or SVG"
    named = (kind for start, kind in _OTHER_KINDS.items() if head.startswith(start))
    return next(named, f"a file that begins with {head[:8]!r}")


def is_without_preamble(head: bytes) -> bool:
    """Return whether a file is plainly DICOM that lacks its preamble, in little endian.

    That is, two or more elements follow each other from the first byte on.
    """
    head, position, count, before = head[:HEAD_BYTES], 0, 0, (0, -1)
    while position + 8 <= len(head):
        tag = struct.unpack_from("<HH", head, position)
        length, start = _element(head, position)
        known = tag[0] in _GROUPS if count == 0 else before < tag <= _LAST
        if not known or not 0 <= length <= _MAX_LENGTH:
            return False
        position, count, before = start + length, count + 1, tag
    return count >= 2


def _element(head: bytes, position: int) -> tuple[int, int]:
    """Return the length of an element's value and where it starts; -1 for an impossible one."""
    kind = head[position + 4 : position + 6]
    if kind in _SHORT:
        return struct.unpack_from("<H", head, position + 6)[0], position + 8
    if kind in _LONG and position + 12 <= len(head):
        return struct.unpack_from("<I", head, position + 8)[0], position + 12
    length = struct.unpack_from("<I", head, position + 4)[0]  # implicit value representation
    return (length if length % 2 == 0 else -1), position + 8


def is_media_directory(content: bytes) -> bool:
    """Return whether a DICOM file is a DICOMDIR: the list of the files of a CD, not an image.

    Args:
        content: its first 1024 bytes or more.
    """
    return content[128:132] == b"DICM" and _MEDIA_DIRECTORY in content[:_META_BYTES]


def sop_class(content: bytes) -> str:
    """Return the UID of a DICOM file's SOP class, "" where its first bytes have none.

    Args:
        content: its first 1024 bytes or more.
    """
    for tag in (b"\x02\0\x02\0", b"\x08\0\x16\0"):
        start = content.find(tag + b"UI", 0, _META_BYTES)
        if start < 0 and tag[:1] == b"\x08":
            start = content.find(tag, 0, _META_BYTES)  # implicit value representation
        if start >= 0:
            length = int.from_bytes(content[start + 6 : start + 8], "little")
            if content[start + 4 : start + 6] != b"UI":
                length = int.from_bytes(content[start + 4 : start + 8], "little")
            value = content[start + 8 : start + 8 + min(length, 64)]
            return value.rstrip(b"\0 ").decode("ascii", "replace")
    return ""
