"""Evaluation of a bundle on upper jaws with known meshes.

The ten views of every jaw are rendered, the jaw is reconstructed, and both are compared in
millimetres in the frame of the cameras. The baseline is a mean shape that ignores the views. Where
a bundle keeps several (one per family, that is for jaws of one topology), the one nearest to the
ground truth is used; no constant prediction can know which, so this favours the baseline, not the
bundle.
"""

import csv
import io
import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dentalzoo.atomic import write_atomically
from dentalzoo.contracts import Report
from dentalzoo.data.io.images import write_png
from dentalzoo.data.jaw_axes import Axes, parse_axes
from dentalzoo.data.jaw_pose import SCALE
from dentalzoo.data.meshes import MeshSample, find_meshes, load_mesh, log_doubts
from dentalzoo.data.tones import match_tones
from dentalzoo.data.views import VIEWS, render_views
from dentalzoo.errors import BadFile, DentalzooError
from dentalzoo.ops.meshes import nearest, sample_surface
from dentalzoo.tasks import base
from dentalzoo.tasks.base import refuse_empty, report_header, without_folders
from dentalzoo.tasks.options import ReconstructionEvaluateOptions
from dentalzoo.tasks.reconstruction import drawing
from dentalzoo.tasks.reconstruction.confidence import METRIC, bound_for, bound_of, confidence
from dentalzoo.tasks.reconstruction.inference import (
    NOT_REFINED,
    POINTS,
    Shape,
    as_seen,
    check_refines,
    mean_shapes,
    reconstruct,
)
from dentalzoo.tasks.reconstruction.scores import MILLIMETRES, at_threshold, scores
from dentalzoo.tasks.scoring import Scores, drawing_of, means, write_report

if TYPE_CHECKING:
    from dentalzoo.bundle import Bundle

_log = logging.getLogger("dentalzoo")

PAPER = round(0.035 * SCALE, 6)  # mm; the paper's threshold, where its unit is that of the cameras
THRESHOLDS = (PAPER, PAPER / 2, *MILLIMETRES)  # mm


def evaluate(
    bundle: "Bundle",
    data: str | Path,
    *,
    split: str | None = None,
    out: str | Path | None = None,
    options: ReconstructionEvaluateOptions = ReconstructionEvaluateOptions(),
) -> Report:
    """Reconstruct jaws from views of their meshes and score each, in constant memory.

    Args:
        bundle: a bundle of the task "reconstruction".
        data: a folder of upper jaws in a layout of docs/data_formats.md.
        split: "train", "val" or "test"; None for all jaws.
        out: a folder for `evaluation.json`, which is what is returned, `evaluation.txt`, its
            tables, `evaluation.csv`, a row for
            each jaw, and `evaluation.png`, the best, the median and the worst jaw.
        options: number and seed of the points on each ground-truth surface, by area; `views` are
            the camera indices that the bundle sees, all different; `refine` as of `predict`.

    Returns:
        Plain values, lengths in mm. "mean" holds the means over jaws of `scores.scores` at
        `THRESHOLDS`, with the spacing and, where the bundle makes meshes, the normals compared
        with the ground-truth surface; "baseline" those of the mean shape, None where the bundle
        has none; "baseline_is" describes which of several; "intervals" the "value", "low" and
        "high" of the summary metrics: 95 % bootstrap intervals over jaws, without bounds for one
        jaw, with "group_intervals" of each group of jaws, see `dentalzoo.tasks.scoring.tables`.
        "per_jaw" has both for each jaw,
        "family", the index of the nearest mean shape, with `refine` whether it was "refined", and
        "residual", see `confidence`, of which
        "confidence" has the mean, the 99th percentile, the bundle's bound, and how many jaws
        "warned" of. "seconds_per_jaw" is the median time of the
        bundle alone. "skipped" lists [jaw, reason] of each jaw that could not be used.

    Raises:
        DentalzooError: no jaw can be used, views that are not different, `refine` for a bundle that
            cannot, or `out` holds inputs or cannot be written.
    """
    return Evaluation(bundle, data, split=split, out=out, options=options).run()


class Evaluation(base.Evaluation):
    """The evaluation that `evaluate` runs; finding the jaws checks all but the meshes themselves.

    Args and errors are those of `evaluate`.
    """

    unit = "jaw"
    measure: "_Measure"

    def __init__(
        self,
        bundle: "Bundle",
        data: str | Path,
        *,
        split: str | None = None,
        out: str | Path | None = None,
        options: ReconstructionEvaluateOptions = ReconstructionEvaluateOptions(),
    ):
        views = sorted(range(VIEWS) if options.views is None else options.views)
        if not views or len(set(views)) < len(views):
            raise DentalzooError(
                f"views must be different camera indices, 0 to 9. Received: {views}"
            )
        super().__init__(bundle, data, split, out)
        check_refines(bundle, options.refine)
        self.measure = _Measure(
            bundle.metadata["config"]["image_size"],
            views,
            parse_axes(options.axes),
            mean_shapes(bundle),
            options.num_points,
            options.seed,
            bound_of(bundle.metadata),
            bundle.metadata["config"].get("tones", ()),
            options.refine,
        )
        self.dataset = find_meshes(data, split)
        self.samples = self.dataset.samples
        self.use([sample.mesh for sample in self.samples])

    def report(
        self, results: Iterable[tuple[MeshSample, "_Result"]], failed: Sequence[tuple[str, str]]
    ) -> Report:
        """Return the report of `evaluate`; write it, its table and its figure to `out`."""
        measure = self.measure
        samples, rows, seconds = [], [], []
        doubts: list[str] = []
        for sample, result in results:
            samples.append(sample)
            rows.append({"name": sample.name} | result.row)
            seconds.append(result.seconds)
            doubts += [f"{sample.name}: {result.warning}"] if result.warning else []
        if doubts:
            count, first = f"{len(doubts)} of {len(rows)}", doubts[0]
            _log.warning("%s reconstructions are not to be trusted, as %s", count, first)
        left = [row["name"] for row in rows if row.get("refined") is False]
        if left:
            _log.warning("%d of %d jaws, as %s: %s", len(left), len(rows), left[0], NOT_REFINED)
        bound = bound_for(measure.bound, len(measure.views))
        if not rows:
            refuse_empty(self.data, len(self.dataset), failed, "jaws")
        baselines = measure.baselines
        self.scores = _scores(self.data, samples, rows)
        report = {
            **report_header(self.bundle, self.data, self.split),
            "jaws": len(rows),
            "gt_points": measure.num_points,
            "seed": measure.seed,
            "views": measure.views,
            "mean": _mean([row["scores"] for row in rows]),
            "baseline": _mean([row["baseline"] for row in rows]) if baselines else None,
            "baseline_is": _describe(baselines),
            **self.scores.report(measure.seed),
            "confidence": _confidence(rows, len(doubts), bound),
            "per_jaw": [_rounded(row) for row in rows],
            "seconds_per_jaw": round(float(np.median(seconds)), 6),
            "skipped": [list(skip) for skip in (*self.dataset.skipped, *failed)],
        }
        if self.out is not None:
            write_report(self.out, report, summary_metrics(report))
            write_atomically(self.out / "evaluation.csv", _table(report["per_jaw"]))
            figure = _draw_cases(self.bundle, samples, rows, measure)
            write_png(self.out / "evaluation.png", figure)
        return report


def summary_metrics(report: Report) -> dict[str, float]:
    """Return the few numbers that stand for a report; those that were not measured are left out.

    Distances are means in mm, from the prediction to the ground truth and back.
    """
    values = _few(report["mean"])
    if report["views"] == list(range(VIEWS)):  # what the bound is for
        values[METRIC] = report["confidence"]["p99"]
    if report["baseline"]:
        baseline = _few(report["baseline"])
        del baseline["spacing_variation"]
        values |= {f"baseline_{key}": value for key, value in baseline.items()}
    return {key: value for key, value in values.items() if value is not None}


def _few(measured: dict[str, Any]) -> dict[str, float | None]:
    at_paper, ending = _at_paper(measured), at_threshold(PAPER)
    return {
        f"precision_{ending}": at_paper["precision"],
        f"recall_{ending}": at_paper["recall"],
        f"f_score_{ending}": at_paper["f_score"],
        "pred_to_gt_mm": measured["pred_to_gt"]["mean"],
        "gt_to_pred_mm": measured["gt_to_pred"]["mean"],
        "spacing_variation": measured["spacing"]["variation"],
    }


def _scores(
    data: str | Path, samples: Sequence[MeshSample], rows: Sequence[dict[str, Any]]
) -> Scores:
    """Return what can be resampled: means over jaws of the bundle and of the baseline."""
    few = [_few(row["scores"]) for row in rows]
    columns = {key: np.array([row[key] for row in few], np.float64) for key in few[0]}
    if rows[0]["baseline"]:
        others = [_few(row["baseline"]) for row in rows]
        for key in columns.keys() - {"spacing_variation"}:
            columns[f"baseline_{key}"] = np.array([row[key] for row in others], np.float64)
    shown = ("pred_to_gt_mm", "gt_to_pred_mm", f"f_score_{at_threshold(PAPER)}")
    drawing = drawing_of(data, samples, [sample.mesh for sample in samples])
    return Scores(drawing, means(columns), shown, {}, "jaw")


def _at_paper(measured: dict[str, Any]) -> dict[str, float]:
    return next(row for row in measured["at"] if row["threshold"] == PAPER)


# ---- jaws ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Result:
    """What the report needs of a jaw.

    Attributes:
        row: its scores, see `_compare`.
        seconds: of the bundle alone.
        warning: of its `Confidence`.
    """

    row: dict[str, Any]
    seconds: float
    warning: str | None


@dataclass(frozen=True)
class _Measure:
    """The `Measure` of `evaluate`, with its settings.

    Attributes:
        image_size: of the bundle.
        views, axes, num_points, seed: of the options.
        baselines: the mean shapes of the bundle.
        bound: of residuals, of the bundle.
        tones: of the bundle, see `match_tones`.
        refine: of the options.
    """

    image_size: int
    views: list[int]
    axes: Axes | None
    baselines: list[Shape]
    num_points: int
    seed: int
    bound: float
    tones: Sequence[float]
    refine: bool

    def read(self, sample: MeshSample) -> tuple[np.ndarray, Shape]:
        try:
            mesh, pose = load_mesh(sample, self.axes)
        except BadFile as error:
            raise without_folders(error, sample.mesh) from error
        log_doubts(sample.name, mesh, pose)
        seen, ground_truth = as_seen(mesh, pose)
        return render_views(seen, self.image_size)[self.views], ground_truth

    def __call__(
        self, bundle: "Bundle", sample: MeshSample, loaded: tuple[np.ndarray, Shape]
    ) -> _Result:
        images, ground_truth = loaded
        start = time.perf_counter()
        shape = self.reconstruct(bundle, images)
        seconds = time.perf_counter() - start
        row = _compare(shape, self.baselines, ground_truth, self.num_points, self.seed)
        seen = match_tones(images, self.tones)
        trust = confidence(shape, seen, self.views, self.bound)
        row["residual"] = trust.residual
        if shape.refined is not None:
            row["refined"] = shape.refined
        return _Result(row, seconds, trust.warning)

    def reconstruct(self, bundle: "Bundle", images: np.ndarray) -> Shape:
        return reconstruct(bundle, images, self.views, self.refine)

    def name(self, sample: MeshSample) -> str:
        return sample.name


def _compare(
    shape: Shape, baselines: list[Shape], ground_truth: Shape, num_points: int, seed: int
) -> dict[str, Any]:
    """Return "scores" of a jaw, and "baseline" and "family", both None without baselines."""
    surface = ground_truth.surface
    gt_points, _ = sample_surface(*surface, num_points, seed)
    measured = scores(shape.points, gt_points, THRESHOLDS, shape.faces, surface, seed)
    others = [scores(mean.points, gt_points, THRESHOLDS) for mean in baselines]
    best = min(range(len(others)), key=lambda i: others[i]["chamfer"], default=None)
    return {
        "scores": measured,
        "baseline": None if best is None else others[best],
        "family": best,
    }


def _confidence(rows: list[dict[str, Any]], warned: int, bound: float) -> dict[str, Any]:
    """Return what the residuals between views and renders are, see `confidence`."""
    residuals = [row["residual"] for row in rows]
    return {
        "mean": round(float(np.mean(residuals)), 3),
        "p99": round(float(np.percentile(residuals, 99)), 3),
        "bound": bound,
        "warned": warned,
    }


def _describe(baselines: list[Shape]) -> str | None:
    if len(baselines) > 1:
        return f"for each jaw the nearest to it of {len(baselines)} mean shapes"
    return "the mean shape" if baselines else None


def _mean(values: list[Any]) -> Any:
    """Return the mean of numbers, or of each part of dicts and lists; None where none is known."""
    known = [value for value in values if value is not None]
    if not known:
        return None
    if isinstance(known[0], dict):
        keys = dict.fromkeys(key for value in known for key in value)
        return {key: _mean([value.get(key) for value in known]) for key in keys}
    if isinstance(known[0], list):
        return [_mean(list(parts)) for parts in zip(*known, strict=True)]
    return round(float(np.mean(known)), 6)


def _rounded(value: Any) -> Any:
    """Return the numbers in dicts and lists with six decimals."""
    if isinstance(value, dict):
        return {key: _rounded(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_rounded(part) for part in value]
    return round(value, 6) if isinstance(value, float) else value


def _table(rows: list[dict[str, Any]]) -> bytes:
    """Return "per_jaw" as CSV: `pred_to_gt_mean`, `precision_at_1_4mm`, `baseline_chamfer`, ..."""
    flat = [dict(_cells(row)) for row in rows]
    text = io.StringIO()
    columns = dict.fromkeys(key for row in flat for key in row)
    table = csv.DictWriter(text, columns, lineterminator="\n")
    table.writeheader()
    table.writerows(flat)
    return text.getvalue().encode(errors="backslashreplace")


def _cells(row: dict[str, Any], before: str = "") -> Iterator[tuple[str, object]]:
    for key, value in row.items():
        if key == "at":
            for part in value:
                for score in ("precision", "recall", "f_score"):
                    yield f"{before}{score}_{at_threshold(part['threshold'])}", part[score]
        elif isinstance(value, dict):
            yield from _cells(value, before if key == "scores" else f"{before}{key}_")
        elif value is not None or key != "baseline":
            yield before + key, value


def _draw_cases(
    bundle: "Bundle",
    samples: list[MeshSample],
    rows: list[dict[str, Any]],
    measure: _Measure,
) -> np.ndarray:
    """Draw the best, the median and the worst jaw by Chamfer distance."""
    chamfer = [row["scores"]["chamfer"] for row in rows]
    order = np.argsort(chamfer, kind="stable")
    cases: dict[int, str] = {}
    for case, rank in (("best", 0), ("median", len(order) // 2), ("worst", -1)):
        cases.setdefault(int(order[rank]), case)
    shown = []
    for index, case in cases.items():
        images, ground_truth = measure.read(samples[index])
        parts = [f"{case} of {len(rows)}:  {samples[index].name}"]
        parts.append(f"Chamfer distance {chamfer[index]:.2f} mm")
        parts.append(f"F at {PAPER:g} mm {_at_paper(rows[index]['scores'])['f_score']:.3f}")
        if rows[index]["baseline"]:
            parts.append(f"(mean shape {_at_paper(rows[index]['baseline'])['f_score']:.3f})")
        shape = measure.reconstruct(bundle, images)
        gt_points, _ = sample_surface(*ground_truth.surface, POINTS)
        distances = nearest(shape.points, gt_points)[0]
        shown.append(("   ".join(parts), shape, ground_truth, distances))
    return drawing.cases_figure(shown)
