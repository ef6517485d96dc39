"""The only training path: strategy scope -> build -> compile -> fit -> evaluate -> bundle.

A run is a folder: `run.json` (its settings), `checkpoints/` (the last two epochs and the best),
`history.csv`, `curves.png`, `logs/` (TensorBoard) and, when it is done, `bundle/` and
`evaluation/`. It can be killed at any moment and resumed.
"""

import dataclasses
import fcntl
import json
import logging
import shlex
import sys
from contextlib import contextmanager
from pathlib import Path

from dentalzoo import api, bundle, registry
from dentalzoo.atomic import remove_leftovers, write_json
from dentalzoo.config import rule_of
from dentalzoo.contracts import DataOptions
from dentalzoo.errors import DentalzooError, MissingSplit, reason_of
from dentalzoo.training.distribute import strategy as find_strategy
from dentalzoo.training.run_state import Run

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
    weights_dtype: str = "float32",
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
            start. The settings must be those of the run; more epochs may be given, over which a
            cosine schedule is then stretched; a run that early stopping ended stays ended.
        init: a bundle of the same network to start from.
        weights_dtype: number type of the stored weights, see `export`.
        cache: folder for the decoded images, for data that does not fit into memory.
        overrides: settings of the variant's config, such as epochs=50 or batch_size=4.

    Returns:
        The bundle of the best epoch by the config's monitor, or of the last one where it is None
        or there is no val split, with its metrics on the val split.

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
            return _run(name, config, Path(data), out, settings, variant, weights_dtype, cache)
        except KeyboardInterrupt:
            log.warning(
                "stopped; resume=True (--resume) goes on from the last whole epoch: %s", out
            )
            raise


def _run(name, config, data, out, settings, variant, weights_dtype, cache) -> bundle.Bundle:
    module = registry.module_of(name)
    import keras

    strategy = find_strategy(settings["strategy"])
    keras.utils.set_random_seed(settings["seed"])
    run = Run(out, config)
    start = run.restored_epoch
    epochs = range(start, config.epochs)
    # Before the data is read, which takes long: what is wrong with the settings shows here.
    with _precision(settings["mixed_precision"]), strategy.scope():
        build_config = config
        if settings["init"] is not None or start:
            build_config = config.without_init(for_training=True)
        model = module.build_model(build_config)
        if settings["init"] is not None and not start:
            _start_from(model, settings["init"])
    options = DataOptions(
        "train",
        training=True,
        epochs=epochs,
        seed=settings["seed"],
        cache=Path(cache) / "train" if cache else None,
        devices=strategy.num_replicas_in_sync,
    )
    training = module.make_dataset(data, config, options)
    options = DataOptions(
        "val",
        cache=Path(cache) / "val" if cache else None,
        devices=strategy.num_replicas_in_sync,
    )
    validation = _validation(module, data, config, options)
    if validation is not None:
        _warn_of_copies(training.cache, validation.cache)
    steps = max(1, int(training.dataset.cardinality()) // max(1, len(epochs)))
    with _precision(settings["mixed_precision"]), strategy.scope():
        module.compile_model(model, config, steps=steps * config.epochs)
        model.optimizer.build(model.trainable_variables)
    run.attach(model, module.callbacks(config), validation is not None)
    if epochs and not run.stopped:
        _fit(
            model,
            run,
            training.dataset.map(_pair(model)),
            validation_data=None if validation is None else validation.dataset.map(_pair(model)),
            initial_epoch=start,
            epochs=config.epochs,
            steps_per_epoch=steps,
            callbacks=run.callbacks(),
            shuffle=False,  # the dataset has its order
            # A bar in a terminal, else a line per epoch: of the log where it is shown.
            verbose=1 if sys.stdout.isatty() else 0 if log.isEnabledFor(logging.INFO) else 2,
        )
    run.plot_curves()
    final = module.build_model(config.without_init())
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
        weights_dtype=weights_dtype,
        training=record,
        data={"name": data.resolve().name},
    )
    if validation is not None:
        report = api.evaluate(made, data, split="val", out=out / "evaluation")
        made = api.save_metrics(made, report)
    return made


def _fit(model, run, dataset, **options) -> None:
    """`model.fit`, whose failures are told in one line."""
    import tensorflow as tf

    try:
        model.fit(dataset, **options)
    except tf.errors.OpError as error:
        hint = ""
        if isinstance(error, tf.errors.ResourceExhaustedError):
            hint = "A smaller batch_size or input_size needs less memory. "
        raise DentalzooError(
            f"training stopped in epoch {run.epoch + 1}; what was saved before is intact. {hint}"
            f"Received: {reason_of(error)}"
        ) from error


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
            value = Path(value).name if rule_of(field).init and value else value
            words += ["--set", shlex.quote(f"{field.name}={value}")]
    return " ".join(words)


def _validation(module, data, config, options):
    """The val split, or None where there is none: said, since nothing then tells the best epoch."""
    try:
        return module.make_dataset(data, config, options)
    except MissingSplit as error:
        log.warning("no val split, so the last epoch is the result: %s", error)
        return None


def _warn_of_copies(training, validation) -> None:
    """Names the images that both splits hold; on those a score says nothing."""
    from dentalzoo.data.duplicates import find_duplicates, perceptual_hash

    prints = [
        dict(zip(cache.names, map(perceptual_hash, cache.arrays["image"]), strict=True))
        for cache in (training, validation)
        if "image" in cache.arrays
    ]
    pairs = find_duplicates(*prints) if len(prints) == 2 else []
    for one, other, kind in pairs[:20]:
        log.warning("%s of train and %s of val show the same (%s)", one, other, kind)
    if len(pairs) > 20:
        log.warning("train and val share %d pairs of images in all", len(pairs))


def _pair(model):
    """Splits an element into what the model reads and what it is compared with, by their names.

    A model none of whose outputs is in the element carries its own loss.
    """

    def pick(element, names):
        return element[names[0]] if len(names) == 1 else {key: element[key] for key in names}

    inputs, outputs = [tensor.name for tensor in model.inputs], list(model.output_names)

    def split(element):
        if not set(outputs) & set(element):
            return (pick(element, inputs),)
        return pick(element, inputs), pick(element, outputs)

    return split


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
    for folder in (out, out / "checkpoints"):
        remove_leftovers(folder)  # the lock is ours
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
