"""Read OBJ files. Vertices keep their places: a label belongs to a vertex by its index."""

import io
from pathlib import Path

import numpy as np

from dentalzoo.errors import BadFile
from dentalzoo.ops.meshes import fan_triangles

_BOM_8 = b"\xef\xbb\xbf"
_BOM_16 = (b"\xff\xfe", b"\xfe\xff")
_MAX_NUMBER = 64  # ours: characters of a number


def read_obj(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read the lines `v` and `f` of an OBJ file.

    Lines may be indented, end in CR, LF or both, be continued by a backslash, and carry comments;
    a vertex may have a weight or a colour, a corner the indices of its texture and normal.

    Returns:
        Vertices (V, 3) float64 and faces (F, 3) int64, from 0; polygons are fans of triangles.
        Indices are not checked.

    Raises:
        BadFile: a line has too few numbers or something else than numbers, or the file is no text.
        OSError: the file cannot be read.
    """
    coordinates: list[bytes] = []
    corners: list[bytes] = []
    corner_counts: list[int] = []  # of each face
    vertices_before: list[int] = []  # each face, for indices that count back from there
    start = b""  # of a line that continues
    text = _text(path)
    for number, line in enumerate(io.BytesIO(text), start=1):
        line = start + line.lstrip()
        if line[:1] not in (b"v", b"f"):
            continue
        tokens = line.partition(b"#")[0].split()
        if tokens[0] not in (b"v", b"f"):
            continue
        if tokens[-1][-1:] == b"\\":
            start = b" ".join(tokens)[:-1] + b" "
            continue
        start = b""
        if len(tokens) < 4:
            shown = line[:40].decode(errors="replace").strip()
            raise BadFile(path, f"line {number}: must have at least 3 numbers. Received: {shown!r}")
        if tokens[0] == b"v":
            coordinates += tokens[1:4]
            continue
        if b"/" in line:
            tokens = [token.partition(b"/")[0] for token in tokens]
        corners += tokens[1:]
        corner_counts.append(len(tokens) - 1)
        vertices_before.append(len(coordinates) // 3)
    if coordinates and b"\0" in text:  # a lost block of the disk would shift all indices
        raise BadFile(path, f"must be text. Received: a zero byte, at {text.index(0):,}")
    longest = max(map(len, [*coordinates, *corners]), default=0)
    try:
        if longest > _MAX_NUMBER:
            raise ValueError(f"a number of {longest} characters")
        vertices = np.array(coordinates, "S").astype(np.float64).reshape(-1, 3)
        indices = np.array(corners, "S").astype(np.int64)
    except (ValueError, OverflowError) as error:
        raise BadFile(path, f"lines v and f must hold numbers. Received: {error}") from error
    counts = np.array(corner_counts, int)
    indices = np.where(indices < 0, indices + np.repeat(vertices_before, counts), indices - 1)
    return vertices, fan_triangles(indices, counts)


def _text(path: Path) -> bytes:
    """Return the bytes of a text file with LF line ends and without a byte-order mark."""
    data = path.read_bytes()
    if data[:2] in _BOM_16:
        try:
            data = data.decode("utf-16").encode()
        except UnicodeDecodeError as error:
            raise BadFile(path, f"must be text. Received: damaged UTF-16, {error}") from error
    return data.removeprefix(_BOM_8).replace(b"\r\n", b"\n").replace(b"\r", b"\n")
