"""Results as DICOM SR: a Measurement Report, PS3.16 TID 1500, with a group for each finding."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from highdicom import sr
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes as known
from pydicom.uid import generate_uid

from dentalzoo.data.dicom_out.codes import (
    COUNT,
    PIXELS,
    SQUARE_MM,
    class_codes,
    text,
    tooth_concept,
)
from dentalzoo.data.dicom_out.results import (
    MANUFACTURER,
    Algorithm,
    Series,
    complete,
    concept,
    equipment,
)
from dentalzoo.data.dicom_out.source import Source
from dentalzoo.data.dicom_out.writer import ImageWarning


def report_of_boxes(
    source: Source,
    boxes: np.ndarray,
    scores: np.ndarray,
    labels: Sequence[str],
    algorithm: Algorithm,
    series: Series,
    sites: Sequence[int | None] = (),
    warnings: Sequence[ImageWarning] = (),
) -> Dataset:
    """Return boxes as a Comprehensive SR.

    The first group of measurements is of the whole image: the number of boxes, so that a report
    without boxes says that there are none, and each warning as a comment. Then follows a group for
    each box: its region (SCOORD) as a closed polyline, its class as the finding, the tooth as its
    site where classes are FDI numbers or `sites` names it, and the score as the certainty of
    finding in percent.

    Args:
        source: the radiograph.
        boxes: (K, 4) top, left, bottom, right in [0, 1].
        scores: (K,) in [0, 1].
        labels: the K names of their classes.
        algorithm: what computed them.
        series: of the run.
        sites: the FDI number of the tooth that each box lies on, or None; empty for none of them.
        warnings: of the image.
    """
    size = np.array([source.image.Rows, source.image.Columns] * 2, np.float64)
    edges = np.clip(np.asarray(boxes, np.float64).reshape(-1, 4), 0, 1) * size
    counts: dict[str, int] = {}
    groups = []
    for box, score, label, site in zip(
        edges, scores, labels, sites or [None] * len(labels), strict=True
    ):
        counts[label] = counts.get(label, 0) + 1
        certainty = sr.Measurement(
            known.DCM.CertaintyOfFinding, round(100 * float(score), 4), known.UCUM.Percent
        )
        groups.append(
            _finding(
                label,
                f"{label} {counts[label]}",
                certainty,
                algorithm,
                site,
                referenced_region=_region(source, box),
                geometric_purpose=known.SCT.BoundedBy,  # CID 219: around it, not its outline
            )
        )
    return _document(source, groups, [source.image], algorithm, series, warnings)


def report_of_mask(
    source: Source,
    mask: np.ndarray,
    classes: Sequence[str],
    segmentation: Dataset,
    algorithm: Algorithm,
    series: Series,
    warnings: Sequence[ImageWarning] = (),
) -> Dataset:
    """Return a mask as a Comprehensive SR that refers to its Segmentation.

    The first group states the number of classes in the mask, and each warning as a comment. Then
    follows a group for each of them: its segment, the class as the finding, and its area, in mm^2
    where the radiograph has a Pixel Spacing, else in pixels.

    Args:
        source: the radiograph.
        mask: (H, W) or (H, W, 1) uint8 class ids, 0 for background.
        classes: names of the ids 1..n.
        segmentation: the mask as `segmentation` returns it.
        algorithm: what computed it.
        series: of the run.
        warnings: of the image.
    """
    counts = np.bincount(mask.ravel(), minlength=len(classes) + 1)[1:]
    pixel, unit = 1.0, concept(PIXELS)
    if source.spacing is not None and source.spacing_from == "PixelSpacing":
        pixel, unit = math.prod(source.spacing), concept(SQUARE_MM)
    groups = [
        _finding(
            name,
            name,
            sr.Measurement(known.SCT.Area, float(f"{count * pixel:.6g}"), unit),
            algorithm,
            referenced_segment=_segment(source, segmentation, number),
        )
        for number, (name, count) in enumerate(zip(classes, counts, strict=True), 1)
        if count
    ]
    evidence = [source.image, segmentation]
    return _document(source, groups, evidence, algorithm, series, warnings)


def _document(
    source: Source,
    groups: Sequence[Any],
    evidence: Sequence[Dataset],
    algorithm: Algorithm,
    series: Series,
    warnings: Sequence[ImageWarning],
) -> Dataset:
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
        imaging_measurements=[_summary(source, len(groups), algorithm, warnings), *groups],
        title=known.DCM.ImagingMeasurementReport,
    )
    result = sr.ComprehensiveSR(
        evidence=evidence,
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
    source: Source, count: int, algorithm: Algorithm, warnings: Sequence[ImageWarning]
) -> sr.MeasurementsAndQualitativeEvaluations:
    """Return the group of the whole image."""
    image = source.image
    group = sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(generate_uid(prefix=None), "Whole image"),
        algorithm_id=algorithm.of_finding(),
        measurements=[sr.Measurement(concept(COUNT), count, known.UCUM.NoUnits)],
        source_images=[sr.SourceImageForMeasurementGroup(image.SOPClassUID, image.SOPInstanceUID)],
    )
    # Row 12 of TID 1501, an evaluation in text, which highdicom has no argument for. The group is
    # the first that readers show, and the only one that every report has.
    for warning in warnings:
        group[0].ContentSequence.append(
            sr.TextContentItem(
                name=known.DCM.Comment,
                value=warning.text,
                relationship_type=sr.RelationshipTypeValues.CONTAINS,
            )
        )
    return group


def _finding(
    label: str,
    name: str,
    measurement: sr.Measurement,
    algorithm: Algorithm,
    site: int | None = None,
    **region: Any,
) -> sr.PlanarROIMeasurementsAndQualitativeEvaluations:
    """Return the group of a finding of class `label`.

    `region` says where it is, `site` on which tooth, by its FDI number.
    """
    code = class_codes(label)
    tooth = code.kind if code.is_tooth else tooth_concept(site) if site else None
    return sr.PlanarROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(generate_uid(prefix=None), text(name)),
        finding_type=concept(code.kind),
        finding_sites=[sr.FindingSite(concept(tooth))] if tooth else None,
        algorithm_id=algorithm.of_finding(),
        measurements=[measurement],
        **region,
    )


def _segment(source: Source, segmentation: Dataset, number: int) -> sr.ReferencedSegmentationFrame:
    """Return the reference to the frame of a segment, which is in the mask."""
    frames = [  # without one in each frame, all frames are of the only segment
        frame.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        if "SegmentIdentificationSequence" in frame
        else number
        for frame in segmentation.PerFrameFunctionalGroupsSequence
    ]
    reference = sr.ReferencedSegmentationFrame(
        segmentation.SOPClassUID,
        segmentation.SOPInstanceUID,
        frame_number=frames.index(number) + 1,
        segment_number=number,
        source_image=sr.SourceImageForSegmentation(
            source.image.SOPClassUID, source.image.SOPInstanceUID
        ),
    )
    # highdicom states both, of which PS3.3 C.18.4 allows one; a frame is of one segment.
    del reference[0].ReferencedSOPSequence[0].ReferencedSegmentNumber
    return reference


def _region(source: Source, box: np.ndarray) -> sr.ImageRegion:
    """Return a box in pixels as a region: (0, 0) is the corner of the first, PS3.3 C.18.6."""
    top, left, bottom, right = box
    corners = [[left, top], [right, top], [right, bottom], [left, bottom], [left, top]]
    return sr.ImageRegion(
        sr.GraphicTypeValues.POLYLINE,
        np.array(corners),
        sr.SourceImageForRegion(source.image.SOPClassUID, source.image.SOPInstanceUID),
    )
