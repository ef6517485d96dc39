"""Paired augmentation with Albumentations, reproducible whatever the number of threads.

A shared `Compose` has one random stream, so with two workers the augmentation of a sample depends
on which thread came first. Here each sample is seeded by (seed, epoch, index of the sample).
"""

import logging
import os
import random
import threading
import warnings
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import numpy as np

from dentalzoo.data.teeth import mirrored
from dentalzoo.errors import DentalzooError, require

_log = logging.getLogger("dentalzoo")
_MIRRORING = ("HorizontalFlip", "VerticalFlip", "Transpose", "D4", "SquareSymmetry")


def albumentations() -> ModuleType:
    """Return the Albumentations package, kept from asking the network for updates.

    OpenCV is set to one thread in this process: tf.data has its own.

    Raises:
        DentalzooError: it is not installed.
    """
    os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"
    module = require("albumentations", "panoramic-unet")
    require("cv2", "panoramic-unet").setNumThreads(0)
    return module


class Augment:
    """A list of transforms for the image of a sample and for all that belongs to it.

    Args:
        transforms: returns the list of Albumentations transforms; called once per thread, since
            transforms carry state.
        seed: the augmentation is a function of (seed, epoch, index) alone.
        classes: names of the classes 1..n of boxes.

    Called with a sample, the epoch and the sample's index; returns a new sample of the same shapes
    and dtypes. A sample has an `image` uint8 (H, W, C) and may have a `mask` uint8 (H, W, 1), or
    `boxes` float32 (M, 4) yxyx in [0, 1] and `classes` int32 (M,), whose rows of class 0 are
    padding. A box that a transform cuts is kept as long as a third of it is left.

    Where classes have a side, 11 is 21 on a mirrored radiograph (see `mirrored`). A radiograph
    turned by 180 degrees is the same mouth upside down, so a flip up to down, which is that turn
    and a flip left to right, mirrors the mouth as well: classes change sides under one flip and
    stay under both. Where the mirror image of one has no class, radiographs are not mirrored,
    which is logged.
    """

    def __init__(
        self, transforms: Callable[[], list[Any]], seed: int = 0, classes: Sequence[str] = ()
    ) -> None:
        self._transforms, self._seed, self._local = transforms, seed, threading.local()
        try:
            self._mirrored = np.array([0, *mirrored(classes)], np.int32)
        except DentalzooError as error:
            _log.info("images are not flipped, left would become right: %s", error)
            self._transforms = lambda: [
                transform
                for transform in transforms()
                if type(transform).__name__ not in _MIRRORING
            ]
            self._mirrored = np.arange(1 + len(classes), dtype=np.int32)

    def __call__(
        self, sample: dict[str, np.ndarray], epoch: int, index: int
    ) -> dict[str, np.ndarray]:
        if not hasattr(self._local, "compose"):
            A = albumentations()
            boxes = A.BboxParams("albumentations", ["classes"], min_visibility=1 / 3, clip=True)
            corners = A.KeypointParams("xy", remove_invisible=False)
            options = {"bbox_params": boxes, "keypoint_params": corners}
            with warnings.catch_warnings():
                # Boxes may go along with transforms none of which moves them.
                warnings.filterwarnings("ignore", "Got processor for")
                self._local.compose = A.Compose(
                    self._transforms(), **(options if "boxes" in sample else {})
                )
        sequence = np.random.SeedSequence([self._seed, epoch, index])
        self._local.compose.set_random_state(
            np.random.default_rng(sequence),
            random.Random(int(sequence.generate_state(1, np.uint64)[0])),
        )
        if "boxes" in sample:
            return {**sample, **self._with_boxes(sample)}
        paired = {key: sample[key] for key in ("image", "mask") if key in sample}
        return {**sample, **self._local.compose(**paired)}

    def _with_boxes(self, sample: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        sides = sample["boxes"][:, 2:] - sample["boxes"][:, :2]
        rows = (sample["classes"] > 0) & (sides > 0).all(1)  # Albumentations refuses an empty box
        height, width = sample["image"].shape[:2]
        augmented = self._local.compose(
            image=sample["image"],
            bboxes=sample["boxes"][rows][:, [1, 0, 3, 2]],
            classes=sample["classes"][rows],
            keypoints=np.array([(0, 0), (width, 0), (0, height)], np.float32),
        )
        boxes, classes = np.zeros_like(sample["boxes"]), np.zeros_like(sample["classes"])
        left = np.asarray(augmented["bboxes"], np.float32).reshape(-1, 4)
        boxes[: len(left)] = left[:, [1, 0, 3, 2]]
        classes[: len(left)] = augmented["classes"]
        corner, right, down = np.asarray(augmented["keypoints"], np.float64)
        in_mirror = np.linalg.det([right - corner, down - corner]) < 0
        if in_mirror and len(self._mirrored) > 1:
            classes = self._mirrored[classes]
        return {"image": augmented["image"], "boxes": boxes, "classes": classes}


def radiograph_transforms() -> list[Any]:
    """Return transforms for radiographs: position, size, tilt, exposure and noise."""
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


def black_patches(count: int = 10, probability: float = 0.5, size: float = 0.1) -> Any:
    """Return a transform that blackens squares and leaves boxes as they are.

    As `random_black_patches` of the Object Detection API.

    Args:
        count: the largest number of squares.
        probability: of each one.
        size: side of a square in shorter sides of the image.
    """
    A = albumentations()

    class BlackPatches(A.ImageOnlyTransform):  # type: ignore[name-defined]  # untyped base
        def get_params_dependent_on_data(
            self, params: dict[str, Any], data: dict[str, Any]
        ) -> dict[str, Any]:
            height, width = params["shape"][:2]
            side = int(size * min(height, width))
            starts = [
                (int(self.py_random.uniform(0, 1 - size) * height),
                 int(self.py_random.uniform(0, 1 - size) * width))
                for _ in range(count)
                if self.py_random.random() < probability
            ]  # fmt: skip
            return {"patches": [(top, left, side) for top, left in starts]}

        def apply(
            self,
            image: np.ndarray,
            patches: Sequence[tuple[int, int, int]] = (),
            **params: Any,
        ) -> np.ndarray:
            image = image.copy()
            for top, left, side in patches:
                image[top : top + side, left : left + side] = 0
            return image

    return BlackPatches(p=1.0)
