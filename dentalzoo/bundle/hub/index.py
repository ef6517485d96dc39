"""The bundles of others under names of their own: `lab/unet_children_v1`.

An index is a JSON file: {"format": 1, "name": "lab", "bundles": {"unet_children_v1": {"address":
..., "sha256sums": ...}}}. DENTALZOO_INDEX names one, a file or an address; and a Python package
brings one, `bundles.json` beside its `__init__.py`, by an entry point of the group
`dentalzoo.bundles`, whose value is the package. The package is not imported. docs/sharing.md
"""

import difflib
import hashlib
import json
import os
import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from dentalzoo.atomic import write_atomically
from dentalzoo.bundle.hub.download import Unreachable, read_small
from dentalzoo.bundle.hub.folders import cache_dir
from dentalzoo.bundle.hub.releases import did_you_mean
from dentalzoo.bundle.integrity import digest
from dentalzoo.bundle.schema import Choice, Mismatch, Record, Table, Text
from dentalzoo.data.io.stored import file_system
from dentalzoo.errors import BadFile, DentalzooError

VARIABLE, GROUP, FILE = "DENTALZOO_INDEX", "dentalzoo.bundles", "bundles.json"
_MAX_BYTES = 1 << 20
_LAB = Text(64, r"[a-z0-9][a-z0-9_-]*", "lower-case letters, digits, _ and -")
_BUNDLE = Text(64, r"[a-z0-9][a-z0-9._-]*", "lower-case letters, digits, _, - and .")
_NAME = re.compile(f"{_LAB.pattern}/{_BUNDLE.pattern}")
_ENTRY = Record(
    {"address": Text(2_000, r"\S(.*\S)?", "an address or a path")},
    optional={
        "sha256sums": Text(64, r"[0-9a-f]{64}", "the SHA-256 of SHA256SUMS"),
        "summary": Text(4_000),
    },
)
_INDEX = Record(
    {"format": Choice((1,)), "name": _LAB, "bundles": Table(_ENTRY, keys=_BUNDLE)},
)


class Entry(NamedTuple):
    """A bundle of an index.

    Attributes:
        name: `lab/bundle`.
        address: see `names.resolve`; or the absolute path of a folder.
        sha256sums: the SHA-256 of its SHA256SUMS; None where the index does not have it.
    """

    name: str
    address: str
    sha256sums: str | None


def is_name(text: str) -> bool:
    """Return True for text that can be the name of a bundle of an index."""
    return bool(_NAME.fullmatch(text))


def look_up(name: str, offline: bool) -> Entry | None:
    """Return the entry of a bundle, `lab/bundle`; None where no index is that of the lab.

    Raises:
        DentalzooError: an index cannot be read or is not of the format, the lab's has no such
            bundle, or two packages have it.
    """
    lab, _, bundle = name.partition("/")
    known: set[str] = set()
    named = os.environ.get(VARIABLE)
    if named:
        entries = _entries_at(named, lab, bundle, offline)
        if bundle in entries:
            return entries[bundle]
        known |= entries.keys()
    found = {}
    for package, file in _installed():
        entries = _entries(_read(file), file, lab)
        known |= entries.keys()
        if bundle in entries:
            found[package] = entries[bundle]
    if len(found) > 1:
        raise DentalzooError(
            f"a bundle must be registered by one package; uninstall the others. Received: {name} "
            f"of {', '.join(sorted(found))}"
        )
    if not found and known:
        close = difflib.get_close_matches(bundle, known) or sorted(known)[:3]
        raise DentalzooError(
            f"{lab} has no bundle of this name{did_you_mean(f'{lab}/{one}' for one in close)} "
            f"Received: {name!r}"
        )
    return next(iter(found.values()), None)


def checked(entry: Entry, path: Path) -> Path:
    """Return the folder of a bundle, which is the one that the index means.

    Raises:
        BadFile: it has another SHA256SUMS.
    """
    if entry.sha256sums and (found := digest(path)) != entry.sha256sums:
        raise BadFile(
            path,
            f"must be {entry.name}, whose SHA256SUMS has the SHA-256 {entry.sha256sums} in its "
            f"index; nothing was loaded. Received: {found}",
        )
    return path


def _installed() -> Iterator[tuple[str, Path]]:
    """Yield name and index of each package that registers bundles."""
    from importlib.metadata import entry_points

    for point in sorted(entry_points(group=GROUP)):
        try:
            spec = find_spec(point.module)
        except (ImportError, ValueError):
            spec = None
        for folder in (spec and spec.submodule_search_locations) or ():
            yield point.module, Path(folder) / FILE


def _entries_at(place: str, lab: str, bundle: str, offline: bool) -> dict[str, Entry]:
    """Return the entries of the index at a path or an address.

    The copy of an address in the cache is used for the bundles that it has.
    """
    if "://" not in place:
        file = Path(place).expanduser().absolute()
        return _entries(_read(file), file, lab)
    copy = cache_dir() / "indexes" / f"{hashlib.sha256(place.encode()).hexdigest()[:16]}.json"
    if copy.is_file():
        entries = _entries(_read(copy), place, lab)
        if bundle in entries or offline:
            return entries
    if offline:
        return {}
    content = _download(place)
    entries = _entries(content, place, lab)
    write_atomically(copy, content)
    return entries


def _read(file: Path) -> bytes:
    try:
        with file.open("rb") as stream:
            return stream.read(_MAX_BYTES + 1)
    except OSError as error:
        raise BadFile(file, f"must be an index of bundles. Received: {error.strerror}") from error


def _download(address: str) -> bytes:
    try:
        if address.startswith(("https://", "http://")):
            return read_small(address, _MAX_BYTES)
        system, path = file_system(address)
        return bytes(system.cat_file(path, start=0, end=_MAX_BYTES + 1))
    except DentalzooError:
        raise
    except Exception as error:  # stores raise errors of any type
        reason = str(error) if isinstance(error, Unreachable) else type(error).__name__
        raise BadFile(address, f"must be an index that can be read. Received: {reason}") from error


def _entries(content: bytes, place: Path | str, lab: str) -> dict[str, Entry]:
    """Return the entries of an index by the names of its bundles; none if it is of another lab."""
    try:
        if len(content) > _MAX_BYTES:
            raise Mismatch.of("the file", f"at most {_MAX_BYTES} bytes", "a larger one")
        index = json.loads(content)
        _INDEX.check(index, "")
    except (ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())[:300]
        reason = reason if "Received: " in reason else f"Received: {reason}"
        raise BadFile(place, f"must be an index of bundles. {reason}") from None
    if index["name"] != lab:
        return {}
    return {
        key: Entry(f"{lab}/{key}", _absolute(entry["address"], place), entry.get("sha256sums"))
        for key, entry in index["bundles"].items()
    }


def _absolute(address: str, place: Path | str) -> str:
    """Return an address, or a path relative to the index, as an address or an absolute path."""
    if "://" in address:
        return address
    if isinstance(place, Path):
        return str(place.parent / address)
    return f"{place.rpartition('/')[0]}/{address}"
