"""How a step of any paper is computed: its precision, XLA, and how many batches it takes."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from dentalzoo.errors import DentalzooError

if TYPE_CHECKING:
    import keras

PRECISIONS = ("bfloat16", "float16")
# What runs of before had no setting for.
DEFAULTS = {
    "mixed_precision": None,
    "jit_compile": None,
    "accumulate": 1,
    "sync_batchnorm": False,
}
COMPILED_STRATEGIES = ("default", "tpu")


def check(settings: dict[str, Any]) -> None:
    """Check the settings `mixed_precision`, `jit_compile`, `accumulate` and `sync_batchnorm`.

    Raises:
        DentalzooError: one of them has a value that cannot be, or not with the strategy.
    """
    precision, jit, every, sync = (settings[key] for key in DEFAULTS)
    strategy = settings["strategy"]
    if precision is not None and precision not in PRECISIONS:
        raise DentalzooError(
            f"mixed_precision must be one of: {', '.join(PRECISIONS)}, or None. "
            f"Received: {precision!r}"
        )
    if precision == "float16" and strategy == "tpu":
        raise DentalzooError(
            "mixed_precision must be bfloat16 or None with strategy tpu. Received: 'float16'"
        )
    if jit not in (None, True, False):
        raise DentalzooError(f"jit_compile must be True, False or None. Received: {jit!r}")
    if jit and strategy not in COMPILED_STRATEGIES:
        raise DentalzooError(
            f"strategy must be one of: {', '.join(COMPILED_STRATEGIES)} with jit_compile; XLA "
            f"compiles no step of several devices. Received: {strategy!r}"
        )
    if jit is False and strategy == "tpu":
        raise DentalzooError(
            "jit_compile must be None or True with strategy tpu, which compiles every step. "
            "Received: False"
        )
    if not isinstance(every, int) or isinstance(every, bool) or every < 1:
        raise DentalzooError(f"accumulate must be an integer >= 1. Received: {every!r}")
    if sync not in (True, False):
        raise DentalzooError(f"sync_batchnorm must be True or False. Received: {sync!r}")


def with_defaults(settings: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of a run that an earlier version of dentalzoo may have written."""
    settings = {**DEFAULTS, **settings}
    if isinstance(settings["mixed_precision"], bool):
        settings["mixed_precision"] = "bfloat16" if settings["mixed_precision"] else None
    return settings


def arguments(settings: dict[str, Any]) -> list[str]:
    """Return the flags of `dentalzoo train` for these settings; none for the defaults."""
    parts = []
    if settings["mixed_precision"]:
        parts += ["--mixed-precision", settings["mixed_precision"]]
    if settings["jit_compile"] is not None:
        parts += ["--jit-compile" if settings["jit_compile"] else "--no-jit-compile"]
    if settings["accumulate"] > 1:
        parts += ["--accumulate", str(settings["accumulate"])]
    if settings["sync_batchnorm"]:
        parts.append("--sync-batchnorm")
    return parts


@contextmanager
def precision(name: str | None) -> Iterator[None]:
    """Build layers that compute in a dtype of PRECISIONS; restore Keras' policy at the end.

    Args:
        name: the dtype; None changes nothing. Variables are float32 in any case.
    """
    import keras

    before = keras.config.dtype_policy()
    if name is not None:
        keras.config.set_dtype_policy(f"mixed_{name}")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def adapt(model: "keras.Model", settings: dict[str, Any]) -> None:
    """Let a compiled model compute its steps as the settings say, and build its optimizer.

    Called in the scope of the strategy. In float16 Keras has wrapped the optimizer in a
    LossScaleOptimizer when the model was compiled.

    Raises:
        DentalzooError: the process forbids XLA, or a network has no batch normalisation to
            synchronise.
    """
    import keras

    if settings["sync_batchnorm"]:
        layers = normalisations(model)
        for layer in layers:
            layer.synchronized = True
        if not layers:
            raise DentalzooError(
                "sync_batchnorm must be False for a network without batch normalisation that "
                f"trains. Received: {model.name}"
            )

    every, jit = settings["accumulate"], settings["jit_compile"]
    if every > 1:
        from dentalzoo.training.accumulation import Accumulated

        if isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer):
            # Outermost: a batch whose gradients are not finite does not count.
            scaled = model.optimizer
            scaled.inner_optimizer = Accumulated(scaled.inner_optimizer, every)
        else:
            model.optimizer = Accumulated(model.optimizer, every)
    if jit is not None and settings["strategy"] != "tpu":  # which compiles by itself
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # raised below
            model.jit_compile = jit
        if jit and not model.jit_compile:
            raise DentalzooError(
                "jit_compile must be False where TensorFlow's op determinism is enabled. "
                "Received: True"
            )
    model.optimizer.build(model.trainable_variables)


def normalisations(model: "keras.Model") -> "list[keras.layers.BatchNormalization]":
    """Return the layers of batch normalisation that train, at every depth of a model."""
    import keras

    kind = keras.layers.BatchNormalization
    return [one for one in model._flatten_layers() if isinstance(one, kind) and one.trainable]
