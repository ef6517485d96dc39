"""A variational autoencoder that generates images of teeth.

"Variational Autoencoder in tooth image generation": known by its title and text; authors, journal
and DOI could not be found. Background: Kingma and Welling 2013, arXiv:1312.6114; the
importance-weighted bound, Burda et al. 2015, arXiv:1509.00519.

An encoder turns an image of a tooth into mean and variance of a normal distribution, a sample of
it goes through a decoder, and the image comes back. Both are trained to a bound of the
likelihood of the images. Samples of the standard normal distribution then decode to new teeth.

Inputs: image (B, H, W, C) float32 in [0, 1], H and W as in the config, C = 1 or 3.
Outputs: z_mean, z_log_var, z (B, D) and reconstruction (B, H, W, C) float32 in [0, 1]. The
SavedModel takes uint8 images of any size, see `signatures`.

Differences from the paper:
- It states neither network, image size, latent size, loss, optimizer nor epochs. `paper` is the
  convolutional network that the Keras example "Variational AutoEncoder" made common, in colour.
- Its 451 photographs of a hospital are private. Any folder of images will do, and teeth can be
  cut from photographs and radiographs (`crops`).
- `deep` is ours: a deeper network, a likelihood that prices blur higher, and samples of the normal
  distribution that the codes of the training images have in fact (arXiv:1903.12436, section 4),
  not of N(0, I), from which they differ.

Example:
    >>> import dentalzoo as dz
    >>> vae = dz.load("tooth_vae")
    >>> teeth = vae.generate(7, 16)["image"]        # float32 (16, 64, 64, 3)
    >>> z = vae.encode(photo)["z_mean"]             # photo: uint8 (H, W, 3)
"""

import dataclasses
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
)
from dentalzoo.data.images import CROPS, find_images, load_image
from dentalzoo.data.pipeline.batching import Cache, batches

ABOUT = {
    "paper": "Variational Autoencoder in tooth image generation (known by its title)",
    "inputs": "images: uint8 (B, H, W, 1 or 3), any size; a photograph or radiograph of a tooth",
    "outputs": "z_mean, z_log_var: float32 (B, D); image: float32 (B, H, W, C) in [0, 1]",
    "intended_use": "Research, teaching and test images. Not a medical device, not for "
    "diagnosis; a generated tooth is nobody's.",
}


@dataclass(frozen=True)
class Config:
    """Settings of the network and of its training. The paper states none of them."""

    network: str = "conv"  # the Keras example's; or deep, ours
    input_size: tuple[int, int] = (64, 64)  # not stated; ours: (height, width)
    channels: int = 3  # not stated; the paper has photographs
    latent_dim: int = 64  # not stated; ours
    filters: tuple[int, ...] = (32, 64)  # the Keras example
    hidden: int = 16  # the Keras example; of conv
    likelihood: str = "bernoulli"  # the Keras example; or gaussian
    sigma: float = 0.1  # ours: deviation of the gaussian likelihood
    beta: float = 1.0  # the bound itself
    free_bits: float = 0.0  # ours: nats per latent unit without a price
    warmup_epochs: int = 0  # ours: epochs over which beta rises from 0
    importance_samples: int = 1  # k of the importance-weighted bound the paper cites; 1 is the ELBO
    prior: str = "standard"  # of `generate`: N(0, I); or fitted, ours: the codes' own
    temperature: float = 1.0  # of `generate`: factor on the deviation of its samples
    crops: str | None = None  # ours: boundaries, boxes or masks cut single teeth out
    margin: float = 1.3  # ours: side of a crop in sides of its box
    val_fraction: float = 0.1  # ours: part kept for validation where the data name no split
    augmentation: str | None = "flip"  # ours: left and right are alike; or None
    learning_rate: float = 1e-3  # the Keras example: Adam's default
    schedule: str = "constant"  # the Keras example; or cosine
    batch_size: int = 32  # not stated; ours
    epochs: int = 100  # not stated; ours
    monitor: str = "val_loss"  # ours
    monitor_mode: str = "min"  # ours

    def __post_init__(self):
        check_choices(
            self,
            network=("conv", "deep"),
            prior=("standard", "fitted"),
            channels=(1, 3),
            likelihood=("bernoulli", "gaussian"),
            crops=CROPS,
            augmentation=("flip", None),
            schedule=("constant", "cosine"),
            monitor_mode=("max", "min"),
        )
        check_whole_numbers(
            self, "latent_dim", "hidden", "importance_samples", "batch_size", "epochs"
        )
        check_whole_numbers(self, "warmup_epochs", least=0)
        check_filters(self)
        check_numbers(
            self,
            sigma=(1e-3, 1),
            beta=(0, math.inf),
            free_bits=(0, math.inf),
            temperature=(0, math.inf),
            margin=(1, math.inf),
            val_fraction=(0, 0.9),
            learning_rate=(0, math.inf),
        )
        check_size(self, "input_size", multiple=2 ** len(self.filters))


_PAPER = Config()
_DEEP = dataclasses.replace(
    _PAPER,
    network="deep",
    latent_dim=48,
    filters=(32, 64, 128, 256),
    likelihood="gaussian",
    sigma=0.15,
    prior="fitted",
    schedule="cosine",
    epochs=50,
    batch_size=64,
)
VARIANTS = {
    "paper": _PAPER,
    "deep": _DEEP,
    "tiny": dataclasses.replace(
        _PAPER, input_size=(16, 16), latent_dim=4, filters=(8, 8), epochs=2, batch_size=8
    ),
}
LEAST = 10  # images to learn from: with fewer, every sample is one of them


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
    """Batches of images of teeth.

    Args:
        data_dir: a folder of images, see docs/data_formats.md.
        split: `train`, `val`, `test` or None for all images.
        config: size, channels, crops, validation fraction, batch size and augmentation.
        training: shuffle and augment.
        epochs: the epochs to deliver, one after the other.
        seed: seed of order and augmentation.
        cache: folder for the resized images; memory where None.
        devices: see `dentalzoo.data.pipeline.batches`.

    Returns:
        A `tf.data.Dataset` of {"image": float32 (B, H, W, C) in [0, 1]}. Bad files are logged and
        left out.

    Raises:
        DentalzooError: no image of the split can be used, or fewer than 10 are there to train.
    """
    import tensorflow as tf

    found = find_images(
        data_dir,
        split,
        crops=config.crops,
        margin=config.margin,
        val_fraction=config.val_fraction,
        least=LEAST if training else 1,
        with_masks=False,
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

    def flip(sample, epoch, index):
        turned = np.random.default_rng((seed, epoch, index)).random() < 0.5
        return {"image": sample["image"][:, ::-1] if turned else sample["image"]}

    return batches(
        samples,
        config.batch_size,
        epochs=epochs,
        shuffle=training,
        augment=flip if training and config.augmentation else None,
        finish=lambda batch: {"image": tf.cast(batch["image"], tf.float32) / 255.0},
        seed=seed,
        devices=devices,
    )


# ------------------------------------------------------------------------------------ the network


def build_model(config: Config):
    """Builds the autoencoder.

    Returns:
        A `dentalzoo.nn.vae.VAE`: image (B, H, W, C) float32 in [0, 1] -> reconstruction, z_mean,
        z_log_var, z.
    """
    from dentalzoo.nn.vae import VAE, conv_decoder, conv_encoder

    if config.network == "deep":
        from dentalzoo.models.tooth_vae.network import deep_decoder, deep_encoder

        encoder, decoder = deep_encoder(config), deep_decoder(config)
    else:
        shape = config.input_size, config.channels, config.latent_dim
        encoder = conv_encoder(
            *shape,
            filters=config.filters,
            hidden=config.hidden,
            samples=config.importance_samples,
        )
        decoder = conv_decoder(*shape, filters=config.filters[::-1])
    return VAE(
        encoder,
        decoder,
        likelihood=config.likelihood,
        sigma=config.sigma,
        beta=config.beta,
        free_bits=config.free_bits,
        fitted_prior=config.prior == "fitted",
        name="tooth_vae",
    )


def compile_model(model, config: Config, steps: int = 1) -> None:
    """Compiles the model with the config's optimizer; it carries its own loss.

    Args:
        steps: number of training steps; a cosine schedule rises for a twentieth of them, then
            falls to zero.
    """
    import keras

    model.warmup_steps = steps * config.warmup_epochs // config.epochs
    rate = config.learning_rate
    if config.schedule == "cosine":
        # A short rise first: the large gradients of the first steps would throw log_var far off.
        rise = steps // 20
        rate = keras.optimizers.schedules.CosineDecay(
            0.0, steps - rise, warmup_target=rate, warmup_steps=rise
        )
    model.compile(optimizer=keras.optimizers.Adam(rate))


def callbacks(config: Config) -> list:
    """None: the recipe is a number of epochs."""
    return []


# ------------------------------------------------------------------------------------- in service


def signatures(model, config: Config) -> dict:
    """The functions of the SavedModel; all pre- and post-processing is inside the graph.

    - `encode`: images uint8 (B, h, w, 1 or 3), any size -> z_mean and z_log_var (B, D), and the
      image as the network read it, float32 (B, H, W, C) in [0, 1].
    - `decode`: z float32 (B, D) -> image float32 (B, H, W, C) in [0, 1].
    - `generate`: seed and n, int64 -> image float32 (n, H, W, C): decoded samples of the prior,
      their deviation multiplied by the temperature. The same seed gives the same images.

    Args:
        model: has the callables `encoder`, `decoder` and, where it is fitted, `prior`.
    """
    import tensorflow as tf

    from dentalzoo.nn.vae import latent_signatures

    @tf.function(input_signature=[tf.TensorSpec((), tf.int64, name) for name in ("seed", "n")])
    def generate(seed, n):
        tf.debugging.assert_positive(n, "n, the number of images, is at least 1")
        noise = tf.random.stateless_normal([n, config.latent_dim], tf.stack([seed, 0]))
        noise = config.temperature * noise
        return {"image": model.decoder(model.prior(noise) if config.prior == "fitted" else noise)}

    return {**latent_signatures(model, config), "generate": generate}


PRETRAINED = {
    "drawn_teeth_v1": Weights(  # ships with the repository
        metrics={"psnr": 29.76, "kid": 0.521},  # over the 1,200 held-out photographs
        data="10,800 drawn photographs of teeth",
        licence="Apache-2.0",
        command="see docs/models/tooth_vae.md",
    ),
}


def example_batch(config: Config) -> dict[str, np.ndarray]:
    """Two phantoms as `make_dataset` would deliver them."""
    from dentalzoo.data.io.images import resize
    from dentalzoo.data.synthetic import tooth_photo

    photos = [resize(tooth_photo(seed).image, config.input_size) for seed in range(2)]
    if config.channels == 1:
        photos = [photo.mean(axis=-1, keepdims=True) for photo in photos]
    return {"image": np.stack(photos).astype(np.float32) / 255}
