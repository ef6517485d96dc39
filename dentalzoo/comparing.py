"""The verb `compare`: two bundles of one task on the same data."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast, overload

from dentalzoo.bundle import Bundle, load
from dentalzoo.contracts import Report
from dentalzoo.dispatch import run_verb, with_options_of
from dentalzoo.errors import DentalzooError


@overload  # segmentation
def compare(
    bundle: Bundle | str | Path,
    other: Bundle | str | Path,
    data: str | Path,
    *,
    split: str | None = None,
    out: str | Path | None = None,
    threshold: float | None = None,
    classes: Sequence[str] | None = None,
    tta: Sequence[str] = (),
    enhance: str | None = None,
    seed: int = 0,
) -> Report: ...
@overload  # detection
def compare(
    bundle: Bundle | str | Path,
    other: Bundle | str | Path,
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
    seed: int = 0,
) -> Report: ...
@overload  # generation
def compare(
    bundle: Bundle | str | Path,
    other: Bundle | str | Path,
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
def compare(
    bundle: Bundle | str | Path,
    other: Bundle | str | Path,
    data: str | Path,
    *,
    split: str | None = None,
    out: str | Path | None = None,
    crops: str | None = None,
    margin: float | None = None,
    window: int | None = None,
    count: int = 200,
    seed: int = 0,
) -> Report: ...
@overload  # reconstruction
def compare(
    bundle: Bundle | str | Path,
    other: Bundle | str | Path,
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
@with_options_of("compare")
def compare(
    bundle: Bundle | str | Path,
    other: Bundle | str | Path,
    data: str | Path,
    *,
    split: str | None = None,
    out: str | Path | None = None,
    **options: Any,
) -> Report:
    """Measure two bundles of one task on the same data, with paired intervals of the differences.

    Args:
        bundle, other: loaded bundles, names or folders.
        data: a folder in a layout of docs/data_formats.md.
        split: "train", "val" or "test"; None for all samples.
        out: a folder for comparison.json and figures.
        options: of the bundles' task; `dentalzoo compare BUNDLE BUNDLE --help` lists them.

    Returns:
        The task's report, as written to `out`/comparison.json.

    Raises:
        DentalzooError: no such bundle, two of different tasks, classes or shapes of images, no
            readable data, an option of another task or a bad value.
    """
    first, second = (b if isinstance(b, Bundle) else load(b) for b in (bundle, other))
    if first.task != second.task:
        raise DentalzooError(
            f"both bundles must be for one task. Received: {first.task} and {second.task}"
        )
    report = run_verb("compare", first, second, data, options=options, split=split, out=out)
    return cast(Report, report)
