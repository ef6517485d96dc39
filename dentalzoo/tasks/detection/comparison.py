"""Two bundles on the same images, side by side."""

from pathlib import Path

import numpy as np

from dentalzoo.atomic import write_json
from dentalzoo.data.io.images import write_png
from dentalzoo.errors import DentalzooError
from dentalzoo.output_dirs import make_folder
from dentalzoo.tasks.detection import curves, drawing
from dentalzoo.tasks.detection import scores as measures
from dentalzoo.tasks.detection.evaluation import (
    described,
    find,
    make_report,
    measure,
    read,
    summary_metrics,
)
from dentalzoo.tasks.detection.inference import Detector, threshold_of
from dentalzoo.tasks.detection.matching import FOUND, IGNORED, Matches

_DRAWS, _SHOWN = 500, 3  # of the interval, and radiographs where each is the better one: ours


def compare(
    bundle,
    other,
    data: str | Path,
    split: str | None = None,
    out: str | Path | None = None,
    *,
    score_threshold: float | None = None,
    seed: int = 0,
) -> dict:
    """Measures two bundles of the same classes on the same images.

    Args:
        bundle, other: of the task "detection"; their classes may be in another order.
        data, split: as in `evaluate`.
        out: a folder for `comparison.json`, which is what is returned, and as PNG `comparison`,
            AP of each class at an overlap of 0.5, `froc`, and `radiographs`, where they differ
            most.
        score_threshold: of both; None for each one's own.
        seed: of the interval.

    Returns:
        Plain values: "bundles", two names, of their variants where both are called the same;
        "summary_metrics", name of a number -> both; "per_class", class -> AP of both at an overlap
        of 0.5; "difference", of the mean AP (PASCAL VOC), the first less the second, with the 95 %
        interval "from" .. "to" that images drawn anew give; "seconds_per_image" of both; "reports",
        both in whole.

    Raises:
        DentalzooError: as `evaluate`; the classes differ; or the bundles cannot use the same
            images.
    """
    detectors = [Detector(bundle), Detector(other)]
    names = [detector.classes for detector in detectors]
    if set(names[0]) != set(names[1]):
        raise DentalzooError(
            f"two bundles of the same classes were expected. Received: {names[0]} and {names[1]}"
        )
    labels = [b.name for b in (bundle, other)]
    if labels[0] == labels[1]:
        variants = [b.metadata.get("training", {}).get("variant") for b in (bundle, other)]
        differ = None not in variants and variants[0] != variants[1]
        labels = variants if differ else [f"{labels[0]} ({number})" for number in (1, 2)]
    thresholds = [threshold_of(b, score_threshold) for b in (bundle, other)]
    founds = [find(detector, data, split) for detector in detectors]
    if out is not None:
        out = Path(out)
        make_folder(out, [sample.image for sample in founds[0].samples])
    both = [measure(detector, found) for detector, found in zip(detectors, founds, strict=True)]
    images = [[sample.name for sample in measured.samples] for measured in both]
    if images[0] != images[1]:
        odd = sorted(set(images[0]) ^ set(images[1]))
        raise DentalzooError(
            f"both bundles have to read the same images. Received: {odd[0]} for one alone"
        )
    reports = [
        make_report(detector, measured, threshold)
        | {"data": Path(data).resolve().name, "split": split}
        for detector, measured, threshold in zip(detectors, both, thresholds, strict=True)
    ]
    heads = [summary_metrics(report) for report in reports]
    report = {
        "bundles": labels,
        "data": reports[0]["data"],
        "split": split,
        "images": len(images[0]),
        "summary_metrics": {key: [head.get(key) for head in heads] for key in heads[0] | heads[1]},
        "per_class": {
            name: [report["per_class"][name]["voc_ap"] for report in reports] for name in names[0]
        },
        "difference": _difference([measured.matches for measured in both], names, seed),
        "seconds_per_image": [report["seconds_per_image"] for report in reports],
        "reports": reports,
    }
    if out is not None:
        write_json(out / "comparison.json", report)
        where = described(reports[0])
        mean_row = {"mean": [r["voc"]["map"] for r in reports]}
        bars = curves.side_by_side(labels, mean_row | report["per_class"], where)
        write_png(out / "comparison.png", bars)
        points = {
            label: measures.curve(measured.matches)
            for label, measured in zip(labels, both, strict=True)
        }
        write_png(out / "froc.png", curves.froc(points, where))
        write_png(out / "radiographs.png", _radiographs(detectors, both, reports, labels))
    return report


def _difference(matches: list[Matches], names, seed: int) -> dict | None:
    """The difference of the means of AP, and its interval over images drawn with replacement."""
    rng = np.random.default_rng(seed)
    images = matches[0].images
    draws = rng.multinomial(images, np.full(images, 1 / images), size=_DRAWS)
    areas = [_areas(m, np.vstack([np.ones(images, int), draws])) for m in matches]
    order = [names[1].index(name) for name in names[0]]
    differences = areas[0] - areas[1][:, order]
    occurs = ~np.isnan(differences).all(1)  # draws may hold no object at all
    if not occurs[0]:
        return None
    values = np.nanmean(differences[occurs], axis=1)
    numbers = [values[0], *np.quantile(values[1:], (0.025, 0.975))]
    return {
        key: round(float(number), 6)
        for key, number in zip(("voc_map", "from", "to"), numbers, strict=True)
    }


def _areas(matches: Matches, times: np.ndarray) -> np.ndarray:
    """AP of each class where each image is taken so many times.

    Args:
        times: (draws, images) whole numbers.

    Returns:
        (draws, classes) float64, NaN where a class does not occur.
    """
    rows, wanted = matches.rows(), matches.wanted_per_image()
    areas = np.full((len(times), matches.num_classes), np.nan)
    for label in range(1, matches.num_classes + 1):
        mine = rows[(rows[:, 1] == label) & (rows[:, 3] != IGNORED)]
        mine = mine[np.argsort(-mine[:, 4], kind="stable")]
        images, found = mine[:, 0].astype(int), mine[:, 3] == FOUND
        for draw, row in enumerate(times):
            total = int(row @ wanted[:, label])
            weights = row[images]
            if total:
                points = measures.Curve(
                    mine[:, 4],
                    np.cumsum(weights * found),
                    np.cumsum(weights * ~found),
                    total,
                    len(row),
                )
                areas[draw, label - 1] = measures.average_precision(points)
    return areas


def _radiographs(detectors, both, reports, labels) -> np.ndarray:
    """The images on which one bundle errs more than the other, and the same the other way."""
    errors = [
        np.array([row["wrong"] + row["missed"] for row in report["per_image"]])
        for report in reports
    ]
    order = np.argsort(errors[0] - errors[1], kind="stable").tolist()
    chosen = list(dict.fromkeys(order[:_SHOWN] + order[::-1][:_SHOWN]))
    rows = []
    for index in chosen:
        image = read(detectors[0], both[0].samples[index])
        texts, columns = [], []
        for detector, measured, report, label in zip(detectors, both, reports, labels, strict=True):
            row = report["per_image"][index]
            texts.append(f"{label}: {row['found']} found, {row['wrong']} wrong")
            case = measured.cases[index]
            columns.append((case, case.scores >= report["score_threshold"], detector.classes))
        rows.append((f"{both[0].cases[index].name}   " + ";   ".join(texts), image, columns))
    return drawing.compared_sheet(rows, labels)
