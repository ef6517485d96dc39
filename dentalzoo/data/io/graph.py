"""The rules of `images`, for files, inside a TensorFlow graph, for a SavedModel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from dentalzoo.data.io import grey_levels

if TYPE_CHECKING:
    import tensorflow as tf


def encoded_spec(count: int | None = None, *, views: bool = False) -> tf.TensorSpec:
    """Return the `tf.TensorSpec` of the bytes of image files: string (B,), or (B, V) of views.

    Args:
        count: V, where it is known.
        views: whether there are V files for each item of the batch.
    """
    import tensorflow as tf

    return tf.TensorSpec((None, count) if views else (None,), tf.string, "encoded")


def image_spec(name: str = "images") -> tf.TensorSpec:
    """Return the `tf.TensorSpec` of images of any size: uint8 (B, H, W, 1 or 3)."""
    import tensorflow as tf

    return tf.TensorSpec((None, None, None, None), tf.uint8, name)


def to_network(images: tf.Tensor, size: Sequence[int], channels: int) -> tf.Tensor:
    """Convert images to a network's size as `images.read_image` and `images.resize` do.

    Args:
        images: uint8 (B, h, w, 1 or 3), any size.
        size: (H, W).
        channels: 1 (luma of ITU-R 601) or 3 (grey repeated).

    Returns:
        float32 (B, H, W, channels) in [0, 1].

    Raises:
        tf.errors.InvalidArgumentError: in the graph, for other channels or no pixel.
    """
    import tensorflow as tf

    from dentalzoo.ops.resizing import resize
    from dentalzoo.ops.xla import in_xla

    shape = tf.shape(images)
    checks = [
        tf.debugging.assert_equal(
            tf.logical_or(shape[3] == 1, shape[3] == 3),
            True,
            "images must be (B, H, W, C) with C = 1 or 3",
        ),
        tf.debugging.assert_positive(shape[1:3], "an image must have at least one pixel"),
    ]
    with tf.control_dependencies(checks):  # first, or another operation fails less clearly
        images = tf.cast(tf.identity(images), tf.float32)
    if channels == 1:
        luma = tf.where(shape[3] == 3, [0.299, 0.587, 0.114], [1.0, 0.0, 0.0])
        luma = luma[: tf.where(shape[3] == 1, 1, 3)]  # fits no other channels
        images = tf.round(tf.reduce_sum(images * luma, axis=-1, keepdims=True))
    elif not in_xla():  # where each channel is resized, as the shapes of XLA are known before
        grey = tf.reduce_all(images[..., :1] == images)
        images = images[..., : tf.where(grey, 1, shape[3])]
    # The filter of training, Pillow's. Images that have the size already would come back unchanged,
    # at more than the cost of a small network's convolutions. XLA compiles both branches, which
    # must have one shape.
    if in_xla():
        images = resize(images, size, "lanczos3")
    else:
        images = tf.cond(
            tf.reduce_all(shape[1:3] == size),
            lambda: images,
            lambda: resize(images, size, "lanczos3"),
        )
    # Planes are clipped, and repeated whole: runtimes work on single values of a short last axis.
    planes = tf.transpose(images, (0, 3, 1, 2))
    planes = tf.clip_by_value(tf.round(planes), 0.0, 255.0) / 255.0
    planes = tf.tile(planes, [1, channels // tf.shape(planes)[1], 1, 1])
    return tf.transpose(tf.reshape(planes, [-1, channels, *size]), (0, 2, 3, 1))


def decode_file(content: tf.Tensor) -> tf.Tensor:
    """Decode the bytes of one image file in the graph.

    Args:
        content: string (), a PNG, JPEG, BMP or GIF (its first frame). 16 bits become 8 as for
            `images.read_image`, alpha is dropped, EXIF orientation is not applied. An image that
            shows nothing passes without a warning.

    Returns:
        uint8 (H, W, 3), equal channels of a grey image.

    Raises:
        tf.errors.InvalidArgumentError: in the graph, for other content, and for a PNG of 16 bits
            that states its depth (sBIT), which only `images.read_image` reads.
    """
    import tensorflow as tf

    header = tf.strings.substr(content + b"\0" * 25, 0, 25)
    bits = tf.strings.substr(header, 24, 1)
    png = tf.equal(tf.strings.substr(header, 0, 4), b"\x89PNG")
    # Three channels, equal ones of a grey image: this drops alpha.
    return tf.cond(
        png & tf.equal(bits, b"\x10"),
        lambda: _decode_16_bits(content),
        lambda: tf.io.decode_image(content, channels=3, expand_animations=False),
    )


def files_to_network(
    encoded: tf.Tensor, size: Sequence[int], channels: int
) -> tuple[tf.Tensor, tf.Tensor]:
    """Decode images of different sizes in the graph and apply `to_network` to each.

    Args:
        encoded: string (B,), each as for `decode_file`.
        size, channels: as for `to_network`.

    Returns:
        float32 (B, H, W, channels) in [0, 1], and the sizes of the images, int32 (B, 2).

    Raises:
        tf.errors.InvalidArgumentError: as `decode_file`.
    """
    import tensorflow as tf

    def read(content: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        image = decode_file(content)
        return to_network(image[None], size, channels)[0], tf.shape(image)[:2]

    specs = tf.TensorSpec((*size, channels), tf.float32), tf.TensorSpec((2,), tf.int32)
    images, sizes = tf.map_fn(read, encoded, fn_output_signature=specs)
    return images, sizes


def _decode_16_bits(content: tf.Tensor) -> tf.Tensor:
    """Decode a PNG of 16 bits to uint8 (H, W, 3) as `grey_levels.to_8_bits` does."""
    import tensorflow as tf

    before = tf.strings.split(content, "IDAT", maxsplit=1)[0]
    stated = tf.shape(tf.strings.split(before, "sBIT"))[0] > 1
    check = tf.debugging.assert_equal(
        stated, False, "a PNG of 16 bits must not state its depth (sBIT); send 8 bits"
    )
    with tf.control_dependencies([check]):
        image = tf.cast(tf.io.decode_png(content, 3, tf.uint16), tf.int32)
    counts = tf.math.bincount(tf.reshape(image, [-1]), minlength=65536, dtype=tf.int64)
    total = tf.reduce_sum(counts)
    top = tf.constant((1 << grey_levels.DEPTHS[-1]) - 1)
    for bits in reversed(grey_levels.DEPTHS[:-1]):
        below, beyond = counts[: 1 << bits], counts[1 << bits :]
        number, values = tf.reduce_sum(beyond), tf.math.count_nonzero(below)
        few = (number - tf.reduce_max(beyond)) * grey_levels.MAX_BEYOND <= total
        gap = tf.reduce_sum(beyond[: grey_levels.GAP_QUARTERS << (bits - 2)])
        upper = tf.reduce_sum(below[1 << (bits - 1) :])
        apart = (
            (100 * number <= grey_levels.MAX_APART * total)
            & (grey_levels.GAP_SHARE * gap <= number)
            & (100 * upper >= grey_levels.UPPER_PERCENT * total)
        )
        holds = (
            (few | apart if bits >= grey_levels.GAP_BITS else few)
            & (10 * number <= grey_levels.MAX_TENTHS * total)
            & (values >= grey_levels.MIN_VALUES)
        )
        top = tf.where((number == 0) | holds, (1 << bits) - 1, top)
    values = tf.squeeze(tf.where(counts > 0), 1)
    number = tf.size(values)
    spread = tf.reduce_all(values % 257 == 0) & (
        (number >= grey_levels.MIN_VALUES) | ((number >= 3) & (values[-1] >= 256))
    )
    top = tf.where(spread, 65535, top)
    return tf.cast(tf.minimum((image * 255 + top // 2) // top, 255), tf.uint8)
