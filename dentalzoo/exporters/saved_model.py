"""TensorFlow SavedModel: the functions as signatures, and the weights once."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dentalzoo.errors import DentalzooError, reason_of

if TYPE_CHECKING:
    import numpy as np

NAME = "saved_model"
SUFFIX = ""
BOUND = 0.005
FAMILIARITY = True
PACKAGES: Mapping[str, str] = {}

DEFAULT = "serving_default"
"""The signature that TensorFlow Serving calls where a request names none."""


def export(
    model: Any,
    path: Path,
    functions: Mapping[str, Any],
    samples: Mapping[str, Sequence[Mapping[str, Any]]],
) -> Path:
    """Write a SavedModel.

    Its `serving_default` is the first function that takes encoded images, else the first.

    Args:
        model: the `tf.Module` that holds the variables of the functions, which become attributes
            of it as they were traced: `tf.types.experimental.ConcreteFunction`.
        path: the folder to make.
        functions: name -> `tf.function` with an input signature.
        samples: not used.

    Returns:
        `path`.

    Raises:
        OSError: the folder cannot be written.
    """
    import tensorflow as tf

    # Once: of a `tf.function` TensorFlow makes the graph at every request.
    traced = {key: function.get_concrete_function() for key, function in functions.items()}
    for key, function in traced.items():
        setattr(model, key, function)
    try:
        signatures = {**traced, DEFAULT: traced[_default(traced)]}
        tf.saved_model.save(model, str(path), signatures=signatures)
    except tf.errors.OpError as error:  # such as a full disk
        raise OSError(reason_of(error)) from error
    (path / "fingerprint.pb").unlink(missing_ok=True)  # random: equal models would differ
    return path


def _default(traced: Mapping[str, Any]) -> str:
    """Return the name of the function that is the default."""
    encoded = (
        name
        for name, function in traced.items()
        if [spec.name for spec in function.structured_input_signature[0]] == ["encoded"]
    )
    return next(encoded, next(iter(traced)))


def load(path: Path) -> "SavedModel":
    """Load a SavedModel, which must be trusted: TensorFlow runs what it holds.

    Returns:
        Its signatures as functions of named arrays.
    """
    import tensorflow as tf

    return SavedModel(tf.saved_model.load(str(path)))


class SavedModel(Mapping[str, Callable[..., "dict[str, np.ndarray]"]]):
    """The signatures of a loaded SavedModel: name -> function of named arrays.

    `serving_default`, which is one of the others, is not among them.
    """

    def __init__(self, loaded: Any):
        self._loaded = loaded  # held: signatures die with it

    def __len__(self) -> int:
        return len(list(iter(self)))

    def __iter__(self) -> Iterator[str]:
        return (name for name in self._loaded.signatures if name != DEFAULT)

    def __getitem__(self, name: str) -> "Callable[..., dict[str, np.ndarray]]":
        function = self._loaded.signatures[name]

        def call(**arrays: Any) -> "dict[str, np.ndarray]":
            import tensorflow as tf

            tensors = {key: tf.constant(array) for key, array in arrays.items()}
            try:
                return {key: value.numpy() for key, value in function(**tensors).items()}
            except tf.errors.ResourceExhaustedError:
                reason = "ran out of memory; send smaller images or batches"
            except tf.errors.InvalidArgumentError as error:
                reason = f"refused its input: {reason_of(error)}"
            shapes = {key: tuple(tensor.shape) for key, tensor in tensors.items()}
            raise DentalzooError(f"{name} {reason}. Received: {shapes}")

        return call

    def described(self) -> dict[str, Any]:
        """Return the signatures as metadata describe them; a shape is None where it is unknown."""

        def plain(specs: Mapping[str, Any]) -> dict[str, Any]:
            return {
                key: {
                    "shape": None if spec.shape.rank is None else spec.shape.as_list(),
                    "dtype": spec.dtype.name,
                }
                for key, spec in specs.items()
            }

        return {
            name: {
                "inputs": plain(function.structured_input_signature[1]),
                "outputs": plain(function.structured_outputs),
            }
            for name, function in self._loaded.signatures.items()
            if name != DEFAULT
        }

    def read_familiarity(self) -> "list[np.ndarray]":
        """Return the statistics of `dentalzoo.bundle.familiarity`; empty where there are none."""
        if not hasattr(self._loaded, "read_familiarity"):
            return []
        return [value.numpy() for value in self._loaded.read_familiarity()]

    def read_weights(self) -> "list[np.ndarray]":
        """Return the weights in float32, in the order of `model.weights` when it was exported.

        Raises:
            DentalzooError: the file has no such function.
        """
        if not hasattr(self._loaded, "read_weights"):
            raise DentalzooError(
                "the SavedModel must have the function read_weights. Received: none"
            )
        return [value.numpy() for value in self._loaded.read_weights()]
