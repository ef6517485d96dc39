"""Every train step and serving function compiles with XLA, as a TPU needs it.

Every variant of the autoencoders and detectors is compiled and run in small: the same operations
with fewer channels and pixels. Variants that differ in data alone are one program, and the settings
that were read show that they are. Of the other models `tiny` is; of their other variants, which
take minutes to compile, XLA makes its program (HLO), which takes seconds.
"""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest

from dentalzoo import registry
from dentalzoo.bundle.weights import store
from tests import xla_case

VAES = ("tooth_vae", "defect_overlay_vae")
DETECTOR = "panoramic_detection"
OTHERS = [name for name in registry.ZOO if name not in (*VAES, DETECTOR)]
# Of 16 bits every kind of layer once: what the others have beside it is computed in float32.
ONLY_FLOAT32 = {("tooth_vae", "paper"), ("defect_overlay_vae", "few")}
ONLY_FLOAT32 |= {("defect_overlay_vae", "robust_few"), (DETECTOR, "faster_rcnn_mobilenet_v1")}
ONLY_FLOAT32 |= {(DETECTOR, "ssd_mobilenet_v1")}
PROGRAMS = {
    precision: [
        pytest.param((*program, precision), id=f"{program[0]}-{'+'.join(program[2])}-{precision}")
        for program in xla_case.programs()
        if program[0] in (*VAES, DETECTOR)
        and (precision == "float32" or (program[0], program[2][0]) not in ONLY_FLOAT32)
    ]
    for precision in ("float32", "bfloat16")
}
LARGE = [
    (name, variants[0])
    for name, _, variants in xla_case.programs()
    if name in OTHERS and "tiny" not in variants
]
LIMIT = {"float32": 0.01, "bfloat16": 0.2}  # of a step
SERVED = 5e-3  # of what a signature returns


@pytest.fixture(scope="module")
def case(request):
    """A model that made a step without XLA, in its state before and after, and how it moved."""
    import keras
    import tensorflow as tf

    name, config, variants, precision = request.param

    def noise(shape, *_, dtype="float32", **__):
        count = tf.reduce_prod(shape)
        return tf.reshape(tf.cos(tf.cast(tf.range(count), dtype)), shape)

    read: set = set()
    with pytest.MonkeyPatch.context() as patch:
        # XLA draws other random numbers of the same seed than TensorFlow.
        patch.setattr(keras.random, "normal", noise)
        patch.setattr(tf.random, "stateless_normal", noise)
        recording = xla_case.recording(config, read)
        model = xla_case.build(name, recording, None if precision == "float32" else precision)
        if name == DETECTOR and (config.network, precision) != ("fpn", "float32"):
            xla_case.avoid_kinks(model)
        if hasattr(model, "second") and precision == "bfloat16":
            patch.setattr(type(model.second), "propose", xla_case.fixed_proposals)
        variables = [*model.variables, *model.optimizer.variables]
        start = [np.array(variable) for variable in variables]
        plain = xla_case.run_step(model, xla_case.batch_of(config, model), start, jit=False)
        after = [np.array(variable) for variable in variables]
        yield SimpleNamespace(
            **{"name": name, "config": recording, "precision": precision, "model": model},
            **{"start": start, "plain": plain, "after": after, "read": read},
        )


def assert_alike(expected, result, by_scores=()):
    """Compare what signatures return: of those named in `by_scores` the scores and numbers."""
    assert expected.keys() == result.keys() and len(expected) > 0
    for key, outputs in expected.items():
        assert outputs.keys() == result[key].keys()
        for output, value in outputs.items():
            one, two = np.array(value), np.array(result[key][output])
            assert one.shape == two.shape and one.dtype == two.dtype, (key, output)
            assert one.dtype in (np.float32, np.int32, np.uint8), (key, output)
            if key in by_scores and output in ("boxes", "classes"):
                continue
            if one.dtype.kind == "f":
                scale = max(1.0, np.abs(one).max())
                assert np.abs(one - two).max() < SERVED * scale, (key, output)
            else:
                assert (one != two).mean() < 1e-3, (key, output)


@pytest.mark.slow
@pytest.mark.parametrize(
    "case", PROGRAMS["float32"] + PROGRAMS["bfloat16"], indirect=True, scope="module"
)
def test_a_compiled_step_is_the_same_step(case):
    """In float32 gradients and weights move alike to 1 %; in bfloat16 gradients to 20 %.

    Those of detectors are compared where rounding does not change them, see `avoid_kinks`.

    The first step of Adam and RMSprop has the size of the learning rate whatever a gradient's size
    is, so that rounding the smallest ones to the other sign is seen in the weights.
    """
    limit, plain = LIMIT[case.precision], case.plain
    batch = xla_case.batch_of(case.config, case.model)
    inspect = case.precision == "float32"  # 16 bits are the same operations
    result = xla_case.run_step(case.model, batch, case.start, jit=True, inspect=inspect)
    assert not result.host_calls
    assert plain.metrics == pytest.approx(result.metrics, rel=limit, abs=limit / 10)
    assert xla_case.distance(plain.gradients, result.gradients) < limit
    if case.precision == "float32":
        assert xla_case.distance(plain.moved, result.moved) < limit
    assert np.isfinite(result.moved).all() and np.linalg.norm(result.moved) > 0


@pytest.mark.slow
@pytest.mark.parametrize("case", PROGRAMS["float32"], indirect=True, scope="module")
def test_compiled_signatures_return_the_same(case):
    """To 0.5 % and one pixel in a thousand; models of 16 bits are served in float32, see below.

    A grey level may be rounded otherwise when an image is resized. Where SSD's scores are all near
    1, rounding decides which of overlapping boxes is kept: of its detections scores and numbers are
    compared.
    """
    module = registry.module_of(case.name)
    for variable, value in zip(case.model.variables, case.after, strict=False):
        variable.assign(value)
    by_scores = ["detect"] if getattr(case.config, "network", None) == "ssd" else []
    results = []
    for jit in (False, True):
        # Traced anew: the functions that a signature calls keep the form they were traced with.
        signatures = module.signatures(store(case.model, "float32"), case.config)
        function, inputs = xla_case.served(signatures, case.config, jit)
        assert not xla_case.host_calls(function.get_concrete_function(inputs))
        results.append(function(inputs))
    assert not case.read & set(xla_case.OF_DATA)
    assert_alike(*results, by_scores)


@pytest.mark.slow
@pytest.mark.parametrize("precision", [None, "bfloat16"])
@pytest.mark.parametrize("name", OTHERS)
def test_a_compiled_step_of_tiny_is_the_same_step(name, precision):
    """The weights move alike: to 1 % of their movement, in bfloat16 to 20 %.

    The first step of Adam and RMSprop has the size of the learning rate whatever a gradient's size
    is, so that rounding the smallest ones to the other sign is seen.
    """
    _, config, model = xla_case.tiny(name, precision)
    batch = xla_case.batch_of(config, model)
    state = [*model.variables, *model.optimizer.variables]
    start = [np.array(variable) for variable in state]
    moved, metrics = [], []
    for jit in (False, True):
        for variable, value in zip(state, start, strict=True):
            variable.assign(value)
        step = xla_case.step_of(model, jit)
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
@pytest.mark.parametrize("name", OTHERS)
def test_compiled_signatures_of_tiny_return_the_same(name):
    module, config, model = xla_case.tiny(name, None)
    results = []
    for jit in (False, True):
        # Traced anew: the functions that a signature calls keep the form they were traced with.
        signatures = module.signatures(store(model, "float32"), config)
        function, inputs = xla_case.served(signatures, config, jit)
        assert not xla_case.host_calls(function.get_concrete_function(inputs))
        results.append(function(inputs))
    assert_alike(*results)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "variant"), LARGE)
def test_xla_has_a_program_for_large_networks(name, variant):
    """For its step in bfloat16, and for its signatures in float32, as they are served."""
    import tensorflow as tf

    config = registry.configure(name, variant).without_init()
    if getattr(config, "num_points", 0) > 2000:  # a number of points is no other network
        config = dataclasses.replace(config, num_points=2000)
    model = xla_case.build(name, config, "bfloat16")
    batch = xla_case.batch_of(config, model)
    step = xla_case.step_of(model, True)
    assert not xla_case.host_calls(step.get_concrete_function(*batch))
    text = xla_case.hlo(step, *batch)
    assert "bf16[" in text and "custom-call" not in text
    del model, step
    model = xla_case.build(name, config, None)
    signatures = registry.module_of(name).signatures(store(model, "float32"), config)
    for signature in signatures.values():
        if (inputs := xla_case.inputs_of(signature, config)) is not None:
            function = tf.function(signature.python_function, jit_compile=True)
            assert "ENTRY" in xla_case.hlo(function, *inputs.values())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tooth_vae", "panoramic_detection"])
def test_a_model_of_16_bits_is_exported_in_float32(name, tmp_path):
    import tensorflow as tf

    import dentalzoo as dz

    config = xla_case.small(name, "tiny")
    model = xla_case.build(name, config, "bfloat16")
    assert model.compute_dtype == "bfloat16"
    bundle = dz.export(model, tmp_path / "bundle", name, config)
    again = bundle.to_keras()
    assert again.compute_dtype == "float32"
    for one, two in zip(model.weights, again.weights, strict=True):
        np.testing.assert_array_equal(one, two)
    signatures = registry.module_of(name).signatures(again, config)
    key = "encode" if name == "tooth_vae" else "raw"
    inputs = xla_case.inputs_of(signatures[key], config)
    served = tf.saved_model.load(str(tmp_path / "bundle" / "saved_model")).signatures[key](**inputs)
    for output, value in signatures[key](**inputs).items():
        np.testing.assert_allclose(served[output], value, atol=1e-5)


def test_variants_that_are_tested_as_one_differ_in_data_alone():
    """All variants are among the programs; `separated` of the variants `few` is another step."""
    found = {(name, v) for name, _, variants in xla_case.programs() for v in variants}
    assert found == {(n, v) for n in registry.ZOO for v in registry.module_of(n).VARIANTS}
    together = {(name, *variants) for name, _, variants in xla_case.programs() if variants[1:]}
    assert together == {
        ("tooth_vae", "paper", "tiny"),
        ("defect_overlay_vae", "paper", "tiny"),
        ("panoramic_unet", "light", "tiny"),
        ("panoramic_detection", "ssd_mobilenet_v1_fpn", "tiny"),
    }
