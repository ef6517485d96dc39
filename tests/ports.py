"""Ports of this machine that a test's servers can have."""

import itertools
import os
import socket

# Below those that systems give to outgoing connections (Linux from 32768, others from 49152): one
# of these may be taken between its choice and its use. Each process of the tests has its own.
_SPAN = 400
_FIRST = 10000 + _SPAN * (os.getpid() % 50)
_candidates = itertools.cycle(range(_FIRST, _FIRST + _SPAN))


def free_ports(count: int) -> list[int]:
    """Return ports on which no one listens, each another one than those before."""
    found: list[int] = []
    for port in itertools.islice(_candidates, _SPAN):
        if len(found) == count:
            return found
        try:
            socket.create_server(("", port)).close()
        except OSError:
            continue
        found.append(port)
    raise AssertionError(f"{count} free ports from {_FIRST} on are wanted, {len(found)} are free")


def addresses(count: int) -> tuple[str, ...]:
    """Return so many host:port of this machine."""
    return tuple(f"127.0.0.1:{port}" for port in free_ports(count))
