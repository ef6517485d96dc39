"""Evaluation of variational autoencoders: how well they describe images, and their own images.

The bounds of log p(x) are in nats per image. With a Bernoulli likelihood grey values stand for
probabilities, with a Gaussian one the bound is a density over [0, 1]: the two cannot be compared.
Bits per dimension are -ELBO / (log 2 x H x W x C).

Memory does not grow with the data: distances and figures use at most the numbers of images in
`LIMITS`, chosen by the seed, and the report states how many they were.
"""

import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from dentalzoo.atomic import write_json
from dentalzoo.contracts import Report
from dentalzoo.data.formats.tree import split_word
from dentalzoo.data.images import ImageDataset, ImageSample, find_images, load_image
from dentalzoo.data.io.images import write_png
from dentalzoo.output_dirs import make_folder
from dentalzoo.tasks.autoencoders import (
    batches_of,
    decode,
    files_of,
    image_shape,
    kl_divergence,
)
from dentalzoo.tasks.base import refuse_empty, report_header
from dentalzoo.tasks.generation import copying, distance, figures, scores
from dentalzoo.tasks.generation.sampling import BLOCK, sample_blocks
from dentalzoo.tasks.options import GenerationEvaluateOptions

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
        kept: indices of the samples whose z_mean (n, D) and features (n, F) are kept.
    """

    samples: list[ImageSample] = field(default_factory=list)
    rows: list[dict[str, Any]] = field(default_factory=list)
    kl: np.ndarray | float = 0.0
    moments: np.ndarray | float = 0.0
    kept: list[int] = field(default_factory=list)
    z_mean: list[np.ndarray] = field(default_factory=list)
    features: list[np.ndarray] = field(default_factory=list)

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
        out: a folder for `evaluation.json`, which is what is returned, and for the figures
            reconstructions, samples, interpolation, latent, manifold, neighbours and kl_per_unit,
            a PNG each.
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
        - "per_image", and "skipped": [file, reason] of each image that could not be used.

    Raises:
        DentalzooError: no image can be used, or `out` holds inputs or cannot be written.
    """
    count, seed = options.count, options.seed
    dataset = _find(bundle, data, split, options.crops)
    if out is not None:
        out = Path(out)
        make_folder(out, files_of(dataset))
    skipped = [list(skip) for skip in dataset.skipped]
    measured = _measure(bundle, dataset, options.samples, seed, skipped)
    if not measured.samples:
        refuse_empty(data, len(dataset), skipped[len(dataset.skipped) :])
    features, thumbnails = [], []
    blocks = sample_blocks(bundle, count, seed)
    for images in tqdm(blocks, "generating", -(-count // BLOCK), disable=None, unit="block"):
        features.append(distance.features(images))
        thumbnails.append(copying.thumbnails(images))
    compared = distance.compare(np.concatenate(measured.features), np.concatenate(features), seed)
    everything = dataset if split is None else _find(bundle, data, None, options.crops)
    bad = {s.name for s in dataset.samples} - {s.name for s in measured.samples}
    generated = np.concatenate(thumbnails)
    copies, neighbours = _copying(bundle, everything, bad, split, generated, seed)
    report = {
        **report_header(bundle, data, split),
        "images": len(measured.samples),
        "generated": count,
        "seed": seed,
        **_summary(bundle, measured),
        "distance": compared,
        "copying": copies,
        "per_image": measured.rows,
        "skipped": skipped,
    }
    for warning in (report["collapse"], copies and copies["warning"]):
        if warning:
            _log.warning("%s: %s", bundle.name, warning)
    if out is not None:
        write_json(out / "evaluation.json", report)
        for name, figure in figures.figures(bundle, measured, report, neighbours, seed):
            write_png(out / f"{name}.png", figure)
    return report


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


def _find(bundle: "Bundle", data: str | Path, split: str | None, crops: str | None) -> ImageDataset:
    """Find the images, cropped and split as those the bundle was trained on."""
    config = bundle.metadata["config"]
    crops = config.get("crops") if crops is None else None if crops == "whole" else crops
    settings = {key: config[key] for key in ("margin", "window", "val_fraction") if key in config}
    return find_images(data, split, crops=crops, **settings)


# ---- images and their codes ----------------------------------------------------------------------


def _measure(
    bundle: "Bundle", dataset: ImageDataset, samples: int, seed: int, skipped: list[list[str]]
) -> Measured:
    rng, measured = np.random.default_rng(seed), Measured()
    chosen = set(rng.permutation(len(dataset))[: LIMITS["distance"]].tolist())
    for indices, images in _batches(bundle, dataset.samples, "evaluating", skipped):
        code = bundle.encode(images)
        noise = [
            np.random.default_rng((seed, index)).standard_normal(
                (samples, *code["z_mean"][0].shape)
            )
            for index in indices
        ]
        rows, kl = _describe(bundle, code, np.stack(noise, axis=1))
        measured.kl = measured.kl + kl.sum(0)
        means = np.float64(code["z_mean"])
        measured.moments = measured.moments + np.stack([means.sum(0), (means**2).sum(0)])
        keep = [position for position, index in enumerate(indices) if index in chosen]
        if keep:
            measured.kept += [len(measured.samples) + position for position in keep]
            measured.z_mean.append(code["z_mean"][keep])
            measured.features.append(distance.features(code["image"][keep]))
        measured.samples += [dataset.samples[index] for index in indices]
        measured.rows += [
            {"name": dataset.samples[index].name} | row
            for index, row in zip(indices, rows, strict=True)
        ]
    return measured


def _batches(
    bundle: "Bundle", samples: list[ImageSample], title: str, skipped: list[list[str]]
) -> Iterator[tuple[list[int], np.ndarray]]:
    """Yield (indices, images uint8 (B, H, W, C)); see `batches_of`."""
    height, width, channels = image_shape(bundle)

    def read(sample: ImageSample) -> np.ndarray:
        image: np.ndarray = load_image(sample, (height, width), channels)["image"]
        return image

    for indices, images in batches_of(samples, read, title=title, skipped=skipped):
        yield indices, np.stack(images)


def _describe(
    bundle: "Bundle", code: dict[str, np.ndarray], noise: np.ndarray
) -> tuple[list[dict[str, float]], np.ndarray]:
    """Return the scores of each image of a batch, and the KL divergence of its units, (B, D)."""
    config = bundle.metadata["config"]
    images, z_mean, z_log_var = code["image"], code["z_mean"], code["z_log_var"]
    z = z_mean + np.exp(0.5 * np.float64(z_log_var)) * noise
    log_p, done = np.empty(z.shape[:2]).ravel(), 0
    for decoded in decode(bundle, z.reshape(-1, z.shape[-1])):
        part = np.arange(done, done + len(decoded))
        log_p[part] = scores.log_likelihood(
            images[part % len(images)], decoded, config["likelihood"], config.get("sigma", 0.1)
        )
        done += len(decoded)
    log_p = log_p.reshape(z.shape[:2])
    log_weights = scores.log_weights(log_p, z, z_mean, z_log_var)
    bounds = {
        k: scores.importance_bound(log_weights, k) for k in sorted({1, min(5, len(z)), len(z)})
    }
    means = np.concatenate(list(decode(bundle, z_mean)))
    kl = kl_divergence(z_mean, z_log_var)
    squares = np.square(np.float64(means) - images).mean((1, 2, 3))
    rows = [
        {f"iwae_{k}": values[i] for k, values in bounds.items()}
        | {
            "log_likelihood": log_p[:, i].mean(),
            "kl": kl[i].sum(),
            "mse": squares[i],
            "psnr": scores.psnr(squares[i]),
            "ssim": scores.ssim(images[i], means[i]),
        }
        for i in range(len(images))
    ]
    return [{key: round(float(value), 6) for key, value in row.items()} for row in rows], kl


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


# ---- copies --------------------------------------------------------------------------------------


def _copying(
    bundle: "Bundle",
    everything: ImageDataset,
    bad: set[str],
    split: str | None,
    generated: np.ndarray,
    seed: int,
) -> tuple[dict[str, Any] | None, figures.Neighbours | None]:
    """Return the findings on copies, and the nearest training images for the figures.

    Both are None where there are too few training or held-out images. `bad` are the names of
    samples that are known to be unusable.
    """
    held_out_split = split_word(split) if split else "val"
    held_out_split = "val" if held_out_split == "train" else held_out_split
    parts = []
    for key, part in (("training", "train"), ("held_out", held_out_split)):
        samples = [sample for sample in everything.samples if sample.split == part]
        chosen = np.random.default_rng(seed).permutation(len(samples))[: LIMITS[key]]
        some = [samples[i] for i in sorted(chosen.tolist()) if samples[i].name not in bad]
        kept, thumbnails = [], []
        for indices, images in _batches(bundle, some, f"reading the split {part}", []):
            kept += [some[index] for index in indices]
            thumbnails.append(copying.thumbnails(images.astype(np.float32) / 255))
        parts.append((kept, thumbnails, len(samples)))
    (training, train_thumbnails, of_training), (held_out, held_thumbnails, of_held_out) = parts
    if len(training) < 2 or not held_out:
        counts = f"{len(training)} training and {len(held_out)} held-out images ({held_out_split})"
        _log.info("too few images to test whether samples are copies: %s", counts)
        return None, None
    findings, nearest, distances = copying.copying(
        generated, np.concatenate(train_thumbnails), np.concatenate(held_thumbnails), seed
    )
    about = {
        "training_images": [len(training), of_training],
        "held_out_images": [len(held_out), of_held_out],
        "held_out_split": held_out_split,
        "space": copying.SPACE,
    }
    return findings | about, figures.Neighbours(training, nearest, distances)
