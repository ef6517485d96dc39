"""Read STL files, binary or text."""

from pathlib import Path

import numpy as np

from dentalzoo.errors import BadFile

_HEAD = 84  # bytes: 80 of a title and the number of faces
_FACE = np.dtype([("side", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])


def read_stl(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read an STL file: three vertices of their own for each face.

    A file that is long enough for the number of faces in its head is binary, even if the head
    begins with "solid": as text, these four bytes would be more than 150 million.

    Returns:
        Vertices (3 F, 3) float and faces (F, 3) int64.

    Raises:
        BadFile: truncated, neither binary nor text, or more faces follow than the head declares.
        OSError: the file cannot be read.
    """
    data = path.read_bytes()
    declared = int.from_bytes(data[80:_HEAD], "little")
    if len(data) >= _HEAD and _HEAD + declared * _FACE.itemsize <= len(data):
        corners = np.frombuffer(data, _FACE, declared, _HEAD)["corners"].reshape(-1, 3)
        _refuse_more(path, data[_HEAD + declared * _FACE.itemsize :], corners, declared)
    else:
        text = data.removeprefix(b"\xef\xbb\xbf").lstrip()
        if not text[:5].lower() == b"solid":
            raise BadFile(
                path,
                f"an STL file of {declared:,} faces must have {_HEAD + declared * 50:,} bytes; "
                f"is it truncated? Received: {len(data):,}",
            )
        corners = _read_text(path, text)
    return corners, np.arange(len(corners)).reshape(-1, 3)


def _refuse_more(path: Path, rest: bytes, corners: np.ndarray, declared: int) -> None:
    """Raise BadFile if the bytes after the last face are a face: the number is wrong."""
    if len(rest) < _FACE.itemsize:
        return
    face = np.frombuffer(rest, _FACE, 1)["corners"][0].astype(np.float64)
    if not np.isfinite(face).all() or not np.cross(face[1] - face[0], face[2] - face[0]).any():
        return
    if not declared or ((face >= corners.min(axis=0)) & (face <= corners.max(axis=0))).all():
        raise BadFile(
            path, f"must have {declared:,} faces, as declared; is it damaged? Received: more"
        )


def _read_text(path: Path, text: bytes) -> np.ndarray:
    numbers: list[list[bytes]] = []
    count = dict.fromkeys((b"solid", b"facet", b"endsolid"), 0)
    for line in text.replace(b"\r", b"\n").split(b"\n"):
        tokens = line.split()
        word = tokens[0].lower() if tokens else b""
        if word == b"end" and len(tokens) > 1:  # "end solid"
            word += tokens[1].lower()
        if word == b"vertex":
            numbers.append(tokens[1:])
        elif word in count:
            count[word] += 1
    if count[b"solid"] != count[b"endsolid"]:
        raise BadFile(path, 'an STL file as text must end in "endsolid"; is it truncated? '
                      f"Received: {count[b'endsolid']} for {count[b'solid']} solids")  # fmt: skip
    if len(numbers) != 3 * count[b"facet"]:
        raise BadFile(
            path, f"{count[b'facet']} facets must have 3 vertices each. Received: {len(numbers)}"
        )
    try:
        return np.array([[float(number) for number in row] for row in numbers]).reshape(-1, 3)
    except ValueError as error:
        raise BadFile(path, f"lines vertex must hold 3 numbers. Received: {error}") from error
