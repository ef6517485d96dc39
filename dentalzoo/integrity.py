"""Whether a bundle's files are whole, and whether its graph does nothing but compute."""

import hashlib
from pathlib import Path

from dentalzoo.errors import DentalzooError

SUMS = "SHA256SUMS"

# Ops that reach outside the graph; no model needs them.
_FORBIDDEN_OPS = {
    *("ReadFile", "WriteFile", "MatchingFiles", "PyFunc", "PyFuncStateless", "EagerPyFunc"),
    *("PrintV2", "Save", "SaveSlices", "DeleteFile", "RemoteCall", "LoadLibrary"),
}
_CHECKPOINT_OPS = {"SaveV2", "MergeV2Checkpoints", "RestoreV2"}


def sums(path: Path) -> str:
    """The content of SHA256SUMS for the files of a bundle."""
    lines = [f"{_sha256(file)}  {file.relative_to(path).as_posix()}" for file in _files(path)]
    return "\n".join(lines) + "\n"


def verify(path: Path) -> dict:
    """Compares every file of a bundle with its SHA-256.

    Returns:
        {"bundle": path, "files": number of files, "bytes": their size}.

    Raises:
        DentalzooError: a file differs, is missing or is not listed; the message names it.
    """
    try:
        lines = (path / SUMS).read_text().splitlines()
        expected = {name: digest for digest, name in (line.split("  ", 1) for line in lines)}
    except (OSError, ValueError) as error:
        raise DentalzooError(f"{path / SUMS} cannot be read. Received: {error}") from None
    found = {file.relative_to(path).as_posix(): file for file in _files(path)}
    for name in sorted(expected.keys() - found.keys()):
        raise DentalzooError(f"{path}: a file is missing. Received: no {name}")
    for name in sorted(found.keys() - expected.keys()):
        raise DentalzooError(f"{path}: a file is not listed in {SUMS}. Received: {name}")
    for name, file in sorted(found.items()):
        digest = _sha256(file)
        if digest != expected[name]:
            raise DentalzooError(
                f"{file} is damaged: sha256 {expected[name]} was expected; nothing was loaded. "
                f"Fetch the bundle again. Received: {digest}"
            )
    size = sum(file.stat().st_size for file in found.values())
    return {"bundle": str(path), "files": len(found), "bytes": size}


def check_outside(path: Path) -> None:
    """Raises DentalzooError if `path` lies in a bundle, which one more file would make unusable."""
    for folder in (path, *path.parents):
        if (folder / SUMS).is_file() and (folder / "metadata.json").is_file():
            raise DentalzooError(
                f"a folder outside of bundles was expected; {folder} is one. Received: {path}"
            )


def _files(path: Path) -> list[Path]:
    """All files of a bundle but the sums; a link counts as a file and so is not followed."""
    return sorted(
        file
        for file in path.rglob("*")
        if (file.is_symlink() or not file.is_dir()) and file != path / SUMS
    )


def _sha256(path: Path) -> str:
    if path.is_symlink() or not path.is_file():
        raise DentalzooError(f"a bundle holds plain files only. Received: {path}")
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def refuse_unsafe_graph(path: Path) -> None:
    """Refuses a SavedModel that could do anything but compute, before it is loaded."""
    from google.protobuf.message import DecodeError
    from tensorflow.core.protobuf import saved_model_pb2

    content = saved_model_pb2.SavedModel()
    try:
        content.ParseFromString((path / "saved_model" / "saved_model.pb").read_bytes())
    except (OSError, DecodeError) as error:
        raise DentalzooError(f"{path} holds no readable SavedModel. Received: {error}") from None
    for graph in content.meta_graphs:
        functions = graph.graph_def.library.function
        for function in functions:
            saver = "traced_save" in function.signature.name
            saver = saver or "traced_restore" in function.signature.name
            for node in function.node_def:
                called = node.attr["f"].func.name if "f" in node.attr else ""
                if (
                    node.op in _FORBIDDEN_OPS
                    or (node.op in _CHECKPOINT_OPS and not saver)
                    or "traced_save" in called
                    or "traced_restore" in called
                ):
                    _refuse(path, node.op)
        init = graph.signature_def["__saved_model_init_op"].outputs["__saved_model_init_op"].name
        for node in graph.graph_def.node:
            initial = node.name == init.partition(":")[0]
            if node.op in _FORBIDDEN_OPS or (initial and (node.op != "NoOp" or node.input)):
                _refuse(path, node.op)
        for asset in graph.asset_file_def:
            if Path(asset.filename).is_absolute() or ".." in Path(asset.filename).parts:
                _refuse(path, f"asset {asset.filename}")


def _refuse(path: Path, what: str):
    raise DentalzooError(
        f"{path}: the SavedModel reaches outside itself and is not loaded. Received: {what}"
    )
