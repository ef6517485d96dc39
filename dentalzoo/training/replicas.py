"""What Keras' `fit` needs for the replicas of several processes.

Keras 3 does not train under `tf.distribute.MultiWorkerMirroredStrategy`: keras-team/keras#20585,
measured with Keras 3.15. Before its first step it averages the batches of all workers, which have
no common shape, and after every step it averages the metrics of all workers along an axis that
they do not have. Both are left out here: the model is built with a batch of this worker, and the
metrics are those of a replica, for Keras sums their counts over all replicas when it reads them at
the end of an epoch.
"""

import inspect
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from dentalzoo.errors import DentalzooError
from dentalzoo.nn.normalisation import moving_statistics

# Method of Keras' trainer -> what its source must hold for this module to work.
_RELIED_ON = {
    "_symbolic_build": ("data_batch",),
    "_maybe_symbolic_build": ("data_batch", "_symbolic_build"),
    "make_train_function": ("if self.train_function is not None and not force:",),
    "make_test_function": ("if self.test_function is not None and not force:",),
    "fit": ("self._maybe_symbolic_build(iterator=", "self.train_function(iterator)"),
    "train_step": ("self._compute_loss(", "unscale_loss_for_distribution(loss)"),
    "_compute_loss": ("self.compute_loss(",),
}


def prepare(
    model: keras.Model, training: tf.data.Dataset, validation: tf.data.Dataset | None
) -> tuple[Any, Any, dict[str, Any]]:
    """Let `fit` train a compiled model in the replicas of several processes.

    The gradient of a step is that of the whole batch: the mean over the samples of all replicas,
    though some replicas may have a sample less than others.

    Args:
        model: compiled, not trained yet.
        training, validation: this worker's datasets; each element goes to one of its replicas.

    Returns:
        The datasets to give to `fit`, and the options that belong to them.

    Raises:
        DentalzooError: a version of Keras that works in another way.
    """
    check_keras()
    strategy = model.distribute_strategy
    with strategy.scope():
        model._symbolic_build(data_batch=training.element_spec)
    model._maybe_symbolic_build = lambda *args, **options: None
    model.compute_loss = _weighted(model.compute_loss)
    model.train_function = _function(strategy, model.train_step)
    model.test_function = _function(strategy, model.test_step)

    def distributed(dataset: tf.data.Dataset) -> Any:
        return strategy.distribute_datasets_from_function(lambda context: dataset)

    if validation is None:
        return distributed(training), None, {}
    local = len(strategy.extended.worker_devices)
    steps = int(validation.cardinality()) // local
    return distributed(training), distributed(validation), {"validation_steps": steps}


def check_keras(trainer: type = keras.Model) -> None:
    """Check that Keras' trainer is as this module needs it.

    Raises:
        DentalzooError: it is not; the message names the method.
    """
    for name, parts in _RELIED_ON.items():
        method = getattr(trainer, name, None)
        source = inspect.getsource(method) if method else ""
        if missing := [part for part in parts if part not in source]:
            raise DentalzooError(
                "strategy multi_worker must have a Keras whose trainer it knows; install keras "
                f"3.15. Received: Keras {keras.__version__}, {name} without {missing[0]!r}"
            )


def _function(
    strategy: tf.distribute.Strategy, step: Callable[[Any], dict[str, Any]]
) -> Callable[[Any], dict[str, Any]]:
    """Return a function of an iterator that runs a step in all replicas."""

    @tf.function(reduce_retracing=True)
    def run(iterator: Any) -> dict[str, Any]:
        results = strategy.run(step, args=(next(iterator),))
        return {
            key: strategy.experimental_local_results(value)[0] for key, value in results.items()
        }

    return run


def _weighted(compute_loss: Callable[..., Any]) -> Callable[..., Any]:
    """Weight the gradient of a replica's loss by its share of the samples.

    Keras divides every replica's mean loss by the number of replicas, which is the mean over all
    samples where all replicas have the same number of them.
    """

    def loss_of(x: Any = None, *args: Any, training: bool = True, **options: Any) -> Any:
        loss = compute_loss(x, *args, training=training, **options)
        context = tf.distribute.get_replica_context()
        if not training or context is None:
            return loss
        count = tf.cast(tf.shape(tf.nest.flatten(x)[0])[0], loss.dtype)
        mean = context.all_reduce(tf.distribute.ReduceOp.MEAN, count)

        @tf.custom_gradient
        def weighted(loss: Any) -> Any:
            return tf.identity(loss), lambda upstream: upstream * (count / mean)

        return weighted(loss)

    return loss_of


class AverageStatistics(keras.callbacks.Callback):
    """Averages the moving statistics of batch normalisation over the replicas after each epoch.

    Each replica moves its own. A checkpoint holds one of them, and validation uses all.
    """

    def on_test_begin(self, logs: Any = None) -> None:
        self._average()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self._average()

    def _average(self) -> None:
        if variables := moving_statistics(self.model):
            self._run(variables)

    def _run(self, variables: list[Any]) -> None:
        strategy = self.model.distribute_strategy

        def average() -> None:
            context = tf.distribute.get_replica_context()
            values = [tf.identity(variable) for variable in variables]  # on the replica's device
            means = context.all_reduce(tf.distribute.ReduceOp.MEAN, values)
            for variable, mean in zip(variables, means, strict=True):
                variable.assign(mean)

        tf.function(lambda: strategy.run(average))()
