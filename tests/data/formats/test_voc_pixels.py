"""SegmentationClass and SegmentationObject of PASCAL VOC, and data sets written as VOC."""

from dataclasses import replace

import numpy as np
import pytest

from dentalzoo.data.boxes import Box, BoxSample, find_boxes
from dentalzoo.data.formats import voc
from dentalzoo.data.formats.base import RunLengths
from dentalzoo.data.formats.outlines import as_coco, count_runs, fill
from dentalzoo.data.formats.voc.pixels import palette
from dentalzoo.data.formats.writing import write_annotations
from dentalzoo.data.images import find_images
from dentalzoo.data.io.images import write_png
from dentalzoo.data.masks import find_masks, load
from dentalzoo.errors import DentalzooError
from tests.data.formats.test_voc import annotation, thing
from tests.data.test_images import text

SIZE = (8, 12)
LABELMAP = "# label:color_rgb:parts:actions\nbackground:0,0,0::\ncaries:9,5,1::\ncrown:7,7,7::\n"


def masks():
    ids, numbers = np.zeros(SIZE, np.uint8), np.zeros(SIZE, np.uint8)
    ids[1:4, 1:5], numbers[1:4, 1:5] = 2, 1
    ids[1:4, 5:9], numbers[1:4, 5:9] = 2, 2  # touches the first
    ids[6:8, 0:3], numbers[6:8, 0:3] = 1, 3
    return ids, numbers


def voc_set(root, ids, numbers=None, colours=None, labelmap=LABELMAP, rgb=False):
    """One image with its pixels; `colours` are of the classes, PASCAL VOC's where None."""
    write_png(root / "JPEGImages" / "a.png", np.arange(96, dtype=np.uint8).reshape(SIZE))
    colours = [*(colours or []), *palette()[len(colours or []) :]]
    for folder, values, table in (
        ("SegmentationClass", ids, colours),
        ("SegmentationObject", numbers, palette()),
    ):
        if values is not None:
            path = root / folder / "a.png"
            if rgb:
                write_png(path, np.array(table, np.uint8)[values])
            else:
                write_png(path, values, table)
    if labelmap:
        text(root / "labelmap.txt", labelmap)
    return root


CVAT = [(0, 0, 0), (9, 5, 1), (7, 7, 7)]


def pixels(box):
    return fill(as_coco(box.outline), *SIZE)


@pytest.mark.parametrize("rgb", [False, True])
def test_classes_go_by_their_colours(tmp_path, rgb):
    ids, numbers = masks()
    voc_set(tmp_path, ids, numbers, CVAT, rgb=rgb)
    found = find_masks(tmp_path, classes=["caries", "crown"])
    np.testing.assert_array_equal(load(found.samples[0], 3)["mask"][..., 0], ids)
    found = find_masks(tmp_path, classes=["crown", "caries"])
    np.testing.assert_array_equal(load(found.samples[0], 3)["mask"][..., 0], (3 - ids) * (ids > 0))
    objects = find_boxes(tmp_path, outlines=True)
    assert (objects.format, objects.classes) == ("VOC", ("caries", "crown"))
    assert [b.label for b in objects.samples[0].boxes] == ["crown", "crown", "caries"]
    for number, box in enumerate(objects.samples[0].boxes, start=1):
        np.testing.assert_array_equal(pixels(box), numbers == number)
    assert [s.name for s in find_images(tmp_path).samples] == ["a"]  # the pixels are no images


def test_void_is_background_and_is_said(tmp_path, caplog):
    ids, numbers = masks()
    ids[0] = numbers[0] = 255
    voc_set(tmp_path, ids, numbers, CVAT)
    mask = load(find_masks(tmp_path).samples[0])["mask"][..., 0]
    assert not mask[0].any() and mask[1:].sum() == (ids[1:] > 0).sum()
    assert any("void (255) count as background" in line for line in caplog.messages)


def test_a_colour_without_a_class_is_refused(tmp_path):
    ids, _ = masks()
    voc_set(tmp_path, ids, colours=CVAT[:2] + [(3, 3, 3)])
    for find in (find_masks, find_boxes):
        with pytest.raises(DentalzooError) as caught:
            find(tmp_path)
        assert "index 2, colour 3,3,3" in str(caught.value) or "no image with" in str(caught.value)


@pytest.mark.parametrize("names", ["label_map.pbtxt", "class_names.txt", "classes.txt"])
def test_without_colours_the_ids_of_a_list_count(tmp_path, names):
    ids, _ = masks()
    voc_set(tmp_path, ids, labelmap="")
    items = "item { id: 1 name: 'caries' } item { id: 2 name: 'crown' }"
    lists = {"label_map.pbtxt": items, "classes.txt": "caries\ncrown"}
    text(tmp_path / names, lists.get(names, "_background_\ncaries\ncrown"))
    found = find_masks(tmp_path, classes=["caries", "crown"])
    np.testing.assert_array_equal(load(found.samples[0], 3)["mask"][..., 0], ids)
    boxes = find_boxes(tmp_path).samples[0].boxes  # connected areas
    assert [b.label for b in boxes] == ["caries", "crown"]


def test_the_20_classes_need_their_colours(tmp_path):
    ids, _ = masks()
    voc_set(tmp_path, ids, labelmap="")
    assert [b.label for b in find_boxes(tmp_path).samples[0].boxes] == ["aeroplane", "bicycle"]
    voc_set(tmp_path / "other", ids, colours=CVAT, labelmap="")
    with pytest.raises(DentalzooError, match="no image with a mask"):
        find_masks(tmp_path / "other")


def test_boxes_of_another_class_are_not_the_20(tmp_path):
    ids, _ = masks()
    voc_set(tmp_path, ids, labelmap="")
    xml = annotation("a.png", thing("caries", 1, 7, 3, 8), size=SIZE[::-1])
    text(tmp_path / "Annotations" / "a.xml", xml)
    found = find_boxes(tmp_path, outlines=True)
    assert found.samples[0].boxes[0].outline is None
    assert "labelmap.txt" in found.repaired[0][1]


def test_boxes_of_the_files_get_their_outlines(tmp_path):
    ids, numbers = masks()
    voc_set(tmp_path, ids, numbers, CVAT)
    things = [thing("caries", 1, 7, 3, 8), thing("crown", 6, 2, 9, 4), thing("crown", 9, 7, 12, 8)]
    text(tmp_path / "Annotations" / "a.xml", annotation("a.png", *things, size=SIZE[::-1]))
    found = find_boxes(tmp_path, outlines=True)
    caries, crown, alone = found.samples[0].boxes
    np.testing.assert_array_equal(pixels(caries), numbers == 3)
    np.testing.assert_array_equal(pixels(crown), numbers == 2)
    assert alone.outline is None and "no box of its place" in found.repaired[0][1]


def test_an_object_of_two_classes_is_refused(tmp_path):
    ids, numbers = masks()
    numbers[6:8, 0:3] = 1
    voc_set(tmp_path, ids, numbers, CVAT)
    found = find_boxes(tmp_path)
    ((_, reason),) = found.skipped
    assert "must lie in one class of SegmentationClass. Received: caries and crown" in reason
    assert len(found.samples[0].boxes) == 1


@pytest.mark.parametrize(
    "line", ["caries", "caries:1,2:x:y", "caries:1,2,256::", "crown:1,2,3::", "x:7,7,7::"]
)
def test_a_broken_labelmap_is_named(tmp_path, line):
    voc_set(tmp_path, masks()[0], labelmap=LABELMAP + line)
    with pytest.raises(DentalzooError, match="labelmap.txt: line 5 must"):
        find_masks(tmp_path)


# ---- writing -------------------------------------------------------------------------------------


def sample(root, *boxes, name="a", split="train"):
    write_png(root / f"{name}.png", np.arange(96, dtype=np.uint8).reshape(SIZE))
    return BoxSample(name, root / f"{name}.png", boxes, name, split)


def run_box(label, inside):
    rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
    edges = (rows[0] / 8, columns[0] / 12, (rows[-1] + 1) / 8, (columns[-1] + 1) / 12)
    return Box(label, *edges, outline=RunLengths(*SIZE, tuple(count_runs(inside))))


def test_objects_go_to_voc_and_back(tmp_path):
    ids, numbers = masks()
    ring = numbers == 1
    ring[2, 2] = False
    objects = (run_box("crown", ring), replace(run_box("crown", numbers == 2), difficult=True))
    samples = [sample(tmp_path, *objects), sample(tmp_path, name="b 1", split="val")]
    write_annotations(voc, samples, tmp_path / "out", ["x:y", "crown", "unused"])
    assert (tmp_path / "out" / "ImageSets" / "Segmentation" / "val.txt").read_text() == "b 1\n"
    again = find_boxes(tmp_path / "out", outlines=True)
    assert again.classes == ("x:y", "crown", "unused") and not again.skipped + again.repaired
    assert [(s.name, s.split) for s in again.samples] == [("a", "train"), ("b 1", "val")]
    for before, after in zip(objects, again.samples[0].boxes, strict=True):
        assert replace(before, outline=None) == replace(after, outline=None)
        np.testing.assert_array_equal(pixels(before), pixels(after))
    found = find_masks(tmp_path / "out", "train", classes=["x:y", "crown", "unused"])
    mask = load(found.samples[0], 4)["mask"][..., 0]
    np.testing.assert_array_equal(mask == 2, ring | (numbers == 2))
    assert len(find_masks(tmp_path / "out", "val")) == 1


@pytest.mark.parametrize("left", [1 / 12, 1.25 / 12, 0])
def test_boxes_between_pixels_make_all_boxes_count_from_0(tmp_path, left):
    boxes = (Box("crown", 1 / 8, left, 3 / 8, 5 / 12), Box("crown", 0.5, 0.5, 1, 1))
    write_annotations(voc, [sample(tmp_path, *boxes)], tmp_path / "out", ["crown"])
    assert ("1.25" in (tmp_path / "out/Annotations/a.xml").read_text()) == (left == 1.25 / 12)
    again = find_boxes(tmp_path / "out")
    for before, after in zip(boxes, again.samples[0].boxes, strict=True):
        assert after.left == pytest.approx(before.left) and after.right == pytest.approx(
            before.right
        )
        assert after.top == pytest.approx(before.top)


def test_a_class_that_would_be_a_comment_is_refused(tmp_path):
    one = sample(tmp_path, Box("# 1", 0, 0, 0.5, 0.5))
    with pytest.raises(DentalzooError, match="must not begin with # in VOC. Received: '# 1'"):
        write_annotations(voc, [one], tmp_path / "out", ["# 1"])
    assert not (tmp_path / "out").exists()


def test_what_pixels_cannot_hold_is_refused(tmp_path):
    one = run_box("crown", masks()[0] > 0)
    slanted = Box("crown", 0, 0, 0.5, 0.5, outline=((0.0, 0.0, 6.0, 0.0, 6.0, 4.0),))
    for boxes, reason in (
        ([one, one], "overlapping another one"),
        ([slanted], "with a polygon"),
        ([one, replace(one, outline=None, top=0.5)], "without an outline beside those with one"),
        ([replace(one, crowd=True)], "marked as a crowd"),
        ([run_box("crown", masks()[0] > 0), replace(one, bottom=0.5)], "not the extent"),
    ):
        with pytest.raises(DentalzooError, match=f"VOC cannot hold all of it.*{reason}"):
            write_annotations(voc, [sample(tmp_path, *boxes)], tmp_path / "out", ["crown"])
    square = Box("crown", 0, 0, 0.5, 0.5, outline=((0.0, 0.0, 6.0, 0.0, 6.0, 4.0, 0.0, 4.0),))
    write_annotations(voc, [sample(tmp_path, square)], tmp_path / "out", ["crown"])
    (again,) = find_boxes(tmp_path / "out", outlines=True).samples[0].boxes
    np.testing.assert_array_equal(pixels(again), pixels(square))


def test_a_box_whose_ymax_is_its_xmin_by_chance_comes_back(tmp_path):
    box = Box("crown", 0.125, 0.25 + 1 / 24, 0.4375, 1.0)  # xmin and ymax are 3.5
    write_annotations(voc, [sample(tmp_path, box)], tmp_path / "out", ["crown"])
    assert find_boxes(tmp_path / "out").samples[0].boxes == (box,)
