"""Reconstructions and codes of any number of images, and generated images, file by file."""

import csv
import io
import logging
from collections.abc import Iterable, Iterator
from pathlib import Path

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from dentalzoo.atomic import write_atomically
from dentalzoo.data.io.images import list_images, read_image, write_png
from dentalzoo.data.pipeline.prefetch import read_ahead
from dentalzoo.errors import BadFile, DentalzooError
from dentalzoo.output_dirs import make_folder, whole_folder
from dentalzoo.plots.contact_sheet import grid, side_by_side
from dentalzoo.plots.pixels import as_pixels
from dentalzoo.tasks.base import PredictionReport, output_names
from dentalzoo.tasks.generation.inference import BLOCK, sample_blocks

_log = logging.getLogger("dentalzoo")
_COLUMNS = 8  # of the sheet of samples


def predict(
    bundle, inputs: str | Path | Iterable[str | Path], out: str | Path, overlay: bool = False
) -> PredictionReport:
    """Encodes and decodes images: writes `out`/<stem>.png for each and `out`/latents.csv.

    A reconstruction has the network's size and is the image of the code's mean. A row of
    latents.csv is the name of the reconstruction, z_mean_0, ... and z_log_var_0, ...; the file is
    whole or absent. Names and bad files are treated as by `dentalzoo.tasks.segmentation.predict`.

    Args:
        bundle: a `Bundle` with the signatures `encode` and `decode`.
        inputs: images, and folders whose images are taken, one level deep.
        out: a folder, made where it is absent; no input may lie in it.
        overlay: write also `out`/<stem>_overlay.png, the image as the network sees it beside
            its reconstruction.

    Returns:
        What was written and what failed. An image that cannot be read is logged in one line and
        the rest goes on.

    Raises:
        DentalzooError: there is no image, or `out` holds inputs or cannot be written.
    """
    out = Path(out)
    images = list({path.resolve(): path for path in list_images(inputs)}.values())
    if not images:
        raise DentalzooError(f"expected images or folders of images. Received: {inputs!r}")
    make_folder(out, images)
    report = PredictionReport()

    def write(file) -> None:
        text = io.TextIOWrapper(file, "utf-8", errors="backslashreplace", newline="")
        rows = csv.writer(text, lineterminator="\n")
        for row in _rows(bundle, images, out, overlay, report):
            rows.writerow(row)
        text.flush()
        text.detach()

    write_atomically(out / "latents.csv", write)
    return report


def _rows(bundle, images: list[Path], out: Path, overlay: bool, report) -> Iterator[list]:
    """Writes the images; yields the rows of latents.csv, the names of its columns first."""
    names = dict(zip(images, output_names(images, ("overlay",) if overlay else ()), strict=True))
    keys, units = ("z_mean", "z_log_var"), range(bundle.metadata["config"]["latent_dim"])
    yield ["file", *(f"{key}_{unit}" for key in keys for unit in units)]
    reading = read_ahead(read_image, images)
    with logging_redirect_tqdm():
        for path, image in tqdm(reading, "encoding", len(images), disable=None, unit="image"):
            try:
                if isinstance(image, DentalzooError):
                    raise image
                code = bundle.encode(image)
                decoded = bundle.decode(code["z_mean"])["image"]
            except DentalzooError as error:
                reason = error.reason if isinstance(error, BadFile) else str(error)
                _log.warning("%s: %s", path, reason)
                report.failed.append((str(path), reason))
                continue
            write_png(out / f"{names[path]}.png", as_pixels(decoded))
            if overlay:
                both = side_by_side(code["image"], decoded, tile=max(decoded.shape[:2]))
                write_png(out / f"{names[path]}_overlay.png", both)
            report.written += 1
            yield [f"{names[path]}.png", *(f"{value:.7g}" for key in keys for value in code[key])]


def generate(bundle, out: str | Path, count: int = 64, seed: int = 0) -> PredictionReport:
    """Writes generated images, `out`/images/0000.png, 0001.png, ..., and a sheet of the first
    64, `out`/samples.png.

    The same seed gives the same images, whatever the count. The folder is complete or as it was.

    Args:
        bundle: a `Bundle` with the signature `generate`.
        out: a folder that is absent, empty, or of an earlier call, whose images are replaced.
        count: how many, at least 1.
        seed: a whole number, at least 0.

    Returns:
        How many images were written, the sheet not counted.

    Raises:
        DentalzooError: an argument is out of place, or `out` holds something else or cannot be
            written.
    """
    report, first = PredictionReport(), []
    blocks = sample_blocks(bundle, count, seed)
    digits = max(4, len(str(count - 1)))
    with whole_folder(out, "generate") as folder:
        (folder / "images").mkdir()
        for block in tqdm(blocks, "generating", -(-count // BLOCK), disable=None, unit="block"):
            for image in map(as_pixels, block):
                write_png(folder / "images" / f"{report.written:0{digits}d}.png", image)
                report.written += 1
            first = first or list(block)
        write_png(folder / "samples.png", grid(first, _COLUMNS))
    return report
