"""How well a bundle reconstructs upper jaws whose meshes are known.

Every jaw is drawn as the ten cameras see it, reconstructed, and compared in millimetres in the
frame of the cameras. The baseline of the same table is a mean shape that never sees the views: of
several (one per family of jaws) that which lies nearest to the truth, which no constant can know,
so that it flatters the baseline, not the bundle.
"""

import csv
import datetime
import io
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from dentalzoo.atomic import write_atomically, write_json
from dentalzoo.data.io.images import write_png
from dentalzoo.data.jaw_pose import SCALE
from dentalzoo.data.meshes import MeshDataset, MeshSample, find_meshes, load_mesh
from dentalzoo.data.pipeline.prefetch import read_ahead
from dentalzoo.data.views import VIEWS, render_views
from dentalzoo.errors import BadFile, DentalzooError
from dentalzoo.ops.meshes import nearest, sample_surface
from dentalzoo.output_dirs import make_folder
from dentalzoo.tasks.reconstruction import drawing
from dentalzoo.tasks.reconstruction.inference import (
    POINTS,
    Shape,
    as_seen,
    mean_shapes,
    reconstruct,
)
from dentalzoo.tasks.reconstruction.scores import MILLIMETRES, scores

_log = logging.getLogger("dentalzoo")

PAPER = round(0.035 * SCALE, 6)  # mm; the paper's threshold, where its unit is that of the cameras
THRESHOLDS = (PAPER, PAPER / 2, *MILLIMETRES)  # mm


def evaluate(
    bundle,
    data: str | Path,
    split: str | None = None,
    out: str | Path | None = None,
    *,
    num_points: int = POINTS,
    seed: int = 0,
    places: Sequence[int] | None = None,
) -> dict:
    """Reconstructs jaws from views of their meshes and compares, jaw by jaw, in constant memory.

    Args:
        bundle: a `Bundle` of the task "reconstruction".
        data: a folder of upper jaws in a layout of docs/data_formats.md.
        split: "train", "val" or "test"; None for all jaws.
        out: a folder for `evaluation.json`, which is what is returned, `evaluation.csv`, a row for
            each jaw, and `evaluation.png`, the best, the median and the worst jaw.
        num_points: of the truth, drawn on its surface by area.
        seed: of these.
        places: which of the ten views the bundle is given, 0 to 9; None for all.

    Returns:
        Plain values, lengths in mm. "mean" are the means over jaws of `scores.scores` at
        `THRESHOLDS`, with the spacing and, where the bundle makes meshes, the normals compared
        with the true surface; "baseline" those of the mean shape, None where the bundle keeps
        none; "baseline_is" says which of several. "per_jaw" has both of each jaw and "family", the
        number of the mean shape that was nearest. "seconds_per_jaw" is the median, for the bundle
        alone. "skipped" lists [file, reason] of what took no part.

    Raises:
        DentalzooError: no jaw can be used, or an argument is out of place.
    """
    if num_points < 2 or int(num_points) != num_points:
        raise DentalzooError(f"num_points is a whole number from 2. Received: {num_points!r}")
    places = sorted(range(VIEWS) if places is None else places)
    if not places or len(set(places)) < len(places) or not set(places) <= set(range(VIEWS)):
        raise DentalzooError(f"places are different ones of 0 to 9. Received: {places}")
    num_points, found = int(num_points), find_meshes(data, split)
    if out is not None:
        out = Path(out)
        make_folder(out, [sample.mesh for sample in found.samples])
    baselines = mean_shapes(bundle)
    samples, rows, seconds = [], [], []
    skipped = [list(skip) for skip in found.skipped]
    for sample, shape, truth, spent in _reconstructions(bundle, found, places, skipped):
        row = _compare(shape, baselines, truth, num_points, seed)
        samples.append(sample)
        rows.append({"name": sample.name} | row)
        seconds.append(spent)
    if not rows:
        first = ": ".join(skipped[len(found.skipped)])
        raise DentalzooError(f"{data}: none of {len(found)} jaws can be used. Received: {first}")
    report = {
        "bundle": bundle.name,
        "data": Path(data).resolve().name,
        "split": split,
        "date": datetime.date.today().isoformat(),
        "jaws": len(rows),
        "true_points": num_points,
        "seed": seed,
        "places": places,
        "mean": _mean([row["scores"] for row in rows]),
        "baseline": _mean([row["baseline"] for row in rows]) if baselines else None,
        "baseline_is": _told(baselines),
        "per_jaw": [_rounded(row) for row in rows],
        "seconds_per_jaw": round(float(np.median(seconds)), 6),
        "skipped": skipped,
    }
    if out is not None:
        write_json(out / "evaluation.json", report)
        write_atomically(out / "evaluation.csv", _table(report["per_jaw"]))
        write_png(out / "evaluation.png", _draw_cases(bundle, samples, rows, places))
    return report


def summary_metrics(report: dict) -> dict[str, float]:
    """The few numbers that stand for a report; those that could not be measured are left out.

    Errors are means in mm, from the found points to the true ones and back.
    """
    values = _few(report["mean"])
    values["spacing_variation"] = report["mean"]["spacing"]["variation"]
    if report["baseline"]:
        values |= {f"baseline_{key}": value for key, value in _few(report["baseline"]).items()}
    return {key: value for key, value in values.items() if value is not None}


def _few(measured: dict) -> dict[str, float]:
    paper = next(row for row in measured["at"] if row["threshold"] == PAPER)
    return {
        "precision_0035": paper["precision"],
        "recall_0035": paper["recall"],
        "f_0035": paper["f_score"],
        "found_to_true_mm": measured["found_to_true"]["mean"],
        "true_to_found_mm": measured["true_to_found"]["mean"],
    }


# ---- jaws ----------------------------------------------------------------------------------------


def _reconstructions(
    bundle, found: MeshDataset, places: list[int], skipped: list
) -> Iterator[tuple[MeshSample, Shape, Shape, float]]:
    """Yields sample, reconstruction, truth and seconds; appends to `skipped` what has none."""
    reading = read_ahead(_loader(bundle, places), found.samples)
    with logging_redirect_tqdm():
        for sample, loaded in tqdm(reading, "evaluating", len(found), disable=None, unit="jaw"):
            try:
                if isinstance(loaded, DentalzooError):
                    raise loaded
                views, truth = loaded
                start = time.perf_counter()
                shape = reconstruct(bundle, views, places)
                spent = time.perf_counter() - start
            except DentalzooError as error:
                reason = error.reason if isinstance(error, BadFile) else str(error)
                if isinstance(error, BadFile) and error.path != sample.mesh:  # its labels
                    reason = f"{error.path.name}: {reason}"
                _log.warning("skipped %s: %s", sample.name, reason)
                skipped.append([sample.name, reason])
                continue
            yield sample, shape, truth, spent


def _loader(bundle, places: list[int]) -> Callable[[MeshSample], tuple[np.ndarray, Shape]]:
    """A function from a sample to the views that the bundle is given, and the truth."""
    size = bundle.metadata["config"]["image_size"]

    def load(sample: MeshSample) -> tuple[np.ndarray, Shape]:
        seen, truth = as_seen(*load_mesh(sample))
        return render_views(seen, size)[places], truth

    return load


def _compare(
    shape: Shape, baselines: list[Shape], truth: Shape, num_points: int, seed: int
) -> dict:
    """ "scores" of a jaw, and "baseline" and "family", both None without any."""
    true, _ = sample_surface(truth.points, truth.faces, num_points, seed)
    surface = truth.points, truth.faces
    measured = scores(shape.points, true, THRESHOLDS, shape.faces, surface, seed)
    others = [scores(mean.points, true, THRESHOLDS) for mean in baselines]
    best = min(range(len(others)), key=lambda i: others[i]["chamfer"], default=None)
    return {
        "scores": measured,
        "baseline": None if best is None else others[best],
        "family": best,
    }


def _told(baselines: list[Shape]) -> str | None:
    if len(baselines) > 1:
        return f"of each jaw the nearest to it of {len(baselines)} mean shapes"
    return "the mean shape" if baselines else None


def _mean(values: list):
    """The mean of numbers, or of each part of dicts and lists of them; None where none is known."""
    known = [value for value in values if value is not None]
    if not known:
        return None
    if isinstance(known[0], dict):
        keys = dict.fromkeys(key for value in known for key in value)
        return {key: _mean([value.get(key) for value in known]) for key in keys}
    if isinstance(known[0], list):
        return [_mean(list(parts)) for parts in zip(*known, strict=True)]
    return round(float(np.mean(known)), 6)


def _rounded(value):
    """Numbers in dicts and lists with six decimals."""
    if isinstance(value, dict):
        return {key: _rounded(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_rounded(part) for part in value]
    return round(value, 6) if isinstance(value, float) else value


def _table(rows: list[dict]) -> bytes:
    """Rows of "per_jaw" as CSV: `found_to_true_mean`, `precision_1.4`, `baseline_chamfer`, ..."""
    flat = [dict(_cells(row)) for row in rows]
    text = io.StringIO()
    columns = dict.fromkeys(key for row in flat for key in row)
    table = csv.DictWriter(text, columns, lineterminator="\n")
    table.writeheader()
    table.writerows(flat)
    return text.getvalue().encode(errors="backslashreplace")


def _cells(row: dict, before: str = "") -> Iterator[tuple[str, object]]:
    for key, value in row.items():
        if key == "at":
            for part in value:
                for word in ("precision", "recall", "f_score"):
                    yield f"{before}{word}_{part['threshold']:g}", part[word]
        elif isinstance(value, dict):
            yield from _cells(value, before if key == "scores" else f"{before}{key}_")
        elif value is not None or key != "baseline":
            yield before + key, value


def _draw_cases(
    bundle, samples: list[MeshSample], rows: list[dict], places: list[int]
) -> np.ndarray:
    chamfer = [row["scores"]["chamfer"] for row in rows]
    order = np.argsort(chamfer, kind="stable")
    cases = {}
    for case, place in (("best", 0), ("median", len(order) // 2), ("worst", -1)):
        cases.setdefault(order[place], case)
    load, shown = _loader(bundle, places), []
    for index, case in cases.items():
        views, truth = load(samples[index])
        parts = [f"{case} of {len(rows)}:  {samples[index].name}"]
        parts.append(f"Chamfer distance {chamfer[index]:.2f} mm")
        parts.append(f"F at {PAPER:g} mm {_few(rows[index]['scores'])['f_0035']:.3f}")
        if rows[index]["baseline"]:
            parts.append(f"(the mean shape's {_few(rows[index]['baseline'])['f_0035']:.3f})")
        shape = reconstruct(bundle, views, places)
        distances = nearest(shape.points, sample_surface(truth.points, truth.faces, POINTS)[0])[0]
        shown.append(("   ".join(parts), shape, truth, distances))
    return drawing.cases_sheet(shown)
