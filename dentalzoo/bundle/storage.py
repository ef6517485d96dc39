"""The weights of a SavedModel: stored once, as small as they may be; computing is in float32."""

import functools

STORAGE = ("float32", "float16", "int8")


def store(model, storage: str):
    """A tf.Module that holds the model's weights in `storage` and computes in float32.

    Called like the model; each model within the model is an attribute of its name, called like it.
    `read_weights()` returns the weights in the order of `model.weights`.

    Args:
        model: a `keras.Model`.
        storage: of STORAGE.
    """
    import keras
    import numpy as np
    import tensorflow as tf

    # Seeds of dropout and of sampling: no weights, and what is drawn with them is not used here.
    seeds = {id(v): np.asarray(v) for v in model.variables if "seed_generator" in v.path}

    class Stored(tf.Module):
        def __init__(self):
            super().__init__()
            self.stored, self.scales = [], []
            for weight in model.weights:
                value, scale = np.asarray(weight), None
                # The moments of a prior are no kernel: rounded, they may be no covariance.
                rounded = value.ndim > 1 and weight.name != "moments"
                if rounded and storage == "float16":
                    value = value.astype(np.float16)
                elif rounded and storage == "int8":
                    # Per output channel: the last axis, or the one before in depthwise kernels.
                    channel = value.ndim - (2 if value.shape[-1] == 1 and value.ndim > 2 else 1)
                    axes = tuple(axis for axis in range(value.ndim) if axis != channel)
                    scale = np.abs(value).max(axis=axes, keepdims=True) / np.float32(127)
                    scale = np.where(scale > 0, scale, np.float32(1)).astype(np.float32)
                    value = np.round(value / scale).astype(np.int8)
                self.stored.append(tf.Variable(value, trainable=False))
                self.scales.append(tf.Variable(np.float32(1) if scale is None else scale))
            for part in model.layers:
                if isinstance(part, keras.Model):
                    setattr(self, part.name, functools.partial(self._compute, part))

        @tf.function(input_signature=[])
        def read_weights(self):
            return [
                tf.cast(value, tf.float32) * scale
                if value.dtype == tf.int8
                else tf.cast(value, tf.float32)
                for value, scale in zip(self.stored, self.scales, strict=True)
            ]

        def _compute(self, part, inputs):
            values = seeds | dict(zip(map(id, model.weights), self.read_weights(), strict=True))
            outputs, _ = part.stateless_call(
                [values[id(v)] for v in part.trainable_variables],
                [values[id(v)] for v in part.non_trainable_variables],
                inputs,
                training=False,
            )
            return outputs

        def __call__(self, inputs):
            return self._compute(model, inputs)

    return Stored()
