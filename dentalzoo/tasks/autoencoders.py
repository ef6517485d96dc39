"""Shared by the tasks of variational autoencoders: latent scores, decoding in blocks, `predict`."""

import csv
import io
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from dentalzoo.atomic import write_atomically
from dentalzoo.data.images import ImageDataset
from dentalzoo.data.io.images import encode_png
from dentalzoo.plots.contact_sheet import side_by_side
from dentalzoo.plots.pixels import as_pixels
from dentalzoo.tasks.base import PredictionReport
from dentalzoo.tasks.options import GenerationPredictOptions
from dentalzoo.tasks.predictor import ImagePredictor, Item, Result, predict_all

if TYPE_CHECKING:
    from dentalzoo.bundle import Bundle

MIN_ACTIVE = 0.01
"""A latent unit is active above this variance of its means (Burda et al. 2015, arXiv:1509.00519,
section 5.1); also used for the KL divergence, in nats."""

MIN_NATS = 0.1
"""A code that carries less than this in all its units has collapsed: ours."""

_VALUES = 1 << 22  # of the images decoded at once, so that they take little memory; ours
_CODE = ("z_mean", "z_log_var")  # what `encode` returns of the code


# ---- the latent space ----------------------------------------------------------------------------


def image_shape(bundle: "Bundle") -> tuple[int, int, int]:
    """Return (H, W, C) of the images that the network sees."""
    config = bundle.metadata["config"]
    height, width = config["input_size"]
    return height, width, config["channels"]


def decode(bundle: "Bundle", z: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the images of latent vectors (N, D) in blocks: (n, H, W, C) float32 in [0, 1]."""
    rows = max(1, _VALUES // int(np.prod(image_shape(bundle))))
    for start in range(0, len(z), rows):
        yield bundle.decode(np.float32(z[start : start + rows]))["image"]


def kl_divergence(z_mean: np.ndarray, z_log_var: np.ndarray) -> np.ndarray:
    """KL(N(mean, exp(log_var)) || N(0, 1)) of each latent unit, in nats: (B, D) -> (B, D) float64.

    The formula of `dentalzoo.nn.vae`, in NumPy.
    """
    mean, log_var = np.asarray(z_mean, np.float64), np.asarray(z_log_var, np.float64)
    kl: np.ndarray = -0.5 * (1 + log_var - mean**2 - np.exp(log_var))
    return kl


# ---- data sets -----------------------------------------------------------------------------------


def files_of(dataset: ImageDataset) -> list[Path]:
    """Return all image and mask files of a data set."""
    return [path for s in dataset.samples for path in (s.image, s.mask) if path is not None]


# ---- predict -------------------------------------------------------------------------------------


def predict(
    bundle: "Bundle",
    inputs: str | Path | Iterable[str | Path],
    out: str | Path,
    *,
    options: GenerationPredictOptions = GenerationPredictOptions(),
) -> PredictionReport:
    """Encode and decode images; write `out`/<stem>.png for each and `out`/latents.csv.

    A reconstruction has the network's size and is decoded from the mean of the code. A row of
    latents.csv is the name of the reconstruction, z_mean_0, ... and z_log_var_0, ...; the file is
    whole or absent. Images that share a stem get longer names, see
    `dentalzoo.tasks.base.output_names`.

    Args:
        bundle: a bundle with the signatures `encode` and `decode`.
        inputs: images, and folders whose images are taken, one level deep.
        out: a folder, made where it is absent; no input may lie in it.
        options: with `overlay`, `out`/<stem>_overlay.png is written too: the image as the network
            sees it beside its reconstruction.

    Returns:
        The number of written images, and those that failed. An image that cannot be read is logged
        in one line, and the rest continues.

    Raises:
        DentalzooError: there is no image, or `out` holds inputs or cannot be written.
    """
    return predict_all(Predictor(bundle, options), inputs, out)


class Predictor(ImagePredictor):
    """Codes and reconstructions of images, see `predict`."""

    title = "encoding"

    def compute(self, item: Item, value: np.ndarray) -> tuple[dict[str, Any], np.ndarray]:
        """Return the results of `encode`, and the image decoded from the mean of the code."""
        code = self._bundle.encode(value)
        return code, self._bundle.decode(code["z_mean"])["image"]

    def results(
        self, item: Item, value: np.ndarray, prediction: tuple[dict[str, Any], np.ndarray]
    ) -> Result:
        code, decoded = prediction
        files = {f"{item.name}.png": encode_png(as_pixels(decoded))}
        files |= self._overlay_file(
            item, lambda: side_by_side(code["image"], decoded, tile=max(decoded.shape[:2]))
        )
        return Result(files, {"code": [f"{value:.7g}" for key in _CODE for value in code[key]]})

    def _combine(self, records: Iterator[tuple[Item, Mapping[str, Any]]], out: Path) -> list[Path]:
        units = range(self._bundle.metadata["config"]["latent_dim"])

        def write(file: IO[bytes]) -> None:
            text = io.TextIOWrapper(file, "utf-8", errors="backslashreplace", newline="")
            rows = csv.writer(text, lineterminator="\n")
            rows.writerow(["file", *(f"{key}_{unit}" for key in _CODE for unit in units)])
            for item, record in records:
                rows.writerow([f"{item.name}.png", *record["code"]])
            text.flush()
            text.detach()

        write_atomically(out / "latents.csv", write)
        return [out / "latents.csv"]
