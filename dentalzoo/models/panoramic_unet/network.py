"""The networks of panoramic_unet: those of segmentation-models and two of our own; the recipe."""

import contextlib
import os
from typing import TYPE_CHECKING, Any

from dentalzoo.environment import no_downloads_offline
from dentalzoo.errors import DentalzooError, require
from dentalzoo.models.panoramic_unet.config import DECODERS, SLIM_ENCODERS, Config

if TYPE_CHECKING:
    import keras


def build_model(config: Config) -> "keras.Model":
    """Build the network.

    Returns:
        A `keras.Model`: image (B, H, W, 3) float32 in [0, 1] -> mask (B, H, W, K) float32
        probabilities.

    Raises:
        DentalzooError: an encoder that does not exist or weights that cannot be loaded.
    """
    import keras

    image = keras.Input((*config.input_size, 3), name="image")
    x = _rescaled(image, config)
    network = _network(config)
    for layer in network.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = config.bn_momentum
    x = network(x)  # (B, H, W, K) logits
    activation = "sigmoid" if config.num_classes == 1 else "softmax"
    # In float32 even under mixed precision: bfloat16 rounds sigmoid(6) to 1, and logs follow.
    x = keras.layers.Activation(activation, dtype="float32", name="mask")(x)
    return keras.Model(image, x, name="panoramic_unet")


def _rescaled(image: Any, config: Config) -> Any:
    """Return an image in [0, 1] in the range of the encoder."""
    import keras

    low, high = config.input_range
    if (low, high) == (0.0, 1.0):
        return image
    return keras.layers.Rescaling(high - low, offset=low, name="rescale")(image)


def compile_model(model: "keras.Model", config: Config, steps: int = 1) -> None:
    """Compile the model with the config's loss, optimizer and metrics.

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


def callbacks(config: Config) -> "list[keras.callbacks.Callback]":
    """Return early stopping and a falling learning rate, both on the monitored metric."""
    import keras

    watch = {"monitor": config.monitor, "mode": config.monitor_mode}
    recipe = []
    if config.early_stopping is not None:
        recipe.append(keras.callbacks.EarlyStopping(patience=config.early_stopping, **watch))
    if config.schedule == "plateau":  # factor, patience and min_lr: VGG-19 notebook
        recipe.append(
            keras.callbacks.ReduceLROnPlateau(factor=0.2, patience=3, min_lr=1e-6, **watch)
        )
    return recipe


def feature_maps(model: "keras.Model", config: Config) -> "keras.Model":
    """Return the model image -> maps of the encoder, one of each resolution."""
    import keras

    from dentalzoo.nn.feature_maps import encoder_maps

    network = next(part for part in model.layers if isinstance(part, keras.Model))
    encoder = keras.Model(network.inputs, encoder_maps(network))
    return keras.Model(model.inputs, encoder(_rescaled(model.input, config)))


# ---- networks ------------------------------------------------------------------------------------


def _network(config: Config) -> "keras.Model":
    """Build the network between the input in the config's range and the logits.

    Returns:
        A `keras.Model`: (B, H, W, 3) -> (B, H, W, K).

    Raises:
        DentalzooError: an encoder that does not exist or weights that cannot be loaded.
    """
    try:
        with no_downloads_offline():
            if config.decoder == "wide":
                return _wide_unet(config)
            if config.encoder in SLIM_ENCODERS:
                return _slim_unet(config)
            return _segmentation_models(config)
    except DentalzooError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:300]
        received = ", ".join(
            f"{key}={getattr(config, key)!r}" for key in ("decoder", "encoder", "encoder_weights")
        )
        hint = ""
        if config.encoder_weights is not None:
            hint = (
                "If the encoder's weights are the reason, give a file (--encoder-weights FILE; a "
                "Keras no-top .h5 of this encoder) or none (--encoder-weights none), which starts "
                "from random weights. "
            )
        raise DentalzooError(
            f"the network cannot be built: {reason}. {hint}Received: {received}"
        ) from error


def _segmentation_models(config: Config) -> "keras.Model":
    os.environ["SM_FRAMEWORK"] = "tf.keras"  # the one that works with Keras 3; read at its import
    with contextlib.redirect_stdout(None):  # it prints a line when it is imported
        sm = require("segmentation_models", "panoramic-unet")
    filters = {"decoder_filters": config.decoder_filters} if config.decoder == "unet" else {}
    return getattr(sm, DECODERS[config.decoder])(
        config.encoder,
        input_shape=(*config.input_size, 3),
        classes=config.num_classes,
        activation="linear",
        encoder_weights=config.encoder_weights,
        encoder_freeze=config.freeze_encoder,
        **filters,
    )


def _keras_encoder(config: Config) -> "keras.Model":
    """Return an encoder of keras.applications for images of the config's size."""
    from keras import applications

    options: dict[str, Any] = {
        "include_top": False,
        "weights": config.encoder_weights,
        "input_shape": (*config.input_size, 3),
    }
    if config.encoder in SLIM_ENCODERS:
        encoder = applications.MobileNet(alpha=SLIM_ENCODERS[config.encoder], **options)
    else:
        encoder = applications.VGG16(**options)
    encoder.trainable = not config.freeze_encoder
    return encoder


def _conv_bn_relu(x: Any, filters: int, bias: bool = False) -> Any:
    from keras import layers

    x = layers.Conv2D(filters, 3, padding="same", use_bias=bias, kernel_initializer="he_uniform")(x)
    return layers.Activation("relu")(layers.BatchNormalization()(x))


def _slim_unet(config: Config) -> "keras.Model":
    """The U-Net of segmentation-models over a MobileNet v1 of a given width, shapes for 256x640."""
    import keras
    from keras import layers

    encoder = _keras_encoder(config)
    x = encoder.output  # (B, 8, 20, 256)
    names = ("conv_pw_11_relu", "conv_pw_5_relu", "conv_pw_3_relu", "conv_pw_1_relu")
    skips = [encoder.get_layer(name).output for name in names]  # strides 16, 8, 4, 2
    for filters, skip in zip(config.decoder_filters, [*skips, None], strict=True):
        x = layers.UpSampling2D(2)(x)
        if skip is not None:
            x = layers.Concatenate()([x, skip])
        x = _conv_bn_relu(_conv_bn_relu(x, filters), filters)
    x = layers.Conv2D(config.num_classes, 3, padding="same", name="logits")(x)  # (B, 256, 640, K)
    return keras.Model(encoder.input, x, name="slim_unet")


def _wide_unet(config: Config) -> "keras.Model":
    """The decoder of the author's VGG-19 notebook over VGG-16, shapes for 256x256."""
    import keras
    from keras import layers

    encoder = _keras_encoder(config)
    names = ("block4_conv3", "block3_conv3", "block2_conv2", "block1_conv2")
    skips = [encoder.get_layer(name).output for name in names]
    x = encoder.get_layer("block5_conv3").output  # (B, 16, 16, 512)
    x = _conv_bn_relu(_conv_bn_relu(x, 1024, bias=True), 1024, bias=True)  # (B, 16, 16, 1024)
    x = layers.Dropout(0.5)(x)
    for filters, skip, dropout in zip((512, 256, 128, 64), skips, (0.5, 0.3, 0.3, 0), strict=True):
        x = layers.Conv2DTranspose(filters, 2, strides=2, padding="same")(x)
        x = layers.Concatenate()([x, skip])
        x = _conv_bn_relu(_conv_bn_relu(x, filters, bias=True), filters, bias=True)
        if dropout:
            x = layers.Dropout(dropout)(x)
    x = layers.Conv2D(config.num_classes, 1, name="logits")(x)  # (B, 256, 256, K)
    return keras.Model(encoder.input, x, name="wide_unet")
