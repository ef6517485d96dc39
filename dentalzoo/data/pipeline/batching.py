"""Batches from a `Cache`: order, augmentation, batch, to float, prefetch, of one shard.

- The augmentation is a function of (seed, epoch, index of the sample), as the order is.
- Python is entered once per batch, which is quicker than once per sample (benchmarks/).
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from dentalzoo.contracts import Stream
from dentalzoo.data.pipeline.cache import Cache
from dentalzoo.data.pipeline.order import batch_slices, epoch_order
from dentalzoo.errors import BadFile, DentalzooError

if TYPE_CHECKING:
    import tensorflow as tf


def batches(
    cache: Cache,
    batch_size: int,
    *,
    epochs: range = range(1),
    shuffle: bool = False,
    order: Callable[[int], np.ndarray] | None = None,
    augment: Callable[[dict[str, np.ndarray], int, int], dict[str, np.ndarray]] | None = None,
    finish: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
    seed: int = 0,
    shard: tuple[int, int] = (0, 1),
    devices: int = 1,
    workers: int | None = None,
) -> Stream:
    """Return the batches of the given epochs.

    Args:
        cache: the decoded samples.
        batch_size: samples per batch; the last batch of an epoch holds the rest.
        epochs: which epochs to deliver, one after the other.
        shuffle: give each epoch another order.
        order: the order of an epoch instead: epoch -> (M,) indices of samples, each as often as
            it is to be visited; M must be the same in each epoch.
        augment: called as augment(sample, epoch, index) on NumPy arrays; keeps the dtypes.
        finish: maps a batch of tensors to what the model reads, for example float32 in [0, 1].
        seed: seed of the orders.
        shard: (index, number of shards). With several shards every batch is cut into shards *
            devices parts, see `batch_slices`, and the dataset delivers this shard's parts one by
            one: `devices` elements for each batch. No sample is left out.
        devices: of this process. With one shard every batch is a multiple of this number, so that
            each device has the same share; up to `devices` - 1 samples of an epoch are left out.
        workers: number of batches made at the same time; chosen by tf.data where None.

    Returns:
        The cache and a dataset of dicts of tensors (B, ...) with the cache's keys, or what
        `finish` makes of them. Its cardinality is known, and every shape but for B.

    Raises:
        DentalzooError: a batch size that is below 1 or that the devices cannot share, or fewer
            samples than devices.
    """

    def visits(epoch: int) -> np.ndarray:
        return order(epoch) if order else epoch_order(len(cache), seed, epoch, shuffle)

    index, shards = shard
    if batch_size < 1:
        raise DentalzooError(f"batch_size must be an integer >= 1. Received: {batch_size}")
    if not 0 <= index < shards:
        raise DentalzooError(
            f"shard must be (index, number) with 0 <= index < number. Received: {shard}"
        )
    if shards == 1 and batch_size % devices:
        raise DentalzooError(
            f"batch_size must be a multiple of the {devices} devices. Received: {batch_size}"
        )
    parts = shards * devices
    if batch_size < parts:
        raise DentalzooError(
            f"batch_size must be at least {parts}, one for each device of each worker. "
            f"Received: {batch_size}"
        )
    count, mine = len(visits(epochs.start)), slice(index * devices, (index + 1) * devices)
    if shards == 1:  # one device, or several among which TensorFlow divides a batch
        cuts = [part for (part,) in batch_slices(count // devices * devices, batch_size)]
    else:
        cuts = [part for batch in batch_slices(count, batch_size, parts) for part in batch[mine]]
    if not cuts:
        raise DentalzooError(
            f"a split must have at least {parts} samples, one for each device of each worker. "
            f"Received: {len(cache)} samples, shard={shard}, devices={devices}"
        )

    def gather(epoch: np.ndarray, chosen: np.ndarray) -> list[np.ndarray]:
        rows = {key: array[chosen] for key, array in cache.arrays.items()}
        if augment is not None:
            out = {key: np.empty_like(array) for key, array in rows.items()}
            for row, sample in enumerate(chosen):
                try:
                    done = augment(
                        {key: array[row] for key, array in rows.items()}, int(epoch), int(sample)
                    )
                    for key in rows:
                        out[key][row] = done[key]
                except Exception as error:
                    raise BadFile(cache.names[sample], f"augmentation failed: {error}") from error
            rows = out
        return [rows[key] for key in cache.arrays]

    def make() -> "tf.data.Dataset":
        import tensorflow as tf

        def batch(epoch: "tf.Tensor", chosen: "tf.Tensor") -> "dict[str, tf.Tensor]":
            tensors = tf.numpy_function(
                gather, [epoch, chosen], [array.dtype for array in cache.arrays.values()]
            )
            named = {}
            for (key, array), tensor in zip(cache.arrays.items(), tensors, strict=True):
                tensor.set_shape((None, *array.shape[1:]))
                named[key] = tensor
            return named if finish is None else finish(named)

        def one_epoch(epoch: "tf.Tensor") -> "tf.data.Dataset":
            rows = tf.numpy_function(lambda number: visits(int(number)), [epoch], tf.int64)
            rows.set_shape((None,))
            ends = [part.start for part in cuts], [part.stop for part in cuts]
            return tf.data.Dataset.from_tensor_slices(ends).map(lambda a, b: (epoch, rows[a:b]))

        calls = workers or tf.data.AUTOTUNE
        dataset = tf.data.Dataset.range(epochs.start, epochs.stop).flat_map(one_epoch)
        dataset = dataset.map(batch, num_parallel_calls=calls, deterministic=True)
        known = tf.data.experimental.assert_cardinality(len(cuts) * len(epochs))
        return dataset.apply(known).prefetch(2)

    return Stream(make, cache, samples=sum(part.stop - part.start for part in cuts))
