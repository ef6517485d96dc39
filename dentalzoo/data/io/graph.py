"""Images inside a TensorFlow graph: what a SavedModel does as `images` does it with files."""

from collections.abc import Sequence


def image_spec(name: str = "images"):
    """The `tf.TensorSpec` of images of any size: uint8 (B, H, W, 1 or 3)."""
    import tensorflow as tf

    return tf.TensorSpec((None, None, None, None), tf.uint8, name)


def to_network(images, size: Sequence[int], channels: int):
    """Brings images to a network's size as `images.read_image` and `images.resize` do.

    Args:
        images: uint8 (B, h, w, 1 or 3), any size.
        size: (H, W).
        channels: 1 (luma of ITU-R 601) or 3 (grey repeated).

    Returns:
        float32 (B, H, W, channels) in [0, 1].
    """
    import tensorflow as tf

    shape = tf.shape(images)
    checks = [
        tf.debugging.assert_equal(
            tf.logical_or(shape[3] == 1, shape[3] == 3),
            True,
            "images (B, H, W, C) with C = 1 or 3 were expected",
        ),
        tf.debugging.assert_positive(shape[1:3], "an image has at least one pixel"),
    ]
    with tf.control_dependencies(checks):  # first, or another operation fails with other words
        images = tf.cast(tf.identity(images), tf.float32)
    if channels == 3:
        images = tf.tile(images, [1, 1, 1, 3 // shape[3]])
    else:
        luma = tf.where(shape[3] == 3, [0.299, 0.587, 0.114], [1.0, 0.0, 0.0])
        images = tf.round(tf.reduce_sum(images * luma[: shape[3]], axis=-1, keepdims=True))
    images.set_shape((None, None, None, channels))
    # The filter of training; with antialias it is Pillow's. What has the size already is whole
    # numbers that it would give back, for more than the time of a small network's convolutions.
    images = tf.cond(
        tf.reduce_all(shape[1:3] == size),
        lambda: images,
        lambda: tf.image.resize(images, size, "lanczos3", antialias=True),
    )
    images.set_shape((None, *size, channels))
    return tf.clip_by_value(tf.round(images), 0.0, 255.0) / 255.0


def files_to_network(encoded, size: Sequence[int], channels: int):
    """`to_network` of images that are decoded in the graph, each of a size of its own.

    Args:
        encoded: string (B,), each the bytes of one PNG, JPEG, BMP or GIF (its first frame). 16 bits
            become 8 as for `images.read_image`, alpha is dropped, EXIF orientation is not applied.
        size, channels: as for `to_network`.

    Returns:
        float32 (B, H, W, channels) in [0, 1].
    """
    import tensorflow as tf

    def deep(content):
        image = tf.cast(tf.io.decode_png(content, 3, tf.uint16), tf.int32)
        high = tf.reduce_max(image)
        top = tf.where(high < 256, 255, tf.where(high < 4096, 4095, 65535))
        return tf.cast((image * 255 + top // 2) // top, tf.uint8)

    def one(content):
        header = tf.strings.substr(content + b"\0" * 25, 0, 25)
        bits = tf.strings.substr(header, 24, 1)
        png = tf.equal(tf.strings.substr(header, 0, 4), b"\x89PNG")
        # Three channels, of grey three alike: so alpha goes.
        image = tf.cond(
            png & tf.equal(bits, b"\x10"),
            lambda: deep(content),
            lambda: tf.io.decode_image(content, channels=3, expand_animations=False),
        )
        return to_network(image[None], size, channels)[0]

    return tf.map_fn(one, encoded, fn_output_signature=tf.TensorSpec((*size, channels), tf.float32))
