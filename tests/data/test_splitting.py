"""split.csv: groups stay together, classes in proportion, the same for the same seed."""

import csv

import numpy as np
import pytest

from dentalzoo.cli import main
from dentalzoo.data.boxes import find_boxes
from dentalzoo.data.images import find_images
from dentalzoo.data.io.images import write_png
from dentalzoo.data.masks import find_masks
from dentalzoo.data.splitting import split_dataset
from dentalzoo.errors import DentalzooError


@pytest.fixture
def data(tmp_path):
    """Forty images of twenty patients; class 1 is in those of four patients alone."""
    rows = ["id,patient"]
    for n in range(40):
        write_png(tmp_path / "images" / f"{n:02d}.png", np.full((20, 30), n, np.uint8))
        lines = ["0 0.5 0.5 0.4 0.4"] * (1 + n % 3) + ["1 0.3 0.3 0.2 0.2"] * (n // 2 < 4)
        (tmp_path / "images" / f"{n:02d}.txt").write_text("\n".join(lines))
        rows.append(f"{n:02d},p{n // 2}")
    (tmp_path / "index.csv").write_text("\n".join(rows))
    return tmp_path


def test_groups_stay_together_and_classes_in_proportion(data):
    report = split_dataset(data, val=0.25, test=0.25, seed=3)
    assert report["groups"] == 20 and sum(report["images"].values()) == 40
    assert report["images"]["train"] == pytest.approx(20, abs=2)
    assert {split: labels["1"] for split, labels in report["labels"].items()} == {
        "train": 4,
        "val": 2,
        "test": 2,
    }
    samples = find_boxes(data).samples
    assert len({(s.group, s.split) for s in samples}) == 20
    assert {s.split for s in samples} == {"train", "val", "test"}


def test_the_seed_decides(data, tmp_path):
    texts = []
    for index, seed in enumerate((0, 0, 1)):
        split_dataset(data, tmp_path / f"{index}.csv", val=0.3, seed=seed)
        texts.append((tmp_path / f"{index}.csv").read_text())
    assert texts[0] == texts[1] != texts[2]


def test_masks_are_split_by_patient_too(tmp_path, capsys):
    for n in range(6):
        write_png(tmp_path / "images" / f"{n}.png", np.full((20, 30), n, np.uint8))
        write_png(tmp_path / "masks" / f"{n}.png", np.eye(20, 30, dtype=np.uint8))
    (tmp_path / "index.csv").write_text(
        "id,patient\n" + "".join(f"{n},{n // 3}\n" for n in range(6))
    )
    assert main(["split", str(tmp_path), "--val", "0.5"]) == 0
    assert "labels" not in capsys.readouterr().out  # masks have no names
    rows = dict(csv.reader((tmp_path / "split.csv").read_text().splitlines()[1:]))
    assert (
        len({rows[f"{n}.png"] for n in range(3)}) == 1 == len({rows[f"{n}.png"] for n in (3, 4, 5)})
    )
    assert {s.split for s in find_masks(tmp_path).samples} == {"train", "val"}


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"val": 0.6, "test": 0.4}, "leave a part for training"),
        ({"val": -0.1}, "at least 0"),
        ({"val": float("nan")}, "at least 0"),
    ],
)
def test_impossible_parts_are_refused(data, options, reason):
    with pytest.raises(DentalzooError, match=reason):
        split_dataset(data, **options)
    assert not (data / "split.csv").exists()


def test_an_existing_split_is_not_replaced(data, capsys):
    assert main(["split", str(data), "--val", "0.2", "--seed", "1"]) == 0
    shown = capsys.readouterr().out
    assert "images: {'train': 32, 'val': 8}" in shown and "labels of val: {" in shown
    before = (data / "split.csv").read_text()
    assert main(["split", str(data)]) == 2
    assert "must be new" in capsys.readouterr().err
    assert (data / "split.csv").read_text() == before


def test_fewer_groups_than_splits(tmp_path):
    write_png(tmp_path / "a.png", np.zeros((20, 30), np.uint8))
    with pytest.raises(DentalzooError, match="as many groups as splits, 2. Received: 1"):
        split_dataset(tmp_path)


def test_copies_of_a_roboflow_source_go_to_one_split_from_whatever_folder(tmp_path):
    names = ("train/x_jpg.rf.a1", "valid/x_jpg.rf.b2", "train/y_jpg.rf.c3", "valid/z_jpg.rf.d4")
    for n, name in enumerate(names):
        write_png(tmp_path / f"{name}.png", np.full((20, 30), n, np.uint8))
    assert split_dataset(tmp_path, val=0.4)["groups"] == 3
    rows = dict(csv.reader((tmp_path / "split.csv").read_text().splitlines()))
    assert rows["x_jpg.rf.a1.png"] == rows["x_jpg.rf.b2.png"]


def test_folders_of_patients_go_to_one_split_with_images_of_one_name(tmp_path):
    for n in range(12):
        for name in ("left", "right"):
            write_png(tmp_path / "images" / f"P{n}" / f"{name}.png", np.full((20, 30), n, np.uint8))
    report = split_dataset(tmp_path, val=0.25)
    assert report["groups"] == 12 and report["images"] == {"train": 18, "val": 6}
    rows = dict(csv.reader((tmp_path / "split.csv").read_text().splitlines()[1:]))
    assert all(rows[f"images/P{n}/left.png"] == rows[f"images/P{n}/right.png"] for n in range(12))
    samples = find_images(tmp_path).samples
    assert sum(s.split == "val" for s in samples) == 6
    assert len({(s.image.parent, s.split) for s in samples}) == 12
