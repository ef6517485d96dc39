"""A chart as one HTML page without scripts and without any file beside it, to look at or print."""

import base64
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

import numpy as np

from dentalzoo.charting.kinds import KINDS, kind_of, title_of
from dentalzoo.charting.mouth import is_upper
from dentalzoo.charting.odontogram import STYLE, described, odontogram, symbol
from dentalzoo.data.io.images import encode_jpeg
from dentalzoo.data_report.page import shown
from dentalzoo.plots.pixels import fit

_LARGEST = (1600, 1600)  # of the radiograph on the page, width and height in pixels

# No script, and nothing from any host.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
PAGE_STYLE = """
:root { color-scheme: light }
* { box-sizing: border-box }
body { font: 15px/1.45 system-ui, -apple-system, "Segoe UI", sans-serif; color: #1d2b34;
  background: #eef1f3; margin: 0 }
main { max-width: 1360px; margin: 0 auto; padding: 20px 24px 28px }
h1 { font-size: 26px; margin: 0; letter-spacing: -.01em }
h2 { font-size: 15px; margin: 0 0 10px; color: #44525c; font-weight: 600 }
header { display: flex; justify-content: space-between; align-items: end; gap: 24px;
  margin-bottom: 12px; flex-wrap: wrap }
.faint { color: #61707a; font-size: 13px; overflow-wrap: anywhere }
.notice { background: #1d2b34; color: #fff; font-weight: 600; padding: 9px 16px;
  border-radius: 8px; margin-bottom: 10px }
.warn { border-radius: 8px; padding: 9px 16px; margin-bottom: 8px; background: #fff5dc;
  border-left: 6px solid #f0b429 }
.warn.foreign { background: #fdeae2; border-color: #d55e00 }
.two { display: grid; grid-template-columns: 1fr 1fr; gap: 16px; align-items: start;
  margin: 14px 0 16px }
.panel { background: #fff; border-radius: 12px; padding: 14px 16px; box-shadow: 0 1px 2px #0002 }
.numbers { display: flex; flex-wrap: wrap; gap: 8px 28px; margin: 0 }
.numbers div { display: flex; align-items: baseline; gap: 8px }
.numbers b { font-size: 24px; font-variant-numeric: tabular-nums }
.legend { display: flex; flex-wrap: wrap; gap: 4px 18px; margin-top: 10px; font-size: 13px;
  color: #44525c }
.legend span { display: inline-flex; align-items: center; gap: 6px }
.symbol.odontogram { width: 15px; height: 34px }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(228px, 1fr)); gap: 10px }
.card { display: flex; gap: 12px; border: 1px solid #dde3e7; border-radius: 10px; padding: 8px;
  background: #fff; break-inside: avoid }
.card img { width: 66px; height: 84px; object-fit: contain; background: #10181d;
  border-radius: 6px; flex: none; display: block }
.card strong { font-size: 17px; display: block; line-height: 1.2 }
.card .faint { line-height: 1.25; font-size: 12.5px }
.card ul { list-style: none; padding: 0; margin: 4px 0 0; font-size: 13.5px; line-height: 1.35 }
.dot { display: inline-block; width: 10px; height: 10px; border-radius: 50%; margin-right: 6px }
.checks { margin: 0; padding-left: 20px }
.checks li { margin: 3px 0 }
table { border-collapse: collapse; width: 100%; font-size: 14px }
td, th { text-align: left; padding: 4px 10px 4px 0; border-bottom: 1px solid #e6eaed }
.n { text-align: right; font-variant-numeric: tabular-nums }
summary { cursor: pointer; color: #44525c; font-weight: 600 }
section { margin-bottom: 16px }
footer { font-size: 12.5px; color: #61707a }
@media (max-width: 900px) { .two { grid-template-columns: 1fr } main { padding: 12px } }
@media print {
  @page { size: A4 landscape; margin: 8mm }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact }
  body { background: #fff; zoom: var(--print-zoom) }
  main { padding: 0; max-width: none }
  .panel { box-shadow: none; border: 1px solid #dde3e7; padding: 8px 10px }
  .two { grid-template-columns: 1fr 1fr; gap: 10px; margin: 8px 0 }
  section { margin-bottom: 8px }
  .cards { grid-template-columns: repeat(5, 1fr); gap: 6px }
  .card img { width: 48px; height: 60px }
  svg.radiograph { max-height: 300px !important }
  .screen { display: none !important }
}
"""
_VIEW_STYLE = """
.view svg.radiograph { width: 100%; height: auto; max-height: 520px; display: block;
  border-radius: 8px; background: #10181d }
.view .outlines { fill: #56b4e9; fill-opacity: .13; stroke: #56b4e9; stroke-width: 1.6 }
.view .outlines .unnumbered { fill: #e69f00; stroke: #e69f00; stroke-dasharray: 6 4 }
.view .boxes rect { fill: none; stroke-width: 2.4 }
.view .outlines *, .view .boxes * { vector-effect: non-scaling-stroke; stroke-linejoin: round }
.view text { fill: #fff; font-weight: 600; text-anchor: middle; paint-order: stroke;
  stroke: #10181d; font-family: system-ui, sans-serif }
.view .layers { display: flex; gap: 18px; margin-top: 10px; font-size: 14px }
.view .layers label { display: inline-flex; gap: 6px; align-items: center; cursor: pointer }
.view:has(.show-outlines:not(:checked)) .outlines,
.view:has(.show-numbers:not(:checked)) .labels,
.view:has(.show-findings:not(:checked)) .boxes { display: none }
"""
_ROLES = {"outlines": "tooth outlines", "numbers": "tooth numbers", "findings": "findings"}


def chart_page(
    chart: Mapping[str, Any], image: np.ndarray, crops: Mapping[str, bytes] | None = None
) -> str:
    """Return the page of a chart.

    Args:
        chart: see `schema`.
        image: (H, W, 1 or 3) uint8, the radiograph.
        crops: JPEG by the number of the tooth or "finding_<id>", of those that have one.
    """
    name, made = shown(chart["image"]["name"]), chart["made"]
    cards = list(_cards(chart, crops or {}))
    checks = chart["contradictions"]
    warnings = list(_warnings(chart["familiarity"]))
    rows = -(-len(cards) // 5) + (len(checks) + 2 * len(warnings)) / 3.5
    body = [
        f"<header><div><h1>Dental chart</h1><div class=faint>{name}</div></div>"
        f"<div class=faint>made {made['date']} by dentalzoo {shown(made['dentalzoo'])}</div>"
        "</header>",
        f"<div class=notice>{shown(chart['notice'])}</div>",
        *warnings,
        f'<section class="panel">{_summary(chart)}</section>',
        f'<div class="two"><div class="panel view"><h2>Radiograph</h2>{_radiograph(chart, image)}'
        "</div>",
        f'<div class="panel"><h2>Chart</h2>{_drawing(chart)}</div></div>',
    ]
    if cards:
        body.append(
            f'<section class="panel"><h2>Findings by tooth</h2><div class="cards">'
            f"{''.join(cards)}</div></section>"
        )
    if checks:
        items = "".join(f"<li>{shown(entry['text'])}</li>" for entry in checks)
        body.append(
            f'<section class="panel"><h2>To check</h2><ul class="checks">{items}</ul></section>'
        )
    body += [
        f'<section class="panel screen"><details><summary>All teeth</summary>{_table(chart)}'
        "</details></section>",
        f"<footer>{_about(chart)}</footer>",
    ]
    zoom = 0.8 * min(1, 4.2 / max(4.2, 2.2 + rows))
    return document(f"Dental chart {name}", "".join(body), _VIEW_STYLE, zoom)


def document(title: str, body: str, style: str = "", print_zoom: float = 1) -> str:
    """Return a whole page from its body; `title` and `body` are HTML."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>{PAGE_STYLE}{STYLE}{style}"
        f":root {{ --print-zoom: {print_zoom:.3f} }}</style></head>"
        f"<body><main>{body}</main></body></html>\n"
    )


# ---- parts ---------------------------------------------------------------------------------------


def _warnings(familiarity: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for entry in sorted(familiarity, key=lambda entry: -(entry["score"] or 0)):
        if entry["verdict"] not in ("unusual", "foreign"):
            continue
        what, why = _ROLES[entry["role"]], "; ".join(entry["reasons"])
        if entry["verdict"] == "foreign":
            text = (
                f"<b>Do not rely on the {what}.</b> The model behind them does not know images "
                "like this one"
            )
        else:
            text = f"<b>Check the {what}.</b> The model behind them knows few images like this one"
        yield f'<div class="warn {entry["verdict"]}">{text}: {shown(why)}.</div>'


def _summary(chart: Mapping[str, Any]) -> str:
    teeth = chart["teeth"]
    permanent = [tooth for tooth in teeth if tooth["number"] < 50]
    missing = [tooth["number"] for tooth in permanent if tooth["state"] == "absent"]
    found, implants = (
        sum(tooth["state"] == state for tooth in teeth) for state in ("present", "implant")
    )
    tiles = [f"<div><b>{found}</b> {'tooth' if found == 1 else 'teeth'} found</div>"]
    if implants:
        words = "implant in a gap" if implants == 1 else "implants in gaps"
        tiles.append(f"<div><b>{implants}</b> {words}</div>")
    listed = f": {', '.join(map(str, missing))}" if 0 < len(missing) <= 16 else ""
    tiles.append(f"<div><b>{len(missing)}</b> not found{listed}</div>")
    kinds: dict[str, int] = {}
    for finding in chart["findings"]:
        title = title_of(finding["kind"], finding["class"])
        kinds[title] = kinds.get(title, 0) + 1
    for title, count in kinds.items():
        colour = kind_of(title).colour
        tiles.append(
            f'<div><b>{count}</b> <span><i class="dot" style="background:{colour}"></i>'
            f"{shown(title)}</span></div>"
        )
    return f'<div class="numbers">{"".join(tiles)}</div>'


def _radiograph(chart: Mapping[str, Any], image: np.ndarray) -> str:
    height, width = image.shape[:2]
    largest = (min(_LARGEST[0], width), min(_LARGEST[1], height))
    size = width / 64
    outlines, boxes = [], []
    for tooth in chart["teeth"]:
        polygons = (" ".join(map(str, points)) for points in tooth["outline"])
        outlines += [f'<polygon points="{points}"/>' for points in polygons]
    for polygon in chart.get("unnumbered", ()):
        outlines.append(f'<polygon class="unnumbered" points="{" ".join(map(str, polygon))}"/>')
    for finding in chart["findings"]:
        left, top, right, bottom = finding["box"]
        title = title_of(finding["kind"], finding["class"])
        boxes.append(
            f'<rect x="{left}" y="{top}" width="{right - left:.1f}" height="{bottom - top:.1f}" '
            f'rx="{size / 4:.1f}" stroke="{KINDS[finding["kind"]].colour}">'
            f"<title>{shown(title)} ({100 * finding['score']:.0f}&nbsp;%)</title></rect>"
        )
    layers = {"outlines": "Outlines", "numbers": "Numbers", "findings": "Findings"}
    switches = "".join(
        f'<label><input type="checkbox" class="show-{key}" checked> {text}</label>'
        for key, text in layers.items()
    )
    return (
        f'<svg class="radiograph" viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="Radiograph with the teeth that were found">'
        f'<image href="{_data(encode_jpeg(fit(image, largest)))}" width="{width}" '
        f'height="{height}" preserveAspectRatio="none"/>'
        f'<g class="outlines">{"".join(outlines)}</g>'
        f'<g class="boxes">{"".join(boxes)}</g>'
        f'<g class="labels" font-size="{size:.1f}" stroke-width="{size / 5:.1f}">'
        f"{''.join(_labels(chart['teeth'], size, height))}</g></svg>"
        f'<div class="layers screen">{switches}</div>'
    )


def _labels(teeth: Sequence[Mapping[str, Any]], size: float, height: int) -> Iterator[str]:
    """Yield the numbers beyond the roots, further away where they would cover the one before."""
    for upper in (True, False):
        before: list[tuple[float, float]] = []
        mine = [t for t in teeth if t["state"] == "present" and is_upper(t["number"]) == upper]
        for tooth in sorted(mine, key=lambda tooth: tooth["box"][0] + tooth["box"][2]):
            left, top, right, bottom = tooth["box"]
            x, y = (left + right) / 2, top - 0.3 * size if upper else bottom + size
            while any(abs(x - a) < 1.4 * size and abs(y - b) < size for a, b in before[-3:]):
                y += -size / 4 if upper else size / 4
            before.append((x, y))
            y = min(max(y, size), height - 0.3 * size)
            yield f'<text x="{x:.1f}" y="{y:.1f}">{tooth["number"]}</text>'


def _drawing(chart: Mapping[str, Any]) -> str:
    doubtful = {number for entry in chart["contradictions"] for number in entry["teeth"]}
    drawn = odontogram(chart["teeth"], chart["findings"], doubtful)
    return f"{drawn}{legend(chart['teeth'], chart['findings'])}"


def legend(teeth: Sequence[Mapping[str, Any]], findings: Sequence[Mapping[str, Any]]) -> str:
    """Return what the signs of a drawing mean, of those that are in it."""
    entries = {"present": "found"}
    states = {tooth["state"] for tooth in teeth}
    entries |= {"absent": "not found"} if "absent" in states else {}
    entries |= {"implant": "implant in a gap"} if "implant" in states else {}
    for finding in findings:
        if finding["tooth"] is not None and finding["kind"] not in entries:
            entries[finding["kind"]] = title_of(finding["kind"], "Other finding")
    spans = (f"<span>{symbol(kind)}{shown(text)}</span>" for kind, text in entries.items())
    return f'<div class="legend">{"".join(spans)}</div>'


def _cards(chart: Mapping[str, Any], crops: Mapping[str, bytes]) -> Iterator[str]:
    by_id = {finding["id"]: finding for finding in chart["findings"]}
    for tooth in chart["teeth"]:
        if tooth["findings"]:
            found = [by_id[identifier] for identifier in tooth["findings"]]
            picture = _thumb(crops.get(str(tooth["number"])), f"tooth {tooth['number']}", tooth)
            yield _card(picture, str(tooth["number"]), tooth["name"], found)
    for finding in chart["findings"]:
        if finding["tooth"] is None:
            picture = _thumb(crops.get(f"finding_{finding['id']}"), "finding", finding)
            yield _card(picture, "No tooth", "lies on no tooth that was found", [finding])


def _card(picture: str, title: str, text: str, findings: Sequence[Mapping[str, Any]]) -> str:
    by_title: dict[str, list[Mapping[str, Any]]] = {}
    for finding in findings:
        by_title.setdefault(title_of(finding["kind"], finding["class"]), []).append(finding)
    items = []
    for kind, same in by_title.items():
        colour, best = KINDS[same[0]["kind"]].colour, max(f["score"] for f in same)
        more = f", {len(same)} times" if len(same) > 1 else ""
        items.append(
            f'<li><i class="dot" style="background:{colour}"></i>{shown(kind)} '
            f"<span class=faint>{100 * best:.0f}&nbsp;%{more}</span></li>"
        )
    return (
        f'<div class="card">{picture}<div><strong>{title}</strong>'
        f"<div class=faint>{shown(text)}</div><ul>{''.join(items)}</ul></div></div>"
    )


def _thumb(crop: bytes | None, alt: str, entry: Mapping[str, Any]) -> str:
    if crop is None:
        return ""
    image = f'<img src="{_data(crop)}" alt="{alt}">'
    return f'<a href="{quote(entry["crop"])}">{image}</a>' if entry["crop"] else image


def _table(chart: Mapping[str, Any]) -> str:
    by_id = {finding["id"]: finding for finding in chart["findings"]}
    rows = []
    for tooth in chart["teeth"]:
        found = [by_id[identifier] for identifier in tooth["findings"]]
        words = described(tooth, found).partition(": ")[2]
        area = f"{tooth['area']}" if tooth["area"] else ""
        rows.append(
            f"<tr><td>{tooth['number']}</td><td>{tooth['name']}</td><td>{shown(words)}</td>"
            f'<td class="n">{area}</td></tr>'
        )
    head = '<tr><th>Tooth</th><th></th><th></th><th class="n">area in pixels</th></tr>'
    return f"<table>{head}{''.join(rows)}</table>"


def _about(chart: Mapping[str, Any]) -> str:
    bundles = ", ".join(
        f"{_ROLES.get(role, role)}: {about['name']}"
        for role, about in chart["made"]["bundles"].items()
    )
    return shown(
        "Percentages are scores of the models: how sure they are, not how likely a disease is. "
        "“Not found” may also mean overlooked. The patient's right is on the left. "
        f"Models: {bundles}."
    )


def _data(jpeg: bytes) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"
