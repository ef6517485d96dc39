"""Evaluation of a bundle's boxes on annotated images: COCO, PASCAL VOC, FROC, and errors."""

import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dentalzoo.atomic import write_atomically
from dentalzoo.contracts import Report
from dentalzoo.data.boxes import BoxDataset, BoxSample, find_boxes, load_boxes
from dentalzoo.data.enhancement import enhanced
from dentalzoo.data.io.images import write_png
from dentalzoo.data.teeth import tooth_numbers
from dentalzoo.ops.calibration import Observed, reliability
from dentalzoo.tasks import base
from dentalzoo.tasks.base import refuse_empty, report_header
from dentalzoo.tasks.calibration import map_report, scaling_of, summary_of, with_errors
from dentalzoo.tasks.detection import scores as measures
from dentalzoo.tasks.detection.coco_scores import evaluated, scores_of
from dentalzoo.tasks.detection.figures import figures
from dentalzoo.tasks.detection.matching import IGNORED, TRUE_POSITIVE, Case, Matches
from dentalzoo.tasks.detection.numbering import numbering, shares, tables_of
from dentalzoo.tasks.detection.reading import channels_of
from dentalzoo.tasks.detection.resampling import NUMBERED, Ranked, ranked_by_coco, statistics
from dentalzoo.tasks.detection.results import category_ids, coco_results
from dentalzoo.tasks.detection.sweep import Sweep, mean, summary_line
from dentalzoo.tasks.detector import Detections, Detector, operating_threshold
from dentalzoo.tasks.options import DetectionEvaluateOptions
from dentalzoo.tasks.scoring import Scores, drawing_of, write_report

if TYPE_CHECKING:
    from dentalzoo.bundle import Bundle

_log = logging.getLogger("dentalzoo")


@dataclass(frozen=True)
class Measured:
    """The detections of a bundle on a data set; the images themselves are not kept.

    Attributes:
        samples, cases: of the images that can be used.
        matches: the kind of each detection.
        skipped: [name, reason] of what could not be used.
        seconds: of each image, for the bundle alone.
    """

    samples: list[BoxSample]
    cases: list[Case]
    matches: Matches
    skipped: list[list[str]]
    seconds: list[float]

    @cached_property
    def coco(self) -> tuple[dict[str, np.ndarray], list[list[Ranked]]]:
        """The scores of each class, see `coco_scores`, and its detections at each IoU threshold."""
        coco_eval = evaluated(self.cases, self.matches.num_classes)
        return scores_of(coco_eval), ranked_by_coco(coco_eval, self.matches.num_classes)


def evaluate(
    bundle: "Bundle",
    data: str | Path,
    *,
    split: str | None = None,
    out: str | Path | None = None,
    options: DetectionEvaluateOptions = DetectionEvaluateOptions(),
) -> Report:
    """Compare a bundle's boxes with the ground truth; only boxes stay in memory.

    An average precision judges the whole list of boxes; the confidence threshold is the one
    operating point of "operating", "confusion", "per_image" and the figure of the worst
    radiographs.

    Args:
        bundle: of the task "detection".
        data: a folder in a layout of docs/data_formats.md.
        split: "train", "val" or "test"; None for all images.
        out: a folder for `evaluation.json`, which is what is returned, `evaluation.txt`, its
            tables, `detections.json`, COCO
            results with the ids of images and categories of COCO data, else counted from 1, and as
            PNG
            `precision_recall`, `froc`, `confusion`, `worst`, the radiographs with the most errors,
            and `sweep`.
        options: without `score_threshold` the bundle's own is used, else 0.5. `sweep` takes one
            more pass of the network, whatever the number of settings, see `sweep.Sweep`. For the
            others see `detector.Detector`.

    Returns:
        Plain values. "coco": "ap" (mean over IoU 0.5 to 0.95), "ap50", "ap75" and "ar100",
        means over the classes that occur. "voc": "map" and "map_11_point" at IoU 0.5.
        "froc": recall at 1/8, 1/4, ..., 8 false positives per image and its mean, all classes
        together. "operating": "precision", "recall", "f1", "false_positives_per_image" at
        "score_threshold", all classes together; "best_f1" the same where F1 is best, on these
        very images. "per_class" has all of this of each class, None where it does not occur.
        "confusion": "counts" [annotated][detected], the background last. "numbering": of FDI
        classes at "score_threshold" with one box for each tooth, see `numbering.numbering`, else
        None. "intervals", "class_intervals" and "group_intervals" are 95 % bootstrap
        intervals over images, see `dentalzoo.tasks.scoring.tables`. "per_image": "objects",
        "true_positives", "false_positives" and "false_negatives". "seconds_per_image" is the
        median. "calibration": of the map in the bundle, see
        `dentalzoo.tasks.calibration.map_report`; "ece" among the intervals: how far scores are
        from the precision of boxes with such scores. "sweep" is that of `Sweep.report`, or None.
        "skipped" lists [name, reason] of what could not be used, "repaired" [file, what] of
        annotations that were repaired.

    Raises:
        DentalzooError: no image can be used, or an option does not suit the bundle.
    """
    return Evaluation(bundle, data, split=split, out=out, options=options).run()


class Evaluation(base.Evaluation):
    """The evaluation that `evaluate` runs; finding the images checks all but the images themselves.

    Args and errors are those of `evaluate`.

    Attributes:
        found: what `report` was made of; there is none before it.
    """

    measure: "_Measure"
    found: Measured

    def __init__(
        self,
        bundle: "Bundle",
        data: str | Path,
        *,
        split: str | None = None,
        out: str | Path | None = None,
        options: DetectionEvaluateOptions = DetectionEvaluateOptions(),
    ):
        super().__init__(bundle, data, split, out)
        self.threshold = operating_threshold(bundle, options.score_threshold)
        self.detector = Detector(bundle, options)
        config = bundle.metadata["config"]
        fraction = {"val_fraction": config["val_fraction"]} if "val_fraction" in config else {}
        self.dataset = find_boxes(data, split, classes=self.detector.classes, **fraction)
        self.samples = self.dataset.samples
        most = _max_per_class(self.dataset)
        self.measure = _Measure(tuple(self.dataset.classes), channels_of(bundle), options, most)
        self.use([sample.image for sample in self.samples])

    def comparable(self) -> dict[str, Any]:
        """Return the classes, whose order does not matter."""
        return {"classes": sorted(self.detector.classes)}

    def measured(
        self,
        results: Iterable[tuple[BoxSample, "_Result"]],
        failed: Sequence[tuple[str, str]],
        sweep: Sweep | None = None,
    ) -> Measured:
        """Gather the results; those of other settings go to `sweep`.

        Raises:
            DentalzooError: no image can be used.
        """
        measured = Measured([], [], Matches(len(self.detector.classes)), [], [])
        for sample, result in results:
            measured.seconds.append(result.seconds)
            measured.samples.append(sample)
            measured.cases.append(result.case)
            measured.matches.add(result.case)
            if sweep:
                sweep.add(result.swept)
        if not measured.cases:
            refuse_empty(self.data, len(self.dataset), failed)
        measured.skipped.extend(map(list, (*self.dataset.skipped, *failed)))
        return measured

    def report(
        self, results: Iterable[tuple[BoxSample, "_Result"]], failed: Sequence[tuple[str, str]]
    ) -> Report:
        """Return the report of `evaluate`; write it, the detections and the figures to `out`."""
        sweep = self.measure.sweep(self.bundle)
        measured = self.measured(results, failed, sweep)
        self.found = measured
        report = make_report(self.detector, measured, self.data, self.split, self.threshold)
        observed, of_network = observed_of(measured.matches), scaling_of(self.bundle).inverse
        self.scores = with_errors(
            _scores(self.data, self.detector.classes, measured, self.threshold),
            [reliability(image) for image in observed],
            [reliability(o.through(of_network)) for o in observed if of_network.changes],
        )
        report |= self.scores.report()
        report["calibration"] = map_report(self.bundle, self.data, self.split)
        report["repaired"] = [list(repair) for repair in self.dataset.repaired]
        report["sweep"] = sweep.report(measured.matches) if sweep else None
        if sweep:
            _log.info("%s", summary_line(report["sweep"]))
        if self.out is not None:
            write_report(self.out, report, summary_metrics(report))
            _write_results(self.out / "detections.json", self.bundle, self.dataset, measured)
            for name, image in figures(self.detector, measured, report):
                write_png(self.out / f"{name}.png", image)
        return report


def summary_metrics(report: Report) -> dict[str, float]:
    """Return the few numbers that stand for a report, without those that could not be measured."""
    values = {
        **report["coco"],
        "voc_map": report["voc"]["map"],
        "froc_mean": report["froc"]["mean"],
        **{key: report["operating"][key] for key in ("precision", "recall", "f1")},
    }
    if report.get("calibration"):
        values |= summary_of(report)
    if report.get("numbering"):
        numbered = report["numbering"]["all"]
        values |= {f"teeth_{key}": numbered[key]["value"] for key in NUMBERED}
    if report.get("sweep"):
        best = report["sweep"]["best"]["f1"]
        values |= {f"sweep_{key}": best[key] for key in ("nms_iou", "max_per_class")}
        values |= {f"sweep_{key}": best[key] for key in ("score_threshold", "f1", "ap50")}
    return {key: value for key, value in values.items() if value is not None}


# ---- the detections ------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Result:
    """What the report needs of an image.

    Attributes:
        case: its objects and detections.
        seconds: of the bundle alone.
        swept: its detections at other settings, see `Sweep.cases`.
    """

    case: Case
    seconds: float
    swept: list[Case]


@dataclass(frozen=True)
class _Measure:
    """The `Measure` of `evaluate`, with its settings.

    Attributes:
        classes, channels: of the bundle.
        options: of the detector, and whether other settings are tried.
        max_objects: the largest number of objects of a class on an image.
    """

    classes: tuple[str, ...]
    channels: int
    options: DetectionEvaluateOptions
    max_objects: int

    def read(self, sample: BoxSample) -> dict[str, np.ndarray]:
        arrays = load_boxes(sample, self.classes, self.channels)
        return {**arrays, "image": enhanced(arrays["image"], self.options.enhance)}

    def __call__(
        self, bundle: "Bundle", sample: BoxSample, arrays: dict[str, np.ndarray]
    ) -> _Result:
        detector, sweep = Detector(bundle, self.options), self.sweep(bundle)
        start = time.perf_counter()
        detections = detector(arrays["image"])
        seconds = time.perf_counter() - start
        case = _case(sample, arrays, detections)
        return _Result(case, seconds, sweep.cases(arrays["image"], case) if sweep else [])

    def name(self, sample: BoxSample) -> str:
        return sample.name

    def sweep(self, bundle: "Bundle") -> Sweep | None:
        """Return the scores of other settings, without any image; None where none are tried."""
        return Sweep(Detector(bundle), self.max_objects) if self.options.sweep else None


def _case(sample: BoxSample, arrays: Mapping[str, np.ndarray], detections: Detections) -> Case:
    height, width = arrays["image"].shape[:2]
    return Case(
        name=sample.name,
        size=(height, width),
        gt_boxes=arrays["boxes"],
        gt_classes=arrays["labels"],
        ignored=arrays["difficult"] | arrays["crowd"],
        crowd=arrays["crowd"],
        boxes=detections.boxes,
        scores=detections.scores,
        classes=detections.classes,
    )


def _max_per_class(dataset: BoxDataset) -> int:
    """Return the largest number of objects of one class on one image."""
    counts = [[box.label for box in sample.boxes] for sample in dataset.samples]
    return max((labels.count(name) for labels in counts for name in set(labels)), default=0)


def _write_results(path: Path, bundle: "Bundle", dataset: BoxDataset, measured: Measured) -> None:
    """Write all detections, of any confidence, as COCO results."""
    trained_on = bundle.metadata.get("training", {}).get("category_ids")
    ids = category_ids(dataset.classes, dataset.category_ids, trained_on)
    numbers = {sample.name: i for i, sample in enumerate(dataset.samples, start=1)}
    entries = [
        entry
        for sample, case in zip(measured.samples, measured.cases, strict=True)
        for entry in coco_results(
            (dataset.image_ids or numbers)[sample.name],
            sample.image.name,
            case.size,
            case,
            ids,
        )
    ]
    write_atomically(
        path, ("[\n" + ",\n".join(entries) + "\n]\n").encode("utf-8", "backslashreplace")
    )


# ---- the report ----------------------------------------------------------------------------------


def make_report(
    detector: Detector,
    measured: Measured,
    data: str | Path,
    split: str | None,
    threshold: float,
) -> Report:
    """Return the report of `evaluate`, without "repaired", "sweep" and intervals."""
    matches, classes = measured.matches, detector.classes
    coco = measured.coco[0]
    outcomes = [measures.judge(case, threshold) for case in measured.cases]
    occurs = np.zeros(len(classes) + 1, np.int64)
    for case in measured.cases:
        occurs[np.unique(case.gt_classes[~case.ignored])] += 1
    per_class = {}
    for label, name in enumerate(classes, 1):
        points = measures.curve(matches, label)
        about = {"objects": points.objects, "images": int(occurs[label])}
        areas = {key: _number(values[label - 1]) for key, values in coco.items()}
        areas["voc_ap"] = measures.average_precision(points)
        areas["voc_ap_11_point"] = measures.average_precision_11(points)
        per_class[name] = _rounded(about | areas) | _points(points, threshold)
    pooled = measures.curve(matches)
    rows = list(per_class.values())
    counts = np.zeros((len(classes) + 1,) * 2, np.int64)
    for case, outcome in zip(measured.cases, outcomes, strict=True):
        counts += measures.confusion(case, outcome, len(classes))
    numbers = tooth_numbers(classes)
    return report_header(detector.bundle, data, split) | {
        "images": len(measured.cases),
        "objects": int(matches.objects.sum()),
        "ignored": int(sum(case.ignored.sum() for case in measured.cases)),
        "detections": sum(len(case.scores) for case in measured.cases),
        "score_threshold": threshold,
        "settings": detector.settings,
        "coco": _rounded({key: mean([row[key] for row in rows]) for key in coco}),
        "voc": _rounded(
            {
                "map": mean([row["voc_ap"] for row in rows]),
                "map_11_point": mean([row["voc_ap_11_point"] for row in rows]),
            }
        ),
        **_points(pooled, threshold),
        "per_class": per_class,
        "confusion": {"classes": [*classes, "background"], "counts": counts.tolist()},
        "numbering": numbering(measured.cases, numbers, threshold) if numbers else None,
        "per_image": [
            {"name": case.name, "objects": int((~case.ignored).sum())} | outcome.counts()
            for case, outcome in zip(measured.cases, outcomes, strict=True)
        ],
        "seconds_per_image": round(float(np.median(measured.seconds)), 6),
        "skipped": measured.skipped,
    }


def _scores(
    data: str | Path,
    classes: Sequence[str],
    measured: Measured,
    threshold: float,
) -> Scores:
    """Return what can be resampled."""
    samples, matches, cases = measured.samples, measured.matches, measured.cases
    occurs, numbers = matches.objects_per_image() > 0, tooth_numbers(classes)
    numbered = shares(tables_of(cases, numbers, threshold), numbers) if numbers else {}
    return Scores(
        drawing_of(data, samples, [sample.image for sample in samples]),
        statistics(matches, measured.coco[1], classes, threshold, numbered),
        ("ap50", "ap", "precision", "recall"),
        {name: occurs[:, label] for label, name in enumerate(classes, 1)},
    )


def observed_of(matches: Matches) -> list[Observed]:
    """Return the scores of each image's boxes, and whether they are true positives."""
    rows = matches.rows()
    rows = rows[rows[:, 3] != IGNORED]
    images = [rows[rows[:, 0] == image] for image in range(matches.images)]
    return [Observed(mine[:, 4], mine[:, 3] == TRUE_POSITIVE) for mine in images]


def _points(points: measures.Curve, threshold: float) -> dict[str, Any]:
    """Return FROC and the two operating points of a curve."""
    operating = _rounded(measures.at_threshold(points, threshold))
    recalls, best = measures.sensitivity(points), measures.best_threshold(points)
    if recalls is None:
        nothing = {"recall": None, "mean": None}
        return {"froc": nothing, "operating": operating, "best_f1": None}
    return {
        "froc": {
            "recall": {
                f"{rate:g}": round(recall, 6)
                for rate, recall in zip(measures.RATES, recalls, strict=True)
            },
            "mean": round(float(np.mean(recalls)), 6),
        },
        "operating": operating,
        "best_f1": best
        and {"score_threshold": round(best, 6)} | _rounded(measures.at_threshold(points, best)),
    }


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _rounded(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: round(v, 6) if isinstance(v, float) else v for key, v in values.items()}
