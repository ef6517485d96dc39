"""The checks before a bundle is loaded: its files are complete, its graph only computes."""

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn, TypedDict

from dentalzoo.bundle.sums import read_sums
from dentalzoo.errors import DentalzooError

SUMS = "SHA256SUMS"

# Ops that reach files, the network, the process or state outside the graph: no model needs them.
_OUTSIDE = re.compile(
    "File|Dataset|Iterator|Summary|Debug|PyFunc|Print|Abort|Remote|Rpc|Reader|ImmutableConst|Save"
    "|Restore|Checkpoint|HashTable|LookupTable|Library|Recv|Send"
)
_SAVERS = ("traced_save", "traced_restore")  # where TensorFlow's own checkpoint ops are


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
    """Return all files of a bundle but the sums; a link counts as a file and is not followed."""
    return sorted(
        file
        for file in path.rglob("*")
        if (file.is_symlink() or not file.is_dir()) and file != path / SUMS
    )


def _sha256(path: Path) -> str:
    if path.is_symlink() or not path.is_file():
        raise DentalzooError(f"a bundle must hold plain files only. Received: {path}")
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def refuse_unsafe_graph(path: Path) -> None:
    """Refuse a SavedModel that could do anything but compute, before it is loaded.

    Raises:
        DentalzooError: it cannot be read, or holds an unsafe operation; the message names that.
    """
    from google.protobuf.message import DecodeError
    from tensorflow.core.protobuf import saved_model_pb2

    content = saved_model_pb2.SavedModel()
    try:
        content.ParseFromString((path / "saved_model" / "saved_model.pb").read_bytes())
    except (OSError, DecodeError) as error:
        raise DentalzooError(
            f"{path}: the SavedModel is corrupt or incomplete. Received: {error}"
        ) from None
    # TensorFlow's loader for version 1 runs operations that the loader for version 2 does not.
    if len(content.meta_graphs) != 1 or not content.meta_graphs[0].HasField("object_graph_def"):
        _refuse(path, f"{len(content.meta_graphs)} graphs, or one of TensorFlow 1")
    graph = content.meta_graphs[0]
    for node in graph.object_graph_def.nodes:
        if node.WhichOneof("kind") in ("asset", "resource"):  # run something at loading
            _refuse(path, node.WhichOneof("kind"))
    if graph.asset_file_def:
        _refuse(path, f"asset {graph.asset_file_def[0].filename}")
    init = graph.signature_def["__saved_model_init_op"].outputs["__saved_model_init_op"].name
    initial = {init}
    for key in ("saved_model_main_op", "legacy_init_op"):
        initial |= set(graph.collection_def[key].node_list.value)
    initial = {name.partition(":")[0] for name in initial}
    for node in graph.graph_def.node:
        if node.name in initial and (node.op != "NoOp" or node.input):
            _refuse(path, node.op)
    savers = {
        function.signature.name
        for function in graph.graph_def.library.function
        if any(word in function.signature.name for word in _SAVERS)
    }
    for function in graph.graph_def.library.function:
        for node in function.node_def:
            called = {node.op, *_functions(node)}
            if called & savers:
                _refuse(path, "a call of the function that saves")
            if function.signature.name not in savers and _OUTSIDE.search(node.op):
                _refuse(path, node.op)


def _functions(node: Any) -> Iterator[str]:
    """Yield the names of all functions that a node refers to, whatever the attribute."""
    for value in node.attr.values():
        if value.func.name:
            yield value.func.name
        yield from (function.name for function in value.list.func)


def _refuse(path: Path, operation: str) -> NoReturn:
    raise DentalzooError(
        f"{path}: the SavedModel contains an unsafe operation ({operation}); refusing to load"
    )
