"""The check of a bundle's files for a light runtime before that reads them."""

from pathlib import Path
from typing import Any

from dentalzoo.bundle.guard.onnx_files import check_file
from dentalzoo.bundle.guard.refusal import Unsafe
from dentalzoo.bundle.metadata import Metadata, parsed
from dentalzoo.bundle.paths import FileName
from dentalzoo.bundle.schema import ListOf, Mismatch, Record, Table, Text, Whole
from dentalzoo.errors import BadFile
from dentalzoo.exporters._frozen import INTERFACE, NOISE

_NAME = Text(64, r"[A-Za-z][A-Za-z0-9_]*", "letters, digits and _")
_NAMES = ListOf(_NAME, 64)
_SUFFIXES = {"onnx": ".onnx", "litert": ".tflite"}
_WIDEST = 2**16  # of noise, in values for each image


def refuse_unsafe_files(path: Path, folder: str, metadata: Metadata) -> None:
    """Refuse the files for a light runtime that are not those of the bundle, or that do too much.

    Args:
        path: the bundle.
        folder: that of the files in it: `onnx` or `litert`. Those of `litert` are not read.
        metadata: of the bundle.

    Raises:
        BadFile: interface.json does not describe functions of the bundle; or an ONNX file has an
            operation that is not on the list, a loop, or constants elsewhere.
    """
    interface, suffix = path / folder / INTERFACE, _SUFFIXES[folder]
    entry = Record(
        {"file": FileName((suffix,)), "inputs": _NAMES, "outputs": _NAMES},
        {"noise": Whole(1, _WIDEST)},
    )
    described = Record(
        {"signatures": Table(entry, _NAME, most=64)}, {"left_out": Table(Text(500), _NAME)}
    )
    try:
        content = parsed(interface)
        described.check(content, "")
        for name, one in content["signatures"].items():
            _compare(name, one, metadata)
    except OSError as error:
        raise BadFile(interface, f"it cannot be read. Received: {error.strerror}") from None
    except (Mismatch, RecursionError) as error:
        raise BadFile(interface, f"it does not describe functions of the bundle: {error}") from None
    if folder == "onnx":
        for name in content["signatures"]:
            _check(path / folder / f"{name}{suffix}")


def _compare(name: str, one: dict[str, Any], metadata: Metadata) -> None:
    """Compare a function with the signature of the bundle that it computes."""
    spec = metadata["signatures"].get(name)
    if spec is None:  # of a newer version than the bundle
        return
    inputs = [NOISE] if "noise" in one else sorted(spec["inputs"])
    for side, names in (("inputs", inputs), ("outputs", sorted(spec["outputs"]))):
        if sorted(one[side]) != sorted(names):
            raise Mismatch.of(f"signatures.{name}.{side}", ", ".join(names), one[side])


def _check(file: Path) -> None:
    try:
        check_file(file)
    except Unsafe as error:
        raise BadFile(file, f"contains an unsafe operation ({error}); refusing to load") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise BadFile(file, f"is corrupt or incomplete. Received: {reason}") from None
