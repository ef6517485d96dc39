"""Images of teeth to train on."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dentalzoo.contracts import DataOptions, Stream
from dentalzoo.data.images import find_images, load_image, native_image
from dentalzoo.data.pipeline import Cache, batches
from dentalzoo.data.pipeline.augmentation import Augment, albumentations
from dentalzoo.models.tooth_vae.config import Config

if TYPE_CHECKING:
    import tensorflow as tf

MIN_IMAGES = 10  # to learn from


def make_dataset(data: str | Path, config: Config, options: DataOptions = DataOptions()) -> Stream:
    """Return batches of images of teeth.

    Args:
        data: a folder of images, see docs/data_formats.md.
        config: size, channels, crops, validation fraction, batch size and augmentation.
        options: see `DataOptions`; 12 kB of cache an image of 64 x 64 pixels.

    Returns:
        Batches {"image": float32 (B, H, W, C) in [0, 1]}. Bad files are logged and left out.

    Raises:
        DentalzooError: no image of the split can be used, or fewer than 10 are there to train.
    """
    images = find_images(
        data,
        options.split,
        crops=config.crops,
        margin=config.margin,
        val_fraction=config.val_fraction,
        min_images=MIN_IMAGES if options.training else 1,
        with_masks=False,
    )

    def read(index: int) -> dict[str, np.ndarray]:
        sample = load_image(images.samples[index], config.input_size, config.channels)
        return {"image": sample["image"]}

    samples = Cache(
        [sample.name for sample in images.samples],
        read,
        folder=options.cache,
        cache_key=(images.cache_key, config.input_size, config.channels),
    )

    def finish(batch: "dict[str, tf.Tensor]") -> "dict[str, tf.Tensor]":
        import tensorflow as tf

        return {"image": tf.cast(batch["image"], tf.float32) / 255.0}

    stream = batches(
        samples,
        config.batch_size,
        epochs=options.epochs,
        shuffle=options.training,
        augment=_augment(config, options.seed) if options.training else None,
        finish=finish,
        seed=options.seed,
        shard=options.shard,
        devices=options.devices,
    )
    originals = [partial(native_image, sample) for sample in images.samples]
    return replace(stream, originals=originals)


def _augment(config: Config, seed: int) -> Callable[..., dict[str, np.ndarray]] | None:
    """Return what changes a sample of an epoch: it is a function of the seed, epoch and index."""

    def flip(sample: dict[str, np.ndarray], epoch: int, index: int) -> dict[str, np.ndarray]:
        flipped = np.random.default_rng((seed, epoch, index)).random() < 0.5
        return {"image": sample["image"][:, ::-1] if flipped else sample["image"]}

    if config.augmentation == "photograph":
        return Augment(_photograph, seed)
    return flip if config.augmentation else None


def _photograph() -> list[Any]:
    """Return transforms for photographs of single teeth: another frame, another light."""
    A, reflect_101 = albumentations(), 4
    return [
        A.HorizontalFlip(p=0.5),
        A.Affine(
            translate_percent={"x": (-0.05, 0.05), "y": (-0.05, 0.05)},
            scale=(0.9, 1.15),
            rotate=(-10, 10),
            keep_ratio=True,
            border_mode=reflect_101,
            p=0.8,
        ),
        A.RandomBrightnessContrast(0.1, 0.1, p=0.5),
    ]


def example_batch(config: Config) -> dict[str, np.ndarray]:
    """Return two synthetic photographs as `make_dataset` delivers them."""
    from dentalzoo.data.io.images import resize
    from dentalzoo.data.synthetic import tooth_photo

    photos = [resize(tooth_photo(seed).image, config.input_size) for seed in range(2)]
    if config.channels == 1:
        photos = [photo.mean(axis=-1, keepdims=True) for photo in photos]
    return {"image": np.stack(photos).astype(np.float32) / 255}
