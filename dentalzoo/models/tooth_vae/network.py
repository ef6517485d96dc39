"""The network of tooth_vae and its recipe; the layers are in `dentalzoo.nn.vae` and in deep.py."""

from typing import TYPE_CHECKING

from dentalzoo.models.tooth_vae.config import Config

if TYPE_CHECKING:
    import keras

    from dentalzoo.nn.vae import VAE


def build_model(config: Config) -> "VAE":
    """Build the autoencoder.

    Returns:
        A `dentalzoo.nn.vae.VAE`: image (B, H, W, C) float32 in [0, 1] -> reconstruction, z_mean,
        z_log_var, z.
    """
    from dentalzoo.nn.vae import VAE, conv_decoder, conv_encoder

    if config.network == "deep":
        from dentalzoo.models.tooth_vae.deep import deep_decoder, deep_encoder

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


def compile_model(model: "VAE", config: Config, steps: int = 1) -> None:
    """Compile the model with the config's optimizer; it carries its own loss.

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


def callbacks(config: Config) -> "list[keras.callbacks.Callback]":
    """Return an empty list: the recipe is a number of epochs."""
    return []


def feature_maps(model: "VAE", config: Config) -> "keras.Model":
    """Return the model image -> maps of the encoder, one of each resolution."""
    import keras

    from dentalzoo.nn.feature_maps import encoder_maps

    return keras.Model(model.encoder.inputs, encoder_maps(model.encoder))
