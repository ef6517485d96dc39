"""Patients in the names of folders and files, where no table has groups."""

import logging

import numpy as np
import pytest

from dentalzoo.data.formats import base
from dentalzoo.data.formats.patients import join_patients
from dentalzoo.data.images import find_images
from dentalzoo.data.io.images import write_png
from dentalzoo.data.masks import find_masks


@pytest.fixture(autouse=True)
def _notices_anew():
    base.notice_once.cache_clear()


def groups(tmp_path, *names):
    """The sets of files that are joined."""
    paths = {tmp_path / name: f"{name}" for name in names}
    inside = {}
    for path, group in join_patients(tmp_path, paths).items():
        inside.setdefault(group, set()).add(path.relative_to(tmp_path).as_posix())
    return sorted(sorted(part) for part in inside.values() if len(part) > 1)


def spread(*folders, images=2):
    return [f"{folder}/{n}.png" for folder in folders for n in range(images)]


@pytest.mark.parametrize("names", [
    spread("images/P0", "images/P1"),
    spread("P0/visit1", "P0/visit2", "P1/visit1", "P1/visit2", images=1),
    spread("images/0017", "images/0018", "images/0023"),
    spread("Caries/P0", "Caries/P1", "Healthy/P0"),
    spread("visit1/P0", "visit2/P0", "visit1/P1", images=1),
    spread("1.2.840.1", "1.2.840.2"),
    [*spread("P0", "P1"), "other.png"],
    spread(*(f"Name{chr(65 + n)}" for n in range(10)), images=3),
    spread("hospital_a/7", "hospital_a/8", "hospital_b/9"),
    ["patient12_left.png", "patient12_right.png", "patient13.png"],
    ["train/sub-01_a.png", "val/sub-01_b.png", "sub-02.png"],
])  # fmt: skip
def test_patients_are_joined(tmp_path, names):
    joined = groups(tmp_path, *names)
    assert joined
    for one in joined:
        for part in (names[0], names[1]):
            assert (part in one) == (one == joined[0])


@pytest.mark.parametrize("names", [
    spread("images/P0", "images/P1", "images/P2", images=1),  # nothing to join
    spread("images/P0", images=5),  # one folder alone
    spread("train", "val", images=3),
    spread("images/train", "images/val2", images=3),
    spread("class_0", "class_1", "class_2"),
    spread("grade 1", "grade 2"),
    spread("Caries", "Healthy", images=9),
    spread(*(f"Name{chr(65 + n)}" for n in range(10)), images=30),  # classes
    spread("11", "21", "36", "47"),  # teeth
    spread("tooth_11", "tooth_12"),
    spread("0", "1", "2", images=60),  # digits with many images
    spread("2023-05-01", "2023-05-02"),
    spread("512x512", "1024x1024"),
    ["a_1.png", "a_2.png", "b_1.png", "b_2.png"],
    ["0001.png", "0002.png"],
    ["case 1 (1).png", "case 1 (2).png", "case 1 (3).png"],  # all of them
])  # fmt: skip
def test_other_folders_and_names_are_no_patients(tmp_path, names):
    assert groups(tmp_path, *names) == []


def test_groups_of_a_table_count_first(tmp_path):
    paths = {tmp_path / "P0" / "a.png": "index.csv: 7", tmp_path / "P0" / "b.png": "P0/b"}
    paths |= {tmp_path / "P1" / "c.png": "P1/c", tmp_path / "P1" / "d.png": "P1/d"}
    joined = join_patients(tmp_path, paths)
    assert list(joined.values()) == ["index.csv: 7", "P0/b", "patient p1", "patient p1"]


@pytest.mark.parametrize("find", [find_images, find_masks])
def test_a_patient_is_not_on_both_sides_of_the_validation_fraction(tmp_path, find, caplog):
    caplog.set_level(logging.INFO, "dentalzoo")
    for n in range(30):
        for folder in ("images", "masks"):
            mask = np.zeros((8, 8), np.uint8)
            mask[2:5] = 255
            write_png(tmp_path / folder / f"P{n // 3}" / f"{n}.png", mask)
    samples = find(tmp_path, val_fraction=0.3).samples
    sides = {(s.image.parent.name, s.split) for s in samples}
    assert len(samples) == 30 and len(sides) == 10
    assert sum(split == "val" for _, split in sides) == 3
    said = [line for line in caplog.messages if "one patient stay in one split" in line]
    assert (
        len(said) == 1 and "10 patients by the names of folders or files, such as 'p0'" in (said[0])
    )
    assert "9 of 30 images (3 of 10 groups) are held out" in caplog.text


def test_splits_that_the_data_has_are_not_refused(tmp_path):
    for split in ("train", "val"):
        for name in ("0001/a", "0001/b", "0002/c"):
            write_png(tmp_path / split / f"{name}.png", np.eye(8, dtype=np.uint8))
    assert {s.split for s in find_images(tmp_path).samples} == {"train", "val"}
