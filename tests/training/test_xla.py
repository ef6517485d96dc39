"""Every train step and serving function compiles with XLA, as a TPU needs it.

Of `tiny` the compiled functions run and are compared with the ones that are not compiled. Of the
other variants XLA makes its program (HLO), which takes seconds where compiling it takes minutes.
"""

import numpy as np
import pytest

from dentalzoo import registry
from dentalzoo.bundle.weights import store
from tests import xla_case

VARIANTS = [
    (name, variant)
    for name in registry.ZOO
    for variant in registry.module_of(name).VARIANTS
    if variant not in ("tiny", "few", "robust_few")  # of the networks of `paper` and `robust`
]


@pytest.fixture(autouse=True)
def _known_noise(monkeypatch):
    """XLA draws other random numbers of the same seed than TensorFlow."""
    import keras
    import tensorflow as tf

    def noise(shape, *_, dtype="float32", **__):
        count = tf.reduce_prod(shape)
        return tf.reshape(tf.cos(tf.cast(tf.range(count), dtype)), shape)

    monkeypatch.setattr(keras.random, "normal", noise)
    monkeypatch.setattr(tf.random, "stateless_normal", noise)


def step_of(model, jit):
    """One training step: a function from a batch to the metrics."""
    import tensorflow as tf

    return tf.function(lambda *batch: model.train_step(batch), jit_compile=jit)


@pytest.mark.slow
@pytest.mark.parametrize("precision", [None, "bfloat16"])
@pytest.mark.parametrize("name", registry.ZOO)
def test_a_compiled_step_is_the_same_step(name, precision):
    """The weights move alike: to 1 % of their movement, in bfloat16 to 20 %.

    The first step of Adam and RMSprop has the size of the learning rate whatever a gradient's size
    is, so that rounding the smallest ones to the other sign is seen.
    """
    _, config, model = xla_case.built(name, "tiny", precision)
    batch = xla_case.batch_of(config, model)
    state = [*model.variables, *model.optimizer.variables]
    start = [np.array(variable) for variable in state]
    moved, metrics = [], []
    for jit in (False, True):
        for variable, value in zip(state, start, strict=True):
            variable.assign(value)
        step = step_of(model, jit)
        if jit:
            assert not xla_case.host_calls(step.get_concrete_function(*batch))
        metrics.append({key: float(value) for key, value in step(*batch).items()})
        weights = zip(model.variables, start, strict=False)
        moved.append(np.concatenate([(np.array(w) - old).ravel() for w, old in weights]))
    for variable, value in zip(state, start, strict=True):
        variable.assign(value)
    limit = 0.01 if precision is None else 0.2
    assert metrics[0] == pytest.approx(metrics[1], rel=limit, abs=limit / 10)
    assert np.linalg.norm(moved[0]) > 0
    assert np.linalg.norm(moved[0] - moved[1]) < limit * np.linalg.norm(moved[0])


@pytest.mark.slow
@pytest.mark.parametrize("name", registry.ZOO)
def test_compiled_signatures_return_the_same(name):
    """A grey level may be rounded otherwise when an image is resized."""
    import tensorflow as tf

    module, config, model = xla_case.built(name, "tiny", None)
    stored = store(model, "float32")
    # Traced anew: the functions that a signature calls keep the form that they were traced with.
    plain, traced = module.signatures(stored, config), module.signatures(stored, config)
    for key, signature in plain.items():
        inputs = xla_case.inputs_of(signature, config)
        if inputs is None:
            continue
        compiled = tf.function(traced[key].python_function, jit_compile=True)
        assert not xla_case.host_calls(compiled.get_concrete_function(**inputs))
        expected, result = signature(**inputs), compiled(**inputs)
        assert expected.keys() == result.keys()
        for output, value in expected.items():
            one, two = np.array(value), np.array(result[output])
            assert one.shape == two.shape and one.dtype == two.dtype, (key, output)
            if one.dtype.kind == "f":
                scale = max(1.0, np.abs(one).max())
                assert np.abs(one - two).max() < 5e-3 * scale, (key, output)
            else:
                assert (one != two).mean() < 1e-3, (key, output)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "variant"), VARIANTS)
def test_xla_has_a_program_for_each_variant(name, variant):
    """For its step in bfloat16, and for its signatures in float32, as they are served."""
    import tensorflow as tf

    module, config, model = xla_case.built.__wrapped__(name, variant, "bfloat16")
    batch = xla_case.batch_of(config, model)
    step = step_of(model, True)
    assert not xla_case.host_calls(step.get_concrete_function(*batch))
    text = xla_case.hlo(step, *batch)
    assert "bf16[" in text and "custom-call" not in text
    del model, step
    _, _, model = xla_case.built.__wrapped__(name, variant, None)
    for signature in module.signatures(store(model, "float32"), config).values():
        if (inputs := xla_case.inputs_of(signature, config)) is not None:
            function = tf.function(signature.python_function, jit_compile=True)
            assert "ENTRY" in xla_case.hlo(function, *inputs.values())
