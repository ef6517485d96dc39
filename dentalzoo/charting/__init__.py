"""Dental charts: teeth, their numbers and findings of an image put together, and two compared."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dentalzoo.charting.options import ChartOptions
from dentalzoo.dispatch import Paths, as_paths

if TYPE_CHECKING:
    from dentalzoo.tasks.base import PredictionReport


def chart(
    inputs: Paths,
    out: str | Path,
    *,
    outlines: str | Path = ChartOptions.outlines,
    numbers: str | Path = ChartOptions.numbers,
    findings: str | Path = ChartOptions.findings,
    dicom: Sequence[str] = (),
    anonymize: bool = False,
) -> "PredictionReport":
    """Write a dental chart of each panoramic radiograph: which teeth, and what is on them.

    The mask of teeth of one bundle is divided by the numbered boxes of a second one; boxes of a
    third one are the findings. For research, not for diagnosis.

    Args:
        inputs: images, and folders whose images are taken, one level deep.
        out: a folder, made where it is absent; no input may lie in it. Each image gets
            `out`/<stem>_chart.json, whose format docs/chart.md describes, `out`/<stem>_chart.html,
            a page to look at and to print, and `out`/crops/<stem>_<number>.jpg for each tooth.
        outlines: a bundle for segmentation of teeth: a name, folder or address.
        numbers: a bundle for detection whose classes are FDI numbers.
        findings: a bundle for detection of findings, or "none".
        dicom: "sr" also writes `out`/<stem>_sr.dcm for images that are DICOM.
        anonymize: replace the names; their key goes to `out`_key.csv.

    Returns:
        The number of images with a chart, and the path and reason of each that failed, which is
        also logged in one line; the rest is still written.

    Raises:
        DentalzooError: there is no image, `out` holds inputs or cannot be written, or a bundle is
            not for what it is given for.
    """
    from dentalzoo.charting.predictor import ChartPredictor
    from dentalzoo.tasks.predictor import predict_all

    options = ChartOptions(str(outlines), str(numbers), str(findings), tuple(dicom), anonymize)
    return predict_all(ChartPredictor(options), as_paths(inputs), out)


def compare_charts(older: str | Path, newer: str | Path, out: str | Path) -> dict[str, Any]:
    """Compare two charts of one patient: lost teeth, new restorations and so on.

    Whether both charts are of one patient is not known to them, and not checked.

    Args:
        older, newer: files that `chart` wrote, NAME_chart.json.
        out: a folder for comparison.json and comparison.html.

    Returns:
        What comparison.json holds, see docs/chart.md.

    Raises:
        DentalzooError: a file is no chart, or `out` cannot be written.
    """
    from dentalzoo.charting.comparison import write_comparison

    return write_comparison(older, newer, out)
