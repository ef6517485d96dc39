"""Evaluation of a bundle's masks on annotated images, at the images' own size.

Empty masks: a class that neither the ground truth nor the prediction holds scores 1; every other
score whose denominator is 0 (an empty ground truth with a wrong prediction, say) is 0. The scores
of an image with several classes are the means over the classes that occur in its ground truth or
prediction.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dentalzoo.contracts import Report
from dentalzoo.data.enhancement import enhanced
from dentalzoo.data.formats.base import notice_once
from dentalzoo.data.io.images import write_png
from dentalzoo.data.mask_values import MaskFacts, MaskStatistics, facts_of
from dentalzoo.data.masks import MaskDataset, MaskSample, find_masks, load
from dentalzoo.errors import DentalzooError
from dentalzoo.ops.calibration import Observed, Scaling, reliability
from dentalzoo.ops.intervals import mean_of_known, median_of
from dentalzoo.ops.scores import scores_of_counts
from dentalzoo.plots import palette
from dentalzoo.plots.contact_sheet import contact_sheet
from dentalzoo.plots.pixels import fit
from dentalzoo.tasks import base
from dentalzoo.tasks.base import (
    refuse_empty,
    report_header,
    skipped_files,
    without_folders,
)
from dentalzoo.tasks.calibration import map_report, scaling_of, summary_of, with_errors
from dentalzoo.tasks.flips import Flip
from dentalzoo.tasks.options import SegmentationEvaluateOptions
from dentalzoo.tasks.scoring import Key, Scores, drawing_of, write_report
from dentalzoo.tasks.segmentation import drawing
from dentalzoo.tasks.segmentation.inference import (
    THRESHOLD,
    flips_of,
    num_channels,
    refuse_threshold,
    segment,
    segment_and_probabilities,
)

if TYPE_CHECKING:
    from dentalzoo.bundle import Bundle

_BLOCK = 1 << 20  # pixels counted at a time, so that a large image takes no memory


def evaluate(
    bundle: "Bundle",
    data: str | Path,
    *,
    split: str | None = None,
    out: str | Path | None = None,
    options: SegmentationEvaluateOptions = SegmentationEvaluateOptions(),
) -> Report:
    """Compare a bundle's masks with the ground truth, image by image, in constant memory.

    Args:
        bundle: of the task "segmentation".
        data: a folder in a layout of docs/data_formats.md.
        split: "train", "val" or "test"; None for all images.
        out: a folder for `evaluation.json`, which is what is returned, `evaluation.txt`, its
            tables, and `evaluation.png`, the best, the median and the worst image.
        options: see `SegmentationEvaluateOptions`.

    Returns:
        Plain values. "pooled" are the scores of all pixels taken together, "mean", "median" and
        "min" those over images, "per_image" those of each; a score is "dice", "iou",
        "precision", "recall" or "accuracy" in [0, 1]. "per_class" has the pooled scores of each
        class and the number of images it occurs in, None for one that never occurs. "intervals",
        "class_intervals" and "group_intervals" are 95 % bootstrap intervals, see
        `dentalzoo.tasks.scoring.tables`: of the means, the median and the pooled Dice, of the
        pooled scores of each class, and of each image group; "ece" among them: how far the
        probabilities of pixels are from the frequency of what they predict. "calibration": of the
        map in the bundle, see `dentalzoo.tasks.calibration.map_report`. "skipped"
        lists [file, reason] of what could not be used.

    Raises:
        DentalzooError: no image can be used, a threshold is given for a bundle of several classes,
            or the classes are not those of the bundle.
    """
    return Evaluation(bundle, data, split=split, out=out, options=options).run()


class Evaluation(base.Evaluation):
    """The evaluation that `evaluate` runs; finding the images checks all but the images themselves.

    Args and errors are those of `evaluate`.
    """

    measure: "_Measure"

    def __init__(
        self,
        bundle: "Bundle",
        data: str | Path,
        *,
        split: str | None = None,
        out: str | Path | None = None,
        options: SegmentationEvaluateOptions = SegmentationEvaluateOptions(),
    ):
        super().__init__(bundle, data, split, out)
        self.threshold, self.tta = options.threshold, options.tta
        refuse_threshold(bundle, self.threshold)
        config = bundle.metadata.get("config", {})
        classes = options.classes or config.get("classes") or None
        self.dataset = find_masks(data, split, classes, config.get("annotations", "auto"))
        self.samples = self.dataset.samples
        self.names = _class_names(bundle, self.dataset, classes)
        seen = flips_of(bundle, options.tta)
        self.measure = _Measure(
            num_channels(bundle),
            len(self.names) + 1,
            self.threshold,
            seen,
            scaling_of(bundle).inverse,
            options.enhance,
        )
        self.use([path for s in self.samples for path in (s.image, s.mask) if path is not None])

    def comparable(self) -> dict[str, Any]:
        """Return the classes."""
        return {"classes": list(self.names)}

    def report(
        self,
        results: Iterable[tuple[MaskSample, "_Counts"]],
        failed: Sequence[tuple[str, str]],
    ) -> Report:
        """Return the report of `evaluate`; write it and its figure to `out`."""
        confusions = np.zeros((len(self.names) + 1,) * 2, np.int64)
        occurs = np.zeros(len(self.names), np.int64)
        used: list[MaskSample] = []
        statistics = MaskStatistics(self.names)
        rows: list[dict[str, float]] = []
        tables: list[np.ndarray] = []
        reliabilities: list[np.ndarray] = []
        before: list[np.ndarray] = []
        for sample, counts in results:
            confusion = counts.confusion
            statistics.add_facts(counts.facts)
            confusions += confusion
            occurs += confusion[1:].sum(1) + confusion[:, 1:].sum(0) > 0
            used.append(sample)
            reliabilities.append(counts.reliability)
            before += [] if counts.before is None else [counts.before]
            rows.append(image_scores(confusion))
            tables.append(_counts_of(confusion))
        skipped = skipped_files(failed)
        if not used:
            refuse_empty(self.data, len(self.dataset), skipped)
        for problem in statistics.problems():
            notice_once(problem, Path(self.data))

        scores = _scores(self.data, used, rows, np.stack(tables), self.names)
        self.scores = with_errors(scores, reliabilities, before)
        per_class = _class_scores(confusions)
        own = THRESHOLD if num_channels(self.bundle) == 1 else None
        reductions = (("mean", np.mean), ("median", np.median), ("min", np.min))
        report = report_header(self.bundle, self.data, self.split) | {
            "threshold": own if self.threshold is None else self.threshold,
            "tta": list(self.tta),
            "enhance": self.measure.enhance,
            "images": len(used),
            "pooled": _rounded(image_scores(confusions)),
            **{
                name: _rounded({key: reduce([row[key] for row in rows]) for key in rows[0]})
                for name, reduce in reductions
            },
            "per_class": {
                name: {"images": int(occurs[i])}
                | {
                    key: round(float(v[i]), 6) if occurs[i] else None
                    for key, v in per_class.items()
                }
                for i, name in enumerate(self.names)
            },
            **self.scores.report(),
            "per_image": [
                {"name": sample.name} | _rounded(row)
                for sample, row in zip(used, rows, strict=True)
            ],
            "calibration": map_report(self.bundle, self.data, self.split),
            "skipped": [*map(list, self.dataset.skipped), *skipped],
        }
        if self.out is not None:
            write_report(self.out, report, summary_metrics(report))
            write_png(
                self.out / "evaluation.png",
                _draw_cases(self.bundle, used, rows, self.measure),
            )
        return report


def summary_metrics(report: Report) -> dict[str, float]:
    """Return the few numbers that stand for a report: means, spread and pooled Dice."""
    extremes = {f"dice_{key}": report[key]["dice"] for key in ("median", "min", "pooled")}
    return {**report["mean"], **extremes, **summary_of(report)}


# ---- scores --------------------------------------------------------------------------------------


def count(ground_truth: np.ndarray, prediction: np.ndarray, num_ids: int) -> np.ndarray:
    """Return the confusion matrix of two uint8 masks of class ids.

    Returns:
        (num_ids, num_ids) int64, [true id, predicted id].
    """
    true, predicted = ground_truth.ravel(), prediction.ravel()
    counts = np.zeros(num_ids**2, np.int64)
    for start in range(0, true.size, _BLOCK):
        block = slice(start, start + _BLOCK)
        pairs = true[block].astype(np.int32) * num_ids + predicted[block]
        counts += np.bincount(pairs, minlength=num_ids**2)
    return counts.reshape(num_ids, num_ids)


def image_scores(confusion: np.ndarray) -> dict[str, float]:
    """Return the scores of a confusion matrix.

    They are means over the foreground classes that occur, 1 without any; the accuracy is that of
    all pixels and ids.
    """
    occurs = confusion[1:].sum(1) + confusion[:, 1:].sum(0) > 0
    per_class = _class_scores(confusion)
    means = {k: float(v[occurs].mean()) if occurs.any() else 1.0 for k, v in per_class.items()}
    return means | {"accuracy": float(np.trace(confusion) / confusion.sum())}


def _class_scores(confusion: np.ndarray) -> dict[str, np.ndarray]:
    """Return the scores of each foreground class against all other ids."""
    tp = np.diag(confusion)[1:]
    fp, fn = confusion[:, 1:].sum(0) - tp, confusion[1:].sum(1) - tp
    return scores_of_counts(tp, fp, fn, confusion.sum() - tp - fp - fn)


def _counts_of(confusion: np.ndarray) -> np.ndarray:
    """Return true positives, false positives and false negatives of each class, (3, n) int64."""
    tp = np.diag(confusion)[1:]
    return np.stack([tp, confusion[:, 1:].sum(0) - tp, confusion[1:].sum(1) - tp])


def _scores(
    data: str | Path,
    samples: Sequence[MaskSample],
    rows: Sequence[Mapping[str, float]],
    tables: np.ndarray,
    names: Sequence[str],
) -> Scores:
    """Return what can be resampled: scores of each image, and counts (images, 3, n) of classes."""
    of_images = {key: np.array([row[key] for row in rows]) for key in rows[0]}
    median = median_of(of_images["dice"])
    counts = tables.astype(np.float64)

    def measure(times: np.ndarray) -> dict[Key, np.ndarray]:
        total = times.sum(1)
        values: dict[Key, np.ndarray] = {
            (None, key): times @ numbers / total for key, numbers in of_images.items()
        }
        tp, fp, fn = np.moveaxis(np.tensordot(times, counts, 1), 1, 0)
        occurs = tp + fp + fn > 0
        pooled = scores_of_counts(tp, fp, fn)
        values[None, "dice_median"] = median(times)
        dice = mean_of_known(list(np.where(occurs, pooled["dice"], np.nan).T))
        values[None, "dice_pooled"] = np.where(occurs.any(1), dice, 1.0)
        for key in ("dice", "iou", "precision", "recall"):
            for index, name in enumerate(names):
                column = np.where(occurs[:, index], pooled[key][:, index], np.nan)
                values[name, key] = column
        return values

    shown = {name: np.asarray(tables[:, :, index].any(1)) for index, name in enumerate(names)}
    drawing = drawing_of(data, samples, [sample.image for sample in samples])
    return Scores(drawing, measure, ("dice", "iou", "precision", "recall"), shown)


def _rounded(values: Mapping[str, Any]) -> dict[str, float]:
    return {key: round(float(value), 6) for key, value in values.items()}


# ---- images --------------------------------------------------------------------------------------


def _class_names(
    bundle: "Bundle", dataset: MaskDataset, classes: Sequence[str] | None
) -> tuple[str, ...]:
    """Return the names of the ids 1..n that the bundle knows."""
    number = max(1, num_channels(bundle) - 1)
    if classes is not None and len(dataset.classes) != number:
        raise DentalzooError(
            f"classes must be the {number} of {bundle.name}. "
            f"Received: classes {', '.join(dataset.classes)}"
        )
    dataset.check_names(num_channels(bundle))
    if classes is not None or number == 1:
        return dataset.classes
    return tuple(f"class_{i}" for i in range(1, number + 1))


@dataclass(frozen=True)
class _Counts:
    """What the report needs of an image.

    Attributes:
        confusion: [true id, predicted id].
        facts: of its mask.
        reliability: of its probabilities, see `ops.calibration.reliability`.
        before: the same of the network itself; None where the bundle's own map changes nothing.
    """

    confusion: np.ndarray
    facts: MaskFacts
    reliability: np.ndarray
    before: np.ndarray | None


@dataclass(frozen=True)
class _Measure:
    """The `Measure` of `evaluate`, with its settings."""

    channels: int
    num_ids: int
    threshold: float | None
    seen: tuple[Flip, ...]
    of_network: Scaling
    enhance: str | None

    def read(self, sample: MaskSample) -> dict[str, Any]:
        try:
            return load(sample, self.channels)
        except DentalzooError as error:
            raise without_folders(error, sample.image) from error

    def __call__(self, bundle: "Bundle", sample: MaskSample, arrays: dict[str, Any]) -> _Counts:
        prediction, probabilities = segment_and_probabilities(
            bundle, enhanced(arrays["image"], self.enhance), self.threshold, self.seen
        )
        observed = observed_of(probabilities, arrays["mask"])
        before = observed.through(self.of_network) if self.of_network.changes else None
        return _Counts(
            count(arrays["mask"], prediction, self.num_ids),
            facts_of(arrays["mask"]),
            reliability(observed),
            None if before is None else reliability(before),
        )

    def name(self, sample: MaskSample) -> str:
        return str(sample.image)


def observed_of(probabilities: np.ndarray, mask: np.ndarray) -> Observed:
    """Return the pixels of an image.

    Args:
        probabilities: (H, W, K) float32; K = 1: of the foreground.
        mask: (H, W, 1) uint8, the true class ids.
    """
    classes, truth = probabilities.shape[-1], mask.ravel()
    if classes == 1:
        return Observed(probabilities.ravel(), truth > 0)
    return Observed(probabilities.reshape(-1, classes), truth)


def _draw_cases(
    bundle: "Bundle",
    samples: Sequence[MaskSample],
    rows: Sequence[Mapping[str, float]],
    measure: _Measure,
) -> np.ndarray:
    """Return the best, the median and the worst image as a contact sheet."""
    order = np.argsort([row["dice"] for row in rows], kind="stable").tolist()
    cases: dict[int, str] = {}
    for case, rank in (("best", -1), ("median", len(order) // 2), ("worst", 0)):
        cases.setdefault(order[rank], case)
    images, captions = [], []
    for index, case in cases.items():
        arrays = load(samples[index], num_channels(bundle))
        radiograph = fit(arrays["image"])
        gt = fit(arrays["mask"], ids=True)
        seen = enhanced(arrays["image"], measure.enhance)
        mask = segment(bundle, seen, measure.threshold, measure.seen)
        prediction = fit(mask, ids=True)
        images.append(
            [
                radiograph,
                drawing.outlines(radiograph, gt, prediction),
                drawing.errors(radiograph, gt, prediction),
            ]
        )
        captions.append(
            f"{case} of {len(rows)}:  {samples[index].name}   Dice {rows[index]['dice']:.3f}   "
            f"IoU {rows[index]['iou']:.3f}"
        )
    legend = [
        ("ground truth; in Errors: false negatives", palette.GROUND_TRUTH),
        ("prediction; in Errors: false positives", palette.PREDICTION),
    ]
    if num_channels(bundle) > 2:
        legend.append(("another class predicted", palette.CONFUSED))
    return contact_sheet(images, captions, ("Radiograph", "Outlines", "Errors"), legend)
