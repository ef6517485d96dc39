"""Batch normalisation of Keras 3 and, inside a layer of it, of Keras 2: listed and synchronised."""

import numpy as np
import pytest

from dentalzoo.models.panoramic_detection.keras2_bridge import Network
from dentalzoo.nn.normalisation import moving_statistics, normalisations, synchronise


def model_of(trainable=True):
    import keras
    import tf_keras

    def parts():
        layer = tf_keras.layers.BatchNormalization(momentum=0.0, trainable=trainable)
        layer.build((None, 4, 4, 3))
        return [layer]

    def run(parts, x, training):
        return {"out": parts[0](x, training=training)}

    image = keras.Input((4, 4, 3))
    first = keras.layers.BatchNormalization(momentum=0.0, trainable=trainable)(image)
    second = Network(parts, run, {"out": (4, 4, 3)})(image)["out"]
    return keras.Model(image, [first, second])


def test_what_does_not_train_is_not_listed():
    assert len(normalisations(model_of())) == 2 and len(moving_statistics(model_of())) == 4
    assert normalisations(model_of(trainable=False)) == []


@pytest.mark.parametrize("together", [False, True])
def test_two_replicas_normalise_as_one_device_if_synchronised(mirrored, together):
    """Three samples on the first replica and one on the second."""
    import tensorflow as tf

    batch = np.random.default_rng(0).normal(3, 2, (4, 4, 4, 3)).astype(np.float32)
    parts = [batch[:3], batch[3:]]
    values = mirrored.experimental_distribute_values_from_function(
        lambda context: tf.constant(parts[context.replica_id_in_sync_group])
    )
    with mirrored.scope():
        model = model_of()
        if together:
            synchronise(normalisations(model))
    outputs = tf.function(lambda: mirrored.run(lambda x: model(x, training=True), (values,)))()
    groups = [batch, batch] if together else parts
    for output in outputs:
        for result, part, group in zip(
            mirrored.experimental_local_results(output), parts, groups, strict=True
        ):
            mean, variance = group.mean((0, 1, 2)), group.var((0, 1, 2))
            expected = (part - mean) / np.sqrt(variance + 1e-3)
            assert np.asarray(result) == pytest.approx(expected, abs=1e-4)
