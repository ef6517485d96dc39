"""Training state on disk: the last checkpoints, of which a kill can spoil none."""

import json
import logging
from pathlib import Path

import numpy as np

from dentalzoo.atomic import write_atomically
from dentalzoo.errors import DentalzooError

log = logging.getLogger("dentalzoo")


def save(path: str | Path, arrays: list[np.ndarray], state: dict) -> None:
    """Writes arrays and a JSON state to one file, atomically; each array carries a CRC-32."""
    named = {f"{index:05}": array for index, array in enumerate(arrays)}
    state = {**state, "arrays": len(arrays)}
    write_atomically(path, lambda file: np.savez(file, state=np.array(json.dumps(state)), **named))


def read(path: str | Path) -> tuple[list[np.ndarray], dict]:
    """Reads what `save` wrote.

    Raises:
        DentalzooError: the file is damaged; it is named.
    """
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as content:
            state = json.loads(str(content["state"]))
            arrays = [content[f"{index:05}"] for index in range(state.pop("arrays"))]
            return arrays, state
    except Exception as error:  # a flipped bit in a zip file's directory can raise anything
        raise DentalzooError(f"{path} is no whole checkpoint. Received: {error}") from error


class Checkpoints:
    """The checkpoints of a run, `epoch-000007.npz` after 7 epochs; the last two are kept.

    Args:
        folder: where they are.
        keep: how many to keep.
    """

    def __init__(self, folder: str | Path, keep: int = 2):
        self.folder, self.keep = Path(folder), keep

    def files(self) -> list[Path]:
        """The checkpoints there are, oldest first."""
        return sorted(self.folder.glob("epoch-*.npz"))

    def save(self, epoch: int, arrays: list[np.ndarray], state: dict) -> None:
        """Writes the checkpoint after `epoch` epochs, then removes those too old."""
        save(self.folder / f"epoch-{epoch:06}.npz", arrays, state)
        for path in self.files()[: -self.keep]:
            path.unlink(missing_ok=True)

    def latest(self) -> tuple[list[np.ndarray], dict] | None:
        """The newest whole checkpoint; damaged ones are named in a warning. None where none is.

        Raises:
            DentalzooError: there are checkpoints, and each is damaged.
        """
        for path in reversed(self.files()):
            try:
                return read(path)
            except DentalzooError as error:
                log.warning("%s", error)
        if self.files():
            raise DentalzooError(
                f"no checkpoint of {self.folder} is whole; train anew in another folder. "
                f"Received: {len(self.files())} damaged files"
            )
        return None
