"""TensorFlow's stateless normal numbers in NumPy, for runtimes that draw no random numbers.

`stateless_normal` is `tf.random.stateless_normal(shape, (seed, 0))` on a CPU or GPU: the same seed
gives the same images in every runtime, but for the last digits. The generator is Philox4x32-10
(Salmon et al. 2011, doi:10.1145/2063384.2063405), the normal numbers are those of Box and Muller.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from dentalzoo.errors import DentalzooError

_ROUNDS = 10
_FACTORS = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_WEYL = np.uint32(0x9E3779B9), np.uint32(0xBB67AE85)
# The key with which TensorFlow mixes a seed, so that near seeds give unlike numbers.
_MIXING = np.uint32(0x3EC8F720), np.uint32(0x02461E29)
_LOW, _HALF = np.uint64(0xFFFFFFFF), np.uint64(32)
_SMALLEST = np.float32(1e-7)  # of what a logarithm is taken of


def stateless_normal(seed: int, n: int, width: int) -> np.ndarray:
    """Return normal random numbers, (n, width) float32, that depend on the seed alone.

    Args:
        seed: int64.
        n: rows, at least 1.
        width: columns.

    Raises:
        DentalzooError: n is less than 1.
    """
    if n < 1:
        raise DentalzooError(f"n, the number of images, must be at least 1. Received: {n}")
    words = np.array([seed, 0], np.int64).view(np.uint32).reshape(4, 1)
    mixed = _philox(words, _MIXING)
    blocks = -(-int(n) * width // 4)
    counters = np.empty((4, blocks), np.uint32)
    counters[:2] = np.arange(blocks, dtype=np.uint64).view(np.uint32).reshape(blocks, 2).T
    counters[2:] = mixed[2:]
    units = _in_unit_interval(_philox(counters, (mixed[0, 0], mixed[1, 0])))
    radius = np.sqrt(np.float32(-2) * np.log(np.maximum(units[::2], _SMALLEST)))
    angle = np.float32(2 * np.pi * np.float64(units[1::2]))
    pairs = np.stack([np.sin(angle) * radius, np.cos(angle) * radius], axis=1)
    values: np.ndarray = pairs.reshape(4, blocks).T.reshape(-1)[: n * width]
    return values.reshape(n, width)


def drawn(function: Callable[..., Any], width: int) -> Callable[..., Any]:
    """Return a function of seed and n for one of the noise, (n, width)."""
    return lambda seed, n: function(noise=stateless_normal(int(seed), int(n), width))


def _philox(counters: np.ndarray, key: tuple[np.uint32, np.uint32]) -> np.ndarray:
    """Return four random words of each counter, (4, N) uint32 -> (4, N) uint32."""
    words = counters
    keys = np.array(key, np.uint32)
    for _ in range(_ROUNDS):
        first = words[0] * _FACTORS[0]
        second = words[2] * _FACTORS[1]
        words = np.stack(
            [
                _high(second) ^ words[1] ^ keys[0],
                _low(second),
                _high(first) ^ words[3] ^ keys[1],
                _low(first),
            ]
        )
        keys = keys + np.array(_WEYL, np.uint32)  # modulo 2 ** 32
    return words


def _high(product: np.ndarray) -> np.ndarray:
    return (product >> _HALF).astype(np.uint32)


def _low(product: np.ndarray) -> np.ndarray:
    return (product & _LOW).astype(np.uint32)


def _in_unit_interval(words: np.ndarray) -> np.ndarray:
    """Return the last 23 bits of words as float32 in [0, 1)."""
    return (words & np.uint32(0x7FFFFF) | np.uint32(127 << 23)).view(np.float32) - np.float32(1)
