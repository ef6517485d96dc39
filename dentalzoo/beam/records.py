"""TFRecord files written on an engine."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dentalzoo.beam.gathering import hidden_folder, outcomes_of
from dentalzoo.beam.workers import Outcome
from dentalzoo.data.boxes import samples_of_records
from dentalzoo.data.formats.tfrecord import RecordReport, ShardPlan, ShardWriter
from dentalzoo.errors import require
from dentalzoo.output_dirs import check_outside
from dentalzoo.tasks.predictor import Item

if TYPE_CHECKING:
    import apache_beam as beam
else:
    beam = require("apache_beam", "beam")


def write_records(
    data: str | Path,
    out: str | Path,
    *,
    classes: Sequence[str] | None = None,
    clahe: bool = False,
    skip_empty: bool = False,
    shards: int = 8,
    quality: int = 95,
    val_fraction: float = 0.1,
    runner: str = "DirectRunner",
    runner_args: Iterable[str] = (),
) -> RecordReport:
    """Write images with boxes as TFRecord files, as `dentalzoo.data.boxes.write_records` does.

    Each file is written by one worker, so `shards` bounds how many work at a time. The files are
    the same, byte for byte, and whole or absent; an interrupted run is resumed.

    Args:
        runner: one of `dentalzoo.engines.RUNNERS`.
        runner_args: options of the runner, KEY=VALUE or KEY.

    The others, what is returned and what is raised are those of that function; a pipeline that
    fails raises DentalzooError too. The folders must be ones that all workers see.
    """
    check_outside(Path(out))
    data, folder = Path(data).absolute(), Path(out).absolute()
    samples, names = samples_of_records(
        data, classes, skip_empty=skip_empty, val_fraction=val_fraction
    )
    plan = ShardPlan(samples, folder, names, root=data, clahe=clahe, shards=shards, quality=quality)
    missing = plan.missing()
    items = [
        Item(number, folder / name, name, name, content)
        for number, (name, content) in enumerate(missing.items(), 1)
    ]
    written = _Write(plan.writer)
    with hidden_folder(folder) as hidden:
        for item, outcome in outcomes_of(items, written, hidden, runner, runner_args):
            plan.add(item.name, outcome.result)
    return plan.report()


class _Write:
    """The transform from items, each a file with its images, to outcomes."""

    def __init__(self, writer: ShardWriter) -> None:
        self._writer = writer

    def __call__(self, items: Any) -> Any:
        return items | "Write" >> beam.Map(_written, self._writer)


def _written(item: Item, writer: ShardWriter) -> Outcome:
    return Outcome(item.number, writer(item.path, item.source))
