"""Output folders: where results may be written, and folders that are replaced as a whole."""

import contextlib
import functools
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from dentalzoo.atomic import remove_leftovers, write_json
from dentalzoo.errors import DentalzooError

_BUNDLE = ("metadata.json", "SHA256SUMS")
_SCHEME = re.compile(r"[a-z][a-z0-9]+:")  # as a path, gs://bucket is gs:/bucket
_TEMPORARY = re.compile(r"\.\d+\.tmp")  # the hidden folder of `whole_folder`
_UNLISTED = (PermissionError, FileNotFoundError)
_LIST = ".dentalzoo.json"  # the writer and its files; hidden, so that it is not part of the data
_RESULTS = ".dentalzoo-results.json"  # names in the folder that hold results and no data


def check_outside(path: Path) -> None:
    """Refuse a folder in a bundle, which a file would invalidate, and one in an object store.

    Raises:
        DentalzooError: `path` is one of them.
    """
    if any(_SCHEME.fullmatch(part) for part in path.parts):
        raise DentalzooError(
            "the output folder must be on a disk or a mounted bucket; only predict with a runner "
            "writes to object stores. "
            f"Received: {path}"
        )
    for folder in (path, *path.parents):
        if all((folder / name).is_file() for name in _BUNDLE):
            raise DentalzooError(
                f"the output folder must be outside of bundles; {folder} is one. Received: {path}"
            )


def make_folder(out: Path, inputs: Iterable[Path]) -> None:
    """Create the output folder.

    Args:
        out: the folder; it may exist.
        inputs: files that the results must not overwrite.

    Raises:
        DentalzooError: an input lies in it, it lies in a bundle, or it cannot be created.
    """
    folder = out.resolve()
    check_outside(folder)
    if any(path.parent.resolve() == folder for path in inputs):
        raise DentalzooError(
            "out must be a folder without inputs, so that none of them is overwritten. "
            f"Received: {out}, which holds inputs"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DentalzooError(
            f"{out}: the folder cannot be created. Received: {error.strerror}"
        ) from error


def list_results(folder: Path, names: Iterable[str]) -> None:
    """Add names of files and folders to the hidden list of results in a folder.

    They are not taken for data where the folder lies among images.
    """
    write_json(folder / _RESULTS, sorted({*listed_results(folder), *names}))


def listed_results(folder: Path) -> frozenset[str]:
    """Return the names in a folder that hold results, see `list_results`."""
    path, names = folder / _RESULTS, None
    if path.is_file():
        with contextlib.suppress(OSError, ValueError, RecursionError):
            names = json.loads(path.read_bytes())
    names = names if isinstance(names, list) else []
    return frozenset(name for name in names if isinstance(name, str))


def are_results(paths: Iterable[Path]) -> bool:
    """Return whether all files, or folders above them, are in the hidden lists of their folders."""
    listed = functools.cache(listed_results)  # read once, and not for each of thousands of files
    return all(
        any(one.name in listed(one.parent) for one in (path, *path.parents))
        for path in map(Path.absolute, paths)
    )


@contextlib.contextmanager
def whole_folder(out: str | Path, writer: str) -> Iterator[Path]:
    """Replace the content of a folder as a whole: yield a temporary folder to write to.

    The temporary folder is hidden inside of `out`; its files are moved into `out` at the end. After
    an error inside the `with`, `out` is unchanged.

    Args:
        out: absent, empty, or with nothing but the files that the same writer wrote earlier, which
            are replaced; hidden files do not count.
        writer: a name that is stored in the folder.

    Raises:
        DentalzooError: `out` holds other files, lies in a bundle, or cannot be written.
    """
    folder = Path(out).resolve()
    check_outside(folder)
    temporary = folder / f".{os.getpid()}.tmp"
    try:
        old = _replaceable(folder, out, writer)
        created = [path for path in (folder, *folder.parents) if not path.exists()]
        folder.mkdir(parents=True, exist_ok=True)
        remove_leftovers(folder)
        temporary.mkdir()
    except OSError as error:
        raise DentalzooError(
            f"{out}: the folder cannot be created. Received: {error.strerror}"
        ) from error
    try:
        yield temporary
        _move_into_place(temporary, folder, old, writer)
    except OSError as error:
        raise DentalzooError(f"{out} could not be written. Received: {error}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        with contextlib.suppress(OSError):  # stops at the first that is not empty
            for path in created:
                path.rmdir()


def final_path(path: Path) -> Path:
    """Return where a file or folder that is written inside of `whole_folder` lies in the end.

    Any other path is returned as it is, absolute.
    """
    path = path.absolute()
    return Path(*(part for part in path.parts if not _TEMPORARY.fullmatch(part)))


def _replaceable(folder: Path, out: str | Path, writer: str) -> set[str]:
    """Return the names of the files in a folder, all of which `writer` wrote.

    Raises:
        DentalzooError: there is another file.
    """
    present, written = {str(folder)}, set()
    if not folder.exists() or folder.is_dir():
        present = _files(folder)
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            about = json.loads((folder / _LIST).read_bytes())
            written = set(about["files"]) if about["writer"] == writer else set()
    if present - written:
        raise DentalzooError(
            "out must be a new or empty folder, or one that holds only what this command wrote. "
            f"Received: {out}, which holds something else: {min(present - written)}"
        )
    return present


def _move_into_place(temporary: Path, folder: Path, old: set[str], writer: str) -> None:
    """Replace the old files by those of the temporary folder."""
    new = _files(temporary)
    # Old and new: whatever a kill leaves of this is still listed as the writer's.
    write_json(folder / _LIST, {"writer": writer, "files": sorted(old | new)})
    for name in old - new:
        (folder / name).unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            (folder / name).parent.rmdir()
    for name in sorted(new):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        os.replace(temporary / name, folder / name)
    write_json(folder / _LIST, {"writer": writer, "files": sorted(new)})


def _files(folder: Path) -> set[str]:
    """Return the names of all files that are not hidden; a link counts as a file."""
    names: set[str] = set()
    waiting = [(str(folder), "")]
    while waiting:  # several times faster than pathlib
        path, prefix = waiting.pop()
        with contextlib.suppress(*_UNLISTED), os.scandir(path) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    waiting.append((entry.path, f"{prefix}{entry.name}/"))
                else:
                    names.add(prefix + entry.name)
    return names
