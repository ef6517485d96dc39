"""The download of a file: continued where it was cut off, and compared with what was announced."""

import hashlib
import http.client
import os
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from dentalzoo.bundle.archives import CHUNK
from dentalzoo.errors import BadFile

ATTEMPTS = 3
PAUSE = 1.0  # seconds before the second attempt, doubled before each further one
TIMEOUT = 30.0  # seconds without one byte
MAX_BYTES = 1 << 33  # ours: of a file of unknown size


class Unreachable(Exception):
    """Nothing can be downloaded: no network, no server, a refusal, or offline mode.

    Attributes:
        status: of the server's answer; None where there was none.
    """

    def __init__(self, cause: str, status: int | None = None) -> None:
        super().__init__(cause)
        self.status = status


class Cut(Exception):
    """The connection failed or ended before the server had sent what it announced."""


class _NothingLeft(Cut):
    """The server has no bytes from there on."""


class Opened(NamedTuple):
    """A file that is being read: its stream, the byte this begins at, the number that follow.

    The stream is a context manager and has `read`, or `read1`.
    """

    stream: Any
    start: int
    left: int | None


@dataclass(frozen=True)
class Remote:
    """A file elsewhere.

    Attributes:
        address: what messages call it.
        open: open it from a byte on, or from its beginning where the server does not do that.
            Raises Cut, after which another attempt follows, and Unreachable.
        size: bytes; None where it is unknown.
        digest: its SHA-256 or, with 40 digits, the SHA-1 that git gives a file; None: unknown.
        what: what it must be, for messages.
        title: what the progress bar shows.
    """

    address: str
    open: Callable[[int], Opened]
    size: int | None
    digest: str | None
    what: str = "the released file"
    title: str = ""


def over_http(url: str, headers: Mapping[str, str] | None = None) -> Callable[[int], Opened]:
    """Return the function that opens an http(s) address from a byte on.

    Args:
        headers: sent to this address only, and not where it redirects to.
    """

    def opened(start: int) -> Opened:
        response = _request(url, headers or {}, start)
        partial = response.headers.get("Content-Range", "").startswith(f"bytes {start}-")
        return Opened(response, start if response.status == 206 and partial else 0, response.length)

    return opened


def read_small(url: str, limit: int, headers: Mapping[str, str] | None = None) -> bytes:
    """Return the content of an http(s) address.

    Raises:
        Unreachable: it cannot be read after all attempts.
        BadFile: it has more than `limit` bytes.
    """
    cause = ""
    for attempt in range(ATTEMPTS):
        _pause(attempt)
        try:
            with _request(url, headers or {}) as response:
                content: bytes = response.read(limit + 1)
        except Cut as error:
            cause = str(error)
            continue
        except (OSError, http.client.HTTPException) as error:
            cause = _reason(error)
            continue
        if len(content) > limit:
            raise BadFile(url, f"must have at most {limit} bytes. Received: more")
        return content
    raise Unreachable(cause)


def fetch(remote: Remote, part: Path) -> None:
    """Fill `part` with the verified file, from where an earlier attempt was cut off.

    Raises:
        Unreachable: there was no byte of it.
        BadFile: it is not what was announced, or was cut off; then `part` has its beginning.
    """
    cause, size = "", "an unknown number of" if remote.size is None else remote.size
    for attempt in range(ATTEMPTS):
        _pause(attempt)
        start = part.stat().st_size if part.exists() else 0
        try:
            if remote.size is None or start < remote.size:
                _read_into(remote, part, start)
            return check(part, remote)
        except _NothingLeft as error:
            part.unlink(missing_ok=True)
            cause = str(error)
        except Cut as error:
            cause = str(error)
        except BadFile as error:
            part.unlink()
            if not start:
                raise BadFile(remote.address, error.reason) from error
            cause = error.reason  # the old part was of another file: start again
    got = part.stat().st_size if part.exists() else 0
    if got:
        raise BadFile(
            remote.address,
            f"got {got} of {size} bytes ({cause}); run the same command again to continue. "
            f"Received: {ATTEMPTS} broken connections",
        )
    raise Unreachable(cause)


def check(file: Path, remote: Remote) -> None:
    """Compare a downloaded file with the size and the digest that were announced.

    Raises:
        BadFile: they differ.
    """
    got = file.stat().st_size
    if remote.size is not None and got != remote.size:
        count = f"got {got} of {remote.size} bytes"
        raise BadFile(file, f"{count}; try again later. Received: a file of another size")
    if remote.digest is None:
        return
    git = len(remote.digest) == 40
    with file.open("rb") as stream:
        made: Any = hashlib.sha1(b"blob %d\0" % got, usedforsecurity=False) if git else None
        digest = hashlib.file_digest(stream, (lambda: made) if git else "sha256").hexdigest()
    if digest != remote.digest:
        name = "git digest" if git else "SHA-256"
        raise BadFile(
            file, f"not {remote.what}: its {name} should be {remote.digest}. Received: {digest}"
        )


def _pause(attempt: int) -> None:
    if attempt:
        time.sleep(PAUSE * 2 ** (attempt - 1))


def _reason(error: Exception) -> str:
    return str(getattr(error, "reason", error)) or type(error).__name__


def _request(url: str, headers: Mapping[str, str], start: int = 0) -> Any:
    """Send one request and return the response."""
    request = urllib.request.Request(url, headers={"Accept-Encoding": "identity"})
    for key, value in headers.items():
        request.add_unredirected_header(key, value)
    if start:
        request.add_header("Range", f"bytes={start}-")
    try:
        return urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        error.close()
        cause = f"HTTP {error.code} {error.reason}"
        if error.code == 416:  # nothing there to continue with
            raise _NothingLeft(cause) from error
        if error.code < 500 and error.code not in (408, 429):
            raise Unreachable(cause, error.code) from error
        raise Cut(cause) from error
    except (OSError, http.client.HTTPException) as error:
        raise Cut(_reason(error)) from error


def _read_into(remote: Remote, part: Path, start: int) -> None:
    """Open the file once and append to `part` what follows its first `start` bytes."""
    from tqdm import tqdm

    stream, start, left = remote.open(start)
    limit = MAX_BYTES if remote.size is None else remote.size
    if left is None and remote.size is not None:
        left = remote.size - start
    progress = tqdm(
        desc=remote.title or remote.address,
        initial=start,
        total=remote.size,
        unit="B",
        unit_scale=True,
        disable=not sys.stderr.isatty(),
    )
    with stream, progress, part.open("ab" if start else "wb") as file:
        while file.tell() <= limit:
            try:
                block = getattr(stream, "read1", stream.read)(CHUNK)
            except (OSError, http.client.HTTPException) as error:
                raise Cut(str(error) or type(error).__name__) from error
            if not block:
                break
            file.write(block)
            left = None if left is None else left - len(block)
            progress.update(len(block))
        got = file.tell()
        file.flush()
        os.fsync(file.fileno())
    if left and left > 0 and got < limit:
        raise Cut("the connection ended early")
    if remote.size is None and got > limit:
        raise BadFile(part, f"must have at most {limit} bytes. Received: more")
