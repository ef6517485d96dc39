"""The order in which an epoch visits the samples: a function of (seed, epoch) alone.

So a training that was killed and is resumed gets the batches that it would have had.
"""

import numpy as np


def epoch_order(count: int, seed: int, epoch: int, shuffle: bool = True) -> np.ndarray:
    """Return the order (N,) int64 in which epoch `epoch` visits `count` samples."""
    if not shuffle:
        return np.arange(count)
    return np.random.default_rng([seed, epoch]).permutation(count)


def balanced_order(count: int, copies: int, batch_size: int, seed: int, epoch: int) -> np.ndarray:
    """Return an order that visits each of `count` samples `copies` times, in balanced batches.

    Where a batch has room for all samples, each batch holds each of them equally often, up to one
    visit, which falls to them in turn: of 3 samples, 4, 3 and 3 in a batch of 10. Visits that do
    not fill a last batch are left out. Otherwise the visits are shuffled.

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


def batch_slices(count: int, batch_size: int, parts: int = 1) -> list[list[slice]]:
    """Cut an epoch of `count` visits into batches, and each batch into `parts`.

    The batches are those of one part, all of `batch_size` but the last, and every visit is in one
    part of one batch. The parts of a batch differ by at most one visit, and none is empty: a last
    batch that is smaller than `parts` is filled up from the one before, or, where that one has
    nothing to spare, joined to it.

    Returns:
        For each batch the slices of its parts; no batch where there are fewer visits than parts.
    """
    if count < parts:
        return []
    stops = list(range(batch_size, count, batch_size))
    if stops and count - stops[-1] < parts:
        stops[-1] = count - parts
        if stops[-1] - (stops[-2] if len(stops) > 1 else 0) < parts:
            del stops[-1]
    batches, start = [], 0
    for stop in [*stops, count]:
        least, more = divmod(stop - start, parts)
        slices = []
        for part in range(parts):
            size = least + (part < more)
            slices.append(slice(start, start + size))
            start += size
        batches.append(slices)
    return batches
