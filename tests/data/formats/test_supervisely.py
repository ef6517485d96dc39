"""Supervisely: its objects and projects as the tool writes them, written and read."""

import base64
import io
import json
import zlib
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

import dentalzoo as dz
from dentalzoo.data.boxes import find_boxes
from dentalzoo.data.formats import shapes, supervisely
from dentalzoo.data.formats.base import Box
from dentalzoo.data.formats.writing import write_annotations
from dentalzoo.data.masks import find_masks, load

from .tool_samples import (
    BOX,
    CLASSES,
    FLOAT32,
    HEIGHT,
    RING,
    TRIANGLE,
    TWO_PARTS,
    WIDTH,
    check_nothing_is_called_unused,
    check_round_trip,
    edges,
    make,
    put,
    read_only,
    ring,
)


def thing(kind, exterior=None, interior=(), label="tooth", **more):
    entry = {"id": 1, "classTitle": label, "geometryType": kind, "tags": [], **more}
    if exterior is not None:
        entry["points"] = {"exterior": exterior, "interior": [*interior]}
    return entry


def bitmap(array, left, top, **more):
    """Return an object as Supervisely packs it: a PNG with a palette, in zlib, in base64."""
    image = Image.fromarray(array.astype(np.uint8))
    image.putpalette([0, 0, 0, 255, 255, 255])
    stream = io.BytesIO()
    image.save(stream, "PNG", transparency=0, optimize=0)
    data = base64.b64encode(zlib.compress(stream.getvalue())).decode()
    return thing("bitmap", bitmap={"data": data, "origin": [left, top]}, **more)


def annotate(folder, *things, name="ds/ann/a.png.json", tags=(), **more):
    content = {"description": "", "tags": [*tags], "objects": [*things]}
    content |= {"size": {"height": HEIGHT, "width": WIDTH}, **more}
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")


def meta(folder, *titles, shape="any"):
    classes = [{"title": title, "shape": shape, "color": "#FF0000"} for title in titles]
    content = {"classes": classes, "tags": [], "projectType": "images"}
    (folder / "meta.json").write_text(json.dumps(content), encoding="utf-8")


BOX_OBJECT = thing("rectangle", [[6, 8], [23, 23]])


def read(folder):
    return read_only("Supervisely", folder)


# ---- objects -------------------------------------------------------------------------------------


def test_rectangles_include_their_last_pixel(tmp_path):
    put(tmp_path, "ds/img/a.png")
    annotate(tmp_path, BOX_OBJECT, thing("rectangle", [[30, 20], [10, 5]]))
    boxes, _ = read(tmp_path)
    assert edges(boxes[0]) == pytest.approx([8, 6, 24, 24])
    assert edges(boxes[1]) == pytest.approx([5, 10, 21, 31])


def test_points_of_polygons_are_centres_of_pixels(tmp_path):
    put(tmp_path, "ds/img/a.png")
    annotate(tmp_path, thing("polygon", [[10, 5], [30, 8], [12, 20]]))
    (one,), _ = read(tmp_path)
    assert one.outline == ((10.5, 5.5, 30.5, 8.5, 12.5, 20.5),)


def test_a_bitmap_has_its_pixels(tmp_path):
    put(tmp_path, "ds/img/a.png")
    annotate(tmp_path, bitmap(ring()[5:20, 30:50], 30, 5))
    (one,), _ = read(tmp_path)
    assert one.outline == RING.outline


def test_a_bitmap_may_be_grey_or_have_an_alpha(tmp_path):
    put(tmp_path, "ds/img/a.png")
    crop = ring()[5:20, 30:50]
    things = []
    for array in (crop * np.uint8(255), np.dstack([crop * 0, crop * 0, crop * 0, crop * 9])):
        stream = io.BytesIO()
        Image.fromarray(array.astype(np.uint8)).save(stream, "PNG")
        data = base64.b64encode(zlib.compress(stream.getvalue())).decode()
        label = f"kind {array.ndim}"
        things.append(thing("bitmap", bitmap={"data": data, "origin": [30, 5]}, label=label))
    annotate(tmp_path, *things)
    boxes, _ = read(tmp_path)
    assert [one.outline for one in boxes] == [RING.outline] * 2


def test_holes_are_cut_out(tmp_path):
    put(tmp_path, "ds/img/a.png")
    outer, inner = ([[a, a], [b, a], [b, b], [a, b]] for a, b in ((4.5, 24.5), (9.5, 14.5)))
    annotate(tmp_path, thing("polygon", outer, [inner]))
    (one,), dataset = read(tmp_path)
    inside = np.repeat(np.arange(len(one.outline.counts)) % 2 == 1, one.outline.counts)
    expected = np.zeros((HEIGHT, WIDTH), bool)
    expected[5:25, 5:25] = True
    expected[10:15, 10:15] = False
    np.testing.assert_array_equal(inside.reshape(WIDTH, HEIGHT).T, expected)
    assert dataset.repaired[0][1] == "a polygon with holes is read as its pixels"


def test_several_polygons_of_one_object(tmp_path):
    put(tmp_path, "ds/img/a.png")
    a, b, c = ([[x, 2], [x + 8, 2], [x + 8, 9]] for x in (1, 20, 40))
    parts = [{"exterior": a, "interior": []}, {"exterior": b, "interior": []}]
    annotate(
        tmp_path,
        thing("multipolygon", parts=parts),
        thing("polygon", b, instance="k1"),
        thing("polygon", c, instance="k1"),
        thing("polygon", c, instance="k1", label="filling"),
    )
    boxes, _ = read(tmp_path)
    assert [(one.label, len(one.outline)) for one in boxes] == [
        ("tooth", 2),
        ("tooth", 2),
        ("filling", 1),
    ]


@pytest.mark.parametrize("name", ["difficult", "ignore"])
def test_tags_mark_what_is_difficult_or_a_crowd(tmp_path, name):
    put(tmp_path, "ds/img/a.png")
    tag = {"name": name, "value": None}
    annotate(
        tmp_path,
        BOX_OBJECT | {"tags": [tag]},
        thing("rectangle", [[1, 1], [9, 9]], tags=["is_crowd"]),
    )
    boxes, _ = read(tmp_path)
    assert [(one.difficult, one.crowd) for one in boxes] == [(True, False), (False, True)]


def test_what_is_no_object_is_named_and_left_out(tmp_path):
    put(tmp_path, "ds/img/a.png")
    others = [thing(kind, [[1, 2]]) for kind in ("point", "line", "point", "graph")]
    annotate(tmp_path, *others, BOX_OBJECT)
    boxes, dataset = read(tmp_path)
    assert len(boxes) == 1
    text = "shapes that are no objects are left out: 1 x graph, 1 x line, 2 x point"
    assert dataset.repaired[0][1] == text


def test_older_files_have_the_geometry_in_the_class(tmp_path):
    put(tmp_path, "ds/img/a.png")
    meta(tmp_path, "tooth", shape="rectangle")
    annotate(tmp_path, {k: v for k, v in BOX_OBJECT.items() if k != "geometryType"})
    (one,), _ = read(tmp_path)
    assert edges(one) == pytest.approx([8, 6, 24, 24])


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (thing("rectangle", [[1, 2]]), "must have 2 points"),
        (thing("rectangle"), "must have 2 points"),
        (thing("polygon", [[1, 2], [3, 4]]), "must have 3 or more points"),
        (thing("polygon", [[1, 2], [3, 4], [None, 1]]), "a coordinate must be a number"),
        (thing("bitmap", bitmap={"data": "AA", "origin": [1, 2]}), "must be a PNG in base64"),
        (thing("bitmap", bitmap=None), "must be a list of 2 numbers"),
        (bitmap(np.ones((2, 2)), 99, 2), "a mask must have pixels in its image"),
        (thing("alpha_mask"), "geometryType must be rectangle, polygon, multipolygon or"),
        (thing("multipolygon", parts=3), "parts must be a list of polygons"),
        (thing("rectangle", [[1, 2], [3, 4]], label=None), "a class must be a name"),
        (3, "an object must be a JSON object"),
    ],
)
def test_a_wrong_object_is_named_and_the_rest_is_read(tmp_path, wrong, reason):
    put(tmp_path, "ds/img/a.png")
    annotate(tmp_path, BOX_OBJECT, wrong)
    boxes, dataset = read(tmp_path)
    assert len(boxes) == 1
    ((name, why),) = dataset.skipped
    assert name == "ds/ann/a.png.json, object 2" and reason in why


def test_a_bitmap_that_swells_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(shapes, "max_pixels", lambda: 10_000)
    put(tmp_path, "ds/img/a.png")
    packed = zlib.compress(bytes(1_000_000))
    data = base64.b64encode(packed).decode()
    annotate(tmp_path, BOX_OBJECT, thing("bitmap", bitmap={"data": data, "origin": [1, 2]}))
    boxes, dataset = read(tmp_path)
    assert len(boxes) == 1 and "must be a PNG in base64" in dataset.skipped[0][1]


# ---- projects ------------------------------------------------------------------------------------


def test_datasets_and_their_images(tmp_path):
    put(tmp_path, "p/one/img/a.png", "p/two/img/a.png", "p/two/img/b.jpeg.png")
    annotate(tmp_path, BOX_OBJECT, name="p/one/ann/a.png.json")
    annotate(tmp_path, name="p/two/ann/a.png.json")
    annotate(tmp_path, BOX_OBJECT, name="p/two/ann/b.jpeg.json")  # as older files are named
    found = {sample.name: len(sample.boxes) for sample in find_boxes(tmp_path).samples}
    assert found == {"p/one/img/a": 1, "p/two/img/a": 0, "b.jpeg": 1}


def test_datasets_and_tags_are_splits(tmp_path):
    put(tmp_path, "train/img/a.png", "val/img/b.png", "val/img/c.png")
    annotate(tmp_path, BOX_OBJECT, name="train/ann/a.png.json")
    annotate(tmp_path, BOX_OBJECT, name="val/ann/b.png.json")
    annotate(tmp_path, BOX_OBJECT, name="val/ann/c.png.json", tags=[{"name": "test"}])
    found = {sample.name: sample.split for sample in find_boxes(tmp_path).samples}
    assert found == {"a": "train", "b": "val", "c": "test"}


def test_meta_json_has_the_order_of_the_classes(tmp_path):
    put(tmp_path, "ds/img/a.png")
    meta(tmp_path, "unused", "tooth")
    annotate(tmp_path, BOX_OBJECT)
    assert find_boxes(tmp_path).classes == ("unused", "tooth")


def test_skips_have_their_reason(tmp_path):
    put(tmp_path, "ds/img/a.png", "ds/img/b.png", "ds/img/c.png")
    annotate(tmp_path, BOX_OBJECT)
    annotate(tmp_path, BOX_OBJECT, name="ds/ann/gone.png.json")
    (tmp_path / "ds" / "ann" / "c.png.json").write_text('{"size": ')
    skipped = dict(find_boxes(tmp_path).skipped)
    assert skipped.pop("ds/ann/c.png.json").startswith("must be JSON. Received: ")
    assert skipped == {
        "ds/ann/gone.png.json": "annotation without image",
        "ds/img/b.png": "image without boxes",
    }


def test_bitmaps_become_masks(tmp_path):
    put(tmp_path, "ds/img/a.png")
    annotate(tmp_path, bitmap(ring()[5:20, 30:50], 30, 5))
    mask = load(find_masks(tmp_path).samples[0])["mask"][..., 0]
    np.testing.assert_array_equal(mask == 1, ring())


def test_datasets_are_the_splits_of_masks(tmp_path):
    things = bitmap(ring()[5:20, 30:50], 30, 5)
    for name in ("train/{}/a.png", "val/{}/b.png", "test/{}/c.png", "test/{}/d.png"):
        put(tmp_path, name.format("img"))
        annotate(tmp_path, things, name=name.format("ann") + ".json")
    found = {sample.name: sample.split for sample in find_masks(tmp_path).samples}
    assert found == {"a": "train", "b": "val", "c": "test", "d": "test"}


# ---- writing -------------------------------------------------------------------------------------


@pytest.mark.parametrize("splits", [("train", "val", "test"), ("train",)])
def test_a_project_is_read_back_as_it_was(tmp_path, splits):
    marked = [replace(TRIANGLE, difficult=True), Box("tooth", 0, 0, 1, 1, crowd=True)]
    boxes = [BOX, FLOAT32, *marked], [TWO_PARTS, RING], [TWO_PARTS, replace(RING, difficult=True)]
    check_round_trip(supervisely, make(tmp_path / "in", *boxes, splits=splits), tmp_path / "out")


def test_no_file_of_a_project_is_called_unused(tmp_path, caplog):
    write_annotations(
        supervisely, make(tmp_path / "in", [BOX, TRIANGLE]), tmp_path / "out", CLASSES
    )
    check_nothing_is_called_unused(tmp_path / "out", caplog)


def test_files_are_as_the_tool_imports_them(tmp_path):
    samples = make(tmp_path / "in", [BOX, replace(TWO_PARTS, difficult=True), RING])
    out = tmp_path / "out"
    assert write_annotations(supervisely, samples, out, CLASSES) == out
    content = json.loads((out / "meta.json").read_text(encoding="utf-8"))
    assert [one["title"] for one in content["classes"]] == CLASSES
    assert [one["name"] for one in content["tags"]] == ["difficult"]
    assert (out / "train" / "img" / "Böhm 0.5.png").is_file()
    path = out / "train" / "ann" / "Böhm 0.5.png.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    assert content["size"] == {"height": HEIGHT, "width": WIDTH}
    kinds = [one["geometryType"] for one in content["objects"]]
    assert kinds == ["rectangle", "polygon", "polygon", "bitmap"]
    assert content["objects"][1]["instance"] == content["objects"][2]["instance"]
    data = zlib.decompress(base64.b64decode(content["objects"][3]["bitmap"]["data"]))
    alpha = np.asarray(Image.open(io.BytesIO(data)).convert("RGBA"))[..., 3]
    np.testing.assert_array_equal(alpha > 0, ring()[5:20, 30:50])


def test_a_box_thinner_than_a_pixel_is_refused(tmp_path):
    thin = Box("tooth", 0.5, 0.5, 0.5 + 0.6 / HEIGHT, 1)
    samples = make(tmp_path / "in", [BOX, thin], splits=("train",))
    out = tmp_path / "out"
    with pytest.raises(dz.DentalzooError, match="1 objects thinner than a pixel"):
        write_annotations(supervisely, samples, out, ["tooth"])
    assert not out.exists()
    write_annotations(supervisely, samples, out, ["tooth"], lossy=True)
    assert [len(sample.boxes) for sample in find_boxes(out).samples] == [1, 0]
