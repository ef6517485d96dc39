"""The deep encoder and decoder of tooth_vae, for images of 32 pixels a side and more.

Every level halves or doubles the image, with batch normalisation, as in DCGAN
(arXiv:1511.06434); the decoder has a second convolution at each level. Its last level has no
feature maps of the image's full size, which would take half of the time.
"""

from typing import Any

import keras
from keras import layers

from dentalzoo.models.tooth_vae.config import Config
from dentalzoo.nn.vae import latent_head


def _normed(x: Any, convolution: Any) -> Any:
    x = convolution(x)
    return layers.LeakyReLU(0.2)(layers.BatchNormalization(momentum=0.9)(x))


def deep_encoder(config: Config) -> keras.Model:
    """Return a model "encoder": image (B, H, W, C) -> [mean, log_var, z], (B, D) each.

    The shapes below are those of 64x64 pixels.
    """
    x = image = keras.Input((*config.input_size, config.channels))
    for filters in config.filters:  # (B, 32, 32, 32), (B, 16, 16, 64), (B, 8, 8, 128), ...
        x = _normed(x, layers.Conv2D(filters, 4, strides=2, padding="same", use_bias=False))
    x = layers.Flatten()(x)  # (B, 4 * 4 * 256)
    return latent_head(image, x, config.latent_dim, config.importance_samples)


def deep_decoder(config: Config) -> keras.Model:
    """Return a model "decoder": z (B, D) -> image (B, H, W, C) in (0, 1), the encoder reversed."""
    filters = config.filters[::-1]
    height, width = (side // 2 ** len(filters) for side in config.input_size)
    x = z = keras.Input((config.latent_dim,))
    x = layers.Dense(height * width * filters[0], use_bias=False)(x)
    x = _normed(x, layers.Reshape((height, width, filters[0])))  # (B, 4, 4, 256)
    options: dict[str, Any] = {"padding": "same", "use_bias": False}
    for number in filters[1:]:  # (B, 8, 8, 128), (B, 16, 16, 64), (B, 32, 32, 32)
        x = _normed(x, layers.Conv2DTranspose(number, 4, strides=2, **options))
        x = _normed(x, layers.Conv2D(number, 3, **options))
    # In float32 even under mixed precision: bfloat16 rounds sigmoid(6) to 1, and logs follow.
    options = {"padding": "same", "activation": "sigmoid", "dtype": "float32"}
    x = layers.Conv2DTranspose(config.channels, 4, strides=2, **options)(x)
    return keras.Model(z, x, name="decoder")
