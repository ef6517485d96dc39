"""Anchors and their targets: boxes yxyx in [0, 1], codes as in Faster R-CNN."""

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from dentalzoo.models.panoramic_detection.config import Config
from dentalzoo.models.panoramic_detection.keras2_bridge import vision

if TYPE_CHECKING:
    import tensorflow as tf

CODER = (10.0, 10.0, 5.0, 5.0)  # the paper's box coder: of y, x, height and width
SSD_SCALES = (0.2, 0.35, 0.5, 0.65, 0.8, 0.95, 1.0)  # the paper's config: 0.2 to 0.95
SSD_RATIOS = (1.0, 2.0, 0.5, 3.0, 1 / 3)  # the paper's config
SSD_COUNTS = (3, 6, 6, 6, 6, 6)  # anchors at each cell of the six maps


def ssd_anchors(size: tuple[int, int]) -> np.ndarray:
    """Return the anchors of SSD, as the Object Detection API makes them.

    A map has the boxes of its scale in each ratio, and one of ratio 1 between its scale and the
    next; the first map has three alone.

    Returns:
        (A, 4) float32 yxyx; A = 1,917 for a size of (300, 300).
    """
    maps = [tuple(-(-side // 2**level) for side in size) for level in (4, 5)]
    for _ in range(4):
        maps.append(tuple(-(-side // 2) for side in maps[-1]))
    anchors = []
    for index, (rows, columns) in enumerate(maps):
        scale, following = SSD_SCALES[index : index + 2]
        if index:
            shapes = [(scale, ratio) for ratio in SSD_RATIOS]
            shapes.append((math.sqrt(scale * following), 1.0))
        else:
            shapes = [(0.1, 1.0), (scale, 2.0), (scale, 0.5)]
        sides = np.array([(s / math.sqrt(ratio), s * math.sqrt(ratio)) for s, ratio in shapes])
        y, x = np.meshgrid(
            (np.arange(rows) + 0.5) / rows, (np.arange(columns) + 0.5) / columns, indexing="ij"
        )
        centres = np.stack([y, x], -1)[:, :, None]
        boxes = np.concatenate([centres - sides / 2, centres + sides / 2], -1)
        anchors.append(boxes.reshape(-1, 4))
    return np.concatenate(anchors).astype(np.float32)


def per_cell(config: Config) -> int:
    """Return the number of anchors at each cell of a pyramid's map."""
    return config.num_scales * len(config.aspect_ratios)


def pyramid_anchors(config: Config) -> np.ndarray:
    """Return the anchors of a feature pyramid, by the model garden, (A, 4) float32."""
    make = vision("ops.anchor").build_anchor_generator(
        *config.levels, config.num_scales, list(config.aspect_ratios), config.anchor_size
    )
    levels = make(list(config.input_size)).values()
    pixels = np.concatenate([np.asarray(level).reshape(-1, 4) for level in levels])
    return (pixels / np.tile(config.input_size, 2)).astype(np.float32)


def make_anchors(config: Config) -> np.ndarray:
    """Return the anchors of a config's network, in the order of its outputs, (A, 4) float32."""
    return ssd_anchors(config.input_size) if config.network == "ssd" else pyramid_anchors(config)


def labeler(thresholds: tuple[float, float], samples: int | None = None) -> Any:
    """Return the model garden's object that assigns findings to anchors.

    Args:
        thresholds: of IoU. Below the first an anchor is background, above the second the finding's;
            between both it does not count. The best anchor of each finding is the finding's.
        samples: number of anchors of each radiograph that are sampled anew at each call, at most
            half of them of findings, while the others do not count; None takes all.
    """
    low, high = thresholds
    if samples is None:
        return vision("ops.anchor").AnchorLabeler(high, low)
    return vision("ops.anchor").RpnAnchorLabeler(high, low, samples)


def label(
    labeler: Any, anchors: np.ndarray, boxes: "tf.Tensor", classes: "tf.Tensor"
) -> "tuple[tf.Tensor, tf.Tensor]":
    """Return the targets of each anchor.

    Args:
        labeler: see `labeler`.
        anchors: (A, 4).
        boxes, classes: (B, M, 4) and (B, M) int, 0 where there is none.

    Returns:
        classes (B, A) int32, 0 for background and -1 for what does not count, and codes (B, A, 4).
        Where anchors are sampled, the class of all findings is 1.
    """
    import tensorflow as tf

    from dentalzoo.ops.xla import in_xla

    if in_xla():
        return _label_padded(labeler, anchors, boxes, classes)
    shaped = {"0": tf.reshape(anchors, (-1, 1, 4))}

    @tf.autograph.experimental.do_not_convert
    def one(sample: "tuple[tf.Tensor, tf.Tensor]") -> "tuple[tf.Tensor, tf.Tensor]":
        box, number = sample
        box, number = box[number > 0], number[number > 0]
        targets = labeler.label_anchors(shaped, box, tf.cast(number, tf.float32)[:, None])
        numbers, codes = tf.reshape(targets[0]["0"], (-1,)), tf.reshape(targets[1]["0"], (-1, 4))
        if len(targets) > 2:  # without sampling: which anchors count, and are matched
            counted, matched = targets[3:]
            numbers = tf.where(counted > 0, numbers * matched, -tf.ones_like(numbers))
        return tf.cast(numbers, tf.int32), codes * CODER

    specs = tf.TensorSpec((None,), tf.int32), tf.TensorSpec((None, 4), tf.float32)
    return tf.map_fn(one, (boxes, classes), fn_output_signature=specs)


def _label_padded(
    labeler: Any, anchors: np.ndarray, boxes: "tf.Tensor", classes: "tf.Tensor"
) -> "tuple[tf.Tensor, tf.Tensor]":
    """Return what `label` returns, without dropping the empty rows: XLA has static shapes.

    They become copies of the first finding, which changes no anchor: of equal boxes the first one
    is matched.
    """
    import tensorflow as tf

    shaped = {"0": tf.reshape(anchors, (-1, 1, 4))}
    assign = vision("ops.anchor").AnchorLabeler.label_anchors
    samples = getattr(labeler, "_rpn_batch_size_per_im", None)

    @tf.autograph.experimental.do_not_convert
    def one(sample: "tuple[tf.Tensor, tf.Tensor]") -> "tuple[tf.Tensor, tf.Tensor]":
        box, number = sample
        real = number > 0
        first = tf.argmax(real, output_type=tf.int32)
        box = tf.where(real[:, None], box, box[first])
        number = tf.cast(tf.where(real, number, number[first]), tf.float32)[:, None]
        numbers, codes, _, counted, matched = assign(labeler, shaped, box, number)
        numbers, codes = tf.reshape(numbers["0"], (-1,)), tf.reshape(codes["0"], (-1, 4))
        found = tf.reduce_any(real) & (matched > 0)
        counts = (counted > 0) | ~tf.reduce_any(real)
        if samples is None:
            numbers = tf.where(found, numbers, tf.where(counts, 0.0, -1.0))
        else:
            positive = _draw(found, samples // 2)
            drawn = tf.reduce_sum(tf.cast(positive, tf.int32))
            negative = _draw(counts & ~found, samples - drawn)
            numbers = tf.where(positive, 1.0, tf.where(negative, 0.0, -1.0))
        return tf.cast(numbers, tf.int32), codes * CODER

    specs = tf.TensorSpec((len(anchors),), tf.int32), tf.TensorSpec((len(anchors), 4), tf.float32)
    return tf.map_fn(one, (boxes, classes), fn_output_signature=specs)


def _draw(candidates: "tf.Tensor", count: "int | tf.Tensor") -> "tf.Tensor":
    """Draw up to `count` of the candidates (A,) bool, without replacement: (A,) bool."""
    import tensorflow as tf

    lots = tf.where(candidates, tf.random.uniform(tf.shape(candidates)), 2.0)
    ranks = tf.argsort(tf.argsort(lots))
    return candidates & (ranks < count)


def decode(codes: "tf.Tensor", anchors: "tf.Tensor | np.ndarray") -> "tf.Tensor":
    """Decode codes (B, A, 4) of anchors (A, 4): boxes (B, A, 4) yxyx, cut to [0, 1]."""
    import tensorflow as tf

    codes, anchors = (tf.convert_to_tensor(part, tf.float32) for part in (codes, anchors))
    low, high = tf.split(anchors, 2, axis=-1)
    centre, size = (low + high) / 2, high - low
    move, grow = tf.split(codes / CODER, 2, axis=-1)
    # No size grows more than sixtyfold: the exponential stays finite, as in Faster R-CNN.
    centre, size = centre + move * size, size * tf.exp(tf.minimum(grow, math.log(1000 / 16)))
    return tf.clip_by_value(tf.concat([centre - size / 2, centre + size / 2], -1), 0.0, 1.0)
