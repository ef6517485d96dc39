# ruff: noqa: E402  (the text comes before the code)
"""
Title: Several defects in one image with a variational autoencoder
Author: The dentalzoo authors
Date created: 2026/11/23
Last modified: 2026/11/23
Description: Train an autoencoder of defects, superimpose images and augment a data set.
"""

"""
## Introduction

Images of cracks and pores are rare, and images with several of them rarer. `defect_overlay_vae`
encodes images of single defects and decodes the sum of their codes: one image with all of them.
Since the masks of the sources are known, so are those of the superimposed image.

This script shows all steps: images, training, curves, metrics, a superimposed image of given files,
a data set of superimposed images for segmentation and detection, and a bundle that needs only
TensorFlow.

    python examples/defect_overlay_vae.py --data DIR      # your images, variant `robust`
    python examples/defect_overlay_vae.py --data DIR --crops masks --window 64
    DENTALZOO_QUICK=1 python examples/defect_overlay_vae.py

Without `--data` the images are synthetic: surfaces with cracks or pores, 80 for training, as many
as the paper has. With `DENTALZOO_QUICK=1` they are 40 easy ones of 32 pixels: a minute on two CPU
cores, to see the steps; about every second superimposed image fails. docs/data_formats.md describes
the layouts of DIR and the crops of `--crops`.
"""

"""
## Setup
"""

import argparse
import csv
import json
import os
import sys
from collections import Counter
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow's own log

import dentalzoo as dz
from dentalzoo.data.images import check_images, find_images
from dentalzoo.data.masks import find_masks, load
from dentalzoo.data.synthetic import DEFECTS, write_defect_dataset
from dentalzoo.tasks.superimposition.scores import BACKGROUND, VISIBLE

quick = "DENTALZOO_QUICK" in os.environ
parser = argparse.ArgumentParser(description="Train and apply defect_overlay_vae.")
parser.add_argument("--data", type=Path, help="images with masks (default: synthetic ones)")
parser.add_argument("--crops", choices=("masks", "boxes"), help="crop single defects")
parser.add_argument("--window", type=int, help="side of a crop in pixels")
parser.add_argument("--out", type=Path, default=Path("out/defect_overlay_vae"))
parser.add_argument("--epochs", type=int, help="default: those of the variant")
options = parser.parse_args()

overrides = {"val_fraction": 0.2, "crops": options.crops, "window": options.window}
if quick:
    size = {"input_size": (32, 32), "filters": (16, 32), "latent_dim": 256, "averaged": 64}
    overrides |= {**size, "copies": 5, "epochs": 30, "learning_rate": 4e-3}
if options.epochs:
    overrides["epochs"] = options.epochs

"""
## Images

`check_images` reads every image once. It reports unusable images and duplicates. The paper keeps no
images for validation; here a fifth is held out, so that the metrics are those of unseen images.
"""

data = options.data
if data is None:
    kinds = [kind for kind in DEFECTS if kind != "border"]
    count, look = (50, {"contrast": 0.8, "texture": "plain", "border": 0}) if quick else (100, {})
    data = write_defect_dataset(options.out / "surfaces", count, kinds=kinds, **look)

crops = {key: overrides[key] for key in ("val_fraction", "crops", "window")}
try:
    checked = check_images(data, **crops)
    held_out = find_images(data, "val", **crops, min_images=3).samples
except dz.DentalzooError as error:
    sys.exit(f"defect_overlay_vae: {error}")
print({key: value for key, value in checked.items() if not isinstance(value, list)})
for name, reason in checked["skipped"]:
    print(f"skipped {name}: {reason}")
print(f"{len(held_out)} images are held out, such as {held_out[0].name}")

"""
## Training

Training is one call. `robust` is ours: its codes have a position in the image, and it learns that
sums of codes decode to superimposed images. `paper` is the paper's recipe, a plane of codes and
nothing else; docs/models/defect_overlay_vae.md reports its results. Section 4 of the paper uses
only a few images, each of them copied 500 times and all of them in every minibatch: these are the
variants `few` and, ours, `robust_few`, for up to ten images.
"""

run = options.out / "robust"
try:
    vae = dz.train("defect_overlay_vae", data, run, "robust", resume=True, **overrides)
except dz.DentalzooError as error:
    sys.exit(f"defect_overlay_vae: {error}")

"""
## Curves

`curves.png` has a panel for each quantity. `mixture_loss` is the reconstruction loss of sums of
codes, in nats per image; with a Gaussian likelihood it may fall below 0:
"""

columns = ("epoch", "loss", "reconstruction_loss", "kl_loss", "mixture_loss", "seconds")
print(" ".join(f"{column:>20}" for column in columns))
with open(run / "history.csv", newline="") as file:
    for row in list(csv.DictReader(file))[::5]:
        print(" ".join(f"{float(row[column]):20.4g}" for column in columns))
print(f"best epoch: {vae.metadata['training']['best_epoch']}; curves: {run / 'curves.png'}")

"""
## Metrics

Random pairs and triples of held-out images are superimposed. A defect is visible where enough of
its contrast is kept, and a superimposed image is a success where all its defects are visible and
the background is that of the sources; `success_of_the_plain_sum` is the paper's method with the
same network.

`superimposed.png` shows the best, the median and the worst pair and triple, `latent.png` the codes,
`scan.png` decoded points between the codes, and which defects are visible there.
"""

evaluation = options.out / "evaluation"
try:
    report = dz.evaluate(vae, data, split="val", out=evaluation, count=40 if quick else 200)
except dz.DentalzooError as error:
    sys.exit(f"defect_overlay_vae: {error}")
for key, value in dz.api.summary_metrics(vae, report).items():
    print(f"{key:26} {value:.4g}")
print(f"visible: {VISIBLE:.0%} of its contrast; background: within {BACKGROUND:.0%} of the range")
print(f"figures: {', '.join(str(path) for path in sorted(evaluation.glob('*.png')))}")

"""
## One superimposed image

`dz.superimpose` takes two or more files of any size. `superimposed.png` is the result; if the files
have masks, `superimposed_mask.png` is their union, and `superimposed.json` reports where each
defect is and whether it is visible. `weights` makes one defect fainter than another.
"""

files = list(dict.fromkeys(sample.image for sample in held_out))[:2]
if len(files) == 2:
    dz.superimpose(vae, files, options.out / "superimposed")
    result = json.loads((options.out / "superimposed" / "superimposed.json").read_text())
    for source in result["sources"]:
        print(source["name"], "box", source.get("box"), "recovered", source.get("recovered"))

"""
In a program, pass images as they are read, uint8 (K, H, W, 1 or 3), with a weight for each:

    vae.overlay(np.stack([crack, pore]), np.ones(2, "float32"))["image"]
"""

"""
## An augmented data set

`dz.augment_dataset` superimposes random pairs and triples of the training images and keeps the
successes: images, masks, boxes as PASCAL VOC and as COCO, and `superimposed.csv`, which lists the
sources of each.
"""

augmented = options.out / "augmented"
try:
    added = dz.augment_dataset(vae, data, augmented, count=20 if quick else 200, split="train")
except dz.DentalzooError as error:  # no masks, or no success
    sys.exit(f"defect_overlay_vae: {error}")
print(f"{added.written} superimposed images in {augmented}, {added.rejected} were left out")

"""
It is a data set with masks, so `dz.train("panoramic_unet", augmented, ...)` can be trained on it:
"""

images = find_masks(augmented, "train").samples
masks = [load(sample)["mask"] for sample in images]
share = sum(mask.mean() for mask in masks) / len(masks)
print(f"{len(masks)} images of {masks[0].shape[:2]} pixels; {100 * share:.1f} % are defects")
coco = json.loads((augmented / "annotations.coco.json").read_text())
names = {category["id"]: category["name"] for category in coco["categories"]}
print(f"boxes: {dict(Counter(names[box['category_id']] for box in coco['annotations']))}")

"""
## The bundle

The bundle is a folder with a model card, checksums and a SavedModel; `dentalzoo export` gives it a
tag, and docs/bundle_format.md describes its files.
"""

print(f"the bundle: {vae.path}, {dz.verify(vae.path)['bytes'] / 1e6:.1f} MB")
