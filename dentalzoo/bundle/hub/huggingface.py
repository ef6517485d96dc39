"""Bundles in model repositories of the Hugging Face Hub: `hf://user/name`, or `@revision` after it.

Reading takes two addresses of the Hub: what a revision holds, and each file at its commit. They are
requested here and not with huggingface_hub, so that the plain installation reads the Hub, a file is
continued and compared like any other download, and the cache has the folders that `dz.load` takes
and no links. `HF_ENDPOINT` names another Hub; `HF_TOKEN` opens private repositories.

In the cache a bundle lies under its commit; `refs/` has the commit that a revision was when it was
first asked for. No connection is opened for it again.
"""

import json
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from dentalzoo.atomic import write_atomically
from dentalzoo.bundle.hub.cache import claimed
from dentalzoo.bundle.hub.download import (
    MAX_BYTES,
    Remote,
    Unreachable,
    fetch,
    over_http,
    read_small,
)
from dentalzoo.bundle.hub.folders import CONTENT, cache_dir, is_bundle
from dentalzoo.bundle.integrity import SIGNATURE, SUMS, verify
from dentalzoo.bundle.schema import ListOf, Mismatch, Optional, Record, Text, Whole
from dentalzoo.bundle.sums import read_sums
from dentalzoo.errors import BadFile, DentalzooError

_MAX_ANSWER = 1 << 24  # bytes of the description of 10,000 files
_ADDRESS = re.compile(
    r"hf://(?P<user>[A-Za-z0-9][\w.-]{0,95})/(?P<name>[A-Za-z0-9][\w.-]{0,95})"
    r"(@(?P<revision>[A-Za-z0-9][\w./-]{0,199}))?",
    re.ASCII,
)
_COMMIT = re.compile(r"[0-9a-f]{40}")
_SHA1 = Text(40, _COMMIT.pattern, "40 hexadecimal digits")
_SHA256 = Text(64, r"[0-9a-f]{64}", "64 hexadecimal digits")
_FILE = Record(
    {"rfilename": Text(4096), "size": Whole(0), "blobId": _SHA1},
    optional={"lfs": Optional(Record({"sha256": _SHA256, "size": Whole(0)}))},
)
_ANSWER = Record({"sha": _SHA1, "siblings": ListOf(_FILE)})


class Repository(NamedTuple):
    """A model repository at a revision: a branch, a tag or a commit; None: the main branch."""

    user: str
    name: str
    revision: str | None

    @classmethod
    def of(cls, address: str) -> "Repository":
        """Return the repository of an address.

        Raises:
            DentalzooError: it is not of the form hf://user/name or hf://user/name@revision.
        """
        match = _ADDRESS.fullmatch(address)
        if not match or ".." in address:
            raise DentalzooError(
                "an address of the Hub must be hf://user/name or hf://user/name@revision. "
                f"Received: {address!r}"
            )
        return cls(match["user"], match["name"], match["revision"])

    @property
    def id(self) -> str:
        """The name on the Hub, user/name."""
        return f"{self.user}/{self.name}"

    @property
    def folder(self) -> Path:
        """The folder of its bundles in the cache."""
        return cache_dir() / "hf" / self.user / self.name


class _Announced(NamedTuple):
    """What the Hub says of a file: its bytes, the SHA-256 of a large one, else git's SHA-1."""

    size: int
    digest: str


def endpoint() -> str:
    """Return the address of the Hub."""
    return (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")


def fetched(address: str, offline: bool) -> Path:
    """Return the bundle of a repository, downloaded if its revision is not in the cache.

    Raises:
        DentalzooError: a bad address, no such repository, no connection; or its files are not those
            that its SHA256SUMS and the Hub announce.
    """
    repository = Repository.of(address)
    folder = repository.folder
    if place := _pinned(repository):
        return place
    if offline:
        raise DentalzooError(
            f"{address} is not on this machine, and downloads are off; load it once without "
            f"--offline and DENTALZOO_OFFLINE. Received: nothing in {folder}"
        )
    with claimed(address, folder / "download"):
        if place := _pinned(repository):  # another process was quicker
            return place
        try:
            commit, files = _listed(address, repository)
            place = folder / commit
            if not is_bundle(place):
                _fill(address, repository, commit, files, place)
        except Unreachable as error:
            raise DentalzooError(_explained(address, error)) from error
        if repository.revision != commit:
            write_atomically(_pin(repository), commit + "\n")
        for left in folder.glob("*.part"):
            shutil.rmtree(left, ignore_errors=True)
        return place


def _pin(repository: Repository) -> Path:
    return repository.folder / "refs" / quote(repository.revision or "main", safe="")


def _pinned(repository: Repository) -> Path | None:
    """Return the bundle of a revision that was resolved before, or that is a commit."""
    commit = repository.revision or ""
    if not _COMMIT.fullmatch(commit):
        try:
            commit = _pin(repository).read_text().strip()
        except (OSError, UnicodeDecodeError):
            return None
    place = repository.folder / commit
    return place if _COMMIT.fullmatch(commit) and is_bundle(place) else None


def _token() -> Mapping[str, str]:
    token = os.environ.get("HF_TOKEN", "").strip()
    return {"Authorization": f"Bearer {token}"} if token else {}


def _listed(address: str, repository: Repository) -> tuple[str, dict[str, _Announced]]:
    """Return the commit of a revision, and its files by path."""
    url = f"{endpoint()}/api/models/{repository.id}/revision/"
    url += f"{quote(repository.revision or 'main', safe='')}?blobs=true"
    try:
        content = json.loads(read_small(url, _MAX_ANSWER, _token()))
        _ANSWER.check(content, "")
    except (Mismatch, ValueError, RecursionError) as error:
        if isinstance(error, BadFile):
            raise
        raise BadFile(
            address, f"the Hub's answer must be a description of its files. {_line(error)}"
        ) from error
    files = {}
    for file in content["siblings"]:
        large = file.get("lfs")
        files[file["rfilename"]] = (
            _Announced(large["size"], large["sha256"])
            if large
            else _Announced(file["size"], file["blobId"])
        )
    return content["sha"], files


def _line(error: Exception) -> str:
    text = " ".join(str(error).split())[:300]
    return text if "Received: " in text else f"Received: {text}"


def _fill(
    address: str, repository: Repository, commit: str, files: Mapping[str, _Announced], place: Path
) -> None:
    """Download the files that SHA256SUMS lists, and give the whole bundle its name."""
    if SUMS not in files:
        raise BadFile(
            address, f"must hold a bundle ({CONTENT}). Received: a repository without {SUMS}"
        )
    aside = place.with_name(f"{commit}.part")
    base = f"{endpoint()}/{repository.id}/resolve/{commit}/"

    def get(name: str, size: int, digest: str, what: str) -> None:
        path = aside / name
        path.parent.mkdir(parents=True, exist_ok=True)
        url = base + quote(name)
        title = f"{repository.name}/{name}"
        fetch(
            Remote(f"{address}: {name}", over_http(url, _token()), size, digest, what, title), path
        )

    for name in files.keys() & {SUMS, SIGNATURE}:
        get(name, *files[name], "the file that the Hub announced")
    listed = read_sums(aside / SUMS)
    for name, digest in listed.items():
        if name not in files:
            raise BadFile(address, f"{SUMS} must list files of the repository. Received: {name}")
        if len(files[name].digest) == 64 and files[name].digest != digest:
            raise BadFile(
                address,
                f"the Hub must have the file that {SUMS} lists as {name}, {digest}; nothing was "
                f"downloaded. Received: {files[name].digest}",
            )
    size = sum(files[name].size for name in listed)
    if size > MAX_BYTES:
        raise BadFile(address, f"must have at most {MAX_BYTES} bytes. Received: {size}")
    for name, digest in listed.items():
        get(name, files[name].size, digest, f"the file that {SUMS} lists")
    _keep_only(aside, {*listed, SUMS, SIGNATURE})
    verify(aside)
    if not is_bundle(aside):
        raise BadFile(address, f"must hold a bundle ({CONTENT}). Received: other files")
    aside.rename(place)


def _keep_only(folder: Path, names: set[str]) -> None:
    """Remove what an interrupted download of other files left."""
    for path in folder.rglob("*"):
        if not path.is_dir() and path.relative_to(folder).as_posix() not in names:
            path.unlink()


def _explained(address: str, error: Unreachable) -> str:
    if error.status in (401, 403, 404):
        return (
            f"{address} must be a model repository of {endpoint()} and a revision of it; a private "
            f"one needs HF_TOKEN. Received: {error}"
        )
    return (
        f"{address} is not on this machine and {endpoint()} cannot be reached; try again with a "
        f"connection. Received: {error}"
    )
