"""Boxes as DICOM SR: a Measurement Report (PS3.16 TID 1500) with a region (SCOORD) per box."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from highdicom import sr
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes as known
from pydicom.uid import generate_uid

from dentalzoo.data.dicom_out.codes import COUNT, class_codes, text
from dentalzoo.data.dicom_out.results import (
    MANUFACTURER,
    Algorithm,
    Series,
    complete,
    concept,
    equipment,
)
from dentalzoo.data.dicom_out.source import Source


def report(
    source: Source,
    boxes: np.ndarray,
    scores: np.ndarray,
    labels: Sequence[str],
    algorithm: Algorithm,
    series: Series,
) -> Dataset:
    """Return boxes as a Comprehensive SR.

    The first group of measurements is of the whole image: the number of boxes, so that a report
    without boxes says that there are none. Then follows a group for each box: its region as a
    closed polyline, its class as the finding, the tooth as its site where classes are FDI numbers,
    and the score as the certainty of finding in percent.

    Args:
        source: the radiograph.
        boxes: (K, 4) top, left, bottom, right in [0, 1].
        scores: (K,) in [0, 1].
        labels: the K names of their classes.
        algorithm: what computed them.
        series: of the run.
    """
    size = np.array([source.image.Rows, source.image.Columns] * 2, np.float64)
    edges = np.clip(np.asarray(boxes, np.float64).reshape(-1, 4), 0, 1) * size
    groups: list[Any] = [_summary(source, len(edges), algorithm)]
    counts: dict[str, int] = {}
    for box, score, label in zip(edges, scores, labels, strict=True):
        counts[label] = counts.get(label, 0) + 1
        groups.append(
            _finding(source, box, float(score), label, f"{label} {counts[label]}", algorithm)
        )
    device = sr.DeviceObserverIdentifyingAttributes(
        uid=algorithm.device_uid,
        name=text(algorithm.name),
        manufacturer_name=MANUFACTURER,
        model_name=text(algorithm.version),
    )
    content = sr.MeasurementReport(
        observation_context=sr.ObservationContext(
            observer_device_context=sr.ObserverContext(
                observer_type=known.DCM.Device, observer_identifying_attributes=device
            )
        ),
        procedure_reported=known.SCT.ImagingProcedure,  # CID 100
        imaging_measurements=groups,
        title=known.DCM.ImagingMeasurementReport,
    )
    result = sr.ComprehensiveSR(
        evidence=[source.image],
        content=content[0],
        is_complete=True,
        is_final=False,
        is_verified=False,
        **series.next_instance("sr", source),
        **equipment(algorithm, "sr"),
    )
    complete(result, source)
    return result


def _summary(
    source: Source, count: int, algorithm: Algorithm
) -> sr.MeasurementsAndQualitativeEvaluations:
    image = source.image
    return sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(generate_uid(prefix=None), "Whole image"),
        algorithm_id=algorithm.of_finding(),
        measurements=[sr.Measurement(concept(COUNT), count, known.UCUM.NoUnits)],
        source_images=[sr.SourceImageForMeasurementGroup(image.SOPClassUID, image.SOPInstanceUID)],
    )


def _finding(
    source: Source, box: np.ndarray, score: float, label: str, name: str, algorithm: Algorithm
) -> sr.PlanarROIMeasurementsAndQualitativeEvaluations:
    """Return the group of a box, in pixels: (0, 0) is the corner of the first, PS3.3 C.18.6."""
    top, left, bottom, right = box
    corners = [[left, top], [right, top], [right, bottom], [left, bottom], [left, top]]
    image, code = source.image, class_codes(label)
    region = sr.ImageRegion(
        sr.GraphicTypeValues.POLYLINE,
        np.array(corners),
        sr.SourceImageForRegion(image.SOPClassUID, image.SOPInstanceUID),
    )
    certainty = sr.Measurement(
        known.DCM.CertaintyOfFinding, round(100 * score, 4), known.UCUM.Percent
    )
    return sr.PlanarROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(generate_uid(prefix=None), text(name)),
        referenced_region=region,
        finding_type=concept(code.kind),
        finding_sites=[sr.FindingSite(concept(code.kind))] if code.is_tooth else None,
        algorithm_id=algorithm.of_finding(),
        measurements=[certainty],
        geometric_purpose=known.SCT.BoundedBy,  # CID 219: around it, not its outline
    )
