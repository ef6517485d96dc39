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
