"""Many inputs through a pipeline and back, in order and in constant memory.

The inputs are written to a hidden folder in blocks, since a pipeline that holds them all would be
too large for an engine; the outcomes come back as blocks of the same numbers. Each block is whole
or absent, and the folder is removed at the end. It lies in the output folder, which every worker
must see anyway, in an object store too; beside it where results are anonymous, since it names the
inputs.
"""

import pickle
import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dentalzoo.beam.places import Place, place_of
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
def hidden_folder(parent: Path | Place) -> Iterator[Place]:
    """Yield a new folder for what the workers need of a run, and remove it at the end."""
    place = place_of(parent) if isinstance(parent, Path) else parent
    folder = place.below(f".beam-{secrets.token_hex(4)}.tmp")
    try:
        yield folder
    finally:
        folder.remove()


def outcomes_of(
    items: Sequence[Item],
    transform: Callable[[Any], Any],
    folder: Place,
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
        folder.write(_file("items", block), pickle.dumps(list(part)))
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


def _file(kind: str, block: int) -> str:
    return f"{kind}-{block:06d}.pickle"


def _items(block: int, folder: Place) -> list[Any]:
    content = folder.read(_file("items", block))
    if content is None:
        raise DentalzooError(
            "the output folder must be one that every worker sees; "
            f"{folder}/{_file('items', block)} is not there"
        )
    return list(pickle.loads(content))


def _with_block(outcome: Outcome) -> tuple[int, Outcome]:
    return (outcome.number - 1) // BLOCK, outcome


def _write_block(gathered: tuple[int, Iterable[Outcome]], folder: Place) -> None:
    block, outcomes = gathered
    ordered = sorted(outcomes, key=lambda outcome: outcome.number)
    folder.write(_file("outcomes", block), pickle.dumps(ordered))


def _in_order(
    items: Sequence[Item], blocks: Iterable[int], folder: Place
) -> Iterator[tuple[Item, Outcome]]:
    for block in blocks:
        part = items[block * BLOCK : (block + 1) * BLOCK]
        content = folder.read(_file("outcomes", block))
        outcomes = pickle.loads(content) if content else []
        if [outcome.number for outcome in outcomes] != [item.number for item in part]:
            raise DentalzooError(
                f"the engine must return each of {len(part)} inputs once. "
                f"Received: {len(outcomes)} from {part[0].path} on"
            )
        yield from zip(part, outcomes, strict=True)
