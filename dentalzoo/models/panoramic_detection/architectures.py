"""SSD, RetinaNet and Faster R-CNN's first stage, on backbones and pyramids of the model garden.

A network maps images (B, H, W, 3) in the range of its encoder to the class logits (B, A, C) and
the box codes (B, A, 4) of its A anchors.
"""

from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import layers

from dentalzoo.environment import no_downloads_offline
from dentalzoo.errors import DentalzooError
from dentalzoo.models.panoramic_detection import anchors
from dentalzoo.models.panoramic_detection.config import Config
from dentalzoo.models.panoramic_detection.keras2_bridge import Network, vision

_NORM = {"norm_epsilon": 1e-3, "use_sync_bn": False}
_PRIOR = -4.595  # logit of 0.01: at the start nothing is a finding (arXiv:1708.02002, section 4.1)

Tensor = Any  # a `keras.KerasTensor` while the network is built


def ssd(config: Config, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return logits (B, A, C) and codes (B, A, 4) of SSD (arXiv:1512.02325) on MobileNet v1.

    As the TensorFlow Object Detection API had it in 2018: two maps of the backbone, four more below
    them, 1x1 predictors.
    """
    height, width = config.input_size
    sizes = {level: (-(-height // 2**level), -(-width // 2**level)) for level in (4, 5)}
    alpha = config.backbone_alpha
    depths = {level: _depth(depth, alpha) for level, depth in ((4, 512), (5, 1024))}

    def parts() -> Sequence[Any]:
        return [backbone(config)]

    def run(parts: Sequence[Any], x: Any, training: bool) -> dict[str, Any]:
        maps = parts[0](x, training=training)
        return {"4": maps["4"], "5": maps["6"]}  # 6 is the last block; of the stride of 5

    shapes: dict[str, tuple[int | None, ...]] = {
        str(level): (*sizes[level], depths[level]) for level in (4, 5)
    }
    maps = list(Network(parts, run, shapes, name="backbone")(x).values())
    for index, depth in enumerate((512, 256, 256, 128)):
        y = _conv(config, maps[-1], _depth(depth // 2, alpha), 1, 1, f"extra_{index}_reduce")
        maps.append(_conv(config, y, _depth(depth, alpha), 3, 2, f"extra_{index}"))
    logits, codes = [], []
    for index, (y, count) in enumerate(zip(maps, anchors.SSD_COUNTS, strict=True)):
        options: dict[str, Any] = {
            "kernel_size": 1,
            "kernel_initializer": keras.initializers.TruncatedNormal(stddev=0.03),
            "dtype": "float32",
        }
        num_classes = len(config.classes)
        bias = keras.initializers.Constant(_PRIOR if config.loss == "focal" else 0.0)
        scores = layers.Conv2D(
            count * num_classes, bias_initializer=bias, name=f"classes_{index}", **options
        )(y)
        boxes = layers.Conv2D(count * 4, name=f"boxes_{index}", **options)(y)
        logits.append(layers.Reshape((-1, num_classes), dtype="float32")(scores))
        codes.append(layers.Reshape((-1, 4), dtype="float32")(boxes))
    join = layers.Concatenate
    return join(axis=1, dtype="float32")(logits), join(axis=1, dtype="float32")(codes)


def fpn(config: Config, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return logits (B, A, C) and codes (B, A, 4) of RetinaNet (arXiv:1708.02002).

    Its pyramid and head have separable convolutions.
    """
    channels = 1 + len(config.classes)  # the model garden keeps one for the background

    def head(options: dict[str, Any]) -> Any:
        return vision("modeling.heads.dense_prediction_heads").RetinaNetHead(
            num_classes=channels,
            num_convs=config.head_convs,
            use_separable_conv=True,
            activation="relu6",
            **options,
        )

    logits, codes, _ = _pyramid(config, x, head, channels, separable=True)
    return logits[..., 1:], codes


def regions(config: Config, x: Tensor) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Return the outputs of Faster R-CNN's first stage on a pyramid (arXiv:1612.03144).

    Returns:
        Objectness (B, A), codes (B, A, 4), and the maps of the pyramid's levels.
    """

    def head(options: dict[str, Any]) -> Any:
        return vision("modeling.heads.dense_prediction_heads").RPNHead(**options)

    scores, codes, maps = _pyramid(config, x, head, 1, separable=False)
    return scores[..., 0], codes, maps


def _pyramid(
    config: Config,
    x: Tensor,
    make_head: Callable[[dict[str, Any]], Any],
    channels: int,
    separable: bool,
) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Return logits (B, A, channels), codes (B, A, 4) and maps of a head of the model garden."""
    height, width = config.input_size
    low, high = config.levels
    filters, per_cell = config.pyramid_filters, anchors.per_cell(config)
    levels = range(low, high + 1)
    options = {**_NORM, "norm_momentum": config.bn_momentum}
    common = {"min_level": low, "max_level": high, "num_filters": filters, **options}

    def parts() -> Sequence[Any]:
        import tf_keras

        base = backbone(config)
        pyramid = vision("modeling.decoders.fpn").FPN(
            input_specs=base.output_specs,
            use_separable_conv=separable,
            activation="relu6" if separable else "relu",
            **common,
        )
        head = make_head({"num_anchors_per_location": per_cell, **common})
        head(pyramid(base(tf_keras.Input((height, width, 3)))))
        return [base, pyramid, head]

    def run(parts: Sequence[Any], x: Any, training: bool) -> dict[str, Any]:
        base, pyramid, head = parts
        features = base(x, training=training)
        maps = pyramid({key: features[key] for key in base.output_specs}, training=training)
        scores, boxes, *_ = head(maps, training=training)
        return {f"{name}_{key}": value
                for name, group in (("scores", scores), ("boxes", boxes), ("map", maps))
                for key, value in group.items()}  # fmt: skip

    depths = {"scores": per_cell * channels, "boxes": per_cell * 4, "map": filters}
    shapes: dict[str, tuple[int | None, ...]] = {
        f"{name}_{level}": (-(-height // 2**level), -(-width // 2**level), depth)
        for name, depth in depths.items()
        for level in levels
    }
    outputs = Network(parts, run, shapes, name="network")(x)
    logits, codes = (
        layers.Concatenate(axis=1, dtype="float32")(
            [
                layers.Reshape((-1, depth), dtype="float32")(outputs[f"{name}_{level}"])
                for level in levels
            ]
        )
        for name, depth in (("scores", channels), ("boxes", 4))
    )
    return logits, codes, [outputs[f"map_{level}"] for level in levels]


ONE_STAGE = {"ssd": ssd, "fpn": fpn}


def backbone(config: Config) -> Any:
    """Return a backbone of the model garden, with the encoder's weights if the config names any."""
    import tf_keras

    specs = tf_keras.layers.InputSpec(shape=(None, *config.input_size, 3))
    options = {
        "input_specs": specs,
        "norm_momentum": config.bn_momentum,
        "norm_epsilon": _NORM["norm_epsilon"],
    }
    if config.backbone == "resnet50":
        return vision("modeling.backbones.resnet").ResNet(50, **options)
    network = vision("modeling.backbones.mobilenet").MobileNet(
        "MobileNetV1", filter_size_scale=config.backbone_alpha, **options
    )
    if config.encoder_weights is not None:
        _copy_encoder(network, config)
    return network


def _copy_encoder(network: Any, config: Config) -> None:
    """Copy the weights of Keras' MobileNet, block by block: both have the same 27."""
    options = {"include_top": False, "weights": config.encoder_weights}
    try:
        with no_downloads_offline():
            source = keras.applications.MobileNet((224, 224, 3), config.backbone_alpha, **options)
    except Exception as error:
        raise DentalzooError(
            f"the encoder's weights cannot be loaded: {' '.join(str(error).split())[:300]}. Give a "
            "file (--encoder-weights FILE; a Keras no-top .h5 of MobileNet v1 of this "
            "backbone_alpha) or none (--encoder-weights none), which starts from random weights. "
            f"Received: encoder_weights={config.encoder_weights!r}, "
            f"backbone_alpha={config.backbone_alpha}"
        ) from error
    blocks = []
    for layer in network.layers:
        kind = type(layer).__name__
        if kind == "Conv2DBNBlock":
            blocks += [layer._conv0, layer._norm0]
        elif kind == "DepthwiseSeparableConvBlock":
            blocks += [layer._dwconv0, layer._norm0, layer._conv1, layer._norm1]
    for here, there in zip(blocks, [la for la in source.layers if la.weights], strict=True):
        here.set_weights(there.get_weights())


def _conv(config: Config, x: Tensor, filters: int, size: int, strides: int, name: str) -> Tensor:
    x = layers.Conv2D(
        filters,
        size,
        strides=strides,
        padding="same",
        use_bias=False,
        kernel_initializer=keras.initializers.TruncatedNormal(stddev=0.03),
        name=name,
    )(x)
    x = layers.BatchNormalization(
        momentum=config.bn_momentum, epsilon=_NORM["norm_epsilon"], name=f"{name}_norm"
    )(x)
    return layers.ReLU(6.0, name=f"{name}_relu")(x)


def _depth(filters: int, alpha: float) -> int:
    return max(16, int(filters * alpha))  # min_depth 16: the paper's config
