"""A loaded bundle: its signatures, its config, its Keras model."""

import copy
import pickle

import numpy as np
import pytest

import dentalzoo as dz
from dentalzoo.bundle import Bundle, Signature
from dentalzoo.ops.calibration import scaled


def test_signatures_tell_their_shapes_and_dtypes(bundle):
    assert list(bundle.signatures) == list(bundle.metadata["signatures"])
    serve = bundle.signatures["serve"]
    assert isinstance(serve, Signature) and serve.name == "serve"
    assert serve.inputs == {"images": {"shape": [None] * 4, "dtype": "uint8"}}
    assert list(serve.outputs) == list(bundle.metadata["signatures"]["serve"]["outputs"])
    for text in (repr(serve), serve.__doc__):
        assert "images uint8 (?, ?, ?, ?)" in text and "mask uint8 (?, ?, ?, 1)" in text
    assert {"serve", "serve_encoded", "to_keras", "config"} <= set(dir(bundle))


def test_a_signature_is_a_method_with_positions_or_names(bundle):
    image = np.random.default_rng(0).integers(0, 256, (32, 64), np.uint8)
    expected = bundle.serve(image)
    for call in (bundle.signatures["serve"], bundle.serve):
        named = call(images=image)
        assert set(named) == set(expected) == {"mask", "probabilities"}
        assert all(np.array_equal(named[key], expected[key]) for key in expected)
    assert expected["mask"].shape == (32, 64, 1)
    assert bundle.serve(image[None, ..., None])["mask"].shape == (1, 32, 64, 1)


def test_arrays_that_do_not_match_a_signature(bundle):
    image = np.zeros((8, 8), np.uint8)
    for arrays, named, received in (
        ((), {}, "0 arguments"),
        ((image, image), {}, "2 arguments"),
        ((), {"image": image}, "1 arguments: image"),
        ((image,), {"images": image}, "2 arguments: images"),
    ):
        expected = rf"serve must be called with \(images\)\. Received: {received}"
        with pytest.raises(dz.DentalzooError, match=expected):
            bundle.serve(*arrays, **named)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: r.pop("mask"), "serve must return mask, probabilities. Received: probabilities"),
        (lambda r: r.update(more=r["mask"]), "Received: .*, more"),
        (
            lambda r: r.update(mask=r["mask"][..., 0]),
            r"mask of serve must be uint8 \(\?, \?, \?, 1",
        ),
        (lambda r: r.update(mask=r["mask"].astype(str)), "Received: string of shape"),
        (lambda r: r.update(mask=r["mask"] * 1.0), "mask of serve must be uint8 .* float64"),
        (lambda r: r["probabilities"].fill(np.nan), "probabilities of serve must be finite"),
        (lambda r: r["probabilities"].fill(np.inf), "probabilities of serve must be finite"),
    ],
)
def test_results_that_do_not_match_a_signature(bundle, change, message):
    """As a light runtime or a bad network may return them."""
    serve = Signature("serve", bundle.metadata["signatures"]["serve"], lambda images: results)
    images = np.zeros((1, 8, 8, 1), np.uint8)
    results = {key: value.copy() for key, value in bundle.function("serve")(images=images).items()}
    assert serve(np.zeros((8, 8), np.uint8))["mask"].shape == (8, 8, 1)
    change(results)
    with pytest.raises(dz.DentalzooError, match=message) as caught:
        serve(np.zeros((8, 8), np.uint8))
    assert "\n" not in str(caught.value)


def test_images_of_different_sizes_are_refused_in_one_line(bundle):
    image = np.zeros((8, 8), np.uint8)
    for images in ([image, image[:5]], [image, image[:, :5]], [image, image[..., None]]):
        with pytest.raises(dz.DentalzooError, match="one size, or one at a time. Received: shapes"):
            bundle.serve(images)


def test_a_signature_that_does_not_exist(bundle):
    with pytest.raises(AttributeError, match="has the signatures.*Received: 'detect'"):
        bundle.detect(np.zeros((8, 8), np.uint8))
    assert not hasattr(bundle, "_private")


def test_a_bundle_without_its_model_can_be_copied(bundle):
    empty = Bundle(bundle.path, bundle.metadata, None)
    for other in (copy.copy(empty), pickle.loads(pickle.dumps(empty))):
        assert other.name == bundle.name and other.task == "segmentation"


def test_the_config_is_that_of_the_paper(bundle):
    fitted = {"encoder_weights": None, "temperature": bundle.config.temperature}
    assert bundle.config == dz.configure("panoramic_unet", "tiny", **fitted)


def test_fine_tuning_starts_from_the_bundles_weights(bundle):
    model = bundle.to_keras()
    image = np.random.default_rng(0).integers(0, 256, (1, 32, 64, 3), np.uint8)
    inside = bundle.serve(image)["probabilities"]
    found = scaled(np.asarray(model(image / np.float32(255))), bundle.config.temperature)
    assert np.asarray(found) == pytest.approx(inside, abs=1e-5)
    assert model.zoo_config == bundle.config
