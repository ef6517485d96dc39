"""The contract that every model passes; a paper's test subclasses it and adds what is special."""

import dataclasses
import functools
import importlib
import inspect
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import dentalzoo as dz
from dentalzoo import registry
from dentalzoo.cli import main
from dentalzoo.config import rule_of
from dentalzoo.contracts import DataOptions, Paper, missing_parts

GOLDEN = Path(__file__).parent / "golden"
RELEASED = Path(__file__).parents[1] / "pretrained"

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

    @pytest.fixture
    def samples(self, request, tmp_path):
        """A folder of a few synthetic samples for the paper's task."""
        from dentalzoo.data import synthetic

        task = registry.ZOO[self.name].task
        if task in ("segmentation", "detection"):
            return request.getfixturevalue("phantoms")
        if task == "generation":
            return synthetic.write_tooth_photos(tmp_path / "teeth", 5, size=16)
        if task == "superimposition":
            return synthetic.write_defect_dataset(tmp_path / "defects", 5, size=16)
        return synthetic.write_jaw_dataset(tmp_path / "jaws", 3)

    def outputs(self, model, inputs):
        """Return what the golden file holds; for a model that samples, the distribution."""
        return model(inputs)

    def test_the_package_has_every_part_of_the_contract(self):
        assert missing_parts(registry.module_of(self.name), Paper) == []

    def test_the_package_is_a_face(self):
        """It re-exports the parts of the contract and nothing else."""
        parts = {name for name in vars(Paper) if not name.startswith("_")}
        module = registry.module_of(self.name)
        public = {name for name in vars(module) if not name.startswith("_")}
        assert {name for name in public if not inspect.ismodule(getattr(module, name))} == parts

    def test_the_config_is_frozen_flat_and_each_default_has_a_source(self):
        config = registry.module_of(self.name).Config
        assert config.__dataclass_params__.frozen
        for field in dataclasses.fields(config):
            assert rule_of(field).source, field.name
            assert not dataclasses.is_dataclass(field.default), field.name

    def test_augmentations_are_those_that_the_config_allows(self):
        module = registry.module_of(self.name)
        dataset = importlib.import_module(f"{module.__name__}.dataset")
        fields = {field.name: field for field in dataclasses.fields(module.Config)}
        if hasattr(dataset, "AUGMENTATIONS"):
            assert set(dataset.AUGMENTATIONS) == set(rule_of(fields["augmentation"]).choices)

    def test_a_config_of_a_bundle_is_itself(self):
        """JSON makes lists of tuples; old names are translated, unknown ones refused."""
        config = registry.configure(self.name)
        stored = json.loads(json.dumps(dataclasses.asdict(config)))
        old_names = {new: old for old, new in config.RENAMED.items()}
        older = {old_names.get(key, key): value for key, value in stored.items()}
        for (key, old), new in config.RENAMED_VALUES.items():
            assert getattr(config.from_metadata({**older, key: old}), key) == new
        assert config.from_metadata(stored) == config == config.from_metadata(older)
        with pytest.raises(dz.DentalzooError, match="Did you mean epochs.*Received: epoch=3") as e:
            config.from_metadata({**stored, "epoch": 3})
        assert "\n" not in str(e.value)

    def test_the_settings_of_every_release_are_known(self):
        module = registry.module_of(self.name)
        for tag in module.PRETRAINED:
            metadata = json.loads((RELEASED / f"{self.name}.{tag}" / "metadata.json").read_text())
            config = module.Config.from_metadata(metadata["config"])
            assert config.epochs == metadata["config"]["epochs"]

    def test_info_is_plain(self):
        content = json.loads(json.dumps(dz.info(self.name)))
        assert {"paper", "inputs", "outputs", "variants", "pretrained", "intended_use"} <= set(
            content
        )
        default = next(iter(content["variants"].values()))
        assert {key: row["value"] for key, row in content["settings"].items()} == default
        for row in content["settings"].values():
            assert set(row) == {"value", "allowed", "source"} and row["allowed"] and row["source"]

    def test_whole_numbers_are_taken_for_other_numbers(self):
        config = registry.configure(self.name, learning_rate=1)
        assert type(config.learning_rate) is float and config.learning_rate == 1

    def test_info_shows_each_setting_with_its_source(self, capsys):
        assert main(["info", self.name]) == 0
        lines = capsys.readouterr().out.splitlines()
        for key, row in dz.info(self.name)["settings"].items():
            [line] = [line for line in lines if line.startswith(f"  {key} ")]
            assert line.endswith(f" {row['value']!r}; {row['allowed']}; {row['source']}")

    def test_shards_visit_every_sample_once(self, samples):
        """Two workers share an epoch; a stream is a data set like any other."""
        module, config, _ = _tiny(self.name)
        config = dataclasses.replace(config, batch_size=2)

        def inputs(batches):
            """The first input of each sample, as bytes."""
            key = next(iter(module.example_batch(config)))
            return [row.tobytes() for batch in batches for row in np.asarray(batch[key])]

        streams = [
            module.make_dataset(samples, config, DataOptions(shard=(index, 2))) for index in (0, 1)
        ]
        one, other = map(inputs, streams)
        whole = module.make_dataset(samples, config)
        every = inputs(whole.dataset.cache())
        assert len(every) == len(set(every)) == len(whole.cache) > 2
        assert sorted(one + other) == sorted(every)
        assert abs(len(one) - len(other)) <= 1

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
        result = {
            "parameters": model.count_params(),
            "mean": float(outputs.mean()),
            "slice": [
                float(outputs[int(k * 0.618 * outputs.size) % outputs.size]) for k in range(8)
            ],
        }
        path = GOLDEN / f"{self.name}.json"
        if update_golden:
            path.parent.mkdir(exist_ok=True)
            path.write_text(json.dumps(result, indent=1) + "\n")
        expected = json.loads(path.read_text())
        assert result["parameters"] == expected["parameters"]
        assert result["mean"] == pytest.approx(expected["mean"], abs=1e-5)
        assert result["slice"] == pytest.approx(expected["slice"], abs=1e-5)

    def test_unknown_names_are_refused_with_the_right_ones(self):
        with pytest.raises(dz.DentalzooError, match="variants of .* are: .*Received: 'papr'"):
            dz.build(self.name, "papr")
        with pytest.raises(dz.DentalzooError, match="Did you mean epochs.*Received: 'epoch'"):
            registry.configure(self.name, epoch=3)
