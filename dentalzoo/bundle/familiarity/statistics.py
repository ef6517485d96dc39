"""Statistics of training images, and the bounds that validation images choose for them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

PARTS = ("content", "layout", "brightness", "contrast", "aspect", "colour")
"""What is compared, each one number an image:

- content: distance of the features of the network, pooled, from those of the training images;
- layout: 1 - correlation with the mean training image, both of 16 x 16 fields or so;
- brightness: mean grey level, from 0 to 1;
- contrast: logarithm of the standard deviation of the grey levels;
- aspect: logarithm of width / height;
- colour: mean difference of the largest and the least channel, from 0 to 1.

The last four are signed: above 0 where an image has more than the training images.
"""

SIGNED = PARTS[2:]
SHARE = 0.01  # of validation images that are above the bound
MIN_IMAGES = 8  # to learn from, and
MIN_VALIDATION = 3  # to choose a bound by; ours
CONFIDENCE = 0.95  # that no more are, where they are few; ours
PERCENTILE_FROM = 100  # images from which their 99th percentile is known; ours

# Differences that are none, in the units of a part: rounding, compression, a few pixels. Ours.
_LEAST = {"layout": 0.05, "brightness": 0.05, "contrast": 0.2, "aspect": 0.1, "colour": 0.03}
_DIRECTIONS = 32  # of the principal components that are kept, ours
_LEAST_SCALE = 0.05  # of a feature, as a share of the median of all
_LARGEST = 30.0  # of the logarithm of a bound that few images choose

ARRAYS = ("mean", "scale", "directions", "variances", "rest", "template", "centres", "bounds")

Measures = Mapping[str, np.ndarray]
"""Of N images, by name: "features" (N, D), "fields" (N, F) of unit length, and (N,) each of
`SIGNED`; float32."""


@dataclass(frozen=True)
class Statistics:
    """What a bundle knows of its training images.

    Attributes:
        mean, scale: (D,) of the features.
        directions: (K, D), the principal components of the scaled features.
        variances: (K,) along these.
        rest: () the mean variance along all other directions.
        template: (F,) the mean of the fields, of unit length.
        centres: (6,) the mean of each part, see `PARTS`; 0 of content and layout.
        bounds: (6,) the distance from the centre that is 1.
        described: plain values for the metadata: what they were learned from.
    """

    mean: np.ndarray
    scale: np.ndarray
    directions: np.ndarray
    variances: np.ndarray
    rest: np.ndarray
    template: np.ndarray
    centres: np.ndarray
    bounds: np.ndarray
    described: Mapping[str, Any]

    @classmethod
    def of_bundle(
        cls, arrays: Sequence[np.ndarray], described: Mapping[str, Any]
    ) -> "Statistics | None":
        """Return the statistics that a bundle holds; None where it holds none.

        Args:
            arrays: of its function `read_familiarity`, which need not be trusted.
            described: of its metadata.
        """
        if len(arrays) != len(ARRAYS):
            return None
        named = dict(zip(ARRAYS, arrays, strict=True))
        size, kept = named["mean"].size, named["variances"].size
        shapes = {
            **{"mean": (size,), "scale": (size,), "directions": (kept, size)},
            **{"variances": (kept,), "rest": (), "template": (named["template"].size,)},
            **dict.fromkeys(("centres", "bounds"), (len(PARTS),)),
        }
        if any(named[key].shape != shape for key, shape in shapes.items()):
            return None
        return cls(**named, described={k: v for k, v in described.items() if k != "parts"})

    def arrays(self) -> list[np.ndarray]:
        """Return the arrays in the order of `ARRAYS`, float32."""
        return [np.asarray(getattr(self, name), np.float32) for name in ARRAYS]

    def distances(self, measures: Measures) -> np.ndarray:
        """Return how far images are from the centre in each part, (N, 6), signed as `PARTS` says.

        `graph.signature` computes the same.
        """
        z = (np.asarray(measures["features"], np.float64) - self.mean) / self.scale
        along = z @ self.directions.T
        beside = np.maximum((z**2).sum(1) - (along**2).sum(1), 0)
        content = np.sqrt(((along**2 / self.variances).sum(1) + beside / self.rest) / z.shape[1])
        layout = 1 - measures["fields"] @ self.template
        others = [measures[name] for name in SIGNED]
        distances: np.ndarray = np.stack([content, layout, *others], 1) - self.centres
        return distances

    def metadata(self) -> dict[str, Any]:
        """Return what the metadata of a bundle keep: the bound and the centre of each part."""
        rows = zip(PARTS, self.centres.tolist(), self.bounds.tolist(), strict=True)
        parts = {name: {"centre": centre, "bound": bound} for name, centre, bound in rows}
        return {**self.described, "parts": parts}


def fit(training: Measures, validation: Measures, described: Mapping[str, Any]) -> Statistics:
    """Return the statistics of training images, with the bounds that validation images choose.

    Args:
        training: of MIN_IMAGES or more.
        validation: of MIN_VALIDATION or more others.
        described: see `Statistics`; gets the numbers of images and how the bounds were chosen.
    """
    features = np.asarray(training["features"], np.float64)
    mean, scale = features.mean(0), features.std(0)
    scale = np.maximum(scale, max(_LEAST_SCALE * float(np.median(scale)), 1e-6))
    directions, variances, rest = _components((features - mean) / scale)
    template = np.asarray(training["fields"], np.float64).mean(0)
    template /= np.linalg.norm(template) + 1e-9
    centres = np.array([0.0, 0.0, *(float(np.mean(training[name])) for name in SIGNED)])
    content = mean, scale, directions, variances, rest
    found = Statistics(*content, template, centres, np.ones(len(PARTS)), described)
    count = len(validation["features"])
    few = count < PERCENTILE_FROM
    about = {
        **described,
        "images": len(features),
        "validation_images": count,
        "bound": "upper limit of 99 % with a confidence of 95 %" if few else "99th percentile",
    }
    chosen = bounds_of(found.distances(validation))
    values = zip(ARRAYS, (*content, template, centres, chosen), strict=True)
    stored = {name: np.asarray(value, np.float32) for name, value in values}
    return Statistics(**stored, described=about)


def bounds_of(distances: np.ndarray) -> np.ndarray:
    """Return the bound of each part from distances (N, 6) of images: (6,), all above 0.

    Each part gets its own, then all are scaled so that the largest ratio of an image to the bounds
    is above 1 for 1 % of images. Of few images the 99th percentile is not known: the limit that 99
    % of all images stay below, with a confidence of 95 %, is taken instead (one-sided tolerance
    limit), of a normal distribution where a part is signed, else of a log-normal one.
    """
    bounds = np.array(
        [
            max(_LEAST.get(name, 1e-3), _upper(column, signed=name in SIGNED))
            for name, column in zip(PARTS, distances.T, strict=True)
        ]
    )
    return bounds * _upper(np.abs(distances / bounds).max(1))


def _upper(values: np.ndarray, signed: bool = False) -> float:
    """Return the size that 1 % of further values exceed, from values (N,), >= 0 if not signed."""
    count = len(values)
    if count >= PERCENTILE_FROM:
        return float(np.quantile(np.abs(values), 1 - SHARE, method="higher"))
    from scipy import stats

    beyond = float(stats.norm.ppf(1 - SHARE)) * math.sqrt(count)
    factor = float(stats.nct.ppf(CONFIDENCE, count - 1, beyond)) / math.sqrt(count)
    if signed:
        return abs(float(values.mean())) + factor * float(values.std(ddof=1))
    logs = np.log(np.maximum(values, 1e-6))
    return math.exp(min(logs.mean() + factor * logs.std(ddof=1), _LARGEST))


def _components(z: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the principal components of (N, D) centred values: (K, D), their variances (K,), ().

    What they leave is taken as one variance for all other directions (probabilistic PCA, Tipping
    and Bishop 1999), which also bounds the variances from below.
    """
    count, size = z.shape
    _, singular, directions = np.linalg.svd(z, full_matrices=False)
    kept = max(1, min(_DIRECTIONS, (count - 1) // 2, size - 1))
    variances = singular**2 / (count - 1)
    rest = max(float(variances[kept:].sum() / max(size - kept, 1)), 1e-3)
    return directions[:kept], np.maximum(variances[:kept], rest), np.asarray(rest)
