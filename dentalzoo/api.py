"""The verbs of the package: what can be done with a bundle, dispatched to its task.

Each verb has explicit options, overloaded by task; a test compares the overloads with the
dataclasses of `dentalzoo.tasks.options`, which the command line is made of too.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast, overload

from dentalzoo.bundle import Bundle, add_metrics, find
from dentalzoo.bundle.card import MEASURED_ON
from dentalzoo.comparing import compare as compare
from dentalzoo.contracts import Report
from dentalzoo.dispatch import Paths, as_paths, run_verb, with_options_of
from dentalzoo.dispatch import make_options as make_options
from dentalzoo.dispatch import task_of as task_of
from dentalzoo.errors import DentalzooError

if TYPE_CHECKING:
    from dentalzoo.ops.calibration import Calibration
    from dentalzoo.tasks.base import PredictionReport

# ---- evaluate ------------------------------------------------------------------------------------


@overload  # segmentation
def evaluate(
    bundle: Bundle | str | Path,
    data: str | Path,
    *,
    split: str | None = None,
    out: str | Path | None = None,
    threshold: float | None = None,
    classes: Sequence[str] | None = None,
    tta: Sequence[str] = (),
    enhance: str | None = None,
) -> Report: ...
@overload  # detection
def evaluate(
    bundle: Bundle | str | Path,
    data: str | Path,
    *,
    split: str | None = None,
    out: str | Path | None = None,
    score_threshold: float | None = None,
    nms_iou: float | None = None,
    max_per_class: int | None = None,
    teeth: str | None = None,
    tta: Sequence[str] = (),
    enhance: str | None = None,
    sweep: bool = False,
) -> Report: ...
@overload  # generation
def evaluate(
    bundle: Bundle | str | Path,
    data: str | Path,
    *,
    split: str | None = None,
    out: str | Path | None = None,
    crops: str | None = None,
    samples: int = 64,
    count: int = 500,
    seed: int = 0,
) -> Report: ...
@overload  # superimposition
def evaluate(
    bundle: Bundle | str | Path,
    data: str | Path,
    *,
    split: str | None = None,
    out: str | Path | None = None,
    crops: str | None = None,
    margin: float | None = None,
    window: int | None = None,
    count: int = 200,
    seed: int = 0,
    step: float | None = None,
) -> Report: ...
@overload  # reconstruction
def evaluate(
    bundle: Bundle | str | Path,
    data: str | Path,
    *,
    split: str | None = None,
    out: str | Path | None = None,
    num_points: int = 50_000,
    seed: int = 0,
    views: Sequence[int] | None = None,
    axes: str | None = None,
    refine: bool = False,
) -> Report: ...
@with_options_of("evaluate")
def evaluate(
    bundle: Bundle | str | Path,
    data: str | Path,
    *,
    split: str | None = None,
    out: str | Path | None = None,
    **options: Any,
) -> Report:
    """Measure a bundle on data, annotated where its task needs it.

    Args:
        bundle: a loaded bundle, a name such as `panoramic_unet.panoramic_teeth_v2` or a folder.
        data: a folder in a layout of docs/data_formats.md.
        split: "train", "val" or "test"; None for all samples.
        out: a folder for evaluation.json and figures.
        options: of the bundle's task; `dentalzoo evaluate BUNDLE --help` lists them.

    Returns:
        The metrics, as written to `out`/evaluation.json.

    Raises:
        DentalzooError: no such bundle, no readable data, an option of another task or a bad value.
    """
    report = run_verb("evaluate", bundle, data, options=options, split=split, out=out)
    return cast(Report, report)


# ---- predict -------------------------------------------------------------------------------------


@overload  # generation and superimposition
def predict(
    bundle: Bundle | str | Path,
    inputs: Paths,
    out: str | Path,
    *,
    workers: int | None = None,
    shards: int | None = None,
    shard: int | None = None,
    overlay: bool = False,
    overlay_format: str = "png",
    anonymize: bool = False,
) -> "PredictionReport": ...
@overload  # segmentation
def predict(
    bundle: Bundle | str | Path,
    inputs: Paths,
    out: str | Path,
    *,
    workers: int | None = None,
    shards: int | None = None,
    shard: int | None = None,
    overlay: bool = False,
    overlay_format: str = "png",
    format: Sequence[str] = (),
    anonymize: bool = False,
    threshold: float | None = None,
    classes: Sequence[str] | None = None,
    dicom: Sequence[str] = (),
    instances: str | Path | None = None,
    probabilities: bool = False,
    tta: Sequence[str] = (),
    enhance: str | None = None,
) -> "PredictionReport": ...
@overload  # detection
def predict(
    bundle: Bundle | str | Path,
    inputs: Paths,
    out: str | Path,
    *,
    workers: int | None = None,
    shards: int | None = None,
    shard: int | None = None,
    score_threshold: float | None = None,
    nms_iou: float | None = None,
    max_per_class: int | None = None,
    teeth: str | None = None,
    tta: Sequence[str] = (),
    enhance: str | None = None,
    overlay: bool = False,
    overlay_format: str = "png",
    format: Sequence[str] = (),
    anonymize: bool = False,
    vott: Sequence[int] = (),
    dicom: Sequence[str] = (),
) -> "PredictionReport": ...
@overload  # reconstruction
def predict(
    bundle: Bundle | str | Path,
    inputs: Paths,
    out: str | Path,
    *,
    workers: int | None = None,
    shards: int | None = None,
    shard: int | None = None,
    mesh: Sequence[str] | None = None,
    ground_truth: str | Path | None = None,
    axes: str | None = None,
    refine: bool = False,
    anonymize: bool = False,
) -> "PredictionReport": ...
@with_options_of("predict")
def predict(
    bundle: Bundle | str | Path,
    inputs: Paths,
    out: str | Path,
    *,
    workers: int | None = None,
    shards: int | None = None,
    shard: int | None = None,
    **options: Any,
) -> "PredictionReport":
    """Apply a bundle to files and folders and write a result for each image or jaw.

    Args:
        bundle: a loaded bundle, a name or a folder.
        inputs: paths of images, of folders and tar files of images, and addresses of them in object
            stores (docs/archives.md); for reconstruction of folders of views and of meshes.
        out: the folder to write to.
        workers: number of processes, each with the bundle; the run is restartable then, see
            docs/archives.md. None: this process.
        shards: number of calls, on any machine, that divide the inputs and share `out`.
        shard: which of them this is, from 0.
        options: of the bundle's task; `dentalzoo predict BUNDLE --help` lists them.

    Returns:
        The number of inputs with a result, and the name and reason of each that failed.

    Raises:
        DentalzooError: no such bundle, no image, `out` is a folder of the inputs, an option of
            another task or a bad value; or `out` holds a run over an archive that is not this
            one.
    """
    from dentalzoo.archives.manifest import refuse_run
    from dentalzoo.archives.run import predict_archive

    paths = as_paths(inputs)
    if "://" in str(out):
        raise DentalzooError(f"out must be a folder of a file system. Received: {out}")
    if (shards is None) != (shard is None):
        raise DentalzooError(
            f"shards and shard must be given together. Received: shards={shards!r}, shard={shard!r}"
        )
    if workers is not None or shards is not None:
        path = bundle.path if isinstance(bundle, Bundle) else find(bundle)
        return predict_archive(
            path,
            paths,
            out,
            given=options,
            workers=1 if workers is None else workers,
            shards=1 if shards is None else shards,
            shard=shard or 0,
        )
    refuse_run(Path(out))
    return cast("PredictionReport", run_verb("predict", bundle, paths, out, options=options))


# ---- verbs of single tasks -----------------------------------------------------------------------


def generate(
    bundle: Bundle | str | Path, out: str | Path, *, count: int = 64, seed: int = 0
) -> "PredictionReport":
    """Write new images that a generative bundle draws from its prior.

    Args:
        bundle: a loaded bundle, a name such as `tooth_vae` or a folder.
        out: the folder to write to.
        count: number of images.
        seed: random seed.

    Returns:
        The number of images written.

    Raises:
        DentalzooError: no such bundle, or one of another task.
    """
    options = {"count": count, "seed": seed}
    return cast("PredictionReport", run_verb("generate", bundle, out, options=options))


def superimpose(
    bundle: Bundle | str | Path,
    inputs: Paths,
    out: str | Path,
    *,
    weights: Sequence[float] | None = None,
) -> "PredictionReport":
    """Write one image with the defects of two or more images.

    Args:
        bundle: a loaded bundle, a name such as `defect_overlay_vae` or a folder.
        inputs: the images' paths.
        out: the folder to write to.
        weights: a positive number for each image: the factor on its contrast.

    Returns:
        What was written.

    Raises:
        DentalzooError: no such bundle, fewer than two images, one that cannot be read.
    """
    options = {"weights": weights}
    return cast("PredictionReport", run_verb("superimpose", bundle, inputs, out, options=options))


def augment_dataset(
    bundle: Bundle | str | Path,
    data: str | Path,
    out: str | Path,
    *,
    crops: str | None = None,
    margin: float | None = None,
    window: int | None = None,
    count: int = 200,
    split: str = "train",
    sizes: Sequence[int] = (2, 3),
    seed: int = 0,
    keep: str = "successful",
    noise: float = 0.0,
) -> "PredictionReport":
    """Write a data set of images that each superimpose the defects of two or three others.

    Args:
        bundle: a loaded bundle, a name such as `defect_overlay_vae` or a folder.
        data: a folder of images with masks.
        out: the new data set's folder.
        crops, margin, window: how defects are cut out; None for the bundle's own setting.
        count: number of superimposed images.
        split: the split whose images are combined.
        sizes: how many images make one, in turn.
        seed: random seed.
        keep: "successful" or "all" of the superimposed images.
        noise: factor on the deviation of latent vectors; for sums and means only.

    Returns:
        What was written.

    Raises:
        DentalzooError: no such bundle, no images with masks.
    """
    options = {
        "crops": crops,
        "margin": margin,
        "window": window,
        "count": count,
        "split": split,
        "sizes": sizes,
        "seed": seed,
        "keep": keep,
        "noise": noise,
    }
    return cast("PredictionReport", run_verb("augment_dataset", bundle, data, out, options=options))


# ---- calibration ---------------------------------------------------------------------------------


def calibrate(bundle: Bundle, data: str | Path, *, split: str | None = "val") -> "Calibration":
    """Fit the map from a bundle's probabilities to calibrated ones; nothing is written.

    Args:
        bundle: that returns masks or the scores of boxes.
        data: a folder of annotated images.
        split: the split that may choose settings.

    Returns:
        The map, and the record of how it was found, with the calibration error before and after.

    Raises:
        DentalzooError: a bundle of another task, no readable data, or too few.
    """
    package = task_of(bundle)
    if not hasattr(package, "calibrate"):
        raise DentalzooError(
            "calibration needs a bundle for segmentation or detection. "
            f"Received: {bundle.name}, for {bundle.task}"
        )
    return cast("Calibration", package.calibrate(bundle, data, split=split))


# ---- metrics -------------------------------------------------------------------------------------


def summary_metrics(bundle: Bundle, report: Report) -> dict[str, float]:
    """Return the few numbers that stand for a report of `evaluate`."""
    return task_of(bundle).summary_metrics(report)


def save_metrics(bundle: Bundle, report: Report) -> Bundle:
    """Write the summary of a report of `evaluate`, with data, split and date, into the bundle."""
    return add_metrics(bundle, metrics_of(bundle, report))


def metrics_of(bundle: Bundle, report: Report) -> dict[str, Any]:
    """Return what a bundle keeps of a report of `evaluate`: its summary, data, split and date."""
    about = {key: report[key] for key in MEASURED_ON if key in report}
    return {**summary_metrics(bundle, report), **about}
