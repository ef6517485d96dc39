"""Losses that several papers use. Predicted masks are probabilities in [0, 1]."""

import keras
from keras import ops

from dentalzoo.nn.replicas import Tensor, sum_over_replicas


class Dice(keras.losses.Loss):
    """1 - (2 * sum(t * p) + smooth) / (sum(t) + sum(p) + smooth), over the whole batch.

    On several devices the sums run over all of them.
    Masks (B, H, W, 1) hold class ids. With one predicted channel they are 0 or 1 and the sums run
    over everything; with K channels they are one-hot encoded and the mean over classes is taken.

    Args:
        smooth: added to numerator and denominator, so that the loss of two empty masks is 0.
    """

    def __init__(self, smooth: float = 1.0, name: str = "dice_loss") -> None:
        super().__init__(name=name)
        self.smooth = smooth

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        y_true = one_hot(y_true, y_pred.shape[-1], y_pred.dtype)
        both = sum_over_replicas(ops.sum(y_true * y_pred, axis=(0, 1, 2)))
        total = ops.sum(y_true, axis=(0, 1, 2)) + ops.sum(y_pred, axis=(0, 1, 2))
        total = sum_over_replicas(total)
        dice = ops.mean(1.0 - (2.0 * both + self.smooth) / (total + self.smooth))
        return dice[None]  # Keras takes the mean over replicas of a vector, but not of a scalar


class BCEDice(Dice):
    """Mean cross-entropy (binary, or categorical with K > 1 channels) plus `Dice`, unweighted."""

    def __init__(self, smooth: float = 1.0, name: str = "bce_dice_loss") -> None:
        super().__init__(smooth, name)

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        dice = super().call(y_true, y_pred)
        y_true = one_hot(y_true, y_pred.shape[-1], y_pred.dtype)
        if y_pred.shape[-1] == 1:
            return ops.mean(ops.binary_crossentropy(y_true, y_pred)) + dice
        return ops.mean(ops.categorical_crossentropy(y_true, y_pred)) + dice


def one_hot(mask: Tensor, num_channels: int, dtype: str) -> Tensor:
    """Encode class ids (B, H, W, 1) as (B, H, W, K); for K = 1 the ids, 0 or 1, are the channel."""
    if num_channels == 1:
        return ops.cast(mask, dtype)
    return ops.one_hot(ops.cast(mask[..., 0], "int32"), num_channels, dtype=dtype)


class MeanOverBatch(keras.losses.Loss):
    """The mean of a (B,) loss that a model computes itself; it is divided among replicas."""

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        return y_pred
