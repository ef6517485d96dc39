"""Copies of images among many others, turned and mirrored ones too."""

import time

import cv2
import numpy as np
import pytest

from dentalzoo.data.duplicates import find_duplicates, perceptual_hash, report_duplicates
from dentalzoo.data.near_duplicates import alike_pairs, appearance

TURNS = {
    "mirrored": lambda a: a[:, ::-1],
    "upside down": lambda a: a[::-1, ::-1],
    "flipped": lambda a: a[::-1],
    "turned left": lambda a: np.rot90(a),
    "turned right": lambda a: np.rot90(a, 3),
    "transposed": lambda a: a.T,
    "anti-transposed": lambda a: np.rot90(a, 2).T,
}


def images(count, seed=0, size=(90, 150)):
    """Smooth random images with details."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        coarse = cv2.resize(rng.random((5, 7)).astype(np.float32), size[::-1], interpolation=2)
        fine = cv2.GaussianBlur(rng.random(size).astype(np.float32), (0, 0), 2)
        mixed = coarse + 3 * (fine - 0.5)
        yield cv2.normalize(mixed, None, 20, 235, cv2.NORM_MINMAX).astype(np.uint8)


def copies(image):
    yield cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 40])[1], 0)
    yield cv2.resize(image, None, fx=0.6, fy=0.6, interpolation=cv2.INTER_AREA)
    yield np.clip(image * 1.15 + 5, 0, 255).astype(np.uint8)


def hashed(arrays):
    return {str(i): perceptual_hash(array[..., None]) for i, array in enumerate(arrays)}


def test_copies_are_found_among_others():
    originals = list(images(60))
    arrays = [*originals, *(copy for image in originals[:20] for copy in copies(image))]
    pairs = {(one, other): kind for one, other, kind in find_duplicates(hashed(arrays))}
    for i in range(20):
        for j in range(60 + 3 * i, 63 + 3 * i):
            assert pairs[str(i), str(j)] == "nearly alike"
    assert len(pairs) == 20 * 6, "the copies of one image among themselves too, and no others"


@pytest.mark.parametrize("turn", TURNS)
def test_turned_copies_are_found(turn):
    arrays = list(images(30))
    arrays.append(np.ascontiguousarray(TURNS[turn](arrays[7])))
    ((one, other, kind),) = find_duplicates(hashed(arrays))
    assert (one, other, kind) == ("7", "30", "nearly alike, turned or mirrored")


def test_pairs_of_two_sets_have_one_of_each():
    arrays = list(images(12))
    first, second = hashed(arrays[:6]), hashed([*arrays[6:], next(copies(arrays[2])), arrays[3]])
    assert find_duplicates(first, second) == [("2", "6", "nearly alike"), ("3", "7", "same pixels")]


def test_pairs_are_told_by_split():
    arrays = list(images(8))
    hashes = {
        "train": {"a": perceptual_hash(arrays[0][..., None])},
        "val": {
            "b": perceptual_hash(next(copies(arrays[0]))[..., None]),
            "c": perceptual_hash(arrays[1][..., None]),
            "d": perceptual_hash(next(copies(arrays[1]))[..., None]),
        },
    }
    across, within = report_duplicates(hashes, {name: name for name in "abcd"})
    assert across == [["a", "b", "nearly alike, in train and val"]]
    assert within == [["c", "d", "nearly alike, in val"]]


def test_flat_and_few_images():
    assert appearance(np.full((40, 40), 9, np.uint8)) is None
    assert alike_pairs([]) == ([], [])
    (image,) = images(1)
    assert alike_pairs([appearance(image)]) == ([], [])
    assert alike_pairs([appearance(image)] * 3)[0] == [(0, 1), (0, 2), (1, 2)]


@pytest.mark.slow
def test_the_time_grows_nearly_as_the_number_of_images():
    arrays = images(500, size=(64, 96))
    shown = [appearance(image) for image in arrays]
    rng = np.random.default_rng(1)
    many = []
    for index in range(4000):  # variants of the details, so that no two are alike
        base = shown[index % 500]
        detail = base.detail.astype(int) + rng.integers(-90, 91, base.detail.shape)
        low = base.low + rng.normal(0, 0.03, base.low.shape).astype(np.float32)
        signs = base.signs ^ rng.integers(0, 2**63, 4, dtype=np.uint64)
        clipped = np.clip(detail, -127, 127).astype(np.int8)
        many.append(type(base)(signs, clipped, low / np.linalg.norm(low)))
    many[3999] = many[5]
    seconds = {}
    for count in (1000, 4000):
        start = time.process_time()
        upright, _ = alike_pairs(many[:: 4000 // count])
        seconds[count] = time.process_time() - start
    assert (5, 3999) in upright
    assert seconds[4000] < 8 * seconds[1000], "all pairs would take 16 times as long"
