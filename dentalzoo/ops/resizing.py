"""Resizing of images with antialiasing, by operations that every runtime has.

`tf.image.resize(antialias=True)` is `ScaleAndTranslate`, which XLA, GPUs, ONNX and LiteRT lack.
Here rows and columns are multiplied by matrices of the same filter, made in the graph.
"""

import math
from collections.abc import Sequence

import tensorflow as tf

METHODS = {"bilinear": 1.0, "lanczos3": 3.0}
"""Name -> how many pixels the filter reaches to each side."""

BAND = 32
"""New pixels that share a window of old ones: most shares of one matrix for all would be zero."""


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
    one = images.shape[3] == 1  # whose axes need not be exchanged
    planes = images if one else tf.transpose(images, (0, 3, 1, 2))
    planes = tf.reshape(planes, [batch * channels, height, width])
    # The order of fewer products: images shrink to a network's size, which is known, and grow back.
    if isinstance(size[0], int):
        planes = _columns(_rows(planes, height, size[0], method), width, size[1], method)
    else:
        planes = _rows(_columns(planes, width, size[1], method), height, size[0], method)
    if one:
        return tf.reshape(planes, [batch, size[0], size[1], 1])
    planes = tf.reshape(planes, [batch, channels, size[0], size[1]])
    return tf.transpose(planes, (0, 2, 3, 1))


def _rows(
    planes: tf.Tensor, before: "int | tf.Tensor", after: "int | tf.Tensor", method: str
) -> tf.Tensor:
    """Resize planes (P, before, w) to (P, after, w)."""
    weights, places = _bands(before, after, method)
    parts = tf.matmul(weights, tf.gather(planes, places, axis=1))  # (P, bands, BAND, w)
    shape = tf.shape(planes)
    return tf.reshape(parts, [shape[0], tf.shape(weights)[0] * BAND, shape[2]])[:, :after]


def _columns(
    planes: tf.Tensor, before: "int | tf.Tensor", after: "int | tf.Tensor", method: str
) -> tf.Tensor:
    """Resize planes (P, h, before) to (P, h, after)."""
    weights, places = _bands(before, after, method)
    shape = tf.shape(planes)
    lines = tf.reshape(planes, [-1, before])
    windows = tf.transpose(tf.gather(lines, places, axis=1), (1, 0, 2))  # (bands, P h, reach)
    parts = tf.transpose(tf.matmul(windows, weights, transpose_b=True), (1, 0, 2))
    return tf.reshape(parts, [shape[0], shape[1], tf.shape(weights)[0] * BAND])[..., :after]


def _bands(
    before: "int | tf.Tensor", after: "int | tf.Tensor", method: str
) -> tuple[tf.Tensor, tf.Tensor]:
    """Return what bands of BAND neighbouring new pixels are made of.

    Returns:
        (bands, BAND, reach) float32, the share of each old pixel of the band's window in each new
        one, and (bands, reach) int32, the places of these old pixels. What the last band has too
        many repeats the last new pixel.
    """
    scale = tf.cast(before, tf.float32) / tf.cast(after, tf.float32)
    bands = (after + BAND - 1) // BAND
    new = tf.minimum(tf.range(bands * BAND), after - 1)
    centres = (tf.cast(new, tf.float32) + 0.5) * scale - 0.5
    width = tf.maximum(scale, 1.0)
    reach = METHODS[method] * width
    # Of a row only these places, which the filter reaches, are computed: its first ones and count.
    count = tf.minimum(tf.cast(tf.floor(2 * reach), tf.int32) + 1, before)
    first = tf.cast(tf.floor(centres - reach), tf.int32) + 1
    first = tf.clip_by_value(first, 0, before - count)
    window = tf.minimum(tf.cast(tf.floor(BAND * scale), tf.int32) + count + 2, before)
    start = tf.minimum(tf.reshape(first, [bands, BAND])[:, :1], before - window)
    places = first[:, None] + tf.range(count)
    x = (tf.cast(places, tf.float32) - centres[:, None]) / width
    if method == "bilinear":
        shares = tf.maximum(0.0, 1 - tf.abs(x))
    else:
        # sinc(x) sinc(x / 3), with sin(3a) = 3 sin(a) - 4 sin(a)^3 to need one sine.
        third = (math.pi / 3) * tf.clip_by_value(tf.abs(x), 1e-3, 3.0)
        square = tf.square(tf.sin(third))
        shares = square * (1 - 4 / 3 * square) / tf.square(third)
    shares = shares / tf.reduce_sum(shares, axis=1, keepdims=True)
    inside = places - tf.reshape(tf.tile(start, [1, BAND]), [-1, 1])
    inside += window * tf.range(bands * BAND)[:, None]
    flat = tf.scatter_nd(
        tf.reshape(inside, [-1, 1]), tf.reshape(shares, [-1]), [bands * BAND * window]
    )
    return tf.reshape(flat, [bands, BAND, window]), start + tf.range(window)
