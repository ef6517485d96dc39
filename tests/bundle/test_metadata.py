"""metadata.json: its content, and the translation of format 1."""

import dataclasses
import json
from pathlib import Path

import pytest

import dentalzoo as dz
from dentalzoo.bundle import integrity, writing
from dentalzoo.bundle.metadata import FORMAT, Metadata, describe, upgrade


def test_the_metadata_describe_the_signatures(bundle):
    metadata = json.loads((bundle.path / "metadata.json").read_text())
    assert Metadata.__required_keys__ <= set(metadata) <= {*Metadata.__annotations__}
    assert metadata["format"] == FORMAT == 2
    serve = metadata["signatures"]["serve"]
    assert serve["inputs"] == {"images": {"shape": [None] * 4, "dtype": "uint8"}}
    assert serve["outputs"]["mask"] == {"shape": [None, None, None, 1], "dtype": "uint8"}
    assert metadata["task"] == "segmentation" and 0 <= metadata["metrics"]["dice"] <= 1
    assert metadata["config"]["input_size"] == [32, 64]
    assert "/" not in metadata["training"]["command"]
    card = (bundle.path / "README.md").read_text()
    assert "Not a medical device" in card and "| dice |" in card and "weights in float32" in card


@pytest.mark.parametrize("content", ["{", "{}", "[]"])
def test_metadata_that_do_not_describe_a_bundle_are_refused(copy, content):
    (copy / "metadata.json").write_text(content)
    (copy / integrity.SUMS).write_text(integrity.sums(copy))
    with pytest.raises(dz.DentalzooError, match="metadata.json does not describe a bundle"):
        dz.load(copy)


def test_a_bundle_of_an_unknown_format_is_refused(copy):
    metadata = json.loads((copy / "metadata.json").read_text())
    writing._write_description(copy, {**metadata, "format": 3})
    with pytest.raises(dz.DentalzooError, match="formats? 1 and 2; .*Received: format 3"):
        dz.load(copy)


OLD = Path(__file__).with_name("format_1")  # of the bundles of 0.1.0


@pytest.mark.parametrize("path", sorted(OLD.glob("*.json")), ids=lambda path: path.stem)
def test_released_metadata_of_format_1_are_translated(path):
    old = json.loads(path.read_text())
    new = upgrade(old)
    assert (old["format"], new["format"]) == (1, 2)
    assert set(new) == Metadata.__required_keys__
    assert new["weights_dtype"] == old["storage"] and new["figures"] == old.get("pictures", [])
    assert new["task"] == dz.info(old["name"])["task"]
    assert list(new["metrics"].values()) == list(old["metrics"].values())
    config = dz.registry.module_of(new["name"]).Config.from_metadata(old["config"])
    settings = json.loads(json.dumps(dataclasses.asdict(config)))
    assert new["config"] == {key: settings[key] for key in new["config"]}  # some are newer
    assert upgrade(new) == new


def test_metrics_of_format_1_get_their_names():
    old = {"f_0035": 0.9, "baseline_recall_0035": 0.8, "found_to_true_mm": 0.3, "dice": 0.7}
    metadata = {"format": 1, "name": "other", "task": "overlay", "metrics": old}
    assert upgrade(metadata)["task"] == "superimposition"
    assert upgrade(metadata)["metrics"] == {
        "f_score_at_1_4mm": 0.9,
        "baseline_recall_at_1_4mm": 0.8,
        "pred_to_gt_mm": 0.3,
        "dice": 0.7,
    }


def test_specs_as_text():
    specs = {"z": {"shape": [None, 48], "dtype": "float32"}, "n": {"shape": [], "dtype": "int64"}}
    assert describe(specs) == "z float32 (?, 48), n int64 ()"
    assert describe(specs, "`") == "`z` float32 (?, 48), `n` int64 ()"


def test_a_bundle_may_have_the_operations_of_those_of_format_1():
    from dentalzoo.bundle.guard import operations as known

    permitted = {*known.COMPUTING, *known.CALLING, *known.LOOPING, *known.SAVING, *known.MAIN}
    old = {*(OLD / "operations.txt").read_text().split()}
    assert len(old) > 100 and not old - permitted
