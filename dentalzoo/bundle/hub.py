"""From a name or a path to a bundle's directory: found on this machine, or downloaded to it.

A bundle called `name.tag` is looked for in the folder that DENTALZOO_PRETRAINED names, in the
checkout's `pretrained/`, where an installation puts the released bundles, and in the cache
(DENTALZOO_CACHE, by default ~/.cache/dentalzoo). Only then is `Weights.url` asked.
"""

import difflib
import fcntl
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
from dataclasses import dataclass, field
from pathlib import Path

from tqdm import tqdm

from dentalzoo.bundle.archives import CHUNK, unpack
from dentalzoo.errors import BadFile, DentalzooError

ATTEMPTS = 3
PAUSE = 1.0  # seconds before the second attempt, doubled before each further one
TIMEOUT = 30.0  # seconds without one byte
CONTENT = "metadata.json, README.md, SHA256SUMS and saved_model/"

TAG = re.compile(r"[a-z0-9][a-z0-9_-]*")
_NAME = re.compile(rf"[a-z][a-z0-9_]*(\.{TAG.pattern})?")
_log = logging.getLogger("dentalzoo")


@dataclass(frozen=True)
class Weights:
    """A released bundle: where it lies and what must be known before it is used.

    Attributes:
        url: http(s) address of the bundle as .tar.gz or .zip; None: it ships with the repository.
        sha256: hexadecimal digest of that archive; required with a url.
        size: bytes of that archive; required with a url.
        metrics: name -> value on the test split that `data` names.
        data: what it was trained on.
        licence: of the weights, as an SPDX identifier where there is one.
        command: the command that trained it.
    """

    url: str | None = None
    sha256: str | None = None
    size: int | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    data: str = ""
    licence: str = ""
    command: str = ""

    def __post_init__(self):
        if self.url is None:
            return
        if not self.url.startswith(("https://", "http://")):
            raise DentalzooError(f"Weights need an http(s) address. Received: url={self.url!r}")
        if not self.url.endswith((".tar.gz", ".zip")):
            raise DentalzooError(f"Weights come as .tar.gz or .zip. Received: url={self.url!r}")
        if not self.size or not re.fullmatch(r"[0-9a-f]{64}", self.sha256 or ""):
            raise DentalzooError(
                "Weights with a url need their size in bytes and their SHA-256 in lower case. "
                f"Received: size={self.size!r}, sha256={self.sha256!r}"
            )


def cache_dir() -> Path:
    """The folder downloads are unpacked in; it need not exist."""
    return Path(os.environ.get("DENTALZOO_CACHE") or Path.home() / ".cache" / "dentalzoo")


def folders() -> list[Path]:
    """The folders in which bundles are looked for, the first one first; they need not exist."""
    package = Path(__file__).resolve().parents[2]
    prefixes = [package, sysconfig.get_path("data"), site.getuserbase(), sys.prefix]
    found = [Path(p) / "share" / "dentalzoo" / "pretrained" for p in prefixes]
    named = os.environ.get("DENTALZOO_PRETRAINED")
    named = [Path(named)] if named else []
    return list(dict.fromkeys([*named, package / "pretrained", *found, cache_dir()]))


def find(bundle: str) -> Path | None:
    """The directory of the bundle called `name.tag` if it is on this machine."""
    return next((f / bundle for f in folders() if _is_bundle(f / bundle)), None)


def resolve(
    name_or_path: str | os.PathLike,
    offline: bool | None = None,
    *,
    names: Iterable[str] = (),
    tags: Callable[[str], Mapping[str, Weights]] = lambda name: {},
) -> Path:
    """The directory of a bundle, downloaded first where that is needed.

    Args:
        name_or_path: `name` (its newest tag), `name.tag`, or a path: a bundle's directory or that
            of a run which holds `bundle/`. A known name goes before a directory of that name.
        offline: True opens no connection; None asks the environment for DENTALZOO_OFFLINE.
        names: the models there are.
        tags: from one of `names` to its released bundles, the newest first.

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
        if _is_bundle(candidate):
            return candidate
    if text and os.path.isdir(path):
        raise BadFile(
            text, f"no bundle ({CONTENT}) and no run that holds bundle/. Received: {text!r}"
        )
    if os.path.isfile(path):
        raise BadFile(text, f"a file, where a bundle's directory was expected. Received: {text!r}")
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
    close = " or ".join(close)
    return f"; did you mean {close}?" if close else "."


def _released(name: str, tag: str, table: Mapping[str, Weights], offline: bool | None) -> Path:
    """The bundle `name.tag` of a known model; without a tag the first one of its table."""
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
        offline = os.environ.get("DENTALZOO_OFFLINE", "0") not in ("", "0")
    return find(bundle) or _fetch(bundle, table[tag], offline)


def _fetch(bundle: str, weights: Weights, offline: bool) -> Path:
    """Downloads, verifies and unpacks into the cache; one process at a time does so."""
    cache = cache_dir()
    if weights.url is None:
        raise DentalzooError(
            f"{bundle} ships with dentalzoo and has no address to download it from. "
            f"Copy its directory ({CONTENT}) to {cache / bundle}. "
            f"Received: nothing in {', '.join(map(str, folders()))}"
        )
    suffix = ".zip" if weights.url.endswith(".zip") else ".tar.gz"
    placed, part = cache / (bundle + suffix), cache / f"{bundle}{suffix}.part"
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with _locked(cache / f"{bundle}.lock"):
            if _is_bundle(cache / bundle):  # another process was quicker
                return cache / bundle
            if placed.exists():  # by hand
                _check(placed, weights)
                return _unpack(placed, cache / bundle)
            try:
                if offline:
                    raise _Unreachable("offline")
                _download(bundle, weights, part)
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
    """Holds a file lock, which the system gives back however the process ends."""
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _log.info("waiting for another process that holds %s", path)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


class _Unreachable(Exception):
    """No byte can be had: no network, no server, a refusal, or it was forbidden to ask."""


def _download(bundle: str, weights: Weights, part: Path) -> None:
    """Fills `part` with the verified archive, from where an earlier attempt was cut off."""
    cause = ""
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(PAUSE * 2 ** (attempt - 1))
        start = part.stat().st_size if part.exists() else 0
        try:
            if start < weights.size:
                _read_into(bundle, weights, part, start)
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
            return _check(part, weights)
        except BadFile as error:
            part.unlink()
            if not start:
                raise BadFile(weights.url, error.reason) from error
            cause = error.reason  # what lay here was of another file: once more from the start
    got = part.stat().st_size if part.exists() else 0
    if got:
        raise BadFile(
            weights.url,
            f"got {got} of {weights.size} bytes ({cause}); the same command goes on from there. "
            f"Received: {ATTEMPTS} broken connections",
        )
    raise _Unreachable(cause)


class _Cut(Exception):
    """The connection failed or ended before the server had sent what it announced."""


def _read_into(bundle: str, weights: Weights, part: Path, start: int) -> None:
    """One request: appends to `part` what follows its first `start` bytes."""
    request = urllib.request.Request(weights.url, headers={"Accept-Encoding": "identity"})
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
        left = weights.size - start if response.length is None else response.length
        progress = tqdm(
            desc=bundle,
            initial=start,
            total=weights.size,
            unit="B",
            unit_scale=True,
            disable=not sys.stderr.isatty(),
        )
        with progress, part.open("ab" if start else "wb") as file:
            while file.tell() <= weights.size:
                try:
                    block = response.read1(CHUNK)
                except (OSError, http.client.HTTPException) as error:
                    raise _Cut(str(error) or type(error).__name__) from error
                if not block:
                    break
                file.write(block)
                left -= len(block)
                progress.update(len(block))
            if left > 0 and file.tell() < weights.size:
                raise _Cut("the connection ended early")


def _check(archive: Path, weights: Weights) -> None:
    """Raises BadFile unless the archive has the size and the digest of the table."""
    got = archive.stat().st_size
    if got != weights.size:
        count = f"got {got} of {weights.size} bytes"
        raise BadFile(archive, f"{count}; try again later. Received: a file of another size")
    with archive.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != weights.sha256:
        raise BadFile(
            archive,
            f"not the released file: its SHA-256 should be {weights.sha256}. Received: {digest}",
        )


def _unpack(archive: Path, target: Path) -> Path:
    """Unpacks all or nothing: only a complete bundle gets the name `target`."""
    if target.exists():
        raise BadFile(target, "in the way and not a bundle; remove it. Received: a directory")
    folder = target.with_name(f"{target.name}.unpacking")
    shutil.rmtree(folder, ignore_errors=True)  # left by a process that was killed
    try:
        # weights hardly shrink when packed
        unpack(archive, folder, limit=max(1 << 26, 10 * archive.stat().st_size))
        inside = [folder, *folder.iterdir()]
        bundle = next((path for path in inside[:2] if _is_bundle(path)), None)
        if bundle is None:
            raise BadFile(archive, f"holds no bundle ({CONTENT}). Received: an archive without it")
        bundle.rename(target)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return target
