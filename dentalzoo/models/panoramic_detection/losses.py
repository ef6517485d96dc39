"""The losses of anchors and boxes: focal loss, hard negatives, smooth L1."""

from typing import TYPE_CHECKING

import tensorflow as tf

if TYPE_CHECKING:
    from dentalzoo.models.panoramic_detection.config import Config


def class_losses(targets: tf.Tensor, logits: tf.Tensor, config: "Config") -> tf.Tensor:
    """Return the class loss of each anchor, (B, A) float32; 0 for anchors that do not count.

    Args:
        targets: (B, A) int, above 0 for findings, 0 for background and -1 for neither.
        logits: (B, A, C).
        config: `loss`, `negatives`, `focal_alpha` and `focal_gamma`.
    """
    one_hot = tf.one_hot(targets - 1, logits.shape[-1])
    loss = tf.nn.sigmoid_cross_entropy_with_logits(one_hot, logits)
    if config.loss == "focal":
        right = tf.where(one_hot > 0, tf.sigmoid(logits), 1 - tf.sigmoid(logits))
        share = tf.where(one_hot > 0, config.focal_alpha, 1 - config.focal_alpha)
        loss = share * (1 - right) ** config.focal_gamma * loss
        return tf.where(targets < 0, 0.0, tf.reduce_sum(loss, -1))
    return hard_negatives(tf.reduce_sum(loss, -1), targets, config.negatives)


def box_losses(
    target_codes: tf.Tensor, codes: tf.Tensor, positive: tf.Tensor, delta: float
) -> tf.Tensor:
    """Return the smooth L1 loss of the codes of findings, summed for each radiograph: (B,).

    Args:
        target_codes, codes: (B, A, 4).
        positive: (B, A) bool, which anchors are of findings.
        delta: see `huber`.
    """
    losses = tf.reduce_sum(huber(target_codes - codes, delta), -1)
    return tf.reduce_sum(tf.where(positive, losses, 0.0), axis=1)


def huber(difference: tf.Tensor, delta: float) -> tf.Tensor:
    """Return x^2 / 2 within `delta` and delta * (|x| - delta / 2) beyond, of any shape."""
    size = tf.abs(difference)
    return tf.where(size <= delta, 0.5 * size**2, delta * (size - 0.5 * delta))


def hard_negatives(losses: tf.Tensor, targets: tf.Tensor, ratio: float) -> tf.Tensor:
    """Keep the losses (B, A) of findings and, for each of these, of the `ratio` worst negatives.

    Args:
        targets: (B, A) int, above 0 for findings, 0 for background and -1 for neither.
    """
    positive = targets > 0
    count = tf.reduce_sum(tf.cast(positive, tf.float32), axis=1, keepdims=True)
    worst = tf.sort(tf.where(targets == 0, losses, -1.0), axis=1, direction="DESCENDING")
    last = tf.cast(ratio * tf.maximum(count, 1.0), tf.int32) - 1
    bound = tf.gather(worst, tf.minimum(last, tf.shape(losses)[1] - 1), batch_dims=1)
    return tf.where(positive | ((targets == 0) & (losses >= bound)), losses, 0.0)
