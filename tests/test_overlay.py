"""Scoring, measuring and making overlays, on stand-ins that need no network."""

import math

import numpy as np
import pytest

from dentalzoo.errors import DentalzooError
from dentalzoo.overlay.scores import (
    BACKGROUND,
    FAINT,
    VISIBLE,
    Scorer,
    contrast,
    contrast_weights,
    draw_sets,
    score,
)

# ---- scores --------------------------------------------------------------------------------------


def rectangle(top, left, bottom, right, size=64):
    mask = np.zeros((size, size), bool)
    mask[top:bottom, left:right] = True
    return mask


def painted(masks, depths, background=0.7):
    """Flat sources (K, H, W) whose defects are darker than the background by `depths`."""
    return np.stack(
        [np.where(m, background - d, background) for m, d in zip(masks, depths, strict=True)]
    ).astype(np.float32)


THREE = np.stack([rectangle(5, 5, 15, 15), rectangle(30, 8, 33, 50), rectangle(45, 45, 55, 58)])


@pytest.mark.parametrize("sign", [1, -1], ids=["dark", "bright"])
def test_a_composite_that_is_right_by_construction_succeeds(sign):
    sources = painted(THREE, [sign * d for d in (0.3, 0.2, 0.1)])
    composite = sources.min(0) if sign > 0 else sources.max(0)
    found = score(composite, sources, THREE)
    assert found.recovered == pytest.approx((1, 1, 1), abs=1e-5)
    assert found.visible == (True, True, True)
    assert found.background_error == pytest.approx(0, abs=1e-6)
    assert found.success


def test_dark_and_bright_defects_are_judged_alike_in_one_picture():
    sources = painted(THREE[:2], (0.3, -0.2))
    both = sources.sum(0) - 0.7
    assert score(both, sources, THREE[:2]).recovered == pytest.approx((1, 1), abs=1e-5)
    swapped = score(1.4 - both, sources, THREE[:2])
    assert swapped.recovered == pytest.approx((-1, -1), abs=1e-5)
    assert not any(swapped.visible)


def test_a_missing_defect_is_no_success():
    sources = painted(THREE, (0.3, 0.3, 0.3))
    found = score(sources[:2].min(0), sources, THREE)
    assert found.recovered == pytest.approx((1, 1, 0), abs=1e-5)
    assert (found.visible, found.success) == ((True, True, False), False)


def test_a_ghost_of_30_percent_is_not_visible():
    sources = painted(THREE, (0.3, 0.3, 0.3))
    ghost = 0.7 - 0.3 * (0.7 - sources[2])
    found = score(np.minimum(sources[:2].min(0), ghost), sources, THREE)
    assert found.recovered == pytest.approx((1, 1, 0.3), abs=1e-5)
    assert (found.visible, found.success) == ((True, True, False), False)


def test_the_mean_of_three_shows_each_at_a_third():
    sources = painted(THREE, (0.3, 0.2, 0.3))
    found = score(sources.mean(0), sources, THREE)
    assert found.recovered == pytest.approx((1 / 3,) * 3, abs=1e-5)
    assert found.background_error == pytest.approx(0, abs=1e-6)
    assert not found.success


@pytest.mark.parametrize(("shift", "success"), [(0.04, True), (0.06, False), (-0.06, False)])
def test_a_shifted_background_keeps_the_contrast_and_fails_beyond_the_bound(shift, success):
    sources = painted(THREE, (0.3, 0.3, 0.3))
    found = score(sources.min(0) + shift, sources, THREE)
    assert found.recovered == pytest.approx((1, 1, 1), abs=1e-5)
    assert found.background_error == pytest.approx(abs(shift), abs=1e-5)
    assert found.success == success


def test_the_background_wanted_is_the_mean_of_the_sources():
    dark, bright = painted(THREE[:1], (0.2,), 0.4), painted(THREE[1:2], (0.2,), 0.8)
    sources = np.concatenate([dark, bright])
    fair = np.where(THREE[:2].any(0), 0.4, 0.6)
    assert score(fair, sources, THREE[:2]).background_error == pytest.approx(0, abs=1e-6)
    assert score(dark[0], sources, THREE[:2]).background_error == pytest.approx(0.2, abs=1e-5)


def test_overlapping_masks_are_measured_where_they_are_alone():
    masks = np.stack([rectangle(20, 20, 30, 40), rectangle(15, 28, 45, 34)])
    sources = painted(masks, (0.3, 0.3))
    found = score(sources.min(0), sources, masks)
    assert found.recovered == pytest.approx((1, 1), abs=1e-5)
    # The crossing belongs to both: one defect alone does not show the other.
    assert score(sources[0], sources, masks).visible == (True, False)


def test_a_mask_inside_another_is_measured_whole():
    masks = np.stack([rectangle(10, 10, 40, 40), rectangle(20, 20, 24, 24)])
    weights = contrast_weights(masks[1], masks[:1])
    assert np.array_equal(weights < 0, masks[1])
    assert not (weights[masks[0]] > 0).any()  # its ring is outside both


def test_masks_at_the_border_use_what_lies_inside():
    masks = np.stack([rectangle(0, 0, 4, 64), rectangle(60, 60, 64, 64)])
    sources = painted(masks, (0.5, 0.3))
    assert score(sources.min(0), sources, masks).success


def test_without_a_ring_all_background_takes_its_place():
    masks = np.stack(
        [rectangle(10, 10, 20, 20), rectangle(0, 0, 40, 64) & ~rectangle(9, 9, 21, 21)]
    )
    weights = contrast_weights(masks[0], masks[1:])
    assert np.array_equal(weights > 0, rectangle(41, 0, 64, 64))


@pytest.mark.parametrize("mask", [rectangle(0, 0, 64, 64), rectangle(0, 0, 0, 0)])
def test_a_mask_of_everything_or_nothing_cannot_be_judged(mask):
    assert contrast(np.ones((64, 64)), mask) == 0
    found = score(np.zeros((64, 64)), np.zeros((1, 64, 64)), mask[None])
    assert math.isnan(found.recovered[0])
    assert (found.visible, found.success, found.background_error) == ((False,), False, 0.0)


@pytest.mark.parametrize("at", [(0, 0), (63, 30), (31, 31)])
def test_a_mask_of_one_pixel_is_judged(at):
    mask = rectangle(at[0], at[1], at[0] + 1, at[1] + 1)[None]
    sources = painted(mask, (0.4,))
    assert score(sources[0], sources, mask).success
    assert score(np.full((64, 64), 0.7), sources, mask).recovered == pytest.approx((0,), abs=1e-5)


def test_the_ring_lies_three_to_six_pixels_away_and_off_every_mask():
    weights = contrast_weights(rectangle(30, 30, 32, 32), rectangle(24, 0, 26, 64)[None])
    rows, columns = np.nonzero(weights > 0)
    away = np.maximum.reduce([30 - rows, rows - 31, 30 - columns, columns - 31])
    assert (away.min(), away.max()) == (3, 6)
    assert rows.min() == 27  # rows 23 to 26 are the other mask and its edge
    assert weights.sum() == pytest.approx(0, abs=1e-6)


def test_a_faint_source_cannot_be_judged():
    sources = painted(THREE[:2], (0.3, 0.9 * FAINT))
    scorer = Scorer(sources, THREE[:2])
    assert scorer.judgeable.tolist() == [True, False]
    assert math.isnan(scorer.score(sources.min(0)).recovered[1])
    assert not scorer.score(sources.min(0)).success


def test_a_batch_is_scored_as_its_pictures_are():
    rng = np.random.default_rng(0)
    sources, overlays = painted(THREE, (0.3, 0.2, 0.1)), rng.random((5, 64, 64), np.float32)
    scorer = Scorer(sources, THREE)
    recovered, errors = scorer.recovered(overlays), scorer.background_errors(overlays)
    for i, overlay in enumerate(overlays):
        one = scorer.score(overlay)
        assert recovered[i] == pytest.approx(one.recovered, rel=1e-4)
        assert errors[i] == pytest.approx(one.background_error, rel=1e-4)
        assert one.visible == tuple(recovered[i] >= VISIBLE)
        assert one.success == (all(one.visible) and one.background_error <= BACKGROUND)


@pytest.mark.parametrize("shapes", [((3, 8, 8), (2, 8, 8)), ((8, 8), (8, 8)), ((0, 8, 8),) * 2])
def test_sources_and_masks_of_different_shapes_are_refused(shapes):
    with pytest.raises(DentalzooError, match=r"\(K, H, W\) alike. Received"):
        Scorer(np.zeros(shapes[0]), np.zeros(shapes[1], bool))
    with pytest.raises(DentalzooError, match="Received"):
        score(np.zeros((9, 9)), np.zeros((1, 8, 8)), np.zeros((1, 8, 8), bool))


def test_sets_are_different_pairs_and_triples_fixed_by_the_seed():
    sets = draw_sets(40, 100, seed=3)
    assert sets == draw_sets(40, 100, seed=3) != draw_sets(40, 100, seed=4)
    assert len(set(sets)) == 100
    assert [len(one) for one in sets] == [2, 3] * 50
    assert all(list(one) == sorted(set(one)) for one in sets)
    assert {i for one in sets for i in one} == set(range(40))


def test_a_rare_label_is_drawn_as_often_as_a_frequent_one():
    labels = ["pore"] * 90 + ["crack"] * 30
    sets = draw_sets(labels, 400)
    share = np.mean([labels[i] == "crack" for one in sets for i in one])
    assert 0.4 < share < 0.5


def test_no_more_sets_come_than_exist():
    assert sorted(draw_sets(3, 100)) == [(0, 1), (0, 1, 2), (0, 2), (1, 2)]
    assert draw_sets(2, 100) == [(0, 1)]
    with pytest.raises(DentalzooError, match="at least 2 pictures are overlaid. Received: 1"):
        draw_sets(1, 10)
    with pytest.raises(DentalzooError, match="at least 1"):
        draw_sets(5, 0)
