"""Real processes train one model: as one device does, and through kills."""

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from unittest import mock

import numpy as np
import pytest

import dentalzoo as dz
from dentalzoo.data import synthetic
from dentalzoo.training import checkpoint, loop
from tests.ports import addresses

CODE = """
import contextlib, json, logging, sys
from unittest import mock
import dentalzoo as dz
from dentalzoo.training import loop
logging.getLogger("dentalzoo").setLevel(logging.INFO)
logging.getLogger("dentalzoo").addHandler(logging.StreamHandler())
try:
    for call in json.loads(sys.argv[1]):
        with contextlib.ExitStack() as stack:
            if call.pop("without_results", False):
                stack.enter_context(mock.patch.object(loop, "_write_results"))
                stack.enter_context(mock.patch.object(loop.bundle, "load"))
            dz.train(**call)
except dz.DentalzooError as error:
    sys.exit(f"error: {error}")
"""
DATA = {
    "panoramic_unet": lambda out: synthetic.write_panoramic_dataset(
        out, 8, 0, 64, 128, val_fraction=0.375
    ),
    "panoramic_detection": lambda out: synthetic.write_panoramic_dataset(
        out, 8, 0, 64, 128, val_fraction=0.375, restored=0.5
    ),
    "tooth_vae": lambda out: synthetic.write_tooth_photos(out, 16, size=16),
    "defect_overlay_vae": lambda out: synthetic.write_defect_dataset(out, 8, size=16),
    "jaw_reconstruction": lambda out: synthetic.write_jaw_dataset(out, 8),
}
# Five or more samples in batches of 3 and less: on two workers the last batches are uneven.
SETTINGS = {
    "panoramic_unet": {"augmentation": None},
    "panoramic_detection": {},
    "tooth_vae": {"val_fraction": 0.3, "batch_size": 16},  # one step, for the reason given below
    "defect_overlay_vae": {"copies": 1, "stratified": False, "val_fraction": 0.3},
    "jaw_reconstruction": {},
}


QUICK = ["tooth_vae", "defect_overlay_vae"]  # no batch normalisation trains


def start(calls, workers=(), index=0):
    """Start a process that makes the calls of `train`, one after the other."""
    more = {"strategy": "multi_worker", "workers": workers, "index": index} if workers else {}
    command = [sys.executable, "-c", CODE, json.dumps([call | more for call in calls])]
    environ = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "TF_NUM_INTRAOP_THREADS": "1"}
    return subprocess.Popen(
        command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def start_all(calls, count=2):
    workers = addresses(count)
    return [start(calls, workers, index) for index in range(count)]


def outputs(children, seconds=900):
    """Return what the children print, once all have ended; none outlives a test that fails."""
    try:
        return [child.communicate(timeout=seconds)[0] for child in children]
    finally:
        for child in children:
            child.kill()


def weights(out):
    return checkpoint.Checkpoints(out / "checkpoints").latest()


def calls_of(names, folder, run, **settings):
    made = []
    for name in names:
        data = folder / name
        if not data.exists():
            DATA[name](data)
        call = {"name": name, "data": str(data), "out": str(folder / run / name)}
        call |= {"variant": "tiny", "epochs": 1, "batch_size": 3, **SETTINGS[name], **settings}
        made.append(call)
    return made


def assert_as_one_device(folder, name, tolerance):
    """Compare weights, optimizer and losses of a run of two processes and of one."""
    (two, state), (one, other) = (weights(folder / run / name) for run in ("two", "one"))
    row, expected = state["history"][-1], other["history"][-1]
    assert row.keys() == expected.keys()
    for key in set(row) - {"seconds"}:
        assert row[key] == pytest.approx(expected[key], rel=1e-3, abs=1e-4), key
    whole = [(a, b) for a, b in zip(two, one, strict=True) if a.dtype.kind != "f"]
    assert all(np.array_equal(a, b) for a, b in whole)  # seeds and counts
    two, one = (
        np.concatenate([array.ravel() for array in run if array.dtype.kind == "f"])
        for run in (two, one)
    )
    assert np.linalg.norm(two - one) <= tolerance * np.linalg.norm(one)


def run_both(names, folder, results_of, sync=False, **settings):
    """Train with two processes, and in this one at the same time; return what the two logged.

    Checkpoints are compared: bundle and evaluation are written by the two, of the papers named.
    """
    two = calls_of(names, folder, "two", sync_batchnorm=sync, **settings)
    for call in two:
        call["without_results"] = call["name"] not in results_of
    children = start_all(two)
    with ThreadPoolExecutor(1) as pool:  # reads what they print
        logs = pool.submit(outputs, children)
        with mock.patch.object(loop, "_write_results"):
            for call in calls_of(names, folder, "one", **settings):
                dz.train(**call)
    for child, log in zip(children, logs.result(), strict=True):
        assert child.returncode == 0, log
    return logs.result()


def test_two_processes_train_as_one_device_does(tmp_path):
    """Parts of a batch are uneven: 2 samples here and 1 there, or 6 and 5."""
    chief, other = run_both(QUICK, tmp_path, results_of=["defect_overlay_vae"])
    assert_as_one_device(tmp_path, "defect_overlay_vae", 1e-5)
    assert_as_one_device(tmp_path, "tooth_vae", 1e-3)  # measured: 1e-6
    assert "worker 0 of 2 trains and writes" in chief and "images/s)" in chief
    assert "worker 1 of 2 trains and writes nothing" in other and "images/s" not in other
    out = tmp_path / "two" / "defect_overlay_vae"
    assert json.loads((out / "run.json").read_text())["workers"] == 2
    assert (out / "evaluation").is_dir() and (out / "bundle").is_dir()


@pytest.mark.slow
def test_the_other_papers_step_as_on_one_device(tmp_path):
    """One step with all images: after it Adam makes whole steps of gradients that are rounding.

    Batch normalisation is synchronised, or each device would normalise with its own part.
    """
    names = [name for name in SETTINGS if name not in QUICK]
    # Results are written by the same code for all papers, which the test above runs.
    run_both(names, tmp_path, results_of=(), sync=True, batch_size=16)
    for name in names:
        assert_as_one_device(tmp_path, name, 2e-3)  # measured: at most 0.00064, of detection


@pytest.mark.slow
def test_killed_workers_end_all_and_a_resumed_run_equals_an_undisturbed_one(tmp_path):
    """First the second worker is killed, then the chief; each time the other one ends by itself."""
    settings = {"epochs": 30}
    whole = calls_of(["defect_overlay_vae"], tmp_path, "whole", **settings)
    killed = calls_of(["defect_overlay_vae"], tmp_path, "killed", **settings, resume=True)
    out = tmp_path / "killed" / "defect_overlay_vae"
    undisturbed = start_all(whole)
    for victim in (1, 0):
        children, before = start_all(killed), epoch_of(out)
        deadline = time.monotonic() + 900
        while epoch_of(out) < before + 3 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert children[victim].poll() is None, outputs(children)
        children[victim].send_signal(signal.SIGKILL)
        began = time.monotonic()
        text = outputs(children)[1 - victim]
        assert time.monotonic() - began < 60
        print(f"worker {1 - victim} ended {time.monotonic() - began:.1f} s after the kill")
        assert children[1 - victim].returncode == 1
        (line,) = [line for line in text.splitlines() if line.startswith("error: ")]
        assert line.startswith(f"error: worker {victim} (127.0.0.1:") and "--resume" in line
        assert "Traceback" not in text and not (out / "bundle").exists()
    for children in (start_all(killed), undisturbed):
        print(*outputs(children), sep="\n")  # shown where it fails
        assert [child.returncode for child in children] == [0, 0]
    assert epoch_of(out) == 30
    (one, state), (two, other) = (weights(path) for path in (out, tmp_path / "whole" / out.name))
    assert all(np.array_equal(a, b) for a, b in zip(one, two, strict=True))
    for row in (*state["history"], *other["history"]):
        del row["seconds"]
    assert state == other


def epoch_of(folder):
    return max((int(path.stem[-6:]) for path in folder.glob("checkpoints/epoch-*")), default=0)
