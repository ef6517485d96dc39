"""Training state on disk: the last checkpoints, which no kill can damage."""

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np

from dentalzoo.atomic import write_atomically
from dentalzoo.errors import DentalzooError

log = logging.getLogger("dentalzoo")


def save(path: str | Path, arrays: list[np.ndarray], state: dict[str, Any]) -> None:
    """Write arrays and a JSON state to one file, atomically; each array carries a CRC-32."""
    named: dict[str, Any] = {f"{index:05}": array for index, array in enumerate(arrays)}
    state = {**state, "arrays": len(arrays)}
    write_atomically(path, lambda file: np.savez(file, state=np.array(json.dumps(state)), **named))


def read(path: str | Path) -> tuple[list[np.ndarray], dict[str, Any]]:
    """Read what `save` wrote.

    Raises:
        DentalzooError: the file is corrupt or incomplete; the message names it.
    """
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as content:
            state = json.loads(str(content["state"]))
            arrays = [content[f"{index:05}"] for index in range(state.pop("arrays"))]
            return arrays, state
    except Exception as error:  # a flipped bit in a zip file's directory can raise anything
        raise DentalzooError(f"{path} is corrupt or incomplete. Received: {error}") from error


class Checkpoints:
    """The checkpoints of a run, `epoch-000007.npz` after 7 epochs; the last two are kept.

    Args:
        folder: the folder of the checkpoints.
        keep: the number of checkpoints to keep.
    """

    def __init__(self, folder: str | Path, keep: int = 2):
        self.folder, self.keep = Path(folder), keep

    def files(self) -> list[Path]:
        """Return the paths of the checkpoints, oldest first."""
        return sorted(self.folder.glob("epoch-*.npz"))

    def save(self, epoch: int, arrays: list[np.ndarray], state: dict[str, Any]) -> None:
        """Write the checkpoint after `epoch` epochs, then remove all but the last `keep`."""
        save(self.folder / f"epoch-{epoch:06}.npz", arrays, state)
        for path in self.files()[: -self.keep]:
            path.unlink(missing_ok=True)

    def latest(self) -> tuple[list[np.ndarray], dict[str, Any]] | None:
        """Return the newest intact checkpoint; None where there are no checkpoints.

        Damaged ones are named in a warning.

        Raises:
            DentalzooError: there are checkpoints, and all are damaged.
        """
        for path in reversed(self.files()):
            try:
                return read(path)
            except DentalzooError as error:
                log.warning("%s", error)
        if self.files():
            raise DentalzooError(
                f"every checkpoint in {self.folder} is corrupt or incomplete; start a new run in "
                f"another folder. Received: {len(self.files())} damaged files"
            )
        return None
