"""Bundles at https addresses and in stores."""

import shutil

import pytest

from dentalzoo.bundle.hub import addresses, resolve
from dentalzoo.errors import DentalzooError
from tests.bundle.hub.conftest import FILES, NOISE, content
from tests.bundle.hub.server import sha256
from tests.bundle.hub.test_releases import packed


@pytest.fixture
def fsspec():
    """fsspec with an empty store in memory."""
    module = pytest.importorskip("fsspec")
    system = module.filesystem("memory")
    yield system
    for path in system.ls("/", detail=False):
        system.rm(path, recursive=True)


def fails(message, address, cache, **arguments):
    with pytest.raises(DentalzooError, match=message) as caught:
        resolve(address, **arguments)
    assert "\n" not in str(caught.value) and "Received: " in str(caught.value)
    kept = [path for path in cache.rglob("metadata.json") if ".part" not in str(path)]
    assert kept == []


@pytest.mark.parametrize("name", ["unet.zip", "unet.tar.gz", "unet.tgz", "unet.zip?download=1"])
@pytest.mark.parametrize("top", ["", "unet/"])
def test_an_archive_once(server, cache, files, name, top):
    path = f"/files/{name.partition('?')[0]}"
    server.archives[path] = packed(files, "zip" if "zip" in name else "tar.gz", top)
    address = f"{server.url}/files/{name}"
    place = resolve(address)
    assert content(place) == files and place.name.startswith("unet-")
    assert resolve(address, offline=True) == place
    assert len(server.requests) == 1
    assert {p.suffix for p in place.parent.iterdir() if p != place} == {".lock"}


def test_an_archive_with_its_digest(server, cache, files):
    archive = server.archives["/unet.zip"] = packed(files, "zip")
    address = f"{server.url}/unet.zip"
    fails("not the archive named: its SHA-256", f"{address}#sha256={'0' * 64}", cache)
    fails("an address must be alone or end in", f"{address}#sha256=x", cache)
    assert content(resolve(f"{address}#sha256={sha256(archive)}")) == files


@pytest.mark.parametrize("fault", ["cut", 503])
def test_an_archive_is_resumed(server, files, fault):
    archive = server.archives["/unet.zip"] = packed(files, "zip")
    server.faults = [fault]
    assert content(resolve(f"{server.url}/unet.zip")) == files
    half = f"bytes={len(archive) // 2}-"
    assert server.requests[1][2] == (half if fault == "cut" else None)


def test_an_archive_that_changed_meanwhile(server, cache, files):
    address, place = f"{server.url}/unet.zip", addresses._place(f"{server.url}/unet.zip")
    place.parent.mkdir(parents=True)
    place.with_name(f"{place.name}.archive.part").write_bytes(NOISE[:1000])
    server.archives["/unet.zip"] = packed(files, "zip")
    assert content(resolve(address)) == files


def test_an_archive_that_is_damaged(server, cache, files):
    address = f"{server.url}/unet.zip"
    server.archives["/unet.zip"] = packed({**files, "metadata.json": b"{ }"}, "zip")
    fails("is damaged", address, cache)
    server.archives["/unet.zip"] = packed({"x": b"1"}, "zip")
    fails("must hold a bundle", address, cache)
    server.archives["/unet.zip"] = packed(FILES, "zip")
    fails("SHA256SUMS", address, cache)
    server.archives["/unet.zip"] = packed({**files, "../evil": b"1"}, "zip")
    fails("nothing was unpacked", address, cache)
    server.archives["/unet.zip"] = b"<html>"
    fails("corrupt or incomplete", address, cache)
    server.archives["/unet.zip"] = packed(files, "zip")
    assert content(resolve(address)) == files


def test_an_archive_that_never_ends(server, cache, files, monkeypatch):
    monkeypatch.setattr("dentalzoo.bundle.hub.download.MAX_BYTES", 1000)
    server.archives["/unet.zip"] = packed(files, "zip")
    fails("must have at most 1000 bytes", f"{server.url}/unet.zip", cache)


def test_other_addresses(server, cache):
    fails("cannot be read.*HTTP 404", f"{server.url}/none.zip", cache)
    fails("must be that of an archive", f"{server.url}/page.html", cache)
    fails("downloads are off", f"{server.url}/none.zip", cache, offline=True)
    fails("cannot be read", "http://127.0.0.1:9/none.zip", cache)


def test_a_store(fsspec, cache, files, tmp_path):
    for name, data in files.items():
        fsspec.pipe_file(f"/bucket/unet/{name}", data)
    fsspec.pipe_file("/bucket/unet/notes.txt", b"not of the bundle")
    fsspec.pipe_file("/bucket/unet.zip", packed(files, "zip"))
    for address in ("memory://bucket/unet", "memory://bucket/unet.zip"):
        assert content(resolve(address)) == files
        assert resolve(address, offline=True) == addresses._place(address)
    fails("no such object", "memory://bucket/none", cache / "none")
    digest = sha256(files["SHA256SUMS"])
    assert content(resolve(f"memory://bucket/unet/#sha256={digest}")) == files
    fails("the SHA256SUMS named", f"memory://bucket/unet#sha256={'0' * 64}", cache / "none")
    fails("fsspec can open", "nosuch://bucket/unet", cache / "none")


def test_a_store_with_another_file(fsspec, cache, files):
    for name, data in {**files, "README.md": b"changed"}.items():
        fsspec.pipe_file(f"/bucket/unet/{name}", data)
    fails("not the file that SHA256SUMS lists", "memory://bucket/unet", cache)
    fsspec.pipe_file("/bucket/unet/README.md", files["README.md"])
    assert content(resolve("memory://bucket/unet")) == files


def test_a_store_that_fails(fsspec, cache, files, monkeypatch):
    def fail(*arguments, **options):
        raise RuntimeError("no\nroute")

    for name, data in files.items():
        fsspec.pipe_file(f"/bucket/unet/{name}", data)
    monkeypatch.setattr(type(fsspec), "open", fail)
    fails("RuntimeError: no route", "memory://bucket/unet", cache)


def test_a_folder_beside_a_name_is_not_replaced(server, files):
    address = f"{server.url}/unet.zip"
    server.archives["/unet.zip"] = packed(files, "zip")
    place = addresses._place(address)
    (place / "notes").mkdir(parents=True)
    with pytest.raises(DentalzooError, match="must be a bundle or absent"):
        resolve(address)
    shutil.rmtree(place)
    assert content(resolve(address)) == files
