"""From a name or a path to the directory of a bundle: on this machine, or downloaded to it.

A bundle called `name.tag` is looked for in the folder that DENTALZOO_PRETRAINED names, in the
checkout's `pretrained/`, where an installation puts the released bundles, and in the cache
(DENTALZOO_CACHE, by default ~/.cache/dentalzoo). Only then is `Weights.url` requested.
"""

import difflib
import hashlib
import http.client
import logging
import os
import re
import shutil
import site
import sys
import sysconfig
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from dentalzoo.bundle.archives import CHUNK, unpack
from dentalzoo.bundle.replacing import recover
from dentalzoo.contracts import Weights
from dentalzoo.environment import is_offline
from dentalzoo.errors import BadFile, DentalzooError
from dentalzoo.locks import lock

ATTEMPTS = 3
PAUSE = 1.0  # seconds before the second attempt, doubled before each further one
TIMEOUT = 30.0  # seconds without one byte
CONTENT = "metadata.json, README.md, SHA256SUMS and saved_model/"

TAG = re.compile(r"[a-z0-9][a-z0-9_-]*")
_NAME = re.compile(rf"[a-z][a-z0-9_]*(\.{TAG.pattern})?")
_log = logging.getLogger("dentalzoo")


def cache_dir() -> Path:
    """Return the folder that downloads are unpacked in; it need not exist."""
    return Path(os.environ.get("DENTALZOO_CACHE") or Path.home() / ".cache" / "dentalzoo")


def folders() -> list[Path]:
    """Return the folders in which bundles are looked for, in order; they need not exist."""
    package = Path(__file__).resolve().parents[2]
    prefixes = [str(package), sysconfig.get_path("data"), site.getuserbase(), sys.prefix]
    shared = [Path(p) / "share" / "dentalzoo" / "pretrained" for p in prefixes]
    variable = os.environ.get("DENTALZOO_PRETRAINED")
    named = [Path(variable)] if variable else []
    return list(dict.fromkeys([*named, package / "pretrained", *shared, cache_dir()]))


def find(bundle: str) -> Path | None:
    """Return the directory of the bundle called `name.tag`; None where this machine lacks it."""
    return next((f / bundle for f in folders() if _is_bundle(f / bundle)), None)


def resolve(
    name_or_path: str | os.PathLike[str],
    offline: bool | None = None,
    *,
    names: Iterable[str] = (),
    tags: Callable[[str], Mapping[str, Weights]] = lambda name: {},
) -> Path:
    """Return the directory of a bundle, downloaded first where that is needed.

    Args:
        name_or_path: `name` (its newest tag), `name.tag`, or a path: a bundle's directory or that
            of a run which holds `bundle/`. A known name is preferred to a directory of that name.
        offline: open no connection; where None, the environment variable DENTALZOO_OFFLINE.
        names: the known models.
        tags: function from one of `names` to its released bundles, the newest first.

    Raises:
        DentalzooError: no such name or directory, or the download failed. Nothing but a complete
            and verified bundle ever lies in the cache under its name.
    """
    text, names = os.fspath(name_or_path), list(names)
    name, _, tag = text.partition(".")
    if isinstance(name_or_path, str) and _NAME.fullmatch(text):
        local = find(text) if tag else None
        if local:
            return local
        if name in names:
            return _released(name, tag, tags(name), offline)
    path = Path(text).expanduser()
    for candidate in (path, path / "bundle"):
        recover(candidate)
        if _is_bundle(candidate):
            return candidate
    if text and os.path.isdir(path):
        raise BadFile(
            text, f"must hold a bundle ({CONTENT}) or a run with bundle/. Received: {text!r}"
        )
    if os.path.isfile(path):
        raise BadFile(text, f"must be the directory of a bundle. Received: {text!r}, a file")
    name, _, tag = text.strip("./ ").lower().replace("-", "_").replace("/", ".").partition(".")
    close = difflib.get_close_matches(name, names)
    if tag:
        close = [f"{name}.{tag}" for name in close for tag in tags(name)]
    raise DentalzooError(
        f"There is no model and no directory of this name{_did_you_mean(close)} "
        f"Give `name`, `name.tag` or a path such as ./runs/unet. Received: {text!r}"
    )


def _is_bundle(path: Path) -> bool:
    return os.path.isfile(path / "metadata.json") or os.path.isdir(path / "saved_model")


def _did_you_mean(close: Iterable[str]) -> str:
    names = " or ".join(close)
    return f"; did you mean {names}?" if names else "."


def _released(name: str, tag: str, table: Mapping[str, Weights], offline: bool | None) -> Path:
    """Return the bundle `name.tag` of a known model; without a tag the first one of its table."""
    if not tag and not table:
        raise DentalzooError(
            f"{name} has no released weights: train it (dentalzoo train {name} ...) or give the "
            f"path of a bundle. Received: {name!r}"
        )
    tag = tag or next(iter(table))
    bundle = f"{name}.{tag}"
    if tag not in table:
        raise DentalzooError(
            f"{name} has no bundle of this tag"
            f"{_did_you_mean(f'{name}.{known}' for known in table)} Received: {bundle!r}"
        )
    if offline is None:
        offline = is_offline()
    return find(bundle) or _fetch(bundle, table[tag], offline)


class _Archive(NamedTuple):
    """A file to download, its bytes and its SHA-256."""

    url: str
    size: int
    sha256: str


def _fetch(bundle: str, weights: Weights, offline: bool) -> Path:
    """Download, verify and unpack into the cache; one process at a time does so."""
    cache = cache_dir()
    if weights.url is None or weights.size is None or weights.sha256 is None:
        raise DentalzooError(
            f"{bundle} ships with dentalzoo and has no address to download it from. "
            f"Copy its directory ({CONTENT}) to {cache / bundle}. "
            f"Received: nothing in {', '.join(map(str, folders()))}"
        )
    source = _Archive(weights.url, weights.size, weights.sha256)
    suffix = ".zip" if weights.url.endswith(".zip") else ".tar.gz"
    placed, part = cache / (bundle + suffix), cache / f"{bundle}{suffix}.part"
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with _locked(cache / f"{bundle}.lock"):
            if _is_bundle(cache / bundle):  # another process was quicker
                return cache / bundle
            if placed.exists():  # by hand
                _check(placed, source)
                return _unpack(placed, cache / bundle)
            try:
                if offline:
                    raise _Unreachable("offline")
                _download(bundle, source, part)
            except _Unreachable as error:
                raise DentalzooError(
                    f"{bundle} is not on this machine and {weights.url} cannot be reached "
                    f"({error}). Save that file ({weights.size} bytes, SHA-256 {weights.sha256}) "
                    f"as {placed}, or its content ({CONTENT}) in {cache / bundle}. "
                    f"Received: {bundle!r}"
                ) from error
            unpacked = _unpack(part, cache / bundle)
            part.unlink()
            return unpacked
    except OSError as error:
        raise DentalzooError(
            f"{bundle} cannot be written to {cache}: {error.strerror or error}. Make room there or "
            f"name another folder with DENTALZOO_CACHE. Received: {str(cache)!r}"
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


class _Unreachable(Exception):
    """Nothing can be downloaded: no network, no server, a refusal, or offline mode."""


def _download(bundle: str, source: _Archive, part: Path) -> None:
    """Fill `part` with the verified archive, from where an earlier attempt was cut off."""
    cause = ""
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(PAUSE * 2 ** (attempt - 1))
        start = part.stat().st_size if part.exists() else 0
        try:
            if start < source.size:
                _read_into(bundle, source, part, start)
        except urllib.error.HTTPError as error:
            error.close()
            cause = f"HTTP {error.code} {error.reason}"
            if error.code == 416:  # nothing there to continue with
                part.unlink(missing_ok=True)
            elif error.code < 500 and error.code not in (408, 429):
                raise _Unreachable(cause) from error
            continue
        except _Cut as error:
            cause = str(error)
            continue
        try:
            return _check(part, source)
        except BadFile as error:
            part.unlink()
            if not start:
                raise BadFile(source.url, error.reason) from error
            cause = error.reason  # the old part was of another file: start again
    got = part.stat().st_size if part.exists() else 0
    if got:
        raise BadFile(
            source.url,
            f"got {got} of {source.size} bytes ({cause}); run the same command again to continue. "
            f"Received: {ATTEMPTS} broken connections",
        )
    raise _Unreachable(cause)


class _Cut(Exception):
    """The connection failed or ended before the server had sent what it announced."""


def _read_into(bundle: str, source: _Archive, part: Path, start: int) -> None:
    """Send one request and append to `part` what follows its first `start` bytes."""
    request = urllib.request.Request(source.url, headers={"Accept-Encoding": "identity"})
    if start:
        request.add_header("Range", f"bytes={start}-")
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError:
        raise
    except (OSError, http.client.HTTPException) as error:
        raise _Cut(str(getattr(error, "reason", error)) or type(error).__name__) from error
    with response:
        partial = response.headers.get("Content-Range", "").startswith(f"bytes {start}-")
        if response.status != 206 or not partial:
            start = 0
        left = source.size - start if response.length is None else response.length
        progress = tqdm(
            desc=bundle,
            initial=start,
            total=source.size,
            unit="B",
            unit_scale=True,
            disable=not sys.stderr.isatty(),
        )
        with progress, part.open("ab" if start else "wb") as file:
            while file.tell() <= source.size:
                try:
                    block = response.read1(CHUNK)
                except (OSError, http.client.HTTPException) as error:
                    raise _Cut(str(error) or type(error).__name__) from error
                if not block:
                    break
                file.write(block)
                left -= len(block)
                progress.update(len(block))
            if left > 0 and file.tell() < source.size:
                raise _Cut("the connection ended early")


def _check(archive: Path, source: _Archive) -> None:
    """Compare an archive with the size and the digest of the table.

    Raises:
        BadFile: they differ.
    """
    got = archive.stat().st_size
    if got != source.size:
        count = f"got {got} of {source.size} bytes"
        raise BadFile(archive, f"{count}; try again later. Received: a file of another size")
    with archive.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != source.sha256:
        raise BadFile(
            archive,
            f"not the released file: its SHA-256 should be {source.sha256}. Received: {digest}",
        )


def _unpack(archive: Path, target: Path) -> Path:
    """Unpack all or nothing: only a complete bundle gets the name `target`."""
    if target.exists():
        raise BadFile(target, "must be a bundle or absent; remove it. Received: another directory")
    folder = target.with_name(f"{target.name}.unpacking")
    shutil.rmtree(folder, ignore_errors=True)  # left by a process that was killed
    try:
        # weights hardly shrink when packed
        unpack(archive, folder, limit=max(1 << 26, 10 * archive.stat().st_size))
        inside = [folder, *folder.iterdir()]
        bundle = next((path for path in inside[:2] if _is_bundle(path)), None)
        if bundle is None:
            raise BadFile(
                archive, f"must hold a bundle ({CONTENT}). Received: an archive without one"
            )
        bundle.rename(target)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return target
