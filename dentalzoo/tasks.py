"""What can be done with a bundle, by its task; each task is one module."""

import importlib
from pathlib import Path

from dentalzoo.bundle import Bundle, add_metrics, load
from dentalzoo.errors import DentalzooError

TASKS = {"segmentation": "dentalzoo.segmentation"}


def _task_of(bundle: Bundle):
    task = bundle.metadata["task"]
    if task not in TASKS:
        raise DentalzooError(
            f"this dentalzoo knows bundles for: {', '.join(TASKS)}; update it, or call the "
            f"bundle's signatures. Received: task {task!r}"
        )
    return importlib.import_module(TASKS[task])


def evaluate(bundle: Bundle | str | Path, data: str | Path, **options) -> dict:
    """Measures a bundle on annotated data at the pictures' own size.

    Args:
        bundle: a loaded bundle, a name such as `panoramic_unet.panoramic_teeth_v1` or a folder.
        data: a folder in a layout of docs/data_formats.md.
        options: of the task's `evaluate`; for segmentation `split`, `out`, `threshold`.

    Returns:
        The metrics, as written to `out`/evaluation.json.

    Raises:
        DentalzooError: no such bundle, no readable data.
    """
    bundle = bundle if isinstance(bundle, Bundle) else load(bundle)
    return _task_of(bundle).evaluate(bundle, data, **options)


def predict(bundle: Bundle | str | Path, inputs, out: str | Path, **options):
    """Applies a bundle to files and folders and writes one result per picture.

    Args:
        bundle: a loaded bundle, a name or a folder.
        inputs: paths of pictures and of folders of pictures.
        out: the folder to write to.
        options: of the task's `predict`; for segmentation `overlay`, `threshold`.

    Returns:
        The task's report: what was written and what failed.

    Raises:
        DentalzooError: no such bundle, no picture, or `out` is a folder of the inputs.
    """
    bundle = bundle if isinstance(bundle, Bundle) else load(bundle)
    return _task_of(bundle).predict(bundle, inputs, out, **options)


def headline(bundle: Bundle, report: dict) -> dict[str, float]:
    """The few numbers of a report of `evaluate` that stand for it."""
    return _task_of(bundle).headline(report)


def record(bundle: Bundle, report: dict) -> Bundle:
    """Writes the headline of a report of `evaluate`, with data, split and date, into the bundle."""
    words = ("data", "split", "threshold", "images", "date")
    about = {key: report[key] for key in words if key in report}
    return add_metrics(bundle, {**headline(bundle, report), **about})
