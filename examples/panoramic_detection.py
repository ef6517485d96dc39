# ruff: noqa: E402  (the text comes before the code)
"""
Title: Restorations, endodontic treatments and implants on panoramic X-rays with SSD
Author: The dentalzoo authors
Date created: 2026/11/23
Last modified: 2026/11/23
Description: Train, look at, measure, tune and apply a detection network.
"""

"""
## Introduction

A panoramic X-ray shows what dentists have done: fillings and crowns, root canal treatments,
implants. `panoramic_detection` draws a box around each, with a class and a score: a small network
says of each of many anchors which finding it holds and how its box differs from the anchor.

This script goes the whole way: images and boxes, training, curves, scores, boxes for files, the
choice of thresholds, and a bundle that runs with TensorFlow alone. It is for research, not for
diagnosis.

    python examples/panoramic_detection.py --data DIR --encoder-weights imagenet
    DENTALZOO_QUICK=1 python examples/panoramic_detection.py

Without `--data` the radiographs are phantoms: drawn, with exact boxes. With `DENTALZOO_QUICK=1` there are
few of them, with more findings than a mouth has, and the network is `tiny`: a minute on two CPU
cores, to see the steps; its boxes are poor. docs/data_formats.md says how DIR may look. `--classes`
chooses among its classes. The network starts from random weights; `imagenet` downloads those of an
ImageNet encoder, and `--encoder-weights FILE` takes them from a file.
"""

"""
## Setup
"""

import argparse
import csv
import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow's own chatter

import dentalzoo as dz
from dentalzoo.data.boxes import check_boxes, find_boxes
from dentalzoo.data.io.images import read_image
from dentalzoo.data.synthetic import write_panoramic_dataset

quick = "DENTALZOO_QUICK" in os.environ
parser = argparse.ArgumentParser(description="Trains and shows panoramic_detection.")
parser.add_argument(
    "--data", type=Path, help="folder of radiographs with boxes; drawn where absent"
)
parser.add_argument("--out", type=Path, default=Path("out/panoramic_detection"))
parser.add_argument("--encoder-weights", help="imagenet, a file, or none")
parser.add_argument("--epochs", type=int, help="the variant's own where absent")
parser.add_argument("--classes", nargs="+", help="of the data; all of them where absent")
options = parser.parse_args()

variant = "tiny" if quick else "ssd_mobilenet_v1_fpn"
overrides = {}
if quick:
    overrides = {"epochs": 40, "learning_rate": 0.01, "augmentation": None}
    overrides |= {"input_size": (160, 320), "anchor_size": 1.5}  # drawn findings are small
    overrides |= {"bn_momentum": 0.9}
if options.encoder_weights:
    overrides["encoder_weights"] = options.encoder_weights
if options.epochs:
    overrides["epochs"] = options.epochs

"""
## Radiographs and boxes

`check_boxes` reads every image once. It counts the boxes of each class, and names what cannot be
used, what was put right, and what lies in two splits, which would make the scores too good.
"""

data, classes = options.data, options.classes
if data is None:
    count, size = (20, (160, 320)) if quick else (300, (512, 1024))
    rates = {"restored": 0.5} if quick else {}
    data = write_panoramic_dataset(options.out / "phantoms", count, 0, *size, **rates)
    classes = classes or ["restoration", "endodontic", "implant"]

try:
    found = check_boxes(data, classes=classes)
    radiographs = find_boxes(data, "val", classes=classes).samples
except dz.DentalzooError as error:
    sys.exit(f"panoramic_detection: {error}")
print({key: value for key, value in found.items() if not isinstance(value, list)})
for what in ("skipped", "repaired"):
    for name, reason in found[what]:
        print(f"{what} {name}: {reason}")
for one, other, kind in found["duplicates"]:
    print(f"the same image twice? {one} and {other}: {kind}")
classes = tuple(found["boxes"])

"""
## Training

One call: the network is built, trained by the variant's recipe, and the best epoch by the loss of
the validation radiographs becomes a bundle. `resume=True` goes on with a run that was stopped, so this
script can be started again.
"""

run = options.out / variant
try:
    bundle = dz.train(
        "panoramic_detection", data, run, variant, resume=True, classes=classes, **overrides
    )
except dz.DentalzooError as error:
    sys.exit(f"panoramic_detection: {error}")

"""
## Curves

`curves.png` has a panel for each quantity, training beside validation. `class_loss` is what wrong
classes cost, `box_loss` what boxes beside the finding cost. The same numbers, as text:
"""

columns = ("epoch", "loss", "val_loss", "class_loss", "val_class_loss", "box_loss", "val_box_loss")
print(" ".join(f"{column:>14}" for column in columns))
with open(run / "history.csv", newline="") as file:
    for row in csv.DictReader(file):
        print(" ".join(f"{float(row[column]):14.4g}" for column in columns))
print(f"best epoch: {bundle.metadata['training']['best_epoch']}; curves: {run / 'curves.png'}")

"""
## Scores

An average precision judges the whole list of boxes, from the surest to the least sure. COCO's `ap`
is a mean over overlaps from 0.5 to 0.95, `ap50` that at 0.5 alone, which PASCAL VOC counts a little
differently. FROC tells how many findings are found at so many false boxes a radiograph.
`precision_recall.png`, `froc.png`, `confusion.png` and `worst.png` show it.
"""

report = dz.evaluate(bundle, data, split="val", out=options.out / "evaluation")


def told(values: dict) -> str:
    """Numbers in a line; what cannot be measured, as a class that does not occur, is left out."""
    return " ".join(
        f"{key} {value:.3f}" for key, value in values.items() if isinstance(value, float)
    )


print("coco    ", told(report["coco"]))
print("voc     ", told(report["voc"]))
print("froc    ", told({"mean": report["froc"]["mean"]}))
print(f"from a score of {report['score_threshold']:g}:", told(report["operating"]))
for name, row in report["per_class"].items():
    print(f"{name}: {row['objects']} boxes", told(row))

"""
## Other thresholds

Two boxes that overlap much are one finding; how much is a setting, and so are how many boxes of a
class a radiograph may have, and the score from which on a box counts. `sweep` tries them all with one
pass of the network. It takes the best of the very radiographs that it is measured on: choose on the
validation radiographs, and report on others.
"""

sweep = dz.evaluate(bundle, data, split="val", out=options.out / "sweep", sweep=True)["sweep"]
keys = ("nms_iou", "max_per_class", "score_threshold", "f1", "precision", "recall", "ap50")
print(f"{len(sweep['settings'])} settings, the best by F1:")
best = sweep["best"]["f1"]
print({key: best[key] for key in keys})

"""
## Boxes for files

For files, `predict` writes all boxes into `detections.json`, as COCO's results, and
`detections.csv`, here with each radiograph under its boxes. `vott=(2,)` would write a project to correct
them in.
"""

folder = options.out / "boxes"
threshold = best["score_threshold"]
predicted = dz.predict(
    bundle,
    [radiograph.image for radiograph in radiographs],
    folder,
    overlay=True,
    score_threshold=threshold,
)
with open(folder / "detections.csv", newline="") as file:
    count = sum(bool(row["class"]) for row in csv.DictReader(file))
print(
    f"{count} boxes of {predicted.written} radiographs in {folder}, {len(predicted.failed)} failed"
)

"""
In a program, an image goes in as it is read, uint8 of any size. Boxes come back as top, left,
bottom, right in [0, 1], the surest first; rows from `num` on are empty.
"""

image = read_image(radiographs[0].image)
results = bundle.detect(image)
print(f"{radiographs[0].name}: {image.shape}, {int(results['num'])} boxes, the surest:")
for row in range(min(3, int(results["num"]))):
    label, score = classes[results["classes"][row] - 1], results["scores"][row]
    print(f"  {label} {score:.2f} at", *(f"{edge:.3f}" for edge in results["boxes"][row]))

"""
## The bundle

It is a folder with a card, checksums and a SavedModel; `dentalzoo export` gives it a tag, and
docs/bundle_format.md says what is in it.
"""

print(f"the bundle: {bundle.path}, {dz.verify(bundle.path)['bytes'] / 1e6:.1f} MB")
