"""Three worker processes of the local runner, with real bundles, against one process."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("apache_beam")

import dentalzoo as dz
from dentalzoo import beam
from dentalzoo.beam import gathering, workers
from dentalzoo.data.boxes import write_records
from dentalzoo.data.io.images import read_image, write_png
from dentalzoo.data.synthetic import (
    write_defect_dataset,
    write_jaw_dataset,
    write_panoramic_dataset,
    write_tooth_photos,
)
from tests.beam.test_pipelines import DoublingWorker, numbers, tree
from tests.ports import free_ports

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
THREE = ["direct_num_workers=3", "direct_running_mode=multi_processing"]


def command(*words):
    """Run a command of dentalzoo on three workers; return the process."""
    return subprocess.run(
        [sys.executable, "-m", "dentalzoo", *words, "--runner", "DirectRunner"]
        + ["--runner-arg", *THREE],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
    )


@pytest.fixture(scope="module")
def unet(tmp_path_factory):
    """An untrained network, whose masks are full of detail."""
    out = tmp_path_factory.mktemp("bundles") / "unet"
    return dz.export(dz.build("panoramic_unet", "tiny"), out, name="panoramic_unet")


class PidWorker(DoublingWorker):
    """Notes the process that worked on an input."""

    def steps(self):
        steps = super().steps()
        steps.write = lambda item, *_: workers.Outcome(item.number, os.getpid())
        return steps


def test_the_inputs_are_spread_over_the_workers(tmp_path):
    transform = gathering.applied(PidWorker(tmp_path))
    with gathering.hidden_folder(tmp_path) as hidden:
        found = gathering.outcomes_of(numbers(60), transform, hidden, "DirectRunner", THREE)
        processes = [outcome.result for _, outcome in found if outcome.reason is None]
    assert len(processes) == 29  # the even ones but 8
    assert len(set(processes)) == 3
    assert os.getpid() not in processes


def test_an_engine_with_a_job_server_and_a_pool_of_workers(tmp_path):
    """As Flink and Spark are reached: jobs through a server, workers out of a pool on each host."""
    job, pool = free_ports(2)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    servers = [
        subprocess.Popen(
            [sys.executable, "-m", f"apache_beam.runners.{module}", *words],
            env={**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)},
            stderr=subprocess.DEVNULL,
        )
        for module, words in (
            ("portability.local_job_service_main", ["--port", str(job)]),
            ("worker.worker_pool_main", [f"--service_port={pool}"]),
        )
    ]
    try:
        for port in (job, pool):
            _wait_for(port)
        words = [f"job_endpoint=localhost:{job}", "environment_type=EXTERNAL"]
        words.append(f"environment_config=localhost:{pool}")
        transform = gathering.applied(PidWorker(tmp_path))
        with gathering.hidden_folder(tmp_path) as hidden:
            found = gathering.outcomes_of(numbers(20), transform, hidden, "PortableRunner", words)
            processes = {outcome.result for _, outcome in found if outcome.reason is None}
    finally:
        for server in servers:
            server.terminate()
            server.wait()
    assert processes
    assert os.getpid() not in processes


def _wait_for(port):
    for _ in range(3000):
        try:
            socket.create_connection(("localhost", port)).close()
            return
        except OSError:
            time.sleep(0.2)
    raise AssertionError(f"nothing listens on port {port}")


def test_a_thousand_radiographs_by_three_workers(tmp_path, unet):
    some = write_panoramic_dataset(tmp_path / "some", 50, 0, 64, 128)
    folder = tmp_path / "in"
    for path in sorted((some / "images").rglob("*.png")):
        image = read_image(path)
        for turn in range(20):
            write_png(folder / f"{path.stem}_{turn:02d}.png", np.roll(image, 6 * turn, axis=1))
    broken = folder / "damaged.png"
    broken.write_bytes(path.read_bytes()[:100])
    here = dz.predict(unet, folder, tmp_path / "here")
    done = command("predict", str(unet.path), str(folder), "--out", str(tmp_path / "beam"))
    assert (here.written, len(here.failed)) == (1000, 1)
    assert done.returncode == 1, done.stderr
    assert done.stdout == f"1000 written to {tmp_path / 'beam'}, 1 failed\n"
    assert f"{broken}: " in done.stderr
    written = tree(tmp_path / "beam")
    assert sum(name.endswith(".png") for name in written) == 1000
    assert written == tree(tmp_path / "here")


def test_an_evaluation_by_three_workers(tmp_path, unet):
    data = write_panoramic_dataset(tmp_path / "data", 9, 0, 64, 128)
    dz.evaluate(unet, data, out=tmp_path / "here")
    done = command("evaluate", str(unet.path), "--data", str(data), "--out", str(tmp_path / "beam"))
    assert done.returncode == 0, done.stderr
    assert tree(tmp_path / "beam") == tree(tmp_path / "here")


@pytest.mark.parametrize("name", ["tooth_vae", "defect_overlay_vae"])
def test_an_evaluation_of_codes_by_three_workers(tmp_path, name):
    """Generated images and superimposed ones are the same in every process."""
    if name == "tooth_vae":
        data, options = write_tooth_photos(tmp_path / "data", 40, 0, 64), {"count": 100}
    else:
        data = write_defect_dataset(tmp_path / "data", 8, 0)
        options = {"count": 9, "step": 1.0}
    bundle = dz.export(dz.build(name, "tiny"), tmp_path / "bundle", name=name)
    report = dz.evaluate(bundle, data, out=tmp_path / "here", **options)
    done = command(
        *("evaluate", str(bundle.path), "--data", str(data), "--out", str(tmp_path / "beam")),
        *(word for key, value in options.items() for word in (f"--{key}", str(value))),
    )
    assert done.returncode == 0, done.stderr
    assert report["superimposition" if "overlay" in name else "copying"]
    assert tree(tmp_path / "beam") == tree(tmp_path / "here")


# ---- in this process, which imports TensorFlow once ----------------------------------------------


def test_record_files(tmp_path):
    data = write_panoramic_dataset(tmp_path / "data", 9, 0, 64, 128)
    here = write_records(data, tmp_path / "here", shards=4)
    assert beam.write_records(data, tmp_path / "beam", shards=4) == here
    assert tree(tmp_path / "beam") == tree(tmp_path / "here")
    gone = min((tmp_path / "beam").glob("*.tfrecord"))
    gone.unlink()
    assert beam.write_records(data, tmp_path / "beam", shards=4) == here  # resumed
    assert tree(tmp_path / "beam") == tree(tmp_path / "here")


def test_jaws(tmp_path):
    jaws = write_jaw_dataset(tmp_path / "jaws", 2)
    network = dz.build("jaw_reconstruction", "tiny")
    bundle = dz.export(network, tmp_path / "bundle", name="jaw_reconstruction")
    here = dz.evaluate(bundle, jaws, out=tmp_path / "here", num_points=1000)
    there = beam.evaluate(bundle, jaws, out=tmp_path / "beam", num_points=1000)
    assert _without_seconds(there) == _without_seconds(here)
    mine, others = tree(tmp_path / "here"), tree(tmp_path / "beam")
    assert mine.keys() == others.keys()
    for name in mine.keys() - {"evaluation.json"}:
        assert mine[name] == others[name], name

    dz.predict(bundle, jaws / "upper" / "0000", tmp_path / "shapes")
    assert beam.predict(bundle, jaws / "upper" / "0000", tmp_path / "shapes_beam").written == 1
    assert tree(tmp_path / "shapes_beam") == tree(tmp_path / "shapes")


def _without_seconds(report):
    return {key: value for key, value in report.items() if not key.startswith("seconds")}
