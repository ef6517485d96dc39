"""The encoder of jaw_reconstruction: ten views -> a code."""

from typing import Any

import keras
from keras import layers, ops

from dentalzoo.data.views import VIEWS
from dentalzoo.environment import no_downloads_offline
from dentalzoo.errors import DentalzooError
from dentalzoo.models.jaw_reconstruction.config import Config
from dentalzoo.models.jaw_reconstruction.decoder import code_size

_HIDDEN = 256  # ours: between the views and the coefficients of a morphable model


def encoder(config: Config) -> keras.Model:
    """Return a model: views (B, 10, H, W, C) in [0, 1], a missing one black -> code (B, D)."""
    side, channels = config.image_size, config.channels
    views = keras.Input((VIEWS, side, side, channels), name="views")
    x = ops.reshape(views, (-1, side, side, channels))  # (B * 10, H, W, C): one encoder for all
    x = _BACKBONES[config.encoder](config, x)
    if config.pooling == "mean":
        x = layers.GlobalAveragePooling2D()(x)  # (B * 10, 1280)
    else:  # where in the view a thing is seen stays known
        x = layers.Flatten()(layers.Conv2D(config.token_filters, 1, name="squeeze")(x))
    x = layers.Dense(config.embedding, name="token")(x)
    x = ops.reshape(x, (-1, VIEWS, config.embedding))  # (B, 10, D)
    seen = seen_views(views)
    x = attend(config, x, seen)
    if config.fusion == "mean":
        count = ops.maximum(ops.sum(ops.cast(seen, x.dtype), axis=1, keepdims=True), 1)
        x = ops.sum(x, axis=1) / count  # (B, D)
    else:
        x = layers.Flatten()(x)  # (B, 10 * D)
    if config.modulator_scale:
        x = Modulator(config.modulator_scale, name="modulator")(x)
    if config.decoder == "morphable":
        x = layers.Dense(_HIDDEN, activation="relu", name="hidden")(x)
        # From zero: training starts at the mean shape.
        size = code_size(config)
        x = layers.Dense(size, kernel_initializer="zeros", dtype="float32", name="code")(x)
    return keras.Model(views, x, name="encoder")


# ---- views ---------------------------------------------------------------------------------------


def _mobilenet_v2(config: Config, x: Any) -> Any:
    """MobileNetV2 (arXiv:1801.04381): (B, 224, 224, 3) -> (B, 7, 7, 1280)."""
    try:
        with no_downloads_offline():
            network = keras.applications.MobileNetV2(
                x.shape[1:], alpha=config.alpha, include_top=False, weights=config.encoder_weights
            )
    except Exception as error:  # of a download, a file or a size that Keras has no weights for
        raise DentalzooError(
            "the encoder's weights cannot be loaded; give a file of this encoder "
            "(--encoder-weights FILE) or none (--encoder-weights none). "
            f"Received: encoder_weights={config.encoder_weights!r}: {' '.join(str(error).split())}"
        ) from error
    for layer in network.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.momentum = config.bn_momentum
    return network(layers.Rescaling(2.0, offset=-1.0)(x))  # its ImageNet weights read [-1, 1]


def _convolutions(config: Config, x: Any) -> Any:
    """Plain strided convolutions: (B, 128, 128, 1) -> (B, 8, 8, 128) with four filters."""
    for filters in config.filters:
        x = layers.Conv2D(filters, 3, strides=2, padding="same", use_bias=False)(x)
        x = layers.ReLU()(layers.BatchNormalization(momentum=config.bn_momentum)(x))
    return x


_BACKBONES = {"mobilenet_v2": _mobilenet_v2, "convolutions": _convolutions}


def seen_views(views: Any) -> Any:
    """Return which views (B, 10, H, W, C) are not black: (B, 10) bool."""
    return ops.max(views, axis=(2, 3, 4)) > 0


def attend(config: Config, x: Any, seen: Any) -> Any:
    """Let the tokens of the views (B, 10, D) see each other; those of views not seen become 0."""
    x = Positions(name="positions")(x)
    for number in range(config.blocks):
        x = _attention(config, x, seen, number)
    return x * ops.cast(seen, x.dtype)[..., None]


def _attention(config: Config, x: Any, seen: Any, number: int) -> Any:
    """Multi-head attention over the views that are seen, with a residual (arXiv:1706.03762)."""
    normed = layers.LayerNormalization(name=f"norm_{number}")(x)
    attended = layers.MultiHeadAttention(
        config.heads, config.embedding // config.heads, name=f"attention_{number}"
    )(normed, normed, attention_mask=seen[:, None, :])
    return layers.LayerNormalization(name=f"fused_{number}")(x + attended)


@keras.saving.register_keras_serializable("dentalzoo")
class Positions(layers.Layer):
    """Adds a learned vector of its camera to each view's token: (B, 10, D) -> (B, 10, D)."""

    def build(self, shape: tuple[int | None, ...]) -> None:
        start = keras.initializers.RandomNormal(stddev=0.02)
        self.table = self.add_weight(shape=shape[1:], initializer=start, name="table")

    def call(self, x: Any) -> Any:
        return x + self.table


@keras.saving.register_keras_serializable("dentalzoo")
class Modulator(layers.Layer):
    """The feature modulator: f * (1 + scale * tanh(W f + b)), with a fixed scale."""

    def __init__(self, scale: float, **options: Any) -> None:
        super().__init__(**options)
        self.scale = scale

    def build(self, shape: tuple[int | None, ...]) -> None:
        self.dense = layers.Dense(shape[-1], activation="tanh")
        self.dense.build(shape)

    def call(self, x: Any) -> Any:
        return x * (1 + self.scale * self.dense(x))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "scale": self.scale}
