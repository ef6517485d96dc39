"""Distances of generated images from real ones, on handmade features: nothing to download.

An image is resized to a square of at most 128 pixels and described three times:

- colour: means of CIE L*, a*, b* in 4 x 4 cells, and the deviation of L* in each (64 numbers);
- edges: histograms of 6 orientations of the gradient of L*, in 4 x 4 cells of the image and in
  2 x 2 cells of the image at half its size, their square roots (120 numbers);
- spectrum: the log energy of the cosine transform of L*, a*, b* in 5 octaves (15 numbers).

Every number is centred and divided by its deviation over the real images, and each description
has a weight of one third, so that the real images have a total variance of 1: a distance of 1 is
their spread.

Two distances are measured: KID, the unbiased squared MMD of the kernel (x . y + 1)^3 (Binkowski et
al. 2018, arXiv:1801.01401), and the Frechet distance of two normal distributions (Heusel et al.
2017, arXiv:1706.08500). They are no substitute for those of an Inception network and have another
scale. Beside each is its floor: the same distance between two halves of the real images.
"""

from collections.abc import Callable, Iterator
from functools import cache

import cv2
import numpy as np

from dentalzoo.ops.intervals import quotient

FEATURES = "Lab colour in 4 x 4 cells, edge orientations at two scales, cosine spectrum in octaves"
MAX_SIDE = 128  # pixels, ours
_ORIENTATIONS, _CELLS = 6, 4
_OCTAVES = 5
_GROUPS = (64, 120, 15)  # numbers of the three descriptions
_MIN_DEVIATION = (
    0.01,
    0.01,
    1.0,
)  # ours: numbers that vary less between images are divided by this
_SUBSET, _SUBSETS, _REPEATS = 100, 50, 5  # images in a KID subset, subsets, Frechet repeats; ours


def features(images: np.ndarray) -> np.ndarray:
    """Compute the features of images.

    Args:
        images: (B, H, W, 1 or 3) float32 in [0, 1].

    Returns:
        (B, 199) float32.
    """
    side = min(MAX_SIDE, max(16, round((images.shape[1] * images.shape[2]) ** 0.5 / 16) * 16))
    lab = np.stack([_lab(image, side) for image in images])
    light = lab[..., 0]
    half = light.reshape(len(lab), side // 2, 2, side // 2, 2).mean((2, 4))
    cells = _cells(lab, _CELLS)
    parts = (
        cells.mean((2, 4)),
        cells[..., 0].std((2, 4)),
        _orientations(light, _CELLS),
        _orientations(half, _CELLS // 2),
        _spectrum(lab),
    )
    return np.concatenate([part.reshape(len(lab), -1) for part in parts], axis=1)


class Scale:
    """Centring and scaling of features that gives `reference`, (N, F), a total variance of 1."""

    def __init__(self, reference: np.ndarray) -> None:
        weights = np.repeat([1 / (len(_GROUPS) * n) ** 0.5 for n in _GROUPS], _GROUPS)
        self.mean = reference.mean(0)
        self.factor = weights / np.maximum(reference.std(0), np.repeat(_MIN_DEVIATION, _GROUPS))

    def __call__(self, features: np.ndarray) -> np.ndarray:
        return np.asarray((features.astype(np.float64) - self.mean) * self.factor)


def kid(a: np.ndarray, b: np.ndarray) -> float:
    """Unbiased squared MMD of scaled features (N, F) and (M, F): about 0 if they are alike."""
    kernel = _kernel(np.concatenate([a, b]))
    return _mmd(kernel, np.arange(len(a)), np.arange(len(a), len(kernel)))


def resampled_kid(
    real: np.ndarray, generated: np.ndarray
) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """Return `kid` as a function of how often each image counts.

    Copies of one image are no pair: they would add what two images of a kind have in common.

    Args:
        real, generated: features (N, F) and (M, F), at least two each.

    Returns:
        Counts (R, N) and (R, M) -> (R,); NaN where fewer than two images count.
    """
    scale = Scale(real)
    kernel = _kernel(np.concatenate([scale(real), scale(generated)]))
    number = len(real)
    across = kernel[:number, number:].copy()
    np.fill_diagonal(kernel, 0)

    def within(times: np.ndarray, block: np.ndarray) -> np.ndarray:
        pairs = times.sum(1) ** 2 - (times**2).sum(1)
        return quotient(((times @ block) * times).sum(1), pairs)

    def measure(of_real: np.ndarray, of_generated: np.ndarray) -> np.ndarray:
        both = quotient(
            ((of_real @ across) * of_generated).sum(1), of_real.sum(1) * of_generated.sum(1)
        )
        own = within(of_real, kernel[:number, :number])
        return np.asarray(own + within(of_generated, kernel[number:, number:]) - 2 * both)

    return measure


def _kernel(x: np.ndarray) -> np.ndarray:
    return np.asarray((x @ x.T + 1) ** 3)


def _mmd(kernel: np.ndarray, a: np.ndarray, b: np.ndarray) -> float:
    """Return the squared MMD of the images with the indices a and b, from the kernel of all."""

    def within(part: np.ndarray) -> float:
        block = kernel[np.ix_(part, part)]
        return float((block.sum() - np.trace(block)) / (len(part) * (len(part) - 1)))

    return float(within(a) + within(b) - 2 * kernel[np.ix_(a, b)].mean())


def frechet(a: np.ndarray, b: np.ndarray) -> float:
    """Frechet distance of the normal distributions of scaled features (N, F) and (M, F)."""
    # tr sqrt(A'A B'B) is the sum of the singular values of A B', for any roots A and B.
    roots = [(x - x.mean(0)) / (len(x) - 1) ** 0.5 for x in (a, b)]
    roots = [np.linalg.qr(x, "r") if len(x) > x.shape[1] else x for x in roots]
    cross = np.linalg.svd(roots[0] @ roots[1].T, compute_uv=False).sum()
    spread = sum(float((x**2).sum()) for x in roots)
    return float(((a.mean(0) - b.mean(0)) ** 2).sum() + spread - 2 * cross)


def compare(
    real: np.ndarray, generated: np.ndarray, seed: int = 0
) -> dict[str, float | int | str] | None:
    """Measure both distances of generated images from real ones, and the floor of the real ones.

    Args:
        real, generated: features (N, F) and (M, F).
        seed: of the subsets.

    Returns:
        "kid" and its deviation "kid_std" over subsets, "frechet", and the same between halves of
        the real images: "kid_floor", "kid_floor_std", "frechet_floor". The Frechet distance falls
        with the number of images, so it and its floor are measured on "images" each, and averaged
        over repeats. "real" and "generated" count the images, "subset" those of a subset.
        None for fewer than 4 real images or 2 generated ones.
    """
    most = min(len(real) // 2, len(generated))
    if most < 2:
        return None
    scale, rng = Scale(real), np.random.default_rng(seed)
    scaled = np.concatenate([scale(real), scale(generated)])
    kernel, size = _kernel(scaled), min(most, _SUBSET)
    kids = [
        (_mmd(kernel, first, ours), _mmd(kernel, first, second))
        for first, second, ours in _subsets(rng, _SUBSETS, len(real), len(generated), size)
    ]
    frechets = [
        (frechet(scaled[first], scaled[ours]), frechet(scaled[first], scaled[second]))
        for first, second, ours in _subsets(rng, _REPEATS, len(real), len(generated), most)
    ]
    values = {
        "kid": np.mean(kids, 0)[0],
        "kid_std": np.std(kids, 0)[0],
        "kid_floor": np.mean(kids, 0)[1],
        "kid_floor_std": np.std(kids, 0)[1],
        "frechet": np.mean(frechets, 0)[0],
        "frechet_floor": np.mean(frechets, 0)[1],
    }
    rounded = {key: round(float(value), 6) for key, value in values.items()}
    numbers = {"real": len(real), "generated": len(generated), "images": most, "subset": size}
    return {**rounded, **numbers, "features": FEATURES}


def _subsets(
    rng: np.random.Generator, times: int, real: int, generated: int, size: int
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yield indices of real images, of as many others, and of generated ones, which follow them."""
    for _ in range(times):
        order = rng.permutation(real)
        yield order[:size], order[-size:], real + rng.permutation(generated)[:size]


def _lab(image: np.ndarray, side: int) -> np.ndarray:
    """Return CIE L*, a*, b* / 100 at (side, side): (side, side, 3) float32."""
    smooth = cv2.INTER_AREA if min(image.shape[:2]) >= side else cv2.INTER_LINEAR
    image = cv2.resize(np.asarray(image, np.float32), (side, side), interpolation=smooth)
    if image.ndim == 2:
        image = cv2.cvtColor(image, cv2.COLOR_GRAY2RGB)
    return cv2.cvtColor(np.clip(image, 0, 1), cv2.COLOR_RGB2Lab) / np.float32(100)


def _cells(maps: np.ndarray, number: int) -> np.ndarray:
    """Split maps into cells: (B, S, S, ...) -> (B, number, S / number, number, S / number, ...)."""
    batch, side = maps.shape[:2]
    return maps.reshape(batch, number, side // number, number, side // number, *maps.shape[3:])


def _orientations(light: np.ndarray, cells: int) -> np.ndarray:
    """Histograms of gradients, each in its two nearest bins: (B, S, S) -> (B, cells, cells, 6)."""
    padded = np.pad(light, ((0, 0), (1, 1), (1, 1)), "edge")
    down = padded[:, 2:, 1:-1] - padded[:, :-2, 1:-1]
    right = padded[:, 1:-1, 2:] - padded[:, 1:-1, :-2]
    position = np.arctan2(down, right) / np.pi % 1 * _ORIENTATIONS
    strength = np.hypot(down, right)
    bins = np.arange(_ORIENTATIONS, dtype=np.float32)
    away = np.abs(position[..., None] - bins)
    share = np.maximum(0, 1 - np.minimum(away, _ORIENTATIONS - away))
    return np.asarray(np.sqrt(_cells(share * strength[..., None], cells).mean((2, 4))))


def _spectrum(lab: np.ndarray) -> np.ndarray:
    """Log mean energy in octaves, the finest first: (B, S, S, 3) -> (B, 5, 3)."""
    side = lab.shape[1]
    cosines, bands = _cosines(side)
    energy = np.square(np.einsum("ij,bjkc,lk->bilc", cosines, lab, cosines, optimize=True))
    # 1e-5: noise of 0.3 of 100 levels of L*, below which nothing is seen; ours
    return np.stack([np.log(energy[:, band].mean(1) + 1e-5) for band in bands], axis=1)


@cache
def _cosines(side: int) -> tuple[np.ndarray, list[np.ndarray]]:
    """Return the orthonormal cosine transform (S, S), and a mask (S, S) of each octave."""
    index = np.arange(side)
    cosines = np.cos(np.pi * (2 * index + 1) * index[:, None] / (2 * side)) * (2 / side) ** 0.5
    cosines[0] /= 2**0.5
    octave = np.floor(-np.log2(np.maximum(np.hypot(*np.mgrid[:side, :side]), 0.5) / side))
    last = _OCTAVES - 2
    return cosines.astype(np.float32), [octave == n for n in range(-1, last)] + [octave >= last]
