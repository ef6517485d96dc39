"""Ports of this machine that a test's servers can have."""

import functools
import itertools
import socket
from collections.abc import Iterator

# Below those that systems give to outgoing connections (Linux from 32768, others from 49152): one
# of these may be taken between its choice and its use.
_FIRST, _SPAN, _LAST = 10000, 400, 30000


@functools.cache
def _candidates() -> tuple[socket.socket, Iterator[int]]:
    """Return ports that no other process of tests chooses, in a cycle.

    A process has those behind the first of them, on which it listens until it ends.
    """
    for first in range(_FIRST, _LAST, _SPAN):
        try:
            held = socket.create_server(("", first))
        except OSError:
            continue
        return held, itertools.cycle(range(first + 1, first + _SPAN))
    raise AssertionError(f"a free port of {_FIRST}, {_FIRST + _SPAN}, ... is wanted; none is free")


def free_ports(count: int) -> list[int]:
    """Return ports on which no one listens, each another one than those before."""
    found: list[int] = []
    for port in itertools.islice(_candidates()[1], _SPAN):
        if len(found) == count:
            return found
        try:
            socket.create_server(("", port)).close()
        except OSError:
            continue
        found.append(port)
    raise AssertionError(f"{count} free ports are wanted, {len(found)} are free")


def addresses(count: int) -> tuple[str, ...]:
    """Return so many host:port of this machine."""
    return tuple(f"127.0.0.1:{port}" for port in free_ports(count))
