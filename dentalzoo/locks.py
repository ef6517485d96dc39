"""Locks on open files, which the system releases however their process ends."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

try:
    import fcntl
except ImportError:  # Windows
    import msvcrt
    import time

    fcntl = None  # type: ignore[assignment]

    # Windows keeps others from reading what is locked: a byte that no file of ours reaches.
    _BEHIND_THE_END = (1 << 31) - 2  # the last place that its locks know

    def lock(file: IO[Any], wait: bool = True) -> None:
        """Lock an open file; see the other one."""
        while True:
            file.flush()
            place = file.tell()
            file.seek(_BEHIND_THE_END)
            try:
                msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
                return
            except PermissionError as error:
                if not wait:
                    raise BlockingIOError(*error.args) from error
            finally:
                file.seek(place)
            time.sleep(0.1)

else:

    def lock(file: IO[Any], wait: bool = True) -> None:
        """Lock an open file for this process, until the file is closed.

        Args:
            file: opened for writing.
            wait: until another process has released it.

        Raises:
            BlockingIOError: another process holds it, and `wait` is False.
            OSError: the file system has no locks.
        """
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Mark a folder as one that a living process uses, see `is_held`; not on Windows."""
    if fcntl is None:
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # a file system without locks
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(handle)


def is_held(path: Path) -> bool:
    """Return False if no living process has locked a file or folder; True where that is unknown."""
    if fcntl is None:
        return True
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError:
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(handle)
    return False
