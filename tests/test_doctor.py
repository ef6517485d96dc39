"""`dentalzoo doctor`: what it finds on a machine, and what it says of what is missing."""

import json
import os
import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path

import pytest

from dentalzoo import doctor
from dentalzoo.cli import main

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def machine(monkeypatch, tmp_path):
    """A cache of one bundle and 1,000 bytes more, and no GPU."""
    cache = tmp_path / "cache"
    (cache / "panoramic_unet.mine_v1" / "saved_model").mkdir(parents=True)
    (cache / "panoramic_unet.mine_v1" / "README.md").write_text("x" * 1000)
    monkeypatch.setenv("DENTALZOO_CACHE", str(cache))
    monkeypatch.setattr(doctor, "_gpus", list)


def versions(monkeypatch, **changed):
    """Let packages have other versions; None for one that is not installed."""
    known = doctor._version
    changed = {name.replace("_", "-"): version for name, version in changed.items()}
    monkeypatch.setattr(
        doctor, "_version", lambda name: changed[name] if name in changed else known(name)
    )


def faults(required=None):
    found = doctor.examine()["faults"]
    return [one for one in found if required is None or one["required"] == required]


def test_every_extra_has_a_line():
    config = ConfigParser()
    config.read(ROOT / "setup.cfg")
    assert set(doctor.GIVES) == set(config["options.extras_require"]) - {"all"}


def test_one_object_and_status_0_where_all_is_there(capsys, tmp_path):
    assert main(["doctor", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert all(one["fits"] for one in report["packages"]) and len(report["packages"]) >= 8
    assert report["extras"]["runtime"]["missing"] == []
    assert report["extras"]["onnx"]["command"] == "pip install 'dentalzoo[onnx]'"
    assert report["folders"]["bundles (cache)"]["used"] == 1000
    assert report["folders"]["this folder"]["free"] > 0
    assert report["bundles"]["panoramic_unet.mine_v1"].endswith("cache/panoramic_unet.mine_v1")
    assert "panoramic_unet.panoramic_teeth_v2" in report["bundles"]
    assert report["variables"]["DENTALZOO_CACHE"] == str(tmp_path / "cache")
    assert report["devices"]["processors"] >= 1


def test_a_missing_package_ends_with_status_1_and_one_command(capsys, monkeypatch):
    versions(monkeypatch, numpy="1.26.0", pillow=None)
    assert main(["doctor"]) == 1
    line = next(one for one in capsys.readouterr().out.splitlines() if "needed: " in one)
    assert "numpy <3,>=2.1 (is 1.26.0), pillow:" in line
    assert line.endswith("pip install 'numpy<3,>=2.1' 'pillow<14,>=12'")


def test_missing_extras_are_no_fault_and_have_one_command(capsys, monkeypatch):
    versions(monkeypatch, huggingface_hub=None, **{"huggingface-hub": None}, tf2onnx=None)
    assert main(["doctor"]) == 0
    output = capsys.readouterr().out
    assert "export to ONNX: missing tf2onnx" in output
    assert "to add what is missing: pip install 'dentalzoo[" in output


def test_an_extra_of_extras_has_their_packages(monkeypatch):
    versions(monkeypatch, tensorflow=None)
    extras = doctor.examine()["extras"]
    for name in ("tensorflow", "panoramic-unet", "jaw-reconstruction", "onnx"):
        assert "tensorflow" in extras[name]["missing"], name
    assert extras["sign"]["missing"] == []


def test_a_version_out_of_bounds_is_named(monkeypatch):
    versions(monkeypatch, pydicom="2.4.0")
    (fault,) = faults()
    assert fault == {
        "what": "for dicom: pydicom <4,>=3.0 (is 2.4.0)",
        "command": "pip install 'dentalzoo[dicom]'",
        "required": False,
    }


def test_two_builds_of_opencv(monkeypatch):
    versions(monkeypatch, opencv_python="5.0.0")
    (fault,) = faults()
    assert fault["command"].startswith("pip uninstall --yes opencv-python opencv-python-headless")


def test_a_checkout_that_is_not_installed(monkeypatch):
    def missing(name):
        raise doctor.importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(doctor.importlib.metadata, "metadata", missing)
    assert [one["what"] for one in faults(required=True)] == ["dentalzoo is not installed"]


def test_another_python(monkeypatch):
    monkeypatch.setattr(doctor, "PYTHON", ((3, 98), (3, 99)))
    (fault,) = faults(required=True)
    assert "is not one of 3.98 to 3.99" in fault["what"]


def test_a_cache_that_cannot_be_written(monkeypatch):
    monkeypatch.setattr(doctor.os, "access", lambda path, mode: "cache" not in str(path))
    (fault,) = faults()
    assert fault["what"].startswith("bundles (cache): ") and "DENTALZOO_CACHE" in fault["command"]


@pytest.mark.parametrize(
    ("script", "found"),
    [("echo NVIDIA H200; echo NVIDIA H200", ["NVIDIA H200"] * 2), ("echo no driver; exit 9", [])],
)
def test_gpus_are_those_of_the_driver(monkeypatch, tmp_path, script, found):
    monkeypatch.undo()
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert doctor._gpus() == found


def test_a_gpu_without_libraries(monkeypatch):
    monkeypatch.setattr(doctor, "_gpus", lambda: ["NVIDIA H200"])
    versions(monkeypatch, nvidia_cudnn_cu12=None, nvidia_cudnn_cu13=None)
    (fault,) = faults()
    assert "tensorflow[and-cuda]" in fault["command"]


def test_nothing_heavy_is_imported():
    heavy = ("tensorflow", "keras", "numpy", "cv2", "PIL", "onnxruntime")
    code = (
        "import sys; from dentalzoo.cli import main; main(['doctor']); "
        f"print([name for name in {heavy} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "[]\n")
