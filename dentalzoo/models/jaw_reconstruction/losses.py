"""The loss of both stages and the metric, both on points (B, N, 3) in units of 40 mm."""

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
