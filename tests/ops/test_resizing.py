"""Resizing by products of matrices equals TensorFlow's own, on every runtime."""

import numpy as np
import pytest

from dentalzoo.ops import resizing


@pytest.mark.parametrize("method", resizing.METHODS)
@pytest.mark.parametrize("known", [True, False], ids=["size known", "size of the run"])
def test_it_equals_scale_and_translate(method, known):
    import tensorflow as tf

    images = np.random.RandomState(0).uniform(0, 255, (2, 9, 14, 3)).astype(np.float32)
    for size in (9, 14), (5, 20), (31, 3), (1, 1), (400, 1):
        expected = np.array(tf.image.resize(images, size, method, antialias=True))
        result = np.array(resizing.resize(images, size if known else tf.constant(size), method))
        assert result.shape == (2, *size, 3)
        assert result == pytest.approx(expected, abs=2e-3)  # of 255 grey levels


def test_an_image_of_one_pixel_fills_the_new_one():
    result = np.array(resizing.resize(np.full((1, 1, 1, 1), 7.0, np.float32), (3, 640), "lanczos3"))
    assert result == pytest.approx(np.full((1, 3, 640, 1), 7.0))


def test_a_graph_holds_operations_of_every_runtime_only():
    import tensorflow as tf

    spec = tf.TensorSpec((None, None, None, None), tf.float32)
    function = tf.function(lambda x: resizing.resize(x, (3, 3), "lanczos3"), input_signature=[spec])
    graph = function.get_concrete_function().graph
    assert not {"ScaleAndTranslate", "Einsum"} & {node.type for node in graph.get_operations()}


def test_xla_compiles_it():
    import tensorflow as tf

    images = np.random.RandomState(0).uniform(0, 255, (1, 6, 4, 1)).astype(np.float32)
    spec = tf.TensorSpec((None, None, None, 1), tf.float32)
    inner = tf.function(lambda x: resizing.resize(x, (3, 3)), input_signature=[spec])
    result = np.array(tf.function(inner, jit_compile=True)(images))
    assert result == pytest.approx(np.array(resizing.resize(images, (3, 3))), abs=2e-3)
