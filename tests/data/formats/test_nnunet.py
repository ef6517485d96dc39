"""Raw folders of nnU-Net."""

import json
from dataclasses import replace

import numpy as np
import pytest

from dentalzoo.data.boxes import Box, BoxSample, find_boxes
from dentalzoo.data.formats import base, nnunet
from dentalzoo.data.formats.writing import write_annotations
from dentalzoo.data.images import find_images
from dentalzoo.data.io.images import write_png
from dentalzoo.data.masks import find_masks, load
from dentalzoo.errors import DentalzooError

SIZE = (12, 8)


def raw(root, labels=True, test=2):
    """A raw data set of five images with two classes, and `test` images without labels."""
    rng = np.random.default_rng(0)
    for number in range(5):
        image = rng.integers(0, 256, SIZE, np.uint8)
        write_png(root / "imagesTr" / f"jaw_{number:03d}_0000.png", image)
        if labels:
            ids = rng.integers(0, 3, SIZE, np.uint8)
            write_png(root / "labelsTr" / f"jaw_{number:03d}.png", ids)
    for number in range(test):
        image = rng.integers(0, 256, SIZE, np.uint8)
        write_png(root / "imagesTs" / f"jaw_{900 + number}_0000.png", image)
    return root


def test_label_maps_are_not_images_and_test_images_are_not_trained_on(tmp_path):
    raw(tmp_path)
    found = find_images(tmp_path)
    assert {s.split for s in found.samples if s.name.startswith("jaw_0")} == {"train"}
    assert {s.split for s in found.samples if s.name.startswith("jaw_9")} == {"test"}
    assert len(found.samples) == 7


def test_images_and_label_maps_are_paired(tmp_path):
    raw(tmp_path)
    found = find_masks(tmp_path)
    assert [s.mask.name for s in found.samples] == [f"jaw_{n:03d}.png" for n in range(5)]
    assert {s.split for s in found.samples} == {"train"}


# ---- dataset.json --------------------------------------------------------------------------------

V2 = {"background": 0, "caries": 1, "crown": 2}
ABOUT = {"channel_names": {"0": "x-ray"}, "labels": V2, "numTraining": 5, "file_ending": ".png"}


def dataset(root, **more):
    raw(root)
    (root / "dataset.json").write_text(json.dumps(ABOUT | more))
    return root


def ids(root, name="jaw_000"):
    from dentalzoo.data.io.images import read_mask

    return read_mask(root / "labelsTr" / f"{name}.png")


@pytest.mark.parametrize("labels", [V2, {"0": "background", "1": "caries", "2": "crown"}])
def test_names_belong_to_their_ids_in_any_order(tmp_path, labels):
    dataset(tmp_path, labels=labels)
    for classes in (("caries", "crown"), ("crown", "caries")):
        found = find_masks(tmp_path, classes=classes)
        mask = load(found.samples[0], 3)["mask"][..., 0]
        for number, name in enumerate(classes, start=1):
            np.testing.assert_array_equal(mask == number, ids(tmp_path) == V2[name])
    assert len(found) == 5 and found.skipped == []
    boxes = find_boxes(tmp_path, outlines=True)
    assert (boxes.format, boxes.classes) == ("nnU-Net", ("caries", "crown"))


def test_the_first_fold_splits_training_and_validation(tmp_path):
    dataset(tmp_path)
    folds = [{"train": ["jaw_001", "jaw_002", "jaw_003"], "val": ["jaw_000"]}] * 2
    (tmp_path / "splits_final.json").write_text(json.dumps(folds))
    for number in range(2):
        write_png(tmp_path / "labelsTs" / f"jaw_{900 + number}.png", np.eye(*SIZE, dtype=np.uint8))
    found = find_masks(tmp_path)
    assert [(s.name, s.split) for s in found.samples] == [
        ("jaw_000_0000", "val"),
        *((f"jaw_{n:03d}_0000", "train") for n in (1, 2, 3)),
        *((f"jaw_{n}_0000", "test") for n in (900, 901)),
    ]
    assert found.skipped == [("labelsTr/jaw_004.png", "in no split of splits_final.json")]
    assert "splits_final.json" not in dict(found.unused)


def test_cases_that_are_missing_are_said(tmp_path, caplog):
    dataset(tmp_path, numTraining=7)
    folds = [{"train": [f"jaw_{n:03d}" for n in range(4)], "val": ["jaw_004", "jaw_017"]}]
    (tmp_path / "splits_final.json").write_text(json.dumps(folds))
    base.notice_once.cache_clear()
    assert len(find_masks(tmp_path)) == 5
    said = " ".join(caplog.messages)
    assert "dataset.json: 7 cases for training, but 5 label maps are there" in said
    assert "splits_final.json: 1 cases without label map, such as 'jaw_017'" in said


def test_pixels_to_ignore_are_background_and_this_is_said(tmp_path, caplog):
    dataset(tmp_path, labels={**V2, "crown": 1, "caries": 2} | {"ignore": 2, "caries": 3})
    mask = load(find_masks(tmp_path).samples[0])["mask"][..., 0]
    np.testing.assert_array_equal(mask == 1, ids(tmp_path) == 1)
    assert any("label ignore count as background" in line for line in caplog.messages)


def test_of_several_channels_the_first_is_read_and_this_is_said(tmp_path, caplog):
    dataset(tmp_path)
    write_png(tmp_path / "imagesTr" / "jaw_000_0001.png", np.zeros(SIZE, np.uint8))
    found = find_masks(tmp_path)
    assert len(found) == 5 and found.samples[0].image.name == "jaw_000_0000.png"
    assert any("only the first of several channels" in line for line in caplog.messages)


def test_a_label_map_with_another_id_is_skipped_by_name(tmp_path):
    dataset(tmp_path, labels={"background": 0, "caries": 1, "crown": 3})
    write_png(tmp_path / "labelsTr" / "jaw_000.png", np.ones(SIZE, np.uint8))
    found = find_masks(tmp_path)
    assert [s.name for s in found.samples] == ["jaw_000_0000"]
    reason = dict(found.skipped)["labelsTr/jaw_001.png"]
    assert reason == "must hold the ids of dataset.json. Received: the values 2"


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"labels": {"background": 0, "tooth": [1, 2]}}, "labels must have one id for each class"),
        ({"labels": {"a": 1, "b": 1}}, "labels must have different ids"),
        ({"labels": {"a": None}}, "labels must have different ids"),
        ({"labels": {"a": 1e308}}, "labels must have different ids"),
        ({"labels": [1]}, "labels must be names and ids"),
        ({"labels": {"background": 0}}, "labels must name a class"),
    ],
)
def test_labels_that_cannot_be_read_are_named(tmp_path, more, reason):
    dataset(tmp_path, **more)
    with pytest.raises(DentalzooError, match=f"dataset.json: {reason}"):
        find_masks(tmp_path)


@pytest.mark.parametrize(
    "folds", ["{", "[]", "[1]", '[{"train": 1}]', '[{"train": [[1]], "val": []}]']
)
def test_broken_folds_are_named(tmp_path, folds):
    dataset(tmp_path)
    (tmp_path / "splits_final.json").write_text(folds)
    with pytest.raises(DentalzooError, match="splits_final.json: must be a list of folds"):
        find_masks(tmp_path)


def test_nifti_is_named(tmp_path):
    for folder in ("imagesTr", "labelsTr"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "jaw_000.nii.gz").write_bytes(b"x")
    (tmp_path / "dataset.json").write_text(json.dumps(ABOUT | {"file_ending": ".nii.gz"}))
    with pytest.raises(DentalzooError, match="NIfTI is not read, export PNG"):
        find_masks(tmp_path)


# ---- writing -------------------------------------------------------------------------------------


SPLITS = ("train", "train", "val", "test")


def square(label, top, left, size=3):
    bottom, right = top + size, left + size
    outline = ((left, top, right, top, right, bottom, left, bottom),)
    edges = (top / 12, left / 8, bottom / 12, right / 8)
    return Box(label, *edges, outline=tuple(tuple(map(float, p)) for p in outline))


def test_areas_go_to_nnunet_and_back(tmp_path):
    colours = {"a": 1, "b": 1, "b 1": 1, "c": 3}
    samples = []
    for (name, channels), split in zip(colours.items(), SPLITS, strict=True):
        path = tmp_path / "in" / f"{name}.png"
        write_png(path, np.full((*SIZE, channels), 50, np.uint8))
        boxes = (square("x", 0, 0), square("y", 3, 3), square("x", 6, 0)) if name == "a" else ()
        samples.append(BoxSample(name, path, boxes, "g" if split == "train" else name, split))
    write_annotations(nnunet, samples, tmp_path / "out", ["x", "y", "unused"])
    found = find_boxes(tmp_path / "out", outlines=True)
    assert (found.format, found.classes) == ("nnU-Net", ("x", "y", "unused"))
    found.samples.sort(key=lambda s: s.name.removesuffix("_0000"))
    assert [s.split for s in found.samples] == [*SPLITS]
    assert {s.name for s in found.samples} == {f"{stem}_0000" for stem in colours}
    assert found.samples[0].group == found.samples[1].group != found.samples[2].group
    key = lambda box: (box.label, box.top)  # noqa: E731
    after = sorted(found.samples[0].boxes, key=key)
    for one, other in zip(sorted(samples[0].boxes, key=key), after, strict=True):
        assert replace(one, outline=None) == replace(other, outline=None)
    assert find_images(tmp_path / "out").samples[0].image.name == "a_0000.png"
    about = json.loads((tmp_path / "out" / "dataset.json").read_text())
    assert about["numTraining"] == 3 and list(about["channel_names"].values()) == ["R", "G", "B"]


@pytest.mark.parametrize(
    ("boxes", "reason"),
    [
        ((square("x", 0, 0), square("x", 3, 3)), "1 objects touching another one of its class"),
        ((square("x", 0, 0), square("y", 2, 2)), "1 objects overlapping another one"),
        ((replace(square("x", 0, 0), outline=None),), "1 objects without an outline"),
        ((replace(square("x", 0, 0), bottom=1.0),), "a box that is not the extent"),
        ((replace(square("x", 0, 0), crowd=True),), "marked as a crowd"),
    ],
)
def test_what_a_label_map_cannot_hold_is_refused(tmp_path, boxes, reason):
    write_png(tmp_path / "a.png", np.full(SIZE, 50, np.uint8))
    sample = BoxSample("a", tmp_path / "a.png", boxes, "a", "train")
    with pytest.raises(DentalzooError, match=f"nnU-Net cannot hold all of it.*{reason}"):
        write_annotations(nnunet, [sample], tmp_path / "out", ["x", "y"])
