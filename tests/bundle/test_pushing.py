"""Uploading bundles, from huggingface_hub to a server that speaks the Hub's API."""

import json
import shutil
import sys
from pathlib import Path

import pytest
import yaml

import dentalzoo as dz
from dentalzoo.bundle import integrity, writing
from dentalzoo.bundle.metadata import read_metadata
from dentalzoo.errors import DentalzooError
from tests.bundle.hub.conftest import cache, content, server  # noqa: F401  # fixtures

ROOT = Path(__file__).resolve().parents[2]
RELEASED = ROOT / "pretrained" / "defect_overlay_vae.drawn_defects_v3"
HF = "hf://lab/vae"


@pytest.fixture
def made(tmp_path):
    """A bundle of a lab, whose card has the header for the Hub."""
    copy = shutil.copytree(RELEASED, tmp_path / "made")
    writing._write_description(copy, {**read_metadata(copy), "tag": "of_a_lab_v1"})
    return copy


@pytest.fixture
def hub(server, monkeypatch):  # noqa: F811
    """The server, to which huggingface_hub is logged in."""
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_IMPLICIT_TOKEN", False)
    monkeypatch.setenv("HF_TOKEN", "secret")
    monkeypatch.setenv("HF_HUB_DISABLE_TELEMETRY", "1")
    return server


def test_pushed_and_loaded_again(hub, made, capsys):
    from dentalzoo.cli import main

    assert main(["push", str(made), HF]) == 0
    address = capsys.readouterr().out.strip()
    commit = hub.branches["lab/vae"]["main"]
    assert address == f"{HF}@{commit}"
    assert content(made).items() <= hub.commits[commit].items()
    report = dz.verify(address)
    assert content(Path(report["bundle"])) == content(made)
    assert (report["origin"], report["name"]) == ("unknown", "defect_overlay_vae.of_a_lab_v1")
    uploads = [path for method, path, _, _ in hub.requests if method == "PUT"]
    assert uploads and len(uploads) == len(set(uploads))


def test_pushed_again_without_what_was_removed(hub, made):
    first = dz.push(made, HF)
    repository = hub.commits[hub.branches["lab/vae"]["main"]]
    repository |= {"saved_model/old.bin": b"1", "LICENSE": b"text", "SHA256SUMS.minisig": b"x"}
    metadata = {**read_metadata(made), "summary": "newer"}
    writing._write_description(made, metadata)
    second = dz.push(made, HF)
    assert second != first
    files = hub.commits[second.rpartition("@")[2]]
    assert "LICENSE" in files and ".gitattributes" in files
    assert {k: v for k, v in files.items() if k not in ("LICENSE", ".gitattributes")} == (
        content(made)
    )
    assert dz.verify(second)["files"] == dz.verify(first)["files"]
    assert dz.push(made, HF) == second  # nothing new


def test_a_branch_and_a_private_repository(hub, made):
    assert dz.push(made, f"{HF}@v2", private=True).startswith(f"{HF}@")
    assert "saved_model/saved_model.pb" not in hub.commits[hub.branches["lab/vae"]["main"]]
    assert hub.private == {"lab/vae"}
    dz.push(made, "hf://lab/open")
    with pytest.raises(DentalzooError, match="must be private.*which is public"):
        dz.push(made, "hf://lab/open", private=True)


def fails(message, *arguments, **options):
    with pytest.raises(DentalzooError, match=message) as caught:
        dz.push(*arguments, **options)
    assert "\n" not in str(caught.value) and "Received: " in str(caught.value)


def test_without_a_login(hub, made, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "wrong")
    fails("hf auth login", made, HF)


def test_a_server_that_refuses(hub, made):
    hub.faults = [403]
    fails("must be a repository that can be written", made, HF)
    commit = hub.branches["lab/vae"]["main"]
    assert set(hub.commits[commit]) == {".gitattributes"}  # all or nothing


def test_a_server_that_lies(hub, made):
    lie = {"sha256": "0" * 64, "size": 1, "pointerSize": 130}
    hub.lies = {"saved_model/saved_model.pb": {"lfs": lie}}
    fails("must have the files of the bundle", made, HF)


@pytest.mark.filterwarnings("ignore")
def test_what_is_not_pushed(server, made, tmp_path, monkeypatch):  # noqa: F811
    fails("must be hf://user/name", made, "lab/vae")
    old = shutil.copytree(made, tmp_path / "old")
    card = (old / "README.md").read_text()
    (old / "README.md").write_text(card[card.index("\n---\n") + len("\n---\n") :])
    (old / integrity.SUMS).write_text(integrity.sums(old))
    fails("header that the Hub reads", old, HF)
    (made / "metadata.json").write_text("{}")
    fails("is damaged", made, HF)
    (made / integrity.SUMS).write_text(integrity.sums(made))
    fails("does not describe a bundle", made, HF)
    monkeypatch.setenv("DENTALZOO_OFFLINE", "1")
    fails("is offline", RELEASED, HF)
    assert server.requests == []


def test_without_huggingface_hub(server, made, monkeypatch):  # noqa: F811
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    fails(r"pip install 'dentalzoo\[hub\]'", made, HF)


# ---- the header of a card ------------------------------------------------------------------------


def header(metadata):
    from dentalzoo.bundle.card import model_card

    card = model_card(metadata)
    assert card.startswith("---\n")
    text, _, rest = card.removeprefix("---\n").partition("---\n")
    assert rest.startswith("# ")
    return yaml.safe_load(text)


def test_the_header_for_the_hub():
    unet = ROOT / "pretrained" / "panoramic_unet.panoramic_teeth_v2"
    metadata = read_metadata(unet)
    made = header(metadata)
    metrics = made.pop("model-index")
    assert made == {
        "license": "cc-by-nc-3.0",
        "library_name": "dentalzoo",
        "pipeline_tag": "image-segmentation",
        "tags": ["dental", "tensorflow", "segmentation", "panoramic_unet"],
    }
    (result,) = metrics[0]["results"]
    assert metrics[0]["name"] == "panoramic_unet.panoramic_teeth_v2"
    assert result["dataset"] == {"name": "panoramic_teeth", "type": "panoramic_teeth",
                                 "split": "val"}  # fmt: skip
    assert {"type": "dice", "value": 0.930487} in result["metrics"]
    assert not {"threshold", "images"} & {one["type"] for one in result["metrics"]}


def test_the_header_of_other_licences_data_and_texts():
    metadata = json.loads(json.dumps(read_metadata(RELEASED)))
    metadata["metrics"] = {"a: b": 1.0, "success": True}
    metadata["data"] = {"name": "lab/teeth", "licence": "Ours, v1: ---\n# x"}
    metadata["training"]["init"] = {"address": "hf://lab/base@main"}
    made = header(metadata)
    assert (made["license"], made["license_name"]) == ("other", "ours-v1-x")
    assert made["datasets"] == ["lab/teeth"] and made["base_model"] == "lab/base"
    assert "model-index" not in made
    del metadata["data"]["licence"]
    assert header(metadata)["license"] == "unknown"


def test_huggingface_hub_reads_the_header(made):
    repocard = pytest.importorskip("huggingface_hub")
    data = repocard.ModelCard((made / "README.md").read_text()).data
    assert data.license == "apache-2.0" and data.pipeline_tag == "image-to-image"
    assert [result.metric_type for result in data.eval_results][:1] == ["success"]
