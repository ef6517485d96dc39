"""Files of meshes as programs write them: each is read vertex by vertex, or refused in one line."""

import re
import struct

import numpy as np
import pytest

from dentalzoo.data.io.mesh_files import read_mesh, write_ply, write_stl
from dentalzoo.errors import BadFile

# A tent of a square and four triangles, whose last vertex is in no face
VERTICES = [[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [0.5, 0.5, 1.25e1], [9, 9, 9]]
POLYGONS = [[0, 1, 2, 3], [0, 1, 4], [1, 2, 4], [2, 3, 4], [3, 0, 4]]
TRIANGLES = [[0, 1, 2], [0, 2, 3], *POLYGONS[1:]]


def obj_text(polygons=POLYGONS):
    lines = ["v " + " ".join(map(str, vertex)) for vertex in VERTICES]
    return "\n".join([*lines, *("f " + " ".join(str(i + 1) for i in p) for p in polygons), ""])


def read(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_mesh(path)


def refused(path, content):
    with pytest.raises(BadFile) as error:
        read(path, content)
    text = str(error.value)
    assert "\n" not in text and "must" in text and "Received: " in text
    return text


# ---- OBJ -----------------------------------------------------------------------------------------

OBJ = obj_text()
OBJ_VARIANTS = {
    "plain": OBJ,
    "byte-order mark": "\ufeff" + OBJ,
    "UTF-16": ("\ufeff" + OBJ).encode("utf-16-le"),
    "UTF-16, big endian": ("\ufeff" + OBJ).encode("utf-16-be"),
    "indented by blanks": OBJ.replace("v ", "   v ").replace("f ", "  f "),
    "indented by tabs": OBJ.replace("v ", "\tv\t").replace("f ", "\tf "),
    "CR": OBJ.replace("\n", "\r"),
    "CRLF": OBJ.replace("\n", "\r\n"),
    "colours": re.sub("(?m)^(v.*)", r"\1 0.1 0.2 0.3", OBJ),
    "weights": re.sub("(?m)^(v.*)", r"\1 1.0", OBJ),
    "no line end": OBJ.rstrip(),
    "comments": "# v 7 7 7\n" + OBJ.replace("\nf", " # top\nf").replace("f 1 2 5", "f 1 2 5# side"),
    "a path in a comment": "# C:\\scans\\\n" + OBJ,
    "a path in a group": "mtllib C:\\scans\\\n" + OBJ,
    "continued lines": OBJ.replace("v 1 1 0", "v 1 \\\n  1 \\\n 0").replace("f 2 3", "f 2\\\n 3"),
    "texture": OBJ.replace("f 1 2 5", "vt 0 0\nf 1/1 2/1 5/1"),
    "normals": OBJ.replace("f 1 2 5", "vn 0 0 1\nf 1//1 2//1 5//1"),
    "both": OBJ.replace("f 1 2 5", "vt 0 0\nvn 0 0 1\nf 1/1/1 2/1/1 5/1/1"),
    "counted back": OBJ.replace("f 1 2 5", "f -6 -5 -2").replace("f 1 2 3 4", "f -6 -5 -4 -3"),
    "exponents": OBJ.replace("v 1 0 0", "v 1.0E+0 0e5 -0.").replace("v 9 9 9", "v 9e0 +9 .9e1"),
    "other lines": "o jaw\ng a\ns off\nusemtl x\nvp 1 2 3\n" + OBJ + "l 1 2\np 1\n",
}


@pytest.mark.parametrize("name", OBJ_VARIANTS)
def test_an_obj_file_keeps_every_vertex_in_its_place(tmp_path, name):
    mesh = read(tmp_path / "a.obj", OBJ_VARIANTS[name])
    assert mesh.vertices.tolist() == np.float32(VERTICES).tolist()
    assert mesh.faces.tolist() == TRIANGLES


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (OBJ.replace("f 1 2 5", "f 1 2 1e20"), "1e20"),
        (OBJ.replace("f 1 2 5", "f 1 2 99999999999999999999"), "must hold numbers"),
        (OBJ.replace("f 1 2 5", "f 1 2 9223372036854775807"), "indices of vertices 0..5"),
        (OBJ.replace("f 1 2 5", "f 1 2 -9223372036854775808"), "indices of vertices 0..5"),
        (OBJ.replace("f 1 2 5", "f 1 2 7"), "indices of vertices 0..5. Received: 6"),
        (OBJ.replace("f 1 2 5", "f 1 2 -7"), "indices of vertices 0..5. Received: -1"),
        (OBJ.replace("f 1 2 5", "f 1 2 1.5"), "must hold numbers"),
        (OBJ.replace("f 1 2 5", "f 1 /2 5"), "must hold numbers"),
        (OBJ.replace("f 1 2 5", "f 1 2 \\"), "must hold numbers"),  # swallows the next line
        (OBJ.replace("v 9 9 9", "v 9,0 9,0 9,0"), "must hold numbers"),
        (OBJ.replace("v 9 9 9", "v 9 9"), "line 6: must have at least 3 numbers"),
        (OBJ.replace("v 9 9 9", "v"), "line 6: must have at least 3 numbers"),
        (OBJ.replace("v 9 9 9", "v 9 9 inf"), "in 1 vertices, the first with index 5"),
        (OBJ.replace("v 9 9 9", "v 9 9 -Infinity"), "in 1 vertices, the first with index 5"),
        (OBJ.replace("v 9 9 9", "v 9 9 1e39"), "in 1 vertices, the first with index 5"),
        (OBJ.replace("v 9 9 9", "v 9 9 1e999"), "in 1 vertices, the first with index 5"),
        (OBJ.replace("v 9 9 9", f"v 9 9 {'9' * 100}"), "a number of 100 characters"),
        (OBJ.replace("v 9 9 9", "v 9 9 9\0\0"), "a zero byte"),
        (b"\xff\xfe" + OBJ.encode("utf-16-le")[:-1], "damaged UTF-16"),
    ],
)
def test_damaged_obj_files_are_refused(tmp_path, content, reason):
    assert reason in refused(tmp_path / "a.obj", content)


# ---- PLY -----------------------------------------------------------------------------------------

XYZ = ("float x", "float y", "float z")
STRUCT = {"float": "f", "double": "d", "uchar": "B", "int": "i", "uint": "I", "short": "h"}


def ply(kind="binary_little_endian", before=(), after=(), polygons=TRIANGLES, texture=False,
        eol="\n", index="int", count="uchar", scalar="float", faces_first=False,
        name="vertex_indices", corner_flags=False):  # fmt: skip
    """Write a PLY file by its definition, independently of the reader."""
    order = ">" if "big" in kind else "<"
    vertex = [
        *((b, 7) for b in before),
        *((f"{scalar} {a}", a) for a in "xyz"),
        *((a, 7) for a in after),
    ]
    vertex_head = [f"element vertex {len(VERTICES)}", *(f"property {p}" for p, _ in vertex)]
    face_head = [f"element face {len(polygons)}"]
    face_head += ["property uchar flags"] * corner_flags
    face_head += [f"property list {count} {index} {name}"]
    face_head += ["property list uchar float texcoord", "property int material"] * texture
    vertex_rows = [
        [(p.split()[0], row["xyz".index(v)] if isinstance(v, str) else v) for p, v in vertex]
        for row in VERTICES
    ]
    face_rows = []
    for polygon in polygons:
        row = [("uchar", 1)] * corner_flags
        row += [(count, len(polygon)), *((index, i) for i in polygon)]
        if texture:
            row += [("uchar", 2 * len(polygon)), *[("float", 0.5)] * (2 * len(polygon)), ("int", 0)]
        face_rows.append(row)
    parts = [(vertex_head, vertex_rows), (face_head, face_rows)]
    parts = parts[::-1] if faces_first else parts
    head = ["ply", f"format {kind} 1.0", "comment TextureFile a.png", "comment end_header later"]
    head += [line for lines, _ in parts for line in lines]
    head = eol.join([*head, "end_header", ""]).encode()
    rows = [row for _, rows in parts for row in rows]
    if kind == "ascii":
        return head + "".join(" ".join(str(v) for _, v in row) + eol for row in rows).encode()
    return head + b"".join(struct.pack(order + STRUCT[t], v) for row in rows for t, v in row)


PLY_VARIANTS = {
    f"{kind}, {name}": ply(kind, **options)
    for kind in ("ascii", "binary_little_endian", "binary_big_endian")
    for name, options in {
        "plain": {},
        "polygons": {"polygons": POLYGONS},
        "texture of corners": {"texture": True},
        "texture of corners of polygons": {"texture": True, "polygons": POLYGONS},
        "texture before": {"corner_flags": True, "texture": True},
        "colours and normals": {"before": ["uchar red"], "after": ["float nx", "short s"]},
        "texture of vertices": {"after": ["float u", "float v"]},
        "faces first": {"faces_first": True, "polygons": POLYGONS},
        "double": {"scalar": "double", "index": "uint", "count": "int"},
        "vertex_index": {"name": "vertex_index"},
        "another name": {"name": "indices"},
        "CRLF": {"eol": "\r\n"},
        "CR": {"eol": "\r"},
    }.items()
} | {
    "trailing bytes": ply() + b"\0\1\2" * 99,
    "trailing lines": ply("ascii") + b"\n\n",
    "blank lines": ply("ascii").replace(b"end_header\n", b"end_header\n\n"),
    "byte-order mark": b"\xef\xbb\xbf" + ply("ascii"),
    "corners without area": ply(polygons=[[0, 1], *POLYGONS, [2], []]),
}


@pytest.mark.parametrize("name", PLY_VARIANTS)
def test_a_ply_file_keeps_every_vertex_in_its_place(tmp_path, name, capfd):
    mesh = read(tmp_path / "a.ply", PLY_VARIANTS[name])
    assert mesh.vertices.tolist() == VERTICES
    assert mesh.faces.tolist() == TRIANGLES
    assert capfd.readouterr() == ("", "")


def test_more_elements_lie_around_those_that_are_read(tmp_path):
    head, _, body = ply().partition(b"end_header\n")
    before = b"element camera 2\nproperty double a\nproperty list uchar short b\nelement vertex"
    head = head.replace(b"element vertex", before) + b"element edge 1\nproperty int v\nend_header\n"
    cameras = struct.pack("<dBhdBhh", 1, 1, 5, 2, 2, 6, 7)
    mesh = read(tmp_path / "a.ply", head + cameras + body + struct.pack("<i", 3))
    assert mesh.vertices.tolist() == VERTICES and mesh.faces.tolist() == TRIANGLES


@pytest.mark.parametrize("kind", ["ascii", "binary_little_endian"])
@pytest.mark.parametrize("options", [{}, {"texture": True}, {"polygons": POLYGONS}])
def test_truncated_ply_files_are_refused_wherever_they_end(tmp_path, kind, options):
    content = ply(kind, **options).rstrip(b"\n")
    # the last digit of a text may be lost unnoticed
    for end in range(1, len(content) - (2 if kind == "ascii" else 0)):
        try:
            mesh = read(tmp_path / "a.ply", content[:end])
        except BadFile as error:
            assert "must be a whole PLY file" in error.reason
        else:
            pytest.fail(f"read {end} of {len(content)} bytes: {mesh}")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (ply("ascii").replace(b"0.5 0.5", b"0,5 0,5"), "could not convert"),
        (ply("ascii").replace(b"0.5 0.5 12.5", b"0.5 0.5 12.5 1"), "more values than declared"),
        (ply("ascii").replace(b"0.5 0.5 12.5", b"0.5 0.5"), "a row without its z"),
        (ply().replace(b"float y", b"float yy"), "no x, y, z of vertices"),
        (ply().replace(b"element face", b"element tristrips"), "triangle strips are not read"),
        (ply().replace(b"float z", b"half z"), "a header with the line 'property half z'"),
        (ply().replace(b"vertex 6", b"vertex 99999999999999"), "is it truncated?"),
        (ply().replace(b"vertex 6", b"vertex -6"), "a header with the line"),
        (ply().replace(b"1.0\n", b"1.0\nelement vertex 6\n"), "a header with the line"),
        (ply().replace(b"little", b"middle"), "a header with the line"),
        (ply().replace(b"float y", b"float x"), "two properties of vertex of one name"),
        (ply().replace(b"end_header\n", b"end\n"), "no header from ply to end_header"),
        (ply("ascii", index="float").replace(b"\n3 0 1 2", b"\n3 0 1 2.5"), "are no integers"),
    ],
)
def test_damaged_ply_files_are_refused(tmp_path, content, reason):
    assert reason in refused(tmp_path / "a.ply", content)


def test_a_header_that_lies_takes_no_memory(tmp_path):
    content = ply().replace(b"property list uchar int", b"property list uint int")
    refused(tmp_path / "a.ply", content)


# ---- STL -----------------------------------------------------------------------------------------


@pytest.fixture
def binary_stl(tmp_path):
    write_stl(tmp_path / "x.stl", np.float32(VERTICES), np.array(TRIANGLES))
    return (tmp_path / "x.stl").read_bytes()


def text_stl():
    facets = []
    for face in TRIANGLES:
        corners = [f"      vertex {' '.join(map(str, VERTICES[i]))}" for i in face]
        facets += [" facet normal 0 0 1", "  outer loop", *corners, "  endloop", " endfacet"]
    return "\n".join(["solid vertex of facet", *facets, "endsolid vertex of facet", ""])


def corners(mesh):
    return mesh.vertices[mesh.faces].tolist()


def test_a_binary_stl_file_may_say_solid_and_have_bytes_behind(tmp_path, binary_stl):
    expected = np.float32(VERTICES)[np.array(TRIANGLES)].tolist()
    solid = b"solid jaw facet vertex".ljust(80) + binary_stl[80:]
    for content in (binary_stl, solid):
        for rest in (b"", b"\0", b"\0" * 49, b"\0" * 50, b"\n", b"signed by a scanner" * 9):
            assert corners(read(tmp_path / "a.stl", content + rest)) == expected


def test_a_text_stl_file_in_any_case_and_with_any_line_end(tmp_path):
    expected = np.float32(VERTICES)[np.array(TRIANGLES)].tolist()
    text = text_stl()
    two = text + text.replace("vertex of facet", "second")
    for content in (text, text.upper(), text.replace("\n", "\r\n"), text.replace("\n", "\r"),
                    "\ufeff" + text, "\n " + text, text.replace("endsolid", "end solid"),
                    text.replace("12.5", "1.25E+01")):  # fmt: skip
        assert corners(read(tmp_path / "a.stl", content)) == expected
    assert corners(read(tmp_path / "a.stl", two)) == expected * 2


def test_damaged_stl_files_are_refused(tmp_path, binary_stl):
    path, text = tmp_path / "a.stl", text_stl()
    for end in (1, 79, 83, 84, 100, len(binary_stl) - 1):
        assert "truncated" in refused(path, binary_stl[:end])
    fewer = binary_stl[:80] + struct.pack("<I", 3) + binary_stl[84:]
    assert "must have 3 faces, as declared" in refused(path, fewer)
    none = binary_stl[:80] + struct.pack("<I", 0) + binary_stl[84:]
    assert "must have 0 faces, as declared" in refused(path, none)
    assert "must hold 3 numbers" in refused(path, text.replace("12.5", "12,5"))
    assert "must hold 3 numbers" in refused(path, text.replace("0.5 0.5 12.5", "0.5 0.5"))
    assert "is it truncated?" in refused(path, text[: text.index("endsolid")])
    assert "3 vertices each" in refused(path, text.replace("   vertex 1 1 0\n", "", 1))
    assert "finite" in refused(path, text.replace("12.5", "nan"))
    huge = binary_stl[:96] + struct.pack("<f", np.inf) + binary_stl[100:]
    assert "finite" in refused(path, huge)


def test_surfaces_with_two_sides_are_read_once(tmp_path):
    both = POLYGONS[1:] + [polygon[::-1] for polygon in POLYGONS[1:]]
    mesh = read(tmp_path / "a.obj", obj_text([POLYGONS[0], *both]))
    assert mesh.faces.tolist() == TRIANGLES and len(mesh.vertices) == len(VERTICES)
    write_stl(tmp_path / "a.stl", np.float32(VERTICES), np.array(both))
    assert len(read_mesh(tmp_path / "a.stl").faces) == 4


def test_suffixes_in_capitals(tmp_path):
    write_ply(tmp_path / "A.PLY", np.float32(VERTICES), np.array(TRIANGLES))
    assert read_mesh(tmp_path / "A.PLY").vertices.tolist() == VERTICES
    assert read(tmp_path / "A.OBJ", OBJ).faces.tolist() == TRIANGLES
