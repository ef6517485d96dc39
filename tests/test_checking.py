"""`dentalzoo check --model`: a data set is refused where training would refuse it."""

import json

import numpy as np
import pytest
from PIL import Image

from dentalzoo.checking import check_for_model, describe_report, needs_fixing
from dentalzoo.cli import main
from dentalzoo.data.formats import base


@pytest.fixture(autouse=True)
def _notices_anew():
    base.notice_once.cache_clear()


def pairs(root, count, value=255, split=""):
    for number in range(count):
        random = np.random.default_rng(number)
        for folder in ("images", "masks"):
            path = root / split / folder / f"{number:02d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            array = random.integers(0, 256, (24, 48), np.uint8)
            if folder == "masks":
                array[:] = 0
                array[4:9, 4 + number % 20 : 12 + number % 20] = value
            Image.fromarray(array).save(path)


def test_what_a_model_would_train_on_is_counted(tmp_path):
    pairs(tmp_path, 12)
    report = check_for_model(tmp_path, "panoramic_unet", "tiny")
    assert report["training"] == {"train": 11, "val": 1} == {k: report[k] for k in ("train", "val")}
    assert report["problems"] == [] and not needs_fixing(report)
    assert json.loads(json.dumps(report)) == report


@pytest.mark.parametrize(
    ("model", "count", "value", "settings", "reason"),
    [
        ("panoramic_unet", 3, 0, {}, "a mask to train on must hold an object. Received: 2 empty"),
        ("panoramic_unet", 3, 3, {}, "for several classes name them"),
        ("panoramic_unet", 3, 3, {"num_classes": 3, "classes": ("a", "b")}, "class ids 0..2"),
        ("tooth_vae", 5, 255, {}, "must hold 10 or more usable images"),
        ("panoramic_detection", 3, 255, {}, "no image with boxes"),
        ("jaw_reconstruction", 1, 255, {}, "no upper jaw"),
    ],
)
def test_what_training_would_refuse_is_a_problem(tmp_path, model, count, value, settings, reason):
    pairs(tmp_path, count, value)
    report = check_for_model(tmp_path, model, "tiny", **settings)
    assert needs_fixing(report)
    assert any(reason in problem for _, problem in report["problems"])
    assert "cannot train on" in describe_report(report)


def test_the_command_fails_where_training_would(tmp_path, capsys):
    pairs(tmp_path, 2, split="val")
    command = ["check", str(tmp_path), "--model", "panoramic_unet", "--variant", "tiny"]
    assert main(command) == 1
    assert "cannot train on train: " in capsys.readouterr().out
    assert main([*command, "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["problems"][0][0] == "train"
    assert main(["check", str(tmp_path), "--set", "epochs=1"]) == 2
    assert main([*command, "--boxes"]) == 2
    capsys.readouterr()
    assert main(["check", str(tmp_path), "--meshes", "--json"]) == 2
    printed = capsys.readouterr()
    assert "no upper jaw" in json.loads(printed.out)["problems"][0][1]
    assert "no upper jaw" in printed.err and printed.err.count("\n") == 1


@pytest.mark.parametrize("model", ["panoramic_unet", "panoramic_detection"])
def test_images_without_annotation_are_named_by_check_and_once_by_training(tmp_path, caplog, model):
    root = "".join(
        f'<image name="{number:02d}.png" width="48" height="24">{shape}</image>'
        for number in range(9)
        for shape in ['<polygon label="tooth" points="4,4;14,4;14,14"/>' if number < 2 else ""]
    )
    pairs(tmp_path, 9, split="train")
    for mask in (tmp_path / "train" / "masks").glob("*.png"):
        mask.unlink()
    (tmp_path / "train.xml").write_text(f"<annotations>{root}</annotations>")
    settings = {"classes": ("tooth",)} if model == "panoramic_detection" else {}
    caplog.set_level("INFO", "dentalzoo")
    report = check_for_model(tmp_path, model, "tiny", **settings)
    assert report["without_objects"] == [f"{number:02d}" for number in range(2, 9)]
    assert "images without any annotation: 7 (02, 03, 04, 05, 06 and 2 more)" in (
        describe_report(report)
    )
    lines = [line for line in caplog.messages if "no annotated object" in line]
    assert len(lines) == 1 and "7 of 9 training images" in lines[0] and "and 2 more" in lines[0]
    caplog.clear()
    pairs(tmp_path / "all", 3, split="train")
    report = check_for_model(tmp_path / "all", "panoramic_unet", "tiny")
    assert "without any annotation" not in describe_report(report)
    assert "no annotated object" not in caplog.text


def test_many_entries_are_counted():
    report = {
        "data": "d",
        "usable": 1,
        "skipped": [["a", "b"]] * 30,
        "suspicious": [["x", "y"]] * 30,
    }
    text = describe_report(report)
    assert text.count("suspicious x: y") == 20 and "suspicious: 10 more" in text
    assert "skipped: 30" in text and needs_fixing(report)
