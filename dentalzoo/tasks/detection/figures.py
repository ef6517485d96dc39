"""The figures of an evaluation of detection."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from dentalzoo.contracts import Report
from dentalzoo.tasks.detection import curves, drawing
from dentalzoo.tasks.detection import scores as measures
from dentalzoo.tasks.detection.reading import read_image_of
from dentalzoo.tasks.detector import Detector

if TYPE_CHECKING:
    from dentalzoo.tasks.detection.evaluation import Measured

_WORST = 4  # radiographs in the figure of errors: ours


def describe(report: Report) -> str:
    """Return the data of a report in a few words."""
    split = f", {report['split']}" if report["split"] else ""
    return f"{report['data']}{split}: {report['images']} images"


def num_errors(report: Report) -> np.ndarray:
    """Return the number of false positives and negatives of each image of a report, (N,) int64."""
    rows = report["per_image"]
    return np.array([row["false_positives"] + row["false_negatives"] for row in rows], np.int64)


def figures(
    detector: Detector, measured: "Measured", report: Report
) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the name and pixels (H, W, 3) uint8 of each figure of an evaluation."""
    title = f"{report['bundle']} on {describe(report)}"
    by_class = {
        name: measures.curve(measured.matches, label)
        for label, name in enumerate(detector.classes, 1)
    }
    yield "precision_recall", curves.precision_recall(by_class, title)
    everything = {"all classes": measures.curve(measured.matches)} | by_class
    yield "froc", curves.froc(everything, title)
    counts = np.array(report["confusion"]["counts"])
    at = f"{title}\nconfidence threshold {report['score_threshold']:g}"
    yield "confusion", curves.confusion(counts, detector.classes, at)
    if report["sweep"]:
        yield "sweep", curves.sweep(report["sweep"], title)
    worst = np.argsort(-num_errors(report), kind="stable")[:_WORST].tolist()
    yield "worst", _errors_of(detector, measured, worst, report["score_threshold"])


def _errors_of(
    detector: Detector, measured: "Measured", chosen: Sequence[int], threshold: float
) -> np.ndarray:
    """Return the errors on some of the images, which are read once more."""
    rows = []
    for index in chosen:
        sample, case = measured.samples[index], measured.cases[index]
        outcome = measures.judge(case, threshold)
        numbers = ", ".join(
            f"{key.replace('_', ' ')} {number}" for key, number in outcome.counts().items()
        )
        rows.append((f"{case.name}   {numbers}", read_image_of(detector, sample), case, outcome))
    return drawing.errors_figure(rows, detector.classes)
