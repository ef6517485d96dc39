"""The classic odontogram as SVG: two rows of teeth as they are seen from the front.

Shapes are in units of a tooth's own width across and of 1/100 of its height down, the root above
and the edge of the crown below, as in the upper jaw. Teeth of the lower jaw are turned over.
"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from dentalzoo.charting.kinds import KINDS, title_of
from dentalzoo.charting.mouth import is_upper, rows_of, tooth_name
from dentalzoo.data_report.page import shown

_ONE_ROOT = "M.30,60 C.33,36 .42,8 .50,4 C.58,8 .67,36 .70,60 Z"
_TWO_ROOTS = (
    "M.16,60 C.14,38 .16,14 .25,6 C.35,14 .40,32 .50,43 C.60,32 .65,14 .75,6 "
    "C.84,14 .86,38 .84,60 Z"
)
_THREE_ROOTS = (
    "M.14,60 C.10,40 .07,18 .15,9 C.26,17 .30,33 .36,42 C.40,30 .44,12 .50,5 "
    "C.56,12 .60,30 .64,42 C.70,33 .74,17 .85,9 C.93,18 .90,40 .86,60 Z"
)
_INCISOR = (
    "M.28,58 C.40,53 .60,53 .72,58 C.82,70 .90,86 .90,94 C.90,101 .10,101 .10,94 "
    "C.10,86 .18,70 .28,58 Z"
)
_CANINE = (
    "M.28,58 C.40,53 .60,53 .72,58 C.84,68 .92,80 .87,88 L.57,101 C.53,103 .47,103 .43,101 "
    "L.13,88 C.08,80 .16,68 .28,58 Z"
)
_PREMOLAR = (
    "M.24,58 C.38,53 .62,53 .76,58 C.90,66 .96,82 .91,92 C.85,102 .64,102 .50,95 "
    "C.36,102 .15,102 .09,92 C.04,82 .10,66 .24,58 Z"
)
_MOLAR = (
    "M.12,58 C.32,53 .68,53 .88,58 C.99,66 1,84 .95,93 C.90,103 .74,103 .66,96 "
    "C.58,103 .42,103 .34,96 C.26,103 .10,103 .05,93 C0,84 .01,66 .12,58 Z"
)
_SCREW = "M.38,58 L.38,20 C.38,10 .62,10 .62,20 L.62,58 Z"
_THREADS = "M.33,24 L.67,28 M.33,32 L.67,36 M.33,40 L.67,44 M.33,48 L.67,52"

_PERMANENT_WIDTHS, _DECIDUOUS_WIDTHS = (34, 32, 36, 36, 36, 48, 47, 43), (30, 30, 32, 42, 44)
_HEIGHT, _LABEL, _EDGE, _MIDLINE = 106, 22, 22, 10
_INK, _FAINT = "#3b4a54", "#aeb8bf"

STYLE = """
.odontogram { width: 100%; height: auto; display: block; font-family: system-ui, sans-serif }
.odontogram .crown { fill: #fffef8; stroke: #3b4a54; stroke-width: 1.4 }
.odontogram .root { fill: #f4ecd8; stroke: #3b4a54; stroke-width: 1.4 }
.odontogram .absent .crown, .odontogram .absent .root { fill: none; stroke: #b4bdc4;
  stroke-dasharray: 3 3; stroke-width: 1.1 }
.odontogram .cross { stroke: #b4bdc4; stroke-width: 1.4 }
.odontogram text { font-size: 15px; font-weight: 600; fill: #1d2b34; text-anchor: middle }
.odontogram .absent text { fill: #98a3ab; font-weight: 400 }
.odontogram .side { font-size: 13px; fill: #6b7780; font-weight: 600 }
"""


def odontogram(
    teeth: Sequence[Mapping[str, Any]],
    findings: Sequence[Mapping[str, Any]],
    doubtful: Collection[int] = (),
) -> str:
    """Return the drawing of a chart.

    Args:
        teeth, findings: of the chart, see `schema`.
        doubtful: numbers of teeth that get an exclamation mark.
    """
    by_number = {tooth["number"]: tooth for tooth in teeth}
    by_id = {finding["id"]: finding for finding in findings}
    rows = rows_of(by_number)
    width = 2 * sum(_PERMANENT_WIDTHS) + _MIDLINE + 2 * _EDGE
    parts, top = [], 4.0
    for index, row in enumerate(rows):
        upper = is_upper(row[0])
        if index and upper != is_upper(rows[index - 1][0]):
            parts.append(_between(width, top + 6))
            top += 12
        parts += _row(row, by_number, by_id, doubtful, width, top)
        top += _HEIGHT + _LABEL
    return (
        f'<svg class="odontogram" viewBox="0 0 {width} {top + 4:g}" role="img" '
        f'aria-label="Dental chart">{"".join(parts)}</svg>'
    )


def _between(width: float, y: float) -> str:
    """Return the line between the jaws, with the sides of the patient."""
    return (
        f'<path d="M{_EDGE},{y} H{width - _EDGE}" stroke="#d3d9dd"/>'
        f'<text class="side" x="10" y="{y + 5}">R</text>'
        f'<text class="side" x="{width - 10}" y="{y + 5}">L</text>'
    )


def _row(
    row: Sequence[int],
    by_number: Mapping[int, Mapping[str, Any]],
    by_id: Mapping[int, Mapping[str, Any]],
    doubtful: Collection[int],
    width: float,
    top: float,
) -> Iterator[str]:
    widths = _PERMANENT_WIDTHS if row[0] < 50 else _DECIDUOUS_WIDTHS
    left = (width - 2 * sum(widths) - _MIDLINE) / 2
    upper = is_upper(row[0])
    for index, number in enumerate(row):
        if index == len(row) // 2:
            left += _MIDLINE
        wide = widths[number % 10 - 1]
        tooth = by_number.get(number, {"number": number, "state": "absent", "findings": ()})
        found = [by_id[identifier] for identifier in tooth["findings"]]
        move = (
            f"translate({left:g} {top:g})"
            if upper
            else f"translate({left:g} {top + _LABEL + _HEIGHT:g}) scale(1 -1)"
        )
        y = top + _HEIGHT + 15 if upper else top + 15
        label = f'<text x="{left + wide / 2:g}" y="{y:g}">{number}</text>'
        if number in doubtful:
            label += _badge(left + wide / 2 + 15, y - 5)
        yield (
            f'<g class="tooth {tooth["state"]}"><title>{shown(described(tooth, found))}</title>'
            f'<g transform="{move}">{_tooth(number, wide, tooth["state"], found)}</g>{label}</g>'
        )
        left += wide


def described(tooth: Mapping[str, Any], findings: Sequence[Mapping[str, Any]]) -> str:
    """Return a tooth and its findings in words."""
    words = {"present": "found", "absent": "not found", "implant": "implant"}[tooth["state"]]
    text = f"{tooth['number']}, {tooth_name(tooth['number'])}: {words}"
    if tooth.get("score") is not None:
        text += f" ({100 * tooth['score']:.0f} %)"
    for finding in findings:
        title = title_of(finding["kind"], finding["class"])
        text += f"; {title} ({100 * finding['score']:.0f} %)"
    return text


def _badge(x: float, y: float) -> str:
    return (
        f'<g><title>to check</title><circle cx="{x:g}" cy="{y:g}" r="6.5" fill="#f0b429"/>'
        f'<path d="M{x:g},{y - 4:g} v4.6 M{x:g},{y + 3:g} v1.2" stroke="#1d2b34" '
        'stroke-width="1.8" stroke-linecap="round"/></g>'
    )


def _tooth(number: int, wide: float, state: str, findings: Sequence[Mapping[str, Any]]) -> str:
    """Return a tooth that is `wide` units wide, the root above."""
    root, crown = _shapes(number)
    kinds = {finding["kind"]: finding for finding in findings}
    if state == "implant":
        colour = KINDS["implant"].colour
        return (
            _path(_SCREW, wide, f'fill="#e9e3ef" stroke="{colour}" stroke-width="1.4"')
            + _path(_THREADS, wide, f'fill="none" stroke="{colour}" stroke-width="2.2"')
            + _path(crown, wide, 'class="crown"')
        )
    drawn = _path(root, wide, 'class="root"') + _path(crown, wide, 'class="crown"')
    if state == "absent":
        drawn += _path("M.25,66 L.75,90 M.75,66 L.25,90", wide, 'class="cross"')
    return drawn + "".join(_mark(kind, wide) for kind in kinds)


def _mark(kind: str, wide: float) -> str:
    """Return the sign of a kind of findings."""
    colour, middle = KINDS[kind].colour, wide / 2
    if kind == "restoration":
        return f'<ellipse cx="{middle:g}" cy="83" rx="{wide * 0.3:g}" ry="9" fill="{colour}"/>'
    if kind == "caries":
        return f'<circle cx="{wide * 0.76:g}" cy="72" r="6" fill="{colour}"/>'
    if kind == "impacted":
        return (
            f'<rect x="2" y="1" width="{wide - 4:g}" height="103" rx="14" fill="none" '
            f'stroke="{colour}" stroke-width="2.4" stroke-dasharray="6 3"/>'
        )
    if kind == "endodontic":
        return _path("M.50,14 L.50,62", wide, f'stroke="{colour}" stroke-width="3.4"')
    if kind == "implant":
        style = f'fill="none" stroke="{colour}"'
        return _path(_SCREW, wide, f'{style} stroke-width="1.8"') + _path(
            _THREADS, wide, f'{style} stroke-width="2.2"'
        )
    if kind == "periapical":
        return f'<circle cx="{middle:g}" cy="8" r="7" fill="{colour}" fill-opacity=".75"/>'
    return (
        f'<path d="M{middle:g},70 l8,8 l-8,8 l-8,-8 Z" fill="{colour}" stroke="white" '
        'stroke-width="1"/>'
    )


def _shapes(number: int) -> tuple[str, str]:
    """Return the root and the crown of a tooth."""
    place, upper = number % 10, is_upper(number)
    if place <= 2:
        return _ONE_ROOT, _INCISOR
    if place == 3:
        return _ONE_ROOT, _CANINE
    if number < 50 and place <= 5:
        return _TWO_ROOTS if upper and place == 4 else _ONE_ROOT, _PREMOLAR
    return _THREE_ROOTS if upper else _TWO_ROOTS, _MOLAR


def _path(shape: str, wide: float, attributes: str) -> str:
    """Return a path whose shape is in widths across, with a small gap to the neighbours."""

    def point(match: "re.Match[str]") -> str:
        return f"{2 + float(match[1]) * (wide - 4):.1f},{match[2]}"

    placed = re.sub(r"([.\d]+),([.\d]+)", point, shape)
    return f'<path d="{placed}" {attributes}/>'


def symbol(kind: str) -> str:
    """Return the sign of a kind of findings on a tooth, for a legend; "absent" too."""
    state = kind if kind in ("absent", "implant") else "present"
    marks = [] if kind in ("absent", "implant", "present") else [{"kind": kind}]
    return (
        f'<svg class="odontogram symbol" viewBox="0 0 44 106"><g class="{state}">'
        f"{_tooth(46, 44, state, marks)}</g></svg>"
    )
