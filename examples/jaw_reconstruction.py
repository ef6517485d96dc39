# ruff: noqa: E402  (the text comes before the code)
"""
Title: An upper jaw in 3-D from ten images
Author: The dentalzoo authors
Date created: 2026/11/23
Last modified: 2026/11/23
Description: Fit a statistical shape model, train the network, measure it, and reconstruct jaws.
"""

"""
## Introduction

From views of an upper jaw by ten fixed cameras, `jaw_reconstruction` predicts its surface in
millimetres. The variant `paper` returns 50,000 points, and so does `depth`, which fuses the depth
of each view; `morphable` returns a mesh. From scratch this script trains `morphable`; on your
meshes it continues the training of the release, which is `depth`.

This script shows all steps: meshes, their views, a statistical shape model, training, metrics, and
meshes from views alone. It is for research, not for diagnosis.

    python examples/jaw_reconstruction.py --data DIR   # your meshes, starting from the release
    python examples/jaw_reconstruction.py              # synthetic jaws, from scratch; an hour
    DENTALZOO_QUICK=1 python examples/jaw_reconstruction.py

With `DENTALZOO_QUICK=1` there are few jaws and the network is small: a minute on two CPU cores, to
see the steps. docs/data_formats.md describes the layouts of DIR.
"""

"""
## Setup
"""

import argparse
import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow's own log

import numpy as np

import dentalzoo as dz
from dentalzoo.data import morphable
from dentalzoo.data.meshes import check_meshes, find_meshes
from dentalzoo.data.synthetic import write_jaw_dataset
from dentalzoo.data.views import load_views

quick = "DENTALZOO_QUICK" in os.environ
parser = argparse.ArgumentParser(description="Train and apply jaw_reconstruction.")
parser.add_argument("--data", type=Path, help="meshes of upper jaws (default: synthetic ones)")
parser.add_argument("--out", type=Path, default=Path("out/jaw_reconstruction"))
parser.add_argument("--epochs", type=int, help="default: those of the variant")
options = parser.parse_args()

"""
## Meshes

`check_meshes` reads every mesh once. It reports unusable meshes with the reason: another unit, a
jaw that lies on its side, damaged files.
"""

data = options.data
if data is None:
    data = write_jaw_dataset(options.out / "jaws", 20 if quick else 2000)

try:
    checked = check_meshes(data)
    held_out = find_meshes(data, "val").samples
except dz.DentalzooError as error:
    sys.exit(f"jaw_reconstruction: {error}")
print({key: value for key, value in checked.items() if not isinstance(value, list)})
for name, reason in checked["skipped"]:
    print(f"skipped {name}: {reason}")

"""
## A statistical shape model

Synthetic jaws form a family: they share their topology, that is the faces, and each vertex has the
same anatomical meaning. So they have a mean shape, and few modes of variation about it. The decoder
consists of these, and the network predicts their coefficients. The vertices of scans do not
correspond, and gum ends anywhere: `depth` needs no shape model.
"""

init, variant = None, "morphable"
if options.data is None:
    report = morphable.fit(data, options.out / "shapes.npz", components=8 if quick else 64)
    for family in report["families"]:
        print(family)
    overrides = {"morphable_model": report["out"], **report["settings"]}
else:
    init, variant, overrides = "jaw_reconstruction.drawn_scans_v3", "depth", {}
if quick and init is None:
    overrides |= {"image_size": 48, "filters": (8, 16, 16), "batch_size": 4, "epochs": 8}
if options.epochs:
    overrides["epochs"] = options.epochs

"""
## Training

Training is one call: the views of the jaws are rendered once and stored in `cache`; the network is
trained, and the epoch with the lowest mean error on the held-out jaws becomes a bundle.
`resume=True` resumes an interrupted run.
"""

run = options.out / variant
try:
    jaw = dz.train(
        "jaw_reconstruction",
        data,
        run,
        variant,
        init=init,
        cache=options.out / "views",
        resume=True,
        **overrides,
    )
except dz.DentalzooError as error:
    sys.exit(f"jaw_reconstruction: {error}")
print(f"best epoch: {jaw.metadata['training']['best_epoch']}; curves: {run / 'curves.png'}")

"""
## Metrics

The distances are in millimetres and in both directions: from the prediction to the ground truth
(accuracy) and from the ground truth to the prediction (completeness); precision and recall are the
parts of the points within a threshold: the paper's, 0.035, is 1.4 mm, and forgives much.
"""

report = dz.evaluate(jaw, data, split="val", out=options.out / "evaluation")
for key, value in dz.api.summary_metrics(jaw, report).items():
    print(f"{key:26} {value:.4g}")

"""
## From views to meshes

For files, `predict` writes a mesh, a figure and a page that shows the jaw in 3-D, for each jaw. In
a program, pass ten views, or some of them with their camera indices:
"""

meshes = [sample.mesh for sample in held_out[:2]]
done = dz.predict(jaw, meshes, options.out / "predicted")
print(f"{done.written} jaws in {options.out / 'predicted'}")

size = jaw.metadata["config"]["image_size"]
views = load_views(held_out[0], size)["views"]
points = jaw.serve(views)["points"]
cameras = np.int32([0, 2, 7, 9])
fewer = jaw.serve_some(views[cameras], cameras)["points"]
distance = np.linalg.norm(points - fewer, axis=-1).mean()
print(
    f"{points.shape} {points.dtype}; from {len(cameras)} views, {distance:.2f} mm away on average"
)

"""
## The bundle

The bundle is a folder with a model card, checksums and a SavedModel; `dentalzoo export` gives it a
tag, and docs/bundle_format.md describes its files.
"""

print(f"the bundle: {jaw.path}, {dz.verify(jaw.path)['bytes'] / 1e6:.1f} MB")
