"""Runners by name, their options, and a pipeline's error in one line."""

import argparse
import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from dentalzoo.config import did_you_mean
from dentalzoo.engines import RUNNERS
from dentalzoo.errors import DentalzooError, require

if TYPE_CHECKING:
    import apache_beam as beam
    from apache_beam.options.pipeline_options import (
        DirectOptions,
        PipelineOptions,
        WorkerOptions,
    )
else:
    beam = require("apache_beam", "beam")
    from apache_beam.options.pipeline_options import (
        DirectOptions,
        PipelineOptions,
        WorkerOptions,
    )

_KNOWING = ("DirectRunner", "DataflowRunner")  # the others take options that their server knows


@contextmanager
def pipeline_on(runner: str, runner_args: Iterable[str] = ()) -> Iterator["beam.Pipeline"]:
    """Yield a pipeline to build, then run it and wait for its end.

    Args:
        runner: one of `RUNNERS`.
        runner_args: options of the runner, KEY=VALUE or KEY, as Beam documents them, without the
            dashes: "direct_num_workers=3", "flink_master=host:8081".

    Raises:
        DentalzooError: no such runner or option, or the pipeline failed.
    """
    options = runner_options(runner, runner_args)
    try:
        pipeline = beam.Pipeline(runner=_runner(runner, options), options=options)
    except ValueError as error:  # options that the runner needs
        missing = " ".join(str(error).split())
        raise DentalzooError(f"runner_args must suit {runner}. Received: {missing}") from None
    yield pipeline
    try:
        with _quiet():
            state = pipeline.run().wait_until_finish()
    except Exception as error:  # of any kind: the engine wraps what its workers raised
        raise DentalzooError(
            f"the pipeline failed on {runner}; its log has the details. Received: {_cause(error)}"
        ) from error
    if state != beam.runners.runner.PipelineState.DONE:
        raise DentalzooError(f"the pipeline on {runner} must end with DONE. Received: {state}")


def runner_options(runner: str, runner_args: Iterable[str] = ()) -> "PipelineOptions":
    """Return the options of a pipeline.

    Raises:
        DentalzooError: no such runner, or an option that it does not have.
    """
    if runner not in RUNNERS:
        raise DentalzooError(f"runner must be one of: {', '.join(RUNNERS)}. Received: {runner!r}")
    words = list(runner_args)
    for word in words:
        if word.startswith("-") or not word.partition("=")[0]:
            raise DentalzooError(f"runner_args must be KEY=VALUE or KEY. Received: {word!r}")
    flags = [f"--{word}" for word in words]
    known = _parser()
    try:
        _, unknown = known.parse_known_args(flags)
    except argparse.ArgumentError as error:
        raise DentalzooError(f"runner_args must suit {runner}. Received: {error}") from None
    if unknown and runner in _KNOWING:
        name = unknown[0].removeprefix("--").partition("=")[0]
        names = [flag.removeprefix("--") for flag in known._option_string_actions]
        raise DentalzooError(
            f"runner_args must be options of {runner}. {did_you_mean(name, names)}"
            f"Received: {name!r}"
        )
    options = PipelineOptions(flags)
    workers = options.view_as(WorkerOptions)
    if workers.default_sdk_harness_log_level is None:  # else a worker logs each of its steps
        workers.default_sdk_harness_log_level = "WARNING"
    local = options.view_as(DirectOptions)
    named = {word.partition("=")[0] for word in words}
    if local.direct_num_workers != 1 and "direct_running_mode" not in named:
        local.direct_running_mode = "multi_processing"  # else all but one would have nothing to do
    return options


def _parser() -> Any:
    """Return a parser of all options that Beam itself has."""
    parser: Any = argparse.ArgumentParser(
        allow_abbrev=False, add_help=False, exit_on_error=False, conflict_handler="resolve"
    )
    for kind in PipelineOptions.__subclasses__():
        kind._add_argparse_args(parser)
    return parser


def _runner(name: str, options: "PipelineOptions") -> Any:
    """Return what Beam takes as a runner.

    Its own DirectRunner would first download another one, Prism, which does not know the options of
    the DirectRunner; this is the one that it falls back to.
    """
    if name != "DirectRunner":
        return name
    from apache_beam.portability.api import beam_provision_api_pb2
    from apache_beam.runners.portability.fn_api_runner import fn_runner
    from apache_beam.runners.portability.portable_runner import JobServiceHandle

    encoded = JobServiceHandle.encode_pipeline_options(options.get_all_options())
    about = beam_provision_api_pb2.ProvisionInfo(pipeline_options=encoded)
    return fn_runner.FnApiRunner(provision_info=fn_runner.ExtendedProvisionInfo(about))


@contextmanager
def _quiet() -> Iterator[None]:
    """Leave out the lines of Beam that are no errors, such as that of Google's absent client."""
    log = logging.getLogger("apache_beam")
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(before)


def _cause(error: Exception) -> str:
    """Return the line of an error that names the cause, without the traces of workers around it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [repr(error)]
    named = [line for line in lines if "DentalzooError: " in line or "BadFile: " in line]
    line = (named or lines)[-1]
    return line.rpartition("DentalzooError: ")[2].partition(" [while running")[0][:300]
