"""Masks of any number of images, written one by one."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dentalzoo.data.io.images import read_image, write_png
from dentalzoo.data.pipeline.prefetch import for_each
from dentalzoo.plots.palette import palette
from dentalzoo.tasks.base import PredictionReport, named_images
from dentalzoo.tasks.options import SegmentationPredictOptions
from dentalzoo.tasks.segmentation.drawing import overlay
from dentalzoo.tasks.segmentation.inference import num_channels, refuse_threshold, segment

if TYPE_CHECKING:
    from dentalzoo.bundle import Bundle


def predict(
    bundle: "Bundle",
    inputs: str | Path | Iterable[str | Path],
    out: str | Path,
    *,
    options: SegmentationPredictOptions = SegmentationPredictOptions(),
) -> PredictionReport:
    """Segment images and write `out`/<stem>.png for each, at the image's own size.

    A binary mask holds 0 and 255, one of several classes is a palette PNG of class ids. Images
    that share a stem (`a.png` and `a.jpg`) keep their whole name (`a.png.png`, `a.jpg.png`), and
    where that is shared too, as many folders before it as it takes (`left_a.png.png`). An image
    given twice is written once. Every file is whole or absent, whenever the process dies.

    Args:
        bundle: of the task "segmentation".
        inputs: images, and folders whose images are taken, one level deep.
        out: a folder, made where it is absent; no input may lie in it.
        options: with `overlay` also writes `out`/<stem>_overlay.png, the image with its mask.

    Returns:
        The number of images with a result, and the path and reason of each that failed, which is
        also logged in one line; the rest is still written.

    Raises:
        DentalzooError: there is no image, `out` holds inputs or cannot be written, or a threshold
            is given for a bundle of several classes.
    """
    refuse_threshold(bundle, options.threshold)
    out, report = Path(out), PredictionReport()
    names = named_images(inputs, out, ("overlay",) if options.overlay else ())
    binary = num_channels(bundle) == 1
    for path, image, mask in for_each(
        list(names),
        read_image,
        lambda _, image: segment(bundle, image, options.threshold),
        title="segmenting",
        failed=report.failed,
    ):
        target = out / f"{names[path]}.png"
        if binary:
            write_png(target, mask * np.uint8(255))
        else:
            write_png(target, mask, palette=palette())
        if options.overlay:
            write_png(out / f"{names[path]}_overlay.png", overlay(image, mask))
        report.written += 1
    return report
