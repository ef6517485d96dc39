"""Radiographs and masks to train on, and their augmentation."""

import logging
import os
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dentalzoo.contracts import DataOptions, Stream
from dentalzoo.data.formats.base import note_empty, notice_once
from dentalzoo.data.io.images import read_image, resize
from dentalzoo.data.mask_values import MaskStatistics, facts_of
from dentalzoo.data.masks import MaskDataset, find_masks, load
from dentalzoo.data.pipeline import Cache, batches
from dentalzoo.data.pipeline.augmentation import Augment, albumentations, radiograph_transforms
from dentalzoo.data.teeth import have_sides
from dentalzoo.errors import DentalzooError, few_of
from dentalzoo.models.panoramic_unet.config import Config

if TYPE_CHECKING:
    import tensorflow as tf

_log = logging.getLogger("dentalzoo")


def _paper_transforms() -> list[Any]:
    """Return the transforms of the preprocessing notebook.

    Albumentations 1.1.0 with its defaults, expressed in the parameters of 2.0.8.
    """
    A, reflect_101 = albumentations(), 4
    return [
        A.HorizontalFlip(p=0.7),
        A.Rotate(limit=5, border_mode=reflect_101, p=0.7),
        A.RandomBrightnessContrast(0.1, 0.1, p=0.3),
        A.Affine(  # ShiftScaleRotate(0.1, 0.1, 10)
            translate_percent={"x": (-0.1, 0.1), "y": (-0.1, 0.1)},
            scale=(0.9, 1.1),
            rotate=(-10, 10),
            keep_ratio=True,
            border_mode=reflect_101,
            p=0.5,
        ),
        A.GaussNoise(std_range=(0.0124, 0.0277), p=0.1),  # variance 10..50 of 255 squared
    ]


AUGMENTATIONS = {"paper": _paper_transforms, "radiograph": radiograph_transforms}


def make_dataset(data: str | Path, config: Config, options: DataOptions = DataOptions()) -> Stream:
    """Return batches of radiographs and masks.

    Args:
        data: a folder in a layout of docs/data_formats.md.
        config: sizes, classes, batch size and augmentation.
        options: see `DataOptions`.

    Returns:
        Batches {"image": float32 (B, H, W, 3) in [0, 1], "mask": float32 (B, H, W, 1), class ids}.
        Bad files are logged and left out.

    Raises:
        DentalzooError: no layout is recognised, no image of the split can be used, or no mask to
            train on holds an object.
    """
    masks = find_masks(data, options.split, config.classes or None, config.annotations)
    binary = config.num_classes == 1
    masks.check_names(config.num_classes)
    names = config.classes or _listed(data, masks, config)

    def read(index: int) -> dict[str, np.ndarray]:
        sample = load(masks.samples[index], config.num_classes, channels=3)
        mask = sample["mask"] * np.uint8(255 if binary else 1)
        return {
            "image": resize(sample["image"], config.input_size),
            # A binary mask stays soft until after augmentation, as in the paper's generator.
            "mask": resize(mask, config.input_size, nearest=not binary),
        }

    def finish(batch: "dict[str, tf.Tensor]") -> "dict[str, tf.Tensor]":
        import tensorflow as tf

        mask = tf.cast(batch["mask"], tf.float32)
        return {
            "image": tf.cast(batch["image"], tf.float32) / 255.0,
            "mask": tf.cast(mask > 127.5, tf.float32) if binary else mask,
        }

    files = [
        (str(file), os.stat(file).st_mtime_ns, repr(sample.regions))
        for sample in masks.samples
        for file in (sample.image, sample.mask)
        if file is not None
    ]
    samples = Cache(
        [sample.image.name for sample in masks.samples],
        read,
        folder=options.cache,
        cache_key=(files, config.input_size, config.num_classes, config.classes),
    )
    _check_masks(str(data), samples, config, options)
    stream = batches(
        samples,
        config.batch_size,
        epochs=options.epochs,
        shuffle=options.training,
        augment=_augment(config, names, options.seed) if options.training else None,
        finish=finish,
        seed=options.seed,
        shard=options.shard,
        devices=options.devices,
    )
    originals = [partial(read_image, sample.image) for sample in masks.samples]
    return replace(stream, originals=originals)


def _listed(data: str | Path, masks: MaskDataset, config: Config) -> tuple[str, ...]:
    """Return the names of the classes in a list beside the masks, where the config has none.

    Raises:
        DentalzooError: there are more or fewer than the config has.
    """
    if config.num_classes == 1 or len(masks.classes) == 1:
        return ()
    if masks.num_classes != config.num_classes:
        raise DentalzooError(
            f"num_classes must be {masks.num_classes} for the background and the classes of "
            f"{data}: {few_of(masks.classes)}. Received: {config.num_classes}"
        )
    what = f"classes={masks.classes} keeps the names of the masks' classes in the bundle"
    notice_once(what, Path(data), logging.INFO)
    return masks.classes


def _check_masks(data: str, samples: Cache, config: Config, options: DataOptions) -> None:
    """Refuse to train on masks without any object, and log what is suspicious about them.

    Args:
        data: the data folder.
        samples: "mask" (N, H, W, 1) uint8, 0..255 where they are binary, else class ids.
        config: of the model.
        options: of the data set.
    """
    binary = config.num_classes == 1
    ids = [str(number) for number in range(1, config.num_classes)]
    statistics = MaskStatistics(config.classes or (("foreground",) if binary else ids))
    empty = []
    for name, mask in zip(samples.names, samples.arrays["mask"], strict=True):
        facts = facts_of((mask > 127).astype(np.uint8) if binary else mask)
        statistics.add_facts(facts)
        empty += [] if facts.area else [name]
    if options.training and statistics.empty == statistics.masks:
        raise DentalzooError(
            f"{data}: a mask to train on must hold an object. Received: {statistics.empty} empty "
            "masks"
        )
    if options.training:
        note_empty(Path(data), empty, len(samples.names))
    for problem in statistics.problems():
        what = f" (split {options.split})" if options.split else ""
        notice_once(f"{problem}{what}", Path(data))


def _augment(config: Config, names: Sequence[str], seed: int) -> Augment | None:
    """Return the config's augmentation; it does not flip where classes have sides, as teeth do."""
    if config.augmentation is None:
        return None
    transforms = AUGMENTATIONS[config.augmentation]
    if config.num_classes <= 32 and not have_sides(names):
        return Augment(transforms, seed)
    _log.info("classes have sides: images are not flipped, left would become right")
    return Augment(lambda: [t for t in transforms() if type(t).__name__ != "HorizontalFlip"], seed)


def example_batch(config: Config) -> dict[str, np.ndarray]:
    """Return two synthetic radiographs as `make_dataset` delivers them."""
    from dentalzoo.data.synthetic import panoramic

    radiographs = [panoramic(seed, *config.input_size) for seed in range(2)]
    images = [np.repeat(radiograph.image[..., None], 3, -1) for radiograph in radiographs]
    masks = [radiograph.tooth_mask[..., None] for radiograph in radiographs]
    return {
        "image": np.stack(images) / np.float32(255),
        "mask": np.stack(masks).astype(np.float32),
    }
