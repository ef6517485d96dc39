"""The check before a bundle is loaded that its files are complete."""

import hashlib
from pathlib import Path
from typing import TypedDict

from dentalzoo.bundle.sums import read_sums
from dentalzoo.errors import DentalzooError

SUMS = "SHA256SUMS"
SIGNATURE = "SHA256SUMS.minisig"  # of the sums, by whoever vouches for the bundle; not listed


class Verified(TypedDict):
    """The folder of a bundle, the number of its files and their size in bytes."""

    bundle: str
    files: int
    bytes: int


def sums(path: Path) -> str:
    """Return the content of SHA256SUMS for the files of a bundle."""
    lines = [f"{_sha256(file)}  {file.relative_to(path).as_posix()}" for file in _files(path)]
    return "\n".join(lines) + "\n"


def digest(path: Path) -> str:
    """Return the SHA-256 of a bundle's SHA256SUMS, which every load checks its files against.

    It tells whether two processes, or two runs, have the same bundle.

    Raises:
        DentalzooError: the file cannot be read.
    """
    try:
        return hashlib.sha256((path / SUMS).read_bytes()).hexdigest()
    except OSError as error:
        raise DentalzooError(
            f"{path} must be a bundle's folder that every worker can read. Received: "
            f"{error.strerror}"
        ) from error


def verify(path: Path) -> Verified:
    """Compare every file of a bundle with its SHA-256.

    Returns:
        {"bundle": path, "files": number of files, "bytes": their size}.

    Raises:
        DentalzooError: a file differs, is missing or is not listed; the message names it.
    """
    expected = read_sums(path / SUMS)
    present = {file.relative_to(path).as_posix(): file for file in _files(path)}
    for name in sorted(expected.keys() - present.keys()):
        raise DentalzooError(f"{path}: a file is missing. Received: no {name}")
    for name in sorted(present.keys() - expected.keys()):
        raise DentalzooError(f"{path}: a file is not listed in {SUMS}. Received: {name}")
    for name, file in sorted(present.items()):
        found = _sha256(file)
        if found != expected[name]:
            raise DentalzooError(
                f"{file} is damaged: its SHA-256 must be {expected[name]}; nothing was loaded. "
                f"Download the bundle again. Received: {found}"
            )
    size = sum(file.stat().st_size for file in present.values())
    return {"bundle": str(path), "files": len(present), "bytes": size}


def _files(path: Path) -> list[Path]:
    """Return the files that the sums list; a link counts as a file and is not followed."""
    unlisted = (path / SUMS, path / SIGNATURE)
    return sorted(
        file
        for file in path.rglob("*")
        if (file.is_symlink() or not file.is_dir()) and file not in unlisted
    )


def _sha256(path: Path) -> str:
    if path.is_symlink() or not path.is_file():
        raise DentalzooError(f"a bundle must hold plain files only. Received: {path}")
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
