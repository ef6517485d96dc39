"""Sums over replicas: of one they are what is given, of two those of the whole batch."""

import numpy as np
import pytest

from dentalzoo.nn import losses
from dentalzoo.nn.replicas import mean_over_replicas, place_in_batch, sum_over_replicas


def test_on_one_device_nothing_changes():
    values = np.float32([1, 2])
    assert sum_over_replicas(values) is values and mean_over_replicas(values, 2) is values
    first, total = place_in_batch(np.zeros((3, 2), np.float32))
    assert (int(first), int(total)) == (0, 3)


def test_dice_of_two_replicas_is_that_of_their_batch_and_so_is_its_gradient(mirrored):
    """Two samples on the first replica and one on the second."""
    import tensorflow as tf

    rng = np.random.default_rng(0)
    gt = np.float32(rng.random((3, 4, 4, 1)) < 0.4)
    pred = np.float32(rng.random((3, 4, 4, 1)))
    parts = [(gt[:2], pred[:2]), (gt[2:], pred[2:])]
    values = mirrored.experimental_distribute_values_from_function(
        lambda context: tuple(map(tf.constant, parts[context.replica_id_in_sync_group]))
    )

    @tf.function
    def run():
        def replica(gt, pred):
            with tf.GradientTape() as tape:
                tape.watch(pred)
                loss = losses.Dice()(gt, pred)  # divided by the number of replicas
            first, total = place_in_batch(gt)
            mean = mean_over_replicas(tf.reduce_mean(gt), tf.shape(gt)[0])
            return loss, tape.gradient(loss, pred), first, total, mean

        return mirrored.run(replica, args=values)

    loss, gradient, first, total, mean = map(mirrored.experimental_local_results, run())
    with tf.GradientTape() as tape:
        whole = tf.constant(pred)
        tape.watch(whole)
        expected = losses.Dice()(gt, whole)
    assert [2 * float(value) for value in loss] == pytest.approx([float(expected)] * 2)
    assert np.allclose(np.concatenate(gradient), tape.gradient(expected, whole), atol=1e-6)
    assert ([int(f) for f in first], [int(t) for t in total]) == ([0, 2], [3, 3])
    assert [float(value) for value in mean] == pytest.approx([gt.mean()] * 2)
