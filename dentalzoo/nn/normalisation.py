"""The layers of batch normalisation of a model, whose statistics each device has for itself."""

from collections.abc import Iterable
from typing import Any, Protocol, runtime_checkable

import keras


@runtime_checkable
class HoldsNormalisations(Protocol):
    """A layer of Keras 3 that holds layers of Keras 2, which Keras 3 does not list."""

    def normalisations(self) -> list[Any]:
        """Return those of batch normalisation that train."""


def normalisations(model: keras.Model) -> list[Any]:
    """Return the layers of batch normalisation that train, at every depth: of Keras 3 and 2."""
    found: list[Any] = []
    for layer in model._flatten_layers():
        if isinstance(layer, HoldsNormalisations):
            found += layer.normalisations()
        elif isinstance(layer, keras.layers.BatchNormalization) and layer.trainable:
            found.append(layer)
    return found


def moving_statistics(model: keras.Model) -> list[Any]:
    """Return the moving means and variances of these layers, as variables of TensorFlow."""
    variables = [
        variable
        for layer in normalisations(model)
        for variable in (layer.moving_mean, layer.moving_variance)
    ]
    return [v.value if isinstance(v, keras.Variable) else v for v in variables]


def synchronise(layers: Iterable[Any]) -> None:
    """Let layers normalise with the statistics of the batch of all devices."""
    for layer in layers:
        layer.synchronized = True
        if hasattr(layer, "fused"):  # of Keras 2: this kernel knows one device alone
            layer.fused = False
