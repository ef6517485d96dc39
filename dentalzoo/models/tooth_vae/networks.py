"""The residual encoder and decoder of tooth_vae, for pictures of 32 pixels a side and more."""

import keras
from keras import layers

from dentalzoo.vae import latent_head


def _residual(x, filters: int):
    """x + two convolutions of it; the second starts at zero, so that the block starts as x."""
    y = layers.Activation("silu")(x)
    y = layers.Conv2D(filters, 3, padding="same", kernel_initializer="he_normal")(y)
    y = layers.Activation("silu")(y)
    y = layers.Conv2D(filters, 3, padding="same", kernel_initializer="zeros")(y)
    return layers.Add()([x, y])


def residual_encoder(config):
    """Image (B, H, W, C) -> [mean, log_var, z]; the shapes are those of 64x64 pixels."""
    x = image = keras.Input((*config.input_size, config.channels))
    for filters in config.filters:  # (B, 32, 32, 32), (B, 16, 16, 64), (B, 8, 8, 128), ...
        x = layers.Conv2D(filters, 4, strides=2, padding="same")(x)
        x = _residual(x, filters)
    x = layers.Activation("silu")(x)
    x = layers.Flatten()(x)  # (B, 4 * 4 * 192)
    return latent_head(image, x, config.latent_dim, config.importance_samples)


def residual_decoder(config):
    """z (B, D) -> image (B, H, W, C) in (0, 1): the encoder in reverse."""
    height, width = (side // 2 ** len(config.filters) for side in config.input_size)
    x = z = keras.Input((config.latent_dim,))
    x = layers.Dense(height * width * config.filters[-1])(x)
    x = layers.Reshape((height, width, config.filters[-1]))(x)  # (B, 4, 4, 192)
    for filters in (*config.filters[-2::-1], config.filters[0]):
        x = _residual(x, x.shape[-1])
        x = layers.Conv2DTranspose(filters, 4, strides=2, padding="same")(x)
    x = layers.Activation("silu")(x)
    # In float32 even under mixed precision: bfloat16 rounds sigmoid(6) to 1, and logs follow.
    options = {"padding": "same", "activation": "sigmoid", "dtype": "float32"}
    return keras.Model(z, layers.Conv2D(config.channels, 3, **options)(x), name="decoder")
