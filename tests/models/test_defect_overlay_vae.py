"""defect_overlay_vae: the paper's figures, its losses, sums of latent vectors, and what is ours."""

import dataclasses
import json
import logging

import keras
import numpy as np
import pytest

import dentalzoo as dz
from dentalzoo.contracts import DataOptions
from dentalzoo.data.io.images import encode_png
from dentalzoo.data.synthetic import defect, write_defect_dataset
from dentalzoo.models import defect_overlay_vae as paper
from dentalzoo.models.defect_overlay_vae import network
from dentalzoo.models.defect_overlay_vae.superimposition import (
    background,
    combine,
    composite,
    separation,
)
from dentalzoo.tasks.superimposition.latents import scan_plane
from tests.zoo_case import ZooCase, serve_alone, with_known_weights

NAME = "defect_overlay_vae"
TINY = paper.VARIANTS["tiny"]
TRAIN = DataOptions("train", training=True)
MAPS = dataclasses.replace(
    TINY, network="map", latent_dim=64, averaged=16, activation="silu", mixture=1.0
)


def surfaces(count, size=16, **look):
    """(count, size, size, 1) uint8."""
    return np.stack([defect(seed, "crack", size, **look).image for seed in range(count)])[..., None]


def floats(images):
    return images / np.float32(255)


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    """The images of section 4: two cracks and a pore."""
    folder = tmp_path_factory.mktemp("three")
    kinds = ("crack", "double_crack", "pore")
    return write_defect_dataset(folder, 3, size=16, val_fraction=0, kinds=kinds, border=0)


@pytest.fixture(scope="module")
def model():
    return with_known_weights(paper.build_model(TINY))


@pytest.fixture(scope="module")
def bundle(model, tmp_path_factory):
    return dz.export(model, tmp_path_factory.mktemp("overlay") / "bundle", NAME, TINY)


class TestDefectOverlayVAE(ZooCase):
    name = NAME

    def outputs(self, model, inputs):
        z_mean, z_log_var, _ = (np.asarray(part) for part in model.encoder(inputs))
        decoded = np.asarray(model.decoder(z_mean))
        return np.concatenate([part.ravel() for part in (z_mean, z_log_var, decoded)])


# ---- the network ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "size, channels, encoder, decoder",
    [
        (28, 1, 69_076, 65_089),
        (64, 1, 281_044, 104_833),
        (128, 1, 1_067_476, 252_289),
        (256, 1, 4_213_204, 842_113),
        (64, 3, 281_620, 105_411),
        (128, 3, 1_068_052, 252_867),
    ],
)
def test_paper_is_the_keras_example_at_every_size(size, channels, encoder, decoder):
    model = dz.build(NAME, input_size=(size, size), channels=channels)
    assert model.encoder.count_params() == encoder
    assert model.decoder.count_params() == decoder
    assert model.output["z"].shape == (None, 2)


def test_the_layers_are_those_of_the_keras_example():
    model = dz.build(NAME, input_size=(28, 28))

    def rows(part):
        shapes = {layer: layer.output.shape[1:] for layer in part.layers if layer.count_params()}
        return [(type(k).__name__, *shape, k.count_params()) for k, shape in shapes.items()]

    assert rows(model.encoder) == [
        ("Conv2D", 14, 14, 32, 320),
        ("Conv2D", 7, 7, 64, 18_496),
        ("Dense", 16, 50_192),
        ("Dense", 2, 34),
        ("Dense", 2, 34),
    ]
    assert rows(model.decoder) == [
        ("Dense", 3136, 9_408),
        ("Conv2DTranspose", 14, 14, 64, 36_928),
        ("Conv2DTranspose", 28, 28, 32, 18_464),
        ("Conv2DTranspose", 28, 28, 1, 289),
    ]
    convolutions = [k for k in (*model.encoder.layers, *model.decoder.layers) if "conv" in k.name]
    assert [k.kernel_size for k in convolutions] == [(3, 3)] * 5
    assert [k.strides[0] for k in convolutions] == [2, 2, 2, 2, 1]
    assert {k.activation.__name__ for k in convolutions} == {"relu", "sigmoid"}


def test_the_recipe_is_the_paper_s():
    config, few = (dz.configure(NAME, variant) for variant in ("paper", "few"))
    model = paper.build_model(config)
    paper.compile_model(model, config)
    assert type(model.optimizer).__name__ == "RMSprop"
    assert float(model.optimizer.learning_rate) == pytest.approx(2e-3)
    assert (model.optimizer.rho, model.optimizer.momentum, model.optimizer.epsilon) == (
        0.9,
        0,
        1e-7,
    )
    assert (config.latent_dim, config.batch_size, config.epochs, config.copies) == (2, 10, 100, 1)
    assert (few.latent_dim, few.batch_size, few.epochs, few.copies) == (2, 10, 20, 500)


def test_the_scan_has_301_by_201_points():
    plane = scan_plane(np.zeros((3, 2)), dataclasses.asdict(dz.configure(NAME)))
    xs, ys = plane.grid()
    assert (len(xs), len(ys)) == (301, 201)
    assert (xs[0], xs[-1], ys[-1], ys[0]) == (-15, 15, -10, 10)
    with pytest.raises(dz.DentalzooError, match=r"scan must be \(low, high, low, high\)"):
        dz.configure(NAME, scan=(15, -15, -10, 10))


def test_an_overlay_model_saved_by_keras_comes_back(tmp_path):
    model = paper.build_model(dz.configure(NAME, "tiny"))
    model.save(tmp_path / "model.keras")
    image = paper.example_batch(dz.configure(NAME, "tiny"))["image"]
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert type(again) is type(model) and again.get_config()["polarity"] == -1
    for here, there in zip(model.encoder(image)[:2], again.encoder(image)[:2], strict=True):
        np.testing.assert_allclose(here, there, atol=1e-6)


def test_untrained_the_map_network_is_a_cosine_transform_of_patches():
    model = dz.build(NAME, "robust")
    image = floats(surfaces(4, 64, background=0.5, contrast=0.4))
    means = np.asarray(model.encoder(image)[0])
    decoded = np.asarray(model.decoder(means))
    assert np.abs(decoded - image).mean() < 0.03
    assert means.shape == (4, 1536)
    z = np.zeros((2, 1536), "f")
    z[:, :256] = 4 * 0.5  # the background's mean times the side of a patch
    z[1, 1536 - 256 + 3 * 16 + 7] = 0.1  # of the last map the fourth row's eighth
    flat, waving = np.asarray(model.decoder(z))
    assert flat == pytest.approx(0.5, abs=1e-5)
    rows, columns, _ = np.nonzero(np.abs(waving - flat) > 1e-4)
    assert set(rows) == set(range(12, 16)) and set(columns) == set(range(28, 32))


@pytest.mark.parametrize(
    "overrides",
    [
        {"input_size": (30, 30)},
        {"latent_dim": 0},
        {"network": "map"},
        {"hidden_activation": "rellu"},
        {"averaged": 2},
        {"scan": (0, 1)},
        {"window": 0},
        {"defects": "grey"},
    ],
)
def test_settings_that_make_no_sense_are_refused(overrides):
    with pytest.raises(dz.DentalzooError, match="Received: ") as caught:
        dz.build(NAME, **overrides)
    assert "\n" not in str(caught.value)


# ---- losses --------------------------------------------------------------------------------------


def losses(image, reconstruction, mean, log_var, **options):
    model = paper.build_model(dataclasses.replace(TINY, **options))
    given = {"reconstruction": reconstruction, "z_mean": mean, "z_log_var": log_var, "z": mean}
    return [np.asarray(part) for part in model.losses_of(image, given)]


def test_the_losses_have_their_closed_forms():
    image = floats(surfaces(1))
    grey = np.full_like(image, 0.5)
    zero, one = np.zeros((1, 2), "f"), np.ones((1, 2), "f")
    loss, reconstruction, kl = losses(image, grey, one, zero)
    assert reconstruction == pytest.approx([256 * np.log(2)], rel=1e-5)
    assert kl == pytest.approx([1.0])  # 0.5 for each of the two units
    assert loss == pytest.approx(reconstruction + kl)
    assert losses(image, grey, zero, zero)[2] == pytest.approx([0.0])
    mean = losses(image, grey, one, zero, kl_reduction="mean")
    assert mean[1] == pytest.approx(reconstruction) and mean[2] == pytest.approx([0.5])
    assert losses(image, grey, one, zero, beta=3.0)[0] == pytest.approx(reconstruction + 3)


def test_the_losses_of_the_literal_recipe():
    """Ten steps of RMSprop 2e-3 on ten surfaces; its first step is a leap, whatever follows."""
    import keras

    keras.utils.set_random_seed(0)
    model = paper.build_model(paper.VARIANTS["paper"])
    paper.compile_model(model, paper.VARIANTS["paper"])
    model.encoder.get_layer("z").seed_generator.state.assign([7, 0])
    image, history = floats(surfaces(10, 64, background=0.9)), []
    for _ in range(10):
        model.reset_metrics()
        history.append(model.train_on_batch(image, return_dict=True))
    assert history[0]["reconstruction_loss"] == pytest.approx(2836.547, rel=1e-5)
    assert history[0]["kl_loss"] == pytest.approx(0.0098954, rel=1e-3)
    assert history[1]["loss"] == pytest.approx(20112.97, rel=0.01)
    assert history[9]["loss"] == pytest.approx(2060.96, rel=0.05)


# ---- superimposition -----------------------------------------------------------------------------


def test_the_superimposed_image_is_the_decoded_sum_of_the_means(model, bundle):
    images = surfaces(3)
    result = bundle.overlay(images, np.ones(3, "f"))
    means = np.asarray(model.encoder(floats(images))[0])
    assert result["z"] == pytest.approx(means.sum(0), abs=1e-5)
    decoded = np.asarray(model.decoder(means.sum(0, keepdims=True)))[0]
    assert result["image"] == pytest.approx(decoded, abs=1e-5)
    weighted = bundle.overlay(images, np.array([0.5, 0, 2], "f"))["z"]
    assert weighted == pytest.approx(0.5 * means[0] + 2 * means[2], abs=1e-5)


def test_what_is_behind_the_defects_is_averaged():
    z, weights = np.arange(12.0, dtype="f").reshape(3, 4), np.array([1, 1, 2], "f")
    result = np.asarray(combine(z, weights, averaged=1))
    assert result == pytest.approx([(0 + 4 + 16) / 4, 1 + 5 + 18, 2 + 6 + 20, 3 + 7 + 22])
    assert np.asarray(combine(z, np.ones(3, "f"))) == pytest.approx(z.sum(0))


def test_a_composite_shows_every_defect_on_the_mean_surface():
    images = np.stack([np.full((64, 64, 1), grey, "f") for grey in (0.6, 0.8)])
    images[0, 10:14, 20:24] = 0.2
    images[1, 40:44, 30:50] = 0.5
    images[1, 50:55, 10:15] = 1.0
    result = np.asarray(composite(images, background(images), np.ones(2, "f")))
    assert result[30, 30] == pytest.approx(0.7, abs=1e-3)
    assert result[11:13, 21:23] == pytest.approx(0.3, abs=1e-3)
    assert result[41:43, 32:48] == pytest.approx(0.4, abs=1e-3)
    assert result[52, 12] == pytest.approx(0.9, abs=5e-3)  # a bright one, too
    once = np.asarray(composite(images, background(images), np.array([1, 0], "f")))
    assert once == pytest.approx(images[0], abs=1e-5)


def test_where_defects_meet_the_one_of_the_stated_polarity_is_seen():
    images = np.full((2, 64, 64, 1), 0.5, "f")
    images[0, 20:28, 20:28], images[1, 20:28, 20:28] = 0.3, 0.9
    behind, weights = background(images), np.ones(2, "f")
    assert np.asarray(composite(images, behind, weights, -1))[24, 24] == pytest.approx(
        0.3, abs=0.01
    )
    assert np.asarray(composite(images, behind, weights, 1))[24, 24] == pytest.approx(0.9, abs=0.01)
    assert np.asarray(composite(images, behind, weights, 0))[24, 24] == pytest.approx(0.9, abs=0.01)


def test_a_faint_defect_of_a_smooth_surface_is_seen_beside_coarse_grain():
    """The crack keeps its contrast, and grain, which is no defect, is averaged."""
    grain = np.random.default_rng(0).normal(0, 0.08, (64, 64, 1))
    images = np.full((2, 64, 64, 1), 0.6, "f")
    images[1] += grain
    images[0, 30:33, 8:56] -= 0.06
    result = np.asarray(composite(images, background(images), np.ones(2, "f")))
    crack = result[:, 10:54] - np.asarray(background(result))[:, 10:54]
    assert crack[30:33].mean() == pytest.approx(-0.06, abs=0.012)
    assert crack[:24].std() == pytest.approx(0.04, abs=0.01)


def test_copies_of_an_image_count_as_one_in_the_separation():
    image = floats(surfaces(2))[[0, 1, 0, 1]]
    mean = np.array([[0, 0], [3, 4], [0.1, 0], [3, 4]], "f")
    log_var = np.log(np.full((4, 2), 0.25, "f"))
    nearest = np.hypot(2.9, 4) / 0.5
    assert float(separation(image, mean, log_var)) == pytest.approx(nearest, rel=1e-5)


def test_the_mixture_is_the_error_of_sums_of_one_to_three():
    """On surfaces without a defect every pixel counts once, and the composite is their mean."""
    model = paper.build_model(MAPS)
    image = np.repeat(np.array([0.3, 0.5, 0.7, 0.4], "f"), 256).reshape(4, 16, 16, 1)
    z = np.array(model.encoder(image)[0])
    given = {"reconstruction": image, "z_mean": z.copy(), "z_log_var": 0 * z, "z": z.copy()}
    loss, reconstruction, kl = (np.asarray(part) for part in model.losses_of(image, given))
    z[:, 16:] = [z[0, 16:], z[1, 16:] + z[0, 16:], z[2, 16:] + z[1, 16:] + z[0, 16:], z[3, 16:]]
    z[:, :16] = [z[0, :16], z[:2, :16].mean(0), z[:3, :16].mean(0), z[3, :16]]
    target = np.array([0.3, 0.4, 0.5, 0.4], "f").reshape(4, 1, 1, 1)
    squares = np.square((np.asarray(model.decoder(z)) - target) / 0.1).sum((1, 2, 3)) / 2
    assert loss - reconstruction - kl == pytest.approx(squares, abs=2e-3)


@pytest.mark.slow
def test_the_mixture_teaches_sums():
    """After a short training a sum is nearer to the composite than without the mixture."""
    import keras

    def mean_error(mixture):
        config = dataclasses.replace(
            MAPS, mixture=mixture, likelihood="gaussian", optimizer="adam", learning_rate=0.01
        )
        keras.utils.set_random_seed(0)
        model = paper.build_model(config)
        paper.compile_model(model, config)
        image = floats(surfaces(8, background=0.7, contrast=0.8))
        for _ in range(60):
            model.train_on_batch(image)
        pairs = np.stack([image, np.roll(image, 1, 0)])
        weights = np.ones((2, 8), "f")
        means = np.asarray(model.encoder(image)[0])
        z = combine(np.stack([means, np.roll(means, 1, 0)]), weights, config.averaged)
        target = composite(pairs, background(pairs), weights)
        return float(np.abs(np.asarray(model.decoder(z)) - np.asarray(target)).mean())

    assert mean_error(1.0) < 0.8 * mean_error(0.0)


@pytest.mark.parametrize("method", ["sum", "mean", "maximum"])
def test_signatures_are_the_keras_model(method, tmp_path):
    config = dataclasses.replace(MAPS, overlay=method, invert=True)
    model = with_known_weights(paper.build_model(config))
    made = dz.export(model, tmp_path / "bundle", NAME, config)
    images, weights = surfaces(2), np.array([1, 0.5], "f")
    seen = 1 - floats(images)
    z_mean, z_log_var, _ = (np.asarray(part) for part in model.encoder(seen))
    encoded = made.encode(images)
    assert encoded["z_mean"] == pytest.approx(z_mean, abs=1e-5)
    assert encoded["z_log_var"] == pytest.approx(z_log_var, abs=1e-5)
    assert encoded["image"] == pytest.approx(floats(images), abs=1e-6)
    decoded = 1 - np.asarray(model.decoder(z_mean))
    assert made.decode(z_mean)["image"] == pytest.approx(decoded, abs=1e-5)
    result = made.overlay(images, weights)
    if method == "maximum":
        expected = np.asarray(composite(decoded, background(decoded), weights))
    else:
        averaged = 16 if method == "sum" else 64
        z = np.asarray(combine(z_mean, weights, averaged))
        assert result["z"] == pytest.approx(z, abs=1e-5)
        expected = 1 - np.asarray(model.decoder(z[None]))[0]
    assert result["image"] == pytest.approx(expected, abs=1e-5)


def test_tensorflow_alone_superimposes_the_same(bundle, tmp_path):
    images, weights = surfaces(3, 40), np.ones(3, "f")
    alone = serve_alone(bundle.path, tmp_path, "overlay", images=images, weights=weights)
    here = bundle.overlay(images, weights)
    assert np.array_equal(alone["image"], here["image"]) and alone["image"].shape == (16, 16, 1)
    assert np.array_equal(alone["z"], here["z"])


def test_files_are_superimposed_as_images_are(bundle):
    images, weights = surfaces(3, 40), np.array([1, 0.5, 1], "f")
    files = [encode_png(image[..., 0]) for image in images]
    for one, other in (
        (bundle.encode_encoded(files), bundle.encode(images)),
        (bundle.overlay_encoded(files, weights), bundle.overlay(images, weights)),
    ):
        for key, value in other.items():
            assert one[key] == pytest.approx(value, abs=1e-5)


def test_one_image_without_its_batch_axis_stays_whole(bundle):
    image, weights = surfaces(1, 40), np.ones(1, "f")
    result = bundle.overlay(image[0], weights)
    for key, value in bundle.overlay(image, weights).items():
        assert np.array_equal(result[key], value)


def test_what_cannot_be_superimposed_is_refused(bundle):
    with pytest.raises(dz.DentalzooError, match="one weight for each image"):
        bundle.overlay(surfaces(3), np.ones(2, "f"))
    with pytest.raises(dz.DentalzooError, match="sum must be positive"):
        bundle.overlay(surfaces(2), np.zeros(2, "f"))


# ---- training ------------------------------------------------------------------------------------


def test_every_batch_of_few_images_holds_each_of_them(three):
    few = dataclasses.replace(paper.VARIANTS["few"], input_size=(16, 16))
    stream = paper.make_dataset(three, few, TRAIN)
    assert len(stream.cache) == 3 and int(stream.dataset.cardinality()) == 150
    for batch in stream:
        counts = np.unique(batch["image"].numpy().reshape(10, -1), axis=0, return_counts=True)[1]
        assert sorted(counts) == [3, 3, 4]
    with pytest.raises(dz.DentalzooError, match="stratified=False. Received: 3"):
        paper.make_dataset(three, dataclasses.replace(few, batch_size=2), TRAIN)


def test_copies_are_visits_and_inverting_is_seen(three):
    config = dataclasses.replace(TINY, copies=4, invert=True)
    batches = list(paper.make_dataset(three, config, TRAIN))
    images = np.concatenate([batch["image"].numpy() for batch in batches])
    assert images.shape == (12, 16, 16, 1)
    once = np.concatenate([b["image"].numpy() for b in paper.make_dataset(three, TINY)])
    assert np.unique(images.reshape(12, -1), axis=0) == pytest.approx(
        np.unique(1 - once.reshape(3, -1), axis=0)
    )


def test_images_without_a_val_split_are_trained_on(three, tmp_path):
    options = {"copies": 4, "stratified": True}
    made = dz.train(NAME, three, tmp_path / "run", "tiny", **options)
    assert made.metadata["config"]["copies"] == 4
    first = (tmp_path / "run" / "history.csv").read_text().splitlines()[0]
    assert {"reconstruction_loss", "kl_loss", "separation"} <= set(first.split(","))
    assert made.overlay(surfaces(2), np.ones(2, "f"))["image"].shape == (16, 16, 1)
    json.dumps(made.metadata)


def test_a_collapse_is_logged_without_a_val_split(three, tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(network, "MIN_KL", 1e9)
    with caplog.at_level(logging.WARNING, "dentalzoo"):
        dz.train(NAME, three, tmp_path / "run", "tiny")
    assert caplog.text.count("the latent space has collapsed") == 1


def test_flips_are_of_each_image_and_epoch(three):
    config = dataclasses.replace(TINY, augmentation="flips")
    stream = paper.make_dataset(three, config, dataclasses.replace(TRAIN, epochs=range(6)))
    once = stream.cache.arrays["image"] / np.float32(255)
    ways = [once, once[:, ::-1], once[:, :, ::-1], once[:, ::-1, ::-1]]
    known = {way.tobytes(): number for number, way in enumerate(np.concatenate(ways))}
    seen = {known[image.tobytes()] for batch in stream for image in batch["image"].numpy()}
    assert len(seen) > 6
    plain = paper.make_dataset(three, config)
    assert {known[x.tobytes()] for b in plain for x in b["image"].numpy()} == {0, 1, 2}


def test_a_collapse_is_logged_once_with_what_to_change(caplog):
    [callback] = paper.callbacks(TINY)
    with caplog.at_level(logging.WARNING, "dentalzoo"):
        callback.on_epoch_end(0, {"kl_loss": 2.5, "separation": 8.0})
        assert not caplog.text
        callback.on_epoch_end(1, {"kl_loss": 0.01})
        callback.on_epoch_end(2, {"kl_loss": 0.01})
    assert caplog.text.count("has collapsed") == 1
    assert "leaky_relu" in caplog.text and "robust" in caplog.text
    assert "two images are encoded alike" in network.collapse({"kl_loss": 5.0, "separation": 0.4})


def test_dead_units_are_a_collapse(three, tmp_path, caplog):
    """A hidden layer of relus that never fire: what the paper's recipe may end in."""
    config = dataclasses.replace(TINY, copies=4)
    model = paper.build_model(config)
    hidden = model.encoder.get_layer("hidden")
    hidden.bias.assign(np.full(16, -100, "f"))
    paper.compile_model(model, config)
    dataset = paper.make_dataset(three, config, TRAIN).dataset
    with caplog.at_level(logging.WARNING, "dentalzoo"):
        model.fit(
            dataset.map(lambda b: (b["image"],)),
            shuffle=False,
            callbacks=paper.callbacks(config),
            verbose=0,
        )
    assert "the latent space has collapsed" in caplog.text
