"""The brightness of views in the graph: `dentalzoo.data.tones.match_tones`, for batches."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from dentalzoo.data.tones import BLACK, FLAT, LEVELS

if TYPE_CHECKING:
    import tensorflow as tf


def without_background(images: "tf.Tensor") -> "tf.Tensor":
    """Return views in [0, 1] with 0 where they show no jaw.

    Resizing smears the jaw over its silhouette, compression leaves noise beside it.
    """
    import tensorflow as tf

    return tf.where(images > (BLACK + 0.5) / 255, images, 0.0)


def matched(images: "tf.Tensor", tones: Sequence[float]) -> "tf.Tensor":
    """Return views as bright, and as rich in contrast, as those known, see `match_tones`.

    Args:
        images: (B, V, S, S, C) float32 in [0, 1], 0 where they show no jaw; each jaw by itself.
        tones: six rising grey values.

    Returns:
        (B, V, S, S, C) float32 in [0, 1].
    """
    import tensorflow as tf

    least, median, most, low, top, high = (tone / 255 for tone in tones)
    shape = tf.shape(images)
    pixels = tf.reshape(images, [shape[0], -1])
    count = tf.reduce_sum(tf.cast(pixels > 0, tf.int32), axis=1, keepdims=True)
    steps = tf.cast(tf.maximum(count - 1, 0), tf.float32) * tf.constant([LEVELS])
    first = tf.shape(pixels)[1] - tf.maximum(count, 1)  # the background is sorted before the jaw
    found = tf.gather(tf.sort(pixels), first + tf.cast(tf.round(steps), tf.int32), batch_dims=1)
    middle, bright = found[:, :1], found[:, 1:]
    known = (middle >= least) & (middle <= most) & (bright >= low) & (bright <= high)
    changed = ~known & (bright - middle >= FLAT / 255)
    ratio = tf.where(changed, middle / tf.maximum(bright, 1e-3), 0.5)
    gamma = math.log(median / top) / tf.math.log(ratio)
    curve = tf.minimum(top * (pixels / tf.maximum(bright, 1e-3)) ** gamma, 1.0)
    return tf.reshape(tf.where(changed & (pixels > 0), curve, pixels), shape)
