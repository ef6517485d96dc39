"""Warnings about images, of which a folder may hold thousands."""

import logging
import threading
from collections import Counter
from pathlib import Path

_MAX_LINES = 10  # of one folder; then a line at every power of ten

_log = logging.getLogger("dentalzoo")
_lock = threading.Lock()
_warned: set[tuple[Path, str]] = set()
_counts: Counter[Path] = Counter()
_depths: dict[Path, int] = {}  # of the first image of a folder; 0 when a warning was logged


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
    if number >= _MAX_LINES and str(number).strip("0") == "1":
        _log.warning(
            "%s: %s (the %dth such image of its folder; the next named is the %dth)",
            *(shown, reason, number, 10 * number),
        )
    elif number < _MAX_LINES:
        _log.warning("%s: %s", shown, reason)


def note_depth(folder: Path, bits: int) -> None:
    """Log a warning, once, if images of a folder are read as of different depths, from any thread.

    Args:
        folder: of the images.
        bits: the depth of one of them that its file does not state.
    """
    with _lock:
        if _depths.setdefault(folder, bits) in (bits, 0):
            return
        first, _depths[folder] = _depths[folder], 0
    _log.warning(
        "%s: images that do not state their depth are read as of %d and of %d bits, so that one "
        "grey value may have two brightnesses; if they are of one detector, state its depth or "
        "save 8 bits",
        folder,
        *sorted((first, bits)),
    )


def forget_files() -> None:
    """Let every file and folder be named again, as for a new command."""
    with _lock:
        _warned.clear()
        _counts.clear()
        _depths.clear()
