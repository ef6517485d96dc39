"""What `parity` measured of the files for a runtime, as lines of text and tables of a card."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from dentalzoo.bundle.metadata import parsed
from dentalzoo.bundle.schema import Mismatch, Number, Optional, Record, Table, Text
from dentalzoo.errors import BadFile

FILE = "metadata.json"
"""In the folder of an exporter."""

_NAME = Text(64, r"[\w-]+", "letters, digits, _ and -")
_NUMBERS = Table(Number(), _NAME)
_CONTENT = Record(
    {
        "exporter": _NAME,
        "parity": Table(Record({"latency_ratio": Number()}, others=_NUMBERS), _NAME),
        "metrics": Optional(Table(Record({"bundle": Number(), "exported": Number()}), _NAME)),
        "left_out": Table(Text(500), _NAME),
    }
)
_NOTE = (
    "The files for `{0}` were compared with the bundle's SavedModel on sample images. *mean*: mean "
    "difference in standard deviations. *changed*: share of pixels, boxes or other integers. "
    "*time*: of a call, in calls of the SavedModel, on the machine that exported."
)


def read(path: Path) -> Mapping[str, Any] | None:
    """Return the description of the files for a runtime in a folder; None where it has none.

    Raises:
        BadFile: it is not what `export` writes.
    """
    file = path / FILE
    if not file.is_file():
        return None
    try:
        content = parsed(file)
        _CONTENT.check(content, "")
    except OSError as error:
        raise BadFile(file, f"it cannot be read. Received: {error.strerror}") from None
    except (Mismatch, RecursionError) as error:
        raise BadFile(file, f"it does not describe an export: {error}") from None
    return content


def lines(content: Mapping[str, Any]) -> list[str]:
    """Return the differences as text: a line for each function, metric, and function left out."""
    text = []
    for name, row in content["parity"].items():
        parts = [
            f"{key} " + ", ".join(f"{kind} {value:.2g}" for kind, value in values.items())
            for key, values in row.items()
            if key != "latency_ratio"
        ]
        text.append(f"{name}: {'; '.join(parts)}; time {row['latency_ratio']:.2f} of the bundle's")
    for key, values in (content["metrics"] or {}).items():
        text.append(f"{key}: {values['exported']:.4f}, of the bundle {values['bundle']:.4f}")
    return text + [f"{name}: left out: it {why}" for name, why in content["left_out"].items()]


def tables(content: Mapping[str, Any]) -> str:
    """Return the differences as Markdown."""
    blocks = [
        _NOTE.format(content["exporter"]),
        "\n".join(
            [
                "| function | output | largest difference | mean | changed | time |",
                "|---|---|---:|---:|---:|---:|",
                *_rows(content["parity"]),
            ]
        ),
    ]
    if metrics := content["metrics"]:
        rows = [
            f"| {key} | {values['bundle']:.4f} | {values['exported']:.4f} | "
            f"{values['exported'] - values['bundle']:+.4f} |"
            for key, values in metrics.items()
        ]
        head = ["| metric | SavedModel | `{0}` | difference |", "|---|---:|---:|---:|"]
        blocks.append("\n".join([*head, *rows]).format(content["exporter"]))
    if left_out := content["left_out"]:
        blocks.append(f"Left to TensorFlow: {', '.join(f'`{name}`' for name in left_out)}.")
    return "\n\n".join(blocks)


def _rows(parity: Mapping[str, Any]) -> Iterator[str]:
    for name, row in parity.items():
        first = f"`{name}`", f"{row['latency_ratio']:.2f}"
        for key, values in row.items():
            if key == "latency_ratio":
                continue
            cells = [
                f"{values[kind]:.2g}" if kind in values else "" for kind in ("largest", "relative")
            ]
            changed = f"{100 * values['changed']:.2f} %" if "changed" in values else ""
            yield f"| {first[0]} | {key} | {' | '.join(cells)} | {changed} | {first[1]} |"
            first = "", ""
