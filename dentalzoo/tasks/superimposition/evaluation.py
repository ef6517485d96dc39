"""How well a bundle overlays the images of a data set, beside plainer ways to do it."""

import datetime
import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from dentalzoo.atomic import write_json
from dentalzoo.data.io.images import write_png
from dentalzoo.errors import DentalzooError
from dentalzoo.output_dirs import make_folder
from dentalzoo.tasks.generation.scores import ACTIVE, kl_divergence
from dentalzoo.tasks.superimposition import drawing
from dentalzoo.tasks.superimposition.latents import (
    collapse,
    main_plane,
    scan,
    scan_plane,
    separation,
)
from dentalzoo.tasks.superimposition.methods import METHODS, overlays
from dentalzoo.tasks.superimposition.scores import (
    BACKGROUND,
    FAINT,
    VISIBLE,
    OverlayScore,
    Scorer,
    draw_sets,
)
from dentalzoo.tasks.superimposition.sources import Sources, find_sources, grey, stacked

_log = logging.getLogger("dentalzoo")
_SIZES = {2: "pairs", 3: "triples"}


@dataclass(frozen=True)
class _Judged:
    """A set of sources and the score of its overlay by each method."""

    chosen: tuple[int, ...]
    scores: dict[str, OverlayScore]
    covered: bool  # a source lies under the others


def evaluate(
    bundle,
    data: str | Path,
    split: str | None = None,
    out: str | Path | None = None,
    *,
    count: int = 200,
    seed: int = 0,
    crops: str | None = None,
    margin: float | None = None,
    window: int | None = None,
    step: float | None = None,
) -> dict:
    """Overlays random pairs and triples and judges them by the masks of their sources.

    Without masks only the reconstruction and the latent space are measured.

    Args:
        bundle: a `Bundle` of the task "overlay".
        data: a folder in a layout of docs/data_formats.md.
        split: "train", "val" or "test"; None for all images.
        out: a folder for `evaluation.json`, which is what is returned, and the images
            `overlays.png`, `latent.png` (means of the images) and `scan.png` (decoded points).
        count: how many overlays are judged; fewer where fewer sets of images exist.
        seed: of the sets.
        crops, margin, window: see `dentalzoo.data.images.find_images`; None for the bundle's
            own.
        step: of the scan; None for the bundle's own, in the paper 0.1.

    Returns:
        Plain values. "overlay" is None without masks; else its "methods" hold for the bundle's own
        overlay and the others of `METHODS`, over all sets, pairs and triples,
        "success" (the part of the sets in which every source is visible and the background kept),
        "visible" (the part of the sources), and the medians of the recovered contrast and of the
        background error. "faint" images cannot be judged and are not drawn, nor "unjudged_sets",
        where the others' masks leave too little around a source; in "covered_sets" a source lies
        three quarters under the others and is seen where they are. "collapse" says what is wrong
        with the latent space, or is None.
        "skipped" lists (file, reason) of what took no part.

    Raises:
        DentalzooError: no image can be used, or an argument is out of place.
    """
    if step is not None and not step > 0:
        raise DentalzooError(f"step is a positive number. Received: {step!r}")
    found = find_sources(bundle, data, split, crops=crops, margin=margin, window=window)
    if out is not None:
        out = Path(out)
        make_folder(out, [p for s in found.samples for p in (s.image, s.mask) if p is not None])
    sources, config = Sources(bundle, found), bundle.metadata["config"]
    kl = kl_divergence(sources.z_mean, sources.z_log_var).mean(0)
    mae, mse = sources.errors.mean(0)
    wrong = collapse(sources.z_mean, sources.z_log_var, config)
    if wrong:
        _log.warning("%s", wrong)
    judged, hidden = _judge(bundle, sources, count, seed)
    report = {
        "bundle": bundle.name,
        "data": Path(data).resolve().name,
        "split": split,
        "date": datetime.date.today().isoformat(),
        "images": len(sources),
        "reconstruction": {"mae": _rounded(mae), "mse": _rounded(mse)},
        "latent": {
            "units": len(kl),
            "active_units": int((kl > ACTIVE).sum()),
            "kl": _rounded(kl.sum()),
            "kl_per_unit": [_rounded(value) for value in kl],
            "separation": _rounded(separation(sources.z_mean, sources.z_log_var)),
        },
        "collapse": wrong,
        "overlay": _overlay_report(sources, judged, hidden) if judged else None,
        "skipped": sources.skipped,
    }
    if out is not None:
        chosen = [one.chosen for one in judged]
        if not chosen and len(sources) > 1:
            chosen = draw_sets(len(sources), 6, seed=seed)
        drawing.write_scatter(
            out / "latent.png",
            main_plane(sources.z_mean),
            sources.z_mean,
            sources.z_log_var,
            sources.labels,
        )
        if chosen:
            _draw_overlays(out / "overlays.png", bundle, sources, judged or chosen)
            _draw_scan(out / "scan.png", bundle, sources, chosen, bool(judged), step)
        write_json(out / "evaluation.json", report)
    return report


def summary_metrics(report: dict) -> dict[str, float]:
    """The few numbers that stand for a report."""
    numbers = {"mae": report["reconstruction"]["mae"], "kl": report["latent"]["kl"]}
    if report["overlay"] is None:
        return numbers
    methods = report["overlay"]["methods"]
    own = methods["bundle"]
    return {
        "success": own["all"]["success"],
        **{f"success_{key}": own[key]["success"] for key in _SIZES.values() if key in own},
        "success_of_the_plain_sum": methods["sum"]["all"]["success"],
        "recovered_median": own["all"]["recovered_median"],
        "background_error_median": own["all"]["background_error_median"],
        **numbers,
    }


def _judge(bundle, sources: Sources, count: int, seed: int) -> tuple[list[_Judged], int]:
    """Judges overlays of `count` sets; returns them and how many sets could not be judged."""
    pool = sources.judgeable()
    if len(pool) < min(_SIZES):
        return [], 0
    labels = [sources.samples[i].label for i in pool]
    judged, hidden = [], 0
    bar = tqdm(total=count, desc="overlaying", disable=None, unit="overlay")
    for drawn in draw_sets(labels, 2 * count, tuple(_SIZES), seed):  # some cannot be judged
        if len(judged) == count:
            break
        chosen = tuple(pool[i] for i in drawn)
        loaded = [sources.load(i) for i in chosen]
        scorer = Scorer(*stacked(loaded))
        if not scorer.judgeable.all():
            hidden += 1
            continue
        images, z_mean = np.stack([s.image for s in loaded]), sources.z_mean[list(chosen)]
        made = overlays(bundle, images, z_mean)
        scores = {name: scorer.score(grey(image)) for name, image in made.items()}
        judged.append(_Judged(chosen, scores, bool(scorer.covered.any())))
        bar.update()
    bar.close()
    return judged, hidden


def _overlay_report(sources: Sources, judged: list[_Judged], hidden: int) -> dict:
    groups = {"all": judged}
    for size, name in _SIZES.items():
        groups[name] = [one for one in judged if len(one.chosen) == size]
    without = int(np.isnan(sources.contrasts).sum())
    return {
        "bounds": {"visible": VISIBLE, "background": BACKGROUND, "faint": FAINT},
        "sets": len(judged),
        "without_mask": without,
        "faint": len(sources) - without - len(sources.judgeable()),
        "unjudged_sets": hidden,
        "covered_sets": sum(one.covered for one in judged),
        "methods": {
            method: {
                name: _summary([one.scores[method] for one in group])
                for name, group in groups.items()
                if group
            }
            for method in METHODS
        },
        "per_set": [
            {"sources": [sources.samples[i].name for i in one.chosen]}
            | {
                method: {
                    "success": score.success,
                    "recovered": [_rounded(part) for part in score.recovered],
                    "background_error": _rounded(score.background_error),
                }
                for method, score in one.scores.items()
            }
            for one in judged
        ],
    }


def _summary(scores: list[OverlayScore]) -> dict:
    return {
        "sets": len(scores),
        "success": _rounded(np.mean([score.success for score in scores])),
        "visible": _rounded(np.mean([seen for score in scores for seen in score.visible])),
        "recovered_median": _rounded(np.median([r for s in scores for r in s.recovered])),
        "background_error_median": _rounded(np.median([s.background_error for s in scores])),
    }


def _rounded(value) -> float | None:
    return None if value is None else round(float(value), 6)


def _draw_overlays(path: Path, bundle, sources: Sources, sets: list) -> None:
    """The best, the median and the worst pair and triple; without masks, the first few sets."""
    cases = []
    if isinstance(sets[0], _Judged):
        for size, word in _SIZES.items():
            group = [one for one in sets if len(one.chosen) == size]
            order = sorted(group, key=lambda one: _goodness(one.scores["bundle"]), reverse=True)
            places = {"best": 0, "median": len(order) // 2, "worst": len(order) - 1}
            shown = {place: name for name, place in reversed(places.items())}
            for place in sorted(shown) if order else ():
                about = f"{shown[place]} of {len(order)} {word}"
                cases.append((about, order[place].chosen, order[place].scores))
    else:
        cases = [("", chosen, None) for chosen in sets]
    rows = []
    for about, chosen, scores in cases:
        loaded = [sources.load(i) for i in chosen]
        made = overlays(bundle, np.stack([s.image for s in loaded]), sources.z_mean[list(chosen)])
        names = "  +  ".join(sources.samples[i].name for i in chosen)
        rows.append(
            drawing.Case(
                f"{about}:   {names}" if about else names,
                [source.image for source in loaded],
                [source.mask for source in loaded],
                {name: (image, scores and scores[name]) for name, image in made.items()},
            )
        )
    write_png(path, drawing.overlay_sheet(rows))


def _goodness(score: OverlayScore) -> tuple:
    return score.success, min(score.recovered) - max(0.0, score.background_error - BACKGROUND)


def _draw_scan(path: Path, bundle, sources: Sources, sets: list, judged: bool, step) -> None:
    """Decodes a plane and, where there are masks, judges its points as overlays of the first set
    that the plane can show: a triple of two latent units, a pair of more."""
    units = sources.z_mean.shape[1] == 2
    chosen = list(next((one for one in sets if len(one) == 2 + units), sets[0])[: 2 + units])
    plane = scan_plane(sources.z_mean[chosen], bundle.metadata["config"], step)
    loaded = [sources.load(i) for i in chosen]
    scorer = Scorer(*stacked(loaded)) if judged else None
    sheet = drawing.ScanSheet(plane, (*sources.size, sources.channels))
    xs, ys = plane.grid()
    visible = np.zeros((len(ys), len(xs), len(chosen)), bool)
    kept = np.zeros((len(ys), len(xs)), bool)
    with tqdm(total=kept.size, desc="scanning", disable=None, unit="point") as bar:
        for places, images in scan(bundle, plane=plane):
            sheet.add(places, images)
            if scorer:
                at = tuple(places.T)
                visible[at] = scorer.recovered(grey(images)) >= VISIBLE
                kept[at] = scorer.background_errors(grey(images)) <= BACKGROUND
            bar.update(len(images))
    found = None
    if scorer:
        imgs, masks = [s.image for s in loaded], [s.mask for s in loaded]
        found = drawing.Visibility(imgs, masks, sources.z_mean[chosen], visible, kept)
    drawing.write_scan(path, sheet, sources.z_mean if units else sources.z_mean[chosen], found)
