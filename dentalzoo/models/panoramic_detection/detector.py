"""A model that carries its loss, SSD's here: what anchors should find, what it costs to miss it."""

import keras
import tensorflow as tf

from dentalzoo.models.panoramic_detection.anchors import label, labeler, make_anchors
from dentalzoo.nn.losses import MeanOverBatch


class Detector(keras.Model):
    """image -> {"classes": (B, A, C) logits, "boxes": (B, A, 4) codes} of A anchors.

    Its loss compares them with "boxes" (B, M, 4) yxyx in [0, 1] and "classes" (B, M) from 1, 0
    where there is none. It reports `class_loss` and `box_loss`, both for each finding.

    Args:
        image, outputs: of the functional model.
        config: the paper's.
    """

    def __init__(self, image, outputs: dict, config):
        super().__init__(inputs=image, outputs=outputs, name="panoramic_detection")
        self.config = config
        self.anchors, self.labeler = make_anchors(config), self.make_labeler()
        self.class_tracker = keras.metrics.Mean(name="class_loss")
        self.box_tracker = keras.metrics.Mean(name="box_loss")
        self.mean_over_batch = MeanOverBatch(name="mean_over_batch")

    def make_labeler(self):
        """What gives findings to anchors, see `anchors.labeler`."""
        return labeler(self.config.match)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        config = self.config
        missed, off = self.sample_losses(x, y, y_pred, training)
        self.class_tracker.update_state(missed)
        self.box_tracker.update_state(off)
        loss = missed + config.box_weight * off
        if training and config.weight_decay:
            kernels = [v for v in self.trainable_variables if len(v.shape) > 1]
            loss = loss + config.weight_decay * tf.add_n([tf.nn.l2_loss(v.value) for v in kernels])
        return self.mean_over_batch(loss, loss)

    def sample_losses(self, x, y, y_pred, training: bool):
        """Of classes and of boxes, each (B,)."""
        config = self.config
        wanted, codes = label(self.labeler, self.anchors, y["boxes"], y["classes"])
        positive = wanted > 0
        count = tf.maximum(tf.reduce_sum(tf.cast(positive, tf.float32), axis=1), 1.0)  # (B,)
        if config.loss == "focal":
            # Over the batch, as in the model garden: a radiograph without findings weighs less.
            count = tf.zeros_like(count) + tf.reduce_mean(count)
        missed = tf.reduce_sum(self._class_losses(wanted, y_pred["classes"]), axis=1) / count
        return missed, box_losses(codes, y_pred["boxes"], positive, config.box_delta) / count

    def _class_losses(self, wanted, logits):
        """Of each anchor, (B, A)."""
        config = self.config
        target = tf.one_hot(wanted - 1, logits.shape[-1])
        loss = tf.nn.sigmoid_cross_entropy_with_logits(target, logits)
        if config.loss == "focal":
            right = tf.where(target > 0, tf.sigmoid(logits), 1 - tf.sigmoid(logits))
            share = tf.where(target > 0, config.focal_alpha, 1 - config.focal_alpha)
            loss = share * (1 - right) ** config.focal_gamma * loss
            return tf.where(wanted < 0, 0.0, tf.reduce_sum(loss, -1))
        return hard_negatives(tf.reduce_sum(loss, -1), wanted, config.negatives)


def box_losses(codes, found, positive, delta: float):
    """Smooth L1 of the codes (B, A, 4) of findings, summed for each radiograph: (B,)."""
    off = tf.reduce_sum(huber(codes - found, delta), -1)
    return tf.reduce_sum(tf.where(positive, off, 0.0), axis=1)


def huber(difference, delta: float):
    """Quadratic within `delta`, linear beyond; of slope `delta`."""
    size = tf.abs(difference)
    return tf.where(size <= delta, 0.5 * size**2, delta * (size - 0.5 * delta))


def hard_negatives(losses, wanted, ratio: float):
    """Keeps the losses (B, A) of findings and, for each of these, of the `ratio` worst negatives.

    Args:
        wanted: (B, A) int, above 0 for findings, 0 for background and -1 for neither.
    """
    positive = wanted > 0
    count = tf.reduce_sum(tf.cast(positive, tf.float32), axis=1, keepdims=True)
    worst = tf.sort(tf.where(wanted == 0, losses, -1.0), axis=1, direction="DESCENDING")
    last = tf.cast(ratio * tf.maximum(count, 1.0), tf.int32) - 1
    bound = tf.gather(worst, tf.minimum(last, tf.shape(losses)[1] - 1), batch_dims=1)
    return tf.where(positive | ((wanted == 0) & (losses >= bound)), losses, 0.0)
