"""A worker: a process of its own that applies one predictor to the inputs it is sent.

`pool` starts `main` with the file descriptor of its end of a connection as argument. Unlike a
process of `multiprocessing` it does not import the caller's main module, so that scripts need no
`if __name__ == "__main__"`.
"""

import logging
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from dentalzoo.data.pipeline.prefetch import read_ahead
from dentalzoo.errors import BadFile, DentalzooError
from dentalzoo.limits import end_process_when_late
from dentalzoo.tasks.predictor import Item, Predictor, Result, write_files


@dataclass(frozen=True)
class Job:
    """What a worker needs to begin; it is pickled.

    Attributes:
        make: returns the predictor.
        shared: what it joins the run with.
        out: the folder of the results.
        ahead: how many inputs are read in advance.
    """

    make: Callable[[], Predictor]
    shared: Any
    out: Path
    ahead: int = 2


@dataclass(frozen=True)
class Ready:
    """Sent once, when the bundle is loaded."""


@dataclass(frozen=True)
class Message:
    """A line for the log."""

    level: int
    text: str


@dataclass(frozen=True)
class Finished:
    """An input whose files are written, without their content; or why there are none.

    Attributes:
        number: of the input.
        seconds: from the end of reading to the last file.
        sizes: name -> bytes of each file.
        result: without files; None where the input failed.
        reason: why it failed.
        crashed: whether it failed by an error of the program, and is worth another try.
    """

    number: int
    seconds: float
    sizes: dict[str, int]
    result: Result | None = None
    reason: str = ""
    crashed: bool = False


@dataclass(frozen=True)
class Stopped:
    """The worker cannot go on, whatever the input: no bundle, no disk."""

    reason: str


class _Sender(logging.Handler):
    """Sends messages, and what is logged, from any thread."""

    def __init__(self, connection: Connection) -> None:
        super().__init__()
        self._connection, self._guard = connection, threading.Lock()

    def send(self, message: Any) -> None:
        with self._guard:
            self._connection.send(message)

    def emit(self, record: logging.LogRecord) -> None:
        self.send(Message(record.levelno, record.getMessage()))


def work(connection: Connection) -> None:
    """Receive a `Job`, then items until None, and send what becomes of each."""
    sender = _Sender(connection)
    job: Job = connection.recv()
    log = logging.getLogger("dentalzoo")
    log.addHandler(sender)
    log.setLevel(logging.INFO)
    log.propagate = False
    try:
        predictor = job.make()
        predictor.join(job.shared)
    except DentalzooError as error:
        sender.send(Stopped(str(error)))
        return
    sender.send(Ready())
    items: Iterator[Item] = iter(connection.recv, None)
    for item, value in _read(predictor, items, job.ahead):
        start = time.monotonic()
        finished = _apply(predictor, item, value)
        files = finished.result.files if finished.result else {}
        try:
            write_files(files, job.out)
        except DentalzooError as error:
            sender.send(Stopped(str(error)))
            return
        sizes = {name: len(content) for name, content in files.items()}
        result = finished.result and Result({}, finished.result.record, finished.result.problems)
        seconds = time.monotonic() - start
        sender.send(
            Finished(item.number, seconds, sizes, result, finished.reason, finished.crashed)
        )


def _read(
    predictor: Predictor, items: Iterable[Item], ahead: int
) -> Iterator[tuple[Item, Any | DentalzooError]]:
    if ahead:
        yield from read_ahead(predictor.read, items, ahead)
        return
    for item in items:
        try:
            yield item, predictor.read(item)
        except DentalzooError as error:
            yield item, error


def _apply(predictor: Predictor, item: Item, value: Any) -> Finished:
    try:
        if isinstance(value, DentalzooError):
            raise value
        return Finished(item.number, 0, {}, predictor.apply(item, value))
    except DentalzooError as error:
        reason = error.reason if isinstance(error, BadFile) else str(error)
        return Finished(item.number, 0, {}, None, reason)
    except Exception as error:  # of the program or a library: the rest of the inputs goes on
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        return Finished(item.number, 0, {}, None, reason, crashed=True)


def main() -> None:
    """Run the worker."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that started it
    end_process_when_late()
    try:
        work(Connection(int(sys.argv[1])))
    except (EOFError, OSError):  # that process is gone
        sys.exit(1)
