"""Limits on how many requests are computed, how many wait, and how long each may take."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

Result = TypeVar("Result")


class Busy(Exception):
    """Too many requests wait already."""


class Late(Exception):
    """A request took too long."""


class Slots:
    """A few threads that compute, and a few requests that wait for them.

    A thread cannot be stopped: what takes too long is answered in time and keeps its slot until it
    ends.

    Args:
        threads: requests computed at once.
        waiting: further requests that wait.
        seconds: the time of a request, waiting included.
    """

    def __init__(self, threads: int, waiting: int, seconds: float) -> None:
        self._most, self._taken, self.seconds = threads + waiting, 0, seconds
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="dentalzoo-serve")

    async def run(self, function: Callable[..., Result], *arguments: Any) -> Result:
        """Call a function in a thread and return its result.

        Raises:
            Busy: all slots are taken.
            Late: it takes longer than `seconds`.
        """
        with self._lock:
            if self._taken >= self._most:
                raise Busy
            self._taken += 1
        future = self._pool.submit(function, *arguments)
        # The thread's own future: it ends when the thread is done, whoever still waits for it.
        future.add_done_callback(self._free)
        try:
            return await asyncio.wait_for(asyncio.wrap_future(future), self.seconds)
        except TimeoutError as error:
            raise Late from error

    def _free(self, _: "Future[Any]") -> None:
        with self._lock:
            self._taken -= 1
