"""The table of annotation formats, their protocol, what they recognise, and how to add one."""

import importlib
import json
import logging
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import dentalzoo as dz
from dentalzoo.contracts import AnnotationFormat, missing_parts
from dentalzoo.data import formats
from dentalzoo.data.boxes import find_boxes, load_boxes
from dentalzoo.data.formats.base import ImageAnnotation, ParsedAnnotations, RawBox
from dentalzoo.data.formats.label_maps import class_list_above
from dentalzoo.data.formats.tree import scan
from dentalzoo.data.formats.writing import write_annotations
from dentalzoo.data.images import find_images
from dentalzoo.data.io.images import write_png
from dentalzoo.data.masks import find_masks

ROOT = Path(__file__).resolve().parents[3]
PAGE = ROOT / "docs" / "adding_an_annotation_format.md"
SHARED = {
    "base",
    "copies",
    "dataset_writer",
    "label_maps",
    "names",
    "outcomes",
    "outlines",
    "pairing",
    "patients",
    "references",
    "results",
    "rules",
    "semantic",
    "shapes",
    "writing",
    "splits",
    "tables",
    "tree",
    "unused",
}


def test_the_table_is_the_folder():
    folder = ROOT / "dentalzoo" / "data" / "formats"
    modules = {
        p.stem for p in folder.glob("[!_]*") if p.suffix == ".py" or (p / "__init__.py").exists()
    }
    names = [form.__name__.rpartition(".")[2] for form in formats.FORMATS]
    assert len(set(names)) == len(names) and {*names} == modules - SHARED
    for name, form in zip(names, formats.FORMATS, strict=True):
        assert form is importlib.import_module(f"dentalzoo.data.formats.{name}")


@pytest.mark.parametrize("form", formats.FORMATS, ids=lambda form: form.NAME)
def test_every_format_fulfils_the_protocol(form, tmp_path):
    assert missing_parts(form, AnnotationFormat) == []
    tree = scan(tmp_path)
    assert form.sniff(tree) == ""
    for purpose in form.READS:
        parsed = form.read(tree, purpose)
        assert not parsed.annotations and not parsed.skips


def test_an_incomplete_format_is_named():
    lines = missing_parts(SimpleNamespace(NAME="x", sniff=lambda tree: ""), AnnotationFormat)
    missing = [line.partition(":")[0] for line in lines]
    assert missing == ["read", "lost", "write", "HOLDS", "READS", "WRITES"]


@pytest.mark.parametrize("form", formats.FORMATS, ids=lambda form: form.NAME)
def test_a_format_writes_what_it_reads_or_says_that_it_does_not(form, tmp_path):
    write_png(tmp_path / "images" / "a.png", np.zeros((40, 60), np.uint8))
    (tmp_path / "images" / "a.txt").write_text("0 0.5 0.5 0.25 0.25")
    (tmp_path / "images" / "classes.txt").write_text("11")  # a tooth, for DENTEX
    samples = find_boxes(tmp_path / "images").samples
    out = tmp_path / "out" / "set"
    if "boxes" not in form.WRITES:
        with pytest.raises(dz.DentalzooError, match=rf"^{form.NAME} (is not written|cannot hold)"):
            write_annotations(form, samples, out, ["11"])
        assert not out.exists()
        return
    assert write_annotations(form, samples, out, ["11"]).is_relative_to(out)
    again = find_boxes(out)
    assert again.format == form.NAME
    assert [s.boxes for s in again.samples] == [s.boxes for s in samples]


# ---- a format that only this test knows ----------------------------------------------------------


class Toy:
    """Boxes in *.toy: `image label top left bottom right` in pixels, a line each."""

    NAME = "Toy"
    HOLDS = ("boxes",)
    READS = ("boxes",)
    WRITES = ()

    def sniff(self, tree):
        return "Toy files (boxes)" if tree.notes_of(".toy") else ""

    def read(self, tree, purpose):
        parsed = ParsedAnnotations(images=tree.entries[0])
        images = {entry.path.name: entry.path for entry in parsed.images}
        for path in tree.notes_of(".toy"):
            parsed.classes = class_list_above(path.parent, tree.root)
            by_image = {}
            for line in path.read_text().splitlines():
                name, label, *edges = line.split()
                by_image.setdefault(name, []).append((label, tuple(map(float, edges))))
            for name, boxes in by_image.items():
                annotation = ImageAnnotation(path, f"{tree.name(path)}: {name}", (40, 60))
                annotation.boxes = [RawBox(*box, f"line {i}") for i, box in enumerate(boxes)]
                parsed.assign([images[name]] if name in images else [], annotation)
        return parsed

    def lost(self, samples):
        return []

    def write(self, samples, out, classes, place):
        raise dz.DentalzooError("Toy cannot be written")


@pytest.fixture
def toy(monkeypatch):
    form = Toy()
    assert missing_parts(form, AnnotationFormat) == []
    monkeypatch.setattr(formats, "FORMATS", (*formats.FORMATS, form))
    return form


def put(folder, *names, size=(40, 60)):
    for name in names:
        write_png(folder / name, np.zeros(size, np.uint8))


def test_a_registered_format_is_read_like_the_others(toy, tmp_path):
    """Repairs, classes, groups, skips and splits come from the rules that all formats share."""
    put(tmp_path, *(f"{n}.png" for n in range(6)))
    lines = ["0.png Crown 4 6 20 30", "1.png crown 4 6 44 30", "2.png Implant 50 6 60 30"]
    lines += ["3.png Implant 4 6 20 30", "5.png Crown 0 0 40 60", "gone.png Crown 0 0 9 9"]
    (tmp_path / "boxes.toy").write_text("\n".join(lines))
    (tmp_path / "classes.txt").write_text("Crown\nImplant")
    (tmp_path / "index.csv").write_text("id,patient\n0,p\n1,p\n3,q\n5,q\n")
    dataset = find_boxes(tmp_path, classes=("Implant", "Crown"), val_fraction=0.5)
    assert (dataset.format, dataset.classes) == ("Toy", ("Implant", "Crown"))
    assert [s.name for s in dataset.samples] == ["0", "1", "3", "5"]
    split = {s.name: s.split for s in dataset.samples}
    assert split["0"] == split["1"] != split["3"] == split["5"]
    assert {*split.values()} == {"train", "val"}
    loaded = load_boxes(dataset.samples[0], dataset.classes)
    np.testing.assert_allclose(loaded["boxes"], [[0.1, 0.1, 0.5, 0.5]])
    assert loaded["labels"].tolist() == [2]
    assert dict(dataset.skipped) == {
        "4.png": "image without boxes",
        "boxes.toy: gone.png": "annotation without image",
        "boxes.toy: 2.png, line 0": dict(dataset.skipped)["boxes.toy: 2.png, line 0"],
        "boxes.toy: 2.png": "none of its 1 boxes can be used",
    }
    assert [name for name, _ in dataset.repaired] == ["boxes.toy: 1.png, line 0"] * 2
    (tmp_path / "split.csv").write_text("id,split\n0,train\n1,train\n3,test\n5,test\n2,val\n")
    assert [s.name for s in find_boxes(tmp_path, "test").samples] == ["3", "5"]


def test_folders_name_the_splits_of_a_registered_format(toy, tmp_path):
    put(tmp_path, "train/a.png", "valid/b.png")
    (tmp_path / "boxes.toy").write_text("a.png x 4 6 20 30\nb.png y 4 6 20 30")
    assert [(s.name, s.split) for s in find_boxes(tmp_path).samples] == [
        ("a", "train"),
        ("b", "val"),
    ]


def test_a_registered_format_waits_for_its_turn_and_is_named(toy, tmp_path, caplog):
    caplog.set_level("INFO", "dentalzoo")
    put(tmp_path, "a.png")
    (tmp_path / "boxes.toy").write_text("a.png x 4 6 20 30")
    (tmp_path / "a.txt").write_text("0 0.5 0.5 0.2 0.2")
    assert find_boxes(tmp_path).format == "YOLO"
    assert "used: YOLO; not used: Toy files (boxes)" in caplog.messages
    message = r"found YOLO labels \(boxes\), in which .* as masks; Toy files \(boxes\), not read"
    with pytest.raises(dz.DentalzooError, match=message):
        find_masks(tmp_path)


# ---- what is recognised --------------------------------------------------------------------------

LABELME = {"version": "5.0", "shapes": [{"label": "x", "points": [[1, 2]]}], "imagePath": "a.png"}
LABELME_BOX = {"shapes": [{"shape_type": "rectangle", "points": [[1, 2], [3, 4]]}]}
RESULT = {"type": "polygonlabels", "value": {"points": []}}
TASK = {"id": 1, "data": {"image": "a.png"}, "annotations": [{"result": [RESULT]}]}
BRUSH = {"data": {}, "annotations": [{"result": [{"type": "brushlabels"}]}]}
CVAT = '<?xml version="1.0"?>\n<annotations><version>1.1</version><image name="a.png">{}</image>'


@pytest.mark.parametrize(
    ("file", "content", "phrase"),
    [
        ("a.json", json.dumps(LABELME), "LabelMe JSON (polygons), in which there is nothing"),
        ("a.json", json.dumps(LABELME_BOX), "LabelMe JSON (boxes), in which there is nothing to"),
        ("a.json", json.dumps([TASK]), "Label Studio JSON (polygons), in which there"),
        ("a.json", json.dumps([BRUSH]), "Label Studio JSON (masks), in which there is"),
        (
            "a.xml",
            CVAT.format('<polygon label="x" points=""/>'),
            "CVAT XML (polygons), in which there",
        ),
        ("a.xml", CVAT.format('<box xtl="1"/><mask rle=""/>'), "CVAT XML (boxes, masks), in which"),
        ("a.txt", "0 0.5 0.5 0.1 0.1", "YOLO labels (boxes), in which there is nothing to use"),
        (
            "a.xml",
            "<annotation><object/></annotation>",
            "PASCAL VOC XML (boxes), in which there is nothing to use as masks",
        ),
        (
            "a.json",
            '{"frames": {}}',
            "VoTT JSON (boxes), in which there is nothing to use as masks",
        ),
        ("a.tfrecord", "", "TFRecord files (a.tfrecord), not read as masks"),
    ],
)
def test_what_cannot_be_read_as_masks_is_named(tmp_path, file, content, phrase):
    put(tmp_path, "a.png")
    (tmp_path / file).write_text(content)
    with pytest.raises(dz.DentalzooError, match=f"no image with a mask; found {re.escape(phrase)}"):
        find_masks(tmp_path)


@pytest.mark.parametrize("content", ["", "{", "[]", "[1]", "{}", '[{"data": 1}]', '{"shapes": 3}'])
@pytest.mark.parametrize("suffix", ["json", "xml", "txt"])
def test_other_files_are_not_recognised(tmp_path, suffix, content):
    put(tmp_path, "a.png")
    (tmp_path / f"a.{suffix}").write_text(content or "a note\n")
    with pytest.raises(dz.DentalzooError, match=f"found a.{suffix}, which no format recognises"):
        find_masks(tmp_path)


def test_what_cannot_be_read_as_boxes_is_named(toy, monkeypatch, tmp_path):
    monkeypatch.setattr(toy, "READS", ())
    put(tmp_path, "images/a.png", "masks/a.png", "tooth_boundary/a.png")
    (tmp_path / "b.toy").write_text("")
    with pytest.raises(dz.DentalzooError) as caught:
        find_boxes(tmp_path)
    message = str(caught.value)
    assert "found Toy files (boxes), which this version does not read; " in message
    assert "mask images (masks) and boundary drawings (closed lines), not read as boxes;" in message
    with pytest.raises(dz.DentalzooError, match=r"no usable image; found Toy files \(boxes\)"):
        find_images(tmp_path / "images" / "..", crops="boxes")


def test_boxes_that_cannot_be_read_are_named_with_the_reason(tmp_path):
    put(tmp_path, "a.png")
    (tmp_path / "a.json").write_text(json.dumps(LABELME))
    reason = "no box can be read. Received: a.json, shape 1: must have 3 or more points"
    with pytest.raises(dz.DentalzooError, match=reason):
        find_boxes(tmp_path)


def test_what_is_used_and_what_is_not_is_logged_once(tmp_path, caplog):
    caplog.set_level(logging.INFO, "dentalzoo")
    put(tmp_path, "images/a.png")
    write_png(tmp_path / "masks" / "a.png", np.eye(40, 60, dtype=np.uint8))
    (tmp_path / "a.json").write_text(json.dumps(LABELME))
    images = [{"id": 1, "file_name": "a.png"}]
    content = {"images": images, "categories": [], "annotations": []}
    (tmp_path / "_annotations.coco.json").write_text(json.dumps(content))
    find_masks(tmp_path)
    assert [m for m in caplog.messages if "no split" not in m] == [
        "used: mask images; not used: COCO files (_annotations.coco.json) and LabelMe JSON "
        '(polygons); annotations="coco" uses them'
    ]
    caplog.clear()
    find_masks(tmp_path, annotations="coco")
    assert [m.partition(": ")[2] for m in caplog.messages] == ["not used: masks/: 1 masks"]


# ---- the page ------------------------------------------------------------------------------------


def test_the_page_can_be_followed(tmp_path):
    """A copy of the package gets the page's module, table and test, and runs them."""
    text = PAGE.read_text()
    module, test = re.findall(r"^```python\n(.*?)^```$", text, re.M | re.S)
    shutil.copytree(
        ROOT / "dentalzoo", tmp_path / "dentalzoo", ignore=shutil.ignore_patterns("__pycache__")
    )
    folder = tmp_path / "dentalzoo" / "data" / "formats"
    (folder / "roboflow_csv.py").write_text(module)
    table = (folder / "__init__.py").read_text()
    patches = re.findall(r"^```diff\n(.*?)^```$", text, re.M | re.S)
    assert len(patches) == 2
    for patch in patches:
        lines = patch.splitlines()
        before = "".join(f"{line[1:]}\n" for line in lines if line[0] == " ")
        after = "".join(f"{line[1:]}\n" for line in lines)
        assert table.count(before) == 1
        table = table.replace(before, after)
    (folder / "__init__.py").write_text(table)
    (tmp_path / "test_roboflow_csv.py").write_text(test)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "test_roboflow_csv.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout[-3000:]


# ---- damaged files -------------------------------------------------------------------------------


def test_a_number_beyond_floats_makes_its_object_invalid(tmp_path):
    put(tmp_path, "a.png")
    boxes = [{"image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4]} for _ in range(2)]
    boxes[0]["bbox"] = [1, 2, 10**400, 4]
    categories = [{"id": 1, "name": "x"}]
    content = {"images": [{"id": 1, "file_name": "a.png"}], "categories": categories}
    (tmp_path / "x.json").write_text(json.dumps({**content, "annotations": boxes}))
    found = find_boxes(tmp_path)
    assert len(found.samples[0].boxes) == 1 and len(found.skipped) == 1


def test_a_path_that_is_too_long_is_not_there(tmp_path):
    put(tmp_path, "images/a.png")
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "a.txt").write_text("0 0.5 0.5 0.25 0.25")
    (tmp_path / "data.yaml").write_text(f"path: {'9' * 400}\ntrain: images\nnames: [x]\n")
    assert find_boxes(tmp_path).classes == ("x",)
