"""Overlays of given images, and data sets enlarged by overlays of their images."""

import csv
import io
import logging
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from tqdm import tqdm

from dentalzoo.atomic import write_atomically, write_json
from dentalzoo.data.formats import tree as layouts
from dentalzoo.data.formats.dataset_writer import DatasetWriter
from dentalzoo.data.images import ImageSample
from dentalzoo.data.io.images import list_images, write_png
from dentalzoo.errors import BadFile, DentalzooError
from dentalzoo.output_dirs import make_folder, whole_folder
from dentalzoo.plots.pixels import as_pixels
from dentalzoo.tasks.superimposition import drawing
from dentalzoo.tasks.superimposition.methods import check_sampling, check_weights, sampled
from dentalzoo.tasks.superimposition.scores import OverlayScore, Scorer, draw_sets
from dentalzoo.tasks.superimposition.sources import (
    Source,
    Sources,
    find_sources,
    grey,
    load_source,
    network_size,
    stacked,
)

_log = logging.getLogger("dentalzoo")
_TRIES = 10  # overlays tried for each one wanted, before a bundle that rarely succeeds is given up
_IMAGES = re.compile(r"(.*[ _-])?(images?|imgs?)", re.IGNORECASE)
_UNNAMED = "defect"  # the class of images without a label


@dataclass
class OverlayReport:
    """What was made.

    Attributes:
        written: overlays.
        failed: (file, reason) of images that could not be used.
        rejected: overlays that were made and not kept, because a defect is not visible in them or
            the background is lost.
    """

    written: int = 0
    failed: list[tuple[str, str]] = field(default_factory=list)
    rejected: int = 0


def overlay(
    bundle,
    inputs: str | Path | Iterable[str | Path],
    out: str | Path,
    weights: Sequence[float] | None = None,
) -> OverlayReport:
    """Makes one image with the defects of several.

    Writes `out`/overlay.png, the overlay at the network's size; overlay_sheet.png, the sources
    beside it; and overlay.json, what it was made of. Where every source has a mask (in a folder
    masks/ beside its folder images/, or x_mask.png beside x.png), overlay_mask.png is their union,
    0 or 255, and overlay.json has the box of each, yxyx in [0, 1], and whether it is visible.

    Args:
        bundle: a `Bundle` of the task "overlay".
        inputs: two or more images of any size, or folders of images.
        out: a folder that is absent, empty, or of an earlier call, which is replaced; no input may
            lie in it.
        weights: a positive number for each image, the wanted part of its contrast; ones where
            there are none.

    Raises:
        DentalzooError: there are fewer than two images, one cannot be read, `out` holds inputs
            or anything else or cannot be written, or the weights are out of place.
    """
    images, out = list_images(inputs), Path(out)
    if len(images) < 2:
        raise DentalzooError(
            f"at least two images are overlaid. Received: {[str(path) for path in images]}"
        )
    factors = check_weights(weights, len(images))
    masks = _masks_beside(images)
    sources = _load(bundle, images, masks)
    make_folder(out, [*images, *masks.values()])
    made = bundle.overlay(np.stack([source.image for source in sources]), factors)["image"]
    levels = as_pixels(made)
    about = {
        "bundle": bundle.name,
        "sources": [
            {"name": path.name, "weight": float(factor)}
            for path, factor in zip(images, factors, strict=True)
        ],
    }
    score = None
    if all(source.mask is not None for source in sources):
        score = Scorer(*stacked(sources), factors).score(grey(levels / np.float32(255)))
        for entry, source, recovered, seen in zip(
            about["sources"], sources, score.recovered, score.visible, strict=True
        ):
            entry |= {"box": _box(source.mask), "recovered": _plain(recovered), "visible": seen}
        about |= {"background_error": _plain(score.background_error), "success": score.success}
    elif masks:
        missing = [p.name for p, s in zip(images, sources, strict=True) if s.mask is None]
        _log.warning("no mask is written, because these have none: %s", ", ".join(missing))
    case = drawing.Case(
        "  +  ".join(path.name for path in images),
        [source.image for source in sources],
        [source.mask for source in sources],
        {"overlay": (made, score)},
    )
    with whole_folder(out, "overlay") as folder:
        write_png(folder / "overlay.png", levels)
        if score:
            union = np.any([source.mask for source in sources], axis=0)
            write_png(folder / "overlay_mask.png", union.astype(np.uint8) * np.uint8(255))
        write_png(folder / "overlay_sheet.png", drawing.overlay_sheet([case]))
        write_json(folder / "overlay.json", about)
    return OverlayReport(written=1)


def enlarge(
    bundle,
    data: str | Path,
    out: str | Path,
    *,
    count: int = 200,
    split: str = "train",
    sizes: Sequence[int] = (2, 3),
    seed: int = 0,
    keep: str = "successful",
    noise: float = 0.0,
    crops: str | None = None,
    margin: float | None = None,
    window: int | None = None,
) -> OverlayReport:
    """Makes a data set of overlays of random pairs and triples of images with masks.

    `out` gets what `DatasetWriter` writes, all of it in `split`: images at the network's size,
    the union of their sources' masks, and a box and an outline with a label for each source; and
    overlays.csv, the sources, the method and the score of each. The data set is complete or absent,
    and the same arguments make the same.

    Args:
        bundle: a `Bundle` of the task "overlay".
        data: a folder in a layout of docs/data_formats.md.
        out: a new folder outside of `data`, or an older data set of this kind, which is replaced.
        count: how many overlays are wanted; fewer are written where too few succeed or no more
            sets exist, which is logged.
        split: "train", "val" or "test", whose images are overlaid.
        sizes: how many images make an overlay, in turn.
        seed: of the sets and of the noise.
        keep: "successful", only overlays in which every source is visible, none lies three
            quarters under the others and the background is kept; or "all".
        noise: factor on the deviations with which latent vectors are drawn around their means;
            with it a set may come again. For bundles that overlay by a sum or a mean.
        crops, margin, window: see `dentalzoo.data.images.find_images`; None for the bundle's
            own.

    Raises:
        DentalzooError: there are too few images with masks, no overlay succeeds, or an argument
            is out of place.
    """
    if keep not in ("successful", "all"):
        raise DentalzooError(f"keep is successful or all. Received: {keep!r}")
    if not isinstance(count, int) or count < 1:
        raise DentalzooError(f"count is a whole number, at least 1. Received: {count!r}")
    if not 0 <= noise < 100:
        raise DentalzooError(f"noise is a number from 0. Received: {noise!r}")
    if noise:
        check_sampling(bundle)
    out = Path(out)
    if Path(data).resolve() in (out.resolve(), *out.resolve().parents):
        raise DentalzooError(f"out lies outside of data, {data}. Received: {out}")
    found = find_sources(bundle, data, split, crops=crops, margin=margin, window=window)
    with_masks = [sample for sample in found.samples if sample.mask is not None]
    if not with_masks:
        raise DentalzooError(
            f"{data}: expected images with masks of the split {split!r}: images/ beside masks/. "
            f"Received: {len(found)} images without"
        )
    names = sorted({sample.label or _UNNAMED for sample in with_masks})
    with DatasetWriter(out, names) as writer:
        sources = Sources(bundle, found)
        pool = sources.judgeable()
        labels = [sources.samples[i].label for i in pool]
        sets = draw_sets(labels, count * (_TRIES if keep == "successful" else 1), sizes, seed)
        report = OverlayReport(failed=[tuple(s) for s in sources.skipped[len(found.skipped) :]])
        rows = _write_overlays(bundle, sources, writer, report, count, split, keep, noise, seed,
                               [tuple(pool[i] for i in one) for one in sets])  # fmt: skip
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(rows)
        write_atomically(writer.folder / "overlays.csv", text.getvalue(), durable=False)
    if report.written < count:
        _log.warning(
            "%d of %d overlays written; %d were made and left out, %d sets of sources exist",
            report.written,
            count,
            report.rejected,
            len(sets),
        )
    return report


def _write_overlays(
    bundle, sources: Sources, writer, report, count, split, keep, noise, seed, sets
) -> list[tuple]:
    """Writes the overlays of `sets` until there are `count`; returns the rows of overlays.csv."""
    method = bundle.metadata["config"].get("overlay", "sum")
    method += f", noise {noise:g}" if noise else ""
    rows = [("id", "sources", "labels", "method", "recovered", "background_error", "success")]
    tries = count * _TRIES if noise else len(sets)
    digits = max(4, len(str(count)))
    with tqdm(total=count, desc="overlaying", disable=None, unit="overlay") as bar:
        for number in range(tries):
            if report.written == count:
                break
            chosen = list(sets[number % len(sets)])
            loaded = [sources.load(i) for i in chosen]
            if noise:
                rng = np.random.default_rng((seed, 29, number))
                codes = sources.z_mean[chosen], sources.z_log_var[chosen]
                made = sampled(bundle, *codes, noise, rng)
            else:
                images = np.stack([source.image for source in loaded])
                made = bundle.overlay(images, np.ones(len(chosen), np.float32))["image"]
            levels = as_pixels(made)
            scorer = Scorer(*stacked(loaded))
            score = scorer.score(grey(levels / np.float32(255)))
            if keep == "successful" and (scorer.covered.any() or not score.success):
                report.rejected += 1
                continue
            report.written += 1
            bar.update()
            name = f"overlay_{report.written:0{digits}d}"
            labels = [sources.samples[i].label or _UNNAMED for i in chosen]
            objects = list(zip(labels, [source.mask for source in loaded], strict=True))
            union = np.any([source.mask for source in loaded], axis=0)
            writer.add(name, levels, union[..., None], objects, split)
            rows.append(
                _row(name, [sources.samples[i].name for i in chosen], labels, method, score)
            )
    if not report.written:
        raise DentalzooError(
            "no overlay shows all its sources on a kept background; measure the bundle with "
            '`evaluate`, train the variant robust, or take them all with keep="all". '
            f"Received: {report.rejected} overlays"
        )
    return rows


def _row(name: str, sources: list[str], labels: list[str], method: str, score: OverlayScore):
    recovered = "; ".join(f"{part:.4f}" for part in score.recovered)
    error = f"{score.background_error:.4f}"
    return name, "; ".join(sources), "; ".join(labels), method, recovered, error, int(score.success)


def _masks_beside(images: Sequence[Path]) -> dict[Path, Path]:
    """The masks that lie beside images in one of the usual layouts; image -> mask."""
    found = {}
    for folder in dict.fromkeys(path.parent for path in images):
        roots = [(folder, 0)]
        if _IMAGES.fullmatch(folder.name) and _has_masks(folder.parent):
            roots.append((folder.parent, 1))
        for root, depth in roots:
            try:
                pairs, _ = layouts.pair_folders(layouts.scan(root, depth), masks_needed=False)
            except (DentalzooError, OSError):
                continue
            found |= {image.resolve(): mask for image, mask, _ in pairs}
    return {path: found[path.resolve()] for path in images if path.resolve() in found}


def _has_masks(folder: Path) -> bool:
    """So that a folder with thousands of others is not searched for nothing."""
    try:
        return any("mask" in e.name.lower() or "label" in e.name.lower() for e in folder.iterdir())
    except OSError:
        return False


def _load(bundle, images: Sequence[Path], masks: dict[Path, Path]) -> list[Source]:
    """Loads images with their masks; a mask that does not fit its image is left out."""
    size, channels = network_size(bundle)
    sources = []
    for path in images:
        sample = ImageSample(path.name, path, mask=masks.get(path))
        try:
            sources.append(load_source(sample, size, channels))
        except BadFile as error:
            if sample.mask is None or Path(error.path) != sample.mask:
                raise
            _log.warning("left out %s", error)
            sources.append(load_source(ImageSample(path.name, path), size, channels))
    return sources


def _box(mask: np.ndarray) -> list[float] | None:
    """yxyx in [0, 1], lower ends exclusive; None of an empty mask."""
    if not mask.any():
        return None
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    height, width = mask.shape
    edges = rows[0] / height, columns[0] / width, (rows[-1] + 1) / height, (columns[-1] + 1) / width
    return [round(float(edge), 6) for edge in edges]


def _plain(value: float) -> float | None:
    return None if np.isnan(value) else round(value, 6)
