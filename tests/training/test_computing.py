"""Precision, XLA and accumulated gradients as settings of a run."""

import dataclasses
import json
from unittest import mock

import numpy as np
import pytest

import dentalzoo as dz
from dentalzoo import cli
from dentalzoo.training import checkpoint, computing, loop
from dentalzoo.training.computing import Computing

SETTINGS = dataclasses.asdict(Computing())


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"mixed_precision": "float8"}, "one of: bfloat16, float16, or None. Received: 'float8'"),
        ({"jit_compile": "yes"}, "jit_compile must be True, False or None. Received: 'yes'"),
        ({"jit_compile": True, "strategy": "mirrored"}, "with jit_compile.*Received: 'mirrored'"),
        ({"jit_compile": False, "strategy": "tpu"}, "must be None or True with strategy tpu"),
        ({"accumulate": 0}, "accumulate must be an integer >= 1. Received: 0"),
        ({"accumulate": True}, "accumulate must be an integer >= 1. Received: True"),
    ],
)
def test_settings_that_cannot_be_are_refused(setting, message):
    with pytest.raises(dz.DentalzooError, match=message) as error:
        Computing(**SETTINGS | setting)
    assert "\n" not in str(error.value)


def test_settings_are_flags_of_the_command(monkeypatch, capsys):
    """The flags that a bundle records give the same settings again."""
    seen = {}

    def train(*names, **keywords):
        seen.update(keywords)
        raise dz.DentalzooError("far enough")

    monkeypatch.setattr(dz, "train", train)
    command = ["train", "tooth_vae", "--data", "d", "--out", "o"]
    for settings in (
        SETTINGS,
        SETTINGS | {"mixed_precision": "float16", "jit_compile": True, "accumulate": 4},
        SETTINGS | {"mixed_precision": "bfloat16", "jit_compile": False},
    ):
        cli.main([*command, *Computing(**settings).arguments()])
        assert {key: seen[key] for key in SETTINGS} == settings
    assert Computing().arguments() == []
    assert "deprecated" not in capsys.readouterr().err
    cli.main([*command, "--mixed-precision", "--seed", "1"])
    assert seen["mixed_precision"] == "bfloat16"
    assert "use --mixed-precision bfloat16 instead" in capsys.readouterr().err


def test_a_bool_is_a_deprecated_precision(tmp_path):
    arguments = "tooth_vae", tmp_path, tmp_path  # refused before anything is done
    with (
        pytest.warns(FutureWarning, match="mixed_precision=True of train.*='bfloat16' instead"),
        pytest.raises(dz.DentalzooError, match="another folder"),
    ):
        dz.train(*arguments, mixed_precision=True)


def test_runs_of_earlier_versions_can_be_resumed():
    old = {"seed": 0, "mixed_precision": False, "strategy": "default"}
    assert computing.with_defaults(old) == {"seed": 0, **SETTINGS}
    mixed = computing.with_defaults(old | {"mixed_precision": True})
    assert mixed["mixed_precision"] == "bfloat16"
    new = SETTINGS | {"mixed_precision": "float16", "jit_compile": True, "accumulate": 2}
    assert computing.with_defaults(new) == new


# ---- steps of two variables ----------------------------------------------------------------------

GRADIENTS = np.random.RandomState(0).standard_normal((8, 3)).astype(np.float32)


class Steps:
    """A model of three weights, whose gradients are given."""

    def __init__(self, strategy=None, precision=None, every=1, jit=False, rate=None):
        import keras
        import tensorflow as tf

        strategy = strategy or tf.distribute.get_strategy()
        with computing.precision(precision), strategy.scope():
            model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1, use_bias=False)])
            rate = rate or keras.optimizers.schedules.CosineDecay(0.1, 6)
            model.compile(keras.optimizers.SGD(rate, momentum=0.9), jit_compile=False)
            computing.adapt(model, Computing(mixed_precision=precision, accumulate=every))
        self.optimizer = model.optimizer
        [kernel] = model.trainable_variables
        kernel.assign(np.zeros(kernel.shape))
        self.variables = [kernel, *model.optimizer.variables]

        def apply(gradient):
            gradient = model.optimizer.scale_loss(gradient) / strategy.num_replicas_in_sync
            model.optimizer.apply([gradient[:, None]], [kernel])

        @tf.function(jit_compile=jit)
        def step(gradient):
            strategy.run(apply, args=(gradient,))

        self.step = step

    def state(self):
        from keras import ops

        return [ops.convert_to_numpy(variable) for variable in self.variables]

    def after(self, gradients):
        """The weights after batches of these gradients."""
        for gradient in gradients:
            self.step(gradient)
        return self.state()[0].ravel()

    @property
    def count(self):
        from keras import ops

        return int(ops.convert_to_numpy(self.optimizer.iterations))


@pytest.mark.parametrize("jit", [False, True])
def test_two_batches_accumulated_are_one_of_twice_the_size(jit):
    """The schedule counts steps of the optimizer: the rates are the same ones, too."""
    whole, parts = Steps(), Steps(every=2, jit=jit)
    expected = whole.after(GRADIENTS.reshape(4, 2, 3).mean(axis=1))
    assert parts.after(GRADIENTS) == pytest.approx(expected, abs=1e-6)
    assert whole.count == parts.count == 4
    assert float(whole.optimizer.learning_rate) == float(parts.optimizer.learning_rate) < 0.1


@pytest.mark.parametrize("precision", [None, "float16"])
def test_replicas_accumulate_alike(mirrored, precision):
    one, two = Steps(precision=precision, every=2), Steps(mirrored, precision, every=2)
    assert one.after(GRADIENTS) == pytest.approx(two.after(GRADIENTS), abs=1e-6)
    assert one.count == two.count == 4


@pytest.mark.parametrize("precision", [None, "float16"])
def test_resuming_in_the_middle_of_a_group_equals_not_stopping(precision):
    whole, half, resumed = (Steps(precision=precision, every=2) for _ in range(3))
    expected = whole.after(GRADIENTS[:6])
    half.after(GRADIENTS[:3])
    assert half.count == 1
    for variable, value in zip(resumed.variables, half.state(), strict=True):
        variable.assign(value)
    assert np.array_equal(resumed.after(GRADIENTS[3:6]), expected) and resumed.count == 3


def test_a_batch_that_float16_cannot_hold_is_skipped_and_the_loss_scaled_less():
    steps = Steps(precision="float16", every=2)
    huge = np.full(3, np.inf, np.float32)
    assert not steps.after([GRADIENTS[0], huge, huge]).any() and steps.count == 0
    assert float(steps.optimizer.dynamic_scale.value) == 2.0**13
    expected = Steps(every=2).after(GRADIENTS[:2])
    assert steps.after(GRADIENTS[1:2]) == pytest.approx(expected, abs=1e-6) and steps.count == 1


def test_a_rate_can_be_lowered_and_shown():
    """As ReduceLROnPlateau and TensorBoard do."""
    optimizer = Steps(precision="float16", every=2, rate=0.5).optimizer
    optimizer.learning_rate = 0.25
    assert float(optimizer.learning_rate) == 0.25
    assert float(optimizer.inner_optimizer.inner.learning_rate) == 0.25


# ---- runs ----------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        {"mixed_precision": "float16", "accumulate": 2},
        {"mixed_precision": "bfloat16", "accumulate": 2, "jit_compile": True},
    ],
    ids=["float16", "bfloat16-xla"],
)
def test_a_run_records_its_settings_and_resumes_bit_equal(tmp_path, settings):
    """Of 12 images in batches of 4, so that an epoch ends in the middle of a group."""
    from dentalzoo.data.synthetic import write_tooth_photos

    data = write_tooth_photos(tmp_path / "teeth", 12, size=16)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    options = {"batch_size": 4, "val_fraction": 0.0, **settings}
    made = dz.train("tooth_vae", data, whole, "tiny", epochs=3, **options)
    with mock.patch.object(loop, "_write_results"):
        for epochs in (1, 3):
            dz.train("tooth_vae", data, parts, "tiny", epochs=epochs, resume=True, **options)
    (one, _), (two, _) = (
        checkpoint.Checkpoints(folder / "checkpoints").latest() for folder in (whole, parts)
    )
    assert all(np.array_equal(a, b) for a, b in zip(one, two, strict=True))
    training, stored = made.metadata["training"], json.loads((whole / "run.json").read_text())
    for key, value in settings.items():
        assert training[key] == stored[key] == value
    assert " ".join(Computing(**settings).arguments()) in training["command"]
    with pytest.raises(dz.DentalzooError, match="accumulate was 2 and is 3"):
        dz.train("tooth_vae", data, parts, "tiny", resume=True, **options | {"accumulate": 3})
