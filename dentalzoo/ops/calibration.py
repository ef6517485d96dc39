"""Calibrated probabilities: a temperature, its fit, and the expected calibration error.

Guo et al. 2017, arXiv:1706.04599. A logit z becomes z / temperature + bias; the map rises, so that
an order of scores, and what lies above a threshold that is moved with it, stay the same. Of the
probabilities of several classes, each logarithm is divided by the temperature, without a bias.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import tensorflow as tf

BINS = 15  # of the expected calibration error: Guo et al. 2017
FOLDS = 5  # ours
_EPSILON = 1e-7  # keeps logits of float32 probabilities finite, within 16.1
_STEEPEST = 10.0  # largest and, inverted, smallest factor on a logit: ours
_LARGEST_BIAS = 10.0  # ours


@dataclass(frozen=True)
class Scaling:
    """The map from a network's probabilities to calibrated ones.

    Attributes:
        temperature: above 0; larger than 1 where the network is too sure.
        bias: added to the logit; of one probability alone, not of several classes.
    """

    temperature: float = 1.0
    bias: float = 0.0

    def __call__(self, probabilities: np.ndarray) -> np.ndarray:
        """Return calibrated probabilities, float64 of the same shape.

        Args:
            probabilities: (N,) of one event in each row, or (N, K) of K >= 2 classes.
        """
        if np.ndim(probabilities) == 2:
            powers = np.exp(
                np.log(np.asarray(probabilities, np.float64) + _EPSILON) / self.temperature
            )
            return np.asarray(powers / powers.sum(-1, keepdims=True))
        return sigmoid(logit(probabilities) / self.temperature + self.bias)

    @property
    def changes(self) -> bool:
        """Whether the map changes anything."""
        return (self.temperature, self.bias) != (1.0, 0.0)

    @property
    def inverse(self) -> "Scaling":
        """The map back."""
        return Scaling(1 / self.temperature, -self.bias * self.temperature)

    def of(self, value: float) -> float:
        """Return where one probability, such as a threshold, goes; 0 and 1 stay."""
        if not 0 < value < 1:
            return value
        z = (np.log(value) - np.log1p(-value)) / self.temperature + self.bias
        return round(float(sigmoid(z)), 9)


@dataclass(frozen=True)
class Calibration:
    """What `calibrate` of a task found.

    Attributes:
        scaling: the map from the network's probabilities to calibrated ones.
        record: what the metadata keep of it, in plain values: "data", "split", "images", "date";
            "temperature" and "bias"; "folds"; "ece_before" and "ece_after", 95 % intervals over
            images; "log_loss_before" and "log_loss_after".
    """

    scaling: Scaling
    record: Mapping[str, Any]


def scaled(probabilities: "tf.Tensor", temperature: float, bias: float = 0.0) -> "tf.Tensor":
    """Return calibrated probabilities in a graph, see `Scaling`.

    Args:
        probabilities: float32 of any shape, each of one event; where the last axis is longer than
            1 and `bias` is 0, see `scaled_classes`.
    """
    import tensorflow as tf

    z = tf.math.log(probabilities + _EPSILON) - tf.math.log((1 + _EPSILON) - probabilities)
    return tf.sigmoid(z * (1 / temperature) + bias)


def scaled_classes(probabilities: "tf.Tensor", temperature: float) -> "tf.Tensor":
    """Return calibrated probabilities of classes, float32 (..., K), in a graph."""
    import tensorflow as tf

    return tf.nn.softmax(tf.math.log(probabilities + _EPSILON) * (1 / temperature))


def logit(probabilities: np.ndarray) -> np.ndarray:
    """Return the logits of probabilities in [0, 1], within 16.2, in float64."""
    p = np.asarray(probabilities, np.float64)
    return np.asarray(np.log(p + _EPSILON) - np.log(1 + _EPSILON - p))


def sigmoid(z: Any) -> np.ndarray:
    """Return 1 / (1 + exp(-z)) without overflow."""
    return np.asarray(0.5 * (1 + np.tanh(np.asarray(z, np.float64) / 2)))


# ---- fit -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Observed:
    """Probabilities of an image and what was true.

    Attributes:
        probabilities: (N,) float32 of an event, or (N, K) of classes.
        truth: (N,): whether it happened, or the class, from 0.
    """

    probabilities: np.ndarray
    truth: np.ndarray

    @classmethod
    def together(cls, images: Sequence["Observed"]) -> "Observed":
        """Return those of several images as one."""
        return cls(
            np.concatenate([image.probabilities for image in images]),
            np.concatenate([image.truth for image in images]),
        )

    def log_loss(self) -> float:
        """Return the mean negative logarithm of the probability of what was true."""
        p = np.asarray(self.probabilities, np.float64)
        if p.ndim == 2:
            right = np.take_along_axis(p, self.truth[:, None].astype(int), 1)
        else:
            right = np.where(self.truth, p, 1 - p)
        return float(-np.log(right + _EPSILON).mean())

    def through(self, scaling: Scaling) -> "Observed":
        """Return them with calibrated probabilities."""
        return Observed(scaling(self.probabilities), self.truth)


def fit(observed: Observed, with_bias: bool = False) -> Scaling:
    """Return the temperature, and the bias, of the smallest `log_loss`.

    Args:
        observed: of at least one row.
        with_bias: of one probability alone.
    """
    from scipy.optimize import minimize, minimize_scalar

    if observed.probabilities.ndim == 2:

        def loss_of(log_temperature: float) -> float:
            return observed.through(Scaling(float(np.exp(log_temperature)))).log_loss()

        widest = np.log(_STEEPEST)
        best = minimize_scalar(loss_of, bounds=(-widest, widest), method="bounded")
        return Scaling(round(float(np.exp(best.x)), 6))
    z, truth = logit(observed.probabilities), np.asarray(observed.truth, np.float64)

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        factor, bias = parameters
        y = factor * z + bias
        error = sigmoid(y) - truth
        value = np.logaddexp(0, y) - truth * y
        return float(value.mean()), np.array([(error * z).mean(), error.mean()])

    limit = _LARGEST_BIAS if with_bias else 0.0
    bounds = [(1 / _STEEPEST, _STEEPEST), (-limit, limit)]
    factor, bias = minimize(loss, [1.0, 0.0], jac=True, method="L-BFGS-B", bounds=bounds).x
    return Scaling(round(1 / float(factor), 6), round(float(bias), 6))


def cross_fitted(
    images: Sequence[Observed], with_bias: bool = False, folds: int = FOLDS
) -> list[Observed]:
    """Return images with probabilities calibrated on the other folds, for an unbiased error.

    Args:
        images: two or more; the i-th is of fold i modulo `folds`.
    """
    folds = min(folds, len(images))
    fitted = [
        fit(Observed.together([o for i, o in enumerate(images) if i % folds != fold]), with_bias)
        for fold in range(folds)
    ]
    return [image.through(fitted[i % folds]) for i, image in enumerate(images)]


# ---- expected calibration error ------------------------------------------------------------------


def reliability(observed: Observed) -> np.ndarray:
    """Return how confident an image's predictions were, and how often right, by confidence.

    The confidence is the probability of the event, or that of the likeliest class.

    Returns:
        (15, 3) float64: for each of 15 equal parts of [0, 1] the number of predictions, the sum of
        their confidences, and the number of them that were right.
    """
    p, truth = observed.probabilities, observed.truth
    if p.ndim == 2:
        p, truth = p.max(1), p.argmax(1) == truth
    rows = np.minimum((p * BINS).astype(np.int32), BINS - 1)
    sums = [np.bincount(rows, weights, BINS) for weights in (None, p, truth)]
    return np.stack(sums, 1).astype(np.float64)


def expected_error(tables: np.ndarray) -> Callable[[np.ndarray], Any]:
    """Return the statistic "expected calibration error over images", see `intervals.interval`.

    Args:
        tables: (images, 15, 3), `reliability` of each.
    """

    def error(times: np.ndarray) -> np.ndarray:
        count, confidence, right = np.moveaxis(np.tensordot(times, tables, 1), -1, 0)
        total = count.sum(-1)
        known = np.where(total > 0, total, np.nan)  # NaN where there is no prediction
        return np.asarray(np.abs(confidence - right).sum(-1) / known)

    return error
