"""Many inputs through a pipeline and back, in order and in constant memory.

The inputs are written to a hidden folder in blocks, since a pipeline that holds them all would be
too large for an engine; the outcomes come back as blocks of the same numbers. Each block is whole
or absent, and the folder is removed at the end. It lies in the output folder, which every worker
must see anyway; beside it where results are anonymous, since it names the inputs.
"""

import pickle
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dentalzoo.atomic import write_atomically
from dentalzoo.beam.runners import pipeline_on
from dentalzoo.beam.transforms import Predict, ReadImages, WriteResults
from dentalzoo.beam.workers import Outcome, Worker
from dentalzoo.errors import DentalzooError, require
from dentalzoo.tasks.predictor import Item

if TYPE_CHECKING:
    import apache_beam as beam
else:
    beam = require("apache_beam", "beam")

BLOCK = 1000  # inputs: ours


@contextmanager
def hidden_folder(parent: Path) -> Iterator[Path]:
    """Yield a new folder for what the workers need of a run, and remove it at the end."""
    folder = parent.absolute() / f".beam-{secrets.token_hex(4)}.tmp"
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def outcomes_of(
    items: Sequence[Item],
    transform: Callable[[Any], Any],
    folder: Path,
    runner: str,
    runner_args: Iterable[str],
) -> Iterator[tuple[Item, Outcome]]:
    """Run a transform on all items; return each item with what became of it, in order.

    Args:
        transform: from a collection of `Item` to one of `Outcome`, such as `applied`.
        items: numbered from 1 in order.
        folder: an empty folder that every worker sees, see `hidden_folder`.
        runner, runner_args: see `pipeline_on`.

    Raises:
        DentalzooError: as `pipeline_on`, or the engine has lost or repeated an input.
    """
    if not items:
        return iter(())
    blocks = range((len(items) + BLOCK - 1) // BLOCK)
    for block in blocks:
        part = items[block * BLOCK : (block + 1) * BLOCK]
        write_atomically(_file(folder, "items", block), pickle.dumps(list(part)))
    with pipeline_on(runner, runner_args) as pipeline:
        found = (
            pipeline
            | "Blocks" >> beam.Create(list(blocks))
            | "Items" >> beam.FlatMap(_items, folder)
            | "Spread" >> beam.Reshuffle()
        )
        (
            transform(found)
            | "Number" >> beam.Map(_with_block)
            | "Gather" >> beam.GroupByKey()
            | "Outcomes" >> beam.Map(_write_block, folder)
        )
    return _in_order(items, blocks, folder)


def applied(worker: Worker) -> Callable[[Any], Any]:
    """Return the transform from items to outcomes that reads, predicts and writes."""

    def transform(items: Any) -> Any:
        images = items | ReadImages(worker)
        predictions = images.read | Predict(worker)
        written = predictions.predicted | WriteResults(worker)
        return (written, images.failed, predictions.failed) | "All" >> beam.Flatten()

    return transform


def _file(folder: Path, kind: str, block: int) -> Path:
    return folder / f"{kind}-{block:06d}.pickle"


def _items(block: int, folder: Path) -> list[Any]:
    path = _file(folder, "items", block)
    try:
        return list(pickle.loads(path.read_bytes()))
    except OSError as error:
        raise DentalzooError(
            f"the output folder must be one that every worker sees; {path} is not there"
        ) from error


def _with_block(outcome: Outcome) -> tuple[int, Outcome]:
    return (outcome.number - 1) // BLOCK, outcome


def _write_block(gathered: tuple[int, Iterable[Outcome]], folder: Path) -> None:
    block, outcomes = gathered
    ordered = sorted(outcomes, key=lambda outcome: outcome.number)
    write_atomically(_file(folder, "outcomes", block), pickle.dumps(ordered))


def _in_order(
    items: Sequence[Item], blocks: Iterable[int], folder: Path
) -> Iterator[tuple[Item, Outcome]]:
    for block in blocks:
        part = items[block * BLOCK : (block + 1) * BLOCK]
        path = _file(folder, "outcomes", block)
        outcomes = pickle.loads(path.read_bytes()) if path.exists() else []
        if [outcome.number for outcome in outcomes] != [item.number for item in part]:
            raise DentalzooError(
                f"the engine must return each of {len(part)} inputs once. "
                f"Received: {len(outcomes)} from {part[0].path} on"
            )
        yield from zip(part, outcomes, strict=True)
