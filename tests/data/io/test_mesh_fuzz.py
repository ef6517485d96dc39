"""Mutated meshes and views: each is read or refused by our own errors, in one line and quickly."""

import time
import warnings
from pathlib import Path

import numpy as np
import pytest

from dentalzoo.data.io.mesh_files import read_mesh, write_obj, write_ply, write_stl
from dentalzoo.data.io.view_files import read_views
from dentalzoo.data.silhouettes import check_views
from dentalzoo.errors import BadFile

COUNT = 2000
SECONDS = 2.0  # of the processor, for one input of a few kilobytes
HOSTILE = [
    b"1e20", b"-1e400", b"nan", b"inf", b"99999999999999999999", b"-1", b"0", b"4294967295",
    b"2147483648", b"1,5", b"0x10", b"1_0", b"\xff\xfe", b"\0", b"\\\n", b"\r", b"/", b"//", b"#",
    b"-9223372036854775808", b"9" * 400, b" ", b"\n", b"", b"\xc2\xa0", b"end_header\n",
    b"element face 99999999\n", b"property list uchar uchar x\n", b"f -1 -2 -3\n", b"v\n",
    b"solid ",
]  # fmt: skip


def grid():
    """A mesh of 7 x 7 vertices."""
    x, y = (a.ravel() for a in np.mgrid[:7, :7])
    a = np.flatnonzero((x < 6) & (y < 6))
    faces = np.concatenate([np.stack([a, a + 7, a + 1], 1), np.stack([a + 1, a + 7, a + 8], 1)])
    return np.stack([x * 10.0, y * 10.0, np.sin(x + y)], axis=1).astype(np.float32), faces


def mutated(content: bytes, random: np.random.Generator) -> bytes:
    data = bytearray(content)
    for _ in range(random.integers(1, 4)):
        at = int(random.integers(0, len(data) + 1))
        end = min(len(data), at + int(random.integers(1, 40)))
        kind = random.integers(0, 8)
        if kind == 0:
            del data[at:]
        elif kind == 1:
            del data[at:end]
        elif kind == 2:
            data[at:at] = random.bytes(int(random.integers(1, 20)))
        elif kind == 3:
            data[at:at] = data[at:end]
        elif kind == 4 and at < len(data):
            data[at] ^= 1 << int(random.integers(0, 8))
        elif kind == 5:
            data[at:end] = HOSTILE[random.integers(0, len(HOSTILE))]
        elif kind == 6:
            data[at:at] = HOSTILE[random.integers(0, len(HOSTILE))]
        elif kind == 7 and b" " in data:  # a whole word
            words = bytes(data).split(b" ")
            words[random.integers(0, len(words))] = HOSTILE[random.integers(0, len(HOSTILE))]
            data = bytearray(b" ".join(words))
    return bytes(data)


def originals(folder: Path) -> dict[str, bytes]:
    vertices, faces = grid()
    for write, name in ((write_obj, "a.obj"), (write_ply, "a.ply"), (write_stl, "a.stl")):
        write(folder / name, vertices, faces)
    head = ["ply", "format ascii 1.0", f"element vertex {len(vertices)}", "property float x",
            "property float y", "property float z", "property uchar red",
            f"element face {len(faces)}", "property list uchar int vertex_indices",
            "property list uchar float texcoord", "end_header"]  # fmt: skip
    rows = [f"{x:g} {y:g} {z:g} 7" for x, y, z in vertices]
    rows += [f"3 {a} {b} {c} 2 0.5 0.5" for a, b, c in faces]
    big = "\n".join(head[:1] + ["format binary_big_endian 1.0"] + head[2:]) + "\n"
    vertex_type = np.dtype([("v", ">f4", 3), ("red", "u1")])
    face_type = np.dtype([("n", "u1"), ("f", ">i4", 3), ("m", "u1"), ("t", ">f4", 2)])
    vertex_rows, face_rows = np.zeros(len(vertices), vertex_type), np.zeros(len(faces), face_type)
    vertex_rows["v"], face_rows["f"], face_rows["n"], face_rows["m"] = vertices, faces, 3, 2
    facets = [
        "facet normal 0 0 1\nouter loop\n"
        + "".join(f"vertex {x:g} {y:g} {z:g}\n" for x, y, z in vertices[face])
        + "endloop\nendfacet\n"
        for face in faces
    ]
    return {
        "a.obj": (folder / "a.obj").read_bytes(),
        "little.ply": (folder / "a.ply").read_bytes(),
        "big.ply": big.encode() + vertex_rows.tobytes() + face_rows.tobytes(),
        "text.ply": "\n".join([*head, *rows, ""]).encode(),
        "binary.stl": (folder / "a.stl").read_bytes(),
        "text.stl": ("solid a\n" + "".join(facets) + "endsolid a\n").encode(),
    }


def check_refusal(error: BadFile) -> None:
    assert "\n" not in str(error) and len(str(error)) < 600
    assert "Received: " in error.reason


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["a.obj", "little.ply", "big.ply", "text.ply", "binary.stl", "text.stl"]
)
def test_mutated_meshes_are_read_or_refused(tmp_path, name, capfd):
    content, path = originals(tmp_path)[name], tmp_path / f"x{Path(name).suffix}"
    path.write_bytes(content)
    assert len(read_mesh(path).faces) == 72
    random, refused = np.random.default_rng(0), 0
    warnings.simplefilter("error")
    for _ in range(COUNT):
        path.write_bytes(mutated(content, random))
        start = time.process_time()
        try:
            mesh = read_mesh(path)
        except BadFile as error:
            check_refusal(error)
            refused += 1
        else:
            assert np.isfinite(mesh.vertices).all() and len(mesh.faces)
            assert mesh.faces.min() >= 0 and mesh.faces.max() < len(mesh.vertices)
        assert time.process_time() - start < SECONDS
    assert COUNT / 10 < refused < COUNT
    assert capfd.readouterr() == ("", "")


@pytest.mark.slow
def test_mutated_views_are_read_or_refused(tmp_path):
    cv2 = pytest.importorskip("cv2")
    random, numbers = np.random.default_rng(0), list(range(10))
    good = {}
    for number in numbers:
        view = np.zeros((48, 48), np.uint8)
        cv2.circle(view, (24, 24), 12, 200, -1)
        view[20:24, 18 + number : 22 + number] = 90
        good[f"view_{number}.png"] = cv2.imencode(".png", view)[1].tobytes()
    odd = ["view_10.png", "view.png", "3.png", "view_-1.png", "view_99999999999999999999.png"]
    refused = 0
    for turn in range(COUNT):
        folder = tmp_path / f"{turn}"
        folder.mkdir()
        kept = [n for n in good if random.random() > 0.1] or ["view_0.png"]
        for name in kept:
            bad = random.random() < 0.1
            content = mutated(good[name], random) if bad else good[name]
            new = odd[random.integers(0, len(odd))] if random.random() < 0.02 else name
            (folder / new).write_bytes(content)
        if random.random() < 0.2:
            size = int(random.integers(1, 60))
            values = random.integers(0, 256, (size, size), np.uint8)
            (folder / kept[0]).write_bytes(cv2.imencode(".png", values)[1].tobytes())
        start = time.process_time()
        try:
            check_views(folder, *read_views(folder, sorted(folder.iterdir())))
        except BadFile as error:
            check_refusal(error)
            refused += 1
        assert time.process_time() - start < SECONDS * 5
    assert COUNT / 10 < refused < COUNT
