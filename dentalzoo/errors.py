"""The errors a user can cause, each told in one line."""

import importlib
import re
from types import ModuleType


class DentalzooError(ValueError):
    """A user's error: one line that says what came, what was expected and what to do."""


class BadFile(DentalzooError):
    """A file that cannot be used. `path` names it and `reason` says why.

    Args:
        path: the file, as the user knows it.
        reason: what is wrong with it, without the path.
    """

    def __init__(self, path, reason: str):
        self.path, self.reason = path, reason
        shown = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in str(path))
        super().__init__(f"{shown}: {reason}")


class MissingSplit(DentalzooError):
    """The data has no image of the split that was asked for."""


def require(module: str, extra: str) -> ModuleType:
    """Imports the optional dependency `module`.

    Raises:
        DentalzooError: it is not installed; the message is the command that installs it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise DentalzooError(
            f"{module} is needed for this and cannot be imported ({error}). "
            f"Install it with: pip install 'dentalzoo[{extra}]'. Received: no module {module!r}"
        ) from error


def reason_of(error: Exception) -> str:
    """The line of a TensorFlow error that says what was wrong, without the trace around it."""
    lines = [line.strip() for line in str(getattr(error, "message", error)).splitlines()]
    frames = ("Graph execution error", "Detected at", "File ", "<stack traces", "[[")
    lines = [line for line in lines if line and not line.startswith(frames)] or [repr(error)]
    line = next((line for line in lines if "BadFile: " in line), lines[0])
    line = line.rpartition("BadFile: ")[2]
    line = re.sub(r"^\{\{[^{}]*\}\} | \[Op:\w+\].*", "", line)
    if line.startswith("assertion failed: ["):
        line = line.removeprefix("assertion failed: [").partition("]")[0]
    return line
