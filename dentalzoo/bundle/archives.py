"""Unpacking of untrusted archives: all members or nothing."""

import os
import shutil
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from gzip import GzipFile
from pathlib import Path
from typing import IO, BinaryIO

from dentalzoo.bundle.paths import is_safe_path
from dentalzoo.bundle.schema import shown
from dentalzoo.errors import BadFile

MAX_MEMBERS = 10_000
CHUNK = 1 << 18  # bytes

_Member = tuple[str, IO[bytes] | None]  # name and content; None: a directory

# What the readers of archives raise where these are damaged; ValueError from numbers in headers,
# OSError from offsets that no file has.
_DAMAGE = (
    EOFError,
    LookupError,
    OSError,
    OverflowError,
    ValueError,
    struct.error,
    zlib.error,
    tarfile.TarError,
    zipfile.BadZipFile,
    NotImplementedError,  # a zip's method of compression
)
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


def unpack(archive: Path, folder: Path, limit: int) -> None:
    """Unpack a .zip or .tar.gz into the new directory `folder`, which an error leaves absent.

    Args:
        archive: the file; its first bytes decide the format, not its name.
        folder: must not exist; its parent must.
        limit: the maximum number of unpacked bytes.

    Raises:
        BadFile: the archive is damaged, is larger than `limit` or has a member that is neither a
            regular file nor a directory, lies outside (`..`, an absolute name) or comes twice.
    """
    folder.mkdir()
    try:
        members = _from_zip if zipfile.is_zipfile(archive) else _from_tar
        _write(archive, members(archive, limit), folder, limit)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


@contextmanager
def _reading(archive: Path) -> Iterator[None]:
    """Report errors of reading, and not those of writing, which have other causes."""
    try:
        yield
    except BadFile:
        raise
    except _DAMAGE as error:
        raise BadFile(
            archive, f"the archive is corrupt or incomplete. Received: {shown(str(error))}"
        ) from error


def _write(archive: Path, members: Iterator[_Member], folder: Path, limit: int) -> None:
    written = count = 0
    while True:
        with _reading(archive):
            member = next(members, None)
        if member is None:
            return
        name, content = member
        count += 1
        parts = name.removesuffix("/").split("/")
        if not is_safe_path("/".join(parts)):
            raise _refused(archive, f"a member called {shown(name)}")
        if count > MAX_MEMBERS:
            raise _refused(archive, f"more than {MAX_MEMBERS} members")
        path = folder.joinpath(*parts)
        try:
            (path if content is None else path.parent).mkdir(parents=True, exist_ok=True)
            file = None if content is None else path.open("xb")
        except (FileExistsError, NotADirectoryError) as error:
            raise _refused(archive, f"two members called {shown(name)}") from error
        if file is None or content is None:
            continue
        with file:
            while True:
                with _reading(archive):
                    block = content.read(CHUNK)
                if not block:
                    break
                written += len(block)
                if written > limit:
                    raise _refused(archive, f"more than {limit} bytes")
                file.write(block)
            file.flush()
            os.fsync(file.fileno())


def _from_zip(archive: Path, limit: int) -> Iterator[_Member]:
    with zipfile.ZipFile(archive) as file:
        for member in file.infolist():
            kind = stat.S_IFMT(member.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR) or member.flag_bits & 1:
                raise _refused(archive, f"{shown(member.filename)}, a link, a device or encrypted")
            if member.compress_type not in _METHODS:
                raise NotImplementedError(f"the method of compression {member.compress_type}")
            if member.is_dir():
                yield member.filename, None
            else:
                with file.open(member) as content:
                    yield member.filename, content


def _from_tar(archive: Path, limit: int) -> Iterator[_Member]:
    with (
        archive.open("rb") as raw,
        _Bounded(archive, raw, 2 * limit) as stream,
        tarfile.open(fileobj=stream, mode="r|") as file,
    ):
        for member in file:
            if not (member.isdir() or member.isreg()) or member.issparse():
                raise _refused(archive, f"{shown(member.name)}, a link or a device")
            yield member.name, file.extractfile(member)


class _Bounded(GzipFile):
    """A stream bounded in all that tarfile reads: headers and skipped members cost memory too."""

    def __init__(self, archive: Path, raw: BinaryIO, limit: int):
        super().__init__(fileobj=raw, mode="rb")
        self._archive, self._limit = archive, limit

    def read(self, size: int | None = -1) -> bytes:
        block = super().read(size)
        if self.tell() > self._limit:
            raise _refused(self._archive, f"more than {self._limit} bytes")
        return block


def _refused(archive: Path, received: str) -> BadFile:
    return BadFile(archive, f"refused, and nothing was unpacked. Received: {received}")
