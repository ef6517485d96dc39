"""The report as one HTML page without scripts, which opens from the disk."""

import html
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from dentalzoo.contracts import Report
from dentalzoo.data_report.findings import KINDS, Kind, counts
from dentalzoo.plots.palette import hex_colour, palette

_NAMES = 8  # of images without any object
_ROWS = 200  # of a list on the page; report.json has all
_COLOURED = 35  # classes with a colour of their own
_IN_FACTS = ("data", "date", "usable", "groups", "format", "bundle")
_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; color: #1e1e1e; max-width: 1180px;
  margin: 1.5em auto; padding: 0 1em }
h1 { font-size: 1.6em; margin: 0 }
h2 { font-size: 1.2em; margin: 2em 0 .3em; border-bottom: 1px solid #ddd }
h3 { font-size: 1em; margin: 1.2em 0 .3em }
p { max-width: 52em; margin: .4em 0 }
ul { margin: .3em 0 }
table { border-collapse: collapse; margin: .5em 0 }
td, th { padding: .15em .8em .15em 0; text-align: left; vertical-align: top }
td { overflow-wrap: anywhere }
td:first-child { min-width: 6em }
.n { text-align: right; font-variant-numeric: tabular-nums }
tr + tr td { border-top: 1px solid #eee }
figure { margin: 0 }
figcaption { font-size: .85em; overflow-wrap: anywhere }
img { box-sizing: border-box; max-width: 100%; height: auto; border: 1px solid #ddd }
summary { cursor: pointer }
.verdict { padding: .7em 1em; margin: 1em 0; border-left: 6px solid #009e73; background: #eef8f4 }
.fix { border-color: #d55e00; background: #fcf0e9 }
.faint { color: #666 }
.tiles { display: grid; grid-template-columns: repeat(auto-fill, minmax(270px, 1fr)); gap: 12px;
  margin: .6em 0 }
.figures { grid-template-columns: repeat(auto-fill, minmax(400px, 1fr)) }
.pair { display: flex; gap: 4px }
.pair img { flex: 1 1 0; min-width: 0; max-height: 300px; object-fit: contain; background: #f4f4f4 }
.key span { margin-right: 1.2em; white-space: nowrap }
.swatch { display: inline-block; width: .9em; height: .9em; margin-right: .3em;
  vertical-align: -.1em; border: 1px solid #888 }
"""


@dataclass(frozen=True)
class Tile:
    """A picture on the page.

    Attributes:
        files: one image file, or two side by side, beside the page.
        caption: as plain text.
    """

    files: tuple[str, ...]
    caption: str


@dataclass
class Pictures:
    """The pictures of a report.

    Attributes:
        figures: (file, what it shows) of the sizes.
        samples: class -> pictures.
        extremes: heading -> pictures of masks.
        of_kind: key of a kind of findings -> pictures.
    """

    figures: list[tuple[str, str]] = field(default_factory=list)
    samples: dict[str, list[Tile]] = field(default_factory=dict)
    extremes: dict[str, list[Tile]] = field(default_factory=dict)
    of_kind: dict[str, list[Tile]] = field(default_factory=dict)


def page(report: Report, name: str, classes: Sequence[str], pictures: Pictures) -> str:
    """Return the page.

    Args:
        report: see `report_data`.
        name: of the data folder, without the folders above it.
        classes: whose colours are explained.
        pictures: their files lie beside the page.
    """
    title = f"Data set {shown(name)}"
    lines = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width">',
        f"<title>{title}</title><style>{_STYLE}</style></head><body>",
        f"<h1>{title}</h1>",
        f'<p class="faint">{shown(_facts(report))}</p>',
        *_verdict(report),
        *_counts(report),
    ]
    for must_fix in (True, False):
        for kind in KINDS:
            if kind.must_fix == must_fix and report.get(kind.key):
                tiles = pictures.of_kind.get(kind.key, [])
                lines += _findings(kind, report[kind.key], tiles, report["data"])
    if pictures.figures:
        lines.append("<h2>Sizes</h2>")
        figures = (Tile((file,), what) for file, what in pictures.figures)
        lines.append(_tiles(figures, "tiles figures"))
        lines += _sizes(report)
    for heading, tiles in pictures.extremes.items():
        lines += [f"<h2>{shown(heading)}</h2>", _tiles(tiles)]
    if pictures.samples:
        lines.append("<h2>Samples of each class</h2>")
        lines.append("<p>Drawn at random, the same ones for the same seed.</p>")
        lines += _colours(classes)
        for label, tiles in pictures.samples.items():
            lines += [f"<h3>{shown(label)}</h3>", _tiles(tiles)]
    lines.append("</body></html>")
    return "\n".join(lines)


def shown(text: object) -> str:
    """Return a text for HTML: markup escaped, and characters that are not printed as numbers."""
    plain = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in str(text))
    return html.escape(plain)


def _facts(report: Report) -> str:
    what = "meshes" if "vertices" in report else "images"
    facts = [f"{report['usable']} usable {what}" if "usable" in report else ""]
    facts += [f"{report['groups']} groups" if "groups" in report else ""]
    facts += [f"format {report['format']}" if report.get("format") else ""]
    facts += [
        f"checked on {report['date']}",
        f"with {report['bundle']}" if "bundle" in report else "",
    ]
    return ", ".join(filter(None, facts))


def _verdict(report: Report) -> list[str]:
    to_fix, to_look = counts(report, True), counts(report, False)
    if to_fix:
        lines = ['<div class="verdict fix"><b>Must be fixed before training:</b>', _list(to_fix)]
    else:
        lines = ['<div class="verdict"><b>Nothing must be fixed before training.</b>']
    if to_look:
        lines += ["To look at:", _list(to_look)]
    return [*lines, "</div>"]


def _list(entries: Mapping[str, int]) -> str:
    keys = {kind.title: kind.key for kind in KINDS}
    items = (f'<li><a href="#{keys[t]}">{shown(t)}</a>: {n}</li>' for t, n in entries.items())
    return f"<ul>{''.join(items)}</ul>"


def _counts(report: Report) -> list[str]:
    splits = report.get("per_split") or {}
    labels = list(dict.fromkeys(label for one in splits.values() for label in one))
    if not labels:  # meshes, or nothing that can be used
        numbers = {k: v for k, v in report.items() if k not in _IN_FACTS}
        about = [
            [key.replace("_", " "), _plain(value)]
            for key, value in numbers.items()
            if isinstance(value, int | str | dict) and value != {}
        ]
        return [_table([], about)]
    boxes = "box_sizes" in report
    order = [*report.get("boxes", {}), *report.get("masks", {})]
    rows = []
    for label in [*order, *(label for label in labels if label not in order)]:
        row: list[object] = [label]
        for one in splits.values():
            count = one.get(label, {"objects": 0, "images": 0})
            row += [count["objects"], count["images"]] if boxes else [count["images"]]
        rows.append(row)
    heads = [""]
    for split in splits:
        number = report.get(split, "")
        images = f"{split} ({number} images)" if number != "" else split
        heads += [f"{images}: boxes", "on images"] if boxes else [images]
    empty = report.get("without_objects", ())
    names = ", ".join(empty[:_NAMES]) + f" and {len(empty) - _NAMES} more" * (len(empty) > _NAMES)
    note = [f"<p>{len(empty)} images without any object: {shown(names)}.</p>"] if empty else []
    return ["<h2>Classes and splits</h2>", _table(heads, rows), *note]


def _plain(value: object) -> str:
    """Return a value of a report as text: the keys and values of a dict, numbers rounded."""
    if isinstance(value, dict):
        return ", ".join(f"{key}: {_plain(one)}" for key, one in value.items())
    if isinstance(value, list):
        return " x ".join(map(_plain, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _sizes(report: Report) -> list[str]:
    sizes = report.get("image_sizes")
    lines = []
    if sizes:
        rows = [[f"{width} x {height}", n] for height, width, n in sizes["most_frequent"]]
        lines += ["<h3>Most frequent image sizes</h3>", _table(["width x height", "images"], rows)]
    boxes = report.get("box_sizes")
    if boxes:
        keys = ("min", "q1", "median", "q3", "max")
        rows = [[name, *(round(q[key], 1) for key in keys)] for name, q in boxes.items()]
        heads = ["root of the area, in pixels", "smallest", "1st quartile", "median"]
        lines += ["<h3>Box sizes</h3>", _table([*heads, "3rd quartile", "largest"], rows)]
    return lines


def _findings(
    kind: Kind, entries: Sequence[Sequence[str]], tiles: Sequence[Tile], data: str
) -> list[str]:
    # Of errors the data folder is left out: folders above it may name a patient.
    lines = [f'<h2 id="{kind.key}">{shown(kind.title)}: {len(entries)}</h2>']
    advice = re.sub(r"`([^`]*)`", r"<code>\1</code>", shown(kind.advice))
    lines.append(f"<p>{advice}</p>")
    lines.append(_tiles(tiles))
    rows = [[part.removeprefix(f"{data}: ") for part in e] for e in entries[:_ROWS]]
    text = _table([], rows)
    if len(entries) > _ROWS:
        text += f"<p>{len(entries) - _ROWS} more are in report.json.</p>"
    return [
        *lines,
        f"<details{' open' * (len(rows) <= 20)}><summary>List</summary>{text}</details>",
    ]


def _tiles(tiles: Iterable[Tile], style: str = "tiles") -> str:
    figures = []
    for tile in tiles:
        caption = shown(tile.caption)
        images = "".join(f'<img loading="lazy" src="{f}" alt="{caption}">' for f in tile.files)
        if len(tile.files) > 1:
            images = f'<div class="pair">{images}</div>'
        figures.append(f"<figure>{images}<figcaption>{caption}</figcaption></figure>")
    return f'<div class="{style}">{"".join(figures)}</div>' if figures else ""


def _colours(classes: Sequence[str]) -> list[str]:
    if len(classes) < 2:
        return []
    keys = (
        f'<span><i class="swatch" style="background:{hex_colour(palette()[number])}"></i>'
        f"{shown(name)}</span>"
        for number, name in enumerate(classes[:_COLOURED], 1)
    )
    return [f'<p class="key">{"".join(keys)}</p>']


def _table(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    def cell(value: object, tag: str = "td") -> str:
        number = isinstance(value, int | float)
        return f"<{tag}{' class=n' * number}>{shown(value)}</{tag}>"

    head = f"<tr>{''.join(f'<th>{shown(h)}</th>' for h in heads)}</tr>" if any(heads) else ""
    body = "".join(f"<tr>{''.join(map(cell, row))}</tr>" for row in rows)
    return f"<table>{head}{body}</table>"
