"""Two bundles on the same images, side by side."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dentalzoo.atomic import write_json
from dentalzoo.contracts import Report
from dentalzoo.data.io.images import write_png
from dentalzoo.errors import DentalzooError
from dentalzoo.output_dirs import make_folder
from dentalzoo.tasks.detection import curves, drawing
from dentalzoo.tasks.detection import scores as measures
from dentalzoo.tasks.detection.evaluation import (
    Evaluation,
    Measured,
    make_report,
    summary_metrics,
)
from dentalzoo.tasks.detection.figures import describe, num_errors
from dentalzoo.tasks.detection.matching import Matches
from dentalzoo.tasks.detection.reading import read_image_of
from dentalzoo.tasks.detection.resampling import resampled_areas
from dentalzoo.tasks.detector import Detector, operating_threshold
from dentalzoo.tasks.options import DetectionCompareOptions

if TYPE_CHECKING:
    from dentalzoo.bundle import Bundle

_RESAMPLES = 500  # of the interval: ours
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
        out: a folder for `comparison.json`, which is what is returned, and as PNG `comparison`,
            AP of each class at IoU 0.5, `froc`, and `radiographs`, where they differ most.
        options: without `score_threshold` each bundle's own is used.

    Returns:
        Plain values: "bundles", two names, of their variants where both are called the same;
        "summary_metrics", name of a number -> both; "per_class", class -> AP of both at IoU 0.5;
        "difference", of the mean AP (PASCAL VOC), the first less the second, with the 95 %
        interval "from" .. "to" of images drawn with replacement; "seconds_per_image" of both;
        "reports", both in whole.

    Raises:
        DentalzooError: as `evaluate`; the classes differ; or the bundles cannot use the same
            images.
    """
    detectors = [Detector(bundle), Detector(other)]
    names = [detector.classes for detector in detectors]
    if set(names[0]) != set(names[1]):
        raise DentalzooError(
            f"both bundles must have the same classes. Received: {names[0]} and {names[1]}"
        )
    labels = _labels(bundle, other)
    thresholds = [operating_threshold(b, options.score_threshold) for b in (bundle, other)]
    evaluations = [Evaluation(b, data, split=split) for b in (bundle, other)]
    if out is not None:
        out = Path(out)
        make_folder(out, [sample.image for sample in evaluations[0].samples])
    both = [_measured(evaluation) for evaluation in evaluations]
    images = [[sample.name for sample in measured.samples] for measured in both]
    if images[0] != images[1]:
        odd = sorted(set(images[0]) ^ set(images[1]))
        raise DentalzooError(
            f"both bundles must be able to use the same images. Received: {odd[0]} for one alone"
        )
    reports = [
        make_report(detector, measured, data, split, threshold)
        for detector, measured, threshold in zip(detectors, both, thresholds, strict=True)
    ]
    metrics = [summary_metrics(report) for report in reports]
    report = {
        "bundles": labels,
        "data": reports[0]["data"],
        "split": split,
        "images": len(images[0]),
        "summary_metrics": {
            key: [values.get(key) for values in metrics] for key in metrics[0] | metrics[1]
        },
        "per_class": {
            name: [report["per_class"][name]["voc_ap"] for report in reports] for name in names[0]
        },
        "difference": _difference([m.matches for m in both], names, options.seed),
        "seconds_per_image": [report["seconds_per_image"] for report in reports],
        "reports": reports,
    }
    if out is not None:
        write_json(out / "comparison.json", report)
        title = describe(reports[0])
        mean_row = {"mean": [r["voc"]["map"] for r in reports]}
        bars = curves.side_by_side(labels, mean_row | report["per_class"], title)
        write_png(out / "comparison.png", bars)
        points = {
            label: measures.curve(measured.matches)
            for label, measured in zip(labels, both, strict=True)
        }
        write_png(out / "froc.png", curves.froc(points, title))
        write_png(out / "radiographs.png", _radiographs(detectors, both, reports, labels))
    return report


def _measured(evaluation: Evaluation) -> Measured:
    failed: list[tuple[str, str]] = []
    return evaluation.measured(evaluation.results(failed), failed)


def _labels(bundle: "Bundle", other: "Bundle") -> list[str]:
    """Return two different names: of the bundles, of their variants, or numbered."""
    labels = [b.name for b in (bundle, other)]
    if labels[0] != labels[1]:
        return labels
    variants = [b.metadata.get("training", {}).get("variant") for b in (bundle, other)]
    if None not in variants and variants[0] != variants[1]:
        return [str(variant) for variant in variants]
    return [f"{labels[0]} ({number})" for number in (1, 2)]


def _difference(
    matches: Sequence[Matches], names: Sequence[tuple[str, ...]], seed: int
) -> dict[str, float] | None:
    """Return the difference of the mean AP and its interval over images drawn with replacement."""
    rng = np.random.default_rng(seed)
    images = matches[0].images
    resamples = rng.multinomial(images, np.full(images, 1 / images), size=_RESAMPLES)
    times = np.vstack([np.ones(images, int), resamples])
    areas = [resampled_areas(m, times.astype(np.float64)) for m in matches]
    order = [names[1].index(name) for name in names[0]]
    differences = areas[0] - areas[1][:, order]
    occurs = ~np.isnan(differences).all(1)  # a resample may hold no object at all
    if not occurs[0]:
        return None
    values = np.nanmean(differences[occurs], axis=1)
    numbers = [values[0], *np.quantile(values[1:], (0.025, 0.975))]
    return {
        key: round(float(number), 6)
        for key, number in zip(("voc_map", "from", "to"), numbers, strict=True)
    }


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
