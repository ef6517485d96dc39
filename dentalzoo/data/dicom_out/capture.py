"""An image with its result drawn on it as a DICOM Secondary Capture."""

from collections.abc import Sequence

import numpy as np
from highdicom.sc import SCImage
from pydicom.dataset import Dataset

from dentalzoo.data.dicom_out.results import (
    Algorithm,
    Series,
    add_comments,
    complete,
    equipment,
)
from dentalzoo.data.dicom_out.source import Source
from dentalzoo.data.dicom_out.writer import ImageWarning
from dentalzoo.errors import BadFile


def capture(
    source: Source,
    image: np.ndarray,
    algorithm: Algorithm,
    series: Series,
    warnings: Sequence[ImageWarning] = (),
) -> Dataset:
    """Return an image as a Secondary Capture in RGB, uncompressed.

    Args:
        source: the radiograph that the image shows.
        image: (H, W, 3) uint8 of the radiograph's size.
        algorithm: what computed the result that is drawn on it.
        series: of the run.
        warnings: of the image.

    Raises:
        BadFile: the image has another size than the radiograph.
    """
    size = (source.image.Rows, source.image.Columns)
    if image.shape[:2] != size:
        raise BadFile(source.path, f"its overlay must be {size} pixels. Received: {image.shape}")
    result = SCImage(
        pixel_array=np.ascontiguousarray(image),
        photometric_interpretation="RGB",
        bits_allocated=8,
        coordinate_system="PATIENT",
        patient_orientation=("L", "F"),  # which highdicom demands; replaced below
        study_instance_uid=source.image.StudyInstanceUID,
        pixel_spacing=source.spacing if source.spacing_from == "PixelSpacing" else None,
        **series.next_instance("sc", source),
        **equipment(algorithm, "sc"),
    )
    result.update(source.orientation)
    result.update(source.calibration)
    result.update(_image_module(source, algorithm))
    add_comments(result, warnings)
    complete(result, source)
    return result


def _image_module(source: Source, algorithm: Algorithm) -> Dataset:
    """Return the elements of series and image that highdicom leaves out, PS3.3 C.7.6.1, C.8.6."""
    module = Dataset()
    module.Laterality = ""  # of paired body parts, which jaws are not
    module.ConversionType = "WSD"  # made on a workstation
    module.DerivationDescription = f"Result of {algorithm.name} drawn on the image"
    if source.burned_in:
        module.BurnedInAnnotation = source.burned_in
    reference = Dataset()
    reference.ReferencedSOPClassUID = source.image.SOPClassUID
    reference.ReferencedSOPInstanceUID = source.image.SOPInstanceUID
    module.SourceImageSequence = [reference]
    for part in ("", "Ratio", "Method"):
        keyword = f"LossyImageCompression{part}"
        if keyword in source.image:
            setattr(module, keyword, source.image.get(keyword))
    return module
