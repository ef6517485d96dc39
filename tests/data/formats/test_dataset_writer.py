"""A data set that is written is read back as it was, by this library and by others."""

import contextlib
import io
import json
from xml.etree import ElementTree

import numpy as np
import pytest

from dentalzoo.data.formats.dataset_writer import DatasetWriter
from dentalzoo.data.formats.outlines import Regions, outlines, rasterise, segmentation
from dentalzoo.data.io.images import read_image, read_mask, write_png
from dentalzoo.data.masks import find_masks, load
from dentalzoo.data.synthetic import defect
from dentalzoo.errors import DentalzooError

CLASSES = ["crack", "pore"]


def drawn(seed, size=48):
    """An image with a crack and a pore: image, union mask, objects."""
    crack, pore = defect(seed, "crack", size), defect(seed + 100, "pore", size)
    objects = [("crack", crack.mask), ("pore", pore.mask)]
    return np.minimum(crack.image, pore.image), crack.mask | pore.mask, objects


def written(folder, count=3, splits=("",)):
    """A data set and what is in it: name -> (image, mask, objects)."""
    content = {f"image_{i}": drawn(i) for i in range(count)}
    with DatasetWriter(folder, CLASSES) as writer:
        for i, (name, (image, mask, objects)) in enumerate(content.items()):
            writer.add(name, image, mask[..., None], objects, splits[i % len(splits)])
    return content


def coco_api(path):
    from pycocotools.coco import COCO

    with contextlib.redirect_stdout(io.StringIO()):
        return COCO(path)


@pytest.mark.parametrize("annotations", ["masks", "coco"])
def test_both_forms_give_the_written_mask_back(tmp_path, annotations):
    content = written(tmp_path / "set", splits=("train", "val"))
    found = find_masks(tmp_path / "set", annotations=annotations)
    assert [(s.name, s.split) for s in found.samples] == [
        ("image_0", "train"),
        ("image_1", "val"),
        ("image_2", "train"),
    ]
    assert not found.skipped
    for sample in found.samples:
        arrays, (image, mask, _) = load(sample), content[sample.name]
        np.testing.assert_array_equal(arrays["image"][..., 0], image)
        np.testing.assert_array_equal(arrays["mask"][..., 0], mask)


def test_the_classes_of_the_objects_come_back(tmp_path):
    content = written(tmp_path / "set", 1)
    found = find_masks(tmp_path / "set", classes=CLASSES, annotations="coco")
    ids = load(found.samples[0], found.num_classes)["mask"][..., 0]
    (_, mask, objects) = content["image_0"]
    np.testing.assert_array_equal(ids > 0, mask)
    alone = objects[0][1] & ~objects[1][1]
    assert set(ids[alone]) == {1}
    assert set(ids[objects[1][1] & ~objects[0][1]]) == {2}


def test_pycocotools_loads_boxes_areas_and_outlines(tmp_path):
    content = written(tmp_path / "set")
    api = coco_api(tmp_path / "set" / "annotations.coco.json")
    assert [api.cats[i]["name"] for i in sorted(api.cats)] == CLASSES
    assert len(api.anns) == 6
    for image in api.imgs.values():
        name = image["file_name"]
        assert (tmp_path / "set" / name).is_file()
        _, _, objects = content[name.removeprefix("images/").removesuffix(".png")]
        for annotation, (label, inside) in zip(api.imgToAnns[image["id"]], objects, strict=True):
            np.testing.assert_array_equal(api.annToMask(annotation).astype(bool), inside)
            assert api.cats[annotation["category_id"]]["name"] == label
            assert annotation["area"] == inside.sum()
            left, top, width, height = annotation["bbox"]
            rows, columns = np.nonzero(inside)
            assert (left, top) == (columns.min(), rows.min())
            assert (width, height) == (np.ptp(columns) + 1, np.ptp(rows) + 1)


def test_voc_boxes_count_from_one_and_include_the_last_pixel(tmp_path):
    inside = np.zeros((20, 30), bool)
    inside[4:9, 0:7] = True
    with DatasetWriter(tmp_path / "set", CLASSES) as writer:
        writer.add("one", np.zeros((20, 30, 3), np.uint8), inside, [("pore", inside)])
        writer.add("none", np.zeros((20, 30), np.uint8), ~inside & inside, [])
    root = ElementTree.parse(tmp_path / "set" / "voc" / "one.xml").getroot()
    assert root.findtext("filename") == "one.png"
    assert [root.findtext(f"size/{key}") for key in ("width", "height", "depth")] == [
        "30",
        "20",
        "3",
    ]
    (entry,) = root.findall("object")
    assert (entry.findtext("name"), entry.findtext("truncated")) == ("pore", "1")
    box = [int(entry.findtext(f"bndbox/{key}")) for key in ("xmin", "ymin", "xmax", "ymax")]
    assert box == [1, 5, 7, 9]
    empty = ElementTree.parse(tmp_path / "set" / "voc" / "none.xml").getroot()
    assert (empty.findtext("size/depth"), empty.findall("object")) == ("1", [])
    assert len(coco_api(tmp_path / "set" / "annotations.coco.json").imgs) == 2


def test_outlines_fill_with_exactly_their_pixels_whatever_the_mask():
    rng, polygons = np.random.default_rng(0), 0
    for _ in range(300):
        inside = rng.random(rng.integers(1, 12, 2)) < rng.choice([0.1, 0.4, 0.7, 0.95])
        if not inside.any():
            continue
        shape = segmentation(inside)
        polygons += isinstance(shape, list)
        regions = Regions("test", *inside.shape, ((1, json.loads(json.dumps(shape))),))
        np.testing.assert_array_equal(rasterise(regions, *inside.shape).astype(bool), inside)
    assert polygons > 100


def test_an_outline_runs_along_the_edges_of_the_pixels():
    inside = np.zeros((4, 5), bool)
    inside[1:3, 2] = inside[2, 3] = True
    assert segmentation(inside) == [[2, 1, 3, 1, 3, 2, 4, 2, 4, 3, 2, 3]]
    assert len(outlines(np.eye(3, dtype=bool))) == 3  # pixels that touch at a corner are apart


def test_a_hole_is_kept_by_run_lengths():
    inside = np.ones((3, 3), bool)
    inside[1, 1] = False
    assert segmentation(inside) == {"size": [3, 3], "counts": [0, 4, 1, 4]}


def test_the_label_map_numbers_the_classes(tmp_path):
    written(tmp_path / "set", 1)
    expected = 'item {\n  id: 1\n  name: "crack"\n}\nitem {\n  id: 2\n  name: "pore"\n}\n'
    assert (tmp_path / "set" / "label_map.pbtxt").read_text() == expected


def test_images_and_masks_are_plain_pngs(tmp_path):
    content = written(tmp_path / "set", 1)
    image, mask, _ = content["image_0"]
    np.testing.assert_array_equal(read_image(tmp_path / "set/images/image_0.png")[..., 0], image)
    np.testing.assert_array_equal(read_mask(tmp_path / "set/masks/image_0.png"), mask * 255)
    assert not (tmp_path / "set" / "split.csv").exists()


# ---- complete or absent --------------------------------------------------------------------------


@pytest.mark.parametrize("problem", [DentalzooError, KeyboardInterrupt])
def test_nothing_is_left_after_an_error(tmp_path, problem):
    with pytest.raises(problem), DatasetWriter(tmp_path / "set", CLASSES) as writer:
        writer.add("one", *drawn(0))
        raise problem
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_there_before_the_end(tmp_path):
    with DatasetWriter(tmp_path / "deep" / "set", CLASSES) as writer:
        writer.add("one", *drawn(0))
        assert not list((tmp_path / "deep" / "set").glob("[!.]*"))
        (writer.folder / "more.csv").write_text("a\n")
    assert sorted(p.name for p in (tmp_path / "deep").iterdir()) == ["set"]
    assert (tmp_path / "deep" / "set" / "more.csv").is_file()


def test_a_data_set_without_images_is_refused(tmp_path):
    writer = DatasetWriter(tmp_path / "set", CLASSES)
    with pytest.raises(DentalzooError, match="at least one image"), writer:
        pass
    assert list(tmp_path.iterdir()) == []


def test_an_older_data_set_is_replaced_and_anything_else_is_refused(tmp_path):
    written(tmp_path / "set", 3)
    written(tmp_path / "set", 1)
    assert len(find_masks(tmp_path / "set")) == 1
    write_png(tmp_path / "set" / "images" / "mine.png", drawn(0)[0])
    with pytest.raises(
        DentalzooError,
        match="this command wrote. Received: .*set, which holds something else: images/mine.png",
    ):
        written(tmp_path / "set", 1)
    (tmp_path / "file").write_text("text")
    for other in ("file", "set/images", "set/annotations.coco.json"):
        with pytest.raises(DentalzooError, match="something else"):
            written(tmp_path / other, 1)
    (tmp_path / "empty").mkdir()
    written(tmp_path / "empty", 1)


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "file").write_text("text")
    with pytest.raises(DentalzooError, match="cannot be created. Received: Not a directory"):
        written(tmp_path / "file" / "set")


# ---- what is refused -----------------------------------------------------------------------------

INSIDE = np.eye(8, dtype=bool)
NOTHING = np.zeros((8, 8), bool)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("a/b", INSIDE, [("pore", INSIDE)], ""), "without folders. Received: 'a/b'"),
        (("", INSIDE, [("pore", INSIDE)], ""), "without folders"),
        (("ONE", INSIDE, [("pore", INSIDE)], ""), "'ONE' twice"),
        (("b", INSIDE, [("rust", INSIDE)], ""), "Received: 'rust'"),
        (("b", INSIDE, [("pore", NOTHING)], ""), "0 pixels"),
        (("b", INSIDE, [("pore", INSIDE[:4])], ""), r"Received: \(4, 8\)"),
        (("b", INSIDE[:4], [("pore", INSIDE)], ""), r"Received: \(4, 8\)"),
        (("b", INSIDE, [], ""), "8 other pixels"),
        (
            ("b", INSIDE, [("pore", INSIDE)], "train"),
            "split must be given for all images or for none",
        ),
        (("b", INSIDE, [("pore", INSIDE)], "training"), "Received: 'training'"),
    ],
)
def test_what_would_not_be_read_back_is_refused(tmp_path, arguments, message):
    name, mask, objects, split = arguments
    image = np.zeros((8, 8), np.uint8)
    with DatasetWriter(tmp_path / "set", CLASSES) as writer:
        writer.add("one", image, INSIDE, [("pore", INSIDE)])
        with pytest.raises(DentalzooError, match=message):
            writer.add(name, image, mask, objects, split)
    assert len(find_masks(tmp_path / "set")) == 1


@pytest.mark.parametrize("classes", ["pore", [], ["a", "a"], ["a", ""]])
def test_classes_are_different_names(tmp_path, classes):
    with pytest.raises(DentalzooError, match="Received"):
        DatasetWriter(tmp_path / "set", classes)
