"""Training on a TPU: its strategy, and data of static shapes.

A TPU runs what XLA compiles: functions choose their forms for it by `dentalzoo.ops.xla.in_xla`.
"""

import dataclasses
import os
from typing import TYPE_CHECKING, Any

from dentalzoo.contracts import Stream
from dentalzoo.errors import DentalzooError, reason_of

if TYPE_CHECKING:
    import tensorflow as tf


def connect(name: str | None = None) -> "tf.distribute.Strategy":
    """Connect to a TPU, initialise it and return the strategy for all of its cores.

    Args:
        name: of the TPU; TPU_NAME where None, else "local": the TPU of this machine.

    Raises:
        DentalzooError: there is no such TPU.
    """
    import tensorflow as tf

    name = name or os.environ.get("TPU_NAME") or "local"
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver(tpu=name)
        tf.config.experimental_connect_to_cluster(resolver)
        tf.tpu.experimental.initialize_tpu_system(resolver)
        return tf.distribute.TPUStrategy(resolver)
    except (tf.errors.OpError, OSError, ImportError, RuntimeError, ValueError) as error:
        raise DentalzooError(
            "strategy tpu must find a TPU; run on a TPU VM, or name one with tpu (--tpu NAME). "
            f"Received: {name!r}: {reason_of(error)}"
        ) from error


def static(stream: Stream, batch_size: int, epochs: int) -> Stream:
    """Return batches that all have one size, which is part of their shape.

    An incomplete last batch of an epoch is left out; a data set of less than a batch is one batch
    an epoch.

    Args:
        stream: of a paper's `make_dataset`.
        batch_size: with which it was made.
        epochs: the number of its epochs.
    """
    import tensorflow as tf

    size = min(batch_size, stream.samples)

    def whole(batch: dict[str, Any]) -> "tf.Tensor":
        return tf.shape(next(iter(batch.values())))[0] == size

    def shaped(batch: dict[str, Any]) -> dict[str, Any]:
        return {key: tf.ensure_shape(x, (size, *x.shape[1:])) for key, x in batch.items()}

    known = tf.data.experimental.assert_cardinality(stream.samples // size * epochs)

    def make() -> "tf.data.Dataset":
        return stream.dataset.filter(whole).map(shaped).apply(known).prefetch(2)

    return dataclasses.replace(stream, make=make)
