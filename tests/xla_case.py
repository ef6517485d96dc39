"""Functions of a paper compiled by XLA, and the same ones without it."""

import dataclasses
import functools

import numpy as np

from dentalzoo import registry
from dentalzoo.training import computing
from dentalzoo.training.loop import _pair
from tests.zoo_case import with_known_weights

BATCH = 2
HOST_CALLS = {"PyFunc", "PyFuncStateless", "EagerPyFunc"}


@functools.cache
def built(name: str, variant: str, precision: str | None):
    """The module of a paper, the config of a variant, and its compiled model with known weights."""
    module = registry.module_of(name)
    config = registry.configure(name, variant)
    config = config.without_init()
    if getattr(config, "num_points", 0) > 2000:  # a number of points is no other network
        config = dataclasses.replace(config, num_points=2000)
    with computing.precision(precision):
        model = with_known_weights(module.build_model(config))
        module.compile_model(model, config, steps=10)
    model.optimizer.build(model.trainable_variables)
    return module, config, model


def batch_of(config, model) -> tuple:
    """A batch of (inputs, targets) of the shapes and dtypes of a variant's data."""
    import tensorflow as tf

    random = np.random.RandomState(0)
    element = {
        tensor.name: random.uniform(size=(BATCH, *tensor.shape[1:])) for tensor in model.inputs
    }
    element = {key: value.astype(np.float32) for key, value in element.items()}
    if "views" in element:
        element["points"] = random.normal(size=(BATCH, config.num_points, 3)).astype(np.float32)
    elif "mask" in model.output_names:
        size = (BATCH, *config.input_size, 1)
        element["mask"] = random.randint(0, max(2, config.num_classes), size).astype(np.uint8)
    elif "boxes" in model.output_names:
        low = random.uniform(0, 0.5, (BATCH, config.max_boxes, 2))
        boxes = np.concatenate([low, low + random.uniform(0.2, 0.5, low.shape)], axis=-1)
        rows = np.arange(config.max_boxes) < np.array([[3], [0]])  # the second has no finding
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


def host_calls(function) -> set[str]:
    """The operations of a concrete function, and of all that it calls, that leave the graph."""
    graph = function.graph.as_graph_def()
    nodes = [*graph.node, *(node for called in graph.library.function for node in called.node_def)]
    return {node.op for node in nodes} & HOST_CALLS


def hlo(function, *inputs) -> str:
    """The program that XLA makes of a function: it fails where XLA lacks an operation."""
    return function.experimental_get_compiler_ir(*inputs)(stage="hlo")
