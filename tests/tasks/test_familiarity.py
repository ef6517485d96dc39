"""What `predict` says of images that a bundle does not know."""

import json
import subprocess
import sys

import numpy as np
import pytest

import dentalzoo as dz
from dentalzoo.bundle import Bundle
from dentalzoo.data.io.images import write_png
from dentalzoo.data.synthetic import panoramic
from dentalzoo.tasks.familiarity import Familiarity, warning

PARTS = {
    "content": {"centre": 0.0, "bound": 2.0},
    "layout": {"centre": 0.0, "bound": 0.3},
    "brightness": {"centre": 0.4, "bound": 0.1},
    "contrast": {"centre": -1.6, "bound": 0.3},
    "aspect": {"centre": 0.7, "bound": 0.1},
    "colour": {"centre": 0.0, "bound": 0.03},
}


def knowing(bundle, **ratios):
    """The bundle with a signature `familiarity` that returns these ratios for every image."""

    def familiarity(images):
        values = {part: np.full(len(images), ratios.get(part, 0), np.float32) for part in PARTS}
        score = np.abs(np.stack(list(values.values()))).max(0)
        return {"score": score, **values}

    tensor = {"shape": [None], "dtype": "float32"}
    spec = {
        "inputs": bundle.metadata["signatures"]["serve"]["inputs"],
        "outputs": {key: tensor for key in ("score", *PARTS)},
    }
    metadata = {
        **bundle.metadata,
        "signatures": {**bundle.metadata["signatures"], "familiarity": spec},
        "familiarity": {"parts": PARTS},
    }
    return Bundle(bundle.path, metadata, {**bundle._functions, "familiarity": familiarity})


@pytest.mark.parametrize(
    ("part", "ratio", "words"),
    [
        ("content", 3.2, "other content than the training images (3.20 times as far as expected)"),
        ("layout", 2.0, "other layout"),
        ("layout", 6.0, "inverted polarity, or light and dark elsewhere"),
        ("brightness", -2.0, "too dark (mean grey level 0.20, expected 0.30 to 0.50)"),
        ("brightness", 2.0, "too bright (mean grey level 0.60, expected 0.30 to 0.50)"),
        ("contrast", -2.0, "too flat (deviation of grey levels 0.11, expected 0.15 to 0.27)"),
        ("aspect", -7.0, "aspect ratio 1.00:1, expected 1.82 to 2.23"),
        ("colour", 5.0, "a colour image"),
    ],
)
def test_reasons_are_plain_words(bundle, part, ratio, words):
    entry = Familiarity(knowing(bundle, **{part: ratio}))(np.zeros((8, 8, 1), np.uint8))
    assert entry["reasons"] == [words] and entry["score"] == pytest.approx(abs(ratio))
    assert entry["verdict"] == ("foreign" if abs(ratio) > 2 else "unusual")
    assert words in warning(entry) and "\n" not in warning(entry)


def test_predict_writes_scores_and_warns_in_a_line_an_image(bundle, tmp_path, caplog):
    for seed in range(2):
        write_png(tmp_path / "in" / f"{seed}.png", panoramic(seed, 64, 128).image)
    dz.predict(knowing(bundle, content=1.5, colour=1.2), tmp_path / "in", tmp_path / "out")
    entries = json.loads((tmp_path / "out" / "familiarity.json").read_text())
    assert [entry["file"] for entry in entries] == ["0.png", "1.png"]
    assert entries[0]["score"] == 1.5 and entries[0]["verdict"] == "unusual"
    lines = [record.getMessage() for record in caplog.records]
    lines = [line for line in lines if "familiarity score" in line]
    assert len(lines) == 2 and "other content" in lines[0] and "a colour image" in lines[0]


def test_an_empty_result_is_said_and_a_familiar_image_is_not(bundle, tmp_path, caplog):
    write_png(tmp_path / "0.png", panoramic(0, 64, 128).image)
    known = knowing(bundle, content=0.5)
    dz.predict(known, tmp_path / "0.png", tmp_path / "out", threshold=1.0)
    (entry,) = json.loads((tmp_path / "out" / "familiarity.json").read_text())
    assert entry["verdict"] == "familiar"
    assert entry["reasons"] == ["empty result: nothing was found"]
    assert "check the result: empty result" in caplog.text
    caplog.clear()
    dz.predict(known, tmp_path / "0.png", tmp_path / "out", threshold=0.0)
    assert "familiarity" not in caplog.text


def test_an_older_bundle_has_no_score(bundle, tmp_path, caplog):
    write_png(tmp_path / "0.png", panoramic(0, 64, 128).image)
    dz.predict(bundle, tmp_path / "0.png", tmp_path / "out")
    assert not (tmp_path / "out" / "familiarity.json").exists()


def test_a_bundle_for_onnx_runtime_is_asked_without_tensorflow(tmp_path):
    write_png(tmp_path / "in" / "a.png", 255 - panoramic(0).image)
    command = (
        "import sys, dentalzoo as dz; "
        "dz.predict('panoramic_unet.panoramic_teeth_v2', *sys.argv[1:]); "
        "print('tensorflow' in sys.modules or 'keras' in sys.modules)"
    )
    arguments = [str(tmp_path / "in"), str(tmp_path / "out")]
    ran = subprocess.run(
        [sys.executable, "-c", command, *arguments], capture_output=True, text=True, check=True
    )
    assert ran.stdout.split()[-1] == "False" and "inverted polarity" in ran.stderr
    assert json.loads((tmp_path / "out" / "familiarity.json").read_text())[0]["score"] > 1
