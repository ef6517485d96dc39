"""Folders of results: what may be written where, and folders that are complete or absent."""

import contextlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from dentalzoo.atomic import remove_leftovers, write_json
from dentalzoo.errors import DentalzooError

_BUNDLE = ("metadata.json", "SHA256SUMS")
_LIST = ".dentalzoo.json"  # what was written and by what; hidden, so that it is no part of the data


def check_outside(path: Path) -> None:
    """Raises DentalzooError if `path` lies in a bundle, which one more file would make unusable."""
    for folder in (path, *path.parents):
        if all((folder / name).is_file() for name in _BUNDLE):
            raise DentalzooError(
                f"a folder outside of bundles was expected; {folder} is one. Received: {path}"
            )


def make_folder(out: Path, inputs: Iterable[Path]) -> None:
    """Makes the folder of the results.

    Raises:
        DentalzooError: an input lies in it, it lies in a bundle, or it cannot be made.
    """
    folder = out.resolve()
    check_outside(folder)
    if any(path.parent.resolve() == folder for path in inputs):
        raise DentalzooError(
            f"out is a folder of its own, so that no input is overwritten. Received: {out}, "
            "which holds inputs"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DentalzooError(
            f"{out}: the folder cannot be made. Received: {error.strerror}"
        ) from error


@contextlib.contextmanager
def whole_folder(out: str | Path, writer: str) -> Iterator[Path]:
    """A folder that is complete or as it was: yields where to write what it will hold.

    The files lie in a hidden folder inside of `out` and take their places at the end. After an
    error inside the `with`, `out` is as it was.

    Args:
        out: absent, empty, or what the same writer wrote earlier without any other file, which is
            replaced; hidden files do not count.
        writer: a name that stays in the folder.

    Raises:
        DentalzooError: `out` holds something else or lies in a bundle, or cannot be written.
    """
    place = Path(out).resolve()
    check_outside(place)
    aside = place / f".{os.getpid()}.tmp"
    try:
        old = _replaceable(place, out, writer)
        made = [folder for folder in (place, *place.parents) if not folder.exists()]
        place.mkdir(parents=True, exist_ok=True)
        remove_leftovers(place)
        aside.mkdir()
    except OSError as error:
        raise DentalzooError(
            f"{out}: the folder cannot be made. Received: {error.strerror}"
        ) from error
    try:
        yield aside
        _put(aside, place, old, writer)
    except OSError as error:
        raise DentalzooError(f"{out} could not be written. Received: {error}") from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)
        with contextlib.suppress(OSError):  # the first that is not empty ends it
            for folder in made:
                folder.rmdir()


def _replaceable(place: Path, out: str | Path, writer: str) -> set[str]:
    """The files in a folder, all of which `writer` wrote.

    Raises:
        DentalzooError: there is another one.
    """
    found, written = {str(place)}, set()
    if not place.exists() or place.is_dir():
        found = _files(place)
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            about = json.loads((place / _LIST).read_bytes())
            written = set(about["files"]) if about["writer"] == writer else set()
    if found - written:
        raise DentalzooError(
            "out is a new or empty folder, or an older one of this command as it was written. "
            f"Received: {out}, which holds something else: {min(found - written)}"
        )
    return found


def _put(aside: Path, place: Path, old: set[str], writer: str) -> None:
    """Replaces the old files by those that lie aside."""
    new = _files(aside)
    # Both: whatever a kill leaves of this is still what `writer` wrote.
    write_json(place / _LIST, {"writer": writer, "files": sorted(old | new)})
    for name in old - new:
        (place / name).unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            (place / name).parent.rmdir()
    for name in sorted(new):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        os.replace(aside / name, place / name)
    write_json(place / _LIST, {"writer": writer, "files": sorted(new)})


def _files(folder: Path) -> set[str]:
    """All files that are not hidden; a link counts as a file and so is not followed."""
    return {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and (path.is_symlink() or not path.is_dir())
    }
