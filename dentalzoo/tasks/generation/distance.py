"""How far generated images are from real ones, on features made by hand: nothing to download.

An image is shrunk or enlarged to a square of at most 128 pixels and described three times:

- colour: means of CIE L*, a*, b* in 4 x 4 cells, and the deviation of L* in each (64 numbers);
- edges: histograms of 6 orientations of the gradient of L*, in 4 x 4 cells of the image and in
  2 x 2 cells of the image at half its size, their square roots (120 numbers);
- spectrum: the log energy of the cosine transform of L*, a*, b* in 5 octaves (15 numbers).

Every number is centred and divided by its deviation over the real images, and each description
weighs a third, so that the real images have variance 1 in all: a distance of 1 is their spread.

Two distances are taken: KID, the unbiased squared MMD of the kernel (x . y + 1)^3 (Binkowski et
al. 2018, arXiv:1801.01401), and the Frechet distance of two normal distributions (Heusel et al.
2017, arXiv:1706.08500). They are no substitute for those of an Inception network and have another
scale. Beside each is its floor: the same distance between two halves of the real images.
"""

from functools import cache

import cv2
import numpy as np

FEATURES = "Lab colour in 4 x 4 cells, edge orientations at two scales, cosine spectrum in octaves"
LARGEST = 128  # pixels a side, ours
_ORIENTATIONS, _CELLS = 6, 4
_OCTAVES = 5
_GROUPS = (64, 120, 15)  # numbers of the three descriptions
_FAINT = (0.01, 0.01, 1.0)  # ours: numbers that vary less between images are divided by this
_SUBSET, _SUBSETS, _DRAWS = 100, 50, 5  # images in a KID subset, subsets, Frechet draws; ours


def features(images: np.ndarray) -> np.ndarray:
    """Describes images.

    Args:
        images: (B, H, W, 1 or 3) float32 in [0, 1].

    Returns:
        (B, 199) float32.
    """
    side = min(LARGEST, max(16, round((images.shape[1] * images.shape[2]) ** 0.5 / 16) * 16))
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
    """Centres and scales features so that `reference`, (N, F), has variance 1 in all."""

    def __init__(self, reference: np.ndarray):
        weights = np.repeat([1 / (len(_GROUPS) * n) ** 0.5 for n in _GROUPS], _GROUPS)
        self.mean = reference.mean(0)
        self.factor = weights / np.maximum(reference.std(0), np.repeat(_FAINT, _GROUPS))

    def __call__(self, described: np.ndarray) -> np.ndarray:
        return (described.astype(np.float64) - self.mean) * self.factor


def kid(a: np.ndarray, b: np.ndarray) -> float:
    """The unbiased squared MMD of scaled features (N, F) and (M, F): about 0 if they are alike."""

    kernel = _kernel(np.concatenate([a, b]))
    return _mmd(kernel, np.arange(len(a)), np.arange(len(a), len(kernel)))


def _kernel(x: np.ndarray) -> np.ndarray:
    return (x @ x.T + 1) ** 3


def _mmd(kernel: np.ndarray, a: np.ndarray, b: np.ndarray) -> float:
    """From the kernel between all images and the numbers of those on each side."""

    def within(part):
        block = kernel[np.ix_(part, part)]
        return (block.sum() - np.trace(block)) / (len(part) * (len(part) - 1))

    return float(within(a) + within(b) - 2 * kernel[np.ix_(a, b)].mean())


def frechet(a: np.ndarray, b: np.ndarray) -> float:
    """The Frechet distance of the normal distributions of scaled features (N, F) and (M, F)."""
    # tr sqrt(A'A B'B) is the sum of the singular values of A B', for any roots A and B.
    roots = [(x - x.mean(0)) / (len(x) - 1) ** 0.5 for x in (a, b)]
    roots = [np.linalg.qr(x, "r") if len(x) > x.shape[1] else x for x in roots]
    cross = np.linalg.svd(roots[0] @ roots[1].T, compute_uv=False).sum()
    spread = sum(float((x**2).sum()) for x in roots)
    return float(((a.mean(0) - b.mean(0)) ** 2).sum() + spread - 2 * cross)


def compare(real: np.ndarray, made: np.ndarray, seed: int = 0) -> dict | None:
    """Both distances of made images from real ones, and the real ones' own floor.

    Args:
        real, made: features (N, F) and (M, F).
        seed: of the subsets.

    Returns:
        "kid" with the mean and the deviation "kid_std" over subsets, "frechet", and the same of
        halves of the real images: "kid_floor", "kid_floor_std", "frechet_floor". The Frechet
        distance falls with the number of images, so it and its floor are of "images" each,
        the mean over draws. "real" and "made" count the images, "subset" those of a subset.
        None of fewer than 4 real images or 2 made ones.
    """
    most = min(len(real) // 2, len(made))
    if most < 2:
        return None
    scale, rng = Scale(real), np.random.default_rng(seed)
    scaled = np.concatenate([scale(real), scale(made)])
    kernel, size = _kernel(scaled), min(most, _SUBSET)
    kids = [
        (_mmd(kernel, first, ours), _mmd(kernel, first, second))
        for first, second, ours in _draws(rng, _SUBSETS, len(real), len(made), size)
    ]
    frechets = [
        (frechet(scaled[first], scaled[ours]), frechet(scaled[first], scaled[second]))
        for first, second, ours in _draws(rng, _DRAWS, len(real), len(made), most)
    ]
    values = {
        "kid": np.mean(kids, 0)[0],
        "kid_std": np.std(kids, 0)[0],
        "kid_floor": np.mean(kids, 0)[1],
        "kid_floor_std": np.std(kids, 0)[1],
        "frechet": np.mean(frechets, 0)[0],
        "frechet_floor": np.mean(frechets, 0)[1],
    }
    values = {key: round(float(value), 6) for key, value in values.items()}
    numbers = {"real": len(real), "made": len(made), "images": most, "subset": size}
    return {**values, **numbers, "features": FEATURES}


def _draws(rng, times: int, real: int, made: int, size: int):
    """Yields the numbers of real images, of as many others, and of made ones, which follow."""
    for _ in range(times):
        order = rng.permutation(real)
        yield order[:size], order[-size:], real + rng.permutation(made)[:size]


def _lab(image: np.ndarray, side: int) -> np.ndarray:
    """CIE L*, a*, b* / 100 at (side, side)."""
    smooth = cv2.INTER_AREA if min(image.shape[:2]) >= side else cv2.INTER_LINEAR
    image = cv2.resize(np.float32(image), (side, side), interpolation=smooth)
    if image.ndim == 2:
        image = cv2.cvtColor(image, cv2.COLOR_GRAY2RGB)
    return cv2.cvtColor(np.clip(image, 0, 1), cv2.COLOR_RGB2Lab) / np.float32(100)


def _cells(maps: np.ndarray, number: int) -> np.ndarray:
    """(B, S, S, ...) -> (B, number, S / number, number, S / number, ...)."""
    batch, side = maps.shape[:2]
    return maps.reshape(batch, number, side // number, number, side // number, *maps.shape[3:])


def _orientations(light: np.ndarray, cells: int) -> np.ndarray:
    """(B, S, S) -> (B, cells, cells, 6): gradients shared out between the two nearest bins."""
    padded = np.pad(light, ((0, 0), (1, 1), (1, 1)), "edge")
    down = padded[:, 2:, 1:-1] - padded[:, :-2, 1:-1]
    right = padded[:, 1:-1, 2:] - padded[:, 1:-1, :-2]
    place = np.arctan2(down, right) / np.pi % 1 * _ORIENTATIONS
    strength = np.hypot(down, right)
    bins = np.arange(_ORIENTATIONS, dtype=np.float32)
    away = np.abs(place[..., None] - bins)
    share = np.maximum(0, 1 - np.minimum(away, _ORIENTATIONS - away))
    return np.sqrt(_cells(share * strength[..., None], cells).mean((2, 4)))


def _spectrum(lab: np.ndarray) -> np.ndarray:
    """(B, S, S, 3) -> (B, 5, 3): log mean energy in octaves down from the finest."""
    side = lab.shape[1]
    cosines, bands = _cosines(side)
    energy = np.square(np.einsum("ij,bjkc,lk->bilc", cosines, lab, cosines, optimize=True))
    # 1e-5: noise of 0.3 of 100 levels of L*, below which nothing is seen; ours
    return np.stack([np.log(energy[:, band].mean(1) + 1e-5) for band in bands], axis=1)


@cache
def _cosines(side: int) -> tuple[np.ndarray, list[np.ndarray]]:
    """The orthonormal cosine transform (S, S), and which coefficients lie in each octave."""
    index = np.arange(side)
    cosines = np.cos(np.pi * (2 * index + 1) * index[:, None] / (2 * side)) * (2 / side) ** 0.5
    cosines[0] /= 2**0.5
    octave = np.floor(-np.log2(np.maximum(np.hypot(*np.mgrid[:side, :side]), 0.5) / side))
    last = _OCTAVES - 2
    return cosines.astype(np.float32), [octave == n for n in range(-1, last)] + [octave >= last]
