"""LiteRT, once TensorFlow Lite: a file for each function, weights constant."""

import contextlib
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from dentalzoo.errors import require
from dentalzoo.exporters import _frozen

NAME = "litert"
SUFFIX = ""
BOUND = 0.005
FAMILIARITY = False
PACKAGES: Mapping[str, str] = {"ai_edge_litert.interpreter": "litert"}

LACKING = {
    **_frozen.LACKING,
    "CombinedNonMaxSuppression": "suppresses boxes: call raw, and suppress by the config's nms_iou",
}


def export(
    model: Any,
    path: Path,
    functions: Mapping[str, Any],
    samples: Mapping[str, Sequence[Mapping[str, Any]]],
) -> Path:
    """Write NAME.tflite of each function, and interface.json, to the new folder `path`.

    Functions that decode image files or suppress boxes are left out; interface.json says which,
    and what to do instead. Random numbers are drawn outside, see `_noise`: they are an input of the
    file. Batch normalisations are folded.

    Raises:
        DentalzooError: a package is missing, or a function cannot be converted.
    """

    def convert(name: str, module: Any) -> bytes:
        return converted(module)

    return _frozen.write(path, functions, ".tflite", LACKING, convert)


def converted(module: Any, optimizations: Sequence[Any] = ()) -> bytes:
    """Return the content of the file of a module of `_frozen.freeze`.

    The converter turns weights that are not frozen into NaN in silence. It is given a SavedModel,
    which it would write itself, but with the gradients of the paper's own: frozen weights in these
    cannot be saved, and it goes on without names of inputs and outputs.

    Args:
        module: its `function` has no variables.
        optimizations: of `tf.lite.Optimize`.
    """
    import tensorflow as tf

    log = tf.get_logger()
    level = log.level
    log.setLevel("ERROR")  # it warns that gradients are missing
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as after:
        after.callback(log.setLevel, level)
        tf.saved_model.save(
            module,
            folder,
            signatures=module.function.get_concrete_function(),
            options=tf.saved_model.SaveOptions(experimental_custom_gradients=False),
        )
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        converter.optimizations = list(optimizations)
        content: bytes = converter.convert()
    return content


def load(path: Path) -> Mapping[str, Callable[..., dict[str, Any]]]:
    """Load the files of a folder with LiteRT, name -> function of named arrays."""
    interpreter = require("ai_edge_litert.interpreter", "litert").Interpreter

    def run(file: Path, outputs: list[str]) -> Callable[..., dict[str, Any]]:
        loaded = interpreter(model_path=str(file))
        return loaded.get_signature_runner()  # type: ignore[no-any-return]

    return _frozen.load(path, ".tflite", run)
