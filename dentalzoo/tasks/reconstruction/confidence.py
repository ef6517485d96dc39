"""How far a reconstruction can be trusted: it is rendered, and compared with the views it is of.

A wrong shape looks otherwise than its views, whatever the network is sure of. The residual of a
view is the mean difference of grey values, 0 to 255, over all pixels where the view or the render
shows the jaw: a silhouette that is too small or too large counts as much as wrong slopes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from dentalzoo.data.views import VIEWS
from dentalzoo.tasks.reconstruction.drawing import draw
from dentalzoo.tasks.reconstruction.inference import MIN_POINTS, Shape, poor_agreement

METRIC = "view_residual_p99"
"""The metric of `evaluate` that `bound_of` reads: the 99th percentile of residuals over jaws."""

_SIDE = 112  # ours: pixels
_BLUR = 1.5  # ours: pixels; fissures a pixel off are no other shape
_BACKGROUND = 20  # grey values above it are the jaw, which is rendered with 40 to 245
# Of a morphable bundle, for bundles without the metric: the 99th percentile of 150 synthetic jaws
# and 150 rows of crowns (seeds from 500,000). Of 126 and 142 others 1 and 4 were above it, of 93
# synthetic scans with gum all: the least was 36.
_DEFAULT = 12.6
# ours: of the bound, for each view that is missing; of 30 synthetic jaws and 30 rows of crowns from
# five views the largest was 17.6, from three 22.6, from above 29.9; of 30 scans the least was 32
_PER_MISSING = 0.1
_MOST = 25.0  # ours: a bundle that was evaluated on jaws it cannot reconstruct has no larger bound


@dataclass(frozen=True)
class Confidence:
    """The residuals between the views of a jaw and its reconstruction, rendered.

    Attributes:
        cameras: the camera index of each view, (V,).
        residuals: of each view, (V,), in grey values; 255 where neither shows anything.
        ious: intersection over union of the silhouettes of each view, (V,).
        bound: residual above which the reconstruction is not to be trusted.
        judged: False for points that are too few to look like a surface.
        doubts: what else `poor_agreement` says; "" for nothing.
    """

    cameras: tuple[int, ...]
    residuals: tuple[float, ...]
    ious: tuple[float, ...]
    bound: float
    judged: bool
    doubts: str

    @property
    def residual(self) -> float:
        """Return the mean over the views."""
        return float(np.mean(self.residuals))

    @property
    def warning(self) -> str | None:
        """Say in plain words why the reconstruction is not to be trusted; None where it is."""
        doubts = [self.doubts] if self.doubts else []
        if self.judged and self.residual > self.bound:
            worst = int(np.argmax(self.residuals))
            doubts.insert(
                0,
                f"rendered, it differs from the views by {self.residual:.1f} grey values, of jaws "
                f"that the bundle is made for 99 % by at most {self.bound:.1f}; most in view "
                f"{self.cameras[worst]}",
            )
        if not doubts:
            return None
        reasons = "; ".join(doubts)
        return f"do not trust the reconstruction, its shape does not explain the views: {reasons}"

    def record(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        columns = zip(self.cameras, self.residuals, self.ious, strict=True)
        return {
            "residual": round(self.residual, 3),
            "bound": self.bound,
            "warning": self.warning,
            "views": [
                {"view": view, "residual": round(residual, 3), "silhouette_iou": round(iou, 4)}
                for view, residual, iou in columns
            ],
        }


def bound_of(metadata: Mapping[str, Any]) -> float:
    """Return the bound of a bundle, which `evaluate --save-metrics` calibrates.

    Args:
        metadata: of the bundle.
    """
    known = metadata.get("metrics", {}).get(METRIC)
    return min(float(known), _MOST) if isinstance(known, int | float) else _DEFAULT


def bound_for(bound: float, count: int) -> float:
    """Return the bound for a number of views: less is seen, and the shape is less exact."""
    return round(bound * (1 + _PER_MISSING * (VIEWS - count)), 3)


def confidence(
    shape: Shape, views: np.ndarray, cameras: Sequence[int] | np.ndarray, bound: float = _DEFAULT
) -> Confidence:
    """Compare the views of a jaw with a render of its reconstruction.

    Args:
        shape: the reconstruction, in mm.
        views: (V, S, S, 1 or 3) uint8.
        cameras: the camera index of each view.
        bound: of `bound_of`, for all ten views.

    Raises:
        DentalzooError: it is a mesh and Open3D cannot be imported.
    """
    numbers = [int(camera) for camera in cameras]
    compared = [
        _compared(_grey(view), _grey(rendered))
        for view, rendered in zip(views, draw(shape, numbers, _SIDE), strict=True)
    ]
    residuals, ious = zip(*compared, strict=True)
    judged = shape.faces is not None or len(shape.points) >= MIN_POINTS
    doubts = poor_agreement(shape, views, numbers) or ""
    bound = bound_for(bound, len(numbers))
    return Confidence(tuple(numbers), residuals, ious, bound, judged, doubts)


def _grey(image: np.ndarray) -> np.ndarray:
    """Return an image (S, S, C) uint8 as (112, 112) float32."""
    grey = cv2.resize(image.max(axis=2), (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
    return grey.astype(np.float32)


def _compared(view: np.ndarray, rendered: np.ndarray) -> tuple[float, float]:
    """Return the residual of two grey images and the IoU of their silhouettes."""
    one, other = view > _BACKGROUND, rendered > _BACKGROUND
    either = one | other
    if not either.any():
        return 255.0, 0.0
    smooth = [cv2.GaussianBlur(image, (0, 0), _BLUR) for image in (view, rendered)]
    difference = np.abs(smooth[0] - smooth[1])[either].mean()
    return float(difference), float((one & other).sum() / either.sum())
