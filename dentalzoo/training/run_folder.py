"""The folder of a run: one process at a time, and always with the same settings."""

import json
import logging
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dentalzoo.atomic import remove_leftovers, write_json
from dentalzoo.errors import DentalzooError
from dentalzoo.locks import lock
from dentalzoo.training.computing import with_defaults
from dentalzoo.training.team import Team

log = logging.getLogger("dentalzoo")
LOCK = ".lock"
_VISIBLE_SECONDS = 30  # in which a file that was written on one host shows on another


@contextmanager
def opened(out: Path, settings: dict[str, Any], resume: bool, team: Team) -> Iterator[None]:
    """Claim the folder of a run for a team: the chief writes, the others read the same folder.

    Raises:
        DentalzooError: the chief cannot lock or claim it, or another worker does not see it.
    """
    token = uuid.uuid4().hex
    if team.is_chief:
        with locked(out, token):
            claim(out, settings, resume)
            team.share("run", token)
            team.agree(_SHARED, token)
            yield
        return
    token, deadline = team.share("run"), time.monotonic() + _VISIBLE_SECONDS
    while (seen := _token(out)) != token and time.monotonic() < deadline:
        time.sleep(0.2)
    team.agree(_SHARED, seen)
    yield


_SHARED = "out, a folder on storage that all of them share"


def _token(out: Path) -> str:
    """Return what the lock of a run holds."""
    try:
        return (out / LOCK).read_text()
    except OSError as error:
        return error.strerror or "unreadable"


@contextmanager
def locked(out: Path, token: str = "") -> Iterator[None]:
    """Keep other processes out of a run; the lock ends with its process.

    Args:
        out: the folder of the run.
        token: written into the lock, by which another host knows that it sees the same folder.

    Raises:
        DentalzooError: another process holds it, or the folder cannot be written.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        handle = open(out / LOCK, "ab", buffering=0)  # noqa: SIM115
    except OSError as error:
        raise DentalzooError(f"{out} cannot be written. Received: {error}") from None
    with handle:
        try:
            lock(handle, wait=False)
        except BlockingIOError:
            raise DentalzooError(
                "another process is training in this folder; wait for it or choose another one. "
                f"Received: {out}"
            ) from None
        try:
            handle.truncate(0)
            handle.write(token.encode())
        except OSError as error:
            raise DentalzooError(f"{out} cannot be written. Received: {error}") from None
        yield


def claim(out: Path, settings: dict[str, Any], resume: bool) -> None:
    """Write run.json, or compare it with the settings of a run that is resumed.

    The folder of a run that stopped before the end of its first epoch can be used for a new one.

    Raises:
        DentalzooError: there is a run and `resume` is false, or it has other settings.
    """
    path = out / "run.json"
    for folder in (out, out / "checkpoints"):
        remove_leftovers(folder)  # of killed processes: the lock is held
    begun = path.exists() and any((out / "checkpoints").glob("epoch-*.npz"))
    if begun and not resume:
        raise DentalzooError(
            "out must be a new folder; resume=True (--resume) continues the run in it. "
            f"Received: {out}"
        )
    if begun:
        before = with_defaults(json.loads(path.read_text()))
        changed = [
            f"{key} was {old!r} and is {new!r}"
            for key, old, new in _differences(before, settings)
            if key not in ("config.epochs", "workers")
        ]
        if changed:
            raise DentalzooError(
                f"a run must be resumed with its own settings. Received: {'; '.join(changed)}"
            )
        if before.get("workers") != settings["workers"]:
            log.warning(
                "the run had %s workers and goes on with %s: the batches stay the same, the "
                "weights will not be bit for bit those of an undisturbed run",
                before.get("workers"),
                settings["workers"],
            )
    write_json(path, settings)


def _differences(
    before: dict[str, Any], now: dict[str, Any], prefix: str = ""
) -> Iterator[tuple[str, Any, Any]]:
    """Yield (dotted key, old value, new value) of what differs."""
    for key in before | now:
        old, new = before.get(key), now.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            yield from _differences(old, new, f"{prefix}{key}.")
        elif old != new:
            yield prefix + key, old, new
