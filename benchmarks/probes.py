"""What the codes of an autoencoder know of findings: linear probes, after the paper's outlook.

    python benchmarks/probes.py --bundle NAME_OR_DIR --data DIR [--findings FILE] [--crops boxes]

A logistic regression predicts a finding from the codes; beside it one from the pixels, the encoder
of the bundle trained on from its weights, and the same encoder from random weights. They learn from
the split train, val chooses the strength of the regularisation and the epoch, and test is reported:
balanced accuracy, with 95 % intervals over groups of images. Needs scikit-learn.
benchmarks/README.md has the results.
"""

import argparse
import csv
import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from peers.turns import show
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import dentalzoo as dz
from dentalzoo.data.images import find_images, load_image
from dentalzoo.ops.intervals import Resamples, bounds, quotient

STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)  # C of the regression, chosen on val
BATCH, PATIENCE = 64, 8


class Part(NamedTuple):
    """A split: images (N, H, W, C) uint8, classes (N,) and the group of each image."""

    images: np.ndarray
    classes: np.ndarray
    groups: list[str]


Classifier = Callable[[np.ndarray], np.ndarray]  # images -> classes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bundle", required=True, help="an autoencoder with the function encode")
    parser.add_argument("--data", type=Path, required=True, help="images in train, val and test")
    parser.add_argument("--findings", type=Path, help="CSV: id, a column of 0 and 1 per finding")
    parser.add_argument("--crops", help="boxes: the classes of the boxes are predicted")
    parser.add_argument("--epochs", type=int, default=40, help="at most (default 40)")
    options = parser.parse_args()
    bundle = dz.load(options.bundle)
    shape = bundle.to_keras().encoder.input_shape[1:]
    print(f"Bundle `{bundle.name}`, images of {shape[0]} x {shape[1]} x {shape[2]}")
    for question, parts in questions(options, shape).items():
        counts = [np.bincount(parts[split].classes).tolist() for split in ("train", "val", "test")]
        print(f"\n{question}: images of each class in train, val and test: {counts}\n")
        show(
            question,
            ["classifier", "balanced accuracy on test (95 %)", "on val"],
            rows(bundle, parts, options),
        )


def questions(options: argparse.Namespace, shape: tuple[int, ...]) -> dict[str, dict[str, Part]]:
    """Return the splits of each question: which class, or whether there is this finding."""
    found = {
        split: find_images(options.data, split, crops=options.crops, with_masks=False).samples
        for split in ("train", "val", "test")
    }
    images = {
        split: np.stack([load_image(s, shape[:2], shape[2])["image"] for s in samples])
        for split, samples in found.items()
    }
    if options.findings is None:
        names = sorted({sample.label for samples in found.values() for sample in samples})
        asked = {", ".join(names): lambda sample: (names.index(sample.label), sample.group)}
    else:
        with options.findings.open(newline="") as file:
            table = {row["id"]: row for row in csv.DictReader(file)}
        asked = {
            name: lambda sample, name=name: (
                int(table[sample.name][name]),
                table[sample.name].get("group", sample.group),
            )
            for name in next(iter(table.values()))
            if name not in ("id", "group")
        }
    made = {}
    for question, ask in asked.items():
        made[question] = {}
        for split, samples in found.items():
            answers = [ask(sample) for sample in samples]
            classes = np.array([number for number, _ in answers])
            made[question][split] = Part(images[split], classes, [group for _, group in answers])
    return made


def rows(bundle: dz.Bundle, parts: dict[str, Part], options: argparse.Namespace) -> list[list]:
    """Return a row for each classifier."""
    makers = {
        "linear, from the codes": lambda: linear(parts, lambda images: codes(bundle, images)),
        "linear, from the pixels": lambda: linear(parts, pixels),
        "encoder of the bundle, trained on": lambda: trained(bundle, parts, options.epochs, True),
        "encoder from random weights": lambda: trained(bundle, parts, options.epochs, False),
    }
    made = []
    for name, make in makers.items():
        classify = make()
        val, test = parts["val"], parts["test"]
        score = balanced(test, classify(test.images))
        text = "{value:.3f} ({low:.3f} to {high:.3f})".format(**score)
        made.append(
            [name, text, f"{balanced_accuracy_score(val.classes, classify(val.images)):.3f}"]
        )
    return made


def balanced(part: Part, answers: np.ndarray) -> dict:
    """Return the balanced accuracy with its interval over groups."""
    right = answers == part.classes
    of_class = part.classes[:, None] == np.unique(part.classes)

    def statistic(times: np.ndarray) -> np.ndarray:
        return quotient(times @ (of_class * right[:, None]), times @ of_class).mean(1)

    return bounds(Resamples(part.groups).values(statistic))


def codes(bundle: dz.Bundle, images: np.ndarray) -> np.ndarray:
    parts = (images[start : start + 256] for start in range(0, len(images), 256))
    return np.concatenate([bundle.encode(part)["z_mean"] for part in parts])


def pixels(images: np.ndarray) -> np.ndarray:
    """Return the pixels of images of half the size, (N, P) float32."""
    count, height, width, channels = images.shape
    blocks = images.reshape(count, height // 2, 2, width // 2, 2, channels)
    return blocks.mean((2, 4), dtype=np.float32).reshape(count, -1) / np.float32(255)


def linear(parts: dict[str, Part], features: Callable[[np.ndarray], np.ndarray]) -> Classifier:
    """Return the logistic regression that is best on val; each class weighs the same."""
    train, val = (features(parts[split].images) for split in ("train", "val"))
    fitted = []
    for strength in STRENGTHS:
        regression = LogisticRegression(C=strength, class_weight="balanced", max_iter=500)
        model = make_pipeline(StandardScaler(), regression).fit(train, parts["train"].classes)
        score = balanced_accuracy_score(parts["val"].classes, model.predict(val))
        fitted.append((score, strength, model))
    _, _, best = max(fitted, key=lambda one: one[:2])
    return lambda images: best.predict(features(images))


def trained(bundle: dz.Bundle, parts: dict[str, Part], epochs: int, start: bool) -> Classifier:
    """Return the encoder with a head, trained; the weights of the best epoch on val.

    Args:
        start: from the weights of the bundle; else from random ones.
    """
    keras.utils.set_random_seed(0)
    encoder = bundle.to_keras().encoder
    if not start:
        encoder = keras.models.clone_model(encoder)
    count = int(parts["train"].classes.max()) + 1
    scores = keras.layers.Dense(count)(encoder.output[0])
    model = keras.Model(encoder.input, scores)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(3e-4), loss)
    train, val = parts["train"], parts["val"]
    weight = len(train.classes) / (count * np.maximum(np.bincount(train.classes), 1))
    random = np.random.default_rng(0)
    best, waited, kept = -1.0, 0, model.get_weights()

    def classify(images: np.ndarray) -> np.ndarray:
        return model.predict(images / np.float32(255), batch_size=256, verbose=0).argmax(1)

    for _ in range(epochs):
        flips = random.random(len(train.images)) < 0.5
        images = np.where(flips[:, None, None, None], train.images[:, :, ::-1], train.images)
        model.fit(
            images / np.float32(255),
            train.classes,
            BATCH,
            sample_weight=weight[train.classes],
            verbose=0,
        )
        score = balanced_accuracy_score(val.classes, classify(val.images))
        waited += 1
        if score > best:
            best, waited, kept = score, 0, model.get_weights()
        if waited >= PATIENCE:
            break
    model.set_weights(kept)
    return classify


if __name__ == "__main__":
    main()
