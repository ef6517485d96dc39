"""The agreement of every pair of raters as a report, with a figure."""

import datetime
import itertools
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from dentalzoo.agreement import empty, figures, of_boxes, of_masks
from dentalzoo.agreement.raters import Rater, read_raters
from dentalzoo.atomic import write_json
from dentalzoo.contracts import Report
from dentalzoo.data.io.images import write_png
from dentalzoo.errors import DentalzooError, few_of
from dentalzoo.output_dirs import make_folder

_log = logging.getLogger("dentalzoo")

_UNNAMED = ("foreground",)  # the class of masks that no list names


def agree(
    folders: Sequence[str | Path],
    out: str | Path | None = None,
    *,
    kind: str = "auto",
    classes: Sequence[str] | None = None,
    ignore_classes: bool = False,
    score_threshold: float | None = None,
    seed: int = 0,
) -> Report:
    """Compare annotators and models on the same images, each pair of them.

    Args:
        folders: two or more of annotated images, in any format, and of results of
            `dentalzoo predict`. Images are the same where their names without suffix are.
        out: a folder for `agreement.json`, which is what is returned, and `agreement.png`: of masks
            the Dice of each image and pair; of boxes the precision and recall of each reader on the
            precision-recall curve of each model.
        kind: "masks", "boxes", or "auto": masks where every folder has them, else boxes.
        classes: the names of the ids 1..n; needed for masks of several classes.
        ignore_classes: compare boxes whatever their class; goes with the kind "boxes".
        score_threshold: the confidence threshold of models' boxes; None takes all that there are.
        seed: of the bootstrap intervals.

    Returns:
        Plain values: "kind"; "raters", their names; "classes"; "images", the number that all have;
        "not_shared", rater -> names of images that not all have; "classes_not_shared", rater ->
        classes of its boxes that another rater does not have; "pairs": a report of each pair
        with "reference" and "rater", see `of_masks.agreement` and `of_boxes.agreement`. Of a model
        and a reader, the reader is the reference; else the folder given first. A model is what
        `dentalzoo predict` has written, known by the list that it keeps in its output folder.
        Every number with "low" and "high" has its 95 % interval over images drawn with replacement.

    Raises:
        DentalzooError: fewer than two folders, one without masks or boxes, no image that all have,
            different classes of masks, no class of boxes in common, or `out` holds something else.
        BadFile: a file that all annotations depend on is broken.
    """
    if kind not in ("auto", "masks", "boxes"):
        raise DentalzooError(f"kind must be auto, masks or boxes. Received: {kind!r}")
    if score_threshold is not None and not 0 <= score_threshold <= 1:
        raise DentalzooError(f"score_threshold must be in [0, 1]. Received: {score_threshold!r}")
    if not isinstance(seed, int) or seed < 0:
        raise DentalzooError(f"seed must be an integer >= 0. Received: {seed!r}")
    if ignore_classes and (kind != "boxes" or classes is not None):
        raise DentalzooError(
            "ignore_classes must be given with the kind boxes and without classes. "
            f"Received: kind {kind!r}, classes {classes!r}"
        )
    raters = read_raters(folders, kind, classes)
    if ignore_classes:
        raters = [rater.without_classes() for rater in raters]
    names = _classes(raters)
    odd_classes = _classes_not_shared(raters)
    stems = sorted(set.intersection(*({*rater.samples} for rater in raters)))
    if not stems:
        shown = "; ".join(f"{r.name}: {min(r.samples, default='none')}" for r in raters)
        raise DentalzooError(f"the folders must have images of the same names. Received: {shown}")
    not_shared = {r.name: sorted({*r.samples} - {*stems}) for r in raters}
    for name, others in not_shared.items():
        if others:
            _log.warning(
                "%s: %d images that not all folders have, such as %s, are not compared",
                name,
                len(others),
                others[0],
            )
    if out is not None:
        out = Path(out)
        make_folder(out, [])
    report: Report = {
        "date": datetime.date.today().isoformat(),
        "kind": raters[0].kind,
        "raters": [rater.name for rater in raters],
        "classes": list(names),
        "images": len(stems),
        "not_shared": not_shared,
        "classes_not_shared": odd_classes,
        "skipped": {rater.name: rater.skipped for rater in raters},
        "seed": seed,
    }
    pairs: list[dict[str, Any]] = []
    compared: list[of_boxes.Compared] = []
    for reference, rater in _pairs(raters):
        about = {"reference": reference.name, "rater": rater.name}
        if rater.kind == "masks":
            pairs.append(about | of_masks.agreement(reference, rater, stems, names, seed))
            continue
        both = of_boxes.matched(reference, rater, stems, names)
        scored = rater.has_scores
        both_names = reference.name, rater.name
        numbers = of_boxes.agreement(both, both_names, names, score_threshold, scored, seed)
        pairs.append(about | numbers)
        compared.append(both)
    for pair in pairs:
        for line in empty.lines_of(pair):
            _log.warning("%s", line)
    report["pairs"] = pairs
    if out is not None:
        write_json(out / "agreement.json", report)
        drawn = figures.of_masks(report) if not compared else figures.of_boxes(report, compared)
        write_png(out / "agreement.png", drawn)
    return report


def _pairs(raters: Sequence[Rater]) -> Iterator[tuple[Rater, Rater]]:
    """Yield each pair of raters, the reference first: of a model and a reader the reader."""
    for one, other in itertools.combinations(raters, 2):
        yield (other, one) if one.is_model and not other.is_model else (one, other)


def _classes(raters: Sequence[Rater]) -> tuple[str, ...]:
    """Return the classes of all raters; single classes of masks may have different names.

    Raises:
        DentalzooError: the classes of masks differ, or two raters have no class of boxes in common.
    """
    first = raters[0]
    if first.kind == "boxes":
        for one, other in itertools.combinations(raters, 2):
            if one.classes and other.classes and not {*one.classes} & {*other.classes}:
                shown = "; ".join(
                    f"{rater.name}: {few_of(rater.classes)}" for rater in (one, other)
                )
                raise DentalzooError(
                    "the folders must have a class in common: name the labels alike, or give "
                    "--kind boxes --ignore-classes to compare boxes whatever their class. "
                    f"Received: {shown}"
                )
        return tuple(dict.fromkeys(name for rater in raters for name in rater.classes))
    if all(len(rater.classes) == 1 for rater in raters):
        if len({rater.classes for rater in raters} - {_UNNAMED}) > 1:
            shown = "; ".join(f"{rater.name}: {rater.classes[0]}" for rater in raters)
            _log.warning("masks of one class each are compared whatever its name: %s", shown)
        return first.classes
    for rater in raters[1:]:
        if rater.classes != first.classes:
            raise DentalzooError(
                "the folders must have the same classes; name those to compare in their order. "
                f"Received: {first.name}: {', '.join(first.classes)}; "
                f"{rater.name}: {', '.join(rater.classes)}"
            )
    return first.classes


def _classes_not_shared(raters: Sequence[Rater]) -> dict[str, list[str]]:
    """Return the classes of each rater's boxes that another one does not have, and log them."""
    odd = {}
    for rater in raters:
        known = set.intersection(*({*other.classes} for other in raters if other is not rater))
        odd[rater.name] = [name for name in rater.used_classes if name not in known]
    if any(odd.values()):
        shown = "; ".join(f"{name}: {few_of(classes)}" for name, classes in odd.items() if classes)
        _log.warning("classes that not all folders have, and so no box agrees with: %s", shown)
    return odd
