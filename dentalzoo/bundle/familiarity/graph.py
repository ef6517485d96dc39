"""What is measured of images, and the score, inside a TensorFlow graph."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from dentalzoo.bundle.familiarity.statistics import ARRAYS, PARTS, SIGNED

if TYPE_CHECKING:
    import tensorflow as tf

    from dentalzoo.bundle.familiarity.statistics import Statistics

NAME = "familiarity"  # of the signature, and of its key in the metadata
_FIELDS = 16  # a side, of the layout
_PREVIEW = (64, 64)  # of colours, where the network sees none


def measure(
    maps: Callable[[Any], Any], config: Any
) -> "Callable[[tf.Tensor], dict[str, tf.Tensor]]":
    """Return the function of a graph from images to what `Statistics` compares.

    Args:
        maps: image float32 (B, H, W, C) in [0, 1], as the signatures make it -> maps (B, h, w, F).
        config: of the network, with `input_size` and, where it is not 3, `channels`.

    Returns:
        uint8 (B, h, w, 1 or 3) -> `statistics.Measures` as tensors.
    """
    import numpy as np
    import tensorflow as tf

    from dentalzoo.data.io.graph import to_network

    size, channels = config.input_size, getattr(config, "channels", 3)
    sides = [max(1, side // _FIELDS) for side in size]

    def measured(images: "tf.Tensor") -> "dict[str, tf.Tensor]":
        network = to_network(images, size, channels)
        pooled = []
        for features in tf.nest.flatten(maps(network)):
            # of three axes: tf2onnx exchanges those of squared maps that are one pixel high
            pixels = tf.reshape(features, [-1, np.prod(features.shape[1:3]), features.shape[3]])
            mean = tf.reduce_mean(pixels, 1, keepdims=True)
            variance = tf.reduce_mean(tf.square(pixels - mean), 1)
            pooled += [mean[:, 0], tf.sqrt(variance + 1e-12)]
        grey = tf.reduce_mean(network, -1, keepdims=True)
        fields = tf.nn.avg_pool2d(grey, sides, sides, "VALID")[:, :_FIELDS, :_FIELDS, 0]
        fields = tf.reshape(fields, [-1, fields.shape[1] * fields.shape[2]])
        fields -= tf.reduce_mean(fields, 1, keepdims=True)
        length = tf.sqrt(tf.reduce_sum(tf.square(fields), 1, keepdims=True))
        brightness = tf.reduce_mean(grey, (1, 2, 3))
        squares = tf.square(grey - brightness[:, None, None, None])
        spread = tf.sqrt(tf.reduce_mean(squares, (1, 2, 3)))
        coloured = network if channels == 3 else to_network(images, _PREVIEW, 3)
        colour = tf.reduce_max(coloured, -1) + tf.reduce_max(-coloured, -1)
        sides_of = tf.cast(tf.shape(images)[1:3], tf.float32)
        aspect = tf.math.log(sides_of[1] / sides_of[0])
        return {
            "features": tf.concat(pooled, 1),
            "fields": fields / (length + 1e-3),
            "brightness": brightness,
            "contrast": tf.math.log(spread + 1e-3),
            "aspect": aspect + tf.zeros_like(brightness),
            "colour": tf.reduce_mean(colour, (1, 2)),
        }

    return measured


def signature(holder: Any, maps: Callable[[Any], Any], config: Any, known: "Statistics") -> Any:
    """Return the signature `familiarity`: images uint8 (B, h, w, 1 or 3) -> score and parts, (B,).

    Args:
        holder: the `tf.Module` of the weights, which gets the statistics, and `read_familiarity`.
        maps, config: see `measure`.
        known: the statistics.
    """
    import tensorflow as tf

    from dentalzoo.data.io.graph import image_spec

    measured = measure(maps, config)
    holder.statistics = [tf.Variable(array, trainable=False) for array in known.arrays()]

    @tf.function(input_signature=[])  # type: ignore[untyped-decorator]  # TensorFlow has no types
    def read_familiarity() -> "list[tf.Tensor]":
        return [tf.identity(array) for array in holder.statistics]

    holder.read_familiarity = read_familiarity

    @tf.function(input_signature=[image_spec()])  # type: ignore[untyped-decorator]  # as above
    def familiarity(images: "tf.Tensor") -> "dict[str, tf.Tensor]":
        given = measured(images)
        arrays = dict(zip(ARRAYS, (tf.identity(a) for a in holder.statistics), strict=True))
        z = (given["features"] - arrays["mean"]) / arrays["scale"]
        along = tf.matmul(z, arrays["directions"], transpose_b=True)
        inside = tf.reduce_sum(tf.square(along) / arrays["variances"], 1)
        beside = tf.reduce_sum(tf.square(z), 1) - tf.reduce_sum(tf.square(along), 1)
        content = tf.sqrt((inside + tf.maximum(beside, 0.0) / arrays["rest"]) / z.shape[1])
        layout = 1.0 - tf.reduce_sum(given["fields"] * arrays["template"], 1)
        values = tf.stack([content, layout, *(given[name] for name in SIGNED)], 1)
        ratios = (values - arrays["centres"]) / arrays["bounds"]
        parts = dict(zip(PARTS, tf.unstack(ratios, axis=1), strict=True))
        return {"score": tf.reduce_max(tf.abs(ratios), 1), **parts}

    return familiarity
