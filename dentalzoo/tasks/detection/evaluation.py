"""How well a bundle finds annotated objects: COCO, PASCAL VOC, FROC, and where it errs."""

import datetime
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from dentalzoo.atomic import write_json
from dentalzoo.data.boxes import BoxDataset, BoxSample, find_boxes, load_boxes
from dentalzoo.data.io.images import write_png
from dentalzoo.data.pipeline.prefetch import read_ahead
from dentalzoo.errors import BadFile, DentalzooError
from dentalzoo.output_dirs import make_folder
from dentalzoo.tasks.detection import curves, drawing
from dentalzoo.tasks.detection import scores as measures
from dentalzoo.tasks.detection.coco_scores import coco_scores
from dentalzoo.tasks.detection.inference import Detector, threshold_of
from dentalzoo.tasks.detection.matching import Case, Matches
from dentalzoo.tasks.detection.sweep import Sweep, mean

_log = logging.getLogger("dentalzoo")
_WORST = 4  # radiographs on the sheet: ours


@dataclass
class Measured:
    """What a bundle found on the images of a data set; the images themselves are not kept.

    Attributes:
        samples, cases: of the images that can be used.
        matches: what each detection is.
        skipped: [file, reason] of what took no part.
        seconds: of each image, for the bundle alone.
    """

    samples: list[BoxSample] = field(default_factory=list)
    cases: list[Case] = field(default_factory=list)
    matches: Matches = None
    skipped: list[list[str]] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)


def evaluate(
    bundle,
    data: str | Path,
    split: str | None = None,
    out: str | Path | None = None,
    *,
    score_threshold: float | None = None,
    sweep: bool = False,
    nms_iou: float | None = None,
    max_per_class: int | None = None,
    teeth: str | None = None,
) -> dict:
    """Compares a bundle's boxes with the truth; in memory only boxes stay.

    An average precision judges the whole list of boxes; `score_threshold` is the one operating
    point of "operating", "confusion", "per_image" and the sheet of the worst radiographs.

    Args:
        bundle: a `Bundle` of the task "detection".
        data: a folder in a layout of docs/data_formats.md.
        split: "train", "val" or "test"; None for all images.
        out: a folder for `evaluation.json`, which is what is returned, and as PNG
            `precision_recall`, `froc`, `confusion`, `worst`, the radiographs with the most errors,
            and `sweep`.
        score_threshold: in [0, 1]; None for the bundle's own, else 0.5.
        sweep: try other suppression, numbers of boxes and thresholds too, see `sweep.Sweep`: one
            more pass of the network, whatever the number of settings.
        nms_iou, max_per_class, teeth: other than the bundle's own, see `inference.Detector`.

    Returns:
        Plain values. "coco": "ap" (mean over overlaps of 0.5 to 0.95), "ap50", "ap75" and "ar100",
        means over the classes that occur. "voc": "map" and "map_11_point" at an overlap of 0.5.
        "froc": recall at 1/8, 1/4, ..., 8 false positives per image and its mean, all classes
        together. "operating": "precision", "recall", "f1", "false_positives_per_image" at
        "score_threshold", all classes together; "best_f1" the same where F1 is best, on these
        very images. "per_class" has all of this of each class, None where it does not occur.
        "confusion": "counts" [annotated][detected], the background last. "per_image": what was
        found, wrong and missed. "seconds_per_image" is the median. "sweep" as `Sweep.report`
        says, or None. "skipped" lists [file, reason] of what took no part, "repaired" [file, what]
        of what was put right in the annotations.

    Raises:
        DentalzooError: no image can be used, or an argument is out of place.
    """
    threshold = threshold_of(bundle, score_threshold)
    detector = Detector(bundle, nms_iou, max_per_class, teeth)
    found = find(detector, data, split)
    if out is not None:
        out = Path(out)
        make_folder(out, [sample.image for sample in found.samples])
    tried = Sweep(Detector(bundle), _most(found)) if sweep else None
    measured = measure(detector, found, tried.add if tried else None)
    report = make_report(detector, measured, threshold)
    report |= {"data": Path(data).resolve().name, "split": split}
    report["repaired"] = [list(repair) for repair in found.repaired]
    report["sweep"] = tried.report(measured.matches) if tried else None
    if tried:
        _log.info("%s", told(report["sweep"]))
    if out is not None:
        write_json(out / "evaluation.json", report)
        for name, image in _images(detector, measured, report):
            write_png(out / f"{name}.png", image)
    return report


def summary_metrics(report: dict) -> dict[str, float]:
    """The few numbers that stand for a report; those that could not be measured are left out."""
    values = {
        **report["coco"],
        "voc_map": report["voc"]["map"],
        "froc_mean": report["froc"]["mean"],
        **{key: report["operating"][key] for key in ("precision", "recall", "f1")},
    }
    if report.get("sweep"):
        best = report["sweep"]["best"]["f1"]
        values |= {f"sweep_{key}": best[key] for key in ("nms_iou", "max_per_class")}
        values |= {f"sweep_{key}": best[key] for key in ("score_threshold", "f1", "ap50")}
    return {key: value for key, value in values.items() if value is not None}


def find(detector: Detector, data: str | Path, split: str | None) -> BoxDataset:
    """The annotated images, with the classes and the validation fraction of the bundle."""
    config = detector.bundle.metadata["config"]
    options = {"val_fraction": config["val_fraction"]} if "val_fraction" in config else {}
    return find_boxes(data, split, classes=detector.classes, **options)


def measure(
    detector: Detector,
    found: BoxDataset,
    also: Callable[[np.ndarray, Case], None] | None = None,
) -> Measured:
    """Runs a bundle over the images.

    Args:
        also: called with each image and its case.

    Raises:
        DentalzooError: no image can be used.
    """
    measured = Measured(matches=Matches(len(detector.classes)))
    measured.skipped = [list(skip) for skip in found.skipped]
    for sample, arrays in _loaded(detector, found):
        try:
            if isinstance(arrays, DentalzooError):
                raise arrays
            start = time.perf_counter()
            boxes = detector(arrays["image"])
            seconds = time.perf_counter() - start
            case = _case(sample, arrays, boxes)
            if also:
                also(arrays["image"], case)
        except DentalzooError as error:
            reason = error.reason if isinstance(error, BadFile) else str(error)
            _log.warning("skipped %s: %s", sample.name, reason)
            measured.skipped.append([sample.name, reason])
            continue
        measured.seconds.append(seconds)
        measured.samples.append(sample)
        measured.cases.append(case)
        measured.matches.add(case)
    if not measured.cases:
        first = ": ".join(measured.skipped[len(found.skipped)])
        raise DentalzooError(f"none of {len(found)} images can be used. Received: {first}")
    return measured


def _loaded(detector: Detector, found: BoxDataset) -> Iterator[tuple[BoxSample, object]]:
    def load(sample: BoxSample) -> dict:
        return load_boxes(sample, found.classes, channels=_channels(detector.bundle))

    reading = read_ahead(load, found.samples)
    with logging_redirect_tqdm():
        yield from tqdm(reading, "evaluating", len(found), disable=None, unit="image")


def _channels(bundle) -> int:
    inputs = bundle.metadata.get("signatures", {}).get("detect", {}).get("inputs", {})
    shape = next((spec["shape"] for spec in inputs.values()), [None])
    return shape[-1] or 3


def _case(sample: BoxSample, arrays: dict, found) -> Case:
    crowd = arrays["crowd"]
    return Case(
        sample.name,
        arrays["image"].shape[:2],
        arrays["boxes"],
        arrays["labels"],
        arrays["difficult"] | crowd,
        crowd,
        found.boxes,
        found.scores,
        found.classes,
    )


def _most(found: BoxDataset) -> int:
    """The most objects of one class on one image."""
    counts = [[box.label for box in sample.boxes] for sample in found.samples]
    return max((labels.count(name) for labels in counts for name in set(labels)), default=0)


# ---- the report ----------------------------------------------------------------------------------


def make_report(detector: Detector, measured: Measured, threshold: float) -> dict:
    """What `evaluate` returns, without data, split and sweep."""
    matches, classes = measured.matches, detector.classes
    coco = coco_scores(measured.cases, len(classes))
    outcomes = [measures.judge(case, threshold) for case in measured.cases]
    occurs = np.zeros(len(classes) + 1, np.int64)
    for case in measured.cases:
        occurs[np.unique(case.labels[~case.ignored])] += 1
    per_class = {}
    for label, name in enumerate(classes, 1):
        points = measures.curve(matches, label)
        about = {"objects": points.wanted, "images": int(occurs[label])}
        areas = {key: _number(values[label - 1]) for key, values in coco.items()}
        areas["voc_ap"] = measures.average_precision(points)
        areas["voc_ap_11_point"] = measures.average_precision_11(points)
        per_class[name] = _rounded(about | areas) | _points(points, threshold)
    pooled = measures.curve(matches)
    rows = list(per_class.values())
    counts = sum(
        measures.confusion(case, outcome, len(classes))
        for case, outcome in zip(measured.cases, outcomes, strict=True)
    )
    return {
        "bundle": detector.bundle.name,
        "data": None,
        "split": None,
        "date": datetime.date.today().isoformat(),
        "images": len(measured.cases),
        "objects": int(matches.wanted.sum()),
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
        "per_image": [
            {"name": case.name, "objects": int((~case.ignored).sum())}
            | dict(zip(("found", "wrong", "missed"), outcome.counts(), strict=True))
            for case, outcome in zip(measured.cases, outcomes, strict=True)
        ],
        "seconds_per_image": round(float(np.median(measured.seconds)), 6),
        "skipped": measured.skipped,
    }


def _points(points: measures.Curve, threshold: float) -> dict:
    """FROC and the two operating points of a curve."""
    if not points.wanted:
        nothing = {"recall": None, "mean": None}
        at = measures.at_threshold(points, threshold)
        return {"froc": nothing, "operating": _rounded(at), "best_f1": None}
    recalls = measures.sensitivity(points)
    best = measures.best_threshold(points)
    return {
        "froc": {
            "recall": {
                f"{rate:g}": round(recall, 6)
                for rate, recall in zip(measures.RATES, recalls, strict=True)
            },
            "mean": round(float(np.mean(recalls)), 6),
        },
        "operating": _rounded(measures.at_threshold(points, threshold)),
        "best_f1": best
        and {"score_threshold": round(best, 6)} | _rounded(measures.at_threshold(points, best)),
    }


def told(report: dict) -> str:
    """The best of a sweep in a line."""
    best, own = report["best"]["f1"], report["own"]
    if best["score_threshold"] is None:
        return "sweep: nothing was found with any setting"
    iou = "" if best["nms_iou"] is None else f"nms_iou {best['nms_iou']:g}, "
    return (
        f"sweep, best of {len(report['settings'])}: {iou}max_per_class {best['max_per_class']}, "
        f"score_threshold {best['score_threshold']:.3f}: F1 {best['f1']:.3f}, AP50 "
        f"{best['ap50']:.3f} (the bundle as it is: F1 {own['f1']:.3f}, AP50 {own['ap50']:.3f})"
    )


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _rounded(values: dict) -> dict:
    return {key: round(v, 6) if isinstance(v, float) else v for key, v in values.items()}


# ---- the images --------------------------------------------------------------------------------


def _images(detector: Detector, measured: Measured, report: dict):
    """Yields name and image (H, W, 3) uint8 of what an evaluation shows."""
    where = f"{report['bundle']} on {report['data']}" + (
        f", {report['split']}" * bool(report["split"])
    )
    where += f": {report['images']} images"
    by_class = {
        name: measures.curve(measured.matches, label)
        for label, name in enumerate(detector.classes, 1)
    }
    yield "precision_recall", curves.precision_recall(by_class, where)
    everything = {"all classes": measures.curve(measured.matches)} | by_class
    yield "froc", curves.froc(everything, where)
    counts = np.array(report["confusion"]["counts"])
    at = f"{where}\nfrom a score of {report['score_threshold']:g}"
    yield "confusion", curves.confusion(counts, detector.classes, at)
    if report["sweep"]:
        yield "sweep", curves.sweep(report["sweep"], where)
    order = sorted(
        range(len(measured.cases)),
        key=lambda i: -(report["per_image"][i]["wrong"] + report["per_image"][i]["missed"]),
    )
    yield "worst", draw_cases(detector, measured, order[:_WORST], report["score_threshold"])


def described(report: dict) -> str:
    """The data of a report in a few words."""
    split = f", {report['split']}" if report["split"] else ""
    return f"{report['data']}{split}: {report['images']} images"


def draw_cases(
    detector: Detector, measured: Measured, chosen: list[int], threshold: float
) -> np.ndarray:
    """A sheet of some of the images, read once more."""
    rows = []
    for index in chosen:
        sample, case = measured.samples[index], measured.cases[index]
        image = read(detector, sample)
        outcome = measures.judge(case, threshold)
        found, wrong, missed = outcome.counts()
        caption = f"{case.name}   {found} found, {wrong} wrong, {missed} missed"
        rows.append((caption, image, case, outcome))
    return drawing.worst_sheet(rows, detector.classes)


def read(detector: Detector, sample: BoxSample) -> np.ndarray:
    """An image as the bundle gets it, (H, W, C) uint8."""
    return load_boxes(sample, detector.classes, channels=_channels(detector.bundle))["image"]
