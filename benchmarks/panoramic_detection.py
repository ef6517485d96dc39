"""Speed of panoramic_detection: a bundle beside a YOLO nano, its input, its suppression.

    python benchmarks/panoramic_detection.py [latency|input|nms] [--bundle NAME_OR_DIR] [--data DIR]
                                             [--threads N] [--quick]

Each argument prints one table; without an argument, all. The compared variants take turns, round
after round, so that other load slows all of them alike: read the ratios. The YOLO gets a separate
environment, made once. benchmarks/README.md describes each row.
"""

import argparse
import contextlib
import dataclasses
import json
import logging
import os
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path
from statistics import median

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from peers import yolo
from peers.turns import Worker, answer, figures, python_of, show

import dentalzoo as dz
from dentalzoo.bundle.hub import cache_dir
from dentalzoo.contracts import DataOptions
from dentalzoo.data.boxes import find_boxes
from dentalzoo.data.io.images import read_image, resize
from dentalzoo.data.synthetic import write_panoramic_dataset
from dentalzoo.models import panoramic_detection as paper

NAME, RELEASED = "panoramic_detection", "panoramic_detection.dental_radiography_v4"
VARIANT = "ssd_mobilenet_v1_fpn"  # if the released bundle is not available
SIDE = 640
CANDIDATES = 300  # boxes that enter suppression if the weights are random


# ---- latency -------------------------------------------------------------------------------------


def latency(options, folder: Path) -> None:
    """Measure one image per call: a process for each row, the calls of all in turn."""
    file, image = folder / "image.npy", resize(radiographs(options, folder, 1)[0], (SIDE, SIDE))
    np.save(file, image)
    rows = {}
    peer = yolo.folder_of(cache_dir() / "bench" / "yolo")
    if peer:
        about = json.loads((peer / "yolo11n.json").read_text())
        command = [python_of(peer), "-m", "peers.yolo", "serve", peer, file, options.threads]
        rows["YOLO11n 640x640, ONNX Runtime"] = (
            Worker([*command, CANDIDATES]),
            about["parameters"],
            (peer / "yolo11n.onnx").stat().st_size,
        )
    for name, bundle in bundles(options, folder, [image]).items():
        command = [sys.executable, __file__, "--threads", options.threads, "--serve", bundle.path]
        rows[name] = (
            Worker([*command, file]),
            bundle.to_keras().count_params(),
            sum(file.stat().st_size for file in bundle.path.rglob("*") if file.is_file()),
        )
    facts = {name: worker.read() for name, (worker, *_) in rows.items()}  # all are warm
    seconds = {name: [] for name in rows}
    for _ in range(3 if options.quick else 20):
        for name, (worker, *_) in rows.items():
            seconds[name] += worker.turn(5)
    first, table = np.array(next(iter(seconds.values()))), []
    for name, (worker, parameters, size) in rows.items():
        here = np.array(seconds[name])  # (calls, 2)
        ratios = [f"{ratio:.2f}" for ratio in np.median(here / first, 0)]
        here = figures(*np.median(here, 0) * 1e3)
        rest = figures(parameters / 1e6, size / 1e6, worker.end() / 1e6)
        pairs = [here[0], ratios[0], here[1], ratios[1]]
        table.append([name, facts[name]["candidates"], *pairs, *rest])
    heads = ["image 640x640", "candidates", "ms", "x the first", "processor ms", "x the first",
             "million parameters", "MB on disk", "peak MB"]  # fmt: skip
    show(f"Latency of one image, {options.threads} threads", heads, table)


def serve(path: str, file: str, threads: int) -> None:
    """Serve a bundle in a worker process."""
    use_threads(threads)
    bundle, image = dz.load(path), np.load(file)
    threshold = bundle.metadata["config"]["score_threshold"]
    candidates = int((bundle.raw(image)["scores"] > threshold).sum())
    answer(lambda: bundle.detect(image), {"candidates": candidates})


# ---- input ---------------------------------------------------------------------------------------


def inputs(options, folder: Path) -> None:
    """Measure images per second of the ways to make batches, and of the training step."""
    use_threads(options.threads)
    data = options.data or synthetic(options, folder)
    classes = find_boxes(data).classes
    rounds, count = (2, 32) if options.quick else (5, 160)
    table = []
    for variant in ("ssd_mobilenet_v1", VARIANT):
        config = dataclasses.replace(paper.VARIANTS[variant], classes=classes)
        ways = ways_to_batch(data, config, folder / variant)
        step = training_step(data, config, 1 if options.quick else 2)
        rates = {name: [] for name in [*ways, "step"]}
        for _ in range(rounds):
            for name, rate in [*ways.items(), ("step", step)]:
                rates[name].append(rate(count))
        medians = {name: median(values) for name, values in rates.items()}
        for name in ways:
            ratios = medians[name] / medians["plain tf.data"], medians[name] / medians["step"]
            table.append([variant, name, *figures(medians[name], *ratios)])
        table.append([variant, "training step", *figures(medians["step"]), "", "1"])
    heads = ["variant", "", "images/s", "x plain tf.data", "x training step"]
    show(f"Input and training step, {options.threads} threads", heads, table)


def ways_to_batch(data, config, folder: Path) -> dict:
    """Return name -> function of a number of images that returns images per second."""
    files = [str(sample.image) for sample in find_boxes(data, "train").samples]

    def ours(chosen, cache=None):
        options = DataOptions("train", training=True, epochs=range(10**4), cache=cache)
        return paper.make_dataset(data, chosen, options)

    def steady(dataset):
        batches = iter(dataset)

        def rate(count):
            for _ in islice(batches, 4):  # empties the buffers, which are not measured
                pass
            start, seen = time.perf_counter(), 0
            while seen < count:
                seen += len(next(batches)["image"])
            return seen / (time.perf_counter() - start)

        return rate

    def cold(count):
        start, seen = time.perf_counter(), 0
        for batch in paper.make_dataset(data, config, DataOptions("train", training=True)):
            seen += len(batch["image"])
        return seen / (time.perf_counter() - start)

    ours(config, folder)  # writes its cache
    return {
        "plain tf.data": steady(plain(files, config)),
        "dentalzoo, first epoch": cold,
        "dentalzoo, memory cache": steady(ours(config)),
        "dentalzoo, folder cache": steady(ours(config, folder)),
        "dentalzoo, no augmentation": steady(ours(dataclasses.replace(config, augmentation=None))),
    }


def plain(files: list[str], config):
    """Decode and resize the files in every epoch again; augment nothing and read no boxes."""
    import tensorflow as tf

    def read(file):
        image = tf.io.decode_image(tf.io.read_file(file), 3, expand_animations=False)
        return tf.image.resize(image, config.input_size, antialias=True) / 255.0

    dataset = tf.data.Dataset.from_tensor_slices(files).shuffle(len(files)).repeat()
    dataset = dataset.map(read, num_parallel_calls=tf.data.AUTOTUNE).batch(config.batch_size)
    return dataset.map(lambda images: {"image": images}).prefetch(2)


def training_step(data, config, steps: int):
    """Return a function that returns the images per second of the step on a prepared batch."""
    model = paper.build_model(config)
    paper.compile_model(model, config, 1000)
    batch = next(iter(paper.make_dataset(data, config, DataOptions("train"))))
    pair = batch["image"], {key: batch[key] for key in ("boxes", "classes")}
    model.train_on_batch(*pair)  # traces

    def rate(count):
        start = time.perf_counter()
        for _ in range(steps):
            model.train_on_batch(*pair)
        return steps * len(batch["image"]) / (time.perf_counter() - start)

    return rate


# ---- nms -----------------------------------------------------------------------------------------


def nms(options, folder: Path) -> None:
    """Measure suppression alone and all of `detect`, at two numbers of candidates."""
    import tensorflow as tf

    use_threads(options.threads)
    images, calls, table = radiographs(options, folder, 8), {}, []
    for name, bundle in bundles(options, folder, images).items():
        config = bundle.config
        functions = paper.signatures(bundle.to_keras(), config)
        raws = [functions["raw"](image[None]) for image in images]
        every = dataclasses.replace(config, score_threshold=0.0)
        for about, here in (("as it is", config), ("every anchor", every)):
            detect = paper.signatures(bundle.to_keras(), here)["detect"]
            counts = [int(tf.math.count_nonzero(r["scores"] > here.score_threshold)) for r in raws]
            alone = suppression(here)
            calls[f"{name}, {about}"] = (
                median(counts),
                lambda i, call=functions["raw"]: call(images[i][None])["scores"].numpy(),
                lambda i, call=detect: call(images[i][None])["num"].numpy(),
                lambda i, call=alone, raws=raws: call(**raws[i])[3].numpy(),
            )
    seconds = {name: ([], [], []) for name in calls}
    for number in range(3 if options.quick else 6):
        for index in range(len(images)):
            for name, (_, *ways) in calls.items():
                for way, values in zip(ways, seconds[name], strict=True):
                    start = time.process_time()
                    way(index)
                    if number:  # the first round traces
                        values.append(time.process_time() - start)
    for name, (raw, detect, alone) in seconds.items():
        shares = [part / whole for part, whole in zip(alone, detect, strict=True)]
        row = (median(values) * 1e3 for values in (raw, detect, alone))
        table.append([name, *figures(calls[name][0], *row), f"{100 * median(shares):.1f} %"])
    heads = ["processor ms", "candidates", "raw", "detect", "suppression alone", "share of detect"]
    show(f"Suppression of overlapping boxes, {options.threads} threads", heads, table)


def suppression(config):
    """Return a function that does what `detect` does after `raw`."""
    import tensorflow as tf

    @tf.function
    def suppress(boxes, scores):
        return tf.image.combined_non_max_suppression(
            boxes[:, :, None],
            scores,
            config.max_per_class,
            config.max_detections,
            config.nms_iou,
            config.score_threshold,
        )

    return suppress


# ---- shared by the tables ------------------------------------------------------------------------

TABLES = {"latency": latency, "input": inputs, "nms": nms}


def bundles(options, folder: Path, images: list) -> dict:
    """Return name -> bundle: the one to measure, and its network for images of 640x640."""
    try:
        own = dz.load(options.bundle or RELEASED)
        random, name = False, own.name
    except dz.DentalzooError as error:
        if options.bundle:
            raise SystemExit(f"{error}") from None
        if not options.reported:
            print(f"{RELEASED} is not available: {VARIANT} with random weights instead\n")
            options.reported = True
        random, name = True, f"{VARIANT}, random weights"
        config = paper.VARIANTS[VARIANT]
        own = export(random_weights(paper.build_model(config)), config, images, folder / "own")
    config = own.config
    measured = {f"{name}, {label(config.input_size)}": own}
    if config.input_size != (SIDE, SIDE):
        config = dataclasses.replace(config, input_size=(SIDE, SIDE))
        model = paper.build_model(config)
        for here, there in zip(model.weights, own.to_keras().weights, strict=True):
            here.assign(there)
        if random:
            large = export(model, config, images, folder / "large")
        else:
            large = dz.export(model, folder / "large", NAME, config)
        measured[f"its network at {label(config.input_size)}"] = large
    return measured


def export(model, config, images: list, path: Path):
    """Export random weights with a threshold that `CANDIDATES` boxes of an image pass."""
    raw = paper.signatures(model, config)["raw"]
    scores = np.concatenate([np.ravel(raw(image[None])["scores"]) for image in images])
    threshold = float(np.sort(scores)[-CANDIDATES * len(images) - 1])
    return dz.export(model, path, NAME, dataclasses.replace(config, score_threshold=threshold))


def random_weights(model):
    """Initialise a model as proposed by He et al.: with its own start, all scores are alike."""
    random = np.random.default_rng(0)
    for variable in model.trainable_weights:
        shape = tuple(variable.shape)
        if len(shape) > 1:
            depthwise = shape[-1] == 1
            inputs = np.prod(shape[:2] if depthwise else shape[:-1])
            variable.assign(random.normal(0, (2 / inputs) ** 0.5, shape))
    return model


def radiographs(options, folder: Path, count: int) -> list[np.ndarray]:
    """Return radiographs (H, W, 3) uint8."""
    samples = find_boxes(options.data or synthetic(options, folder)).samples[:count]
    return [read_image(sample.image, 3) for sample in samples]


def synthetic(options, folder: Path) -> Path:
    """Write a data set of synthetic radiographs of a usual size, once."""
    data = folder / "radiographs"
    if not data.is_dir():
        write_panoramic_dataset(data, 24 if options.quick else 48, 0, 540, 1280)
    return data


def use_threads(count: int) -> None:
    import tensorflow as tf

    with contextlib.suppress(RuntimeError):  # already initialised, for a table before
        tf.config.threading.set_intra_op_parallelism_threads(count)
        tf.config.threading.set_inter_op_parallelism_threads(count)


def label(size: tuple[int, int]) -> str:
    return f"{size[1]}x{size[0]}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("table", choices=TABLES, nargs="?", help="table to print (default: all)")
    parser.add_argument("--bundle", help=f"default {RELEASED}, or random weights without it")
    parser.add_argument("--data", help="radiographs with boxes (default: synthetic ones)")
    parser.add_argument("--threads", type=int, default=2, help="threads and cores (default 2)")
    parser.add_argument("--quick", action="store_true", help="few rounds: a trial run")
    parser.add_argument("--serve", nargs=2, help=argparse.SUPPRESS)  # in a fresh process
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    if options.serve:
        serve(*options.serve, options.threads)
        return
    if hasattr(os, "sched_setaffinity"):  # inherited by the processes that it starts
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: options.threads])
    options.reported = False
    with tempfile.TemporaryDirectory() as folder:
        for name in [options.table] if options.table else TABLES:
            TABLES[name](options, Path(folder))


if __name__ == "__main__":
    main()
