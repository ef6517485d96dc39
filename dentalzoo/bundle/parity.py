"""Differences between a bundle and what an exporter made of it.

Values are compared on sample inputs: the largest difference; the mean difference in units of the
standard deviation of the bundle's; of integers, such as pixels of masks, the share that changed; of
boxes the share that has no box of its class that overlaps it by an IoU of 0.9. Where there are
data, the metrics of an evaluation decide for the functions that it calls, see `metric_bounds`.
"""

import io
import math
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, cast

import numpy as np
from PIL import Image

from dentalzoo.bundle.loaded import Bundle
from dentalzoo.bundle.metric_bounds import MAIN, bound_of
from dentalzoo.errors import DentalzooError
from dentalzoo.ops.boxes import overlaps

_REPEATS = 3
_LEAST_SPREAD = {"familiarity": 1.0}  # of values in units of their bound; samples are much alike

Functions = Mapping[str, Callable[..., Mapping[str, Any]]]
Rows = dict[str, dict[str, Any]]
Evaluate = Callable[[Bundle, Mapping[str, Any]], Mapping[str, float]]


def compare(
    source: Bundle,
    functions: Mapping[str, Any],
    exported: Functions,
    calls: Mapping[str, Sequence[Mapping[str, Any]]],
) -> Rows:
    """Run what was exported beside the bundle.

    Args:
        source: the bundle.
        functions: name -> `tf.function`, to compare with where the bundle has no such signature, or
            one with other inputs.
        exported: name -> function of named arrays.
        calls: see `sample_calls`.

    Returns:
        name -> output -> its differences, and "latency_ratio", exported / bundle, of the last call.

    Raises:
        DentalzooError: a function fails, or returns other names, shapes, NaN or infinite values.
    """
    rows: Rows = {}
    for name, function in exported.items():
        if name not in calls:  # an alias
            continue
        reference = _reference(source, functions, name)
        pairs = [(reference(**call), function(**call)) for call in calls[name]]
        for expected, received in pairs:
            _check_form(name, expected, received)
        keys = pairs[0][0].keys()
        row: dict[str, Any] = {}
        if keys >= {"boxes", "scores", "classes", "num"}:
            row["boxes"] = {"changed": _changed_boxes(pairs)}
        else:
            for key in keys:
                values = [(one[key], other[key]) for one, other in pairs]
                row[key] = _differences(values, _LEAST_SPREAD.get(name, 1e-6))
        call = calls[name][-1]
        row["latency_ratio"] = round(_seconds(function, call) / _seconds(reference, call), 3)
        rows[name] = row
    return rows


def _reference(
    source: Bundle, functions: Mapping[str, Any], name: str
) -> Callable[..., Mapping[str, Any]]:
    function, specs = functions[name], source.metadata["signatures"]
    inputs = {
        spec.name: {"shape": spec.shape.as_list(), "dtype": spec.dtype.name}
        for spec in function.input_signature
    }
    if name in specs and specs[name]["inputs"] == inputs:  # an older bundle has others
        return source.function(name)
    return lambda **arrays: {key: value.numpy() for key, value in function(**arrays).items()}


def _check_form(name: str, expected: Mapping[str, Any], received: Mapping[str, Any]) -> None:
    if expected.keys() != received.keys():
        raise DentalzooError(
            f"{name} must return {', '.join(sorted(expected))}. "
            f"Received: {', '.join(sorted(received))}"
        )
    for key, value in expected.items():
        other = received[key]
        if np.shape(other) != np.shape(value):
            raise DentalzooError(
                f"{key} of {name} must have the shape {np.shape(value)}. "
                f"Received: {np.shape(other)}"
            )
        if np.asarray(other).dtype.kind == "f" and not np.isfinite(other).all():
            raise DentalzooError(
                f"{key} of {name} must be finite. Received: NaN or infinite values"
            )


def _differences(pairs: Sequence[tuple[Any, Any]], least: float) -> dict[str, float]:
    one, other = (np.concatenate([_values(pair[side]) for pair in pairs]) for side in (0, 1))
    if one.dtype.kind != "f":
        return {"changed": float(np.mean(one != other))}
    distance = np.abs(one.astype(np.float64) - other)
    spread = max(float(one.std()), 0.01 * float(np.abs(one).max()), least)
    return {"largest": float(distance.max()), "relative": float(distance.mean() / spread)}


def _values(array: Any) -> np.ndarray:
    """Return the values of an array, or the pixels of image files, as one row."""
    values: np.ndarray = np.ravel(array)
    if values.dtype.kind != "O":
        return values
    return np.concatenate([np.ravel(np.asarray(Image.open(io.BytesIO(file)))) for file in values])


def _changed_boxes(pairs: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]]) -> float:
    kept = total = 0
    for expected, received in pairs:
        for index, (count, other) in enumerate(zip(expected["num"], received["num"], strict=True)):
            total += max(int(count), int(other))
            if not count or not other:
                continue
            table = overlaps(expected["boxes"][index, :count], received["boxes"][index, :other])
            classes = expected["classes"][index, :count, None]
            same = (table >= 0.9) & (classes == received["classes"][index, None, :other])
            kept += min(int(same.any(0).sum()), int(same.any(1).sum()))
    return 1 - kept / total if total else 0.0


def _seconds(function: Callable[..., Any], call: Mapping[str, Any]) -> float:
    times = []
    for _ in range(_REPEATS):
        start = time.perf_counter()
        function(**call)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


class Measured(NamedTuple):
    """Metric -> {"bundle": value, "exported": value}, and the functions that they depend on."""

    metrics: dict[str, dict[str, float]]
    called: frozenset[str]


class _Watched(Mapping[str, Callable[..., Mapping[str, Any]]]):
    """Functions, and the names of those that were taken."""

    def __init__(self, functions: Functions) -> None:
        self._functions = functions
        self.called: set[str] = set()

    def __len__(self) -> int:
        return len(self._functions)

    def __iter__(self) -> Iterator[str]:
        return iter(self._functions)

    def __getitem__(self, name: str) -> Callable[..., Mapping[str, Any]]:
        function = self._functions[name]

        def call(**arrays: Any) -> Mapping[str, Any]:
            self.called.add(name)
            return function(**arrays)

        return call


def measure(source: Bundle, exported: Functions, evaluate: Evaluate) -> Measured:
    """Evaluate the bundle, and what was exported from it.

    Args:
        evaluate: a bundle and options of its task -> the summary metrics of an evaluation.

    Returns:
        The metrics of both; NaN for one with a bound that the export alone does not have.

    Raises:
        DentalzooError: no readable data, or the task needs a function that was left out.
    """
    options: dict[str, Any] = {}
    if "raw" in exported and "detect" not in exported:  # boxes are suppressed outside, of both
        options["nms_iou"] = source.metadata["config"]["nms_iou"]
    watched = _Watched(exported)
    specs = {key: spec for key, spec in source.metadata["signatures"].items() if key in exported}
    other = Bundle(source.path, {**source.metadata, "signatures": specs}, cast(Any, watched))
    try:
        before, after = (evaluate(bundle, options) for bundle in (source, other))
    except AttributeError as error:
        raise DentalzooError(f"the metrics need a function that is left out: {error}") from error
    metrics = {
        key: {"bundle": float(value), "exported": float(after.get(key, math.nan))}
        for key, value in before.items()
        if key in after or bound_of(source.task, key)
    }
    return Measured(metrics, frozenset(watched.called))


def check(rows: Rows, measured: Measured | None, task: str, bound: float) -> None:
    """Refuse what differs too much from the bundle.

    Args:
        rows: of `compare`.
        measured: of `measure`; None where there are no data.
        task: of the bundle.
        bound: the largest share of changed pixels or boxes and the largest relative difference of
            values, of functions that no metric was measured of.

    Raises:
        DentalzooError: with the difference and the bound.
    """
    if measured is not None:
        _check_metrics(measured.metrics, task)
    for name, row in rows.items():
        if measured is not None and name in measured.called:
            continue
        for key, values in row.items():
            if key == "latency_ratio":
                continue
            kind = "changed" if "changed" in values else "relative"
            if not values[kind] <= bound:
                advice = "" if measured else "; give data to measure the metrics instead"
                raise DentalzooError(
                    f"{key} of {name} must differ from the bundle's by at most {bound} ({kind})"
                    f"{advice}. Received: {values[kind]:.4g}"
                )


def _check_metrics(metrics: Mapping[str, Mapping[str, float]], task: str) -> None:
    if MAIN[task] not in metrics:
        raise DentalzooError(
            f"the evaluation must give {MAIN[task]}. Received: {', '.join(metrics) or 'nothing'}"
        )
    limits = {key: bound_of(task, key) for key in metrics}
    lost = [
        f"{key} {metrics[key]['exported']:.4f} for the {metrics[key]['bundle']:.4f} of the bundle "
        f"(at most {limit.most} worse{', relative' if abs(metrics[key]['bundle']) > 1 else ''})"
        for key, limit in limits.items()
        if limit and not limit.kept(**metrics[key])
    ]
    if lost:
        raise DentalzooError(
            f"the metrics must stay within their bounds; nothing was written. "
            f"Received: {'; '.join(lost)}"
        )
