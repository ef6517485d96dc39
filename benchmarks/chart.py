"""Which teeth a dental chart says are there, on annotated radiographs that chose nothing.

A radiograph is annotated with a box and an FDI number for each tooth. Only numbers count here: a
number is present or not, in the chart and in the annotation. Intervals are over radiographs.
"""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from peers.turns import show

import dentalzoo as dz
from dentalzoo.charting.mouth import PERMANENT
from dentalzoo.charting.options import ChartOptions
from dentalzoo.charting.schema import read_chart
from dentalzoo.data.boxes import find_boxes
from dentalzoo.data.teeth import tooth_numbers
from dentalzoo.ops.intervals import cell_text, interval, ratio_of

# Of `dentex_fdi`: drawn from the training part before the released bundle was trained on the rest.
TEST = ("015", "078", "093", "100", "105", "119", "125", "140", "151", "157", "162", "164")


def annotated(
    data: Path, names: tuple[str, ...], split: str | None
) -> dict[str, tuple[Path, set[int]]]:
    """Return the image and the numbers of each radiograph by its stem."""
    found = {}
    for sample in find_boxes(data, split=split).samples:
        if names and sample.image.stem not in names:
            continue
        numbers = {tooth_numbers([box.label])[0] for box in sample.boxes}
        found[sample.image.stem] = sample.image, numbers
    return found


def measured(teeth: dict[str, tuple[Path, set[int]]], options: dict[str, str]) -> list[list[Any]]:
    """Return the rows of the table: charts of all radiographs against their annotation."""
    with tempfile.TemporaryDirectory() as out:
        report = dz.chart([image for image, _ in teeth.values()], out, **options)
        assert not report.failed, report.failed
        charts = {stem: read_chart(Path(out) / f"{stem}_chart.json") for stem in teeth}
    truth = np.array([[n in numbers for n in PERMANENT] for _, numbers in teeth.values()])
    chart = np.array(
        [
            [tooth["state"] == "present" for tooth in charts[stem]["teeth"] if tooth["number"] < 50]
            for stem in teeth
        ]
    )
    boxed = chart | np.array(  # before the rule that a box must have an outline
        [
            [
                any(e["kind"] == "no_outline" and n in e["teeth"] for e in chart["contradictions"])
                for n in PERMANENT
            ]
            for chart in charts.values()
        ]
    )
    rows = []
    for name, said in (("chart", chart), ("boxes alone", boxed)):
        right = said & truth
        shares = {
            "accuracy": ((said == truth).sum(1), np.full(len(said), len(PERMANENT))),
            "precision of present": (right.sum(1), said.sum(1)),
            "recall of present": (right.sum(1), truth.sum(1)),
            "recall of absent": ((~said & ~truth).sum(1), (~truth).sum(1)),
        }
        for key, (parts, wholes) in shares.items():
            row = interval(ratio_of(parts, wholes), len(said))
            rows.append([name, key, cell_text(row), f"{parts.sum()} of {wholes.sum()}"])
    exact = (chart == truth).all(1)
    rows.append(["chart", "radiographs without any error", f"{exact.mean():.3f}", f"{exact.sum()}"])
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--data", type=Path, required=True, help="images with boxes of numbered teeth"
    )
    parser.add_argument("--split", help="train, val or test (default: all samples)")
    parser.add_argument(
        "--images", nargs="+", help="only these, by their stem; `test` for the twelve of dentex_fdi"
    )
    for name in ("outlines", "numbers"):
        parser.add_argument(f"--{name}", default=getattr(ChartOptions, name), help="bundle")
    parser.add_argument("--json", type=Path, help="also write the table to this file")
    given = parser.parse_args()
    names = TEST if given.images == ["test"] else tuple(given.images or ())
    teeth = annotated(given.data, names, given.split)
    options = {"outlines": given.outlines, "numbers": given.numbers, "findings": "none"}
    rows = measured(teeth, options)
    show(
        f"Presence of {len(PERMANENT)} teeth on {len(teeth)} radiographs",
        ["", "", "value (95 % interval)", "teeth"],
        rows,
    )
    if given.json:
        given.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
