"""The install without TensorFlow: what works, and what says how to install the rest."""

import sys

import pytest

import dentalzoo as dz
from dentalzoo.environment import prepare_keras, prepare_tensorflow
from tests.light_case import run_light

EXTRA = r"pip install 'dentalzoo[tensorflow]'"
TENSORFLOW = ("--runtime", "tensorflow")


def test_what_needs_tensorflow_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "keras", None)
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    for needs in (
        prepare_keras,
        prepare_tensorflow,
        lambda: dz.build("tooth_vae", "tiny"),
        lambda: dz.load("tooth_vae", runtime="tensorflow"),
    ):
        with pytest.raises(dz.DentalzooError, match="must be installed") as raised:
            needs()
        assert EXTRA in str(raised.value) and len(str(raised.value).splitlines()) == 1


@pytest.mark.slow
def test_commands_without_training_need_no_tensorflow(phantoms, tmp_path):
    statuses, output, _ = run_light(
        ["--help"],
        ["list"],
        ["info", "tooth_vae"],
        ["verify", "tooth_vae"],
        ["check", phantoms],
        ["check", phantoms, "--model", "panoramic_unet", "--variant", "tiny"],
        ["check", phantoms, "--boxes", "--report", tmp_path / "report"],
        ["convert", phantoms, "--to", "coco", "--out", tmp_path / "coco", "--lossy"],
        ["split", phantoms, "--out", tmp_path / "split.csv"],
        ["agree", phantoms, phantoms],
        ["synthetic", "--kind", "teeth", "--count", "2", "--out", tmp_path / "teeth"],
        ["predict", "panoramic_unet", phantoms / "images", "--out", tmp_path / "predicted"],
        ["generate", "tooth_vae", "--count", "2", "--out", tmp_path / "generated"],
        ["evaluate", "panoramic_unet", "--data", phantoms],
    )
    assert statuses == [0] * 14, output
    assert "the released tooth_vae.drawn_teeth_v2" in output


@pytest.mark.slow
def test_other_commands_end_in_one_line_without_tensorflow(phantoms, tmp_path):
    commands = (
        ["train", "panoramic_unet", "--data", phantoms, "--out", tmp_path / "run"],
        ["predict", "tooth_vae", phantoms, "--out", tmp_path / "p", *TENSORFLOW],
        ["evaluate", "panoramic_unet", "--data", phantoms, *TENSORFLOW],
        ["generate", "tooth_vae", "--out", tmp_path / "generated", *TENSORFLOW],
        ["export", "panoramic_unet", "--out", tmp_path / "bundle"],
        ["export", "panoramic_unet", "--out", tmp_path / "bundle", "--with", "onnx"],
        ["export", "panoramic_unet", "--out", tmp_path / "exported", "--to", "onnx"],
        ["tfrecord", phantoms, tmp_path / "records"],
    )
    statuses, output, log = run_light(*commands)
    assert (statuses, output) == ([2] * len(commands), "")
    lines = [line for line in log.splitlines() if line.startswith("dentalzoo: ")]
    # the extra of the format, which brings TensorFlow
    extras = [EXTRA.replace("tensorflow", "onnx") if "onnx" in c else EXTRA for c in commands]
    assert len(lines) == len(commands), log
    assert all(extra in line for extra, line in zip(extras, lines, strict=True)), log
    assert "Traceback" not in log and not any(path.is_file() for path in tmp_path.rglob("*"))
