"""What computes a bundle: chosen by its folders, by what is installed and by the caller."""

import shutil
import sys
import types
import zipfile

import numpy as np
import pytest

from dentalzoo.bundle import load, runtimes
from dentalzoo.bundle.integrity import sums
from dentalzoo.bundle.runtimes import choose
from dentalzoo.errors import DentalzooError
from dentalzoo.exporters import EXPORTERS


def folder(path, *kinds):
    for kind in kinds:
        (path / kind).mkdir(parents=True)
    return path


@pytest.fixture
def installed(monkeypatch):
    """A set of modules; only these are installed."""
    names = {"tensorflow", "onnxruntime"}
    monkeypatch.setattr(runtimes, "find_spec", lambda name: name in names or None)
    monkeypatch.delenv(runtimes.VARIABLE, raising=False)
    return names


def test_the_lightest_runtime_that_is_held_and_installed_is_taken(tmp_path, installed):
    both = folder(tmp_path / "both", "saved_model", "onnx", "litert")
    assert choose(both) == "onnxruntime"
    assert choose(both, "tensorflow") == "tensorflow"
    assert choose(folder(tmp_path / "one", "saved_model")) == "tensorflow"
    installed.remove("onnxruntime")
    assert choose(both) == "tensorflow"
    installed.add("ai_edge_litert")
    assert choose(both, "auto") == "litert"


def test_the_environment_chooses_where_the_caller_does_not(tmp_path, installed, monkeypatch):
    both = folder(tmp_path, "saved_model", "onnx")
    monkeypatch.setenv(runtimes.VARIABLE, "tensorflow")
    assert choose(both) == "tensorflow"
    assert choose(both, "onnxruntime") == choose(both, "auto") == "onnxruntime"


@pytest.mark.parametrize(
    ("kinds", "wanted", "message"),
    [
        (["saved_model"], "torch", "runtime must be one of: auto, .*Received: 'torch'"),
        (["saved_model"], "onnxruntime", "files for onnxruntime; it holds them for: tensorflow"),
        ([], "auto", "files for a runtime; it holds them for: none"),
        (["litert"], "auto", r"litert must be installed .*dentalzoo\[litert\]"),
        (["onnx", "litert"], "litert", r"litert must be installed .*dentalzoo\[litert\]"),
    ],
)
def test_a_runtime_that_cannot_be_is_named(tmp_path, installed, kinds, wanted, message):
    with pytest.raises(DentalzooError, match=message):
        choose(folder(tmp_path / "bundle", *kinds), wanted)


@pytest.fixture
def light(bundle, tmp_path, monkeypatch):
    """A copy of a bundle with a folder for a light runtime, which has `serve` alone."""
    copy = tmp_path / "light"
    shutil.copytree(bundle.path, copy)
    (copy / "onnx").mkdir()
    (copy / "onnx" / "value").write_text("7")

    def read(path):
        value = np.uint8((path / "value").read_text())
        shape = bundle.signatures["serve"].outputs["probabilities"]["shape"]

        def serve(images):
            probabilities = np.zeros((*images.shape[:3], shape[-1]), np.float32)
            return {"mask": np.full_like(images[..., :1], value), "probabilities": probabilities}

        return {"serve": serve}

    monkeypatch.setattr(runtimes.guard, "refuse_unsafe_files", lambda *arguments: None)
    monkeypatch.setitem(EXPORTERS, "onnx", types.SimpleNamespace(NAME="onnx", load=read))
    monkeypatch.setattr(runtimes, "find_spec", lambda name: True)
    (copy / "SHA256SUMS").write_text(sums(copy))
    return copy


def test_a_light_runtime_computes_without_the_saved_model(light, monkeypatch):
    monkeypatch.setattr(runtimes.saved_model, "load", lambda path: pytest.fail("was loaded"))
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    mask = load(light).serve(np.zeros((3, 4), np.uint8))["mask"]
    assert mask.shape == (3, 4, 1) and (mask == 7).all()


def test_what_a_light_runtime_lacks_is_computed_by_tensorflow(light, bundle):
    loaded = load(light, "onnxruntime")
    name = next(name for name in bundle.metadata["signatures"] if name != "serve")
    assert name in loaded.signatures and list(loaded._functions) == list(loaded.signatures)
    for ours, theirs in zip(
        loaded._functions.read_weights(), bundle._functions.read_weights(), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)
    shutil.rmtree(light / "saved_model")
    (light / "SHA256SUMS").write_text(sums(light))
    alone = load(light)
    assert alone.serve(np.zeros((3, 4), np.uint8))["mask"].max() == 7
    with pytest.raises(DentalzooError, match="needs a bundle with a SavedModel"):
        getattr(alone, name)
    with pytest.raises(DentalzooError, match="needs a bundle with a SavedModel"):
        alone.to_keras()


def test_memory_that_does_not_suffice_is_one_line():
    """What TensorFlow raises, without TensorFlow's seconds."""
    import tensorflow as tf

    from dentalzoo.exporters.saved_model import SavedModel

    def serve(**tensors):
        raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")

    loaded = types.SimpleNamespace(signatures={"serve": serve})
    with pytest.raises(
        DentalzooError, match=r"serve ran out of memory; send smaller .*\(1, 2, 2, 1\)"
    ):
        SavedModel(loaded)["serve"](images=np.zeros((1, 2, 2, 1), np.uint8))


@pytest.mark.parametrize("name", ["model.keras", "model.h5"])
def test_files_of_keras_are_not_opened(tmp_path, name):
    """They may hold Python code (a Lambda); a bundle never does."""
    file = tmp_path / name
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("config.json", '{"class_name": "Lambda", "config": {"function": "x"}}')
    with pytest.raises(DentalzooError, match=r"must be the directory of a bundle.*a file"):
        load(file)
