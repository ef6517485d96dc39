"""Contact sheets and grids of images."""

import numpy as np
import pytest

from dentalzoo.plots.contact_sheet import (
    GAP,
    TILE,
    contact_sheet,
    grid,
    pairs,
    side_by_side,
    strips,
)
from dentalzoo.plots.pixels import as_pixels

SIZE = 32


@pytest.fixture
def images():
    return np.random.default_rng(0).random((6, SIZE, SIZE, 3), np.float32)


def test_a_contact_sheet_holds_every_image_and_its_texts():
    images = [np.full((50, 300, 3), value, np.uint8) for value in (10, 20, 40, 60)]
    sheet = contact_sheet([images[:2], images[2:]], ["first", "second"], ["Left", "Right"])
    for value in (10, 20, 40, 60):
        assert ((sheet == value).all(2)).sum() >= 50 * 300
    plain = contact_sheet([images[:2], images[2:]], ["", ""], ["Left", "Right"])
    assert plain.shape == sheet.shape and (plain != sheet).any(2).sum() > 100
    long = contact_sheet([images[:2]], ["name " * 200])
    assert long.shape[1] == 3 * 16 + 600
    assert (long[:, -16:] == 255).all()
    narrow = contact_sheet([[images[0][:, :40]]], ["a caption longer than its image"])
    assert 40 + 2 * 16 < narrow.shape[1] < 600 and (narrow[:, -16:] == 255).all()
    whole = contact_sheet(
        [[np.full((50, 600, 3), 10, np.uint8)]], ["a caption longer than its image"]
    )
    np.testing.assert_array_equal(narrow[:34], whole[:34, : narrow.shape[1]])


def test_a_grid_holds_its_images(images):
    sheet = grid(images[:5], 3, tile=SIZE)
    assert sheet.shape == (2 * SIZE + 4, 3 * SIZE + 8, 3) and sheet.dtype == np.uint8
    fifth = sheet[SIZE + 4 :, SIZE + 4 : 2 * SIZE + 4]
    np.testing.assert_array_equal(fifth, as_pixels(images[4]))
    for empty in (sheet[SIZE : SIZE + 4], sheet[SIZE + 4 :, 2 * SIZE + 8 :]):
        assert (empty == 255).all()
    assert grid(images[:1], 8).shape == (96, 96, 3)  # small images are enlarged
    grey = grid([images[0][..., 0], images[0][..., :1]], 2, tile=SIZE, gap=0)
    np.testing.assert_array_equal(grey[:, :SIZE], grey[:, SIZE:])


def test_side_by_side_is_one_row(images):
    np.testing.assert_array_equal(side_by_side(*images[:3]), grid(images[:3], 3))


def test_pairs_put_counterparts_below_each_other(images):
    sheet = pairs([("a caption", images[:2], images[2:4])])
    block = grid(images[:4], 2)
    shown = [
        (top, left)
        for top in range(sheet.shape[0] - len(block) + 1)
        for left in range(sheet.shape[1] - block.shape[1] + 1)
        if (sheet[top : top + len(block), left : left + block.shape[1]] == block).all()
    ]
    assert len(shown) == 1


def test_strips_set_the_ends_apart(images):
    sheet = strips([images[:4], images[:4]], "a caption")
    white = (sheet[TILE] == 255).all(-1)  # a line through the first row
    gaps = [len(run) for run in "".join("01"[int(w)] for w in white).split("0") if run]
    assert [gap for gap in gaps if gap < 16] == [3 * GAP, GAP, 3 * GAP]
