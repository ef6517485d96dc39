"""Radiographs and boxes to train on, and their augmentation."""

import logging
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dentalzoo.contracts import DataOptions, Stream
from dentalzoo.data.boxes import find_boxes, load_boxes
from dentalzoo.data.formats.base import note_empty
from dentalzoo.data.io.images import read_image, resize
from dentalzoo.data.pipeline import Cache, batches
from dentalzoo.data.pipeline.augmentation import (
    Augment,
    albumentations,
    black_patches,
    radiograph_transforms,
)
from dentalzoo.errors import DentalzooError
from dentalzoo.models.panoramic_detection.config import Config

if TYPE_CHECKING:
    import tensorflow as tf

_log = logging.getLogger("dentalzoo")


def _paper_transforms() -> list[Any]:
    """Return the transforms of the paper's ssd.config, with the API's parameters."""
    A = albumentations()
    return [
        A.HorizontalFlip(p=0.5),
        A.VerticalFlip(p=0.5),
        A.RandomBrightnessContrast(0.0, (-0.2, 0.25), p=1.0),
        black_patches(count=10, probability=0.5, size=0.1),
    ]


def _radiograph_transforms() -> list[Any]:
    """Return our transforms: flips, a part of the radiograph magnified, exposure."""
    A = albumentations()
    return [
        A.HorizontalFlip(p=0.5),
        A.VerticalFlip(p=0.5),
        A.Affine(
            scale=(0.9, 1.6),
            translate_percent={"x": (-0.15, 0.15), "y": (-0.15, 0.15)},
            rotate=(-5, 5),
            p=0.8,
        ),
        A.RandomBrightnessContrast(0.15, 0.25, p=0.8),
        A.RandomGamma((80, 125), p=0.3),
    ]


AUGMENTATIONS = {
    "paper": _paper_transforms,
    "radiograph": _radiograph_transforms,
    "panoramic": radiograph_transforms,
}


def make_dataset(data: str | Path, config: Config, options: DataOptions = DataOptions()) -> Stream:
    """Return batches of radiographs and boxes.

    Args:
        data: a folder in a layout of docs/data_formats.md.
        config: sizes, classes, batch size and augmentation.
        options: see `DataOptions`.

    Returns:
        Batches {"image": float32 (B, H, W, 3) in [0, 1], "boxes": float32 (B, M, 4) yxyx in [0, 1],
        "classes": int32 (B, M), from 1 and 0 where there is none}. Crowds of COCO are left out,
        difficult findings are not; bad files are logged and left out.

    Raises:
        DentalzooError: no layout is recognised, or no image of the split can be used.
    """
    radiographs = find_boxes(
        data, options.split, classes=config.classes, val_fraction=config.val_fraction
    )
    if not any(sample.boxes for sample in radiographs.samples):
        raise DentalzooError(
            f"{data} must have boxes of the classes {config.classes}. Name the data's: --set "
            f'\'classes=("one","other")\'. Received: {len(radiographs)} images without a box'
        )
    if options.training:
        empty = [sample.name for sample in radiographs.samples if not sample.boxes]
        note_empty(Path(data), empty, len(radiographs))

    def read(index: int) -> dict[str, np.ndarray]:
        sample = load_boxes(radiographs.samples[index], config.classes, channels=3)
        single = ~sample["crowd"]  # a box around several of a kind teaches no box of one
        boxes, labels = sample["boxes"][single], sample["labels"][single]
        if len(boxes) > config.max_boxes:
            name = radiographs.samples[index].name
            _log.warning("%s: the first %d of %d boxes", name, config.max_boxes, len(boxes))
        rows = min(len(boxes), config.max_boxes)
        empty = config.max_boxes - rows
        return {
            "image": resize(sample["image"], config.input_size),
            "boxes": np.pad(np.float32(boxes[:rows]), ((0, empty), (0, 0))),
            "classes": np.pad(np.int32(labels[:rows]), (0, empty)),
        }

    samples = Cache(
        [sample.name for sample in radiographs.samples],
        read,
        folder=options.cache,
        cache_key=(radiographs.cache_key, config.input_size, config.classes, config.max_boxes),
    )

    def finish(batch: "dict[str, tf.Tensor]") -> "dict[str, tf.Tensor]":
        import tensorflow as tf

        return {**batch, "image": tf.cast(batch["image"], tf.float32) / 255.0}

    augment = None
    if options.training and config.augmentation is not None:
        augment = Augment(AUGMENTATIONS[config.augmentation], options.seed, config.classes)
    stream = batches(
        samples,
        config.batch_size,
        epochs=options.epochs,
        shuffle=options.training,
        augment=augment,
        finish=finish,
        seed=options.seed,
        shard=options.shard,
        devices=options.devices,
    )
    ids = radiographs.category_ids
    originals = [partial(read_image, sample.image) for sample in radiographs.samples]
    return replace(stream, record={"category_ids": ids} if ids else {}, originals=originals)


def example_batch(config: Config) -> dict[str, np.ndarray]:
    """Return two synthetic radiographs as `make_dataset` delivers them."""
    from dentalzoo.data.synthetic import panoramic

    height, width = config.input_size
    radiographs = [panoramic(seed, 128, 256) for seed in range(2)]
    images = [
        np.repeat(resize(radiograph.image[..., None], (height, width)), 3, -1)
        for radiograph in radiographs
    ]
    boxes = np.zeros((2, config.max_boxes, 4), np.float32)
    classes = np.zeros((2, config.max_boxes), np.int32)
    boxes[:, 0], classes[:, 0] = (0.2, 0.3, 0.6, 0.5), 1
    return {"image": np.stack(images).astype(np.float32) / 255, "boxes": boxes, "classes": classes}
