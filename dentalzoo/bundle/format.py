"""The on-disk format of a model: save, verify, load.

A bundle is a folder: `saved_model/` (the contract: signatures, usable with TensorFlow alone),
`metadata.json`, `README.md` (the model card) and `SHA256SUMS` (coreutils' format, every other
file). Weights are stored once, inside the SavedModel, in float32, float16 or int8; computing is in
float32. docs/bundle_format.md has the details.
"""

import dataclasses
import datetime
import json
import os
import platform
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dentalzoo import registry
from dentalzoo.atomic import write_atomically, write_json
from dentalzoo.bundle import hub, integrity
from dentalzoo.bundle.card import model_card
from dentalzoo.bundle.inputs import as_tensor
from dentalzoo.bundle.storage import STORAGE, store
from dentalzoo.config import without_starts
from dentalzoo.errors import DentalzooError, reason_of
from dentalzoo.output_dirs import check_outside

FORMAT = 1  # of metadata.json and the folder


class Bundle:
    """A loaded bundle: every signature of its SavedModel is a method.

    A method takes arrays in the order of `metadata["signatures"]` and returns a dict of arrays. An
    image, or the bytes of its file, may come without its batch axis, a grey one without its
    channel axis too; the results then have no batch axis either.

    Attributes:
        path: the bundle's folder.
        metadata: the content of metadata.json.
    """

    def __init__(self, path: Path, metadata: dict[str, Any], loaded):
        self.path, self.metadata = path, metadata
        self._loaded = loaded  # held: signatures die with it

    def __repr__(self) -> str:
        return f"Bundle({self.name!r}, signatures={sorted(self.metadata['signatures'])})"

    @property
    def name(self) -> str:
        """`model.tag`, or the model's name where there is no tag."""
        tag = self.metadata["tag"]
        return self.metadata["name"] + (f".{tag}" if tag else "")

    @property
    def task(self) -> str:
        """The task, a key of `dentalzoo.tasks.TASKS`."""
        task = self.metadata["task"]
        return "superimposition" if task == "overlay" else task  # its name in format 1

    def __getattr__(self, name: str):
        if name.startswith("_") or name == "metadata" or name not in self.metadata["signatures"]:
            if "metadata" not in vars(self):
                raise AttributeError(name)
            raise AttributeError(
                f"{self.name} has the signatures {sorted(self.metadata['signatures'])}. "
                f"Received: {name!r}"
            )
        return lambda *arrays: self._call(name, arrays)

    def _call(self, name: str, arrays: tuple) -> dict[str, Any]:
        import tensorflow as tf

        inputs = self.metadata["signatures"][name]["inputs"]
        if len(arrays) != len(inputs):
            raise DentalzooError(
                f"{name} takes {', '.join(inputs)}. Received: {len(arrays)} arguments"
            )
        tensors, single = {}, False
        for (key, spec), array in zip(inputs.items(), arrays, strict=True):
            tensors[key], added = as_tensor(key, spec, array)
            single = single or added
        try:
            results = self._loaded.signatures[name](**tensors)
        except tf.errors.ResourceExhaustedError:
            shapes = {key: tuple(tensor.shape) for key, tensor in tensors.items()}
            raise DentalzooError(
                f"{name} ran out of memory; send smaller images or batches. Received: {shapes}"
            ) from None
        except tf.errors.InvalidArgumentError as error:
            shapes = {key: tuple(tensor.shape) for key, tensor in tensors.items()}
            raise DentalzooError(
                f"{name} refused its input: {reason_of(error)}. Received: {shapes}"
            ) from None
        return {
            key: value.numpy()[0] if single else value.numpy() for key, value in results.items()
        }

    def to_keras(self):
        """The Keras model of the bundle with its weights, for fine-tuning or inspection.

        Raises:
            DentalzooError: this version of dentalzoo builds another network from the config.
        """
        module = registry.module_of(self.metadata["name"])
        model = module.build_model(without_starts(module.Config(**self.metadata["config"])))
        values = self._loaded.read_weights()
        if [tuple(value.shape) for value in values] != [tuple(w.shape) for w in model.weights]:
            raise DentalzooError(
                "the stored weights do not fit the network that this version builds; use the "
                f"version that made them: {self.metadata['dentalzoo']}. Received: {self.path}"
            )
        for variable, value in zip(model.weights, values, strict=True):
            variable.assign(value)
        model.zoo_config = module.Config(**self.metadata["config"])
        return model


# ---------------------------------------------------------------------------------------- writing


def export(
    model,
    path: str | Path,
    name: str,
    config=None,
    *,
    tag: str | None = None,
    storage: str = "float32",
    training: dict | None = None,
    data: dict | None = None,
    metrics: dict | None = None,
    images: Sequence[str | Path] = (),
) -> Bundle:
    """Writes a model as a bundle and loads it.

    Args:
        model: a `keras.Model` that `build(name)` made, trained or not.
        path: the folder to make; it must not exist or be an older bundle, which is replaced.
        name: the model's name in the zoo.
        config: the config it was built from; None where `build` made the model, which remembers.
        tag: `<training data>_v<N>` of a release.
        storage: `float32`, `float16` (half the size) or `int8` (a quarter: matrices in 8 bits with
            a float32 scale per output channel). Vectors stay in float32.
        training: how it was trained, plain values.
        data: what it was trained on: `name`, `licence`, ...
        metrics: what it reaches.
        images: PNG or JPEG files, such as sheets of an evaluation, that the card shows.

    Returns:
        The bundle, loaded from the disk.

    Raises:
        DentalzooError: unknown name or storage, a folder that is something else, a full disk, an
            image that cannot be read.
    """
    module = registry.module_of(name)
    config = config or getattr(model, "zoo_config", None)
    if not isinstance(config, module.Config):
        raise DentalzooError(
            f"the config that the model was built from is needed: config=configure({name!r}, ...). "
            f"Received: {config!r}"
        )
    config = without_starts(config)
    if storage not in STORAGE:
        raise DentalzooError(f"storage is one of: {', '.join(STORAGE)}. Received: {storage!r}")
    if tag is not None and not hub.TAG.fullmatch(tag):
        raise DentalzooError(
            "a tag is lower-case letters, digits, _ and -, by custom <training data>_v<N>. "
            f"Received: {tag!r}"
        )
    path = Path(path)
    check_outside(path.resolve().parent)
    older = all((path / part).exists() for part in (integrity.SUMS, "metadata.json", "saved_model"))
    if path.exists() and not older and (not path.is_dir() or any(path.iterdir())):
        raise DentalzooError(
            f"a new folder or an older bundle was expected. Received: {path}, which is "
            "something else"
        )
    import keras
    import tensorflow as tf

    shown = _read_images(images)
    aside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    shutil.rmtree(aside, ignore_errors=True)
    try:
        stored = store(model, storage)
        functions = module.signatures(stored, config)
        for key, function in functions.items():
            setattr(stored, key, function)
        tf.saved_model.save(stored, str(aside / "saved_model"), signatures=functions)
        (aside / "saved_model" / "fingerprint.pb").unlink(missing_ok=True)
        metadata = {
            "format": FORMAT,
            "name": name,
            "tag": tag,
            "task": registry.ZOO[name].task,
            "summary": registry.ZOO[name].summary,
            "about": module.ABOUT,
            "signatures": {key: _describe(function) for key, function in functions.items()},
            "config": dataclasses.asdict(config),
            "parameters": int(model.count_params()),
            "storage": storage,
            "data": data or {},
            "training": training or {},
            "metrics": metrics or {},
            "images": list(shown),
            "dentalzoo": _version(),
            "tensorflow": tf.__version__,
            "keras": keras.__version__,
            "python": platform.python_version(),
            "date": datetime.date.today().isoformat(),
        }
        for image, content in shown.items():
            (aside / image).write_bytes(content)
        _write_description(aside, metadata)
        old = path.with_name(f".{path.name}.{os.getpid()}.old")
        if path.exists():
            os.replace(path, old)
        try:
            os.replace(aside, path)
        except OSError:
            if old.exists():
                os.replace(old, path)
            raise
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        raise DentalzooError(f"{path} could not be written. Received: {error}") from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return load(path)


def reexport(
    name_or_path: str | Path,
    path: str | Path,
    tag: str | None = None,
    storage: str = "float32",
    data: dict | None = None,
    images: Sequence[str | Path] | None = None,
) -> Bundle:
    """Writes a bundle or the bundle of a run anew: under a tag, in another storage.

    Args:
        name_or_path: what `load` takes.
        path: the folder to make.
        tag: `<training data>_v<N>` of a release.
        storage: see `export`.
        data: entries that replace those of the metadata, such as `name` and `licence`.
        images: see `export`; None for those that the bundle has.

    Returns:
        The new bundle; metrics are not carried over where the storage is another.

    Raises:
        DentalzooError: as `load` and `export`.
    """
    source = load(name_or_path)
    old = source.metadata
    if images is None:
        images = [source.path / image for image in old.get("images", ())]
    return export(
        source.to_keras(),
        path,
        old["name"],
        registry.module_of(old["name"]).Config(**old["config"]),
        tag=tag or old["tag"],
        storage=storage,
        training=old["training"],
        data={**old["data"], **(data or {})},
        metrics=old["metrics"] if storage == old["storage"] else None,
        images=images,
    )


def _read_images(files: Sequence[str | Path]) -> dict[str, bytes]:
    """Name -> content of image files, whose names differ."""
    from dentalzoo.data.io.images import read_image

    content = {}
    for file in map(Path, files):
        read_image(file)
        if file.name in content:
            raise DentalzooError(f"images have different names. Received: {file.name} twice")
        content[file.name] = file.read_bytes()
    return content


def add_metrics(bundle: Bundle, metrics: dict) -> Bundle:
    """Records metrics in a bundle's metadata and card."""
    bundle.metadata["metrics"] = metrics
    _write_description(bundle.path, bundle.metadata)
    return bundle


def _version() -> str:
    from dentalzoo import __version__

    return __version__


def _write_description(path: Path, metadata: dict) -> None:
    """metadata.json, the card, and last the sums of all files."""
    write_json(path / "metadata.json", metadata)
    write_atomically(path / "README.md", model_card(metadata))
    write_atomically(path / integrity.SUMS, integrity.sums(path))


def _describe(function) -> dict:
    """Names, shapes and dtypes of a signature's inputs and outputs; null is any size."""

    def plain(specs: dict) -> dict:
        return {
            key: {"shape": spec.shape.as_list(), "dtype": spec.dtype.name}
            for key, spec in specs.items()
        }

    concrete = function.get_concrete_function()
    inputs = {spec.name: spec for spec in function.input_signature}
    return {"inputs": plain(inputs), "outputs": plain(concrete.structured_outputs)}


# ---------------------------------------------------------------------------------------- reading


def load(name_or_path: str | Path) -> Bundle:
    """Loads a bundle after verifying it.

    Args:
        name_or_path: a released name (`panoramic_unet.panoramic_teeth_v1`, or `panoramic_unet` for
            its newest release) or a folder: a bundle, or a training run that holds one.

    Raises:
        DentalzooError: no such bundle, or one that is damaged or unsafe; nothing is loaded then.
    """
    path = find(name_or_path)
    integrity.verify(path)
    try:
        metadata = json.loads((path / "metadata.json").read_text())
        form, _ = metadata["format"], (metadata["name"], metadata["tag"], metadata["signatures"])
    except (ValueError, KeyError, TypeError) as error:
        raise DentalzooError(
            f"{path / 'metadata.json'} describes no bundle. Received: {error!r}"
        ) from None
    if form != FORMAT:
        raise DentalzooError(
            f"this version of dentalzoo reads bundles of format {FORMAT}. Received: format {form}"
        )
    import tensorflow as tf

    integrity.refuse_unsafe_graph(path)
    return Bundle(path, metadata, tf.saved_model.load(str(path / "saved_model")))


def find(name_or_path: str | Path) -> Path:
    """The local folder of a bundle, downloaded if it has to be."""
    return hub.resolve(
        name_or_path,
        names=registry.ZOO,
        tags=lambda name: registry.module_of(name).PRETRAINED,
    )


def task_on_disk(name_or_path: str | Path) -> str | None:
    """Return the task of a bundle without loading or downloading it; None where it is unknown."""
    name = str(name_or_path).partition(".")[0]
    if name in registry.ZOO:
        return registry.ZOO[name].task
    for folder in (Path(name_or_path), Path(name_or_path) / "bundle"):
        try:
            metadata = json.loads((folder / "metadata.json").read_bytes())
            return Bundle(folder, metadata, None).task
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return None


def verify(name_or_path: str | Path) -> dict:
    """Compares every file of a bundle with its SHA-256, without loading it.

    Returns:
        {"bundle": path, "files": number of files, "bytes": their size}.

    Raises:
        DentalzooError: no such bundle, or a file differs, is missing or is not listed.
    """
    return integrity.verify(find(name_or_path))
