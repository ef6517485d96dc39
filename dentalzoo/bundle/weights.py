"""The weights of a SavedModel: stored once, in a chosen dtype."""

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras
    import numpy as np
    import tensorflow as tf

WEIGHTS_DTYPES = ("float32", "float16", "int8")


def store(
    model: "keras.Model", weights_dtype: str, features: "keras.Model | None" = None
) -> "tf.Module":
    """Return a `tf.Module` that holds the model's weights in a dtype and computes as the model.

    It computes in float32, or in 16 bits where the model was built so. It is called like the
    model; each model within the model is an attribute of its name, called like it.
    `read_weights()` returns the weights in float32, in the order of `model.weights`.

    Args:
        model: a `keras.Model`.
        weights_dtype: one of WEIGHTS_DTYPES.
        features: a model that shares its weights; it becomes the attribute `feature_maps`.
    """
    import keras
    import numpy as np
    import tensorflow as tf

    # Seeds of dropout and of sampling are not weights, and no signature samples with them.
    seeds = {
        id(v): tf.constant(np.asarray(v)) for v in model.variables if "seed_generator" in v.path
    }
    numbers = {id(weight): number for number, weight in enumerate(model.weights)}

    class Decoding(keras.StatelessScope):  # type: ignore[misc]  # Keras has no types
        """Decodes a weight where it is read, and so only in the branch of a graph that uses it."""

        def __init__(self, decoded: "Callable[[int], tf.Tensor]") -> None:
            super().__init__()
            self.decoded = decoded

        def get_current_value(self, variable: "keras.Variable") -> Any:
            number = numbers.get(id(variable))
            return seeds.get(id(variable)) if number is None else self.decoded(number)

    class Stored(tf.Module):  # type: ignore[misc]  # TensorFlow has no types
        def __init__(self) -> None:
            super().__init__()
            self.stored, self.scales = [], []
            for weight in model.weights:
                value, scale = _quantized(np.asarray(weight), weight.name, weights_dtype)
                self.stored.append(tf.Variable(value, trainable=False))
                self.scales.append(tf.Variable(np.float32(1) if scale is None else scale))
            for part in model.layers:
                if isinstance(part, keras.Model):
                    setattr(self, part.name, functools.partial(self._compute, part))
            if features is not None:
                self.feature_maps = functools.partial(self._compute, features)

        @tf.function(input_signature=[])  # type: ignore[untyped-decorator]  # TensorFlow has no types
        def read_weights(self) -> "list[tf.Tensor]":
            return [self._decoded(number) for number in range(len(self.stored))]

        def _decoded(self, number: int) -> "tf.Tensor":
            value = tf.cast(self.stored[number], tf.float32)
            return value * self.scales[number] if self.stored[number].dtype == tf.int8 else value

        def _compute(self, part: "keras.Model", inputs: Any) -> Any:
            with Decoding(self._decoded):
                return part(inputs, training=False)

        def __call__(self, inputs: Any) -> Any:
            return self._compute(model, inputs)

    return Stored()


def _quantized(
    value: "np.ndarray", name: str, weights_dtype: str
) -> "tuple[np.ndarray, np.ndarray | None]":
    """Return a weight as it is stored, and the float32 scale of its channels where it has one."""
    import numpy as np

    # The moments of a prior are not a kernel: once rounded they may not be a covariance.
    rounded = value.ndim > 1 and name != "moments"
    if rounded and weights_dtype == "float16":
        return value.astype(np.float16), None
    if rounded and weights_dtype == "int8":
        # Per output channel: the last axis, or the one before in depthwise kernels.
        channel = value.ndim - (2 if value.shape[-1] == 1 and value.ndim > 2 else 1)
        axes = tuple(axis for axis in range(value.ndim) if axis != channel)
        scale = np.abs(value).max(axis=axes, keepdims=True) / np.float32(127)
        scale = np.where(scale > 0, scale, np.float32(1)).astype(np.float32)
        return np.round(value / scale).astype(np.int8), scale
    return value, None
