"""Speed of jaw_reconstruction: a bundle beside ONNX Runtime, drawing the views, its input.

    python benchmarks/jaw_reconstruction.py [latency|views|input] [--bundle NAME_OR_DIR]
                                            [--threads N] [--quick]

Each word prints one table; without a word, all. What is compared runs in turn, round after round,
so that a busy machine slows all of it alike: read the ratios. ONNX Runtime gets an environment of
its own, made once. benchmarks/README.md says what each row is.
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

NAME, RELEASED = "jaw_reconstruction", "jaw_reconstruction.jaws_and_crowns_v1"
FACES = (98_952, 99_944)  # of two families, in place of a bundle that is not there
NEAR = 1e-3  # mm: what is compared finds the same points


# ---- latency -------------------------------------------------------------------------------------


def latency(options, folder: Path) -> None:
    """One jaw a call: a process for each row, the calls of all in turn."""
    small, large = bundles(options, folder)
    config = small.config
    views = np.stack([drawn_views(config.image_size)] * 2)
    views[1, 2::3] = 0  # three are missing, which only attention tells
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
    place = peer.folder_of(cache_dir() / "bench" / "onnx_runtime")
    if place:
        python, network = python_of(place), to_onnx(place, large, folder)
        onnx = [python, "-m", "peers.jaw", "serve"]
        rows = {"ONNX Runtime, float32": (onnx, files["floats"], network), **rows}
    workers, facts, points, table = {}, {}, {}, []
    for name, (command, file, path) in rows.items():
        found, start = folder / "found.npz", time.time()
        where = [] if command is keras else [path]
        last = [] if command is keras else [options.threads]
        workers[name] = Worker([*command, *where, file, found, *last])
        facts[name] = workers[name].read()  # one after the other, so that each starts alone
        facts[name]["first"] -= start
        with np.load(found) as arrays:
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
    """All rows find the same points, in mm: those of int8 decode to the weights of float32."""
    true = points["serve, float32"]
    for name, found in points.items():
        far = np.abs(found - true).max()
        if not far < NEAR:
            raise SystemExit(f"{name} finds other points: {far:.3g} mm from those of serve")


def to_onnx(place: Path, bundle, folder: Path) -> Path:
    """The network of a bundle as ONNX."""
    config = bundle.metadata["config"]
    settings, weights = folder / "settings.json", folder / "weights.npz"
    settings.write_text(json.dumps({**config, "views": VIEWS}))
    np.savez(weights, **named_weights(bundle.to_keras()))
    command = [python_of(place), "-m", "peers.jaw", "onnx", settings, weights]
    network = folder / "network.onnx"
    made = subprocess.run([*command, network], cwd=Path(__file__).parent)
    if made.returncode:
        raise SystemExit("the network cannot be written as ONNX")
    return network


def named_weights(model) -> dict[str, np.ndarray]:
    """Weights by names that are the same in each process: Keras counts on from layer to layer."""
    found, counts = {}, Counter()
    for part in ("encoder", "decoder"):
        for layer in model.get_layer(part).layers:
            name, kind = layer.name, type(layer).__name__
            if kind in ("Conv2D", "BatchNormalization") and name != "squeeze":
                name = f"{kind}_{counts[kind]}"
                counts[kind] += 1
            for weight in layer.weights:
                found[f"{name}/{weight.path.split('/', 1)[1]}"] = np.asarray(weight)
    return found


def serve(path: str, views: str, found: str, threads: int) -> None:
    """What the worker of the Keras model does."""
    use_threads(threads)
    import tensorflow as tf

    start = time.perf_counter()
    model = dz.load(path).to_keras()
    seconds = time.perf_counter() - start
    call = tf.function(lambda views: model(views, training=False))
    peer.answer_jaw(
        lambda views: {"points": call(views).numpy()}, seconds, np.load(views), Path(found)
    )


# ---- views ---------------------------------------------------------------------------------------


def views(options, folder: Path) -> None:
    """Drawing the ten views of a jaw beside what the network makes of them."""
    use_threads(options.threads)
    small, large = bundles(options, folder)
    config = small.config
    mesh, images = posed_jaw(), drawn_views(config.image_size)
    ways = {
        "serve, int8": lambda: small.serve(images),
        "serve, float32": lambda: large.serve(images),
    }
    with contextlib.suppress(dz.DentalzooError):  # no Open3D
        render_views(mesh, 32)
        for side in (128, 224):
            ways[f"render_views, {side}x{side}"] = lambda side=side: render_views(mesh, side)
    if len(ways) == 2:
        print("Open3D cannot be imported: no row of drawing\n")
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
    """Jaws per second of the ways to make batches, and of the training step that takes them."""
    use_threads(options.threads)
    config = configured(options)
    count = 3 * config.batch_size
    try:
        data = write_jaw_dataset(folder / "jaws", count, val_fraction=0)
        ways = ways_to_batch(data, config, folder)
    except dz.DentalzooError as error:  # no Open3D
        print(f"No table of the input: {error}\n")
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
    """Name -> function of a number of jaws that gives jaws per second."""
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
        found = iter(paper.make_dataset(data, chosen, options))

        def rate(count):
            for _ in islice(found, 4):  # so that no filled buffer is measured
                pass
            start, seen = time.perf_counter(), 0
            while seen < count:
                seen += len(next(found)["views"])
            return seen / (time.perf_counter() - start)

        return rate

    return {
        "load_views in a loop": loop,
        "dentalzoo, memory cache": steady(config),
        "dentalzoo, folder cache": steady(config, folder / "cache"),
        "dentalzoo, no views hidden": steady(dataclasses.replace(config, missing_views=0.0)),
    }


def training_step(data: Path, config, folder: Path):
    """A function that gives the jaws per second of the step on a batch that lies ready."""
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


# ---- what the tables share -----------------------------------------------------------------------

TABLES = {"latency": latency, "views": views, "input": inputs}


def bundles(options, folder: Path) -> tuple:
    """The bundle to measure stored as int8 and, with the weights that these are, as float32."""
    if not (folder / "int8").exists():
        try:
            found = dz.load(options.bundle or RELEASED)
            model, config = found.to_keras(), found.config
        except dz.DentalzooError as error:
            if options.bundle:
                raise SystemExit(f"{error}") from None
            print(f"{RELEASED} is not there: {options.variant} with random weights in its place\n")
            config = configured(options)
            model = drawn_weights(paper.build_model(config))
        if (config.encoder, config.decoder) != ("convolutions", "morphable") or not config.faces:
            raise SystemExit("a network of the variant morphable is compared, no other")
        dz.export(model, folder / "int8", NAME, config, weights_dtype="int8")
        reexport(folder / "int8", folder / "float32")
    return dz.load(folder / "int8"), dz.load(folder / "float32")


def configured(options):
    """The variant with two families of jaws."""
    config = paper.VARIANTS[options.variant]
    return config if config.faces else dataclasses.replace(config, faces=FACES)


def drawn_weights(model):
    """A model whose norms, biases and coefficients are not those of the start, most of them 0."""
    random = np.random.default_rng(0)
    for variable in model.weights:
        if variable.path.endswith("code/kernel"):
            variable.assign(random.normal(0, 0.1, variable.shape))
        elif len(variable.shape) == 1 and not variable.path.startswith("morphable"):
            variable.assign(random.uniform(0.5, 1.5, variable.shape))
    return model


def posed_jaw() -> Mesh:
    """A drawn jaw in the frame of the cameras."""
    drawn = upper_jaw(0)
    mesh = Mesh(drawn.vertices, drawn.faces)
    return Mesh(find_pose(mesh).apply(drawn.vertices), drawn.faces)


def drawn_views(side: int) -> np.ndarray:
    """The views (10, S, S, 1) uint8 of a drawn jaw, or noise where Open3D is missing."""
    try:
        return render_views(posed_jaw(), side)
    except dz.DentalzooError:
        return np.random.default_rng(0).integers(1, 256, (VIEWS, side, side, 1), np.uint8)


def use_threads(count: int) -> None:
    import tensorflow as tf

    with contextlib.suppress(RuntimeError):  # it runs already, as a table before wanted
        tf.config.threading.set_intra_op_parallelism_threads(count)
        tf.config.threading.set_inter_op_parallelism_threads(count)


def size_of(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


def label(config) -> str:
    return f"{config.image_size}x{config.image_size}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("table", choices=TABLES, nargs="?", help="all where not given")
    parser.add_argument("--bundle", help=f"{RELEASED}; random weights where it is not there")
    parser.add_argument("--threads", type=int, default=2, help="and cores, of everything")
    parser.add_argument("--quick", action="store_true", help="few rounds: a try, no measurement")
    parser.add_argument("--serve", nargs=3, help=argparse.SUPPRESS)  # in a fresh process
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    if options.serve:
        serve(*options.serve, options.threads)
        return
    options.variant = "tiny" if options.quick else "morphable"
    if hasattr(os, "sched_setaffinity"):  # for the processes it starts, too
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: options.threads])
    with tempfile.TemporaryDirectory() as folder:
        for name in [options.table] if options.table else TABLES:
            TABLES[name](options, Path(folder))


if __name__ == "__main__":
    main()
