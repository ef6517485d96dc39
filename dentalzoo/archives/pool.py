"""Worker processes: each input is given to one of them, and a death of one costs no other input."""

import logging
import os
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from multiprocessing import Pipe
from multiprocessing.connection import wait
from typing import Any

from dentalzoo.archives.worker import Finished, Job, Message, Ready, Stopped
from dentalzoo.errors import DentalzooError
from dentalzoo.tasks.predictor import Item

_log = logging.getLogger("dentalzoo")

_START = "from dentalzoo.archives.worker import main; main()"
_MAX_DEATHS = 10  # ours, in a row without one finished input
_GRACE = 5.0  # seconds for a worker to end by itself
# TensorFlow, OpenMP and OpenBLAS of NumPy, OpenCV.
_THREADS = (
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "OPENCV_FOR_THREADS_NUM",
)


class _Worker:
    """A process, and the items that it was sent and has not finished."""

    def __init__(self, job: Job, threads: int) -> None:
        self.connection, theirs = Pipe()
        environment = {
            **os.environ,
            # Modules are found as in this process.
            "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path),
            **dict.fromkeys(_THREADS, str(threads)),
            "TF_FORCE_GPU_ALLOW_GROWTH": os.environ.get("TF_FORCE_GPU_ALLOW_GROWTH", "true"),
        }
        descriptor = theirs.fileno()
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-c", _START, str(descriptor)],  # without the current folder
            env=environment,
            pass_fds=[descriptor],
            stdin=subprocess.DEVNULL,
        )
        theirs.close()
        self.items: deque[Item] = deque()
        self.is_finished = False
        self._send(job)

    def give(self, item: Item) -> None:
        """Send an item."""
        self.items.append(item)
        self._send(item)

    def finish(self) -> None:
        """Say once that there are no more items."""
        if not self.is_finished:
            self.is_finished = True
            self._send(None)

    def _send(self, message: Any) -> None:
        with suppress(OSError):  # the process is dead, which its connection reports
            self.connection.send(message)

    def close(self) -> None:
        """End the process."""
        self.connection.close()
        try:
            self.process.wait(_GRACE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def run_workers(job: Job, items: Iterable[Item], workers: int) -> Iterator[tuple[Item, Finished]]:
    """Apply a predictor to items in several processes and yield each with what became of it.

    The processor's cores are divided among the workers. Where a worker dies, or an input raises an
    error of the program, the rest goes on; the inputs that it had are tried once more at the end,
    one by one, with no other worker running, and those that fail again are yielded as failed.

    Args:
        job: for each worker.
        items: in order; they are finished in any order.
        workers: the number of processes.

    Raises:
        DentalzooError: the bundle cannot be loaded, results cannot be written, or workers keep
            dying.
    """
    threads = max(1, _cores() // workers)
    suspects: list[tuple[Item, str]] = []
    yield from _run(job, iter(items), workers, threads, suspects)
    for item, reason in suspects:
        _log.warning("%s: %s; it is tried once more, alone", item.path, reason)
    failed: list[tuple[Item, str]] = []
    once_more = (item for item, _ in suspects)
    yield from _run(replace(job, ahead=0), once_more, 1, threads * workers, failed)
    for item, reason in failed:
        yield item, Finished(item.number, 0.0, {}, None, f"{reason}, also when tried alone")


def _cores() -> int:
    """Return the number of cores that this process may use; all of them where that is unknown."""
    if hasattr(os, "sched_getaffinity"):  # not on Windows and macOS
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _run(
    job: Job,
    items: Iterator[Item],
    workers: int,
    threads: int,
    suspects: list[tuple[Item, str]],
) -> Iterator[tuple[Item, Finished]]:
    """Yield finished items; those whose worker died or had an error go to `suspects`."""
    running: dict[Any, _Worker] = {}
    deaths, any_ready = 0, False
    source = _Source(items)
    try:
        while len(running) < workers and not source.is_empty:
            worker = _Worker(job, threads)
            running[worker.connection] = worker
        while running:
            for worker in running.values():
                while len(worker.items) <= job.ahead and not source.is_empty:
                    worker.give(source.take())
                if source.is_empty:
                    worker.finish()
            for connection in wait(list(running)):
                worker = running[connection]
                try:
                    message = worker.connection.recv()
                except (EOFError, OSError):
                    del running[connection]
                    worker.close()
                    if worker.is_finished and not worker.items:
                        continue
                    reason = _ending(worker.process.returncode)
                    deaths += 1
                    if not any_ready:
                        raise DentalzooError(
                            "a worker must be able to load the bundle; is there enough memory? "
                            f"Received: {reason} before it had done so"
                        ) from None
                    if deaths == _MAX_DEATHS and job.ahead:
                        raise DentalzooError(
                            "workers must finish inputs; give fewer workers or more memory, and "
                            f"start again. Received: {deaths} in a row that did not; {reason}"
                        ) from None
                    suspects += [(item, reason) for item in worker.items]
                    if not source.is_empty:
                        worker = _Worker(job, threads)
                        running[worker.connection] = worker
                    continue
                if isinstance(message, Message):
                    _log.log(message.level, "%s", message.text)
                elif isinstance(message, Stopped):
                    raise DentalzooError(message.reason)
                elif isinstance(message, Ready):
                    any_ready = True
                elif isinstance(message, Finished):
                    deaths, item = 0, worker.items.popleft()
                    if message.crashed:
                        suspects.append((item, message.reason))
                    else:
                        yield item, message
    finally:
        for worker in running.values():
            worker.process.kill()
            worker.close()


class _Source:
    """An iterator that knows whether it is empty."""

    def __init__(self, items: Iterator[Item]) -> None:
        self._items = items
        self._next = next(items, None)

    @property
    def is_empty(self) -> bool:
        return self._next is None

    def take(self) -> Item:
        item, self._next = self._next, next(self._items, None)
        assert item is not None
        return item


def _ending(code: int) -> str:
    """Describe how a process ended."""
    if code >= 0:
        return f"the process ended with status {code}"
    return f"the process ended by {signal.Signals(-code).name}"
