"""A benchmark runs, small, where no package can be installed: it says so and omits its peer."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.slow
def test_a_bundle_is_measured_without_its_peer(tmp_path):
    nothing = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "", "PIP_CONFIG_FILE": os.devnull}
    where = {"DENTALZOO_CACHE": str(tmp_path), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, ROOT / "benchmarks/jaw_reconstruction.py", "--quick"]
    variables = {**os.environ, **nothing, **where}
    done = subprocess.run(command, cwd=tmp_path, env=variables, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "ONNX Runtime is left out, since its environment could not be created:" in done.stdout
    rows = [line.split(" | ")[0] for line in done.stdout.splitlines()]
    assert rows.count("| serve, int8") == 2  # latency, and beside the rendering of views
    assert ("| training step" in rows) == ("Open3D cannot be imported" not in done.stdout)
