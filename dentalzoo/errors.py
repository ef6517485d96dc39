"""Errors that a user can cause, each reported in one line."""

import importlib
import re
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType


class DentalzooError(ValueError):
    """A user's error: one line that states what was expected, what was received and the remedy."""


class BadFile(DentalzooError):
    """A file that cannot be used. `path` names it and `reason` says why.

    Args:
        path: the file, as the user named it.
        reason: what is wrong with it, without the path.
    """

    def __init__(self, path: str | Path, reason: str) -> None:
        self.path, self.reason = path, reason
        shown = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in str(path))
        super().__init__(f"{shown}: {reason}")


class TooManyPixels(BadFile):
    """An image of more pixels than may be decoded."""


class MissingPackage(DentalzooError):
    """An optional package is not installed here: no fault of the input."""


class MissingDecoder(BadFile, MissingPackage):
    """A file for whose pixels no decoder is installed, though there is one."""


class MissingSplit(DentalzooError):
    """The data has no sample of the requested split."""


def require(module: str, extra: str) -> ModuleType:
    """Import the optional dependency `module`.

    Args:
        module: name of the module.
        extra: the extra of `dentalzoo` that installs it.

    Raises:
        MissingPackage: it cannot be imported; the message has the command that installs it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingPackage(
            f"{module} must be installed for this: pip install 'dentalzoo[{extra}]'. "
            f"Received: {error}"
        ) from error


def reason_of(error: Exception) -> str:
    """Return the line of a TensorFlow error that names the cause, without the trace around it."""
    lines = [line.strip() for line in str(getattr(error, "message", error)).splitlines()]
    frames = ("Graph execution error", "Detected at", "File ", "<stack traces", "[[")
    lines = [line for line in lines if line and not line.startswith(frames)] or [repr(error)]
    line = next((line for line in lines if "BadFile: " in line), lines[0])
    line = line.rpartition("BadFile: ")[2]
    line = re.sub(r"^\{\{[^{}]*\}\} | \[Op:\w+\].*", "", line)
    if line.startswith("assertion failed: ["):
        line = line.removeprefix("assertion failed: [").partition("]")[0]
    return line


def few_of(names: Sequence[str], most: int = 5) -> str:
    """Return names for a message: the first ones, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
