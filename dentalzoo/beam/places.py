"""Where an engine writes whole files: a folder that all workers see, or an object store."""

import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dentalzoo.atomic import write_atomically
from dentalzoo.data.io.stored import file_system, is_address
from dentalzoo.errors import DentalzooError


class Place(ABC):
    """A folder of whole files, each there or not there. It can be pickled."""

    @abstractmethod
    def write(self, name: str, content: bytes | Path) -> None:
        """Write a file, or replace it, as a whole.

        Args:
            name: below the place; with / for folders.
            content: or a file that holds it.

        Raises:
            DentalzooError: it cannot be written.
        """

    @abstractmethod
    def read(self, name: str) -> bytes | None:
        """Return the content of a file; None where there is none.

        Raises:
            DentalzooError: it cannot be read.
        """

    @abstractmethod
    def below(self, name: str) -> "Place":
        """Return a folder in this one; it need not exist."""

    @abstractmethod
    def remove(self) -> None:
        """Remove the folder; what cannot be removed stays."""


@dataclass(frozen=True)
class Folder(Place):
    """A folder on a disk or a network file system, absolute."""

    path: Path

    def __str__(self) -> str:
        return str(self.path)

    @property
    def parent(self) -> "Folder":
        """Return the folder that holds this one."""
        return Folder(self.path.parent)

    def write(self, name: str, content: bytes | Path) -> None:
        data = content.read_bytes() if isinstance(content, Path) else content
        write_atomically(self.path / name, data, durable=False)

    def read(self, name: str) -> bytes | None:
        try:
            return (self.path / name).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise DentalzooError(
                f"{self.path / name} must be readable. Received: {error}"
            ) from error

    def below(self, name: str) -> "Folder":
        return Folder(self.path / name)

    def remove(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)


@dataclass(frozen=True)
class Store(Place):
    """A folder in an object store, where an object appears as a whole when its upload ends.

    Attributes:
        address: with the protocol, without / at the end.
    """

    address: str

    def __str__(self) -> str:
        return self.address

    @property
    def name(self) -> str:
        """Return the name of the folder."""
        return self.address.rpartition("/")[2]

    @property
    def parent(self) -> "Store":
        """Return the folder that holds this one."""
        return Store(self.address.rpartition("/")[0])

    def write(self, name: str, content: bytes | Path) -> None:
        def put(system: Any, path: str) -> None:
            if isinstance(content, Path):
                system.put_file(str(content), path)
            else:
                system.pipe_file(path, content)

        self._do(put, name, "writable")

    def read(self, name: str) -> bytes | None:
        def get(system: Any, path: str) -> bytes | None:
            try:
                return bytes(system.cat_file(path))
            except FileNotFoundError:
                return None

        return self._do(get, name, "readable")

    def below(self, name: str) -> "Store":
        return Store(f"{self.address}/{name}")

    def remove(self) -> None:
        try:
            self._do(lambda system, path: system.rm(path, recursive=True), "", "writable")
        except DentalzooError:
            return

    def _do(self, act: Callable[[Any, str], Any], name: str, wanted: str) -> Any:
        address = f"{self.address}/{name}".rstrip("/")
        system, path = file_system(address)
        try:
            return act(system, path)
        except Exception as error:  # stores raise errors of any type
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
            raise DentalzooError(f"{address} must be {wanted}. Received: {reason}") from error


def place_of(out: Path | str) -> Folder | Store:
    """Return the place that a path, or an address such as gs://bucket/folder, names.

    Raises:
        DentalzooError: fsspec or the package of the store is missing; or the address is not that
            of a folder in a bucket.
    """
    if not is_address(out):
        return Folder(Path(out).absolute())
    system, path = file_system(str(out))
    if "file" in (system.protocol if isinstance(system.protocol, tuple) else [system.protocol]):
        return Folder(Path(path).absolute())
    if "/" not in path.strip("/"):
        raise DentalzooError(
            f"out must be a folder in a bucket, such as gs://bucket/results. Received: {out}"
        )
    return Store(str(system.unstrip_protocol(path)).rstrip("/"))
