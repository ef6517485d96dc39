"""The state of a training between epochs: what is on disk, and what comes back from it."""

import csv
import io
import json
import logging
import math
import sys
import time
from pathlib import Path

from dentalzoo.atomic import write_atomically
from dentalzoo.errors import DentalzooError

log = logging.getLogger("dentalzoo")


class Run:
    """The state of a run between epochs, on disk and back.

    Callbacks keep their memory in plain attributes, which a checkpoint carries along: a resumed
    training must not forget the best value or how long it has waited for a better one.
    """

    MEMORY = ("best", "wait", "cooldown_counter", "best_epoch", "stopped_epoch")

    def __init__(self, out: Path, config):
        from dentalzoo.training import checkpoint

        self.out, self.config = out, config
        self.checkpoints = checkpoint.Checkpoints(out / "checkpoints")
        self._found = self.checkpoints.latest()
        state = self._found[1] if self._found else {}
        self.restored_epoch = self.epoch = state.get("epoch", 0)
        self.history = state.get("history", [])
        self.best_epoch, self.best = state.get("best_epoch", 0), state.get("best")
        self.stopped = state.get("stopped", False)
        self._memory = state.get("callbacks", [])
        if self._found:
            log.info("resuming after epoch %d", self.restored_epoch)

    def attach(self, model, recipe: list, validated: bool) -> None:
        """Takes the compiled model, gives it the checkpoint's values."""
        self.model, self.recipe, self.validated = model, recipe, validated
        if self._found:
            for variable, value in zip(self._variables(), self._found[0], strict=True):
                variable.assign(value)
            self._found = None

    def _variables(self) -> list:
        return [*self.model.variables, *self.model.optimizer.variables]

    def callbacks(self) -> list:
        import keras

        run = self

        class Keep(keras.callbacks.Callback):
            """Last in the list, so that it sees what the others did in this epoch."""

            def on_train_begin(self, logs=None):
                for callback, memory in zip(run.recipe, run._memory, strict=False):
                    vars(callback).update(memory)

            def on_epoch_begin(self, epoch, logs=None):
                run._started = time.perf_counter()

            def on_epoch_end(self, epoch, logs=None):
                run.end_epoch(epoch + 1, logs)

        # Without a val split there is nothing to watch.
        recipe = [c for c in self.recipe if self.validated or not hasattr(c, "monitor")]
        board = keras.callbacks.TensorBoard(self.out / "logs", write_graph=False)
        return [*recipe, board, Keep()]

    def end_epoch(self, epoch: int, logs: dict) -> None:
        from keras import ops

        from dentalzoo.training import checkpoint

        logs = {key: float(value) for key, value in logs.items()}
        if not math.isfinite(logs["loss"]):
            raise DentalzooError(
                f"the loss is no number any more; a lower learning_rate may help. The checkpoint "
                f"of epoch {self.epoch} is intact. Received: loss {logs['loss']} in epoch {epoch}"
            )
        monitor = self.config.monitor
        if self.validated and monitor is not None and monitor not in logs:
            raise DentalzooError(f"monitor is one of: {', '.join(logs)}. Received: {monitor!r}")
        seconds = round(time.perf_counter() - self._started, 2)
        self.epoch = epoch
        self.history.append({"epoch": epoch, "seconds": seconds, **logs})
        self.stopped = bool(self.model.stop_training)
        value = logs.get(monitor)  # of None the last epoch is the best
        sign = 1 if self.config.monitor_mode == "max" else -1
        better = value is None or self.best is None or sign * value > sign * self.best
        arrays = [ops.convert_to_numpy(variable) for variable in self._variables()]
        if better:
            self.best, self.best_epoch = value, epoch
            weights = [ops.convert_to_numpy(weight) for weight in self.model.weights]
            checkpoint.save(self._best_file, weights, {"epoch": epoch})
        memory = [
            {key: vars(callback)[key] for key in self.MEMORY if key in vars(callback)}
            for callback in self.recipe
        ]
        state = {
            "epoch": epoch,
            "history": self.history,
            "best": self.best,
            "best_epoch": self.best_epoch,
            "stopped": self.stopped,
            "callbacks": json.loads(json.dumps(memory, default=float)),
        }
        self.checkpoints.save(epoch, arrays, state)
        self._write_history()
        if not sys.stdout.isatty():
            scores = " ".join(f"{key} {value:.4f}" for key, value in logs.items())
            log.info("epoch %d/%d: %s (%.1f s)", epoch, self.config.epochs, scores, seconds)

    @property
    def _best_file(self) -> Path:
        return self.checkpoints.folder / "best.npz"

    def best_weights(self) -> list:
        """The weights of the best epoch, in the order of `model.weights`."""
        from dentalzoo.training import checkpoint

        return checkpoint.read(self._best_file)[0]

    def _write_history(self) -> None:
        text = io.StringIO()
        columns = list(dict.fromkeys(key for row in self.history for key in row))
        writer = csv.DictWriter(text, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.history)
        write_atomically(self.out / "history.csv", text.getvalue())

    def draw(self) -> None:
        """Writes curves.png: one panel a quantity, training beside validation."""
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
