"""The encoder and decoder of defect_overlay_vae whose latent units have a place in the picture.

The D units are D / (H/4 * W/4) maps, one after the other, each row by row. The shapes below are
those of 64x64 pixels, two filters and four maps.
"""

import keras
from keras import layers

from dentalzoo.vae import Sampling


def map_encoder(config):
    """Convolutions all the way, so that a latent unit sees what is near its place.

    Returns:
        A `keras.Model` "encoder": image (B, H, W, C) -> [mean (B, D), log_var (B, D), z].
    """
    x = image = keras.Input((*config.input_size, config.channels))
    options = {"padding": "same", "activation": config.activation}
    for filters in config.filters:  # (B, 32, 32, 32), (B, 16, 16, 64)
        x = layers.Conv2D(filters, 3, strides=2, **options)(x)
    for _ in range(2):
        x = layers.Conv2D(config.filters[-1], 3, **options)(x)
    maps = config.latent_dim // (x.shape[1] * x.shape[2])

    def flat(name):
        # In float32 even under mixed precision: the exponential of log_var follows.
        y = layers.Conv2D(maps, 1, dtype="float32")(x)  # (B, 16, 16, 4)
        y = layers.Permute((3, 1, 2), dtype="float32")(y)
        return layers.Flatten(dtype="float32", name=name)(y)  # (B, 1024)

    z_mean, z_log_var = flat("z_mean"), flat("z_log_var")
    z = Sampling(name="z", dtype="float32")([z_mean, z_log_var])
    return keras.Model(image, [z_mean, z_log_var, z], name="encoder")


def map_decoder(config):
    """The mirror image of `map_encoder`.

    Returns:
        A `keras.Model` "decoder": z (B, D) -> image (B, H, W, C) in (0, 1).
    """
    height, width = (side // 2 ** len(config.filters) for side in config.input_size)
    x = z = keras.Input((config.latent_dim,))
    options = {"padding": "same", "activation": config.activation}
    x = layers.Reshape((config.latent_dim // (height * width), height, width))(x)
    x = layers.Permute((2, 3, 1))(x)  # (B, 16, 16, 4)
    for _ in range(2):
        x = layers.Conv2D(config.filters[-1], 3, **options)(x)
    for filters in config.filters[::-1]:  # (B, 32, 32, 64), (B, 64, 64, 32)
        x = layers.Conv2DTranspose(filters, 3, strides=2, **options)(x)
    options = {"padding": "same", "activation": "sigmoid", "dtype": "float32"}
    image = layers.Conv2DTranspose(config.channels, 3, **options)(x)
    return keras.Model(z, image, name="decoder")
