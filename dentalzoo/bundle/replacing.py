"""Files and folders that are replaced as a whole, whenever the process dies."""

import ctypes
import errno
import os
import re
import secrets
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from dentalzoo.errors import DentalzooError
from dentalzoo.locks import held, is_held

_AT_FDCWD, _RENAME_EXCHANGE = -100, 2  # linux/fcntl.h, linux/fs.h


@contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """Yield a path in a hidden folder beside `path`, then move what was written there to `path`.

    On Linux old and new are exchanged in one step. Elsewhere the old one is moved aside for a
    moment; `recover` brings it back if the process dies in that moment. What killed processes left
    beside `path` is removed.

    Raises:
        DentalzooError: it could not be written; what was at `path` is intact.
    """
    aside = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(3)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(path)
        aside.mkdir()
        with held(aside):
            yield aside / path.name
            if not path.exists():
                os.replace(aside / path.name, path)
            elif not _exchange(aside / path.name, path):
                _replace_in_two_steps(aside / path.name, path)
    except OSError as error:
        raise DentalzooError(f"{path} could not be written. Received: {error}") from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def recover(path: Path) -> None:
    """Move an old bundle back to `path` if a process died while it replaced it."""
    with suppress(OSError):
        if path.exists() or any(map(is_held, _beside(path, "tmp"))):  # about to be replaced
            return
        if old := _beside(path, "old"):
            os.replace(old[-1], path)


def _remove_leftovers(path: Path) -> None:
    """Bring a missing old bundle back, and remove what killed processes left beside a path."""
    recover(path)
    held_by_others = False
    for left in _beside(path, "tmp"):
        if is_held(left):
            held_by_others = True
        else:
            shutil.rmtree(left, ignore_errors=True)
    for old in () if held_by_others else _beside(path, "old"):
        shutil.rmtree(old, ignore_errors=True)


def _exchange(new: Path, old: Path) -> bool:
    """Exchange two paths in one step; return False where the system or the file system cannot.

    Raises:
        OSError: it can, and failed.
    """
    if not sys.platform.startswith("linux"):
        return False
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:  # musl before 1.2.6, glibc before 2.28
        return False
    if rename(_AT_FDCWD, os.fsencode(new), _AT_FDCWD, os.fsencode(old), _RENAME_EXCHANGE) == 0:
        return True
    number = ctypes.get_errno()
    if number in (errno.EINVAL, errno.ENOSYS, errno.EPERM):  # NFS, older kernels, sandboxes
        return False
    raise OSError(number, os.strerror(number), str(old))


def _replace_in_two_steps(new: Path, path: Path) -> None:
    old = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(3)}.old")
    os.replace(path, old)
    try:
        os.replace(new, path)
    except BaseException:
        os.replace(old, path)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _beside(path: Path, suffix: str) -> list[Path]:
    """Return the hidden folders that a process made beside a path, the newest last."""
    # The second number is absent in those of earlier versions.
    name = re.compile(rf"\.{re.escape(path.name)}\.\d+(\.[0-9a-f]{{6}})?\.{suffix}")
    found = [one for one in path.parent.iterdir() if name.fullmatch(one.name)]
    return sorted(found, key=lambda one: one.stat().st_mtime)
