"""The one place that decides what the name of a bundle means."""

import difflib
import os
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from dentalzoo.bundle.hub import addresses, huggingface, index
from dentalzoo.bundle.hub.folders import CONTENT, find, is_bundle
from dentalzoo.bundle.hub.releases import did_you_mean, released
from dentalzoo.bundle.replacing import recover
from dentalzoo.contracts import Weights
from dentalzoo.environment import is_offline
from dentalzoo.errors import BadFile, DentalzooError

TAG = re.compile(r"[a-z0-9][a-z0-9_-]*")
_NAME = re.compile(rf"[a-z][a-z0-9_]*(\.{TAG.pattern})?")


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
            of a run which holds `bundle/`; an address: `hf://user/name` of the Hugging Face Hub, an
            archive at `https://`, an archive or a folder at `gs://`, `s3://` and such; or
            `lab/name`, a bundle of an index, see `index`. A known model is preferred to a directory
            of its name, a directory to a bundle of an index.
        offline: open no connection; where None, the environment variable DENTALZOO_OFFLINE.
        names: the known models.
        tags: function from one of `names` to its released bundles, the newest first.

    Raises:
        DentalzooError: no such name or directory, or the download failed. Nothing but a complete
            and verified bundle ever lies in the cache under its name.
    """
    text, names = os.fspath(name_or_path), list(names)
    offline = is_offline() if offline is None else offline
    name, _, tag = text.partition(".")
    if isinstance(name_or_path, str):
        if "://" in text:
            return _at(text, offline)
        if _NAME.fullmatch(text):
            local = find(text) if tag else None
            if local:
                return local
            if name in names:
                return released(name, tag, tags(name), offline)
    path = Path(text).expanduser()
    for candidate in (path, path / "bundle"):
        recover(candidate)
        if is_bundle(candidate):
            return candidate
    if text and os.path.isdir(path):
        raise BadFile(
            text, f"must hold a bundle ({CONTENT}) or a run with bundle/. Received: {text!r}"
        )
    if os.path.isfile(path):
        raise BadFile(text, f"must be the directory of a bundle. Received: {text!r}, a file")
    if isinstance(name_or_path, str) and index.is_name(text):
        entry = index.look_up(text, offline)
        if entry is not None:
            return index.checked(entry, _at(entry.address, offline))
    name, _, tag = text.strip("./ ").lower().replace("-", "_").replace("/", ".").partition(".")
    close = difflib.get_close_matches(name, names)
    if tag:
        close = [f"{name}.{tag}" for name in close for tag in tags(name)]
    raise DentalzooError(
        f"There is no model and no directory of this name{did_you_mean(close)} "
        f"Give `name`, `name.tag` or a path such as ./runs/unet. Received: {text!r}"
    )


def on_disk(name_or_path: str | os.PathLike[str]) -> Path | None:
    """Return the directory of a bundle without a download; None where this machine lacks it."""
    try:
        return resolve(name_or_path, offline=True)
    except DentalzooError:
        return None


def _at(address: str, offline: bool) -> Path:
    """Return the bundle at an address, or at the path that an index has in place of one."""
    if "://" not in address:
        return resolve(Path(address))
    if address.startswith("hf://"):
        return huggingface.fetched(address, offline)
    return addresses.fetched(address, offline)
