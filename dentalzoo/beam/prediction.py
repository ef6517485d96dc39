"""`predict` on an engine."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from dentalzoo import api
from dentalzoo.archives.manifest import refuse_run
from dentalzoo.atomic import remove_leftovers
from dentalzoo.beam.gathering import applied, hidden_folder, outcomes_of
from dentalzoo.beam.places import Folder, Store, place_of
from dentalzoo.beam.workers import PredictWorker
from dentalzoo.bundle import Bundle, load
from dentalzoo.data.io.stored import is_address
from dentalzoo.data.pipeline.prefetch import FailureLog
from dentalzoo.errors import DentalzooError
from dentalzoo.output_dirs import check_outside
from dentalzoo.tasks.base import PredictionReport
from dentalzoo.tasks.predictor import Item

_KEYS = ("_key.csv", "_dicom_key.json")  # of anonymous results, beside their folder


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
            or for inputs and `out` in an object store.
        runner: one of `dentalzoo.engines.RUNNERS`.
        runner_args: options of the runner, KEY=VALUE or KEY.

    Returns:
        The number of inputs with a result, and the path and reason of each that failed.

    Raises:
        DentalzooError: as `dentalzoo.predict`; no such runner or option, or the pipeline failed;
            or a project of an annotation tool is asked for in an object store.
    """
    given = [inputs] if isinstance(inputs, str | Path) else list(inputs)
    place = _place_for(out)
    if options.get("ground_truth"):
        options["ground_truth"] = str(Path(options["ground_truth"]).absolute())
    bundle = bundle if isinstance(bundle, Bundle) else load(bundle)
    made = api.make_options(bundle.task, "predict", options)
    predictor = api.task_of(bundle).Predictor(bundle, made)
    if isinstance(place, Store) and any(getattr(made, key, None) for key in ("format", "vott")):
        raise DentalzooError(
            "out must be a folder on a disk for format and vott, whose projects have copies of the "
            f"images. Received: {place}"
        )
    found = [path if is_address(path) else Path(path).absolute() for path in given]
    with _local(place) as (folder, publish):
        plan = predictor.plan(found, folder)
        _refuse_inputs_in(place, plan.items)
        publish()  # keys of anonymous names, before what they name
        report = PredictionReport(failed=list(plan.failed))
        # What names the inputs must not be left with anonymous results, even if this is killed.
        beside = place.parent if options.get("anonymize") else place
        with hidden_folder(beside) as hidden:
            shared = PredictWorker.write_shared(hidden, plan.shared)
            worker = PredictWorker(bundle, made, shared, place)
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
        publish()
    return report


# ---- results in an object store ------------------------------------------------------------------


def _place_for(out: str | Path) -> Folder | Store:
    """Return where the results go.

    Raises:
        DentalzooError: that is a bundle, or a folder with a run of `--workers`.
    """
    if not is_address(out):
        check_outside(Path(out))
    place = place_of(out)
    if isinstance(place, Folder):
        check_outside(place.path)
        refuse_run(place.path)
    return place


@contextmanager
def _local(place: Folder | Store) -> Iterator[tuple[Path, Callable[[], None]]]:
    """Yield a folder for what this process writes, and what brings it to its place.

    For a store it is temporary. It begins with the keys of an earlier run, which lie beside the
    folder of the results, so that the same inputs get the same names again.
    """
    if isinstance(place, Folder):
        yield place.path, lambda: None
        return
    with TemporaryDirectory() as temporary:
        parent = Path(temporary).resolve()
        for ending in _KEYS:
            if (content := place.parent.read(f"{place.name}{ending}")) is not None:
                (parent / f"{place.name}{ending}").write_bytes(content)

        def publish() -> None:
            for path in sorted(parent.rglob("*")):
                if path.is_file():
                    place.parent.write(path.relative_to(parent).as_posix(), path)

        yield parent / place.name, publish


def _refuse_inputs_in(place: Folder | Store, items: Iterable[Item]) -> None:
    if isinstance(place, Store) and any(i.path.parent == Path(place.address) for i in items):
        raise DentalzooError(
            "out must be a folder without inputs, so that none of them is overwritten. "
            f"Received: {place}, which holds inputs"
        )
