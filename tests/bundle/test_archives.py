"""An archive is unpacked completely or not at all, whatever it holds."""

import gzip
import io
import stat
import tarfile
import zipfile

import numpy as np
import pytest

from dentalzoo.bundle.archives import unpack
from dentalzoo.errors import BadFile

LIMIT = 1 << 20
FILES = {"a/metadata.json": b"{}", "a/deep/er/file": b"\0" * 1000, "empty": b""}


def make_tar(path, members):
    with tarfile.open(path, "w:gz") as file:
        for name, content in members:
            member = tarfile.TarInfo(name)
            if isinstance(content, dict):
                for key, value in content.items():
                    setattr(member, key, value)
                content = b""
            else:
                member.size = len(content)
            file.addfile(member, io.BytesIO(content))
    return path


def make_zip(path, members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members:
            member = zipfile.ZipInfo(name)
            member.compress_type = zipfile.ZIP_DEFLATED
            if isinstance(content, dict):
                member.external_attr, content = content["mode"] << 16, content["to"]
            file.writestr(member, content)
    return path


@pytest.mark.parametrize("make", [make_tar, make_zip])
def test_every_member_is_unpacked(make, tmp_path):
    unpack(make(tmp_path / "x", FILES.items()), tmp_path / "out", LIMIT)
    out = tmp_path / "out"
    unpacked = {
        p.relative_to(out).as_posix(): p.read_bytes() for p in out.rglob("*") if p.is_file()
    }
    assert unpacked == FILES


LINK = {"mode": stat.S_IFLNK | 0o777, "to": b"/etc"}
BAD_NAMES = ["../evil", "a/../../evil", "/evil", "a//evil", "a\\..\\evil", "c:evil"]
BAD = {
    **{f"zip {name}": (make_zip, [("good", b"1"), (name, b"2")]) for name in BAD_NAMES},
    **{f"tar {name}": (make_tar, [("good", b"1"), (name, b"2")]) for name in BAD_NAMES},
    "zip symlink": (make_zip, [("good", b"1"), ("link", LINK)]),
    "tar symlink": (make_tar, [("link", {"type": tarfile.SYMTYPE, "linkname": "/etc"})]),
    "tar hard link": (make_tar, [("link", {"type": tarfile.LNKTYPE, "linkname": "/etc/passwd"})]),
    "tar device": (make_tar, [("null", {"type": tarfile.CHRTYPE})]),
    "tar fifo": (make_tar, [("pipe", {"type": tarfile.FIFOTYPE})]),
    "zip bomb": (make_zip, [("good", b"1"), ("bomb", b"\0" * (LIMIT + 1))]),
    "tar bomb": (make_tar, [("good", b"1"), ("bomb", b"\0" * (LIMIT + 1))]),
    "tar bomb in a header": (make_tar, [("x" * (3 * LIMIT), b"1")]),
    "zip many": (make_zip, [(f"{i}", b"") for i in range(101)]),
    "tar twice": (make_tar, [("file", b"1"), ("file", b"2")]),
    "tar file and folder": (make_tar, [("file", b"1"), ("file/inside", b"2")]),
}


@pytest.mark.parametrize("case", BAD)
def test_a_malicious_archive_is_refused(case, tmp_path, monkeypatch):
    monkeypatch.setattr("dentalzoo.bundle.archives.MAX_MEMBERS", 100)
    make, members = BAD[case]
    inner = tmp_path / "inner"
    inner.mkdir()
    archive = make(inner / "x", members)
    with pytest.raises(BadFile, match="nothing was unpacked. Received: "):
        unpack(archive, inner / "out", LIMIT)
    assert [p.name for p in tmp_path.rglob("*")] == ["inner", "x"]


@pytest.mark.parametrize("make", [make_tar, make_zip])
@pytest.mark.parametrize("damage", ["cut", "flipped", "empty"])
def test_a_damaged_archive_is_refused(make, damage, tmp_path):
    archive = make(tmp_path / "x", [("file", bytes(range(256)) * 400)])
    content = bytearray(archive.read_bytes())
    content[len(content) // 2] ^= 0xFF
    archive.write_bytes({"cut": content[:-30], "flipped": content, "empty": b""}[damage])
    with pytest.raises(BadFile, match="archive is corrupt or incomplete"):
        unpack(archive, tmp_path / "out", LIMIT)
    assert not (tmp_path / "out").exists()


def test_methods_of_compression_that_others_lack_are_refused(tmp_path):
    for method in (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        with zipfile.ZipFile(tmp_path / "x.zip", "w", method) as file:
            file.writestr("a", b"1" * 100)
        with pytest.raises(BadFile, match=f"the method of compression {method}"):
            unpack(tmp_path / "x.zip", tmp_path / "out", LIMIT)
        assert not (tmp_path / "out").exists()


def test_a_sparse_file_without_its_map_is_refused(tmp_path):
    sparse = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": f"{2**50}"}
    archive = make_tar(tmp_path / "x", [("a", {"pax_headers": sparse})])
    with pytest.raises(BadFile, match="archive is corrupt or incomplete"):
        unpack(archive, tmp_path / "out", LIMIT)


@pytest.mark.parametrize("make", [make_tar, make_zip])
def test_flipped_bits_end_in_one_line_or_in_files(make, tmp_path):
    """In the headers of a tar too, which its compression would hide."""
    whole = make(tmp_path / "x", FILES.items()).read_bytes()
    content = gzip.decompress(whole) if make is make_tar else whole
    random, refused = np.random.default_rng(0), 0
    for number in range(400):
        damaged = bytearray(content)
        damaged[random.integers(len(content))] ^= 1 << random.integers(8)
        archive, out = tmp_path / "damaged", tmp_path / f"out_{number}"
        archive.write_bytes(gzip.compress(damaged, 1) if make is make_tar else damaged)
        try:
            unpack(archive, out, LIMIT)
        except BadFile as error:
            assert str(error).isprintable() and not out.exists()
            refused += 1
    assert refused > 10
