"""The contract that every model passes; a paper's test subclasses it and adds what is special."""

import dataclasses
import functools
import inspect
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import dentalzoo as dz
from dentalzoo import registry

GOLDEN = Path(__file__).parent / "golden"

# A process without dentalzoo: TensorFlow loads the bundle, NumPy carries the arrays.
_ALONE = """
import sys
sys.modules["dentalzoo"] = None
import numpy as np
import tensorflow as tf
loaded = tf.saved_model.load(sys.argv[1])
with np.load(sys.argv[2]) as inputs:
    tensors = {key: tf.constant(inputs[key]) for key in inputs.files}
results = loaded.signatures[sys.argv[4]](**tensors)
np.savez(sys.argv[3], **{key: value.numpy() for key, value in results.items()})
"""


def serve_alone(path: Path, folder: Path, signature: str = "serve", **inputs) -> dict:
    """What a bundle's signature returns in a fresh process that has TensorFlow alone."""
    np.savez(folder / "in.npz", **inputs)
    command = [sys.executable, "-c", _ALONE, str(path / "saved_model"), "in.npz", "out.npz"]
    subprocess.run([*command, signature], cwd=folder, check=True, timeout=300)
    with np.load(folder / "out.npz") as results:
        return dict(results)


def with_known_weights(model):
    """Weights of NumPy's frozen stream, so that a golden file needs no stored weights."""
    stream = np.random.RandomState(0)
    for weight in model.weights:
        size = np.prod(weight.shape)
        scale = np.sqrt(2 * weight.shape[-1] / size) if len(weight.shape) > 1 else 0.1
        values = scale * stream.standard_normal(size)
        values = 1 + abs(values) if weight.path.endswith(("variance", "gamma")) else values
        weight.assign(values.reshape(weight.shape).astype(np.float32))
    return model


@functools.cache
def _tiny(name: str):
    """The module of a paper, its `tiny` config and that network with known weights."""
    module, config = registry.module_of(name), registry.configure(name, "tiny")
    return module, config, with_known_weights(module.build_model(config))


class ZooCase:
    """Subclass it as `class TestX(ZooCase)` with `name`."""

    name: str

    def outputs(self, model, inputs):
        """What the golden file holds; of a model that draws samples, what it draws from."""
        return model(inputs)

    def test_the_config_is_frozen_flat_and_each_default_has_a_source(self):
        module, _, _ = _tiny(self.name)
        assert module.Config.__dataclass_params__.frozen
        lines = inspect.getsource(module.Config).splitlines()
        for field in dataclasses.fields(module.Config):
            line = next(line for line in lines if line.strip().startswith(f"{field.name}:"))
            assert "  # " in line, line

    def test_info_is_plain(self):
        assert {"paper", "inputs", "outputs", "variants", "pretrained", "intended_use"} <= set(
            json.loads(json.dumps(dz.info(self.name)))
        )

    def test_inputs_and_outputs_are_named_after_the_elements(self):
        import keras

        module, config, model = _tiny(self.name)
        batch = module.example_batch(config)
        for tensor in model.inputs:
            assert batch[tensor.name].shape[1:] == tensor.shape[1:]
            assert batch[tensor.name].dtype == tensor.dtype
        compared = set(model.output_names) & set(batch)
        # All outputs have a target, or none has: the model carries its own loss then.
        assert compared in (set(model.output_names), set())
        assert compared or type(model).compute_loss is not keras.Model.compute_loss

    def test_build_is_random_and_seeded(self):
        import keras

        def weights(seed):
            keras.utils.set_random_seed(seed)
            return dz.build(self.name, "tiny").get_weights()

        def same(left, right):
            return all(np.array_equal(a, b) for a, b in zip(left, right, strict=True))

        assert same(weights(3), weights(3)) and not same(weights(3), weights(4))

    def test_golden(self, update_golden):
        module, config, model = _tiny(self.name)
        batch = module.example_batch(config)
        inputs = [
            np.cos(np.arange(batch[tensor.name].size)).reshape(batch[tensor.name].shape)
            for tensor in model.inputs
        ]
        inputs = [x.astype(np.float32) for x in inputs]
        outputs = self.outputs(model, inputs if len(inputs) > 1 else inputs[0])
        outputs = np.asarray(outputs).ravel()
        found = {
            "parameters": model.count_params(),
            "mean": float(outputs.mean()),
            "slice": [
                float(outputs[int(k * 0.618 * outputs.size) % outputs.size]) for k in range(8)
            ],
        }
        path = GOLDEN / f"{self.name}.json"
        if update_golden:
            path.parent.mkdir(exist_ok=True)
            path.write_text(json.dumps(found, indent=1) + "\n")
        expected = json.loads(path.read_text())
        assert found["parameters"] == expected["parameters"]
        assert found["mean"] == pytest.approx(expected["mean"], abs=1e-5)
        assert found["slice"] == pytest.approx(expected["slice"], abs=1e-5)

    def test_unknown_words_are_refused_with_the_right_ones(self):
        with pytest.raises(dz.DentalzooError, match="variants of .* are: .*Received: 'papr'"):
            dz.build(self.name, "papr")
        with pytest.raises(dz.DentalzooError, match="Did you mean epochs.*Received: 'epoch'"):
            registry.configure(self.name, epoch=3)
