"""Warnings about single files, of which a folder may hold thousands."""

import logging
import threading
from collections import Counter
from pathlib import Path

_MAX_LINES = 10  # of one folder; then a line at every power of ten

_log = logging.getLogger("dentalzoo")
_lock = threading.Lock()
_warned: set[tuple[Path, str]] = set()
_counts: Counter[Path] = Counter()


def warn_of_file(path: Path, reason: str) -> None:
    """Log `FILE: reason`, once for each file and reason, from any thread.

    Of a folder the first 10 files are named, then each that makes a power of ten, with the count.
    """
    with _lock:
        if (path, reason) in _warned:
            return
        _warned.add((path, reason))
        _counts[path.parent] += 1
        number = _counts[path.parent]
    shown = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in str(path))
    if number <= _MAX_LINES:
        _log.warning("%s: %s", shown, reason)
    elif str(number).strip("0") == "1":
        _log.warning("%s: %s (%d such files in this folder so far)", shown, reason, number)


def forget_files() -> None:
    """Let `warn_of_file` name every file again, as for a new command."""
    with _lock:
        _warned.clear()
        _counts.clear()
