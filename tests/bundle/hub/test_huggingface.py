"""Bundles of the Hugging Face Hub, from a server that lies, truncates, stalls and dies."""

import json
import shutil
import urllib.request
from pathlib import Path

import pytest

import dentalzoo as dz
from dentalzoo.bundle import integrity, task_on_disk
from dentalzoo.bundle.hub import resolve
from dentalzoo.errors import DentalzooError
from tests.bundle.hub.conftest import FILES, content, with_sums
from tests.bundle.hub.server import git_digest

HF = "hf://lab/unet"
LARGE = "saved_model/variables/variables.data-00000-of-00001"
PRETRAINED = Path(__file__).resolve().parents[3] / "pretrained"
RELEASED = PRETRAINED / "defect_overlay_vae.drawn_defects_v3"


def fails(message, cache, address=HF, **arguments):
    """The call raises one line that matches, and leaves no bundle in the cache."""
    with pytest.raises(DentalzooError, match=message) as caught:
        resolve(address, **arguments)
    text = str(caught.value)
    assert "\n" not in text and "Received: " in text
    assert not [path for path in cache.rglob("metadata.json") if ".part" not in str(path)]
    return text


def test_downloads_once_and_pins_the_commit(server, cache, files):
    first = server.add("lab/unet", {**files, ".gitattributes": b"*", "notes.txt": b"more"})
    place = resolve(HF)
    assert place == cache / "hf" / "lab" / "unet" / first
    assert content(place) == files
    asked = len(server.requests)
    server.add("lab/unet", with_sums({**FILES, "README.md": b"newer"}, cache / "newer"), "main")
    assert resolve(HF) == place == resolve(HF, offline=True) == resolve(f"{HF}@{first}")
    assert len(server.requests) == asked
    assert sorted(path.name for path in place.parent.iterdir()) == sorted(
        [first, "refs", "download.lock"]
    )


def test_revisions(server, cache, files):
    first = server.add("lab/unet", files)
    other = with_sums({**FILES, "README.md": b"v2"}, cache / "v2")
    second = server.add("lab/unet", other, "refs/pr/1")
    assert resolve(f"{HF}@refs/pr/1").name == second
    assert resolve(f"{HF}@{first}").name == first
    assert not (cache / "hf" / "lab" / "unet" / "refs" / first).exists()
    assert resolve(HF).name == first
    fails("must be a model repository", cache / "none", f"{HF}@v9")


@pytest.mark.parametrize("how", ["argument", "environment"])
def test_offline_before_the_first_time(server, cache, files, how, monkeypatch):
    server.add("lab/unet", files)
    if how == "environment":
        monkeypatch.setenv("DENTALZOO_OFFLINE", "1")
    fails("downloads are off", cache, offline=how == "argument" or None)
    assert server.requests == []


@pytest.mark.parametrize(
    "address",
    ["hf://", "hf://unet", "hf://lab/unet/x", "hf://../unet", "hf://lab/..", "hf://lab/unet@",
     "hf://lab/unet@a b", "hf://lab/unet@../x", "hf://lab/un\net"],
)  # fmt: skip
def test_no_address(server, cache, address):
    fails("must be hf://user/name", cache, address)
    assert server.requests == []


# ---- faults of the server ------------------------------------------------------------------------


def test_resumes_after_a_cut(server, files):
    server.add("lab/unet", files)
    server.faults = [None] * 4 + ["cut"]
    assert content(resolve(HF)) == files
    ranges = [where for _, path, where, _ in server.requests if "/cdn/" in path and where]
    assert ranges == [f"bytes={len(files[LARGE]) // 2}-"]


@pytest.mark.parametrize("fault", [503, 429, "cut"])
@pytest.mark.parametrize("place", range(6))
def test_one_fault_at_each_file(server, files, fault, place):
    server.add("lab/unet", files)
    server.faults = [None] * place + [fault]
    assert content(resolve(HF)) == files


def test_stalls(server, files, monkeypatch):
    server.add("lab/unet", files)
    server.faults = ["stall"]
    open_url, limits = urllib.request.urlopen, iter([60, 0.3])

    def short(request, timeout):
        return open_url(request, timeout=next(limits, 60))

    monkeypatch.setattr(urllib.request, "urlopen", short)
    assert content(resolve(HF)) == files


def test_dies_and_lives_again(server, cache, files):
    server.add("lab/unet", files)
    server.faults = [None] * 3 + ["die"]
    with pytest.raises(DentalzooError) as caught:
        resolve(HF)
    assert "\n" not in str(caught.value)
    assert not [*cache.rglob("refs/*")]
    server.dead = False
    assert content(resolve(HF)) == files


def test_no_server(cache, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    fails("cannot be reached", cache)


@pytest.mark.parametrize(
    ("lie", "message"),
    [
        ({"size": 3, "lfs": {"sha256": "0" * 64, "size": 3}}, "the Hub must have the file"),
        ({"lfs": {"sha256": None, "size": 3}}, "description of its files"),
        ({"size": -1}, "description of its files"),
        ({"blobId": 7}, "description of its files"),
    ],
)
def test_lies_about_a_large_file(server, cache, files, lie, message):
    server.add("lab/unet", files)
    server.lies = {LARGE: lie}
    fails(message, cache)


@pytest.mark.parametrize("size", [10, 50_000, 60_001])
def test_lies_about_a_size(server, cache, files, size):
    server.add("lab/unet", files)
    digest = next(x.split()[0] for x in files["SHA256SUMS"].decode().splitlines() if LARGE in x)
    server.lies = {LARGE: {"lfs": {"sha256": digest, "size": size}}}
    fails(f"got .* of {size} bytes|SHA-256 should be", cache)
    server.lies = {}
    assert content(resolve(HF)) == files


def test_other_sums_than_the_hub_announced(server, cache, files):
    commit = server.add("lab/unet", files)
    server.commits[commit]["SHA256SUMS"] = files["SHA256SUMS"].replace(b"0", b"1")
    server.lies = {"SHA256SUMS": {"blobId": git_digest(files["SHA256SUMS"])}}
    fails("not the file that the Hub announced: its git digest", cache)


@pytest.mark.parametrize("name", [LARGE, "metadata.json"])
def test_another_file_than_the_sums_list(server, cache, files, name):
    changed = bytes(len(files[name]))
    server.add("lab/unet", {**files, name: changed})
    fails("the Hub must have the file|not the file that SHA256SUMS lists", cache)


def test_a_file_is_missing(server, cache, files):
    del files["README.md"]
    server.add("lab/unet", files)
    fails("must list files of the repository. Received: README.md", cache)


def test_another_repository(server, cache):
    server.add("lab/unet", {"pytorch_model.bin": b"1"})
    fails("must hold a bundle", cache)
    server.add("lab/unet", with_sums({"notes": b"1"}, cache / "made"))
    fails("must hold a bundle", cache)


@pytest.mark.parametrize("name", ["../evil", "/evil", "a/../../evil", "nul", "a\\b"])
def test_hostile_names(server, cache, files, name):
    files["SHA256SUMS"] += f"{'0' * 64}  {name}\n".encode()
    server.add("lab/unet", {**files, name: b"1"})
    fails("must name a file below the bundle", cache)
    assert not [*cache.parent.rglob("*evil*")]


@pytest.mark.parametrize(
    "answer",
    [b"", b"<html>", b"[]", b"{}", b'{"sha": "../x", "siblings": []}', b"[" * 9999,
     json.dumps({"sha": "0" * 40, "siblings": [{}]}).encode(), b"\xff"],
)  # fmt: skip
def test_answers_that_are_none(server, cache, answer):
    server.answer = answer
    fails("must be a description of its files", cache)


def test_an_endless_answer(server, cache, monkeypatch):
    monkeypatch.setattr("dentalzoo.bundle.hub.huggingface._MAX_ANSWER", 1000)
    server.answer = b"[" * 5000
    fails("must have at most 1000 bytes", cache)


def test_too_large_a_bundle(server, cache, files, monkeypatch):
    monkeypatch.setattr("dentalzoo.bundle.hub.huggingface.MAX_BYTES", 1000)
    server.add("lab/unet", files)
    fails("at most 1000 bytes", cache)
    assert len(server.requests) == 2


def test_a_private_repository(server, cache, files, monkeypatch):
    server.add("lab/unet", files)
    server.private.add("lab/unet")
    fails("a private one needs HF_TOKEN", cache)
    monkeypatch.setenv("HF_TOKEN", "secret")
    server.requests.clear()
    assert content(resolve(HF)) == files
    assert {path: token for _, path, _, token in server.requests if "/cdn/" in path}
    for _, path, _, token in server.requests:  # storage is another company's machine
        assert token == (None if "/cdn/" in path else "Bearer secret")


# ---- the commands --------------------------------------------------------------------------------


def test_verify_and_task_take_the_address(server, tmp_path, capsys):
    server.add("lab/vae", content(RELEASED))
    assert task_on_disk("hf://lab/vae") is None
    assert dz.verify("hf://lab/vae")["origin"] == "released"
    assert task_on_disk("hf://lab/vae") == "superimposition"
    copy = shutil.copytree(RELEASED, tmp_path / "copy")
    metadata = json.loads((copy / "metadata.json").read_text())
    (copy / "metadata.json").write_text(json.dumps({**metadata, "tag": "of_a_lab_v1"}))
    (copy / "SHA256SUMS").write_text(integrity.sums(copy))
    server.add("lab/other", content(copy))
    from dentalzoo.cli import main

    assert main(["verify", "hf://lab/other"]) == 0
    assert "unknown: not a released bundle" in capsys.readouterr().out
    assert main(["verify", "hf://lab/none", "--offline"]) == 2
    assert "downloads are off" in capsys.readouterr().err
