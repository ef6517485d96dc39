"""The network of panoramic_detection and its recipe; the parts are in architectures.py."""

from typing import TYPE_CHECKING

from dentalzoo.models.panoramic_detection.config import Config

if TYPE_CHECKING:
    import keras

    from dentalzoo.models.panoramic_detection.detector import Detector


def build_model(config: Config) -> "Detector":
    """Build the network.

    Returns:
        A `Detector`: image (B, H, W, 3) float32 in [0, 1] -> {"classes": (B, A, C) logits, "boxes":
        (B, A, 4) codes}, float32; of `faster_rcnn` a `FasterRCNN`: {"classes": (B, P, 1 + C)
        logits, "boxes": (B, P, C, 4) yxyx in [0, 1]}.

    Raises:
        DentalzooError: the encoder's weights cannot be loaded, or the model garden is missing.
    """
    import keras

    from dentalzoo.models.panoramic_detection.architectures import ONE_STAGE, regions
    from dentalzoo.models.panoramic_detection.detector import Detector
    from dentalzoo.models.panoramic_detection.two_stages import FasterRCNN, SecondStage

    image = keras.Input((*config.input_size, 3), name="image")
    low, high = config.input_range
    x = keras.layers.Rescaling(high - low, offset=low, name="rescale")(image)
    if config.network == "faster_rcnn":
        first = regions(config, x)
        outputs = _named(SecondStage(config, name="second", dtype="float32")(*first))
        return FasterRCNN(image, outputs, config, first)
    classes, boxes = ONE_STAGE[config.network](config, x)
    return Detector(image, _named({"classes": classes, "boxes": boxes}), config)


def _named(tensors: "dict[str, keras.KerasTensor]") -> "dict[str, keras.KerasTensor]":
    """Pass outputs through layers of their names, which is how Keras names an output."""
    import keras

    return {
        key: keras.layers.Identity(name=key, dtype="float32")(tensor)
        for key, tensor in tensors.items()
    }


def compile_model(model: "Detector", config: Config, steps: int = 1) -> None:
    """Compile the model with the config's optimizer; it carries its own loss.

    Args:
        steps: number of training steps, over which a cosine schedule falls to zero.
    """
    import keras

    rate = config.learning_rate
    if config.schedule == "cosine":
        warm = min(200, steps // 10)
        options = {"warmup_target": rate, "warmup_steps": warm} if warm else {}
        start = 0.0 if warm else rate
        rate = keras.optimizers.schedules.CosineDecay(start, max(1, steps - warm), **options)
    if config.optimizer == "rmsprop":  # its ssd.config
        optimizer = keras.optimizers.RMSprop(
            rate, rho=0.9, momentum=0.9, epsilon=1.0, global_clipnorm=config.clip_norm
        )
    elif config.optimizer == "momentum":  # its fastercnn.config
        optimizer = keras.optimizers.SGD(rate, momentum=0.9, global_clipnorm=config.clip_norm)
    else:
        optimizer = keras.optimizers.Adam(rate, global_clipnorm=config.clip_norm)
    model.compile(optimizer=optimizer, jit_compile=False)


def callbacks(config: Config) -> "list[keras.callbacks.Callback]":
    """Return an empty list: the recipe has none."""
    return []


def feature_maps(model: "Detector", config: Config) -> "keras.Model":
    """Return the model image -> maps that the predictors look at, one of each resolution."""
    import keras

    from dentalzoo.models.panoramic_detection.keras2_bridge import Network

    network = next(layer for layer in model.layers if isinstance(layer, Network))
    maps = [map for name, map in network.outputs_by_name().items() if name.startswith("map_")]
    if config.network == "ssd":
        extra = (la for la in model.layers if la.name.startswith("extra_"))
        maps = [*network.outputs_by_name().values()]
        maps += [layer.output for layer in extra if layer.name.endswith(("0_relu", "1_relu"))]
    return keras.Model(model.inputs, maps)
