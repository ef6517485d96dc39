"""Data sets augmented with superimposed images of their own."""

import csv
import io
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from dentalzoo.atomic import write_atomically
from dentalzoo.data.formats.dataset_writer import DatasetWriter
from dentalzoo.errors import DentalzooError
from dentalzoo.plots.pixels import as_pixels
from dentalzoo.tasks.base import PredictionReport
from dentalzoo.tasks.options import AugmentOptions
from dentalzoo.tasks.superimposition.methods import check_sampling, sampled
from dentalzoo.tasks.superimposition.scores import Scorer, SuperimpositionScore, random_sets
from dentalzoo.tasks.superimposition.sources import (
    Sources,
    encoded,
    find_sources,
    grey,
    masks_of,
    stacked,
)

if TYPE_CHECKING:
    from dentalzoo.bundle import Bundle

_log = logging.getLogger("dentalzoo")
_TRIES = 10  # images made for each one wanted, before a bundle that rarely succeeds is given up
_UNNAMED = "defect"  # the class of images without a label
_COLUMNS = ("id", "sources", "labels", "method", "recovered", "background_error", "success")


@dataclass
class AugmentationReport(PredictionReport):
    """Number of written images, of failed sources, and of rejected images.

    `rejected` images were made and not kept, because a defect is not visible in them or the
    background is lost.
    """

    rejected: int = 0


def augment_dataset(
    bundle: "Bundle",
    data: str | Path,
    out: str | Path,
    *,
    options: AugmentOptions = AugmentOptions(),
) -> AugmentationReport:
    """Write a data set of images that superimpose random pairs and triples of images with masks.

    `out` gets the files of `DatasetWriter`, all of them in one split: images at the network's size,
    the union of their sources' masks, and a box and an outline with a label for each source; and
    superimposed.csv with the sources, the method and the scores of each. The data set is complete
    or absent, and the same arguments give the same files.

    Args:
        bundle: a bundle of the task "superimposition".
        data: a folder in a layout of docs/data_formats.md.
        out: a new folder outside of `data`, or an older data set of this kind, which is replaced.
        options: fewer than `count` images are written where too few succeed or no more sets of
            sources exist, which is logged. `keep="successful"` keeps images in which every source
            is visible, none lies three quarters under the others, and the background is kept. With
            `noise`, a set of sources may be used again.

    Returns:
        The number of written and of rejected images, and the sources that failed.

    Raises:
        DentalzooError: there are too few images with masks, no image succeeds, `noise` does not
            suit the bundle, or `out` lies in `data` or holds something else.
    """
    if options.noise:
        check_sampling(bundle)
    out, split = Path(out), options.split
    if Path(data).resolve() in (out.resolve(), *out.resolve().parents):
        raise DentalzooError(f"out must lie outside of data, {data}. Received: {out}")
    dataset = find_sources(bundle, data, split, options)
    with_masks = [sample for sample in dataset.samples if sample.mask is not None]
    if not with_masks:
        raise DentalzooError(
            f"{data}: expected images with masks of the split {split!r}: images/ beside masks/. "
            f"Received: {len(dataset)} images without"
        )
    names = sorted({sample.label or _UNNAMED for sample in with_masks})
    with DatasetWriter(out, names) as writer:
        sources = encoded(bundle, data, dataset)
        pool = sources.judgeable()
        tries = options.count * (_TRIES if options.keep == "successful" else 1)
        labels = [sources.samples[i].label for i in pool]
        sets = [
            [pool[i] for i in one]
            for one in random_sets(labels, tries, options.sizes, options.seed)
        ]
        failed = [(name, reason) for name, reason in sources.skipped[len(dataset.skipped) :]]
        report = AugmentationReport(failed=failed)
        rows = _write_images(bundle, sources, sets, writer, report, options)
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([_COLUMNS, *rows])
        assert writer.folder is not None  # within the with statement
        write_atomically(writer.folder / "superimposed.csv", text.getvalue(), durable=False)
    if report.written < options.count:
        _log.warning(
            "%d of %d superimposed images written; %d were rejected, %d sets of sources exist",
            report.written,
            options.count,
            report.rejected,
            len(sets),
        )
    return report


def _write_images(
    bundle: "Bundle",
    sources: Sources,
    sets: list[list[int]],
    writer: DatasetWriter,
    report: AugmentationReport,
    options: AugmentOptions,
) -> list[tuple[str | int, ...]]:
    """Write images of `sets` until there are `count`; return the rows of superimposed.csv."""
    count, noise = options.count, options.noise
    method = bundle.metadata["config"].get("overlay", "sum")
    method += f", noise {noise:g}" if noise else ""
    rows = []
    digits = max(4, len(str(count)))
    with tqdm(total=count, desc="superimposing", disable=None, unit="image") as bar:
        for number in range(count * _TRIES if noise else len(sets)):
            if report.written == count:
                break
            chosen = sets[number % len(sets)]
            loaded = [sources.load(i) for i in chosen]
            if noise:
                rng = np.random.default_rng((options.seed, 29, number))
                codes = sources.z_mean[chosen], sources.z_log_var[chosen]
                image = sampled(bundle, *codes, noise, rng)
            else:
                images = np.stack([source.image for source in loaded])
                image = bundle.overlay(images, np.ones(len(chosen), np.float32))["image"]
            levels, masks = as_pixels(image), masks_of(loaded)
            scorer = Scorer(*stacked(loaded))
            score = scorer.score(grey(levels / np.float32(255)))
            if options.keep == "successful" and (scorer.covered.any() or not score.success):
                report.rejected += 1
                continue
            report.written += 1
            bar.update()
            name = f"superimposed_{report.written:0{digits}d}"
            labels = [sources.samples[i].label or _UNNAMED for i in chosen]
            objects = list(zip(labels, masks, strict=True))
            writer.add(name, levels, np.any(masks, axis=0)[..., None], objects, options.split)
            rows.append(
                _row(name, [sources.samples[i].name for i in chosen], labels, method, score)
            )
    if options.keep == "successful":
        sources.tell_shrunk(report.written, report.written + report.rejected)
    if not report.written:
        raise DentalzooError(
            "no superimposed image shows all its sources on a kept background; measure the bundle "
            'with `evaluate`, train the variant robust, or keep all images with keep="all". '
            f"Received: {report.rejected} rejected images"
        )
    return rows


def _row(
    name: str, sources: list[str], labels: list[str], method: str, score: SuperimpositionScore
) -> tuple[str | int, ...]:
    recovered = "; ".join(f"{part:.4f}" for part in score.recovered)
    error = f"{score.background_error:.4f}"
    return name, "; ".join(sources), "; ".join(labels), method, recovered, error, int(score.success)
