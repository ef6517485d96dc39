"""Bundles of others: an index file, an address, and a package; docs/sharing.md word for word."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from dentalzoo.bundle.hub import index, resolve
from dentalzoo.errors import DentalzooError
from tests.bundle.hub.conftest import content
from tests.bundle.hub.server import sha256
from tests.bundle.hub.test_releases import packed

PAGE = Path(__file__).resolve().parents[3] / "docs" / "sharing.md"
NAME = "lab/unet_children_v1"


@pytest.fixture
def shared(files, tmp_path, monkeypatch):
    """A folder that is shared, with a bundle and an index of it."""
    folder = tmp_path / "shared"
    for name, data in files.items():
        path = folder / "unet_children_v1" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    monkeypatch.setenv("DENTALZOO_INDEX", str(folder / "bundles.json"))
    write(folder, {"unet_children_v1": {"address": "unet_children_v1"}})
    return folder


def write(folder, bundles, name="lab"):
    text = json.dumps({"format": 1, "name": name, "bundles": bundles})
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "bundles.json").write_text(text)


def fails(message, name=NAME, **arguments):
    with pytest.raises(DentalzooError, match=message) as caught:
        resolve(name, **arguments)
    assert "\n" not in str(caught.value) and "Received: " in str(caught.value)


def test_a_shared_folder(shared, files, monkeypatch):
    assert resolve(NAME) == shared / "unet_children_v1"
    entry = {"address": "unet_children_v1", "sha256sums": sha256(files["SHA256SUMS"])}
    write(shared, {"unet_children_v1": entry})
    assert resolve(NAME, offline=True) == shared / "unet_children_v1"
    write(shared, {"unet_children_v1": {**entry, "sha256sums": "0" * 64}})
    fails("must be lab/unet_children_v1, whose SHA256SUMS has the SHA-256 000")
    monkeypatch.delenv("DENTALZOO_INDEX")
    fails("There is no model")


def test_a_folder_of_that_path_comes_first(shared, files, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    place = tmp_path / NAME
    place.mkdir(parents=True)
    (place / "metadata.json").write_text("{}")
    assert resolve(NAME) == Path(NAME)


def test_other_names(shared):
    fails(r"did you mean lab/unet_children_v1\?", "lab/unet_childre_v1")
    fails("There is no model", "other/unet_children_v1")
    assert not index.is_name("Lab/x") and not index.is_name("a/b/c") and not index.is_name("../x")


@pytest.mark.parametrize("kind", ["hub", "archive"])
def test_an_index_at_an_address(server, shared, files, monkeypatch, kind):
    server.add("lab/unet", files)
    server.archives["/lab/unet.zip"] = packed(files, "zip")
    address = {"hub": "hf://lab/unet", "archive": "unet.zip"}[kind]
    write(shared, {"unet_children_v1": {"address": address}})
    text = server.archives["/lab/bundles.json"] = (shared / "bundles.json").read_bytes()
    monkeypatch.setenv("DENTALZOO_INDEX", f"{server.url}/lab/bundles.json")
    fails("There is no model", offline=True)
    place = resolve(NAME)
    assert content(place) == files
    asked = len(server.requests)
    assert resolve(NAME) == resolve(NAME, offline=True) == place
    assert len(server.requests) == asked
    server.archives["/lab/bundles.json"] = text.replace(b"children_v1", b"children_v2")
    assert resolve("lab/unet_children_v2") == place  # asked for again: it was not in the copy
    server.archives.clear()
    fails("must be an index that can be read. Received: HTTP 404", "lab/unet_children_v3")


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "{}", '{"format": 2, "name": "lab", "bundles": {}}', "[" * 9999,
     '{"format": 1, "name": "../lab", "bundles": {}}',
     '{"format": 1, "name": "lab", "bundles": {"x/y": {"address": "x"}}}',
     '{"format": 1, "name": "lab", "bundles": {"x": {"address": 7}}}',
     '{"format": 1, "name": "lab", "bundles": {"x": {"address": "x", "sha256sums": "A"}}}',
     " " * (1 << 20) + "{}"],
    ids=range(11),
)  # fmt: skip
def test_files_that_are_no_index(shared, text):
    (shared / "bundles.json").write_text(text)
    fails("must be an index of bundles")


def test_no_file(shared):
    (shared / "bundles.json").unlink()
    fails("bundles.json: must be an index of bundles. Received: No such file")


# ---- packages ------------------------------------------------------------------------------------


def install(site, package, bundles):
    """A package as pip installs it, whose import would be an error."""
    write(site / package, bundles)
    (site / package / "__init__.py").write_text("raise RuntimeError('imported')")
    about = site / f"{package}-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(f"[dentalzoo.bundles]\nlab = {package}\n")


def test_a_package(shared, tmp_path, monkeypatch):
    monkeypatch.delenv("DENTALZOO_INDEX")
    bundle = {"address": str(shared / "unet_children_v1")}
    install(tmp_path / "site", "lab_bundles", {"unet_children_v1": bundle})
    monkeypatch.syspath_prepend(tmp_path / "site")
    assert resolve(NAME) == shared / "unet_children_v1"
    fails("did you mean lab/unet_children_v1", "lab/unet_children_v9")
    install(tmp_path / "site", "lab_more", {"unet_children_v1": bundle})
    fails("must be registered by one package.*lab_bundles, lab_more")


def test_the_page(files, tmp_path):
    """The files and the commands of docs/sharing.md, as they stand there."""
    text = PAGE.read_text()
    written = dict(re.findall(r"`([\w./]+)`[^`]*\n\n```(?:json|toml)\n(.*?)```", text, re.DOTALL))
    assert set(written) == {"shared/bundles.json", "lab_bundles/bundles.json", "pyproject.toml"}
    for name, content_ in written.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content_)
    (tmp_path / "lab_bundles" / "__init__.py").write_text("")
    for folder in ("shared", "lab_bundles"):
        for name, data in files.items():
            path = tmp_path / folder / "unet_children_v1" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
    code = f"from dentalzoo.bundle.hub import resolve; print(resolve({NAME!r}))"
    environment = {**os.environ, "DENTALZOO_INDEX": "shared/bundles.json"}
    assert f"DENTALZOO_INDEX={environment['DENTALZOO_INDEX']}" in text and NAME in text
    run(code, tmp_path, environment, tmp_path / "shared" / "unet_children_v1")
    import tomllib

    project = tomllib.loads(written["pyproject.toml"])
    assert project["project"]["entry-points"] == {"dentalzoo.bundles": {"lab": "lab_bundles"}}
    about = tmp_path / "lab_bundles-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: lab-bundles\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[dentalzoo.bundles]\nlab = lab_bundles\n")
    del environment["DENTALZOO_INDEX"]
    run(code, tmp_path, environment, tmp_path / "lab_bundles" / "unet_children_v1")


def run(code, folder, environment, expected):
    paths = [str(folder), str(PAGE.parents[1])]
    environment = {**environment, "PYTHONPATH": os.pathsep.join(paths)}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, str(expected)), done.stderr
