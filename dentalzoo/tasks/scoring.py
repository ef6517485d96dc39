"""Metrics with 95 % bootstrap intervals: in all, per class and per image group.

The one seam between the evaluation of a task and everything that resamples: a task gives `Scores`,
its metrics as functions of how often each sample counts. Samples of one patient, of copies of one
image or of any other group that the data names are drawn together; images have a row of their own
by what folders or `defects.csv` call them.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np

from dentalzoo.atomic import write_atomically, write_json
from dentalzoo.contracts import Report
from dentalzoo.data.formats.patients import grouped_by_patient, patient_group
from dentalzoo.ops.intervals import (
    RESAMPLES,
    SEED,
    Resamples,
    bounds,
    bounds_text,
    cell_text,
    mean_of,
)

Key = tuple[str | None, str]  # class, or None for all together, and metric
Values = Mapping[Key, np.ndarray]
_MOST_GROUPS = 20  # rows of image groups: ours


@dataclass(frozen=True)
class Drawing:
    """What is drawn together, and what has a row of its own.

    Attributes:
        names: of the samples, in order.
        groups: the group of each, drawn as a whole.
        labels: the image group of each, "" without.
    """

    names: tuple[str, ...]
    groups: tuple[str, ...]
    labels: tuple[str, ...]


def drawing_of(data: str | Path, samples: Sequence[Any], files: Sequence[Path]) -> Drawing:
    """Return how the samples of an evaluation are drawn.

    Args:
        data: the folder of the data.
        samples: with `name`, `group` and `label`.
        files: the file of each; crops of one image are drawn together.
    """
    named = [s.group or s.name for s in samples]
    group_of = grouped_by_patient(Path(data), dict(zip(files, named, strict=True)))
    groups = tuple(group_of[file] for file in files)
    labels = [
        "" if patient_group(s.label) == group else s.label
        for s, group in zip(samples, groups, strict=True)
    ]
    if not 2 <= len(set(labels)) <= min(_MOST_GROUPS, len(labels) // 2):
        labels = [""] * len(labels)
    return Drawing(tuple(s.name for s in samples), groups, tuple(labels))


@dataclass(frozen=True)
class Scores:
    """What an evaluation measured, to be measured again in resamples.

    Attributes:
        drawing: of the samples.
        measure: (R, samples) float64, how often each counts in R resamples -> (class or None,
            metric) -> (R,) float64, NaN where it is not defined.
        occurs: class -> (samples,) bool, in which it occurs; empty without classes.
        columns: the metrics of the printed tables, and of image groups.
        unit: what a sample is.
        generated: further images, made by the bundle: they are drawn too, each for itself, and
            their counts follow those of the samples.
    """

    drawing: Drawing
    measure: Callable[[np.ndarray], Values]
    columns: tuple[str, ...]
    occurs: Mapping[str, np.ndarray]
    unit: str = "image"
    generated: int = 0

    def values(self, seed: int = SEED, members: np.ndarray | None = None) -> Values:
        """Return each metric of all samples and then of each resample, (1 + R,).

        Args:
            seed: of the resamples.
            members: indices of the samples to draw from; None for all.
        """
        groups, generated = self.drawing.groups, self.generated
        chosen = np.arange(len(groups)) if members is None else members
        drawn = Resamples([groups[i] for i in chosen], seed).blocks(generated)
        others = Resamples(generated, seed + 1).blocks(len(chosen)) if generated else repeat(None)
        blocks = []
        for times, of_others in zip(drawn, others, strict=False):
            every = np.zeros((len(times), len(groups) + generated))
            every[:, chosen] = times
            if of_others is not None:
                every[:, len(groups) :] = of_others
            blocks.append(self.measure(every))
        return {key: np.concatenate([block[key] for block in blocks]) for key in blocks[0]}

    def report(self, seed: int = SEED) -> dict[str, Any]:
        """Return "resampling", "intervals", "class_intervals" and "group_intervals", see `tables`.

        Args:
            seed: of the resamples.
        """
        return tables(self, lambda members: self.values(seed, members), seed)


def means(columns: Mapping[str, np.ndarray]) -> Callable[[np.ndarray], dict[Key, np.ndarray]]:
    """Return the `measure` of means over samples: metric -> (samples,), NaN where there is none."""
    statistics = {key: mean_of(np.asarray(column)) for key, column in columns.items()}
    return lambda times: {(None, key): mean(times) for key, mean in statistics.items()}


def tables(
    scores: Scores, values: Callable[[np.ndarray | None], Values], seed: int
) -> dict[str, Any]:
    """Return numbers with their intervals, in plain values.

    Args:
        scores: of which samples.
        values: indices of samples, None for all -> see `Scores.values`.
        seed: of the resamples.

    Returns:
        "resampling": the "unit", its number as "samples", "groups" that are drawn, "resamples" and
        "seed", and the "columns" that are printed; "intervals": metric -> "value", "low", "high";
        "class_intervals": class -> the number of "samples" in which it occurs, and the same;
        "group_intervals": image group -> "samples", and the same. Bounds are None where fewer than
        two groups are drawn or show a class.
    """
    groups, labels = np.array(scores.drawing.groups), np.array(scores.drawing.labels)
    number = len(set(groups.tolist()))
    everything = values(None)
    by_class: dict[str, dict[str, Any]] = {}
    for name, occurs in scores.occurs.items():
        few = len(set(groups[occurs].tolist())) < 2
        by_class[name] = {"samples": int(occurs.sum())} | {
            metric: bounds(numbers[:1] if few else numbers)
            for (of, metric), numbers in everything.items()
            if of == name
        }
    by_group: dict[str, dict[str, Any]] = {}
    for label, count in sorted(Counter(labels.tolist()).items()):
        if count == len(labels):  # one group is all of them
            break
        part = values(np.flatnonzero(labels == label))
        shown = {key: row for key, row in _of_all(part).items() if key in scores.columns}
        by_group[label or "(none)"] = {"samples": count} | shown
    return {
        "resampling": {
            "unit": scores.unit,
            "samples": len(groups),
            "groups": number,
            "resamples": RESAMPLES if number > 1 else 0,
            "seed": seed,
            "columns": list(scores.columns),
        },
        "intervals": _of_all(everything),
        "class_intervals": by_class,
        "group_intervals": by_group,
    }


def _of_all(values: Values) -> dict[str, dict[str, float | None]]:
    return {metric: bounds(numbers) for (of, metric), numbers in values.items() if of is None}


# ---- text ----------------------------------------------------------------------------------------


def write_report(out: Path, report: Report, metrics: Mapping[str, float]) -> None:
    """Write a report of `evaluate` to a folder: evaluation.json, and as text evaluation.txt."""
    write_json(out / "evaluation.json", report)
    text = "\n".join(lines_of(report, metrics)) + "\n"
    write_atomically(out / "evaluation.txt", text.encode(errors="backslashreplace"))


def lines_of(report: Report, metrics: Mapping[str, float]) -> list[str]:
    """Return the summary metrics and the tables of a report of `evaluate` as lines."""
    known = report.get("intervals", {})
    lines = [
        f"{key:26} {value:.4f}{bounds_text(known[key]) if key in known else ''}"
        for key, value in metrics.items()
    ]
    if "resampling" in report:
        lines += ["", how_drawn(report["resampling"]), *table_lines(report)]
    return lines


def how_drawn(about: Mapping[str, Any], what: str = "bootstrap intervals") -> str:
    """Return in a sentence what the intervals of a report are."""
    plural = "" if about["samples"] == 1 else "s"
    of = f"{about['samples']} {about['unit']}{plural}"
    if about["groups"] < about["samples"]:
        of += f" in {about['groups']} group{'' if about['groups'] == 1 else 's'}"
    if not about["resamples"]:
        return f"no intervals: {of}; at least two are needed"
    return (
        f"in brackets: 95 % {what} over {of}, {about['resamples']} resamples, seed {about['seed']}"
    )


def table_lines(report: Report) -> list[str]:
    """Return the tables per class, where there are several, and per image group."""
    about = report["resampling"]
    lines: list[str] = []
    for title, key in (("class", "class_intervals"), ("image group", "group_intervals")):
        rows = report[key]
        if len(rows) > 1:
            lines += ["", *_table(title, rows, about)]
    return lines


def _table(title: str, rows: Mapping[str, Any], about: Mapping[str, Any]) -> list[str]:
    columns = [c for c in about["columns"] if any(c in row for row in rows.values())]
    cells = [[title, f"{about['unit']}s", *columns]]
    for name, row in rows.items():
        numbers = [cell_text(row[column]) if column in row else "" for column in columns]
        cells.append([name, str(row["samples"]), *numbers])
    widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
    return [
        "  ".join(
            cell.rjust(width) if i == 1 else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    ]
