"""A word -> a tf.distribute strategy."""

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

    if word == "mirrored":
        devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
        return tf.distribute.MirroredStrategy([device.name for device in devices])
    return tf.distribute.get_strategy()
