"""Strategies of `tf.distribute` by name.

A further strategy is a function that returns it and a line in STRATEGIES.
"""

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

from dentalzoo.errors import DentalzooError, reason_of
from dentalzoo.training import tpu
from dentalzoo.training.cluster import Cluster
from dentalzoo.training.team import Team

if TYPE_CHECKING:
    import tensorflow as tf


def _default() -> "tf.distribute.Strategy":
    """Return the strategy for one device."""
    import tensorflow as tf

    return tf.distribute.get_strategy()


@cache  # the replicas of a second one in a process would wait for those of the first
def _mirrored() -> "tf.distribute.Strategy":
    """Return the strategy for all GPUs of this machine, or for all of its logical CPUs."""
    import tensorflow as tf

    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    return tf.distribute.MirroredStrategy([device.name for device in devices])


@cache  # TensorFlow joins one cluster in a process
def _multi_worker(cluster: Cluster) -> "tf.distribute.Strategy":
    """Return the strategy for all GPUs of several processes, or for the CPU of each."""
    import tensorflow as tf

    resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
        tf.train.ClusterSpec({"worker": list(cluster.workers)}),
        task_type="worker",
        task_id=cluster.index,
        rpc_layer="grpc",
    )
    try:
        return tf.distribute.MultiWorkerMirroredStrategy(resolver)
    except (RuntimeError, tf.errors.OpError) as error:
        raise DentalzooError(
            "strategy multi_worker must be the first use of TensorFlow in its process, and each "
            f"process can join one cluster. Received: {reason_of(error)}"
        ) from error


def abort_collectives(reason: str) -> None:
    """End the collectives of this process that wait for another one, with an error."""
    import tensorflow as tf
    from tensorflow.python.eager import context

    context.context().abort_collective_ops(tf.errors.UNAVAILABLE, reason)


def strategy_of(name: str, team: Team, tpu_name: str | None = None) -> "tf.distribute.Strategy":
    """Resolve a strategy name for a team, whose collectives end when one of its workers stops.

    Args:
        name: as for `strategy`.
        team: the workers of `multi_worker`.
        tpu_name: the TPU of `tpu`, see `tpu.connect`.

    Raises:
        DentalzooError: an unknown name, a cluster that TensorFlow cannot join, or workers with
            different numbers of devices or versions.
    """
    if name == "tpu":
        return strategy(name, name=tpu_name)
    if team.cluster is None:
        return strategy(name)
    import keras
    import tensorflow as tf

    found = strategy(name, cluster=team.cluster)
    team.abort = abort_collectives
    team.agree(
        "devices and versions",
        {
            "number of devices": len(found.extended.worker_devices),
            "tensorflow": tf.__version__,
            "keras": keras.__version__,
        },
    )
    return found


STRATEGIES: "dict[str, Callable[..., tf.distribute.Strategy]]" = {
    "default": _default,
    "mirrored": _mirrored,
    "multi_worker": _multi_worker,
    "tpu": tpu.connect,
}


def strategy(name: str = "default", /, **options: Any) -> "tf.distribute.Strategy":
    """Resolve a strategy name.

    Args:
        name: `default` (one device) or `mirrored` (all GPUs of this machine; without a GPU all of
            TensorFlow's logical CPUs, of which there is one unless configured otherwise), or
            `multi_worker` (the devices of several processes), or `tpu` (the cores of a TPU).
        options: `cluster`, a `Cluster`, for `multi_worker`; `name` for `tpu`.

    Returns:
        A `tf.distribute.Strategy`; build and compile inside its `scope()`.

    Raises:
        DentalzooError: an unknown name, a cluster that TensorFlow cannot join, or no TPU.
    """
    if name not in STRATEGIES:
        raise DentalzooError(
            f"strategy must be one of: {', '.join(STRATEGIES)}. Received: {name!r}"
        )
    return STRATEGIES[name](**options)
