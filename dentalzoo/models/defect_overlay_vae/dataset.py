"""Images of defects to train on."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dentalzoo.contracts import DataOptions, Stream
from dentalzoo.data.images import find_images, load_image, native_image
from dentalzoo.data.pipeline import Cache, balanced_order, batches, epoch_order
from dentalzoo.data.pipeline.augmentation import Augment, albumentations
from dentalzoo.errors import DentalzooError
from dentalzoo.models.defect_overlay_vae.config import Config

if TYPE_CHECKING:
    import tensorflow as tf


def make_dataset(data: str | Path, config: Config, options: DataOptions = DataOptions()) -> Stream:
    """Return batches of images of defects.

    Args:
        data: a folder of images, see docs/data_formats.md.
        config: size, channels, polarity, crops, validation fraction, copies and batch size.
        options: see `DataOptions`; training visits every image `copies` times an epoch.

    Returns:
        Batches {"image": float32 (B, H, W, C) in [0, 1]}, inverted where the config says so. Bad
        files are logged and left out.

    Raises:
        DentalzooError: no image of the split can be used, or `stratified` and more images than
            a batch holds.
    """
    images = find_images(
        data,
        options.split,
        crops=config.crops,
        margin=config.margin,
        window=config.window,
        smallest=max(config.input_size) if config.crops == "auto" else 1,
        val_fraction=config.val_fraction,
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
    if options.training and config.stratified and len(samples) > config.batch_size:
        raise DentalzooError(
            f"stratified: every minibatch holds every image, so there must be at most "
            f"{config.batch_size} images (batch_size), or stratified=False. "
            f"Received: {len(samples)}"
        )

    def order(epoch: int) -> np.ndarray:
        if config.stratified:
            return balanced_order(
                len(samples), config.copies, config.batch_size, options.seed, epoch
            )
        return epoch_order(len(samples) * config.copies, options.seed, epoch) % len(samples)

    def finish(batch: "dict[str, tf.Tensor]") -> "dict[str, tf.Tensor]":
        import tensorflow as tf

        image = tf.cast(batch["image"], tf.float32) / 255.0
        return {"image": 1.0 - image if config.invert else image}

    flips = options.training and config.augmentation == "flips"
    stream = batches(
        samples,
        config.batch_size,
        epochs=options.epochs,
        order=order if options.training else None,
        augment=Augment(_flips, options.seed) if flips else None,
        finish=finish,
        seed=options.seed,
        shard=options.shard,
        devices=options.devices,
    )
    originals = [partial(native_image, sample) for sample in images.samples]
    return replace(stream, originals=originals)


def _flips() -> list[Any]:
    A = albumentations()
    return [A.HorizontalFlip(p=0.5), A.VerticalFlip(p=0.5)]


def example_batch(config: Config) -> dict[str, np.ndarray]:
    """Return two synthetic surfaces as `make_dataset` delivers them."""
    from dentalzoo.data.io.images import resize
    from dentalzoo.data.synthetic import defect

    surfaces = [defect(seed, kind).image[..., None] for seed, kind in enumerate(("crack", "pore"))]
    sized = [np.repeat(resize(image, config.input_size), config.channels, -1) for image in surfaces]
    images = np.stack(sized).astype(np.float32) / 255
    return {"image": 1 - images if config.invert else images}
