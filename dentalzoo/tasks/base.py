"""Shared by all tasks: inputs, names of results, reports, and inputs that were skipped."""

import datetime
import logging
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

from dentalzoo.contracts import Report
from dentalzoo.data.anonymity import anonymous_names, warning_of_names
from dentalzoo.errors import BadFile, DentalzooError
from dentalzoo.output_dirs import list_results, make_folder
from dentalzoo.tasks.options import PROJECT_FORMATS

if TYPE_CHECKING:
    from dentalzoo.bundle import Bundle
    from dentalzoo.tasks.scoring import Scores


_log = logging.getLogger("dentalzoo")

_TABLES_AND_PROJECTS = (
    "detections.csv",
    "detections.json",
    "familiarity.json",
    "latents.csv",
    "manifest",
    "teeth.csv",
    "vott1",
    "vott2",
    *PROJECT_FORMATS,
)  # that predict writes beside the results of single images


@dataclass
class PredictionReport:
    """The number of inputs with a result, and (path, reason) of each input without one."""

    written: int = 0
    failed: list[tuple[str, str]] = field(default_factory=list)


# ---- inputs and results --------------------------------------------------------------------------


def named_images(
    inputs: str | Path | Iterable[str | Path],
    out: Path,
    taken: Sequence[str] = (),
    anonymize: bool = False,
) -> dict[Path, str]:
    """Return each input image, once, with the name of its results; make the folder `out`.

    The results are listed in `out`, so that they are not taken for data.

    Args:
        inputs: images, and folders whose images are taken, one level deep; a CD or study of DICOM
            files is taken as a whole.
        out: the folder of the results.
        taken: see `output_names`.
        anonymize: take hashed names, with their key in `out`_key.csv; else file names that may
            identify a person are warned of.

    Raises:
        DentalzooError: there is no image, or `out` holds inputs or cannot be made.
    """
    from dentalzoo.data.io.listing import list_images  # which imports NumPy and OpenCV

    listed = list_images(inputs)
    images = list({path.resolve(): path for path in listed}.values())
    if again := len(listed) - len(images):
        _log.warning("%d inputs are links to other inputs or given twice: read once", again)
    if not images:
        raise DentalzooError(f"inputs must be images or folders of images. Received: {inputs!r}")
    make_folder(out, images)
    names = names_of_results(images, out, taken, anonymize)
    files = [f"{name}.png" for name in names]
    files += [f"{n}_{end}{suffix}" for n in names for end in taken for suffix in (".png", ".dcm")]
    list_results(out, (*files, *_TABLES_AND_PROJECTS))
    return dict(zip(images, names, strict=True))


def names_of_results(
    inputs: Sequence[Path], out: Path, taken: Sequence[str] = (), anonymize: bool = False
) -> list[str]:
    """Return the name of the results of each input, see `named_images`."""
    if anonymize:
        out = out.resolve()  # "." has no name
        return anonymous_names(inputs, out.with_name(f"{out.name}_key.csv"))
    if warning := warning_of_names(path.name for path in inputs):
        _log.warning("%s; --anonymize (anonymize=True) hashes them in results", warning)
    return output_names(inputs, taken)


def output_names(inputs: Sequence[Path], taken: Sequence[str] = ()) -> list[str]:
    """Return a name without suffix for each input's results, all different whatever the case.

    Inputs that share a stem (`a.png` and `a.jpg`) keep their whole name (`a.png`, `a.jpg`), and
    where that is shared too, as many folders before it as it takes (`left_a.png`).

    Args:
        inputs: different paths.
        taken: further endings in use: with "overlay", <name>_overlay is taken by each name too.
    """
    depths = [0] * len(inputs)
    while True:
        names = [_name(index, path, depths[index]) for index, path in enumerate(inputs)]
        takers = defaultdict(set)
        for index, name in enumerate(names):
            for suffix in ("", *(f"_{ending}" for ending in taken)):
                takers[f"{name}{suffix}".casefold()].add(index)
        clashing: set[int] = set()
        clashing.update(*(indices for indices in takers.values() if len(indices) > 1))
        if not clashing:
            return names
        for index in clashing:
            depths[index] += 1


def _name(index: int, path: Path, depth: int) -> str:
    """Return the stem (depth 0), the name (1), and one more folder each; then a number."""
    if depth == 0:
        return path.name if path.suffix[1:].isdigit() else path.stem  # the end of a UID is none
    folders_and_name = path.resolve().parts[1:]
    name = "_".join(folders_and_name[-depth:])
    return name if depth <= len(folders_and_name) else f"{index}_{name}"


# ---- evaluations ---------------------------------------------------------------------------------


class Measure(Protocol):
    """What an evaluation does with one sample; it can be pickled, so it runs in any process."""

    def read(self, sample: Any, /) -> Any:
        """Read a sample; raises DentalzooError for a bad one."""

    def __call__(self, bundle: "Bundle", sample: Any, value: Any, /) -> Any:
        """Return what the report needs of a sample, small and picklable; raises likewise."""

    def name(self, sample: Any, /) -> str:
        """Return the name of a sample in messages."""


class Each(Protocol):
    """What measures samples: `measured_here`, or an engine with many processes."""

    def __call__(
        self,
        bundle: "Bundle",
        samples: Sequence[Any],
        measure: Measure,
        failed: list[tuple[str, str]],
        *,
        title: str = "evaluating",
        unit: str = "image",
    ) -> Iterator[tuple[Any, Any]]:
        """Yield (sample, result) of the samples in order, without those that failed.

        Args:
            bundle: what is measured.
            samples: as `measure` takes them.
            measure: what is done with each.
            failed: gets (name, reason) of those that cannot be used, in order, which are also
                logged; whole when the results have ended.
            title: shown before a progress bar.
            unit: what a sample is, in messages.
        """


def measured_here(
    bundle: "Bundle",
    samples: Sequence[Any],
    measure: Measure,
    failed: list[tuple[str, str]],
    *,
    title: str = "evaluating",
    unit: str = "image",
) -> Iterator[tuple[Any, Any]]:
    """Measure samples one by one in this process, in constant memory, see `Each`."""
    from dentalzoo.data.pipeline.prefetch import for_each  # which imports tqdm

    for sample, _, result in for_each(
        samples,
        measure.read,
        lambda sample, value: measure(bundle, sample, value),
        title=title,
        unit=unit,
        failed=failed,
        name=measure.name,
    ):
        yield sample, result


class Evaluation(ABC):
    """An evaluation whose samples are measured one by one, in any process.

    Attributes:
        bundle: what is measured.
        data: the folder of the data.
        split: which part of them; None for all.
        out: the folder of the report; None where it is returned alone.
        samples: what it is measured on, in order.
        measure: what is done with each.
        each: what measures them, and further samples that `report` makes of their results.
        unit: what a sample is, in messages.
        scores: what `report` measured, to be resampled; there is none before it.
        inputs: the files of the data.
    """

    samples: Sequence[Any]
    measure: Measure
    scores: "Scores"
    inputs: Sequence[Path] = ()
    unit: str = "image"

    def __init__(
        self, bundle: "Bundle", data: str | Path, split: str | None, out: str | Path | None
    ) -> None:
        self.bundle, self.data, self.split = bundle, data, split
        self.out = None if out is None else Path(out)
        self.each: Each = measured_here

    def use(self, inputs: Sequence[Path]) -> None:
        """Name the files of the data, and make the folder `out` where they do not lie.

        Raises:
            DentalzooError: `out` holds inputs or cannot be made.
        """
        self.inputs = inputs
        if self.out is not None:
            make_folder(self.out, inputs)

    def comparable(self) -> dict[str, Any]:
        """Return what two bundles must have in common to be compared, such as "classes"."""
        return {}

    @abstractmethod
    def report(
        self, results: Iterable[tuple[Any, Any]], failed: Sequence[tuple[str, str]]
    ) -> Report:
        """Return the report, and write it.

        Args:
            results: (sample, what `measure` returned), in order, without those that failed.
            failed: (name, reason) of these; whole when the results have ended.
        """

    def run(self, each: Each | None = None) -> Report:
        """Measure all samples and return the report.

        Args:
            each: what measures them; None for this process, in constant memory.
        """
        self.each = each or self.each
        failed: list[tuple[str, str]] = []
        return self.report(self.results(failed), failed)

    def results(self, failed: list[tuple[str, str]]) -> Iterator[tuple[Any, Any]]:
        """Yield (sample, result) of the samples, see `Each`."""
        return self.each(self.bundle, self.samples, self.measure, failed, unit=self.unit)


# ---- reports -------------------------------------------------------------------------------------


def report_header(bundle: "Bundle", data: str | Path, split: str | None) -> dict[str, Any]:
    """Return what every evaluation report begins with: bundle, data, split, date.

    Of the data only the folder's own name is kept: parent folders may identify patients.
    """
    return {
        "bundle": bundle.name,
        "data": Path(data).resolve().name,
        "split": split,
        "date": datetime.date.today().isoformat(),
    }


def refuse_empty(
    data: str | Path, count: int, skipped: Sequence[Sequence[str]], what: str = "images"
) -> NoReturn:
    """Raise the error of an evaluation that could use nothing.

    Args:
        count: how many samples there were.
        skipped: (name, reason) of those that failed, the first of which is shown.

    Raises:
        DentalzooError: always.
    """
    first = ": ".join(skipped[0]) if skipped else "nothing"
    raise DentalzooError(f"{data}: none of {count} {what} can be used. Received: {first}")


def without_folders(error: DentalzooError, item: Path) -> BadFile:
    """Return the error of an item, or of a file beside it such as its mask, for `for_each`.

    Its reason holds no folder: reports are passed on, and folders may identify patients.

    Args:
        error: what reading the item raised.
        item: the item's own file.
    """
    if not isinstance(error, BadFile):
        return BadFile(item, str(error).replace(f"{item.parent}/", ""))
    path = Path(error.path)
    reason = error.reason.replace(str(path), path.name)
    return BadFile(item, reason if path == item else f"{path.name}: {reason}")


def skipped_files(failed: Iterable[tuple[str, str]]) -> list[list[str]]:
    """Return (path, reason) of inputs that failed as [file name, reason] for a report."""
    return [[Path(path).name, reason] for path, reason in failed]
