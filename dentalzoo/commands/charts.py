"""The sub-command `chart`."""

from argparse import Namespace
from dataclasses import fields

import dentalzoo as dz
from dentalzoo.charting.options import ChartOptions
from dentalzoo.commands.shared import show
from dentalzoo.errors import DentalzooError


def do_chart(options: Namespace) -> int:
    given = {field.name: getattr(options, field.name) for field in fields(ChartOptions)}
    if options.compare:
        return _compare(
            options, [f.name for f in fields(ChartOptions) if given[f.name] != f.default]
        )
    if not options.inputs:
        raise DentalzooError("chart must be given radiographs, or --compare. Received: neither")
    report = dz.chart(options.inputs, options.out, **given)
    text = f"{report.written} charts written to {options.out}, {len(report.failed)} failed"
    show(options, {"written": report.written, "failed": report.failed}, text)
    return 1 if report.failed else 0


def _compare(options: Namespace, changed: list[str]) -> int:
    if options.inputs or changed:
        received = options.inputs[0] if options.inputs else f"--{changed[0]}"
        raise DentalzooError(
            "--compare cannot be combined with radiographs, nor with the options that make charts. "
            f"Received: {received}"
        )
    older, newer = options.compare
    comparison = dz.compare_charts(older, newer, options.out)
    changes = [change["text"] for change in comparison["changes"]]
    lines = [*(f"warning: {line}" for line in comparison["warnings"]), *changes]
    lines.append(f"{len(changes)} changes, written to {options.out}")
    show(options, comparison, "\n".join(lines))
    return 0
