"""The networks of panoramic_unet: those of segmentation-models and two of our own."""

import contextlib
import os

from dentalzoo.errors import DentalzooError, require

# Encoders of our own beside those of segmentation-models: MobileNet v1 of a given width.
SLIM_ENCODERS = {f"mobilenet_{alpha}": alpha for alpha in (0.25, 0.5, 0.75)}
DECODERS = {"unet": "Unet", "fpn": "FPN", "linknet": "Linknet", "pspnet": "PSPNet"}


def build_network(config):
    """Builds the network between the input in the config's range and the logits.

    Returns:
        A `keras.Model`: (B, H, W, 3) -> (B, H, W, K).

    Raises:
        DentalzooError: an encoder that does not exist or weights that cannot be loaded.
    """
    try:
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
                "If it is the encoder's weights, give a file (--encoder-weights FILE; a Keras "
                "no-top .h5 of this encoder) or none (--encoder-weights none), which starts from "
                "random weights. "
            )
        raise DentalzooError(
            f"the network cannot be built: {reason}. {hint}Received: {received}"
        ) from error


def _segmentation_models(config):
    os.environ["SM_FRAMEWORK"] = "tf.keras"  # the one that works with Keras 3; read at its import
    with contextlib.redirect_stdout(None):  # it greets
        sm = require("segmentation_models", "panoramic_unet")
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


def _keras_encoder(config):
    """An encoder of keras.applications on images of the config's size."""
    from keras import applications

    options = {"include_top": False, "weights": config.encoder_weights}
    options["input_shape"] = (*config.input_size, 3)
    if config.encoder in SLIM_ENCODERS:
        encoder = applications.MobileNet(alpha=SLIM_ENCODERS[config.encoder], **options)
    else:
        encoder = applications.VGG16(**options)
    encoder.trainable = not config.freeze_encoder
    return encoder


def _conv_bn_relu(x, filters: int, bias: bool = False):
    from keras import layers

    x = layers.Conv2D(filters, 3, padding="same", use_bias=bias, kernel_initializer="he_uniform")(x)
    return layers.Activation("relu")(layers.BatchNormalization()(x))


def _slim_unet(config):
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


def _wide_unet(config):
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
