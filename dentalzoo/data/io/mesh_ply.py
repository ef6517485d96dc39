"""Read PLY files, binary of either byte order or text.

Vertices keep their places. Elements and properties come in any order, with any others among them:
colours, normals, texture coordinates of vertices or of the corners of faces.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np

from dentalzoo.errors import BadFile
from dentalzoo.ops.meshes import fan_triangles

_TYPES = {
    "char": "i1", "int8": "i1", "uchar": "u1", "uint8": "u1", "short": "i2", "int16": "i2",
    "ushort": "u2", "uint16": "u2", "int": "i4", "int32": "i4", "uint": "u4", "uint32": "u4",
    "int64": "i8", "uint64": "u8", "float": "f4", "float32": "f4", "double": "f8", "float64": "f8",
}  # fmt: skip
_ORDERS = {"ascii": "=", "binary_little_endian": "<", "binary_big_endian": ">"}
_MAX_UNEVEN = 10_000_000  # ours: rows that are read one by one, in some 10 s
_ENDS = {b"\n": rb"\r?\n", b"\r\n": rb"\r?\n", b"\r": rb"\r"}  # of lines of the header
_INDICES = ("vertex_indices", "vertex_index")  # usual names


@dataclass(frozen=True)
class _Property:
    """A property; `count` is the type of the number before the values of a list."""

    name: str
    dtype: np.dtype
    count: np.dtype | None = None


@dataclass
class _Element:
    """An element; after reading, `scalars` by name, and of its lists the one named `kept`."""

    rows: int
    properties: list[_Property] = field(default_factory=list)
    scalars: dict[str, np.ndarray] = field(default_factory=dict)
    values: np.ndarray = field(default_factory=lambda: np.zeros(0, int))  # of all rows in a row
    counts: np.ndarray = field(default_factory=lambda: np.zeros(0, int))  # of each row

    @property
    def kept(self) -> str:
        """Return the name of the list that is read: the indices of vertices, or the only one."""
        lists = [one.name for one in self.properties if one.count]
        return next((name for name in _INDICES if name in lists), lists[0] if lists else "")

    def check(self, count: int, what: str) -> None:
        """Raise ValueError if there is less than a whole row for each declared one."""
        if count < self.rows:
            raise ValueError(f"{count:,} of {self.rows:,} {what}; is it truncated?")


def read_ply(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read the vertices and the faces of a PLY file.

    Bytes after the last element are ignored.

    Returns:
        Vertices (V, 3) float64 and faces (F, 3) int64, from 0; polygons are fans of triangles.
        Indices are not checked.

    Raises:
        BadFile: no PLY file, truncated, without x, y and z, or with an invalid header.
        OSError: the file cannot be read.
    """
    data = path.read_bytes().removeprefix(b"\xef\xbb\xbf")
    try:
        order, elements, body = _read_header(data)
        if order == "=":
            _read_text(body, elements)
        else:
            _read_binary(body, elements)
        if not {"x", "y", "z"} <= elements["vertex"].scalars.keys():
            raise ValueError("no x, y, z of vertices")
        vertices = np.stack([elements["vertex"].scalars[axis] for axis in "xyz"], axis=1)
        if "face" not in elements:
            strips = " (triangle strips are not read)" if "tristrips" in elements else ""
            raise ValueError(f"points without faces{strips}")
        face = elements["face"]
        indices = face.values.astype(np.int64)
        if face.values.dtype.kind == "f" and not (indices == face.values).all():
            raise ValueError("indices of vertices that are no integers")
        return vertices.astype(np.float64), fan_triangles(indices, face.counts)
    except (ValueError, OverflowError) as error:
        reason = " ".join(str(error).split())[:100]
        raise BadFile(path, f"must be a whole PLY file. Received: {reason}") from error


def _read_header(data: bytes) -> tuple[str, dict[str, _Element], bytes]:
    """Return the byte order, "=" for text, the elements by name, and the bytes after the header."""
    first = re.match(rb"ply[ \t]*(\r\n|\n|\r)", data, re.IGNORECASE)
    last = first and re.search(rb"(?<=[\r\n])[ \t]*end_header[ \t]*" + _ENDS[first[1]], data)
    if not first or not last:
        raise ValueError("no header from ply to end_header")
    order, elements = "", {}
    last_element = _Element(0)
    for line in data[first.end() : last.start()].decode("latin-1").splitlines():
        match line.split():
            case ["format", name, *_] if name in _ORDERS:
                order = _ORDERS[name]
            case ["element", name, count] if count.isdecimal() and name not in elements:
                last_element = elements[name] = _Element(int(count))
            case ["property", "list", count, kind, name] if {count, kind} <= _TYPES.keys():
                last_element.properties.append(
                    _Property(name, _type(kind, order), _type(count, order))
                )
            case ["property", kind, name] if kind in _TYPES:
                last_element.properties.append(_Property(name, _type(kind, order)))
            case [] | ["comment" | "obj_info", *_]:
                pass
            case _:
                raise ValueError(f"a header with the line {line.strip()[:60]!r}")
    for name, element in elements.items():
        names = [one.name for one in element.properties]
        if len(set(names)) < len(names):
            raise ValueError(f"a header with two properties of {name} of one name")
    if not order or "vertex" not in elements:
        raise ValueError("a header without " + ("vertices" if order else "a format"))
    return order, elements, data[last.end() :]


def _type(kind: str, order: str) -> np.dtype:
    return np.dtype((order or "=") + _TYPES[kind])


# ---- binary --------------------------------------------------------------------------------------


def _read_binary(body: bytes, elements: dict[str, _Element]) -> None:
    start = 0
    for name, element in elements.items():
        smallest = sum((one.count or one.dtype).itemsize for one in element.properties)
        element.check((len(body) - start) // max(smallest, 1), f"rows of {name}")
        if not element.properties or not element.rows:
            continue
        start = _read_even(body, start, name, element) or _read_uneven(body, start, name, element)


def _read_even(body: bytes, start: int, name: str, element: _Element) -> int:
    """Read rows of one size and return where they end; 0 if the lists have several sizes."""
    fields: list[tuple[str, np.dtype] | tuple[str, np.dtype, tuple[int]]] = []
    end, counts = start, {}
    for index, one in enumerate(element.properties):
        if one.count is None:
            fields.append((f"v{index}", one.dtype))
            end += one.dtype.itemsize
            continue
        count = _count(body, end, one.count)
        counts[f"n{index}"] = count
        fields += [(f"n{index}", one.count), (f"v{index}", one.dtype, (count,))]
        end += one.count.itemsize + count * one.dtype.itemsize
        if end > len(body):
            return 0
    size = end - start
    if element.rows * size > len(body) - start:
        return 0
    rows = np.frombuffer(body, np.dtype(fields), element.rows, start)
    if any((rows[key] != count).any() for key, count in counts.items()):
        return 0
    for index, one in enumerate(element.properties):
        if one.count is None:
            element.scalars[one.name] = rows[f"v{index}"]
        elif one.name == element.kept:
            element.values = rows[f"v{index}"].reshape(-1)
            element.counts = np.full(element.rows, counts[f"n{index}"])
    return start + element.rows * size


def _read_uneven(body: bytes, start: int, name: str, element: _Element) -> int:
    """Read rows of several sizes, one by one, and return where they end."""
    if element.rows > _MAX_UNEVEN:
        raise ValueError(f"{element.rows:,} rows of {name} of different sizes")
    places: dict[str, list[int]] = {one.name: [] for one in element.properties}
    counts: list[int] = []
    for row in range(element.rows):
        for one in element.properties:
            count = 1
            if one.count is not None:
                count = _count(body, start, one.count)
                start += one.count.itemsize
                if one.name == element.kept:
                    counts.append(count)
            places[one.name].append(start)
            start += count * one.dtype.itemsize
        if start > len(body):
            element.check(row, f"rows of {name}")
    flat = np.frombuffer(body, np.uint8)
    for one in element.properties:
        where = np.array(places[one.name])
        if one.count is None:
            element.scalars[one.name] = _gather(flat, where, one.dtype)
        elif one.name == element.kept:
            element.counts = np.array(counts)
            ends = np.cumsum(element.counts)
            step = np.arange(ends[-1]) - np.repeat(ends - element.counts, element.counts)
            where = np.repeat(where, element.counts) + step * one.dtype.itemsize
            element.values = _gather(flat, where, one.dtype)
    return start


def _gather(flat: np.ndarray, where: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Return the values of a type that begin at some bytes."""
    return flat[where[:, None] + np.arange(dtype.itemsize)].reshape(-1).view(dtype)


def _count(body: bytes, start: int, dtype: np.dtype) -> int:
    if start + dtype.itemsize > len(body):
        raise ValueError("the number of a list beyond the end; is it truncated?")
    count = int(np.frombuffer(body, dtype, 1, start)[0])
    if count < 0 or count != np.frombuffer(body, dtype, 1, start)[0]:
        raise ValueError(f"a list of {count} values")
    return count


# ---- text ----------------------------------------------------------------------------------------


def _read_text(body: bytes, elements: dict[str, _Element]) -> None:
    lines = (row for row in (line.split() for line in body.splitlines()) if row)
    for name, element in elements.items():
        if not element.properties:
            continue
        rows = list(islice(lines, element.rows))
        element.check(len(rows), f"rows of {name}")
        columns: list[list[bytes]] = [[] for _ in element.properties]
        counts: list[int] = []
        for row in rows:
            _split_row(row, element, columns, counts)
        for one, column in zip(element.properties, columns, strict=True):
            if one.count is None:
                element.scalars[one.name] = _numbers(column)
            elif one.name == element.kept:
                element.values, element.counts = _numbers(column), np.array(counts, int)


def _split_row(
    row: Sequence[bytes], element: _Element, columns: list[list[bytes]], counts: list[int]
) -> None:
    """Add the words of a row to the columns of its properties, and the number of its indices."""
    at = 0
    for one, column in zip(element.properties, columns, strict=True):
        count = 1
        if one.count is not None:
            count = int(row[at]) if at < len(row) else -1
            at += 1
            if one.name == element.kept:
                counts.append(count)
        if not 0 <= count <= len(row) - at:
            raise ValueError(f"a row without its {one.name}: {_shown(row)}")
        column += row[at : at + count]
        at += count
    if at < len(row):
        raise ValueError(f"a row of more values than declared: {_shown(row)}")


def _numbers(column: list[bytes]) -> np.ndarray:
    return np.array([float(number) for number in column])


def _shown(row: Sequence[bytes]) -> str:
    return repr(b" ".join(row)[:40].decode(errors="replace"))
