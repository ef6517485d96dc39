"""Detection of XLA, which compiles fewer operations than TensorFlow has.

A function that has a second form, made of operations that XLA compiles, chooses it by `in_xla`.
"""

import tensorflow as tf


def in_xla() -> bool:
    """Return whether operations made now are compiled by XLA.

    They are inside of a `tf.function(jit_compile=True)` and of what a `tf.distribute.TPUStrategy`
    runs, and in the functions that these call.
    """
    return tf.__internal__.get_enclosing_xla_context() is not None
