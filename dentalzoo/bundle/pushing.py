"""Upload a bundle to a model repository of the Hugging Face Hub."""

import hashlib
import logging
import os
import sys
import warnings
from pathlib import Path
from typing import Any

from dentalzoo.bundle import integrity
from dentalzoo.bundle.card import has_header
from dentalzoo.bundle.hub.huggingface import Repository, endpoint
from dentalzoo.bundle.metadata import name_of, read_metadata
from dentalzoo.bundle.reading import find
from dentalzoo.bundle.released import refuse_changed
from dentalzoo.bundle.runtimes import LIGHT
from dentalzoo.environment import is_offline
from dentalzoo.errors import DentalzooError, require

_log = logging.getLogger("dentalzoo")


def push(name_or_path: str | Path, address: str, *, private: bool = False) -> str:
    """Upload a bundle as one commit, with huggingface_hub (extra `hub`).

    The files are those of the bundle, and the Hub's are compared with them. A repository that is
    not there is made. Files of an older bundle in it are removed, others stay.

    Args:
        name_or_path: as for `load`.
        address: `hf://user/name`, or with `@branch` after it.
        private: make a repository that only its members see.

    Returns:
        The address of the bundle at its commit: `hf://user/name@commit`.

    Raises:
        DentalzooError: as `verify`; a bad address, huggingface_hub is missing, no right to write,
            no connection; the card has no header for the Hub; or `private` was asked for, and the
            repository is public.
    """
    repository = Repository.of(address)
    if is_offline():
        raise DentalzooError(f"push needs a connection, and is offline. Received: {address}")
    path = find(name_or_path)
    refuse_changed(path)
    integrity.verify(path)
    name = name_of(read_metadata(path))
    if not has_header((path / "README.md").read_text(errors="replace")):
        raise DentalzooError(
            "the card of a bundle must have the header that the Hub reads, which those of older "
            "versions lack; export it first: dentalzoo export BUNDLE --out FOLDER. "
            f"Received: {path}"
        )
    hub = require("huggingface_hub", "hub")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("ignore", DeprecationWarning)  # among these libraries
            warnings.simplefilter("always", UserWarning)
            commit = _upload(hub, repository, path, name, private)
    except DentalzooError:
        raise
    except Exception as error:  # errors of three libraries
        raise DentalzooError(
            f"{address} must be a repository that can be written; log in with `hf auth login` or "
            f"set HF_TOKEN, and check the connection to {endpoint()}. Received: {_line(error)}"
        ) from error
    for warning in caught:
        _log.warning("%s", _line(warning.message))
    return f"hf://{repository.id}@{commit}"


def _upload(hub: Any, repository: Repository, path: Path, name: str, private: bool) -> str:
    """Commit the files of a bundle and return the commit."""
    from dentalzoo import __version__

    if not sys.stderr.isatty():
        require("huggingface_hub.utils", "hub").disable_progress_bars()
    api = hub.HfApi(endpoint=endpoint(), library_name="dentalzoo", library_version=__version__)
    api.create_repo(repository.id, private=private or None, exist_ok=True)
    branch = repository.revision or "main"
    if branch != "main":
        api.create_branch(repository.id, branch=branch, exist_ok=True)
    before = api.model_info(repository.id, revision=branch)
    if private and not before.private:
        raise DentalzooError(
            f"the repository must be private; make it so on the Hub. Received: {repository.id}, "
            "which is public"
        )
    files = {p.relative_to(path).as_posix(): p for p in path.rglob("*") if not p.is_dir()}
    folders = ("saved_model", *dict.fromkeys(LIGHT.values()))
    stale = {
        file.rfilename
        for file in before.siblings or ()
        if file.rfilename.split("/")[0] in folders or file.rfilename == integrity.SIGNATURE
    } - files.keys()
    # One commit: upload_folder would make several of a large bundle, which readers could see.
    made = api.create_commit(
        repository.id,
        [
            *(hub.CommitOperationDelete(path_in_repo=old) for old in sorted(stale)),
            *(hub.CommitOperationAdd(new, os.fspath(files[new])) for new in sorted(files)),
        ],
        commit_message=f"Push {name} with dentalzoo {__version__}",
        revision=branch,
        parent_commit=before.sha,
    )
    _compare(api, repository, str(made.oid), files)
    return str(made.oid)


def _compare(api: Any, repository: Repository, commit: str, files: dict[str, Path]) -> None:
    """Compare what the Hub has with the files of the bundle.

    Raises:
        DentalzooError: a file is missing there, or is another one.
    """
    info = api.model_info(repository.id, revision=commit, files_metadata=True)
    found = {file.rfilename: file for file in info.siblings or ()}
    for name, path in files.items():
        there = found.get(name)
        size = path.stat().st_size
        large = getattr(there, "lfs", None)
        if there is None or there.size != size or (large and large.sha256 != _sha256(path)):
            raise DentalzooError(
                f"the Hub must have the files of the bundle; push it again. Received: {name} at "
                f"{repository.id}@{commit}, which differs"
            )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _line(error: object) -> str:
    cause = getattr(error, "__cause__", None)
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return (f"{text} ({' '.join(str(cause).split())})" if cause else text)[:400]
