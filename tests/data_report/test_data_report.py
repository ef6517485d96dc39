"""`dentalzoo check --report`: what is in a data set and what is wrong with it, as a page."""

import json
import re
from functools import partial
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from dentalzoo.cli import main
from dentalzoo.data.boxes import check_boxes
from dentalzoo.data.formats import base
from dentalzoo.data.formats.base import Box
from dentalzoo.data.images import check_images
from dentalzoo.data.masks import check_folder
from dentalzoo.data_report import report_data
from dentalzoo.data_report.contradictions import BoxCritic, MaskCritic
from dentalzoo.data_report.gallery import Gallery
from dentalzoo.data_report.page import shown
from dentalzoo.errors import DentalzooError
from dentalzoo.tasks.detector import Detections
from tests.data.test_boxes import yolo

HOSTILE = "<script>alert(1)<＼script>\"'&\u202e"


@pytest.fixture(autouse=True)
def _notices_anew():
    base.notice_once.cache_clear()


def textured(seed, side=64):
    chance = np.random.default_rng(seed)
    small = chance.integers(0, 256, (8, 8), np.uint8)
    return np.asarray(Image.fromarray(small).resize((side, side), Image.Resampling.BICUBIC))


def with_masks(root, count, side=64, name="{}"):
    for number in range(count):
        mask = np.zeros((side, side), np.uint8)
        mask[8:24, 8 : 24 + number] = 255
        for folder, array in (("images", textured(number, side)), ("masks", mask)):
            path = root / folder / f"{name.format(number)}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(array).save(path)
    return root


class Tags(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags, self.links = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [value for key, value in attrs if key in ("src", "href")]


def read(out):
    text = (out / "index.html").read_text()
    return text, Tags(text), json.loads((out / "report.json").read_text())


def test_boxes_are_counted_drawn_and_those_to_look_at_are_shown(tmp_path):
    data = tmp_path / "data"
    same = ("0 0.5 0.5 0.2 0.2", "1 0.5 0.5 0.2 0.19")
    yolo(data, "a", lines=same)
    yolo(data, "b", lines=("0 0.3 0.3 0.1 0.1", "0 0.3 0.3 0.1 0.098"))
    for seed, name in enumerate("ab"):
        Image.fromarray(textured(seed)).save(data / "images" / f"{name}.png")
    (data / "split.csv").write_text("id,split\na,train\nb,val\n")
    out = tmp_path / "out"
    report = report_data(partial_of(check_boxes, data), data, out, kind="boxes")
    assert report["per_split"] == {
        "train": {
            "Crown": {"objects": 1, "images": 1},
            "Implant": {"objects": 1, "images": 1},
        },
        "val": {"Crown": {"objects": 2, "images": 1}},
    }
    assert report["box_sizes"]["Implant"]["median"] == pytest.approx(64 * 0.038**0.5, abs=1e-3)
    text, page, stored = read(out)
    assert stored == report
    assert "Must be fixed before training" in text and "two boxes of Crown" in text
    assert "overlapping classes: Crown and Implant, IoU 0.95" in text
    assert "<h3>Crown</h3>" in text and "train (1 images): boxes" in text
    files = {link for link in page.links if not link.startswith("#")}
    assert files and {path.name for path in out.iterdir()} >= files
    assert all(np.asarray(Image.open(out / name)).std() > 1 for name in files)
    anchors = [link[1:] for link in page.links if link.startswith("#")]
    assert anchors and all(f'id="{anchor}"' in text for anchor in anchors)


def partial_of(check, data, **options):
    return lambda watch: check(data, watch=watch, **options)


def test_masks_are_counted_and_odd_ones_are_listed(tmp_path):
    data = with_masks(tmp_path / "data", 24, 320)
    with_speck = np.zeros((320, 320), np.uint8)
    with_speck[50:70, 50:70] = with_speck[9, 9] = 255
    Image.fromarray(with_speck).save(data / "masks" / "3.png")
    large = np.zeros((320, 320), np.uint8)
    large[20:300, 20:300] = 255
    Image.fromarray(large).save(data / "masks" / "4.png")
    Image.fromarray(large * 0).save(data / "masks" / "5.png")
    report = report_data(partial_of(check_folder, data), data, tmp_path / "out")
    assert ["3", "1 speck below 0.002% of the image"] in report["masks_to_check"]
    (odd,) = [what for name, what in report["masks_to_check"] if name == "4"]
    assert odd.startswith("its mask covers 76.56% of the image")
    assert len(report["masks_to_check"]) == 2
    text, _, _ = read(tmp_path / "out")
    assert "The smallest masks" in text and "1 images without any object: 5." in text
    assert report["without_objects"] == ["5"]
    assert "Nothing must be fixed" in text


def test_copies_are_shown_side_by_side_and_data_is_not_written_to(tmp_path):
    data = tmp_path / "data"
    for split, name, array in (
        ("train", "a", textured(0)),
        ("train", "b", textured(1)),
        ("val", "turned", np.rot90(textured(0))),
    ):
        (data / split).mkdir(parents=True, exist_ok=True)
        Image.fromarray(array).save(data / split / f"{name}.png")
    before = sorted(data.rglob("*"))
    command = ["check", str(data), "--images", "--report", str(tmp_path / "out"), "--json"]
    assert main(command) == 1
    text, page, report = read(tmp_path / "out")
    assert report["duplicates"] == [
        ["a", "turned", "nearly alike, turned or mirrored, in train and val"]
    ]
    assert {"duplicates_01a.jpg", "duplicates_01b.jpg"} <= {*page.links}
    assert sorted(data.rglob("*")) == before
    assert main([*command[:-3], "--report", str(data / "out")]) == 2
    assert sorted(data.rglob("*")) == before


def test_names_of_files_are_text_and_nothing_else(tmp_path, capsys):
    data = with_masks(tmp_path / f"{HOSTILE}", 2, name=HOSTILE + "{}")
    (data / "images" / "<img src=x onerror=y>.png").write_bytes(b"")
    out = tmp_path / "out"
    assert main(["check", str(data), "--report", str(out), "--json"]) == 1
    text, page, report = read(out)
    assert {"script", "iframe", "link", "object"}.isdisjoint(page.tags)
    assert "onerror" not in re.sub(r"&lt;.*?&gt;", "", text) and "\u202e" not in text
    assert shown(HOSTILE) in text
    assert not [name for name in page.links if not re.fullmatch(r"#?\w+(\.(png|jpg))?", name)]
    assert "http" not in text and json.loads(capsys.readouterr().out) == report


def test_the_page_is_whole_or_absent_and_replaced(tmp_path, monkeypatch):
    data = with_masks(tmp_path / "data", 6)
    out = tmp_path / "out"
    check = partial_of(check_folder, data)
    with monkeypatch.context() as patched:
        patched.setattr("dentalzoo.data_report.report.page", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            report_data(check, data, out)
    assert not out.exists()
    report_data(check, data, out, per_class=6)
    first = {path.name for path in out.iterdir()}
    report_data(check, data, out, per_class=1)
    assert {path.name for path in out.iterdir()} < first
    (out / "mine.txt").write_text("x")
    with pytest.raises(DentalzooError, match="holds something else: mine.txt"):
        report_data(check, data, out)


def test_data_that_is_refused_has_a_page_with_the_reason(tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    report = report_data(partial_of(check_boxes, data), data, tmp_path / "out", kind="boxes")
    assert "no image with boxes" in report["problems"][0][1]
    text, _, _ = read(tmp_path / "out")
    assert "The data cannot be used" in text and str(tmp_path) not in text
    with pytest.raises(DentalzooError, match="no image with boxes"):
        report_data(partial_of(check_boxes, data), data, kind="boxes")
    missing = tmp_path / "missing"
    with pytest.raises(DentalzooError):
        report_data(partial_of(check_boxes, missing), missing, tmp_path / "none", kind="boxes")
    assert not (tmp_path / "none").exists()


def test_labels_of_images_are_counted(tmp_path):
    data = tmp_path / "data"
    for number, label in enumerate(("Crack", "Crack", "Hole")):
        path = data / label / "images" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(textured(number)).save(path)
    check = partial_of(check_images, data, val_fraction=0)
    report = report_data(check, data, tmp_path / "out", kind="images")
    assert {k: v["images"] for k, v in report["per_split"]["train"].items()} == {
        "Crack": 2,
        "Hole": 1,
    }
    assert "<h3>Hole</h3>" in read(tmp_path / "out")[0]


def test_meshes_have_counts(tmp_path):
    def check(watch):
        about = {"vertices": {"min": 5, "max": 7}, "teeth": {}, "lower_not_used": 0}
        return {"data": "d", "usable": 3, "groups": 3, "train": 3, "skipped": []} | about

    (tmp_path / "data").mkdir()
    report_data(check, tmp_path / "data", tmp_path / "out", kind="meshes")
    text, page, _ = read(tmp_path / "out")
    assert "3 usable meshes, 3 groups" in text and "min: 5, max: 7" in text
    assert "img" not in page.tags


@pytest.mark.filterwarnings("error")
def test_names_of_classes_in_any_script(tmp_path):
    names = ["牙", "$x_{", "<b>\\frac", "a \u202eb"]
    data = yolo(tmp_path / "data", "a", lines=["0 0.5 0.5 0.2 0.2"], classes=names)
    lines = [f"{i} 0.{i + 2} 0.5 0.1 0.2" for i in range(4)]
    (data / "labels" / "a.txt").write_text("\n".join(lines))
    report = report_data(partial_of(check_boxes, data), data, tmp_path / "out", kind="boxes")
    assert {*report["boxes"]} == {*names}
    text, page, _ = read(tmp_path / "out")
    assert "<h3>牙</h3>" in text and "b" not in page.tags[page.tags.index("table") :]


def test_more_classes_than_colours(tmp_path):
    data = yolo(tmp_path / "data", "a", classes=[f"class {i}" for i in range(300)])
    (data / "labels" / "a.txt").write_text("299 0.5 0.5 0.2 0.2\n0 0.2 0.2 0.1 0.1\n")
    report = report_data(partial_of(check_boxes, data), data, tmp_path / "out", kind="boxes")
    assert report["per_split"]["train"]["class 299"] == {"objects": 1, "images": 1}


# ---- pictures ------------------------------------------------------------------------------------


def test_a_gallery_is_bounded_and_depends_on_seed_and_names_alone():
    def chosen(names, seed=0):
        gallery = Gallery(seed)
        for name in names:
            picture = partial(np.full, (4, 4, 3), 9, np.uint8)
            gallery.offer("a", name, name, picture, most=5)
            gallery.offer("b", name, name, picture, most=2)
        sections = gallery.sections()
        assert len(gallery._jpegs) <= 7
        return [picture.caption for picture in sections["a"]], len(sections["b"])

    names = [str(number) for number in range(100)]
    assert chosen(names) == chosen(names[::-1]) and chosen(names)[1] == 2
    assert chosen(names)[0] != chosen(names, 1)[0]


# ---- a model as a witness ------------------------------------------------------------------------


class _Bundle:
    name = "model"

    def __init__(self, task, mask=None):
        shape = {"probabilities": {"shape": [None, None, 1]}}
        self.metadata = {
            "task": task,
            "config": {"classes": ["Crown", "Implant"]},
            "signatures": {"serve": {"outputs": shape}},
        }
        self._mask = mask

    def serve(self, image):
        return {"mask": self._mask, "probabilities": np.float32(self._mask)}


def test_confident_boxes_contradict_other_classes_and_empty_places():
    critic = BoxCritic(_Bundle("detection"))
    boxes = [Box("Crown", 0.1, 0.1, 0.3, 0.3), Box("Tooth", 0.6, 0.6, 0.8, 0.8)]

    def texts(*edges, label, score=0.95):
        found = Detections(np.array([edges], np.float32), np.array([score]), np.array([label]))
        return [(one.text, one.boxes) for one, _ in critic.contradictions(found, boxes)]

    assert texts(0.1, 0.1, 0.3, 0.28, label=1) == []
    assert texts(0.1, 0.1, 0.3, 0.28, label=2) == [
        ("labelled Crown, the model is sure of Implant (0.95)", (0,))
    ]
    assert texts(0.6, 0.6, 0.8, 0.8, label=1) == []  # a class that the model does not know
    assert texts(0.1, 0.6, 0.3, 0.8, label=1) == [
        ("no box where the model is sure of Crown (0.95)", ())
    ]
    assert texts(0.1, 0.2, 0.3, 0.4, label=1) == []  # beside a box
    assert critic.confident_from() == 0.9
    critic._scores.extend([0.3, 0.4, 0.5, 0.6, 0.7])  # never as sure as that
    assert critic.confident_from() == pytest.approx(0.6)
    critic._scores.extend([0.99] * 5)
    assert critic.confident_from() == 0.9
    with pytest.raises(DentalzooError, match="a class of the data in common"):
        critic.check_classes(["Filling"])
    with pytest.raises(DentalzooError, match="must be of the task 'segmentation'"):
        MaskCritic(_Bundle("detection"))


def test_a_mask_far_from_the_model_is_listed(tmp_path):
    data = with_masks(tmp_path / "data", 10)
    Image.fromarray(np.eye(64, dtype=np.uint8) * 255).save(data / "masks" / "7.png")
    predicted = np.zeros((64, 64, 1), np.uint8)
    predicted[8:24, 8:28] = 1
    bundle = _Bundle("segmentation", predicted)
    report = report_data(partial_of(check_folder, data), data, tmp_path / "out", bundle=bundle)
    ((name, what),) = report["contradictions"]
    assert report["model_dice"]["max"] == 1
    assert name == "7" and what.startswith("Dice 0.") and report["bundle"] == "model"
    text, _, _ = read(tmp_path / "out")
    assert "Annotations that the model contradicts: 1" in text
    critic = MaskCritic(bundle)
    _, dice = critic("a", predicted, predicted)
    assert dice == 1 and critic.findings() == []
    with pytest.raises(DentalzooError, match="asked about boxes and masks only"):
        report_data(partial_of(check_images, data), data, kind="images", bundle=bundle)


class _Detector:
    """One box of a class that none has, one that is there, and one of a low score."""

    classes = ("Crown", "Implant")

    def __call__(self, image):
        boxes = np.array([[0.1, 0.6, 0.3, 0.8], [0.4, 0.4, 0.6, 0.6], [0.7, 0.7, 0.9, 0.9]])
        return Detections(boxes, np.array([0.97, 0.95, 0.6]), np.array([2, 1, 1]))


def test_boxes_that_a_model_contradicts_are_listed_and_shown(tmp_path, monkeypatch):
    data = yolo(tmp_path / "data", "a", lines=("0 0.5 0.5 0.2 0.2",))
    monkeypatch.setattr("dentalzoo.data_report.contradictions.Detector", lambda bundle: _Detector())
    check, bundle = partial_of(check_boxes, data), _Bundle("detection")
    report = report_data(check, data, tmp_path / "out", kind="boxes", bundle=bundle)
    what = "no box where the model is sure of Implant (0.97)"
    assert report["contradictions"] == [["a", what]] and report["confident_from"] == 0.9
    text, page, _ = read(tmp_path / "out")
    assert text.count(f"<figcaption>a: {what}</figcaption>") == 1
    assert "sure of Crown" not in text
    assert report_data(check, data, kind="boxes", bundle=bundle)["contradictions"] == [["a", what]]
