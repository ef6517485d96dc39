"""Charts of any number of radiographs, written one by one, as `predict` writes its results."""

import datetime
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from dentalzoo import __version__
from dentalzoo.bundle import load
from dentalzoo.bundle.schema import cleaned
from dentalzoo.charting import schema
from dentalzoo.charting.options import NO_FINDINGS, ChartOptions
from dentalzoo.charting.page import chart_page
from dentalzoo.charting.reading import Seen, read
from dentalzoo.data.dicom_out.writer import ImageResult
from dentalzoo.data.io.images import encode_jpeg
from dentalzoo.errors import BadFile, DentalzooError
from dentalzoo.output_dirs import list_results
from dentalzoo.plots.pixels import without_channel
from dentalzoo.tasks.detector import Detector, operating_threshold
from dentalzoo.tasks.familiarity import Familiarity, Warnings, image_warnings
from dentalzoo.tasks.predictor import DicomPredictor, Item, Plan, Result
from dentalzoo.tasks.segmentation.inference import THRESHOLD, num_channels, segment
from dentalzoo.tasks.segmentation.instances import Numbering

if TYPE_CHECKING:
    from dentalzoo.bundle import Bundle

CROPS = "crops"
_MARGIN = 0.15  # of a crop, in sides of its box: ours


@dataclass(frozen=True)
class Together:
    """Stands for the three bundles of a chart where one bundle is expected."""

    name: str = "dentalzoo chart"
    metadata: Mapping[str, Any] = field(default_factory=dict)


class ChartPredictor(DicomPredictor):
    """Charts of radiographs, see `dentalzoo.chart`.

    Args:
        options: which bundles are put together.

    Raises:
        DentalzooError: there is no such bundle, or it is for something else.
    """

    title = "charting"

    def __init__(self, options: ChartOptions) -> None:
        self._outlines = load(options.outlines)
        task = self._outlines.metadata["task"]
        if task != "segmentation" or num_channels(self._outlines) > 2:
            raise DentalzooError(
                "outlines must be a bundle for segmentation of teeth, with one class. "
                f"Received: {self._outlines.name}, for {task}"
            )
        self._numbering = Numbering(options.numbers, "ordered")
        bundles = {"outlines": self._outlines, "numbers": self._numbering.bundle}
        thresholds = {"outlines": THRESHOLD, "numbers": self._numbering.threshold}
        self._finder: Detector | None = None
        if options.findings != NO_FINDINGS:
            findings = load(options.findings)
            if findings.metadata["task"] != "detection":
                raise DentalzooError(
                    f"findings must be a bundle for detection, or {NO_FINDINGS}. "
                    f"Received: {findings.name}, for {findings.metadata['task']}"
                )
            self._finder = Detector(findings)
            bundles["findings"] = findings
            thresholds["findings"] = operating_threshold(findings, None)
        self._bundles = {
            role: {"name": bundle.name, "threshold": round(thresholds[role], 6)}
            for role, bundle in bundles.items()
        }
        parameters = {role: f"{about['name']}" for role, about in self._bundles.items()}
        super().__init__(cast("Bundle", Together()), cast(Any, options), parameters)
        self.taken = ("chart", *options.dicom)
        self._known = {role: Familiarity(bundle) for role, bundle in bundles.items()}

    def plan(self, inputs: str | Path | Iterable[str | Path], out: Path) -> Plan:
        plan = super().plan(inputs, out)
        try:
            (out / CROPS).mkdir(exist_ok=True)
        except OSError as error:
            raise BadFile(out / CROPS, f"cannot be made. Received: {error.strerror}") from error
        list_results(out, [CROPS])
        return plan

    def compute(self, item: Item, value: np.ndarray) -> dict[str, Any]:
        """Return the chart of an image."""
        mask = without_channel(segment(self._outlines, value)) > 0
        found = self._numbering.detector.before_choice(value)
        teeth = self._numbering.teeth_of(mask, self._numbering.detector.chosen(found))
        findings = self._finder(value) if self._finder else None
        if findings is not None:
            findings = findings.take(findings.scores >= self._bundles["findings"]["threshold"])
        height, width = value.shape[:2]
        seen = Seen(
            (height, width),
            mask,
            teeth,
            self._numbering.numbers,
            found.take(found.scores >= self._numbering.threshold),
            findings,
            self._finder.classes if self._finder else (),
        )
        reading = read(seen)
        return {
            "format": schema.FORMAT,
            "version": schema.VERSION,
            "notice": schema.NOTICE,
            "image": {"name": item.name, "width": width, "height": height},
            "made": {
                "date": datetime.date.today().isoformat(),
                "dentalzoo": __version__,
                "bundles": self._bundles,
            },
            "familiarity": list(self._familiar(value, empty=not mask.any())),
            "teeth": reading.teeth,
            "findings": reading.findings,
            "contradictions": reading.contradictions,
            "unnumbered": reading.unnumbered,
        }

    def results(self, item: Item, value: np.ndarray, prediction: dict[str, Any]) -> Result:
        chart, files, crops = prediction, {}, {}
        for row, key in (("teeth", "number"), ("findings", "id")):
            for entry in chart[row]:
                if entry["box"] and (row == "teeth" or entry["tooth"] is None):
                    part = f"{entry[key]}" if row == "teeth" else f"finding_{entry[key]}"
                    crops[part] = encode_jpeg(_crop(value, entry["box"]))
                    entry["crop"] = f"{CROPS}/{item.name}_{part}.jpg"
                    files[entry["crop"]] = crops[part]
        by_number = {tooth["number"]: tooth for tooth in chart["teeth"]}
        for finding in chart["findings"]:
            if finding["tooth"] is not None:
                finding["crop"] = by_number[finding["tooth"]]["crop"]
        chart = cleaned(chart)
        schema.check(chart)
        text = json.dumps(chart, ensure_ascii=False, separators=(",", ":")) + "\n"
        files[f"{item.name}_chart.json"] = text.encode(errors="backslashreplace")
        page = chart_page(chart, value, crops)
        files[f"{item.name}_chart.html"] = page.encode(errors="backslashreplace")
        record: dict[str, Any] = {
            "familiarity_of_bundles": [entry for entry in chart["familiarity"] if entry["reasons"]]
        }
        more, problems = self._dicom_files(item, _as_boxes(chart), record)
        return Result(files | more, record, problems)

    def _combine(self, records: Iterator[tuple[Item, Mapping[str, Any]]], out: Path) -> list[Path]:
        warnings = {role: Warnings() for role in self._known}
        for item, record in records:
            for entry in record["familiarity_of_bundles"]:
                warnings[entry["role"]].add(f"{item.path}: {entry['role']}", entry)
            if self._dicom:
                self._dicom.add_identity(record["identity"])
        for role, lines in warnings.items():
            lines.close(f"the {role} in the charts")
        if self._dicom:
            self._dicom.close()
        return []

    def _familiar(self, image: np.ndarray, empty: bool) -> Iterator[dict[str, Any]]:
        """Yield what each bundle says of an image; nothing known where it has no familiarity.

        `empty` says that no tooth was outlined.
        """
        for role, familiarity in self._known.items():
            entry: Mapping[str, Any] = {"verdict": None, "score": None, "reasons": []}
            if familiarity.can_be_called():
                entry = familiarity(image, empty and role == "outlines")
            yield {"role": role, **{key: entry[key] for key in ("verdict", "score", "reasons")}}


def _crop(image: np.ndarray, box: list[float]) -> np.ndarray:
    """Return the part of an image around left, top, right, bottom in pixels."""
    left, top, right, bottom = box
    across, down = _MARGIN * (right - left), _MARGIN * (bottom - top)
    rows = slice(max(0, int(top - down)), int(np.ceil(bottom + down)) + 1)
    columns = slice(max(0, int(left - across)), int(np.ceil(right + across)) + 1)
    return image[rows, columns]


def _as_boxes(chart: Mapping[str, Any]) -> ImageResult:
    """Return the teeth and findings of a chart as a report has them."""
    height, width = chart["image"]["height"], chart["image"]["width"]
    teeth = [tooth for tooth in chart["teeth"] if tooth["state"] == "present"]
    rows = [(tooth["box"], tooth["score"], str(tooth["number"]), None) for tooth in teeth]
    rows += [(f["box"], f["score"], f["class"], f["tooth"]) for f in chart["findings"]]
    boxes = np.array([row[0] for row in rows], np.float64).reshape(-1, 4)[:, [1, 0, 3, 2]]
    return ImageResult(
        boxes=boxes / [height, width, height, width],
        scores=np.array([row[1] for row in rows], np.float64),
        labels=[row[2] for row in rows],
        sites=[row[3] for row in rows],
        warnings=image_warnings(chart["familiarity"]),
    )
