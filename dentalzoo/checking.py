"""`dentalzoo check`: what is wrong with a data set, and whether a model could train on it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from dentalzoo import registry
from dentalzoo.contracts import DataOptions, Report
from dentalzoo.errors import DentalzooError, MissingSplit, few_of

_LOGGED = ("skipped", "repaired", "duplicates", "duplicates_within", "not_used")
_TO_FIX = ("skipped", "suspicious", "duplicates", "patients", "problems")
_LISTED = {  # key -> what its lines begin with
    "suspicious": "suspicious",
    "patients": "leak between splits",
    "boxes_to_check": "look at",
    "masks_to_check": "look at",
    "contradictions": "the model contradicts",
    "personal": "personal data in",
    "problems": "cannot train on",
}
_MOST = 20  # lines of a list
_OF_THE_PAGE = ("per_split", "image_sizes", "box_sizes", "mask_areas", "model_dice")


_KINDS = {"detection": "boxes", "segmentation": "masks", "reconstruction": "meshes"}

Watch = Callable[[Any, dict[str, Any]], None]


def kind_of_data(name: str) -> str:
    """Return what a model trains on: "boxes", "masks", "meshes" or "images".

    Raises:
        DentalzooError: there is no such model.
    """
    registry.module_of(name)
    return _KINDS.get(registry.ZOO[name].task, "images")


def check_for_model(
    data: str | Path,
    name: str,
    variant: str | None = None,
    *,
    watch: Watch | None = None,
    **overrides: Any,
) -> Report:
    """Check a data folder with the settings of a model, and load what it would train on.

    Args:
        data: the data folder.
        name: of a model of the zoo.
        variant: of the model.
        watch: called with each usable image, see `check_boxes`, `check_folder`, `check_images`.
        overrides: settings of the variant, as for `train`.

    Returns:
        The report of the model's kind of data with "model" and "training" (split -> number of
        samples that are loaded); "problems" [split, reason] of what training would refuse; empty
        where it would start. All of it fits into JSON.

    Raises:
        DentalzooError: there is no such model, variant or setting.
    """
    config = registry.configure(name, variant, **overrides)
    problems: list[list[str]] = []
    try:
        report = _check_data(data, registry.ZOO[name].task, config, watch)
    except DentalzooError as error:
        report = {"data": str(data)}
        problems.append(["data", str(error)])
    report |= {"model": name, "training": {}, "problems": problems}
    if problems:
        return report
    paper = registry.module_of(name)
    for split in ("train", "val"):
        try:
            options = DataOptions(split=split, training=split == "train")
            report["training"][split] = len(paper.make_dataset(data, config, options).cache)
        except MissingSplit as error:
            if split == "train":
                problems.append([split, str(error)])
            else:  # trains all the same, and says so
                report["suspicious"] = [*report.get("suspicious", ()), [split, str(error)]]
        except DentalzooError as error:
            problems.append([split, str(error)])
    return report


def _check_data(data: str | Path, task: str, config: Any, watch: Watch | None) -> Report:
    """Check the kind of data of a task, with the settings of a config that finding depends on."""
    keys = ("crops", "margin", "window", "val_fraction")
    settings = {key: getattr(config, key) for key in keys if hasattr(config, key)}
    if task == "detection":
        from dentalzoo.data.boxes import check_boxes

        return check_boxes(
            data, classes=config.classes, val_fraction=config.val_fraction, watch=watch
        )
    if task == "segmentation":
        from dentalzoo.data.masks import check_folder

        return check_folder(
            data,
            num_classes=config.num_classes,
            classes=config.classes or None,
            annotations=config.annotations,
            watch=watch,
        )
    if task == "reconstruction":
        from dentalzoo.data.meshes import check_meshes

        return check_meshes(data)
    from dentalzoo.data.images import check_images

    return check_images(data, watch=watch, **settings)


def describe_report(report: Report) -> str:
    """Return the lines of a report: counts, then up to 20 of each kind of finding.

    Of what the log names already, skipped files and duplicates, the number.
    """
    lines = [
        f"{key}: {value}"
        for key, value in report.items()
        if not isinstance(value, list) and key not in _OF_THE_PAGE
    ]
    if empty := report.get("without_objects"):
        lines.append(f"images without any annotation: {len(empty)} ({few_of(empty)})")
    lines += [f"{key}: {len(report[key])}" for key in _LOGGED if report.get(key)]
    for key, word in _LISTED.items():
        entries = report.get(key) or []
        lines += [f"{word} {' and '.join(e[:-1])}: {e[-1]}" for e in entries[:_MOST]]
        if len(entries) > _MOST:
            lines.append(f"{word}: {len(entries) - _MOST} more, which --json lists")
    return "\n".join(lines)


def needs_fixing(report: Report) -> bool:
    """Return whether a report lists something that must be fixed before training."""
    return any(report.get(key) for key in _TO_FIX)
