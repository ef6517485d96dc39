"""What can be done with a bundle, by its task; each task is one module."""

import importlib
import inspect
from pathlib import Path

from dentalzoo.bundle.format import Bundle, add_metrics, load
from dentalzoo.errors import DentalzooError
from dentalzoo.tasks import TASKS


def _task_of(bundle: Bundle):
    task = bundle.metadata["task"]
    if task not in TASKS:
        raise DentalzooError(
            f"this dentalzoo knows bundles for: {', '.join(TASKS)}; update it, or call the "
            f"bundle's signatures. Received: task {task!r}"
        )
    return importlib.import_module(TASKS[task])


def _call(verb: str, bundle: Bundle | str | Path, *arguments, **options):
    """Calls the function `verb` of a bundle's task, with the options that are not None."""
    bundle = bundle if isinstance(bundle, Bundle) else load(bundle)
    task, module = bundle.metadata["task"], _task_of(bundle)
    function = getattr(module, verb, None)
    known = list(inspect.signature(function).parameters) if callable(function) else []
    if known[:1] != ["bundle"]:  # there are functions that draw an overlay, too
        raise DentalzooError(
            f"{verb} is for bundles of another task. Received: {bundle.name} for {task}"
        )
    options = {key: value for key, value in options.items() if value is not None}
    known = known[1 + len(arguments) :]
    for key in options:
        if key not in known:
            raise DentalzooError(
                f"{verb} has these options for {task}: {', '.join(known)}. Received: {key}"
            )
    return function(bundle, *arguments, **options)


def evaluate(bundle: Bundle | str | Path, data: str | Path, **options) -> dict:
    """Measures a bundle on data, annotated where its task needs it.

    Args:
        bundle: a loaded bundle, a name such as `panoramic_unet.panoramic_teeth_v1` or a folder.
        data: a folder in a layout of docs/data_formats.md.
        options: of the task's `evaluate`: `split`, `out`, and for segmentation `threshold`, for
            generation and overlay `count` and `seed`, for detection `score_threshold`, `sweep` and
            others of `dentalzoo.tasks.detection.evaluate`, for reconstruction `num_points`,
            `seed` and `places`.

    Returns:
        The metrics, as written to `out`/evaluation.json.

    Raises:
        DentalzooError: no such bundle, no readable data, an option of another task.
    """
    return _call("evaluate", bundle, data, **options)


def compare(
    bundle: Bundle | str | Path, other: Bundle | str | Path, data: str | Path, **options
) -> dict:
    """Measures two bundles of one task on the same data, side by side.

    Args:
        bundle, other: loaded bundles, names or folders.
        data: a folder in a layout of docs/data_formats.md.
        options: `split`, `out`, `score_threshold` and `seed` of
            `dentalzoo.tasks.detection.compare`.

    Returns:
        The task's report, as written to `out`/comparison.json.

    Raises:
        DentalzooError: no such bundle, two that do not compare, no readable data.
    """
    bundles = [b if isinstance(b, Bundle) else load(b) for b in (bundle, other)]
    tasks = [b.metadata["task"] for b in bundles]
    if tasks[0] != tasks[1]:
        raise DentalzooError(
            f"two bundles of one task were expected. Received: {tasks[0]} and {tasks[1]}"
        )
    return _call("compare", *bundles, data, **options)


def predict(bundle: Bundle | str | Path, inputs, out: str | Path, **options):
    """Applies a bundle to files and folders and writes a result of each image or jaw.

    Args:
        bundle: a loaded bundle, a name or a folder.
        inputs: paths of images and of folders of images; for reconstruction of folders of
            views and of meshes.
        out: the folder to write to.
        options: of the task's `predict`: `overlay`, and for segmentation `threshold`, for
            detection `score_threshold` and others of `dentalzoo.tasks.detection.predict`, for
            reconstruction `mesh` and `truth`.

    Returns:
        The task's report: what was written and what failed.

    Raises:
        DentalzooError: no such bundle, no image, `out` is a folder of the inputs, an option of
            another task.
    """
    return _call("predict", bundle, inputs, out, **options)


def generate(bundle: Bundle | str | Path, out: str | Path, **options):
    """Writes new images that a generative bundle draws.

    Args:
        bundle: a loaded bundle, a name such as `tooth_vae` or a folder.
        out: the folder to write to.
        options: `count` and `seed`.

    Returns:
        The task's report: what was written.

    Raises:
        DentalzooError: no such bundle, or one that does not generate.
    """
    return _call("generate", bundle, out, **options)


def overlay(bundle: Bundle | str | Path, inputs, out: str | Path, **options):
    """Puts the defects of two or more images onto one.

    Args:
        bundle: a loaded bundle, a name such as `defect_overlay_vae` or a folder.
        inputs: the images' paths.
        out: the folder to write to.
        options: `weights`, a number for each image.

    Returns:
        The task's report: what was written.

    Raises:
        DentalzooError: no such bundle, fewer than two images, one that cannot be read.
    """
    return _call("overlay", bundle, inputs, out, **options)


def enlarge(bundle: Bundle | str | Path, data: str | Path, out: str | Path, **options):
    """Makes a data set of overlays of random pairs and triples of a data set's images.

    Args:
        bundle: a loaded bundle, a name such as `defect_overlay_vae` or a folder.
        data: a folder of images with masks.
        out: the new data set's folder.
        options: `count`, `split`, `seed` and others of `dentalzoo.tasks.superimposition.enlarge`.

    Returns:
        The task's report: what was written.

    Raises:
        DentalzooError: no such bundle, no images with masks.
    """
    return _call("enlarge", bundle, data, out, **options)


def summary_metrics(bundle: Bundle, report: dict) -> dict[str, float]:
    """The few numbers of a report of `evaluate` that stand for it."""
    return _task_of(bundle).summary_metrics(report)


def record(bundle: Bundle, report: dict) -> Bundle:
    """Writes the summary_metrics of a report of `evaluate`, with data, split and date, into the bundle."""
    words = ("data", "split", "threshold", "score_threshold", "images", "jaws", "date")
    about = {key: report[key] for key in words if key in report}
    return add_metrics(bundle, {**summary_metrics(bundle, report), **about})
