"""The processes of one training as a type, found in the arguments, in TF_CONFIG or in SLURM.

TensorFlow is not imported here: a cluster that cannot be is refused before anything is loaded.
"""

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from dentalzoo.errors import DentalzooError

_ADDRESS = re.compile(r"(\[[0-9a-fA-F:]+\]|[A-Za-z0-9._-]+):(\d{1,5})")  # an IPv6 host in brackets
_SLURM = ("PROCID", "STEP_NODELIST", "STEP_TASKS_PER_NODE")
_SLURM_PORTS = 20000  # below the ports that Linux gives to outgoing connections (32768 and above)


@dataclass(frozen=True)
class Cluster:
    """The workers of one training, of which this process is one.

    Attributes:
        workers: addresses "host:port", the same in every process; the first is the chief.
        index: which of them this process is.

    Raises:
        DentalzooError: fewer than two workers, an address twice or malformed, or an index that
            none of them has.
    """

    workers: tuple[str, ...]
    index: int

    def __post_init__(self) -> None:
        for address in self.workers:
            found = _ADDRESS.fullmatch(address)
            if not found or not 0 < int(found[2]) < 65536:
                raise DentalzooError(
                    f"a worker must be host:port with a port from 1 to 65535. Received: {address!r}"
                )
        if len(self.workers) < 2:
            raise DentalzooError(
                "a cluster must have at least 2 workers; one machine trains with strategy default "
                f"or mirrored. Received: {len(self.workers)}"
            )
        if twice := sorted({a for a in self.workers if self.workers.count(a) > 1}):
            raise DentalzooError(
                f"every worker must have its own host:port. Received twice: {', '.join(twice)}"
            )
        if not 0 <= self.index < len(self.workers):
            raise DentalzooError(
                f"index must be from 0 to {len(self.workers) - 1} with {len(self.workers)} "
                f"workers. Received: {self.index}"
            )

    @property
    def is_chief(self) -> bool:
        """True for the worker that writes."""
        return self.index == 0

    def host_and_port(self, index: int) -> tuple[str, int]:
        """Return host and port of a worker."""
        host, _, port = self.workers[index].rpartition(":")
        return host.strip("[]"), int(port)

    def title(self, index: int) -> str:
        """Return how a worker is called in messages."""
        return f"worker {index} ({self.workers[index]})"


def cluster_of(
    strategy: str, workers: str | Sequence[str] | None = None, index: int | None = None
) -> Cluster | None:
    """Return the cluster of strategy multi_worker, see `find_cluster`; the others have none.

    Raises:
        DentalzooError: there is no cluster, it cannot be, or it is given with another strategy.
    """
    if strategy == "multi_worker":
        return find_cluster(workers, index)
    if workers is not None or index is not None:
        raise DentalzooError(
            "workers and index (--workers, --index) must come with strategy multi_worker. "
            f"Received: strategy={strategy!r}"
        )
    return None


def find_cluster(
    workers: str | Sequence[str] | None = None,
    index: int | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Cluster:
    """Return the cluster that the arguments name, or else TF_CONFIG, or else SLURM.

    Args:
        workers: addresses "host:port", a sequence or separated by commas; the first is the chief.
        index: which of them this process is; given with `workers`.
        environ: environment variables.

    Raises:
        DentalzooError: there is no cluster, it cannot be, or TF_CONFIG names another one than the
            arguments.
    """
    if (workers is None) != (index is None):
        raise DentalzooError(
            "workers and index (--workers, --index) must be given together. "
            f"Received: workers={workers!r}, index={index!r}"
        )
    given = None
    if workers is not None and index is not None:
        names = workers.split(",") if isinstance(workers, str) else workers
        given = Cluster(tuple(name.strip() for name in names), index)
    config = _of_tf_config(environ["TF_CONFIG"]) if environ.get("TF_CONFIG") else None
    if given and config and given != config:
        raise DentalzooError(
            "TF_CONFIG must name the cluster of workers and index; unset it or leave them out. "
            f"Received: {_text(config)} in TF_CONFIG, {_text(given)} as arguments"
        )
    if found := given or config or _of_slurm(environ):
        return found
    raise DentalzooError(
        "strategy multi_worker must have a cluster: workers and index (--workers host:port,... "
        "--index N), TF_CONFIG, or a step of SLURM (srun). Received: none of them"
    )


def _text(cluster: Cluster) -> str:
    return f"{','.join(cluster.workers)} index {cluster.index}"


def _of_tf_config(text: str) -> Cluster:
    """Return the cluster of TF_CONFIG; a chief of its own stands before the workers.

    The format is that of `tf.distribute.cluster_resolver.TFConfigClusterResolver`.
    """
    try:
        content = json.loads(text)
        jobs: dict[str, list[str]] = content["cluster"]
        kind, index = content["task"]["type"], int(content["task"]["index"])
        chiefs, workers = list(jobs.get("chief", [])), list(jobs.get("worker", []))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DentalzooError(
            'TF_CONFIG must be {"cluster": {"worker": ["host:port", ...]}, "task": {"type": '
            f'"worker", "index": N}}}}. Received: {_short(text)} ({type(error).__name__})'
        ) from None
    if other := sorted(set(jobs) - {"chief", "worker"}):
        raise DentalzooError(
            f"TF_CONFIG must have no other jobs than chief and worker. Received: {', '.join(other)}"
        )
    if kind not in jobs or not 0 <= index < len(jobs[kind]):
        raise DentalzooError(
            f"the task of TF_CONFIG must be one of its cluster. Received: {kind!r} {index}"
        )
    return Cluster((*chiefs, *workers), index + (len(chiefs) if kind == "worker" else 0))


def _of_slurm(environ: Mapping[str, str]) -> Cluster | None:
    """Return the cluster of a SLURM step with several tasks: a worker is a task of `srun`.

    `tf.distribute.cluster_resolver.SlurmClusterResolver` is not used: it sorts the hosts as text,
    so that node10 comes before node2 and ranks meet other hosts than theirs, and it fails on nodes
    without `nvidia-smi`. Ports follow from the number of the job and the place on the host.
    """
    values = {key: environ.get(f"SLURM_{key}", "") for key in _SLURM}
    if not all(values.values()):
        return None
    try:
        hosts = list(expand_hosts(values["STEP_NODELIST"]))
        tasks = list(_expand_tasks(values["STEP_TASKS_PER_NODE"]))
        index, base = int(values["PROCID"]), _SLURM_PORTS
        base += int(environ.get("SLURM_JOB_ID", "0")) % 10000
    except ValueError:
        raise DentalzooError(
            "SLURM_PROCID, SLURM_STEP_NODELIST and SLURM_STEP_TASKS_PER_NODE must be those of a "
            f"step of srun. Received: {', '.join(values.values())}"
        ) from None
    places = [
        (host, place) for host, count in zip(hosts, tasks, strict=False) for place in range(count)
    ]
    if len(places) < 2:
        return None  # a task of its own, as in an array
    cluster = Cluster(tuple(f"{host}:{base + place}" for host, place in places), index)
    here = environ.get("SLURMD_NODENAME", places[index][0]), environ.get("SLURM_LOCALID")
    if here[0] != places[index][0] or here[1] not in (None, str(places[index][1])):
        raise DentalzooError(
            "the tasks of SLURM must fill one host after the other (srun --distribution=block). "
            f"Received: task {index} as number {here[1]} on {here[0]}"
        )
    return cluster


def expand_hosts(text: str) -> Iterator[str]:
    """Yield the hosts of a list of SLURM, in its order: "n[01-02,7],gpu" is n01, n02, n7, gpu.

    Raises:
        ValueError: it is no such list.
    """
    for item in re.findall(r"(?:[^,\[]|\[[^\]]*\])+", text):
        pieces = re.findall(r"\[([^\]]*)\]|([^\[\]]+)", item)
        yield from map(
            "".join, product(*([fixed] if fixed else _numbers(ranges) for ranges, fixed in pieces))
        )


def _numbers(ranges: str) -> list[str]:
    numbers = []
    for part in ranges.split(","):
        first, _, last = part.partition("-")
        for number in range(int(first), int(last or first) + 1):
            numbers.append(str(number).zfill(len(first)))
    return numbers


def _expand_tasks(text: str) -> Iterator[int]:
    """Yield the tasks of each host: "2(x3),1" is 2, 2, 2, 1."""
    for part in text.split(","):
        found = re.fullmatch(r"(\d+)(?:\(x(\d+)\))?", part.strip())
        if not found:
            raise ValueError(part)
        yield from [int(found[1])] * int(found[2] or 1)


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 200 else f"{text[:200]}..."
