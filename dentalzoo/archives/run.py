"""A run over an archive: this call's shard of the inputs, by several processes, restartable."""

import dataclasses
import logging
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any, cast

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from dentalzoo import __version__
from dentalzoo.archives.manifest import (
    AGAIN,
    DONE,
    FAILED,
    Archive,
    Line,
    Settings,
    ShardManifest,
    claim_run,
    locked,
    manifest_folder,
    read_run,
)
from dentalzoo.archives.pool import run_workers
from dentalzoo.archives.worker import Finished, Job
from dentalzoo.atomic import remove_leftovers, stamp
from dentalzoo.bundle import Bundle, load
from dentalzoo.bundle.integrity import digest
from dentalzoo.bundle.metadata import read_metadata
from dentalzoo.bundle.runtimes import choose
from dentalzoo.dispatch import Paths, make_options, task_of
from dentalzoo.errors import DentalzooError
from dentalzoo.tasks.base import PredictionReport
from dentalzoo.tasks.options import Options
from dentalzoo.tasks.predictor import Item, Plan, Predictor

_log = logging.getLogger("dentalzoo")

_MAX_LINES = 20  # of failed inputs in the log; all are in failed.csv


def predict_archive(
    path: Path,
    inputs: Paths,
    out: str | Path,
    *,
    given: Mapping[str, Any],
    workers: int = 1,
    shards: int = 1,
    shard: int = 0,
) -> PredictionReport:
    """Apply a bundle to one shard of the inputs, as `predict` of its task does to all of them.

    Results are those of `predict`. What is done is kept in the manifest, see `manifest`: after a
    kill, the same call goes on with the rest. The outputs that are made of all inputs (tables,
    projects, keys) are written when all shards are complete, by the last one.

    Args:
        path: the folder of a bundle.
        inputs: as for `predict`; the same in every call.
        out: the folder of the results, shared by all shards.
        given: options of the task's `predict` by name; the same in every call.
        workers: number of processes, each of which loads the bundle.
        shards: number of calls, at any time and on any machine, that divide the inputs.
        shard: which of them this is, from 0. Input i, from 0, belongs to shard i modulo `shards`.

    Returns:
        The inputs of this shard with a result, and the path and reason of each that failed, of
        this call and of earlier ones.

    Raises:
        DentalzooError: as `predict`; the folder holds another run, or another process has the
            shard; the workers cannot load the bundle, or die without end; a number is invalid.
    """
    described = Bundle(path, read_metadata(path), cast(Any, {}))  # without its functions
    task_of(described)  # which this version may not know
    options = make_options(described.task, "predict", given)
    plain = dataclasses.asdict(options)
    runtime = choose(path)
    settings = Settings(__version__, described.name, digest(path), runtime, plain, shards)
    predictor = predictor_of(described, options)
    return run_archive(
        predictor, partial(_load, path, options, runtime), settings, inputs, out, workers, shard
    )


def predictor_of(bundle: Bundle, options: Options) -> Predictor:
    """Return the predictor of a bundle's task."""
    return task_of(bundle).Predictor(bundle, options)


def _load(path: Path, options: Options, runtime: str) -> Predictor:
    return predictor_of(load(path, runtime), options)


# ---- the run -------------------------------------------------------------------------------------


def run_archive(
    predictor: Predictor,
    make: Callable[[], Predictor],
    settings: Settings,
    inputs: Paths,
    out: str | Path,
    workers: int,
    shard: int,
) -> PredictionReport:
    """Run one shard, see `predict_archive`.

    Args:
        predictor: of this process, which computes nothing.
        make: returns the predictor of a worker; it is pickled.
    """
    for name, value, low in (("workers", workers, 1), ("shards", settings.shards, 1)):
        if not isinstance(value, int) or value < low:
            raise DentalzooError(f"{name} must be an integer >= {low}. Received: {value!r}")
    if not isinstance(shard, int) or not 0 <= shard < settings.shards:
        raise DentalzooError(
            f"shard must be an integer from 0 to {settings.shards - 1}, below shards. "
            f"Received: {shard!r}"
        )
    out = Path(out)
    folder, plan, shared = _planned(predictor, settings, inputs, out)
    with ShardManifest(folder, shard, settings.shards, len(plan.items)) as manifest:
        finished = _finished(manifest, plan.items, out)
        todo = [n for n in manifest.numbers if not finished[manifest.numbers.index(n)]]
        if todo:
            if len(todo) < len(manifest.numbers):
                done = len(manifest.numbers) - len(todo)
                _log.info("%s: %d of %d are done already", out, done, len(manifest.numbers))
            job = Job(make, shared, out)
            items = (plan.items[number - 1] for number in todo)
            progress = tqdm(
                run_workers(job, items, min(workers, len(todo))),
                predictor.title,
                len(manifest.numbers),
                initial=len(manifest.numbers) - len(todo),
                disable=None,
                unit=predictor.unit,
            )
            with logging_redirect_tqdm():
                for item, result in progress:
                    manifest.add(_line(item, result))
        report = _report(manifest, plan, shard)
    _combine(predictor, folder, settings.shards, plan, out)
    for path, reason in report.failed[:_MAX_LINES]:
        _log.warning("%s: %s", path, reason)
    if (more := len(report.failed) - _MAX_LINES) > 0:
        _log.warning("and %d more failed; see %s", more, folder)
    return report


def _planned(
    predictor: Predictor, settings: Settings, inputs: Paths, out: Path
) -> tuple[Path, Plan, Mapping[str, Any]]:
    """List the inputs, and begin the run or take part in it."""
    anonymize = bool(settings.options.get("anonymize"))
    folder = manifest_folder(out, anonymize)
    known = read_run(folder)
    if known is not None:
        settings.compare(out, known)  # before the inputs are listed, which may take long
    elif other := read_run(manifest_folder(out, not anonymize)):
        settings.compare(out, other)
    # One process at a time writes the keys of anonymous names.
    with locked(folder) if anonymize else nullcontext():
        plan = predictor.plan(inputs, out)
    shared = claim_run(folder, out, settings, plan.items, plan.shared)
    return folder, plan, shared


def _finished(manifest: ShardManifest, items: Any, out: Path) -> bytearray:
    """Return 1 for each input of the shard that is finished, and note which ones are not any more.

    An input is done again where its file has changed, or a file of its results is gone.
    """
    offsets, _ = manifest.index()
    finished = bytearray(len(manifest.numbers))
    again: list[Line] = []
    for line in manifest.at(offsets):
        if line.is_whole(items[line.number - 1], out):
            finished[manifest.numbers.index(line.number)] = 1
        else:
            again.append(Line(line.number, line.input, line.name, AGAIN))
    for line in again:
        manifest.add(line)
    if again:
        _log.warning(
            "%d inputs have changed or their results are gone: they are done again", len(again)
        )
    return finished


def _line(item: Item, finished: Finished) -> Line:
    _, size, time_ns = stamp(item.path)
    about = dict(number=item.number, input=item.file, name=item.name, size=size, time_ns=time_ns)
    seconds = round(finished.seconds, 3)
    if finished.result is None:
        reason = finished.reason.replace(f"{item.path.parent}/", "")  # may identify a patient
        return Line(**about, status=FAILED, reason=reason, seconds=seconds)  # type: ignore[arg-type]  # of a dict
    problems = [[Path(path).name, reason] for path, reason in finished.result.problems]
    return Line(
        **about,  # type: ignore[arg-type]  # of a dict
        status=DONE,
        files=finished.sizes,
        problems=problems,
        seconds=seconds,
        record=finished.result.record,
    )


def _report(manifest: ShardManifest, plan: Plan, shard: int) -> PredictionReport:
    """Return the counts of a shard; what is no input at all is reported by the first one."""
    report = PredictionReport(failed=[] if shard else list(plan.failed))
    offsets, _ = manifest.index()
    for line in manifest.at(offsets):
        item = plan.items[line.number - 1]
        report.written += line.status == DONE
        if line.status == FAILED:
            report.failed.append((str(item.path), line.reason))
        for name, reason in line.problems:
            path = str(item.path) if name == item.path.name else name
            report.failed.append((path, reason))
    return report


def _combine(predictor: Predictor, folder: Path, shards: int, plan: Plan, out: Path) -> None:
    """Write the outputs that are made of all inputs, where all shards are complete."""
    with locked(folder):
        archive = Archive(folder, shards, plan.items)
        if any(archive.missing):
            open_shards = [str(i) for i, count in enumerate(archive.missing) if count]
            _log.warning(
                "%s: %d of %d inputs are still missing (shards %s): outputs made of all inputs are "
                "written when all shards are complete",
                *(out, sum(archive.missing), len(plan.items)),
                ", ".join(open_shards[:10]) + (", ..." if len(open_shards) > 10 else ""),
            )
            return
        if archive.is_combined(out):
            return
        remove_leftovers(out)
        written = predictor.combine(
            ((item, line.record) for item, line in archive.lines() if line.status == DONE), out
        )
        archive.write_failed()
        archive.set_combined(out, written)
