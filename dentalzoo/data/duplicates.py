"""Duplicate images: the same pixels, the same source, or nearly alike, by perceptual hashes."""

import hashlib
import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import cv2
import numpy as np

from dentalzoo.data.formats.tree import SPLITS
from dentalzoo.data.io.images import read_image
from dentalzoo.data.near_duplicates import Appearance, alike_pairs, appearance
from dentalzoo.errors import BadFile

_log = logging.getLogger("dentalzoo")
_MAX_LINES = 20  # of pairs in the log


@dataclass(frozen=True)
class PerceptualHash:
    """Hashes by which copies of an image are recognised.

    Attributes:
        exact: a hash of all pixels.
        near: what the image looks like; None for a flat image.
    """

    exact: bytes
    near: Appearance | None


class _Dataset(Protocol):
    """A data set of samples with `name` and `image`, and perhaps `window`."""

    @property
    def samples(self) -> Sequence[Any]: ...


_Hashed = _Dataset | Mapping[str, PerceptualHash]
_BySplit = Mapping[str, Mapping[str, PerceptualHash]]


def perceptual_hash(image: np.ndarray) -> PerceptualHash:
    """Hash an image by its luma: all pixels, and what they look like.

    Args:
        image: (H, W, C) uint8.
    """
    luma = image[..., 0] if image.shape[2] == 1 else cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    luma = np.ascontiguousarray(luma)
    exact = hashlib.blake2b(luma.tobytes(), digest_size=16, salt=str(luma.shape).encode()[:16])
    return PerceptualHash(exact.digest(), appearance(luma))


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
        copies `<source>.rf.<hash>`; "nearly alike"; and "nearly alike, turned or mirrored".
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
        for other, kind in alike[name]:
            kinds.setdefault(other, kind)
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
    across, inside = _pairs_by_split(hashes)
    within = [
        [one, other, f"{kind}, in {split}"]
        for one, other, kind, split in inside
        if group[one] != group[other] or kind == "same pixels"
    ]
    _log_pairs(across)
    _log_pairs(within)
    return across, within


def _pairs_by_split(
    hashes: _BySplit,
) -> tuple[list[list[str]], list[tuple[str, str, str, str]]]:
    """Return pairs between splits as [name, name, kind and splits], and (..., split) of others."""
    split_of = {name: split for split in SPLITS for name in hashes.get(split, {})}
    everything = {name: hashes[split][name] for name, split in split_of.items()}
    across, within = [], []
    for one, other, kind in find_duplicates(everything):
        if split_of[one] == split_of[other]:
            within.append((one, other, kind, split_of[one]))
        else:
            across.append([one, other, f"{kind}, in {split_of[one]} and {split_of[other]}"])
    return across, within


def _log_pairs(pairs: list[list[str]]) -> None:
    for one, other, kind in pairs[:_MAX_LINES]:
        _log.warning("%s and %s: %s", one, other, kind)
    if len(pairs) > _MAX_LINES:
        _log.warning("%d pairs in all", len(pairs))


def _nearly_alike(
    a: Mapping[str, PerceptualHash], b: Mapping[str, PerceptualHash]
) -> dict[str, list[tuple[str, str]]]:
    """Return name in a -> (name in b, kind), in both directions where a is b."""
    entries = [(0, name, one.near) for name, one in a.items() if one.near is not None]
    if a is not b:
        entries += [(1, name, one.near) for name, one in b.items() if one.near is not None]
    alike: dict[str, list[tuple[str, str]]] = defaultdict(list)
    kinds = ("nearly alike", "nearly alike, turned or mirrored")
    for kind, pairs in zip(kinds, alike_pairs([near for _, _, near in entries]), strict=True):
        for i, j in pairs:
            (set_i, one, _), (set_j, other, _) = entries[i], entries[j]
            if a is b:
                alike[one].append((other, kind))
                alike[other].append((one, kind))
            elif set_i != set_j:  # i < j: the first is of a
                alike[one].append((other, kind))
    return alike


def _source(name: str) -> str:
    head, mark, _ = name.partition(".rf.")
    return head if mark else ""
