"""The table of contents: which papers there are, and how a name becomes a model."""

import ast
import dataclasses
import difflib
import importlib
from types import ModuleType
from typing import Any, NamedTuple

from dentalzoo.config import without_starts
from dentalzoo.errors import DentalzooError


class Entry(NamedTuple):
    """A paper of the zoo: its module, what it does (`task`) and one line about it."""

    module: str
    task: str
    summary: str


ZOO = {
    "tooth_vae": Entry(
        "dentalzoo.models.tooth_vae",
        "generation",
        "variational autoencoder: images of teeth from samples of a latent space",
    ),
    "defect_overlay_vae": Entry(
        "dentalzoo.models.defect_overlay_vae",
        "superimposition",
        "variational autoencoder: several defects on one image by summing latent vectors",
    ),
    "panoramic_detection": Entry(
        "dentalzoo.models.panoramic_detection",
        "detection",
        "SSD and Faster R-CNN: boxes of restorations, endodontic treatments and implants",
    ),
    "panoramic_unet": Entry(
        "dentalzoo.models.panoramic_unet",
        "segmentation",
        "U-Net with VGG-16 or light encoder: segmentation of panoramic X-rays",
    ),
    "jaw_reconstruction": Entry(
        "dentalzoo.models.jaw_reconstruction",
        "reconstruction",
        "ten views of an upper jaw and attention: 50,000 points in 3-D, or a mesh",
    ),
}


def list_models(task: str | None = None) -> list[str]:
    """Names of the models, all or those of one task.

    Raises:
        DentalzooError: no model has this task.
    """
    tasks = sorted({entry.task for entry in ZOO.values()})
    if task is not None and task not in tasks:
        raise DentalzooError(f"task is one of: {', '.join(tasks)}. Received: {task!r}")
    return [name for name, entry in ZOO.items() if task in (None, entry.task)]


def module_of(name: str) -> ModuleType:
    """The module of model `name`; it imports no TensorFlow.

    Raises:
        DentalzooError: there is no such model.
    """
    if name not in ZOO:
        close = difflib.get_close_matches(name, ZOO, n=3)
        hint = f"Did you mean {' or '.join(close)}?" if close else "`dentalzoo list` shows them."
        raise DentalzooError(f"the models are: {', '.join(ZOO)}. {hint} Received: {name!r}")
    return importlib.import_module(ZOO[name].module)


def info(name: str) -> dict[str, Any]:
    """What is known about a model: paper, inputs, outputs, variants, pretrained tags, use.

    Returns:
        A dict of plain values, ready for JSON.

    Raises:
        DentalzooError: there is no such model.
    """
    module = module_of(name)
    return {
        "name": name,
        "task": ZOO[name].task,
        "summary": ZOO[name].summary,
        **module.ABOUT,
        "variants": {
            key: {
                field: value
                for field, value in dataclasses.asdict(config).items()
                if key == next(iter(module.VARIANTS))
                or value != getattr(module.VARIANTS[next(iter(module.VARIANTS))], field)
            }
            for key, config in module.VARIANTS.items()
        },
        "pretrained": {
            f"{name}.{tag}": dataclasses.asdict(weights)
            for tag, weights in module.PRETRAINED.items()
        },
    }


def configure(name: str, variant: str | None = None, **overrides):
    """The config of a variant (the first one by default) with some of its fields replaced.

    Args:
        overrides: fields of the config; a string is read as a Python literal where the field is
            not a string (`"(256, 640)"`), which is what a command line has.

    Raises:
        DentalzooError: no such model, variant or field, or a value the config refuses.
    """
    module = module_of(name)
    variant = variant or next(iter(module.VARIANTS))
    if variant not in module.VARIANTS:
        raise DentalzooError(
            f"the variants of {name} are: {', '.join(module.VARIANTS)}. Received: {variant!r}"
        )
    config = module.VARIANTS[variant]
    known = {field.name for field in dataclasses.fields(config)}
    for key, value in overrides.items():
        if key not in known:
            close = difflib.get_close_matches(key, known, n=1)
            hint = f"Did you mean {close[0]}? " if close else ""
            raise DentalzooError(
                f"{name} has the settings: {', '.join(sorted(known))}. {hint}Received: {key!r}"
            )
        overrides[key] = _literal(value, getattr(config, key))
    return dataclasses.replace(config, **overrides)


def _literal(value, default):
    """Reads a command line's string as the kind of value that `default` is."""
    if not isinstance(value, str):
        return value
    if value.lower() in ("none", "true", "false"):
        return {"none": None, "true": True, "false": False}[value.lower()]
    if isinstance(default, str):
        return value
    try:
        return ast.literal_eval(value)
    except (ValueError, SyntaxError):
        if default is None:
            return value
        raise DentalzooError(
            f"a value like {default!r} was expected. Received: {value!r}"
        ) from None


def build(name: str, variant: str | None = None, **overrides):
    """Builds a model with random weights.

    Args:
        name: a name of `list_models()`.
        variant: a key of `info(name)["variants"]`, the first one by default.
        overrides: settings of the variant's config. `encoder_weights="imagenet"` or a file starts
            from pretrained encoder weights, which `train` does by itself where the recipe says so.

    Returns:
        A `keras.Model` whose inputs and outputs are named after the elements of its dataset.

    Raises:
        DentalzooError: no such model, variant or setting, or a value the config refuses.
    """
    module = module_of(name)
    config = without_starts(configure(name, variant, **overrides), keep=overrides)
    model = module.build_model(config)
    model.zoo_config = config  # what `export` has to write down
    return model


def markdown_table() -> str:
    """The zoo as the table of the README."""
    rows = ["| model | task | what it does | pretrained |", "|---|---|---|---|"]
    for name, entry in ZOO.items():
        released = module_of(name).PRETRAINED.items()
        bundles = "<br>".join(
            f"`{name}.{tag}`: {', '.join(f'{k} {v}' for k, v in weights.metrics.items())}"
            for tag, weights in released
        )
        rows.append(
            f"| [`{name}`](docs/models/{name}.md) | {entry.task} | {entry.summary} | {bundles} |"
        )
    return "\n".join(rows)
