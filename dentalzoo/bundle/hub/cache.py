"""The cache of downloads: only a whole and verified bundle ever bears its name there."""

import logging
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from dentalzoo.bundle.archives import unpack
from dentalzoo.bundle.hub.folders import CONTENT, cache_dir, is_bundle
from dentalzoo.errors import BadFile, DentalzooError
from dentalzoo.locks import lock

_log = logging.getLogger("dentalzoo")


@contextmanager
def claimed(bundle: str, place: Path) -> Iterator[None]:
    """Hold the lock of a place in the cache, which one process at a time fills.

    Args:
        bundle: what messages call the bundle.
        place: the path that will be the bundle's; its folder is made.

    Raises:
        DentalzooError: the cache cannot be written.
    """
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with _locked(place.with_name(f"{place.name}.lock")):
            yield
    except OSError as error:
        raise DentalzooError(
            f"{bundle} cannot be written to {cache_dir()}: {error.strerror or error}. Make room "
            f"there or name another folder with DENTALZOO_CACHE. Received: {str(cache_dir())!r}"
        ) from error


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold a file lock, which the system releases however the process ends."""
    with path.open("w") as file:
        try:
            lock(file, wait=False)
        except BlockingIOError:
            _log.info("waiting for another process that holds %s", path)
            lock(file)
        yield


def unpacked(
    archive: Path,
    target: Path,
    check: Callable[[Path], object] = lambda folder: None,
    *,
    remove: bool = False,
) -> Path:
    """Unpack all or nothing: only a complete bundle gets the name `target`.

    Args:
        archive: a .zip or .tar.gz that holds a bundle, or a folder with one.
        target: must not exist.
        check: raises an error for the folder of a bundle that must not get the name.
        remove: remove the archive, before the bundle gets its name: what a process that is killed
            in between leaves is fetched anew, while nobody would look for an archive afterwards.

    Raises:
        BadFile: the archive is refused or holds no bundle, or something else is at `target`.
    """
    if target.exists():
        raise BadFile(target, "must be a bundle or absent; remove it. Received: another directory")
    folder = target.with_name(f"{target.name}.unpacking")
    shutil.rmtree(folder, ignore_errors=True)  # left by a process that was killed
    try:
        # weights hardly shrink when packed
        unpack(archive, folder, limit=max(1 << 26, 10 * archive.stat().st_size))
        inside = [folder, *folder.iterdir()]
        bundle = next((path for path in inside[:2] if is_bundle(path)), None)
        if bundle is None:
            raise BadFile(
                archive, f"must hold a bundle ({CONTENT}). Received: an archive without one"
            )
        check(bundle)
        if remove:
            archive.unlink()
        bundle.rename(target)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return target
