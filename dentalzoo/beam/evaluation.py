"""`evaluate` on an engine."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from dentalzoo import api
from dentalzoo.beam.gathering import applied, hidden_folder, outcomes_of
from dentalzoo.beam.workers import MeasureWorker
from dentalzoo.bundle import Bundle, load
from dentalzoo.contracts import Report
from dentalzoo.data.pipeline.prefetch import FailureLog
from dentalzoo.errors import DentalzooError
from dentalzoo.output_dirs import check_outside
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

    Each sample is measured by a worker; its counts (of pixels, of matched boxes, the scores of a
    jaw) come back, and the report is made of them in this process, in the order of the samples. So
    all numbers are those of `dentalzoo.evaluate`, but for the seconds per sample, which are those
    of the workers.

    Args:
        bundle, data, out, split, options: as for `dentalzoo.evaluate`; in folders that all workers
            see. The tasks are segmentation, detection and reconstruction.
        runner: one of `dentalzoo.engines.RUNNERS`.
        runner_args: options of the runner, KEY=VALUE or KEY.

    Returns:
        The metrics, as written to `out`/evaluation.json.

    Raises:
        DentalzooError: as `dentalzoo.evaluate`; a bundle for generation or superimposition, whose
            scores are no sums over samples; no such runner or option, or the pipeline failed.
    """
    check_outside(Path(out))
    bundle = bundle if isinstance(bundle, Bundle) else load(bundle)
    make = getattr(api.task_of(bundle), "Evaluation", None)
    if make is None:
        raise DentalzooError(
            "a bundle must be for segmentation, detection or reconstruction to be evaluated on an "
            "engine: other scores compare all images with each other. "
            f"Received: {bundle.name}, for {bundle.task}"
        )
    made = api.make_options(bundle.task, "evaluate", options)
    folder = Path(out).absolute()
    evaluation = make(bundle, Path(data).absolute(), split=split, out=folder, options=made)
    names = [evaluation.measure.name(sample) for sample in evaluation.samples]
    items = [
        Item(number, Path(name), name, name, sample)
        for number, (name, sample) in enumerate(zip(names, evaluation.samples, strict=True), 1)
    ]
    failed: list[tuple[str, str]] = []
    worker = MeasureWorker(bundle, evaluation.measure)
    with hidden_folder(folder) as hidden:
        outcomes = outcomes_of(items, applied(worker), hidden, runner, runner_args)

        def results() -> Iterator[tuple[Any, Any]]:
            with FailureLog(failed, evaluation.unit) as log:
                for item, outcome in outcomes:
                    if outcome.reason is None:
                        yield item.source, outcome.result
                    else:
                        log.add(item.name, outcome.reason)

        return evaluation.report(results(), failed)
