"""Masks as DICOM SEG: one binary segment per class, pixel by pixel on the radiograph."""

from collections.abc import Sequence

import numpy as np
from highdicom import PixelMeasuresSequence
from highdicom.color import CIELabColor
from highdicom.seg import Segmentation, SegmentDescription
from pydicom.dataset import Dataset

from dentalzoo.data.dicom_out.codes import JAW, class_codes, text
from dentalzoo.data.dicom_out.results import (
    Algorithm,
    Series,
    add_comments,
    complete,
    concept,
    equipment,
)
from dentalzoo.data.dicom_out.source import Source
from dentalzoo.data.dicom_out.writer import ImageWarning
from dentalzoo.errors import BadFile


def segmentation(
    source: Source,
    mask: np.ndarray,
    classes: Sequence[str],
    colours: Sequence[tuple[int, int, int]],
    algorithm: Algorithm,
    series: Series,
    warnings: Sequence[ImageWarning] = (),
) -> Dataset:
    """Return a mask as a Segmentation object.

    Every class has a segment, whose number is its id. Of a class that is not in the mask no frame
    is stored; an empty mask is stored as empty frames.

    Args:
        source: the radiograph.
        mask: (H, W) or (H, W, 1) uint8 class ids, 0 for background, of the radiograph's size.
        classes: names of the ids 1..n.
        colours: (red, green, blue) of the ids 1..n, 0 to 255, that viewers should take; or none.
        algorithm: what computed it.
        series: of the run.
        warnings: of the image.

    Raises:
        BadFile: the mask has another size than the radiograph.
    """
    ids = mask.reshape(mask.shape[:2])
    size = (source.image.Rows, source.image.Columns)
    if ids.shape != size:
        raise BadFile(source.path, f"its mask must be {size} pixels. Received: {ids.shape}")
    # Programs list segmentations by their Content Description, which has 64 characters: the warning
    # takes them all. The algorithm and the classes are named in every segment.
    described = warnings[0].short if warnings else f"{algorithm.name}: {', '.join(classes)}"
    result = Segmentation(
        source_images=[source.image],
        pixel_array=ids.astype(np.uint8),
        segmentation_type="BINARY",
        segment_descriptions=[
            _segment(number, name, colours[number - 1 : number], algorithm)
            for number, name in enumerate(classes, 1)
        ],
        pixel_measures=_pixel_measures(source),
        omit_empty_frames=bool(ids.any()),
        content_label="SEGMENTATION",
        content_description=text(described),
        content_creator_name="",  # of type 2, and no person's
        **series.next_instance("seg", source),
        **equipment(algorithm, "seg"),
    )
    result.update(source.orientation)
    add_comments(result, warnings)
    complete(result, source)
    return result


def _segment(
    number: int, name: str, colour: Sequence[tuple[int, int, int]], algorithm: Algorithm
) -> SegmentDescription:
    codes = class_codes(name)
    return SegmentDescription(
        segment_number=number,
        segment_label=text(name),
        segmented_property_category=concept(codes.category),
        segmented_property_type=concept(codes.kind),
        algorithm_type="AUTOMATIC",
        algorithm_identification=algorithm.of_segment(),
        anatomic_regions=[concept(JAW)],
        primary_anatomic_structures=[concept(codes.kind)] if codes.is_tooth else None,
        display_color=CIELabColor.from_rgb(*colour[0]) if colour else None,
    )


def _pixel_measures(source: Source) -> PixelMeasuresSequence | None:
    """Return the distances of pixels; None where the radiograph does not state them."""
    if source.spacing is None:
        return None
    return PixelMeasuresSequence(source.spacing, source.image.SliceThickness)
