"""Results of models that lie in a data folder: predictions and runs, which are no data."""

from collections.abc import Sequence
from pathlib import Path

from dentalzoo.data.formats.names import role_of
from dentalzoo.output_dirs import listed_results

_OWN_RESULTS = (
    ("run.json", "checkpoints"),
    ("metadata.json", "SHA256SUMS"),
    ("evaluation.json",),
)
_TASKS = ("detect", "segment", "classify", "pose", "obb")  # folders of Ultralytics' results
_DETECTIONS = {"detections.csv", "detections.json"}
_OVERLAY = "_overlay"


def holds_results(folder: Path) -> bool:
    """Return whether a trainer wrote a folder: its plots and examples are no data.

    That is a run, an evaluation or a bundle of this package, or `runs` of Ultralytics and YOLOv5.
    """
    if any(all((folder / name).exists() for name in names) for names in _OWN_RESULTS):
        return True
    if folder.name.lower() != "runs":
        return False
    return any((folder / task).is_dir() for task in _TASKS) or any(folder.glob("*/exp*/"))


def predictions_among(root: Path, folder: Path, entries: Sequence[Path]) -> set[Path]:
    """Return the files and folders of a folder that `dentalzoo predict` wrote.

    It lists them in a hidden file. Where this is lost, detections.csv beside detections.json, and
    x_overlay.png or .jpg beside x.png. Masks in a folder of the data that is named after masks are
    there on purpose.

    Args:
        root: the data folder.
        folder: a folder in it.
        entries: what it holds.
    """
    names = {entry.name for entry in entries}
    listed = listed_results(folder)
    if names >= _DETECTIONS:
        listed |= _DETECTIONS
    masks = role_of(folder.relative_to(root).parts)[0] == "masks"
    stems = {Path(name).stem for name in names}
    return {
        entry
        for entry in entries
        if (entry.name in listed and not (masks and _is_mask(entry)))
        or (_is_overlay(entry) and entry.stem.removesuffix(_OVERLAY) in stems)
    }


def _is_overlay(path: Path) -> bool:
    return path.suffix in (".png", ".jpg") and path.stem.endswith(_OVERLAY)


def _is_mask(path: Path) -> bool:
    return path.suffix == ".png" and not _is_overlay(path)
