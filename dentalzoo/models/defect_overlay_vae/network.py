"""The network of defect_overlay_vae and its recipe.

The paper's layers are in `dentalzoo.nn.vae`, those of network=map in map_network.py, and what sums
of latent vectors should decode to in superimposition.py.
"""

import logging
import math
from typing import TYPE_CHECKING, Any

from dentalzoo.models.defect_overlay_vae.config import POLARITY, Config

if TYPE_CHECKING:
    import keras

    from dentalzoo.models.defect_overlay_vae.superimposition import OverlayVAE

_log = logging.getLogger("dentalzoo")
MIN_KL = 0.1  # nats an image: with less, every image is encoded as the same distribution
MIN_SEPARATION = 3.0  # deviations: with less, samples of one image are taken for another's


def build_model(config: Config) -> "OverlayVAE":
    """Build the autoencoder.

    Returns:
        An `OverlayVAE`, which is a `dentalzoo.nn.vae.VAE`: image (B, H, W, C) float32 in [0, 1] ->
        reconstruction, z_mean, z_log_var, z.
    """
    from dentalzoo.models.defect_overlay_vae.map_network import map_decoder, map_encoder
    from dentalzoo.models.defect_overlay_vae.superimposition import OverlayVAE
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
    # Of the defects as the network sees them.
    polarity = -POLARITY[config.defects] if config.invert else POLARITY[config.defects]
    return OverlayVAE(
        encoder,
        decoder,
        likelihood=config.likelihood,
        sigma=config.sigma,
        beta=config.beta,
        kl_reduction=config.kl_reduction,
        free_bits=config.free_bits,
        averaged=config.averaged,
        polarity=polarity,
        mixture=config.mixture,
        separated=config.stratified,
        name="defect_overlay_vae",
    )


def compile_model(model: "OverlayVAE", config: Config, steps: int = 1) -> None:
    """Compile the model with the config's optimizer; it carries its own loss.

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


def callbacks(config: Config) -> "list[keras.callbacks.Callback]":
    """Return a check of every epoch that warns once, in the log, of a collapsed latent space."""
    import keras

    class WarnOfCollapse(keras.callbacks.Callback):
        warned = False

        def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
            reason = collapse(logs or {})
            if reason and not self.warned:
                self.warned = True
                _log.warning(
                    "epoch %d: %s. If this stays so: hidden_activation=leaky_relu, invert=True "
                    "where defects are dark, a larger latent_dim, or the variant robust",
                    epoch + 1,
                    reason,
                )

    return [WarnOfCollapse()]


def feature_maps(model: "OverlayVAE", config: Config) -> "keras.Model":
    """Return the model image, not inverted -> maps of the encoder, one of each resolution."""
    import keras

    from dentalzoo.nn.feature_maps import encoder_maps

    encoder = keras.Model(model.encoder.inputs, encoder_maps(model.encoder))
    if not config.invert:
        return encoder
    image = keras.Input((*config.input_size, config.channels), name="image")
    return keras.Model(image, encoder(1.0 - image))


def collapse(logs: dict[str, float]) -> str:
    """Return what is wrong with the latent space by an epoch's metrics; empty where nothing is."""
    kl, separation = logs.get("kl_loss", math.inf), logs.get("separation", math.inf)
    if kl < MIN_KL:
        return f"the latent space has collapsed, every image is encoded alike (KL {kl:.2g} nats)"
    if separation < MIN_SEPARATION:
        return (
            f"two images are encoded alike in the latent space ({separation:.2g} deviations apart)"
        )
    return ""
