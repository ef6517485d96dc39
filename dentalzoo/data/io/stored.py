"""Images that are no files of their own: in tar and TFRecord files, and in object stores.

A `StoredImage` is a path that opens as the image, so that every rule for image files applies to it.
Nothing is unpacked to disk. Object stores (`s3://`, `gs://`, `https://`, ...) are read with fsspec,
the extra `remote`; credentials and endpoints are those of fsspec's configuration.
"""

import errno
import io
import os
import tarfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from stat import S_ISREG
from typing import Any, BinaryIO

from dentalzoo.errors import BadFile, DentalzooError, require

MAX_BYTES = 1 << 30  # ours: 100 million pixels of 3 x 16 bits are 600 MB
_MAX_HEADER = 1 << 20  # ours: bytes of a name in a tar file
_BLOCK = 1 << 16  # bytes that a store is asked for at once while a tar file is listed
_PACKAGES = {"s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "abfs": "adlfs"}
_PACKAGES |= {"az": "adlfs", "http": "aiohttp", "https": "aiohttp"}


class StoredImage(type(Path())):  # type: ignore[misc]  # PosixPath or WindowsPath
    """An image inside of a file or of an object store, under a path that names it.

    It opens for reading like a file. It can be pickled.

    Attributes:
        location: (file or address of an object, offset, length) of the image's bytes; None for a
            path that was derived from this one, which is an ordinary path.
    """

    location: tuple[Path | str, int, int] | None = None

    @classmethod
    def at(cls, path: Path, file: Path | str, offset: int, length: int) -> "StoredImage":
        """Return the image `path` in bytes `offset` to `offset + length` of `file`."""
        image = cls(path)
        image.location = file, offset, length
        return image

    def __reduce__(self) -> tuple[Any, ...]:
        return (_restored, (str(self), self.location))

    @property
    def size(self) -> int:
        """The number of bytes of the image."""
        return self.location[2] if self.location else super().stat().st_size

    def open(self, mode: str = "r", *args: Any, **options: Any) -> Any:
        """Open the image for reading, in binary mode.

        Raises:
            BadFile: it has too many bytes, or the store does not deliver it.
        """
        if self.location is None:
            return super().open(mode, *args, **options)
        file, offset, length = self.location
        if length > MAX_BYTES:
            raise BadFile(self, f"must have at most {MAX_BYTES:,} bytes. Received: {length:,}")
        if isinstance(file, Path):
            return io.BufferedReader(_Section(open(file, "rb"), offset, length))
        try:
            system, place = file_system(file)
            content = system.cat_file(place, start=offset, end=offset + length)
        except DentalzooError:
            raise
        except Exception as error:  # stores raise errors of any type
            raise BadFile(self, f"must be readable in its store. Received: {_of(error)}") from error
        return io.BytesIO(content)

    def stat(self, **options: Any) -> os.stat_result:
        """Return the status of the file that holds the image; there is none in a store."""
        result: os.stat_result
        if self.location is None:
            result = super().stat(**options)
        elif isinstance(self.location[0], Path):
            result = self.location[0].stat(**options)
        else:
            raise FileNotFoundError(errno.ENOENT, "in an object store", str(self))
        return result

    def is_file(self, **options: Any) -> bool:
        """Return whether what holds the image is a regular file, or an object."""
        if self.location and not isinstance(self.location[0], Path):
            return True
        try:
            return S_ISREG(self.stat(**options).st_mode)
        except OSError:
            return False


def _restored(path: str, location: tuple[Path | str, int, int] | None) -> StoredImage:
    image = StoredImage(path)
    image.location = location
    return image


class _Section(io.RawIOBase):
    """A part of an open file as a file; it closes that file."""

    def __init__(self, stream: BinaryIO, offset: int, length: int) -> None:
        self._stream, self._offset, self._length, self._at = stream, offset, length, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, position: int, whence: int = os.SEEK_SET) -> int:
        start = (0, self._at, self._length)[whence]
        self._at = max(0, start + position)
        return self._at

    def readinto(self, buffer: Any) -> int:
        self._stream.seek(self._offset + self._at)
        content = self._stream.read(min(len(buffer), max(0, self._length - self._at)))
        buffer[: len(content)] = content
        self._at += len(content)
        return len(content)

    def close(self) -> None:
        self._stream.close()
        super().close()


def content_of(path: Path) -> Path | io.BytesIO:
    """Return an ordinary path as it is, a stored image as its bytes: for readers of paths alone."""
    return io.BytesIO(path.read_bytes()) if isinstance(path, StoredImage) else path


# ---- tar files -----------------------------------------------------------------------------------


def members_of_tar(path: Path | str, others: Counter[str]) -> Iterator[StoredImage]:
    """Yield the regular files of a tar file, such as a shard of a WebDataset, in its order.

    Headers alone are read. Links, devices, and names that point out of the archive are left out.

    Args:
        path: of the file, or an address in a store.
        others: counts what is left out, by kind.

    Raises:
        DentalzooError: the file cannot be read, is compressed, damaged or cut off, or has a name
            twice.
    """
    names = set()
    try:
        with _open_object(path) if isinstance(path, str) else open(path, "rb") as stream:
            end = stream.seek(0, os.SEEK_END)
            stream.seek(0)
            with tarfile.open(fileobj=_Headers(stream), mode="r:") as tar:  # type: ignore[call-overload]  # reads and seeks
                while (member := tar.next()) is not None:
                    tar.members = []  # which it would keep for all members
                    parts = PurePosixPath(member.name).parts
                    if any(part.startswith((".", "__MACOSX")) and part != ".." for part in parts):
                        continue  # hidden, as in folders
                    if kind := _left_out(member, parts):
                        others[kind] += 1
                        continue
                    if member.offset_data + member.size > end:
                        raise tarfile.ReadError(f"cut off in {member.name}")
                    if parts in names:
                        raise BadFile(
                            path, f"names must be different. Received: {member.name!r} twice"
                        )
                    names.add(parts)
                    place = Path(path).joinpath(*parts)
                    yield StoredImage.at(place, path, member.offset_data, member.size)
    except (tarfile.TarError, EOFError, ValueError) as error:
        if isinstance(error, DentalzooError):
            raise
        raise BadFile(
            path, f"must be a whole tar file without compression. Received: {_of(error)}"
        ) from error
    except OSError as error:
        raise BadFile(path, f"must be a readable file. Received: {_of(error)}") from error


def _left_out(member: tarfile.TarInfo, parts: tuple[str, ...]) -> str:
    if member.isdir():
        return "folder"
    if member.issym() or member.islnk():
        return "link"
    if not member.isreg() or member.issparse():
        return "device or sparse file"
    return "path out of the archive" if not parts or parts[0] == "/" or ".." in parts else ""


class _Headers:
    """A tar file for reading its headers: a hostile one states names of any length."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.seek, self.tell = stream.seek, stream.tell

    def read(self, size: int) -> bytes:
        if size > _MAX_HEADER:
            raise tarfile.ReadError(f"a header of {size:,} bytes")
        return self._stream.read(size)


# ---- object stores -------------------------------------------------------------------------------


def is_address(path: str | os.PathLike[str]) -> bool:
    """Return whether a path is an address in an object store, such as s3://bucket/folder."""
    return isinstance(path, str) and "://" in path


def list_store(address: str) -> tuple[list[StoredImage], bool]:
    """Return the objects of a folder, one level deep, unsorted, and True; or one object and False.

    Raises:
        DentalzooError: fsspec or the package of the store is missing, or nothing is there.
    """
    system, path = file_system(address)
    try:
        about = system.info(path)
        is_folder = about["type"] != "file"
        found = system.ls(path, detail=True) if is_folder else [about]
    except Exception as error:  # stores raise errors of any type
        raise DentalzooError(
            f"inputs must be readable in their store. Received: {address}: {_of(error)}"
        ) from error
    images = []
    for entry in found:
        if entry["type"] == "file" and not entry["name"].endswith("/"):
            place = str(system.unstrip_protocol(entry["name"]))
            images.append(StoredImage.at(Path(place), place, 0, int(entry["size"] or 0)))
    return images, is_folder


def _open_object(address: str) -> Any:
    system, path = file_system(address)
    try:
        return system.open(path, "rb", block_size=_BLOCK)
    except Exception as error:  # stores raise errors of any type
        raise DentalzooError(
            f"inputs must be readable in their store. Received: {address}: {_of(error)}"
        ) from error


def file_system(address: str) -> tuple[Any, str]:
    """Return the file system of an address, and the path in it."""
    core = require("fsspec.core", "remote")
    protocol = address.partition("://")[0]
    try:
        system, path = core.url_to_fs(address)
        return system, str(path)
    except ImportError as error:
        package = _PACKAGES.get(protocol, "the package that fsspec names")
        raise DentalzooError(
            f"{address} must be in a store that fsspec can open; pip install {package}. "
            f"Received: {error}"
        ) from error
    except Exception as error:  # an unknown protocol, or stores' own
        raise DentalzooError(
            f"{address} must be in a store that fsspec can open. Received: {_of(error)}"
        ) from error


def _of(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]
