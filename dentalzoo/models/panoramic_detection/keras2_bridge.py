"""Networks of TensorFlow's model garden, `official.vision`, as a layer of Keras 3.

The model garden is written in Keras 2 (`tf_keras`), which Keras 3 neither trains nor saves. Here
both share the variables, so that the rest of the package sees one Keras.
"""

import logging
import os
import random
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import keras
import numpy as np

from dentalzoo.errors import require


def vision(path: str) -> ModuleType:
    """Return the module `official.vision.<path>`.

    Raises:
        DentalzooError: the model garden is not installed.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about its own imports
        return require(f"official.vision.{path}", "panoramic-detection")


class Network(keras.layers.Layer):
    """A network of the model garden: a tensor, or a structure of tensors -> a dict of tensors.

    It computes in the dtype of Keras' policy at that time; its outputs are float32.

    Args:
        parts: makes its parts, Keras 2 models and layers that hold all weights; called once.
        run: run(parts, x, training) -> {name: tensor}.
        shapes: {name: shape} of these, without the batch.
    """

    def __init__(
        self,
        parts: Callable[[], Sequence[Any]],
        run: Callable[[Sequence[Any], Any, bool], dict[str, Any]],
        shapes: dict[str, tuple[int | None, ...]],
        **options: Any,
    ) -> None:
        # The parts cast what they are given; boxes in pixels stay float32.
        super().__init__(autocast=False, **options)
        self._run, self._shapes = run, shapes
        made = _seeded(parts)
        variables = {id(v): v for part in made for v in part.weights}
        trainable = {id(v) for part in made for v in part.trainable_weights}
        self.shared = [  # Keras 3 takes over the very variables
            keras.Variable(v, trainable=key in trainable, name=_plain(v.name), autocast=False)
            for key, v in variables.items()
        ]
        order = {key: index for index, key in enumerate(variables)}
        owners = [
            (module, name, order[id(value)])
            for part in made
            for module in part.submodules
            for name, value in vars(module).items()
            if id(value) in order
        ]
        self._hidden = lambda: (made, list(variables.values()), owners)  # not tracked by Keras

    def call(self, x: Any, training: bool = False) -> dict[str, Any]:
        parts, variables, owners = self._hidden()
        values = [variable.value for variable in self.shared]
        if all(value is variable for value, variable in zip(values, variables, strict=True)):
            return _float32(self._run(parts, x, bool(training)))
        # A stateless call: the layers of Keras 2 read its values instead of their variables. Those
        # that cast themselves to the dtype of their layer are cast here.
        for module, name, index in owners:
            casts = hasattr(variables[index], "true_dtype")
            value = keras.ops.cast(values[index], module.compute_dtype) if casts else values[index]
            vars(module)[name] = value
        try:
            return _float32(self._run(parts, x, False))
        finally:
            for module, name, index in owners:
                vars(module)[name] = variables[index]

    def outputs_by_name(self) -> dict[str, Any]:
        """Return the tensors of the layer's one call, by name."""
        # Keras flattens a dict in the order of its keys.
        return dict(zip(sorted(self._shapes), keras.tree.flatten(self.output), strict=True))

    def normalisations(self) -> list[Any]:
        """Return the Keras 2 layers of batch normalisation that train."""
        import tf_keras

        parts, *_ = self._hidden()
        layers = {id(layer): layer for part in parts for layer in (part, *part.submodules)}
        kind = tf_keras.layers.BatchNormalization
        return [la for la in layers.values() if isinstance(la, kind) and la.trainable]

    def compute_output_spec(self, x: Any, training: bool = False) -> dict[str, keras.KerasTensor]:
        batch = keras.tree.flatten(x)[0].shape[0]
        return {
            key: keras.KerasTensor((batch, *shape), dtype="float32")
            for key, shape in self._shapes.items()
        }


def _float32(outputs: dict[str, Any]) -> dict[str, Any]:
    return {key: keras.ops.cast(value, "float32") for key, value in outputs.items()}


@contextmanager
def keras2_policy(name: str) -> Iterator[None]:
    """Build layers of Keras 2 of this dtype policy, such as "float32" or "mixed_bfloat16"."""
    from tf_keras import mixed_precision

    before = mixed_precision.global_policy()
    mixed_precision.set_global_policy(name)
    try:
        yield
    finally:
        mixed_precision.set_global_policy(before)


def _seeded(make: Callable[[], Sequence[Any]]) -> Sequence[Any]:
    """Call `make` with Keras 2 seeded from the seed of Keras 3, and silence its messages.

    Its layers get the dtype policy of Keras 3.
    """
    import tf_keras

    python, numbers = random.getstate(), np.random.get_state()
    tf_keras.utils.set_random_seed(random.randrange(2**31))
    random.setstate(python)
    random.random()  # so that the next network is another
    np.random.set_state(numbers)
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), keras2_policy(keras.config.dtype_policy().name):
            warnings.simplefilter("ignore")
            return make()
    finally:
        logger.setLevel(level)


def _plain(name: str) -> str:
    return name.partition(":")[0].rpartition("/")[2]
