"""Engines of several machines, on which `dentalzoo.beam` runs, and their flags.

Apart from that package so that the command line knows the names without importing Apache Beam.
"""

import argparse
import importlib
import logging
from types import ModuleType

from dentalzoo.errors import DentalzooError

# PortableRunner is any engine that has a job server of Beam, named by job_endpoint.
RUNNERS = ("DirectRunner", "FlinkRunner", "SparkRunner", "DataflowRunner", "PortableRunner")


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add --runner and --runner-arg."""
    group = parser.add_argument_group("on Apache Beam, see docs/distributed.md")
    group.add_argument("--runner", choices=RUNNERS, help="run on this engine (default: without)")
    group.add_argument(
        "--runner-arg",
        nargs="+",
        action="extend",
        default=[],
        metavar="KEY=VALUE",
        help="options of the engine, such as direct_num_workers=3 or flink_master=HOST:8081",
    )


def chosen(options: argparse.Namespace) -> bool:
    """Return whether a command runs on an engine.

    Raises:
        DentalzooError: options of an engine without an engine.
    """
    if options.runner_arg and not options.runner:
        raise DentalzooError(
            f"--runner-arg must be given with --runner. Received: {' '.join(options.runner_arg)}"
        )
    return bool(options.runner)


def beam() -> ModuleType:
    """Import `dentalzoo.beam`, without the lines that Beam logs of clouds that are not there.

    Raises:
        DentalzooError: Apache Beam is not installed.
    """
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        return importlib.import_module("dentalzoo.beam")
    finally:
        logging.disable(before)
