"""Reading in the background, and the one loop over many inputs: progress, skipping, reporting."""

import logging
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, MutableSequence, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Self, TypeVar

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from dentalzoo.errors import BadFile, DentalzooError

_log = logging.getLogger("dentalzoo")

_MAX_LINES = 20  # of failed items in the log; beyond it they are counted by reason

Item = TypeVar("Item")
Value = TypeVar("Value")
Result = TypeVar("Result")


def read_ahead(
    read: Callable[[Item], Value], items: Iterable[Item], ahead: int = 2
) -> Iterator[tuple[Item, Value] | tuple[Item, DentalzooError]]:
    """Yield each item with `read(item)`, or with the DentalzooError it raised, in order.

    While one is being used, the next `ahead` are read in the background, and no more than that.
    """
    with ThreadPoolExecutor(ahead) as pool:
        waiting: deque[tuple[Item, Future[Value]]] = deque()
        for item in items:
            waiting.append((item, pool.submit(read, item)))
            if len(waiting) > ahead:
                yield _result(waiting.popleft())
        while waiting:
            yield _result(waiting.popleft())


def _result(
    pending: "tuple[Item, Future[Value]]",
) -> tuple[Item, Value] | tuple[Item, DentalzooError]:
    item, future = pending
    try:
        return item, future.result()
    except DentalzooError as error:
        return item, error


def for_each(
    items: Sequence[Item],
    read: Callable[[Item], Value],
    use: Callable[[Item, Value], Result],
    *,
    title: str,
    unit: str = "image",
    failed: MutableSequence[tuple[str, str]],
    name: Callable[[Item], str] = str,
    ahead: int = 2,
) -> Iterator[tuple[Item, Value, Result]]:
    """Read and use many inputs one by one, in constant memory; what fails is reported and skipped.

    Args:
        items: the inputs, in order.
        read: item -> value, called in the background; raises DentalzooError for a bad one.
        use: (item, value) -> result, called in this thread; raises DentalzooError likewise.
        title: shown before the progress bar, such as "segmenting".
        unit: what is counted.
        failed: gets (name, reason) of each item that fails, which is logged in one line; from the
            21st on, one line at the end has the counts by reason.
        name: item -> its name in messages and in `failed`.
        ahead: how many items are read in advance.

    Yields:
        (item, value, result) of each item that does not fail, in order.
    """
    with logging_redirect_tqdm(), FailureLog(failed, unit) as log:
        reading = read_ahead(read, items, ahead)
        for item, value in tqdm(reading, title, len(items), disable=None, unit=unit):
            try:
                if isinstance(value, DentalzooError):
                    raise value
                result = use(item, value)
            except DentalzooError as error:
                log.add(name(item), error.reason if isinstance(error, BadFile) else str(error))
                continue
            yield item, value, result


class FailureLog:
    """Gathers what failed and logs it, in one line each; from the 21st on, at the end by reason.

    Args:
        failed: gets (name, reason) of each.
        unit: what is counted.
    """

    def __init__(self, failed: MutableSequence[tuple[str, str]], unit: str = "image") -> None:
        self._failed, self._unit = failed, unit
        self._lines, self._rest = 0, Counter[str]()

    def add(self, name: str, reason: str) -> None:
        """Add an item that failed."""
        self._failed.append((name, reason))
        self._lines += 1
        if self._lines <= _MAX_LINES:
            _log.warning("%s: %s", name, reason)
        else:
            self._rest[reason.split(". Received")[0].rpartition(": ")[2][:60]] += 1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._rest and kind is None:
            counted = self._rest.most_common(5)
            kinds = ", ".join(f"{count} x {reason}" for reason, count in counted)
            _log.warning("and %d more %ss failed: %s", self._rest.total(), self._unit, kinds)
