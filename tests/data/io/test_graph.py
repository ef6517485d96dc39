import numpy as np
import pytest

from dentalzoo.data.io.graph import image_spec, to_network


@pytest.mark.parametrize("channels", [1, 3])
def test_images_of_the_networks_size_are_unchanged(channels):
    import tensorflow as tf

    graph = tf.function(
        lambda images: to_network(images, (24, 40), channels), input_signature=[image_spec()]
    )
    assert graph.get_concrete_function().output_shapes.as_list() == [None, 24, 40, channels]
    random = np.random.default_rng(0)
    imgs = random.integers(0, 256, (2, 24, 40, channels), np.uint8)
    result = graph(imgs).numpy()
    assert result == pytest.approx(imgs / 255, abs=1e-7)
    assert graph(imgs[:, :13]).shape == result.shape  # the same graph resizes others
