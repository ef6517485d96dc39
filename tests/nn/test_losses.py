"""Losses against their closed forms."""

import numpy as np
import pytest

from dentalzoo.nn import losses


def mask(*values):
    return np.array(values, np.float32).reshape(1, 1, -1, 1)


def test_dice_is_the_formula_over_the_whole_batch():
    gt = np.concatenate([mask(1, 1, 0, 0), mask(1, 0, 0, 0)])
    pred = np.concatenate([mask(0.5, 1, 0.5, 0), mask(0, 0.25, 0, 0)])
    both, total = 1.5, 3 + 2.25
    assert float(losses.Dice()(gt, pred)) == pytest.approx(1 - (2 * both + 1) / (total + 1))


def test_dice_of_nothing_against_nothing_is_zero():
    assert float(losses.Dice()(mask(0, 0), mask(0, 0))) == 0


def test_bce_dice_is_mean_cross_entropy_plus_dice():
    gt, pred = mask(1, 0, 1, 0), mask(0.9, 0.2, 0.6, 0.5)
    bce = -np.mean(np.log([0.9, 0.8, 0.6, 0.5]))
    dice = float(losses.Dice()(gt, pred))
    assert float(losses.BCEDice()(gt, pred)) == pytest.approx(bce + dice, abs=1e-6)


def test_several_classes_are_one_hot_and_averaged():
    gt = mask(0, 1, 2, 2)
    pred = np.array([[[[0.8, 0.1, 0.1], [0, 1, 0], [0.2, 0.2, 0.6], [0, 0, 1]]]], np.float32)
    expected = np.mean(
        [
            1 - (2 * 0.8 + 1) / (1 + 1.0 + 1),
            1 - (2 * 1 + 1) / (1 + 1.3 + 1),
            1 - (2 * 1.6 + 1) / (2 + 1.7 + 1),
        ]
    )
    assert float(losses.Dice()(gt, pred)) == pytest.approx(expected, abs=1e-6)
    cross = -np.mean(np.log([0.8, 1, 0.6, 1]))
    assert float(losses.BCEDice()(gt, pred)) == pytest.approx(expected + cross, abs=1e-5)
