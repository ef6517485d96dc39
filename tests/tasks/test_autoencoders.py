"""Shared by the tasks of autoencoders: latent scores, decoding in blocks."""

import numpy as np

from dentalzoo.tasks import autoencoders
from dentalzoo.tasks.autoencoders import decode, kl_divergence


def test_the_divergence_of_normal_distributions_in_closed_form():
    z_mean, z_log_var = np.float32([[0, 1, 0]]), np.float32([[0, 0, np.log(4)]])
    expected = [[0, 0.5, (4 - 1 - np.log(4)) / 2]]
    np.testing.assert_allclose(kl_divergence(z_mean, z_log_var), expected, rtol=1e-6)


def test_latent_vectors_are_decoded_in_blocks(monkeypatch):
    class Counting:
        metadata = {"config": {"input_size": [2, 3], "channels": 1}}
        calls = []

        def decode(self, z):
            assert z.dtype == np.float32
            self.calls.append(len(z))
            return {"image": np.repeat(z, 6, 1).reshape(-1, 2, 3, 1)}

    monkeypatch.setattr(autoencoders, "_VALUES", 4 * 6)
    bundle, z = Counting(), np.arange(10.0)[:, None]
    images = np.concatenate(list(decode(bundle, z)))
    assert bundle.calls == [4, 4, 2]
    np.testing.assert_array_equal(images[:, 0, 0, 0], np.arange(10))
