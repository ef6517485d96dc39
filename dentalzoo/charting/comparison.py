"""What changed between two charts of one patient, as JSON and as a page."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from dentalzoo.atomic import write_atomically, write_json
from dentalzoo.bundle.schema import Choice, ListOf, Number, Optional, Record, Text, Whole
from dentalzoo.charting import schema
from dentalzoo.charting.kinds import KINDS, title_of
from dentalzoo.charting.mouth import neighbours, tooth_name
from dentalzoo.charting.odontogram import odontogram
from dentalzoo.charting.page import document, legend
from dentalzoo.data_report.page import shown
from dentalzoo.output_dirs import list_results, make_folder

_SURE = 0.5  # a tooth with a lower score may have been overlooked on the other radiograph: ours
_LINE = Text(1000)
_SIDE = Record({"name": _LINE, "file": _LINE, "date": Text(10, r"\d{4}-\d\d-\d\d", "a date")})
_CHANGE = Record(
    {
        "kind": Choice(schema.CHANGES),
        "tooth": Optional(Whole(11, 85)),
        "text": _LINE,
        "score": Optional(Number(0, 1)),
        "doubts": ListOf(_LINE),
    }
)
COMPARISON = Record(
    {
        "format": Choice((schema.COMPARISON,)),
        "version": Choice((schema.VERSION,)),
        "notice": _LINE,
        "older": _SIDE,
        "newer": _SIDE,
        "warnings": ListOf(_LINE),
        "changes": ListOf(_CHANGE),
    }
)
_STYLE = """
.changes { list-style: none; margin: 0; padding: 0; display: grid; gap: 8px;
  grid-template-columns: repeat(auto-fill, minmax(330px, 1fr)) }
.changes li { border: 1px solid #dde3e7; border-left: 6px solid #0072b2; border-radius: 8px;
  padding: 8px 12px; break-inside: avoid }
.changes .lost_tooth, .changes .lost_implant { border-left-color: #d55e00 }
.changes .lost_finding { border-left-color: #98a3ab }
.changes .new_tooth { border-left-color: #009e73 }
.changes .new_implant { border-left-color: #cc79a7 }
.doubt { color: #8a5a00; font-size: 13px }
"""


def write_comparison(older: str | Path, newer: str | Path, out: str | Path) -> dict[str, Any]:
    """Compare two files, see `dentalzoo.compare_charts`."""
    before, after = schema.read_chart(older), schema.read_chart(newer)
    folder = Path(out)
    make_folder(folder, [])
    list_results(folder, ["comparison.json", "comparison.html"])
    comparison = compare(before, after, _name_of(older), _name_of(newer))
    write_json(folder / "comparison.json", comparison)
    page = comparison_page(comparison, before, after)
    write_atomically(folder / "comparison.html", page.encode(errors="backslashreplace"))
    return comparison


def _name_of(path: str | Path) -> str:
    """Return a file's name behind that of its folder: folders tell dates apart."""
    file = Path(path).resolve()
    return f"{file.parent.name}/{file.name}"


def compare(
    older: Mapping[str, Any], newer: Mapping[str, Any], older_file: str, newer_file: str
) -> dict[str, Any]:
    """Return the comparison of two charts, which are named by their files, see `schema`."""

    def side(chart: Mapping[str, Any], file: str) -> dict[str, str]:
        return {"name": chart["image"]["name"], "file": file, "date": chart["made"]["date"]}

    comparison = {
        "format": schema.COMPARISON,
        "version": schema.VERSION,
        "notice": schema.NOTICE,
        "older": side(older, older_file),
        "newer": side(newer, newer_file),
        "warnings": list(_warnings(older, newer)),
        "changes": list(_changes(older, newer)),
    }
    schema.check(comparison, COMPARISON)
    return comparison


def _warnings(older: Mapping[str, Any], newer: Mapping[str, Any]) -> Iterator[str]:
    bundles = [chart["made"]["bundles"] for chart in (older, newer)]
    if bundles[0] != bundles[1]:
        yield "The charts were made with different models or thresholds: changes may be theirs."
    for which, chart in (("older", older), ("newer", newer)):
        foreign = [e["role"] for e in chart["familiarity"] if e["verdict"] == "foreign"]
        if foreign:
            yield (
                f"The models of the {which} chart do not know images like its own "
                f"({', '.join(foreign)}): do not rely on changes of these."
            )
    if older == newer:
        yield "Both charts are the same."


def _changes(older: Mapping[str, Any], newer: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    before, after = (
        {tooth["number"]: tooth for tooth in chart["teeth"]} for chart in (older, newer)
    )
    doubts = _doubts(older, newer)
    for number in sorted({*before, *after}):
        pair = before.get(number), after.get(number)
        was, now = (tooth["state"] if tooth else "absent" for tooth in pair)
        name = f"{number} ({tooth_name(number)})"
        if was != now:
            kind, words = _STATES[was, now]
            which, tooth = ("Newer", pair[1]) if now != "absent" else ("Older", pair[0])
            score = tooth["score"] if tooth else None
            if score is not None and score < _SURE:
                text = f"{which} chart: the tooth was found with {100 * score:.0f} % only."
                doubts.setdefault(number, []).append(text)
            yield _change(kind, number, f"{name}: {words}", score, doubts)
        found = _titles(older, pair[0]), _titles(newer, pair[1])
        skipped = "implant" if {was, now} != {"present"} else None  # said by the state
        yield from _differences(number, name, *found, skipped, now, doubts)
    yield from _differences(
        None, "No tooth", _off_tooth(older), _off_tooth(newer), None, "present", {}
    )


def _differences(
    number: int | None,
    name: str,
    before: Mapping[tuple[str, str], float],
    after: Mapping[tuple[str, str], float],
    skipped: str | None,
    state: str,
    doubts: Mapping[int, list[str]],
) -> Iterator[dict[str, Any]]:
    """Yield what findings appeared or are gone; of a lost tooth they are gone with it."""
    for (kind, title), score in after.items():
        if (kind, title) not in before and kind != skipped:
            words = KINDS[kind].appeared + (f": {title}" if kind == "other" else "")
            yield _change("new_finding", number, f"{name}: {words}", score, doubts)
    for (kind, title), score in before.items():
        if (kind, title) not in after and kind != skipped and state != "absent":
            words = f"{title.lower()} no longer seen"
            if kind == "other":
                words = f"finding no longer seen: {title}"
            yield _change("lost_finding", number, f"{name}: {words}", score, doubts)


_STATES = {
    ("present", "absent"): ("lost_tooth", "tooth no longer found"),
    ("absent", "present"): ("new_tooth", "tooth newly found"),
    ("absent", "implant"): ("new_implant", "new implant"),
    ("present", "implant"): ("new_implant", "implant where a tooth was"),
    ("implant", "absent"): ("lost_implant", "implant no longer found"),
    ("implant", "present"): ("new_tooth", "tooth where an implant was found before"),
}


def _change(
    kind: str,
    number: int | None,
    text: str,
    score: float | None,
    doubts: Mapping[int, list[str]],
) -> dict[str, Any]:
    said = doubts.get(number, []) if number is not None else []
    return {"kind": kind, "tooth": number, "text": text, "score": score, "doubts": said}


def _doubts(older: Mapping[str, Any], newer: Mapping[str, Any]) -> dict[int, list[str]]:
    """Return what the charts say of each tooth that contradicts itself.

    Numbers that were given twice, or out of order, put those of the teeth beside them in doubt too.
    """
    doubts: dict[int, list[str]] = {}
    for which, chart in (("Older", older), ("Newer", newer)):
        for entry in chart["contradictions"]:
            teeth = dict.fromkeys(entry["teeth"])
            if entry["kind"] in ("same_number", "out_of_order"):
                teeth |= dict.fromkeys(beside for each in teeth for beside in neighbours(each))
            for number in teeth:
                doubts.setdefault(number, []).append(f"{which} chart: {entry['text']}"[:1000])
    return doubts


def _titles(
    chart: Mapping[str, Any], tooth: Mapping[str, Any] | None
) -> dict[tuple[str, str], float]:
    """Return kind and title of the findings on a tooth, with the best score of each."""
    identifiers = tooth["findings"] if tooth else ()
    return _best(f for f in chart["findings"] if f["id"] in identifiers)


def _off_tooth(chart: Mapping[str, Any]) -> dict[tuple[str, str], float]:
    return _best(f for f in chart["findings"] if f["tooth"] is None)


def _best(findings: Iterator[Mapping[str, Any]]) -> dict[tuple[str, str], float]:
    best: dict[tuple[str, str], float] = {}
    for finding in findings:
        key = finding["kind"], title_of(finding["kind"], finding["class"])
        best[key] = max(best.get(key, 0.0), finding["score"])
    return best


# ---- page ----------------------------------------------------------------------------------------


def comparison_page(
    comparison: Mapping[str, Any], older: Mapping[str, Any], newer: Mapping[str, Any]
) -> str:
    """Return the page of a comparison: both charts above each other, and what changed."""
    changes, warnings = comparison["changes"], comparison["warnings"]
    changed = {change["tooth"] for change in changes if change["tooth"] is not None}
    items = "".join(_item(change) for change in changes)
    listed = f'<ul class="changes">{items}</ul>' if items else "<p>Nothing changed.</p>"
    panels = "".join(
        f'<div class="panel"><h2>{which.capitalize()}: {shown(comparison[which]["file"])}</h2>'
        f"<p>{shown(chart['image']['name'])}, charted on {chart['made']['date']}</p>"
        f"{odontogram(chart['teeth'], chart['findings'], changed)}"
        f"{legend(chart['teeth'], chart['findings'])}</div>"
        for which, chart in (("older", older), ("newer", newer))
    )
    body = [
        "<header><h1>Dental charts compared</h1></header>",
        f"<div class=notice>{shown(comparison['notice'])}</div>",
        *(f'<div class="warn">{shown(text)}</div>' for text in warnings),
        f'<div class="two">{panels}</div>',
        f'<section class="panel"><h2>{_count(len(changes))}</h2>{listed}</section>',
        "<footer>Marked teeth have changed. A tooth or a finding may also have been overlooked on "
        "one of the radiographs. That both are of one patient is not checked.</footer>",
    ]
    rows = -(-len(changes) // 3) + len(warnings)
    return document("Dental charts compared", "".join(body), _STYLE, min(0.9, 8 / (8 + rows / 2)))


def _count(changes: int) -> str:
    return "1 change" if changes == 1 else f"{changes} changes"


def _item(change: Mapping[str, Any]) -> str:
    score = (
        ""
        if change["score"] is None
        else f" <span class=faint>{100 * change['score']:.0f}&nbsp;%</span>"
    )
    doubts = "".join(f'<div class="doubt">{shown(text)}</div>' for text in change["doubts"])
    return f'<li class="{change["kind"]}">{shown(change["text"])}{score}{doubts}</li>'
