import dataclasses
import logging

import numpy as np
import pytest

import dentalzoo as dz
from dentalzoo.contracts import DataOptions
from dentalzoo.data.synthetic import tooth_photo, write_tooth_photos
from dentalzoo.models import tooth_vae
from tests.zoo_case import ZooCase, serve_alone, with_known_weights

TINY = tooth_vae.VARIANTS["tiny"]


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """A flat folder of 40 synthetic photographs and a file that is no image."""
    folder = write_tooth_photos(tmp_path_factory.mktemp("teeth") / "photos", 40, size=32)
    (folder / "damaged.png").write_bytes(b"\x89PNG\r\n\x1a\nno image")
    return folder


@pytest.fixture(scope="module")
def model():
    return with_known_weights(tooth_vae.build_model(TINY))


@pytest.fixture(scope="module")
def bundle(model, tmp_path_factory):
    return dz.export(model, tmp_path_factory.mktemp("vae") / "bundle", "tooth_vae", TINY)


class TestToothVAE(ZooCase):
    name = "tooth_vae"

    def outputs(self, model, inputs):
        z_mean, z_log_var, _ = (np.asarray(part) for part in model.encoder(inputs))
        decoded = np.asarray(model.decoder(z_mean))
        return np.concatenate([part.ravel() for part in (z_mean, z_log_var, decoded)])


@pytest.mark.parametrize(
    "size, channels, encoder, decoder",
    [(28, 1, 69_076, 65_089), (64, 3, 281_620, 105_411), (128, 3, 1_068_052, 252_867)],
)
def test_the_network_is_that_of_the_keras_example(size, channels, encoder, decoder):
    model = dz.build("tooth_vae", input_size=(size, size), channels=channels, latent_dim=2)
    assert model.encoder.count_params() == encoder
    assert model.decoder.count_params() == decoder


def test_deep_halves_an_image_four_times_at_64_and_128():
    for side in (64, 128):
        model = dz.build("tooth_vae", "deep", input_size=(side, side))
        flat = next(layer for layer in model.encoder.layers if layer.name.startswith("flatten"))
        assert flat.output.shape == (None, 256 * (side // 16) ** 2)
        assert model.decoder.output.shape == (None, side, side, 3)


def test_a_size_that_does_not_halve_is_refused():
    with pytest.raises(dz.DentalzooError, match=r"multiples of 4; .* Received: \(30, 30\)"):
        dz.configure("tooth_vae", input_size=(30, 30))
    with pytest.raises(dz.DentalzooError, match=r"multiples of 16; .* Received: \(40, 40\)"):
        dz.configure("tooth_vae", "deep", input_size=(40, 40))


# ---- in service ----------------------------------------------------------------------------------


def test_signatures_are_the_keras_model(model, bundle):
    images = np.stack([tooth_photo(seed, 16).image for seed in range(3)])
    z_mean, z_log_var, _ = model.encoder(images / np.float32(255))
    encoded = bundle.encode(images)
    assert encoded["z_mean"] == pytest.approx(np.asarray(z_mean), abs=1e-5)
    assert encoded["z_log_var"] == pytest.approx(np.asarray(z_log_var), abs=1e-5)
    assert encoded["image"] == pytest.approx(images / np.float32(255), abs=1e-6)
    decoded = bundle.decode(encoded["z_mean"])["image"]
    assert decoded == pytest.approx(np.asarray(model.decoder(z_mean)), abs=1e-5)


def test_tensorflow_alone_generates_the_same_teeth(bundle, tmp_path):
    here = bundle.generate(5, 4)["image"]
    alone = serve_alone(bundle.path, tmp_path, "generate", seed=np.int64(5), n=np.int64(4))["image"]
    assert np.array_equal(here, alone)
    assert here.shape == (4, 16, 16, 3)
    assert here.min() >= 0 and here.max() <= 1
    assert np.abs(here[0] - here[1]).max() > 1e-3
    assert np.array_equal(here, bundle.generate(5, 4)["image"])
    assert not np.array_equal(here, bundle.generate(6, 4)["image"])


def test_the_temperature_narrows_what_is_generated(model, tmp_path):
    cold = dz.export(
        model, tmp_path / "cold", "tooth_vae", dataclasses.replace(TINY, temperature=0.0)
    )
    teeth = cold.generate(1, 3)["image"]
    middle = cold.decode(np.zeros((1, 4), "f"))["image"]
    assert teeth == pytest.approx(np.repeat(middle, 3, axis=0), abs=1e-6)


@pytest.mark.parametrize("shape", [(40, 30, 3), (40, 30, 1), (40, 30), (16, 16, 3), (1, 500, 3)])
def test_an_image_of_any_size_goes_in(bundle, shape):
    image = np.random.RandomState(0).randint(0, 256, shape, dtype=np.uint8)
    encoded = bundle.encode(image)
    assert encoded["z_mean"].shape == (4,)
    assert encoded["image"].shape == (16, 16, 3)


def test_what_is_no_image_is_refused(bundle):
    with pytest.raises(dz.DentalzooError, match="grey values 0..255.*Received: float64"):
        bundle.encode(np.zeros((8, 8, 3)))
    with pytest.raises(dz.DentalzooError, match="C = 1 or 3"):
        bundle.encode(np.zeros((1, 8, 8, 4), np.uint8))
    with pytest.raises(dz.DentalzooError, match="at least 1"):
        bundle.generate(1, 0)


def test_a_grey_bundle_reads_colours_as_luma(tmp_path):
    grey = dz.export(dz.build("tooth_vae", "tiny", channels=1), tmp_path / "grey", "tooth_vae")
    photo = tooth_photo(0, 16).image
    expected = photo @ np.array([0.299, 0.587, 0.114]) / 255
    assert grey.encode(photo)["image"][..., 0] == pytest.approx(expected, abs=0.6 / 255)


# ---- training ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {},
        pytest.param({"importance_samples": 3}, marks=pytest.mark.slow),
        pytest.param({"likelihood": "gaussian", "warmup_epochs": 1}, marks=pytest.mark.slow),
    ],
)
def test_training_ends_in_a_bundle_that_generates(photos, tmp_path, options, caplog):
    caplog.set_level(logging.INFO, "dentalzoo")
    made = dz.train("tooth_vae", photos, tmp_path / "run", "tiny", **options)
    assert made.generate(0, 2)["image"].shape == (2, 16, 16, 3)
    assert made.metadata["task"] == "generation"
    assert np.isfinite(made.metadata["metrics"]["elbo"])
    assert sum("damaged.png" in line for line in caplog.messages) >= 1
    history = (tmp_path / "run" / "history.csv").read_text().splitlines()
    assert len(history) == 3 and "val_reconstruction_loss" in history[0]


def test_fewer_than_ten_images_are_refused(tmp_path):
    folder = write_tooth_photos(tmp_path / "few", 8, size=32)
    with pytest.raises(dz.DentalzooError, match="10.* Received: "):
        dz.train("tooth_vae", folder, tmp_path / "run", "tiny")


def test_the_same_images_are_held_out_in_each_process(photos):
    config = dataclasses.replace(TINY, augmentation=None)
    parts = [
        tooth_vae.make_dataset(photos, config, DataOptions(split)).cache.names
        for split in ("train", "val")
    ]
    assert len(parts[0]) + len(parts[1]) == 40 and len(parts[1]) == 4
    assert not set(parts[0]) & set(parts[1])


def test_single_teeth_are_cut_from_real_photographs(shared_data):
    config = dataclasses.replace(TINY, crops="boundaries", val_fraction=0.0)
    dataset = tooth_vae.make_dataset(shared_data / "intraoral_photos", config)
    assert 120 < len(dataset.cache) < 160


@pytest.mark.parametrize("channels", [1, 3])
def test_photographs_differ_in_each_epoch_and_are_the_same_in_each_run(photos, channels):
    def images(augmentation, split="train", epoch=0):
        settings = {"channels": channels, "input_size": (32, 32), "augmentation": augmentation}
        config = dataclasses.replace(TINY, **settings)
        epochs = range(epoch, epoch + 1)
        options = DataOptions(split, training=split == "train", epochs=epochs)
        batches = tooth_vae.make_dataset(photos, config, options).dataset
        return np.concatenate([batch["image"].numpy() for batch in batches])

    plain, flipped, changed = images(None), images("flip"), images("photograph")
    assert changed.shape == plain.shape and changed.shape[-1] == channels
    assert 0 <= changed.min() < changed.max() <= 1
    either = [abs(changed - one).mean((1, 2, 3)) for one in (plain, plain[:, :, ::-1])]
    assert 0.005 < np.median(np.minimum(*either)) < 0.2  # the same teeth, seen otherwise
    either = [abs(flipped - one).max((1, 2, 3)) for one in (plain, plain[:, :, ::-1])]
    assert not np.minimum(*either).any() and either[0].any()
    np.testing.assert_array_equal(images("photograph"), changed)
    assert len(np.unique([*images("photograph", epoch=1), *changed], axis=0)) == 2 * len(changed)
    np.testing.assert_array_equal(images("photograph", "val"), images(None, "val"))
