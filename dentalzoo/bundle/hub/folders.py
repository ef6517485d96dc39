"""The folders of this machine that hold bundles.

A bundle called `name.tag` is looked for in the folder that DENTALZOO_PRETRAINED names, in the
checkout's `pretrained/`, where an installation puts the released bundles, and in the cache
(DENTALZOO_CACHE, by default ~/.cache/dentalzoo).
"""

import os
import site
import sys
import sysconfig
from pathlib import Path

CONTENT = "metadata.json, README.md, SHA256SUMS and saved_model/"


def cache_dir() -> Path:
    """Return the folder that downloads are unpacked in; it need not exist."""
    return Path(os.environ.get("DENTALZOO_CACHE") or Path.home() / ".cache" / "dentalzoo")


def folders() -> list[Path]:
    """Return the folders in which bundles are looked for, in order; they need not exist."""
    package = Path(__file__).resolve().parents[3]
    prefixes = [str(package), sysconfig.get_path("data"), site.getuserbase(), sys.prefix]
    shared = [Path(p) / "share" / "dentalzoo" / "pretrained" for p in prefixes]
    variable = os.environ.get("DENTALZOO_PRETRAINED")
    named = [Path(variable)] if variable else []
    return list(dict.fromkeys([*named, package / "pretrained", *shared, cache_dir()]))


def find(bundle: str) -> Path | None:
    """Return the directory of the bundle called `name.tag`; None where this machine lacks it."""
    return next((f / bundle for f in folders() if is_bundle(f / bundle)), None)


def is_bundle(path: Path) -> bool:
    """Return True for a folder that holds a bundle, or what is left of one."""
    return os.path.isfile(path / "metadata.json") or os.path.isdir(path / "saved_model")
