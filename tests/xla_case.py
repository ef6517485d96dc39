"""Functions of a paper compiled by XLA, and the same ones without it."""

import dataclasses
import functools
from collections.abc import Mapping
from types import SimpleNamespace
from unittest import mock

import numpy as np

from dentalzoo import registry
from dentalzoo.training import computing
from dentalzoo.training.loop import _pair
from tests.zoo_case import with_known_weights

BATCH = 2
HOST_CALLS = {"PyFunc", "PyFuncStateless", "EagerPyFunc"}
# Settings of the data alone: neither network, nor step, nor signatures read them, see `build`.
OF_DATA = (
    "copies",
    "augmentation",
    "batch_size",
    "val_fraction",
    "missing_views",
    "early_stopping",
)


def small(name: str, variant: str):
    """The config of a variant with the same operations in small: sizes, channels and numbers.

    What is random is sampled from so few that all are taken.
    """
    config = registry.configure(name, variant).without_init()
    has = {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}
    depth = len(has.get("filters", ()))
    # A network that made one step then normalises with the statistics of its batch.
    sizes = {"epochs": 2, "filters": (8,) * depth, "bn_momentum": 0.0}
    if name in ("tooth_vae", "defect_overlay_vae"):
        sizes |= {"input_size": (2 ** (depth + 2),) * 2, "latent_dim": 4}
        if has.get("network") == "map":  # 16 units of a map
            sizes |= {"latent_dim": 48, "averaged": 16}
    elif name == "panoramic_unet":
        sizes |= {"input_size": (32, 64), "decoder_filters": (8,) * 5}
    elif name == "panoramic_detection":
        low, _ = config.levels
        # In bfloat16 oneDNN's gradient of a convolution of a map of one pixel may be NaN.
        ssd = config.network == "ssd"
        sizes |= {"input_size": (300, 300) if ssd else (64, 128), "backbone_alpha": 0.25}
        sizes |= {"levels": (max(3, low), 5), "pyramid_filters": 16, "head_convs": 1}
        sizes |= {"hidden_units": 16, "num_proposals": 20, "max_boxes": 6, "max_detections": 10}
        sizes |= {"anchor_samples": 4096, "region_samples": 26}
    else:
        sizes |= {"image_size": 32, "alpha": 0.35, "embedding": 8, "heads": 2, "hidden": (16,)}
        sizes |= {"token_filters": 2, "components": 3, "num_points": 300}
    return dataclasses.replace(config, **{key: sizes[key] for key in sizes if key in has})


def programs() -> list:
    """(name, config, variants) of each small network: variants that differ in data are one."""
    found = {}
    for name in registry.ZOO:
        for variant in registry.module_of(name).VARIANTS:
            config = small(name, variant)
            default = registry.configure(name)
            same = {key: getattr(default, key) for key in OF_DATA if hasattr(config, key)}
            found.setdefault((name, dataclasses.replace(config, **same)), []).append(variant)
    return [(name, config, variants) for (name, config), variants in found.items()]


def recording(config, read: set):
    """The config, which adds the names of the settings that are read to a set."""

    class Recording(type(config)):
        def __getattribute__(self, key):
            read.add(key)
            return super().__getattribute__(key)

    values = {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}
    made = Recording(**values)
    read.clear()
    return made


def build(name: str, config, precision: str | None):
    """The compiled model of a config, with known weights."""
    module = registry.module_of(name)
    with computing.precision(precision):
        model = with_known_weights(module.build_model(config))
        for weight in model.weights:
            if weight.name == "moments":  # a covariance
                weight.assign(np.eye(weight.shape[0]))
        module.compile_model(model, config, steps=10)
    model.optimizer.build(model.trainable_variables)
    return model


def avoid_kinks(model) -> None:
    """Assign weights with which no activation of a detector is near a kink of ReLU6.

    Normalised values become 3 +- 0.3 standard deviations. With others some lie so near to 0 or 6
    that rounding decides whether their derivative is 0 or 1; in the deepest maps, of few pixels,
    one of them changes the gradient by more than 1 %.
    """
    for weight in model.weights:
        if weight.path.endswith("gamma"):
            weight.assign(0.3 * np.array(weight))
        elif weight.path.endswith("beta"):
            weight.assign(3 + np.array(weight))


def fixed_proposals(stage, objectness, codes):
    """Return the same proposals (B, P, 4) for all images, in place of `SecondStage.propose`.

    In bfloat16 rounding decides which of overlapping proposals is kept.
    """
    import tensorflow as tf

    random = np.random.RandomState(1)
    low = random.uniform(0, 0.5, (stage.config.num_proposals, 2))
    boxes = np.concatenate([low, low + random.uniform(0.1, 0.5, low.shape)], axis=-1)
    return tf.tile(tf.constant(boxes, tf.float32)[None], (tf.shape(objectness)[0], 1, 1))


@functools.cache
def tiny(name: str, precision: str | None):
    """The module of a paper, the config of `tiny`, and its compiled model with known weights."""
    config = registry.configure(name, "tiny").without_init()
    return registry.module_of(name), config, build(name, config, precision)


def batch_of(config, model) -> tuple:
    """A batch of (inputs, targets) of the shapes and dtypes of a variant's data."""
    import tensorflow as tf

    random = np.random.RandomState(0)
    # A map of one pixel is normalised over the images of a batch: of two it would be a sign.
    count = 8 if getattr(config, "network", None) == "ssd" else BATCH
    element = {
        tensor.name: random.uniform(size=(count, *tensor.shape[1:])) for tensor in model.inputs
    }
    element = {key: value.astype(np.float32) for key, value in element.items()}
    if "views" in element:
        element["points"] = random.normal(size=(count, config.num_points, 3)).astype(np.float32)
        side = config.image_size
        element["depth"] = random.uniform(3, 4, (count, 10, side, side, 1)).astype(np.float32)
    elif "mask" in model.output_names:
        size = (count, *config.input_size, 1)
        element["mask"] = random.randint(0, max(2, config.num_classes), size).astype(np.uint8)
    elif "boxes" in model.output_names:
        low = random.uniform(0, 0.5, (count, config.max_boxes, 2))
        boxes = np.concatenate([low, low + random.uniform(0.2, 0.5, low.shape)], axis=-1)
        rows = np.arange(config.max_boxes) < np.array(
            [[3], [0]] * (count // 2)
        )  # the second has no finding
        element["boxes"] = np.where(rows[..., None], boxes, 0).astype(np.float32)
        element["classes"] = np.where(rows, 1 + np.arange(config.max_boxes) % 2, 0)
        element["classes"] = element["classes"].astype(np.int32)
    return _pair(model)({key: tf.constant(value) for key, value in element.items()})


def inputs_of(signature, config) -> dict | None:
    """Inputs of static shapes by name; None for a signature of strings, which XLA does not have."""
    import tensorflow as tf

    random = np.random.RandomState(0)
    specs = signature.input_signature
    names = [spec.name for spec in specs]
    if any(spec.dtype == tf.string for spec in specs):
        return None

    def grey(*shape):
        return random.randint(0, 256, shape).astype(np.uint8)

    makers = {
        "images": lambda: grey(BATCH, 40, 56, 3),
        "views": lambda: grey(BATCH, 3 if "places" in names else 10, 40, 40, 1),
        "places": lambda: np.int32([7, 0, 4]),
        "weights": lambda: np.float32([0.75, 0.5]),
        "z": lambda: random.normal(size=(BATCH, config.latent_dim)).astype(np.float32),
        "seed": lambda: np.int64(5),
        "n": lambda: np.int64(3),
    }
    return {name: tf.constant(makers[name]()) for name in names}


def step_of(model, jit: bool):
    """One training step: a function from a batch to the metrics."""
    import tensorflow as tf

    return tf.function(lambda *batch: model.train_step(batch), jit_compile=jit)


def run_step(model, batch: tuple, start: list, jit: bool, inspect: bool = False) -> SimpleNamespace:
    """One training step from a state: its metrics, gradients, movement and host calls.

    With `inspect` XLA's program of it is made too, and searched for calls of other code.
    """
    import tensorflow as tf

    for variable, value in zip([*model.variables, *model.optimizer.variables], start, strict=True):
        variable.assign(value)
    apply = model.optimizer.apply_gradients

    def step(*batch):
        gradients = []

        def recorded(pairs):
            pairs = list(pairs)
            gradients.extend(gradient for gradient, _ in pairs)
            apply(pairs)

        with mock.patch.object(model.optimizer, "apply_gradients", recorded):
            return model.train_step(batch), gradients

    function = tf.function(step, jit_compile=jit)
    calls = host_calls(function.get_concrete_function(*batch))
    if inspect and "custom-call" in hlo(function, *batch):
        calls.add("custom-call")
    metrics, gradients = function(*batch)
    pairs = zip(model.variables, start, strict=False)
    moved = [(np.array(variable) - value).ravel() for variable, value in pairs]
    return SimpleNamespace(
        metrics={key: float(value) for key, value in metrics.items()},
        gradients=np.concatenate([np.array(gradient).ravel() for gradient in gradients]),
        moved=np.concatenate(moved).astype(np.float64),
        host_calls=calls if jit else set(),
    )


def distance(one: np.ndarray, two: np.ndarray) -> float:
    """The distance of two vectors as a share of the first."""
    return float(np.linalg.norm(one - two) / np.linalg.norm(one))


def served(signatures: Mapping, config, jit: bool) -> tuple:
    """All signatures that XLA can have as one function, and its argument.

    One program of all is compiled once, where each has the network of its own.
    """
    import tensorflow as tf

    inputs = {key: inputs_of(signature, config) for key, signature in signatures.items()}
    inputs = {key: value for key, value in inputs.items() if value is not None}

    def all_of(inputs):
        return {key: signatures[key].python_function(**inputs[key]) for key in inputs}

    return tf.function(all_of, jit_compile=jit), inputs


def host_calls(function) -> set[str]:
    """The operations of a concrete function, and of all that it calls, that leave the graph."""
    graph = function.graph.as_graph_def()
    nodes = [*graph.node, *(node for called in graph.library.function for node in called.node_def)]
    return {node.op for node in nodes} & HOST_CALLS


def hlo(function, *inputs) -> str:
    """The program that XLA makes of a function: it fails where XLA lacks an operation."""
    return function.experimental_get_compiler_ir(*inputs)(stage="hlo")
