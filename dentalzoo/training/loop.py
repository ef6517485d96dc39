"""The only way to train: strategy scope -> build -> compile -> fit -> evaluate -> bundle.

A run is a folder: `run.json` (its settings), `checkpoints/` (the last two epochs and the best),
`history.csv`, `curves.png`, `logs/` (TensorBoard) and, when it is done, `bundle/` and
`evaluation/`. It can be killed at any moment and resumed.
"""

import dataclasses
import json
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zlib import crc32

from dentalzoo import api, bundle, registry
from dentalzoo.atomic import write_json
from dentalzoo.contracts import DataOptions, Paper, Stream
from dentalzoo.deprecation import replaced_values
from dentalzoo.environment import prepare_keras
from dentalzoo.errors import DentalzooError, MissingSplit, reason_of
from dentalzoo.training.cluster import cluster_of
from dentalzoo.training.computing import Computing, adapt, precision
from dentalzoo.training.distribute import strategy_of
from dentalzoo.training.run_folder import opened
from dentalzoo.training.run_state import Run
from dentalzoo.training.settings import Settings
from dentalzoo.training.team import Team, team_of
from dentalzoo.training.tpu import static

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

    from dentalzoo.data.pipeline import Cache
    from dentalzoo.ops.calibration import Calibration

log = logging.getLogger("dentalzoo")
INIT = "init.json"  # in the folder of a run: the bundle that it started from


@replaced_values("0.2.0", mixed_precision={True: "bfloat16", False: None})
def train(
    name: str,
    data: str | Path,
    out: str | Path,
    variant: str | None = None,
    *,
    strategy: str = "default",
    workers: str | Sequence[str] | None = None,
    index: int | None = None,
    tpu: str | None = None,
    seed: int = 0,
    mixed_precision: str | None = None,
    jit_compile: bool | None = None,
    accumulate: int = 1,
    sync_batchnorm: bool = False,
    resume: bool = False,
    init: str | Path | None = None,
    weights_dtype: str = "float32",
    cache: str | Path | None = None,
    **overrides: Any,
) -> bundle.Bundle:
    """Train a model and write a bundle.

    Args:
        name: a name of `list_models()`.
        data: a folder in a layout of docs/data_formats.md, with a train and, better, a val split.
        out: the run's folder.
        variant: the first of the model's variants where None.
        strategy: `default`, `mirrored`, `multi_worker` or `tpu`; see docs/distributed.md.
        workers: addresses "host:port" of the processes of `multi_worker`, the first is the chief,
            which writes; from TF_CONFIG or SLURM where None. All have the same `out`, a folder on
            storage that they share, and return when the chief has written the bundle.
        index: which of `workers` this process is.
        tpu: name of the TPU of `tpu`; TPU_NAME where None, or else the TPU of this machine.
        seed: seed of the weights, the order and the augmentation.
        mixed_precision: compute in "bfloat16", or in "float16" with loss scaling; weights, loss
            and metrics stay float32. None computes in float32.
        jit_compile: compile the steps with XLA; None leaves it to the model and to Keras.
        accumulate: number of batches whose mean gradient makes one step of the optimizer.
        sync_batchnorm: normalise with the statistics of the batch of all devices, not of each.
        resume: resume an interrupted run after its last complete epoch; start one where there is
            none. The settings must be those of the run; more epochs may be given, over which a
            cosine schedule is then stretched; a run that early stopping ended stays ended.
        init: a bundle of the same network to start from.
        weights_dtype: dtype of the stored weights, see `export`.
        cache: folder for the decoded images, for data that does not fit into memory.
        overrides: settings of the variant's config, such as epochs=50 or batch_size=4.

    Returns:
        The bundle of the best epoch by the config's monitor, or of the last one where it is None
        or there is no val split, with its metrics on the val split.

    Raises:
        DentalzooError: settings, data or `out` that cannot be used, a loss that became NaN or
            infinite, or another worker that stopped; the last checkpoint is intact then.
    """
    settings = Settings(
        name=name,
        config=registry.configure(name, variant, **overrides),
        data=Path(data),
        out=Path(out),
        variant=variant,
        computing=Computing(
            mixed_precision, jit_compile, accumulate, sync_batchnorm, strategy=strategy
        ),
        cluster=cluster_of(strategy, workers, index),
        tpu=tpu,
        seed=seed,
        init=None if init is None else str(init),
        weights_dtype=weights_dtype,
        cache=Path(cache) if cache else None,
    )
    team = team_of(settings.cluster) if settings.cluster else Team()
    with team.training():
        prepare_keras()
        record = settings.record()
        team.agree("settings", record)
        with opened(settings.out, record, resume, team):
            try:
                return _run(settings, team)
            except KeyboardInterrupt:
                log.warning(
                    "stopped; resume=True (--resume) continues after the last complete epoch: %s",
                    out,
                )
                raise


def _run(settings: Settings, team: Team) -> bundle.Bundle:
    """Train in a folder that is locked, from its last checkpoint on."""
    paper, config, computing = (
        registry.module_of(settings.name),
        settings.config,
        settings.computing,
    )
    import keras

    strategy = strategy_of(computing.strategy, team, settings.tpu)
    keras.utils.set_random_seed(settings.seed)
    run = Run(settings.out, config, writes=team.is_chief)
    start = run.restored_epoch
    noted = start > 0 and (settings.out / INIT).is_file()  # the bundle may be gone since
    if settings.init is not None and team.is_chief and not noted:
        write_json(settings.out / INIT, bundle.identify(settings.init))
    # Build the model first so that bad settings fail before the slow data load.
    with precision(computing.mixed_precision), strategy.scope():
        replaced = settings.init is not None or start > 0  # the weights, after building
        model = paper.build_model(config.without_init(for_training=True) if replaced else config)
        if settings.init is not None and not start:
            _start_from(model, settings.init)
    local = strategy.num_replicas_in_sync // team.size
    epochs = range(start, run.config.epochs)
    training, validation = _streams(paper, settings, team, epochs, local)
    per_step = local if team.size > 1 else 1  # elements of the dataset
    steps = max(1, int(training.dataset.cardinality()) // per_step // max(1, len(epochs)))
    run.images = len(training.cache)
    team.agree("data", _names(training, validation))
    if team.size > 1:
        who = f"writes {settings.out}" if team.is_chief else "writes nothing, worker 0 does"
        log.info("worker %d of %d trains and %s", team.index, team.size, who)
    with precision(computing.mixed_precision), strategy.scope():
        updates = steps * run.config.epochs // computing.accumulate
        paper.compile_model(model, config, steps=max(1, updates))
        adapt(model, computing)
    run.attach(model, paper.callbacks(config), validation is not None)
    if team.size > 1:
        team.agree("weights to start from", run.checksum())
    if epochs and not run.stopped:
        bar = 1 if sys.stdout.isatty() else 0 if log.isEnabledFor(logging.INFO) else 2
        pairs = [None if s is None else s.dataset.map(_pair(model)) for s in (training, validation)]
        _fit(
            model,
            run,
            team,
            *pairs,
            initial_epoch=start,
            epochs=run.config.epochs,
            steps_per_epoch=steps,
            callbacks=run.callbacks(),
            shuffle=False,  # the dataset has its order
            # A bar in a terminal, else a line per epoch: of the log where it is shown.
            verbose=bar if team.is_chief else 0,
        )
    team.release()
    if team.is_chief:
        made = _write_results(paper, settings, run, training, validation)
    team.finish()
    return made if team.is_chief else bundle.load(settings.out / "bundle")


def _streams(
    paper: Paper, settings: Settings, team: Team, epochs: range, local: int
) -> tuple[Stream, Stream | None]:
    """Return this worker's batches of both splits, for `local` devices of its own."""
    cache = settings.cache
    if cache and not team.is_chief:  # each worker has its own copy
        cache = cache / f"worker-{team.index}"

    def made(split: str, **options: Any) -> Stream:
        folder = cache / split if cache else None
        shard = (team.index, team.size)
        given = DataOptions(split=split, cache=folder, devices=local, shard=shard, **options)
        return paper.make_dataset(settings.data, settings.config, given)

    training = made("train", training=True, epochs=epochs, seed=settings.seed)
    validation: Stream | None = None
    try:
        validation = made("val")
    except MissingSplit as error:
        log.warning("no val split, so the last epoch is the result: %s", error)
    if settings.computing.strategy == "tpu":
        size = settings.record()["config"]["batch_size"]
        training = static(training, size, len(epochs))
        validation = validation and static(validation, size, 1)
    if validation is not None and team.is_chief:
        _warn_of_copies(training.cache, validation.cache)
    return training, validation


def _write_results(
    paper: Paper, settings: Settings, run: Run, training: Stream, validation: Stream | None
) -> bundle.Bundle:
    """Write curves, bundle and, with a val split, evaluation."""
    from dentalzoo.bundle.familiarity import Examples

    run.plot_curves()
    final = paper.build_model(settings.config.without_init())
    for variable, value in zip(final.weights, run.best_weights(), strict=True):
        variable.assign(value)
    made = bundle.export(
        final,
        settings.out / "bundle",
        settings.name,
        settings.config,
        weights_dtype=settings.weights_dtype,
        training=_training_metadata(run, settings) | dict(training.record),
        data={"name": settings.data.resolve().name},
        familiarity=Examples(training.originals, validation.originals if validation else ()),
        calibrate=_calibration(settings) if validation else None,
    )
    if validation is None:
        return made
    report = api.evaluate(made, settings.data, split="val", out=settings.out / "evaluation")
    return api.save_metrics(made, report)


def _calibration(settings: Settings) -> bundle.Calibrate | None:
    """Return what fits the map to calibrated probabilities on the val split, where it can be."""

    def calibrate(unwritten: bundle.Bundle) -> "Calibration | None":
        try:
            return api.calibrate(unwritten, settings.data)
        except DentalzooError as error:
            log.warning("the probabilities are not calibrated: %s", error)
            return None

    return calibrate if settings.config.CALIBRATES else None


def _names(training: Stream, validation: Stream | None) -> dict[str, Any]:
    """Return what tells whether workers see the same data: numbers and a digest of the names."""
    streams = {"images to train on": training, "images to validate on": validation}
    return {
        key: stream and f"{len(stream.cache)} ({crc32(repr(stream.cache.names).encode()):08x})"
        for key, stream in streams.items()
    }


def _fit(
    model: "keras.Model",
    run: Run,
    team: Team,
    training: "tf.data.Dataset",
    validation: "tf.data.Dataset | None",
    **options: Any,
) -> None:
    """Call `model.fit`; its failures become errors of one line."""
    import tensorflow as tf

    if team.size > 1:
        from dentalzoo.training import replicas

        training, validation, more = replicas.prepare(model, training, validation)
        options |= more | {"callbacks": [replicas.AverageStatistics(), *options["callbacks"]]}
    try:
        model.fit(training, validation_data=validation, **options)
    except tf.errors.OpError as error:
        log.info("epoch %d ended: %s", run.epoch + 1, reason_of(error))
        team.explain()
        hint = ""
        if isinstance(error, tf.errors.ResourceExhaustedError):
            hint = "A smaller batch_size or input_size needs less memory. "
        raise DentalzooError(
            f"training stopped in epoch {run.epoch + 1}; the last checkpoint is intact. {hint}"
            f"Received: {reason_of(error)}"
        ) from error


def _training_metadata(run: Run, settings: Settings) -> dict[str, Any]:
    """Return what a bundle records of its training; files by name, without their folders."""
    return {
        "variant": settings.variant or next(iter(registry.module_of(settings.name).VARIANTS)),
        "command": settings.command(),
        **settings.files(),
        "epochs": run.epoch,
        "best_epoch": run.best_epoch,
        "seed": settings.seed,
        **dataclasses.asdict(settings.computing),
        "init": None if settings.init is None else json.loads((settings.out / INIT).read_text()),
        "seconds": round(sum(row["seconds"] for row in run.history)),
    }


def _warn_of_copies(training: "Cache", validation: "Cache") -> None:
    """Log the images that both splits contain, which make the validation metrics too good."""
    from dentalzoo.data.duplicates import find_duplicates, perceptual_hash

    hashes = [
        dict(zip(cache.names, map(perceptual_hash, cache.arrays["image"]), strict=True))
        for cache in (training, validation)
        if "image" in cache.arrays
    ]
    pairs = find_duplicates(*hashes) if len(hashes) == 2 else []
    for one, other, kind in pairs[:20]:
        log.warning("%s of train and %s of val show the same (%s)", one, other, kind)
    if len(pairs) > 20:
        log.warning("train and val share %d pairs of images in all", len(pairs))


def _pair(model: "keras.Model") -> Callable[[dict[str, Any]], tuple[Any, ...]]:
    """Return a function that splits an element into (inputs, targets) by the model's names.

    There are no targets where none of the model's outputs is in the element: such a model carries
    its own loss.
    """

    def pick(element: dict[str, Any], names: Sequence[str]) -> Any:
        return element[names[0]] if len(names) == 1 else {key: element[key] for key in names}

    inputs, outputs = [tensor.name for tensor in model.inputs], list(model.output_names)

    def split(element: dict[str, Any]) -> tuple[Any, ...]:
        if not set(outputs) & set(element):
            return (pick(element, inputs),)
        return pick(element, inputs), pick(element, outputs)

    return split


def _start_from(model: "keras.Model", init: str) -> None:
    """Assign the weights of a bundle to a model.

    Raises:
        DentalzooError: the bundle cannot be loaded, or holds another network.
    """
    source = bundle.load(init).to_keras()
    if [tuple(w.shape) for w in source.weights] != [tuple(w.shape) for w in model.weights]:
        raise DentalzooError(f"init must be a bundle of the same network. Received: {init!r}")
    for variable, value in zip(model.weights, source.weights, strict=True):
        variable.assign(value)
