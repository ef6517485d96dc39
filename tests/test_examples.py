"""Every example runs, small, in a separate process and folder, and writes the files it names."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
BUNDLE = "panoramic_unet.panoramic_teeth_v2"
AUTOENCODERS = ("tooth_vae.drawn_teeth_v2", "defect_overlay_vae.drawn_defects_v3")
FILES = {
    "defect_overlay_vae": [
        *("surfaces/masks/0049.png", "robust/curves.png", "robust/bundle/SHA256SUMS"),
        *("evaluation/evaluation.json", "evaluation/superimposed.png", "evaluation/latent.png"),
        *("evaluation/scan.png", "superimposed/superimposed.png"),
        "superimposed/superimposed_mask.png",
        *("augmented/images/superimposed_0001.png", "augmented/masks/superimposed_0001.png"),
        *("augmented/voc/superimposed_0001.xml", "augmented/annotations.coco.json"),
    ],
    "demo": [
        *("index.html", "panoramic_unet/evaluation.png", "panoramic_unet/0000_overlay.png"),
        *("teeth/images/0001.png", "photos/0019.png", "tooth_vae/teeth/samples.png"),
        *("tooth_vae/interpolation.png", "tooth_vae/reconstructions.png", "tooth_vae/latent.png"),
        *("surfaces/masks/0007.png", "defect_overlay_vae/superimposed_00.png"),
        *("defect_overlay_vae/superimposed.png", "defect_overlay_vae/scan.png"),
        *("jaw_reconstruction/scan_0000_upper.html", "jaw_reconstruction/evaluation.png"),
    ],
    "jaw_reconstruction": [
        *("jaws/split/validation_upper.txt", "shapes.npz", "views/train/views.npy"),
        *("morphable/curves.png", "morphable/history.csv", "morphable/bundle/SHA256SUMS"),
        *("evaluation/evaluation.json", "evaluation/evaluation.csv", "evaluation/evaluation.png"),
        *("predicted/0016_upper.html", "predicted/0016_upper.ply", "predicted/0017_upper.stl"),
        "predicted/0017_upper.png",
    ],
    "panoramic_detection": [
        *("synthetic/annotations.coco.json", "tiny/curves.png", "tiny/history.csv"),
        *("tiny/bundle/SHA256SUMS", "evaluation/evaluation.json", "evaluation/froc.png"),
        *("evaluation/precision_recall.png", "evaluation/worst.png", "sweep/sweep.png"),
        *("boxes/detections.json", "boxes/detections.csv", "boxes/0019_overlay.png"),
    ],
    "panoramic_unet": [
        *("synthetic/split.csv", "tiny/curves.png", "tiny/history.csv"),
        *("tiny/bundle/SHA256SUMS", "evaluation/evaluation.json", "evaluation/evaluation.png"),
        *("masks/0008.png", "masks/0009_overlay.png"),
    ],
    "tooth_vae": [
        *("photos/0059.png", "deep/curves.png", "deep/history.csv", "deep/bundle/SHA256SUMS"),
        *("evaluation/evaluation.json", "evaluation/samples.png", "evaluation/interpolation.png"),
        *("evaluation/reconstructions.png", "teeth/images/0023.png", "teeth/samples.png"),
    ],
}


def tool(name):
    """A script of tools/ as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


PICTURES = tool("example_pictures").PICTURES


def test_every_example_is_known():
    assert {path.stem for path in EXAMPLES} == set(FILES)


@pytest.mark.parametrize("path", [p for p in EXAMPLES if p.stem != "demo"], ids=lambda p: p.stem)
def test_a_guided_script_has_its_header_and_sections(path):
    text = path.read_text()
    header = re.search(r'^"""\n(.*?)^"""', text, re.MULTILINE | re.DOTALL)[1]
    keys = [line.partition(":")[0] for line in header.splitlines()]
    assert keys == ["Title", "Author", "Date created", "Last modified", "Description"]
    assert "Author: The dentalzoo authors" in header
    assert len(re.findall(r'^"""\n## ', text, re.MULTILINE)) >= 5


@pytest.mark.parametrize("name", PICTURES)
def test_the_images_of_a_page_stand_in_sections_of_the_script(name):
    text = (ROOT / "examples" / f"{name}.py").read_text()
    assert set(PICTURES[name]) <= set(re.findall(r"^## (.+)$", text, re.MULTILINE))


def test_images_are_those_of_the_present_code(tmp_path, monkeypatch):
    pictures = tool("example_pictures")
    for name in ("dentalzoo", "examples", "tools"):
        (tmp_path / name).mkdir()
    script = "import pathlib\npathlib.Path('out/mine').mkdir(parents=True)\n{}"
    writes = "from PIL import Image\nImage.new('L', (32, 16), {}).save('out/mine/a.png')"

    def shown():
        with Image.open(image) as picture:
            return picture.size, picture.getpixel((0, 0))

    file = tmp_path / "examples" / "mine.py"
    (tmp_path / "setup.cfg").write_text("")
    monkeypatch.setattr(pictures, "ROOT", tmp_path)
    monkeypatch.setattr(pictures, "__file__", str(tmp_path / "setup.cfg"))
    monkeypatch.setattr(pictures, "KEPT", tmp_path / "out")
    monkeypatch.setattr(pictures, "PICTURES", {"mine": {"First": [("a.png", "it")]}})

    file.write_text(script.format(writes.format(1)))
    assert pictures.current("mine") is None
    image = pictures.run("mine") / "a.png"
    assert shown() == ((256, 128), 1) and pictures.current("mine") == image.parent
    image.write_text("kept")
    assert pictures.main() == 0 and image.read_text() == "kept"  # not run again
    (tmp_path / "dentalzoo" / "a.py").write_text("a = 1")
    assert pictures.current("mine") is None
    assert pictures.main() == 0 and shown() == ((256, 128), 1)
    file.write_text(script.format(""))
    with pytest.raises(RuntimeError, match="must write a.png"):
        pictures.run("mine")
    file.write_text("raise ValueError('no luck')")
    assert pictures.main() == 2


@pytest.mark.slow
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_it_runs(path, tmp_path):
    done = subprocess.run(
        [sys.executable, str(path)],
        cwd=tmp_path,
        env={**os.environ, "DENTALZOO_QUICK": "1", "DENTALZOO_OFFLINE": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "Traceback" not in done.stderr and "nan" not in done.stdout
    shown = [name for pictures in PICTURES.get(path.stem, {}).values() for name, _ in pictures]
    for name in [*FILES[path.stem], *shown]:
        file = tmp_path / "out" / path.stem / name
        assert file.is_file() and file.stat().st_size > 0, name
    if path.stem == "panoramic_unet":
        assert float(re.search(r"^mean +dice ([\d.]+)", done.stdout, re.MULTILINE)[1]) > 0.6
    if path.stem == "panoramic_detection":
        losses = re.findall(r"^ +\d+ +([\d.]+) ", done.stdout, re.MULTILINE)
        assert len(losses) == 40 and float(losses[-1]) < 0.6 * float(losses[0])
        classes = re.findall(r"^(\w+): \d+ boxes", done.stdout, re.MULTILINE)
        assert classes == ["restoration", "endodontic", "implant"]
    if path.stem == "jaw_reconstruction":
        metrics = dict(re.findall(r"^(\w+_mm) +([\d.]+)$", done.stdout, re.MULTILINE))
        for key in ("pred_to_gt_mm", "gt_to_pred_mm"):
            assert float(metrics[key]) < float(metrics[f"baseline_{key}"])
    if path.stem == "defect_overlay_vae":
        metrics = dict(re.findall(r"^(success\w*) +([\d.]+)$", done.stdout, re.MULTILINE))
        assert float(metrics["success"]) > float(metrics["success_of_the_plain_sum"])
