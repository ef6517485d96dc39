"""How well a bundle segments annotated images, at the images' own size.

What is empty: a class that neither the truth nor the prediction holds scores 1; every score whose
denominator is 0 otherwise (an empty truth with a wrong prediction, say) is 0. The scores of an
image with several classes are the means over the classes that occur in its truth or prediction.
"""

import datetime
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from dentalzoo.atomic import write_json
from dentalzoo.data.io.images import write_png
from dentalzoo.data.masks import MaskDataset, MaskSample, find_masks, load
from dentalzoo.data.pipeline.prefetch import read_ahead
from dentalzoo.errors import BadFile, DentalzooError
from dentalzoo.output_dirs import make_folder
from dentalzoo.plots import palette
from dentalzoo.plots.contact_sheet import contact_sheet
from dentalzoo.plots.pixels import fit
from dentalzoo.tasks.segmentation import drawing
from dentalzoo.tasks.segmentation.inference import (
    THRESHOLD,
    check_threshold,
    num_channels,
    segment,
)

_log = logging.getLogger("dentalzoo")
_BLOCK = 1 << 20  # pixels counted at a time, so that a large image takes no memory


def evaluate(
    bundle,
    data: str | Path,
    split: str | None = None,
    out: str | Path | None = None,
    threshold: float | None = None,
    classes: Sequence[str] | None = None,
) -> dict:
    """Compares a bundle's masks with the truth, image by image, in constant memory.

    Args:
        bundle: a `Bundle` of the task "segmentation".
        data: a folder in a layout of docs/data_formats.md.
        split: "train", "val" or "test"; None for all images.
        out: a folder for `evaluation.json`, which is what is returned, and `evaluation.png`, the
            best, the median and the worst image.
        threshold: of a binary mask, in [0, 1]; None for the bundle's own.
        classes: names of the ids 1..n of a bundle with several classes; COCO data needs them.

    Returns:
        Plain values. "pooled" are the scores of all pixels taken together, "mean", "median" and
        "min" those over images, "per_image" those of each; a score is "dice", "iou",
        "precision", "recall" or "accuracy" in [0, 1]. "per_class" has the pooled scores of each
        class and the number of images it occurs in, None for one that never occurs. "skipped"
        lists (file, reason) of what took no part.

    Raises:
        DentalzooError: no image can be used, or an argument is out of place.
    """
    check_threshold(bundle, threshold)
    config = bundle.metadata.get("config", {})
    classes = classes or config.get("classes") or None
    found = find_masks(data, split, classes, config.get("annotations", "auto"))
    names = _class_names(bundle, found, classes)
    if out is not None:
        out = Path(out)
        inputs = [path for s in found.samples for path in (s.image, s.mask) if path is not None]
        make_folder(out, inputs)
    channels = num_channels(bundle)
    confusions = np.zeros((len(names) + 1,) * 2, np.int64)
    occurs = np.zeros(len(names), np.int64)
    used, rows, skipped = [], [], [list(skip) for skip in found.skipped]

    for sample, arrays, mask in _predictions(bundle, found, channels, threshold, skipped):
        confusion = count(arrays["mask"], mask, len(names) + 1)
        confusions += confusion
        occurs += confusion[1:].sum(1) + confusion[:, 1:].sum(0) > 0
        used.append(sample)
        rows.append(image_scores(confusion))
    if not used:
        first = ": ".join(skipped[len(found.skipped)])
        raise DentalzooError(f"{data}: none of {len(found)} images can be used. Received: {first}")

    per_class = _class_scores(confusions)
    report = {
        "bundle": bundle.name,
        "data": Path(data).resolve().name,
        "split": split,
        "threshold": None if channels > 1 else THRESHOLD if threshold is None else threshold,
        "date": datetime.date.today().isoformat(),
        "images": len(used),
        "pooled": _rounded(image_scores(confusions)),
        **{
            word: _rounded({key: reduce([row[key] for row in rows]) for key in rows[0]})
            for word, reduce in (("mean", np.mean), ("median", np.median), ("min", np.min))
        },
        "per_class": {
            name: {"images": int(occurs[i])}
            | {key: round(float(v[i]), 6) if occurs[i] else None for key, v in per_class.items()}
            for i, name in enumerate(names)
        },
        "per_image": [
            {"name": sample.name} | _rounded(row) for sample, row in zip(used, rows, strict=True)
        ],
        "skipped": skipped,
    }
    if out is not None:
        write_json(out / "evaluation.json", report)
        write_png(out / "evaluation.png", _draw_cases(bundle, used, rows, threshold))
    return report


def summary_metrics(report: dict) -> dict[str, float]:
    """The few numbers that stand for a report: means over images, spread and pooled Dice."""
    extremes = {f"dice_{word}": report[word]["dice"] for word in ("median", "min", "pooled")}
    return {**report["mean"], **extremes}


def count(truth: np.ndarray, prediction: np.ndarray, num_ids: int) -> np.ndarray:
    """Confusion matrix (num_ids, num_ids) int64, [true id, predicted id], of two uint8 masks."""
    truth, prediction = truth.ravel(), prediction.ravel()
    counts = np.zeros(num_ids**2, np.int64)
    for start in range(0, truth.size, _BLOCK):
        block = slice(start, start + _BLOCK)
        pairs = truth[block].astype(np.int32) * num_ids + prediction[block]
        counts += np.bincount(pairs, minlength=num_ids**2)
    return counts.reshape(num_ids, num_ids)


def scores(tp, fp, fn, tn) -> dict[str, np.ndarray]:
    """Scores from counts of pixels, numbers or arrays of one shape.

    dice = 2 tp / (2 tp + fp + fn), iou = tp / (tp + fp + fn), precision = tp / (tp + fp),
    recall = tp / (tp + fn), accuracy = (tp + tn) / all. 0/0 is 1 where tp = fp = fn = 0, else 0.

    Returns:
        float64 arrays of the counts' shape.
    """
    tp, fp, fn, tn = (np.asarray(n, np.float64) for n in (tp, fp, fn, tn))
    nothing = tp + fp + fn == 0

    def ratio(part, whole):
        return np.where(whole > 0, part / np.where(whole > 0, whole, 1), nothing)

    return {
        "dice": ratio(2 * tp, 2 * tp + fp + fn),
        "iou": ratio(tp, tp + fp + fn),
        "precision": ratio(tp, tp + fp),
        "recall": ratio(tp, tp + fn),
        "accuracy": ratio(tp + tn, tp + fp + fn + tn),
    }


def image_scores(confusion: np.ndarray) -> dict[str, float]:
    """Scores of a confusion matrix: means over the foreground classes that occur, 1 without any.

    The accuracy is that of all pixels and ids.
    """
    occurs = confusion[1:].sum(1) + confusion[:, 1:].sum(0) > 0
    per_class = _class_scores(confusion)
    means = {k: float(v[occurs].mean()) if occurs.any() else 1.0 for k, v in per_class.items()}
    return means | {"accuracy": float(np.trace(confusion) / confusion.sum())}


def _class_scores(confusion: np.ndarray) -> dict[str, np.ndarray]:
    """Scores of each foreground class against all other ids."""
    tp = np.diag(confusion)[1:]
    fp, fn = confusion[:, 1:].sum(0) - tp, confusion[1:].sum(1) - tp
    return scores(tp, fp, fn, confusion.sum() - tp - fp - fn)


def _rounded(values: dict[str, float]) -> dict[str, float]:
    return {key: round(float(value), 6) for key, value in values.items()}


def _class_names(bundle, found: MaskDataset, classes: Sequence[str] | None) -> tuple[str, ...]:
    """Names of the ids 1..n that the bundle knows."""
    number = max(1, num_channels(bundle) - 1)
    if classes is not None and len(found.classes) != number:
        raise DentalzooError(
            f"{bundle.name} has {number} classes. Received: classes {', '.join(found.classes)}"
        )
    found.check_names(num_channels(bundle))
    if classes is not None or number == 1:
        return found.classes
    return tuple(f"class_{i}" for i in range(1, number + 1))


def _predictions(bundle, found: MaskDataset, channels: int, threshold, skipped: list):
    """Yields (sample, its arrays, predicted mask); appends to `skipped` what cannot be used."""
    reading = read_ahead(lambda sample: load(sample, channels), found.samples)
    with logging_redirect_tqdm():
        for sample, arrays in tqdm(reading, "evaluating", len(found), disable=None, unit="image"):
            try:
                if isinstance(arrays, DentalzooError):
                    raise arrays
                mask = segment(bundle, arrays["image"], threshold)
            except DentalzooError as error:
                path = "" if isinstance(error, BadFile) else f"{sample.image}: "
                _log.warning("skipped %s%s", path, error)
                skipped.append(_skip(sample, error))
                continue
            yield sample, arrays, mask


def _skip(sample: MaskSample, error: DentalzooError) -> list[str]:
    """[file, reason] without the folders, whose names are no one else's business."""
    if isinstance(error, BadFile):
        path = Path(error.path)
        return [path.name, error.reason.replace(str(path), path.name)]
    return [sample.image.name, str(error)]


def _draw_cases(bundle, samples: list[MaskSample], rows: list[dict], threshold) -> np.ndarray:
    order = np.argsort([row["dice"] for row in rows], kind="stable")
    cases = {}
    for case, place in (("best", -1), ("median", len(order) // 2), ("worst", 0)):
        cases.setdefault(order[place], case)
    images, captions = [], []
    for index, case in cases.items():
        arrays = load(samples[index], num_channels(bundle))
        mask = segment(bundle, arrays["image"], threshold)
        radiograph = fit(arrays["image"])
        truth, mask = (fit(m, ids=True) for m in (arrays["mask"], mask))
        images.append(
            [
                radiograph,
                drawing.outlines(radiograph, truth, mask),
                drawing.errors(radiograph, truth, mask),
            ]
        )
        captions.append(
            f"{case} of {len(rows)}:  {samples[index].name}   Dice {rows[index]['dice']:.3f}   "
            f"IoU {rows[index]['iou']:.3f}"
        )
    legend = [
        ("annotated; in the errors: missed", palette.GROUND_TRUTH),
        ("predicted; in the errors: too much", palette.PREDICTION),
    ]
    if num_channels(bundle) > 2:
        legend.append(("another class", palette.CONFUSED))
    return contact_sheet(images, captions, ("Radiograph", "Outlines", "Errors"), legend)
