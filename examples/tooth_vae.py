# ruff: noqa: E402  (the text comes before the code)
"""
Title: New teeth from a variational autoencoder
Author: The dentalzoo authors
Date created: 2026/11/23
Last modified: 2026/11/23
Description: Train, inspect, measure and sample a variational autoencoder of tooth photographs.
"""

"""
## Introduction

`tooth_vae` learns to encode a photograph of a tooth as a few dozen numbers, and to decode them.
Random numbers then decode to images of new teeth.

This script shows all steps: photographs, training, curves, metrics, samples, and a bundle that
needs only TensorFlow. It is for research, not for diagnosis.

    python examples/tooth_vae.py --data DIR            # your photographs, variant `deep`
    python examples/tooth_vae.py --data DIR --crops boundaries
    DENTALZOO_QUICK=1 python examples/tooth_vae.py

Without `--data` the photographs are synthetic. With `DENTALZOO_QUICK=1` there are few of them,
and the training starts from the released bundle: a minute on two CPU cores, to see the steps.
docs/data_formats.md describes the layouts of DIR and the crops of `--crops`.
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
from dentalzoo.data.images import check_images, find_images, load_image
from dentalzoo.data.synthetic import write_tooth_photos

quick = "DENTALZOO_QUICK" in os.environ
parser = argparse.ArgumentParser(description="Train and apply tooth_vae.")
parser.add_argument("--data", type=Path, help="photographs (default: synthetic ones)")
parser.add_argument("--crops", choices=("boundaries", "boxes", "masks"), help="crop single teeth")
parser.add_argument("--out", type=Path, default=Path("out/tooth_vae"))
parser.add_argument("--epochs", type=int, help="default: those of the variant")
options = parser.parse_args()

variant = "deep"
overrides = {"epochs": 3, "learning_rate": 3e-4} if quick else {}
init = "tooth_vae.drawn_teeth_v2" if quick else None
if options.crops:
    overrides["crops"] = options.crops
if options.epochs:
    overrides["epochs"] = options.epochs

"""
## Photographs

`check_images` reads every image once. It reports unusable images and duplicates: a copy in the
validation split would make the metrics too good.
"""

data = options.data
if data is None:
    data = write_tooth_photos(options.out / "photos", 60 if quick else 4000)

try:
    checked = check_images(data, crops=options.crops)
    held_out = find_images(data, "val", crops=options.crops, min_images=2).samples
except dz.DentalzooError as error:
    sys.exit(f"tooth_vae: {error}")
print({key: value for key, value in checked.items() if not isinstance(value, list)})
for name, reason in checked["skipped"]:
    print(f"skipped {name}: {reason}")
print(f"{len(held_out)} images are held out, such as {held_out[0].name}")

"""
## Training

Training is one call: the network is built and trained by the variant's recipe, and the epoch with
the best bound on the held-out images becomes a bundle. `resume=True` resumes an interrupted run.
"""

run = options.out / variant
try:
    vae = dz.train("tooth_vae", data, run, variant, init=init, resume=True, **overrides)
except dz.DentalzooError as error:
    sys.exit(f"tooth_vae: {error}")

"""
## Curves

`curves.png` has a panel for each quantity. The loss is the sum of the reconstruction loss and the
KL divergence of the codes, in nats per image:
"""

columns = ("epoch", "loss", "val_loss", "reconstruction_loss", "kl_loss", "seconds")
print(" ".join(f"{column:>20}" for column in columns))
with open(run / "history.csv", newline="") as file:
    for row in list(csv.DictReader(file))[:: 1 if quick else 5]:
        print(" ".join(f"{float(row[column]):20.4g}" for column in columns))
print(f"best epoch: {vae.metadata['training']['best_epoch']}; curves: {run / 'curves.png'}")

"""
## Metrics

The metrics are bounds of the likelihood, the quality of reconstructions, the number of latent units
in use, the distance of samples to photographs, and whether samples copy training images. The folder
has figures of reconstructions, samples, interpolations, the latent space, and nearest neighbours.
"""

report = dz.evaluate(vae, data, split="val", out=options.out / "evaluation")
for key, value in dz.api.summary_metrics(vae, report).items():
    print(f"{key:20} {value:.4g}")

"""
## New teeth

For files, `generate` writes images and a contact sheet. In a program, pass a seed and the number of
images; the same seed gives the same teeth.
"""

generated = dz.generate(vae, options.out / "teeth", count=24, seed=1)
print(f"{generated.written} teeth in {options.out / 'teeth'}")
teeth = vae.generate(1, 24)["image"]
print(f"{teeth.shape}, {teeth.dtype}, from {teeth.min():.2f} to {teeth.max():.2f}")

"""
## Encode and decode

`encode` takes images of any size, uint8, and returns the distribution of their codes; `decode`
returns images. The mean of two codes decodes to a tooth too:
"""

config = vae.metadata["config"]
size, channels = config["input_size"], config["channels"]
images = [load_image(sample, size, channels)["image"] for sample in held_out[:2]]
first, second = (vae.encode(image)["z_mean"] for image in images)
between = vae.decode((first + second) / 2)["image"]
print(f"between {held_out[0].name} and {held_out[1].name}: {between.shape}")

"""
## The bundle

The bundle is a folder with a model card, checksums and a SavedModel; `dentalzoo export` gives it a
tag, and docs/bundle_format.md describes its files.
"""

print(f"the bundle: {vae.path}, {dz.verify(vae.path)['bytes'] / 1e6:.1f} MB")
