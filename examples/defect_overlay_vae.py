# ruff: noqa: E402  (the text comes before the code)
"""
Title: Several defects in one image with a variational autoencoder
Author: The dentalzoo authors
Date created: 2026/11/23
Last modified: 2026/11/23
Description: Train an autoencoder of defects, overlay its images and enlarge a data set.
"""

"""
## Introduction

Images of cracks and pores are rare, and images with several of them rarer. `defect_overlay_vae`
encodes images of single defects and decodes the sum of their codes: one image with all of them.
Since the masks of the sources are known, so are those of the overlay.

This script goes the whole way: images, training, curves, scores, an overlay of given files, a
data set of overlays that segmentation and detection can learn from, and a bundle that runs with
TensorFlow alone.

    python examples/defect_overlay_vae.py --data DIR      # your images, variant `robust`
    python examples/defect_overlay_vae.py --data DIR --crops masks --window 64
    DENTALZOO_QUICK=1 python examples/defect_overlay_vae.py

Without `--data` the images are phantoms: drawn surfaces with cracks or pores, 80 to learn
from, as many as the paper has. With `DENTALZOO_QUICK=1` they are 40 easy ones of 32
pixels: a minute on two CPU cores, to see the steps; about every second overlay fails.
docs/data_formats.md says how DIR may look, and what `--crops` cuts out.
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

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow's own chatter

import dentalzoo as dz
from dentalzoo.data.images import check_images, find_images
from dentalzoo.data.masks import find_masks, load
from dentalzoo.data.synthetic import DEFECTS, write_defect_dataset
from dentalzoo.tasks.superimposition.scores import BACKGROUND, VISIBLE

quick = "DENTALZOO_QUICK" in os.environ
parser = argparse.ArgumentParser(description="Trains and shows defect_overlay_vae.")
parser.add_argument("--data", type=Path, help="folder of images with masks; drawn where absent")
parser.add_argument("--crops", choices=("masks", "boxes"), help="cut single defects")
parser.add_argument("--window", type=int, help="side of a crop in pixels")
parser.add_argument("--out", type=Path, default=Path("out/defect_overlay_vae"))
parser.add_argument("--epochs", type=int, help="the variant's own where absent")
options = parser.parse_args()

overrides = {"val_fraction": 0.2, "crops": options.crops, "window": options.window}
if quick:
    size = {"input_size": (32, 32), "filters": (16, 32), "latent_dim": 256, "averaged": 64}
    overrides |= {**size, "copies": 5, "epochs": 30, "learning_rate": 4e-3}
if options.epochs:
    overrides["epochs"] = options.epochs

"""
## Images

`check_images` reads every image once. It names what cannot be used and what is there twice.
The paper keeps no images for validation; here a fifth is held out, so that the scores speak of
images that the network has not seen.
"""

data = options.data
if data is None:
    kinds = [kind for kind in DEFECTS if kind != "border"]
    count, look = (50, {"contrast": 0.8, "texture": "plain", "border": 0}) if quick else (100, {})
    data = write_defect_dataset(options.out / "surfaces", count, kinds=kinds, **look)

cut = {key: overrides[key] for key in ("val_fraction", "crops", "window")}
try:
    found = check_images(data, **cut)
    held_out = find_images(data, "val", **cut, least=3).samples
except dz.DentalzooError as error:
    sys.exit(f"defect_overlay_vae: {error}")
print({key: value for key, value in found.items() if not isinstance(value, list)})
for name, reason in found["skipped"]:
    print(f"skipped {name}: {reason}")
print(f"{len(held_out)} images are held out, such as {held_out[0].name}")

"""
## Training

One call. `robust` is ours: its codes have a place in the image, and it learns that sums of codes
decode to overlays. `paper` is the paper's recipe, a plane of codes and nothing else;
docs/models/defect_overlay_vae.md says what came of it. Section 4 of the paper has a few images
alone, each of them copied 500 times and all of them in every minibatch: these are the variants
`few` and, ours, `robust_few`, for up to ten images.
"""

run = options.out / "robust"
try:
    vae = dz.train("defect_overlay_vae", data, run, "robust", resume=True, **overrides)
except dz.DentalzooError as error:
    sys.exit(f"defect_overlay_vae: {error}")

"""
## Curves

`curves.png` has a panel for each quantity. `mixture_loss` is what sums of codes miss of the
overlays that they should be; in nats an image, and with a Gaussian likelihood it may fall below 0:
"""

columns = ("epoch", "loss", "reconstruction_loss", "kl_loss", "mixture_loss", "seconds")
print(" ".join(f"{column:>20}" for column in columns))
with open(run / "history.csv", newline="") as file:
    for row in list(csv.DictReader(file))[::5]:
        print(" ".join(f"{float(row[column]):20.4g}" for column in columns))
print(f"best epoch: {vae.metadata['training']['best_epoch']}; curves: {run / 'curves.png'}")

"""
## Scores

Random pairs and triples of held-out images are overlaid. A defect is visible where enough of its
contrast is there, and an overlay is a success where all its defects are visible and the background
is that of the sources; `success_of_the_plain_sum` is the paper's way with the same network.

`superimposed.png` shows the best, the median and the worst pair and triple, `latent.png` the codes,
`scan.png` what lies between the codes, decoded, and which defects are visible there.
"""

evaluation = options.out / "evaluation"
try:
    report = dz.evaluate(vae, data, split="val", out=evaluation, count=40 if quick else 200)
except dz.DentalzooError as error:
    sys.exit(f"defect_overlay_vae: {error}")
for key, value in dz.api.summary_metrics(vae, report).items():
    print(f"{key:26} {value:.4g}")
print(f"visible: {VISIBLE:.0%} of its contrast; background: within {BACKGROUND:.0%} of the range")
print(f"images: {', '.join(str(path) for path in sorted(evaluation.glob('*.png')))}")

"""
## One overlay

Two or more files of any size go in. `superimposed.png` is the result; where the files have masks,
`superimposed_mask.png` is theirs together, and `superimposed.json` says where each defect is and whether it
is visible. `weights` makes one defect fainter than another.
"""

files = list(dict.fromkeys(sample.image for sample in held_out))[:2]
if len(files) == 2:
    dz.superimpose(vae, files, options.out / "overlay")
    made = json.loads((options.out / "overlay" / "superimposed.json").read_text())
    for source in made["sources"]:
        print(source["name"], "box", source.get("box"), "recovered", source.get("recovered"))

"""
In a program, images go in as they are read, uint8 (K, H, W, 1 or 3), with a weight for each:

    vae.overlay(np.stack([crack, pore]), np.ones(2, "float32"))["image"]
"""

"""
## A larger data set

`enlarge` overlays random pairs and triples of the training images and keeps those that are a
success: images, masks, boxes as PASCAL VOC and as COCO, and `superimposed.csv`, which says what each
was made of.
"""

larger = options.out / "enlarged"
try:
    enlarged = dz.augment_dataset(vae, data, larger, count=20 if quick else 200, split="train")
except dz.DentalzooError as error:  # no masks, or no overlay is a success
    sys.exit(f"defect_overlay_vae: {error}")
print(f"{enlarged.written} overlays in {larger}, {enlarged.rejected} were left out")

"""
It reads like any data set with masks, so that `dz.train("panoramic_unet", larger, ...)` learns
from it:
"""

images = find_masks(larger, "train").samples
masks = [load(sample)["mask"] for sample in images]
share = sum(mask.mean() for mask in masks) / len(masks)
print(f"{len(masks)} images of {masks[0].shape[:2]} pixels; {100 * share:.1f} % are defects")
coco = json.loads((larger / "annotations.coco.json").read_text())
names = {category["id"]: category["name"] for category in coco["categories"]}
print(f"boxes: {dict(Counter(names[box['category_id']] for box in coco['annotations']))}")

"""
## The bundle

It is a folder with a card, checksums and a SavedModel; `dentalzoo export` gives it a tag, and
docs/bundle_format.md says what is in it.
"""

print(f"the bundle: {vae.path}, {dz.verify(vae.path)['bytes'] / 1e6:.1f} MB")
