import numpy as np
import pytest

from dentalzoo.data.io.graph import files_to_network, image_spec, to_network
from dentalzoo.data.io.images import read_image
from tests.data.io.test_grey_levels import png_of_16_bits, radiograph, with_letters


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


@pytest.mark.parametrize("channels", [1, 3])
def test_grey_images_are_resized_alike_whatever_their_channels(channels):
    import tensorflow as tf

    random = np.random.default_rng(0)
    for height, width in (50, 70), (1, 1), (7, 301), (240, 3):
        grey = random.integers(0, 256, (1, height, width, 1), np.uint8)
        expected = tf.image.resize(grey, (24, 40), "lanczos3", antialias=True)[0].numpy()
        one, three = (
            to_network(image, (24, 40), channels)[0].numpy() * 255
            for image in (grey, np.repeat(grey, 3, axis=-1))
        )
        assert one.shape == (24, 40, channels)
        assert np.abs(one - expected.clip(0, 255)).max() < 0.501  # a grey level of 255
        if channels == 3:
            assert np.array_equal(one, three)


def test_colours_are_resized_apart():
    random = np.random.default_rng(0)
    colours = random.integers(0, 256, (1, 50, 70, 3), np.uint8)
    result = to_network(colours, (24, 40), 3).numpy()
    for channel in range(3):
        alone = to_network(colours[..., channel : channel + 1], (24, 40), 3).numpy()
        assert np.array_equal(result[..., channel], alone[..., channel])


def deep_images():
    for bits in (8, 10, 12, 14, 16):
        image = radiograph(bits)
        yield image
        hot = image.copy()
        hot[3, 3:9] = 65535
        hot[9, 9] = min(1 << bits, 65535)
        yield hot
        yield with_letters(image)
    labelled = radiograph(10)
    labelled[:30] = 65535
    yield labelled
    yield np.where(labelled == 65535, labelled, labelled // 40)  # nearly a drawing
    yield radiograph(8) // 8 * 257
    yield np.repeat(np.array([[0, 300, 900, 40000]], np.uint16), 64, 1).repeat(64, 0)


def test_files_of_16_bits_have_the_brightness_of_read_image(tmp_path):
    import tensorflow as tf

    graph = tf.function(
        lambda encoded: files_to_network(encoded, (64, 256), 1)[0]
    ).get_concrete_function(tf.TensorSpec((None,), tf.string))
    paths = [
        png_of_16_bits(tmp_path / f"{index}.png", image)
        for index, image in enumerate(deep_images())
    ]
    result = graph(tf.constant([path.read_bytes() for path in paths])).numpy()
    for path, image in zip(paths, result, strict=True):
        assert np.array_equal(np.rint(image * 255), read_image(path)), path.name
    stated = png_of_16_bits(tmp_path / "stated.png", radiograph(12), 12)
    with pytest.raises(tf.errors.InvalidArgumentError, match="sBIT"):
        graph(tf.constant([stated.read_bytes()]))
