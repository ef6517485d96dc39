# ruff: noqa: E402  (the text comes before the code)
"""
Title: New teeth from a variational autoencoder
Author: The dentalzoo authors
Date created: 2026/11/23
Last modified: 2026/11/23
Description: Train, look at, measure and sample a variational autoencoder of tooth photographs.
"""

"""
## Introduction

`tooth_vae` learns a few dozen numbers that describe a photograph of a tooth, and how to draw the
photograph from them. Numbers drawn at random then give teeth that nobody has.

This script goes the whole way: photographs, training, curves, scores, samples, and a bundle that
runs with TensorFlow alone. It is for research, not for diagnosis.

    python examples/tooth_vae.py --data DIR            # your photographs, variant `deep`
    python examples/tooth_vae.py --data DIR --crops boundaries
    DENTALZOO_QUICK=1 python examples/tooth_vae.py

Without `--data` the photographs are phantoms: drawn. With `DENTALZOO_QUICK=1` there are few of them
and the network is `tiny`: a minute on two CPU cores, to see the steps; its teeth are blurs.
docs/data_formats.md says how DIR may look, and what `--crops` cuts out.
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
from dentalzoo.data.images import check_images, find_images, load_image
from dentalzoo.data.synthetic import write_tooth_photos

quick = "DENTALZOO_QUICK" in os.environ
parser = argparse.ArgumentParser(description="Trains and shows tooth_vae.")
parser.add_argument("--data", type=Path, help="folder of photographs; drawn where absent")
parser.add_argument("--crops", choices=("boundaries", "boxes", "masks"), help="cut single teeth")
parser.add_argument("--out", type=Path, default=Path("out/tooth_vae"))
parser.add_argument("--epochs", type=int, help="the variant's own where absent")
options = parser.parse_args()

variant = "tiny" if quick else "deep"
overrides = {"epochs": 30, "learning_rate": 3e-3} if quick else {}
if options.crops:
    overrides["crops"] = options.crops
if options.epochs:
    overrides["epochs"] = options.epochs

"""
## Photographs

`check_images` reads every image once. It names what cannot be used and what is there twice:
a copy in the validation split would make the scores too good.
"""

data = options.data
if data is None:
    data = write_tooth_photos(options.out / "photos", 60 if quick else 4000)

try:
    found = check_images(data, crops=options.crops)
    held_out = find_images(data, "val", crops=options.crops, least=2).samples
except dz.DentalzooError as error:
    sys.exit(f"tooth_vae: {error}")
print({key: value for key, value in found.items() if not isinstance(value, list)})
for name, reason in found["skipped"]:
    print(f"skipped {name}: {reason}")
print(f"{len(held_out)} images are held out, such as {held_out[0].name}")

"""
## Training

One call: the network is built, trained by the variant's recipe, and the best epoch by the bound on
the held-out images becomes a bundle. `resume=True` goes on with a run that was stopped.
"""

run = options.out / variant
try:
    vae = dz.train("tooth_vae", data, run, variant, resume=True, **overrides)
except dz.DentalzooError as error:
    sys.exit(f"tooth_vae: {error}")

"""
## Curves

`curves.png` has a panel for each quantity. The loss is the sum of what the reconstruction misses
and what the latent numbers cost, in nats an image:
"""

columns = ("epoch", "loss", "val_loss", "reconstruction_loss", "kl_loss", "seconds")
print(" ".join(f"{column:>20}" for column in columns))
with open(run / "history.csv", newline="") as file:
    for row in list(csv.DictReader(file))[::5]:
        print(" ".join(f"{float(row[column]):20.4g}" for column in columns))
print(f"best epoch: {vae.metadata['training']['best_epoch']}; curves: {run / 'curves.png'}")

"""
## Scores

The bounds of the likelihood, the reconstruction, how many latent units are in use, how far samples
are from photographs, and whether they are copies of training images. The folder has a sheet for
each: reconstructions, samples, interpolations, the latent space, and nearest neighbours.
"""

report = dz.evaluate(vae, data, split="val", out=options.out / "evaluation")
for key, value in dz.api.summary_metrics(vae, report).items():
    print(f"{key:20} {value:.4g}")

"""
## New teeth

For files, `generate` writes images and a sheet of them. In a program, the seed and the number go
in; the same seed gives the same teeth.
"""

made = dz.generate(vae, options.out / "teeth", count=24, seed=1)
print(f"{made.written} teeth in {options.out / 'teeth'}")
teeth = vae.generate(1, 24)["image"]
print(f"{teeth.shape}, {teeth.dtype}, from {teeth.min():.2f} to {teeth.max():.2f}")

"""
## From a photograph and back

`encode` takes images of any size, uint8, and gives the distribution of their latent numbers;
`decode` draws. Half-way between two teeth is a tooth too:
"""

config = vae.metadata["config"]
size, channels = config["input_size"], config["channels"]
images = [load_image(sample, size, channels)["image"] for sample in held_out[:2]]
first, second = (vae.encode(image)["z_mean"] for image in images)
between = vae.decode((first + second) / 2)["image"]
print(f"between {held_out[0].name} and {held_out[1].name}: {between.shape}")

"""
## The bundle

It is a folder with a card, checksums and a SavedModel; `dentalzoo export` gives it a tag, and
docs/bundle_format.md says what is in it.
"""

print(f"the bundle: {vae.path}, {dz.verify(vae.path)['bytes'] / 1e6:.1f} MB")
