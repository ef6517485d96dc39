"""`evaluate` on an engine."""

import secrets
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from dentalzoo import api
from dentalzoo.beam.gathering import applied, hidden_folder, outcomes_of
from dentalzoo.beam.places import Place
from dentalzoo.beam.workers import MeasureWorker
from dentalzoo.bundle import Bundle, load
from dentalzoo.contracts import Report
from dentalzoo.data.pipeline.prefetch import FailureLog
from dentalzoo.output_dirs import check_outside
from dentalzoo.tasks.base import Measure
from dentalzoo.tasks.predictor import Item


def evaluate(
    bundle: Bundle | str | Path,
    data: str | Path,
    *,
    out: str | Path,
    split: str | None = None,
    runner: str = "DirectRunner",
    runner_args: Iterable[str] = (),
    **options: Any,
) -> Report:
    """Measure a bundle on annotated data, as `dentalzoo.evaluate` does, on an engine.

    Each sample is measured by a worker; what the report needs of it (counts of pixels, matched
    boxes, scores, codes and features of an image) comes back, and the report is made of it in this
    process, in the order of the samples. So all numbers are those of `dentalzoo.evaluate`, but for
    the seconds per sample, which are those of the workers. The figures are drawn in this process.

    Args:
        bundle, data, out, split, options: as for `dentalzoo.evaluate`; in folders that all workers
            see.
        runner: one of `dentalzoo.engines.RUNNERS`.
        runner_args: options of the runner, KEY=VALUE or KEY.

    Returns:
        The metrics, as written to `out`/evaluation.json.

    Raises:
        DentalzooError: as `dentalzoo.evaluate`; no such runner or option, or the pipeline failed.
    """
    check_outside(Path(out))
    bundle = bundle if isinstance(bundle, Bundle) else load(bundle)
    made = api.make_options(bundle.task, "evaluate", options)
    folder = Path(out).absolute()
    task = api.task_of(bundle)
    evaluation = task.Evaluation(
        bundle, Path(data).absolute(), split=split, out=folder, options=made
    )
    with hidden_folder(folder) as hidden:
        return evaluation.run(partial(_measured, hidden, runner, runner_args))


def _measured(
    hidden: Place,
    runner: str,
    runner_args: Iterable[str],
    bundle: Bundle,
    samples: Sequence[Any],
    measure: Measure,
    failed: list[tuple[str, str]],
    *,
    title: str = "evaluating",
    unit: str = "image",
) -> Iterator[tuple[Any, Any]]:
    """Measure samples by one pipeline, see `dentalzoo.tasks.base.Each`."""
    names = [measure.name(sample) for sample in samples]
    items = [
        Item(number, Path(name), name, name, sample)
        for number, (name, sample) in enumerate(zip(names, samples, strict=True), 1)
    ]
    transform = applied(MeasureWorker(bundle, measure))
    folder = hidden.below(secrets.token_hex(4))  # of this pipeline alone
    with FailureLog(failed, unit) as log:
        for item, outcome in outcomes_of(items, transform, folder, runner, runner_args):
            if outcome.reason is None:
                yield item.source, outcome.result
            else:
                log.add(item.name, outcome.reason)
