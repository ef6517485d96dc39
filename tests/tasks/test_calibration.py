"""Calibrated bundles return the same masks and boxes, and probabilities through the map."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

import dentalzoo as dz
from dentalzoo import api
from dentalzoo.bundle import reexport
from dentalzoo.bundle.calibrating import unwritten
from dentalzoo.cli import main
from dentalzoo.data.synthetic import panoramic, write_panoramic_dataset
from dentalzoo.errors import DentalzooError
from dentalzoo.models import panoramic_detection, panoramic_unet
from dentalzoo.ops.calibration import Observed, Scaling
from dentalzoo.tasks.calibration import calibration_of, map_report, scaling_of
from dentalzoo.tasks.detector import Detector
from dentalzoo.tasks.options import BoxOptions
from tests.zoo_case import with_known_weights

CLASSES = ("restoration", "endodontic", "implant")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "radiographs"
    return write_panoramic_dataset(folder, 4, 3, 96, 192, val_fraction=0.6, restored=0.5)


@pytest.fixture(scope="module")
def unet(data, tmp_path_factory):
    """A bundle, and what the command line makes of it: the same, calibrated."""
    folder = tmp_path_factory.mktemp("unet")
    model = with_known_weights(dz.build("panoramic_unet", "tiny"))
    plain = dz.export(model, folder / "plain", "panoramic_unet")
    new = folder / "new"
    assert main(["export", str(plain.path), "--out", str(new), "--calibrate", str(data)]) == 0
    return plain, dz.load(new)


@pytest.fixture(scope="module")
def detector():
    """The functions of a network as a bundle, beside those with a map."""
    config = dataclasses.replace(panoramic_detection.VARIANTS["tiny"], classes=CLASSES)
    model = with_known_weights(panoramic_detection.build_model(config))
    return [
        unwritten(Path("x"), "panoramic_detection", c, panoramic_detection.signatures(model, c))
        for c in (config, config.calibrated(Scaling(0.4, -0.6)))
    ]


def test_masks_stay_and_probabilities_go_through_the_map(unet):
    plain, new = unet
    scaling = scaling_of(new)
    assert scaling.changes and not scaling.bias and not scaling_of(plain).changes
    image = panoramic(9, 100, 180).image[..., None]
    before, after = plain.serve(image), new.serve(image)
    assert (before["mask"] == after["mask"]).all() and before["mask"].any()
    assert (new.segment(image)["mask"] == before["mask"]).all()
    expected = scaling(before["probabilities"].ravel())
    assert after["probabilities"].ravel() == pytest.approx(expected, abs=1e-5)
    above = after["probabilities"] > 0.5
    assert np.mean(above == (after["mask"] > 0)) > 0.9999  # but for rounding at one half


def test_the_record_says_how_the_map_was_found(unet, data):
    plain, new = unet
    record = new.metadata["calibration"]
    assert record["temperature"] == new.config.temperature
    assert (record["data"], record["split"], record["images"]) == (data.name, "val", 2)
    assert record["log_loss_after"] < record["log_loss_before"]
    card = (new.path / "README.md").read_text()
    assert "## Calibration" in card and f"Temperature {new.config.temperature:.3f}" in card
    assert "## Calibration" not in (plain.path / "README.md").read_text()
    again = reexport(new.path, new.path.parent / "half", weights_dtype="float16")
    assert again.config.temperature == new.config.temperature
    kept = again.metadata["calibration"]
    assert kept["images"] == 2 and "ece_after" not in kept  # was measured with other weights


def test_an_evaluation_reports_the_error_before_and_after(unet, data):
    plain, new = unet
    before = dz.evaluate(plain, data, split="train")
    report = dz.evaluate(new, data, split="train")
    errors = report["intervals"]
    assert errors["ece_uncalibrated"]["value"] == pytest.approx(
        before["intervals"]["ece"]["value"], abs=2e-4
    )
    summary = api.summary_metrics(new, report)
    assert summary["ece"] == errors["ece"]["value"]
    assert report["calibration"]["fitted_here"] is False
    assert "ece_uncalibrated" not in before["intervals"]


def test_data_that_chose_the_map_give_no_summary_of_its_error(unet, data):
    report = dz.evaluate(unet[1], data, split="val")
    assert report["calibration"]["fitted_here"]
    assert "ece" not in api.summary_metrics(unet[1], report)
    assert map_report(unet[1], data, None)["fitted_here"]
    assert not map_report(unet[1], data, "test")["fitted_here"]


def test_boxes_stay_and_the_threshold_moves_with_the_scores(detector):
    plain, new = detector
    image = panoramic(1, 128, 256).image[..., None]
    before, after = plain.detect(image), new.detect(image)
    count = int(before["num"])
    assert count > 3
    for key in ("boxes", "classes", "num"):
        assert (before[key] == after[key]).all(), key
    scaling = Scaling(0.4, -0.6)
    assert after["scores"][:count] == pytest.approx(scaling(before["scores"][:count]), abs=1e-5)
    assert not after["scores"][count:].any()
    assert new.config.operating_threshold == pytest.approx(scaling.of(0.3), abs=1e-8)
    shown = [
        result["scores"] >= bundle.config.operating_threshold
        for bundle, result in ((plain, before), (new, after))
    ]
    assert (shown[0] == shown[1]).all()
    raw = new.raw(image)["scores"]
    assert raw.ravel() == pytest.approx(scaling(plain.raw(image)["scores"].ravel()), abs=1e-5)


def test_other_settings_of_suppression_keep_the_same_boxes(detector):
    image = panoramic(1, 128, 256).image[..., None]
    both = [Detector(bundle, BoxOptions(nms_iou=0.3))(image) for bundle in detector]
    assert len(both[0]) and np.array_equal(both[0].boxes, both[1].boxes)
    assert (both[0].classes == both[1].classes).all()


def test_a_second_calibration_begins_with_the_network(detector):
    plain, new = (bundle.config for bundle in detector)
    back = new.calibrated(Scaling())
    assert dataclasses.replace(back, operating_threshold=0.3) == plain
    assert back.operating_threshold == pytest.approx(plain.operating_threshold, abs=1e-8)
    assert new.calibrated(Scaling(0.4, -0.6)) == new


def test_a_map_that_does_not_help_is_not_taken(unet):
    rng = np.random.default_rng(0)
    images = []
    for _ in range(4):  # few events, calibrated already
        p = rng.uniform(0.2, 0.8, 30)
        images.append(Observed(p, rng.random(30) < p))
    found = calibration_of(unet[0], "x", "val", images, with_bias=True)
    record = found.record
    assert found.scaling == Scaling() and record["log_loss_before"] == record["log_loss_after"]
    with pytest.raises(DentalzooError, match="two or more images .* Received: 1 images of x"):
        calibration_of(unet[0], "x", "val", images[:1], with_bias=True)


def test_of_several_classes_the_temperature_keeps_the_mask(tmp_path, data):
    config = dataclasses.replace(panoramic_unet.VARIANTS["tiny"], num_classes=3)
    model = with_known_weights(panoramic_unet.build_model(config))
    signatures = panoramic_unet.signatures(model, config)
    calibrated = panoramic_unet.signatures(model, config.calibrated(Scaling(1.8)))
    image = panoramic(9, 60, 90).image[None, ..., None]
    before, after = (functions["serve"](image) for functions in (signatures, calibrated))
    assert (before["mask"].numpy() == after["mask"].numpy()).all()
    expected = Scaling(1.8)(before["probabilities"].numpy().reshape(-1, 3))
    assert after["probabilities"].numpy().reshape(-1, 3) == pytest.approx(expected, abs=1e-5)
    with pytest.raises(DentalzooError, match="without a bias"):
        config.calibrated(Scaling(1.8, 0.1))


def test_the_files_of_a_runtime_alone_are_not_calibrated(unet, data, tmp_path, capsys):
    words = ["--out", str(tmp_path / "onnx"), "--calibrate", str(data), "--to", "onnx"]
    assert main(["export", str(unet[0].path), *words]) == 2
    assert "--familiarity and --calibrate" in capsys.readouterr().err


def test_other_models_are_refused(tmp_path):
    model = dz.build("tooth_vae", "tiny")
    with pytest.raises(DentalzooError, match="calibration is for models .* tooth_vae"):
        dz.export(model, tmp_path / "vae", "tooth_vae", calibrate=lambda bundle: None)
