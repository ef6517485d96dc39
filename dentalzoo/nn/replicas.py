"""Sums over the replicas of a `tf.distribute` strategy, for losses of a whole batch.

Keras takes the mean of the replicas' losses. A loss that is no mean over samples, such as a ratio
of sums, is that of the whole batch only if its sums run over all replicas. Every replica then
computes the same loss, and the gradients of all of them add up to that of the whole batch. On one
device, and on other backends, every function here returns what it is given.
"""

from typing import Any

import keras
from keras import ops

Tensor = Any  # of the Keras backend, or a NumPy array


def _context() -> Any:
    """Return TensorFlow's replica context where there are several replicas, else None."""
    if keras.backend.backend() != "tensorflow":
        return None
    import tensorflow as tf

    context = tf.distribute.get_replica_context()
    return context if context is not None and context.num_replicas_in_sync > 1 else None


def sum_over_replicas(values: Tensor) -> Tensor:
    """Return the sum of a tensor, of one shape everywhere, over all replicas."""
    context = _context()
    return values if context is None else context.all_reduce("SUM", values)


def mean_over_replicas(mean: Tensor, count: Tensor) -> Tensor:
    """Return the mean over the samples of all replicas.

    Args:
        mean: over the samples of this replica, of one shape everywhere.
        count: number of these samples.
    """
    if _context() is None:
        return mean
    count = ops.cast(count, mean.dtype)
    return sum_over_replicas(mean * count) / sum_over_replicas(count)


def place_in_batch(samples: Tensor) -> tuple[Tensor, Tensor]:
    """Return where this replica's samples (B, ...) stand in the whole batch: (first, total)."""
    context, count = _context(), ops.shape(samples)[0]
    if context is None:
        return 0, count
    replicas, index = context.num_replicas_in_sync, context.replica_id_in_sync_group
    import tensorflow as tf

    if isinstance(context.strategy, tf.distribute.TPUStrategy):  # static shapes, of one size
        return index * count, replicas * count
    mine = ops.one_hot(index, replicas) * ops.cast(count, "float32")
    counts = ops.cast(sum_over_replicas(mine), "int32")
    return ops.sum(ops.where(ops.arange(replicas) < index, counts, 0)), ops.sum(counts)
