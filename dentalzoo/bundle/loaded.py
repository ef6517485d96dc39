"""A loaded bundle, and its signatures as functions of NumPy arrays."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dentalzoo import registry
from dentalzoo.bundle.inputs import as_input
from dentalzoo.bundle.metadata import Metadata, SignatureSpec, TensorSpec, describe, name_of
from dentalzoo.bundle.outputs import check_outputs
from dentalzoo.environment import prepare_keras
from dentalzoo.errors import DentalzooError

if TYPE_CHECKING:
    import keras
    import numpy as np

    from dentalzoo.bundle.familiarity import Statistics
    from dentalzoo.bundle.runtimes import Functions
    from dentalzoo.config import PaperConfig


class Signature:
    """A function of a bundle, from arrays to a dict of arrays; `help` shows shapes and dtypes.

    An image, or the bytes of its file, may come without its batch axis, a grey one without its
    channel axis too; the results then have no batch axis either.

    Attributes:
        name: the signature's name.
        inputs: name -> shape and dtype of each input, in the order of the arguments.
        outputs: the same of each result.
    """

    def __init__(self, name: str, spec: SignatureSpec, function: Callable[..., Mapping[str, Any]]):
        self.name = name
        self.inputs: Mapping[str, TensorSpec] = spec["inputs"]
        self.outputs: Mapping[str, TensorSpec] = spec["outputs"]
        self._function = function
        takes, returns = describe(self.inputs), describe(self.outputs)
        self.__doc__ = f"{name}({takes})\n\nReturns:\n    A dict of arrays: {returns}."

    def __repr__(self) -> str:
        return f"<signature {self.name}({describe(self.inputs)}) -> {describe(self.outputs)}>"

    def __call__(self, /, *arrays: Any, **named: Any) -> "dict[str, np.ndarray]":
        """Run the function.

        Args:
            arrays: the inputs in the order of `inputs`; see the class for axes that may be absent.
            named: the inputs by name instead.

        Returns:
            Arrays of the shapes and dtypes in `outputs`, by name.

        Raises:
            DentalzooError: an input is missing, or of another dtype or shape; the function refuses
                it or needs more memory than there is; or a result is not as `outputs` state, or NaN
                or infinite.
        """
        tensors, single = {}, False
        for key, array in self._by_name(arrays, named).items():
            tensors[key], added = as_input(key, self.inputs[key], array)
            single = single or added
        results = check_outputs(self.name, self.outputs, self._function(**tensors))
        return {
            # What has no batch axis, such as one image of several, stays whole.
            key: value[0] if single and self.outputs[key]["shape"][0] is None else value
            for key, value in results.items()
        }

    def _by_name(self, arrays: tuple[Any, ...], named: dict[str, Any]) -> dict[str, Any]:
        given = dict(zip(self.inputs, arrays, strict=False)) | named
        count = len(arrays) + len(named)
        if count != len(self.inputs) or given.keys() != self.inputs.keys():
            names = f": {', '.join(named)}" if named else ""
            raise DentalzooError(
                f"{self.name} must be called with ({', '.join(self.inputs)}). "
                f"Received: {count} arguments{names}"
            )
        return {key: given[key] for key in self.inputs}


class Bundle:
    """A loaded bundle: every signature is a method.

    Attributes:
        path: the bundle's folder.
        metadata: the content of metadata.json, in the present format.
    """

    def __init__(self, path: Path, metadata: Metadata, functions: "Functions"):
        self.path, self.metadata = path, metadata
        self._functions = functions

    def __repr__(self) -> str:
        return f"Bundle({self.name!r}, signatures={sorted(self.metadata['signatures'])})"

    @property
    def name(self) -> str:
        """`model.tag`, or the model's name where there is no tag."""
        return name_of(self.metadata)

    @property
    def task(self) -> str:
        """The task, a key of `dentalzoo.tasks.TASKS`."""
        return self.metadata["task"]

    @property
    def config(self) -> "PaperConfig":
        """The settings that the network was built and trained with: the `Config` of its paper.

        Raises:
            DentalzooError: this version of dentalzoo does not know the paper or a setting.
        """
        paper = registry.module_of(self.metadata["name"])
        return paper.Config.from_metadata(self.metadata["config"])

    @property
    def signatures(self) -> Mapping[str, Signature]:
        """The functions of the bundle by name; `bundle.serve` is `bundle.signatures["serve"]`."""
        return {
            name: Signature(name, spec, self._functions[name])
            for name, spec in self.metadata["signatures"].items()
        }

    def __getattr__(self, name: str) -> Signature:
        # "metadata" is absent while a copy or a pickle is made.
        if name.startswith("_") or "metadata" not in vars(self):
            raise AttributeError(name)
        specs = self.metadata["signatures"]
        if name not in specs:
            raise AttributeError(
                f"{self.name} has the signatures {sorted(specs)}. Received: {name!r}"
            )
        return Signature(name, specs[name], self._functions[name])

    def function(self, name: str) -> Callable[..., Mapping[str, Any]]:
        """Return a signature as the runtime has it: named arrays, with all their axes."""
        return self._functions[name]

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self.metadata["signatures"]})

    def familiarity_statistics(self) -> "Statistics | None":
        """Return what the bundle knows of its training images; None where it knows nothing."""
        from dentalzoo.bundle.familiarity import Statistics

        described = self.metadata.get("familiarity")
        if described is None:
            return None
        return Statistics.of_bundle(self._functions.read_familiarity(), described)

    def to_keras(self) -> "keras.Model":
        """Return the Keras model of the bundle with its weights, for fine-tuning or inspection.

        Raises:
            DentalzooError: this version of dentalzoo builds another network from the config.
        """
        module, config = registry.module_of(self.metadata["name"]), self.config
        prepare_keras()
        values = self._functions.read_weights()
        try:
            model = module.build_model(config.without_init())
        except DentalzooError:
            raise
        except Exception as error:  # settings that fit each by itself and not together
            raise DentalzooError(
                f"{self.path}: the network of the settings in metadata.json cannot be built. "
                f"Received: {' '.join(str(error).split())[:300]}"
            ) from error
        if [tuple(value.shape) for value in values] != [tuple(w.shape) for w in model.weights]:
            raise DentalzooError(
                "the stored weights do not fit the network that this version builds; use the "
                f"version that made them: {self.metadata['dentalzoo']}. Received: {self.path}"
            )
        for variable, value in zip(model.weights, values, strict=True):
            variable.assign(value)
        model.zoo_config = config  # what `export` writes down
        model.zoo_licence = self.metadata["data"].get("licence")  # which follows the weights
        return model
