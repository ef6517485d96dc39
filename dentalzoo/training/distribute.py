"""Strategies of `tf.distribute` by name.

A further strategy is a function that returns it and a line in STRATEGIES.
"""

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

from dentalzoo.errors import DentalzooError

if TYPE_CHECKING:
    import tensorflow as tf


def _default() -> "tf.distribute.Strategy":
    """Return the strategy for one device."""
    import tensorflow as tf

    return tf.distribute.get_strategy()


@cache  # the replicas of a second one in a process would wait for those of the first
def _mirrored() -> "tf.distribute.Strategy":
    """Return the strategy for all GPUs of this machine, or for all of its logical CPUs."""
    import tensorflow as tf

    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    return tf.distribute.MirroredStrategy([device.name for device in devices])


STRATEGIES: "dict[str, Callable[[], tf.distribute.Strategy]]" = {
    "default": _default,
    "mirrored": _mirrored,
}


def strategy(name: str = "default") -> "tf.distribute.Strategy":
    """Resolve a strategy name.

    Args:
        name: `default` (one device) or `mirrored` (all GPUs of this machine; without a GPU all of
            TensorFlow's logical CPUs, of which there is one unless configured otherwise).

    Returns:
        A `tf.distribute.Strategy`; build and compile inside its `scope()`.

    Raises:
        DentalzooError: an unknown name.
    """
    if name not in STRATEGIES:
        raise DentalzooError(
            f"strategy must be one of: {', '.join(STRATEGIES)}. Received: {name!r}"
        )
    return STRATEGIES[name]()
