# ruff: noqa: E402  (the text comes before the code)
"""
Title: Restorations, endodontic treatments and implants on panoramic X-rays with SSD
Author: The dentalzoo authors
Date created: 2026/11/23
Last modified: 2026/11/23
Description: Train, inspect, measure, tune and apply a detection network.
"""

"""
## Introduction

A panoramic X-ray shows dental treatments: fillings and crowns, root canal treatments, implants.
`panoramic_detection` predicts a box around each, with a class and a score: for each of many
anchors, a small network predicts its class and how the box differs from the anchor.

This script shows all steps: images and boxes, training, curves, metrics, the choice of thresholds,
boxes for files, and a bundle that needs only TensorFlow. It is for research, not for diagnosis.

    python examples/panoramic_detection.py --data DIR --encoder-weights imagenet
    DENTALZOO_QUICK=1 python examples/panoramic_detection.py

Without `--data` the radiographs are synthetic, with exact boxes. With `DENTALZOO_QUICK=1` there are
few of them, with more findings than a mouth has, and the network is `tiny`: a minute on two CPU
cores, to see the steps; its boxes are poor. docs/data_formats.md describes the layouts of DIR.
`--classes` selects some of its classes. The network starts from random weights; `imagenet`
downloads those of an ImageNet encoder, and `--encoder-weights FILE` reads them from a file.
"""

"""
## Setup
"""

import argparse
import csv
import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow's own log

import dentalzoo as dz
from dentalzoo.data.boxes import check_boxes, find_boxes
from dentalzoo.data.io.images import read_image
from dentalzoo.data.synthetic import write_panoramic_dataset

quick = "DENTALZOO_QUICK" in os.environ
parser = argparse.ArgumentParser(description="Train and apply panoramic_detection.")
parser.add_argument("--data", type=Path, help="radiographs with boxes (default: synthetic ones)")
parser.add_argument("--out", type=Path, default=Path("out/panoramic_detection"))
parser.add_argument("--encoder-weights", help="imagenet, a file, or none")
parser.add_argument("--epochs", type=int, help="default: those of the variant")
parser.add_argument("--classes", nargs="+", help="classes of the data (default: all)")
options = parser.parse_args()

variant = "tiny" if quick else "ssd_mobilenet_v1_fpn"
overrides = {}
if quick:
    overrides = {"epochs": 40, "learning_rate": 0.01, "augmentation": None}
    overrides |= {"input_size": (160, 320), "anchor_size": 1.5}  # synthetic findings are small
    overrides |= {"bn_momentum": 0.9}
if options.encoder_weights:
    overrides["encoder_weights"] = options.encoder_weights
if options.epochs:
    overrides["epochs"] = options.epochs

"""
## Radiographs and boxes

`check_boxes` reads every image once. It counts the boxes of each class, and reports what is
unusable, what was repaired, and duplicates in two splits, which would make the metrics too good.
"""

data, classes = options.data, options.classes
if data is None:
    count, size = (20, (160, 320)) if quick else (300, (512, 1024))
    rates = {"restored": 0.5} if quick else {}
    data = write_panoramic_dataset(options.out / "synthetic", count, 0, *size, **rates)
    classes = classes or ["restoration", "endodontic", "implant"]

try:
    checked = check_boxes(data, classes=classes)
    radiographs = find_boxes(data, "val", classes=classes).samples
except dz.DentalzooError as error:
    sys.exit(f"panoramic_detection: {error}")
print({key: value for key, value in checked.items() if not isinstance(value, list)})
for what in ("skipped", "repaired"):
    for name, reason in checked[what]:
        print(f"{what} {name}: {reason}")
for one, other, kind in checked["duplicates"]:
    print(f"possible duplicates: {one} and {other}: {kind}")
classes = tuple(checked["boxes"])

"""
## Training

Training is one call: the network is built and trained by the variant's recipe, and the epoch with
the lowest loss on the validation radiographs becomes a bundle. `resume=True` resumes an interrupted
run, so this script can be started again.
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

`curves.png` has a panel for each quantity, training beside validation. `class_loss` is the loss of
the classes, `box_loss` that of the position and size of the boxes. The same numbers, as text:
"""

columns = ("epoch", "loss", "val_loss", "class_loss", "val_class_loss", "box_loss", "val_box_loss")
print(" ".join(f"{column:>14}" for column in columns))
with open(run / "history.csv", newline="") as file:
    for row in csv.DictReader(file):
        print(" ".join(f"{float(row[column]):14.4g}" for column in columns))
print(f"best epoch: {bundle.metadata['training']['best_epoch']}; curves: {run / 'curves.png'}")

"""
## Metrics

Average precision takes into account the whole list of boxes, ordered by score. COCO's `ap` is the
mean over IoU thresholds from 0.5 to 0.95, `ap50` that at 0.5 alone, which PASCAL VOC counts a
little differently. FROC is the recall at a given number of false positives per radiograph.
`precision_recall.png`, `froc.png`, `confusion.png` and `worst.png` are the figures.
"""

report = dz.evaluate(bundle, data, split="val", out=options.out / "evaluation")


def line(values: dict) -> str:
    """Format numbers as one line; undefined ones, such as of a missing class, are left out."""
    return " ".join(
        f"{key} {value:.3f}" for key, value in values.items() if isinstance(value, float)
    )


print("coco    ", line(report["coco"]))
print("voc     ", line(report["voc"]))
print("froc    ", line({"mean": report["froc"]["mean"]}))
print(f"at a confidence threshold of {report['score_threshold']:g}:", line(report["operating"]))
for name, row in report["per_class"].items():
    print(f"{name}: {row['objects']} boxes", line(row))

"""
## Other thresholds

Suppression keeps one of two boxes that overlap by more than the IoU threshold. This threshold, the
maximal number of boxes of a class and the confidence threshold are settings; `sweep` tries many of
them with one pass of the network. It chooses the best on the same radiographs that it measures:
choose on the validation radiographs, and report on others.
"""

sweep = dz.evaluate(bundle, data, split="val", out=options.out / "sweep", sweep=True)["sweep"]
keys = ("nms_iou", "max_per_class", "score_threshold", "f1", "precision", "recall", "ap50")
print(f"{len(sweep['settings'])} combinations, the best by F1:")
best = sweep["best"]["f1"]
print({key: best[key] for key in keys})

"""
## Boxes for files

For files, `predict` writes all boxes to `detections.json`, as COCO results, and `detections.csv`;
`overlay=True` also draws them on the radiographs. `vott=(2,)` would write a VoTT project, in which
they can be corrected.
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
In a program, pass an image as it is read, uint8 of any size. Boxes are returned as top, left,
bottom, right in [0, 1], in descending order of their scores; rows from `num` on are zeros.
"""

image = read_image(radiographs[0].image)
results = bundle.detect(image)
print(f"{radiographs[0].name}: {image.shape}, {int(results['num'])} boxes, the best:")
for row in range(min(3, int(results["num"]))):
    label, score = classes[results["classes"][row] - 1], results["scores"][row]
    print(f"  {label} {score:.2f} at", *(f"{edge:.3f}" for edge in results["boxes"][row]))

"""
## The bundle

The bundle is a folder with a model card, checksums and a SavedModel; `dentalzoo export` gives it a
tag, and docs/bundle_format.md describes its files.
"""

print(f"the bundle: {bundle.path}, {dz.verify(bundle.path)['bytes'] / 1e6:.1f} MB")
