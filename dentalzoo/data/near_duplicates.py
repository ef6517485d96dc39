"""Pairs of images that are nearly alike, in time that grows nearly linearly with their number.

Every pair is judged by the correlation of its details; few pairs are looked at. Candidates are an
image's neighbours by its low frequencies and by those of its seven turned and mirrored forms,
images that share a random selection of signs, and images that a third one resembles. On 6,776
images, 847 with seven copies each, this gave 99.8 % of the pairs that all comparisons give.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from scipy.spatial import cKDTree

# Signs of 256 differences: over 85 panoramic radiographs another JPEG quality, size, brightness or
# 8 pixels of border cut change up to 20, two different radiographs differ in 32 and more. Smooth
# surfaces under one light share the signs and not the details.
_MAX_BITS = 20
SIDE = 16
# Correlation of details: copies as above have 0.8 and more, half a copy's resolution 0.7, different
# radiographs in one round frame up to 0.75, different surfaces under one light below 0.2.
_MIN_CORRELATION, _ENOUGH_CORRELATION = 0.3, 0.8
_DETAIL_SIDE = 48
_FREQUENCIES = 4  # of a 32 x 32 miniature, each way
# Ours, chosen for this share and for time.
_NEIGHBOURS, _TURNED_NEIGHBOURS = 16, 4
_SELECTIONS, _SELECTED, _SHARED = 32, 24, 16
_EPS = 0.5  # a neighbour may be half as far again as the nearest one
_MAX_CLUSTER = 64  # images alike, of which every pair is judged
_CHUNK = 2_000  # pairs at a time: 40 MB


@dataclass(frozen=True)
class Appearance:
    """What an image looks like, whatever its size and brightness.

    Attributes:
        signs: (4,) uint64, 256 signs of the horizontal differences of its 16 x 17 miniature.
        detail: (48, 48) int8, its miniature without the local brightness and contrast.
        low: (4, 4) float32, its low frequencies without the mean, of length 1.
    """

    signs: np.ndarray
    detail: np.ndarray
    low: np.ndarray


def appearance(luma: np.ndarray) -> Appearance | None:
    """Return the appearance of (H, W) uint8; None for a flat image."""
    small = cv2.resize(luma, (SIDE + 1, SIDE), interpolation=cv2.INTER_AREA)
    if small.std() <= 1:
        return None
    signs = np.packbits(small[:, 1:] > small[:, :-1]).view(np.uint64)
    square = cv2.resize(luma, (32, 32), interpolation=cv2.INTER_AREA).astype(np.float32)
    low = cv2.dct(square)[:_FREQUENCIES, :_FREQUENCIES].copy()
    low[0, 0] = 0
    return Appearance(signs, _detail(luma), low / (np.linalg.norm(low) + 1e-6))


def _detail(luma: np.ndarray) -> np.ndarray:
    side = (_DETAIL_SIDE, _DETAIL_SIDE)
    small = cv2.resize(luma.astype(np.float32), side, interpolation=cv2.INTER_AREA)
    detail = small - cv2.GaussianBlur(small, (0, 0), 2)
    detail /= np.sqrt(cv2.GaussianBlur(detail * detail, (0, 0), 4)) + 1
    scaled = np.rint(40 * (detail - detail.mean()))
    return np.asarray(np.clip(scaled, -127, 127), np.int8)


def alike_pairs(images: list[Appearance]) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Return the pairs (i, j), i < j, that are nearly alike, and those that are so when turned.

    Turned pairs are alike after a mirroring or turns by 90 degrees, and not as they are.
    """
    if len(images) < 2:
        return [], []
    details = np.array([image.detail for image in images])
    signs = np.array([image.signs for image in images])
    low = np.array([image.low for image in images])
    candidates = _unique(_neighbours(low, low, _NEIGHBOURS), _sharing(signs))
    upright = _judged(candidates, details, signs)
    linked = _unique(upright, _linked(upright, len(images)))
    upright = _judged(linked, details, signs)
    known = {tuple(pair) for pair in upright.tolist()}
    turned: set[tuple[int, int]] = set()
    from scipy.spatial import cKDTree

    tree = cKDTree(low.reshape(len(low), -1))
    for turn in range(1, 8):
        pairs = _neighbours(_turned_low(low, turn), tree, _TURNED_NEIGHBOURS)
        for i, j in _judged(_ordered(pairs), details, None, turn).tolist():
            turned.add((min(i, j), max(i, j)))
    return sorted(known), sorted(turned - known)


# ---- candidates ----------------------------------------------------------------------------------


def _neighbours(low: np.ndarray, among: "np.ndarray | cKDTree", count: int) -> np.ndarray:
    """Return (P, 2): each image and its nearest ones by low frequencies, itself left out."""
    from scipy.spatial import cKDTree

    tree = among if isinstance(among, cKDTree) else cKDTree(among.reshape(len(among), -1))
    _, near = tree.query(low.reshape(len(low), -1), k=min(count + 1, tree.n), eps=_EPS)
    near = near.reshape(len(low), -1)
    pairs = np.stack([np.repeat(np.arange(len(low)), near.shape[1]), near.ravel()], 1)
    return np.asarray(pairs[pairs[:, 0] != pairs[:, 1]])


def _sharing(signs: np.ndarray) -> np.ndarray:
    """Return (P, 2): images that share a random selection of signs, 16 of them at most each."""
    bits = np.unpackbits(signs.view(np.uint8), axis=1)
    rng = np.random.default_rng(0)
    weights = 1 << np.arange(_SELECTED, dtype=np.int64)
    pairs = [np.zeros((0, 2), np.int64)]
    for _ in range(_SELECTIONS):
        keys = bits[:, rng.choice(bits.shape[1], _SELECTED, replace=False)] @ weights
        order = np.argsort(keys, kind="stable")
        ordered = keys[order]
        for step in range(1, min(_SHARED, len(order) - 1) + 1):
            same = ordered[step:] == ordered[:-step]
            if not same.any():
                break
            pairs.append(np.stack([order[:-step][same], order[step:][same]], 1))
    return np.concatenate(pairs)


def _linked(pairs: np.ndarray, count: int) -> np.ndarray:
    """Return (P, 2): all pairs of images that chains of `pairs` link."""
    if not len(pairs):
        return pairs
    ones = np.ones(len(pairs), np.int8)
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    graph = coo_matrix((ones, (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    _, cluster = connected_components(graph, directed=False)
    order = np.argsort(cluster, kind="stable")
    groups = np.split(order, np.flatnonzero(np.diff(cluster[order])) + 1)
    linked = [
        np.stack([group[i] for i in np.triu_indices(len(group), 1)], 1)
        for group in groups
        if 2 < len(group) <= _MAX_CLUSTER
    ]
    return np.concatenate([np.zeros((0, 2), np.int64), *linked])


def _ordered(pairs: np.ndarray) -> np.ndarray:
    return np.unique(pairs, axis=0) if len(pairs) else pairs.reshape(0, 2)


def _unique(*parts: np.ndarray) -> np.ndarray:
    """Return the different pairs (i, j) with i < j."""
    pairs = np.concatenate(parts)
    return _ordered(np.sort(pairs, axis=1))


# ---- judgement -----------------------------------------------------------------------------------


def _judged(
    pairs: np.ndarray, details: np.ndarray, signs: np.ndarray | None, turn: int = 0
) -> np.ndarray:
    """Return the pairs that are alike when the first image is turned.

    Without signs, which a turn changes, the correlation of details has to be enough.
    """
    kept = [np.zeros((0, 2), np.int64)]
    for part in _chunks(pairs):
        one, other = details[part[:, 0]], details[part[:, 1]]
        correlation = _correlation(_turned(one, turn), other)
        needed: np.ndarray | float = _ENOUGH_CORRELATION
        if signs is not None:
            bits = np.bitwise_count(signs[part[:, 0]] ^ signs[part[:, 1]]).sum(axis=1)
            needed = np.where(bits <= _MAX_BITS, _MIN_CORRELATION, _ENOUGH_CORRELATION)
        kept.append(part[correlation >= needed])
    return np.concatenate(kept)


def _chunks(pairs: np.ndarray) -> Iterator[np.ndarray]:
    for start in range(0, len(pairs), _CHUNK):
        yield pairs[start : start + _CHUNK]


def _correlation(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    flat = [a.reshape(len(a), -1).astype(np.float32) for a in (one, other)]
    lengths = [np.maximum(np.linalg.norm(a, axis=1), 1) for a in flat]
    return np.asarray(np.einsum("ij,ij->i", *flat) / (lengths[0] * lengths[1]))


def _turned(images: np.ndarray, turn: int) -> np.ndarray:
    """Return (N, H, W) turned: bit 0 mirrors columns, bit 1 rows, bit 2 exchanges both."""
    if turn & 1:
        images = images[:, :, ::-1]
    if turn & 2:
        images = images[:, ::-1]
    return images.swapaxes(1, 2) if turn & 4 else images


def _turned_low(low: np.ndarray, turn: int) -> np.ndarray:
    """Return the frequencies of turned images: a mirroring changes the sign of odd ones."""
    signs = 1 - 2 * (np.arange(low.shape[1]) % 2)
    if turn & 1:
        low = low * signs
    if turn & 2:
        low = low * signs[:, None]
    return low.swapaxes(1, 2) if turn & 4 else low
