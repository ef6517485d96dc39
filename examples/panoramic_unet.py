# ruff: noqa: E402  (the text comes before the code)
"""
Title: Teeth on panoramic X-rays with a U-Net
Author: The dentalzoo authors
Date created: 2026/11/21
Last modified: 2026/11/21
Description: Train, inspect, measure and apply a segmentation network.
"""

"""
## Introduction

A panoramic X-ray shows all teeth on one image. `panoramic_unet` predicts for every pixel the
probability of belonging to a tooth, with an encoder and a decoder with skip connections.

This script shows all steps: images, training, curves, metrics, masks, and a bundle that needs only
TensorFlow. It is for research, not for diagnosis.

    python examples/panoramic_unet.py --data DIR      # your radiographs, variant `light`
    DENTALZOO_QUICK=1 python examples/panoramic_unet.py

Without `--data` the radiographs are synthetic, with exact masks. With `DENTALZOO_QUICK=1` there are
few of them and the network is `tiny`: a minute on two CPU cores, to see the steps; its masks are
poor. docs/data_formats.md describes the layouts of DIR. `light` starts from an ImageNet encoder,
which is downloaded; `--encoder-weights FILE` or `none` avoids the download.
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
from dentalzoo.data.io.images import read_image
from dentalzoo.data.masks import check_folder, find_masks
from dentalzoo.data.synthetic import write_panoramic_dataset

quick = "DENTALZOO_QUICK" in os.environ
parser = argparse.ArgumentParser(description="Train and apply panoramic_unet.")
parser.add_argument("--data", type=Path, help="radiographs with masks (default: synthetic ones)")
parser.add_argument("--out", type=Path, default=Path("out/panoramic_unet"))
parser.add_argument("--encoder-weights", help="imagenet, a file, or none")
parser.add_argument("--epochs", type=int, help="default: those of the variant")
options = parser.parse_args()

variant = "tiny" if quick else "light"
overrides = {"epochs": 40, "learning_rate": 3e-3, "augmentation": None} if quick else {}
if options.encoder_weights:
    overrides["encoder_weights"] = options.encoder_weights
if options.epochs:
    overrides["epochs"] = options.epochs

"""
## Radiographs

`check_folder` reads every image once. It reports unusable images, and duplicates in two splits,
which would make the metrics too good.
"""

data = options.data
if data is None:
    count, size = (10, (128, 256)) if quick else (40, (512, 1024))
    data = write_panoramic_dataset(options.out / "synthetic", count, 0, *size)

try:
    checked = check_folder(data)
    radiographs = find_masks(data, "val").samples
except dz.DentalzooError as error:
    sys.exit(f"panoramic_unet: {error}")
print({key: value for key, value in checked.items() if not isinstance(value, list)})
for name, reason in checked["skipped"]:
    print(f"skipped {name}: {reason}")
for one, other, kind in checked["duplicates"]:
    print(f"possible duplicates: {one} and {other}: {kind}")

"""
## Training

Training is one call: the network is built and trained by the variant's recipe, and the epoch with
the best Dice on the validation radiographs becomes a bundle. `resume=True` resumes an interrupted
run, so this script can be started again.
"""

run = options.out / variant
try:
    unet = dz.train("panoramic_unet", data, run, variant, resume=True, **overrides)
except dz.DentalzooError as error:
    sys.exit(f"panoramic_unet: {error}")

"""
## Curves

`curves.png` has a panel for each quantity, training beside validation. The same numbers, as text:
"""

columns = ("epoch", "loss", "val_loss", "dice", "val_dice", "seconds")
print(" ".join(f"{column:>8}" for column in columns))
with open(run / "history.csv", newline="") as file:
    for row in csv.DictReader(file):
        print(" ".join(f"{float(row[column]):8.4g}" for column in columns))
print(f"best epoch: {unet.metadata['training']['best_epoch']}; curves: {run / 'curves.png'}")

"""
## Metrics

Metrics are computed for each radiograph, at its own size. `mean` is the mean over radiographs,
`pooled` counts all pixels together; docs/faq.md explains the difference. `evaluation.png` shows the
best, the median and the worst radiograph with their outlines and errors.
"""

report = dz.evaluate(unet, data, split="val", out=options.out / "evaluation")
for kind in ("mean", "median", "min", "pooled"):
    print(f"{kind:8}", " ".join(f"{key} {value:.3f}" for key, value in report[kind].items()))

"""
## Masks

For files, `predict` writes a mask each; `overlay=True` also draws it on the radiograph.
"""

masks = options.out / "masks"
predicted = dz.predict(unet, [radiograph.image for radiograph in radiographs], masks, overlay=True)
print(f"{predicted.written} masks in {masks}, {len(predicted.failed)} failed")

"""
In a program, pass an image as it is read, uint8 of any size; the mask has the same size.
"""

image = read_image(radiographs[0].image)
results = unet.serve(image)
share = (results["mask"] > 0).mean()
print(f"{radiographs[0].name}: {image.shape}, {100 * share:.1f} % of the pixels are teeth")

"""
## The bundle

The bundle is a folder with a model card, checksums and a SavedModel; `dentalzoo export` gives it a
tag, and docs/bundle_format.md describes its files.
"""

print(f"the bundle: {unet.path}, {dz.verify(unet.path)['bytes'] / 1e6:.1f} MB")
