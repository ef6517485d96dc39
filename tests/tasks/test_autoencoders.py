"""Shared by the tasks of autoencoders: latent scores, batches of a data set, decoding in blocks."""

import logging

import numpy as np
import pytest

from dentalzoo.data.images import ImageSample
from dentalzoo.errors import BadFile, DentalzooError
from dentalzoo.tasks import autoencoders
from dentalzoo.tasks.autoencoders import batches_of, decode, kl_divergence


def test_the_divergence_of_normal_distributions_in_closed_form():
    z_mean, z_log_var = np.float32([[0, 1, 0]]), np.float32([[0, 0, np.log(4)]])
    expected = [[0, 0.5, (4 - 1 - np.log(4)) / 2]]
    np.testing.assert_allclose(kl_divergence(z_mean, z_log_var), expected, rtol=1e-6)


def read(sample):
    """A reader with two bad files: an image, and the mask of another."""
    if sample.name == "3":
        raise BadFile(sample.image, f"{sample.image} is damaged")
    if sample.name == "7":
        raise BadFile(sample.image.with_name("7_mask.png"), "all black")
    return int(sample.name)


def test_batches_hold_all_images_in_order_and_list_the_bad_ones(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(autoencoders, "_BATCH", 4)
    samples = [ImageSample(str(i), tmp_path / f"{i}.png") for i in range(12)]
    skipped = [["row 1", "an earlier reason"]]
    with caplog.at_level(logging.WARNING, "dentalzoo"):
        batches = list(batches_of(samples, read, title="reading", skipped=skipped))
    assert [indices for indices, _ in batches] == [[0, 1, 2, 4], [5, 6, 8, 9], [10, 11]]
    assert all(indices == values for indices, values in batches)
    assert skipped[1:] == [["3.png", "3.png is damaged"], ["7.png", "7_mask.png: all black"]]
    assert [r.getMessage().count("\n") for r in caplog.records] == [0, 0]


def test_any_error_of_a_user_skips_an_image_and_no_other_error_does(tmp_path):
    samples = [ImageSample("a", tmp_path / "a.png")]

    def refuse(sample):
        raise DentalzooError("cannot be used")

    def fail(sample):
        raise ZeroDivisionError

    skipped = []
    assert list(batches_of(samples, refuse, title="", skipped=skipped)) == []
    assert skipped == [["a.png", "cannot be used"]]
    with pytest.raises(ZeroDivisionError):
        list(batches_of(samples, fail, title="", skipped=skipped))


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
