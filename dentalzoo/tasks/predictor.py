"""What `predict` of a task does, in parts that can run in different processes: a `Predictor`.

    plan(inputs, out)           once, first: the inputs with the names of their results
    read(item)                  for each input, in any thread
    compute(item, value)        for each input, in one thread of a process
    results(item, value, ...)   for each input: its files as bytes, and a small record
    combine(records, out)       once, last: what is made of all records, such as tables

`predict_all` runs them in one process. Runs of several processes or machines call the same
functions, so that each file of theirs is the same.
"""

import logging
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dentalzoo.atomic import remove_abandoned, write_atomically
from dentalzoo.errors import BadFile
from dentalzoo.tasks.base import PredictionReport, named_images
from dentalzoo.tasks.familiarity import SIGNATURE, Familiarity, Table, image_warnings

if TYPE_CHECKING:
    import numpy as np

    from dentalzoo.bundle import Bundle
    from dentalzoo.data.dicom_out.writer import DicomWriter, ImageResult, ImageWarning
    from dentalzoo.tasks.options import DetectionPredictOptions, SegmentationPredictOptions

_log = logging.getLogger("dentalzoo")

_NAME_BYTES = 255  # of file names, on Linux, macOS and Windows


@dataclass(frozen=True)
class Item:
    """One input of a run. It can be pickled.

    Attributes:
        number: from 1, in the order of the inputs.
        path: the image, or the mesh or the folder of views of a jaw; it is what messages name.
        name: of its results, without suffix; different for each input of the run.
        file: as tables name it: the path below the folder that holds all inputs, or for anonymous
            results `name` with the suffix.
        source: what the task knows of it besides.
    """

    number: int
    path: Path
    name: str
    file: str
    source: Any = None


@dataclass(frozen=True)
class Plan:
    """The inputs of a run.

    Attributes:
        items: the inputs, in order. The same inputs give the same items again.
        failed: (path, reason) of what was given and is no input; already logged.
        shared: plain values, ready for JSON, that every further process must `join` with. With
            anonymous results they hold a key that must not be passed on.
    """

    items: Sequence[Item]
    failed: Sequence[tuple[str, str]] = ()
    shared: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Result:
    """What one input gave.

    Attributes:
        files: name in the folder of the results -> content. No two inputs have a file in common.
        record: plain values, ready for JSON, that `Predictor.combine` needs of this input. A record
            that went through JSON gives the same outputs. With anonymous results it may hold what
            identifies the patient.
        problems: (path, reason) of parts that could not be made, such as a DICOM result; not logged
            yet. The input counts as one with a result.
    """

    files: Mapping[str, bytes]
    record: Mapping[str, Any] = field(default_factory=dict)
    problems: tuple[tuple[str, str], ...] = ()


class Predictor(ABC):
    """A bundle with the options of `predict`, see the module. Each task has a subclass.

    One is made in each process, from the same bundle and options. The process that plans the run
    calls `plan`, every other one `join` with the plan's `shared`. Only `compute`, `results` and
    `apply` call the bundle: for the rest one whose metadata are known is enough.

    Args:
        bundle: of the task.
        options: of `predict`, an instance of the class in `dentalzoo.tasks.options`.

    Attributes:
        title: shown before a progress bar, such as "segmenting".
        unit: what is counted: "image" or "jaw".

    Raises:
        DentalzooError: an option does not suit the bundle.
    """

    title: str
    unit = "image"

    @abstractmethod
    def __init__(self, bundle: "Bundle", options: Any) -> None: ...

    @abstractmethod
    def plan(self, inputs: str | Path | Iterable[str | Path], out: Path) -> Plan:
        """List the inputs, make the folder of the results, and write the keys of anonymous names.

        Args:
            inputs: files and folders.
            out: the folder; no input may lie in it.

        Raises:
            DentalzooError: there is no input, or `out` holds inputs or cannot be written.
        """

    def join(self, shared: Mapping[str, Any]) -> None:  # noqa: B027  # most tasks share nothing
        """Take part in a run that another process has planned."""

    @abstractmethod
    def read(self, item: Item) -> Any:
        """Read an input.

        Raises:
            DentalzooError: it cannot be read.
        """

    @abstractmethod
    def compute(self, item: Item, value: Any) -> Any:
        """Run the network on what `read` returned.

        Raises:
            DentalzooError: the network refuses it.
        """

    @abstractmethod
    def results(self, item: Item, value: Any, prediction: Any) -> Result:
        """Return the files and the record of an input. Nothing is written.

        Args:
            item: the input.
            value: of `read`.
            prediction: of `compute`.
        """

    def apply(self, item: Item, value: Any) -> Result:
        """Return `results` of `compute`: all that is done with an input once it has been read.

        Raises:
            DentalzooError: the network refuses the input, memory does not suffice for it, or the
                name of a file would be too long.
        """
        try:
            result = self.results(item, value, self.compute(item, value))
        except MemoryError:
            raise BadFile(
                item.path, "its results must fit in memory; make it smaller. Received: MemoryError"
            ) from None
        for name in result.files:
            if (length := len(os.fsencode(name))) > _NAME_BYTES:
                raise BadFile(
                    item.path,
                    f"the names of its results must have at most {_NAME_BYTES} bytes; rename it. "
                    f"Received: {length}",
                )
        return result

    def combine(self, records: Iterable[tuple[Item, Mapping[str, Any]]], out: Path) -> list[Path]:
        """Write the outputs that are made of many inputs. Each is whole or absent.

        Args:
            records: each input that gave a result, with the record of it, in the order of the
                inputs; iterated once at most, and not kept where the output is a table.
            out: the folder of the results.

        Returns:
            The files, and the folders or main files of projects, that were written.

        Raises:
            DentalzooError: an output cannot be written.
        """
        return []


class ImagePredictor(Predictor):
    """Base of the predictors whose inputs are images.

    With a bundle that has the signature `familiarity` its scores are written to
    `familiarity.json`, and images that are not familiar are warned of, see `familiarity.Table`.

    Args:
        bundle: what computes the results.
        options: with `overlay`, `overlay_format` and `anonymize`.

    Attributes:
        taken: see `output_names`.
    """

    def __init__(self, bundle: "Bundle", options: Any) -> None:
        self._bundle, self.options = bundle, options
        self._familiarity = Familiarity(bundle)
        self.taken: tuple[str, ...] = ("overlay",) if options.overlay else ()

    def plan(self, inputs: str | Path | Iterable[str | Path], out: Path) -> Plan:
        names = named_images(inputs, out, self.taken, self.options.anonymize)
        return Plan(items_of(list(names), list(names.values()), self.options.anonymize))

    def read(self, item: Item) -> "np.ndarray":
        """Return the image, (H, W, 1 or 3) uint8."""
        from dentalzoo.data.io.images import read_image

        return read_image(item.path)

    def apply(self, item: Item, value: "np.ndarray") -> Result:
        result = super().apply(item, value)
        record = dict(result.record)
        self._add_familiarity(value, record)
        return replace(result, record=record)

    def _add_familiarity(self, value: "np.ndarray", record: dict[str, Any]) -> None:
        """Add what the bundle says of an image to its record, where that is not there yet.

        `record` may have "empty", which says that nothing was found.
        """
        if SIGNATURE not in record and self._familiarity.can_be_called():
            record[SIGNATURE] = self._familiarity(value, bool(record.get("empty")))

    def combine(self, records: Iterable[tuple[Item, Mapping[str, Any]]], out: Path) -> list[Path]:
        with Table() as table:
            taken = table.taken(records)
            written = self._combine(taken, out)
            for _ in taken:  # what `_combine` did not need
                pass
            return [*written, *table.write(out)]

    def _combine(self, records: Iterator[tuple[Item, Mapping[str, Any]]], out: Path) -> list[Path]:
        """Write the outputs of the task that are made of many inputs, see `combine`."""
        return []

    def _overlay_file(self, item: Item, drawn: Callable[[], "np.ndarray"]) -> dict[str, bytes]:
        """Return the picture that `overlay` asks for by its file name, or nothing."""
        if not self.options.overlay:
            return {}
        from dentalzoo.data.io.images import encode_jpeg, encode_png

        kind = self.options.overlay_format
        encode = encode_jpeg if kind == "jpg" else encode_png
        return {f"{item.name}_overlay.{kind}": encode(drawn())}


class DicomPredictor(ImagePredictor):
    """Base of the predictors whose results DICOM can hold too, with `options.dicom`.

    Args:
        bundle: what computes them.
        options: `dicom` for the kinds; `anonymize` removes the patient's identity, see
            `dentalzoo.data.dicom_out.identity`.
        parameters: settings that change the results, as these state them.
    """

    def __init__(
        self,
        bundle: "Bundle",
        options: "SegmentationPredictOptions | DetectionPredictOptions",
        parameters: Mapping[str, str],
    ) -> None:
        super().__init__(bundle, options)
        self.taken += options.dicom
        self._parameters = dict(parameters)
        self._dicom: DicomWriter | None = None

    def plan(self, inputs: str | Path | Iterable[str | Path], out: Path) -> Plan:
        plan = super().plan(inputs, out)
        self._dicom = self._writer(out)
        return replace(plan, shared=self._dicom.shared if self._dicom else {})

    def join(self, shared: Mapping[str, Any]) -> None:
        self._dicom = self._writer(Path(), shared)

    def _writer(self, out: Path, shared: Mapping[str, Any] | None = None) -> "DicomWriter | None":
        """Return the writer of DICOM results; None where no kind of them is wanted.

        Args:
            out: the folder, which exists.
            shared: of the writer in the process that planned the run; None in that process.

        Raises:
            DentalzooError: highdicom is not installed.
        """
        if not self.options.dicom:
            return None
        from dentalzoo import __version__
        from dentalzoo.data.dicom_out.writer import DicomWriter

        return DicomWriter(
            out,
            self.options.dicom,
            name=self._bundle.name,
            version=f"dentalzoo {__version__}",
            parameters=self._parameters,
            anonymize=self.options.anonymize,
            shared=shared,
        )

    def _warnings(self, value: "np.ndarray", record: dict[str, Any]) -> "tuple[ImageWarning, ...]":
        """Return what is warned of for an image, as its DICOM results state it."""
        self._add_familiarity(value, record)
        return image_warnings([record.get(SIGNATURE)])

    def _dicom_files(
        self, item: Item, result: "ImageResult", record: dict[str, Any]
    ) -> tuple[dict[str, bytes], tuple[tuple[str, str], ...]]:
        """Return the DICOM files of an image and its problems, see `Result`; none without a kind.

        The overlay gets the warnings of the result. `record` gets "identity", which
        `DicomWriter.add_identity` takes in `combine`.
        """
        if not self._dicom:
            return {}, ()
        if result.overlay and result.warnings:
            from dentalzoo.plots.banner import with_banner

            drawn, texts = result.overlay, [warning.short for warning in result.warnings]
            result = replace(result, overlay=lambda: with_banner(drawn(), texts))
        files, reason = self._dicom.files(item.path, item.name, result, item.number)
        record["identity"] = self._dicom.take_identity()
        return files, ((str(item.path), reason),) if reason else ()


def items_of(
    paths: Sequence[Path], names: Sequence[str], anonymize: bool, sources: Sequence[Any] = ()
) -> list[Item]:
    """Return the items of inputs from their paths and the names of their results."""
    folder = os.path.commonpath([path.absolute().parent for path in paths])
    known = sources or [None] * len(paths)
    items = []
    for number, (path, name, source) in enumerate(zip(paths, names, known, strict=True), 1):
        file = path.absolute().relative_to(folder).as_posix()
        items.append(
            Item(number, path, name, f"{name}{path.suffix}" if anonymize else file, source)
        )
    return items


def predict_all(
    predictor: Predictor, inputs: str | Path | Iterable[str | Path], out: str | Path
) -> PredictionReport:
    """Apply a predictor to all inputs in this process, in constant memory, and write the results.

    An input that cannot be read, or that the network refuses, is reported, and the rest goes on.

    Raises:
        DentalzooError: as `Predictor.plan` and `Predictor.combine`; or a file cannot be written.
    """
    from dentalzoo.data.pipeline.prefetch import for_each

    out = Path(out)
    plan = predictor.plan(inputs, out)
    remove_abandoned(out)
    report = PredictionReport(failed=list(plan.failed))

    def records() -> Iterator[tuple[Item, Mapping[str, Any]]]:
        for item, _, result in for_each(
            plan.items,
            predictor.read,
            predictor.apply,
            title=predictor.title,
            unit=predictor.unit,
            failed=report.failed,
            name=lambda item: str(item.path),
        ):
            write_files(result.files, out)
            report.written += 1
            for path, reason in result.problems:
                _log.warning("%s: %s", path, reason)
                report.failed.append((path, reason))
            yield item, result.record

    stream = records()
    predictor.combine(stream, out)
    for _ in stream:  # what `combine` did not need
        pass
    return report


def write_files(files: Mapping[str, bytes], out: Path) -> None:
    """Write the files of an input, each whole or absent.

    Raises:
        DentalzooError: the disk is full or the folder is not writable.
    """
    for name, content in files.items():
        write_atomically(out / name, content, durable=False)
