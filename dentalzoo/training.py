"""The only training path: strategy scope -> build -> compile -> fit -> evaluate -> bundle.

A run is a folder: `run.json` (its settings), `checkpoints/` (the last two epochs and the best),
`history.csv`, `curves.png`, `logs/` (TensorBoard) and, when it is done, `bundle/` and
`evaluation/`. It can be killed at any moment and resumed.
"""

import csv
import dataclasses
import fcntl
import io
import json
import logging
import math
import shlex
import sys
import time
from contextlib import contextmanager
from pathlib import Path

from dentalzoo import bundle, registry, tasks
from dentalzoo.distribute import strategy as find_strategy
from dentalzoo.errors import DentalzooError
from dentalzoo.files import write_atomically, write_json

log = logging.getLogger("dentalzoo")


def train(
    name: str,
    data: str | Path,
    out: str | Path,
    variant: str | None = None,
    *,
    strategy: str = "default",
    seed: int = 0,
    mixed_precision: bool = False,
    resume: bool = False,
    init: str | Path | None = None,
    storage: str = "float32",
    cache: str | Path | None = None,
    **overrides,
) -> bundle.Bundle:
    """Trains a model and writes a bundle.

    Args:
        name: a name of `list_models()`.
        data: a folder in a layout of docs/data_formats.md, with a train and, better, a val split.
        out: the run's folder.
        variant: the first of the model's variants where None.
        strategy: `default` or `mirrored`.
        seed: of the weights, the order and the augmentation.
        mixed_precision: compute in bfloat16, with weights and output in float32.
        resume: go on with a run that stopped, from the end of its last whole epoch; without one,
            start. The settings must be those of the run; more epochs may be given.
        init: a bundle of the same network to start from.
        storage: how the bundle stores weights, see `export`.
        cache: folder for the decoded pictures, for data that does not fit into memory.
        overrides: settings of the variant's config, such as epochs=50 or batch_size=4.

    Returns:
        The bundle of the best epoch by the config's monitor, or of the last one where there is no
        val split, with its metrics on the val split.

    Raises:
        DentalzooError: settings, data or `out` that cannot be used, or a loss that became NaN; the
            last checkpoint is intact then.
    """
    config = registry.configure(name, variant, **overrides)
    out = Path(out)
    settings = {
        "name": name,
        "config": json.loads(json.dumps(dataclasses.asdict(config))),
        "seed": seed,
        "mixed_precision": mixed_precision,
        "strategy": strategy,
        "init": None if init is None else str(init),
    }
    if not 0 <= seed < 2**32:
        raise DentalzooError(f"seed is a whole number from 0 to 2**32 - 1. Received: {seed!r}")
    with _locked(out):
        _claim(out, settings, resume)
        try:
            return _run(name, config, Path(data), out, settings, variant, storage, cache)
        except KeyboardInterrupt:
            log.warning(
                "stopped; resume=True (--resume) goes on from the last whole epoch: %s", out
            )
            raise


def _run(name, config, data, out, settings, variant, storage, cache) -> bundle.Bundle:
    module = registry.module_of(name)
    import keras

    strategy = find_strategy(settings["strategy"])
    keras.utils.set_random_seed(settings["seed"])
    run = _Run(out, config)
    start = run.restored_epoch
    epochs = range(start, config.epochs)
    # Before the data is read, which takes long: what is wrong with the settings shows here.
    with _precision(settings["mixed_precision"]), strategy.scope():
        build_config = config
        if settings["init"] is not None or start:
            build_config = bundle.inference_config(config)
        model = module.build_model(build_config)
        if settings["init"] is not None:
            _start_from(model, settings["init"])
    training = module.make_dataset(
        data,
        "train",
        config,
        training=True,
        epochs=epochs,
        seed=settings["seed"],
        cache=cache and Path(cache) / "train",
        smallest_batch=strategy.num_replicas_in_sync,
    )
    validation = _validation(module, data, config, cache and Path(cache) / "val")
    if validation is not None:
        _warn_of_copies(training.cache, validation.cache)
    steps = max(1, int(training.cardinality()) // max(1, len(epochs)))
    with _precision(settings["mixed_precision"]), strategy.scope():
        module.compile_model(model, config, steps=steps * config.epochs)
        model.optimizer.build(model.trainable_variables)
    run.attach(model, module.callbacks(config), validation is not None)
    if epochs and not run.stopped:
        model.fit(
            training.map(_pair(model)),
            validation_data=None if validation is None else validation.map(_pair(model)),
            initial_epoch=start,
            epochs=config.epochs,
            steps_per_epoch=steps,
            callbacks=run.callbacks(),
            shuffle=False,  # the dataset has its order
            verbose=1 if sys.stdout.isatty() else 0,
        )
    run.draw()
    final = module.build_model(bundle.inference_config(config))
    for variable, value in zip(final.weights, run.best_weights(), strict=True):
        variable.assign(value)
    weights = getattr(config, "encoder_weights", None)
    record = {
        "variant": variant or next(iter(module.VARIANTS)),
        "command": _command(name, variant, data, config, settings),
        "encoder_weights": weights and Path(weights).name,
        "epochs": run.epoch,
        "best_epoch": run.best_epoch,
        **{key: settings[key] for key in ("seed", "mixed_precision", "strategy")},
        "init": settings["init"] and Path(settings["init"]).name,
        "seconds": round(sum(row["seconds"] for row in run.history)),
    }
    made = bundle.export(
        final,
        out / "bundle",
        name,
        config,
        storage=storage,
        training=record,
        data={"name": data.resolve().name},
    )
    if validation is not None:
        report = tasks.evaluate(made, data, split="val", out=out / "evaluation")
        made = tasks.record(made, report)
    return made


def _command(name: str, variant: str | None, data: Path, config, settings: dict) -> str:
    """The command that repeats a run, with file names in place of paths."""
    base = registry.configure(name, variant)
    words = ["dentalzoo train", name, *(["--variant", variant] if variant else [])]
    words += ["--data", data.resolve().name, "--out RUN", "--seed", str(settings["seed"])]
    words += ["--mixed-precision"] * settings["mixed_precision"]
    if settings["strategy"] != "default":
        words += ["--strategy", settings["strategy"]]
    if settings["init"]:
        words += ["--init", Path(settings["init"]).name]
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if value != getattr(base, field.name):
            value = Path(value).name if field.name == "encoder_weights" and value else value
            words += ["--set", shlex.quote(f"{field.name}={value}")]
    return " ".join(words)


def _validation(module, data, config, cache):
    """The val split, or None where there is none: said, since nothing then tells the best epoch."""
    try:
        return module.make_dataset(data, "val", config, cache=cache)
    except DentalzooError as error:
        log.warning("no val split, so the last epoch is the result: %s", error)
        return None


def _warn_of_copies(training, validation) -> None:
    """Names the pictures that both splits hold; on those a score says nothing."""
    from dentalzoo.data.duplicates import find_duplicates, fingerprint

    prints = [
        dict(zip(cache.names, map(fingerprint, cache.arrays["image"]), strict=True))
        for cache in (training, validation)
        if "image" in cache.arrays
    ]
    pairs = find_duplicates(*prints) if len(prints) == 2 else []
    for one, other, kind in pairs[:20]:
        log.warning("%s of train and %s of val show the same (%s)", one, other, kind)
    if len(pairs) > 20:
        log.warning("train and val share %d pairs of pictures in all", len(pairs))


def _pair(model):
    """Splits an element into what the model reads and what it is compared with, by their names."""

    def pick(element, names):
        return element[names[0]] if len(names) == 1 else {key: element[key] for key in names}

    inputs, outputs = [tensor.name for tensor in model.inputs], list(model.output_names)
    return lambda element: (pick(element, inputs), pick(element, outputs))


def _start_from(model, init: str) -> None:
    source = bundle.load(init).to_keras()
    if [tuple(w.shape) for w in source.weights] != [tuple(w.shape) for w in model.weights]:
        raise DentalzooError(f"a bundle of the same network was expected. Received: init={init!r}")
    for variable, value in zip(model.weights, source.weights, strict=True):
        variable.assign(value)


@contextmanager
def _precision(mixed: bool):
    """Builds layers that compute in bfloat16; the policy before is restored."""
    import keras

    before = keras.config.dtype_policy()
    if mixed:
        keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


@contextmanager
def _locked(out: Path):
    """Keeps a second process out of a run; the lock goes with its process."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        handle = open(out / ".lock", "w")  # noqa: SIM115
    except OSError as error:
        raise DentalzooError(f"{out} cannot be written. Received: {error}") from None
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DentalzooError(
                f"another process is training there; wait or choose another folder. Received: {out}"
            ) from None
        yield


def _claim(out: Path, settings: dict, resume: bool) -> None:
    """Writes run.json, or compares it with the settings of a run that is resumed.

    A run that failed before the end of its first epoch is none: its folder can be used anew.
    """
    path = out / "run.json"
    begun = path.exists() and any((out / "checkpoints").glob("epoch-*.npz"))
    if begun and not resume:
        raise DentalzooError(
            "a new folder was expected; resume=True (--resume) goes on with the run that is there. "
            f"Received: {out}"
        )
    if begun:
        before = json.loads(path.read_text())
        changed = [
            f"{key} was {old!r} and is {new!r}"
            for key, old, new in _differences(before, settings)
            if key != "config.epochs"
        ]
        if changed:
            raise DentalzooError(
                f"a run is resumed with its own settings. Received: {'; '.join(changed)}"
            )
    write_json(path, settings)


def _differences(before: dict, now: dict, prefix: str = ""):
    for key in before | now:
        old, new = before.get(key), now.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            yield from _differences(old, new, f"{prefix}{key}.")
        elif old != new:
            yield prefix + key, old, new


class _Run:
    """The state of a run between epochs, on disk and back.

    Callbacks keep their memory in plain attributes, which a checkpoint carries along: a resumed
    training must not forget the best value or how long it has waited for a better one.
    """

    MEMORY = ("best", "wait", "cooldown_counter", "best_epoch", "stopped_epoch")

    def __init__(self, out: Path, config):
        from dentalzoo import checkpoint

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
                run._end_epoch(epoch + 1, logs)

        recipe = self.recipe if self.validated else []
        board = keras.callbacks.TensorBoard(self.out / "logs", write_graph=False)
        return [*recipe, board, Keep()]

    def _end_epoch(self, epoch: int, logs: dict) -> None:
        from keras import ops

        from dentalzoo import checkpoint

        logs = {key: float(value) for key, value in logs.items()}
        if not math.isfinite(logs["loss"]):
            raise DentalzooError(
                f"the loss is no number any more; a lower learning_rate may help. The checkpoint "
                f"of epoch {self.epoch} is intact. Received: loss {logs['loss']} in epoch {epoch}"
            )
        if self.validated and self.config.monitor not in logs:
            raise DentalzooError(
                f"monitor is one of: {', '.join(logs)}. Received: {self.config.monitor!r}"
            )
        seconds = round(time.perf_counter() - self._started, 2)
        self.epoch = epoch
        self.history.append({"epoch": epoch, "seconds": seconds, **logs})
        self.stopped = bool(self.model.stop_training)
        value = logs.get(self.config.monitor)
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
        from dentalzoo import checkpoint

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
