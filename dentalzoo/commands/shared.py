"""What several sub-commands do with their options and results."""

import json
from argparse import Namespace
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from dentalzoo.errors import DentalzooError

if TYPE_CHECKING:
    from dentalzoo.data.formats.tfrecord import RecordReport
    from dentalzoo.tasks.base import PredictionReport


def on_engine(options: Namespace) -> dict[str, Any]:
    """Return the keywords of an engine with many processes."""
    return {"runner": options.runner, "runner_args": options.runner_arg}


def pairs(words: Sequence[str]) -> dict[str, str]:
    """Return KEY=VALUE words as a dictionary.

    Raises:
        DentalzooError: a word without "=".
    """
    for word in words:
        if "=" not in word:
            raise DentalzooError(f"settings must be KEY=VALUE. Received: {word!r}")
    return dict(word.split("=", 1) for word in words)


def show(options: Namespace, content: Any, text: str | None = None) -> None:
    """Print the content as JSON with --json, else the text."""
    print(text if text is not None and not options.json else json.dumps(content, indent=2))


def summary(report: "PredictionReport | RecordReport", out: str) -> int:
    """Print how many inputs have a result; return the exit status."""
    print(f"{report.written} written to {out}, {len(report.failed)} failed")
    return 1 if report.failed else 0
