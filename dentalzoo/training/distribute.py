"""A word -> a tf.distribute strategy."""

from functools import cache

from dentalzoo.errors import DentalzooError

STRATEGIES = ("default", "mirrored")


def strategy(word: str = "default"):
    """The strategy that a word stands for.

    Args:
        word: `default` (one device) or `mirrored` (all GPUs of this machine; without a GPU all of
            TensorFlow's logical CPUs, of which there is one unless configured otherwise).

    Returns:
        A `tf.distribute.Strategy`; build and compile inside its `scope()`.

    Raises:
        DentalzooError: an unknown word.
    """
    if word not in STRATEGIES:
        raise DentalzooError(f"the strategies are: {', '.join(STRATEGIES)}. Received: {word!r}")
    import tensorflow as tf

    return _mirrored() if word == "mirrored" else tf.distribute.get_strategy()


@cache  # the replicas of a second one in a process would wait for those of the first
def _mirrored():
    import tensorflow as tf

    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    return tf.distribute.MirroredStrategy([device.name for device in devices])
