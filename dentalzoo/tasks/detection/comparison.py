"""Two bundles for detection on the same images, side by side, with figures."""

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dentalzoo.contracts import Report
from dentalzoo.data.io.images import write_png
from dentalzoo.tasks.comparison import compare_evaluations, write_report
from dentalzoo.tasks.detection import curves, drawing
from dentalzoo.tasks.detection import scores as measures
from dentalzoo.tasks.detection.evaluation import Evaluation, Measured, summary_metrics
from dentalzoo.tasks.detection.figures import describe, num_errors
from dentalzoo.tasks.detection.reading import read_image_of
from dentalzoo.tasks.detector import Detector
from dentalzoo.tasks.options import (
    BoxOptions,
    DetectionCompareOptions,
    DetectionEvaluateOptions,
)

if TYPE_CHECKING:
    from dentalzoo.bundle import Bundle

_SHOWN = 3  # radiographs where each bundle is the better one: ours


def compare(
    bundle: "Bundle",
    other: "Bundle",
    data: str | Path,
    *,
    split: str | None = None,
    out: str | Path | None = None,
    options: DetectionCompareOptions = DetectionCompareOptions(),
) -> Report:
    """Measure two bundles of the same classes on the same images.

    Args:
        bundle, other: of the task "detection"; their classes may be in another order.
        data, split: as in `evaluate`.
        out: a folder for `comparison.json`, which is what is returned, `comparison.txt`, its
            tables, and as PNG `comparison`, AP of each class at IoU 0.5, `froc`, and
            `radiographs`, where they differ most.
        options: without `score_threshold` each bundle's own is used.

    Returns:
        That of `dentalzoo.tasks.comparison.compare_evaluations`, and "images"; "per_class", class
        -> AP of both at IoU 0.5; "difference", of the mean AP (PASCAL VOC) alone, with its interval
        "from" .. "to"; "seconds_per_image" of both.

    Raises:
        DentalzooError: as `evaluate`; the classes differ; or the bundles cannot use the same
            images.
    """
    shared = {field.name: getattr(options, field.name) for field in fields(BoxOptions)}
    evaluations = [
        Evaluation(one, data, split=split, options=DetectionEvaluateOptions(**shared))
        for one in (bundle, other)
    ]
    folder = None if out is None else Path(out)
    report = compare_evaluations(evaluations, summary_metrics, folder, options.seed)
    reports, mean = report["reports"], report["intervals"]["voc_map"]
    bounds = {"voc_map": mean["value"], "from": mean["low"], "to": mean["high"]}
    report |= {
        "images": reports[0]["images"],
        "per_class": {
            name: [one["per_class"][name]["voc_ap"] for one in reports]
            for name in evaluations[0].detector.classes
        },
        "difference": None if mean["value"] is None else bounds,
        "seconds_per_image": [one["seconds_per_image"] for one in reports],
    }
    if folder is not None:
        write_report(folder, report)
        labels, title = report["bundles"], describe(reports[0])
        mean_row = {"mean": [one["voc"]["map"] for one in reports]}
        bars = curves.side_by_side(labels, mean_row | report["per_class"], title)
        write_png(folder / "comparison.png", bars)
        both = [evaluation.found for evaluation in evaluations]
        points = {
            label: measures.curve(measured.matches)
            for label, measured in zip(labels, both, strict=True)
        }
        write_png(folder / "froc.png", curves.froc(points, title))
        detectors = [evaluation.detector for evaluation in evaluations]
        write_png(folder / "radiographs.png", _radiographs(detectors, both, reports, labels))
    return report


def _radiographs(
    detectors: Sequence[Detector],
    both: Sequence[Measured],
    reports: Sequence[Report],
    labels: Sequence[str],
) -> np.ndarray:
    """Return the images on which one bundle errs more than the other, and the other way round."""
    errors = [num_errors(report) for report in reports]
    order = np.argsort(errors[0] - errors[1], kind="stable").tolist()
    chosen = list(dict.fromkeys(order[:_SHOWN] + order[::-1][:_SHOWN]))
    rows = []
    for index in chosen:
        image = read_image_of(detectors[0], both[0].samples[index])
        texts, columns = [], []
        for detector, measured, report, label in zip(detectors, both, reports, labels, strict=True):
            row = report["per_image"][index]
            tp, fp = row["true_positives"], row["false_positives"]
            texts.append(f"{label}: true positives {tp}, false positives {fp}")
            case = measured.cases[index]
            columns.append((case, case.scores >= report["score_threshold"], detector.classes))
        rows.append((f"{both[0].cases[index].name}   " + ";   ".join(texts), image, columns))
    return drawing.comparison_figure(rows, labels)
