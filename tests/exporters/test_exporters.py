"""The table of exporters, the protocol, and the page that explains how to add one."""

import importlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import numpy as np
import pytest

import dentalzoo as dz
from dentalzoo.bundle import convert
from dentalzoo.cli import main
from dentalzoo.contracts import Exporter, missing_parts
from dentalzoo.exporters import EXPORTERS
from dentalzoo.exporters._quiet import without_chatter

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "adding_an_export_format.md"


def test_the_table_is_the_folder():
    files = {path.stem for path in (ROOT / "dentalzoo" / "exporters").glob("[!_]*.py")}
    assert files == {name.replace("-", "_") for name in EXPORTERS}
    for name, exporter in EXPORTERS.items():
        assert exporter is importlib.import_module(f"dentalzoo.exporters.{name.replace('-', '_')}")


@pytest.mark.parametrize("name", EXPORTERS)
def test_every_exporter_fulfils_the_protocol(name):
    assert missing_parts(EXPORTERS[name], Exporter) == []
    assert name == EXPORTERS[name].NAME


def test_an_incomplete_exporter_is_named():
    lines = missing_parts(SimpleNamespace(NAME="x", export=lambda model, path: path), Exporter)
    assert (
        "BOUND" in lines[-4]
        and "FAMILIARITY" in lines[-3]
        and "PACKAGES" in lines[-2]
        and "SUFFIX" in lines[-1]
        and "load" in lines[2]
    )
    assert "functions" in lines[0] and "samples" in lines[1]


def test_a_registered_exporter_is_used(small_bundle, tmp_path, monkeypatch):
    class Names:
        """Writes the names of the functions."""

        NAME, SUFFIX, BOUND, FAMILIARITY, PACKAGES = "names", ".json", 0.0, False, {}

        def export(self, model, path, functions, samples):
            assert samples.keys() == functions.keys()
            assert len(model.read_weights()) == len(small_bundle.to_keras().weights)
            path.write_text(json.dumps(list(functions)))
            return path

        def load(self, path):
            return {name: small_bundle.function(name) for name in json.loads(path.read_text())}

    exporter = Names()
    assert missing_parts(exporter, Exporter) == []
    monkeypatch.setitem(EXPORTERS, exporter.NAME, exporter)
    path = convert(small_bundle.path, tmp_path / "teeth.json", "names")
    assert set(exporter.load(path)) == set(small_bundle.signatures)


def test_a_missing_package_is_said_before_any_work(small_bundle, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tf2onnx", None)
    for command in (("--with", "onnx"), ("--to", "onnx"), ("--with", "litert", "onnx-int8")):
        arguments = [str(small_bundle.path), "--out", str(tmp_path / "out"), *command]
        with (
            mock.patch("dentalzoo.bundle.converting.load") as load,
            mock.patch("dentalzoo.bundle.reexport") as reexport,
        ):
            assert main(["export", *arguments]) != 0
        assert not load.called and not reexport.called and list(tmp_path.iterdir()) == []


def test_errors_are_shown_and_the_chatter_of_tensorflow_is_not(capfd):
    with without_chatter():
        os.write(2, b"WARNING: All log messages before absl::InitializeLog() is called\n")
        os.write(2, b"I0000 00:00:1796077364.503041   11216 devices.cc:67] Number of GPUs: 0\n")
        os.write(2, b"E0000 00:00:1796077364.503041   11216 devices.cc:67] an error\nanother\n")
    os.write(2, b"I0000 00:00:1 after\n")
    first, second, third = capfd.readouterr().err.splitlines()
    assert first.endswith("] an error") and second == "another" and third == "I0000 00:00:1 after"


def test_an_exporter_that_fails_leaves_nothing(small_bundle, tmp_path, monkeypatch):
    class Full:
        NAME, SUFFIX, BOUND, FAMILIARITY, PACKAGES = "full", "", 0.0, False, {}

        def export(self, model, path, functions, samples):
            path.write_text("half")
            raise OSError(28, "No space left on device")

        def load(self, path):
            return {}

    monkeypatch.setitem(EXPORTERS, "full", Full())
    with pytest.raises(dz.DentalzooError, match="could not be written.*No space left"):
        convert(small_bundle.path, tmp_path / "out", "full")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("value", [0.5, np.nan])
def test_what_computes_something_else_is_not_written(value, small_bundle, tmp_path, monkeypatch):
    class Other:
        NAME, SUFFIX, BOUND, FAMILIARITY, PACKAGES = "other", "", 0.05, False, {}

        def export(self, model, path, functions, samples):
            path.mkdir()

        def load(self, path):
            def decode(**arrays):
                results = small_bundle.function("decode")(**arrays)
                return {**results, "image": np.full_like(results["image"], value)}

            return {"decode": decode}

    monkeypatch.setitem(EXPORTERS, "other", Other())
    with pytest.raises(dz.DentalzooError, match="image of decode must") as error:
        convert(small_bundle.path, tmp_path / "out", "other")
    assert "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_a_saved_model_loads_as_functions_of_named_arrays(bundle):
    functions = EXPORTERS["saved_model"].load(bundle.path / "saved_model")
    assert set(functions) == set(bundle.signatures)
    images = np.random.default_rng(0).integers(0, 256, (1, 32, 64, 1), np.uint8)
    results = functions["serve"](images=images)
    assert np.array_equal(results["mask"], bundle.serve(images)["mask"])


@pytest.mark.slow
def test_the_page_can_be_followed(tmp_path):
    """A copy of the package gets the page's module, table and test, and runs them."""
    module, table, test, use = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.M | re.S)
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "dentalzoo", tmp_path / "dentalzoo", ignore=ignored)
    folder = tmp_path / "dentalzoo" / "exporters"
    (folder / "frozen_graph.py").write_text(module)
    face = (folder / "__init__.py").read_text()
    start = face.index("from dentalzoo.exporters import ")
    assert face[start:].count("\n") == 6  # the import and the table are the rest of the file
    (folder / "__init__.py").write_text(face[:start] + table)
    (tmp_path / "test_frozen_graph.py").write_text(test)
    compile(use, PAGE.name, "exec")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "test_frozen_graph.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout[-3000:]
