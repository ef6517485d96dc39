"""The state of a training between epochs, written to disk and restored from it."""

import csv
import io
import json
import logging
import math
import sys
import time
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dentalzoo.atomic import write_atomically
from dentalzoo.errors import DentalzooError

if TYPE_CHECKING:
    import keras
    import numpy as np

log = logging.getLogger("dentalzoo")


class Run:
    """The state of a run between epochs; the newest intact checkpoint is restored.

    Callbacks keep their state in plain attributes, which a checkpoint holds too: a resumed
    training must know the best value and for how long it has waited for a better one.

    Args:
        out: the run's folder.
        config: the paper's config; `epochs`, `monitor` and `monitor_mode` are read.
        writes: False for a worker that is not the chief: it keeps the same state and writes none.

    Raises:
        DentalzooError: there are checkpoints, and all are damaged.
    """

    CALLBACK_STATE = ("best", "wait", "cooldown_counter", "best_epoch", "stopped_epoch")

    def __init__(self, out: Path, config: Any, writes: bool = True):
        from dentalzoo.training import checkpoint

        self.out, self.config, self.writes = out, config, writes
        self.images = 0  # of an epoch, for the log
        self.checkpoints = checkpoint.Checkpoints(out / "checkpoints")
        restored = self.checkpoints.latest()
        self._arrays: list[np.ndarray] | None = restored[0] if restored else None
        state: dict[str, Any] = restored[1] if restored else {}
        self.restored_epoch: int = state.get("epoch", 0)
        self.epoch = self.restored_epoch
        self.history: list[dict[str, Any]] = state.get("history", [])
        self.best_epoch: int = state.get("best_epoch", 0)
        self.best: float | None = state.get("best")
        self.stopped: bool = state.get("stopped", False)
        self._started = time.perf_counter()  # of the epoch
        self._trained: float | None = None  # when its steps ended and its validation began
        self._callback_states: list[dict[str, Any]] = state.get("callbacks", [])
        if restored:
            log.info("resuming after epoch %d", self.restored_epoch)

    def attach(
        self,
        model: "keras.Model",
        recipe: "list[keras.callbacks.Callback]",
        validated: bool,
    ) -> None:
        """Attach the compiled model and restore its variables from the checkpoint.

        Args:
            model: the model, whose optimizer is built.
            recipe: the callbacks of the paper.
            validated: there is a val split.
        """
        self.model, self.recipe, self.validated = model, recipe, validated
        if self._arrays is not None:
            for variable, value in zip(self._variables(), self._arrays, strict=True):
                variable.assign(value)
            self._arrays = None

    def checksum(self) -> str:
        """Return epoch and CRC-32 of all variables, by which workers know that theirs are equal."""
        from keras import ops

        crc = 0
        for variable in self._variables():
            crc = zlib.crc32(ops.convert_to_numpy(variable).tobytes(), crc)
        return f"epoch {self.epoch}, CRC-32 {crc:08x}"

    def _variables(self) -> list[Any]:
        return [*self.model.variables, *self.model.optimizer.variables]

    def callbacks(self) -> "list[keras.callbacks.Callback]":
        """Return the recipe's callbacks, TensorBoard's and the one that writes checkpoints."""
        import keras

        run = self

        class WriteCheckpoint(keras.callbacks.Callback):
            """Last in the list, so that it sees what the others did in this epoch."""

            def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
                for callback, state in zip(run.recipe, run._callback_states, strict=False):
                    vars(callback).update(state)

            def on_epoch_begin(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
                run._started, run._trained = time.perf_counter(), None

            def on_test_begin(self, logs: Mapping[str, Any] | None = None) -> None:
                run._trained = time.perf_counter()

            def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
                run.end_epoch(epoch + 1, logs or {})

        # Without a val split there is nothing to monitor.
        recipe = [c for c in self.recipe if self.validated or not hasattr(c, "monitor")]
        if self.writes:
            recipe.append(keras.callbacks.TensorBoard(self.out / "logs", write_graph=False))
        return [*recipe, WriteCheckpoint()]

    def end_epoch(self, epoch: int, logs: Mapping[str, Any]) -> None:
        """Write the checkpoint after `epoch` epochs, the best weights and the history.

        The speed in the log is that of the steps, without validation; the first epoch has the time
        in which TensorFlow traces the step.

        Raises:
            DentalzooError: the loss or the weights became NaN or infinite, the config monitors an
                unknown column, or the disk is full.
        """
        import numpy as np
        from keras import ops

        from dentalzoo.training import checkpoint

        scores = {key: float(value) for key, value in logs.items()}
        if not math.isfinite(scores["loss"]):
            raise DentalzooError(
                f"the loss became NaN or infinite; a lower learning_rate may help. The checkpoint "
                f"of epoch {self.epoch} is intact. Received: loss {scores['loss']} in epoch {epoch}"
            )
        monitor = self.config.monitor
        if self.validated and monitor is not None and monitor not in scores:
            raise DentalzooError(
                f"monitor must be one of: {', '.join(scores)}. Received: {monitor!r}"
            )
        now = time.perf_counter()
        seconds = round(now - self._started, 2)
        speed = self.images / max(1e-9, (self._trained or now) - self._started)
        self.epoch = epoch
        self.history.append({"epoch": epoch, "seconds": seconds, **scores})
        self.stopped = bool(self.model.stop_training)
        value = scores.get(monitor)  # None: the last epoch is the best
        if wrong := [key for key, score in scores.items() if not math.isfinite(score)]:
            log.warning("epoch %d: %s is NaN or infinite", epoch, ", ".join(wrong))
        if is_better(value, self.best, self.config.monitor_mode):
            self.best, self.best_epoch = value, epoch
            weights = [ops.convert_to_numpy(weight) for weight in self.model.weights]
            if not all(np.isfinite(w).all() for w in weights if w.dtype.kind == "f"):
                raise DentalzooError(
                    "the weights became NaN or infinite; a lower learning_rate may help. The "
                    f"checkpoint of epoch {epoch - 1} is intact. Received: weights of epoch {epoch}"
                )
            if self.writes:
                checkpoint.save(self._best_file, weights, {"epoch": epoch})
        # By all workers: some optimizer variables are summed over replicas when they are read.
        arrays = [ops.convert_to_numpy(variable) for variable in self._variables()]
        if not self.writes:
            return
        states = [
            {key: vars(callback)[key] for key in self.CALLBACK_STATE if key in vars(callback)}
            for callback in self.recipe
        ]
        state = {
            "epoch": epoch,
            "history": self.history,
            "best": self.best,
            "best_epoch": self.best_epoch,
            "stopped": self.stopped,
            "callbacks": json.loads(json.dumps(states, default=float)),
        }
        self.checkpoints.save(epoch, arrays, state)
        self._write_history()
        if not sys.stdout.isatty():
            line = " ".join(f"{key} {score:.4f}" for key, score in scores.items())
            of, rate = self.config.epochs, f", {speed:.1f} images/s" if speed >= 0.05 else ""
            log.info("epoch %d/%d: %s (%.1f s%s)", epoch, of, line, seconds, rate)

    @property
    def _best_file(self) -> Path:
        return self.checkpoints.folder / "best.npz"

    def best_weights(self) -> "list[np.ndarray]":
        """Return the weights of the best epoch, in the order of `model.weights`.

        Raises:
            DentalzooError: the monitored value was finite in no epoch, so that none is the best;
                or the file is damaged.
        """
        from dentalzoo.training import checkpoint

        values = {row.get(self.config.monitor, 0.0) for row in self.history}
        if values and not any(map(math.isfinite, values)):
            raise DentalzooError(
                f"{self.config.monitor} must be finite in one epoch or more, else none is the "
                "best; look for invalid images in the val split, or lower learning_rate. The "
                f"checkpoint of epoch {self.epoch} is intact. "
                f"Received: NaN or infinite values in {len(self.history)} epochs"
            )
        return checkpoint.read(self._best_file)[0]

    def _write_history(self) -> None:
        text = io.StringIO()
        columns = list(dict.fromkeys(key for row in self.history for key in row))
        writer = csv.DictWriter(text, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.history)
        write_atomically(self.out / "history.csv", text.getvalue())

    def plot_curves(self) -> None:
        """Write curves.png: a panel for each quantity, with training and validation."""
        from matplotlib.figure import Figure

        keys = [
            key
            for key in self.history[-1]
            if not key.startswith("val_") and key not in ("epoch", "seconds", "learning_rate")
        ]
        columns = min(3, len(keys))
        rows = -(-len(keys) // columns)
        figure = Figure(figsize=(4 * columns, 3 * rows), layout="constrained")
        epochs = [row["epoch"] for row in self.history]
        panels = figure.subplots(rows, columns, squeeze=False).ravel()
        for axes in panels[len(keys) :]:
            axes.remove()
        for axes, key in zip(panels, keys, strict=False):
            for label, column in (("training", key), ("validation", f"val_{key}")):
                if column in self.history[-1]:
                    values = [row[column] for row in self.history]
                    axes.plot(epochs, values, label=label, marker="." if len(epochs) < 3 else "")
            axes.set(title=key, xlabel="epoch")
            axes.grid(alpha=0.3)
        panels[0].legend()
        write_atomically(self.out / "curves.png", lambda file: figure.savefig(file, dpi=110))


def is_better(value: float | None, best: float | None, mode: str) -> bool:
    """Return whether an epoch is the best so far.

    Args:
        value: what is monitored; None where nothing is: the last epoch is the best. NaN and
            infinite values never are.
        best: the best value before; None or not finite where there is none.
        mode: "max" or "min".
    """
    if value is None:
        return True
    if not math.isfinite(value):
        return False
    if best is None or not math.isfinite(best):
        return True
    return value > best if mode == "max" else value < best
