"""A bundle under a released name is the released one: the package has the sums of its sums."""

import importlib.util
import json
import logging
import shutil
from pathlib import Path

import pytest

import dentalzoo as dz
from dentalzoo.bundle import integrity, writing
from dentalzoo.bundle.loaded import Bundle
from dentalzoo.bundle.metadata import read_metadata
from dentalzoo.bundle.released import RELEASED, origin_of, refuse_changed
from dentalzoo.cli import main

ROOT = Path(__file__).resolve().parents[2]
SMALL = "defect_overlay_vae.drawn_defects_v3"


@pytest.fixture(scope="module")
def tool():
    path = ROOT / "tools" / "released_sums.py"
    spec = importlib.util.spec_from_file_location("released_sums", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def changed(tmp_path):
    """A copy of a released bundle, under its name, with another licence and new sums."""
    folder = shutil.copytree(ROOT / "pretrained" / SMALL, tmp_path / SMALL)
    content = json.loads((folder / "metadata.json").read_text())
    content["data"]["licence"] = "none"
    (folder / "metadata.json").write_text(json.dumps(content))
    (folder / integrity.SUMS).write_text(integrity.sums(folder))
    return folder


def test_the_table_is_that_of_pretrained(tool):
    assert tool.main(["--check"]) == 0
    assert {path.name for path in (ROOT / "pretrained").iterdir()} == RELEASED.keys()
    for name, digest in RELEASED.items():
        assert integrity.digest(ROOT / "pretrained" / name) == digest


def test_the_tool_writes_the_table(tool, tmp_path, capsys):
    module = tmp_path / tool.MODULE
    module.parent.mkdir(parents=True)
    shutil.copy(ROOT / tool.MODULE, module)
    for name in ("a.x_v1", "b.y_v1"):
        (tmp_path / "pretrained" / name).mkdir(parents=True)
        (tmp_path / "pretrained" / name / "SHA256SUMS").write_text(name)
    assert tool.main(["--check"], tmp_path) == 1 and "is not that" in capsys.readouterr().err
    assert tool.main([], tmp_path) == 0 and tool.main(["--check"], tmp_path) == 0
    found = {}
    exec(module.read_text(), found)
    assert {*found["RELEASED"]} == {"a.x_v1", "b.y_v1"}


def test_a_released_bundle_is_known_under_any_name(tmp_path, capsys):
    folder = shutil.copytree(ROOT / "pretrained" / SMALL, tmp_path / "mine")
    report = dz.verify(folder)
    assert (report["origin"], report["name"]) == ("released", SMALL)
    refuse_changed(folder)
    assert main(["verify", str(folder)]) == 0
    assert f"all as listed; the released {SMALL}\n" in capsys.readouterr().out


def test_a_changed_bundle_is_refused_by_its_name(changed, monkeypatch, capsys):
    expected = f"must be the released {SMALL}, .*{RELEASED[SMALL]}; nothing was loaded"
    with pytest.raises(dz.DentalzooError, match=expected):
        dz.load(changed)
    monkeypatch.setenv("DENTALZOO_PRETRAINED", str(changed.parent))
    for name in (SMALL, "defect_overlay_vae"):
        with pytest.raises(dz.DentalzooError, match=expected):
            dz.load(name)
    link = changed.parent / "link"
    link.symlink_to(changed)
    with pytest.raises(dz.DentalzooError, match=expected):
        dz.load(link)
    assert dz.verify(SMALL)["origin"] == "changed"
    assert main(["verify", str(changed)]) == 1
    assert "changed: not the released bundle, whose name it has" in capsys.readouterr().out


def test_a_changed_bundle_under_another_name_is_said(changed, monkeypatch, caplog):
    folder = changed.rename(changed.parent / "mine")
    assert origin_of(folder) == "unknown" and origin_of(folder, SMALL) == "changed"
    assert dz.verify(folder)["origin"] == "changed"

    class Reached(Exception):
        pass

    def reached():
        raise Reached

    monkeypatch.setattr("dentalzoo.bundle.runtimes.prepare_tensorflow", reached)
    with caplog.at_level(logging.WARNING), pytest.raises(Reached):
        dz.load(folder, runtime="tensorflow")
    assert f"is not the released {SMALL}, but" in caplog.text


def test_a_bundle_of_ones_own_is_unknown(changed):
    folder = changed.rename(changed.parent / "mine")
    content = json.loads((folder / "metadata.json").read_text()) | {"tag": None}
    (folder / "metadata.json").write_text(json.dumps(content))
    (folder / integrity.SUMS).write_text(integrity.sums(folder))
    report = dz.verify(folder)
    assert (report["origin"], report["name"]) == ("unknown", "defect_overlay_vae")


def test_a_released_bundle_never_changes(tmp_path):
    folder = shutil.copytree(ROOT / "pretrained" / SMALL, tmp_path / "mine")
    bundle = Bundle(folder, read_metadata(folder), {})
    with pytest.raises(dz.DentalzooError, match="which never changes; export it first"):
        writing.add_metrics(bundle, {"success": 1.0})
    assert dz.verify(folder)["origin"] == "released"


def test_a_bundle_is_described(capsys):
    for name, does in (
        ("panoramic_detection.dental_radiography_v4", "boxes of Cavity, "),
        ("panoramic_unet.panoramic_teeth_v2", "U-Net with VGG-16 or light encoder: "),
        ("panoramic_detection.dentex_fdi_v2", "boxes of teeth with FDI numbers, 32 classes: 11 to"),
    ):
        assert main(["info", name]) == 0
        shown = capsys.readouterr().out
        assert shown.startswith(f"{name}: {does}")
    lines = [line.split(maxsplit=1) for line in shown.splitlines() if line]
    said = {first: rest for first, rest in lines}
    assert said["licence"] == "CC-BY-NC-SA-4.0" and said["classes"].startswith("11, 12, 13, ")
    assert said["detect_encoded"] == "encoded string (?)" and float(said["ap50"]) > 0.9
    assert main(["info", name, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["signatures"].keys() >= {"detect", "raw"}
    assert main(["list", "--json"]) == 0
    models = {row["name"]: row for row in json.loads(capsys.readouterr().out)["models"]}
    assert name in models["panoramic_detection"]["pretrained"]
