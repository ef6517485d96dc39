"""Pictures that are in two splits at once: the same pixels, the same source, or nearly alike."""

import hashlib
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np

from dentalzoo.data.images import read_image
from dentalzoo.data.masks import MaskDataset
from dentalzoo.errors import BadFile

# Of 256 bits. Over 85 panoramic films: another JPEG quality, size, brightness or 8 pixels of border
# cut change up to 20; two different films differ in 32 and more.
_MOST_BITS = 20
_SIDE = 16


@dataclass(frozen=True)
class Fingerprint:
    """What two copies of a picture share. `near` is None for a flat picture."""

    exact: bytes
    near: np.ndarray | None  # (4,) uint64


def fingerprint(image: np.ndarray) -> Fingerprint:
    """Hashes a (H, W, C) uint8 picture by its luma: all pixels, and the signs of the horizontal
    differences of its 16 x 17 miniature."""
    luma = image[..., 0] if image.shape[2] == 1 else cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    luma = np.ascontiguousarray(luma)
    exact = hashlib.blake2b(luma.tobytes(), digest_size=16, salt=str(luma.shape).encode()[:16])
    small = cv2.resize(luma, (_SIDE + 1, _SIDE), interpolation=cv2.INTER_AREA)
    signs = small[:, 1:] > small[:, :-1]
    near = np.packbits(signs).view(np.uint64) if small.std() > 1 else None
    return Fingerprint(exact.digest(), near)


def fingerprints(dataset: MaskDataset) -> dict[str, Fingerprint]:
    """name -> fingerprint of every sample whose picture can be read."""
    prints = {}
    for sample in dataset.samples:
        try:
            prints[sample.name] = fingerprint(read_image(sample.image))
        except BadFile:  # reported where the sample is loaded
            continue
    return prints


def find_duplicates(
    a: MaskDataset | Mapping[str, Fingerprint], b: MaskDataset | Mapping[str, Fingerprint]
) -> list[tuple[str, str, str]]:
    """Pairs of one picture each of `a` and `b` that show the same.

    Args:
        a: a data set, or its `fingerprints` where the pictures are in memory anyway.

    Returns:
        (name in a, name in b, kind) with the kinds "same pixels"; "same source", two Roboflow
        copies `<source>.rf.<hash>`; and "nearly alike".
    """
    a, b = (fingerprints(x) if isinstance(x, MaskDataset) else x for x in (a, b))
    by_pixels, by_source = defaultdict(list), defaultdict(list)
    for name, one in b.items():
        by_pixels[one.exact].append(name)
        if source := _source(name):
            by_source[source].append(name)
    near_names = [name for name, one in b.items() if one.near is not None]
    near = np.array([b[name].near for name in near_names], np.uint64).reshape(-1, 4)
    pairs = []
    for name, one in a.items():
        found = dict.fromkeys(by_pixels[one.exact], "same pixels")
        for other in by_source[_source(name)] if _source(name) else ():
            found.setdefault(other, "same source")
        if one.near is not None:
            bits = np.bitwise_count(near ^ one.near).sum(axis=1)
            for index in np.flatnonzero(bits <= _MOST_BITS):
                found.setdefault(near_names[index], "nearly alike")
        pairs += [(name, other, kind) for other, kind in found.items()]
    return pairs


def _source(name: str) -> str:
    head, mark, _ = name.partition(".rf.")
    return head if mark else ""
