"""From a model to a bundle on disk, which is complete or absent.

A bundle is a folder: `saved_model/` (the contract: signatures, usable with TensorFlow alone),
`metadata.json`, `README.md` (the model card) and `SHA256SUMS` (coreutils' format, every other
file). Weights are stored once, inside the SavedModel, in float32, float16 or int8; computing is in
float32. docs/bundle_format.md has the details.
"""

import dataclasses
import datetime
import json
import logging
import os
import platform
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dentalzoo import registry
from dentalzoo.atomic import write_atomically, write_json
from dentalzoo.bundle import comparison, guard, integrity
from dentalzoo.bundle.calibrating import Calibrate, calibrated, kept_record, moved_metrics
from dentalzoo.bundle.card import model_card
from dentalzoo.bundle.licences import followed
from dentalzoo.bundle.loaded import Bundle
from dentalzoo.bundle.metadata import (
    FIGURE,
    FORMAT,
    TAG,
    Metadata,
    checked,
    spec_of,
)
from dentalzoo.bundle.reading import load, load_folder
from dentalzoo.bundle.released import RELEASED, origin_of
from dentalzoo.bundle.replacing import replaced
from dentalzoo.bundle.runtimes import RUNTIMES
from dentalzoo.bundle.schema import Mismatch, cleaned, fits
from dentalzoo.bundle.weights import WEIGHTS_DTYPES, store
from dentalzoo.config import PaperConfig
from dentalzoo.environment import prepare_keras
from dentalzoo.errors import DentalzooError
from dentalzoo.exporters import saved_model
from dentalzoo.output_dirs import check_outside

if TYPE_CHECKING:
    import keras

    from dentalzoo.bundle.familiarity import Examples, Statistics

_log = logging.getLogger("dentalzoo")


def export(
    model: "keras.Model",
    path: str | Path,
    name: str,
    config: PaperConfig | None = None,
    *,
    tag: str | None = None,
    weights_dtype: str = "float32",
    training: Mapping[str, Any] | None = None,
    data: Mapping[str, Any] | None = None,
    metrics: Mapping[str, Any] | None = None,
    figures: Sequence[str | Path] = (),
    licence_note: str | None = None,
    familiarity: "Examples | Statistics | None" = None,
    calibrate: Calibrate | None = None,
    calibration: Mapping[str, Any] | None = None,
) -> Bundle:
    """Write a model as a bundle and load it.

    Weights of a bundle whose licence restricts their use keep that licence, see `licences`.

    Args:
        model: a `keras.Model` that `build(name)` made, trained or not; one that computes in 16 bits
            is rebuilt in float32.
        path: the folder to make; it must not exist or be an older bundle, which is replaced.
        name: the model's name in the zoo.
        config: the config it was built from; None where `build` made the model, which remembers.
        tag: `<training data>_v<N>` of a release.
        weights_dtype: `float32`, `float16` (half the size) or `int8` (a quarter: matrices in 8 bits
            with a float32 scale per output channel). Vectors stay in float32.
        training: the settings and the course of the training, as plain values.
        data: the training data: `name`, `licence`, ...
        metrics: the results of an evaluation.
        figures: PNG or JPEG files, such as contact sheets of an evaluation, for the model card.
        licence_note: why the licence in `data` applies, where that of the weights restricts more.
        familiarity: training and validation images, from which the signature `familiarity` is
            learned, or what was learned before; None for a bundle without that signature.
        calibrate: returns the map from the probabilities of the bundle, which is not written yet,
            to calibrated ones, which its functions then return; None from it for none.
        calibration: the record of an earlier calibration, whose map is in `config`.

    Returns:
        The bundle, loaded from the disk.

    Raises:
        DentalzooError: unknown name or dtype, a folder that is something else, a full disk, a
            figure that cannot be read; or a licence that is freer than that of the weights.
    """
    module = registry.module_of(name)
    config = config or getattr(model, "zoo_config", None)
    if not isinstance(config, module.Config):
        raise DentalzooError(
            "config must be the one that the model was built from: "
            f"config=configure({name!r}, ...). Received: {config!r}"
        )
    config = config.without_init()
    check_choice("weights_dtype", weights_dtype, WEIGHTS_DTYPES)
    described = _with_licence(model, dict(training or {}), dict(data or {}), licence_note)
    if tag is not None and not fits(TAG, tag):
        raise DentalzooError(
            "tag must be lower-case letters, digits, _ and -, by custom <training data>_v<N>. "
            f"Received: {tag!r}"
        )
    path = Path(path)
    check_outside(path.resolve().parent)
    older = all((path / part).exists() for part in (integrity.SUMS, "metadata.json", "saved_model"))
    if path.exists() and not older and (not path.is_dir() or any(path.iterdir())):
        raise DentalzooError(
            f"the folder must be new or an older bundle. Received: {path}, which is something else"
        )
    shown = _read_figures(figures)
    prepare_keras()
    import keras
    import tensorflow as tf

    from dentalzoo.bundle.familiarity import NAME, learned, signature

    with replaced(path) as aside:
        computing = in_float32(model, module, config)
        maps = module.feature_maps(computing, config) if familiarity else None
        stored = store(computing, weights_dtype, maps)
        if calibrate is not None:
            config, calibration = calibrated(path, name, stored, config, calibrate)
        functions = dict(module.signatures(stored, config))
        known = None
        if maps is not None and familiarity:
            known = learned(stored.feature_maps, config, familiarity)
        if known is not None:
            functions[NAME] = signature(stored, stored.feature_maps, config, known)
        saved_model.export(stored, aside / "saved_model", functions, {})
        guard.refuse_unsafe_graph(aside, name=path)  # or the next load would refuse it
        written: Metadata = {
            "format": FORMAT,
            "name": name,
            "tag": tag,
            "task": registry.ZOO[name].task,
            "summary": registry.ZOO[name].summary,
            "about": module.ABOUT,
            "signatures": {key: spec_of(getattr(stored, key)) for key in functions},
            "config": dataclasses.asdict(config),
            "parameters": int(model.count_params()),
            "weights_dtype": weights_dtype,
            "data": described,
            "training": dict(training or {}),
            "metrics": dict(metrics or {}),
            "figures": list(shown),
            "dentalzoo": _version(),
            "tensorflow": tf.__version__,
            "keras": keras.__version__,
            "python": platform.python_version(),
            "date": datetime.date.today().isoformat(),
        }
        if known is not None:
            written["familiarity"] = known.metadata()
        if calibration:
            written["calibration"] = dict(calibration)
        metadata = _checked(written)
        for figure, content in shown.items():
            (aside / figure).write_bytes(content)
        _write_description(aside, metadata)
    return load_folder(path)  # a released bundle may be written anew under its name


def reexport(
    name_or_path: str | Path,
    path: str | Path,
    tag: str | None = None,
    weights_dtype: str = "float32",
    data: Mapping[str, Any] | None = None,
    figures: Sequence[str | Path] | None = None,
    *,
    measure: "Callable[[Bundle], Mapping[str, Any]] | None" = None,
    licence_note: str | None = None,
    familiarity: "Examples | None" = None,
    calibrate: Calibrate | None = None,
) -> Bundle:
    """Write a bundle, or the bundle of a run, anew: under a tag, with weights of another dtype.

    Args:
        name_or_path: as for `load`.
        path: the folder to make.
        tag: `<training data>_v<N>` of a release. None for the old one, and for no tag where that is
            of a released bundle.
        weights_dtype: see `export`.
        data: entries that replace those of the metadata, such as `name` and `licence`.
        figures: see `export`; None for those that the bundle has.
        measure: returns the metrics of the new bundle, which it then has. Where None, those of the
            old one, and none if the dtype of the weights is another.
        licence_note: see `export`.
        familiarity: see `export`; None for what the bundle has, which is left out if the dtype of
            the weights is another.
        calibrate: see `export`; None keeps the map that the bundle has.

    Returns:
        The new bundle.

    Raises:
        DentalzooError: as `load` and `export`.
    """
    source = load(name_or_path)
    old = source.metadata
    if figures is None:
        figures = [source.path / figure for figure in old["figures"]]
    kept = weights_dtype == old["weights_dtype"]
    if old["metrics"] and not kept and measure is None:
        _log.warning(
            "the metrics are left out: they were measured with weights in %s, not %s; measure them "
            "on the same data (--data DIR)",
            old["weights_dtype"],
            weights_dtype,
        )
    made = export(
        source.to_keras(),
        path,
        old["name"],
        source.config,
        tag=tag or (None if source.name in RELEASED else old["tag"]),
        weights_dtype=weights_dtype,
        training=old["training"],
        data={**old["data"], **(data or {})},
        metrics=old["metrics"] if kept else None,
        figures=figures,
        licence_note=licence_note,
        familiarity=familiarity or (source.familiarity_statistics() if kept else None),
        calibrate=calibrate,
        calibration=kept_record(old, kept),
    )
    if kept and made.config.scaling != source.config.scaling and old["metrics"]:
        made = add_metrics(made, moved_metrics(made, source.config))
    return made if measure is None else add_metrics(made, measure(made))


def _with_licence(
    model: Any, training: Mapping[str, Any], data: dict[str, Any], note: str | None
) -> dict[str, Any]:
    """Return what the metadata keep of the data, with the licence that follows the weights.

    That is the licence of the bundle that the model was made from, by `to_keras` or in a training.
    """
    init = training.get("init")
    origins = [
        getattr(model, "zoo_licence", None),
        init.get("licence") if isinstance(init, Mapping) else None,
    ]
    note = note or data.get("licence_note")
    for origin in origins:
        if licence := followed(origin, data.get("licence"), note):
            data["licence"] = licence
    return {**data, "licence_note": note} if note else data


def _checked(written: Metadata) -> Metadata:
    """Return metadata as they will be read; what this version would refuse is not written.

    Raises:
        DentalzooError: they do not follow the format, such as a licence that is no text.
    """
    try:
        return checked(json.loads(json.dumps(cleaned(written))))
    except (Mismatch, TypeError) as error:
        raise DentalzooError(f"the metadata of a bundle are refused: {error}") from None


def in_float32(model: Any, module: Any, config: PaperConfig) -> Any:
    """Return the model, rebuilt with its weights where it was built to compute in 16 bits."""
    import keras

    if model.compute_dtype == "float32":
        return model
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32")
    try:
        rebuilt = module.build_model(config.without_init())
    finally:
        keras.config.set_dtype_policy(before)
    for variable, value in zip(rebuilt.weights, model.weights, strict=True):
        variable.assign(value)
    return rebuilt


def check_choice(name: str, value: str, allowed: Iterable[str]) -> None:
    """Raise DentalzooError unless a value is one of those allowed."""
    if value not in allowed:
        raise DentalzooError(f"{name} must be one of: {', '.join(allowed)}. Received: {value!r}")


def _read_figures(files: Sequence[str | Path]) -> dict[str, bytes]:
    """Return name -> content of image files, whose names must differ."""
    from dentalzoo.data.io.images import read_image

    content: dict[str, bytes] = {}
    for file in map(Path, files):
        if not fits(FIGURE, file.name):
            raise DentalzooError(f"the name of a figure must be {FIGURE}. Received: {file.name!r}")
        read_image(file)
        if file.name in content:
            raise DentalzooError(f"figures must have different names. Received: {file.name} twice")
        content[file.name] = file.read_bytes()
    return content


def add_metrics(bundle: Bundle, metrics: Mapping[str, Any]) -> Bundle:
    """Write metrics into the metadata and the model card of a bundle, and return it.

    Raises:
        DentalzooError: it is a released bundle, which never changes; or it cannot be written.
    """
    if origin_of(bundle.path) == "released":
        raise DentalzooError(
            "metrics cannot be written into a released bundle, which never changes; export it "
            f"first: dentalzoo export {bundle.name} --out FOLDER. Received: {bundle.path}"
        )
    bundle.metadata["metrics"] = cleaned(dict(metrics))
    with rewritten(bundle):
        pass
    return bundle


@contextmanager
def rewritten(bundle: Bundle) -> Iterator[Path]:
    """Yield a copy of a bundle's folder, which replaces it with its metadata, card and sums anew.

    Raises:
        DentalzooError: it cannot be written; the bundle is intact.
    """
    path = bundle.path.resolve()
    with replaced(path) as aside:  # all files change together
        shutil.copytree(path, aside, copy_function=_link)
        yield aside
        (aside / integrity.SIGNATURE).unlink(missing_ok=True)  # of other sums
        _write_description(aside, bundle.metadata)


def _link(file: str, copy: str) -> None:
    """Make a hard link, or a copy where the file system has no links."""
    try:
        os.link(file, copy)
    except OSError:
        shutil.copy2(file, copy)


def _version() -> str:
    from dentalzoo import __version__

    return __version__


def _write_description(path: Path, metadata: Metadata) -> None:
    """Write metadata.json, the model card, and last the sums of all files."""
    write_json(path / "metadata.json", metadata)
    folders = (path / runtime.folder for runtime in RUNTIMES.values())
    compared = [content for folder in folders if (content := comparison.read(folder))]
    write_atomically(path / "README.md", model_card(metadata, compared))
    write_atomically(path / integrity.SUMS, integrity.sums(path))
