"""Reading in the background while what was read is used."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from dentalzoo.errors import DentalzooError


def read_ahead(
    read: Callable[[Any], Any], items: Iterable[Any], ahead: int = 2
) -> Iterator[tuple[Any, Any]]:
    """Yields each item with `read(item)`, or with the DentalzooError it raised, in order.

    While one is being used, the next `ahead` are read in the background, and no more than that.
    """
    with ThreadPoolExecutor(ahead) as pool:
        waiting = deque()
        for item in items:
            waiting.append((item, pool.submit(read, item)))
            if len(waiting) > ahead:
                yield _result(*waiting.popleft())
        while waiting:
            yield _result(*waiting.popleft())


def _result(item, future) -> tuple[Any, Any]:
    try:
        return item, future.result()
    except DentalzooError as error:
        return item, error
