"""The network of jaw_reconstruction and its recipe; its two parts are in encoder.py, decoder.py."""

from typing import TYPE_CHECKING

from dentalzoo.data.views import VIEWS
from dentalzoo.models.jaw_reconstruction.config import Config

if TYPE_CHECKING:
    import keras


def build_model(config: Config) -> "keras.Model":
    """Build the network.

    Returns:
        A `keras.Model`: views (B, 10, S, S, C) float32 in [0, 1] -> points (B, N, 3) float32. Its
        parts are the models `encoder`, views -> code, and `decoder`, code -> points (and faces
        (B, M, 3) int32 where the config has them). Of decoder=depth: see `depth_network`.

    Raises:
        DentalzooError: weights or a morphable model that cannot be loaded, or of other sizes.
    """
    import keras

    if config.decoder == "depth":
        from dentalzoo.models.jaw_reconstruction.depth import depth_network

        return depth_network(config)

    from dentalzoo.models.jaw_reconstruction.decoder import decoder
    from dentalzoo.models.jaw_reconstruction.encoder import encoder

    read = encoder(config)
    write = decoder(config, read.output_shape[-1])
    shape = (VIEWS, config.image_size, config.image_size, config.channels)
    views = keras.Input(shape, name="views")
    outputs = write(read(views))
    points = outputs[0] if isinstance(outputs, list) else outputs
    # A layer of the output's name, which is how Keras names an output.
    points = keras.layers.Identity(name="points", dtype="float32")(points)
    return keras.Model(views, points, name="jaw_reconstruction")


def compile_model(model: "keras.Model", config: Config, steps: int = 1) -> None:
    """Compile the model with the loss of both stages and the mean error in mm.

    Args:
        steps: number of training steps; the fraction of them that is done decides the stage.
    """
    import keras

    from dentalzoo.models.jaw_reconstruction import losses

    rate = config.learning_rate
    if config.schedule == "cosine":
        rise = steps // 20
        rate = keras.optimizers.schedules.CosineDecay(
            0.0, steps - rise, warmup_target=rate, warmup_steps=rise
        )
    optimizer = keras.optimizers.Adam(rate)
    if config.decoder == "depth":
        loss: losses.Loss = losses.depth_loss
        metric = losses.depth_error()
    else:
        loss, metric = losses.staged_loss(model, config, steps), losses.mean_error(config)
    # No XLA unless asked for: it has no KD-tree, which is quicker on a CPU.
    model.compile(
        optimizer=optimizer,
        loss=loss,
        metrics=[metric],
        jit_compile=False,
    )


def callbacks(config: Config) -> "list[keras.callbacks.Callback]":
    """Return an empty list: the recipe is a number of epochs."""
    return []


def feature_maps(model: "keras.Model", config: Config) -> None:
    """Return None: the residual of a reconstruction tells of it, see `predict`."""
