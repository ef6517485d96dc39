"""Two bundles on the same samples: paired differences whose truth is known."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from dentalzoo.errors import DentalzooError
from dentalzoo.tasks import base, comparison
from dentalzoo.tasks.scoring import Drawing, Scores, means


class Known(base.Evaluation):
    """The evaluation of a bundle whose score of each image is known."""

    def __init__(self, values, name="known", names=None, classes=("Cavity",), data="data"):
        bundle = SimpleNamespace(name=name, metadata={}, path=Path("runs", name))
        super().__init__(bundle, data, None, None)
        self.values, self.classes = np.asarray(values), classes
        self.names = names or tuple(f"{i:03d}" for i in range(len(values)))
        self.samples = self.values

    def comparable(self):
        return {"classes": list(self.classes)}

    def results(self, failed):
        return iter(())

    def report(self, results, failed):
        labels = tuple("ab"[i % 2] for i in range(len(self.values)))
        drawing = Drawing(self.names, self.names, labels)
        self.scores = Scores(drawing, means({"dice": self.values}), ("dice",), {})
        return {"dice": float(self.values.mean())}


def compare(first, second, out=None, seed=0):
    return comparison.compare_evaluations((first, second), dict, out, seed)


def pair(seed, gain=0.0, images=40):
    """Images of very different difficulty for both; the first is better by `gain` and noise."""
    rng = np.random.default_rng(seed)
    difficulty = rng.normal(0.8, 0.1, images)
    first = difficulty + gain + rng.normal(0, 0.02, images)
    return Known(first, "one"), Known(difficulty + rng.normal(0, 0.02, images), "two")


def test_a_small_difference_of_hard_and_easy_images_is_shown():
    first, second = pair(0, gain=0.02)
    report = compare(first, second)
    row = report["intervals"]["dice"]
    assert row["shown"] and row["low"] < 0.02 < row["high"]
    assert row["value"] == pytest.approx(first.values.mean() - second.values.mean(), abs=1e-6)
    one, two = (e.scores.report()["intervals"]["dice"] for e in (first, second))
    assert one["low"] < two["high"]  # which two intervals of their own do not show
    assert {*report["group_intervals"]} == {"a", "b"}


def test_no_difference_is_shown_in_95_percent_where_there_is_none():
    shown = [compare(*pair(seed))["intervals"]["dice"]["shown"] for seed in range(200)]
    assert 0.01 <= np.mean(shown) <= 0.10


def test_the_interval_holds_the_true_difference():
    rows = [compare(*pair(seed, 0.01))["intervals"]["dice"] for seed in range(200)]
    assert 0.90 <= np.mean([row["low"] <= 0.01 <= row["high"] for row in rows]) <= 0.99


def test_a_bundle_and_itself_differ_in_nothing():
    values = np.random.default_rng(0).random(10)
    report = compare(Known(values), Known(values))
    assert report["intervals"]["dice"] == {"value": 0, "low": 0, "high": 0, "shown": False}
    assert report["bundles"] == ["known (1)", "known (2)"]


@pytest.mark.parametrize(
    ("paths", "labels"),
    [
        (("pretrained/panoramic_unet.a_v1", "runs/tuned/bundle"), ["panoramic_unet.a_v1", "tuned"]),
        (("runs/one", "runs/other"), ["one", "other"]),
        (("runs/one/tuned/bundle", "runs/other/tuned"), ["one/tuned", "other/tuned"]),
        (("runs/tuned", "runs/tuned"), ["tuned (1)", "tuned (2)"]),
    ],
)
def test_bundles_are_called_as_they_were_given(paths, labels):
    bundles = [
        SimpleNamespace(name=path.name if "." in path.name else "panoramic_unet", path=path)
        for path in map(Path, paths)
    ]
    assert comparison.labels_of(*bundles) == labels


def test_the_printed_table(tmp_path):
    report = compare(*pair(0, gain=0.02))
    comparison.write_report(tmp_path, report)
    assert json.loads((tmp_path / "comparison.json").read_text()) == report
    text = comparison.lines_of(report)
    assert (tmp_path / "comparison.txt").read_text().splitlines() == text
    assert text == [
        "         one     two  difference",
        "dice  0.8200  0.7940  0.0260 (0.0166 to 0.0340)  the first is higher",
        "",
        "in brackets: 95 % paired bootstrap intervals of the difference over 40 images, "
        "1000 resamples, seed 0",
        "",
        "image group  images  dice",
        "a                20  0.0308 (0.0187 to 0.0427)",
        "b                20  0.0211 (0.0086 to 0.0322)",
    ]
    lines = comparison.lines_of(compare(*pair(3)))
    assert lines[1].endswith("no difference shown")
    for name in ("summary_metrics", "intervals"):  # of an error, as far as its name goes
        report[name] = {"ece": report[name]["dice"]}
    assert comparison.lines_of(report)[1].endswith("the first is higher (less is better)")


def test_one_image_has_a_difference_and_no_interval():
    lines = comparison.lines_of(compare(Known([0.5], "one"), Known([0.25], "two")))
    assert lines[1] == "dice  0.5000  0.2500  0.2500"
    assert lines[3] == "no intervals: 1 image; at least two are needed"


@pytest.mark.parametrize(
    ("second", "message"),
    [
        (Known([1, 2], classes=("Crown",)), r"same classes. Received: \['Cavity'\] and \['Crown'"),
        (Known([1, 2], names=("000", "007")), "use the same samples. Received: 001 for one alone"),
    ],
)
def test_what_cannot_be_compared_is_refused(second, message):
    with pytest.raises(DentalzooError, match=message):
        compare(Known([1, 2]), second)


def test_the_report_is_never_written_among_the_data(tmp_path):
    first, second = Known([1, 2]), Known([1, 2])
    (tmp_path / "a.png").write_bytes(b"")
    first.use([Path(tmp_path / "a.png")])
    with pytest.raises(DentalzooError, match="inputs"):
        compare(first, second, out=tmp_path)
