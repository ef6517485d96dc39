"""The networks of jaw_reconstruction: ten views -> a code, and a code -> points."""

import keras
from keras import layers, ops

from dentalzoo.data import morphable
from dentalzoo.data.views import VIEWS
from dentalzoo.errors import DentalzooError

_HIDDEN = 256  # ours: between the views and the coefficients of a morphable model


def encoder(config):
    """Views (B, 10, H, W, C) in [0, 1], a missing one black -> the code (B, D) of the decoder."""
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
    seen = ops.max(views, axis=(2, 3, 4)) > 0  # (B, 10)
    x = Positions(name="positions")(x)
    for number in range(config.blocks):
        x = _attention(config, x, seen, number)
    x = x * ops.cast(seen, x.dtype)[..., None]
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
        size = MorphableModel.code_size(config)
        x = layers.Dense(size, kernel_initializer="zeros", dtype="float32", name="code")(x)
    return keras.Model(views, x, name="encoder")


def decoder(config, code_size: int):
    """The code (B, D) -> points (B, N, 3), and of a morphable model faces (B, M, 3) int32 too."""
    x = code = keras.Input((code_size,), name="code")
    if config.decoder == "morphable":
        return keras.Model(code, MorphableModel(config, name="morphable")(x), name="decoder")
    for number, units in enumerate(config.hidden):
        x = layers.Dense(units, activation="relu", name=f"hidden_{number}")(x)
    x = layers.Dense(config.num_points * 3, dtype="float32", name="coordinates")(x)
    points = layers.Reshape((config.num_points, 3), dtype="float32")(x)
    return keras.Model(code, points, name="decoder")


# ---- views ---------------------------------------------------------------------------------------


def _mobilenet_v2(config, x):
    """MobileNetV2 (arXiv:1801.04381): (B, 224, 224, 3) -> (B, 7, 7, 1280)."""
    try:
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


def _convolutions(config, x):
    """Plain strided convolutions: (B, 128, 128, 1) -> (B, 8, 8, 128) with four filters."""
    for filters in config.filters:
        x = layers.Conv2D(filters, 3, strides=2, padding="same", use_bias=False)(x)
        x = layers.ReLU()(layers.BatchNormalization(momentum=config.bn_momentum)(x))
    return x


_BACKBONES = {"mobilenet_v2": _mobilenet_v2, "convolutions": _convolutions}


def _attention(config, x, seen, number: int):
    """Multi-head attention over the views that are seen, with a residual (arXiv:1706.03762)."""
    normed = layers.LayerNormalization(name=f"norm_{number}")(x)
    found = layers.MultiHeadAttention(
        config.heads, config.embedding // config.heads, name=f"attention_{number}"
    )(normed, normed, attention_mask=seen[:, None, :])
    return layers.LayerNormalization(name=f"fused_{number}")(x + found)


@keras.saving.register_keras_serializable("dentalzoo")
class Positions(layers.Layer):
    """Adds to each view's token what is learned for its camera: (B, 10, D) -> (B, 10, D)."""

    def build(self, shape):
        start = keras.initializers.RandomNormal(stddev=0.02)
        self.table = self.add_weight(shape=shape[1:], initializer=start, name="table")

    def call(self, x):
        return x + self.table


@keras.saving.register_keras_serializable("dentalzoo")
class Modulator(layers.Layer):
    """The feature modulator: f * (1 + scale * tanh(W f + b)), with a fixed scale."""

    def __init__(self, scale: float, **options):
        super().__init__(**options)
        self.scale = scale

    def build(self, shape):
        self.dense = layers.Dense(shape[-1], activation="tanh")
        self.dense.build(shape)

    def call(self, x):
        return x * (1 + self.scale * self.dense(x))

    def get_config(self):
        return super().get_config() | {"scale": self.scale}


# ---- a morphable model ---------------------------------------------------------------------------


class MorphableModel(layers.Layer):
    """Shape families, each a mean and its modes: points = mean + modes @ coefficients.

    Which family a jaw is of is part of the code: in training the families are mixed by softmax, in
    use the likeliest one is taken. The shapes are weights that training leaves alone where they
    come from a file, and learns where they do not.
    """

    def __init__(self, config, **options):
        super().__init__(dtype="float32", **options)
        self.config = config
        self.families = max(1, len(config.faces))

    @staticmethod
    def code_size(config) -> int:
        """For each family a logit, then for each its coefficients."""
        return max(1, len(config.faces)) * (1 + config.components)

    def build(self, _):
        config = self.config
        model = None
        if config.morphable_model is not None:
            model = morphable.load(config.morphable_model)
            model.check(config.num_points, config.components, config.faces)
        learn = model is None
        size = config.num_points * 3
        self.means, self.modes, self.triangles = [], [], []
        for family in range(self.families):
            # Vectors: a bundle stores them in float32 whatever the storage of matrices.
            self.means.append(self._weight(f"mean_{family}", (size,), 0.3, learn))
            self.modes.append(
                self._weight(f"modes_{family}", (size, config.components), 0.05, learn)
            )
        for family, count in enumerate(config.faces):
            self.triangles.append(self._weight(f"faces_{family}", (count * 3,), 0.0, False))
        if model is not None:
            for family in range(self.families):
                self.means[family].assign(model.means[family].reshape(-1))
                self.modes[family].assign(model.modes[family].reshape(size, -1))
                self.triangles[family].assign(model.faces[family].reshape(-1))

    def _weight(self, name, shape, deviation, trainable):
        start = keras.initializers.RandomNormal(stddev=deviation)
        return self.add_weight(shape=shape, initializer=start, trainable=trainable, name=name)

    def call(self, code, training=False):
        count = self.families
        logits, coefficients = code[:, :count], ops.split(code[:, count:], count, axis=1)
        likeliest = ops.argmax(logits, axis=-1)
        mixed = training and count > 1
        shares = ops.softmax(logits) if mixed else ops.one_hot(likeliest, count)
        points = 0
        for family in range(count):
            moved = ops.matmul(coefficients[family], ops.transpose(self.modes[family]))
            points = points + shares[:, family, None] * (self.means[family] + moved)
        points = ops.reshape(points, (-1, self.config.num_points, 3))
        if not self.triangles:
            return points
        return [points, ops.take(self._faces(), likeliest, axis=0)]

    def _faces(self):
        """(F, M, 3) int32; families of fewer faces end in rows of -1."""
        most = max(self.config.faces)
        rows = [ops.reshape(faces, (-1, 3)) for faces in self.triangles]
        rows = [ops.pad(r, ((0, most - r.shape[0]), (0, 0)), constant_values=-1) for r in rows]
        return ops.cast(ops.stack(rows), "int32")
