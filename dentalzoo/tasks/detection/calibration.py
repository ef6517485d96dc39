"""The temperature and the bias of a bundle's scores, from boxes of annotated images."""

from pathlib import Path
from typing import TYPE_CHECKING

from dentalzoo.ops.calibration import Calibration
from dentalzoo.tasks.calibration import calibration_of, scaling_of
from dentalzoo.tasks.detection.evaluation import Evaluation, observed_of

if TYPE_CHECKING:
    from dentalzoo.bundle import Bundle


def calibrate(bundle: "Bundle", data: str | Path, *, split: str | None = "val") -> Calibration:
    """Fit a temperature and a bias to a bundle's scores on annotated images.

    Then the score of a box is the probability that it overlaps an object of its class by an IoU of
    0.5 or more, and no better box does. All boxes count that the bundle returns.

    Args:
        bundle: of the task "detection".
        data: a folder in a layout of docs/data_formats.md.
        split: the split that may choose settings.

    Raises:
        DentalzooError: as `evaluate`; or the boxes are too few, see `calibration_of`.
    """
    evaluation, failed = Evaluation(bundle, data, split=split), list[tuple[str, str]]()
    measured = evaluation.measured(evaluation.results(failed), failed)
    of_network = scaling_of(bundle).inverse
    images = [image.through(of_network) for image in observed_of(measured.matches)]
    return calibration_of(bundle, data, split, images, with_bias=True)
