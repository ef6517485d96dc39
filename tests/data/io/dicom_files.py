"""Pieces of DICOM files for tests, and the grey values that are read."""

import struct

import numpy as np

from dentalzoo.data.io.images import read_image

VALUES = np.array([[0, 1024, 2048, 4095]], np.uint16)


def grey(path):
    image = read_image(path)
    assert image.dtype == np.uint8 and image.shape[2] == 1
    return image.ravel().tolist()


def table(entries, bits, first=0, vr="US"):
    from pydicom.dataset import Dataset

    item = Dataset()
    item.add_new("LUTDescriptor", "US", [len(entries), first, bits])
    data = entries if vr == "US" or isinstance(entries, bytes) else words(entries)
    item.add_new("LUTData", vr, data)
    return item


def words(values):
    return np.asarray(values, "<u2").tobytes()


def directory_file():
    """The beginning of a DICOMDIR: its meta information."""
    meta = b"\2\0\1\0OB\0\0\2\0\0\0\0\1" + b"\2\0\2\0UI\x14\x001.2.840.10008.1.3.10"
    meta += b"\2\0\x10\0UI\x14\x001.2.840.10008.1.2.1\0"
    return bytes(128) + b"DICM\2\0\0\0UL\4\0" + struct.pack("<I", len(meta)) + meta


def lossless_jpeg(pixels, bits, predictor, *, rows_each=0, shift=0, tables=1):
    """Encode (H, W, bands) as ITU-T T.81 annex H says; codes have the same length in a table."""
    rows, columns, bands = pixels.shape
    data = b""
    for part, top in enumerate(range(0, rows, rows_each or rows)):
        block = pixels[top : top + (rows_each or rows)].astype(int)
        text = "".join(_coded(block, 1 << (bits - shift - 1), predictor, tables))
        text += "1" * (-len(text) % 8)
        data += b"" if part == 0 else bytes([255, 0xD0 + (part - 1) % 8])
        data += int(text, 2).to_bytes(len(text) // 8).replace(b"\xff", b"\xff\0")
    parts = [(i + 1, min(i, tables - 1)) for i in range(bands)]
    frame = bytes([bits, *rows.to_bytes(2), *columns.to_bytes(2), bands])
    frame += b"".join(bytes([i, 0x11, 0]) for i, _ in parts)
    codes = b""
    for index in range(tables):
        codes += bytes([index, *(17 if n == 5 + index else 0 for n in range(1, 17)), *range(17)])
    scan = bytes([bands, *(b for i, t in parts for b in (i, t << 4)), predictor, 0, shift])
    segments = [(0xC3, frame), (0xC4, codes), (0xDA, scan)]
    if rows_each:
        segments.insert(0, (0xDD, (rows_each * columns).to_bytes(2)))
    head = b"".join(bytes([255, m]) + (len(s) + 2).to_bytes(2) + s for m, s in segments)
    return b"\xff\xd8" + head + data + b"\xff\xd9"


def _coded(block, initial, predictor, tables):
    for (row, column, band), value in np.ndenumerate(block):
        a = block[row, column - 1, band] if column else 0
        b = block[row - 1, column, band] if row else 0
        c = block[row - 1, column - 1, band] if row and column else 0
        inside = (a, b, c, a + b - c, a + ((b - c) >> 1), b + ((a - c) >> 1), (a + b) >> 1)
        predicted = (
            (b if row else initial) if not column else a if not row else inside[predictor - 1]
        )
        difference = int(value - predicted + 32767) % 65536 - 32767
        length = abs(difference).bit_length()
        yield f"{length:0{5 + min(band, tables - 1)}b}"  # a code is the number itself
        if 0 < length < 16:  # of 16 bits there is only 32768
            extra = difference if difference > 0 else difference + (1 << length) - 1
            yield f"{extra:0{length}b}"
