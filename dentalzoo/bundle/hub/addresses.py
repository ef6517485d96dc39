"""Bundles at addresses: archives at `https://`; archives and folders at `gs://`, `s3://` and such.

Stores are opened with fsspec, the extra `remote`. An address may end in `#sha256=DIGEST`, that of
the archive, or of the folder's SHA256SUMS; without one, what is downloaded is compared with the
sums in it, which tell a damaged bundle and not another one. An address that is in the cache is not
opened again.
"""

import hashlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dentalzoo.bundle.hub.cache import claimed, unpacked
from dentalzoo.bundle.hub.download import Cut, Opened, Remote, Unreachable, fetch, over_http
from dentalzoo.bundle.hub.folders import CONTENT, cache_dir, is_bundle
from dentalzoo.bundle.integrity import SUMS, verify
from dentalzoo.bundle.sums import read_sums
from dentalzoo.data.io.stored import file_system
from dentalzoo.errors import BadFile, DentalzooError

ARCHIVES = (".zip", ".tar.gz", ".tgz")
_PIN = re.compile(r"(?P<place>[^#]*)(#sha256=(?P<digest>[0-9a-f]{64}))?")


def fetched(address: str, offline: bool) -> Path:
    """Return the bundle at an address, downloaded if it is not in the cache.

    Raises:
        DentalzooError: a bad address, nothing there, no connection, fsspec or the package of a
            store is missing; or it is not a whole bundle, or not that of the digest.
    """
    match = _PIN.fullmatch(address)
    if not match:
        raise DentalzooError(
            "an address must be alone or end in #sha256= and 64 digits in lower case. "
            f"Received: {address!r}"
        )
    place, over_net = _place(address), address.startswith(("https://", "http://"))
    if is_bundle(place):
        return place
    if offline:
        raise DentalzooError(
            f"{address} is not on this machine, and downloads are off; load it once without "
            f"--offline and DENTALZOO_OFFLINE. Received: nothing at {place}"
        )
    remote, digest = match["place"], match["digest"]
    packed = remote.partition("?")[0].endswith(ARCHIVES)
    if over_net and not packed:
        raise DentalzooError(
            f"an address of a bundle must be that of an archive ({', '.join(ARCHIVES)}). "
            f"Received: {address!r}"
        )
    opener = over_http if over_net else _in_store
    with claimed(address, place):
        if is_bundle(place):  # another process was quicker
            return place
        try:
            if packed:
                _archive(Remote(remote, opener(remote), None, digest, "the archive named"), place)
            else:
                _folder(remote, digest, place)
        except Unreachable as error:
            raise DentalzooError(
                f"{address} is not on this machine and cannot be read; check it, and the "
                f"connection. Received: {error}"
            ) from error
    return place


def _place(address: str) -> Path:
    """Return the path in the cache: readable, and another one for each address."""
    stem = re.split(r"[?#]", address)[0].rstrip("/").rpartition("/")[2]
    stem = re.sub(r"[^A-Za-z0-9_.-]", "_", re.sub(r"(\.tar\.gz|\.tgz|\.zip)$", "", stem))[:80]
    key = hashlib.sha256(address.encode()).hexdigest()[:16]
    return cache_dir() / "url" / f"{stem.lstrip('.') or 'bundle'}-{key}"


def _archive(remote: Remote, place: Path) -> None:
    """Download and unpack an archive, once more from its beginning if an old part did not fit."""
    part = place.with_name(f"{place.name}.archive.part")
    for begun in (part.exists(), False):
        fetch(remote, part)
        try:
            unpacked(part, place, check=verify, remove=True)
        except DentalzooError as error:
            part.unlink()
            if not begun:
                raise BadFile(remote.address, _reason(error, part)) from error
            continue
        return


def _reason(error: DentalzooError, archive: Path) -> str:
    """Return what is wrong with an archive or a file in it, without the path in the cache."""
    if not isinstance(error, BadFile):
        return str(error)
    return error.reason if error.path == archive else f"{Path(error.path).name}: {error.reason}"


def _folder(address: str, digest: str | None, place: Path) -> None:
    """Download the files that a folder's SHA256SUMS lists, and give the bundle its name."""
    aside, base = place.with_name(f"{place.name}.part"), address.rstrip("/")

    def get(name: str, sha256: str | None, what: str) -> None:
        path, where = aside / name, f"{base}/{name}"
        path.parent.mkdir(parents=True, exist_ok=True)
        fetch(Remote(where, _in_store(where), None, sha256, what, name), path)

    (aside / SUMS).unlink(missing_ok=True)  # it may have changed
    get(SUMS, digest, "the SHA256SUMS named")
    for name, sha256 in read_sums(aside / SUMS).items():
        get(name, sha256, f"the file that {SUMS} lists")
    verify(aside)
    if not is_bundle(aside):
        raise BadFile(address, f"must hold a bundle ({CONTENT}). Received: other files")
    aside.rename(place)


def _in_store(address: str) -> Callable[[int], Opened]:
    """Return the function that opens an object of a store from a byte on."""

    def opened(start: int) -> Opened:
        system, path = file_system(address)
        try:
            size: int = system.size(path)
            stream: Any = system.open(path, "rb")
            start = start if start <= size else 0
            stream.seek(start)
        except FileNotFoundError as error:
            raise Unreachable("there is no such object") from error
        except Exception as error:  # stores raise errors of any type
            raise Cut(" ".join(f"{type(error).__name__}: {error}".split())[:200]) from error
        return Opened(_Safe(stream), start, size - start)

    return opened


class _Safe:
    """A stream of a store, whose errors of any type become OSError."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __enter__(self) -> "_Safe":
        return self

    def __exit__(self, *error: object) -> None:
        self._stream.close()

    def read(self, size: int) -> bytes:
        try:
            return bytes(self._stream.read(size))
        except Exception as error:
            raise OSError(" ".join(f"{type(error).__name__}: {error}".split())[:200]) from error
