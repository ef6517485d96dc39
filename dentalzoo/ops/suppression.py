"""Non-maximum suppression of boxes, in a form that XLA compiles too."""

import tensorflow as tf

from dentalzoo.ops.xla import in_xla


def suppress(
    boxes: tf.Tensor,
    scores: tf.Tensor,
    per_class: int,
    total: int,
    iou: float,
    score: float,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
    """Keep the likeliest of the boxes of a class that overlap, then the likeliest of all classes.

    XLA has no `CombinedNonMaxSuppression`. There, the likeliest box of each class that is left is
    taken `per_class` times, and drops those that overlap it.

    Args:
        boxes: float32 (B, A, 1 or C, 4) yxyx in [0, 1]: a box for all classes or one for each.
        scores: float32 (B, A, C).
        per_class, total: the largest numbers of boxes of a class, and of all.
        iou: boxes of a class that overlap by more are dropped.
        score: only boxes of a score above it are kept.

    Returns:
        boxes (B, total, 4), scores (B, total), falling, classes (B, total) float32 from 0, and num
        (B,) int32, the rows that count; the others are zeros.
    """
    if not in_xla():
        return tf.image.combined_non_max_suppression(boxes, scores, per_class, total, iou, score)
    boxes = tf.clip_by_value(tf.transpose(boxes, (0, 2, 1, 3)), 0.0, 1.0)  # (B, 1 or C, A, 4)
    left = tf.transpose(scores, (0, 2, 1))  # (B, C, A)
    batch, classes, anchors = tf.shape(left)[0], scores.shape[2], tf.shape(left)[2]
    boxes = tf.broadcast_to(boxes, [batch, classes, anchors, 4])
    per_class = min(per_class, total)
    kept_boxes = tf.TensorArray(tf.float32, per_class, element_shape=(None, classes, 4))
    kept_scores = tf.TensorArray(tf.float32, per_class, element_shape=(None, classes))

    def take(
        step: tf.Tensor, left: tf.Tensor, kept_boxes: tf.TensorArray, kept_scores: tf.TensorArray
    ) -> tuple[tf.Tensor, ...]:
        best = tf.argmax(left, axis=2, output_type=tf.int32)  # (B, C)
        value = tf.reduce_max(left, axis=2)
        box = tf.gather(boxes, best, axis=2, batch_dims=2)  # (B, C, 4)
        dropped = _overlap(box[:, :, None], boxes) > iou
        dropped |= tf.range(anchors) == best[..., None]
        left = tf.where(dropped, -1.0, left)
        kept_boxes, kept_scores = kept_boxes.write(step, box), kept_scores.write(step, value)
        return step + 1, left, kept_boxes, kept_scores

    _, _, kept_boxes, kept_scores = tf.while_loop(
        lambda step, *_: step < per_class,
        take,
        (0, left, kept_boxes, kept_scores),
        maximum_iterations=per_class,
    )
    # (N, B, C, ...) to the C * N candidates of each image.
    count = classes * per_class
    candidates = tf.reshape(tf.transpose(kept_boxes.stack(), (1, 2, 0, 3)), [batch, count, 4])
    values = tf.reshape(tf.transpose(kept_scores.stack(), (1, 2, 0)), [batch, count])
    if count < total:
        candidates = tf.pad(candidates, [[0, 0], [0, total - count], [0, 0]])
        values = tf.pad(values, [[0, 0], [0, total - count]], constant_values=-1.0)
    values, rows = tf.math.top_k(values, total)
    valid = values > score
    zero = tf.zeros_like(values)
    return (
        tf.where(valid[..., None], tf.gather(candidates, rows, batch_dims=1), 0.0),
        tf.where(valid, values, zero),
        tf.where(valid, tf.cast(rows // per_class, tf.float32), zero),
        tf.reduce_sum(tf.cast(valid, tf.int32), axis=1),
    )


def _overlap(one: tf.Tensor, others: tf.Tensor) -> tf.Tensor:
    """Return the IoU of boxes (..., 4) yxyx, 0 where one of them has no area."""
    low = tf.maximum(one[..., :2], others[..., :2])
    high = tf.minimum(one[..., 2:], others[..., 2:])
    shared = tf.reduce_prod(tf.maximum(high - low, 0.0), axis=-1)
    areas = [tf.reduce_prod(box[..., 2:] - box[..., :2], axis=-1) for box in (one, others)]
    union = areas[0] + areas[1] - shared
    empty = (areas[0] <= 0) | (areas[1] <= 0)
    return tf.where(empty, 0.0, shared / tf.where(empty, 1.0, union))
