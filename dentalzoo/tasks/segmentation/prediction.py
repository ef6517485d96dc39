"""Masks of any number of images, written one by one."""

import logging
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from dentalzoo.data.io.images import list_images, read_image, write_png
from dentalzoo.data.pipeline.prefetch import read_ahead
from dentalzoo.errors import BadFile, DentalzooError
from dentalzoo.output_dirs import make_folder
from dentalzoo.plots.palette import palette
from dentalzoo.tasks.base import PredictionReport, output_names
from dentalzoo.tasks.segmentation.drawing import overlay as draw_overlay
from dentalzoo.tasks.segmentation.inference import (
    check_threshold,
    num_channels,
    segment,
)

_log = logging.getLogger("dentalzoo")


def predict(
    bundle,
    inputs: str | Path | Iterable[str | Path],
    out: str | Path,
    overlay: bool = False,
    threshold: float | None = None,
) -> PredictionReport:
    """Segments images and writes `out`/<stem>.png for each, at the image's own size.

    A binary mask holds 0 and 255, one of several classes is a palette PNG of class ids. Images
    that share a stem (`a.png` and `a.jpg`) keep their whole name (`a.png.png`, `a.jpg.png`), and
    where that is shared too, as many folders before it as it takes (`left_a.png.png`). An image
    given twice is written once. Every file is whole or absent, whenever the process dies.

    Args:
        bundle: a `Bundle` of the task "segmentation".
        inputs: images, and folders whose images are taken, one level deep.
        out: a folder, made where it is absent; no input may lie in it.
        overlay: write also `out`/<stem>_overlay.png, the image with the mask on it.
        threshold: of a binary mask, in [0, 1]; None for the bundle's own.

    Returns:
        What was written and what failed. An image that cannot be read is logged in one line and
        the rest goes on.

    Raises:
        DentalzooError: there is no image, `out` holds inputs or cannot be written, or the
            threshold is out of place.
    """
    check_threshold(bundle, threshold)
    out = Path(out)
    images = list({path.resolve(): path for path in list_images(inputs)}.values())
    if not images:
        raise DentalzooError(f"expected images or folders of images. Received: {inputs!r}")
    make_folder(out, images)
    names = dict(zip(images, output_names(images, ("overlay",) if overlay else ()), strict=True))
    binary, report = num_channels(bundle) == 1, PredictionReport()
    reading = read_ahead(read_image, images)
    with logging_redirect_tqdm():
        for path, image in tqdm(reading, "segmenting", len(images), disable=None, unit="image"):
            try:
                if isinstance(image, DentalzooError):
                    raise image
                mask = segment(bundle, image, threshold)
            except DentalzooError as error:
                reason = error.reason if isinstance(error, BadFile) else str(error)
                _log.warning("%s: %s", path, reason)
                report.failed.append((str(path), reason))
                continue
            target = out / f"{names[path]}.png"
            if binary:
                write_png(target, mask * np.uint8(255))
            else:
                write_png(target, mask, palette=palette())
            if overlay:
                write_png(out / f"{names[path]}_overlay.png", draw_overlay(image, mask))
            report.written += 1
    return report
