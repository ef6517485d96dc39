"""The parts of `predict`, run apart as several processes run them, without a network."""

import json
import logging
import pickle
import tarfile

import numpy as np
import pytest

from dentalzoo.data.io.images import write_png
from dentalzoo.errors import DentalzooError
from dentalzoo.tasks import detection, segmentation
from dentalzoo.tasks.options import DetectionPredictOptions, SegmentationPredictOptions
from dentalzoo.tasks.predictor import write_files
from tests.tasks.test_detection import StandIn as Detector
from tests.tasks.test_detection import radiograph
from tests.tasks.test_segmentation import StandIn as Segmenter

FORMATS = ("coco", "labelme")
CASES = {
    "segmentation": (
        segmentation,
        Segmenter(),
        SegmentationPredictOptions(overlay=True, format=FORMATS),
    ),
    "detection": (
        detection,
        Detector(),
        DetectionPredictOptions(score_threshold=0.1, overlay=True, format=FORMATS, vott=(1,)),
    ),
}


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "in"
    write_png(folder / "a.png", radiograph((180, 5, 5, 20, 30), (90, 30, 40, 50, 90)))
    write_png(folder / "b.png", radiograph((255, 10, 10, 40, 60)))
    write_png(folder / "bad.png", np.full((8, 8), 13, np.uint8))
    write_png(folder / "c.png", radiograph())
    return folder


def content(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def apart(package, bundle, options, inputs, out):
    """Predict as other processes do: items, shared values and records travel."""
    planning = package.Predictor(bundle, options)
    plan = planning.plan(inputs, out)
    shared = json.loads(json.dumps(plan.shared))
    records = []
    for item in reversed(pickle.loads(pickle.dumps(plan.items))):
        worker = package.Predictor(bundle, options)
        worker.join(shared)
        try:
            result = worker.apply(item, worker.read(item))
        except DentalzooError:
            continue
        write_files(result.files, out)
        records.append((item, json.loads(json.dumps(result.record))))
    return planning.combine(reversed(records), out)


@pytest.mark.parametrize("case", CASES)
def test_parts_that_run_apart_write_what_predict_writes(case, images, tmp_path):
    package, bundle, options = CASES[case]
    report = package.predict(bundle, images, tmp_path / "1" / "out", options=options)
    assert report.written == 3 and len(report.failed) == 1
    written = apart(package, bundle, options, images, tmp_path / "2" / "out")
    expected = content(tmp_path / "1")
    assert content(tmp_path / "2") == expected
    places = {path.relative_to(tmp_path / "2") for path in written}
    assert all((tmp_path / "1" / place).exists() for place in places)
    assert len(places) == len(FORMATS) + (3 if case == "detection" else 0)


@pytest.mark.parametrize("case", CASES)
def test_images_in_a_tar_give_what_they_give_in_a_folder(case, images, tmp_path, caplog):
    package, bundle, options = CASES[case]
    with tarfile.open(tmp_path / "in.tar", "w") as tar:
        for path in sorted(images.iterdir()):
            tar.add(path, path.name)
    if case == "detection":
        with pytest.raises(DentalzooError, match="vott must be given images that are files"):
            package.predict(bundle, tmp_path / "in.tar", tmp_path / "x", options=options)
        options = DetectionPredictOptions(score_threshold=0.1, overlay=True, format=FORMATS)
    package.predict(bundle, images, tmp_path / "1" / "out", options=options)
    with caplog.at_level(logging.WARNING, "dentalzoo"):
        package.predict(bundle, tmp_path / "in.tar", tmp_path / "2" / "out", options=options)
    given, expected = content(tmp_path / "2"), content(tmp_path / "1")
    assert {*given} == {*expected}
    # The images of projects are encoded again.
    changed = [path for path in given if given[path] != expected[path]]
    assert all(path.parts[1] in FORMATS for path in changed)
    assert f"{tmp_path / 'in.tar' / 'bad.png'}: an image it does not like" in caplog.text


def test_a_name_that_is_too_long_fails_alone(images, tmp_path):
    write_png(images / f"{'n' * 248}.png", radiograph())
    options = SegmentationPredictOptions(overlay=True)
    report = segmentation.predict(Segmenter(), images, tmp_path / "out", options=options)
    assert report.written == 3
    assert "the names of its results must have at most 255 bytes" in report.failed[-1][1]


def test_memory_that_does_not_suffice_fails_one_image(images, tmp_path, monkeypatch, caplog):
    class Greedy(Segmenter):
        def serve(self, image):
            if image.shape[:2] == (8, 8):
                raise MemoryError
            return super().serve(image)

    monkeypatch.setattr("tests.tasks.test_predictor.Segmenter", Greedy)
    report = segmentation.predict(Greedy(), images, tmp_path / "out")
    assert report.written == 3
    assert [(path.split("/")[-1], "fit in memory" in why) for path, why in report.failed] == [
        ("bad.png", True)
    ]
