"""The figures of an evaluation: which images they show."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from dentalzoo.contracts import Report
from dentalzoo.data.images import ImageSample, load_image
from dentalzoo.plots import contact_sheet
from dentalzoo.tasks.autoencoders import MIN_ACTIVE, decode, image_shape
from dentalzoo.tasks.generation import drawing
from dentalzoo.tasks.generation.sampling import decode_plane, pick_samples, quantiles

if TYPE_CHECKING:
    from dentalzoo.bundle import Bundle
    from dentalzoo.tasks.generation.evaluation import Measured

_ACROSS, _STRIPS, _STEPS, _PLANE, _THUMBNAILS = 8, 6, 8, 11, 300  # images; ours
_PLANE_TILE = 80  # pixels; ours


class Neighbours(NamedTuple):
    """Training images, and for each generated image the index of the nearest and its distance."""

    training: list[ImageSample]
    indices: np.ndarray
    distances: np.ndarray


def figures(
    bundle: "Bundle",
    measured: "Measured",
    report: Report,
    neighbours: Neighbours | None,
    seed: int,
) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the name and the pixels, uint8 (H, W, 3), of each figure of an evaluation.

    Args:
        measured: results of each image.
        report: the report of the evaluation.
        neighbours: the training images nearest to the generated ones, where they are known.
        seed: of the generated images.
    """
    yield "reconstructions", _reconstructions(bundle, measured)
    count = report["generated"]
    first = pick_samples(bundle, range(min(count, _ACROSS**2)), seed)
    yield "samples", contact_sheet.grid(first, _ACROSS)
    means = np.stack(measured.z_mean)
    rng = np.random.default_rng(seed)
    if len(means) > 1:
        yield "interpolation", _interpolation(bundle, measured, means, rng)
        yield "latent", _latent(bundle, measured, means, rng)
    yield "manifold", _manifold(bundle, report)
    if neighbours is not None:
        yield "neighbours", _neighbours(bundle, report, neighbours, seed)
    yield "kl_per_unit", _kl(report)


def _load(bundle: "Bundle", samples: Sequence[ImageSample]) -> list[np.ndarray]:
    """Load images as the network sees them, uint8 (H, W, C)."""
    height, width, channels = image_shape(bundle)
    images = {}
    for sample in sorted(samples, key=lambda sample: sample.name):  # crops of one file together
        images[sample.name] = load_image(sample, (height, width), channels)["image"]
    return [images[sample.name] for sample in samples]


def _reconstructions(bundle: "Bundle", measured: "Measured") -> np.ndarray:
    order = np.argsort([row["mse"] for row in measured.rows], kind="stable")
    number = min(_ACROSS, max(1, len(order) // 3))
    middle = (len(order) - number) // 2
    cases = {"best": order[:number]}
    if len(order) > 2:
        cases["around the median"] = order[middle : middle + number]
    if len(order) > 1:
        cases["worst"] = order[-number:]
    groups = []
    for case, chosen in cases.items():
        images = _load(bundle, [measured.samples[index] for index in chosen])
        codes = bundle.encode(np.stack(images))["z_mean"]
        decibels = [measured.rows[index]["psnr"] for index in chosen]
        span = f"{max(decibels):.1f} to {min(decibels):.1f} dB"
        decoded = [image for block in decode(bundle, codes) for image in block]
        caption = f"{case} of {len(order)}, above their reconstructions: {span}"
        groups.append((caption, images, decoded))
    return contact_sheet.pairs(groups)


def _interpolation(
    bundle: "Bundle", measured: "Measured", means: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    chosen = rng.permutation(len(means))[: 2 * _STRIPS]
    chosen = chosen[: len(chosen) // 2 * 2].reshape(-1, 2)
    parts = np.linspace(0, 1, _STEPS)[:, None]
    rows = []
    for start, end in chosen:
        z = (1 - parts) * means[start] + parts * means[end]
        steps = [image for block in decode(bundle, z) for image in block]
        first, last = _load(bundle, [measured.samples[measured.kept[i]] for i in (start, end)])
        rows.append([first, *steps, last])
    return contact_sheet.strips(
        rows, "from image to image, decoded along a straight line between their codes"
    )


def _latent(
    bundle: "Bundle", measured: "Measured", means: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    points, axes = means, ("z 0", "z 1")
    if means.shape[1] != 2:
        centred = np.float64(means) - means.mean(0)
        _, sizes, directions = np.linalg.svd(centred, full_matrices=False)
        shares = sizes**2 / max(float((sizes**2).sum()), 1e-12)
        points = np.zeros((len(means), 2))
        points[:, : len(sizes[:2])] = centred @ directions[:2].T
        names = [f"principal axis {i + 1} ({s:.0%} of the variance)" for i, s in enumerate(shares)]
        axes = names[0], names[1] if len(names) > 1 else ""
    order = rng.permutation(len(points))  # so that the images shown are not all from one folder
    samples = [measured.samples[measured.kept[index]] for index in order]
    return drawing.scatter(
        points[order],
        [sample.label for sample in samples],
        _load(bundle, samples[:_THUMBNAILS]),
        axes,
        f"means of the codes of {len(points)} images",
    )


def _manifold(bundle: "Bundle", report: Report) -> np.ndarray:
    kl, values = np.asarray(report["kl_per_unit"]), quantiles(_PLANE)
    units = np.argsort(-kl, kind="stable")[:2].tolist() if len(kl) > 2 else [0, len(kl) - 1]
    ys = values if len(kl) > 1 else [0.0]
    images = decode_plane(bundle, values, ys, units, len(kl))
    x, y = (f"z {unit} ({kl[unit]:.2g} nats)" for unit in units)
    others = ", the other units at 0" if len(kl) > 2 else ""
    title = f"decoded at quantiles of N(0, 1){others}"
    return drawing.plane(images, values, ys, (x, y), title, _PLANE_TILE)


def _neighbours(bundle: "Bundle", report: Report, neighbours: Neighbours, seed: int) -> np.ndarray:
    training, indices, distances = neighbours
    order = np.argsort(distances, kind="stable")
    number = min(_ACROSS, max(1, len(order) // 2))
    middle = (len(order) - number) // 2
    held_out = report["copying"]["held_out"]
    cases = {
        "closest samples, above their nearest training images: distance {:.3f} to {:.3f}": slice(
            0, number
        ),
        "typical samples: distance {:.3f} to {:.3f}; the median of held-out images is "
        f"{held_out:.3f}": slice(middle, middle + number),
    }
    groups = []
    for caption, part in cases.items():
        chosen = order[part]
        samples = pick_samples(bundle, chosen.tolist(), seed)
        nearest = _load(bundle, [training[indices[index]] for index in chosen])
        groups.append((caption.format(*distances[chosen[[0, -1]]]), samples, nearest))
    return contact_sheet.pairs(groups)


def _kl(report: Report) -> np.ndarray:
    kl = np.asarray(report["kl_per_unit"])
    active = report["active_units"]["kl"]
    return drawing.bars(
        kl,
        MIN_ACTIVE,
        ("latent units, most informative first", "KL divergence, nats"),
        f"{active} of {len(kl)} units above {MIN_ACTIVE} nats, {report['kl']:.2f} nats in total",
    )
