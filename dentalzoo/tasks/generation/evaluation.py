"""Evaluation of variational autoencoders: how well they describe images, and their own images.

The bounds of log p(x) are in nats per image. With a Bernoulli likelihood grey values stand for
probabilities, with a Gaussian one the bound is a density over [0, 1]: the two cannot be compared.
Bits per dimension are -ELBO / (log 2 x H x W x C).

Memory does not grow with the data: distances and figures use at most the numbers of images in
`LIMITS`, chosen by the seed, and the report states how many they were.
"""

import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from dentalzoo.contracts import Report
from dentalzoo.data.formats.tree import split_word
from dentalzoo.data.images import ImageDataset, ImageSample, find_images
from dentalzoo.data.io.images import write_png
from dentalzoo.ops.intervals import mean_of
from dentalzoo.tasks import base
from dentalzoo.tasks.autoencoders import files_of, image_shape
from dentalzoo.tasks.base import refuse_empty, report_header, skipped_files
from dentalzoo.tasks.generation import copying, distance, figures, scores
from dentalzoo.tasks.generation.measuring import Measure, Result, Sample, Scored
from dentalzoo.tasks.generation.sampling import BLOCK
from dentalzoo.tasks.options import GenerationEvaluateOptions
from dentalzoo.tasks.scoring import Key, Scores, drawing_of, write_report

if TYPE_CHECKING:
    from dentalzoo.bundle import Bundle

_log = logging.getLogger("dentalzoo")
LIMITS = {"distance": 2000, "training": 10_000, "held_out": 1000}  # images; ours


@dataclass
class Measured:
    """Results of each image, and a limited number of codes and features for the figures.

    Attributes:
        samples, rows: the images that could be used, and the scores of each.
        kl: KL divergence of each unit, summed over the images, (D,).
        moments: sums of the means and of their squares, (2, D).
        kept: indices of the samples whose z_mean (D,) and features (1, F) are kept.
    """

    samples: list[ImageSample] = field(default_factory=list)
    rows: list[dict[str, Any]] = field(default_factory=list)
    kl: np.ndarray | float = 0.0
    moments: np.ndarray | float = 0.0
    kept: list[int] = field(default_factory=list)
    z_mean: list[np.ndarray] = field(default_factory=list)
    features: list[np.ndarray] = field(default_factory=list)

    def add(self, image: ImageSample, scored: Scored, features: np.ndarray | None) -> None:
        """Add an image; it is kept where it has features."""
        mean = np.float64(scored.z_mean)
        self.kl = self.kl + scored.kl
        self.moments = self.moments + np.stack([mean, mean**2])
        if features is not None:
            self.kept.append(len(self.samples))
            self.z_mean.append(scored.z_mean)
            self.features.append(features)
        self.samples.append(image)
        self.rows.append({"name": image.name} | scored.row)

    @property
    def variance(self) -> np.ndarray:
        """Variance of each unit's mean over the images, (D,)."""
        mean, square = np.asarray(self.moments) / len(self.samples)
        return np.asarray(np.maximum(square - mean**2, 0))


def evaluate(
    bundle: "Bundle",
    data: str | Path,
    *,
    split: str | None = None,
    out: str | Path | None = None,
    options: GenerationEvaluateOptions = GenerationEvaluateOptions(),
) -> Report:
    """Measure a variational autoencoder on images, in constant memory.

    Args:
        bundle: a bundle of the task "generation".
        data: a folder in a layout of docs/data_formats.md.
        split: "train", "val" or "test"; None for all images.
        out: a folder for `evaluation.json`, which is what is returned, `evaluation.txt`, its
            tables, and for the figures reconstructions, samples, interpolation, latent, manifold,
            neighbours and kl_per_unit, a PNG each.
        options: `samples` is the k of the importance-weighted bound, `count` the number of
            generated images; see `find_images` for `crops`.

    Returns:
        Plain values:

        - "elbo", the mean bound in nats, "bits_per_dim", and "bounds", the importance-weighted
          bound of k = 1 (the ELBO), 5 and `samples`; the prior is N(0, I), whatever `generate`
          samples;
        - "reconstruction": "log_likelihood" in nats, of samples of the code, and "mse", "psnr" in
          dB and "ssim" of the images decoded from the code's mean, averaged over images;
        - "kl" in nats, "kl_per_unit", "active_units" by two definitions (`scores.active_units`),
          and "collapse": None, or a warning with what to change;
        - "distance" of generated images from the data, see `distance.compare`;
        - "copying", see `copying.copying`; it needs training and held-out images: `split`, and
          "val" where that is None or "train". Both are None where there are too few images;
        - "intervals" and "group_intervals": 95 % bootstrap intervals over images, see
          `dentalzoo.tasks.scoring.tables`; generated images are drawn too, for "kid", whose
          interval is that of all images at once;
        - "per_image", and "skipped": [file, reason] of each image that could not be used.

    Raises:
        DentalzooError: no image can be used, or `out` holds inputs or cannot be written.
    """
    return Evaluation(bundle, data, split=split, out=out, options=options).run()


class Evaluation(base.Evaluation):
    """The evaluation that `evaluate` runs; finding the images checks all but the images themselves.

    Its samples are the images of the split, then further ones that samples are compared with, then
    blocks of generated images. Args and errors are those of `evaluate`.

    Attributes:
        images: of the split.
        compared: "training" and "held_out" images that generated ones are compared with.
    """

    measure: Measure

    def __init__(
        self,
        bundle: "Bundle",
        data: str | Path,
        *,
        split: str | None = None,
        out: str | Path | None = None,
        options: GenerationEvaluateOptions = GenerationEvaluateOptions(),
    ):
        super().__init__(bundle, data, split, out)
        self.options, seed = options, options.seed
        self.images = _find(bundle, data, split, options.crops)
        self.use(files_of(self.images))
        everything = self.images if split is None else _find(bundle, data, None, options.crops)
        held_out = split_word(split) if split else "val"
        parts = {"training": "train", "held_out": "val" if held_out == "train" else held_out}
        self.compared = {key: _chosen(everything, p, key, seed) for key, p in parts.items()}
        small = {image for part in self.compared.values() for image in part.images}
        order = np.random.default_rng(seed).permutation(len(self.images))
        described = set(order[: LIMITS["distance"]].tolist())
        own = set(self.images.samples)
        blocks = range(-(-options.count // BLOCK))
        self.samples = [
            *(
                Sample(index, image, True, index in described, image in small)
                for index, image in enumerate(self.images.samples)
            ),
            *(Sample(-1, i, thumbnail=True) for i in everything.samples if i in small - own),
            *(Sample(block, None, features=True, thumbnail=True) for block in blocks),
        ]
        self.measure = Measure(image_shape(bundle), options.samples, options.count, seed)

    def comparable(self) -> dict[str, Any]:
        """Return what the bounds of log p(x) depend on."""
        likelihood = self.bundle.metadata["config"]["likelihood"]
        return {"image shape": list(image_shape(self.bundle)), "likelihood": likelihood}

    def report(
        self, results: Iterable[tuple[Sample, Result]], failed: Sequence[tuple[str, str]]
    ) -> Report:
        """Return the report of `evaluate`; write it and its figures to `out`."""
        bundle, seed, measured = self.bundle, self.options.seed, Measured()
        features: list[np.ndarray] = []
        generated: list[np.ndarray] = []
        thumbnails: dict[ImageSample, np.ndarray] = {}
        for sample, result in results:
            image, scored = sample.image, result.scored
            if image is not None and scored is not None:
                measured.add(image, scored, result.features)
            elif not measured.samples:  # the images of the split come first
                refuse_empty(self.data, len(self.images), skipped_files(failed))
            if result.thumbnails is not None and image is not None:
                thumbnails[image] = result.thumbnails
            elif result.thumbnails is not None and result.features is not None:
                generated.append(result.thumbnails)
                features.append(result.features)
        # Those of the split alone: they come first here too.
        skipped = skipped_files(failed[: len(self.images) - len(measured.samples)])
        compared = distance.compare(
            np.concatenate(measured.features), np.concatenate(features), seed
        )
        self.scores = _scores(bundle, self.data, measured, np.concatenate(features))
        copies, neighbours = self._copying(np.concatenate(generated), thumbnails)
        report = {
            **report_header(bundle, self.data, self.split),
            "images": len(measured.samples),
            "generated": self.options.count,
            "seed": seed,
            **_summary(bundle, measured),
            "distance": compared,
            "copying": copies,
            **self.scores.report(seed),
            "per_image": measured.rows,
            "skipped": [*map(list, self.images.skipped), *skipped],
        }
        for warning in (report["collapse"], copies and copies["warning"]):
            if warning:
                _log.warning("%s: %s", bundle.name, warning)
        if self.out is not None:
            write_report(self.out, report, summary_metrics(report))
            for name, figure in figures.figures(bundle, measured, report, neighbours, seed):
                write_png(self.out / f"{name}.png", figure)
        return report

    def _copying(
        self, generated: np.ndarray, thumbnails: Mapping[ImageSample, np.ndarray]
    ) -> tuple[dict[str, Any] | None, figures.Neighbours | None]:
        """Return the findings on copies, and the nearest training images for the figures.

        Both are None where there are too few training or held-out images.

        Args:
            generated: thumbnails of the generated images.
            thumbnails: (1, ...) of each image to compare with that could be read.
        """
        usable = {
            key: [image for image in part.images if image in thumbnails]
            for key, part in self.compared.items()
        }
        training, held_out = usable["training"], usable["held_out"]
        held_out_split = self.compared["held_out"].split
        if len(training) < 2 or not held_out:
            counts = f"{len(training)} training and {len(held_out)} held-out images"
            _log.info(
                "too few images to test whether samples are copies: %s (%s)", counts, held_out_split
            )
            return None, None
        small = {
            key: np.concatenate([thumbnails[image] for image in images])
            for key, images in usable.items()
        }
        findings, nearest, distances = copying.copying(
            generated, small["training"], small["held_out"], self.options.seed
        )
        about = {
            **{f"{key}_images": [len(usable[key]), p.of] for key, p in self.compared.items()},
            "held_out_split": held_out_split,
            "space": copying.SPACE,
        }
        return findings | about, figures.Neighbours(training, nearest, distances)


def summary_metrics(report: Report) -> dict[str, float]:
    """Return the few numbers that stand for a report; those that were not measured are left out."""
    *_, k = report["bounds"]
    values = {
        "elbo": report["elbo"],
        f"iwae_{k}": report["bounds"][k],
        "bits_per_dim": report["bits_per_dim"],
        "psnr": report["reconstruction"]["psnr"],
        "ssim": report["reconstruction"]["ssim"],
        "kl": report["kl"],
        "active_units": report["active_units"]["variance"],
    }
    for key in ("kid", "kid_floor", "frechet", "frechet_floor"):
        values[key] = (report["distance"] or {}).get(key)
    values["copied"] = (report["copying"] or {}).get("copied")
    return {key: value for key, value in values.items() if value is not None}


def _scores(
    bundle: "Bundle", data: str | Path, measured: Measured, generated: np.ndarray
) -> Scores:
    """Return what can be resampled: means over images, and the KID of all of them at once."""
    rows = measured.rows
    columns = {key: np.array([row[key] for row in rows]) for key in rows[0] if key != "name"}
    columns["elbo"] = columns["iwae_1"]
    columns["bits_per_dim"] = -columns["elbo"] / (math.log(2) * math.prod(image_shape(bundle)))
    statistics = {key: mean_of(column) for key, column in columns.items()}
    real, number = np.concatenate(measured.features), len(rows)
    kid = distance.resampled_kid(real, generated) if len(real) > 3 and len(generated) > 1 else None

    def measure(times: np.ndarray) -> dict[Key, np.ndarray]:
        own = times[:, :number]
        values: dict[Key, np.ndarray] = {(None, k): mean(own) for k, mean in statistics.items()}
        if kid:
            values[None, "kid"] = kid(own[:, measured.kept], times[:, number:])
        return values

    drawing = drawing_of(data, measured.samples, [sample.image for sample in measured.samples])
    shown = ("elbo", "bits_per_dim", "psnr", "ssim")
    return Scores(drawing, measure, shown, {}, generated=len(generated) if kid else 0)


def _find(bundle: "Bundle", data: str | Path, split: str | None, crops: str | None) -> ImageDataset:
    """Find the images, cropped and split as those the bundle was trained on."""
    config = bundle.metadata["config"]
    crops = config.get("crops") if crops is None else None if crops == "whole" else crops
    settings = {key: config[key] for key in ("margin", "window", "val_fraction") if key in config}
    return find_images(data, split, crops=crops, **settings)


class _Compared(NamedTuple):
    """Images that generated ones are compared with: those chosen of a split, out of how many."""

    images: list[ImageSample]
    of: int
    split: str


def _chosen(everything: ImageDataset, split: str, key: str, seed: int) -> _Compared:
    samples = [sample for sample in everything.samples if sample.split == split]
    chosen = np.random.default_rng(seed).permutation(len(samples))[: LIMITS[key]]
    return _Compared([samples[i] for i in sorted(chosen.tolist())], len(samples), split)


def _summary(bundle: "Bundle", measured: Measured) -> dict[str, Any]:
    config, number = bundle.metadata["config"], len(measured.rows)
    means = {
        key: round(math.fsum(row[key] for row in measured.rows) / number, 6)
        for key in measured.rows[0]
        if key != "name"
    }
    bounds = {key[5:]: value for key, value in means.items() if key.startswith("iwae_")}
    kl = np.asarray(measured.kl) / number
    active = scores.active_units(measured.variance, kl)
    bits = -bounds["1"] / (math.log(2) * math.prod(image_shape(bundle)))
    return {
        "elbo": bounds["1"],
        "bits_per_dim": round(bits, 6),
        "bounds": bounds,
        "likelihood": config["likelihood"],
        "reconstruction": {key: means[key] for key in ("log_likelihood", "mse", "psnr", "ssim")},
        "kl": means["kl"],
        "kl_per_unit": [round(float(value), 6) for value in kl],
        "active_units": active,
        "collapse": scores.collapse(active["variance"], means["kl"], config),
    }
