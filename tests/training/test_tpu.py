"""The way to a TPU, with a fake one; what a TPU compiles is tested in test_xla.py."""

import numpy as np
import pytest

import dentalzoo as dz
from dentalzoo import registry
from dentalzoo.contracts import DataOptions
from dentalzoo.training import tpu
from dentalzoo.training.distribute import strategy


@pytest.fixture
def calls(monkeypatch):
    """What is called of TensorFlow, in order; the strategy is one of a CPU."""
    import tensorflow as tf

    made = []

    def resolver(tpu):
        made.append(f"resolver {tpu}")
        return f"resolver of {tpu}"

    class Strategy:  # Keras asks whether a strategy is an instance of it
        def __new__(cls, resolver):
            made.append(f"strategy {resolver}")
            return tf.distribute.OneDeviceStrategy("CPU:0")

    monkeypatch.delenv("TPU_NAME", raising=False)
    monkeypatch.setattr(tf.distribute.cluster_resolver, "TPUClusterResolver", resolver)
    for owner, name in (
        (tf.config, "experimental_connect_to_cluster"),
        (tf.tpu.experimental, "initialize_tpu_system"),
    ):
        monkeypatch.setattr(owner, name, lambda r, name=name: made.append(f"{name} {r}"))
    monkeypatch.setattr(tf.distribute, "TPUStrategy", Strategy)
    return made


@pytest.mark.parametrize(
    ("given", "variable", "name"),
    [(None, None, "local"), (None, "node-1", "node-1"), ("node-2", "node-1", "node-2")],
)
def test_a_tpu_is_connected_and_initialised(calls, monkeypatch, given, variable, name):
    if variable:
        monkeypatch.setenv("TPU_NAME", variable)
    assert strategy("tpu", name=given).num_replicas_in_sync == 1
    assert calls == [
        f"resolver {name}",
        f"experimental_connect_to_cluster resolver of {name}",
        f"initialize_tpu_system resolver of {name}",
        f"strategy resolver of {name}",
    ]


def test_without_a_tpu_it_is_one_line(calls, monkeypatch):
    import tensorflow as tf

    def no_tpu(resolver):
        raise tf.errors.NotFoundError(None, None, "TPUs not found in the cluster.\nMore.")

    monkeypatch.setattr(tf.tpu.experimental, "initialize_tpu_system", no_tpu)
    with pytest.raises(dz.DentalzooError, match="run on a TPU VM.*'local': TPUs not found") as e:
        tpu.connect()
    assert "\n" not in str(e.value)


def test_a_tpu_goes_with_its_strategy(tmp_path):
    with pytest.raises(dz.DentalzooError, match="must come with strategy tpu. Received: .*default"):
        dz.train("tooth_vae", tmp_path, tmp_path / "run", tpu="local")
    with pytest.raises(dz.DentalzooError, match="mixed_precision must be bfloat16 or None with"):
        dz.train("tooth_vae", tmp_path, tmp_path / "a", strategy="tpu", mixed_precision="float16")


def test_what_a_tpu_runs_is_compiled_by_xla():
    """The graph of a TPU is made without one."""
    import tensorflow as tf

    from dentalzoo.ops.xla import in_xla

    seen = []

    def step(x):
        seen.append(in_xla())
        return x + 1.0

    with tf.Graph().as_default():
        tf.compat.v1.tpu.rewrite(step, [tf.constant(1.0)])
    assert seen == [True] and not in_xla()


@pytest.mark.parametrize(("batch_size", "sizes"), [(2, [2, 2, 2]), (4, [4]), (16, [7])])
def test_every_batch_has_the_same_shape(phantoms, batch_size, sizes):
    """Seven radiographs in two epochs; the rest of an epoch is left out, another one in each."""
    module = registry.module_of("panoramic_unet")
    config = registry.configure("panoramic_unet", "tiny", batch_size=batch_size, augmentation=None)
    options = DataOptions("train", training=True, epochs=range(2))
    stream = module.make_dataset(phantoms, config, options)
    made = tpu.static(stream, batch_size, 2)
    assert all(spec.shape.is_fully_defined() for spec in made.dataset.element_spec.values())
    batches = [np.asarray(batch["image"]) for batch in made]
    assert [len(batch) for batch in batches] == sizes * 2
    assert int(made.dataset.cardinality()) == len(batches)
    for epoch in range(2):
        part = np.concatenate(batches[epoch * len(sizes) : (epoch + 1) * len(sizes)])
        assert len({image.tobytes() for image in part}) == sum(sizes)


@pytest.mark.slow
def test_a_training_goes_on_with_the_strategy_of_the_tpu(calls, tmp_path):
    from dentalzoo.data.synthetic import write_tooth_photos

    data = write_tooth_photos(tmp_path / "teeth", 14, size=16)
    options = {"strategy": "tpu", "tpu": "node-1", "mixed_precision": "bfloat16", "batch_size": 4}
    made = dz.train("tooth_vae", data, tmp_path / "run", "tiny", epochs=2, **options)
    assert [call.split()[0] for call in calls] == [
        *("resolver", "experimental_connect_to_cluster", "initialize_tpu_system", "strategy")
    ]
    training = made.metadata["training"]
    assert training["strategy"] == "tpu" and training["mixed_precision"] == "bfloat16"
    assert "--mixed-precision bfloat16 --strategy tpu" in training["command"]
