"""Limits on the pixels of an image and on the time of a call, in one line each."""

import json
import os
import shutil
import subprocess
import sys
import threading

import numpy as np
import pytest

from dentalzoo import limits
from dentalzoo.bundle.integrity import sums
from dentalzoo.cli import main
from dentalzoo.data.io.images import read_image, read_mask, write_png
from dentalzoo.errors import BadFile, DentalzooError
from tests.zoo_case import RELEASED


@pytest.fixture(autouse=True)
def _no_limits(monkeypatch):
    for name in (limits.PIXELS, limits.SECONDS):
        monkeypatch.delenv(name, raising=False)


def test_one_setting_bounds_the_pixels_of_images_and_masks(tmp_path, monkeypatch):
    path = tmp_path / "image.png"
    write_png(path, np.full((10, 10), 128, np.uint8))
    assert limits.max_pixels() == 100_000_000
    monkeypatch.setenv(limits.PIXELS, "100")
    assert read_image(path).shape == (10, 10, 1)
    monkeypatch.setenv(limits.PIXELS, "99")
    for read in (read_image, read_mask):
        with pytest.raises(BadFile, match="at most 99 pixels.*DENTALZOO_MAX_PIXELS.*10 x 10"):
            read(path)
    assert read_image(path, max_pixels=100).shape == (10, 10, 1)  # the caller's own limit


@pytest.mark.parametrize(
    ("name", "value", "read"),
    [
        *((limits.PIXELS, value, limits.max_pixels) for value in ("0", "-1", "1.5", "many")),
        *((limits.SECONDS, value, limits.max_seconds) for value in ("0", "-1", "nan", "inf", "x")),
    ],
)
def test_a_limit_that_is_none_is_refused(monkeypatch, name, value, read):
    monkeypatch.setenv(name, value)
    with pytest.raises(DentalzooError, match=f"{name} must be .*Received: {value!r}"):
        read()


def test_flags_are_checked_first(tmp_path, capsys):
    command = ["predict", "panoramic_unet", str(tmp_path), "--out", str(tmp_path / "out")]
    for flag, name in (("--max-pixels", limits.PIXELS), ("--max-seconds", limits.SECONDS)):
        assert main([*command, flag, "0"]) == 2
        line = capsys.readouterr().err
        assert line.startswith(f"dentalzoo: {name} must be") and len(line.splitlines()) == 1
    assert limits.PIXELS not in os.environ and limits.SECONDS not in os.environ


def test_a_call_that_ends_in_time_is_as_without_a_limit(monkeypatch):
    monkeypatch.setenv(limits.SECONDS, "3600")
    assert limits.limited("serve", lambda x: x + 1)(x=1) == 2
    with pytest.raises(KeyError, match="its own"):
        limits.limited("serve", lambda: {}["its own"])()


def test_a_call_that_does_not_end_raises_and_is_not_made_again(monkeypatch):
    monkeypatch.setenv(limits.SECONDS, "0.05")
    release, begun = threading.Event(), []

    def endless():
        begun.append(1)
        release.wait()

    call = limits.limited("serve", endless)
    try:
        with pytest.raises(
            DentalzooError, match=r"serve must end within 0.05 s; see --max-seconds"
        ):
            call()
        with pytest.raises(DentalzooError, match="serve must end before it is called again"):
            call()
    finally:
        release.set()
    assert len(begun) <= 1


def long_onnx() -> bytes:
    """A network for ONNX Runtime that takes an hour: loops are refused, but not many products."""
    onnx = pytest.importorskip("onnx")
    helper, kinds, count = onnx.helper, onnx.TensorProto, 2_000
    node, value = helper.make_node, helper.make_tensor_value_info
    graph = helper.make_graph(
        [
            node("Identity", ["images"], ["mask"]),
            node("Cast", ["images"], ["grey"], to=kinds.FLOAT),
            node("ReduceMax", ["grey"], ["most"], keepdims=0),  # so that it is no constant
            node("Expand", ["most", "shape"], ["p0"]),
            *(node("MatMul", [f"p{n}", "p0"], [f"p{n + 1}"]) for n in range(count)),
            node("Identity", [f"p{count}"], ["probabilities"]),
        ],
        "long",
        [value("images", kinds.UINT8, [None] * 4)],
        [
            value("mask", kinds.UINT8, [None] * 4),
            value("probabilities", kinds.FLOAT, [None] * 2),
        ],
        [helper.make_tensor("shape", kinds.INT64, [2], [4096, 4096])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    return model.SerializeToString()


@pytest.fixture
def endless(tmp_path):
    """A bundle of unknown origin whose network ends after an hour, and an image."""
    pytest.importorskip("onnxruntime")
    path = tmp_path / "foreign"
    shutil.copytree(RELEASED / "panoramic_unet.panoramic_teeth_v2", path)
    shutil.rmtree(path / "onnx", ignore_errors=True)
    (path / "onnx").mkdir()
    (path / "onnx" / "serve.onnx").write_bytes(long_onnx())
    (path / "onnx" / "interface.json").write_text(
        '{"signatures": {"serve": {"file": "serve.onnx", "inputs": ["images"], '
        '"outputs": ["mask", "probabilities"]}}}'
    )
    metadata = json.loads((path / "metadata.json").read_text())
    del metadata["familiarity"]
    metadata["signatures"] = {"serve": metadata["signatures"]["serve"]}
    (path / "metadata.json").write_text(json.dumps(metadata))
    (path / "SHA256SUMS").write_text(sums(path))
    write_png(tmp_path / "image.png", np.tile(np.arange(64, dtype=np.uint8), (48, 1)))
    return path, tmp_path / "image.png"


def run(code, *arguments, **variables):
    return subprocess.run(
        [sys.executable, *code, *map(str, arguments)],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=600,
    )


@pytest.mark.slow
def test_a_network_that_does_not_end_ends_the_command_in_one_line(endless, tmp_path):
    out = tmp_path / "out"
    command = ["predict", *endless, "--out", out, "--max-seconds", "2"]
    done = run(["-m", "dentalzoo"], *command)
    *_, line = done.stderr.splitlines()
    assert (done.returncode, done.stdout) == (2, "") and "Traceback" not in done.stderr
    assert line.startswith("dentalzoo: serve must end within 2 s; see --max-seconds")
    assert not list(out.glob("*.png"))


@pytest.mark.slow
def test_a_worker_with_a_network_that_does_not_end_is_reported(endless, tmp_path):
    command = ["predict", *endless, "--out", tmp_path / "out", "--workers", "1"]
    done = run(["-m", "dentalzoo"], *command, "--max-seconds", "2")
    assert done.returncode == 1 and "0 written" in done.stdout
    assert "serve must end within 2 s" in done.stderr and "Traceback" not in done.stderr
    assert not list((tmp_path / "out").glob("*.png"))


@pytest.mark.slow
def test_a_network_that_does_not_end_raises_in_python(endless):
    code = """
import os, sys
import numpy as np
import dentalzoo as dz
bundle = dz.load(sys.argv[1])
for _ in range(2):
    try:
        bundle.serve(np.zeros((8, 8, 1), np.uint8))
    except dz.DentalzooError as error:
        print(error, flush=True)
os._exit(0)  # the call still runs
"""
    done = run(["-c", code], endless[0], **{limits.SECONDS: "2"})
    first, second = done.stdout.splitlines()
    assert first.startswith("serve must end within 2 s") and "called again" in second
