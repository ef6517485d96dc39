"""The table of contents: which papers there are, and how a name becomes a model."""

import ast
import dataclasses
import difflib
import importlib
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from dentalzoo.config import PaperConfig, did_you_mean, field_names, settings_of
from dentalzoo.contracts import Paper
from dentalzoo.environment import prepare_keras
from dentalzoo.errors import DentalzooError

if TYPE_CHECKING:
    import keras

    from dentalzoo.models import (
        defect_overlay_vae,
        jaw_reconstruction,
        panoramic_detection,
        panoramic_unet,
        tooth_vae,
    )

    # A type checker names the part of the contract that one of these lacks.
    PAPERS: tuple[Paper, ...] = (
        tooth_vae,
        defect_overlay_vae,
        panoramic_detection,
        panoramic_unet,
        jaw_reconstruction,
    )


class Entry(NamedTuple):
    """A paper of the zoo: its module, its task and one line about it."""

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
        "SSD and Faster R-CNN: boxes of findings and restorations, or of numbered teeth",
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
    """Return the names of the models, all or those of one task.

    Raises:
        DentalzooError: no model has this task.
    """
    tasks = sorted({entry.task for entry in ZOO.values()})
    if task is not None and task not in tasks:
        raise DentalzooError(f"task must be one of: {', '.join(tasks)}. Received: {task!r}")
    return [name for name, entry in ZOO.items() if task in (None, entry.task)]


def module_of(name: str) -> Paper:
    """Return the module of model `name`; this imports no TensorFlow.

    Raises:
        DentalzooError: there is no such model.
    """
    if name not in ZOO:
        close = difflib.get_close_matches(name, ZOO, n=3)
        hint = f"Did you mean {' or '.join(close)}?" if close else "`dentalzoo list` shows them."
        raise DentalzooError(f"model must be one of: {', '.join(ZOO)}. {hint} Received: {name!r}")
    return cast(Paper, importlib.import_module(ZOO[name].module))


def info(name: str) -> dict[str, Any]:
    """Describe a model: paper, inputs, outputs, variants, settings, pretrained tags, use.

    Returns:
        A dict of plain values, ready for JSON. "variants" has the settings of the default variant,
        and of each other those that differ; "settings" the value, the allowed values and the source
        of each setting of the default variant.

    Raises:
        DentalzooError: there is no such model.
    """
    module = module_of(name)
    default = module.VARIANTS[_default_variant(module)]
    return {
        "name": name,
        "task": ZOO[name].task,
        "summary": ZOO[name].summary,
        **module.ABOUT,
        "variants": {
            key: {
                field: value
                for field, value in dataclasses.asdict(config).items()
                if config is default or value != getattr(default, field)
            }
            for key, config in module.VARIANTS.items()
        },
        "settings": settings_of(default),
        "pretrained": {
            f"{name}.{tag}": dataclasses.asdict(weights)
            for tag, weights in module.PRETRAINED.items()
        },
    }


def _default_variant(module: Paper) -> str:
    return next(iter(module.VARIANTS))


def configure(name: str, variant: str | None = None, **overrides: Any) -> PaperConfig:
    """Return the config of a variant (the first by default) with some of its settings replaced.

    Args:
        name: a name of `list_models()`.
        variant: a key of `info(name)["variants"]`.
        overrides: settings of the config; a string is read as a Python literal where the setting is
            not a string (`"(256, 640)"`), which is what a command line has.

    Raises:
        DentalzooError: no such model, variant or setting, or a value the config refuses.
    """
    module = module_of(name)
    variant = variant or _default_variant(module)
    if variant not in module.VARIANTS:
        raise DentalzooError(
            f"variant must be one of the variants of {name}, which are: "
            f"{', '.join(module.VARIANTS)}. {did_you_mean(variant, module.VARIANTS)}"
            f"Received: {variant!r}"
        )
    config: PaperConfig = module.VARIANTS[variant]
    known = field_names(config)
    for key, value in overrides.items():
        if key not in known:
            raise DentalzooError(
                f"a setting of {name} must be one of: {', '.join(sorted(known))}. "
                f"{did_you_mean(key, known)}Received: {key!r}"
            )
        overrides[key] = _literal(key, value, getattr(config, key))
    return dataclasses.replace(config, **overrides)


def _literal(key: str, value: Any, default: Any) -> Any:
    """Read a command line's string as the kind of value that `default` is."""
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
            f"{key} must be a value like {default!r}. Received: {value!r}"
        ) from None


def build(name: str, variant: str | None = None, **overrides: Any) -> "keras.Model":
    """Build a model with random weights.

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
    config = configure(name, variant, **overrides).without_init(keep=overrides)
    prepare_keras(any_backend=True)
    model = module.build_model(config)
    model.zoo_config = config  # what `export` has to write down
    return model


def markdown_table() -> str:
    """Return the zoo as the table of the README."""
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
