"""The temperature of a bundle's probabilities, from pixels of annotated images."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zlib import crc32

import numpy as np

from dentalzoo.data.masks import MaskSample
from dentalzoo.ops.calibration import Calibration, Observed, Scaling
from dentalzoo.tasks.base import Measure
from dentalzoo.tasks.calibration import calibration_of, scaling_of
from dentalzoo.tasks.segmentation.evaluation import Evaluation, observed_of
from dentalzoo.tasks.segmentation.inference import num_channels

if TYPE_CHECKING:
    from dentalzoo.bundle import Bundle

_PIXELS = 50_000  # of an image: ours
_VALUES = 20_000_000  # of all images in memory, float32: ours


def calibrate(bundle: "Bundle", data: str | Path, *, split: str | None = "val") -> Calibration:
    """Fit a temperature to a bundle's probabilities on annotated images.

    A bias is not fitted: on the released bundle it did not lower the cross-validated loss, and the
    mask, above 0.5, would not stay the same.

    Args:
        bundle: of the task "segmentation".
        data: a folder in a layout of docs/data_formats.md.
        split: the split that may choose settings.

    Raises:
        DentalzooError: as `evaluate`; or the images are too few, see `calibration_of`.
    """
    evaluation = Evaluation(bundle, data, split=split)
    most = max(1, _VALUES // (num_channels(bundle) * max(1, len(evaluation.samples))))
    sampling = _Sampling(evaluation.measure, min(_PIXELS, most), scaling_of(bundle).inverse)
    failed: list[tuple[str, str]] = []
    results = evaluation.each(
        bundle, evaluation.samples, sampling, failed, title="calibrating", unit="image"
    )
    images = [observed for _, observed in results]
    return calibration_of(bundle, data, split, images, with_bias=False)


@dataclass(frozen=True)
class _Sampling:
    """The `Measure` of `calibrate`: random pixels, with the network's own probabilities."""

    measure: Measure
    pixels: int
    of_network: Scaling

    def read(self, sample: MaskSample) -> dict[str, Any]:
        arrays: dict[str, Any] = self.measure.read(sample)
        return arrays

    def __call__(self, bundle: "Bundle", sample: MaskSample, arrays: dict[str, Any]) -> Observed:
        observed = observed_of(bundle.serve(arrays["image"])["probabilities"], arrays["mask"])
        rng = np.random.default_rng(crc32(sample.name.encode()))
        count = len(observed.truth)
        chosen = rng.choice(count, min(count, self.pixels), replace=False)
        part = Observed(observed.probabilities[chosen], observed.truth[chosen])
        return part.through(self.of_network)

    def name(self, sample: MaskSample) -> str:
        return self.measure.name(sample)
