"""Locks on open files, which the system releases however their process ends."""

from typing import IO, Any

try:
    import fcntl
except ImportError:  # Windows
    import msvcrt
    import time

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
