"""Evaluation of superimposed images of a data set, beside those of plainer methods."""

import logging
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from dentalzoo.contracts import Report
from dentalzoo.data.images import ImageSample
from dentalzoo.data.io.images import write_png
from dentalzoo.errors import DentalzooError
from dentalzoo.tasks import base
from dentalzoo.tasks.autoencoders import MIN_ACTIVE, files_of, image_shape, kl_divergence
from dentalzoo.tasks.base import report_header
from dentalzoo.tasks.options import SuperimpositionCompareOptions, SuperimpositionEvaluateOptions
from dentalzoo.tasks.scoring import write_report
from dentalzoo.tasks.superimposition import drawing
from dentalzoo.tasks.superimposition.judging import Judged, Judging
from dentalzoo.tasks.superimposition.latents import (
    collapse,
    main_plane,
    scan,
    scan_plane,
    separation,
)
from dentalzoo.tasks.superimposition.methods import METHODS, superimposed
from dentalzoo.tasks.superimposition.resampling import SIZES, scores_of
from dentalzoo.tasks.superimposition.scores import (
    BACKGROUND,
    FAINT,
    HALO,
    VISIBLE,
    Scorer,
    SuperimpositionScore,
    random_sets,
)
from dentalzoo.tasks.superimposition.sources import (
    Encoded,
    Encoding,
    Sources,
    find_sources,
    grey,
    masks_of,
    stacked,
)

if TYPE_CHECKING:
    from dentalzoo.bundle import Bundle

_log = logging.getLogger("dentalzoo")


def evaluate(
    bundle: "Bundle",
    data: str | Path,
    *,
    split: str | None = None,
    out: str | Path | None = None,
    options: SuperimpositionEvaluateOptions = SuperimpositionEvaluateOptions(),
) -> Report:
    """Superimpose random pairs and triples of images and score them by the masks of their sources.

    Without masks only the reconstruction and the latent space are measured.

    Args:
        bundle: a bundle of the task "superimposition".
        data: a folder in a layout of docs/data_formats.md.
        split: "train", "val" or "test"; None for all images.
        out: a folder for `evaluation.json`, which is what is returned, `evaluation.txt`, its
            tables, and the figures `superimposed.png`, `latent.png` (means of the images) and
            `scan.png` (decoded points).
        options: `count` superimposed images are judged, fewer where fewer sets of images exist;
            see `dentalzoo.data.images.find_images` for `crops`, `margin` and `window`.

    Returns:
        Plain values. "superimposition" is None without masks; otherwise its "methods" hold, for
        each of `METHODS` and for all sets, pairs and triples, "success" (the share of the sets in
        which every source is visible, and surroundings and background kept), "visible" (the share
        of the sources), and the medians of the recovered contrast and of the background error.
        "covered" are sets apart, in none of the former, in which a source lies three quarters under
        the others, so that it cannot be told from them; "per_set" and "per_covered_set" list both,
        set by set. "faint" images cannot be judged and are
        not used, nor are "unjudged_sets", where the others' masks leave too little around a
        source. "intervals" and
        "group_intervals" are 95 % bootstrap intervals over images, see
        `dentalzoo.tasks.scoring.tables`. "collapse" is a warning about the latent space, or None.
        "skipped" lists [file, reason] of each image that could not be used.

    Raises:
        DentalzooError: no image can be used, or `out` holds inputs or cannot be written.
    """
    return Evaluation(bundle, data, split=split, out=out, options=options).run()


class Evaluation(base.Evaluation):
    """The evaluation that `evaluate` runs; finding the images checks all but the images themselves.

    Its samples are the images, which are encoded. The sets of them that can be superimposed are
    known then: they are further samples. Args and errors are those of `evaluate`.
    """

    measure: Encoding

    def __init__(
        self,
        bundle: "Bundle",
        data: str | Path,
        *,
        split: str | None = None,
        out: str | Path | None = None,
        options: SuperimpositionCompareOptions = SuperimpositionEvaluateOptions(),
    ):
        super().__init__(bundle, data, split, out)
        self.options = options
        self.step: float | None = None  # of the scan, which `compare` does not draw
        if isinstance(options, SuperimpositionEvaluateOptions):
            self.step = options.step
        self.dataset = find_sources(bundle, data, split, options)
        self.samples, self.measure = self.dataset.samples, Encoding(image_shape(bundle))
        self.use(files_of(self.dataset))

    def comparable(self) -> dict[str, Any]:
        """Return the shape of the images, at which all is measured."""
        return {"image shape": list(image_shape(self.bundle))}

    def report(
        self,
        results: Iterable[tuple[ImageSample, Encoded]],
        failed: Sequence[tuple[str, str]],
    ) -> Report:
        """Return the report of `evaluate`; write it and its figures to `out`."""
        bundle, out, options = self.bundle, self.out, self.options
        sources = Sources(bundle, self.data, self.dataset, results, failed)
        config = bundle.metadata["config"]
        kl = kl_divergence(sources.z_mean, sources.z_log_var).mean(0)
        mae, mse = sources.errors.mean(0)
        warning = collapse(sources.z_mean, sources.z_log_var, config)
        if warning:
            _log.warning("%s", warning)
        judged, unjudged = self._judge(sources)
        clear = _clear(judged)
        if judged and not clear:
            _log.warning("in every set of images a defect lies under another: none is scored")
        sources.tell_shrunk(sum(one.scores["bundle"].success for one in clear), len(clear))
        self.scores = scores_of(self.data, sources, clear)
        report = {
            **report_header(bundle, self.data, self.split),
            "images": len(sources),
            "reconstruction": {"mae": _rounded(mae), "mse": _rounded(mse)},
            "latent": {
                "units": len(kl),
                "active_units": int((kl > MIN_ACTIVE).sum()),
                "kl": _rounded(kl.sum()),
                "kl_per_unit": [_rounded(value) for value in kl],
                "separation": _rounded(separation(sources.z_mean, sources.z_log_var)),
            },
            "collapse": warning,
            "superimposition": _superimposition(sources, judged, unjudged) if clear else None,
            **self.scores.report(options.seed),
            "skipped": sources.skipped,
        }
        if out is not None:
            chosen = [one.chosen for one in clear]
            if not chosen and len(sources) > 1:
                chosen = random_sets(len(sources), 6, seed=options.seed)
            drawing.write_scatter(
                out / "latent.png",
                main_plane(sources.z_mean),
                sources.z_mean,
                sources.z_log_var,
                sources.labels,
            )
            if chosen:
                cases = _cases(clear) if clear else [("", one, None) for one in chosen]
                write_png(out / "superimposed.png", _draw_cases(bundle, sources, cases))
                _draw_scan(out / "scan.png", bundle, sources, chosen, bool(clear), self.step)
            write_report(out, report, summary_metrics(report))
        return report

    def _judge(self, sources: Sources) -> tuple[list[Judged], int]:
        """Score superimposed images of `count` sets; also return how many cannot be judged."""
        count, seed = self.options.count, self.options.seed
        pool = sources.judgeable()
        if len(pool) < min(SIZES):
            return [], 0
        labels = [sources.samples[i].label for i in pool]
        chosen = random_sets(labels, 3 * count, tuple(SIZES), seed)  # some cannot be judged
        sets = iter([tuple(pool[i] for i in one) for one in chosen])
        measure, judged, unjudged = Judging(sources.loader), list[Judged](), 0
        while more := [sources.of(one) for one in islice(sets, count - len(_clear(judged)))]:
            failed: list[tuple[str, str]] = []
            for _, one in self.each(
                self.bundle, more, measure, failed, title="superimposing", unit="set"
            ):
                unjudged += one is None
                judged += [] if one is None else [one]
            if failed:
                raise DentalzooError(
                    "the images must stay as they are while they are evaluated. "
                    f"Received: {': '.join(failed[0])}"
                )
        return judged, unjudged


def summary_metrics(report: Report) -> dict[str, float]:
    """Return the few numbers that stand for a report."""
    numbers = {"mae": report["reconstruction"]["mae"], "kl": report["latent"]["kl"]}
    if report["superimposition"] is None:
        return numbers
    methods = report["superimposition"]["methods"]
    own = methods["bundle"]
    return {
        "success": own["all"]["success"],
        **{f"success_{key}": own[key]["success"] for key in SIZES.values() if key in own},
        "success_of_the_plain_sum": methods["sum"]["all"]["success"],
        "recovered_median": own["all"]["recovered_median"],
        "background_error_median": own["all"]["background_error_median"],
        **numbers,
    }


def _superimposition(sources: Sources, judged: list[Judged], unjudged: int) -> dict[str, Any]:
    clear = _clear(judged)
    groups = {"all": clear}
    for size, name in SIZES.items():
        groups[name] = [one for one in clear if len(one.chosen) == size]
    groups["covered"] = [one for one in judged if one.covered]
    without = int(np.isnan(sources.contrasts).sum())
    return {
        "bounds": {"visible": VISIBLE, "halo": HALO, "background": BACKGROUND, "faint": FAINT},
        "sets": len(clear),
        "without_mask": without,
        "faint": len(sources) - without - len(sources.judgeable()),
        "unjudged_sets": unjudged,
        "covered_sets": len(groups["covered"]),
        "methods": {
            method: {
                name: _summary([one.scores[method] for one in group])
                for name, group in groups.items()
                if group
            }
            for method in METHODS
        },
        "per_set": _rows(sources, clear),
        "per_covered_set": _rows(sources, groups["covered"]),
    }


def _rows(sources: Sources, judged: Sequence[Judged]) -> list[dict[str, Any]]:
    """Return names of the sources and the score by each method of each set."""
    return [
        {"sources": [sources.samples[i].name for i in one.chosen]}
        | {
            method: {
                "success": score.success,
                "recovered": [_rounded(part) for part in score.recovered],
                "halo": [_rounded(part) for part in score.halo],
                "background_error": _rounded(score.background_error),
            }
            for method, score in one.scores.items()
        }
        for one in judged
    ]


def _clear(judged: Sequence[Judged]) -> list[Judged]:
    return [one for one in judged if not one.covered]


def _summary(scores: list[SuperimpositionScore]) -> dict[str, float | int | None]:
    return {
        "sets": len(scores),
        "success": _rounded(np.mean([score.success for score in scores])),
        "visible": _rounded(np.mean([visible for score in scores for visible in score.visible])),
        "recovered_median": _rounded(np.median([r for s in scores for r in s.recovered])),
        "background_error_median": _rounded(np.median([s.background_error for s in scores])),
    }


def _rounded(value: Any) -> float | None:
    return None if value is None else round(float(value), 6)


# ---- figures -------------------------------------------------------------------------------------

_Case = tuple[str, tuple[int, ...], dict[str, SuperimpositionScore] | None]


def _cases(judged: list[Judged]) -> list[_Case]:
    """Return the best, the median and the worst pair and triple: caption, sources, scores."""
    cases: list[_Case] = []
    for size, name in SIZES.items():
        group = [one for one in judged if len(one.chosen) == size]
        order = sorted(group, key=lambda one: _quality(one.scores["bundle"]), reverse=True)
        ranks = {"best": 0, "median": len(order) // 2, "worst": len(order) - 1}
        shown = {rank: case for case, rank in reversed(ranks.items())}
        for rank in sorted(shown) if order else ():
            caption = f"{shown[rank]} of {len(order)} {name}"
            cases.append((caption, order[rank].chosen, order[rank].scores))
    return cases


def _quality(score: SuperimpositionScore) -> tuple[bool, float]:
    excess = max(0.0, score.background_error - BACKGROUND, score.largest_halo - HALO)
    return score.success, min(score.recovered) - excess


def _draw_cases(bundle: "Bundle", sources: Sources, cases: Sequence[_Case]) -> np.ndarray:
    rows = []
    for caption, chosen, scores in cases:
        loaded = [sources.load(i) for i in chosen]
        images, z_mean = np.stack([s.image for s in loaded]), sources.z_mean[list(chosen)]
        results = superimposed(bundle, images, z_mean)
        names = "  +  ".join(sources.samples[i].name for i in chosen)
        rows.append(
            drawing.Case(
                f"{caption}:   {names}" if caption else names,
                [source.image for source in loaded],
                [source.mask for source in loaded],
                {key: (image, scores[key] if scores else None) for key, image in results.items()},
            )
        )
    return drawing.cases_figure(rows)


def _draw_scan(
    path: Path,
    bundle: "Bundle",
    sources: Sources,
    sets: Sequence[tuple[int, ...]],
    judged: bool,
    step: float | None,
) -> None:
    """Decode a plane and, where there are masks, judge its points as superimposed images.

    Their sources are the first set that the plane can show: a triple for two latent units, a pair
    for more.
    """
    units = sources.z_mean.shape[1] == 2
    chosen = list(next((one for one in sets if len(one) == 2 + units), sets[0])[: 2 + units])
    plane = scan_plane(sources.z_mean[chosen], bundle.metadata["config"], step)
    loaded = [sources.load(i) for i in chosen]
    scorer = Scorer(*stacked(loaded)) if judged else None
    tiles = drawing.ScanTiles(plane, sources.shape)
    xs, ys = plane.grid()
    visible = np.zeros((len(ys), len(xs), len(chosen)), bool)
    kept = np.zeros((len(ys), len(xs)), bool)
    with tqdm(total=kept.size, desc="scanning", disable=None, unit="point") as bar:
        for positions, images in scan(bundle, plane=plane):
            tiles.add(positions, images)
            if scorer:
                at = tuple(positions.T)
                visible[at] = scorer.recovered(grey(images)) >= VISIBLE
                kept[at] = scorer.kept(grey(images))
            bar.update(len(images))
    visibility = None
    if scorer:
        shown, masks = [s.image for s in loaded], masks_of(loaded)
        visibility = drawing.Visibility(shown, masks, sources.z_mean[chosen], visible, kept)
    drawing.write_scan(path, tiles, sources.z_mean if units else sources.z_mean[chosen], visibility)
