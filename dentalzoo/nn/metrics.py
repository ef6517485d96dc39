"""Streaming metrics of segmentation: counts over a whole dataset, the same for every batch size.

A mean of per-batch scores depends on how the batches were cut, so each metric here keeps pixel
counts and divides once. Masks (B, H, W, 1) hold class ids; predictions (B, H, W, K) are
probabilities. With K = 1 the positive class is counted, with K > 1 the mean over the classes
1..K-1 that occur is reported: 0 is background.
"""

from typing import Any

import keras
from keras import ops

Tensor = Any  # of the Keras backend, or a NumPy array


class _Counts(keras.metrics.Metric):
    """True positives, false positives and false negatives per foreground class."""

    def __init__(self, name: str, num_channels: int = 1, threshold: float = 0.5) -> None:
        super().__init__(name=name, dtype="float32")
        self.num_channels, self.threshold = num_channels, threshold
        shape = (max(1, num_channels - 1),)
        # Integers: float32 stops counting single pixels at 16.7 million.
        self.tp, self.fp, self.fn = (
            self.add_weight(name=key, shape=shape, initializer="zeros", dtype="int64")
            for key in ("tp", "fp", "fn")
        )

    def update_state(self, y_true: Tensor, y_pred: Tensor, sample_weight: Any = None) -> None:
        if self.num_channels == 1:
            true, predicted = ops.cast(y_true, "float32") > 0.5, y_pred > self.threshold
        else:
            classes = ops.arange(1, self.num_channels, dtype="int32")
            true = ops.equal(ops.cast(y_true, "int32"), classes)
            likeliest = ops.cast(ops.argmax(y_pred, axis=-1), "int32")[..., None]
            predicted = ops.equal(likeliest, classes)

        def count(where: Tensor) -> Tensor:
            return ops.sum(ops.cast(where, "int64"), axis=(0, 1, 2))

        self.tp.assign_add(count(ops.logical_and(true, predicted)))
        self.fp.assign_add(count(ops.logical_and(ops.logical_not(true), predicted)))
        self.fn.assign_add(count(ops.logical_and(true, ops.logical_not(predicted))))

    def _mean(self, numerator: Tensor, denominator: Tensor) -> Tensor:
        """Return the mean ratio over the classes that occur or are predicted; 1 without any."""
        numerator, denominator = ops.cast(numerator, "float32"), ops.cast(denominator, "float32")
        seen = ops.cast(self.tp + self.fp + self.fn > 0, "float32")
        total = ops.sum(seen * numerator / ops.maximum(denominator, 1.0))
        return ops.where(ops.sum(seen) > 0, total / ops.maximum(ops.sum(seen), 1.0), 1.0)


class Dice(_Counts):
    """2 TP / (2 TP + FP + FN)."""

    def result(self) -> Tensor:
        return self._mean(2 * self.tp, 2 * self.tp + self.fp + self.fn)


class IoU(_Counts):
    """TP / (TP + FP + FN)."""

    def result(self) -> Tensor:
        return self._mean(1 * self.tp, self.tp + self.fp + self.fn)


class Precision(_Counts):
    """TP / (TP + FP)."""

    def result(self) -> Tensor:
        return self._mean(1 * self.tp, self.tp + self.fp)


class Recall(_Counts):
    """TP / (TP + FN)."""

    def result(self) -> Tensor:
        return self._mean(1 * self.tp, self.tp + self.fn)


def segmentation_metrics(num_channels: int) -> list[keras.metrics.Metric]:
    """Return accuracy, Dice, IoU, precision and recall for `num_channels` predicted channels."""
    accuracy = (
        keras.metrics.BinaryAccuracy(name="accuracy")
        if num_channels == 1
        else keras.metrics.SparseCategoricalAccuracy(name="accuracy")
    )
    return [
        accuracy,
        Dice("dice", num_channels),
        IoU("iou", num_channels),
        Precision("precision", num_channels),
        Recall("recall", num_channels),
    ]
