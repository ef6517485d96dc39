"""The folder of a run: one process at a time, and always with the same settings."""

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dentalzoo.atomic import remove_leftovers, write_json
from dentalzoo.errors import DentalzooError
from dentalzoo.training.computing import with_defaults


@contextmanager
def locked(out: Path) -> Iterator[None]:
    """Keep other processes out of a run; the lock ends with its process.

    Raises:
        DentalzooError: another process holds it, or the folder cannot be written.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        handle = open(out / ".lock", "w")  # noqa: SIM115
    except OSError as error:
        raise DentalzooError(f"{out} cannot be written. Received: {error}") from None
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DentalzooError(
                "another process is training in this folder; wait for it or choose another one. "
                f"Received: {out}"
            ) from None
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
            if key != "config.epochs"
        ]
        if changed:
            raise DentalzooError(
                f"a run must be resumed with its own settings. Received: {'; '.join(changed)}"
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
