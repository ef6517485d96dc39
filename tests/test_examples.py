"""Every example runs, small, in a separate process and folder, and writes the files it names."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).resolve().parents[1] / "examples").glob("*.py"))
BUNDLE = "panoramic_unet.panoramic_teeth_v2"
AUTOENCODERS = ("tooth_vae.drawn_teeth_v2", "defect_overlay_vae.drawn_defects_v2")
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
        *("photos/0059.png", "tiny/curves.png", "tiny/history.csv", "tiny/bundle/SHA256SUMS"),
        *("evaluation/evaluation.json", "evaluation/samples.png", "evaluation/interpolation.png"),
        *("evaluation/reconstructions.png", "teeth/images/0023.png", "teeth/samples.png"),
    ],
}


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
    for name in FILES[path.stem]:
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
