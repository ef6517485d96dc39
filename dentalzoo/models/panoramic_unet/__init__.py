"""U-Net with a VGG-16 encoder: segmentation of panoramic X-rays.

M. Ali, "Dental Panoramic X-Ray Segmentation Using U-Net with VGG-16 Backbone", 2025: an article and
the repository mohamedali020/Dental-Panoramic-X-Ray-Segmentation-Using-U-Net-with-VGG-16-Backbone
(6116112); without DOI. Network: Ronneberger et al. 2015, arXiv:1505.04597, as segmentation-models
1.0.1 builds it.

A convolutional encoder reads the radiograph, a decoder with skip connections gives every pixel a
probability of belonging to the annotated structures. The mask is the probability above 0.5, or the
most probable class where there are several. Training is by Dice loss on images with masks.

Inputs: image (B, H, W, 3) float32 in [0, 1], H and W as in the config.
Outputs: mask (B, H, W, K) float32 probabilities: K = 1 (sigmoid), or K classes (softmax, 0 is
background). The SavedModel takes uint8 images of any size, see `signatures`.

Differences from the paper:
- The decoder of the VGG-16 run is not published. `paper` is the U-Net of segmentation-models;
  `wide` is the reconstruction from the same author's VGG-19 repository (@546b3c8), whose parameter
  count it matches: 41,076,929 with VGG-16.
- Article and repository disagree on the loss. The curves of the published run (Dice + loss = 1)
  were made with the Dice loss alone, so that is `paper`'s; `loss="bce_dice"` is the article's text.
- The paper's validation images are augmented like its training images. Here they are not.
- ReduceLROnPlateau watched Dice as if it were to fall; here it knows that Dice is to rise.
- Albumentations 1.1.0's recipe is expressed in 2.0.8 with 1.1.0's borders, noise and scale.

Example:
    >>> import dentalzoo as dz
    >>> model = dz.build("panoramic_unet", "light")
    >>> unet = dz.load("panoramic_unet.panoramic_teeth_v1")
    >>> mask = unet.serve(radiograph)["mask"]             # radiograph: uint8 (H, W)
"""

import dataclasses
import logging
import math
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dentalzoo.bundle.hub import Weights
from dentalzoo.config import (
    check_choices,
    check_filters,
    check_numbers,
    check_size,
    check_whole_numbers,
    make_tuples,
)
from dentalzoo.data.io.graph import image_spec, to_network
from dentalzoo.data.io.images import resize
from dentalzoo.data.masks import find_masks, load
from dentalzoo.data.pipeline.augmentation import Augment, albumentations, radiograph_transforms
from dentalzoo.data.pipeline.batching import Cache, batches
from dentalzoo.errors import DentalzooError
from dentalzoo.models.panoramic_unet.network import DECODERS, SLIM_ENCODERS, build_network

log = logging.getLogger("dentalzoo")

ABOUT = {
    "paper": "M. Ali, Dental Panoramic X-Ray Segmentation Using U-Net with VGG-16 Backbone, 2025",
    "inputs": "image: uint8 (B, H, W, 1 or 3), any size; a panoramic X-ray",
    "outputs": "mask: uint8 (B, H, W, 1) class ids, 0 = background; "
    "probabilities: float32 (B, H, W, K)",
    "intended_use": "Research on panoramic X-rays of adults. Not a medical device, not for "
    "diagnosis.",
}


@dataclass(frozen=True)
class Config:
    """Settings of the network and of its training; the defaults are the paper's."""

    decoder: str = "unet"  # article; or fpn, linknet, pspnet, wide
    encoder: str = "vgg16"  # article
    encoder_weights: str | None = "imagenet"  # article; or a file, or None
    freeze_encoder: bool = False  # not stated for VGG-16; ours
    num_classes: int = 1  # preprocessing notebook: one binary mask
    classes: tuple[str, ...] = ()  # ours: names of the classes 1..K-1; COCO data needs them
    annotations: str = "auto"  # ours: masks, coco, or masks where there are any
    input_size: tuple[int, int] = (256, 256)  # preprocessing notebook: (height, width)
    input_range: tuple[float, float] = (0.0, 1.0)  # preprocessing notebook: image / 255
    decoder_filters: tuple[int, ...] = (256, 128, 64, 32, 16)  # segmentation-models 1.0.1
    bn_momentum: float = 0.99  # Keras' default
    augmentation: str | None = "paper"  # preprocessing notebook; or radiograph, None
    loss: str = "dice"  # curves of the published run; article: bce_dice
    learning_rate: float = 1e-4  # article, third text
    schedule: str = "plateau"  # the author's VGG-19 notebook; or cosine
    early_stopping: int | None = 2  # epochs without a better Dice, VGG-19 notebook
    batch_size: int = 8  # preprocessing notebook
    epochs: int = 8  # curves of the published run
    monitor: str = "val_dice"  # VGG-19 notebook
    monitor_mode: str = "max"  # VGG-19 notebook says nothing, hence min: a mistake

    def __post_init__(self):
        check_choices(
            self,
            decoder=(*DECODERS, "wide"),
            augmentation=tuple(AUGMENTATIONS),
            loss=("dice", "bce_dice"),
            schedule=("plateau", "cosine"),
            monitor_mode=("max", "min"),
            freeze_encoder=(True, False),
            annotations=("auto", "masks", "coco"),
        )
        check_whole_numbers(self, "epochs", "batch_size")
        if self.early_stopping is not None:
            check_whole_numbers(self, "early_stopping")
        check_numbers(self, learning_rate=(0, math.inf), bn_momentum=(0, 1))
        check_whole_numbers(self, "num_classes", most=255)
        make_tuples(self, "input_range", "classes")
        if len(self.input_range) != 2 or not self.input_range[0] < self.input_range[1]:
            raise DentalzooError(f"input_range is (low, high). Received: {self.input_range}")
        check_filters(self, "decoder_filters", count=5)
        if self.classes and len(self.classes) != max(1, self.num_classes - 1):
            raise DentalzooError(
                f"classes names every class but the background, {max(1, self.num_classes - 1)} "
                f"here. Received: {self.classes}"
            )
        check_size(self, "input_size", multiple=48 if self.decoder == "pspnet" else 32)
        slim = self.encoder in SLIM_ENCODERS
        if slim and self.decoder != "unet" or self.decoder == "wide" and self.encoder != "vgg16":
            raise DentalzooError(
                "wide goes with vgg16, and the slim MobileNets with unet. "
                f"Received: decoder={self.decoder!r}, encoder={self.encoder!r}"
            )


def _paper_transforms() -> list:
    """Preprocessing notebook: Albumentations 1.1.0 with its defaults, in the words of 2.0.8."""
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


AUGMENTATIONS = {"paper": _paper_transforms, "radiograph": radiograph_transforms, None: None}

_PAPER = Config()
_LIGHT = dataclasses.replace(
    _PAPER,
    encoder="mobilenet_0.25",
    input_size=(256, 640),
    input_range=(-1.0, 1.0),  # what MobileNet's ImageNet weights were trained with
    decoder_filters=(128, 64, 48, 32, 16),
    bn_momentum=0.9,
    augmentation="radiograph",
    loss="bce_dice",
    learning_rate=1e-3,
    schedule="cosine",
    early_stopping=None,
    batch_size=4,
    epochs=60,
)
VARIANTS = {
    "paper": _PAPER,
    "wide": dataclasses.replace(_PAPER, decoder="wide", freeze_encoder=True),
    "light": _LIGHT,
    "tiny": dataclasses.replace(
        _LIGHT,
        encoder_weights=None,
        input_size=(32, 64),
        decoder_filters=(8, 8, 8, 8, 8),
        augmentation="paper",
        epochs=2,
        batch_size=2,
    ),
}


def make_dataset(
    data_dir: str | Path,
    split: str | None,
    config: Config,
    *,
    training: bool = False,
    epochs: range = range(1),
    seed: int = 0,
    cache: str | Path | None = None,
    devices: int = 1,
):
    """Batches of radiographs and masks.

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
        A `tf.data.Dataset` of {"image": float32 (B, H, W, 3) in [0, 1], "mask": float32
        (B, H, W, 1), class ids}. Bad files are logged and left out.

    Raises:
        DentalzooError: no layout is recognised, or no image of the split can be used.
    """
    import tensorflow as tf

    found = find_masks(data_dir, split, config.classes or None, config.annotations)
    binary = config.num_classes == 1
    found.check_names(config.num_classes)

    def read(index: int) -> dict[str, np.ndarray]:
        sample = load(found.samples[index], config.num_classes, channels=3)
        mask = sample["mask"] * np.uint8(255 if binary else 1)
        return {
            "image": resize(sample["image"], config.input_size),
            # A binary mask stays soft until after augmentation, as in the paper's generator.
            "mask": resize(mask, config.input_size, nearest=not binary),
        }

    def finish(batch):
        mask = tf.cast(batch["mask"], tf.float32)
        return {
            "image": tf.cast(batch["image"], tf.float32) / 255.0,
            "mask": tf.cast(mask > 127.5, tf.float32) if binary else mask,
        }

    files = [
        (str(file), os.stat(file).st_mtime_ns, repr(sample.regions))
        for sample in found.samples
        for file in (sample.image, sample.mask)
        if file is not None
    ]
    samples = Cache(
        [sample.image.name for sample in found.samples],
        read,
        folder=cache,
        fingerprint=(files, config.input_size, config.num_classes, config.classes),
    )
    transforms = AUGMENTATIONS[config.augmentation] if training else None
    if transforms and (config.num_classes > 32 or any(name.isdigit() for name in config.classes)):
        log.info("classes are tooth numbers: images are not flipped, left would become right")
        flipped = transforms

        def transforms():
            return [t for t in flipped() if type(t).__name__ != "HorizontalFlip"]

    return batches(
        samples,
        config.batch_size,
        epochs=epochs,
        shuffle=training,
        augment=Augment(transforms, seed) if transforms else None,
        finish=finish,
        seed=seed,
        devices=devices,
    )


# ------------------------------------------------------------------------------------ the network


def build_model(config: Config):
    """Builds the network.

    Returns:
        A `keras.Model`: image (B, H, W, 3) float32 in [0, 1] -> mask (B, H, W, K) float32
        probabilities.

    Raises:
        DentalzooError: an encoder that does not exist or weights that cannot be loaded.
    """
    import keras

    image = keras.Input((*config.input_size, 3), name="image")
    low, high = config.input_range
    x = image
    if (low, high) != (0.0, 1.0):
        x = keras.layers.Rescaling(high - low, offset=low, name="rescale")(x)
    network = build_network(config)
    for layer in network.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = config.bn_momentum
    x = network(x)  # (B, H, W, K) logits
    activation = "sigmoid" if config.num_classes == 1 else "softmax"
    # In float32 even under mixed precision: bfloat16 rounds sigmoid(6) to 1, and logs follow.
    x = keras.layers.Activation(activation, dtype="float32", name="mask")(x)
    return keras.Model(image, x, name="panoramic_unet")


def compile_model(model, config: Config, steps: int = 1) -> None:
    """Compiles the model with the config's loss, optimizer and metrics.

    Args:
        steps: number of training steps, over which a cosine schedule falls to zero.
    """
    import keras

    from dentalzoo.nn import losses
    from dentalzoo.nn.metrics import segmentation_metrics

    rate = config.learning_rate
    if config.schedule == "cosine":
        rate = keras.optimizers.schedules.CosineDecay(rate, steps)
    model.compile(
        optimizer=keras.optimizers.Adam(rate),
        loss=losses.Dice() if config.loss == "dice" else losses.BCEDice(),
        metrics=segmentation_metrics(config.num_classes),
    )


def callbacks(config: Config) -> list:
    """The recipe's callbacks: early stopping and a falling rate, both on the monitored metric."""
    import keras

    watch = {"monitor": config.monitor, "mode": config.monitor_mode}
    found = []
    if config.early_stopping is not None:
        found.append(keras.callbacks.EarlyStopping(patience=config.early_stopping, **watch))
    if config.schedule == "plateau":  # factor, patience and min_lr: VGG-19 notebook
        found.append(
            keras.callbacks.ReduceLROnPlateau(factor=0.2, patience=3, min_lr=1e-6, **watch)
        )
    return found


# ------------------------------------------------------------------------------------- in service


def signatures(model, config: Config) -> dict:
    """The functions of the SavedModel; all pre- and post-processing is inside the graph.

    - `serve`: images uint8 (B, H, W, 1 or 3), any B, H, W -> mask uint8 (B, H, W, 1), class ids;
      probabilities float32 (B, H, W, K).
    - `serve_encoded`: the bytes of one PNG, JPEG, BMP or GIF -> the same for B = 1. The image is
      taken as stored: EXIF orientation is not applied.

    Args:
        model: callable, image float32 (B, H, W, 3) in [0, 1] -> probabilities (B, H, W, K).
    """
    import tensorflow as tf

    @tf.function(input_signature=[image_spec()])
    def serve(images):
        probabilities = model(to_network(images, config.input_size, channels=3))
        probabilities = tf.image.resize(probabilities, tf.shape(images)[1:3], antialias=True)
        if config.num_classes == 1:
            mask = tf.cast(probabilities > 0.5, tf.uint8)
        else:
            mask = tf.cast(tf.argmax(probabilities, axis=-1)[..., None], tf.uint8)
        return {"mask": mask, "probabilities": probabilities}

    @tf.function(input_signature=[tf.TensorSpec((), tf.string, "encoded")])
    def serve_encoded(encoded):
        return serve(tf.io.decode_image(encoded, channels=3, expand_animations=False)[None])

    return {"serve": serve, "serve_encoded": serve_encoded}


PRETRAINED = {
    "panoramic_teeth_v1": Weights(  # ships with the repository
        metrics={"dice": 0.9305, "iou": 0.8703},  # means over the 15 radiographs of the val split
        data="panoramic_teeth: 70 radiographs of Abdi et al. 2015 with the masks of S. Helli",
        licence="CC-BY-NC-3.0",
        command="see docs/models/panoramic_unet.md",
    ),
}


def example_batch(config: Config) -> dict[str, np.ndarray]:
    """Two phantoms as `make_dataset` would deliver them."""
    from dentalzoo.data.synthetic import panoramic

    radiographs = [panoramic(seed, *config.input_size) for seed in range(2)]
    return {
        "image": np.stack([np.repeat(f.image[..., None], 3, -1) for f in radiographs])
        / np.float32(255),
        "mask": np.stack([f.tooth_mask[..., None] for f in radiographs]).astype(np.float32),
    }
