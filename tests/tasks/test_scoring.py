"""Intervals of an evaluation: what is drawn together, tables per class and image group."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from dentalzoo.tasks.scoring import Scores, drawing_of, lines_of, write_report


@dataclass(frozen=True)
class Sample:
    name: str
    image: Path
    group: str = ""
    label: str = ""


def drawing(data, *rows):
    samples = [Sample(Path(file).stem, data / file, group, label) for file, group, label in rows]
    return drawing_of(data, samples, [sample.image for sample in samples])


def scores(tmp_path, labels=("a", "a", "b", "b", "b", "b"), groups=None):
    """Six images, the mean of their numbers, and the numbers of two classes."""
    rows = [
        (f"{number}.png", groups[number] if groups else str(number), label)
        for number, label in enumerate(labels)
    ]
    values = np.array([0.5, 0.7, 0.8, 0.8, 0.9, 0.9])

    def measure(times):
        total = times.sum(1)
        return {
            (None, "dice"): times @ values / total,
            (None, "hidden"): times @ values,
            ("Cavity", "dice"): times[:, 0] * 0.5 / np.maximum(times[:, 0], 1),
            ("Crown", "dice"): times[:, 1:] @ values[1:] / np.maximum(times[:, 1:].sum(1), 1),
        }

    occurs = {"Cavity": np.arange(6) == 0, "Crown": np.arange(6) > 0}
    return Scores(drawing(tmp_path, *rows), measure, ("dice",), occurs)


def test_the_printed_tables(tmp_path):
    report = scores(tmp_path).report()
    assert lines_of(report, {"dice": 0.766667, "images_per_second": 2.0}) == [
        "dice                       0.7667  (0.6500 to 0.8667)",
        "images_per_second          2.0000",
        "",
        "in brackets: 95 % bootstrap intervals over 6 images, 1000 resamples, seed 0",
        "",
        "class   images  dice",
        "Cavity       1  0.5000",
        "Crown        5  0.8200 (0.7500 to 0.8800)",
        "",
        "image group  images  dice",
        "a                 2  0.6000 (0.5000 to 0.7000)",
        "b                 4  0.8500 (0.8000 to 0.9000)",
    ]
    write_report(tmp_path, report, {"dice": 0.766667})
    assert (tmp_path / "evaluation.txt").read_text().endswith("(0.8000 to 0.9000)\n")


def test_images_of_one_group_are_one(tmp_path):
    report = scores(tmp_path, groups="aabbcc").report()
    assert report["resampling"]["samples"] == 6 and report["resampling"]["groups"] == 3
    assert "over 6 images in 3 groups, 1000" in "\n".join(lines_of(report, {}))
    assert report["group_intervals"]["a"]["dice"] == {"value": 0.6, "low": None, "high": None}
    assert report["group_intervals"]["b"]["dice"]["low"] is not None
    report = scores(tmp_path, groups="aaaaaa").report()
    assert lines_of(report, {"dice": 0.766667})[:3] == [
        "dice                       0.7667",
        "",
        "no intervals: 6 images in 1 group; at least two are needed",
    ]
    assert report["resampling"]["resamples"] == 0


def test_patients_are_drawn_together_and_are_no_image_group(tmp_path):
    rows = [(f"sub-{n // 2}/{n}.png", str(n), f"sub-{n // 2}") for n in range(6)]
    drawn = drawing(tmp_path, *rows)
    assert drawn.groups == ("patient sub 0",) * 2 + ("patient sub 1",) * 2 + ("patient sub 2",) * 2
    crops = drawing(tmp_path, *[("a.png", "a", "")] * 3, ("b.png", "b", ""))
    assert crops.groups == ("a", "a", "a", "b")


@pytest.mark.parametrize("labels", ["aaaaaa", "abcdef", "a" * 6])
def test_no_table_for_one_image_group_or_one_of_each_image(tmp_path, labels):
    assert scores(tmp_path, labels).report()["group_intervals"] == {}
