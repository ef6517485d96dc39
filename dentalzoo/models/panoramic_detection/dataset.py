"""Radiographs and boxes to train on, and how they are varied."""

import logging
from pathlib import Path

import numpy as np

from dentalzoo.data.boxes import find_boxes, load_boxes
from dentalzoo.data.io.images import resize
from dentalzoo.data.pipeline.augmentation import Augment, albumentations, black_patches
from dentalzoo.data.pipeline.batching import Cache, batches
from dentalzoo.errors import DentalzooError

log = logging.getLogger("dentalzoo")


def _paper_transforms() -> list:
    """Its ssd.config, with the API's parameters: flips, contrast, black patches."""
    A = albumentations()
    return [
        A.HorizontalFlip(p=0.5),
        A.VerticalFlip(p=0.5),
        A.RandomBrightnessContrast(0.0, (-0.2, 0.25), p=1.0),
        black_patches(count=10, probability=0.5, size=0.1),
    ]


def _radiograph_transforms() -> list:
    """Ours: flips, a part of the radiograph enlarged, exposure."""
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


AUGMENTATIONS = {"paper": _paper_transforms, "radiograph": _radiograph_transforms, None: None}


def make_dataset(
    data_dir: str | Path,
    split: str | None,
    config,
    *,
    training: bool = False,
    epochs: range = range(1),
    seed: int = 0,
    cache: str | Path | None = None,
    devices: int = 1,
):
    """Batches of radiographs and boxes.

    Args:
        data_dir: a folder in a layout of docs/data_formats.md.
        split: `train`, `val`, `test` or None for all images.
        config: sizes, classes, batch size and augmentation.
        training: shuffle and augment.
        epochs: the epochs to deliver, one after the other.
        seed: seed of order and augmentation.
        cache: folder for the resized images; memory where None.
        devices: see `dentalzoo.data.pipeline.batches`.

    Returns:
        A `tf.data.Dataset` of {"image": float32 (B, H, W, 3) in [0, 1], "boxes": float32 (B, M, 4)
        yxyx in [0, 1], "classes": int32 (B, M), from 1 and 0 where there is none}. Crowds of COCO
        are left out, difficult findings are not; bad files are logged and left out.

    Raises:
        DentalzooError: no layout is recognised, or no image of the split can be used.
    """
    import tensorflow as tf

    found = find_boxes(data_dir, split, classes=config.classes, val_fraction=config.val_fraction)
    if not any(sample.boxes for sample in found.samples):
        raise DentalzooError(
            f"{data_dir}: no box of the classes {config.classes}. Name the data's: --set "
            f'\'classes=("one","other")\'. Received: {len(found)} images without a box'
        )

    def read(index: int) -> dict[str, np.ndarray]:
        sample = load_boxes(found.samples[index], config.classes, channels=3)
        single = ~sample["crowd"]  # a box around several of a kind is none to learn
        boxes, labels = sample["boxes"][single], sample["labels"][single]
        if len(boxes) > config.max_boxes:
            name = found.samples[index].name
            log.warning("%s: the first %d of %d boxes", name, config.max_boxes, len(boxes))
        rows = min(len(boxes), config.max_boxes)
        empty = config.max_boxes - rows
        return {
            "image": resize(sample["image"], config.input_size),
            "boxes": np.pad(np.float32(boxes[:rows]), ((0, empty), (0, 0))),
            "classes": np.pad(np.int32(labels[:rows]), (0, empty)),
        }

    samples = Cache(
        [sample.name for sample in found.samples],
        read,
        folder=cache,
        fingerprint=(found.cache_key, config.input_size, config.classes, config.max_boxes),
    )
    transforms = AUGMENTATIONS[config.augmentation] if training else None
    return batches(
        samples,
        config.batch_size,
        epochs=epochs,
        shuffle=training,
        augment=Augment(transforms, seed, config.classes) if transforms else None,
        finish=lambda batch: {**batch, "image": tf.cast(batch["image"], tf.float32) / 255.0},
        seed=seed,
        devices=devices,
    )
