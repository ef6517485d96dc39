"""How a step of any paper is computed: on which devices, its precision, XLA, how many batches."""

import dataclasses
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dentalzoo.errors import DentalzooError

if TYPE_CHECKING:
    import keras

PRECISIONS = ("bfloat16", "float16")
COMPILED_STRATEGIES = ("default", "tpu")


@dataclass(frozen=True)
class Computing:
    """How steps are computed. A run is resumed with the same, and its bundle's metadata name them.

    Attributes:
        mixed_precision: one of PRECISIONS, or None: float32.
        jit_compile: compile the steps with XLA; None: as the model and Keras choose.
        accumulate: number of batches whose mean gradient makes one step of the optimizer.
        sync_batchnorm: normalise with the statistics of the batch of all devices.
        strategy: a name of `distribute.STRATEGIES`.

    Raises:
        DentalzooError: a value that cannot be, or not with the others.
    """

    mixed_precision: str | None = None
    jit_compile: bool | None = None
    accumulate: int = 1
    sync_batchnorm: bool = False
    strategy: str = "default"

    def __post_init__(self) -> None:
        precision, jit, every = self.mixed_precision, self.jit_compile, self.accumulate
        if precision is not None and precision not in PRECISIONS:
            raise DentalzooError(
                f"mixed_precision must be one of: {', '.join(PRECISIONS)}, or None. "
                f"Received: {precision!r}"
            )
        if precision == "float16" and self.strategy == "tpu":
            raise DentalzooError(
                "mixed_precision must be bfloat16 or None with strategy tpu. Received: 'float16'"
            )
        if jit not in (None, True, False):
            raise DentalzooError(f"jit_compile must be True, False or None. Received: {jit!r}")
        if jit and self.strategy not in COMPILED_STRATEGIES:
            raise DentalzooError(
                f"strategy must be one of: {', '.join(COMPILED_STRATEGIES)} with jit_compile; XLA "
                f"compiles no step of several devices. Received: {self.strategy!r}"
            )
        if jit is False and self.strategy == "tpu":
            raise DentalzooError(
                "jit_compile must be None or True with strategy tpu, which compiles every step. "
                "Received: False"
            )
        if not isinstance(every, int) or isinstance(every, bool) or every < 1:
            raise DentalzooError(f"accumulate must be an integer >= 1. Received: {every!r}")
        if self.sync_batchnorm not in (True, False):
            raise DentalzooError(
                f"sync_batchnorm must be True or False. Received: {self.sync_batchnorm!r}"
            )

    def arguments(self) -> list[str]:
        """Return the flags of `dentalzoo train`; none for the defaults."""
        parts = []
        if self.mixed_precision:
            parts += ["--mixed-precision", self.mixed_precision]
        if self.jit_compile is not None:
            parts += ["--jit-compile" if self.jit_compile else "--no-jit-compile"]
        if self.accumulate > 1:
            parts += ["--accumulate", str(self.accumulate)]
        if self.sync_batchnorm:
            parts.append("--sync-batchnorm")
        if self.strategy != "default":
            parts += ["--strategy", self.strategy]
        return parts


NAMES = tuple(field.name for field in dataclasses.fields(Computing))


def with_defaults(record: dict[str, Any]) -> dict[str, Any]:
    """Return the record of a run that an earlier version of dentalzoo may have written."""
    record = {**dataclasses.asdict(Computing()), **record}
    if isinstance(record["mixed_precision"], bool):
        record["mixed_precision"] = "bfloat16" if record["mixed_precision"] else None
    return record


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


def adapt(model: "keras.Model", computing: Computing) -> None:
    """Let a compiled model compute its steps so, and build its optimizer.

    Called in the scope of the strategy. In float16 Keras has wrapped the optimizer in a
    LossScaleOptimizer when the model was compiled.

    Raises:
        DentalzooError: the process forbids XLA, or a network has no batch normalisation to
            synchronise.
    """
    import keras

    if computing.sync_batchnorm:
        from dentalzoo.nn.normalisation import normalisations, synchronise

        layers = normalisations(model)
        synchronise(layers)
        if not layers:
            raise DentalzooError(
                "sync_batchnorm must be False for a network without batch normalisation that "
                f"trains. Received: {model.name}"
            )

    every, jit = computing.accumulate, computing.jit_compile
    if every > 1:
        from dentalzoo.training.accumulation import Accumulated

        if isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer):
            # Outermost: a batch whose gradients are not finite does not count.
            scaled = model.optimizer
            scaled.inner_optimizer = Accumulated(scaled.inner_optimizer, every)
        else:
            model.optimizer = Accumulated(model.optimizer, every)
    if jit is not None and computing.strategy != "tpu":  # which compiles by itself
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # raised below
            model.jit_compile = jit
        if jit and not model.jit_compile:
            raise DentalzooError(
                "jit_compile must be False where TensorFlow's op determinism is enabled. "
                "Received: True"
            )
    model.optimizer.build(model.trainable_variables)
