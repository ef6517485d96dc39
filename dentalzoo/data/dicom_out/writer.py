"""DICOM results of a run: `<name>_seg.dcm`, `<name>_sr.dcm` and `<name>_sc.dcm`."""

import io
import logging
import os
import secrets
from collections.abc import Callable, Mapping, MutableSequence, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from dentalzoo.atomic import write_atomically
from dentalzoo.errors import BadFile, DentalzooError, require

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

    from dentalzoo.data.dicom_out.source import Source

_log = logging.getLogger("dentalzoo")

_ORDER = ("seg", "sr", "sc")  # the report of a mask refers to its segmentation
_NAME_BYTES = 255  # of Linux, macOS and Windows


class ImageWarning(NamedTuple):
    """Why the result of an image must not be taken as it is.

    Attributes:
        short: a text of at most 64 characters, for titles and pictures.
        text: the whole line, with the reasons.
    """

    short: str
    text: str


@dataclass(frozen=True)
class ImageResult:
    """What a model gave for one image; what is not wanted may be absent.

    Attributes:
        mask: for "seg" and its "sr": (H, W) or (H, W, 1) uint8 class ids of the image's size.
        classes: for "seg" and its "sr": names of the class ids 1..n.
        colours: for "seg": (red, green, blue) of the class ids 1..n, 0 to 255; or none.
        boxes: for "sr": (K, 4) top, left, bottom, right in [0, 1].
        scores: for "sr": (K,) in [0, 1].
        labels: for "sr": the K class names of the boxes.
        sites: for "sr": the FDI number of the tooth that each box lies on, None for no tooth; empty
            where that is not known.
        overlay: for "sc": returns the image with its result drawn on it, (H, W, 3) uint8.
        warnings: of the image, the most serious first; they stand in every kind. They must not hold
            anything that identifies the patient. `overlay` has them already.
    """

    mask: np.ndarray | None = None
    classes: Sequence[str] = ()
    colours: Sequence[tuple[int, int, int]] = ()
    boxes: np.ndarray | None = None
    scores: np.ndarray = field(default_factory=lambda: np.zeros(0))
    labels: Sequence[str] = ()
    sites: Sequence[int | None] = ()
    overlay: Callable[[], np.ndarray] | None = None
    warnings: Sequence[ImageWarning] = ()


class DicomWriter:
    """Writes the results of a run as DICOM."""

    def __init__(
        self,
        out: Path,
        kinds: Sequence[str],
        *,
        name: str,
        version: str,
        parameters: dict[str, str],
        anonymize: bool = False,
        shared: Mapping[str, str] | None = None,
    ) -> None:
        """Prepare a run.

        Args:
            out: the folder.
            kinds: of "seg", "sr" and "sc".
            name: of the bundle.
            version: of dentalzoo.
            parameters: settings that change the results.
            anonymize: remove the patient's identity; `out`_dicom_key.json then holds the key.
            shared: of the writer of the process that planned the run, for further processes, which
                neither read nor write the key file.

        Raises:
            DentalzooError: highdicom is not installed, or the key cannot be written or read.
        """
        require("highdicom", "dicom")
        from dentalzoo.data.dicom_out.identity import Pseudonyms
        from dentalzoo.data.dicom_out.results import Algorithm, Series

        self._out, self._kinds = out, tuple(kind for kind in _ORDER if kind in kinds)
        self._algorithm = Algorithm(name, version, parameters)
        self._series = Series(shared["run"] if shared else None)
        key = shared["key"] if shared else None
        self._pseudonyms = Pseudonyms(out, key) if anonymize else None
        self.shared = {"run": secrets.token_hex(16), "key": ""}
        if self._pseudonyms:
            self.shared["key"] = self._pseudonyms.key
        self._emptied: set[str] = set()

    def write(
        self, path: Path, name: str, result: ImageResult, failed: MutableSequence[tuple[str, str]]
    ) -> None:
        """Write the results of one image; what fails is logged in one line and reported.

        Args:
            path: the image.
            name: of its results, without suffix.
            result: what the model gave.
            failed: gets (path, reason) once where any kind could not be written.
        """
        files, reason = self.files(path, name, result)
        for file, content in files.items():
            write_atomically(self._out / file, content, durable=False)
        self.add_identity(self.take_identity())
        if reason:
            _log.warning("%s: %s", path, reason)
            failed.append((str(path), reason))

    def files(
        self, path: Path, name: str, result: ImageResult, number: int = 0
    ) -> tuple[dict[str, bytes], str]:
        """Return the results of one image as file name -> content, and why any kind is missing.

        Args:
            path: the image.
            name: of its results, without suffix.
            result: what the model gave.
            number: of the image, for a run in several processes.
        """
        from dentalzoo.data.dicom_out.source import read_source

        self._series.number = number
        files: dict[str, bytes] = {}
        reasons = []
        try:
            _require_short(path, f"{name}_{self._kinds[0]}.dcm")
            source = read_source(path)
            self._report_emptied(source)
            source = self._pseudonyms.remove_identity(source) if self._pseudonyms else source
        except BadFile as error:
            reasons.append(f"not written as DICOM: {error.reason}")
        else:
            written: dict[str, Dataset] = {}
            for kind in self._kinds:
                try:
                    dataset = self._build(kind, source, result, written.get("seg"))
                except BadFile as error:
                    reasons.append(f"not written as DICOM {kind.upper()}: {error.reason}")
                    continue
                files[f"{name}_{kind}.dcm"] = _encoded(dataset)
                written[kind] = dataset
        return files, "; ".join(reasons)

    def take_identity(self) -> dict[str, dict[str, str]]:
        """Return what the key file must hold of the results since the last call; {} for nothing."""
        return self._pseudonyms.take_new() if self._pseudonyms else {}

    def add_identity(self, entries: Mapping[str, Mapping[str, str]]) -> None:
        """Add what `take_identity` returned, in any process, to the key file; `close` writes it."""
        if self._pseudonyms:
            self._pseudonyms.add(entries)

    def close(self) -> None:
        """Write the key file, where the identity was removed."""
        if self._pseudonyms:
            self._pseudonyms.write()

    def _build(
        self, kind: str, source: "Source", result: ImageResult, mask: "Dataset | None"
    ) -> "Dataset":
        """Return one kind of result.

        Raises:
            BadFile: sizes differ, the pixels name the patient, the Segmentation `mask` is needed
                and could not be written, or highdicom refuses the image.
        """
        from dentalzoo.data.dicom_out.identity import remove_dates
        from dentalzoo.data.dicom_out.source import quietly

        try:
            with quietly():
                dataset = self._dataset(kind, source, result, mask)
        except DentalzooError:
            raise
        except Exception as error:  # of any type, which may quote the patient
            raise BadFile(
                source.path,
                f"highdicom cannot describe this image. Received: {type(error).__name__}",
            ) from error
        if self._pseudonyms:
            remove_dates(dataset)
        return dataset

    def _dataset(
        self, kind: str, source: "Source", result: ImageResult, mask: "Dataset | None"
    ) -> "Dataset":
        from dentalzoo.data.dicom_out.capture import capture
        from dentalzoo.data.dicom_out.report import report_of_boxes, report_of_mask
        from dentalzoo.data.dicom_out.segmentation import segmentation

        run: tuple[Any, Any] = (self._algorithm, self._series)
        if kind == "seg" and result.mask is not None:
            described = result.mask, result.classes, result.colours
            return segmentation(source, *described, *run, warnings=result.warnings)
        if kind == "sr" and result.boxes is not None:
            found = result.boxes, result.scores, result.labels
            return report_of_boxes(
                source, *found, *run, sites=result.sites, warnings=result.warnings
            )
        if kind == "sr" and result.mask is not None:
            if mask is None:
                raise BadFile(source.path, "its report refers to its segmentation, which failed")
            shown = result.mask, result.classes, mask
            return report_of_mask(source, *shown, *run, warnings=result.warnings)
        if kind == "sc" and result.overlay is not None:
            if self._pseudonyms and source.burned_in == "YES":
                raise BadFile(
                    source.path,
                    "without identity, an overlay must show no name. "
                    "Received: Burned In Annotation YES",
                )
            return capture(source, result.overlay(), *run, warnings=result.warnings)
        raise DentalzooError(f"kinds must be those that a result has. Received: {kind!r}")

    def _report_emptied(self, source: "Source") -> None:
        """Log once for each element that is absent or not valid in a radiograph."""
        new = [keyword for keyword in source.emptied if keyword not in self._emptied]
        if new:
            self._emptied.update(new)
            _log.info(
                "%s: written empty, because absent or not valid there: %s",
                source.path,
                ", ".join(new),
            )


def _require_short(path: Path, name: str) -> None:
    """Raise BadFile where a file name is too long for the disk."""
    if len(os.fsencode(name)) > _NAME_BYTES:
        raise BadFile(
            path,
            f"the names of its results must have at most {_NAME_BYTES} bytes; rename it. "
            f"Received: {len(os.fsencode(name))}",
        )


def _encoded(dataset: "Dataset") -> bytes:
    from dentalzoo.data.dicom_out.source import quietly

    content = io.BytesIO()
    with quietly():
        dataset.save_as(content, enforce_file_format=True)
    return content.getvalue()
