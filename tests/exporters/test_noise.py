"""The noise of light runtimes is TensorFlow's."""

import numpy as np
import pytest

from dentalzoo.errors import DentalzooError
from dentalzoo.exporters._noise import drawn, stateless_normal


def test_the_numbers_are_those_that_tensorflow_drew():
    expected = [
        [-0.6741727590560913, -0.35869255661964417, -1.8795816898345947],
        [-1.4728931188583374, -2.006253719329834, -1.133432388305664],
    ]  # tf.random.stateless_normal([2, 3], [7, 0])
    noise = stateless_normal(7, 2, 3)
    assert noise.dtype == np.float32 and noise.shape == (2, 3)
    assert noise == pytest.approx(np.array(expected), abs=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 7, -3, 2**63 - 1])
def test_every_seed_and_size_gives_the_numbers_of_tensorflow(seed):
    import tensorflow as tf

    for n, width in ((1, 1), (3, 5), (64, 48)):
        expected = tf.random.stateless_normal([n, width], tf.constant([seed, 0], tf.int64))
        assert stateless_normal(seed, n, width) == pytest.approx(expected.numpy(), abs=2e-6)


def test_numbers_depend_on_the_seed_and_not_on_their_count():
    many = stateless_normal(1, 100_000, 3)
    assert np.array_equal(many[:5], stateless_normal(1, 5, 3))
    assert not np.array_equal(many[:5], stateless_normal(2, 5, 3))
    assert many.mean() == pytest.approx(0, abs=0.01) and many.std() == pytest.approx(1, abs=0.01)


def test_a_function_of_noise_becomes_one_of_a_seed():
    function = drawn(lambda noise: {"image": noise}, 4)
    assert np.array_equal(
        function(seed=np.int64(3), n=np.int64(2))["image"], stateless_normal(3, 2, 4)
    )
    with pytest.raises(DentalzooError, match="n, the number of images, must be at least 1"):
        function(seed=3, n=0)
