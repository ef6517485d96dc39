"""The on-disk format: what is written, and that nothing damaged or unsafe is ever loaded."""

import json
import shutil
import subprocess

import numpy as np
import pytest

import dentalzoo as dz
from dentalzoo.bundle import format as bundle_format
from dentalzoo.data.synthetic import panoramic
from tests.zoo_case import serve_alone


@pytest.fixture
def copy(bundle, tmp_path):
    """A copy of the bundle that a test may spoil."""
    return shutil.copytree(bundle.path, tmp_path / "copy")


def test_coreutils_verify_the_files(bundle):
    subprocess.run(["sha256sum", "--quiet", "-c", "SHA256SUMS"], cwd=bundle.path, check=True)
    assert dz.verify(bundle.path)["files"] == 5


def test_the_metadata_describes_the_signatures(bundle):
    metadata = json.loads((bundle.path / "metadata.json").read_text())
    serve = metadata["signatures"]["serve"]
    assert serve["inputs"] == {"images": {"shape": [None] * 4, "dtype": "uint8"}}
    assert serve["outputs"]["mask"] == {"shape": [None, None, None, 1], "dtype": "uint8"}
    assert metadata["task"] == "segmentation" and 0 <= metadata["metrics"]["dice"] <= 1
    assert metadata["config"]["input_size"] == [32, 64]
    assert "/" not in metadata["training"]["command"]
    card = (bundle.path / "README.md").read_text()
    assert "Not a medical device" in card and "| dice |" in card


def _every_file(bundle):
    return sorted(p.relative_to(bundle.path) for p in bundle.path.rglob("*") if p.is_file())


def test_a_flipped_bit_in_any_file_is_refused_and_named(bundle, copy):
    for name in _every_file(bundle):
        content = bytearray((copy / name).read_bytes())
        content[len(content) // 2] ^= 4
        (copy / name).write_bytes(content)
        with pytest.raises(dz.DentalzooError, match="Received: ") as caught:
            dz.load(copy)
        assert "\n" not in str(caught.value)
        assert name.name in str(caught.value) or name.name == "SHA256SUMS"
        shutil.copy(bundle.path / name, copy / name)
    dz.load(copy)


def test_a_missing_and_an_extra_file_are_refused_and_named(copy):
    (copy / "README.md").rename(copy / "saved_model" / "notes.md")
    with pytest.raises(dz.DentalzooError, match="missing. Received: no README.md"):
        dz.load(copy)
    (copy / "README.md").write_bytes((copy / "saved_model" / "notes.md").read_bytes())
    with pytest.raises(dz.DentalzooError, match="not listed.*Received: saved_model/notes.md"):
        dz.load(copy)
    (copy / "saved_model" / "notes.md").unlink()
    (copy / "saved_model" / "link").symlink_to("/etc/passwd")
    with pytest.raises(dz.DentalzooError, match="not listed.*Received: saved_model/link"):
        dz.load(copy)


def _resign(path):
    metadata = json.loads((path / "metadata.json").read_text())
    bundle_format._write_description(path, metadata)


def _op_in_serve(model, op):
    functions = model.meta_graphs[0].graph_def.library.function
    return next(f for f in functions if "serve" in f.signature.name).node_def.add(name="x", op=op)


def _call_of_the_saver(model):
    functions = model.meta_graphs[0].graph_def.library.function
    saver = next(f for f in functions if "traced_save" in f.signature.name)
    _op_in_serve(model, "If").attr["then_branch"].func.name = saver.signature.name


def _work_at_loading(model):
    graph = model.meta_graphs[0]
    name = graph.signature_def["__saved_model_init_op"].outputs["__saved_model_init_op"].name
    next(n for n in graph.graph_def.node if n.name == name.partition(":")[0]).op = "WriteFile"


def _legacy_work_at_loading(model):
    graph = model.meta_graphs[0]
    graph.graph_def.node.add(name="x", op="MatchingFiles")
    graph.collection_def["legacy_init_op"].node_list.value.append("x")


ATTACKS = {
    "ReadFile": lambda model: _op_in_serve(model, "ReadFile"),
    "EagerPyFunc": lambda model: _op_in_serve(model, "EagerPyFunc"),
    "SaveV2": lambda model: _op_in_serve(model, "SaveV2"),
    "TextLineDataset": lambda model: _op_in_serve(model, "TextLineDataset"),
    "function that saves": _call_of_the_saver,
    "WriteFile": _work_at_loading,
    "TensorFlow 1": lambda model: model.meta_graphs[0].ClearField("object_graph_def"),
    "2 graphs": lambda model: model.meta_graphs.add(),
    "MatchingFiles": _legacy_work_at_loading,
    "resource": lambda model: (
        model.meta_graphs[0].object_graph_def.nodes.add().resource.SetInParent()
    ),
    "asset": lambda model: model.meta_graphs[0].asset_file_def.add(filename="../../x"),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_graph_that_does_more_than_compute_is_refused(copy, attack):
    from tensorflow.core.protobuf import saved_model_pb2

    file = copy / "saved_model" / "saved_model.pb"
    content = saved_model_pb2.SavedModel.FromString(file.read_bytes())
    ATTACKS[attack](content)
    file.write_bytes(content.SerializeToString())
    _resign(copy)
    with pytest.raises(dz.DentalzooError, match=f"reaches outside.*Received: .*{attack}"):
        dz.load(copy)


@pytest.mark.parametrize("content", ["{", "{}", "[]"])
def test_metadata_that_describe_no_bundle_are_refused(copy, content):
    from dentalzoo.bundle import integrity

    (copy / "metadata.json").write_text(content)
    (copy / integrity.SUMS).write_text(integrity.sums(copy))
    with pytest.raises(dz.DentalzooError, match="metadata.json describes no bundle"):
        dz.load(copy)


def test_what_is_released_is_whole_and_complete():
    root = bundle_format.Path(__file__).resolve().parents[2] / "pretrained"
    names = [
        f"{name}.{tag}"
        for name in dz.list_models()
        for tag, weights in dz.registry.module_of(name).PRETRAINED.items()
        if weights.url is None
    ]
    assert sorted(path.name for path in root.iterdir()) == sorted(names)
    for name in names:
        released = dz.load(name)
        assert released.name == name and released.path == root / name
        assert released.metadata["metrics"] and released.metadata["data"]["licence"]


@pytest.mark.parametrize("storage", bundle_format.STORAGE)
def test_storage(bundle, tmp_path, storage):
    radiograph = panoramic(3, 64, 128).image
    made = bundle_format.reexport(bundle.path, tmp_path / storage, tag="test_v1", storage=storage)
    alone = serve_alone(made.path, tmp_path, images=radiograph[None, :, :, None])
    tolerance = {"float32": 1e-6, "float16": 2e-3, "int8": 5e-2}[storage]
    expected = bundle.serve(radiograph)["probabilities"]
    assert alone["probabilities"][0] == pytest.approx(expected, abs=tolerance)
    size = {"float32": 4, "float16": 2, "int8": 1}[storage]
    variables = sum(f.stat().st_size for f in made.path.glob("saved_model/variables/*.data*"))
    vectors = sum(4 * w.size for w in bundle.to_keras().get_weights() if w.ndim == 1)
    assert variables < 1.35 * (bundle.metadata["parameters"] * size + vectors)
    assert made.name == "panoramic_unet.test_v1"


def test_fine_tuning_starts_from_the_bundles_weights(bundle):
    model = bundle.to_keras()
    image = np.random.default_rng(0).integers(0, 256, (1, 32, 64, 3), np.uint8)
    inside = bundle.serve(image)["probabilities"]
    assert np.asarray(model(image / np.float32(255))) == pytest.approx(inside, abs=1e-5)


def test_other_folders_are_not_replaced(bundle, tmp_path):
    (tmp_path / "thesis.tex").write_text("ten years of work")
    (tmp_path / "metadata.json").write_text("{}")
    for path in (tmp_path, tmp_path / "thesis.tex"):
        with pytest.raises(dz.DentalzooError, match="is something else"):
            bundle_format.reexport(bundle.path, path)
    assert (tmp_path / "thesis.tex").read_text() == "ten years of work"


def test_a_signature_that_does_not_exist(bundle):
    with pytest.raises(AttributeError, match="has the signatures.*Received: 'segment'"):
        bundle.segment(np.zeros((8, 8), np.uint8))


def test_a_model_remembers_its_config_and_a_foreign_one_needs_it(tmp_path):
    import keras

    model = dz.build("panoramic_unet", "tiny", num_classes=3)
    made = dz.export(model, tmp_path / "three", "panoramic_unet", storage="int8")
    found = made.serve(np.zeros((40, 50), np.uint8))
    assert found["probabilities"].shape == (40, 50, 3)
    assert found["probabilities"].sum(-1) == pytest.approx(1, abs=1e-5)
    assert np.array_equal(found["mask"][..., 0], found["probabilities"].argmax(-1))
    foreign = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(1, 1)])
    with pytest.raises(dz.DentalzooError, match="config that the model was built from"):
        dz.export(foreign, tmp_path / "foreign", "panoramic_unet")


def test_a_bundle_of_another_format_is_refused(copy):
    metadata = json.loads((copy / "metadata.json").read_text())
    bundle_format._write_description(copy, {**metadata, "format": 2})
    with pytest.raises(dz.DentalzooError, match="reads bundles of format 1.*Received: format 2"):
        dz.load(copy)


def test_images_go_into_the_card_and_are_verified(bundle, tmp_path):
    from dentalzoo.data.io.images import write_png

    sheet = tmp_path / "samples.png"
    write_png(sheet, np.zeros((4, 4, 3), np.uint8))
    made = bundle_format.reexport(bundle.path, tmp_path / "shown", images=[sheet])
    assert "![samples](<samples.png>)" in (made.path / "README.md").read_text()
    assert dz.verify(made.path)["files"] == dz.verify(bundle.path)["files"] + 1
    assert dz.load(made.path).metadata["images"] == ["samples.png"]
    again = bundle_format.reexport(made.path, made.path)  # in its own place, with its images
    assert again.metadata["images"] == ["samples.png"] and dz.verify(made.path)
    with pytest.raises(dz.DentalzooError, match=r"different names. Received: samples\.png twice"):
        bundle_format.reexport(bundle.path, tmp_path / "other", images=[sheet, sheet])
    (tmp_path / "no.png").write_text("text")
    with pytest.raises(dz.BadFile, match=r"no\.png"):
        bundle_format.reexport(bundle.path, tmp_path / "other", images=[tmp_path / "no.png"])
    assert not (tmp_path / "other").exists()
