"""The encoder and decoder of defect_overlay_vae whose latent units belong to image patches.

A unit belongs to a patch of s x s pixels, s = 2^n for n filters. The D units are maps of H/s x W/s,
one after the other, each row by row. Untrained, the networks are a cosine transform of the patches
that keeps the lowest frequencies: the first `averaged` units those of the background, the others
those of what differs from it. The shapes below are those of the variant `robust`.
"""

from typing import Any

import keras
import numpy as np
from keras import layers

from dentalzoo.models.defect_overlay_vae.config import Config
from dentalzoo.models.defect_overlay_vae.superimposition import background
from dentalzoo.nn.vae import Sampling

_BLOCKS = 2
_LITTLE_NOISE = keras.initializers.Constant(-4.0)  # log-variance of units that are not trained yet


@keras.saving.register_keras_serializable("dentalzoo")
class Background(layers.Layer):
    """`background` as a layer."""

    def call(self, images: Any) -> Any:
        return background(images)


def map_encoder(config: Config) -> keras.Model:
    """Build the encoder: an image and its background, patch by patch, plus convolutions.

    Returns:
        A `keras.Model` "encoder": image (B, H, W, C) -> [mean (B, D), log_var (B, D), z].
    """
    side, filters = 2 ** len(config.filters), config.filters[-1]
    shape = [length // side for length in config.input_size]
    maps, averaged = (units // np.prod(shape) for units in (config.latent_dim, config.averaged))
    image = keras.Input((*config.input_size, config.channels))
    behind = Background()(image)
    patches: dict[str, Any] = {"strides": side, "padding": "same", "use_bias": False}
    defects = layers.Conv2D(filters, side, **patches, name="defects")
    ground = layers.Conv2D(filters, side, **patches, name="ground")
    parts = ground(behind), defects(layers.Subtract()([image, behind]))  # (B, 16, 16, 32) each
    x = layers.Conv2D(filters, 3, padding="same")(layers.Concatenate()(parts))
    x = _blocks(x, config)
    chosen = [
        layers.Conv2D(number, 1, use_bias=False, name=f"{name}_maps")
        for name, number in (("ground", averaged), ("defect", maps - averaged))
    ]
    z_mean = [layer(part) for layer, part in zip(chosen, parts, strict=True)]
    z_mean = layers.Concatenate()(z_mean)  # (B, 16, 16, 6)
    # In float32 even under mixed precision: the exponential of log_var follows.
    exact: dict[str, Any] = {"kernel_initializer": "zeros", "dtype": "float32"}
    z_mean = layers.Add(dtype="float32")([z_mean, layers.Conv2D(maps, 1, **exact)(x)])
    z_log_var = layers.Conv2D(maps, 1, bias_initializer=_LITTLE_NOISE, **exact)(x)
    z_mean, z_log_var = (
        layers.Flatten(dtype="float32", name=name)(layers.Permute((3, 1, 2), dtype="float32")(y))
        for name, y in (("z_mean", z_mean), ("z_log_var", z_log_var))
    )
    for layer in (defects, ground):
        _start(layer, _cosines(layer.kernel.shape))
    for layer in chosen:
        _start(layer, np.eye(*layer.kernel.shape[2:])[None, None])
    z = Sampling(name="z", dtype="float32")([z_mean, z_log_var])
    return keras.Model(image, [z_mean, z_log_var, z], name="encoder")


def map_decoder(config: Config) -> keras.Model:
    """Build the decoder: cosines weighted by the units of their patch, plus convolutions.

    Returns:
        A `keras.Model` "decoder": z (B, D) -> image (B, H, W, C) in [0, 1].
    """
    side, filters = 2 ** len(config.filters), config.filters[-1]
    height, width = (length // side for length in config.input_size)
    maps, averaged = (u // (height * width) for u in (config.latent_dim, config.averaged))
    z = keras.Input((config.latent_dim,))
    x = layers.Reshape((maps, height, width))(z)
    x = layers.Permute((2, 3, 1))(x)  # (B, 16, 16, 6)
    frequencies = layers.Conv2D(filters, 1)
    x = frequencies(x)
    x = _blocks(x, config)  # (B, 16, 16, 32)
    patches = layers.Conv2DTranspose(
        config.channels,
        side,
        strides=side,
        padding="same",
        activation="hard_sigmoid",  # (x + 3) / 6 within [0, 1]: grey levels stay as they are
        dtype="float32",  # even under mixed precision: an eighth of a grey level is seen
    )
    image = patches(x)
    kinds = [np.eye(number, filters) for number in (averaged, maps - averaged)]
    _start(frequencies, np.concatenate(kinds)[None, None])
    _start(patches, 6 * _cosines(patches.kernel.shape))
    patches.bias.assign(np.full(config.channels, -3, np.float32))
    return keras.Model(z, image, name="decoder")


def _blocks(x: Any, config: Config) -> Any:
    """Apply residual blocks of two convolutions, the second of which starts at zero."""
    options: dict[str, Any] = {"padding": "same", "activation": config.activation}
    for _ in range(_BLOCKS):
        y = layers.Conv2D(x.shape[-1], 3, **options)(x)
        y = layers.Conv2D(x.shape[-1], 3, padding="same", kernel_initializer="zeros")(y)
        x = layers.Add()([x, y])
    return x


def _start(layer: Any, kernel: np.ndarray) -> None:
    layer.kernel.assign(kernel.astype(np.float32))


def _cosines(shape: tuple[int, int, int, int]) -> np.ndarray:
    """Return (s, s, C, F): the F lowest orthonormal cosines of a patch of s x s pixels."""
    side, _, channels, filters = shape
    phases = np.pi * (np.arange(side) + 0.5) / side
    waves = np.cos(np.outer(phases, np.arange(side))) * np.sqrt(2 / side)
    waves[:, 0] /= np.sqrt(2)
    products = np.einsum("iu,jv->ijuv", waves, waves).reshape(side, side, -1)
    squares = np.add.outer(np.arange(side) ** 2, np.arange(side) ** 2).ravel()
    products = products[..., np.argsort(squares, kind="stable")]
    of_channels = np.einsum("ijn,cd->ijcnd", products, np.eye(channels))
    of_channels = of_channels.reshape(side, side, channels, -1)[..., :filters]
    missing = max(0, filters - of_channels.shape[-1])
    return np.pad(of_channels, [(0, 0)] * 3 + [(0, missing)])
