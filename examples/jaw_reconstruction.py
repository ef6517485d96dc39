# ruff: noqa: E402  (the text comes before the code)
"""
Title: An upper jaw in 3-D from ten images
Author: The dentalzoo authors
Date created: 2026/11/23
Last modified: 2026/11/23
Description: Fit a morphable model to jaws, train the network, measure it, and reconstruct jaws.
"""

"""
## Introduction

Ten cameras at fixed places look at an upper jaw; `jaw_reconstruction` gives its surface in
millimetres. The variant `paper` gives 50,000 points; `morphable`, which this script trains, a mesh.

This script goes the whole way: meshes, their views, a morphable model, training, scores, and meshes
from views alone. It is for research, not for diagnosis.

    python examples/jaw_reconstruction.py --data DIR   # your meshes, from the released bundle on
    python examples/jaw_reconstruction.py              # drawn jaws, from the start; an hour
    DENTALZOO_QUICK=1 python examples/jaw_reconstruction.py

With `DENTALZOO_QUICK=1` there are few jaws and the network is small: a minute on two CPU cores, to
see the steps. docs/data_formats.md says how DIR may look.
"""

"""
## Setup
"""

import argparse
import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow's own chatter

import numpy as np

import dentalzoo as dz
from dentalzoo.data import morphable
from dentalzoo.data.meshes import check_meshes, find_meshes
from dentalzoo.data.synthetic import write_jaw_dataset
from dentalzoo.data.views import load_views

quick = "DENTALZOO_QUICK" in os.environ
parser = argparse.ArgumentParser(description="Trains and shows jaw_reconstruction.")
parser.add_argument("--data", type=Path, help="folder of meshes of upper jaws; drawn where absent")
parser.add_argument("--out", type=Path, default=Path("out/jaw_reconstruction"))
parser.add_argument("--epochs", type=int, help="the variant's own where absent")
options = parser.parse_args()

"""
## Meshes

`check_meshes` reads every mesh once. It names what cannot be used, and why: another unit, a jaw
that lies on its side, damaged files.
"""

data = options.data
if data is None:
    data = write_jaw_dataset(options.out / "jaws", 20 if quick else 2000)

try:
    found = check_meshes(data)
    held_out = find_meshes(data, "val").samples
except dz.DentalzooError as error:
    sys.exit(f"jaw_reconstruction: {error}")
print({key: value for key, value in found.items() if not isinstance(value, list)})
for name, reason in found["skipped"]:
    print(f"skipped {name}: {reason}")

"""
## A morphable model

Drawn jaws have the same vertices and faces, each vertex at the same anatomical place. So they have
a mean, and few modes of variation about it. The decoder is made of these, and what the network
finds are their coefficients. Scans have vertices of their own: then training goes on from the means
and modes of the released bundle, by the nearest points.
"""

init = None
if options.data is None:
    report = morphable.fit(data, options.out / "shapes.npz", components=8 if quick else 64)
    for family in report["families"]:
        print(family)
    overrides = {"morphable_model": report["out"], **report["settings"]}
else:
    init = "jaw_reconstruction.jaws_and_crowns_v1"
    faces = dz.load(init).metadata["config"]["faces"]
    overrides = {"faces": tuple(faces), "pairs": "nearest", "max_points": 5000}
if quick and init is None:
    overrides |= {"image_size": 48, "filters": (8, 16, 16), "batch_size": 4, "epochs": 8}
if options.epochs:
    overrides["epochs"] = options.epochs

"""
## Training

One call: the jaws are seen by the ten cameras, once, and what they see is kept in `cache`; the
network is trained, and the best epoch by the mean error on the held-out jaws becomes a bundle.
`resume=True` goes on with a run that was stopped.
"""

run = options.out / "morphable"
try:
    jaw = dz.train(
        "jaw_reconstruction",
        data,
        run,
        "morphable",
        init=init,
        cache=options.out / "views",
        resume=True,
        **overrides,
    )
except dz.DentalzooError as error:
    sys.exit(f"jaw_reconstruction: {error}")
print(f"best epoch: {jaw.metadata['training']['best_epoch']}; curves: {run / 'curves.png'}")

"""
## Scores

In millimetres and in both directions: from the found points to the true ones, which is precision,
and back, which is recall. Beside them what the mean shape alone would score: a threshold of 0.035,
the paper's, is 1.4 mm, and forgives much.
"""

report = dz.evaluate(jaw, data, split="val", out=options.out / "evaluation")
for key, value in dz.api.summary_metrics(jaw, report).items():
    print(f"{key:26} {value:.4g}")

"""
## From views to meshes

For files, `predict` writes a mesh, a sheet of images and a page to turn the jaw around, for each
jaw. In a program, ten views go in. Some of them will do, if it is told which they are:
"""

meshes = [sample.mesh for sample in held_out[:2]]
done = dz.predict(jaw, meshes, options.out / "predicted")
print(f"{done.written} jaws in {options.out / 'predicted'}")

size = jaw.metadata["config"]["image_size"]
views = load_views(held_out[0], size)["views"]
points = jaw.serve(views)["points"]
places = np.int32([0, 2, 7, 9])
fewer = jaw.serve_some(views[places], places)["points"]
apart = np.linalg.norm(points - fewer, axis=-1).mean()
print(f"{points.shape} {points.dtype}; from {len(places)} views, on average {apart:.2f} mm away")

"""
## The bundle

It is a folder with a card, checksums and a SavedModel; `dentalzoo export` gives it a tag, and
docs/bundle_format.md says what is in it.
"""

print(f"the bundle: {jaw.path}, {dz.verify(jaw.path)['bytes'] / 1e6:.1f} MB")
