"""Temperatures that are known are found, errors have their closed forms, graphs equal NumPy."""

import numpy as np
import pytest
import tensorflow as tf
from scipy.special import expit, softmax
from scipy.special import logit as scipy_logit

from dentalzoo.ops import calibration
from dentalzoo.ops.calibration import Observed, Scaling, cross_fitted, fit, reliability
from dentalzoo.ops.intervals import interval

RNG = np.random.default_rng(0)


def events(count, temperature=1.0, bias=0.0, seed=0):
    """Return events whose true probabilities are those of the scaled logits."""
    rng = np.random.default_rng(seed)
    z = rng.normal(0, 3, count)
    truth = rng.random(count) < expit(z / temperature + bias)
    return Observed(np.float32(expit(z)), truth)


def test_the_map_is_that_of_the_logits_and_has_an_inverse():
    p = RNG.uniform(0.001, 0.999, 50)
    scaling = Scaling(2.5, -0.4)
    assert scaling(p) == pytest.approx(expit(scipy_logit(p) / 2.5 - 0.4), abs=1e-5)
    assert scaling.inverse(scaling(p)) == pytest.approx(p, abs=1e-5)
    assert scaling.of(0.3) == pytest.approx(expit(scipy_logit(0.3) / 2.5 - 0.4), abs=1e-9)
    assert (scaling.of(0.0), scaling.of(1.0)) == (0, 1)
    assert Scaling().changes is False and scaling.changes is True
    assert np.isfinite(scaling(np.array([0.0, 1.0]))).all()


def test_of_classes_powers_are_normalised_and_the_likeliest_stays():
    logits = RNG.normal(0, 2, (40, 4))
    p = softmax(logits, -1)
    scaled = Scaling(1.7)(p)
    assert scaled == pytest.approx(softmax(logits / 1.7, -1), abs=1e-5)
    assert (scaled.argmax(1) == p.argmax(1)).all()
    assert Scaling(1.7).inverse(scaled) == pytest.approx(p, abs=1e-5)


def test_a_graph_computes_the_same():
    p = np.float32(RNG.random((2, 5, 1)))
    expected = Scaling(0.6, 0.3)(p.ravel())
    assert calibration.scaled(tf.constant(p), 0.6, 0.3).numpy().ravel() == pytest.approx(
        expected, abs=1e-5
    )
    edges = calibration.scaled(tf.constant([0.0, 1.0]), 0.6).numpy()
    assert np.isfinite(edges).all() and edges[0] < 1e-6 and edges[1] > 1 - 1e-6
    classes = np.float32(softmax(RNG.normal(0, 2, (3, 4)), -1))
    assert calibration.scaled_classes(tf.constant(classes), 2.0).numpy() == pytest.approx(
        Scaling(2.0)(classes), abs=1e-5
    )


@pytest.mark.parametrize(("temperature", "bias"), [(1.5, 0.0), (0.4, 0.8)])
def test_a_known_temperature_and_bias_are_found(temperature, bias):
    found = fit(events(40_000, temperature, bias), with_bias=bool(bias))
    assert found.temperature == pytest.approx(temperature, rel=0.05)
    assert found.bias == pytest.approx(bias, abs=0.05)


def test_a_known_temperature_of_classes_is_found():
    logits = RNG.normal(0, 3, (20_000, 3))
    truth = np.array([RNG.choice(3, p=row) for row in softmax(logits / 2.0, -1)])
    assert fit(Observed(softmax(logits, -1), truth)).temperature == pytest.approx(2.0, rel=0.05)


def test_what_is_separated_without_error_keeps_a_finite_temperature():
    observed = Observed(np.array([0.2, 0.3, 0.7, 0.8]), np.array([0, 0, 1, 1], bool))
    assert 0.09 < fit(observed).temperature < 0.11
    assert np.isfinite(fit(observed, with_bias=True).bias)


def test_no_image_is_calibrated_with_a_fit_to_itself():
    images = [events(2_000, 2.0, seed=seed) for seed in range(4)]
    images[0] = Observed(images[0].probabilities, ~images[0].truth)  # an outlier
    others = fit(Observed.together(images[1:]))
    after = cross_fitted(images, folds=4)
    assert after[0].probabilities == pytest.approx(others(images[0].probabilities), abs=1e-6)
    assert others.temperature == pytest.approx(2.0, rel=0.15)


def test_the_expected_error_has_its_closed_form():
    one = Observed(np.full(10, 0.9), np.arange(10) < 7)  # 0.9 against 0.7
    other = Observed(np.full(30, 0.1), np.arange(30) < 6)  # 0.1 against 0.2
    tables = np.stack([reliability(one), reliability(other)])
    error = calibration.expected_error(tables)
    whole, first, nothing = error(np.array([[1, 1], [2, 0], [0, 0]]))
    assert whole == pytest.approx((10 * 0.2 + 30 * 0.1) / 40)
    assert first == pytest.approx(0.2) and np.isnan(nothing)
    row = interval(error, 2)
    assert row["low"] == pytest.approx(0.1) and row["high"] == pytest.approx(0.2)
    assert reliability(Observed(np.array([1.0]), np.array([True])))[-1].tolist() == [1, 1, 1]


def test_of_classes_the_likeliest_counts():
    observed = Observed(np.array([[0.1, 0.7, 0.2], [0.5, 0.3, 0.2]]), np.array([1, 2]))
    table = reliability(observed)
    assert table.sum(0).tolist() == pytest.approx([2, 1.2, 1])


def test_calibrated_events_have_a_small_error_and_loss():
    raw = events(50_000, 0.5)
    after = raw.through(fit(raw))
    errors = [calibration.expected_error(reliability(o)[None]) for o in (raw, after)]
    before, now = (float(error(np.ones((1, 1)))[0]) for error in errors)
    assert now < 0.01 < before and after.log_loss() < raw.log_loss()
