"""Two bundles on the same samples, side by side, with paired intervals of their differences.

Both are measured again on the same resamples, so that what makes a sample hard for both does not
count: the interval of the difference is narrower than two separate intervals suggest.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from dentalzoo.atomic import write_atomically, write_json
from dentalzoo.bundle.metric_bounds import less_is_better
from dentalzoo.contracts import Report
from dentalzoo.data.formats.names import last_parts
from dentalzoo.errors import DentalzooError
from dentalzoo.ops.intervals import SEED, cell_text
from dentalzoo.output_dirs import make_folder
from dentalzoo.tasks.base import Evaluation, report_header
from dentalzoo.tasks.scoring import Values, how_drawn, table_lines, tables

if TYPE_CHECKING:
    from dentalzoo.bundle import Bundle


class Compare(Protocol):
    """The verb `compare` of a task."""

    def __call__(
        self,
        bundle: "Bundle",
        other: "Bundle",
        data: str | Path,
        *,
        split: str | None = None,
        out: str | Path | None = None,
        options: Any = None,
    ) -> Report:
        """Measure two bundles on the same data, see `compare_evaluations`.

        Args:
            bundle, other: of the task.
            data, split: as in `evaluate`.
            out: a folder for `comparison.json` and `comparison.txt`; None for neither.
            options: of `compare`, for both bundles. A seed is also that of the resamples.

        Raises:
            DentalzooError: as `evaluate`; or the bundles cannot be compared.
        """


def comparing(
    evaluation: Callable[..., Evaluation],
    summary_metrics: Callable[[Report], dict[str, float]],
    defaults: Any,
) -> Compare:
    """Return `compare` for a task.

    Args:
        evaluation, summary_metrics: of the task, see `dentalzoo.contracts.Task`.
        defaults: its options.
    """

    def compare(
        bundle: "Bundle",
        other: "Bundle",
        data: str | Path,
        *,
        split: str | None = None,
        out: str | Path | None = None,
        options: Any = defaults,
    ) -> Report:
        evaluations = [
            evaluation(one, data, split=split, options=options) for one in (bundle, other)
        ]
        folder, seed = None if out is None else Path(out), getattr(options, "seed", SEED)
        report = compare_evaluations(evaluations, summary_metrics, folder, seed)
        if folder is not None:
            write_report(folder, report)
        return report

    compare.__doc__ = Compare.__call__.__doc__
    return compare


def compare_evaluations(
    evaluations: Sequence[Evaluation],
    summary_metrics: Callable[[Report], dict[str, float]],
    out: Path | None,
    seed: int = SEED,
) -> Report:
    """Measure two bundles on the same samples and return their differences.

    Args:
        evaluations: of both bundles on the same data, without an `out`.
        summary_metrics: of their task.
        out: the folder that is made for the report; None for none.
        seed: of the resamples.

    Returns:
        Plain values: "bundles", two different names, of a run that of its folder;
        "data", "split" and "date"; "summary_metrics", metric -> both; "resampling", "intervals",
        "class_intervals" and "group_intervals", see `dentalzoo.tasks.scoring.tables`, of the
        differences, the first less the second, each with "shown": whether its interval leaves out
        0, None without one; "reports", both in whole.

    Raises:
        DentalzooError: as the evaluations; what they measure cannot be compared; or the bundles
            cannot use the same samples.
    """
    first, second = evaluations
    for what, value in first.comparable().items():
        if value != (other := second.comparable()[what]):
            raise DentalzooError(
                f"both bundles must have the same {what}. Received: {value} and {other}"
            )
    if out is not None:
        make_folder(out, first.inputs)
    reports = [evaluation.run() for evaluation in evaluations]
    scores = [evaluation.scores for evaluation in evaluations]
    _refuse_others(*(one.drawing.names for one in scores))

    def difference(members: np.ndarray | None) -> Values:
        mine, others = (one.values(seed, members) for one in scores)
        return {key: values - others[key] for key, values in mine.items() if key in others}

    metrics = [summary_metrics(report) for report in reports]
    made = tables(scores[0], difference, seed)
    rows = [made["intervals"], *made["class_intervals"].values(), *made["group_intervals"].values()]
    for row in rows:
        for number in row.values():
            if isinstance(number, dict):
                number["shown"] = _is_shown(number)
    report: Report = {
        **report_header(first.bundle, first.data, first.split),
        "bundles": labels_of(*(evaluation.bundle for evaluation in evaluations)),
        "summary_metrics": {
            key: [values.get(key) for values in metrics] for key in metrics[0] | metrics[1]
        },
        **made,
        "reports": reports,
    }
    del report["bundle"]
    return report


def write_report(out: Path, report: Report) -> None:
    """Write a report of two bundles to a folder: comparison.json, as text comparison.txt."""
    write_json(out / "comparison.json", report)
    text = "\n".join(lines_of(report)) + "\n"
    write_atomically(out / "comparison.txt", text.encode(errors="backslashreplace"))


def labels_of(bundle: "Bundle", other: "Bundle") -> list[str]:
    """Return two different names.

    That of a released bundle is its own, and that of a run its folder's; of two that are alike the
    last parts of both paths, as many as differ, else they are numbered.
    """
    labels = [_label(one) for one in (bundle, other)]
    if labels[0] != labels[1]:
        return labels
    folders = [_folder(one) for one in (bundle, other)]
    if folders[0] == folders[1]:
        return [f"{labels[0]} ({number})" for number in (1, 2)]
    return last_parts(folders)


def _label(bundle: "Bundle") -> str:
    return bundle.name if "." in bundle.name else _folder(bundle).name


def _folder(bundle: "Bundle") -> Path:
    """Return the folder of a bundle as a user names it: of a run, which holds a bundle, the run."""
    path = bundle.path.resolve()
    return path.parent if path.name == "bundle" else path


def _refuse_others(first: Sequence[str], second: Sequence[str]) -> None:
    if list(first) != list(second):
        odd = min(set(first) ^ set(second), default="another order")
        raise DentalzooError(
            f"both bundles must be able to use the same samples. Received: {odd} for one alone"
        )


def _is_shown(number: dict[str, float | None]) -> bool | None:
    low, high = number["low"], number["high"]
    return None if low is None or high is None else low > 0 or high < 0


# ---- text ----------------------------------------------------------------------------------------


def lines_of(report: Report) -> list[str]:
    """Return the summary metrics, the differences and the tables of a report as lines."""
    rows = [["", *report["bundles"], "difference"]]
    for key, both in report["summary_metrics"].items():
        values = ["-" if value is None else f"{value:.4f}" for value in both]
        row = report["intervals"].get(key)
        rows.append([key, *values, f"{cell_text(row)}{_verdict(key, row)}" if row else ""])
    widths = [max(len(row[i]) for row in rows) for i in range(3)]
    lines = [
        f"{row[0]:{widths[0]}}  {row[1]:>{widths[1]}}  {row[2]:>{widths[2]}}  {row[3]}".rstrip()
        for row in rows
    ]
    about = how_drawn(report["resampling"], "paired bootstrap intervals of the difference")
    return [*lines, "", about, *table_lines(report)]


def _verdict(metric: str, row: dict[str, Any]) -> str:
    if row["shown"] is None:
        return ""
    if not row["shown"]:
        return "  no difference shown"
    higher = f"  the {'first' if row['value'] > 0 else 'second'} is higher"
    return f"{higher} (less is better)" if less_is_better(metric) else higher
