"""Collapse, superimposed images and their use for a classifier, of defect_overlay_vae.

    python benchmarks/defect_overlay_vae.py [collapse|superimposition|classifier] [--data DIR]
                                            [--out DIR]

Each argument prints one table; without an argument, all for which there are data. Measurements are
kept in OUT, so that an interrupted run is resumed. benchmarks/README.md describes each row.
"""

import argparse
import dataclasses
import functools
import json
import logging
import math
import os
import re
import shutil
import zlib
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import cv2
import numpy as np

import dentalzoo as dz
from dentalzoo import registry
from dentalzoo.atomic import write_json
from dentalzoo.contracts import DataOptions
from dentalzoo.data.images import find_images
from dentalzoo.data.io.images import read_image, read_mask, write_png
from dentalzoo.data.synthetic import write_defect_dataset
from dentalzoo.models import defect_overlay_vae as paper
from dentalzoo.models.defect_overlay_vae.superimposition import background, composite
from dentalzoo.tasks.autoencoders import kl_divergence
from dentalzoo.tasks.options import SuperimpositionEvaluateOptions
from dentalzoo.tasks.superimposition import evaluate
from dentalzoo.tasks.superimposition.latents import separation
from dentalzoo.tasks.superimposition.scores import VISIBLE

NAME = "defect_overlay_vae"


class Measurements:
    """Measurements, key -> plain values, in a file that is written after each."""

    def __init__(self, path: Path):
        self.path = path
        self.values = json.loads(path.read_text()) if path.is_file() else {}

    def get(self, key: str, measure):
        if key not in self.values:
            self.values[key] = measure()
            write_json(self.path, self.values)
        return self.values[key]


# ---- collapse ------------------------------------------------------------------------------------

SURFACES = {  # section 4's two cracks and a pore, on three kinds of surface
    "white": {"background": 0.75, "border": 0},
    "grey": {"background": 0.5, "border": 0, "texture": "grainy"},
    "dark, inverted": {"background": 0.95, "border": 0, "invert": True},
}
RECIPES = {"few": "paper (section 4)", "robust_few": "robust"}


def collapse(options) -> None:
    """Count the runs that end with images whose codes cannot be distinguished."""
    measured = Measurements(options.out / "collapse.json")
    rows = []
    for variant, about in RECIPES.items():
        epochs = options.epochs if variant == "few" else options.robust_epochs
        trainer = None
        for surface, look in SURFACES.items():
            runs = []
            for seed in range(options.seeds):
                key = f"{variant}, {surface}, {epochs} epochs, seed {seed}"
                if key not in measured.values:
                    trainer = trainer or Trainer(variant, epochs)
                    folder = options.out / "three" / surface.partition(",")[0]
                    write_defect_dataset(
                        folder,
                        3,
                        40,
                        val_fraction=0,
                        kinds=("crack", "double_crack", "pore"),
                        **look,
                    )
                runs.append(measured.get(key, lambda: trainer.run(folder, seed)))  # noqa: B023
            collapsed = sum(run["kl"] < paper.LEAST_KL for run in runs)
            confused = sum(
                run["separation"] < paper.LEAST_SEPARATION and run["kl"] >= paper.LEAST_KL
                for run in runs
            )
            kl, apart = (np.median([run[key] for run in runs]) for key in ("kl", "separation"))
            rows.append(
                [f"{about}, {epochs * 150} steps", surface, len(runs), collapsed, confused,
                 f"{kl:.3g}", f"{apart:.3g}"]
            )  # fmt: skip
    heads = ["recipe", "surface", "runs", "KL < 0.1", "else d < 3", "median KL", "median d"]
    show("Collapse: two cracks and a pore, 500 copies each, minibatches of ten", heads, rows)


class Trainer:
    """A network that is trained from many seeds but traced once."""

    def __init__(self, variant: str, epochs: int):
        self.config = dataclasses.replace(registry.configure(NAME, variant), epochs=epochs)
        self.model = paper.build_model(self.config)
        paper.compile_model(self.model, self.config, 150 * epochs)
        self.model.optimizer.build(self.model.trainable_variables)
        self.start = [np.asarray(v) for v in self.model.optimizer.variables]

    def run(self, folder: Path, seed: int) -> dict:
        import keras

        keras.utils.set_random_seed(seed)
        fresh = paper.build_model(self.config)
        for variable, value in zip(self.model.weights, fresh.weights, strict=True):
            variable.assign(value)
        for variable, value in zip(self.model.optimizer.variables, self.start, strict=True):
            variable.assign(value)
        noise = [model.encoder.get_layer("z").seed_generator.state for model in (self.model, fresh)]
        noise[0].assign(noise[1])
        epochs = range(self.config.epochs)
        options = DataOptions("train", training=True, epochs=epochs, seed=seed)
        stream = paper.make_dataset(folder, self.config, options)
        self.model.fit(
            stream.dataset.map(lambda batch: (batch["image"],)),
            epochs=self.config.epochs,
            steps_per_epoch=150,
            shuffle=False,
            verbose=0,
        )
        image = stream.cache.arrays["image"] / np.float32(255)
        mean, log_var, _ = (np.asarray(part) for part in self.model.encoder(image))
        return {
            "kl": float(kl_divergence(mean, log_var).sum(1).mean()),
            "separation": separation(mean, log_var),
        }


# ---- superimposition -----------------------------------------------------------------------------

RECIPES_OF_MANY = {  # name -> variant, settings, methods shown
    "paper": ("paper", {}, ("bundle", "mean", "decoded")),
    "paper, leaky_relu": (
        "paper", {"hidden_activation": "leaky_relu"}, ("bundle", "mean", "decoded")
    ),
    "robust, untrained": ("robust", {"epochs": 0}, ("bundle",)),
    "robust, untrained, overlay=sum": ("robust", {"overlay": "sum"}, ("bundle",)),
    "robust": ("robust", {}, ("bundle", "mean")),
    "robust, overlay=sum": ("robust", {"overlay": "sum"}, ("bundle",)),
}  # fmt: skip
KINDS = ("crack", "double_crack", "branched_crack", "pore", "pores")
WINDOW = 64  # pixels of a magnetic tile: a third of its width


def superimposition(options) -> None:
    """Measure the successes of pairs and triples, by recipe and by the way to combine them."""
    measured = Measurements(options.out / "superimposition.json")
    rows = []
    for surface, folder in surfaces(options).items():
        for recipe, (variant, settings, methods) in RECIPES_OF_MANY.items():
            name = f"{surface} {recipe}"
            bundle = trained(options, name, folder / "train", variant, **settings)
            for part, about in PARTS.items():
                key = f"{surface}, {recipe}, {part}, {options.count}"
                scores = measured.get(key, lambda: evaluated(bundle, folder / part, options.count))  # noqa: B023
                for method in methods:
                    way = METHODS[method] or f"{bundle.metadata['config']['overlay']} (default)"
                    rows.append([surface, recipe, about, way, *figures([scores], method)])
        for part, about in PARTS.items():
            key = f"{surface}, no network, {part}, {options.count}"
            scores = measured.get(key, lambda: evaluated(Images(), folder / part, options.count))  # noqa: B023
            way = "maximum of the images"
            rows.append([surface, "no network", about, way, *figures([scores], "bundle")])
        for variant in ("few", "robust_few"):
            reports = []
            for number in range(options.sets):
                three = options.out / "sets" / f"{surface} {number}"
                choose_three(folder / "train", three, number)
                bundle = trained(options, f"{surface} {number} {variant}", three, variant)
                key = f"{surface}, {variant}, set {number}"
                reports.append(measured.get(key, lambda: evaluated(bundle, three, 4)))  # noqa: B023
            for method in ("bundle", "mean", "decoded") if reports else ():
                about = f"{options.sets} sets of 3 images"
                way = METHODS[method] or f"{bundle.metadata['config']['overlay']} (default)"
                rows.append([surface, variant, about, way, *figures(reports, method)])
    heads = ["surfaces", "recipe", "images", "combined by", "results", "success: pairs",
             "triples", "all", "sources visible", "background error"]  # fmt: skip
    show("Superimposition: every source visible, and the background kept", heads, rows)


PARTS = {"train": "training images", "val": "unseen images"}
METHODS = {  # key of the report -> the way to combine images; None: the bundle's default
    "bundle": None,
    "sum": "plain sum",
    "mean": "mean",
    "decoded": "maximum of the decoded images",
}


def surfaces(options) -> dict[str, Path]:
    """Return name -> folder with train/ and val/, written if it does not exist yet."""
    folders = {"synthetic": options.out / "synthetic"}
    if not folders["synthetic"].is_dir():
        for part, count, seed in (("train", 80, 0), ("val", 40, 1000)):
            folder = folders["synthetic"] / part
            write_defect_dataset(folder, count, seed, WINDOW, val_fraction=0, kinds=KINDS)
    if options.data:
        folders["magnetic tiles"] = options.out / "tiles"
        if not folders["magnetic tiles"].is_dir():
            for part, samples in zip(
                ("val", "train"), split_pieces(options.data, 0.2, 0), strict=True
            ):
                write_windows(folders["magnetic tiles"] / part, samples)
    return folders


def split_pieces(data: Path, part: float, seed: int) -> tuple[list, list]:
    """Return the images of magnetic tiles in two lists, `part` of the pieces and the others.

    Every piece was photographed several times, with different light and close file numbers;
    groups of near duplicates join only some of these photographs.
    """
    samples = find_images(data).samples
    number_of = {s.name: int(re.search(r"(\d+)$", s.image.stem)[1]) for s in samples}
    pieces, last = [], -math.inf
    for sample in sorted(samples, key=lambda s: number_of[s.name]):
        if number_of[sample.name] - last > 100:
            pieces.append([])
        pieces[-1].append(dataclasses.replace(sample, group=f"piece {len(pieces)}"))
        last = number_of[sample.name]
    random, parts = np.random.default_rng(seed), ([], [])
    for label in sorted({piece[0].label for piece in pieces}):
        here = [piece for piece in pieces if piece[0].label == label]
        for rank, index in enumerate(random.permutation(len(here))):
            parts[rank >= round(part * len(here))].append(here[index])
    return tuple([sample for piece in pieces for sample in piece] for pieces in parts)


def write_windows(folder: Path, samples, clear: bool = False) -> None:
    """Write a window of each image: one with its defect at a random position, or one without it.

    A defect that is longer than the window is cut. `defects.csv` holds the kinds and `index.csv`
    the groups of near duplicates.
    """
    kinds, groups = ["id,kind"], ["id,group"]
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for sample in samples:
        random = np.random.default_rng(zlib.crc32(sample.name.encode()))
        image, mask = read_image(sample.image, 1)[..., 0], read_mask(sample.mask) > 0
        window = clear_window(mask, random) if clear else defect_window(mask, random)
        if window is None:
            continue
        name = sample.name.replace("/", "_") + "_clear" * clear
        write_png(folder / "images" / f"{name}.png", image[window])
        write_png(folder / "masks" / f"{name}.png", np.uint8(255) * mask[window])
        kinds.append(f"{name},{'clear' if clear else sample.label}")
        groups.append(f"{name},{sample.group}")
    (folder / "defects.csv").write_text("\n".join(kinds) + "\n")
    (folder / "index.csv").write_text("\n".join(groups) + "\n")


def defect_window(mask: np.ndarray, random) -> tuple[slice, slice] | None:
    """Return a window that contains the largest blob, or a part of it, at a random position."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(np.uint8(mask))
    if count < 2 or min(mask.shape) < WINDOW:
        return None
    largest = 1 + stats[1:, cv2.CC_STAT_AREA].argmax()
    pixel = random.permutation(np.argwhere(labels == largest))[0]
    box = stats[largest][[1, 0]], stats[largest][[3, 2]]
    window = []
    for position, start, length, side in zip(pixel, *box, mask.shape, strict=True):
        if length <= 0.8 * WINDOW:
            edge = WINDOW // 12  # distance from the window's border, where the image allows it
            first = random.integers(start + length - WINDOW + edge, start - edge + 1)
        else:
            first = position - random.integers(WINDOW // 4, 3 * WINDOW // 4)
        first = int(np.clip(first, 0, side - WINDOW))
        window.append(slice(first, first + WINDOW))
    return tuple(window)


def clear_window(mask: np.ndarray, random) -> tuple[slice, slice] | None:
    """Return a window without a defect; None if none is found."""
    if min(mask.shape) < WINDOW:
        return None
    for _ in range(100):
        starts = [int(random.integers(side - WINDOW + 1)) for side in mask.shape]
        window = tuple(slice(first, first + WINDOW) for first in starts)
        if not mask[window].any():
            return window
    return None


def choose_three(source: Path, folder: Path, number: int) -> None:
    """Copy two cracks and a pore of a data set."""
    if folder.is_dir():
        return
    random = np.random.default_rng(number)
    samples = list({sample.group: sample for sample in find_images(source).samples}.values())
    cracks, pores = ([s for s in samples if word in s.label.lower()] for word in ("crack", "pore"))
    pores = pores or [s for s in samples if "blowhole" in s.label.lower()]
    chosen = [cracks[i] for i in random.choice(len(cracks), 2, replace=False)]
    for sample in [*chosen, pores[random.integers(len(pores))]]:
        for path in (sample.image, sample.mask):
            target = folder / path.parent.name / path.name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)


def trained(options, name: str, data: Path, variant: str, **settings):
    """Return the bundle of a run, which is trained if it does not exist yet."""
    out = options.out / "runs" / name
    same = options.out / "runs" / name.removesuffix(", overlay=sum")
    if same != out and (same / "bundle").is_dir():  # the same weights
        bundle = dz.load(same)
        config = dataclasses.replace(bundle.config, **settings)
        return dz.export(bundle.to_keras(), out / "bundle", NAME, config)
    if not (out / "bundle").is_dir():
        shutil.rmtree(out, ignore_errors=True)
        if not settings.get("epochs", 1):
            return dz.export(dz.build(NAME, variant), out / "bundle", NAME)
        return dz.train(NAME, data, out, variant, val_fraction=0.0, **settings)
    return dz.load(out)


class Images:
    """Superimposition without a network: an image is its own code and its own decoded image."""

    name = "no network"

    def __init__(self):
        config = registry.configure(NAME, "robust")
        self.shape = *config.input_size, config.channels
        self.metadata = {"config": dataclasses.asdict(config) | {"averaged": 0}}

    def encode(self, images: np.ndarray) -> dict:
        images = images / np.float32(255)
        codes = images.reshape(len(images), -1)
        return {"z_mean": codes, "z_log_var": np.zeros_like(codes), "image": images}

    def decode(self, z: np.ndarray) -> dict:
        return {"image": np.clip(z, 0, 1).reshape(-1, *self.shape)}

    def overlay(self, images: np.ndarray, weights: np.ndarray) -> dict:
        images = images / np.float32(255)
        made = composite(images, background(images), weights, polarity=-1)
        return {"image": np.asarray(made)}


def evaluated(bundle, data: Path, count: int) -> dict:
    """Return what `dentalzoo evaluate` reports of every superimposed image."""
    report = evaluate(bundle, data, options=SuperimpositionEvaluateOptions(count=count))
    kept = "sets", "faint", "unjudged_sets", "per_set", "methods"
    scores = {key: report["superimposition"][key] for key in kept}
    return {**scores, "mae": report["reconstruction"]["mae"]}


def figures(reports: list[dict], method: str) -> list[str]:
    sets = [one for report in reports for one in report["per_set"]]
    scores = [(len(one["sources"]), one[method]) for one in sets]

    def percent(values):
        return f"{100 * np.mean(values):.1f} %" if values else ""

    return [
        len(scores),
        *(percent([s["success"] for size, s in scores if size == n]) for n in (2, 3)),
        percent([s["success"] for _, s in scores]),
        percent([part >= VISIBLE for _, s in scores for part in s["recovered"]]),
        f"{np.median([s['background_error'] for _, s in scores]):.3f}",
    ]


# ---- classifier ----------------------------------------------------------------------------------

LABELS = "crack", "blowhole"
ARMS = {  # name -> superimposed images added, flips and shifts and brightness
    "original": (False, False),
    "+ superimposed images": (True, False),
    "+ flips, shifts, brightness": (False, True),
    "+ both": (True, True),
}


def classifier(options) -> None:
    """Answer the paper's open question: does a classifier gain from superimposed images?"""
    if not options.data:
        raise SystemExit("classifier needs --data DIR with MT_Crack/ and MT_Blowhole/")
    measured = Measurements(options.out / "classifier.json")
    runs = {}
    for seed in range(options.classifier_seeds):
        key = f"seed {seed}, {options.each} each, {options.superimposed} added, {options.steps}"
        runs[seed] = measured.get(key, lambda s=seed: compare(options, s))
    rows = []
    for arm in ARMS:
        scores = {k: [run[arm][k] for run in runs.values()] for k in next(iter(runs.values()))[arm]}
        gain = [run[arm]["auc"] - run["original"]["auc"] for run in runs.values()]
        spread = [f"{np.mean(v):.3f} ± {np.std(v, ddof=1):.3f}" for v in (*scores.values(), gain)]
        rows.append([arm, *spread, f"{sum(g > 0 for g in gain)} of {len(gain)}"])
    heads = [
        "training set",
        "AUC, mean of both labels",
        "both labels correct",
        "gain in AUC",
        "seeds with a gain",
    ]
    show(f"Classifier of magnetic tiles: {len(runs)} seeds, mean ± std", heads, rows)


def compare(options, seed: int) -> dict:
    """Split by pieces, train a VAE on the training images, and a classifier for each arm."""
    learn = options.out / "classifier" / f"{seed}" / "learn"
    random, chosen = np.random.default_rng(seed), []
    training, kept = split_pieces(options.data, 0.5, seed)
    for label in sorted({sample.label for sample in training}):
        here = [sample for sample in training if sample.label == label]
        rows = random.permutation(len(here))[: options.each]
        chosen += [here[i] for i in sorted(rows)]
    shutil.rmtree(learn.parent, ignore_errors=True)
    for part, samples in (("learn", chosen), ("test", kept)):
        write_windows(learn.parent / part / "defect", samples)
        write_windows(learn.parent / part / "clear", samples[::2], clear=True)
    images, labels = read_windows(learn)
    test = read_windows(learn.parent / "test")
    bundle = dz.train(NAME, learn, learn.parent / "vae", "robust", val_fraction=0.0, seed=seed)
    added = [], []
    for _ in range(options.superimposed):
        sources = random.choice(len(images), random.integers(2, 4), replace=False)
        made = bundle.overlay(images[sources], np.ones(len(sources), np.float32))["image"]
        added[0].append(np.uint8(np.rint(made * 255)))
        added[1].append(labels[sources].max(0))
    scores = {}
    for arm, (superimposed, augmented) in ARMS.items():
        x, y = (images, labels)
        if superimposed:
            x, y = np.concatenate([x, added[0]]), np.concatenate([y, added[1]])
        scores[arm] = classify(x, y, *test, augmented, seed, options.steps)
    return scores


def read_windows(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return images (N, 64, 64, 1) uint8 and, for LABELS, 1 where it is visible (N, 2) float32."""
    samples = find_images(folder).samples
    labels = [[word in sample.label.lower() for word in LABELS] for sample in samples]
    return np.stack([read_image(s.image, 1) for s in samples]), np.float32(labels)


def classify(x, y, x_test, y_test, augmented: bool, seed: int, steps: int) -> dict:
    """Train a small network for a number of steps and test it."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(seed)
    random = np.random.default_rng((seed, 1))
    blocks = [layers.Rescaling(1 / 255)]
    for filters in (16, 32, 64):
        blocks += [
            layers.Conv2D(filters, 3, strides=2, padding="same", use_bias=False),
            layers.BatchNormalization(momentum=0.9),
            layers.ReLU(),
        ]
    blocks += [layers.GlobalMaxPooling2D(), layers.Dense(len(LABELS), activation="sigmoid")]
    model = keras.Sequential([keras.Input((WINDOW, WINDOW, 1)), *blocks])
    rate = keras.optimizers.schedules.CosineDecay(2e-3, steps)
    model.compile(keras.optimizers.Adam(rate), "binary_crossentropy")
    for _ in range(steps):
        rows = random.integers(len(x), size=16)
        model.train_on_batch(augment(x[rows], random) if augmented else x[rows], y[rows])
    scores = model.predict(x_test, batch_size=64, verbose=0)
    correct = ((scores > 0.5) == (y_test > 0.5)).all(1).mean()
    return {"auc": float(np.mean([area(*pair) for pair in zip(scores.T, y_test.T, strict=True)])),
            "correct": float(correct)}  # fmt: skip


def augment(x: np.ndarray, random) -> np.ndarray:
    """Flip, rotate by right angles, shift by up to 8 pixels, change brightness by up to a fifth."""
    out = []
    for image in x:
        image = np.rot90(image, random.integers(4))[:: random.choice((-1, 1))]
        image = np.pad(image, ((8, 8), (8, 8), (0, 0)), "reflect")
        top, left = random.integers(17, size=2)
        image = image[top : top + WINDOW, left : left + WINDOW] * random.uniform(0.8, 1.2)
        out.append(np.uint8(np.clip(image, 0, 255)))
    return np.stack(out)


def area(scores: np.ndarray, labels: np.ndarray) -> float:
    """Area under the ROC curve: how often an image with the label scores above one without."""
    yes, no = scores[labels > 0.5, None], scores[None, labels <= 0.5]
    return float((yes > no).mean() + 0.5 * (yes == no).mean())


TABLES = {"collapse": collapse, "superimposition": superimposition, "classifier": classifier}


def show(title: str, heads: list[str], rows: list[list]) -> None:
    lines = [heads, ["---"] * len(heads), *rows]
    print(f"{title}\n", *(f"| {' | '.join(map(str, line))} |" for line in lines), sep="\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("table", choices=TABLES, nargs="?", help="table to print (default: all)")
    parser.add_argument("--data", type=Path, help="MT_Crack/ and MT_Blowhole/ of magnetic tiles")
    parser.add_argument("--out", type=Path, default=Path("out/defect_overlay_vae"))
    add = functools.partial(parser.add_argument, type=int)
    add("--seeds", default=2, help="collapse: seeds per surface (default 2)")
    add("--epochs", default=2, help="collapse: epochs of the paper's recipe (default 2)")
    add("--robust-epochs", default=1, help="collapse: epochs of robust (default 1)")
    add("--count", default=100, help="superimposition: images per row (default 100)")
    add("--sets", default=1, help="superimposition: sets of three images (default 1)")
    add("--classifier-seeds", default=2, help="classifier: seeds (default 2)")
    add("--each", default=12, help="classifier: images of each label (default 12)")
    add("--superimposed", default=100, help="classifier: superimposed images (default 100)")
    add("--steps", default=300, help="classifier: training steps (default 300)")
    options = parser.parse_args()
    log = logging.getLogger("dentalzoo")
    log.setLevel(logging.INFO)  # but print nothing: only the tables appear on the screen
    log.addHandler(logging.NullHandler())
    log.propagate = False
    options.out.mkdir(parents=True, exist_ok=True)
    names = [options.table] if options.table else list(TABLES)
    if not options.table and not options.data:
        names.remove("classifier")
    for name in names:
        TABLES[name](options)


if __name__ == "__main__":
    main()
