"""Images that are there twice: the same pixels, the same source, or nearly alike."""

import hashlib
import logging
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

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
_MOST_BITS = 20
_SIDE = 16
# Correlation of details: copies as above have 0.8 and more, half a copy's resolution 0.7, different
# radiographs in one round frame up to 0.75, different surfaces under one light below 0.2.
_LEAST_CORRELATION, _ENOUGH_CORRELATION = 0.3, 0.8
_DETAIL_SIDE = 48
_CHUNK = 512  # images compared at a time


@dataclass(frozen=True)
class Fingerprint:
    """What two copies of an image share. `near` and `detail` are None for a flat image."""

    exact: bytes
    near: np.ndarray | None  # (4,) uint64
    detail: np.ndarray | None = None  # (2304,) int8


def fingerprint(image: np.ndarray) -> Fingerprint:
    """Hashes a (H, W, C) uint8 image by its luma: all pixels; the signs of the horizontal
    differences of its 16 x 17 miniature; and the details of its 48 x 48 miniature, the local
    brightness and contrast taken out."""
    luma = image[..., 0] if image.shape[2] == 1 else cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    luma = np.ascontiguousarray(luma)
    exact = hashlib.blake2b(luma.tobytes(), digest_size=16, salt=str(luma.shape).encode()[:16])
    small = cv2.resize(luma, (_SIDE + 1, _SIDE), interpolation=cv2.INTER_AREA)
    if small.std() <= 1:
        return Fingerprint(exact.digest(), None)
    signs = small[:, 1:] > small[:, :-1]
    return Fingerprint(exact.digest(), np.packbits(signs).view(np.uint64), _detail(luma))


def _detail(luma: np.ndarray) -> np.ndarray:
    side = (_DETAIL_SIDE, _DETAIL_SIDE)
    small = cv2.resize(luma.astype(np.float32), side, interpolation=cv2.INTER_AREA)
    detail = small - cv2.GaussianBlur(small, (0, 0), 2)
    detail /= np.sqrt(cv2.GaussianBlur(detail * detail, (0, 0), 4)) + 1
    return np.clip(np.rint(40 * (detail - detail.mean())), -127, 127).astype(np.int8).ravel()


def fingerprints(dataset) -> dict[str, Fingerprint]:
    """name -> fingerprint of every sample of a `MaskDataset` or `ImageDataset` that can be read,
    within its window where it has one."""
    prints = {}
    for sample in dataset.samples:
        try:
            image = read_image(sample.image)
        except BadFile:  # reported where the sample is loaded
            continue
        if window := getattr(sample, "window", None):
            top, left, bottom, right = window
            image = image[top:bottom, left:right]
        prints[sample.name] = fingerprint(image)
    return prints


def find_duplicates(a, b=None) -> list[tuple[str, str, str]]:
    """Pairs of images that show the same.

    Args:
        a: a data set, or its `fingerprints` where the images are in memory anyway.
        b: another one, for pairs of one image each; None for the pairs within `a`.

    Returns:
        (name, other name, kind) with the kinds "same pixels"; "same source", two Roboflow
        copies `<source>.rf.<hash>`; and "nearly alike".
    """
    a, b = (x if x is None or isinstance(x, Mapping) else fingerprints(x) for x in (a, b))
    within = b is None
    b = a if within else b
    order = {name: index for index, name in enumerate(b)}
    by_pixels, by_source = defaultdict(list), defaultdict(list)
    for name, one in b.items():
        by_pixels[one.exact].append(name)
        if source := _source(name):
            by_source[source].append(name)
    alike = _nearly_alike(a, b)
    pairs = []
    for name, one in a.items():
        found = dict.fromkeys(by_pixels[one.exact], "same pixels")
        for other in by_source[_source(name)] if _source(name) else ():
            found.setdefault(other, "same source")
        for other in alike[name]:
            found.setdefault(other, "nearly alike")
        pairs += [
            (name, other, kind)
            for other, kind in found.items()
            if not within or order[name] < order[other]
        ]
    return pairs


def report_duplicates(
    prints: Mapping[str, Mapping[str, Fingerprint]], group: Mapping[str, str]
) -> tuple[list[list[str]], list[list[str]]]:
    """Pairs between splits, and pairs within one split of different groups or the same pixels.

    Args:
        prints: split -> name -> fingerprint.
        group: name -> what an image must not be parted from.

    Returns:
        Both as lists of [name, name, kind and split]; logged, up to 20 lines each.
    """
    across = [
        [one, other, f"{kind}, in {a} and {b}"]
        for a, b in combinations(SPLITS, 2)
        for one, other, kind in find_duplicates(prints.get(a, {}), prints.get(b, {}))
    ]
    within = [
        [one, other, f"{kind}, in {a}"]
        for a in SPLITS
        for one, other, kind in find_duplicates(prints.get(a, {}))
        if group[one] != group[other] or kind == "same pixels"
    ]
    for pairs in (across, within):
        for one, other, kind in pairs[:_MAX_LINES]:
            _log.warning("%s and %s: %s", one, other, kind)
        if len(pairs) > _MAX_LINES:
            _log.warning("%d pairs in all", len(pairs))
    return across, within


def _nearly_alike(
    a: Mapping[str, Fingerprint], b: Mapping[str, Fingerprint]
) -> dict[str, list[str]]:
    """name in a -> names in b, by signs and details."""
    alike = defaultdict(list)
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
                least = np.where(bits <= _MOST_BITS, _LEAST_CORRELATION, _ENOUGH_CORRELATION)
                alike[name] += [columns[i] for i in np.flatnonzero(correlation[row] >= least)]
    return alike


def _normed(prints: Mapping[str, Fingerprint], names: list[str]) -> np.ndarray:
    details = np.array([prints[name].detail for name in names], np.float32)
    return details / np.maximum(np.linalg.norm(details, axis=1, keepdims=True), 1)


def _source(name: str) -> str:
    head, mark, _ = name.partition(".rf.")
    return head if mark else ""
