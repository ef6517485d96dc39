"""A benchmark runs, small, where no package can be installed: it says so and omits its peer."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.slow
def test_a_bundle_is_measured_without_its_peer(tmp_path):
    nothing = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "", "PIP_CONFIG_FILE": os.devnull}
    where = {"DENTALZOO_CACHE": str(tmp_path), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, ROOT / "benchmarks/jaw_reconstruction.py", "--quick"]
    variables = {**os.environ, **nothing, **where}
    done = subprocess.run(command, cwd=tmp_path, env=variables, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "ONNX Runtime is left out, since its environment could not be created:" in done.stdout
    rows = [line.split(" | ")[0] for line in done.stdout.splitlines()]
    assert rows.count("| serve, int8") == 2  # latency, and beside the rendering of views
    assert ("| training step" in rows) == ("Open3D cannot be imported" not in done.stdout)


def exporters(*arguments):
    command = [sys.executable, ROOT / "benchmarks/exporters.py", *arguments]
    done = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return [line for line in done.stdout.splitlines() if line.startswith("| `")], done.stdout


def test_files_that_a_bundle_holds_are_shown_as_measured_when_it_was_exported():
    bundle = "panoramic_unet.panoramic_teeth_v2"
    metadata = ROOT / "pretrained" / bundle / "onnx/metadata.json"
    dice = json.loads(metadata.read_text())["metrics"]["dice"]
    rows, _ = exporters("--only", bundle, "--to", "onnx-int8")
    cells = rows[0].strip("| ").split(" | ")
    assert len(rows) == 1 and cells[1] == "in the bundle"
    assert cells[5:8] == ["dice", f"{dice['bundle']:.4f}", f"{dice['exported']:.4f}"]
    _, text = exporters("--only", bundle, "--to", "onnx")
    assert "left out: its data are real, give --data" in text


def test_finished_pairs_are_shown_and_not_done_again(tmp_path):
    pair = {"bundle": "tooth_vae.drawn_teeth_v2", "images": "ten teeth", "state": "refused"}
    reasons = {"onnx": "elbo 1.0", "litert": "a crash"}
    lines = [json.dumps({**pair, "exporter": k, "reason": v}) for k, v in reasons.items()]
    (tmp_path / "pairs").write_text("\n".join(lines) + "\n")
    options = "--json", tmp_path / "pairs", "--only", "tooth_vae", "--to", "onnx", "litert"
    rows, text = exporters(*options)
    assert [row.split(" | ")[1] for row in rows] == ["refused: elbo 1.0", "refused: a crash"]
    assert "ten teeth" in text and len((tmp_path / "pairs").read_text().splitlines()) == 2


@pytest.mark.slow
def test_a_pair_is_exported_and_kept(tmp_path):
    # the bundle holds ONNX files, measured when it was exported
    options = "--json", tmp_path / "pairs", "--only", "defect_overlay_vae", "--to", "litert"
    rows, _ = exporters(*options)
    cells = rows[0].strip("| ").split(" | ")
    assert cells[1] == "written" and cells[5] == "mae"
    assert abs(float(cells[6]) - float(cells[7])) <= 0.002
    content = json.loads((tmp_path / "pairs").read_text())
    assert content["bytes"] > 100_000 and content["metrics"]["success"]["exported"] > 0.9


@pytest.fixture(scope="module")
def robustness():
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        import robustness
    finally:
        sys.path.remove(str(ROOT / "benchmarks"))
    return robustness


def test_masks_and_boxes_follow_degraded_images(robustness):
    image = np.full((200, 300, 1), 60, np.uint8)
    image[80:120, 100:220] = 200
    image[90:110, 5:55] = 200  # most of it is cropped away
    arrays = {
        "image": image,
        "mask": np.uint8(image > 128),
        "boxes": np.float32([[0.4, 1 / 3, 0.6, 2.2 / 3], [0.45, 5 / 300, 0.55, 55 / 300]]),
        "labels": np.int32([1, 2]),
        "difficult": np.zeros(2, bool),
        "crowd": np.zeros(2, bool),
    }
    for name in ("clean", "cropped to 0.8 of each side", "half resolution", "rotated by 5 degrees"):
        done = robustness.degraded(arrays, name, 0)
        bright = done["image"][..., 0] > 128
        assert np.mean(bright == (done["mask"][..., 0] > 0)) > 0.995, name
        height, width = bright.shape
        top, left, bottom, right = done["boxes"][0] * [height, width, height, width]
        middle = bright[:, round(0.3 * width) : round(0.78 * width)]
        rows = np.flatnonzero(middle.any(1))
        found = np.array([rows[0], rows[-1] + 1])
        assert np.abs(found - [top, bottom]).max() < (8 if "rotated" in name else 2), name
        assert done["difficult"].tolist() == [False, "cropped" in name]
        assert done["labels"].tolist() == [1, 2]
    again = [robustness.degraded(arrays, "noise, deviation 0.1", 3)["image"] for _ in range(2)]
    assert (again[0] == again[1]).all() and (again[0] != image).any()


def test_enhancement_keeps_shape_and_dtype_of_grey_and_colour_images(robustness):
    rng = np.random.default_rng(0)
    for image in (rng.integers(0, 99, (40, 50, 1)), rng.integers(0, 99, (40, 50, 3))):
        for name in robustness.ENHANCEMENTS:
            done = robustness.enhanced(image.astype(np.uint8), name)
            assert done.shape == image.shape and done.dtype == np.uint8
