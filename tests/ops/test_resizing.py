"""Resizing with the operations that XLA has equals TensorFlow's own."""

import numpy as np
import pytest

from dentalzoo.ops import resizing


@pytest.mark.parametrize("method", resizing.METHODS)
def test_both_forms_are_the_same(method, monkeypatch):
    images = np.random.RandomState(0).uniform(0, 255, (2, 9, 14, 3)).astype(np.float32)
    sizes = (9, 14), (5, 20), (31, 3), (1, 1)
    expected = [np.array(resizing.resize(images, size, method)) for size in sizes]
    monkeypatch.setattr(resizing, "in_xla", lambda: True)
    for size, one in zip(sizes, expected, strict=True):
        other = np.array(resizing.resize(images, size, method))
        assert other.shape == (2, *size, 3)
        assert other == pytest.approx(one, abs=2e-3)  # of 255 grey levels


def test_a_compiled_function_takes_the_form_of_xla():
    import tensorflow as tf

    from dentalzoo.ops.xla import in_xla

    images = np.random.RandomState(0).uniform(0, 255, (1, 6, 4, 1)).astype(np.float32)
    spec = tf.TensorSpec((None, None, None, 1), tf.float32)
    inner = tf.function(lambda x: resizing.resize(x, (3, 3)), input_signature=[spec])
    forms = []

    @tf.function(jit_compile=True)
    def compiled(x):
        forms.append(in_xla())
        return inner(x)

    result = np.array(compiled(images))
    assert forms == [True] and not in_xla()
    assert result == pytest.approx(np.array(resizing.resize(images, (3, 3))), abs=2e-3)
