"""Speed and memory of panoramic_unet: its input, its training step, a bundle in service.

    python benchmarks/panoramic_unet.py [--bundle NAME_OR_DIR] [--data DIR] [--quick] [--json FILE]

The compared variants take turns, round after round, so that other load slows all of them alike:
read the ratios. benchmarks/README.md describes each row.
"""

import argparse
import dataclasses
import datetime
import io
import json
import logging
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from PIL import Image

from dentalzoo import load, registry, verify
from dentalzoo.contracts import DataOptions
from dentalzoo.data.masks import find_masks
from dentalzoo.data.pipeline.augmentation import Augment, albumentations
from dentalzoo.data.synthetic import panoramic, write_panoramic_dataset
from dentalzoo.models import panoramic_unet as unet
from dentalzoo.models.panoramic_unet.dataset import AUGMENTATIONS

RECIPES = {"paper": "paper 256x256", "light": "radiograph 256x640"}  # variant -> its augmentation
LOOP, OURS = "plain Python loop", "dentalzoo, memory cache"
SIZES = {"256x256": (256, 256), "512x512": (512, 512), "1280x540": (540, 1280)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bundle", default="panoramic_unet.panoramic_teeth_v2")
    parser.add_argument("--data", help="annotated radiographs (default: synthetic ones)")
    parser.add_argument("--quick", action="store_true", help="few rounds: a trial run")
    parser.add_argument("--json", metavar="FILE", help="file to write the tables to as well")
    parser.add_argument("--peak-of", metavar="SIZE", help=argparse.SUPPRESS)  # in a fresh process
    options = parser.parse_args()
    if options.peak_of:
        print(peak(options.bundle, options.peak_of))
        return
    verify(options.bundle)  # before minutes of measurements
    logging.disable(logging.INFO)
    with tempfile.TemporaryDirectory() as folder:
        count, synthetic = 8 if options.quick else 24, Path(folder) / "radiographs"
        radiographs = options.data or write_panoramic_dataset(synthetic, count, 0, 540, 1280, 0)
        inputs, speed = measure_inputs(radiographs, Path(folder), options.quick)
    steps = measure_steps(speed, options.quick)
    tables = [inputs, steps, measure_service(options.bundle, options.quick)]
    import tensorflow as tf

    gpus = len(tf.config.list_physical_devices("GPU")) or "no"
    report = {
        "date": datetime.date.today().isoformat(),
        "machine": f"{os.cpu_count()} cores, {gpus} GPU, Python {platform.python_version()}",
        "load": f"{os.getloadavg()[1]:.1f} over five minutes, this process included",
        "quick": options.quick,
    }
    print(*(f"{key}: {value}" for key, value in report.items()), sep="\n")
    for table in tables:
        lines = [table["heads"], ["---", *["---:"] * (len(table["heads"]) - 1)], *table["rows"]]
        print(f"\n{table['title']}\n", *(f"| {' | '.join(line)} |" for line in lines), sep="\n")
    if options.json:
        Path(options.json).write_text(json.dumps({**report, "tables": tables}, indent=2) + "\n")


def measure_inputs(radiographs, folder: Path, quick: bool) -> tuple[dict, dict[str, float]]:
    """Measure images per second of each way to make batches; return a table, and our rates."""
    rounds, images = (2, 32) if quick else (5, 240)
    rows, speed = {}, {}
    for variant in RECIPES:
        config = registry.configure("panoramic_unet", variant)
        ways = ways_to_batch(radiographs, config, folder / variant)
        rates = {way: [] for way in ways}
        for _ in range(rounds):
            for way, start in ways.items():
                count = images // config.batch_size // (4 if way == LOOP else 1)
                rates[way].append(batches_per_second(start(), count) * config.batch_size)
        medians = {way: statistics.median(values) for way, values in rates.items()}
        speed[variant] = medians[OURS]
        for way, value in medians.items():
            rows.setdefault(way, [way]).extend(figures(value, value / medians[LOOP]))
    heads = [head for name in RECIPES.values() for head in (f"{name}: images/s", "x the loop")]
    title = "Input: batches of radiographs and masks, augmented"
    return {"title": title, "heads": ["", *heads], "rows": list(rows.values())}, speed


def ways_to_batch(radiographs, config, folder: Path) -> dict:
    """Return name -> function that starts an endless iterator of batches; none runs by itself."""
    plain = dataclasses.replace(config, augmentation=None)

    def ours(chosen, cache=None):
        options = DataOptions(training=True, epochs=range(10**4), cache=cache)
        dataset = unet.make_dataset(radiographs, chosen, options)
        return lambda: iter(dataset)

    apart = once_per_sample(unet.make_dataset(radiographs, plain), config)
    return {
        LOOP: lambda: plain_loop(find_masks(radiographs).samples, config),
        "augmentation entered once per sample": lambda: iter(apart),
        OURS: ours(config),
        "dentalzoo, file cache": ours(config, folder),
        "dentalzoo, no augmentation": ours(plain),
    }


def batches_per_second(batches, count: int) -> float:
    """Measure the speed in the steady state: the clock starts when the buffers are empty."""
    for _ in islice(batches, 4):
        pass
    start = time.perf_counter()
    for _ in islice(batches, count):
        pass
    return count / (time.perf_counter() - start)


def plain_loop(samples, config):
    """Read, resize, augment and batch the files in the obvious way, in every epoch again."""
    compose = albumentations().Compose(AUGMENTATIONS[config.augmentation]())
    height, width = config.input_size

    def read(path, mode):
        with Image.open(path) as img:
            return np.asarray(img.convert(mode).resize((width, height), Image.LANCZOS))

    batch = []
    while True:
        for sample in random.sample(samples, len(samples)):
            pair = compose(image=read(sample.image, "RGB"), mask=read(sample.mask, "L"))
            batch.append((pair["image"] / np.float32(255), pair["mask"] > 127))
            if len(batch) == config.batch_size:
                yield [np.stack(column) for column in zip(*batch, strict=True)]
                batch = []


def once_per_sample(dataset, config):
    """Augment the images of `dataset` in tf.data with one `numpy_function` per sample."""
    import tensorflow as tf

    plain = [{key: np.uint8(np.rint(value * 255)) for key, value in b.items()} for b in dataset]
    images, masks = (np.concatenate([b[key] for b in plain]) for key in ("image", "mask"))
    augment = Augment(AUGMENTATIONS[config.augmentation])

    def draw(index):
        done = augment({"image": images[index], "mask": masks[index]}, 0, int(index))
        return done["image"], done["mask"]

    def make(index):
        image, mask = tf.numpy_function(draw, [index], [tf.uint8, tf.uint8])
        return tf.ensure_shape(image, images.shape[1:]), tf.ensure_shape(mask, masks.shape[1:])

    def finish(image, mask):
        return tf.cast(image, tf.float32) / 255.0, tf.cast(mask > 127, tf.float32)

    order = tf.data.Dataset.range(len(images)).shuffle(len(images)).repeat()
    augmented = order.map(make, num_parallel_calls=tf.data.AUTOTUNE)
    return augmented.batch(config.batch_size).map(finish).prefetch(2)


def measure_steps(speed: dict[str, float], quick: bool) -> dict:
    """Measure images per second of the training step on a prepared batch, beside the input's."""
    import keras

    rounds, steps = (1, 1) if quick else (5, 1)
    models, rates = {}, {}
    for variant in RECIPES:
        config = registry.configure("panoramic_unet", variant, encoder_weights=None)
        count = 2 if quick else config.batch_size
        image = np.random.default_rng(0).random((count, *config.input_size, 3), np.float32)
        for precision in ("float32", "mixed_bfloat16"):
            keras.config.set_dtype_policy(precision)
            model = unet.build_model(config)
            unet.compile_model(model, config, steps=1000)
            models[variant, precision] = model, (image, np.float32(image[..., :1] > 0.5))
            model.train_on_batch(*models[variant, precision][1])  # traces and compiles
    for _ in range(rounds):
        for key, (model, batch) in models.items():
            start = time.perf_counter()
            for _ in range(steps):
                model.train_on_batch(*batch)
            seconds = time.perf_counter() - start
            rates.setdefault(key, []).append(steps * len(batch[0]) / seconds)
    rows = []
    for (variant, precision), values in rates.items():
        step, fed = statistics.median(values), speed[variant]
        rows.append([f"{variant}, {precision}", *figures(step, fed, fed / step)])
    heads = ["", "step: images/s", "input: images/s", "input / step"]
    return {"title": "Training: what a step consumes", "heads": heads, "rows": rows}


def measure_service(bundle: str, quick: bool) -> dict:
    """Measure latency of one image per call, and peak memory of a process that does only this."""
    rounds = 5 if quick else 30
    made = load(bundle)
    calls = {name: call_of(made, name) for name in [*SIZES, "1280x540 as PNG bytes"]}
    seconds = {name: [] for name in calls}
    for number in range(rounds + 1):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            if number:  # the first round traces
                seconds[name].append(time.perf_counter() - start)
    first = statistics.median(seconds["256x256"])
    idle = peak_in_fresh_process(bundle, "nothing")
    rows = [["loaded, not called", "", "", "", *figures(idle), ""]]
    for name, values in seconds.items():
        median, p90 = statistics.median(values), statistics.quantiles(values, n=10)[-1]
        most = peak_in_fresh_process(bundle, name)
        row = median * 1e3, p90 * 1e3, median / first, most, most - idle
        rows.append([name, *figures(*row)])
    heads = ["one image", "median ms", "p90 ms", "x 256x256", "peak MB", "MB over loaded"]
    return {"title": f"Service: {made.name}", "heads": heads, "rows": rows}


def call_of(bundle, name: str):
    """Return a call of a bundle with a grey radiograph, or its bytes, of the size in `name`."""
    size = name.split()[0]
    radiograph = Image.fromarray(panoramic(0, 540, 1280).image).resize(SIZES[size][::-1])
    pixels, stream = np.asarray(radiograph), io.BytesIO()
    if name == size:
        return lambda: bundle.serve(pixels)
    radiograph.save(stream, "PNG")
    return lambda: bundle.serve_encoded(stream.getvalue())


def peak(bundle: str, name: str) -> int:
    """Return the peak memory of this process in bytes, after three calls of one size."""
    made = load(bundle)
    for _ in range(3 if name != "nothing" else 0):
        call_of(made, name)()
    # Not ru_maxrss: a child process starts with its parent's.
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


def peak_in_fresh_process(bundle: str, name: str) -> float:
    """Return `peak` of a new process in MB (10^6 bytes)."""
    command = [sys.executable, __file__, "--bundle", bundle, "--peak-of", name]
    return int(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout) / 1e6


def figures(*values: float) -> list[str]:
    return [f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}" for value in values]


if __name__ == "__main__":
    main()
