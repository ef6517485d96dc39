"""Splits and roles in the names of folders, and which images are trained on."""

import time

import numpy as np
import pytest
from PIL import Image

from dentalzoo.data.formats.names import is_drawn, role_of, split_word
from dentalzoo.data.formats.tree import scan
from dentalzoo.data.images import find_images
from dentalzoo.data.masks import find_masks


def image(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    array = np.zeros((8, 8), np.uint8)
    array[2:5, 2:5] = 255
    Image.fromarray(array).save(path)


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("TrainImages", "train"),
        ("ValidSet", "val"),
        ("imagesTest", "test"),
        ("imagesTr", "train"),
        ("labelsTs", "test"),
        ("trainset", "train"),
        ("testdata", "test"),
        ("imagestest", "test"),
        ("TRAINING_SET", "train"),
        ("x-valid images", "val"),
        ("train2017", "train"),
        ("MyTestFolder", "test"),
        ("latest", ""),
        ("contest", ""),
        ("Invalid", ""),
        ("protest_images", ""),
        ("train_val", ""),
        ("trainer", ""),
        ("Tr", ""),
    ],
)
def test_the_split_in_a_name(name, split):
    assert split_word(name) == split


@pytest.mark.parametrize(
    ("images", "masks"),
    [
        ("TrainImages", "TrainMasks"),
        ("images_train", "masks_train"),
        ("imagesTest", "labelsTest"),
        ("imagesTr", "labelsTr"),
        ("train_images", "masks_train"),
        ("IMG", "Mask"),
    ],
)
def test_images_and_masks_belong_together_by_the_names_of_folders(images, masks):
    (role, key), (other, same) = role_of((images,)), role_of((masks,))
    assert (role, other) == ("images", "masks") and key == same


@pytest.mark.parametrize("name", ["images_old", "labels_disease", "imagery", "mask_rcnn", "scans"])
def test_other_words_have_no_role(name):
    assert role_of((name,))[0] == ""


def names(dataset):
    return sorted(s.image.as_posix().rpartition("data/")[2] for s in dataset.samples)


@pytest.mark.parametrize(
    ("train", "test", "labels"),
    [
        ("TrainImages/a.png", "TestImages/b.png", "TrainMasks/a.png"),
        ("imagesTr/a_0000.png", "imagesTs/b_0000.png", "labelsTr/a.png"),
        ("images_train/a.png", "images_test/b.png", "masks_train/a.png"),
        ("TrainSet/a.png", "TestSet/b.png", "TrainSet/a_mask.png"),
        ("train/a.png", "test/b.png", "train/a_label.png"),
        ("train/a.png", "test/b.png", "ground_truth/a.png"),
        ("trainset/a.png", "testset/b.png", "SegmentationClass/a.png"),
    ],
)
def test_neither_test_images_nor_label_maps_are_trained_on(tmp_path, train, test, labels):
    for name in (train, test, labels):
        image(tmp_path / "data" / name)
    assert names(find_images(tmp_path / "data", "train")) == [train]
    assert names(find_images(tmp_path / "data", "test")) == [test]


def test_a_test_folder_inside_a_folder_of_images_is_the_test_split(tmp_path):
    for name in ("images/train/a.png", "images/test/b.png", "masks/train/a.png"):
        image(tmp_path / "data" / name)
    assert names(find_images(tmp_path / "data", "train")) == ["images/train/a.png"]
    assert names(find_masks(tmp_path / "data", "train")) == ["images/train/a.png"]


def test_what_is_drawn_of_images():
    assert is_drawn(("x", "ground truth")) and is_drawn(("train_gt",)) and is_drawn(("Annotated",))
    assert not is_drawn(("images",)) and not is_drawn(("segments",))


def test_a_label_beside_an_image_counts_only_with_the_image(tmp_path):
    for name in ("a.png", "a_label.png", "white_label.png"):
        image(tmp_path / "data" / name)
    assert names(find_images(tmp_path / "data")) == ["a.png", "white_label.png"]


def test_links_hidden_files_and_read_only_folders(tmp_path):
    image(tmp_path / "else" / "a.png")
    image(tmp_path / "data" / "images" / "b.png")
    image(tmp_path / "data" / "images" / "._b.png")
    (tmp_path / "data" / "images" / "a.png").symlink_to(tmp_path / "else" / "a.png")
    (tmp_path / "data" / "images").chmod(0o555)
    try:
        assert [p.image.name for p in find_images(tmp_path / "data").samples] == ["a.png", "b.png"]
    finally:
        (tmp_path / "data" / "images").chmod(0o755)


@pytest.mark.slow
def test_many_files_take_time_in_proportion(tmp_path):
    def seconds(count):
        root = tmp_path / str(count)
        for folder in ("images", "masks"):
            (root / folder).mkdir(parents=True)
            for number in range(count):
                (root / folder / f"{number}.png").touch()
        rows = "\n".join(f"{number},p{number // 4}" for number in range(count))
        (root / "index.csv").write_text("id,patient\n" + rows)
        start = time.process_time()
        assert len(find_masks(root)) == len(find_images(root)) == count
        assert len(scan(root).folders) == 2
        return time.process_time() - start

    small, large = seconds(2_000), seconds(20_000)
    assert large < 25 * small and large < 20
