"""Writing bundles: weights in three dtypes, figures, folders that are not replaced."""

import numpy as np
import pytest

import dentalzoo as dz
from dentalzoo import api
from dentalzoo.bundle import convert, reexport
from dentalzoo.bundle.weights import WEIGHTS_DTYPES
from dentalzoo.cli import main
from tests.zoo_case import serve_alone


@pytest.mark.parametrize("weights_dtype", WEIGHTS_DTYPES)
def test_weights_dtype(small_bundle, tmp_path, weights_dtype):
    made = reexport(
        small_bundle.path, tmp_path / weights_dtype, tag="test_v1", weights_dtype=weights_dtype
    )
    shape = (2, small_bundle.config.latent_dim)
    z = np.random.default_rng(0).standard_normal(shape, np.float32)
    expected = small_bundle.decode(z)["image"]
    error = np.abs(serve_alone(made.path, tmp_path, "decode", z=z)["image"] - expected).max()
    lowest, highest = {"float32": (0, 1e-6), "float16": (1e-8, 2e-3), "int8": (1e-5, 5e-2)}[
        weights_dtype
    ]
    assert lowest <= error <= highest
    size = {"float32": 4, "float16": 2, "int8": 1}[weights_dtype]
    variables = sum(f.stat().st_size for f in made.path.glob("saved_model/variables/*.data*"))
    vectors = sum(4 * w.size for w in small_bundle.to_keras().get_weights() if w.ndim == 1)
    assert variables < 1.35 * (small_bundle.metadata["parameters"] * size + vectors)
    assert made.name == "tooth_vae.test_v1"


@pytest.mark.slow
def test_metrics_of_another_dtype_are_left_out_or_measured(bundle, phantoms, tmp_path, caplog):
    old = bundle.metadata["metrics"]
    assert reexport(bundle.path, tmp_path / "same").metadata["metrics"] == old and old
    assert "left out" not in caplog.text
    made = reexport(bundle.path, tmp_path / "small", weights_dtype="int8")
    assert made.metadata["metrics"] == {}
    (line,) = [record.getMessage() for record in caplog.records]
    assert "left out: they were measured with weights in float32, not int8" in line
    caplog.clear()
    assert main(["export", str(bundle.path), "--out", str(tmp_path / "anew"), "--data",
                 str(phantoms), "--split", "val", "--weights-dtype", "int8"]) == 0  # fmt: skip
    metrics = dz.load(tmp_path / "anew").metadata["metrics"]
    report = dz.evaluate(made, phantoms, split="val")
    assert metrics["dice"] == api.summary_metrics(made, report)["dice"]
    assert metrics.keys() == old.keys() and metrics["split"] == "val"
    assert "left out" not in caplog.text
    assert dz.verify(tmp_path / "anew")


def test_other_folders_are_not_replaced(bundle, tmp_path):
    (tmp_path / "thesis.tex").write_text("ten years of work")
    (tmp_path / "metadata.json").write_text("{}")
    for path in (tmp_path, tmp_path / "thesis.tex"):
        with pytest.raises(dz.DentalzooError, match="is something else"):
            reexport(bundle.path, path)
    assert (tmp_path / "thesis.tex").read_text() == "ten years of work"


def test_a_model_remembers_its_config_and_a_foreign_one_needs_it(tmp_path):
    import keras

    model = dz.build("panoramic_unet", "tiny", num_classes=3)
    made = dz.export(model, tmp_path / "three", "panoramic_unet", weights_dtype="int8")
    results = made.serve(np.zeros((40, 50), np.uint8))
    assert results["probabilities"].shape == (40, 50, 3)
    assert results["probabilities"].sum(-1) == pytest.approx(1, abs=1e-5)
    assert np.array_equal(results["mask"][..., 0], results["probabilities"].argmax(-1))
    foreign = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(1, 1)])
    with pytest.raises(dz.DentalzooError, match="one that the model was built from"):
        dz.export(foreign, tmp_path / "foreign", "panoramic_unet")


def test_figures_go_into_the_model_card_and_are_verified(tmp_path):
    from dentalzoo.data.io.images import write_png

    bundle = dz.export(dz.build("tooth_vae", "tiny"), tmp_path / "bundle", "tooth_vae")
    figure = tmp_path / "samples.png"
    write_png(figure, np.zeros((4, 4, 3), np.uint8))
    made = reexport(bundle.path, tmp_path / "shown", figures=[figure])
    assert "![samples](<samples.png>)" in (made.path / "README.md").read_text()
    assert dz.verify(made.path)["files"] == dz.verify(bundle.path)["files"] + 1
    assert dz.load(made.path).metadata["figures"] == ["samples.png"]
    again = reexport(made.path, made.path)  # in its own place, with its figures
    assert again.metadata["figures"] == ["samples.png"] and dz.verify(made.path)
    with pytest.raises(dz.DentalzooError, match=r"different names. Received: samples\.png twice"):
        reexport(bundle.path, tmp_path / "other", figures=[figure, figure])
    (tmp_path / "no.png").write_text("text")
    with pytest.raises(dz.BadFile, match=r"no\.png"):
        reexport(bundle.path, tmp_path / "other", figures=[tmp_path / "no.png"])
    assert not (tmp_path / "other").exists()


def test_a_bundle_converted_to_a_saved_model_alone(small_bundle, tmp_path):
    path = convert(small_bundle.path, tmp_path / "new" / "saved_model", "saved_model")
    z = np.ones((1, small_bundle.config.latent_dim), np.float32)
    alone = serve_alone(path.parent, tmp_path, "decode", z=z)
    assert np.array_equal(alone["image"], small_bundle.decode(z)["image"])
    with pytest.raises(dz.DentalzooError, match="path must be new. Received: .*saved_model"):
        convert(small_bundle.path, path, "saved_model")
    with pytest.raises(dz.DentalzooError, match="exporter must be one of: saved_model"):
        convert(small_bundle.path, tmp_path / "other", "onxx")
    assert [p.name for p in path.parent.iterdir()] == ["saved_model"]
