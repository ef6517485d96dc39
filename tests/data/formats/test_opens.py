"""How often files are opened from finding a data set to its decoded samples: disks are slow."""

import json
import sys
from collections import Counter

import numpy as np
import pytest

from dentalzoo.data.boxes import check_boxes, find_boxes, load_boxes
from dentalzoo.data.formats import tree as trees
from dentalzoo.data.images import check_images, find_images, load_image
from dentalzoo.data.io.images import write_png
from dentalzoo.data.masks import check_folder, find_masks, load

_opened = None  # a Counter of paths while opens are counted


def _count(event, arguments):
    if event == "open" and _opened is not None:
        _opened[str(arguments[0])] += 1


sys.addaudithook(_count)  # for the life of the process; it does nothing between tests


@pytest.fixture
def opened():
    """Path -> the number of times that it was opened, from here on."""
    global _opened
    _opened = Counter()
    yield _opened
    _opened = None


@pytest.fixture
def data(tmp_path):
    """Six images with masks, outlines and boxes in several formats."""
    rng = np.random.default_rng(0)
    images, annotations = [], []
    for n in range(6):
        write_png(tmp_path / "images" / f"{n}.png", rng.integers(0, 255, (40, 60, 3), np.uint8))
        mask = np.zeros((40, 60), np.uint8)
        mask[10:25, 20:40] = 255
        write_png(tmp_path / "masks" / f"{n}.png", mask)
        images.append({"id": n, "file_name": f"{n}.png", "height": 40, "width": 60})
        box = {"bbox": [20, 10, 20, 15], "segmentation": [[20, 10, 40, 10, 40, 25, 20, 25]]}
        annotations.append({"id": n, "image_id": n, "category_id": 1, **box})
    categories = [{"id": 1, "name": "tooth"}]
    content = {"images": images, "categories": categories, "annotations": annotations}
    (tmp_path / "_annotations.coco.json").write_text(json.dumps(content))
    return tmp_path


def most(opened, folder):
    counts = {path: count for path, count in opened.items() if path.startswith(str(folder))}
    assert len(counts) == 6, "each file is read"
    return max(counts.values())


def test_segmentation_opens_each_image_and_mask_once(data, opened):
    for split in find_masks(data), find_masks(data, annotations="coco"):
        for sample in split.samples:
            load(sample)
    assert most(opened, data / "images") == 2 and most(opened, data / "masks") == 1


def test_detection_opens_each_image_for_its_size_and_for_its_pixels(data, opened):
    dataset = find_boxes(data)
    assert most(opened, data / "images") == 1
    for sample in dataset.samples:
        load_boxes(sample, dataset.classes)
    assert most(opened, data / "images") == 2


@pytest.mark.parametrize(("crops", "times"), [(None, 1), ("masks", 2), ("boxes", 2)])
def test_images_are_opened_once_and_for_crops_twice(data, opened, crops, times):
    for sample in find_images(data, crops=crops).samples:
        load_image(sample, (16, 16), 1)
    assert most(opened, data / "images") == times


def test_checks_open_each_image_once_more_for_its_tags(data, opened):
    for check, times in ((check_folder, 2), (check_images, 2), (check_boxes, 3)):
        opened.clear()
        check(data)
        assert most(opened, data / "images") == times


def test_annotation_files_are_opened_and_parsed_once(data, opened, monkeypatch):
    parsed = []
    loads = json.loads
    monkeypatch.setattr(trees.json, "loads", lambda text: parsed.append(1) or loads(text))
    find_boxes(data)
    assert len(parsed) == 1 and opened[str(data / "_annotations.coco.json")] == 1
    find_masks(data, annotations="coco")
    assert len(parsed) == 2 and opened[str(data / "_annotations.coco.json")] == 2


def test_json_files_of_several_formats_are_parsed_once(tmp_path, opened):
    write_png(tmp_path / "a.png", np.zeros((40, 60), np.uint8))
    region = {"x1": 1, "y1": 1, "x2": 9, "y2": 9, "width": 60, "height": 40, "tags": ["root"]}
    (tmp_path / "a.json").write_text(json.dumps({"frames": {"a.png": [region]}}))
    (tmp_path / "b.json").write_text(json.dumps({"shapes": [], "imagePath": "b.png"}))
    opened.clear()
    assert find_boxes(tmp_path).format == "VoTT"
    assert opened[str(tmp_path / "a.json")] == opened[str(tmp_path / "b.json")] == 1
