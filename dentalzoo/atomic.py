"""Atomic file writes: to a temporary file, flushed to the disk, then renamed into place."""

import contextlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from dentalzoo.errors import DentalzooError
from dentalzoo.locks import is_held, lock

_LONG = 230  # bytes; a file name has at most 255
_TEMPORARY = re.compile(r"\..+\.\d+\.[0-9a-f]{6}\.tmp", re.DOTALL)


def write_atomically(
    path: str | Path, write: Callable[[BinaryIO], None] | bytes | str, durable: bool = True
) -> None:
    """Write a file so that a kill at any moment leaves either the old content or the new.

    Args:
        path: the file; its folder is created.
        write: the content, or a function that writes it to an open binary file.
        durable: also survive a power cut, at the cost of flushing the disk.

    Raises:
        DentalzooError: the disk is full or the folder is not writable; the old file is intact.
    """
    path = Path(path)
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary, file = _temporary(path)
        with file:
            if callable(write):
                write(file)
            else:
                file.write(write.encode() if isinstance(write, str) else write)
            file.flush()
            if durable:
                os.fsync(file.fileno())
            if os.name != "nt":  # while it is locked; Windows renames no open file
                os.replace(temporary, path)
        if os.name == "nt":
            os.replace(temporary, path)
        if durable:
            sync_folder(path.parent)
    except BaseException as error:
        if temporary is not None:
            with contextlib.suppress(OSError):
                temporary.unlink()
        if not isinstance(error, OSError):
            raise
        raise DentalzooError(
            f"{path} could not be written; an older file of this name is intact. Free disk space "
            f"or choose another folder. Received: {error}"
        ) from error


def _temporary(path: Path) -> tuple[Path, BinaryIO]:
    """Open a new file beside a path, locked so that `remove_abandoned` knows it is in use."""
    # A name of the greatest length leaves no room for the rest.
    kept = path.name if len(os.fsencode(path.name)) < _LONG else f"{hash(path.name):x}"
    while True:
        # Processes on two machines, or in two containers, may have one number.
        temporary = path.with_name(f".{kept}.{os.getpid()}.{secrets.token_hex(3)}.tmp")
        file = open(temporary, "xb")  # noqa: SIM115  # the caller closes it
        try:
            lock(file, wait=False)
        except BlockingIOError:  # about to be removed
            file.close()
            continue
        except OSError:  # a file system without locks, where nothing is removed
            return temporary, file
        if os.fstat(file.fileno()).st_nlink:
            return temporary, file
        file.close()


def write_json(path: str | Path, content: Any) -> None:
    """Write `content` as indented JSON, atomically."""
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    # File names may hold bytes that are not UTF-8: escaped with a backslash, as in JSON.
    write_atomically(path, text.encode(errors="backslashreplace"))


def stamp(path: Path) -> tuple[str, int | None, int | None]:
    """Return path, size in bytes and modification time in ns of a file, to detect changes.

    Size and time are None for a file that does not exist.
    """
    try:
        status = path.stat()
    except OSError:  # reported when it is read
        return str(path), None, None
    return str(path), status.st_size, status.st_mtime_ns


def remove_leftovers(folder: str | Path) -> None:
    """Remove the temporary files of processes that were killed while writing to `folder`."""
    for path in Path(folder).glob(".*.tmp"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def remove_abandoned(folder: str | Path) -> None:
    """Remove the temporary files of `write_atomically` whose processes were killed.

    Other processes may write to the folder at the same time: theirs stay.
    """
    for path in Path(folder).glob(".*.tmp"):
        if _TEMPORARY.fullmatch(path.name) and path.is_file() and not is_held(path):
            path.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Make the renames in a folder survive a power cut; Windows opens no folder and needs none."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
