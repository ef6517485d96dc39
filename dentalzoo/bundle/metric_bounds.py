"""How much worse than the bundle an export may be, by each metric of an evaluation.

The bounds were chosen so: 0.002 for the main metric of a task; more for those that move faster than
it does (IoU), that are counted from few objects (precision, recall) or come from one image (the
smallest Dice). Distances of jaws are in mm.
"""

import math
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import NamedTuple


class Bound(NamedTuple):
    """Of one metric.

    Attributes:
        most: the largest loss; absolute, or relative where the metric of the bundle is above 1.
        better: 1 where more is better, -1 where less is, 0 where any change is a loss.
    """

    most: float
    better: int = 1

    def kept(self, bundle: float, exported: float) -> bool:
        """Return whether the exported value is good enough; never where it is NaN."""
        loss = self.better * (bundle - exported) if self.better else abs(bundle - exported)
        return loss <= self.most * max(1.0, abs(bundle)) or (
            math.isnan(bundle) and math.isnan(exported)
        )


MAIN: Mapping[str, str] = {
    "segmentation": "dice",
    "detection": "ap",
    "generation": "elbo",
    "superimposition": "mae",
    "reconstruction": "f_score_at_1_4mm",
}
"""Task -> the metric without which nothing is compared."""

BOUNDS: Mapping[str, Mapping[str, Bound]] = {
    "segmentation": {
        **dict.fromkeys(("dice", "dice_pooled", "accuracy"), Bound(0.002)),
        **dict.fromkeys(("iou", "dice_median"), Bound(0.004)),
        **dict.fromkeys(("precision", "recall"), Bound(0.005)),
        "dice_min": Bound(0.01),
        "ece": Bound(0.005, -1),
    },
    "detection": {
        "ap": Bound(0.002),
        **dict.fromkeys(("ap50", "ap75", "ar100", "voc_map", "froc_mean", "f1"), Bound(0.005)),
        **dict.fromkeys(("precision", "recall", "teeth_*"), Bound(0.01)),
        "ece": Bound(0.005, -1),
    },
    "generation": {
        **dict.fromkeys(("elbo", "iwae_*", "psnr", "ssim"), Bound(0.002)),
        "bits_per_dim": Bound(0.002, -1),
        "kl": Bound(0.01, 0),
        "active_units": Bound(0.02, 0),
        **dict.fromkeys(("kid", "frechet", "copied"), Bound(0.01, -1)),
    },
    "superimposition": {
        "mae": Bound(0.002, -1),
        "kl": Bound(0.01, 0),
        **dict.fromkeys(("success", "success_pairs", "success_triples"), Bound(0.01)),
        "recovered_median": Bound(0.01, 0),
        "background_error_median": Bound(0.002, -1),
    },
    "reconstruction": {
        "f_score_at_*": Bound(0.002),
        **dict.fromkeys(("precision_at_*", "recall_at_*"), Bound(0.005)),
        **dict.fromkeys(("pred_to_gt_mm", "gt_to_pred_mm"), Bound(0.01, -1)),
        "spacing_variation": Bound(0.01, -1),
        "view_residual_p99": Bound(0.01, -1),
    },
}
"""Task -> summary metric, or a pattern of its name, and its bound."""

OTHERS = ("ece_uncalibrated", "*_floor", "success_of_the_plain_sum", "baseline_*", "sweep_*")
"""Metrics that say nothing of an export: what bundles are compared with, and choices."""


def less_is_better(metric: str) -> bool:
    """Return True for errors and distances, of any task, where the smaller value is the better."""
    name = metric.removesuffix("_uncalibrated")
    return any(
        bound.better < 0 and fnmatchcase(name, pattern)
        for bounds in BOUNDS.values()
        for pattern, bound in bounds.items()
    )


def bound_of(task: str, metric: str) -> Bound | None:
    """Return the bound of a summary metric; None for one without."""
    for pattern, bound in BOUNDS[task].items():
        if fnmatchcase(metric, pattern):
            return bound
    return None
