"""Predictions as projects of annotation tools: complete, and read again where they lie."""

import json
import logging
import os
import shutil

import numpy as np
import pytest

import dentalzoo as dz
from dentalzoo.data.boxes import find_boxes
from dentalzoo.data.conversion import WRITABLE
from dentalzoo.data.formats import format_named
from dentalzoo.data.formats.base import Box, BoxSample, RunLengths
from dentalzoo.data.formats.outlines import objects_of_mask
from dentalzoo.data.formats.vott import write_vott_v1
from dentalzoo.data.io.images import read_image, write_png
from dentalzoo.data.io.stored import StoredImage
from dentalzoo.data.masks import find_masks, load
from dentalzoo.tasks.options import PROJECT_FORMATS
from dentalzoo.tasks.projects import SampleSpool, write_projects

WRITTEN = [key for key in PROJECT_FORMATS if key in WRITABLE]


@pytest.fixture
def images(tmp_path):
    rng = np.random.default_rng(0)
    paths = [tmp_path / "in" / name for name in ("a.png", "b 2.png", "zähne.png")]
    for path in paths:
        write_png(path, rng.integers(0, 255, (60, 90), np.uint8))
    return paths


def moved(folder, tmp_path):
    """A project is read where it was given back, not where it was written."""
    target = tmp_path / "given back"
    shutil.move(folder, target)
    return target


@pytest.mark.parametrize("key", WRITTEN)
def test_boxes_come_back_with_their_images(key, images, tmp_path):
    boxes = (Box("Crown", 0.1, 0.2, 0.5, 0.4, score=0.75), Box("Filling", 0.5, 0.5, 0.6, 0.9))
    samples = [BoxSample(p.stem, p, boxes if i else ()) for i, p in enumerate(images)]
    classes = ("Implant", "Crown", "Filling")
    (opened,) = write_projects(samples, tmp_path / "out", classes, [key])
    assert opened.exists() and opened.is_relative_to(tmp_path / "out" / key)
    dataset = find_boxes(moved(tmp_path / "out" / key, tmp_path), val_fraction=0)
    assert dataset.format == format_named(key).NAME
    assert sorted(s.name for s in dataset.samples) == sorted(p.stem for p in images)
    for sample in dataset.samples:
        source = next(p for p in images if p.stem == sample.name)
        np.testing.assert_array_equal(read_image(sample.image), read_image(source))
        expected = boxes if source != images[0] else ()
        assert [b.label for b in sample.boxes] == [b.label for b in expected]
        for box, other in zip(sample.boxes, expected, strict=True):
            edges = (box.top, box.left, box.bottom, box.right)
            wanted = (other.top, other.left, other.bottom, other.right)
            assert edges == pytest.approx(wanted, abs=0.5 / 60)


@pytest.mark.parametrize("key", WRITTEN)
def test_names_that_are_no_unicode_become_so(key, tmp_path):
    source = tmp_path / "in" / os.fsdecode(b"r\xf6ntgen.png")
    try:
        write_png(source, np.full((60, 90), 90, np.uint8))
    except (OSError, dz.DentalzooError):
        pytest.skip("the file system has names in Unicode alone")
    box = Box(
        "Crown", 0.1, 0.2, 0.5, 0.4, outline=((18.0, 6.0, 36.0, 6.0, 36.0, 30.0, 18.0, 30.0),)
    )
    sample = BoxSample(source.stem, source, (box,))
    write_projects([sample], tmp_path / "out", ["Crown"], [key])
    (read,) = find_boxes(tmp_path / "out" / key, val_fraction=0).samples
    assert read.image.stem == "röntgen" and len(read.boxes) == 1


@pytest.mark.parametrize("key", WRITTEN)
def test_masks_come_back_within_a_pixel(key, images, tmp_path, caplog):
    form = format_named(key)
    if not {"polygons", "masks"} & {*form.WRITES}:
        pytest.skip(f"{form.NAME} holds boxes alone")
    y, x = np.mgrid[:60, :90]
    mask = (((y - 30) / 20) ** 2 + ((x - 30) / 15) ** 2 < 1).astype(np.uint8)
    mask[(y - 30) ** 2 + (x - 70) ** 2 < 150] = 1
    mask[(y - 30) ** 2 + (x - 70) ** 2 < 20] = 0  # a hole
    objects = tuple(objects_of_mask(mask, ["tooth"], 1.0))
    samples = [BoxSample(path.stem, path, objects) for path in images]
    with caplog.at_level(logging.WARNING, "dentalzoo"):
        write_projects(samples, tmp_path / "out", ["tooth"], [key])
    filled = "masks" not in form.WRITES
    assert any("holes, which are filled" in line for line in caplog.messages) == filled
    if filled:
        mask[(y - 30) ** 2 + (x - 70) ** 2 < 20] = 1
    dataset = find_masks(moved(tmp_path / "out" / key, tmp_path))
    assert len(dataset) == 3
    for sample in dataset.samples:
        given = load(sample)["mask"][..., 0]
        assert 2 * (given & mask).sum() / (given.sum() + mask.sum()) > 0.97


def test_the_options_name_formats_that_are_written():
    assert {*PROJECT_FORMATS} <= {*WRITABLE}


def test_a_project_of_a_tool_is_not_overwritten(images, tmp_path):
    (tmp_path / "out" / "vott").mkdir(parents=True)
    (tmp_path / "out" / "vott" / "corrected.json").write_text("{}")
    samples = [BoxSample("a", images[0], (Box("Crown", 0.1, 0.2, 0.5, 0.4),))]
    with pytest.raises(dz.DentalzooError, match=r"holds something else: corrected\.json"):
        write_projects(samples, tmp_path / "out", ["Crown"], ["vott"])
    assert json.loads((tmp_path / "out" / "vott" / "corrected.json").read_text()) == {}


def test_samples_on_disk_are_those_that_were_added(images):
    inside = StoredImage.at(images[0], images[0], 3, 5)
    outline = RunLengths(4, 6, (3, 2, 19))
    samples = [
        BoxSample("a", images[0], (Box("Crown", 0.1, 0.2, 0.5, 0.4, score=0.7),), "patient"),
        BoxSample("b", inside, (Box("Crown", 0, 0, 1, 1, outline=outline),)),
        BoxSample("c", images[1], ()),
    ]
    spool = SampleSpool(samples[:2])
    spool.append(samples[2])
    assert [*spool] == [*spool] == samples and spool[-1] == samples[2] and spool[1:] == samples[1:]
    assert spool[1].image.location == inside.location
    assert len(spool) == 3 and not SampleSpool()


@pytest.mark.parametrize("number", [0, 1, 3])
def test_files_that_are_written_piece_by_piece_are_laid_out_as_whole_ones(images, tmp_path, number):
    boxes = (Box("Crown", 0.1, 0.2, 0.5, 0.4, score=0.7),) * 2
    samples = [BoxSample(p.stem, p, boxes if i else ()) for i, p in enumerate(images[:number])]
    texts = [write_vott_v1(tmp_path / "a.json", samples, ["Crown"]).read_text()]
    assert texts[0] == json.dumps(json.loads(texts[0]), ensure_ascii=False)
    (tmp_path / "out").mkdir()
    forms = {"label_studio": 1, "coco": None}
    opened = write_projects(samples, tmp_path / "out", ["Crown"], [*forms])
    for path, indent in zip(opened, forms.values() if samples else (), strict=True):
        text = path.read_text()
        assert text == json.dumps(json.loads(text), ensure_ascii=False, indent=indent)
