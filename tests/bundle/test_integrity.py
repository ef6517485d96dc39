"""Nothing damaged or unsafe is ever loaded."""

import json
import random
import shutil
import subprocess
from pathlib import Path

import pytest

import dentalzoo as dz
from dentalzoo.bundle import integrity, writing


def test_coreutils_verify_the_files(bundle):
    subprocess.run(["sha256sum", "--quiet", "-c", "SHA256SUMS"], cwd=bundle.path, check=True)
    assert dz.verify(bundle.path)["files"] == 5


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
    writing._write_description(path, metadata)


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
    with pytest.raises(
        dz.DentalzooError, match=f"contains an unsafe operation .*{attack}.*; refusing to load"
    ):
        dz.load(copy)


def test_a_file_that_is_not_a_saved_model_is_refused(copy):
    (copy / "saved_model" / "saved_model.pb").write_bytes(b"nothing")
    _resign(copy)
    with pytest.raises(dz.DentalzooError, match="SavedModel is corrupt or incomplete"):
        dz.load(copy)


PRETRAINED = Path(__file__).resolve().parents[2] / "pretrained"


def released_names():
    return [
        f"{name}.{tag}"
        for name in dz.list_models()
        for tag, weights in dz.registry.module_of(name).PRETRAINED.items()
        if weights.url is None
    ]


def test_every_released_bundle_is_there():
    assert sorted(path.name for path in PRETRAINED.iterdir()) == sorted(released_names())


@pytest.mark.slow
def test_released_bundles_are_complete():
    for name in released_names():
        released = dz.load(name)
        assert released.name == name and released.path == PRETRAINED / name
        assert released.metadata["metrics"] and released.metadata["data"]["licence"]
        assert released.to_keras().count_params() == released.metadata["parameters"]
        parameters = sum(w.size for w in released._functions.read_weights())
        assert parameters == released.metadata["parameters"]


def test_the_sums_of_a_bundle_are_those_that_it_lists(bundle):
    assert integrity.sums(bundle.path) == (bundle.path / integrity.SUMS).read_text()


@pytest.mark.slow
def test_a_thousand_flipped_bits_of_the_released_bundles_are_found_and_named(tmp_path):
    stream = random.Random(0)
    folders = [shutil.copytree(path, tmp_path / f"x{n}") for n, path in enumerate(_released())]
    files = [(folder, file) for folder in folders for file in folder.rglob("*") if file.is_file()]
    for number in range(1000):
        folder, file = files[number % len(files)]
        place, bit = stream.randrange(file.stat().st_size), 1 << stream.randrange(8)
        _flip(file, place, bit)
        with pytest.raises(dz.DentalzooError) as caught:
            integrity.verify(folder)
        assert "\n" not in str(caught.value)
        assert file.name in str(caught.value) or file.name == integrity.SUMS
        _flip(file, place, bit)
    for folder in folders:
        integrity.verify(folder)


def _released():
    return sorted(PRETRAINED.iterdir())


def _flip(file, place, bit):
    with open(file, "r+b") as stream:
        stream.seek(place)
        value = stream.read(1)[0]
        stream.seek(place)
        stream.write(bytes([value ^ bit]))
