"""The options of a dental chart."""

from dataclasses import dataclass
from typing import ClassVar

from dentalzoo.config import option
from dentalzoo.tasks.options import Options

NO_FINDINGS = "none"


@dataclass(frozen=True)
class ChartOptions(Options):
    """Options of `chart`: which bundles are put together, and what is written besides."""

    overlay: ClassVar[bool] = False  # the page of a chart shows what was found

    outlines: str = option(
        "panoramic_unet.panoramic_teeth_v2", "bundle for masks of teeth: a name, folder or address"
    )
    numbers: str = option(
        "panoramic_detection.dentex_fdi_v2", "bundle for boxes whose classes are FDI numbers"
    )
    findings: str = option(
        "panoramic_detection.dental_radiography_v4",
        f"bundle for boxes of findings, or {NO_FINDINGS}",
    )
    dicom: tuple[str, ...] = option(
        (),
        "for DICOM images also write a Structured Report of the teeth and the findings (sr)",
        choices=("sr",),
    )
    anonymize: bool = option(
        False,
        "give the results hashed names, and the report no patient's identity; their key goes to "
        "OUT_key.csv",
    )
