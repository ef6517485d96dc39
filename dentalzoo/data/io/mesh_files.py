"""Meshes from and to OBJ, PLY and STL files, and the labels that Teeth3DS keeps beside them.

OBJ is read here, because other readers change the order of the vertices or their number, and a
label belongs to a vertex by its place. trimesh reads PLY and STL.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dentalzoo.atomic import write_atomically
from dentalzoo.errors import BadFile, require
from dentalzoo.ops.meshes import normals

MESH_SUFFIXES = frozenset((".obj", ".ply", ".stl"))
MAX_BYTES = 1_000_000_000  # ours: 20 times the largest scan of Teeth3DS as OBJ


@dataclass(frozen=True)
class Mesh:
    """A mesh of triangles.

    Attributes:
        vertices: (V, 3) float32, in the file's order and unit.
        faces: (F, 3) int32, each in [0, V).
        labels: (V,) uint8, an FDI number or 0 for the gum; None without.
    """

    vertices: np.ndarray
    faces: np.ndarray
    labels: np.ndarray | None = None


def read_mesh(path: str | Path, labels: str | Path | None = None) -> Mesh:
    """Reads a mesh.

    Polygons become triangles. The corners of an STL file that lie at one place become one vertex,
    and so do those of an OBJ or PLY file in which no two faces share any.

    Args:
        labels: a JSON file of Teeth3DS.

    Raises:
        BadFile: a file is missing, damaged or cut short, holds no face or no numbers, or there
            are more or fewer labels than vertices.
    """
    path = Path(path)
    reader = {".obj": _read_obj, ".ply": _read_ply, ".stl": _read_stl}.get(path.suffix.lower())
    if reader is None:
        raise BadFile(path, f"a mesh is .obj, .ply or .stl. Received: {path.suffix or 'no suffix'}")
    try:
        size = path.stat().st_size
        if not 0 < size <= MAX_BYTES:
            raise BadFile(path, f"expected 1 to {MAX_BYTES:,} bytes. Received: {size:,}")
        vertices, faces = reader(path)
    except OSError as error:
        raise BadFile(path, f"it cannot be read. Received: {error.strerror or error}") from error
    _refuse(path, vertices, faces)
    mesh = Mesh(
        np.ascontiguousarray(vertices, np.float32), np.ascontiguousarray(faces, np.int32),
        None if labels is None else read_labels(labels, len(vertices)),
    )  # fmt: skip
    return _welded(mesh) if len(vertices) == 3 * len(faces) else mesh


def read_labels(path: str | Path, count: int) -> np.ndarray:
    """Reads the labels of an upper jaw from a JSON file of Teeth3DS.

    Args:
        count: the number of vertices.

    Returns:
        (count,) uint8 of 0 and FDI numbers, 11..18 and 21..28; deciduous teeth 51..55 and 61..65
        too.

    Raises:
        BadFile: it is no such file, of a lower jaw, or of another number of vertices.
    """
    path = Path(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
        jaw, labels = content.get("jaw", "upper"), np.asarray(content["labels"])
    except OSError as error:
        raise BadFile(path, f"it cannot be read. Received: {error.strerror or error}") from error
    except (ValueError, KeyError, AttributeError, RecursionError) as error:
        raise BadFile(path, f'expected JSON with "labels". Received: {error!r}') from error
    if jaw != "upper":
        raise BadFile(path, f"expected an upper jaw. Received: {jaw!r}")
    if labels.shape != (count,):
        raise BadFile(path, f"expected {count} labels, one per vertex. Received: {labels.shape}")
    known = [0, *range(11, 19), *range(21, 29), *range(51, 56), *range(61, 66)]
    unknown = ~np.isin(labels, known) if labels.dtype.kind in "iu" else np.ones(count, bool)
    if unknown.any():
        value = labels[unknown.argmax()]
        raise BadFile(path, f"a label is 0 or an upper tooth's FDI number. Received: {value}")
    return labels.astype(np.uint8)


def write_obj(path: str | Path, vertices: np.ndarray, faces: np.ndarray) -> None:
    """Writes (V, 3) with 4 decimals and (F, 3), counted from 0, as an OBJ file, atomically.

    Raises:
        DentalzooError: the folder cannot be written, or the disk is full.
    """
    text = "v %.4f %.4f %.4f\n" * len(vertices) % tuple(np.asarray(vertices, float).ravel())
    text += "f %d %d %d\n" * len(faces) % tuple((np.asarray(faces) + 1).ravel())
    write_atomically(path, text, durable=False)


def write_ply(path: str | Path, points: np.ndarray, faces: np.ndarray | None = None) -> None:
    """Writes (V, 3) as float32 and, where there are any, (F, 3), counted from 0, as a binary PLY
    file, atomically.

    Raises:
        DentalzooError: the folder cannot be written, or the disk is full.
    """
    lines = ["ply", "format binary_little_endian 1.0", f"element vertex {len(points)}"]
    lines += [f"property float {axis}" for axis in "xyz"]
    rows = np.empty(0 if faces is None else len(faces), [("corners", "u1"), ("corner", "<i4", 3)])
    if faces is not None:
        lines += [f"element face {len(faces)}", "property list uchar int vertex_indices"]
        rows["corners"], rows["corner"] = 3, faces
    head = "\n".join([*lines, "end_header\n"]).encode()
    body = np.asarray(points, "<f4").tobytes() + rows.tobytes()
    write_atomically(path, head + body, durable=False)


def write_stl(path: str | Path, vertices: np.ndarray, faces: np.ndarray) -> None:
    """Writes (V, 3) and (F, 3), counted from 0, as a binary STL file, atomically.

    Raises:
        DentalzooError: not a mesh, the folder cannot be written, or the disk is full.
    """
    rows = np.zeros(len(faces), [("side", "<f4", 3), ("corners", "<f4", (3, 3)), ("none", "<u2")])
    rows["side"] = normals(vertices, faces)[0]
    rows["corners"] = np.asarray(vertices)[faces]
    head = b"binary STL".ljust(80) + len(faces).to_bytes(4, "little")
    write_atomically(path, head + rows.tobytes(), durable=False)


# ---- formats -------------------------------------------------------------------------------------


def _read_obj(path: Path) -> tuple[np.ndarray, np.ndarray]:
    points, corners, counts, before = [], [], [], []
    with open(path, "rb") as file:
        for number, line in enumerate(file, start=1):
            words = line.split() if line[:1] in b"vf" else ()
            if not words or words[0] not in (b"v", b"f"):
                continue
            if len(words) < 4:
                shown = line[:40].decode(errors="replace").strip()
                reason = f"line {number}: expected 3 numbers or more. Received: {shown!r}"
                raise BadFile(path, reason)
            if words[0] == b"v":
                points += words[1:4]
                continue
            if b"/" in line:
                words = [word.partition(b"/")[0] for word in words]
            corners += words[1:]
            counts.append(len(words) - 1)
            before.append(len(points) // 3)
    try:
        vertices = np.array(points, "S").astype(np.float64).reshape(-1, 3)
        corners = np.array(corners, "S").astype(np.int64)
    except ValueError as error:
        raise BadFile(path, f"expected numbers in its lines v and f. Received: {error}") from error
    counts = np.array(counts, int)
    corners = np.where(corners < 0, corners + np.repeat(before, counts), corners - 1)
    if (counts == 3).all():
        return vertices, corners.reshape(-1, 3)
    return vertices, _fans(corners, counts)


def _fans(indices: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Polygons of `counts` corners each -> triangles (F, 3)."""
    start = np.repeat(np.cumsum(counts) - counts, counts - 2)
    step = np.concatenate([np.arange(1, count - 1) for count in counts])
    return np.stack([indices[start], indices[start + step], indices[start + step + 1]], axis=1)


def _read_ply(path: Path) -> tuple[np.ndarray, np.ndarray]:
    with open(path, "rb") as file:
        head = file.read(10_000)
    vertices, faces = _with_trimesh(path, "ply")
    told = re.search(rb"^element vertex (\d+)", head, re.MULTILINE)
    if told and int(told[1]) != len(vertices):
        raise BadFile(path, f"expected {int(told[1])} vertices. Received: {len(vertices)}")
    return vertices, faces


def _read_stl(path: Path) -> tuple[np.ndarray, np.ndarray]:
    return _with_trimesh(path, "stl")


def _with_trimesh(path: Path, kind: str) -> tuple[np.ndarray, np.ndarray]:
    trimesh = require("trimesh", "jaw_reconstruction")
    try:
        with open(path, "rb") as file, np.errstate(all="ignore"):
            found = trimesh.load_mesh(file, file_type=kind, process=False)
        return np.asarray(found.vertices), np.asarray(found.faces)
    except OSError:
        raise
    except Exception as error:  # whatever the damage leads to
        reason = " ".join(str(error).split())[:100] or type(error).__name__
        raise BadFile(path, f"expected a whole {kind.upper()} file. Received: {reason}") from error


# ---- content -------------------------------------------------------------------------------------


def _refuse(path: Path, vertices: np.ndarray, faces: np.ndarray) -> None:
    if not len(vertices) or not len(faces):
        received = f"{len(vertices)} vertices, {len(faces)} faces"
        raise BadFile(path, f"expected vertices and faces; is it cut short? Received: {received}")
    good = np.isfinite(vertices).all(axis=1)
    if not good.all():
        raise BadFile(
            path,
            "every coordinate must be a number. Received: NaN or infinite ones in "
            f"{(~good).sum()} vertices, the first {good.argmin()}",
        )
    low, high = faces.min(), faces.max()
    if low < 0 or high >= len(vertices):
        wrong = low if low < 0 else high
        raise BadFile(path, f"faces name the vertices 0..{len(vertices) - 1}. Received: {wrong}")


def _welded(mesh: Mesh) -> Mesh:
    """A mesh whose faces share no vertex, with one vertex for each place."""
    if len(np.unique(mesh.faces)) < len(mesh.vertices):
        return mesh
    places, first, place = np.unique(mesh.vertices, axis=0, return_index=True, return_inverse=True)
    faces = place.reshape(-1)[mesh.faces].astype(np.int32)
    return Mesh(places, faces, None if mesh.labels is None else mesh.labels[first])
