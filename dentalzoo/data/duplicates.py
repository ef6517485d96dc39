"""Duplicate images: the same pixels, the same source, or nearly alike, by perceptual hashes."""

import hashlib
import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Protocol

import cv2
import numpy as np

from dentalzoo.data.formats.tree import SPLITS
from dentalzoo.data.io.images import read_image
from dentalzoo.errors import BadFile

_log = logging.getLogger("dentalzoo")
_MAX_LINES = 20  # of pairs in the log

# Signs of 256 differences: over 85 panoramic radiographs another JPEG quality, size, brightness or
# 8 pixels of border cut change up to 20, two different radiographs differ in 32 and more. Smooth
# surfaces under one light share the signs and not the details.
_MAX_BITS = 20
_SIDE = 16
# Correlation of details: copies as above have 0.8 and more, half a copy's resolution 0.7, different
# radiographs in one round frame up to 0.75, different surfaces under one light below 0.2.
_MIN_CORRELATION, _ENOUGH_CORRELATION = 0.3, 0.8
_DETAIL_SIDE = 48
_CHUNK = 512  # images compared at a time


@dataclass(frozen=True)
class PerceptualHash:
    """Hashes by which copies of an image are recognised.

    Attributes:
        exact: a hash of all pixels.
        near: (4,) uint64, 256 signs of differences; None for a flat image.
        detail: (2304,) int8, details of a miniature; None for a flat image.
    """

    exact: bytes
    near: np.ndarray | None
    detail: np.ndarray | None = None


class _Dataset(Protocol):
    """A data set of samples with `name` and `image`, and perhaps `window`."""

    @property
    def samples(self) -> Sequence[Any]: ...


_Hashed = _Dataset | Mapping[str, PerceptualHash]
_BySplit = Mapping[str, Mapping[str, PerceptualHash]]


def perceptual_hash(image: np.ndarray) -> PerceptualHash:
    """Hash an image by its luma.

    That is all pixels; the signs of the horizontal differences of its 16 x 17 miniature; and the
    details of its 48 x 48 miniature, without the local brightness and contrast.

    Args:
        image: (H, W, C) uint8.
    """
    luma = image[..., 0] if image.shape[2] == 1 else cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    luma = np.ascontiguousarray(luma)
    exact = hashlib.blake2b(luma.tobytes(), digest_size=16, salt=str(luma.shape).encode()[:16])
    small = cv2.resize(luma, (_SIDE + 1, _SIDE), interpolation=cv2.INTER_AREA)
    if small.std() <= 1:
        return PerceptualHash(exact.digest(), None)
    signs = small[:, 1:] > small[:, :-1]
    return PerceptualHash(exact.digest(), np.packbits(signs).view(np.uint64), _detail(luma))


def _detail(luma: np.ndarray) -> np.ndarray:
    side = (_DETAIL_SIDE, _DETAIL_SIDE)
    small = cv2.resize(luma.astype(np.float32), side, interpolation=cv2.INTER_AREA)
    detail = small - cv2.GaussianBlur(small, (0, 0), 2)
    detail /= np.sqrt(cv2.GaussianBlur(detail * detail, (0, 0), 4)) + 1
    scaled = np.rint(40 * (detail - detail.mean()))
    return np.asarray(np.clip(scaled, -127, 127), np.int8).ravel()


def perceptual_hashes(dataset: _Dataset) -> dict[str, PerceptualHash]:
    """Return name -> hash of every sample of a data set that can be read.

    Args:
        dataset: a `MaskDataset`, `ImageDataset` or `BoxDataset`; a sample with a window is hashed
            within it.
    """
    hashes: dict[str, PerceptualHash] = {}
    for sample in dataset.samples:
        try:
            image = read_image(sample.image)
        except BadFile:  # reported where the sample is loaded
            continue
        if window := getattr(sample, "window", None):
            top, left, bottom, right = window
            image = image[top:bottom, left:right]
        hashes[sample.name] = perceptual_hash(image)
    return hashes


def find_duplicates(a: _Hashed, b: _Hashed | None = None) -> list[tuple[str, str, str]]:
    """Return pairs of images that show the same.

    Args:
        a: a data set, or its `perceptual_hashes` where the images are in memory anyway.
        b: another one, for pairs of one image each; None for the pairs within `a`.

    Returns:
        (name, other name, kind) with the kinds "same pixels"; "same source", two Roboflow
        copies `<source>.rf.<hash>`; and "nearly alike".
    """
    first = a if isinstance(a, Mapping) else perceptual_hashes(a)
    within = b is None
    second = first if b is None else b if isinstance(b, Mapping) else perceptual_hashes(b)
    order = {name: index for index, name in enumerate(second)}
    by_pixels, by_source = defaultdict(list), defaultdict(list)
    for name, one in second.items():
        by_pixels[one.exact].append(name)
        if source := _source(name):
            by_source[source].append(name)
    alike = _nearly_alike(first, second)
    pairs = []
    for name, one in first.items():
        kinds = dict.fromkeys(by_pixels[one.exact], "same pixels")
        for other in by_source[_source(name)] if _source(name) else ():
            kinds.setdefault(other, "same source")
        for other in alike[name]:
            kinds.setdefault(other, "nearly alike")
        pairs += [
            (name, other, kind)
            for other, kind in kinds.items()
            if not within or order[name] < order[other]
        ]
    return pairs


def report_duplicates(
    hashes: _BySplit, group: Mapping[str, str]
) -> tuple[list[list[str]], list[list[str]]]:
    """Return pairs between splits, and pairs in one split of different groups or the same pixels.

    Args:
        hashes: split -> name -> hash.
        group: name -> its group.

    Returns:
        Both as lists of [name, name, kind and split]; logged, up to 20 lines each.
    """
    across = duplicates_across(hashes)
    within = [
        [one, other, f"{kind}, in {a}"]
        for a in SPLITS
        for one, other, kind in find_duplicates(hashes.get(a, {}))
        if group[one] != group[other] or kind == "same pixels"
    ]
    _log_pairs(within)
    return across, within


def duplicates_across(hashes: _BySplit) -> list[list[str]]:
    """Return pairs between splits as [name, name, kind and splits]; logged, up to 20 lines.

    Args:
        hashes: split -> name -> hash.
    """
    pairs = [
        [one, other, f"{kind}, in {a} and {b}"]
        for a, b in combinations(SPLITS, 2)
        for one, other, kind in find_duplicates(hashes.get(a, {}), hashes.get(b, {}))
    ]
    _log_pairs(pairs)
    return pairs


def _log_pairs(pairs: list[list[str]]) -> None:
    for one, other, kind in pairs[:_MAX_LINES]:
        _log.warning("%s and %s: %s", one, other, kind)
    if len(pairs) > _MAX_LINES:
        _log.warning("%d pairs in all", len(pairs))


def _nearly_alike(
    a: Mapping[str, PerceptualHash], b: Mapping[str, PerceptualHash]
) -> dict[str, list[str]]:
    """Return name in a -> names in b, by signs and details."""
    alike: dict[str, list[str]] = defaultdict(list)
    names_a, names_b = ([n for n, one in x.items() if one.near is not None] for x in (a, b))
    if not names_a or not names_b:
        return alike
    near_b = np.array([b[name].near for name in names_b])
    for start in range(0, len(names_a), _CHUNK):
        rows = names_a[start : start + _CHUNK]
        details = _normed(a, rows)
        for other in range(0, len(names_b), _CHUNK):
            columns = names_b[other : other + _CHUNK]
            correlation = details @ _normed(b, columns).T
            for row, name in enumerate(rows):
                bits = np.bitwise_count(near_b[other : other + _CHUNK] ^ a[name].near).sum(axis=1)
                threshold = np.where(bits <= _MAX_BITS, _MIN_CORRELATION, _ENOUGH_CORRELATION)
                alike[name] += [columns[i] for i in np.flatnonzero(correlation[row] >= threshold)]
    return alike


def _normed(hashes: Mapping[str, PerceptualHash], names: list[str]) -> np.ndarray:
    details = np.array([hashes[name].detail for name in names], np.float32)
    return np.asarray(details / np.maximum(np.linalg.norm(details, axis=1, keepdims=True), 1))


def _source(name: str) -> str:
    head, mark, _ = name.partition(".rf.")
    return head if mark else ""
