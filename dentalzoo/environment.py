"""The process's surroundings: settings of Keras that the models of the zoo cannot work with.

Keras reads its backend from KERAS_BACKEND or keras.json, and its image format, number type and
epsilon from keras.json. The models need TensorFlow, channels last, float32 and 1e-7. Where the
zoo itself imports Keras, it sets these and says what it overrides. Where Keras was imported before,
other code of the process may depend on its settings, and they are refused.
"""

import importlib.abc
import logging
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

from dentalzoo.errors import DentalzooError, require

_log = logging.getLogger("dentalzoo")

_EPSILON = 1e-7  # Keras' own default, with which the networks were built and measured
# Optional packages by what imports them while TensorFlow and Keras start: for wrappers of
# scikit-learn, for tables as input, for JAX in TensorFlow Lite and in a checkpoint of Keras.
_OPTIONAL = {
    "sklearn": ("keras.src.wrappers",),
    "pandas": ("keras.src.trainers",),
    "jax": ("tensorflow.lite", "keras.src.callbacks"),
}


@contextmanager
def light_start() -> Iterator[None]:
    """Let TensorFlow and Keras start without scikit-learn, pandas and JAX, within a command.

    Their import takes seconds. Keras goes without them as if they were not installed, for as long
    as the process lives; everything else that imports them gets them. For a process of our own: in
    a user's, Keras' wrappers of scikit-learn would not work afterwards.
    """
    finder = _WithoutOptional()
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


class _WithoutOptional(importlib.abc.MetaPathFinder):
    """Refuse an optional package to the modules of `_OPTIONAL` alone."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name in _OPTIONAL and _importer(sys._getframe(1)).startswith(_OPTIONAL[name]):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def _importer(frame: FrameType | None) -> str:
    """Return the name of the module that imports, below the frames of the import system."""
    name = "importlib"
    while frame is not None and name.startswith(("importlib", "_frozen_importlib")):
        name, frame = str(frame.f_globals.get("__name__", "")), frame.f_back
    return name


def prepare_tensorflow() -> None:
    """Import TensorFlow, which imports Keras, with the settings that the models need.

    Nothing changes if either was imported before.

    Raises:
        DentalzooError: Keras cannot be imported.
    """
    if not (sys.modules.get("tensorflow") or sys.modules.get("keras")):
        prepare_keras()


def prepare_keras(any_backend: bool = False) -> None:
    """Import Keras with the settings that the models need.

    Args:
        any_backend: a network is only built, which JAX and PyTorch can do too.

    Raises:
        DentalzooError: Keras was imported before with other settings, or cannot be imported; where
            it or TensorFlow is not installed, the message has the command that installs both.
    """
    imported = "keras" in sys.modules
    if not imported and not any_backend:
        _select_tensorflow()
    try:
        import keras
    except ModuleNotFoundError as error:
        if error.name in ("keras", "tensorflow"):
            require(error.name, "tensorflow")
        raise _not_importable(error) from error
    except Exception as error:  # a backend that is not installed, or a name that is none
        raise _not_importable(error) from error
    backend = keras.backend.backend()
    if backend != "tensorflow" and not any_backend:
        raise DentalzooError(
            "Keras must run on TensorFlow; set KERAS_BACKEND=tensorflow before importing keras. "
            f"Received: {backend}"
        )
    wanted = {
        "floatx": ("float32", keras.config.floatx, keras.config.set_floatx),
        "image_data_format": (
            "channels_last",
            keras.config.image_data_format,
            keras.config.set_image_data_format,
        ),
        "epsilon": (_EPSILON, keras.config.epsilon, keras.config.set_epsilon),
        # They would end a training early without a word.
        "max_epochs": (None, keras.config.max_epochs, keras.config.set_max_epochs),
        "max_steps_per_epoch": (
            None,
            keras.config.max_steps_per_epoch,
            keras.config.set_max_steps_per_epoch,
        ),
    }
    for name, (needed, get, set_) in wanted.items():
        value = get()
        if value == needed:
            continue
        if imported:
            raise DentalzooError(
                f"{name} of Keras must be {needed}; call keras.config.set_{name}({needed!r}). "
                f"Received: {value}"
            )
        _log.warning("the setting %s of Keras is not used: %s; it must be %s", name, value, needed)
        set_(needed)


def _not_importable(error: Exception) -> DentalzooError:
    return DentalzooError(
        "Keras must be importable; unset KERAS_BACKEND or correct keras.json in ~/.keras. "
        f"Received: {' '.join(str(error).split())[:160]}"
    )


def _select_tensorflow() -> None:
    """Set the variables that Keras and TensorFlow read when they are imported."""
    named = os.environ.get("KERAS_BACKEND", "tensorflow")
    if named != "tensorflow":
        _log.warning("KERAS_BACKEND=%s is not used; the models need tensorflow", named)
    os.environ["KERAS_BACKEND"] = "tensorflow"
    # tf.keras would be Keras 2, in which segmentation-models would build its networks.
    if os.environ.get("TF_USE_LEGACY_KERAS", "0").lower() in ("1", "true"):
        if "tensorflow" in sys.modules:
            raise DentalzooError(
                "TF_USE_LEGACY_KERAS must not be set; unset it before importing tensorflow. "
                f"Received: {os.environ['TF_USE_LEGACY_KERAS']}"
            )
        _log.warning("TF_USE_LEGACY_KERAS is not used; the models need Keras 3")
        del os.environ["TF_USE_LEGACY_KERAS"]


# ---- the network ---------------------------------------------------------------------------------


@contextmanager
def no_downloads_offline() -> Iterator[None]:
    """Let no download begin inside where DENTALZOO_OFFLINE is set; files in a cache load.

    Keras downloads by `urllib`, whose opener refuses then.
    """
    if not is_offline():
        yield
        return
    opener = urllib.request.OpenerDirector()
    opener.add_handler(_Refusing())
    before = urllib.request._opener  # type: ignore[attr-defined]  # there is no public way
    urllib.request.install_opener(opener)
    try:
        yield
    finally:
        urllib.request.install_opener(before)


@contextmanager
def variable(name: str, value: str | None) -> Iterator[None]:
    """Set an environment variable inside, for processes started there too; None leaves it."""
    before = os.environ.get(name)
    if value is not None:
        os.environ[name] = value
    try:
        yield
    finally:
        if value is not None:
            del os.environ[name]
            if before is not None:
                os.environ[name] = before


def is_offline() -> bool:
    """Return True where the environment variable DENTALZOO_OFFLINE forbids connections."""
    return os.environ.get("DENTALZOO_OFFLINE", "0") not in ("", "0")


class _Refusing(urllib.request.BaseHandler):
    """Opens no address."""

    def default_open(self, request: urllib.request.Request) -> NoReturn:
        raise urllib.error.URLError("DENTALZOO_OFFLINE forbids downloads")
