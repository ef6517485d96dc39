"""Paired augmentation with Albumentations, reproducible whatever the number of threads.

A shared `Compose` draws from one stream, so with two workers the draw that a sample gets depends
on which thread came first. Here each draw is seeded by (seed, epoch, index of the sample).
"""

import os
import random
import threading
from collections.abc import Callable

import numpy as np

from dentalzoo.errors import require


def albumentations():
    """The Albumentations package, kept from asking the network for updates.

    OpenCV gets no threads of its own in this process: tf.data brings them.

    Raises:
        DentalzooError: it is not installed.
    """
    os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"
    module = require("albumentations", "panoramic_unet")
    require("cv2", "panoramic_unet").setNumThreads(0)
    return module


class Augment:
    """Applies one list of transforms to the image of a sample and to all that belongs to it.

    Args:
        transforms: returns the list of Albumentations transforms; called once per thread, since
            transforms carry state.
        seed: draws are a function of (seed, epoch, index) alone.

    Called with a sample (`image` uint8 (H, W, C), optional `mask` uint8 (H, W, 1)), the epoch and
    the sample's index; returns a new sample of the same dtypes.
    """

    def __init__(self, transforms: Callable[[], list], seed: int = 0):
        self._transforms, self._seed, self._local = transforms, seed, threading.local()

    def __call__(self, sample: dict, epoch: int, index: int) -> dict:
        if not hasattr(self._local, "compose"):
            self._local.compose = albumentations().Compose(self._transforms())
        sequence = np.random.SeedSequence([self._seed, epoch, index])
        self._local.compose.set_random_state(
            np.random.default_rng(sequence),
            random.Random(int(sequence.generate_state(1, np.uint64)[0])),
        )
        paired = {key: sample[key] for key in ("image", "mask") if key in sample}
        return {**sample, **self._local.compose(**paired)}


def film_transforms() -> list:
    """Transforms for radiographs: films differ in position, size, tilt, exposure and noise."""
    A = albumentations()
    return [
        A.HorizontalFlip(p=0.5),
        A.Affine(
            translate_percent={"x": (-0.06, 0.06), "y": (-0.06, 0.06)},
            scale=(0.85, 1.15),
            rotate=(-6, 6),
            shear=(-4, 4),
            p=0.8,
        ),
        A.RandomBrightnessContrast(0.2, 0.25, p=0.6),
        A.RandomGamma((70, 140), p=0.4),
        A.GaussNoise(std_range=(0.01, 0.04), p=0.2),
    ]
