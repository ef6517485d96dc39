"""The flags of the sub-command `chart`."""

import argparse
from dataclasses import fields

from dentalzoo.charting.options import ChartOptions
from dentalzoo.config import rule_of


def add_chart_flags(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `chart`."""
    parser.add_argument("inputs", nargs="*", metavar="FILE_OR_DIR", help="panoramic radiographs")
    parser.add_argument("--out", required=True, help="folder for the charts")
    parser.add_argument(
        "--compare",
        nargs=2,
        metavar=("OLDER", "NEWER"),
        help="compare two charts of one patient (NAME_chart.json) instead of making charts",
    )
    for field in fields(ChartOptions):
        flag, rule = f"--{field.name}", rule_of(field)
        if field.default is False:
            parser.add_argument(flag, action="store_true", help=rule.help)
        elif field.default == ():
            parser.add_argument(flag, nargs="+", choices=rule.choices, default=(), help=rule.help)
        else:
            parser.add_argument(
                flag,
                metavar="BUNDLE",
                default=field.default,
                help=f"{rule.help} (default {field.default})",
            )
