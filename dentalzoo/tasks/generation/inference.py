"""What measuring and applying share: decoding in blocks, samples by a seed, the latent plane."""

from collections.abc import Iterator, Sequence
from statistics import NormalDist

import numpy as np

from dentalzoo.errors import DentalzooError

BLOCK = 64  # samples drawn at once; fixed, since each block has a seed of its own
_VALUES = 1 << 22  # of the images decoded at once, so that they take little memory; ours


def image_shape(bundle) -> tuple[int, int, int]:
    """(H, W, C) of what the network sees."""
    config = bundle.metadata["config"]
    return (*config["input_size"], config["channels"])


def decode(bundle, z: np.ndarray) -> Iterator[np.ndarray]:
    """Yields the images of latent vectors (N, D) in blocks: (n, H, W, C) float32 in [0, 1]."""
    rows = max(1, _VALUES // int(np.prod(image_shape(bundle))))
    for start in range(0, len(z), rows):
        yield bundle.decode(np.float32(z[start : start + rows]))["image"]


def sample_blocks(bundle, count: int, seed: int = 0) -> Iterator[np.ndarray]:
    """`count` generated images in blocks of up to 64, (n, H, W, C) float32 in [0, 1].

    Image i depends on the seed and on i alone.

    Raises:
        DentalzooError: count or seed is out of place.
    """
    for word, number, least in (("count", count, 1), ("seed", seed, 0)):
        if not isinstance(number, int | np.integer) or number < least:
            raise DentalzooError(
                f"{word} is a whole number, at least {least}. Received: {number!r}"
            )
    starts = range(0, count, BLOCK)
    return (_block(bundle, start // BLOCK, seed)[: count - start] for start in starts)


def pick_samples(bundle, numbers: Sequence[int], seed: int = 0) -> list[np.ndarray]:
    """The generated images of these numbers once more, (H, W, C) each."""
    found = {}
    for block in {number // BLOCK for number in numbers}:
        images = _block(bundle, block, seed)
        found |= {n: images[n % BLOCK] for n in numbers if n // BLOCK == block}
    return [found[number] for number in numbers]


def _block(bundle, block: int, seed: int) -> np.ndarray:
    words = np.random.SeedSequence((int(seed), block)).generate_state(1, np.uint64)
    return bundle.generate(np.int64(words[0] >> np.uint64(1)), np.int64(BLOCK))["image"]


def quantiles(number: int) -> np.ndarray:
    """Numbers that cut N(0, 1) into parts of one probability, (number,) rising."""
    return np.array([NormalDist().inv_cdf((i + 0.5) / number) for i in range(number)])


def decode_plane(bundle, xs, ys, units: Sequence[int] = (0, 1), latent_dim: int = 2):
    """The images of a plane of the latent space through its origin.

    Args:
        xs, ys: values of the first and of the second of `units`.

    Returns:
        (len(ys), len(xs), H, W, C) float32 in [0, 1].
    """
    z = np.zeros((len(ys), len(xs), latent_dim), np.float32)
    z[..., units[1]] = np.asarray(ys)[:, None]
    z[..., units[0]] = xs
    images = np.concatenate(list(decode(bundle, z.reshape(-1, latent_dim))))
    return images.reshape(len(ys), len(xs), *images.shape[1:])
