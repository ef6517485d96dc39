"""A model that carries its loss, here that of one-stage detectors."""

from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from dentalzoo.models.panoramic_detection.anchors import label, labeler, make_anchors
from dentalzoo.models.panoramic_detection.config import Config
from dentalzoo.models.panoramic_detection.losses import box_losses, class_losses
from dentalzoo.nn.losses import MeanOverBatch
from dentalzoo.nn.replicas import mean_over_replicas


class Detector(keras.Model):
    """image -> {"classes": (B, A, C) logits, "boxes": (B, A, 4) codes} of A anchors.

    Its loss compares them with "boxes" (B, M, 4) yxyx in [0, 1] and "classes" (B, M) from 1, 0
    where there is none. It reports `class_loss` and `box_loss`, both for each finding.

    Args:
        image, outputs: of the functional model.
        config: the paper's.
    """

    def __init__(
        self, image: keras.KerasTensor, outputs: dict[str, keras.KerasTensor], config: Config
    ) -> None:
        super().__init__(inputs=image, outputs=outputs, name="panoramic_detection")
        self.config = config
        self.anchors, self.labeler = make_anchors(config), self.make_labeler()
        self.class_tracker = keras.metrics.Mean(name="class_loss")
        self.box_tracker = keras.metrics.Mean(name="box_loss")
        self.mean_over_batch = MeanOverBatch(name="mean_over_batch")

    def make_labeler(self) -> Any:
        """Return what assigns findings to anchors, see `anchors.labeler`."""
        return labeler(self.config.match)

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> tf.Tensor:
        config = self.config
        class_loss, box_loss = self.sample_losses(x, y, y_pred, training)
        self.class_tracker.update_state(class_loss)
        self.box_tracker.update_state(box_loss)
        loss = class_loss + config.box_weight * box_loss
        if training and config.weight_decay:
            kernels = [v for v in self.trainable_variables if len(v.shape) > 1]
            loss = loss + config.weight_decay * tf.add_n([tf.nn.l2_loss(v.value) for v in kernels])
        return self.mean_over_batch(loss, loss)

    def sample_losses(
        self,
        x: tf.Tensor,
        y: Mapping[str, tf.Tensor],
        y_pred: Mapping[str, tf.Tensor],
        training: bool,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Return the loss of the classes and the loss of the boxes of each image, (B,) each."""
        config = self.config
        targets, target_codes = label(self.labeler, self.anchors, y["boxes"], y["classes"])
        positive = targets > 0
        count = tf.maximum(tf.reduce_sum(tf.cast(positive, tf.float32), axis=1), 1.0)  # (B,)
        if config.loss == "focal":
            # Over the batch, as in the model garden: a radiograph without findings weighs less.
            mean = mean_over_replicas(tf.reduce_mean(count), tf.shape(count)[0])
            count = tf.zeros_like(count) + mean
        class_loss = tf.reduce_sum(class_losses(targets, y_pred["classes"], config), axis=1)
        box_loss = box_losses(target_codes, y_pred["boxes"], positive, config.box_delta)
        return class_loss / count, box_loss / count
