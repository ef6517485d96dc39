"""From a name or a folder to a loaded bundle, whose files and graph are checked first."""

import logging
from contextlib import suppress
from pathlib import Path

from dentalzoo import registry
from dentalzoo.bundle import guard, hub, integrity
from dentalzoo.bundle.loaded import Bundle
from dentalzoo.bundle.metadata import name_of, read_metadata
from dentalzoo.bundle.released import RELEASED, origin_of, refuse_changed
from dentalzoo.bundle.runtimes import RUNTIMES, Functions, choose
from dentalzoo.bundle.signatures import verify_signature
from dentalzoo.errors import DentalzooError

_log = logging.getLogger("dentalzoo")


def load(name_or_path: str | Path, runtime: str | None = None) -> Bundle:
    """Load a bundle after verifying it.

    Args:
        name_or_path: a released name (`panoramic_unet.panoramic_teeth_v2`, or `panoramic_unet` for
            its newest release); a folder: a bundle, or a training run that holds one; an address
            (`hf://user/name`, `https://.../x.zip`, `gs://bucket/x`); or a registered name
            (`lab/unet_v1`). docs/sharing.md
        runtime: what computes it, see `runtimes.choose`: "tensorflow", "onnxruntime", "litert", or
            "auto" for the lightest one that the bundle has files for and that is installed. None:
            the environment variable DENTALZOO_RUNTIME, else "auto".

    Raises:
        DentalzooError: no such bundle or runtime, or one that is damaged or unsafe; nothing is
            loaded then. Or Keras, which TensorFlow imports, cannot be imported.
    """
    path = find(name_or_path)
    refuse_changed(path)
    return load_folder(path, runtime)


def load_folder(path: Path, runtime: str | None = None) -> Bundle:
    """Load the bundle in a folder after verifying it, whatever name the folder has."""
    integrity.verify(path)
    metadata = read_metadata(path)
    claimed = name_of(metadata)
    origin = origin_of(path, claimed)
    if claimed in RELEASED and origin == "changed":
        _log.warning("%s is not the released %s, but was made from it or named so", path, claimed)
    chosen = choose(path, runtime)
    if chosen != "tensorflow" and origin != "released":  # the package has the sums of released ones
        guard.refuse_unsafe_files(path, RUNTIMES[chosen].folder, metadata)
    return Bundle(path, metadata, Functions(path, metadata, chosen))


def find(name_or_path: str | Path) -> Path:
    """Return the local folder of a bundle, which is downloaded if it has to be.

    Raises:
        DentalzooError: there is no such bundle, or the download failed.
    """
    return hub.resolve(
        name_or_path,
        names=registry.ZOO,
        tags=lambda name: registry.module_of(name).PRETRAINED,
    )


def task_on_disk(name_or_path: str | Path) -> str | None:
    """Return the task of a bundle without loading or downloading it; None where it is unknown."""
    name = str(name_or_path).partition(".")[0]
    if name in registry.ZOO:
        return registry.ZOO[name].task
    folders = [Path(name_or_path), Path(name_or_path) / "bundle"]
    if isinstance(name_or_path, str) and (found := hub.on_disk(name_or_path)):
        folders.append(found)
    for folder in folders:
        with suppress(DentalzooError):
            return read_metadata(folder)["task"]
    return None


def identify(name_or_path: str | Path) -> dict[str, str]:
    """Return which bundle a training starts from, as its metadata keep it.

    Returns:
        "bundle": its name; "sha256sums": the SHA-256 of its SHA256SUMS; "licence", where it has
        one; "address", where it was given by one. Folders may identify patients and are left out.

    Raises:
        DentalzooError: there is no such bundle.
    """
    path = find(name_or_path)
    metadata = read_metadata(path)
    record = {"bundle": name_of(metadata), "sha256sums": integrity.digest(path)}
    if "licence" in metadata["data"]:
        record["licence"] = metadata["data"]["licence"]
    if "://" in str(name_or_path):
        record["address"] = str(name_or_path)
    return record


class Verified(integrity.Verified):
    """The folder of a bundle, the number and size of its files, its name and where it comes from.

    `origin` is "released", "changed" or "unknown", see `dentalzoo.bundle.released.origin_of`.
    """

    name: str
    origin: str
    signed: str | None


def verify(name_or_path: str | Path, key: str | Path | None = None) -> Verified:
    """Compare every file of a bundle with its SHA-256, and its metadata with their schema.

    Nothing is loaded.

    Args:
        name_or_path: as for `load`.
        key: a public key of minisign, by whose owner the bundle must be signed
            (SHA256SUMS.minisig in its folder); needs the extra `sign`.

    Returns:
        {"bundle": path, "files": number of files, "bytes": their size, "name": its name, "origin":
        "released" where it is a released bundle, "changed" where it bears the name of one and is
        not, else "unknown"; "signed": the trusted comment of the signature, None without a key}.

    Raises:
        DentalzooError: no such bundle, or a file differs, is missing or is not listed, or the
            metadata do not describe a bundle, or it is not signed with the key.
    """
    path = find(name_or_path)
    report = integrity.verify(path)
    name = name_of(read_metadata(path))
    signed = None if key is None else verify_signature(path, Path(key))
    return {**report, "name": name, "origin": origin_of(path, name), "signed": signed}
