"""Resizing of images with antialiasing, in a form that XLA compiles too.

XLA has no `ScaleAndTranslate`. There, rows and columns are weighted by matrices of the same filter.
"""

import math
from collections.abc import Sequence

import tensorflow as tf

from dentalzoo.ops.xla import in_xla

METHODS = ("bilinear", "lanczos3")


def resize(
    images: tf.Tensor, size: "Sequence[int] | tf.Tensor", method: str = "bilinear"
) -> tf.Tensor:
    """Resize images, with antialiasing where they shrink, as Pillow does.

    Args:
        images: float32 (B, h, w, C).
        size: (H, W).
        method: "bilinear" or "lanczos3".

    Returns:
        float32 (B, H, W, C). The two forms differ by rounding, about 1e-5 of the values.
    """
    if not in_xla():
        return tf.image.resize(images, size, method, antialias=True)
    shape = tf.shape(images)
    rows, columns = (_weights(shape[axis + 1], size[axis], method) for axis in (0, 1))
    return tf.einsum("Hh,bhwc,Ww->bHWc", rows, images, columns)


def _weights(before: tf.Tensor, after: "int | tf.Tensor", method: str) -> tf.Tensor:
    """Return (after, before) float32: the share of each old pixel in each new one."""
    old, new = tf.cast(tf.range(before), tf.float32), tf.cast(tf.range(after), tf.float32)
    scale = tf.cast(before, tf.float32) / tf.cast(after, tf.float32)
    centres = (new + 0.5) * scale - 0.5
    x = (old[None] - centres[:, None]) / tf.maximum(scale, 1.0)
    if method == "bilinear":
        shares = tf.maximum(0.0, 1 - tf.abs(x))
    else:
        angle = math.pi * tf.where(x == 0, 1.0, x)
        values = 3 * tf.sin(angle) * tf.sin(angle / 3) / angle**2
        shares = tf.where(x == 0, 1.0, tf.where(tf.abs(x) < 3, values, 0.0))
    return shares / tf.reduce_sum(shares, axis=1, keepdims=True)
