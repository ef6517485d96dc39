"""Gradient accumulation: one step of the optimizer for every N batches.

Keras has `gradient_accumulation_steps`. It decides inside of a replica whether to step, which
fails under the strategies of several devices (`merge_call called while defining a new graph`), and
its learning rate schedules count batches while `optimizer.iterations` counts steps.
"""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf
from keras import ops


class Accumulated(keras.optimizers.Optimizer):
    """Sums the gradients of `every` batches and lets an optimizer step with their mean.

    The sums belong to the variables, so that a group of batches can be interrupted and resumed.
    `iterations` and learning rate schedules count the steps of the inner optimizer.

    Args:
        inner: the optimizer that steps.
        every: number of batches in a group, 2 or more.
    """

    def __init__(self, inner: keras.optimizers.Optimizer, every: int) -> None:
        super().__init__(learning_rate=0.0, name="accumulated")
        self.inner, self.every = inner, every

    def build(self, variables: Sequence[keras.Variable]) -> None:
        self.count = self.add_variable((), dtype="int32", name="batches")  # of the group
        self.sums = [self.add_variable_from_reference(v, name="sum") for v in variables]
        self.inner.build(variables)
        super().build(variables)

    @property
    def variables(self) -> list[keras.Variable]:
        return [*self._variables, *self.inner.variables]

    @property
    def iterations(self) -> Any:
        return self.inner.iterations

    @property
    def learning_rate(self) -> Any:
        return self.inner.learning_rate

    @learning_rate.setter
    def learning_rate(self, value: Any) -> None:
        self.inner.learning_rate = value

    def apply(self, grads: Sequence[Any], trainable_variables: Any = None) -> None:
        """Add the gradients of a batch; step where it completes a group."""
        context = tf.distribute.get_replica_context()
        replicas = context.num_replicas_in_sync
        grads = [ops.zeros(v.shape, v.dtype) if g is None else g for g, v in self._pairs(grads)]
        if replicas > 1:
            # Every replica has the same sums, of which a checkpoint keeps one. The inner optimizer
            # adds up those of all replicas once more.
            total = context.all_reduce(tf.distribute.ReduceOp.SUM, grads)
            grads = [grad / replicas for grad in total]
        if tf.__internal__.distribute.strategy_supports_no_merge_call():
            self._apply(grads, lambda function, *args: function(*args))
        else:  # the condition must lie outside of the replicas, as in Keras' LossScaleOptimizer
            context.merge_call(self._apply_across, args=(grads,))

    def _pairs(self, grads: Sequence[Any]) -> Any:
        return zip(grads, self._trainable_variables, strict=True)

    def _apply_across(self, strategy: tf.distribute.Strategy, grads: Sequence[Any]) -> None:
        def each(function: Callable[..., None], *args: Any) -> None:
            strategy.extended.call_for_each_replica(function, args=args)

        self._apply(grads, each)

    def _apply(self, grads: Sequence[Any], each: Callable[..., None]) -> None:
        tf.cond(
            tf.equal(self.count.value, self.every - 1),
            lambda: each(self._step, grads),
            lambda: each(self._add, grads),
        )

    def _add(self, grads: Sequence[Any]) -> None:
        for total, grad in zip(self.sums, grads, strict=True):
            total.assign_add(grad)
        self.count.assign_add(1)

    def _step(self, grads: Sequence[Any]) -> None:
        means = [(s + g) / self.every for s, g in zip(self.sums, grads, strict=True)]
        self.inner.apply(means, self._trainable_variables)
        for total in self.sums:
            total.assign(ops.zeros(total.shape, total.dtype))
        self.count.assign(0)
