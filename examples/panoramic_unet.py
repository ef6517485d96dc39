# ruff: noqa: E402  (the text comes before the code)
"""
Title: Teeth on panoramic X-rays with a U-Net
Author: The dentalzoo authors
Date created: 2026/11/21
Last modified: 2026/11/21
Description: Train, look at, measure and apply a segmentation network.
"""

"""
## Introduction

A panoramic X-ray shows all teeth on one image. `panoramic_unet` gives every pixel a probability
of belonging to a tooth: an encoder reads the radiograph, a decoder with skip connections draws the mask.

This script goes the whole way: images, training, curves, scores, masks, and a bundle that runs
with TensorFlow alone. It is for research, not for diagnosis.

    python examples/panoramic_unet.py --data DIR      # your radiographs, variant `light`
    DENTALZOO_QUICK=1 python examples/panoramic_unet.py

Without `--data` the radiographs are phantoms: drawn, with exact masks. With `DENTALZOO_QUICK=1` there are
few of them and the network is `tiny`: a minute on two CPU cores, to see the steps; its masks are
poor. docs/data_formats.md says how DIR may look. `light` starts from an ImageNet encoder, which
is downloaded; `--encoder-weights FILE` or `none` does without.
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
from dentalzoo.data.io.images import read_image
from dentalzoo.data.masks import check_folder, find_masks
from dentalzoo.data.synthetic import write_panoramic_dataset

quick = "DENTALZOO_QUICK" in os.environ
parser = argparse.ArgumentParser(description="Trains and shows panoramic_unet.")
parser.add_argument(
    "--data", type=Path, help="folder of radiographs with masks; drawn where absent"
)
parser.add_argument("--out", type=Path, default=Path("out/panoramic_unet"))
parser.add_argument("--encoder-weights", help="imagenet, a file, or none")
parser.add_argument("--epochs", type=int, help="the variant's own where absent")
options = parser.parse_args()

variant = "tiny" if quick else "light"
overrides = {"epochs": 40, "learning_rate": 3e-3, "augmentation": None} if quick else {}
if options.encoder_weights:
    overrides["encoder_weights"] = options.encoder_weights
if options.epochs:
    overrides["epochs"] = options.epochs

"""
## Radiographs

`check_folder` reads every image once. It names what cannot be used and what lies in two splits,
which would make the scores too good.
"""

data = options.data
if data is None:
    count, size = (10, (128, 256)) if quick else (40, (512, 1024))
    data = write_panoramic_dataset(options.out / "phantoms", count, 0, *size)

try:
    found = check_folder(data)
    radiographs = find_masks(data, "val").samples
except dz.DentalzooError as error:
    sys.exit(f"panoramic_unet: {error}")
print({key: value for key, value in found.items() if not isinstance(value, list)})
for name, reason in found["skipped"]:
    print(f"skipped {name}: {reason}")
for one, other, kind in found["duplicates"]:
    print(f"the same image twice? {one} and {other}: {kind}")

"""
## Training

One call: the network is built, trained by the variant's recipe, and the best epoch by the Dice of
the validation radiographs becomes a bundle. `resume=True` goes on with a run that was stopped, so this
script can be started again.
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
## Scores

At the radiographs' own size, radiograph by radiograph. `mean` is the mean over radiographs, `pooled` counts all pixels
together; docs/faq.md says why they differ. `evaluation.png` has the best, the median and the worst
radiograph with their outlines and errors.
"""

report = dz.evaluate(unet, data, split="val", out=options.out / "evaluation")
for word in ("mean", "median", "min", "pooled"):
    print(f"{word:8}", " ".join(f"{key} {value:.3f}" for key, value in report[word].items()))

"""
## Masks

For files, `predict` writes a mask each, here with the radiograph under it.
"""

masks = options.out / "masks"
predicted = dz.predict(unet, [radiograph.image for radiograph in radiographs], masks, overlay=True)
print(f"{predicted.written} masks in {masks}, {len(predicted.failed)} failed")

"""
In a program, an image goes in as it is read, uint8 of any size, and the mask has its size.
"""

image = read_image(radiographs[0].image)
results = unet.serve(image)
share = (results["mask"] > 0).mean()
print(f"{radiographs[0].name}: {image.shape}, {100 * share:.1f} % of the pixels are teeth")

"""
## The bundle

It is a folder with a card, checksums and a SavedModel; `dentalzoo export` gives it a tag, and
docs/bundle_format.md says what is in it.
"""

print(f"the bundle: {unet.path}, {dz.verify(unet.path)['bytes'] / 1e6:.1f} MB")
