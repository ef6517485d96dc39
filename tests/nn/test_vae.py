import contextlib
import json
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import ops

from dentalzoo.nn.vae import (
    VAE,
    FittedPrior,
    Sampling,
    conv_decoder,
    conv_encoder,
    importance_bound,
    kl_divergence,
    log_likelihood,
)

STREAM = np.random.RandomState(0)
IMAGES = STREAM.rand(6, 8, 8, 1).astype(np.float32)


def tiny(samples=1, latent_dim=2, **options):
    keras.utils.set_random_seed(1)
    encoder = conv_encoder((8, 8), 1, latent_dim, filters=(4, 4), hidden=8, samples=samples)
    return VAE(encoder, conv_decoder((8, 8), 1, latent_dim, filters=(4, 4)), **options)


# ---- closed forms --------------------------------------------------------------------------------


def test_the_divergence_of_known_normals():
    kl = np.asarray(kl_divergence(np.array([[0.0, 1.0, 0.0]]), np.array([[0.0, 0.0, 1.0]])))
    assert kl[0, 0] == 0
    assert kl[0, 1] == pytest.approx(0.5)
    assert kl[0, 2] == pytest.approx(0.5 * (np.e - 2))


def test_the_bernoulli_likelihood_counts_every_pixel_and_channel():
    image = STREAM.rand(2, 3, 4, 3).astype(np.float32)
    guess = STREAM.uniform(0.1, 0.9, (2, 3, 4, 3)).astype(np.float32)
    expected = image * np.log(guess) + (1 - image) * np.log(1 - guess)
    result = np.asarray(log_likelihood(image, guess))
    assert result == pytest.approx(expected.sum((1, 2, 3)), rel=1e-5)


def test_the_gaussian_likelihood_is_a_density():
    image, guess = np.full((1, 2, 2, 1), 0.5, "f"), np.full((1, 2, 2, 1), 0.3, "f")
    density = np.exp(-0.5 * 2.0**2) / (0.1 * np.sqrt(2 * np.pi))
    result = float(log_likelihood(image, guess, "gaussian", 0.1)[0])
    assert result == pytest.approx(4 * np.log(density), rel=1e-5)


def test_with_one_sample_the_importance_bound_is_the_elbo():
    """Both as estimates from one z, and in the mean over many."""
    mean, log_var = np.array([[0.7, -0.4]]), np.array([[-1.0, 0.3]])
    z = mean + np.exp(log_var / 2) * STREAM.standard_normal((20_000, 1, 2))
    log_p_x = -np.square(z - 1).sum(-1)  # any likelihood
    bounds = [float(importance_bound(log_p_x[i : i + 1], z[i : i + 1], mean, log_var)[0])
              for i in range(3)]  # fmt: skip
    log_ratio = -0.5 * z**2 + 0.5 * (log_var + (z - mean) ** 2 / np.exp(log_var))
    assert bounds == pytest.approx(list((log_p_x + log_ratio.sum(-1))[:3, 0]))
    elbo = log_p_x.mean() - np.asarray(kl_divergence(mean, log_var)).sum()
    assert (log_p_x + log_ratio.sum(-1)).mean() == pytest.approx(elbo, abs=0.05)


def test_the_bound_rises_with_its_samples_to_the_likelihood():
    """p(z) = N(0, 1), p(x | z) = N(z, 1): x is normal with variance 2, and the posterior known."""
    x, mean, log_var = 1.5, np.array([[0.2]]), np.array([[0.0]])  # a poor q: the bound is loose
    exact = -0.5 * (x**2 / 2 + np.log(2 * np.pi * 2))
    bounds = []
    for k in (1, 2, 8, 64, 4096):
        z = mean + STREAM.standard_normal((k, 4000, 1))
        log_p_x = -0.5 * ((x - z[..., 0]) ** 2 + np.log(2 * np.pi))
        many = (np.repeat(part, 4000, axis=0) for part in (mean, log_var))
        bounds.append(float(np.mean(importance_bound(log_p_x, z, *many))))
    assert bounds == sorted(bounds)
    assert bounds[0] < exact - 0.2
    assert bounds[-1] == pytest.approx(exact, abs=0.01)


# ---- the model -----------------------------------------------------------------------------------


def test_the_sample_is_the_mean_and_noise_of_the_deviation():
    layer = Sampling(samples=20_000, seed=5)
    mean, log_var = np.array([[2.0, -1.0]], "f"), np.log(np.array([[0.25, 4.0]], "f"))
    z = np.asarray(layer([mean, log_var]))
    assert z.shape == (20_000, 2)
    assert z.mean(0) == pytest.approx([2.0, -1.0], abs=0.06)
    assert z.std(0) == pytest.approx([0.5, 2.0], rel=0.03)


@pytest.mark.parametrize("samples", [1, 3])
def test_the_loss_is_what_the_formulas_say(samples):
    model = tiny(samples, likelihood="gaussian", sigma=0.5)
    outputs = model(IMAGES)
    assert outputs["reconstruction"].shape == (6 * samples, 8, 8, 1)
    loss, reconstruction, kl = (np.asarray(part) for part in model.losses_of(IMAGES, outputs))
    tiled = np.tile(IMAGES, (samples, 1, 1, 1))
    log_p_x = log_likelihood(tiled, outputs["reconstruction"], "gaussian", 0.5)
    log_p_x = np.asarray(log_p_x).reshape(samples, 6)
    moments = outputs["z_mean"], outputs["z_log_var"]
    assert reconstruction == pytest.approx(-log_p_x.mean(0), rel=1e-5)
    assert kl == pytest.approx(np.asarray(kl_divergence(*moments)).sum(1), rel=1e-5)
    if samples == 1:
        assert loss == pytest.approx(reconstruction + kl, rel=1e-5)
    else:
        z = ops.reshape(outputs["z"], (samples, 6, 2))
        assert loss == pytest.approx(-np.asarray(importance_bound(log_p_x, z, *moments)), rel=1e-5)


def test_beta_free_bits_and_the_mean_form_change_the_price_of_information():
    outputs = tiny()(IMAGES)
    kl = np.asarray(kl_divergence(outputs["z_mean"], outputs["z_log_var"]))

    def price(**options):
        loss, reconstruction, _ = tiny(**options).losses_of(IMAGES, outputs)
        return np.asarray(loss - reconstruction)

    assert price(beta=3.0) == pytest.approx(3 * kl.sum(1), abs=1e-3)
    assert price(kl_reduction="mean") == pytest.approx(kl.mean(1), abs=1e-3)
    assert price(free_bits=5.0) == pytest.approx(np.full(6, 10.0), abs=1e-3)


def test_beta_warms_up_while_training_only():
    model = tiny(warmup_steps=10)
    model.compile(keras.optimizers.SGD(0.0))
    outputs = model(IMAGES)
    whole = np.asarray(model.losses_of(IMAGES, outputs)[0])
    loss, reconstruction, kl = model.losses_of(IMAGES, outputs, training=True)
    assert np.asarray(loss) == pytest.approx(np.asarray(reconstruction), rel=1e-6)
    model.fit(IMAGES, batch_size=1, epochs=2, verbose=0)  # 12 steps
    loss = model.losses_of(IMAGES, outputs, training=True)[0]
    assert np.asarray(loss) == pytest.approx(whole, rel=1e-6)


def test_training_raises_the_bound():
    model = tiny()
    model.compile(keras.optimizers.Adam(2e-2))
    history = model.fit(IMAGES, batch_size=6, epochs=25, verbose=0).history
    assert np.isfinite(history["loss"]).all()
    assert history["loss"][-1] < history["loss"][0] - 0.5
    result = model.evaluate(IMAGES, verbose=0, return_dict=True)
    assert set(result) == {"loss", "reconstruction_loss", "kl_loss"}


def test_the_fitted_prior_has_the_moments_of_the_samples():
    layer = FittedPrior(momentum=0.9)
    layer.build((None, 2))
    slope = np.array([[2.0, 0.0], [1.5, 0.5]])
    for _ in range(300):
        layer.update((STREAM.standard_normal((64, 2)) @ slope.T + [3, -1]).astype("f"))
    z = np.asarray(layer(STREAM.standard_normal((20_000, 2)).astype("f")))
    assert z.mean(0) == pytest.approx([3, -1], abs=0.3)
    assert np.cov(z.T) == pytest.approx(slope @ slope.T, abs=0.6)


def test_training_fits_the_prior_and_measuring_leaves_it():
    model = tiny(fitted_prior=True)
    model.compile(keras.optimizers.Adam(1e-2))
    prior = model.get_layer("prior")
    assert [w.path for w in prior.weights] == [w.path for w in model.weights if "moments" in w.path]
    before = [np.array(weight) for weight in prior.get_weights()]
    model.evaluate(IMAGES, verbose=0)
    assert all(map(np.array_equal, before, prior.get_weights()))
    model.fit(IMAGES, batch_size=3, epochs=2, verbose=0)
    assert not any(map(np.array_equal, before, prior.get_weights()))


def test_a_saved_model_comes_back_as_one(tmp_path):
    model = tiny(2, likelihood="gaussian", sigma=0.3, beta=2.0, free_bits=0.1)
    model.save(tmp_path / "vae.keras")
    back = keras.saving.load_model(tmp_path / "vae.keras")
    assert isinstance(back, VAE) and back.samples == 2
    for key in ("likelihood", "sigma", "beta", "free_bits", "kl_reduction"):
        assert getattr(back, key) == getattr(model, key)
    assert np.asarray(back.encoder(IMAGES)[0]) == pytest.approx(
        np.asarray(model.encoder(IMAGES)[0]), abs=1e-6
    )


@pytest.mark.slow
def test_replicas_share_the_loss(mirrored):
    """Two replicas of half the batch each step like one of the whole."""

    def trained(scope):
        with scope:
            model = tiny()
            model.get_layer("encoder").get_layer("z_log_var").kernel_initializer = "zeros"
            model.compile(keras.optimizers.SGD(1e-3))
        frozen = [w for w in model.encoder.weights if "z_log_var" in w.path]
        frozen[0].assign(np.zeros(frozen[0].shape))
        frozen[1].assign(np.full(frozen[1].shape, -60.0))  # no noise: e^-30 of it
        before = model.get_weights()
        model.fit(IMAGES, batch_size=6, epochs=1, verbose=0, shuffle=False)
        return [new - old for new, old in zip(model.get_weights(), before, strict=True)]

    alone, shared = trained(contextlib.nullcontext()), trained(mirrored.scope())
    for one, other in zip(alone, shared, strict=True):
        assert other == pytest.approx(one, rel=1e-3, abs=1e-6)


# ---- other backends ------------------------------------------------------------------------------

_ON_JAX = """
import json, sys
import numpy as np, keras
from dentalzoo import registry
assert keras.backend.backend() == "jax"
keras.utils.set_random_seed(0)
name, settings = sys.argv[1], json.loads(sys.argv[2])
module, config = registry.module_of(name), registry.configure(name, "tiny", **settings)
model = module.build_model(config)
module.compile_model(model, config, steps=4)
levels = np.random.RandomState(0).randint(256, size=(16, 16, 16, config.channels), dtype="uint8")
images = levels.astype("float32") / 255
losses = model.fit(images, batch_size=8, epochs=2, verbose=0).history["loss"]
outputs = [np.asarray(part) for part in model.encoder(images)[:2]]
np.savez("weights.npz", *model.get_weights())
np.savez("outputs.npz", images=levels, z_mean=outputs[0], z_log_var=outputs[1],
         decoded=np.asarray(model.decoder(outputs[0])))
print(json.dumps(losses))
"""
_MAPS = {"network": "map", "latent_dim": 64, "averaged": 16, "mixture": 1.0, "activation": "silu"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("tooth_vae", {}),
        ("tooth_vae", {"prior": "fitted", "network": "deep", "likelihood": "gaussian"}),
        ("defect_overlay_vae", {}),
        ("defect_overlay_vae", {**_MAPS, "likelihood": "gaussian", "optimizer": "adam"}),
    ],
)
def test_weights_trained_on_jax_export_to_the_same_outputs(tmp_path, name, settings):
    pytest.importorskip("jax", reason="JAX is not installed")
    import dentalzoo as dz

    done = subprocess.run(
        [sys.executable, "-c", _ON_JAX, name, json.dumps(settings)],
        cwd=tmp_path,
        env={**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    losses = json.loads(done.stdout)
    assert losses[1] < losses[0]
    model = dz.build(name, "tiny", **settings)
    with np.load(tmp_path / "weights.npz") as weights:
        model.set_weights([weights[key] for key in weights.files])
    bundle = dz.export(model, tmp_path / "bundle", name)
    with np.load(tmp_path / "outputs.npz") as expected:
        encoded = bundle.encode(expected["images"])
        for key in ("z_mean", "z_log_var"):
            assert encoded[key] == pytest.approx(expected[key], abs=1e-5)
        decoded = bundle.decode(expected["z_mean"])["image"]
        assert decoded == pytest.approx(expected["decoded"], abs=1e-5)
