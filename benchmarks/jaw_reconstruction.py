"""Speed of jaw_reconstruction: a bundle beside ONNX Runtime, rendering the views, its input.

    python benchmarks/jaw_reconstruction.py [latency|views|input] [--bundle NAME_OR_DIR]
                                            [--threads N] [--quick]

Each argument prints one table; without an argument, all. The compared variants take turns, round
after round, so that other load slows all of them alike: read the ratios. ONNX Runtime gets a
separate environment, made once. benchmarks/README.md describes each row.
"""

import argparse
import contextlib
import dataclasses
import json
import logging
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from itertools import islice
from pathlib import Path
from statistics import median

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from peers import jaw as peer
from peers.turns import Worker, figures, python_of, show, timed

import dentalzoo as dz
from dentalzoo.bundle import reexport
from dentalzoo.bundle.hub import cache_dir
from dentalzoo.contracts import DataOptions
from dentalzoo.data.io.mesh_files import Mesh
from dentalzoo.data.jaw_pose import SCALE, find_pose
from dentalzoo.data.meshes import find_meshes
from dentalzoo.data.synthetic import upper_jaw, write_jaw_dataset
from dentalzoo.data.views import VIEWS, load_views, render_views
from dentalzoo.models import jaw_reconstruction as paper

NAME = "jaw_reconstruction"
FACES = (98_952, 99_944)  # of two families of jaws
TOLERANCE = 1e-3  # mm: all rows must predict the same points


# ---- latency -------------------------------------------------------------------------------------


def latency(options, folder: Path) -> None:
    """Measure one jaw per call: a process for each row, the calls of all in turn."""
    small, large = bundles(options, folder)
    config = small.config
    views = np.stack([synthetic_views(config.image_size)] * 2)
    views[1, 2::3] = 0  # three are missing, so that attention must be right too
    files = {"bytes": folder / "bytes.npy", "floats": folder / "floats.npy"}
    np.save(files["bytes"], views)
    np.save(files["floats"], views / np.float32(255))
    serving = [sys.executable, "-m", "peers.jaw", "serve"]
    keras = [sys.executable, __file__, "--threads", options.threads, "--serve", large.path]
    rows = {
        "Keras, compiled, float32": (keras, files["floats"], large.path),
        "serve, float32": (serving, files["bytes"], large.path / "saved_model"),
        "serve, int8": (serving, files["bytes"], small.path / "saved_model"),
    }
    environment = peer.folder_of(cache_dir() / "bench" / "onnx_runtime")
    if environment:
        python, network = python_of(environment), to_onnx(environment, large, folder)
        onnx = [python, "-m", "peers.jaw", "serve"]
        rows = {"ONNX Runtime, float32": (onnx, files["floats"], network), **rows}
    workers, facts, points, table = {}, {}, {}, []
    for name, (command, file, path) in rows.items():
        results, start = folder / "results.npz", time.time()
        where = [] if command is keras else [path]
        last = [] if command is keras else [options.threads]
        workers[name] = Worker([*command, *where, file, results, *last])
        facts[name] = workers[name].read()  # one after the other, so that each starts alone
        facts[name]["first"] -= start
        with np.load(results) as arrays:
            points[name] = arrays["points"] * (1 if command is serving else SCALE)
    check(points)
    seconds = {name: [] for name in rows}
    for _ in range(3 if options.quick else 20):
        for name, worker in workers.items():
            seconds[name] += worker.turn(5)
    seconds = {name: np.array(values) for name, values in seconds.items()}  # (calls, 2)
    first = next(iter(seconds.values()))
    for name, (_, _, path) in rows.items():
        here = figures(*np.median(seconds[name], 0) * 1e3)
        ratios = [f"{ratio:.2f}" for ratio in np.median(seconds[name] / first, 0)]
        starts = figures(facts[name]["load"], facts[name]["first"])
        sizes = figures(size_of(path) / 1e6, workers[name].end() / 1e6)
        table.append([name, here[0], ratios[0], here[1], ratios[1], *starts, *sizes])
    heads = ["one jaw", "ms", "x the first", "processor ms", "x the first", "load s",
             "start to points s", "MB on disk", "peak MB"]  # fmt: skip
    show(f"Latency of ten views {label(config)}, {options.threads} threads", heads, table)
    share = np.median(1 - seconds["serve, float32"] / seconds["serve, int8"], 0)[1]
    print(f"Decoding int8 weights is {100 * share:.0f} % of the processor time of serve.\n")


def check(points: dict[str, np.ndarray]) -> None:
    """Check that all rows predict the same points (mm): int8 decodes to the weights of float32."""
    expected = points["serve, float32"]
    for name, predicted in points.items():
        distance = np.abs(predicted - expected).max()
        if not distance < TOLERANCE:
            raise SystemExit(
                f"{name} must predict the points of serve to {TOLERANCE:g} mm. "
                f"Received: {distance:.3g} mm"
            )


def to_onnx(environment: Path, bundle, folder: Path) -> Path:
    """Write the network of a bundle as ONNX."""
    config = bundle.metadata["config"]
    settings, weights = folder / "settings.json", folder / "weights.npz"
    settings.write_text(json.dumps({**config, "views": VIEWS}))
    np.savez(weights, **named_weights(bundle.to_keras()))
    command = [python_of(environment), "-m", "peers.jaw", "onnx", settings, weights]
    network = folder / "network.onnx"
    made = subprocess.run([*command, network], cwd=Path(__file__).parent)
    if made.returncode:
        raise SystemExit("the network could not be written as ONNX")
    return network


def named_weights(model) -> dict[str, np.ndarray]:
    """Return weights by names that are the same in each process: Keras numbers layers globally."""
    weights, counts = {}, Counter()
    for part in ("encoder", "decoder"):
        for layer in model.get_layer(part).layers:
            name, kind = layer.name, type(layer).__name__
            if kind in ("Conv2D", "BatchNormalization") and name != "squeeze":
                name = f"{kind}_{counts[kind]}"
                counts[kind] += 1
            for weight in layer.weights:
                weights[f"{name}/{weight.path.split('/', 1)[1]}"] = np.asarray(weight)
    return weights


def serve(path: str, views: str, results: str, threads: int) -> None:
    """Serve the Keras model in a worker process."""
    use_threads(threads)
    import tensorflow as tf

    start = time.perf_counter()
    model = dz.load(path).to_keras()
    seconds = time.perf_counter() - start
    call = tf.function(lambda views: model(views, training=False))
    peer.answer_jaw(
        lambda views: {"points": call(views).numpy()}, seconds, np.load(views), Path(results)
    )


# ---- views ---------------------------------------------------------------------------------------


def views(options, folder: Path) -> None:
    """Measure the rendering of the ten views of a jaw beside the network that reads them."""
    use_threads(options.threads)
    small, large = bundles(options, folder)
    config = small.config
    mesh, images = posed_jaw(), synthetic_views(config.image_size)
    ways = {
        "serve, int8": lambda: small.serve(images),
        "serve, float32": lambda: large.serve(images),
    }
    with contextlib.suppress(dz.DentalzooError):  # no Open3D
        render_views(mesh, 32)
        for side in (128, 224):
            ways[f"render_views, {side}x{side}"] = lambda side=side: render_views(mesh, side)
    if len(ways) == 2:
        print("Open3D cannot be imported: no rows for render_views\n")
    seconds = {name: [] for name in ways}
    for number in range(3 if options.quick else 16):
        for name, way in ways.items():
            took = timed(way)
            if number:  # the first round traces
                seconds[name].append(took)
    seconds = {name: np.array(values) for name, values in seconds.items()}
    first, table = next(iter(seconds.values())), []
    for name, here in seconds.items():
        ms = figures(*np.median(here, 0) * 1e3)
        ratios = [f"{ratio:.2f}" for ratio in np.median(here / first, 0)]
        table.append([name, ms[0], ratios[0], ms[1], ratios[1]])
    heads = ["one jaw, ten views", "ms", "x serve", "processor ms", "x serve"]
    vertices = f"{len(mesh.vertices):,} vertices"
    show(f"Views of a jaw of {vertices}, {options.threads} threads", heads, table)


# ---- input ---------------------------------------------------------------------------------------


def inputs(options, folder: Path) -> None:
    """Measure jaws per second of the ways to make batches, and of the training step."""
    use_threads(options.threads)
    config = configured(options)
    count = 3 * config.batch_size
    try:
        data = write_jaw_dataset(folder / "jaws", count, val_fraction=0)
        ways = ways_to_batch(data, config, folder)
    except dz.DentalzooError as error:  # no Open3D
        print(f"The input cannot be measured: {error}\n")
        return
    step = training_step(data, config, folder)
    rates = {name: [] for name in [*ways, "step"]}
    for _ in range(2 if options.quick else 5):
        for name, rate in [*ways.items(), ("step", step)]:
            rates[name].append(rate(count))
    medians, table = {name: median(values) for name, values in rates.items()}, []
    for name in ways:
        ratios = medians[name] / medians["load_views in a loop"], medians[name] / medians["step"]
        table.append([name, *figures(medians[name], *ratios)])
    table.append(["training step", *figures(medians["step"]), "", "1"])
    heads = [f"variant {options.variant}", "jaws/s", "x the loop", "x training step"]
    show(f"Input and training step, {options.threads} threads", heads, table)


def ways_to_batch(data: Path, config, folder: Path) -> dict:
    """Return name -> function of a number of jaws that returns jaws per second."""
    samples = find_meshes(data, "train").samples
    method = "order" if config.pairs == "index" else config.sampling
    own = config.image_size, config.channels, config.num_points, method

    def loop(_):
        start, few = time.perf_counter(), samples[:4]
        for sample in few:
            load_views(sample, *own)
        return len(few) / (time.perf_counter() - start)

    def steady(chosen, cache=None):
        options = DataOptions("train", training=True, epochs=range(10**5), cache=cache)
        stream = iter(paper.make_dataset(data, chosen, options))

        def rate(count):
            for _ in islice(stream, 4):  # empties the buffers, which are not measured
                pass
            start, seen = time.perf_counter(), 0
            while seen < count:
                seen += len(next(stream)["views"])
            return seen / (time.perf_counter() - start)

        return rate

    return {
        "load_views in a loop": loop,
        "dentalzoo, memory cache": steady(config),
        "dentalzoo, folder cache": steady(config, folder / "cache"),
        "dentalzoo, no views hidden": steady(dataclasses.replace(config, missing_views=0.0)),
    }


def training_step(data: Path, config, folder: Path):
    """Return a function that returns the jaws per second of the step on a prepared batch."""
    model = paper.build_model(config)
    # As in the recipe, where the shapes come from a file.
    model.get_layer("decoder").get_layer("morphable").trainable = False
    paper.compile_model(model, config, 1000)
    options = DataOptions("train", cache=folder / "cache")
    batch = next(iter(paper.make_dataset(data, config, options)))
    pair = batch["views"], batch["points"]
    model.train_on_batch(*pair)  # traces

    def rate(_):
        start = time.perf_counter()
        model.train_on_batch(*pair)
        return len(pair[0]) / (time.perf_counter() - start)

    return rate


# ---- shared by the tables ------------------------------------------------------------------------

TABLES = {"latency": latency, "views": views, "input": inputs}


def bundles(options, folder: Path) -> tuple:
    """Return the bundle to measure in int8 and, with the same weights decoded, in float32."""
    if not (folder / "int8").exists():
        if options.bundle:
            try:
                own = dz.load(options.bundle)
            except dz.DentalzooError as error:
                raise SystemExit(f"{error}") from None
            model, config = own.to_keras(), own.config
        else:
            config = configured(options)
            model = random_weights(paper.build_model(config))
        if (config.encoder, config.decoder) != ("convolutions", "morphable") or not config.faces:
            raise SystemExit("the bundle must be of the variant morphable")
        dz.export(model, folder / "int8", NAME, config, weights_dtype="int8")
        reexport(folder / "int8", folder / "float32")
    return dz.load(folder / "int8"), dz.load(folder / "float32")


def configured(options):
    """Return the config of the variant with two families of jaws."""
    config = paper.VARIANTS[options.variant]
    return config if config.faces else dataclasses.replace(config, faces=FACES)


def random_weights(model):
    """Randomise norms, biases and coefficients of a model; most of their initial values are 0."""
    random = np.random.default_rng(0)
    for variable in model.weights:
        if variable.path.endswith("code/kernel"):
            variable.assign(random.normal(0, 0.1, variable.shape))
        elif len(variable.shape) == 1 and not variable.path.startswith("morphable"):
            variable.assign(random.uniform(0.5, 1.5, variable.shape))
    return model


def posed_jaw() -> Mesh:
    """Return a synthetic jaw in the frame of the cameras."""
    jaw = upper_jaw(0)
    mesh = Mesh(jaw.vertices, jaw.faces)
    return Mesh(find_pose(mesh).apply(jaw.vertices), jaw.faces)


def synthetic_views(side: int) -> np.ndarray:
    """Return the views (10, S, S, 1) uint8 of a synthetic jaw, or noise if Open3D is missing."""
    try:
        return render_views(posed_jaw(), side)
    except dz.DentalzooError:
        return np.random.default_rng(0).integers(1, 256, (VIEWS, side, side, 1), np.uint8)


def use_threads(count: int) -> None:
    import tensorflow as tf

    with contextlib.suppress(RuntimeError):  # already initialised, for a table before
        tf.config.threading.set_intra_op_parallelism_threads(count)
        tf.config.threading.set_inter_op_parallelism_threads(count)


def size_of(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


def label(config) -> str:
    return f"{config.image_size}x{config.image_size}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("table", choices=TABLES, nargs="?", help="table to print (default: all)")
    parser.add_argument("--bundle", help="of the variant morphable (default: random weights)")
    parser.add_argument("--threads", type=int, default=2, help="threads and cores (default 2)")
    parser.add_argument("--quick", action="store_true", help="few rounds: a trial run")
    parser.add_argument("--serve", nargs=3, help=argparse.SUPPRESS)  # in a fresh process
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    if options.serve:
        serve(*options.serve, options.threads)
        return
    options.variant = "tiny" if options.quick else "morphable"
    if hasattr(os, "sched_setaffinity"):  # inherited by the processes that it starts
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: options.threads])
    with tempfile.TemporaryDirectory() as folder:
        for name in [options.table] if options.table else TABLES:
            TABLES[name](options, Path(folder))


if __name__ == "__main__":
    main()
