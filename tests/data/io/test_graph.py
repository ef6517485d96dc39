import numpy as np
import pytest

from dentalzoo.data.io.graph import picture_spec, to_network


@pytest.mark.parametrize("channels", [1, 3])
def test_pictures_of_the_networks_size_stay_as_they_are(channels):
    import tensorflow as tf

    graph = tf.function(
        lambda images: to_network(images, (24, 40), channels), input_signature=[picture_spec()]
    )
    assert graph.get_concrete_function().output_shapes.as_list() == [None, 24, 40, channels]
    random = np.random.default_rng(0)
    pictures = random.integers(0, 256, (2, 24, 40, channels), np.uint8)
    found = graph(pictures).numpy()
    assert found == pytest.approx(pictures / 255, abs=1e-7)
    assert graph(pictures[:, :13]).shape == found.shape  # the same graph resizes others
