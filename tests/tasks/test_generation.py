"""Measuring and applying a bundle of the task "generation", on linear models known in closed form.

Probabilistic principal components: x = W z + mean + noise. Their posterior is normal with
independent units, so log p(x), the bounds and the best encoder are known exactly.
"""

import csv
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from dentalzoo.data.io.images import read_image, write_png
from dentalzoo.data.synthetic import write_tooth_photos
from dentalzoo.errors import DentalzooError
from dentalzoo.plots.pixels import as_pixels
from dentalzoo.tasks import generation
from dentalzoo.tasks.autoencoders import kl_divergence
from dentalzoo.tasks.generation import (
    copying,
    distance,
    drawing,
    evaluate,
    generate,
    predict,
    sampling,
    scores,
    summary_metrics,
)
from dentalzoo.tasks.options import (
    GenerateOptions,
    GenerationPredictOptions,
)
from dentalzoo.tasks.options import (
    GenerationEvaluateOptions as EvaluateOptions,
)
from tests.tasks.test_predictor import apart, content


class Linear:
    """A bundle that is a linear Gaussian model of images, its posterior exact.

    Args:
        images: (N, H, W, C) float32 in [0, 1]; it is fitted to the first 40.
        latent_dim: D.
        widen: factor on the posterior's deviation; 1 is exact.
    """

    name = "linear"

    def __init__(self, images, latent_dim=8, widen=1.0, **config):
        flat = np.float64(images[:40]).reshape(min(40, len(images)), -1)
        self.mean, self.widen, self.shape = flat.mean(0), widen, images.shape[1:]
        squares, mixes = np.linalg.eigh((flat - self.mean) @ (flat - self.mean).T)
        squares, mixes = squares[::-1][:-1], mixes[:, ::-1][:, :-1]
        axes = mixes.T @ (flat - self.mean) / np.sqrt(squares)[:, None]
        variances = squares / len(flat)
        sigma2 = variances[latent_dim:].sum() / (flat.shape[1] - latent_dim)
        self.sigma = float(np.sqrt(max(sigma2, 1e-4)))
        scales = np.sqrt(np.maximum(variances[:latent_dim] - self.sigma**2, 1e-12))
        self.weights = axes[:latent_dim] * scales[:, None]  # (D, H * W * C), orthogonal rows
        self.metadata = {
            "config": {
                "input_size": list(self.shape[:2]),
                "channels": self.shape[2],
                "latent_dim": latent_dim,
                "likelihood": "gaussian",
                "sigma": self.sigma,
                **config,
            }
        }

    def encode(self, images):
        assert images.dtype == np.uint8
        single = images.ndim == 3
        images = images[None] if single else images
        seen = np.float32([self.see(image) for image in images]) / 255
        gram = (self.weights**2).sum(1) + self.sigma**2
        means = (seen.reshape(len(seen), -1) - self.mean) @ self.weights.T / gram
        log_var = np.log(self.sigma**2 / gram * self.widen**2)
        code = {
            "z_mean": np.float32(means),
            "z_log_var": np.tile(np.float32(log_var), (len(seen), 1)),
            "image": seen,
        }
        return {key: value[0] for key, value in code.items()} if single else code

    def see(self, image):
        size = self.shape[1::-1]
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA).reshape(*self.shape[:2], -1)
        return np.broadcast_to(image, (*self.shape[:2], 3))[..., : self.shape[2]]

    def decode(self, z):
        assert z.dtype == np.float32
        flat = np.float32(self.mean + np.float64(z) @ self.weights)
        return {"image": np.clip(flat, 0, 1).reshape(*z.shape[:-1], *self.shape)}

    def generate(self, seed, n):
        assert seed.dtype == n.dtype == np.int64
        z = np.random.default_rng(int(seed)).standard_normal((int(n), len(self.weights)))
        return self.decode(np.float32(z))


class Copier(Linear):
    """Its samples are the images it was fitted to."""

    name = "copier"

    def __init__(self, images, **options):
        super().__init__(images, **options)
        self.images = images

    def generate(self, seed, n):
        chosen = np.random.default_rng(int(seed)).integers(0, len(self.images), int(n))
        return {"image": self.images[chosen]}


class Collapsed(Linear):
    """A bundle whose code carries no information."""

    name = "collapsed"

    def encode(self, images):
        code = super().encode(images)
        return {key: value if key == "image" else 0 * value for key, value in code.items()}


SIZE, NUMBER = 32, 160


@pytest.fixture(scope="module")
def teeth(tmp_path_factory):
    """A folder of synthetic teeth. Not to be changed."""
    return write_tooth_photos(tmp_path_factory.mktemp("generation") / "teeth", NUMBER, 0, SIZE)


@pytest.fixture(scope="module")
def images(teeth):
    """The same, (N, H, W, 3) float32 in [0, 1]."""
    return np.float32([read_image(path) for path in sorted(teeth.glob("*.png"))]) / 255


@pytest.fixture(scope="module")
def linear(images):
    return Linear(images)


def some(teeth, folder, number):
    """A copy of the first images, to be changed."""
    folder.mkdir()
    for path in sorted(teeth.glob("*.png"))[:number]:
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


# ---- scores --------------------------------------------------------------------------------------


def test_formulas_are_those_of_the_training():
    from keras import ops

    from dentalzoo.nn import vae

    rng = np.random.default_rng(0)
    image, decoded = rng.random((2, 5, 6, 4, 3), np.float32)
    decoded[0, 0, 0] = 0, 1, 0.5  # where the logarithm needs Keras' epsilon
    z_mean, z_log_var = rng.normal(size=(2, 5, 7)).astype(np.float32)
    z = rng.normal(size=(9, 5, 7)).astype(np.float32)
    log_p = rng.normal(-2000, 3, (9, 5)).astype(np.float32)
    for likelihood in vae.LIKELIHOODS:
        ours = scores.log_likelihood(image, decoded, likelihood, 0.2)
        theirs = vae.log_likelihood(image, decoded, likelihood, 0.2)
        np.testing.assert_allclose(ours, ops.convert_to_numpy(theirs), rtol=2e-6)
    np.testing.assert_allclose(
        kl_divergence(z_mean, z_log_var),
        ops.convert_to_numpy(vae.kl_divergence(z_mean, z_log_var)),
        rtol=1e-4,
        atol=1e-6,
    )
    ours = scores.importance_bound(scores.log_weights(log_p, z, z_mean, z_log_var))
    theirs = ops.convert_to_numpy(vae.importance_bound(log_p, z, z_mean, z_log_var))
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)
    one = scores.importance_bound(scores.log_weights(log_p[:1], z[:1], z_mean, z_log_var))
    theirs = ops.convert_to_numpy(vae.importance_bound(log_p[:1], z[:1], z_mean, z_log_var))
    np.testing.assert_allclose(one, theirs, rtol=1e-6)


def bounds_of_a_linear_model(widen, samples=512):
    """log p(x) of ten images in closed form, and log weights of a posterior that is too wide."""
    rng = np.random.default_rng(0)
    weights = np.linalg.qr(rng.normal(size=(12, 3)))[0] * (0.6, 0.4, 0.2)
    sigma = 0.1
    flat = rng.normal(size=(10, 3)) @ weights.T + sigma * rng.normal(size=(10, 12))
    x = flat.reshape(10, 2, 2, 3)
    covariance = weights @ weights.T + sigma**2 * np.eye(12)
    exact = -0.5 * np.einsum("ni,ij,nj->n", flat, np.linalg.inv(covariance), flat)
    exact -= 0.5 * (np.linalg.slogdet(covariance)[1] + 12 * np.log(2 * np.pi))
    gram = (weights**2).sum(0) + sigma**2
    z_mean = flat @ weights / gram
    z_log_var = np.tile(np.log(sigma**2 / gram * widen**2), (10, 1))
    z = z_mean + np.exp(z_log_var / 2) * rng.normal(size=(samples, 10, 3))
    log_p = scores.log_likelihood(x, (z @ weights.T).reshape(-1, 10, 2, 2, 3), "gaussian", sigma)
    return exact, scores.log_weights(log_p, z, z_mean, z_log_var)


def test_the_bounds_of_a_linear_model_rise_to_its_likelihood():
    exact, log_weights = bounds_of_a_linear_model(widen=1.5)
    bounds = [scores.importance_bound(log_weights, k) for k in (1, 5, 64, 512)]
    gaps = [float((exact - bound).mean()) for bound in bounds]
    np.testing.assert_allclose(bounds[0], log_weights.mean(0))  # k = 1 is the ELBO
    # KL(q || p) of three units that are 1.5 times too wide
    assert gaps[0] == pytest.approx(3 * (1.5**2 / 2 - 0.5 - np.log(1.5)), rel=0.05)
    assert gaps[0] > gaps[1] > gaps[2] > gaps[3]
    assert abs(gaps[3]) < 0.02


def test_the_bounds_of_an_exact_posterior_are_the_likelihood():
    exact, log_weights = bounds_of_a_linear_model(widen=1.0, samples=6)
    for k in (1, 5, 6):
        np.testing.assert_allclose(scores.importance_bound(log_weights, k), exact, atol=1e-4)


def test_of_the_same_samples_the_bound_never_falls_with_k():
    log_weights = np.random.default_rng(0).normal(0, 300, (64, 50))  # as wild as those of images
    one, five, all_64 = (scores.importance_bound(log_weights, k) for k in (1, 5, 64))
    assert (one <= five).all() and (five <= all_64).all() and np.isfinite(five).all()


def test_similarity_of_images():
    grey = np.full((24, 24, 3), 0.4, np.float32)
    assert scores.ssim(grey, grey) == pytest.approx(1)
    # flat images: only the term of the means is not 1
    expected = (2 * 0.4 * 0.6 + 1e-4) / (0.4**2 + 0.6**2 + 1e-4)
    assert scores.ssim(grey, grey * 1.5) == pytest.approx(expected, abs=1e-5)
    assert scores.psnr(0.01) == pytest.approx(20)
    assert scores.psnr(0.0) == 100
    assert scores.ssim(grey[:6, :7, :1], grey[:6, :7, :1]) == pytest.approx(1)


def test_similarity_is_that_of_scikit_image(images):
    metrics = pytest.importorskip("skimage.metrics")
    image, other = images[0], images[1]
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    theirs = metrics.structural_similarity(image, other, channel_axis=2, data_range=1.0, **options)
    assert scores.ssim(image, other) == pytest.approx(theirs, abs=1e-4)


def test_active_units_are_counted_in_two_ways():
    assert scores.active_units([0.5, 0.02, 0.009], [3.0, 0.005, 0.0]) == {"variance": 2, "kl": 1}


def test_a_collapse_is_reported_with_settings_the_model_has():
    assert scores.collapse(active=3, kl=5.0, config={}) is None
    warning = scores.collapse(active=0, kl=0.003, config={"beta": 4, "free_bits": 0, "epochs": 3})
    assert "0.003 nats" in warning and "lower beta" in warning and "free_bits" in warning
    assert "invert" not in warning and "warmup" not in warning
    assert scores.collapse(active=1, kl=0.05, config={"invert": False}) is not None


# ---- the distance from the data ------------------------------------------------------------------


@pytest.fixture(scope="module")
def halves(images):
    """Features of 100 images, and 60 others."""
    return distance.features(images[:100]), images[100:]


def distances(halves, changes):
    real, others = halves
    results = [distance.compare(real, distance.features(change(others))) for change in changes]
    return [r["kid"] for r in results], [r["frechet"] for r in results], results[0]


def test_the_distance_between_two_halves_of_the_data_is_its_floor(halves):
    _, _, result = distances(halves, [lambda others: others])
    assert abs(result["kid"]) < 0.05 and abs(result["kid_floor"]) < 0.02
    assert result["frechet"] == pytest.approx(result["frechet_floor"], rel=0.25)
    assert (result["real"], result["generated"], result["images"]) == (100, 60, 50)


def blurred(sigma):
    return lambda images: np.stack([cv2.GaussianBlur(image, (0, 0), sigma) for image in images])


def noisy(deviation):
    noise = np.random.default_rng(0).standard_normal((60, SIZE, SIZE, 3), np.float32)
    return lambda images: np.clip(images + np.float32(deviation) * noise, 0, 1)


def redder(shift):
    return lambda images: np.clip(images + np.float32((shift, 0, -shift)), 0, 1)


def without_the_bright(part):
    """Drops the brightest images, then repeats the others."""

    def drop(images):
        order = np.argsort(images.mean((1, 2, 3)))[: int(part * len(images))]
        return images[np.resize(order, len(images))]

    return drop


@pytest.mark.parametrize(
    ("change", "strengths"),
    [
        (blurred, (0.5, 0.8, 1.2, 2.0, 4.0)),
        (noisy, (0.01, 0.03, 0.06, 0.12)),
        (redder, (0.02, 0.05, 0.1, 0.2)),
        (without_the_bright, (0.9, 0.6, 0.3, 0.1)),
    ],
)
def test_the_distance_grows_with(halves, change, strengths):
    same = distance.compare(halves[0], distance.features(halves[1]))
    kids, frechets, _ = distances(halves, [change(strength) for strength in strengths])
    for values, least in ((kids, same["kid"]), (frechets, same["frechet"])):
        assert (np.diff([least, *values]) > 0).all(), values
    assert kids[-1] > same["kid"] + 10 * same["kid_std"]
    assert frechets[-1] > 2 * same["frechet_floor"]


def test_kid_and_frechet_in_closed_form():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(30, 4)), rng.normal(size=(20, 4)) + 0.3

    def mean_kernel(x, y, same=False):
        pairs = [(i, j) for i in range(len(x)) for j in range(len(y)) if not (same and i == j)]
        return np.mean([(x[i] @ y[j] + 1) ** 3 for i, j in pairs])

    expected = mean_kernel(a, a, True) + mean_kernel(b, b, True) - 2 * mean_kernel(a, b)
    assert distance.kid(a, b) == pytest.approx(expected)
    first, second = np.cov(a.T), np.cov(b.T)
    roots = np.sqrt(np.linalg.eigvals(first @ second).real).sum()
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(first + second) - 2 * roots
    assert distance.frechet(a, b) == pytest.approx(expected)
    assert distance.frechet(a[:3], b[:3]) >= 0  # fewer images than features
    assert distance.frechet(a, a) == pytest.approx(0, abs=1e-9)
    shifted = a + np.array([0.5, 0, 0, 0])
    assert distance.frechet(a, shifted) == pytest.approx(0.25)


def test_resampled_kid_is_that_of_the_copies_without_pairs_of_one_image(halves):
    real, generated = halves[0][:12], distance.features(halves[1][:12])
    scale = distance.Scale(real)
    a, b = scale(real), scale(generated)
    measure = distance.resampled_kid(real, generated)
    once = measure(np.ones((1, 12)), np.ones((1, 12)))[0]
    assert once == pytest.approx(distance.kid(a, b))
    times = np.array([[3.0, 1.0, *[0.0] * 10]]), np.array([[1.0, 2.0, 0.0, 1.0, *[0.0] * 8]])

    def pairs(x, counts):
        return [(i, j) for i in range(12) for j in range(12) if i != j and counts[i] * counts[j]]

    def mean(x, counts):
        weights = [counts[i] * counts[j] for i, j in pairs(x, counts)]
        return np.average([(x[i] @ x[j] + 1) ** 3 for i, j in pairs(x, counts)], weights=weights)

    across = np.average((a @ b.T + 1) ** 3, weights=np.outer(times[0], times[1]))
    expected = mean(a, times[0][0]) + mean(b, times[1][0]) - 2 * across
    assert measure(*times)[0] == pytest.approx(expected)


def test_grey_images_have_a_distance_too(images):
    grey = images.mean(3, keepdims=True)
    result = distance.compare(distance.features(grey[:100]), distance.features(grey[100:]))
    assert abs(result["kid"]) < 0.05
    tinted = distance.features(np.clip(grey[100:] + np.float32((0.1, 0, 0)), 0, 1))
    assert distance.compare(distance.features(grey[:100]), tinted)["kid"] > 1


def test_too_few_images_have_no_distance(halves):
    assert distance.compare(halves[0][:3], halves[0]) is None
    assert distance.compare(halves[0], halves[0][:1]) is None


# ---- copies --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def thumbnails(images):
    """Of 110 training images, 20 held out and 30 others."""
    small = copying.thumbnails(images)
    return small[:110], small[110:130], small[130:]


def test_new_images_are_no_copies(thumbnails):
    training, held_out, new = thumbnails
    findings, _, _ = copying.copying(new, training, held_out)
    assert (findings["copied"], findings["warning"]) == (0, None)
    assert findings["ratio"] == pytest.approx(1, abs=0.25)
    assert findings["p_value"] > 0.02


@pytest.mark.parametrize("disguise", ["none", "mirrored", "shifted", "blurred", "noisy"])
def test_copies_are_caught(thumbnails, images, disguise):
    training, held_out, _ = thumbnails
    change = {
        "none": lambda images: images,
        "mirrored": lambda images: images[:, :, ::-1],
        "shifted": lambda images: np.roll(images, 2, axis=2),
        "blurred": blurred(1.0),
        "noisy": lambda images: noisy(0.05)(images[:60]),
    }[disguise]
    copies = change(images[:60])
    findings, numbers, _ = copying.copying(copying.thumbnails(copies), training, held_out)
    np.testing.assert_array_equal(numbers, range(60))
    assert findings["copied"] > 0.9 and findings["copied_held_out"] == 0
    assert findings["ratio"] < 0.5 and findings["p_value"] < 0.01
    assert "copies of training images" in findings["warning"]


def test_a_few_copies_among_new_images_are_counted(thumbnails):
    training, held_out, new = thumbnails
    findings, _, _ = copying.copying(np.concatenate([new, training[:10]]), training, held_out)
    assert findings["copied"] == 0.25
    assert findings["warning"].startswith("25%")


def test_the_nearest_is_the_same_whatever_the_blocks(thumbnails, monkeypatch):
    training, held_out, _ = thumbnails
    whole = copying.nearest(held_out, training), copying.nearest(training, training, itself=True)
    monkeypatch.setattr(copying, "_BLOCK", 17)
    blocks = copying.nearest(held_out, training), copying.nearest(training, training, itself=True)
    for (numbers, far), (same, same_far) in zip(whole, blocks, strict=True):
        np.testing.assert_array_equal(numbers, same)
        np.testing.assert_allclose(far, same_far, atol=1e-5)
    assert (whole[1][0] != np.arange(len(training))).all()


# ---- evaluate ------------------------------------------------------------------------------------

FIGURES = (
    "reconstructions",
    "samples",
    "interpolation",
    "latent",
    "manifold",
    "neighbours",
    "kl_per_unit",
)


@pytest.fixture(scope="module")
def evaluated(linear, teeth, tmp_path_factory):
    """The report of an honest model, and the folder of its figures."""
    out = tmp_path_factory.mktemp("evaluated") / "out"
    return evaluate(linear, teeth, out=out, options=EvaluateOptions(samples=8, count=80)), out


def test_evaluate_reports_what_is_known_by_hand(evaluated, linear, images):
    report, _ = evaluated
    assert (report["bundle"], report["data"], report["images"]) == ("linear", "teeth", NUMBER)
    assert list(report["bounds"]) == ["1", "5", "8"]
    assert report["bounds"]["1"] == report["elbo"] <= report["bounds"]["5"] <= report["bounds"]["8"]
    dimensions = SIZE * SIZE * 3
    assert report["bits_per_dim"] == pytest.approx(-report["elbo"] / np.log(2) / dimensions)
    # by hand, all images at once
    code = linear.encode(np.uint8(images * 255 + 0.5))
    decoded = linear.decode(code["z_mean"])["image"]
    mse = np.square(images - decoded).mean((1, 2, 3))
    assert report["reconstruction"]["mse"] == pytest.approx(mse.mean(), rel=1e-4)
    assert report["reconstruction"]["psnr"] == pytest.approx(-10 * np.log10(mse).mean(), rel=1e-4)
    kl = kl_divergence(code["z_mean"], code["z_log_var"]).mean(0)
    np.testing.assert_allclose(report["kl_per_unit"], kl, rtol=1e-4)
    assert report["kl"] == pytest.approx(kl.sum(), rel=1e-4)
    assert report["active_units"] == {"variance": 8, "kl": 8}
    # one more estimate of the ELBO: its two parts
    assert report["elbo"] == pytest.approx(
        report["reconstruction"]["log_likelihood"] - report["kl"], abs=2.0
    )
    assert report["collapse"] is None and report["copying"]["warning"] is None
    assert len(report["per_image"]) == NUMBER


def test_the_summary_metrics_are_a_few_numbers(evaluated):
    report, _ = evaluated
    numbers = summary_metrics(report)
    assert list(numbers) == [
        "elbo", "iwae_8", "bits_per_dim", "psnr", "ssim", "kl", "active_units", "kid",
        "kid_floor", "frechet", "frechet_floor", "copied",
    ]  # fmt: skip
    assert all(isinstance(number, int | float) for number in numbers.values())
    assert numbers["kid"] > numbers["kid_floor"]  # its samples are blurred
    for key in ("elbo", "iwae_8", "bits_per_dim", "psnr", "ssim", "kl"):
        row = report["intervals"][key]
        assert row["value"] == pytest.approx(numbers[key], rel=1e-5) and row["low"] < row["high"]
    kid = report["intervals"]["kid"]
    assert kid["low"] < numbers["kid"] < kid["high"]


def test_the_files_of_an_evaluation(evaluated, tmp_path):
    report, out = evaluated
    assert {path.name for path in out.iterdir()} == {
        "evaluation.json",
        "evaluation.txt",
        *(f"{name}.png" for name in FIGURES),
    }
    text = (out / "evaluation.json").read_text()
    assert json.loads(text) == report
    assert str(out.parent) not in text
    for name in FIGURES:
        sheet = read_image(out / f"{name}.png")
        assert sheet.shape[2] == 3 and min(sheet.shape[:2]) > 300
        assert len(np.unique(sheet)) > 20


def test_evaluate_does_not_depend_on_the_blocks(evaluated, linear, teeth, monkeypatch):
    monkeypatch.setattr("dentalzoo.tasks.autoencoders._VALUES", 10 * SIZE * SIZE * 3)
    again = evaluate(linear, teeth, options=EvaluateOptions(samples=8, count=80))
    for key in ("elbo", "kl", "bits_per_dim"):
        assert again[key] == pytest.approx(evaluated[0][key], rel=1e-6)
    for key in ("distance", "copying"):
        values = {k: v for k, v in evaluated[0][key].items() if isinstance(v, float)}
        assert {k: again[key][k] for k in values} == pytest.approx(values, rel=1e-3, abs=1e-3)


def test_evaluate_takes_no_more_images_than_it_says(linear, teeth, monkeypatch):
    limits = {"distance": 40, "training": 50, "held_out": 5}
    monkeypatch.setattr("dentalzoo.tasks.generation.evaluation.LIMITS", limits)
    report = evaluate(linear, teeth, options=EvaluateOptions(samples=1, count=30))
    assert report["images"] == NUMBER and list(report["bounds"]) == ["1"]
    assert report["distance"]["real"] == 40
    training, held_out = (report["copying"][f"{w}_images"] for w in ("training", "held_out"))
    assert (training[0], held_out[0]) == (50, 5)
    assert training[1] + held_out[1] == NUMBER


def test_evaluate_takes_the_split_and_holds_out_what_was_held_out(linear, teeth, tmp_path):
    data = some(teeth, tmp_path / "data", 40)
    rows = [f"{i:04d},{'val' if i < 10 else 'test' if i < 20 else 'train'}" for i in range(40)]
    (data / "split.csv").write_text("\n".join(["id,split", *rows]) + "\n")
    report = evaluate(linear, data, split="test", options=EvaluateOptions(samples=1, count=8))
    assert {row["name"] for row in report["per_image"]} == {f"{i:04d}" for i in range(10, 20)}
    assert report["copying"]["held_out_split"] == "test"
    assert report["copying"]["training_images"] == [20, 20]
    report = evaluate(linear, data, split="train", options=EvaluateOptions(samples=1, count=8))
    assert report["copying"]["held_out_split"] == "val"


def test_a_copier_is_caught(teeth, images, tmp_path, caplog):
    copier = Copier(images[:-20])
    data = some(teeth, tmp_path / "data", NUMBER)
    rows = [f"{i:04d},{'train' if i < NUMBER - 20 else 'val'}" for i in range(NUMBER)]
    (data / "split.csv").write_text("\n".join(["id,split", *rows]) + "\n")
    report = evaluate(copier, data, split="val", options=EvaluateOptions(samples=1, count=40))
    assert summary_metrics(report)["copied"] == 1
    assert "100% of the samples are copies" in report["copying"]["warning"]
    assert report["copying"]["warning"] in caplog.text


def test_a_collapse_is_reported(teeth, images, caplog):
    report = evaluate(
        Collapsed(images, beta=4.0), teeth, options=EvaluateOptions(samples=1, count=8)
    )
    assert report["active_units"] == {"variance": 0, "kl": 0}
    assert "collapsed" in report["collapse"] and "lower beta" in report["collapse"]
    assert report["collapse"] in caplog.text


@pytest.mark.parametrize("latent_dim", [1, 2])
def test_small_codes_and_grey_images_have_figures(teeth, images, tmp_path, latent_dim):
    grey = Linear(images[..., :1], latent_dim)
    evaluate(
        grey,
        some(teeth, tmp_path / "data", 12),
        out=tmp_path / "out",
        options=EvaluateOptions(samples=2, count=8),
    )
    assert {path.stem for path in (tmp_path / "out").glob("*.png")} == set(FIGURES)


def test_one_image_is_enough(linear, teeth, tmp_path):
    report = evaluate(
        linear,
        some(teeth, tmp_path / "data", 1),
        out=tmp_path / "out",
        options=EvaluateOptions(count=2),
    )
    assert (report["images"], report["distance"], report["copying"]) == (1, None, None)
    assert "kid" not in summary_metrics(report)
    assert {path.stem for path in (tmp_path / "out").glob("*.png")} == set(FIGURES) - {
        "interpolation", "latent", "neighbours",
    }  # fmt: skip


def test_evaluate_leaves_bad_files_out_and_lists_them(linear, teeth, tmp_path, caplog):
    data = some(teeth, tmp_path / "data", 8)
    (data / "0003.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    report = evaluate(
        linear, data, out=tmp_path / "out", options=EvaluateOptions(samples=2, count=8)
    )
    assert report["images"] == 7 and "0003" not in [row["name"] for row in report["per_image"]]
    assert [name for name, _ in report["skipped"]] == ["0003.png"]
    assert "damaged" in report["skipped"][0][1] and str(tmp_path) not in json.dumps(report)
    warned = [r.getMessage() for r in caplog.records if "0003" in r.getMessage()]
    assert len(warned) == 1 and "\n" not in warned[0]


def test_evaluate_needs_one_usable_image(linear, tmp_path):
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    with pytest.raises(DentalzooError, match="none of 1 images can be used.*damaged"):
        evaluate(linear, tmp_path)


def test_evaluate_does_not_write_among_its_data(linear, teeth):
    before = sorted(teeth.iterdir())
    with pytest.raises(DentalzooError, match="a folder without inputs"):
        evaluate(linear, teeth, out=teeth)
    assert sorted(teeth.iterdir()) == before


@pytest.mark.parametrize(
    "options",
    [{"samples": 0}, {"count": 0}, {"count": 1}, {"seed": -1}, {"count": 2.5}, {"crops": "teeth"}],
)
def test_evaluate_refuses_bad_options(linear, teeth, options):
    with pytest.raises(DentalzooError, match="Received"):
        evaluate(linear, teeth, options=EvaluateOptions(**options))


def test_crops_are_those_of_the_bundle_or_those_asked_for(images, tmp_path):
    image = np.zeros((64, 128, 3), np.uint8)
    image[:, 64:] = 200
    write_png(tmp_path / "images" / "a.png", image)
    mask = np.zeros((64, 128), np.uint8)
    mask[20:40, 10:30] = mask[20:40, 80:100] = 255
    write_png(tmp_path / "masks" / "a.png", mask)
    trained = Linear(images, crops="masks", margin=1.0)
    assert evaluate(trained, tmp_path, options=EvaluateOptions(samples=1, count=2))["images"] == 2
    assert (
        evaluate(trained, tmp_path, options=EvaluateOptions(samples=1, count=2, crops="whole"))[
            "images"
        ]
        == 1
    )
    plain = Linear(images)
    assert evaluate(plain, tmp_path, options=EvaluateOptions(samples=1, count=2))["images"] == 1
    assert (
        evaluate(plain, tmp_path, options=EvaluateOptions(samples=1, count=2, crops="masks"))[
            "images"
        ]
        == 2
    )


# ---- predict and generate ------------------------------------------------------------------------


def test_predict_writes_reconstructions_and_codes(linear, teeth, tmp_path):
    report = predict(
        linear,
        sorted(teeth.glob("*.png"))[:3],
        tmp_path / "out",
        options=GenerationPredictOptions(overlay=True),
    )
    assert (report.written, report.failed) == (3, [])
    names = [f"{i:04d}" for i in range(3)]
    assert {path.name for path in (tmp_path / "out").glob("[!.]*")} == {
        "latents.csv",
        *(f"{name}{end}.png" for name in names for end in ("", "_overlay")),
    }
    with open(tmp_path / "out" / "latents.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["file"] for row in rows] == [f"{name}.png" for name in names]
    image = read_image(teeth / "0001.png")
    code = linear.encode(image)
    for key in ("z_mean", "z_log_var"):
        written = [float(rows[1][f"{key}_{unit}"]) for unit in range(8)]
        np.testing.assert_allclose(written, code[key], rtol=1e-6)
    reconstruction = read_image(tmp_path / "out" / "0001.png")
    expected = np.uint8(linear.decode(code["z_mean"])["image"] * 255 + 0.5)
    np.testing.assert_array_equal(reconstruction, expected)
    both = read_image(tmp_path / "out" / "0001_overlay.png")
    np.testing.assert_array_equal(both[:, :SIZE], image)
    np.testing.assert_array_equal(both[:, -SIZE:], reconstruction)


def test_parts_that_run_apart_write_what_predict_writes(linear, teeth, tmp_path):
    images, options = sorted(teeth.glob("*.png"))[:3], GenerationPredictOptions(overlay=True)
    predict(linear, images, tmp_path / "1", options=options)
    assert apart(generation, linear, options, images, tmp_path / "2") == [
        tmp_path / "2" / "latents.csv"
    ]
    assert content(tmp_path / "2") == content(tmp_path / "1")


def test_predict_goes_on_after_bad_files(linear, teeth, tmp_path, caplog):
    data = some(teeth, tmp_path / "data", 3)
    (data / "0001.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    write_png(data / "small.png", np.zeros((1, 1), np.uint8))
    report = predict(linear, data, tmp_path / "out")
    assert report.written == 3
    assert [Path(path).name for path, _ in report.failed] == ["0001.png"]
    assert len((tmp_path / "out" / "latents.csv").read_text().splitlines()) == 4
    assert sorted(Path(line.split(": ")[0]).name for line in caplog.messages) == [
        "0001.png",
        "small.png",  # which shows nothing
    ]
    with pytest.raises(DentalzooError, match="a folder without inputs"):
        predict(linear, data, data)


def test_images_of_one_stem_have_different_names(linear, teeth, tmp_path):
    data = some(teeth, tmp_path / "data", 1)
    (data / "0000.jpg").write_bytes((data / "0000.png").read_bytes())
    predict(linear, data, tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").glob("*.png")} == {
        "0000.png.png",
        "0000.jpg.png",
    }


def test_generate_is_determined_by_the_seed_alone(linear, tmp_path):
    files = {}
    for name, count, seed in (("a", 70, 3), ("b", 10, 3), ("c", 10, 4)):
        report = generate(linear, tmp_path / name, options=GenerateOptions(count, seed))
        assert report.written == count
        files[name] = {p.name: p.read_bytes() for p in (tmp_path / name).rglob("*.png")}
        assert set(files[name]) == {"samples.png", *(f"{i:04d}.png" for i in range(count))}
        assert len(list((tmp_path / name / "images").iterdir())) == count
    for number in range(10):
        name = f"{number:04d}.png"
        assert files["a"][name] == files["b"][name] != files["c"][name]
    assert len(set(files["a"].values())) == 71
    sheet = read_image(tmp_path / "a" / "samples.png")
    assert sheet.shape == (8 * 100 - 4, 8 * 100 - 4, 3)  # 96 pixels and gaps of 4


def test_generate_replaces_its_own_images_and_no_others(linear, tmp_path):
    for count in (5, 3):
        generate(linear, tmp_path / "out", options=GenerateOptions(count))
    assert len(list((tmp_path / "out" / "images").iterdir())) == 3
    write_png(tmp_path / "out" / "mine.png", np.zeros((4, 4), np.uint8))
    with pytest.raises(DentalzooError, match="something else: mine.png"):
        generate(linear, tmp_path / "out", options=GenerateOptions(2))
    assert len(list((tmp_path / "out" / "images").iterdir())) == 3


@pytest.mark.parametrize("options", [{"count": 0}, {"count": 1.5}, {"seed": -1}])
def test_generate_refuses_bad_options(linear, tmp_path, options):
    with pytest.raises(DentalzooError, match="Received"):
        generate(linear, tmp_path / "out", options=GenerateOptions(**options))
    assert not (tmp_path / "out").exists()


def test_samples_are_picked_again(linear):
    blocks = np.concatenate(list(sampling.sample_blocks(linear, 130, seed=5)))
    numbers = [129, 0, 64, 63, 0]
    np.testing.assert_array_equal(sampling.pick_samples(linear, numbers, seed=5), blocks[numbers])


# ---- drawing -------------------------------------------------------------------------------------


def test_the_plane_has_its_origin_below_on_the_left(linear):
    xs, ys = np.array([-2.0, 0.0, 2.0]), np.array([-1.0, 1.0])
    images = sampling.decode_plane(linear, xs, ys, (1, 0), 8)
    z = np.zeros((1, 8), np.float32)
    z[0, :2] = 1.0, -2.0
    np.testing.assert_array_equal(images[1, 0], linear.decode(z)["image"][0])
    sheet = drawing.plane(images, xs, ys, tile=SIZE)
    pixels = as_pixels(images[1, 0])  # the largest y is on top
    top, left = 40, 76
    np.testing.assert_allclose(
        sheet[top : top + SIZE, left : left + SIZE].astype(int), pixels, atol=2
    )


@pytest.mark.parametrize("labels", [(), ("a", "b") * 10, [f"{i}" for i in range(20)]])
def test_a_scatter_takes_any_labels(images, labels):
    points = np.random.default_rng(0).normal(size=(20, 2))
    sheet = drawing.scatter(points, labels, images[:20])
    assert sheet.shape == (820, 900, 3) and sheet.dtype == np.uint8


def test_quantiles_cut_the_normal_distribution_evenly():
    np.testing.assert_allclose(sampling.quantiles(3), [-0.967422, 0, 0.967422], atol=1e-6)
