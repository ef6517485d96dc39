"""Shared by the tests of the hub: an empty cache, a server, and a small bundle."""

import os

import pytest

from dentalzoo.bundle import integrity
from dentalzoo.bundle.hub import download
from tests.bundle.hub import server as hub_server

NOISE = os.urandom(60_000)
FILES = {
    "metadata.json": b"{}",
    "README.md": b"---\nlicense: mit\n---\n# A bundle\n",
    "saved_model/saved_model.pb": NOISE[:20_000],
    "saved_model/variables/variables.index": NOISE[:500],
    "saved_model/variables/variables.data-00000-of-00001": NOISE,
}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """An empty cache, no pauses, and no settings of the environment."""
    monkeypatch.setenv("DENTALZOO_CACHE", str(tmp_path / "cache"))
    names = ("DENTALZOO_PRETRAINED", "DENTALZOO_OFFLINE", "DENTALZOO_INDEX", "HF_TOKEN")
    for name in (*names, "HF_ENDPOINT", "http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(download, "PAUSE", 0.0)
    return tmp_path / "cache"


@pytest.fixture
def server(monkeypatch):
    """A Hub that HF_ENDPOINT names."""
    with hub_server.running() as running:
        monkeypatch.setenv("HF_ENDPOINT", running.url)
        yield running


def with_sums(files, folder):
    """The files of a bundle together with their SHA256SUMS, which are made in a folder."""
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return {**files, "SHA256SUMS": integrity.sums(folder).encode()}


@pytest.fixture
def files(tmp_path):
    """The files of a whole bundle, path -> content."""
    return with_sums(FILES, tmp_path / "made")


def content(folder):
    """The files of a folder, path -> content."""
    return {
        p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()
    }
