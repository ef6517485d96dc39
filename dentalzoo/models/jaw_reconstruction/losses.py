"""Losses and metrics in units of 40 mm: of both stages on points (B, N, 3), and of depth."""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from dentalzoo.data.jaw_pose import SCALE
from dentalzoo.models.jaw_reconstruction.config import Config
from dentalzoo.ops import points

Loss = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


def stage_weights(epoch: int, config: Config) -> tuple[float, float]:
    """Return the weights (l1, chamfer) of an epoch, counted from 0."""
    stage = int(epoch >= round(config.first_stage * config.epochs))
    return config.l1_weights[stage], config.chamfer_weights[stage]


def staged_loss(model: Any, config: Config, steps: int) -> Loss:
    """Return the loss: ground truth and predicted points, (B, N, 3) each -> (B,).

    Args:
        model: its optimizer counts the steps.
        steps: number of training steps; the fraction of them that is done decides the stage.
    """
    weights_of = [stage_weights(epoch, config) for epoch in range(config.epochs)]
    table = np.array(weights_of, np.float32)  # (epochs, 2)

    def l1(y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        if config.pairs == "index":
            return tf.reduce_mean(tf.abs(y_pred - y_true), axis=(1, 2))
        return points.chamfer(y_pred, y_true, squared=False, max_points=config.max_points)

    def chamfer(y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        return points.chamfer(y_pred, y_true, max_points=config.max_points)

    def weighted(part: Loss, weight: tf.Tensor, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        """Return weight * part, which is not computed where the weight is 0."""
        zeros = tf.zeros(tf.shape(y_true)[:1])
        return tf.cond(weight > 0, lambda: weight * part(y_true, y_pred), lambda: zeros)

    def loss(y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        epoch = tf.cast(model.optimizer.iterations, tf.int64) * config.epochs // steps
        weights = tf.gather(table, tf.minimum(epoch, config.epochs - 1))
        parts = [(l1, weights[0])] * any(table[:, 0]) + [(chamfer, weights[1])] * any(table[:, 1])
        return tf.add_n([weighted(*part, y_true, y_pred) for part in parts])

    return loss


def mean_error(config: Config) -> Loss:
    """Return the metric `error_mm`: mean distance of points from theirs, in mm, (B,)."""

    def error_mm(y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        if config.pairs == "index":
            return SCALE * tf.reduce_mean(tf.norm(y_pred - y_true, axis=-1), axis=-1)
        most = min(2048, config.max_points or config.num_points)  # enough for a mean
        return SCALE * points.chamfer(y_pred, y_true, squared=False, max_points=most)

    return error_mm


# ---- depth ---------------------------------------------------------------------------------------

_STEEP = 0.05  # ours: 2 mm between neighbouring pixels: one hides another
_FAR = 0.25  # ours: 10 mm; worse pixels weigh no more
_PRESENCE = 0.1  # ours: of the logit of presence


def depth_loss(y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
    """Return the loss of depth, (B,).

    Args:
        y_true: (B, 10, S, S, 1), 0 beside the jaw.
        y_pred: (B, 10, S, S, 4), of `depth_network`.

    The sum of the mean absolute errors of depth, of the coarse depth and of the differences
    between neighbouring pixels, of the likelihood of the expected errors, and of presence.
    """
    depth, log_scale, coarse, presence = tf.unstack(y_pred, axis=-1)
    truth = y_true[..., 0]
    hit = truth > 0
    error = tf.minimum(tf.abs(depth - truth), _FAR)
    coarse_error = tf.minimum(tf.abs(coarse - truth), _FAR)
    log_scale = tf.clip_by_value(log_scale, -8.0, 0.0)
    likelihood = tf.stop_gradient(error) * tf.exp(-log_scale) + log_scale
    loss = _mean(error + coarse_error + 0.01 * likelihood, hit)
    for axis in (2, 3):
        change, true_change = _change(depth, axis), _change(truth, axis)
        smooth = _both(hit, axis) & (tf.abs(true_change) < _STEEP)
        loss += _mean(tf.minimum(tf.abs(change - true_change), _STEEP), smooth)
    there = tf.nn.sigmoid_cross_entropy_with_logits(tf.cast(hit, presence.dtype), presence)
    return loss + _PRESENCE * tf.reduce_mean(there, axis=(1, 2, 3))


def depth_error() -> Loss:
    """Return the metric `error_mm`: mean absolute error of depth where the jaw is, in mm, (B,)."""

    def error_mm(y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        return SCALE * _mean(tf.abs(y_pred[..., 0] - y_true[..., 0]), y_true[..., 0] > 0)

    return error_mm


def _mean(values: tf.Tensor, where: tf.Tensor) -> tf.Tensor:
    """Return the mean of (B, 10, H, W) where a mask is true, (B,)."""
    weights = tf.cast(where, values.dtype)
    total = tf.reduce_sum(values * weights, axis=(1, 2, 3))
    return total / tf.maximum(tf.reduce_sum(weights, axis=(1, 2, 3)), 1)


def _change(x: tf.Tensor, axis: int) -> tf.Tensor:
    """Return the difference of neighbours along a row (axis 3) or a column (axis 2)."""
    return x[:, :, 1:] - x[:, :, :-1] if axis == 2 else x[..., 1:] - x[..., :-1]


def _both(hit: tf.Tensor, axis: int) -> tf.Tensor:
    return hit[:, :, 1:] & hit[:, :, :-1] if axis == 2 else hit[..., 1:] & hit[..., :-1]
