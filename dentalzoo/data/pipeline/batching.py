"""The shared tf.data pipeline, its order decided once:

decode -> cache -> shuffle -> augment -> batch -> to float -> prefetch, of one shard.

- Every file is decoded and checked once, before the first step: a bad one is named then, not hours
  into a training, and later epochs read small uint8 arrays from memory or from one file.
- The order of an epoch and each random draw are functions of (seed, epoch, index), so a training
  that was killed goes on with the batches it would have had.
- Python is entered once per batch, which is quicker than once per sample (benchmarks/).
"""

import hashlib
import json
import logging
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from dentalzoo.data.pipeline.prefetch import read_ahead
from dentalzoo.errors import BadFile, DentalzooError

log = logging.getLogger("dentalzoo")
_SAVE_SECONDS = 60


class Cache:
    """Decoded samples, all of one shape: a dict of arrays (N, ...), in memory or on disk.

    Args:
        names: a name per sample, for messages.
        load: index -> dict of arrays; raises BadFile for a sample that cannot be used.
        folder: where to keep the arrays (one `.npy` per key, mapped into memory), or None for
            memory. A folder that holds the same `fingerprint` is used as it is; one whose
            reading was killed is gone on with, from where it was a minute before.
        fingerprint: what the content depends on (files, sizes, times, settings).
        strict: raise for the first bad sample instead of skipping it.

    Attributes:
        arrays: key -> array (N, ...) of the N samples that could be read.
        names: their names.
        skipped: (name, reason) of the others.

    Raises:
        DentalzooError: no sample could be read, or the first bad one if `strict`.
    """

    def __init__(
        self,
        names: Sequence[str],
        load: Callable[[int], dict[str, np.ndarray]],
        folder: str | Path | None = None,
        fingerprint: object = None,
        strict: bool = False,
    ):
        self.names, self.arrays = [], {}
        self.skipped: list[tuple[str, str]] = []
        self._folder = None if folder is None else Path(folder)
        key = hashlib.sha256(repr((list(names), fingerprint)).encode()).hexdigest()
        done = self._reopen(key, len(names)) if self._folder is not None else 0
        kept, saved = len(self.names), time.monotonic()
        samples = read_ahead(lambda index: _read(load, names, index), range(done, len(names)))
        for index, sample in tqdm(samples, "reading", len(names), initial=done, disable=None):
            if self._folder is not None and kept and time.monotonic() > saved + _SAVE_SECONDS:
                self._publish(key, index)
                saved = time.monotonic()
            if isinstance(sample, DentalzooError):
                if strict or not isinstance(sample, BadFile):
                    raise sample
                self.skipped.append((names[index], sample.reason))
                log.warning("skipped %s", sample)
                continue
            if not self.arrays:
                self.arrays = {
                    key_: self._allocate(key_, (len(names), *value.shape), value.dtype)
                    for key_, value in sample.items()
                }
            for key_, value in sample.items():
                self.arrays[key_][kept] = value
            self.names.append(names[index])
            kept += 1
        if not kept:
            raise DentalzooError(
                f"no sample could be read; at least 1 is needed. Received: {len(names)} samples, "
                f"{len(self.skipped)} of them bad"
            )
        if self._folder is not None and done < len(names):
            self._publish(key, len(names))
        self.arrays = {key_: array[:kept] for key_, array in self.arrays.items()}

    def __len__(self) -> int:
        return len(self.names)

    def _allocate(self, key: str, shape: tuple, dtype) -> np.ndarray:
        if self._folder is None:
            try:
                return np.empty(shape, dtype)
            except MemoryError:
                raise DentalzooError(
                    "the decoded images do not fit into memory; keep them in a folder "
                    f"(cache=DIR, --cache DIR). Received: {shape[0]} of shape {shape[1:]}"
                ) from None
        self._folder.mkdir(parents=True, exist_ok=True)
        (self._folder / "cache.json").unlink(missing_ok=True)
        return np.lib.format.open_memmap(self._folder / f"{key}.npy", "w+", dtype, shape)

    def _publish(self, key: str, done: int) -> None:
        """Declares the first `done` samples read: cache.json replaces atomically, after them."""
        for array in self.arrays.values():
            array.flush()
        content = {
            "key": key,
            "done": done,
            "names": self.names,
            "skipped": self.skipped,
            "arrays": list(self.arrays),
        }
        temporary = self._folder / "cache.json.tmp"
        temporary.write_text(json.dumps(content))
        os.replace(temporary, self._folder / "cache.json")

    def _reopen(self, key: str, count: int) -> int:
        """Takes what the folder holds of these `count` samples: how many of them were read."""
        try:
            content = json.loads((self._folder / "cache.json").read_text())
            if content["key"] != key:
                return 0
            names, skipped = content["names"], [tuple(pair) for pair in content["skipped"]]
            mode = "r" if content["done"] == count else "r+"
            self.arrays = {
                name: np.load(self._folder / f"{name}.npy", mmap_mode=mode)
                for name in content["arrays"]
            }
            self.names, self.skipped = names, skipped
        except (OSError, ValueError, KeyError):
            return 0
        for name, reason in self.skipped:
            log.warning("skipped %s: %s", name, reason)
        return content["done"]


def _read(load, names, index):
    try:
        return load(index)
    except OSError as error:
        raise BadFile(names[index], f"it cannot be read. Received: {error}") from error


def epoch_order(count: int, seed: int, epoch: int, shuffle: bool = True) -> np.ndarray:
    """The order (N,) int64 in which epoch `epoch` visits `count` samples."""
    if not shuffle:
        return np.arange(count)
    return np.random.default_rng([seed, epoch]).permutation(count)


def balanced_order(count: int, copies: int, batch_size: int, seed: int, epoch: int) -> np.ndarray:
    """An order that visits each of `count` samples `copies` times, in balanced batches.

    Where a batch has room for all samples, each batch holds each of them, and as often as another
    but for one visit, which falls to them in turn: of 3 samples, 4, 3 and 3 in a batch of 10. What
    does not fill a last batch is left out then. Otherwise the visits are shuffled.

    Returns:
        (M,) int64, M at most count * copies.
    """
    random = np.random.default_rng([seed, epoch])
    visits = np.arange(count * copies) % count
    if count > batch_size:
        return random.permutation(visits)
    whole = len(visits) // batch_size * batch_size or len(visits)
    order = random.permutation(count)[visits[:whole]]
    for start in range(0, whole, batch_size):
        random.shuffle(order[start : start + batch_size])
    return order


def batches(
    cache: Cache,
    batch_size: int,
    *,
    epochs: range = range(1),
    shuffle: bool = False,
    order: Callable[[int], np.ndarray] | None = None,
    augment: Callable[[dict, int, int], dict] | None = None,
    finish: Callable[[dict], dict] | None = None,
    seed: int = 0,
    shard: tuple[int, int] = (0, 1),
    devices: int = 1,
    workers: int | None = None,
):
    """A `tf.data.Dataset` of batches over the given epochs.

    Args:
        cache: the decoded samples.
        batch_size: samples per batch; the last batch of an epoch holds the rest.
        epochs: which epochs to deliver, one after the other.
        shuffle: whether each epoch has an order of its own.
        order: the order of an epoch instead: epoch -> (M,) indices of samples, each as often as
            it is to be visited; M is the same in each epoch.
        augment: called as augment(sample, epoch, index) on NumPy arrays; keeps the dtypes.
        finish: maps a batch of tensors to what the model reads, for example float32 in [0, 1].
        seed: seed of the orders.
        shard: (index, number of shards): this worker's share of each epoch.
        devices: every batch is a multiple of this number, so that each device has the same
            share; up to `devices` - 1 samples of an epoch are left out for it.
        workers: batches made at the same time; chosen by tf.data where None.

    Returns:
        A dataset of dicts with known cardinality, whose attribute `cache` is the cache; every
        shape is known but for B.

    Raises:
        DentalzooError: the batch size or the shard make no sense.
    """
    import tensorflow as tf

    order = order or (lambda epoch: epoch_order(len(cache), seed, epoch, shuffle))
    index, shards = shard
    visits = len(order(epochs.start))
    share = len(range(index, visits, shards)) // devices * devices
    if batch_size < 1 or not 0 <= index < shards or not share:
        raise DentalzooError(
            "a batch size of at least 1 and a shard (index, number) with index < number <= samples "
            f"were expected. Received: batch_size={batch_size}, shard={shard}, "
            f"{len(cache)} samples"
        )

    if batch_size % devices:
        raise DentalzooError(
            f"a batch size that {devices} devices can share was expected. Received: {batch_size}"
        )

    def visited(epoch):
        return order(int(epoch))[index::shards][:share]

    def gather(epoch, chosen):
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

    def make(epoch, chosen):
        tensors = tf.numpy_function(
            gather, [epoch, chosen], [array.dtype for array in cache.arrays.values()]
        )
        batch = {}
        for (key, array), tensor in zip(cache.arrays.items(), tensors, strict=True):
            tensor.set_shape((None, *array.shape[1:]))
            batch[key] = tensor
        return batch if finish is None else finish(batch)

    def one_epoch(epoch):
        chosen = tf.numpy_function(visited, [epoch], tf.int64)
        chosen.set_shape((None,))
        steps = tf.data.Dataset.from_tensor_slices(chosen).batch(batch_size)
        return steps.map(lambda rows: (epoch, rows))

    dataset = tf.data.Dataset.range(epochs.start, epochs.stop).flat_map(one_epoch)
    dataset = dataset.map(make, num_parallel_calls=workers or tf.data.AUTOTUNE, deterministic=True)
    steps = -(-share // batch_size)
    known = tf.data.experimental.assert_cardinality(steps * len(epochs))
    dataset = dataset.apply(known).prefetch(2)
    dataset.cache = cache
    return dataset
