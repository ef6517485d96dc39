"""Generated images, each determined by a seed and its index, and planes of the latent space."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from dentalzoo.data.io.images import write_png
from dentalzoo.output_dirs import whole_folder
from dentalzoo.plots.contact_sheet import grid
from dentalzoo.plots.pixels import as_pixels
from dentalzoo.tasks.autoencoders import decode
from dentalzoo.tasks.base import PredictionReport
from dentalzoo.tasks.options import GenerateOptions

if TYPE_CHECKING:
    from dentalzoo.bundle import Bundle

BLOCK = 64  # images sampled at once; fixed, since each block has a seed of its own
_COLUMNS = 8  # of the contact sheet


def generate(
    bundle: "Bundle", out: str | Path, *, options: GenerateOptions = GenerateOptions()
) -> PredictionReport:
    """Write generated images, `out`/images/0000.png, 0001.png, ..., and a contact sheet of the
    first 64, `out`/samples.png.

    The same seed gives the same images, whatever the count. The folder is complete or unchanged.

    Args:
        bundle: a bundle with the signature `generate`.
        out: a folder that is absent, empty, or of an earlier call, whose images are replaced.
        options: number of images, and seed.

    Returns:
        The number of written images, without the contact sheet.

    Raises:
        DentalzooError: `out` holds something else or cannot be written.
    """
    report = PredictionReport()
    first: list[np.ndarray] = []
    digits = max(4, len(str(options.count - 1)))
    blocks = sample_blocks(bundle, options.count, options.seed)
    total = -(-options.count // BLOCK)
    with whole_folder(out, "generate") as folder:
        (folder / "images").mkdir()
        for block in tqdm(blocks, "generating", total, disable=None, unit="block"):
            for image in map(as_pixels, block):
                write_png(folder / "images" / f"{report.written:0{digits}d}.png", image)
                report.written += 1
            first = first or list(block)
        write_png(folder / "samples.png", grid(first, _COLUMNS))
    return report


def sample_blocks(bundle: "Bundle", count: int, seed: int = 0) -> Iterator[np.ndarray]:
    """Yield `count` generated images in blocks of up to 64, (n, H, W, C) float32 in [0, 1].

    Image i depends on the seed and on i alone.
    """
    for start in range(0, count, BLOCK):
        yield sample_block(bundle, start // BLOCK, seed)[: count - start]


def pick_samples(bundle: "Bundle", indices: Sequence[int], seed: int = 0) -> list[np.ndarray]:
    """Return the generated images of some indices once more, (H, W, C) each."""
    images: dict[int, np.ndarray] = {}
    for block in {index // BLOCK for index in indices}:
        samples = sample_block(bundle, block, seed)
        images |= {i: samples[i % BLOCK] for i in indices if i // BLOCK == block}
    return [images[index] for index in indices]


def sample_block(bundle: "Bundle", block: int, seed: int) -> np.ndarray:
    """Return the 64 generated images of a block, (64, H, W, C) float32 in [0, 1]."""
    state = np.random.SeedSequence((int(seed), block)).generate_state(1, np.uint64)
    return bundle.generate(np.int64(state[0] >> np.uint64(1)), np.int64(BLOCK))["image"]


def quantiles(count: int) -> np.ndarray:
    """Return the middles of `count` parts of N(0, 1) of equal probability, (count,), rising."""
    return np.array([NormalDist().inv_cdf((i + 0.5) / count) for i in range(count)])


def decode_plane(
    bundle: "Bundle",
    xs: Sequence[float] | np.ndarray,
    ys: Sequence[float] | np.ndarray,
    units: Sequence[int] = (0, 1),
    latent_dim: int = 2,
) -> np.ndarray:
    """Decode a plane of the latent space through its origin.

    Args:
        xs, ys: values of the first and of the second of `units`.
        units: two latent units; the others are 0.
        latent_dim: D.

    Returns:
        (len(ys), len(xs), H, W, C) float32 in [0, 1].
    """
    z = np.zeros((len(ys), len(xs), latent_dim), np.float32)
    z[..., units[1]] = np.asarray(ys)[:, None]
    z[..., units[0]] = xs
    images = np.concatenate(list(decode(bundle, z.reshape(-1, latent_dim))))
    return images.reshape(len(ys), len(xs), *images.shape[1:])
