"""What is in a data folder and not used is named once; what is used is not named."""

import json
import logging

import numpy as np
import pytest
from PIL import Image

from dentalzoo.data.boxes import check_boxes, find_boxes
from dentalzoo.data.formats import base
from dentalzoo.data.images import check_images, find_images
from dentalzoo.data.masks import check_folder, find_masks
from dentalzoo.errors import DentalzooError


@pytest.fixture(autouse=True)
def _notices_anew(caplog):
    base.notice_once.cache_clear()
    caplog.set_level(logging.INFO, "dentalzoo")


def image(path, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (16, 16), np.uint8)).save(path)


def pairs(root, *names):
    for name in names:
        image(root / "images" / f"{name}.png", len(name))
        (root / "masks").mkdir(exist_ok=True)
        array = np.zeros((16, 16), np.uint8)
        array[2:9, 2:5] = 255
        Image.fromarray(array).save(root / "masks" / f"{name}.png")
        (root / "labels").mkdir(exist_ok=True)
        (root / "labels" / f"{name}.txt").write_text("0 0.5 0.5 0.5 0.5\n")


def said(caplog):
    return [line.partition(": ")[2] for line in caplog.messages if "not used: " in line]


@pytest.mark.parametrize("find", [find_masks, find_images, find_boxes])
@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("splits.csv", "the name is split.csv, with id,split"),
        ("data_split.json", "the name is split.csv, with id,split"),
        ("splits_final.json", "the name is split.csv, with id,split"),
        ("Split.xlsx", "the name is split.csv, with id,split"),
        ("train.json", "the name is split.csv, with id,split"),
        ("test.csv", "the name is split.csv, with id,split"),
        ("sub/split.csv", "split.csv must lie in the data folder itself"),
        ("groups.csv", "the name is index.csv, with id,patient"),
        ("patients.csv", "the name is index.csv, with id,patient"),
        ("sub/index.csv", "index.csv must lie with the images or above them, with id,patient"),
        ("index.tsv", "the name is index.csv, with id,patient"),
    ],
)
def test_tables_under_other_names_are_named_with_the_right_one(
    tmp_path, find, name, advice, caplog
):
    pairs(tmp_path, "001", "002")
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("a,b\nzz,train\n")
    for split in ("train", None):
        assert (name, advice) in list(find(tmp_path, split).unused)
    lines = [line for line in said(caplog) if name in line]
    assert len(lines) == 1 and name in lines[0] and f"({advice})" in lines[0]
    assert any(r.levelno == logging.WARNING for r in caplog.records)


def test_tables_with_splits_or_groups_under_any_name_are_said(tmp_path):
    pairs(tmp_path, "001", "002")
    (tmp_path / "metadata.csv").write_text("Image;PatientID\n1;p\n")
    (tmp_path / "films.tsv").write_text("id\tSplit\n1\ttrain\n")
    (tmp_path / "notes.csv").write_text("id,age\n1,44\n")
    unused = dict(find_masks(tmp_path).unused)
    assert unused["metadata.csv"] == "it has groups; the name is index.csv, with id,patient"
    assert unused["films.tsv"] == "it has splits; the name is split.csv, with id,split"
    assert unused["notes.csv"] == "not read"


@pytest.mark.parametrize("find", [find_masks, find_images, find_boxes])
def test_tables_that_are_used_are_not_named(tmp_path, find, caplog):
    pairs(tmp_path, "001", "002")
    (tmp_path / "Split.csv").write_text("id,split\n1,train\n2,val\n")
    (tmp_path / "Index.csv").write_text("id,patient\n1,a\n2,b\n")
    (tmp_path / "README.md").write_text("x")
    assert not [what for what, _ in find(tmp_path).unused if ".csv" in what or "README" in what]


@pytest.mark.parametrize("find", [find_masks, find_images, find_boxes])
@pytest.mark.parametrize("suffix", ["txt", "csv"])
def test_lists_of_images_are_splits(tmp_path, find, suffix, caplog):
    pairs(tmp_path, "001", "002", "003", "004")
    header = "image\n" if suffix == "csv" else ""
    for split, rows in (("train", "images/001.png\n002\n"), ("val", "003\n"), ("test", "004\n001")):
        (tmp_path / f"{split}.{suffix}").write_text(header + rows)
    found = find(tmp_path)
    assert {s.name: s.split for s in found.samples} == {
        "001": "test",
        "002": "train",
        "003": "val",
        "004": "test",
    }
    lists = {f"{split}.{suffix}" for split in ("train", "val", "test")}
    assert not lists & {what for what, _ in found.unused}


def test_a_list_of_test_images_alone_keeps_them_from_training(tmp_path):
    pairs(tmp_path, *(f"{number:03d}" for number in range(20)))
    (tmp_path / "test.txt").write_text("000\n001\n")
    parts = {split: find_masks(tmp_path, split) for split in ("train", "val", "test")}
    assert [len(part) for part in parts.values()] == [16, 2, 2]


def test_images_of_kinds_that_are_not_read_are_counted(tmp_path, caplog):
    pairs(tmp_path, "001", "002")
    for name in ("a.heic", "b.HEIC", "c.nii.gz", "d.avif", "scan1", "scan2", "x.pdf"):
        (tmp_path / "images" / name).write_bytes(b"x")
    unused = dict(find_images(tmp_path, with_masks=False).unused)
    reason = "images of this kind are not read"
    assert unused["2 *.heic"] == unused["images/c.nii.gz"] == unused["images/d.avif"] == reason
    assert "2 without suffix" in unused
    assert len(said(caplog)) == 1


def test_annotations_that_no_format_recognises_are_said(tmp_path, caplog):
    pairs(tmp_path, "001", "002")
    for name in ("001", "002"):
        (tmp_path / "images" / f"{name}.json").write_text(json.dumps({"shape": "mine"}))
    unused = dict(find_masks(tmp_path).unused)
    assert unused["YOLO labels (boxes)"] == "another annotation format" or "2 *.json" in unused
    for path in (tmp_path / "labels").iterdir():
        path.unlink()
    unused = dict(find_masks(tmp_path).unused)
    assert unused["2 *.json"] == "annotations that are not recognised"


def test_nothing_that_is_used_is_said_to_be_unused(tmp_path, caplog):
    """COCO beside its image, in the data folder itself."""
    image(tmp_path / "a.png")
    shape = [2, 2, 9, 2, 9, 9, 2, 9]
    one = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [2, 2, 7, 7], "segmentation": [shape]}
    content = {
        "images": [{"id": 1, "file_name": "a.png", "width": 16, "height": 16}],
        "categories": [{"id": 1, "name": "Crown"}],
        "annotations": [one],
    }
    (tmp_path / "_annotations.coco.json").write_text(json.dumps(content))
    for check in (check_folder, check_boxes):
        report = check(tmp_path)
        assert report["usable"] == 1 and report["not_used"] == []
    assert said(caplog) == []
    report = check_images(tmp_path)
    assert [what for what, _ in report["not_used"]] == ["_annotations.coco.json"]


def test_folders_that_lie_too_deep_are_said(tmp_path, caplog):
    pairs(tmp_path, "001", "002")
    image(tmp_path.joinpath(*"abcdef", "x.png"))
    assert ("a/b/c/d/e/f/", "a folder that lies too deep") in list(find_masks(tmp_path).unused)
    assert "a/b/c/d/e/f/ (a folder that lies too deep)" in caplog.text


def test_images_that_lie_too_deep_are_the_reason_for_none(tmp_path):
    image(tmp_path.joinpath(*"abcdef", "x.png"))
    with pytest.raises(DentalzooError, match="Received: a/b/c/d/e/f/, which lies too deep"):
        find_images(tmp_path)


@pytest.mark.parametrize("folder", ["runs/detect/train", "runs/train/exp2", "runs/segment/val"])
def test_results_of_a_trainer_are_no_data_and_name_no_split(tmp_path, folder):
    for name in ("a", "b", "c"):
        image(tmp_path / f"{name}.png", ord(name))
    image(tmp_path / folder / "results.png")
    found = find_images(tmp_path)
    assert [sample.name for sample in found.samples] == ["a", "b", "c"]
    assert found.unused == [("runs/", "results of a training")]


@pytest.mark.parametrize(
    "files",
    [("run.json", "checkpoints/x.npz"), ("metadata.json", "SHA256SUMS"), ("evaluation.json",)],
)
def test_runs_bundles_and_evaluations_of_this_package_are_no_data(tmp_path, files):
    for name in ("a", "b", "c"):
        image(tmp_path / f"{name}.png", ord(name))
    image(tmp_path / "mine" / "one" / "curves.png")
    image(tmp_path / "mine" / "one" / "evaluation" / "samples.png")
    for name in files:
        (tmp_path / "mine" / "one" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "mine" / "one" / name).write_text("{}")
    found = find_images(tmp_path)
    assert [sample.name for sample in found.samples] == ["a", "b", "c"]
    assert found.unused == [("mine/one/", "results of a training")]


@pytest.mark.parametrize(
    ("name", "content", "what"),
    [
        ("a.csv", "filename,width,height,class,xmin,ymin,xmax,ymax\n", "a.csv (a table of boxes)"),
        ("a.json", '{"a.png12": {"filename": "a.png", "regions": []}}', "a.json (VGG Image"),
        ("a.json", '[{"image": "a.png", "annotations": []}]', "a.json (CreateML)"),
        ("a.ndjson", "{}", "a.ndjson"),
        ("a.json", "{", "a.json"),
        ("a.npy", "", "a.npy"),
        ("a.nii.gz", "", "a.nii.gz"),
    ],
)
def test_annotations_of_no_known_format_are_the_reason_for_none(tmp_path, name, content, what):
    image(tmp_path / "images" / "a.png")
    (tmp_path / name).write_text(content)
    with pytest.raises(DentalzooError) as caught:
        find_boxes(tmp_path)
    assert f"found {what}" in str(caught.value) and "which no format recognises" in str(
        caught.value
    )


def test_a_list_of_test_images_is_no_split_table(tmp_path):
    pairs(tmp_path, "a")
    (tmp_path / "image_info_test.json").write_text('{"images": [], "categories": []}')
    said = ("image_info_test.json", "the split that it names is not used")
    what, reason = find_boxes(tmp_path).unused[0]
    assert what == said[0] and reason.startswith(said[1])
