"""Measuring and applying a bundle of the task "segmentation", on a stand-in that needs no network.

The stand-in's probability is the grey value: an image is its own prediction.
"""

import json
import logging
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dentalzoo.data.io.images import read_image, read_mask, write_png
from dentalzoo.data.pipeline.prefetch import read_ahead
from dentalzoo.errors import DentalzooError
from dentalzoo.plots.palette import CONFUSED, GROUND_TRUTH, PREDICTION, palette
from dentalzoo.tasks.options import (
    SegmentationCompareOptions,
    SegmentationEvaluateOptions,
    SegmentationPredictOptions,
)
from dentalzoo.tasks.segmentation import compare, evaluate, predict, summary_metrics
from dentalzoo.tasks.segmentation.drawing import errors, overlay
from dentalzoo.tasks.segmentation.evaluation import count, image_scores


class StandIn:
    """Grey / 255 is the probability of the foreground; with K > 1 grey // 10 is the class id."""

    name = "stand_in"

    def __init__(self, num_channels=1):
        self.path = Path("runs", self.name, "bundle")
        self.num_channels = num_channels
        shape = [None, None, None, num_channels]
        self.metadata = {"signatures": {"serve": {"outputs": {"probabilities": {"shape": shape}}}}}

    def serve(self, image):
        if image[0, 0, 0] == 13:
            raise DentalzooError("an image it does not like. Received: 13")
        grey = image[..., :1]
        if self.num_channels > 1:
            ids = np.minimum(grey // 10, self.num_channels - 1)
            one_hot = np.eye(self.num_channels, dtype=np.float32)[ids[..., 0]]
            return {"mask": ids, "probabilities": one_hot}
        probabilities = grey.astype(np.float32) / 255
        return {"mask": (probabilities > 0.5).astype(np.uint8), "probabilities": probabilities}


def square(rows, columns, value=255, size=(8, 10)):
    """An image of zeros with `value` in a corner of `rows` x `columns`."""
    image = np.zeros(size, np.uint8)
    image[:rows, :columns] = value
    return image


def write_pairs(folder, pairs):
    for name, (image, mask) in pairs.items():
        write_png(folder / "images" / f"{name}.png", image)
        write_png(folder / "masks" / f"{name}.png", mask)
    return folder


@pytest.fixture
def pairs(tmp_path):
    """Four images of 80 pixels whose scores are known."""
    return write_pairs(
        tmp_path / "pairs",
        {
            "exact": (square(4, 5), square(4, 5)),  # tp 20
            "half": (square(4, 5), square(4, 10)),  # tp 20, fn 20
            "empty": (square(0, 0), square(0, 0)),  # tn 80
            "ghost": (square(2, 4), square(0, 0)),  # fp 8
        },
    )


# ---- scores --------------------------------------------------------------------------------------


def test_count_is_the_confusion_matrix_whatever_the_blocks(monkeypatch):
    rng = np.random.default_rng(0)
    gt, prediction = rng.integers(0, 255, (2, 40, 50), np.uint8)
    expected = np.zeros((255, 255), int)
    np.add.at(expected, (gt.ravel(), prediction.ravel()), 1)
    monkeypatch.setattr("dentalzoo.tasks.segmentation.evaluation._BLOCK", 333)
    np.testing.assert_array_equal(count(gt, prediction, 255), expected)


def test_several_classes_count_those_that_occur():
    confusion = np.array([[50, 0, 2, 0], [0, 10, 0, 0], [4, 0, 4, 0], [0, 0, 0, 0]])
    scores = image_scores(confusion)
    assert scores["dice"] == pytest.approx((1 + 8 / 14) / 2)  # class 3 is nowhere
    assert scores["recall"] == pytest.approx((1 + 4 / 8) / 2)
    assert scores["accuracy"] == pytest.approx(64 / 70)
    assert image_scores(np.diag([70, 0, 0, 0]))["dice"] == 1.0


# ---- evaluate ------------------------------------------------------------------------------------


def test_evaluate_by_hand(pairs, tmp_path):
    report = evaluate(StandIn(), pairs, out=tmp_path / "out")
    assert {row["name"]: row["dice"] for row in report["per_image"]} == pytest.approx(
        {"exact": 1, "half": 2 / 3, "empty": 1, "ghost": 0}, abs=1e-6
    )
    assert report["mean"]["dice"] == pytest.approx((1 + 2 / 3 + 1 + 0) / 4, abs=1e-6)
    assert report["median"]["dice"] == pytest.approx((1 + 2 / 3) / 2, abs=1e-6)
    assert report["min"]["dice"] == 0
    assert report["pooled"] == pytest.approx(
        {
            "dice": 80 / 108,  # tp 40, fp 8, fn 20 of 320
            "iou": 40 / 68,
            "precision": 40 / 48,
            "recall": 40 / 60,
            "accuracy": 292 / 320,
        },
        abs=1e-6,
    )
    assert report["per_class"]["foreground"]["images"] == 3
    assert (report["images"], report["skipped"], report["split"]) == (4, [], None)
    assert (report["bundle"], report["data"], report["threshold"]) == ("stand_in", "pairs", 0.5)
    assert summary_metrics(report) == report["mean"] | {
        "dice_median": report["median"]["dice"],
        "dice_min": 0,
        "dice_pooled": report["pooled"]["dice"],
        "ece": (20 + 8) / 320,  # pixels that are 0 or 1 for sure, and wrong
    }
    for key, value in summary_metrics(report).items():
        if key != "dice_min":
            assert report["intervals"][key]["value"] == pytest.approx(value, abs=1e-6)
    assert report["class_intervals"]["foreground"]["iou"]["value"] == report["pooled"]["iou"]
    text = (tmp_path / "out" / "evaluation.json").read_text()
    assert json.loads(text) == report
    assert str(tmp_path) not in text
    assert read_image(tmp_path / "out" / "evaluation.png").shape[2] == 3


def test_evaluate_names_masks_that_are_black_on_white(tmp_path, caplog):
    masks = {name: (square(4, 5), 255 - square(2, 2)) for name in "ab"}
    evaluate(StandIn(), write_pairs(tmp_path / "pairs", masks))
    assert any("are they black on white?" in line for line in caplog.messages)


def test_evaluate_takes_the_split(pairs):
    (pairs / "split.csv").write_text("id,split\nexact,val\nhalf,train\nempty,val\nghost,train\n")
    report = evaluate(StandIn(), pairs, split="val")
    assert [row["name"] for row in report["per_image"]] == ["empty", "exact"]
    assert (report["split"], report["images"]) == ("val", 2)


def test_evaluate_leaves_bad_files_out_and_lists_them(pairs, tmp_path, caplog):
    (pairs / "images" / "half.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    write_png(pairs / "masks" / "ghost.png", square(1, 1, size=(3, 3)))
    write_png(pairs / "images" / "disliked.png", square(8, 10, 13))
    write_png(pairs / "masks" / "disliked.png", square(1, 1))
    write_png(pairs / "images" / "alone.png", square(1, 1))
    report = evaluate(StandIn(), pairs)
    assert [row["name"] for row in report["per_image"]] == ["empty", "exact"]
    reasons = dict(report["skipped"])
    assert len(reasons) == len(report["skipped"]) == 4
    assert "8 x 10" in reasons["ghost.png"] or "10 x 8" in reasons["ghost.png"]
    assert "damaged" in reasons["half.png"]
    assert "does not like" in reasons["disliked.png"]
    assert str(tmp_path) not in json.dumps(report)
    warned = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    blank = [message for message in warned if "of the pixels" in message]  # all of these squares
    assert len(warned) - len(blank) == len(blank) == 4
    assert not any("\n" in message for message in warned)


def test_evaluate_needs_one_usable_image(pairs):
    for image in (pairs / "images").iterdir():
        image.write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    with pytest.raises(DentalzooError, match="none of 4 images can be used.*damaged"):
        evaluate(StandIn(), pairs)


@pytest.mark.parametrize("where", ["images", "masks"])
def test_evaluate_does_not_write_among_its_data(pairs, where):
    before = sorted((pairs / where).iterdir())
    with pytest.raises(DentalzooError, match="a folder without inputs"):
        evaluate(StandIn(), pairs, out=pairs / "masks" / ".." / where)
    assert sorted((pairs / where).iterdir()) == before


def test_evaluate_with_several_classes(tmp_path):
    gt = square(4, 5, 1) + square(2, 2, 1)  # 4 pixels of id 2, 16 of id 1
    image = gt * 10
    image[0, 0] = 10  # one pixel of 2 predicted as 1
    data = write_pairs(tmp_path / "ids", {"a": (image, gt), "b": (gt * 0, gt * 0)})
    report = evaluate(StandIn(4), data, out=tmp_path / "out")
    one, two = 32 / 33, 6 / 7
    assert report["per_image"][0]["dice"] == pytest.approx((one + two) / 2, abs=1e-6)
    assert report["per_image"][0]["accuracy"] == pytest.approx(79 / 80, abs=1e-6)
    assert report["per_image"][1]["dice"] == 1
    assert report["pooled"]["dice"] == pytest.approx((one + two) / 2, abs=1e-6)
    assert report["per_class"]["class_1"]["dice"] == pytest.approx(one, abs=1e-6)
    assert report["per_class"]["class_2"]["images"] == 1
    nothing = dict.fromkeys(("dice", "iou", "precision", "recall", "accuracy"))
    assert report["per_class"]["class_3"] == {"images": 0} | nothing
    assert report["intervals"]["dice_pooled"]["value"] == report["pooled"]["dice"]
    rows = report["class_intervals"]
    assert rows["class_2"]["dice"] == {"value": round(two, 6), "low": None, "high": None}
    assert [row["samples"] for row in rows.values()] == [1, 1, 0]
    assert report["threshold"] is None
    named = evaluate(
        StandIn(4),
        data,
        options=SegmentationEvaluateOptions(classes=("caries", "crown", "implant")),
    )
    assert list(named["per_class"]) == ["caries", "crown", "implant"]
    with pytest.raises(DentalzooError, match="classes must be the 3 of stand_in"):
        evaluate(StandIn(4), data, options=SegmentationEvaluateOptions(classes=("caries", "crown")))


def test_coco_data_for_several_classes_needs_their_names(tmp_path):
    write_png(tmp_path / "a.png", square(4, 5, 10))
    image = {"id": 1, "file_name": "a.png", "height": 8, "width": 10}
    box = {"segmentation": [[0, 0, 5, 0, 5, 4, 0, 4]], "bbox": [0, 0, 5, 4], "area": 20}
    coco = {
        "images": [image],
        "annotations": [box | {"id": 1, "image_id": 1, "category_id": 7, "iscrowd": 0}],
        "categories": [{"id": 7, "name": "crown"}, {"id": 9, "name": "caries"}],
    }
    (tmp_path / "annotations.coco.json").write_text(json.dumps(coco))
    with pytest.raises(DentalzooError, match="names in the order of the ids"):
        evaluate(StandIn(3), tmp_path)
    report = evaluate(
        StandIn(3), tmp_path, options=SegmentationEvaluateOptions(classes=("crown", "caries"))
    )
    assert report["per_class"]["crown"]["dice"] == 1
    assert report["per_class"]["caries"]["images"] == 0


@pytest.mark.parametrize("number", [1, 2, 3])
def test_the_figure_has_a_row_per_case(tmp_path, number, monkeypatch):
    data = write_pairs(
        tmp_path / "data", {f"p{i}": (square(4, 5), square(4, 5 + i)) for i in range(number)}
    )
    drawn = []
    monkeypatch.setattr(
        "dentalzoo.tasks.segmentation.evaluation.contact_sheet",
        lambda rows, captions, *_: drawn.extend(captions) or rows[0][0],
    )
    evaluate(StandIn(), data, out=tmp_path / "out")
    cases = ["best", "median", "worst"] if number > 2 else ["best", "worst"][:number]
    assert [caption.split()[0] for caption in drawn] == cases
    assert f"of {number}:  p0   Dice 1.000   IoU 1.000" in drawn[0]


# ---- predict -------------------------------------------------------------------------------------


def files(folder):
    return sorted(path.name for path in folder.glob("[!.]*"))


def test_predict_writes_a_mask_per_image_at_its_own_size(tmp_path):
    write_png(tmp_path / "in" / "a.png", square(4, 5, 200))
    write_png(tmp_path / "in" / "b.png", np.full((3, 7, 3), 255, np.uint8))
    report = predict(StandIn(), tmp_path / "in", tmp_path / "out")
    assert (report.written, report.failed) == (2, [])
    assert files(tmp_path / "out") == ["a.png", "b.png"]
    np.testing.assert_array_equal(read_mask(tmp_path / "out" / "a.png"), square(4, 5))
    np.testing.assert_array_equal(read_mask(tmp_path / "out" / "b.png"), np.full((3, 7), 255))


def test_predict_with_overlay(tmp_path):
    radiograph = square(4, 5, 200, size=(20, 30))
    write_png(tmp_path / "in" / "a.png", radiograph)
    predict(
        StandIn(),
        [tmp_path / "in"],
        tmp_path / "out",
        options=SegmentationPredictOptions(overlay=True),
    )
    assert files(tmp_path / "out") == ["a.png", "a_overlay.png"]
    drawn = read_image(tmp_path / "out" / "a_overlay.png")
    np.testing.assert_array_equal(drawn, overlay(radiograph, (radiograph > 100).astype(np.uint8)))


def test_predict_with_several_classes_writes_ids_in_a_palette(tmp_path):
    ids = np.arange(33, dtype=np.uint8).reshape(3, 11) % 26
    write_png(tmp_path / "in" / "a.png", ids * 10)
    predict(StandIn(33), tmp_path / "in", tmp_path / "out")
    with Image.open(tmp_path / "out" / "a.png") as stored:
        assert stored.mode == "P"
        assert stored.getpalette()[3:6] == list(palette()[1])
    np.testing.assert_array_equal(read_mask(tmp_path / "out" / "a.png"), ids)


def test_probabilities_are_written_in_16_bits_at_the_size_of_the_image(tmp_path):
    images = tmp_path / "in"
    write_png(images / "a.png", np.uint8([[0, 51, 128, 255]] * 3))
    write_png(images / "a_probabilities.png", square(2, 2))  # whose name would be taken
    options = SegmentationPredictOptions(probabilities=True)
    assert predict(StandIn(), images, tmp_path / "out", options=options).written == 2
    written = Image.open(tmp_path / "out" / "a.png_probabilities.png")
    assert written.mode == "I;16" and written.size == (4, 3)
    expected = np.round(np.array([0, 51, 128, 255]) / 255 * 65535)
    assert np.abs(np.asarray(written).astype(int) - expected).max() <= 1
    assert (read_mask(tmp_path / "out" / "a.png.png") > 0)[0].tolist()[2:] == [True, True]


def test_probabilities_of_several_classes_are_a_file_each(tmp_path):
    write_png(tmp_path / "in" / "a.png", np.uint8([[0, 10, 20]] * 2))
    options = SegmentationPredictOptions(probabilities=True)
    predict(StandIn(3), tmp_path / "in", tmp_path / "out", options=options)
    names = [f"a_probabilities_{number}.png" for number in (1, 2)]
    assert set(names) < set(files(tmp_path / "out"))
    planes = [np.asarray(Image.open(tmp_path / "out" / name)) for name in names]
    assert planes[0][0].tolist() == [0, 65535, 0] and planes[1][0].tolist() == [0, 0, 65535]


def test_contrast_is_stretched_before_the_bundle_sees_an_image(tmp_path):
    faded = square(4, 5, 60)
    faded[faded == 0] = 20
    write_pairs(tmp_path / "data", {"a": (faded, square(4, 5))})
    plain = evaluate(StandIn(), tmp_path / "data")
    report = evaluate(
        StandIn(), tmp_path / "data", options=SegmentationEvaluateOptions(enhance="contrast")
    )
    assert plain["mean"]["dice"] == 0 and report["mean"]["dice"] == 1
    assert (plain["enhance"], report["enhance"]) == (None, "contrast")
    options = SegmentationPredictOptions(enhance="contrast", overlay=True)
    predict(StandIn(), tmp_path / "data" / "images", tmp_path / "out", options=options)
    assert np.count_nonzero(read_mask(tmp_path / "out" / "a.png")) == 20
    drawn = read_image(tmp_path / "out" / "a_overlay.png")
    assert (drawn[6:] == 20).all()  # of the image itself


def test_a_bad_image_is_one_line_and_the_rest_is_written(tmp_path, caplog):
    folder = tmp_path / "in"
    for name in "aceg":
        write_png(folder / f"{name}.png", square(4, 5))
    (folder / "b.png").write_bytes((folder / "a.png").read_bytes()[:-30])
    (folder / "d.png").write_text("no image")
    write_png(folder / "f.png", square(8, 10, 13))
    report = predict(StandIn(), [folder, tmp_path / "absent.png"], tmp_path / "out")
    assert report.written == 4
    assert files(tmp_path / "out") == ["a.png", "c.png", "e.png", "g.png"]
    assert [Path(path).name for path, _ in report.failed] == [
        "b.png",
        "d.png",
        "f.png",
        "absent.png",
    ]
    assert all(reason and "\n" not in reason for _, reason in report.failed)
    lines = [line for line in caplog.messages if "of the pixels" not in line]
    assert lines == [f"{path}: {reason}" for path, reason in report.failed]
    assert len(caplog.messages) == len(lines) + 5  # squares without grey values


@pytest.mark.parametrize("given", ["folder", "file", "link"])
def test_predict_never_writes_among_its_inputs(tmp_path, given):
    write_png(tmp_path / "in" / "a.png", square(4, 5, 200))
    (tmp_path / "link").symlink_to(tmp_path / "in")
    inputs = tmp_path / "in" / "a.png" if given == "file" else tmp_path / "in"
    out = tmp_path / "link" if given == "link" else tmp_path / "in"
    with pytest.raises(DentalzooError, match="a folder without inputs"):
        predict(StandIn(), inputs, out)
    np.testing.assert_array_equal(
        read_image(inputs / "a.png" if inputs.is_dir() else inputs).max(), 200
    )


def test_predict_needs_an_image(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "notes.txt").write_text("")
    for inputs in (tmp_path / "in", []):
        with pytest.raises(DentalzooError, match="image"):
            predict(StandIn(), inputs, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_written_ends_it(tmp_path):
    write_png(tmp_path / "in" / "a.png", square(4, 5))
    (tmp_path / "out").write_text("a file is in the way")
    with pytest.raises(DentalzooError, match="cannot be created"):
        predict(StandIn(), tmp_path / "in", tmp_path / "out")
    assert (tmp_path / "out").read_text() == "a file is in the way"


def test_clashing_images_are_all_written(tmp_path):
    for name, value in {"x/a.png": 255, "x/a.bmp": 0, "y/a.png": 0}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(square(4, 5, value)).save(tmp_path / name)
    inputs = [tmp_path / "x", tmp_path / "y", tmp_path / "x" / "a.png"]  # the last one again
    report = predict(StandIn(), inputs, tmp_path / "out")
    assert report.written == 3
    assert files(tmp_path / "out") == ["a.bmp.png", "x_a.png.png", "y_a.png.png"]
    assert read_mask(tmp_path / "out" / "x_a.png.png").max() == 255
    assert read_mask(tmp_path / "out" / "y_a.png.png").max() == 0


# ---- thresholds ----------------------------------------------------------------------------------


def test_a_higher_threshold_marks_less(tmp_path):
    write_png(tmp_path / "in" / "ramp.png", np.arange(256, dtype=np.uint8).reshape(8, 32))
    marked = {}
    for threshold in (None, 0.0, 0.25, 0.5, 0.75, 1.0):
        predict(
            StandIn(),
            tmp_path / "in",
            tmp_path / "out",
            options=SegmentationPredictOptions(threshold=threshold),
        )
        marked[threshold] = int((read_mask(tmp_path / "out" / "ramp.png") > 0).sum())
    assert marked == {None: 128, 0.0: 255, 0.25: 192, 0.5: 128, 0.75: 64, 1.0: 0}


def test_evaluate_uses_the_threshold(pairs, tmp_path):
    write_png(pairs / "images" / "exact.png", square(4, 5, 100))
    assert evaluate(StandIn(), pairs)["pooled"]["recall"] == pytest.approx(1 / 3, abs=1e-6)
    report = evaluate(StandIn(), pairs, options=SegmentationEvaluateOptions(threshold=0.3))
    assert report["pooled"]["recall"] == pytest.approx(2 / 3, abs=1e-6)
    assert report["threshold"] == 0.3


@pytest.mark.parametrize(
    ("channels", "threshold", "says"),
    [
        (1, 1.5, "threshold must be a number from 0 to 1, or None"),
        (1, -0.1, "threshold must be a number from 0 to 1, or None"),
        (1, float("nan"), "nan"),
        (3, 0.5, "threshold must be None for several classes"),
    ],
)
def test_a_bad_threshold_is_refused(pairs, tmp_path, channels, threshold, says):
    with pytest.raises(DentalzooError, match=says):
        evaluate(StandIn(channels), pairs, options=SegmentationEvaluateOptions(threshold=threshold))
    with pytest.raises(DentalzooError, match=says):
        predict(
            StandIn(channels),
            pairs / "images",
            tmp_path / "out",
            options=SegmentationPredictOptions(threshold=threshold),
        )


# ---- memory --------------------------------------------------------------------------------------


def test_reading_stays_ahead_by_two_and_no_more():
    begun = []
    for item, result in read_ahead(lambda i: begun.append(i) or i * i, range(10)):
        assert result == item**2
        assert len(begun) <= item + 3
    assert sorted(begun) == list(range(10))


def test_reading_stops_with_the_reader():
    begun = []
    reading = read_ahead(lambda i: begun.append(i), range(1000))
    next(reading)
    reading.close()
    assert len(begun) <= 3


@pytest.mark.parametrize("action", ["evaluate", "predict"])
def test_memory_does_not_grow_with_the_number_of_images(tmp_path, action):
    radiograph = np.random.default_rng(0).integers(14, 255, (100, 200), np.uint8)

    def peak(number):
        data = write_pairs(
            tmp_path / f"{action}_{number}",
            {f"{i:03d}": (radiograph, (radiograph > 200) * np.uint8(255)) for i in range(number)},
        )
        tracemalloc.start()
        if action == "evaluate":
            evaluate(StandIn(), data)
        else:
            predict(StandIn(), data / "images", tmp_path / f"out_{number}")
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    peak(10)  # imports and caches
    few, many = peak(20), peak(120)
    # 100 more images are 2 MB; the counts and names of each are some 3 kB.
    assert many - few < 100 * 5_000


# ---- compare -------------------------------------------------------------------------------------


def test_two_bundles_side_by_side(pairs, tmp_path):
    class Blind(StandIn):
        name = "blind"

        def serve(self, image):
            return super().serve(image * 0)

    report = compare(StandIn(), Blind(), pairs, out=tmp_path / "out")
    assert report["bundles"] == ["stand_in", "blind"]
    one, two = report["summary_metrics"]["dice"]
    assert report["intervals"]["dice"]["value"] == pytest.approx(one - two, abs=1e-6)
    assert report["class_intervals"]["foreground"]["dice"]["value"] == pytest.approx(80 / 108)
    files = {path.name for path in (tmp_path / "out").iterdir()}
    assert files == {"comparison.json", "comparison.txt"}
    options = SegmentationCompareOptions(threshold=0.9, seed=3)
    report = compare(StandIn(), Blind(), pairs, options=options)
    assert report["reports"][1]["threshold"] == 0.9 and report["resampling"]["seed"] == 3
    with pytest.raises(DentalzooError, match="both bundles must have the same classes"):
        compare(StandIn(), StandIn(4), pairs)


# ---- drawing -------------------------------------------------------------------------------------


def test_overlays_as_jpeg_are_near_those_as_png(tmp_path):
    radiograph = square(4, 5, 200, size=(20, 30))
    write_png(tmp_path / "a.png", radiograph)
    for kind in ("png", "jpg"):
        options = SegmentationPredictOptions(overlay=True, overlay_format=kind)
        predict(StandIn(), tmp_path / "a.png", tmp_path / kind, options=options)
        assert files(tmp_path / kind) == ["a.png", f"a_overlay.{kind}"]
    exact = read_image(tmp_path / "png" / "a_overlay.png").astype(int)
    near = read_image(tmp_path / "jpg" / "a_overlay.jpg").astype(int)
    assert near.shape == exact.shape == (20, 30, 3)
    assert np.abs(near - exact).mean() < 4


def test_overlay_tints_the_inside_outlines_it_and_leaves_the_rest():
    radiograph = np.full((40, 60, 1), 100, np.uint8)
    mask = np.zeros((40, 60, 1), np.uint8)
    mask[10:30, 10:30], mask[10:30, 40:50] = 1, 2
    drawn = overlay(radiograph, mask)
    assert drawn.shape == (40, 60, 3) and drawn.dtype == np.uint8
    for class_id, column in ((1, 20), (2, 45)):
        colour = np.array(palette()[class_id])
        np.testing.assert_allclose(drawn[20, column], 0.7 * 100 + 0.3 * colour, atol=1)
        np.testing.assert_allclose(drawn[10, column], colour, atol=40)
    assert (drawn[:8] == 100).all() and (drawn[20, 55] == 100).all()
    assert (radiograph == 100).all()
    np.testing.assert_array_equal(overlay(radiograph, mask * 0), np.repeat(radiograph, 3, 2))


def test_errors_are_coloured_by_their_kind():
    gt = np.uint8([[0, 1, 1, 0, 1]])
    prediction = np.uint8([[0, 1, 0, 1, 2]])
    drawn = errors(np.full((1, 5), 100, np.uint8), gt, prediction)[0].tolist()
    grey = [50, 50, 50]
    coloured = [list(c) for c in (GROUND_TRUTH, PREDICTION, CONFUSED)]
    assert drawn == [grey, grey, *coloured]


# ---- real radiographs ----------------------------------------------------------------------------


def test_real_radiographs_that_are_their_own_ground_truth(shared_data, tmp_path):
    folder = shared_data / "panoramic_teeth"
    if not folder.is_dir():
        pytest.skip("DENTALZOO_DATA has no panoramic_teeth")
    for part in ("images", "masks"):
        (tmp_path / "data" / part).mkdir(parents=True)
        for name in ("001.png", "005.png"):  # 005 shows no teeth
            (tmp_path / "data" / part / name).symlink_to(folder / "masks" / name)
    report = evaluate(StandIn(), tmp_path / "data", out=tmp_path / "out")
    assert report["mean"]["dice"] == report["min"]["accuracy"] == 1.0
    assert report["per_class"]["foreground"]["images"] == 1
