"""The format of charts and of comparisons of charts, version 1, and its check. docs/chart.md"""

import json
from pathlib import Path
from typing import Any

from dentalzoo.bundle.schema import (
    Choice,
    Kind,
    ListOf,
    Mismatch,
    Number,
    Optional,
    Record,
    Table,
    Text,
    Whole,
)
from dentalzoo.charting.kinds import KINDS
from dentalzoo.charting.mouth import is_tooth
from dentalzoo.errors import BadFile

FORMAT, VERSION = "dentalzoo chart", 1
COMPARISON = "dentalzoo chart comparison"
NOTICE = "Research only, not for diagnosis."
STATES = ("present", "absent", "implant")
CONTRADICTIONS = (
    *("same_number", "out_of_order", "no_outline", "no_number", "no_teeth"),
    *("off_tooth", "implant_on_tooth", "implant_on_outline"),
)
ROLES = ("outlines", "numbers", "findings")
CHANGES = (
    *("lost_tooth", "new_tooth", "new_implant", "lost_implant"),
    *("new_finding", "lost_finding"),
)
_LARGEST = 64 * 2**20  # bytes of a chart; one of an image of 20,000 teeth pixels has some 100 KB

_LINE = Text(1000)
_NUMBER = Choice(tuple(number for number in range(11, 86) if is_tooth(number)))
_BOX = ListOf(Number(), 4, 4)
_SCORE = Number(0, 1)
_IDS = ListOf(Whole(1))
_TOOTH = Record(
    {
        "number": _NUMBER,
        "name": _LINE,
        "state": Choice(STATES),
        "score": Optional(_SCORE),
        "box": Optional(_BOX),
        "area": Whole(0),
        "outline": ListOf(ListOf(Whole(0), 1_000_000)),
        "crop": Optional(_LINE),
        "findings": _IDS,
    }
)
_FINDING = Record(
    {
        "id": Whole(1),
        "class": _LINE,
        "kind": Choice(tuple(KINDS)),
        "score": _SCORE,
        "box": _BOX,
        "tooth": Optional(_NUMBER),
        "crop": Optional(_LINE),
    }
)
_FAMILIARITY = Record(
    {
        "role": Choice(ROLES),
        "verdict": Optional(Choice(("familiar", "unusual", "foreign"))),
        "score": Optional(Number()),
        "reasons": ListOf(_LINE, 100),
    }
)
CHART = Record(
    {
        "format": Choice((FORMAT,)),
        "version": Choice((VERSION,)),
        "notice": _LINE,
        "image": Record({"name": _LINE, "width": Whole(1), "height": Whole(1)}),
        "made": Record(
            {"date": Text(10, r"\d{4}-\d\d-\d\d", "a date"), "dentalzoo": _LINE}
            | {"bundles": Table(Record({"name": _LINE, "threshold": Number(0, 1)}))}
        ),
        "familiarity": ListOf(_FAMILIARITY, 10),
        "teeth": ListOf(_TOOTH, 52),
        "findings": ListOf(_FINDING),
        "contradictions": ListOf(
            Record(
                {
                    "kind": Choice(CONTRADICTIONS),
                    "text": _LINE,
                    "teeth": ListOf(_NUMBER),
                    "findings": _IDS,
                }
            )
        ),
    },
    optional={"unnumbered": ListOf(ListOf(Whole(0), 1_000_000))},  # older charts have none
)


def check(content: Any, kind: Kind = CHART) -> None:
    """Raise `bundle.schema.Mismatch` for a content that is no chart of this version."""
    if isinstance(content, dict) and content.get("version", VERSION) != VERSION:
        raise Mismatch(f"version must be {VERSION}. Received: {content['version']!r:.40}")
    kind.check(content, "")
    if kind is not CHART:
        return
    numbers = [tooth["number"] for tooth in content["teeth"]]
    identifiers = [finding["id"] for finding in content["findings"]]
    for what, values in (("numbers of teeth", numbers), ("ids of findings", identifiers)):
        if len(set(values)) < len(values):
            raise Mismatch(f"{what} must differ. Received: {len(values) - len(set(values))} twice")
    for tooth in content["teeth"]:
        if not set(tooth["findings"]) <= set(identifiers):
            raise Mismatch(
                f"findings of tooth {tooth['number']} must be ids of findings. "
                f"Received: {tooth['findings']}"
            )


def read_chart(path: str | Path) -> dict[str, Any]:
    """Return the chart in a file.

    Raises:
        BadFile: it cannot be read, or is no chart of this version.
    """
    path = Path(path)
    try:
        with path.open("rb") as stream:
            text = stream.read(_LARGEST + 1)
    except OSError as error:
        raise BadFile(path, f"cannot be read. Received: {error.strerror}") from error
    if len(text) > _LARGEST:
        raise BadFile(path, f"a chart must have at most {_LARGEST} bytes")
    try:
        content = json.loads(text)
        check(content)
    except Mismatch as error:
        raise BadFile(path, f"must be a chart (NAME_chart.json): {error}") from error
    except (ValueError, RecursionError) as error:
        raise BadFile(path, "must be a chart (NAME_chart.json). Received: no JSON") from error
    chart: dict[str, Any] = content
    return chart
