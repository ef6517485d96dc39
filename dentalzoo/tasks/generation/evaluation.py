"""How well a bundle describes images, and how its own images compare with them.

The bounds of log p(x) are in nats an image. With a Bernoulli likelihood grey values stand for
probabilities, with a Gaussian one the bound is a density over [0, 1]: numbers of the two cannot be
compared. Bits per dimension are -ELBO / (log 2 x H x W x C).

Large data take no more memory: distances and drawings use the numbers of images in `LIMITS`,
drawn by the seed, and the report says how many these were.
"""

import datetime
import logging
import math
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from dentalzoo.atomic import write_json
from dentalzoo.data.formats.tree import split_word
from dentalzoo.data.images import ImageDataset, ImageSample, find_images, load_image
from dentalzoo.data.io.images import write_png
from dentalzoo.data.pipeline.prefetch import read_ahead
from dentalzoo.errors import BadFile, DentalzooError
from dentalzoo.output_dirs import make_folder
from dentalzoo.tasks.generation import copying, distance, scores, sheets
from dentalzoo.tasks.generation.inference import BLOCK, decode, image_shape, sample_blocks

_log = logging.getLogger("dentalzoo")
_BATCH = 32  # images encoded at once
LIMITS = {"distance": 2000, "training": 10_000, "held_out": 1000}  # images; ours


@dataclass
class Measured:
    """What is kept of the images: `rows` of each one, the rest of those that are `kept`.

    Attributes:
        samples, rows: the images that could be used, and their numbers.
        kl: KL divergence of each unit, summed, (D,); `moments`: sums of the means and of their
            squares, (2, D).
        kept: numbers of the samples whose z_mean (n, D), features (n, F) and thumbnails are kept.
    """

    samples: list[ImageSample] = field(default_factory=list)
    rows: list[dict] = field(default_factory=list)
    kl: np.ndarray | float = 0.0
    moments: np.ndarray | float = 0.0
    kept: list[int] = field(default_factory=list)
    z_mean: list[np.ndarray] = field(default_factory=list)
    features: list[np.ndarray] = field(default_factory=list)

    @property
    def variance(self) -> np.ndarray:
        """Of each unit's mean over the images, (D,)."""
        mean, square = self.moments / len(self.samples)
        return np.maximum(square - mean**2, 0)


def evaluate(
    bundle,
    data: str | Path,
    split: str | None = None,
    out: str | Path | None = None,
    *,
    crops: str | None = None,
    samples: int = 64,
    count: int = 500,
    seed: int = 0,
) -> dict:
    """Measures a variational autoencoder on images, in constant memory.

    Args:
        bundle: a `Bundle` of the task "generation".
        data: a folder in a layout of docs/data_formats.md.
        split: "train", "val" or "test"; None for all images.
        out: a folder for `evaluation.json`, which is what is returned, and for the sheets
            reconstructions, samples, interpolation, latent, manifold, neighbours and kl_per_unit,
            a PNG each.
        crops: "boundaries", "boxes" or "masks", see `find_images`, "whole" for whole images;
            None for what the bundle was trained on.
        samples: k of the importance-weighted bound, at least 1.
        count: generated images, at least 2.
        seed: of all that is drawn.

    Returns:
        Plain values:

        - "elbo", the mean bound in nats, "bits_per_dim", and "bounds", the importance-weighted
          bound of k = 1 (the ELBO), 5 and `samples`; the prior is N(0, I), whatever `generate`
          samples;
        - "reconstruction": "log_likelihood" in nats, of samples of the code, and "mse", "psnr" in
          dB and "ssim" of what the code's mean decodes to, means over images;
        - "kl" in nats, "kl_per_unit", "active_units" by two definitions (`scores.active_units`),
          and "collapse": None, or what is wrong and what to change;
        - "distance" of generated images from the data, see `distance.compare`;
        - "copying", see `copying.copying`; it needs training and held-out images: `split`, and
          "val" where that is None or "train". Both are None where there are too few images;
        - "per_image", and "skipped", (file, reason) of what took no part.

    Raises:
        DentalzooError: no image can be used, or an argument is out of place.
    """
    if not isinstance(samples, int) or samples < 1:
        raise DentalzooError(f"samples is a whole number, at least 1. Received: {samples!r}")
    if count == 1:
        raise DentalzooError(f"count is at least 2: one image has no spread. Received: {count!r}")
    blocks = sample_blocks(bundle, count, seed)
    found = _find(bundle, data, split, crops)
    if out is not None:
        out = Path(out)
        make_folder(out, [path for s in found.samples for path in (s.image, s.mask) if path])
    skipped = [list(skip) for skip in found.skipped]
    measured = _measure(bundle, found, samples, seed, skipped)
    if not measured.samples:
        first = ": ".join(skipped[len(found.skipped)])
        raise DentalzooError(f"{data}: none of {len(found)} images can be used. Received: {first}")
    described, thumbnails = [], []
    for images in tqdm(blocks, "generating", -(-count // BLOCK), disable=None, unit="block"):
        described.append(distance.features(images))
        thumbnails.append(copying.thumbnails(images))
    made = np.concatenate(thumbnails)
    compared = distance.compare(np.concatenate(measured.features), np.concatenate(described), seed)
    everything = found if split is None else _find(bundle, data, None, crops)
    copies, neighbours = _copying(bundle, everything, split, made, seed)

    report = {
        "bundle": bundle.name,
        "data": Path(data).resolve().name,
        "split": split,
        "date": datetime.date.today().isoformat(),
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
        for name, sheet in sheets.draw(bundle, measured, report, neighbours, seed):
            write_png(out / f"{name}.png", sheet)
    return report


def summary_metrics(report: dict) -> dict[str, float]:
    """The few numbers that stand for a report; those that could not be measured are left out."""
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


def _find(bundle, data, split: str | None, crops: str | None) -> ImageDataset:
    """The images, cut and split as the bundle's were."""
    config = bundle.metadata["config"]
    crops = config.get("crops") if crops is None else None if crops == "whole" else crops
    options = {key: config[key] for key in ("margin", "window", "val_fraction") if key in config}
    return find_images(data, split, crops=crops, **options)


# ---- the images and their codes ----------------------------------------------------------------


def _measure(bundle, found: ImageDataset, samples: int, seed: int, skipped: list) -> Measured:
    rng, measured = np.random.default_rng(seed), Measured()
    chosen = set(rng.permutation(len(found))[: LIMITS["distance"]].tolist())
    for numbers, images in _batches(bundle, found, "evaluating", skipped):
        code = bundle.encode(images)
        noise = [
            np.random.default_rng((seed, number)).standard_normal(
                (samples, *code["z_mean"][0].shape)
            )
            for number in numbers
        ]
        rows, kl = _describe(bundle, code, np.stack(noise, axis=1))
        measured.kl = measured.kl + kl.sum(0)
        means = np.float64(code["z_mean"])
        measured.moments = measured.moments + np.stack([means.sum(0), (means**2).sum(0)])
        keep = [place for place, number in enumerate(numbers) if number in chosen]
        if keep:
            measured.kept += [len(measured.samples) + place for place in keep]
            measured.z_mean.append(code["z_mean"][keep])
            measured.features.append(distance.features(code["image"][keep]))
        measured.samples += [found.samples[number] for number in numbers]
        measured.rows += [
            {"name": found.samples[number].name} | row
            for number, row in zip(numbers, rows, strict=True)
        ]
    return measured


def _batches(bundle, found: ImageDataset, word: str, skipped: list | None = None):
    """Yields (numbers, uint8 (B, H, W, C)); tells and appends to `skipped` what cannot be used."""
    height, width, channels = image_shape(bundle)

    def load(number: int) -> dict:
        return load_image(found.samples[number], (height, width), channels)

    reading = read_ahead(load, range(len(found)))
    numbers, images = [], []
    with logging_redirect_tqdm():
        for number, arrays in tqdm(reading, word, len(found), disable=None, unit="image"):
            if isinstance(arrays, DentalzooError):
                if skipped is not None:
                    _log.warning("skipped %s", arrays)
                    skipped.append(_skip(found.samples[number], arrays))
                continue
            numbers.append(number)
            images.append(arrays["image"])
            if len(images) == _BATCH:
                yield numbers, np.stack(images)
                numbers, images = [], []
    if images:
        yield numbers, np.stack(images)


def _skip(sample: ImageSample, error: DentalzooError) -> list[str]:
    """[file, reason] without the folders, whose names are no one else's business."""
    if isinstance(error, BadFile):
        path = Path(error.path)
        return [path.name, error.reason.replace(str(path), path.name)]
    return [sample.image.name, str(error)]


def _describe(bundle, code: dict, noise: np.ndarray) -> tuple[list[dict], np.ndarray]:
    """Numbers of each image of a batch, and the KL divergence of its units, (B, D)."""
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
    kl = scores.kl_divergence(z_mean, z_log_var)
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


def _summary(bundle, measured: Measured) -> dict:
    config, number = bundle.metadata["config"], len(measured.rows)
    means = {
        key: round(math.fsum(row[key] for row in measured.rows) / number, 6)
        for key in measured.rows[0]
        if key != "name"
    }
    bounds = {key[5:]: value for key, value in means.items() if key.startswith("iwae_")}
    kl = measured.kl / number
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


def _copying(bundle, everything: ImageDataset, split: str | None, made: np.ndarray, seed: int):
    """The findings on copies, and what is drawn of them: (training samples, nearest, distances).

    None and None where there are too few training or held-out images.
    """
    word = split_word(split) if split else "val"
    word = "val" if word == "train" else word
    parts = []
    for key, wanted in (("training", "train"), ("held_out", word)):
        samples = [sample for sample in everything.samples if sample.split == wanted]
        chosen = np.random.default_rng(seed).permutation(len(samples))[: LIMITS[key]]
        some = ImageDataset([samples[number] for number in sorted(chosen.tolist())])
        kept, thumbnails = [], []
        for numbers, images in _batches(bundle, some, f"reading the split {wanted}"):
            kept += [some.samples[number] for number in numbers]
            thumbnails.append(copying.thumbnails(np.float32(images) / 255))
        parts.append((kept, thumbnails, len(samples)))
    (training, train_thumbnails, of_training), (held_out, held_thumbnails, of_held_out) = parts
    if len(training) < 2 or not held_out:
        numbers = f"{len(training)} training and {len(held_out)} held-out images ({word})"
        _log.info("too few to tell whether samples are copies: %s", numbers)
        return None, None
    findings, numbers, distances = copying.copying(
        made, np.concatenate(train_thumbnails), np.concatenate(held_thumbnails), seed
    )
    about = {
        "training_images": [len(training), of_training],
        "held_out_images": [len(held_out), of_held_out],
        "held_out_split": word,
        "space": copying.SPACE,
    }
    return findings | about, (training, numbers, distances)
