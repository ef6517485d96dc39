"""A variational autoencoder that overlays several defects by summing latent vectors.

Malyshev et al., GraphiCon 2021: a variational autoencoder for images of surface defects. Network:
the example "Variational AutoEncoder" of keras.io (F. Chollet, 2020).

An encoder turns a grey image of a defect into mean and variance of a normal distribution over a
plane, a sample of it goes through a decoder, and the image comes back. A grid of points of the
plane, decoded, shows what lies between the images. The sum of the vectors of several images,
decoded, is meant to show all their defects in one: an overlay.

Inputs: image (B, H, W, C) float32 in [0, 1], H and W as in the config, C = 1 or 3.
Outputs: z_mean, z_log_var, z (B, D) and reconstruction (B, H, W, C) float32 in [0, 1]. The
SavedModel takes uint8 images of any size, see `signatures`.

Differences from the paper:
- It does not state the size of its images; here 64x64. Its 80 images of cracks are private.
- Two forms of the loss were in use in its year. `paper` sums the KL divergence over the latent
  units; `kl_reduction="mean"` is the older form.
- `few` is section 4, a few images copied 500 times: copies are visits of the same image, and
  every minibatch holds every image.
- Run literally, the recipe often ends with dead ReLU units and one image for every point, and a
  sum of latent vectors does not show its sources. `robust` and `robust_few` are ours. Their latent
  units have a place in the image and start as a cosine transform, which keeps images apart
  from the first step; sums of latent vectors are trained to decode to what an overlay should be;
  and their own overlay decodes each image and puts the defects together (`overlay="maximum"`),
  so that none is lost in another's grain. `overlay="sum"` is the trained sum.

Example:
    >>> import dentalzoo as dz
    >>> vae = dz.train("defect_overlay_vae", data="surfaces", out="runs/vae", variant="robust")
    >>> both = vae.overlay(np.stack([crack, pore]), np.ones(2, "float32"))["image"]
"""

import dataclasses
import logging
import math
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
from dentalzoo.data.images import CROPS, find_images, load_image
from dentalzoo.data.pipeline.augmentation import Augment, albumentations
from dentalzoo.data.pipeline.batching import Cache, balanced_order, batches, epoch_order
from dentalzoo.errors import DentalzooError

log = logging.getLogger("dentalzoo")

ABOUT = {
    "paper": "Malyshev et al., variational autoencoder for images of defects, GraphiCon 2021",
    "inputs": "images: uint8 (B, H, W, 1 or 3), any size; images of a surface with a defect",
    "outputs": "z_mean, z_log_var, z: float32 (B, D) or (D,); image: float32 (B, H, W, C) or "
    "(H, W, C) in [0, 1]",
    "intended_use": "Research and training images for the inspection of surfaces. An overlay is "
    "no evidence of how real defects meet.",
}


@dataclass(frozen=True)
class Config:
    """Settings of the network and of its training; the defaults are the paper's."""

    network: str = "conv"  # the Keras example; or map, ours: units with a place in the image
    input_size: tuple[int, int] = (64, 64)  # not stated; ours: (height, width)
    channels: int = 1  # section 3: black and white
    latent_dim: int = 2  # section 3
    filters: tuple[int, ...] = (32, 64)  # the Keras example
    hidden: int = 16  # the Keras example; of conv
    hidden_activation: str = "relu"  # the Keras example; of conv
    activation: str = "relu"  # the Keras example
    likelihood: str = "bernoulli"  # the Keras example; or gaussian
    sigma: float = 0.1  # ours: deviation of the gaussian likelihood
    beta: float = 1.0  # the Keras example has none
    kl_reduction: str = "sum"  # the Keras example; its first form of 2020: mean
    free_bits: float = 0.0  # ours: nats per latent unit without a price
    warmup_epochs: int = 0  # ours: epochs over which beta rises from 0
    mixture: float = 0.0  # ours: weight of the loss of overlays
    averaged: int = 0  # ours: the first latent units are of the background, which is averaged
    defects: str = "dark"  # ours: or bright, or both; which is seen where they meet
    overlay: str = "sum"  # section 4; ours: mean, or maximum: of the decoded images
    invert: bool = False  # ours: the network works on 1 - image
    copies: int = 1  # section 3; section 4: 500
    stratified: bool = False  # section 4: every minibatch holds every image
    crops: str | None = None  # ours: masks or boxes cut single defects out
    margin: float = 1.3  # ours: side of a crop in sides of its box
    window: int | None = None  # ours: side of a crop in pixels instead
    val_fraction: float = 0.0  # the paper keeps no images for validation
    scan: tuple[float, ...] = (-15.0, 15.0, -10.0, 10.0)  # section 3: ranges of the two units
    scan_step: float = 0.1  # section 3
    augmentation: str | None = None  # ours: flips, a draw for each image and epoch
    optimizer: str = "rmsprop"  # section 3; or adam
    learning_rate: float = 2e-3  # section 3
    schedule: str = "constant"  # section 3; or cosine
    batch_size: int = 10  # section 3
    epochs: int = 100  # section 3; section 4: 20
    monitor: str = "val_loss"  # ours
    monitor_mode: str = "min"  # ours

    def __post_init__(self):
        check_choices(
            self,
            network=("conv", "map"),
            channels=(1, 3),
            hidden_activation=ACTIVATIONS,
            activation=ACTIVATIONS,
            likelihood=("bernoulli", "gaussian"),
            kl_reduction=("sum", "mean"),
            overlay=("sum", "mean", "maximum"),
            defects=tuple(_POLARITY),
            invert=(True, False),
            stratified=(True, False),
            crops=CROPS,
            augmentation=("flips", None),
            optimizer=("rmsprop", "adam"),
            schedule=("constant", "cosine"),
            monitor_mode=("max", "min"),
        )
        check_whole_numbers(self, "latent_dim", "hidden", "copies", "batch_size", "epochs")
        check_whole_numbers(self, "warmup_epochs", least=0)
        check_whole_numbers(self, "averaged", least=0, most=self.latent_dim - 1)
        if self.window is not None:
            check_whole_numbers(self, "window")
        check_filters(self)
        check_numbers(
            self,
            sigma=(1e-3, 1),
            beta=(0, math.inf),
            free_bits=(0, math.inf),
            mixture=(0, math.inf),
            margin=(1, 100),
            val_fraction=(0, 0.9),
            scan_step=(1e-3, math.inf),
            learning_rate=(0, math.inf),
        )
        check_size(self, "input_size", multiple=2 ** len(self.filters))
        make_tuples(self, "scan")
        if len(self.scan) != 4 or self.scan[0] >= self.scan[1] or self.scan[2] >= self.scan[3]:
            raise DentalzooError(
                f"scan is (from, to) of the first unit and of the second. Received: {self.scan}"
            )
        places = math.prod(side // 2 ** len(self.filters) for side in self.input_size)
        units = self.averaged, self.latent_dim
        if self.network == "map" and (any(n % places for n in units) or not self.averaged):
            raise DentalzooError(
                f"the map network has averaged and latent_dim = {places} times a number of maps. "
                f"Received: averaged={self.averaged}, latent_dim={self.latent_dim}"
            )


ACTIVATIONS = ("relu", "leaky_relu", "elu", "silu", "gelu", "tanh", "sigmoid", "linear")
_POLARITY = {"dark": -1, "bright": 1, "both": 0}

_PAPER = Config()
_FEW = dataclasses.replace(_PAPER, copies=500, stratified=True, epochs=20)
_ROBUST = dataclasses.replace(
    _PAPER,
    network="map",
    filters=(32, 32),
    latent_dim=1536,
    averaged=256,
    activation="silu",
    likelihood="gaussian",
    sigma=0.03,
    mixture=1.0,
    overlay="maximum",
    augmentation="flips",
    optimizer="adam",
    schedule="cosine",
)
VARIANTS = {
    "paper": _PAPER,
    "few": _FEW,
    "robust": _ROBUST,
    "robust_few": dataclasses.replace(
        _ROBUST, augmentation=None, copies=500, stratified=True, epochs=4
    ),
    "tiny": dataclasses.replace(
        _PAPER, input_size=(16, 16), filters=(8, 8), epochs=2, batch_size=4
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
    """Batches of images of defects.

    Args:
        data_dir: a folder of images, see docs/data_formats.md.
        split: `train`, `val`, `test` or None for all images.
        config: size, channels, polarity, crops, validation fraction, copies and batch size.
        training: shuffle, augment, and visit every image `copies` times an epoch.
        epochs: the epochs to deliver, one after the other.
        seed: seed of the order and the augmentation.
        cache: folder for the resized images; memory where None.
        devices: see `dentalzoo.data.pipeline.batches`.

    Returns:
        A `tf.data.Dataset` of {"image": float32 (B, H, W, C) in [0, 1]}, inverted where the config
        says so. Bad files are logged and left out.

    Raises:
        DentalzooError: no image of the split can be used, or `stratified` and more images than
            a batch holds.
    """
    import tensorflow as tf

    found = find_images(
        data_dir,
        split,
        crops=config.crops,
        margin=config.margin,
        window=config.window,
        val_fraction=config.val_fraction,
    )

    def read(index: int) -> dict[str, np.ndarray]:
        sample = load_image(found.samples[index], config.input_size, config.channels)
        return {"image": sample["image"]}

    samples = Cache(
        [sample.name for sample in found.samples],
        read,
        folder=cache,
        fingerprint=(found.cache_key, config.input_size, config.channels),
    )
    if training and config.stratified and len(samples) > config.batch_size:
        raise DentalzooError(
            f"stratified: every minibatch holds every image. At most {config.batch_size} "
            f"images were expected (batch_size), or stratified=False. Received: {len(samples)}"
        )

    def order(epoch):
        if config.stratified:
            return balanced_order(len(samples), config.copies, config.batch_size, seed, epoch)
        return epoch_order(len(samples) * config.copies, seed, epoch) % len(samples)

    def finish(batch):
        image = tf.cast(batch["image"], tf.float32) / 255.0
        return {"image": 1.0 - image if config.invert else image}

    flips = training and config.augmentation == "flips"
    return batches(
        samples,
        config.batch_size,
        epochs=epochs,
        order=order if training else None,
        augment=Augment(_flips, seed) if flips else None,
        finish=finish,
        seed=seed,
        devices=devices,
    )


def _flips() -> list:
    A = albumentations()
    return [A.HorizontalFlip(p=0.5), A.VerticalFlip(p=0.5)]


# ------------------------------------------------------------------------------------ the network


def build_model(config: Config):
    """Builds the autoencoder.

    Returns:
        A `dentalzoo.nn.vae.VAE`: image (B, H, W, C) float32 in [0, 1] -> reconstruction, z_mean,
        z_log_var, z.
    """
    from dentalzoo.models.defect_overlay_vae.network import map_decoder, map_encoder
    from dentalzoo.models.defect_overlay_vae.overlays import OverlayVAE
    from dentalzoo.nn.vae import conv_decoder, conv_encoder

    if config.network == "map":
        encoder, decoder = map_encoder(config), map_decoder(config)
    else:
        shape = config.input_size, config.channels, config.latent_dim
        encoder = conv_encoder(
            *shape,
            filters=config.filters,
            hidden=config.hidden,
            hidden_activation=config.hidden_activation,
            activation=config.activation,
        )
        decoder = conv_decoder(*shape, filters=config.filters[::-1], activation=config.activation)
    return OverlayVAE(
        encoder,
        decoder,
        likelihood=config.likelihood,
        sigma=config.sigma,
        beta=config.beta,
        kl_reduction=config.kl_reduction,
        free_bits=config.free_bits,
        averaged=config.averaged,
        polarity=_polarity(config),
        mixture=config.mixture,
        separated=config.stratified,
        name="defect_overlay_vae",
    )


def _polarity(config: Config) -> int:
    """Of the defects as the network sees them."""
    return -_POLARITY[config.defects] if config.invert else _POLARITY[config.defects]


def compile_model(model, config: Config, steps: int = 1) -> None:
    """Compiles the model with the config's optimizer; it carries its own loss.

    Args:
        steps: number of training steps, over which a cosine schedule falls to zero.
    """
    import keras

    model.warmup_steps = steps * config.warmup_epochs // config.epochs
    rate = config.learning_rate
    if config.schedule == "cosine":
        rate = keras.optimizers.schedules.CosineDecay(rate, steps)
    optimizer = {"rmsprop": keras.optimizers.RMSprop, "adam": keras.optimizers.Adam}
    model.compile(optimizer=optimizer[config.optimizer](rate))


LEAST_KL = 0.1  # nats an image: with less, every image is encoded as the same distribution
LEAST_SEPARATION = 3.0  # deviations: with less, samples of one image are taken for another's


def callbacks(config: Config) -> list:
    """A check of every epoch that says once, in the log, that the latent space has collapsed."""
    import keras

    class TellCollapse(keras.callbacks.Callback):
        said = False

        def on_epoch_end(self, epoch, logs=None):
            reason = collapse(logs or {})
            if reason and not self.said:
                self.said = True
                log.warning(
                    "epoch %d: %s. If this stays so: hidden_activation=leaky_relu, invert=True "
                    "where defects are dark, a larger latent_dim, or the variant robust",
                    epoch + 1,
                    reason,
                )

    return [TellCollapse()]


def collapse(logs: dict[str, float]) -> str:
    """What is wrong with the latent space by the measures of an epoch; empty where nothing is."""
    kl, apart = logs.get("kl_loss", math.inf), logs.get("separation", math.inf)
    if kl < LEAST_KL:
        return f"the latent space has collapsed, every image is encoded alike (KL {kl:.2g} nats)"
    if apart < LEAST_SEPARATION:
        return f"two images share a place in the latent space ({apart:.2g} deviations apart)"
    return ""


# ------------------------------------------------------------------------------------- in service


def signatures(model, config: Config) -> dict:
    """The functions of the SavedModel; all pre- and post-processing is inside the graph.

    - `encode`: images uint8 (B, h, w, 1 or 3), any size -> z_mean and z_log_var (B, D), and the
      image as the network reads it, float32 (B, H, W, C) in [0, 1], not inverted.
    - `decode`: z float32 (B, D) -> image float32 (B, H, W, C) in [0, 1], not inverted.
    - `overlay`: images uint8 (K, h, w, 1 or 3) and weights float32 (K,) -> image float32 (H, W, C)
      in [0, 1] and z (D,): the overlay of the config's method, with the weighted sum of the means.

    Args:
        model: has the callables `encoder` and `decoder`.
    """
    import tensorflow as tf

    from dentalzoo.data.io.graph import image_spec
    from dentalzoo.models.defect_overlay_vae.overlays import background, combine, composite
    from dentalzoo.nn.vae import latent_signatures

    functions = latent_signatures(model, config, config.invert)

    @tf.function(input_signature=[image_spec(), tf.TensorSpec((None,), tf.float32, "weights")])
    def overlay(images, weights):
        tf.debugging.assert_equal(
            tf.shape(images)[0], tf.shape(weights)[0], "one weight for each image was expected"
        )
        tf.debugging.assert_positive(tf.reduce_sum(weights), "the weights' sum is positive")
        means = functions["encode"](images)["z_mean"]
        z = combine(means, weights, config.averaged)
        if config.overlay == "maximum":
            decoded = functions["decode"](means)["image"]
            polarity = _POLARITY[config.defects]
            image = composite(decoded, background(decoded), weights, polarity)
            return {"image": image, "z": z}
        if config.overlay == "mean":
            z = combine(means, weights, config.latent_dim)
        return {"image": functions["decode"](z[None])["image"][0], "z": z}

    return {**functions, "overlay": overlay}


PRETRAINED = {
    "drawn_defects_v1": Weights(  # ships with the repository
        metrics={"success": 0.998},  # 400 overlays of 80 others
        data="80 drawn surfaces with cracks and pores",
        licence="Apache-2.0",
        command="see docs/models/defect_overlay_vae.md",
    ),
}


def example_batch(config: Config) -> dict[str, np.ndarray]:
    """Two phantoms as `make_dataset` would deliver them."""
    from dentalzoo.data.io.images import resize
    from dentalzoo.data.synthetic import defect

    drawn = [defect(seed, kind).image[..., None] for seed, kind in enumerate(("crack", "pore"))]
    drawn = [np.repeat(resize(image, config.input_size), config.channels, -1) for image in drawn]
    images = np.stack(drawn).astype(np.float32) / 255
    return {"image": 1 - images if config.invert else images}
