"""LiteRT with the weights of convolutions and products in int8: a quarter of the size, and faster.

The scales of activations are taken from each image when it is computed (dynamic range), not from
calibration images: 0.03 % of the pixels of the released U-Net change. With static scales, which
the converter gives to resizing and thresholds too, LiteRT 2.3 crashes on the same network.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from dentalzoo.exporters import _frozen, litert

NAME = "litert-int8"
SUFFIX = ""
BOUND = 0.05
FAMILIARITY = False
PACKAGES: Mapping[str, str] = {"ai_edge_litert.interpreter": "litert"}


def export(
    model: Any,
    path: Path,
    functions: Mapping[str, Any],
    samples: Mapping[str, Sequence[Mapping[str, Any]]],
) -> Path:
    """Write NAME.tflite of each function, and interface.json, to the new folder `path`.

    As `exporters.litert`, with constant weights in int8 and a scale for each channel; LiteRT
    multiplies them with activations that it rounds to 8 bits. Sums, and what has no constant
    weights, such as resizing, are in float32.

    Raises:
        DentalzooError: a package is missing, or a function cannot be converted.
    """
    import tensorflow as tf

    def convert(name: str, module: Any) -> bytes:
        return litert.converted(module, [tf.lite.Optimize.DEFAULT])

    return _frozen.write(path, functions, ".tflite", litert.LACKING, convert)


def load(path: Path) -> Mapping[str, Callable[..., dict[str, Any]]]:
    """Load the files of a folder with LiteRT, name -> function of named arrays."""
    return litert.load(path)
