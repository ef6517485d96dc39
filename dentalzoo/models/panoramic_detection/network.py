"""The networks of panoramic_detection: backbones and pyramids of the model garden, SSD's own maps.

A network maps images (B, H, W, 3) in the range of its encoder to the class logits (B, A, C) and
the box codes (B, A, 4) of its A anchors.
"""

import keras
from keras import layers

from dentalzoo.errors import DentalzooError
from dentalzoo.models.panoramic_detection import anchors
from dentalzoo.models.panoramic_detection.keras2_bridge import Network, vision

_NORM = {"norm_epsilon": 1e-3, "use_sync_bn": False}
_PRIOR = -4.595  # logit of 0.01: at the start nothing is a finding (arXiv:1708.02002, section 4.1)


def ssd(config, x):
    """SSD (arXiv:1512.02325) on MobileNet v1 as the TensorFlow Object Detection API had it in 2018:
    two maps of the backbone, four more below them, 1x1 predictors."""
    height, width = config.input_size
    sizes = {level: (-(-height // 2**level), -(-width // 2**level)) for level in (4, 5)}
    alpha = config.backbone_alpha
    depths = {level: _depth(depth, alpha) for level, depth in ((4, 512), (5, 1024))}

    def parts():
        return [backbone(config)]

    def run(parts, x, training):
        found = parts[0](x, training=training)
        return {"4": found["4"], "5": found["6"]}  # 6 is the last block; of the stride of 5

    shapes = {str(level): (*sizes[level], depths[level]) for level in (4, 5)}
    maps = list(Network(parts, run, shapes, name="backbone")(x).values())
    for index, depth in enumerate((512, 256, 256, 128)):
        y = _conv(config, maps[-1], _depth(depth // 2, alpha), 1, 1, f"extra_{index}_reduce")
        maps.append(_conv(config, y, _depth(depth, alpha), 3, 2, f"extra_{index}"))
    logits, codes = [], []
    for index, (y, count) in enumerate(zip(maps, anchors.SSD_COUNTS, strict=True)):
        options = {
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
        logits.append(layers.Reshape((-1, num_classes))(scores))
        codes.append(layers.Reshape((-1, 4))(boxes))
    return layers.Concatenate(axis=1)(logits), layers.Concatenate(axis=1)(codes)


def fpn(config, x):
    """RetinaNet's pyramid and head (arXiv:1708.02002), separable convolutions."""
    channels = 1 + len(config.classes)  # the model garden keeps one for the background

    def head(options):
        return vision("modeling.heads.dense_prediction_heads").RetinaNetHead(
            num_classes=channels,
            num_convs=config.head_convs,
            use_separable_conv=True,
            activation="relu6",
            **options,
        )

    logits, codes, _ = _pyramid(config, x, head, channels, separable=True)
    return logits[..., 1:], codes


def regions(config, x):
    """Faster R-CNN's first stage on a pyramid (arXiv:1612.03144): objectness (B, A), codes and the
    maps of its levels."""

    def head(options):
        return vision("modeling.heads.dense_prediction_heads").RPNHead(**options)

    scores, codes, maps = _pyramid(config, x, head, 1, separable=False)
    return scores[..., 0], codes, maps


def _pyramid(config, x, make_head, channels: int, separable: bool):
    """Logits (B, A, channels) and codes (B, A, 4) of a head of the model garden, and its maps."""
    height, width = config.input_size
    low, high = config.levels
    filters, per_place = config.pyramid_filters, anchors.per_place(config)
    levels = range(low, high + 1)
    options = {**_NORM, "norm_momentum": config.bn_momentum}
    common = {"min_level": low, "max_level": high, "num_filters": filters, **options}

    def parts():
        import tf_keras

        base = backbone(config)
        pyramid = vision("modeling.decoders.fpn").FPN(
            input_specs=base.output_specs,
            use_separable_conv=separable,
            activation="relu6" if separable else "relu",
            **common,
        )
        head = make_head({"num_anchors_per_location": per_place, **common})
        head(pyramid(base(tf_keras.Input((height, width, 3)))))
        return [base, pyramid, head]

    def run(parts, x, training):
        base, pyramid, head = parts
        found = base(x, training=training)
        maps = pyramid({key: found[key] for key in base.output_specs}, training=training)
        scores, boxes, *_ = head(maps, training=training)
        return {f"{word}_{key}": value
                for word, group in (("scores", scores), ("boxes", boxes), ("map", maps))
                for key, value in group.items()}  # fmt: skip

    depths = {"scores": per_place * channels, "boxes": per_place * 4, "map": filters}
    shapes = {
        f"{word}_{level}": (-(-height // 2**level), -(-width // 2**level), depth)
        for word, depth in depths.items()
        for level in levels
    }
    found = Network(parts, run, shapes, name="network")(x)
    logits, codes = (
        layers.Concatenate(axis=1)(
            [layers.Reshape((-1, depth))(found[f"{word}_{level}"]) for level in levels]
        )
        for word, depth in (("scores", channels), ("boxes", 4))
    )
    return logits, codes, [found[f"map_{level}"] for level in levels]


NETWORKS = {"ssd": ssd, "fpn": fpn}


def backbone(config):
    """A backbone of the model garden, with the encoder's weights where the config names some."""
    import tf_keras

    specs = tf_keras.layers.InputSpec(shape=(None, *config.input_size, 3))
    options = {"input_specs": specs, "norm_momentum": config.bn_momentum}
    options["norm_epsilon"] = _NORM["norm_epsilon"]
    if config.backbone == "resnet50":
        return vision("modeling.backbones.resnet").ResNet(50, **options)
    network = vision("modeling.backbones.mobilenet").MobileNet(
        "MobileNetV1", filter_size_scale=config.backbone_alpha, **options
    )
    if config.encoder_weights is not None:
        _take_encoder(network, config)
    return network


def _take_encoder(network, config) -> None:
    """Copies the weights of Keras' MobileNet, block by block: both have the same 27."""
    options = {"include_top": False, "weights": config.encoder_weights}
    try:
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


def _conv(config, x, filters: int, size: int, strides: int, name: str):
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
