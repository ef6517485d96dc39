"""Images as a bundle for detection gets them."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from dentalzoo.data.boxes import BoxSample, load_boxes
from dentalzoo.tasks.detector import Detector

if TYPE_CHECKING:
    from dentalzoo.bundle import Bundle


def channels_of(bundle: "Bundle") -> int:
    """Return the channels of the images that a bundle takes; 3 where it takes any."""
    signatures: Mapping[str, Any] = bundle.metadata.get("signatures", {})
    inputs = signatures.get("detect", {}).get("inputs", {})
    shape = next((spec["shape"] for spec in inputs.values()), [None])
    return shape[-1] or 3


def read_image_of(detector: Detector, sample: BoxSample) -> np.ndarray:
    """Read an image as the bundle gets it, (H, W, C) uint8."""
    arrays = load_boxes(sample, detector.classes, channels=channels_of(detector.bundle))
    return np.asarray(arrays["image"])
