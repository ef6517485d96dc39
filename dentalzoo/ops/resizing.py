"""Resizing of images with antialiasing, by operations that every runtime has.

`tf.image.resize(antialias=True)` is `ScaleAndTranslate`, which XLA, GPUs, ONNX and LiteRT lack.
Here rows and columns are multiplied by matrices of the same filter, made in the graph.
"""

import math
from collections.abc import Sequence

import tensorflow as tf

METHODS = {"bilinear": 1.0, "lanczos3": 3.0}
"""Name -> how many pixels the filter reaches to each side."""


def resize(
    images: tf.Tensor, size: "Sequence[int] | tf.Tensor", method: str = "bilinear"
) -> tf.Tensor:
    """Resize images, with antialiasing where they shrink, as Pillow does.

    Args:
        images: float32 (B, h, w, C), any sizes.
        size: (H, W).
        method: "bilinear" or "lanczos3".

    Returns:
        float32 (B, H, W, C). It differs from `tf.image.resize(antialias=True)` by rounding, about
        1e-5 of the values; on a GPU that multiplies matrices in TensorFloat-32, by 5e-4.
    """
    batch, height, width, channels = (
        static if static is not None else dynamic
        for static, dynamic in zip(images.shape, tf.unstack(tf.shape(images)), strict=True)
    )
    rows, columns = _weights(height, size[0], method), _weights(width, size[1], method)
    one = images.shape[3] == 1  # whose axes need not be exchanged
    planes = images if one else tf.transpose(images, (0, 3, 1, 2))

    def across(planes: tf.Tensor, height: "int | tf.Tensor") -> tf.Tensor:
        lines = tf.reshape(planes, [-1, width])
        lines = tf.matmul(lines, columns, transpose_b=True)
        return tf.reshape(lines, [batch * channels, height, size[1]])

    # The order of fewer products: images shrink to a network's size, which is known, and grow back.
    if isinstance(size[0], int):
        planes = across(tf.matmul(rows, tf.reshape(planes, [-1, height, width])), size[0])
    else:
        planes = tf.matmul(rows, across(planes, height))
    if one:
        return tf.reshape(planes, [batch, size[0], size[1], 1])
    planes = tf.reshape(planes, [batch, channels, size[0], size[1]])
    return tf.transpose(planes, (0, 2, 3, 1))


def _weights(before: "int | tf.Tensor", after: "int | tf.Tensor", method: str) -> tf.Tensor:
    """Return (after, before) float32: the share of each old pixel in each new one."""
    scale = tf.cast(before, tf.float32) / tf.cast(after, tf.float32)
    centres = (tf.cast(tf.range(after), tf.float32) + 0.5) * scale - 0.5
    width = tf.maximum(scale, 1.0)
    reach = METHODS[method] * width
    # Of a row only these places, which the filter reaches, are computed: its first ones and count.
    count = tf.minimum(tf.cast(tf.floor(2 * reach), tf.int32) + 1, before)
    first = tf.cast(tf.floor(centres - reach), tf.int32) + 1
    places = tf.clip_by_value(first, 0, before - count)[:, None] + tf.range(count)
    x = (tf.cast(places, tf.float32) - centres[:, None]) / width
    if method == "bilinear":
        shares = tf.maximum(0.0, 1 - tf.abs(x))
    else:
        # sinc(x) sinc(x / 3), with sin(3a) = 3 sin(a) - 4 sin(a)^3 to need one sine.
        third = (math.pi / 3) * tf.clip_by_value(tf.abs(x), 1e-3, 3.0)
        square = tf.square(tf.sin(third))
        shares = square * (1 - 4 / 3 * square) / tf.square(third)
    shares = shares / tf.reduce_sum(shares, axis=1, keepdims=True)
    places += before * tf.range(after)[:, None]
    flat = tf.scatter_nd(tf.reshape(places, [-1, 1]), tf.reshape(shares, [-1]), [after * before])
    return tf.reshape(flat, [after, before])
