"""Limits on what one input may cost: settings of the process, in its environment.

DENTALZOO_MAX_PIXELS bounds the images that are decoded, DENTALZOO_MAX_SECONDS the time of a call of
a bundle's function. The commands that apply a bundle have them as flags.
"""

import argparse
import contextlib
import math
import os
import threading
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

from dentalzoo.environment import variable
from dentalzoo.errors import DentalzooError

PIXELS, SECONDS = "DENTALZOO_MAX_PIXELS", "DENTALZOO_MAX_SECONDS"

DEFAULT_PIXELS = 100_000_000
"""A 10,000 x 10,000 image, about 30 times a panoramic radiograph; ours."""

_ends_process = False  # where the process is a command, not one of the user's own


def max_pixels() -> int:
    """Return the number of pixels above which an image is not decoded.

    Raises:
        DentalzooError: DENTALZOO_MAX_PIXELS is no integer >= 1.
    """
    given = os.environ.get(PIXELS) or str(DEFAULT_PIXELS)
    if not given.isdecimal() or int(given) < 1:
        raise DentalzooError(f"{PIXELS} must be an integer >= 1. Received: {given!r}")
    return int(given)


def max_seconds() -> float | None:
    """Return the time that a call of a bundle's function may take; None where it has no limit.

    Raises:
        DentalzooError: DENTALZOO_MAX_SECONDS is no number > 0.
    """
    given = os.environ.get(SECONDS)
    if not given:
        return None
    try:
        seconds = float(given)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds <= threading.TIMEOUT_MAX:
        raise DentalzooError(f"{SECONDS} must be a number > 0. Received: {given!r}")
    return seconds


def limited(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that keeps the limit of time that is set when it is called.

    Nothing can stop native code in a thread of its own process. A command ends, with one line and
    exit status 2. In a process of the user's the call raises; what it began goes on in the
    background until it or the process ends, and further calls are refused.

    Args:
        name: of the function, for messages.
        function: what may take too long.
    """
    abandoned = threading.Event()

    def call(*arguments: Any, **named: Any) -> Any:
        seconds = max_seconds()
        if abandoned.is_set():
            raise DentalzooError(
                f"{name} must end before it is called again; load the bundle anew. "
                "Received: a call that still runs"
            )
        if seconds is None:
            return function(*arguments, **named)
        late = (
            f"{name} must end within {seconds:g} s; see --max-seconds and {SECONDS}. "
            "Received: no result"
        )
        if _ends_process:
            timer = threading.Timer(seconds, _end, [late])
            timer.daemon = True
            timer.start()
            try:
                return function(*arguments, **named)
            finally:
                timer.cancel()
        results: list[Any] = []
        errors: list[BaseException] = []

        def run() -> None:
            try:
                results.append(function(*arguments, **named))
            except BaseException as error:  # raised again where the call was made
                errors.append(error)

        thread = threading.Thread(target=run, name=f"dentalzoo {name}", daemon=True)
        thread.start()
        thread.join(seconds)
        if thread.is_alive():
            abandoned.set()
            raise DentalzooError(late)
        if errors:
            raise errors[0]
        return results[0]

    return call


def end_process_when_late() -> None:
    """Let a call that takes too long end this process, which is no one's but dentalzoo's."""
    global _ends_process
    _ends_process = True


def _end(line: str) -> NoReturn:
    """End the process at once, whatever its other threads do. Files are whole or absent."""
    with contextlib.suppress(OSError):
        os.write(2, f"dentalzoo: {line}\n".encode())
    os._exit(2)


# ---- the command line ----------------------------------------------------------------------------


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add --max-pixels and --max-seconds."""
    parser.add_argument(
        "--max-pixels",
        type=int,
        metavar="N",
        help=f"refuse larger images before they are decoded (default: {PIXELS}, else 100 million)",
    )
    parser.add_argument(
        "--max-seconds",
        type=float,
        metavar="S",
        help="end the command, with one line, if a call of the bundle takes longer, for bundles "
        f"that are not trusted (default: {SECONDS}, else no limit)",
    )


@contextlib.contextmanager
def of_command(options: argparse.Namespace) -> Iterator[None]:
    """Keep the limits of a command inside, also in processes that it starts.

    Raises:
        DentalzooError: a limit is not a number that it may be.
    """
    global _ends_process
    given = {PIXELS: "max_pixels", SECONDS: "max_seconds"}
    before = _ends_process
    with contextlib.ExitStack() as stack:
        for name, key in given.items():
            value = getattr(options, key, None)
            stack.enter_context(variable(name, None if value is None else str(value)))
        max_pixels()
        max_seconds()
        _ends_process = True
        try:
            yield
        finally:
            _ends_process = before
