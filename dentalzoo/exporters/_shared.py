"""Weights that several ONNX files of a folder have, stored once, in a file beside them."""

import hashlib
from collections import Counter
from pathlib import Path
from typing import Any

from dentalzoo.errors import require
from dentalzoo.exporters._packed import MIN_BYTES

WEIGHTS = "weights.bin"
_ALIGNED = 64  # bytes at which a tensor begins, for runtimes that map the file into memory


def share(folder: Path) -> Path:
    """Move the weights that two or more .onnx files of a folder have to WEIGHTS beside them.

    They become external data, the form that ONNX has for it: a runtime that reads one of the files
    by its path finds them. Where no two files have equal weights, nothing changes.

    Returns:
        `folder`.
    """
    onnx = require("onnx", "onnx")
    models = {file: onnx.load(file) for file in sorted(folder.glob("*.onnx"))}
    files_with = Counter(
        digest
        for model in models.values()
        for digest in {_digest(tensor) for tensor in _large(model)}
    )
    content, starts = bytearray(), dict[bytes, int]()
    for file, model in models.items():
        moved = [tensor for tensor in _large(model) if files_with[_digest(tensor)] > 1]
        for tensor in moved:
            digest = _digest(tensor)
            if digest not in starts:
                content.extend(bytes(-len(content) % _ALIGNED))
                starts[digest] = len(content)
                content.extend(tensor.raw_data)
            onnx.external_data_helper.set_external_data(
                tensor, WEIGHTS, offset=starts[digest], length=len(tensor.raw_data)
            )
            tensor.ClearField("raw_data")
        if moved:
            file.write_bytes(model.SerializeToString())
    if starts:
        (folder / WEIGHTS).write_bytes(content)
    return folder


def _large(model: Any) -> list[Any]:
    """Return the constants of a model that are worth a place of their own."""
    return [tensor for tensor in model.graph.initializer if len(tensor.raw_data) >= MIN_BYTES]


def _digest(tensor: Any) -> bytes:
    return hashlib.sha256(tensor.raw_data).digest()
