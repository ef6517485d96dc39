"""The signature `familiarity`: learned, served, kept, left out."""

import logging
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest

import dentalzoo as dz
from dentalzoo.bundle import convert, reexport
from dentalzoo.bundle.familiarity import PARTS, Examples, learned
from dentalzoo.bundle.familiarity.statistics import (
    PERCENTILE_FROM,
    SIGNED,
    Statistics,
    bounds_of,
    fit,
)
from dentalzoo.cli import main
from dentalzoo.data.synthetic import panoramic, write_panoramic_dataset
from tests.zoo_case import serve_alone


def radiograph(seed):
    return panoramic(seed, 64, 128).image[..., None]


@pytest.fixture(scope="module")
def model():
    import keras

    keras.utils.set_random_seed(0)  # which weights see what is foreign is chance
    return dz.build("panoramic_unet", "tiny")


@pytest.fixture(scope="module")
def familiar(model, tmp_path_factory):
    """A bundle that has seen 20 synthetic radiographs; 12 others chose its bounds."""
    images = [partial(radiograph, seed) for seed in range(32)]
    return dz.export(
        model,
        tmp_path_factory.mktemp("familiar") / "bundle",
        "panoramic_unet",
        familiarity=Examples(images[:20], images[20:]),
    )


def test_other_images_are_above_the_bound_and_alike_ones_below(familiar):
    scores = [float(familiar.familiarity(radiograph(seed))["score"]) for seed in range(50, 60)]
    assert max(scores) < 1.5 and sum(score > 1 for score in scores) <= 1  # 1 % of alike ones are
    noise = np.random.default_rng(0).integers(0, 256, (64, 128, 1)).astype(np.uint8)
    coloured = np.repeat(radiograph(50), 3, -1) // np.uint8([1, 2, 4])
    others = {
        "layout": 255 - radiograph(50),
        "content": noise,
        "colour": coloured,
        "aspect": radiograph(50)[:, :60],
        "contrast": np.full((64, 128, 1), 90, np.uint8),
    }
    for part, image in others.items():
        result = familiar.familiarity(image)
        assert result["score"] > 1 and abs(result[part]) > 1, part
        assert result["score"] == pytest.approx(max(abs(result[key]) for key in PARTS))
    assert familiar.familiarity(np.zeros((64, 128, 1), np.uint8))["brightness"] < -1


def test_tensorflow_alone_returns_the_same_for_a_batch(familiar, tmp_path):
    images = np.stack([radiograph(seed) for seed in (70, 71)])
    alone = serve_alone(familiar.path, tmp_path, "familiarity", images=images)
    assert set(alone) == {"score", *PARTS} and alone["score"].shape == (2,)
    for index, image in enumerate(images):
        assert alone["score"][index] == pytest.approx(familiar.familiarity(image)["score"], 1e-4)


def test_the_metadata_have_the_bounds_and_how_they_were_chosen(familiar):
    known = familiar.metadata["familiarity"]
    assert list(known["parts"]) == list(PARTS)
    assert all(part["bound"] > 0 for part in known["parts"].values())
    assert known["images"] == 20 and known["validation_images"] == 12
    assert "limit" in known["bound"] and known["calibrated_on"] == "val"


@pytest.mark.slow
def test_an_export_keeps_what_was_learned_unless_the_weights_are_rounded(familiar, tmp_path):
    image = radiograph(80)
    kept = reexport(familiar.path, tmp_path / "kept")
    assert kept.metadata["familiarity"] == familiar.metadata["familiarity"]
    for key, value in familiar.familiarity(image).items():
        assert kept.familiarity(image)[key] == pytest.approx(value, abs=1e-3)
    rounded = reexport(familiar.path, tmp_path / "rounded", weights_dtype="int8")
    assert "familiarity" not in rounded.metadata
    assert "familiarity" not in rounded.metadata["signatures"]


def test_a_bundle_gets_it_from_its_data(bundle, tmp_path):
    assert "familiarity" not in bundle.metadata  # of 7 images to train on
    data = write_panoramic_dataset(tmp_path / "data", 16, 0, 64, 128, val_fraction=0.3)
    command = ["export", str(bundle.path), "--out", str(tmp_path / "out"), "--familiarity"]
    assert main([*command, str(data)]) == 0
    made = dz.load(tmp_path / "out")
    assert float(made.familiarity(radiograph(3))["score"]) > 0
    assert made.metadata["metrics"] == bundle.metadata["metrics"]
    assert main([*command, str(data), "--to", "onnx"]) == 2


@pytest.mark.slow
def test_onnx_returns_the_same(familiar, tmp_path):
    pytest.importorskip("tf2onnx")
    convert(familiar.path, tmp_path / "onnx", "onnx")  # compares
    assert (tmp_path / "onnx" / "familiarity.onnx").is_file()


def learned_from(count):
    """What is learned from images alone, by maps that are the image itself."""
    images = [partial(radiograph, seed) for seed in range(count)]
    config = SimpleNamespace(input_size=(32, 64))
    return learned(lambda image: image[:, ::4, ::4], config, Examples(images))


def test_too_few_images_teach_nothing(caplog):
    caplog.set_level(logging.INFO)
    assert learned_from(5) is None and "familiarity is not learned" in caplog.text


def test_without_validation_images_every_fifth_is_held_out():
    known = learned_from(20).metadata()
    assert (known["images"], known["validation_images"]) == (16, 4)
    assert known["calibrated_on"].startswith("train")


# ---- the statistics ------------------------------------------------------------------------------


def measures(count, seed=0, shift=0.0):
    rng = np.random.default_rng(seed)
    fields = rng.normal(size=(count, 16)) * 0.1 + np.linspace(-1, 1, 16)
    fields /= np.linalg.norm(fields, axis=1, keepdims=True)
    features = rng.normal(size=(count, 40)) @ rng.normal(size=(40, 40)) * 0.1
    simple = {name: rng.normal(0.4, 0.05, count) for name in SIGNED}
    return {"features": features + shift, "fields": fields, **simple}


def test_one_percent_of_further_images_are_above_the_bound():
    found = fit(measures(300), measures(200, 0), {})
    assert found.described["bound"] == "99th percentile"
    ratios = np.abs(found.distances(measures(4000, 0)) / found.bounds).max(1)
    assert 0.002 < np.mean(ratios > 1) < 0.03


def test_few_images_choose_a_wider_bound():
    distances = np.abs(np.random.default_rng(1).normal(1, 0.1, (4000, len(PARTS))))
    wide, wider = (bounds_of(distances[:count]).mean() for count in (PERCENTILE_FROM - 1, 10))
    assert wide < wider


def test_arrays_of_another_shape_are_no_statistics():
    found = fit(measures(30), measures(10, 1), {})
    arrays = found.arrays()
    again = Statistics.of_bundle(arrays, found.metadata())
    assert again is not None and again.metadata()["images"] == 30
    assert Statistics.of_bundle([], {}) is None
    assert Statistics.of_bundle([*arrays[:-1], arrays[-1][:2]], {}) is None
