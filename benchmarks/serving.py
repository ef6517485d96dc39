"""Time and memory of serving on one core: the bundles of `dentalzoo export`, beside a plain script.

    .venv/bin/python benchmarks/serving.py [--quick] [--json FILE]

The released bundles are exported anew, as SavedModel, ONNX and ONNX in int8. One core and one
thread; CPU time; the variants of a table take turns, round after round. Read the ratios.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

THREADS = {"OMP_NUM_THREADS": "1", "TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"}
os.environ.update(THREADS, CUDA_VISIBLE_DEVICES="", TF_CPP_MIN_LOG_LEVEL="3")
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})

import numpy as np  # noqa: E402  # after the threads are set
from peers import yolo  # noqa: E402
from peers.turns import Worker, python_of  # noqa: E402

import dentalzoo as dz  # noqa: E402
from dentalzoo.bundle import convert  # noqa: E402
from dentalzoo.bundle.hub import cache_dir  # noqa: E402
from dentalzoo.bundle.integrity import sums  # noqa: E402
from dentalzoo.bundle.writing import reexport  # noqa: E402
from dentalzoo.data.io.images import read_image, write_png  # noqa: E402
from dentalzoo.data.synthetic import panoramic  # noqa: E402
from dentalzoo.exporters import EXPORTERS  # noqa: E402

SIZE = (540, 1280)  # of a panoramic radiograph
CANDIDATES = 300  # boxes that enter the suppression of YOLO, whose weights are random

# What a user writes by hand: NETWORK.onnx reads (1, H, W, 3) in [0, 1] and gives probabilities.
BY_HAND = """
import sys
import numpy as np, onnxruntime
from PIL import Image
network, file, out, height, width = *sys.argv[1:4], *map(int, sys.argv[4:6])
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
session = onnxruntime.InferenceSession(network, options, providers=["CPUExecutionProvider"])
image = Image.open(file).convert("RGB")
small = np.asarray(image.resize((width, height), Image.LANCZOS), np.float32)[None] / 255
values = session.run(None, {session.get_inputs()[0].name: small})[0][0, ..., 0]
values = Image.fromarray(values).resize(image.size, Image.BILINEAR)
Image.fromarray((np.asarray(values) > 0.5).astype(np.uint8)).save(out, "PNG")
"""

Rows = dict[str, dict[str, float]]


def timed(variants: Mapping[str, Callable[[], Any] | Worker], rounds: int) -> Rows:
    """Return the median CPU milliseconds of a call of each, or of a process, which take turns."""
    times: dict[str, list[float]] = {name: [] for name in variants}
    for call in variants.values():
        call.read() if isinstance(call, Worker) else call()
    for _ in range(rounds):
        for name, call in variants.items():
            if isinstance(call, Worker):
                times[name] += [1000 * used for _, used in call.turn(1)]
                continue
            start = time.process_time()
            call()
            times[name].append(1000 * (time.process_time() - start))
    return {name: {"ms": statistics.median(values)} for name, values in times.items()}


def cold(commands: Mapping[str, list[str]], folder: Path, rounds: int) -> Rows:
    """Return the CPU seconds and the peak memory of whole processes, which take turns.

    OUT in a command becomes a new path in `folder`. A first turn, which does not count, leaves the
    compiled modules, as an installed package has them.
    """
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    memory = dict.fromkeys(commands, 0.0)
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": ""}
    for turn in range(rounds + 1):
        for name, command in commands.items():
            out = str(folder / f"{turn} {name}")
            command = [out if argument == "OUT" else argument for argument in command]
            # A child of its own measures, since the peak of all children is one number.
            done = subprocess.run(
                [sys.executable, "-c", _CHILD, *command],
                check=True,
                capture_output=True,
                text=True,
                env=environment,
            )
            used, peak = map(float, done.stdout.split()[-2:])
            if turn == 0:
                continue
            seconds[name].append(used)
            memory[name] = max(memory[name], peak / 1000)
    return {
        name: {"CPU s": statistics.median(values), "peak MB": memory[name]}
        for name, values in seconds.items()
    }


_CHILD = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(used.ru_utime + used.ru_stime, used.ru_maxrss)
"""


def function_of(folder: Path, exporter: str, name: str) -> Callable[..., Any]:
    """Return a function of an export, run on one thread."""
    if not exporter.startswith("onnx"):
        return EXPORTERS[exporter].load(folder)[name]
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        str(folder / f"{name}.onnx"), options, providers=["CPUExecutionProvider"]
    )
    return lambda **arrays: session.run(None, arrays)


def variants_of(
    source: str | Path, folder: Path, name: str, inputs: Mapping[str, Any], exporters: list[str]
) -> dict[str, Callable[[], Any]]:
    """Return calls of a function: of the bundle exported anew, and of its exports."""
    new = reexport(source, folder / "bundle", weights_dtype=_dtype(source))
    function = new.function(name)
    variants = {"TensorFlow": lambda: function(**inputs)}
    for exporter in exporters:
        convert(new.path, folder / exporter, exporter)
        run = function_of(folder / exporter, exporter, name)
        variants[exporter] = lambda run=run: run(**inputs)
    return variants


def _dtype(source: str | Path) -> str:
    return str(dz.load(source, runtime="tensorflow").metadata["weights_dtype"])


def with_files(bundle: Path, files: Path, path: Path) -> Path:
    """Return a copy of a bundle that holds the files of an export for ONNX Runtime."""
    shutil.copytree(bundle, path)
    shutil.copytree(files, path / "onnx")
    (path / "SHA256SUMS").write_text(sums(path))
    return path


def network_by_hand(bundle: Any, file: Path) -> None:
    """Write the network alone to an ONNX file, as Keras does it."""
    model = bundle.to_keras()
    model(np.zeros((1, *model.input_shape[1:]), np.float32))
    model.export(str(file), format="onnx", verbose=False)


def show(title: str, rows: Rows) -> None:
    """Print a table; the ratios of the first column are those to the first row."""
    print(f"\n## {title}\n")
    unit, *others = next(iter(rows.values()))
    print(f"| | {' | '.join([unit, *others])} | ratio |")
    print(f"| --- |{' ---: |' * (len(others) + 2)}")
    first = next(iter(rows.values()))[unit]
    for name, row in rows.items():
        values = " | ".join(f"{row[column]:.3g}" for column in (unit, *others))
        print(f"| {name} | {values} | {row[unit] / first:.2f} |", flush=True)


def unet(folder: Path, rounds: int) -> tuple[Rows, Rows]:
    """Measure the released U-Net: whole processes, and calls at the radiograph's own size."""
    image = folder / "radiograph.png"
    write_png(image, panoramic(0, *SIZE).image)
    radiograph = read_image(image)[None]
    variants = variants_of(
        "panoramic_unet", folder, "segment", {"images": radiograph}, ["onnx", "onnx-int8"]
    )
    bundle = dz.load(folder / "bundle")
    network, (height, width) = folder / "network.onnx", bundle.config.input_size
    network_by_hand(bundle, network)
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        str(network), options, providers=["CPUExecutionProvider"]
    )
    small = np.random.default_rng(0).random((1, height, width, 3), np.float32)
    name = session.get_inputs()[0].name
    released = dz.load("panoramic_unet", runtime="tensorflow").function("serve")
    steady = timed(
        {
            "network alone, ONNX Runtime": lambda: session.run(None, {name: small}),
            "released bundle, TensorFlow": lambda: released(images=radiograph),
            **variants,
        },
        rounds,
    )
    light, int8 = (
        with_files(bundle.path, folder / exporter, folder / f"with_{exporter}")
        for exporter in ("onnx", "onnx-int8")
    )
    predict = [sys.executable, "-m", "dentalzoo", "predict"]
    size = [str(height), str(width)]
    hand = [sys.executable, "-c", BY_HAND, str(network), str(image), "OUT", *size]
    whole = cold(
        {
            "script by hand, ONNX Runtime": hand,
            "predict, ONNX Runtime": [*predict, str(light), str(image), "--out", "OUT"],
            "predict, ONNX Runtime, int8": [*predict, str(int8), str(image), "--out", "OUT"],
            "predict, TensorFlow": [
                *(*predict, str(light), str(image), "--out", "OUT"),
                *("--runtime", "tensorflow"),
            ],
        },
        folder,
        max(1, rounds // 8),
    )
    return whole, steady


def vgg(folder: Path, rounds: int) -> Rows:
    """Measure the paper's U-Net, of random weights."""
    model = dz.build("panoramic_unet", encoder_weights=None)
    dz.export(model, folder / "random", "panoramic_unet")
    image = {"images": panoramic(0, *SIZE).image[None, ..., None]}
    return timed(variants_of(folder / "random", folder, "segment", image, ["onnx"]), rounds)


def small_detector(folder: Path, rounds: int) -> Rows:
    """Measure the detector that is made for a CPU, of random weights."""
    model = dz.build("panoramic_detection", variant="ssd_mobilenet_v1_fpn", encoder_weights=None)
    dz.export(model, folder / "random", "panoramic_detection")
    image = {"images": square(320)}
    peers = yolo_peer(image["images"][0], folder)
    variants = variants_of(folder / "random", folder, "detect", image, ["onnx"])
    return timed_beside(peers, variants, rounds)


def old_and_new(
    name: str, function: str, inputs: Mapping[str, Any], folder: Path, rounds: int
) -> Rows:
    """Measure a function of a released bundle, and of the same exported anew."""
    old = dz.load(name, runtime="tensorflow").function(function)
    variants = variants_of(name, folder, function, inputs, ["onnx"])
    peers = yolo_peer(inputs["images"][0], folder) if "images" in inputs else {}
    return timed_beside(
        peers, {"released bundle, TensorFlow": lambda: old(**inputs), **variants}, rounds
    )


def timed_beside(
    peers: Mapping[str, Worker], calls: Mapping[str, Callable[[], Any]], rounds: int
) -> Rows:
    """Measure calls and peers in turns, and end the peers."""
    rows = timed({**calls, **peers}, rounds)
    for worker in peers.values():
        worker.end()
    return rows


def square(side: int) -> np.ndarray:
    """Return noise as an image, (1, side, side, 1) uint8."""
    return np.random.default_rng(0).integers(0, 256, (1, side, side, 1), np.uint8)


def of_released(name: str, function: str, inputs: Mapping[str, Any], rounds: int) -> Rows:
    """Measure a function of a released bundle, with TensorFlow and by the ONNX file that it has."""
    bundle = dz.load(name, runtime="tensorflow")
    old, new = bundle.function(function), function_of(bundle.path / "onnx", "onnx", function)
    calls = {"TensorFlow": lambda: old(**inputs), "onnx": lambda: new(**inputs)}
    return timed(calls, rounds)


def morphable(views: np.ndarray, folder: Path, rounds: int) -> Rows:
    """Measure a jaw of two families of shapes, of random weights in int8."""
    model = dz.build("jaw_reconstruction", variant="morphable", faces=(90_000, 90_000))
    dz.export(model, folder / "random", "jaw_reconstruction", weights_dtype="int8")
    return timed(
        variants_of(folder / "random", folder, "serve", {"views": views}, ["onnx"]), rounds
    )


def yolo_peer(image: np.ndarray, folder: Path) -> dict[str, Worker]:
    """Return a process with YOLO11n of random weights, its suppression included; none offline."""
    side = len(image)
    peer = yolo.folder_of(cache_dir() / "bench" / f"yolo_{side}", side)
    if peer is None:
        return {}
    np.save(folder / "image.npy", np.repeat(image, 3, axis=-1))
    command = [python_of(peer), "-m", "peers.yolo", "serve", peer, folder / "image.npy", 1]
    return {"YOLO11n, ONNX Runtime": Worker([*command, CANDIDATES])}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few rounds")
    parser.add_argument("--json", type=Path, help="file to write the numbers to")
    options = parser.parse_args()
    rounds = 5 if options.quick else 40
    random = np.random.default_rng(0)
    views = random.integers(0, 256, (1, 10, 128, 128, 1), np.uint8)
    tables: dict[str, Rows] = {}

    def measured(title: str, rows: Rows) -> None:
        tables[title] = rows
        show(title, rows)

    with tempfile.TemporaryDirectory() as place:
        folders = [Path(place, name) for name in ("unet", "vgg", "small", "detection", "jaw")]
        for folder in folders:
            folder.mkdir()
        whole, steady = unet(folders[0], rounds)
        measured("One image, a whole process", whole)
        measured("Released U-Net, 540 x 1280", steady)
        measured("VGG-16 U-Net of the paper, 540 x 1280", vgg(folders[1], rounds // 4))
        measured("Detection, 320 x 320", small_detector(folders[2], rounds))
        detection = "panoramic_detection", "detect", {"images": square(384)}
        measured("Released detector, 384 x 384", old_and_new(*detection, folders[3], rounds))
        # The points of an export come in another order, so that only metrics can compare them.
        jaw = "jaw_reconstruction", "serve", {"views": views}
        measured("Ten views of a jaw", of_released(*jaw, rounds))
        measured("Ten views, shape model", morphable(views, folders[4], rounds))
    if options.json:
        options.json.write_text(json.dumps(tables))


if __name__ == "__main__":
    main()
