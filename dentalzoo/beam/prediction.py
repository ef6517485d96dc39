"""`predict` on an engine."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from dentalzoo import api
from dentalzoo.archives.manifest import refuse_run
from dentalzoo.atomic import remove_leftovers, write_json
from dentalzoo.beam.gathering import applied, hidden_folder, outcomes_of
from dentalzoo.beam.workers import PredictWorker
from dentalzoo.bundle import Bundle, load
from dentalzoo.data.io.stored import is_address
from dentalzoo.data.pipeline.prefetch import FailureLog
from dentalzoo.output_dirs import check_outside
from dentalzoo.tasks.base import PredictionReport
from dentalzoo.tasks.predictor import Item


def predict(
    bundle: Bundle | str | Path,
    inputs: str | Path | Iterable[str | Path],
    out: str | Path,
    *,
    runner: str = "DirectRunner",
    runner_args: Iterable[str] = (),
    **options: Any,
) -> PredictionReport:
    """Apply a bundle to files and folders, as `dentalzoo.predict` does, on an engine.

    The files are those of `dentalzoo.predict`, byte for byte. The inputs are listed and tables
    such as detections.csv are made in this process; each input is read, predicted and written by a
    worker.

    Args:
        bundle, inputs, out, options: as for `dentalzoo.predict`; in folders that all workers see,
            or for inputs in an object store.
        runner: one of `dentalzoo.engines.RUNNERS`.
        runner_args: options of the runner, KEY=VALUE or KEY.

    Returns:
        The number of inputs with a result, and the path and reason of each that failed.

    Raises:
        DentalzooError: as `dentalzoo.predict`; no such runner or option, or the pipeline failed.
    """
    given = [inputs] if isinstance(inputs, str | Path) else list(inputs)
    check_outside(Path(out))
    if options.get("ground_truth"):
        options["ground_truth"] = str(Path(options["ground_truth"]).absolute())
    bundle = bundle if isinstance(bundle, Bundle) else load(bundle)
    made = api.make_options(bundle.task, "predict", options)
    predictor = api.task_of(bundle).Predictor(bundle, made)
    folder = Path(out).absolute()
    refuse_run(folder)
    found = [path if is_address(path) else Path(path).absolute() for path in given]
    plan = predictor.plan(found, folder)
    report = PredictionReport(failed=list(plan.failed))
    # What names the inputs must not be left with anonymous results, even if this is killed.
    with hidden_folder(folder.parent if options.get("anonymize") else folder) as hidden:
        write_json(hidden / "shared.json", plan.shared)
        worker = PredictWorker(bundle, made, hidden / "shared.json", folder)
        outcomes = outcomes_of(plan.items, applied(worker), hidden, runner, runner_args)

        def records() -> Iterator[tuple[Item, Mapping[str, Any]]]:
            with FailureLog(report.failed, predictor.unit) as log:
                for item, outcome in outcomes:
                    for path, reason in outcome.problems:
                        log.add(path, reason)
                    if outcome.reason is None:
                        report.written += 1
                        yield item, outcome.result
                    else:
                        log.add(str(item.path), outcome.reason)

        stream = records()
        predictor.combine(stream, folder)
        for _ in stream:  # what `combine` did not need
            pass
    remove_leftovers(folder)  # of attempts that were killed
    return report
