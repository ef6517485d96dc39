"""Projects of VoTT 1 and 2: what the tool saves is read, and what is written comes back."""

import contextlib
import hashlib
import json
from dataclasses import replace
from urllib.parse import unquote

import numpy as np
import pytest

from dentalzoo.data.boxes import Box, BoxSample, find_boxes
from dentalzoo.data.formats import vott
from dentalzoo.data.formats.vott import write_vott_v1, write_vott_v2
from dentalzoo.data.formats.writing import write_annotations
from dentalzoo.data.masks import find_masks
from dentalzoo.data.synthetic import write_panoramic_dataset
from dentalzoo.errors import DentalzooError
from tests.data.formats.test_voc import HEIGHT, WIDTH, pixels
from tests.data.test_images import exif, put


def region(x1, y1, x2, y2, *tags, width=WIDTH, height=HEIGHT):
    corners = {"x1": x1, "y1": y1, "x2": x2, "y2": y2}
    points = [{"x": x, "y": y} for x in (x1, x2) for y in (y1, y2)]
    about = {"UID": "5f3b2d1c", "id": 0, "type": "rect", "name": 1}
    return {
        **corners,
        "width": width,
        "height": height,
        "box": corners,
        "points": points,
        "tags": list(tags),
        **about,
    }


def v1(path, frames, tags="root,implant", **more):
    content = {
        "frames": frames,
        "framerate": "1",
        "inputTags": tags,
        "suggestiontype": "track",
        "scd": False,
        "visitedFrames": list(frames),
        "tag_colors": ["#9c27b0", "#2196f3"],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content | more), encoding="utf-8")


def asset(name, *regions, key=None, state=2, size=(WIDTH, HEIGHT), path="file:C:/radiographs/"):
    about = {"format": "png", "id": key or hashlib.md5(name.encode()).hexdigest()}
    about |= {"name": name, "path": path + name, "state": state, "type": 1}
    about |= {"size": {"width": size[0], "height": size[1]} if size else None}
    return {"asset": about, "regions": list(regions), "version": "2.2.0"}


def rectangle(left, top, width, height, *tags):
    box = {"left": left, "top": top, "width": width, "height": height}
    return {"id": "x", "type": "RECTANGLE", "tags": list(tags), "boundingBox": box, "points": []}


# ---- version 1 -----------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["above", "beside"])
def test_a_project_lies_beside_its_folder_of_images(tmp_path, where):
    """The corners are those of the window, which has another size than the image."""
    put(tmp_path, "radiographs/a.png", "radiographs/b.png")
    boxes = [region(100, 50, 300, 225, "root", width=400, height=300)]
    boxes.append(region(10, 5, 40, 45, "implant", width=200, height=150))  # a smaller window
    v1(
        tmp_path / "radiographs.json",
        {"a.png": boxes, "b.png": []},
        visitedFrames=["a.png", "b.png"],
    )
    found = find_boxes(tmp_path if where == "above" else tmp_path / "radiographs")
    assert (found.format, found.classes) == ("VoTT", ("root", "implant"))
    assert [(s.name, len(s.boxes)) for s in found.samples] == [("a", 2), ("b", 0)]
    assert [pixels(b) for b in found.samples[0].boxes] == [(30, 15, 90, 67.5), (6, 3, 24, 27)]
    assert (found.skipped, found.repaired) == ([], [])


def test_images_that_nobody_looked_at_are_no_images_of_nothing(tmp_path):
    put(tmp_path, "images/a.png", "images/b.png", "images/c.png", "images/d.png")
    frames = {"a.png": [region(10, 20, 40, 60, "root")], "b.png": []}
    v1(tmp_path / "images.json", frames, visitedFrames=["a.png", "c.png"])
    found = find_boxes(tmp_path)
    assert [(s.name, len(s.boxes)) for s in found.samples] == [("a", 1), ("c", 0)]
    assert found.skipped == [
        ("images.json: b.png", "not visited in VoTT"),
        ("images/d.png", "image without boxes"),
    ]


def test_the_last_tag_counts(tmp_path):
    put(tmp_path, "images/a.png")
    v1(tmp_path / "images.json", {"a.png": [region(10, 20, 40, 60, "root", "implant")]})
    found = find_boxes(tmp_path)
    assert [b.label for b in found.samples[0].boxes] == ["implant"]
    assert found.repaired == [
        (
            "images.json: a.png, region 1",
            "the last of several tags counts, as in VoTT. Received: root, implant",
        )
    ]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ([f"{i}.png" for i in range(1, 12)], {"0": "1", "1": "2", "9": "10"}),
        (["b.png", "a.png", "c.png"], {"0": "a", "2": "c"}),
        (["10.png", "2.png", "1.png"], {"0": "1", "1": "10", "2": "2"}),  # no 3.png: by name
    ],
)
def test_old_projects_number_their_frames(tmp_path, names, expected):
    put(tmp_path, *(f"images/{name}" for name in names))
    frames = {key: [region(int(key), 20, 40, 60, "root")] for key in expected}
    v1(tmp_path / "images.json", frames, visitedFrames=[int(key) for key in expected])
    found = find_boxes(tmp_path)
    assert {str(round(s.boxes[0].left * WIDTH)): s.name for s in found.samples} == expected
    ((name, what),) = found.repaired
    assert name == "images.json" and "frames are numbered" in what


def test_names_beside_numbers_count(tmp_path):
    put(tmp_path, "images/a.png", "images/b.png")
    boxes = [region(10, 20, 40, 60, "root")]
    named = {"framesByImagesName": {"b.png": boxes}, "visitedFrames": [0, 1]}
    v1(tmp_path / "images.json", {"0": boxes}, **named)
    found = find_boxes(tmp_path)
    assert [s.name for s in found.samples] == ["b"] and found.repaired == []


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (region(10, 20, 40, 60), "a region must have a tag"),
        (region(10, 20, 40, 60, "root", width=0), "must have the width and height of its window"),
        ({"tags": ["root"], "width": 9, "height": 9}, "must have the numbers y1, x1, y2, x2"),
        (region(None, 20, 40, 60, "root"), "must have the numbers y1, x1, y2, x2"),
        (region(float("nan"), 20, 40, 60, "root"), "every edge must be a number"),
        (region(10, 20, 10, 20, "root"), "a box must have an area"),
        (region(10, 20, 40, 60, "molar"), "unknown class; it must be one of root, implant"),
        ("rect", "must be a region"),
    ],
)
def test_regions_that_cannot_be_used_are_named(tmp_path, bad, reason):
    put(tmp_path, "images/a.png")
    v1(tmp_path / "images.json", {"a.png": [region(10, 20, 40, 60, "root"), bad]})
    found = find_boxes(tmp_path)
    assert len(found.samples[0].boxes) == 1
    ((name, told),) = found.skipped
    assert name == "images.json: a.png, region 2" and reason in told


@pytest.mark.parametrize(
    ("window", "expected", "note"),
    [
        ((90, 120), (20, 0, 60, 40), "drawn on the stored image"),
        ((45, 60), (40, 0, 120, 80), "drawn on the stored image"),
        ((120, 90), (0, 20, 40, 60), ""),
        ((120, 60), (0, 30, 40, 90), "a window of another shape"),
    ],
)
def test_windows_that_show_the_stored_image(tmp_path, window, expected, note):
    put(tmp_path, "images/a.jpg")
    exif(tmp_path / "images" / "a.jpg", 5)
    box = region(0, 20, 40, 60, "root", width=window[0], height=window[1])
    v1(tmp_path / "images.json", {"a.jpg": [box]})
    found = find_boxes(tmp_path)
    assert pixels(found.samples[0].boxes[0]) == expected
    assert len(found.repaired) == bool(note)
    assert all(note in what for _, what in found.repaired)


# ---- version 2 -----------------------------------------------------------------------------------


def test_an_export_of_version_2_is_read(tmp_path):
    put(tmp_path, "my radiograph.png", "b.png", "c.png", "d.png")
    polygon = {"id": "y", "type": "POLYGON", "tags": ["implant"], "boundingBox": None}
    polygon["points"] = [{"x": 5, "y": 6}, {"x": 50, "y": 8}, {"x": 20, "y": 44}]
    entries = [
        asset("my radiograph.png", rectangle(10.5, 20, 30, 40, "root", "implant"), polygon),
        asset("b.png", state=1),
        asset("c.png", state=0),
        asset("x.mp4#t=1.5", rectangle(10, 20, 30, 40, "root")),
    ]
    content = {"name": "Radiographs", "tags": [{"name": "root"}, {"name": "implant"}]}
    content["assets"] = {entry["asset"]["id"]: entry for entry in entries}
    (tmp_path / "Radiographs-export.json").write_text(json.dumps(content))
    found = find_boxes(tmp_path)
    assert [(s.name, len(s.boxes)) for s in found.samples] == [("b", 0), ("my radiograph", 3)]
    assert [(b.label, pixels(b)) for b in found.samples[1].boxes] == [
        ("root", (10.5, 20, 40.5, 60)),
        ("implant", (10.5, 20, 40.5, 60)),
        ("implant", (5, 6, 50, 44)),
    ]
    assert found.skipped == [
        ("Radiographs-export.json: c.png", "not visited in VoTT"),
        ("Radiographs-export.json: x.mp4#t=1.5", "annotation without image"),
        ("d.png", "image without boxes"),
    ]


def test_a_project_of_version_2_is_read_and_counts_before_its_export(tmp_path):
    put(tmp_path, "a radiograph.png", "b.png", "c.png")
    newer = asset("a%20radiograph.png", rectangle(0, 0, 60, 45, "root"), key="1")
    (tmp_path / "1-asset.json").write_text(json.dumps(newer))
    older = asset("a radiograph.png", rectangle(0, 0, 6, 4, "root"), key="1")
    (tmp_path / "x-export.json").write_text(json.dumps({"assets": {"1": older}}))
    known = [newer["asset"], asset("b.png", key="2", state=1)["asset"]]
    known.append(asset("c.png", key="3")["asset"])
    project = {"tags": [{"name": "implant"}, {"name": "root"}]}
    project["assets"] = {entry["id"]: entry for entry in known}
    (tmp_path / "radiographs.vott").write_text(json.dumps(project))
    found = find_boxes(tmp_path)
    assert found.classes == ("implant", "root")
    assert [(s.name, list(map(pixels, s.boxes))) for s in found.samples] == [
        ("a radiograph", [(0, 0, 60, 45)]),
        ("b", []),
    ]
    assert found.skipped == [("radiographs.vott: c.png", "tagged, but 3-asset.json is missing")]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (rectangle(10, 20, 30, 40), "a region must have a tag"),
        ({"tags": ["root"]}, "a region must have a boundingBox or points"),
        (rectangle(10, 20, None, 40, "root"), "must have the numbers top, left, height, width"),
        (rectangle(10, 20, 0, 40, "root"), "a box must have an area"),
    ],
)
def test_regions_of_version_2_that_cannot_be_used_are_named(tmp_path, bad, reason):
    put(tmp_path, "a.png")
    entry = asset("a.png", rectangle(10, 20, 30, 40, "root"), bad)
    (tmp_path / "1-asset.json").write_text(json.dumps(entry))
    found = find_boxes(tmp_path)
    assert len(found.samples[0].boxes) == 1 and found.classes == ("root",)
    ((name, told),) = found.skipped
    assert name == "1-asset.json: a.png, region 2" and reason in told


def test_a_cut_json_file_is_named_and_other_json_is_none_of_ours(tmp_path):
    put(tmp_path, "a.png", "b.png")
    (tmp_path / "1-asset.json").write_text(json.dumps(asset("a.png", rectangle(1, 2, 9, 9, "x"))))
    (tmp_path / "2-asset.json").write_text('{"asset": {"name": "b.png"')
    (tmp_path / "package.json").write_text('["x"]')
    found = find_boxes(tmp_path)
    assert [name for name, _ in found.skipped] == ["2-asset.json", "b.png"]


# ---- written -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def radiographs(tmp_path_factory):
    """Radiographs with boxes in floats, as a network predicts them, and one without any."""
    folder = tmp_path_factory.mktemp("radiographs") / "radiographs"
    write_panoramic_dataset(folder, 4, 1, 128, 256)
    found = find_boxes(folder)
    rng = np.random.default_rng(0)
    samples = []
    for sample in found.samples:
        edges = np.sort(rng.random((3, 2, 2)), axis=1).reshape(3, 4) + [[0, 0, 1e-2, 1e-2]]
        boxes = [Box("implant", *np.clip(e, 0, 1).tolist()) for e in edges]
        samples.append(BoxSample(sample.name, sample.image, (*sample.boxes, *boxes)))
    samples[2] = BoxSample(samples[2].name, samples[2].image, ())
    return folder, samples, found.classes


def assert_same(found, samples, classes):
    assert found.classes == classes and found.skipped == [] and found.repaired == []
    assert [s.name for s in found.samples] == [s.name for s in samples]
    for one, other in zip(found.samples, samples, strict=True):
        assert [b.label for b in one.boxes] == [b.label for b in other.boxes]
        for a, b in zip(one.boxes, other.boxes, strict=True):
            edges = ((x.top, x.left, x.bottom, x.right) for x in (a, b))
            np.testing.assert_allclose(*edges, rtol=0, atol=1e-12)


def test_boxes_go_to_version_1_and_back(radiographs, tmp_path):
    folder, samples, classes = radiographs
    copies = tmp_path / "radiographs"
    copies.symlink_to(folder / "images")
    path = write_vott_v1(tmp_path / "radiographs.json", samples, classes)
    content = json.loads(path.read_text())
    assert content["visitedFrames"] == [s.image.name for s in samples]
    assert content["inputTags"] == ",".join(classes)
    assert len(content["tag_colors"]) == len(classes)
    first = content["frames"]["0000.png"][0]
    assert (first["width"], first["height"], first["type"]) == (256, 128, "rect")
    assert_same(find_boxes(tmp_path), samples, classes)
    again = find_boxes(tmp_path)
    write_vott_v1(tmp_path / "second.json", again.samples, again.classes)
    assert json.loads((tmp_path / "second.json").read_text())["frames"].keys() == (
        content["frames"].keys()
    )


def test_boxes_go_to_version_2_and_back(radiographs, tmp_path):
    folder, samples, classes = radiographs
    project = write_vott_v2(tmp_path / "project", samples, classes, "radiographs")
    content = json.loads(project.read_text())
    assert project.name == "radiographs.vott" and [t["name"] for t in content["tags"]] == [*classes]
    for key, entry in content["assets"].items():
        assert key == entry["id"] == hashlib.md5(entry["path"].encode()).hexdigest()
        assert unquote(entry["path"]) == f"file:{folder.resolve()}/images/{entry['name']}"
        assert entry["size"] == {"width": 256, "height": 128}
        assert (tmp_path / "project" / f"{key}-asset.json").is_file()
    for end, place in (("source", folder.resolve() / "images"), ("target", project.parent)):
        connection = content[f"{end}Connection"]
        assert connection["providerType"] == "localFileSystemProxy"
        assert connection["providerOptions"]["folderPath"] == str(place)
    (tmp_path / "scans").symlink_to(folder / "images")
    assert_same(find_boxes(tmp_path), samples, classes)


def test_version_1_goes_to_version_2_and_back_to_the_same_file(radiographs, tmp_path):
    folder, samples, classes = radiographs
    (tmp_path / "radiographs").symlink_to(folder / "images")
    write_vott_v1(tmp_path / "radiographs.json", samples, classes)
    before = json.loads((tmp_path / "radiographs.json").read_text())
    found = find_boxes(tmp_path)
    (tmp_path / "radiographs.json").unlink()
    write_vott_v2(tmp_path / "project", found.samples, found.classes, "radiographs")
    found = find_boxes(tmp_path)
    write_vott_v1(tmp_path / "radiographs.json", found.samples, found.classes)
    after = json.loads((tmp_path / "radiographs.json").read_text())
    for name, regions in before["frames"].items():
        for one, other in zip(regions, after["frames"][name], strict=True):
            assert one["tags"] == other["tags"] and one["UID"] == other["UID"]
            for key in ("x1", "y1", "x2", "y2"):
                assert one[key] == pytest.approx(other[key], abs=1e-9)


def test_crowds_are_no_objects_in_vott(radiographs, tmp_path):
    _, samples, classes = radiographs
    crowd = Box("crown", 0, 0, 1, 1, crowd=True)
    sample = BoxSample("0000", samples[0].image, (crowd,))
    path = write_vott_v1(tmp_path / "images.json", [sample], classes)
    assert json.loads(path.read_text())["frames"] == {"0000.png": []}


@pytest.mark.parametrize("version", [1, 2])
def test_what_cannot_be_written_is_refused(radiographs, tmp_path, version):
    _, samples, classes = radiographs

    def write(samples, classes):
        if version == 1:
            return write_vott_v1(tmp_path / "x.json", samples, classes)
        return write_vott_v2(tmp_path / "x", samples, classes, "x")

    with pytest.raises(
        DentalzooError, match="the class of a box must be one of .*Received: 'implant'"
    ):
        write(samples, ["crown", "restoration", "endodontic", "caries", "missing", "root"])
    for wrong in ("crown", [], ["crown", "crown"]):
        with pytest.raises(DentalzooError, match="classes must be a list of different names"):
            write(samples, wrong)
    if version == 1:
        with pytest.raises(DentalzooError, match="'0000.png' twice"):
            write(samples[:1] * 2, classes)
        with pytest.raises(DentalzooError, match="the tags of VoTT 1 must not hold a comma"):
            write(samples, ["crown, metal"])
    else:
        with pytest.raises(DentalzooError, match="at least one image"):
            write([], classes)


# ---- broken files --------------------------------------------------------------------------------

ODD = [None, 5, "x", [], {}, [[1]], {"a": 1}, float("nan"), 1e308, 10**400, True, [None], ["root"]]


@pytest.mark.parametrize("odd", ODD, ids=lambda odd: str(odd)[:12])
def test_values_of_another_type_are_refused_and_end_nothing(tmp_path, odd):
    """Each key of each kind of file holds each odd value once, and only our own errors come."""
    put(tmp_path, "images/a.png", "images/b.png")
    good = region(10, 20, 40, 60, "root")
    box = rectangle(10, 20, 30, 40, "root")
    polygon = {**box, "type": "POLYGON", "points": [{"x": 1, "y": 2}] * 3}
    contents = []
    for key in good:
        contents.append({"frames": {"a.png": [{**good, key: odd}], "b.png": [good]}})
    for key in ("frames", "visitedFrames", "inputTags", "framesByImagesName"):
        contents.append({"frames": {"a.png": [good]}, "inputTags": "root", key: odd})
    contents += [{"frames": {"a.png": odd, "b.png": [good]}}, {"frames": {"9" * 5000: odd}}]
    for key in asset("a.png")["asset"]:
        changed = asset("a.png", box)
        contents.append({**changed, "asset": {**changed["asset"], key: odd}})
    for key in ("asset", "regions", "version"):
        contents.append({**asset("a.png", box), key: odd})
    for one in (box, polygon):
        contents += [asset("a.png", {**one, key: odd}) for key in one]
        contents += [asset("a.png", {**one, "boundingBox": {"top": odd}}), asset("a.png", odd)]
    contents += [{"assets": odd, "tags": []}, {"assets": {"x": odd}, "tags": odd}]
    for content in contents:
        (tmp_path / "x.json").write_text(json.dumps(content))
        for find in (find_boxes, find_masks):
            with contextlib.suppress(DentalzooError):
                find(tmp_path)


def test_a_tag_that_is_no_list_is_one_tag(tmp_path):
    put(tmp_path, "images/a.png")
    v1(tmp_path / "images.json", {"a.png": [{**region(10, 20, 40, 60), "tags": "root"}]})
    assert find_boxes(tmp_path).samples[0].boxes[0].label == "root"


# ---- polygons and exports ------------------------------------------------------------------------


def test_polygons_of_version_2_are_outlines(tmp_path):
    put(tmp_path, "images/a.png")
    points = [{"x": 10.5, "y": 20}, {"x": 40, "y": 20}, {"x": 40, "y": 60.25}]
    shape = {**rectangle(10.5, 20, 29.5, 40.25, "root"), "type": "POLYGON", "points": points}
    (tmp_path / "x-asset.json").write_text(json.dumps(asset("a.png", shape)))
    (box,) = find_boxes(tmp_path, outlines=True).samples[0].boxes
    assert pixels(box) == (10.5, 20, 40, 60.25)
    assert box.outline == ((10.5, 20.0, 40.0, 20.0, 40.0, 60.25),)
    (sample,) = find_masks(tmp_path, classes=["root"]).samples
    assert sample.regions.shapes == ((1, [[10.5, 20.0, 40.0, 20.0, 40.0, 60.25]]),)


def test_points_beyond_their_box_are_said(tmp_path):
    put(tmp_path, "images/a.png")
    one, two = rectangle(10, 20, 30, 40, "root"), rectangle(50, 20, 30, 40, "root")
    one["points"] = [{"x": x, "y": y} for x, y in ((10, 20), (40, 20), (40, 60), (10, 60))]
    two["points"] = [{"x": 10, "y": 60}, {"x": 40, "y": 80}]
    (tmp_path / "x-asset.json").write_text(json.dumps(asset("a.png", one, two)))
    found = find_boxes(tmp_path)
    assert [pixels(box)[0] for box in found.samples[0].boxes] == [10, 50]
    ((where, what),) = found.repaired
    assert where.endswith("region 2") and "its points lie beyond its boundingBox" in what


HEAD = '"image","xmin","ymin","xmax","ymax","label"\n'


@pytest.mark.parametrize("semicolons", [False, True])
def test_exports_as_csv_are_read(tmp_path, semicolons):
    put(tmp_path, "images/a.png", "images/b.png", "images/c.png")
    rows = '"a.png",10.5,20,40,60.25,"root"\n"a.png",1,2,30,40,"crown"\n"b.png",0,0,9,9,"root"\n'
    rows += '"b.png","x",0,9,9,"root"\n"gone.png",0,0,9,9,"root"\n'
    content = (HEAD + rows).replace(",", ";") if semicolons else HEAD + rows
    (tmp_path / "radiographs-export.csv").write_text(content, encoding="utf-8-sig")
    found = find_boxes(tmp_path)
    assert (found.format, found.classes) == ("VoTT", ("crown", "root"))
    assert [pixels(b) for b in found.samples[0].boxes] == [(10.5, 20, 40, 60.25), (1, 2, 30, 40)]
    name = "radiographs-export.csv"
    assert found.skipped == [
        (f"{name}: gone.png", "annotation without image"),
        ("images/c.png", "image without boxes"),
        (f"{name}: b.png, row 5", "xmin must be a number. Received: 'x'"),
    ]


def test_what_the_tool_saved_counts_more_than_an_export(tmp_path):
    put(tmp_path, "images/a.png", "images/b.png")
    (tmp_path / "x-asset.json").write_text(
        json.dumps(asset("a.png", rectangle(1, 2, 9, 9, "root")))
    )
    rows = '"a.png",10,20,40,60,"crown"\n"b.png",10,20,40,60,"crown"\n'
    (tmp_path / "x-export.csv").write_text(HEAD + rows)
    found = find_boxes(tmp_path)
    assert [[b.label for b in s.boxes] for s in found.samples] == [["root"], ["crown"]]
    assert found.skipped == []


def test_other_tables_are_no_exports(tmp_path):
    put(tmp_path, "images/a.png")
    (tmp_path / "index.csv").write_text("id,patient\na,p\n")
    with pytest.raises(DentalzooError) as caught:
        find_boxes(tmp_path)
    assert "VoTT CSV" not in str(caught.value)


@pytest.mark.parametrize("link", [False, True])
def test_a_written_project_names_its_images_where_they_are_in_the_end(radiographs, tmp_path, link):
    _, samples, classes = radiographs
    triangle = Box("crown", 0.25, 0.25, 0.5, 0.5, outline=((64, 32, 128, 32, 128, 64),))
    samples = [*samples[:2], replace(samples[2], boxes=(triangle,))]
    project = write_annotations(vott, samples, tmp_path / "set", classes, link=link)
    content = json.loads(project.read_text())
    assert (project.name, content["name"]) == ("set.vott", "set")
    assert content["targetConnection"]["providerOptions"]["folderPath"] == str(tmp_path / "set")
    for entry in content["assets"].values():
        path = tmp_path / "set" / "images" / entry["name"]
        assert entry["path"] == f"file:{path}" and path.is_file()
    again = find_boxes(tmp_path / "set", outlines=True)
    assert again.samples[2].boxes == (triangle,)
    assert_same(find_boxes(tmp_path / "set"), samples[:2] + again.samples[2:], classes)


def test_an_object_of_two_polygons_is_refused(radiographs, tmp_path):
    _, samples, classes = radiographs
    parts = ((64.0, 32.0, 96.0, 32.0, 96.0, 64.0), (100.0, 32.0, 128.0, 32.0, 128.0, 64.0))
    sample = replace(samples[0], boxes=(Box("crown", 0.25, 0.25, 0.5, 0.5, outline=parts),))
    with pytest.raises(DentalzooError, match="VoTT cannot hold.*1 objects of several polygons"):
        write_annotations(vott, [sample], tmp_path / "set", classes)
