"""Read and write meshes as OBJ, PLY and STL, and read the labels of Teeth3DS that go with them.

Each format has a reader of its own in `mesh_obj`, `mesh_ply` and `mesh_stl`: general readers change
the order or the number of the vertices, and a label belongs to a vertex by its index.
"""

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from dentalzoo.atomic import write_atomically
from dentalzoo.data.io.mesh_obj import read_obj
from dentalzoo.data.io.mesh_ply import read_ply
from dentalzoo.data.io.mesh_stl import read_stl
from dentalzoo.errors import BadFile
from dentalzoo.ops.meshes import join_seams, normals

MESH_SUFFIXES = frozenset((".obj", ".ply", ".stl"))
MAX_BYTES = 1_000_000_000  # ours: 20 times the largest scan of Teeth3DS as OBJ


@dataclass(frozen=True)
class Mesh:
    """A mesh of triangles.

    Attributes:
        vertices: (V, 3) float32, in the file's order and unit of length.
        faces: (F, 3) int32, indices of vertices in [0, V).
        labels: (V,) uint8, FDI numbers and 0 for gum; None for a mesh without labels.
    """

    vertices: np.ndarray
    faces: np.ndarray
    labels: np.ndarray | None = None


def read_mesh(path: str | Path, labels: str | Path | None = None) -> Mesh:
    """Read a mesh.

    Polygons are split into triangles. Where no two faces share a vertex, as in STL files, vertices
    at the same position are merged; of other files all are kept, and the faces of two sides of a
    seam get the same ones. Of surfaces with two sides, each face once in either winding, the first
    side is read: both would cancel in the normals.

    Args:
        path: an .obj, .ply or .stl file.
        labels: a JSON file of Teeth3DS.

    Raises:
        BadFile: a file is missing, damaged or truncated, has no faces or coordinates that are not
            finite, or the number of labels is not the number of vertices.
    """
    path = Path(path)
    reader = {".obj": read_obj, ".ply": read_ply, ".stl": read_stl}.get(path.suffix.lower())
    if reader is None:
        received = path.suffix or "no suffix"
        raise BadFile(path, f"a mesh must be .obj, .ply or .stl. Received: {received}")
    try:
        size = path.stat().st_size
        if not 0 < size <= MAX_BYTES:
            raise BadFile(path, f"must have 1 to {MAX_BYTES:,} bytes. Received: {size:,}")
        with np.errstate(all="ignore"):  # what becomes NaN or infinite is refused by `_check`
            vertices, faces = reader(path)
            vertices = np.ascontiguousarray(vertices, np.float32)
    except OSError as error:
        raise BadFile(path, f"cannot be read. Received: {error.strerror or error}") from error
    _check(path, vertices, faces)
    mesh = Mesh(
        vertices, np.ascontiguousarray(faces, np.int32),
        None if labels is None else read_labels(labels, len(vertices)),
    )  # fmt: skip
    if len(vertices) == 3 * len(faces):
        mesh = _merge_vertices(mesh)
    return replace(mesh, faces=_one_sided(join_seams(mesh.vertices, mesh.faces)))


def read_labels(path: str | Path, count: int) -> np.ndarray:
    """Read the labels of an upper jaw from a JSON file of Teeth3DS.

    Args:
        path: the JSON file.
        count: number of vertices.

    Returns:
        (count,) uint8: 0 for gum, and FDI numbers: 11..18 and 21..28, deciduous teeth 51..55 and
        61..65.

    Raises:
        BadFile: it is not such a file, or of a lower jaw, or of another number of vertices.
    """
    path = Path(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
        jaw, labels = content.get("jaw", "upper"), np.asarray(content["labels"])
    except OSError as error:
        raise BadFile(path, f"cannot be read. Received: {error.strerror or error}") from error
    except (ValueError, KeyError, AttributeError, RecursionError) as error:
        raise BadFile(path, f'must be JSON with "labels". Received: {error!r}') from error
    if jaw != "upper":
        raise BadFile(path, f"must be of an upper jaw. Received: {jaw!r}")
    if labels.shape != (count,):
        raise BadFile(path, f"must hold {count} labels, one per vertex. Received: {labels.shape}")
    known = [0, *range(11, 19), *range(21, 29), *range(51, 56), *range(61, 66)]
    unknown = ~np.isin(labels, known) if labels.dtype.kind in "iu" else np.ones(count, bool)
    if unknown.any():
        value = labels[unknown.argmax()]
        raise BadFile(
            path, f"labels must be 0 or the FDI number of an upper tooth. Received: {value}"
        )
    return labels.astype(np.uint8)


def encode_obj(vertices: np.ndarray, faces: np.ndarray) -> bytes:
    """Return a mesh as the bytes of an OBJ file with 4 decimals.

    Args:
        vertices: (V, 3).
        faces: (F, 3) indices of vertices, from 0.
    """
    text = "v %.4f %.4f %.4f\n" * len(vertices) % tuple(np.asarray(vertices, float).ravel())
    text += "f %d %d %d\n" * len(faces) % tuple((np.asarray(faces) + 1).ravel())
    return text.encode()


def encode_ply(points: np.ndarray, faces: np.ndarray | None = None) -> bytes:
    """Return a point cloud or a mesh as the bytes of a binary PLY file of float32.

    Args:
        points: (V, 3).
        faces: (F, 3) indices of points, from 0; None for a point cloud.
    """
    lines = ["ply", "format binary_little_endian 1.0", f"element vertex {len(points)}"]
    lines += [f"property float {axis}" for axis in "xyz"]
    rows = np.empty(0 if faces is None else len(faces), [("corners", "u1"), ("corner", "<i4", 3)])
    if faces is not None:
        lines += [f"element face {len(faces)}", "property list uchar int vertex_indices"]
        rows["corners"], rows["corner"] = 3, faces
    head = "\n".join([*lines, "end_header\n"]).encode()
    return head + np.asarray(points, "<f4").tobytes() + rows.tobytes()


def encode_stl(vertices: np.ndarray, faces: np.ndarray) -> bytes:
    """Return a mesh as the bytes of a binary STL file.

    Args:
        vertices: (V, 3).
        faces: (F, 3) indices of vertices, from 0.

    Raises:
        DentalzooError: not a mesh.
    """
    rows = np.zeros(len(faces), [("side", "<f4", 3), ("corners", "<f4", (3, 3)), ("none", "<u2")])
    rows["side"] = normals(vertices, faces)[0]
    rows["corners"] = np.asarray(vertices)[faces]
    return b"binary STL".ljust(80) + len(faces).to_bytes(4, "little") + rows.tobytes()


def write_obj(path: str | Path, vertices: np.ndarray, faces: np.ndarray) -> None:
    """Write the file of `encode_obj`, atomically; its folder is created.

    Raises:
        DentalzooError: the folder is not writable, or the disk is full.
    """
    write_atomically(path, encode_obj(vertices, faces), durable=False)


def write_ply(path: str | Path, points: np.ndarray, faces: np.ndarray | None = None) -> None:
    """Write the file of `encode_ply`, atomically; its folder is created.

    Raises:
        DentalzooError: the folder is not writable, or the disk is full.
    """
    write_atomically(path, encode_ply(points, faces), durable=False)


def write_stl(path: str | Path, vertices: np.ndarray, faces: np.ndarray) -> None:
    """Write the file of `encode_stl`, atomically; its folder is created.

    Raises:
        DentalzooError: not a mesh, the folder is not writable, or the disk is full.
    """
    write_atomically(path, encode_stl(vertices, faces), durable=False)


# ---- content -------------------------------------------------------------------------------------


def _check(path: Path, vertices: np.ndarray, faces: np.ndarray) -> None:
    if not len(vertices) or not len(faces):
        received = f"{len(vertices)} vertices, {len(faces)} faces"
        raise BadFile(path, f"must have vertices and faces; is it truncated? Received: {received}")
    good = np.isfinite(vertices).all(axis=1)
    if not good.all():
        raise BadFile(
            path,
            "coordinates must be finite. Received: NaN or infinite ones in "
            f"{(~good).sum()} vertices, the first with index {good.argmin()}",
        )
    low, high = faces.min(), faces.max()
    if low < 0 or high >= len(vertices):
        wrong = low if low < 0 else high
        raise BadFile(
            path, f"faces must be indices of vertices 0..{len(vertices) - 1}. Received: {wrong}"
        )


def _one_sided(faces: np.ndarray) -> np.ndarray:
    """Return faces (F, 3) without those that are another one before with its winding reversed."""
    corners = np.sort(faces, axis=1)
    order = np.lexsort(corners.T)  # stable: the first of equal ones stays the first
    new = np.ones(len(faces), bool)
    new[1:] = (np.diff(corners[order], axis=0) != 0).any(axis=1)
    if new.all():
        return faces
    rising = np.diff(faces, axis=1, append=faces[:, :1])[order] > 0
    even = rising.sum(axis=1) == 2  # two of its three steps around: the winding 0, 1, 2
    first = even[new][np.cumsum(new) - 1]  # of each face, the winding of the first that equals it
    return faces[np.sort(order[even == first])]


def _merge_vertices(mesh: Mesh) -> Mesh:
    """Merge vertices at the same position, if no two faces share a vertex."""
    if len(np.unique(mesh.faces)) < len(mesh.vertices):
        return mesh
    positions, first, index = np.unique(
        mesh.vertices, axis=0, return_index=True, return_inverse=True
    )
    faces = index.reshape(-1)[mesh.faces].astype(np.int32)
    return Mesh(positions, faces, None if mesh.labels is None else mesh.labels[first])
