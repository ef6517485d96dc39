"""The workers of one training as a type: what they agree on, who has finished, who has stopped.

TensorFlow's collectives compute; this is how the processes speak to each other beside them. Every
worker keeps a TCP connection to the chief from before TensorFlow starts until its process ends. A
process that is killed closes it at once, a host that vanishes is silent. Both end the training of
all others with one line, where a collective alone could wait for ever.
"""

import json
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any

from dentalzoo.errors import DentalzooError
from dentalzoo.training.cluster import Cluster

log = logging.getLogger("dentalzoo")

JOIN_SECONDS = 300  # for all workers to come
BEAT_SECONDS = 5
SILENCE_SECONDS = 60  # after which a worker counts as stopped
GRACE_SECONDS = 20  # for a training to end by itself once a worker has stopped
_MAX_LINE = 1 << 20  # bytes
_END = "end"  # the answer by which the chief ends a training


class Team:
    """The workers of one training; without a cluster this process alone, which waits for no one.

    Made by `join`. All workers call `agree` and `share` with the same topics in the same order.

    Args:
        cluster: the cluster; None for one process.
        links: connected sockets: index of the worker -> socket; those of a worker that is not the
            chief lead to the chief alone.
    """

    def __init__(
        self, cluster: Cluster | None = None, links: Mapping[int, socket.socket] | None = None
    ) -> None:
        self.cluster = cluster
        self.index = cluster.index if cluster else 0
        self.size = len(cluster.workers) if cluster else 1
        self.is_chief = self.index == 0
        self.stopped: str | None = None  # which worker has stopped, and why
        self.abort: Callable[[str], None] = lambda reason: None  # ends what TensorFlow waits for
        self._links = dict(links or {})
        self._values: dict[str, dict[int, Any]] = {}  # topic -> worker -> value, at the chief
        self._answers: dict[str, dict[str, Any]] = {}  # topic -> of the chief
        self._changed = threading.Condition()
        self._sending = threading.Lock()
        self._needed = False  # the others are needed: a training is under way
        for index, link in self._links.items():
            link.settimeout(SILENCE_SECONDS)
            _start(self._read, index, link)
        if self._links:
            _start(self._beat)

    # ---- what a training calls -------------------------------------------------------------------

    @contextmanager
    def training(self) -> Iterator[None]:
        """Tell the others why this worker's training ends, and end it when another one stops.

        Raises:
            DentalzooError: another worker stopped.
        """
        self._raise_if_stopped()
        self._needed = True
        try:
            yield
        except BaseException as error:
            if self.stopped is None:
                text = str(error) if isinstance(error, DentalzooError) else type(error).__name__
                self.stopped = f"this worker stopped: {text.splitlines()[0]}"
                reason = {"stopped": self.index, "reason": text.splitlines()[0], "told": True}
                self._send_all(reason)
            raise
        finally:
            self._needed = False

    def agree(self, topic: str, value: Any) -> None:
        """Wait for all workers to come to `topic`, and check that they bring the same value.

        Args:
            topic: what is compared, as in a message.
            value: plain data, such as a dict of settings.

        Raises:
            DentalzooError: the values differ, or a worker has stopped.
        """
        self._meet(topic, value, _differences)

    def share(self, topic: str, value: Any = None) -> Any:
        """Wait for all workers to come to `topic`, and return the value that the chief brings.

        Raises:
            DentalzooError: a worker has stopped.
        """
        return self._meet(topic, value, lambda topic, values: None)

    def _meet(
        self, topic: str, value: Any, compare: Callable[[str, Mapping[int, Any]], str | None]
    ) -> Any:
        if not self._links:
            return value
        if self.is_chief:
            with self._changed:
                self._values.setdefault(topic, {})[0] = json.loads(json.dumps(value))
                self._changed.wait_for(
                    lambda: self.stopped or len(self._values[topic]) == self.size
                )
                self._raise_if_stopped()
                values = self._values.pop(topic)
            answer = {"answer": topic, "value": value, "error": compare(topic, values)}
            self._send_all(answer)
        else:
            self._send_all({"topic": topic, "value": value})
            answer = self._answer(topic)
        if answer["error"]:
            self.stopped = self.stopped or answer["error"]
            raise DentalzooError(answer["error"])
        return answer["value"]

    def finish(self) -> None:
        """End a training: the chief tells that its results are written; the others wait for that.

        Raises:
            DentalzooError: the chief has stopped.
        """
        if self.is_chief:
            self._send_all({"answer": _END})
        elif self._links:
            self._answer(_END)
        self._needed = False

    def release(self) -> None:
        """Let the chief go on alone: whoever of the others stops from now on is not missed."""
        if self.is_chief:
            self._needed = False

    def explain(self, seconds: float = 5) -> None:
        """Raise the error of a worker that has stopped, of which TensorFlow may know earlier.

        Raises:
            DentalzooError: another worker stopped, or does within `seconds`.
        """
        if self._links:
            with self._changed:
                self._changed.wait_for(lambda: self.stopped, seconds)
            self._raise_if_stopped()

    def close(self) -> None:
        """Close the connections."""
        for link in self._links.values():
            with suppress(OSError):
                link.shutdown(socket.SHUT_RDWR)
            link.close()

    # ---- below -----------------------------------------------------------------------------------

    def _answer(self, topic: str) -> dict[str, Any]:
        with self._changed:
            self._changed.wait_for(lambda: self.stopped or topic in self._answers)
            if topic not in self._answers:
                self._raise_if_stopped()
            return self._answers.pop(topic)

    def _raise_if_stopped(self) -> None:
        if self.stopped:
            raise DentalzooError(self.stopped)

    def _send_all(self, message: Mapping[str, Any], but: int | None = None) -> None:
        for index, link in self._links.items():
            if index != but:
                with suppress(OSError), self._sending:  # its reader notices
                    _send(link, message)

    def _beat(self) -> None:
        while True:
            time.sleep(BEAT_SECONDS)
            self._send_all({})

    def _read(self, index: int, link: socket.socket) -> None:
        """Take what a worker sends until it ends."""
        reason = "its connection was closed"
        try:
            with link.makefile("rb") as lines:
                while line := lines.readline(_MAX_LINE):
                    self._take(index, json.loads(line))
        except TimeoutError:
            reason = f"nothing was heard of it for {SILENCE_SECONDS} s"
        except (OSError, ValueError) as error:
            reason = f"its connection broke ({type(error).__name__})"
        self._stop(index, reason)

    def _take(self, index: int, message: dict[str, Any]) -> None:
        if "stopped" in message:
            told = message["told"]
            self._stop(message["stopped"], message["reason"], sender=index, told=told)
        with self._changed:
            if "topic" in message:
                self._values.setdefault(message["topic"], {})[index] = message["value"]
            if "answer" in message:
                self._answers[message["answer"]] = message
                # The chief may be gone before this worker's training has read that it ended.
                self._needed &= message["answer"] != _END
            self._changed.notify_all()

    def _stop(self, index: int, reason: str, sender: int | None = None, told: bool = False) -> None:
        """Note that a worker has stopped, tell the others, and end the training here too.

        Args:
            index: the worker.
            reason: why.
            sender: from which worker this one knows; None for its own observation.
            told: the worker itself gave the reason, such as settings that cannot be.
        """
        with self._changed:
            if self.stopped or not self.cluster:
                return
            hint = "" if told else "; start all workers again with resume=True (--resume)"
            self.stopped = (
                f"{self.cluster.title(index)} stopped, and the training with it{hint}. "
                f"Received: {reason}"
            )
            self._changed.notify_all()
        if self._needed:
            self._send_all({"stopped": index, "reason": reason, "told": told}, but=sender)
            _start(self._end)

    def _end(self) -> None:
        """End a training that does not end by itself: TensorFlow may wait for the one that left."""
        assert self.stopped
        self.abort(self.stopped)
        deadline = time.monotonic() + GRACE_SECONDS
        while time.monotonic() < deadline:
            if not self._needed:
                return
            time.sleep(0.1)
        log.error("%s", self.stopped)
        os._exit(1)


@cache  # once TensorFlow listens on the port, it is too late for a second time
def team_of(cluster: Cluster) -> Team:
    """Return the team of a cluster, which lasts as long as the process; see `join`."""
    return join(cluster)


def join(cluster: Cluster, wait: float = JOIN_SECONDS) -> Team:
    """Connect the workers of a cluster; returns in all of them once the last one has come.

    Call it before TensorFlow starts its server on the same port.

    Args:
        cluster: the cluster.
        wait: seconds for all workers to come.

    Raises:
        DentalzooError: this worker's port is in use, a worker does not come in time, two have the
            same index, or one was given other workers.
    """
    deadline = time.monotonic() + wait
    _, port = cluster.host_and_port(cluster.index)
    try:
        server = _listen(port)
    except OSError as error:
        raise DentalzooError(
            f"the port of {cluster.title(cluster.index)} must be free on this host; is an earlier "
            f"training still running? Received: {error.strerror}"
        ) from None
    with server:
        links = _meet(cluster, server, deadline) if cluster.is_chief else None
    if links is None:  # TensorFlow listens on the port that was free
        links = {0: _report(cluster, deadline)}
    return Team(cluster, links)


def _listen(port: int) -> socket.socket:
    if socket.has_dualstack_ipv6():
        with suppress(OSError):
            with socket.socket() as probe:  # a port may be free for IPv6 alone
                # It does not listen: a worker that came meanwhile would be cut off as it closes.
                if os.name == "posix":
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(("", port))
            return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
    return socket.create_server(("", port))


def _meet(cluster: Cluster, server: socket.socket, deadline: float) -> dict[int, socket.socket]:
    """Accept all other workers at the chief."""
    links: dict[int, socket.socket] = {}
    error = ""
    while not error and len(links) < len(cluster.workers) - 1:
        server.settimeout(max(0.01, deadline - time.monotonic()))
        link: socket.socket | None = None
        try:
            link, _ = server.accept()
            link.settimeout(5)
            hello = json.loads(_line(link))
            index, workers = hello["index"], tuple(hello["workers"])
        except (OSError, ValueError, KeyError, TypeError):  # no one, or none of ours
            if link:
                link.close()
            if time.monotonic() >= deadline:
                missing = sorted({*range(1, len(cluster.workers))} - {*links})
                error = f"{', '.join(map(cluster.title, missing))} did not come in time"
            continue
        if workers != cluster.workers:
            error = f"worker {index} was given the workers {','.join(workers)}"
            error += f", worker 0 {','.join(cluster.workers)}"
        elif index in links or not 0 < index < len(workers):
            error = f"two workers have the index {index}"
        links[index if index not in links else -1] = link
    for link in links.values():
        with suppress(OSError):
            _send(link, {"error": error})
    if error:
        for link in links.values():
            link.close()
        raise _not_together(error)
    return links


def _report(cluster: Cluster, deadline: float) -> socket.socket:
    """Connect to the chief and wait until it has met all workers."""
    message = {"index": cluster.index, "workers": cluster.workers}
    while True:
        left = max(0.1, deadline - time.monotonic())
        try:
            link = socket.create_connection(cluster.host_and_port(0), min(left, 5))
            break
        except OSError as failed:
            if time.monotonic() >= deadline:
                raise _not_together(
                    f"{cluster.title(0)} did not come in time ({failed.strerror or failed})"
                ) from None
            time.sleep(0.2)
    link.settimeout(left + 10)  # the chief itself reports who does not come
    try:
        _send(link, message)
        error = json.loads(_line(link))["error"]
    except (OSError, ValueError, KeyError) as broken:
        error = f"{cluster.title(0)} left ({type(broken).__name__})"
    if error:
        link.close()
        raise _not_together(error)
    return link


def _start(work: Callable[..., None], *args: Any) -> None:
    threading.Thread(target=work, args=args, name=work.__qualname__, daemon=True).start()


def _not_together(reason: str) -> DentalzooError:
    return DentalzooError(
        f"all workers of a cluster must start, with the same workers. Received: {reason}"
    )


def _send(link: socket.socket, message: Mapping[str, Any]) -> None:
    link.sendall(json.dumps(message).encode() + b"\n")


def _line(link: socket.socket) -> bytes:
    """Read a line byte by byte, so that nothing behind it is lost."""
    line = b""
    while not line.endswith(b"\n") and len(line) < _MAX_LINE:
        byte = link.recv(1)
        if not byte:
            raise ConnectionError
        line += byte
    return line


def _differences(topic: str, values: Mapping[int, Any]) -> str | None:
    """Return the error of workers that bring different values; None where they are the same."""
    first = values[0]
    for index, value in sorted(values.items()):
        if value == first:
            continue
        if isinstance(first, dict) and isinstance(value, dict):
            keys = [key for key in {**first, **value} if first.get(key) != value.get(key)]
            parts = [f"{key} is {first.get(key)!r} and {value.get(key)!r}" for key in keys[:5]]
        else:
            parts = [f"{first!r} and {value!r}"]
        return (
            f"every worker must have the same {topic}. Received: {'; '.join(parts)} "
            f"(worker 0 and worker {index})"
        )
    return None
