"""The format of metadata.json: its content as types and as a schema, and the older formats.

`METADATA` declares each key with the kind of its values; `TASKS` what each task needs of a bundle
besides. `read_metadata` checks a file by both before anything of it is used.
"""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import EllipsisType
from typing import Any, NamedTuple, NotRequired, TypedDict, cast

from dentalzoo import registry
from dentalzoo.bundle.paths import FileName
from dentalzoo.bundle.schema import (
    Choice,
    Kind,
    ListOf,
    Mismatch,
    Number,
    Optional,
    Plain,
    Record,
    Table,
    Text,
    Whole,
    shown,
)
from dentalzoo.config import field_names
from dentalzoo.contracts import About
from dentalzoo.errors import DentalzooError

FORMAT = 2  # of metadata.json and the folder

# Format 1 -> 2, by part of metadata.json: old name -> name.
RENAMED: Mapping[str, Mapping[str, str]] = {
    "keys": {"storage": "weights_dtype", "pictures": "figures"},
    "task": {"overlay": "superimposition"},
    "metrics": {
        f"{prefix}{old}": f"{prefix}{new}"
        for prefix in ("", "baseline_")
        for old, new in {
            "precision_0035": "precision_at_1_4mm",  # 0.035 of the cameras' frame, 40 mm = 1
            "recall_0035": "recall_at_1_4mm",
            "f_0035": "f_score_at_1_4mm",
            "found_to_true_mm": "pred_to_gt_mm",
            "true_to_found_mm": "gt_to_pred_mm",
        }.items()
    },
}


class TensorSpec(TypedDict):
    """The shape of an array, None where any size is allowed, and its dtype's name."""

    shape: list[int | None]
    dtype: str


class SignatureSpec(TypedDict):
    """The inputs and outputs of a signature, in order."""

    inputs: dict[str, TensorSpec]
    outputs: dict[str, TensorSpec]


class Metadata(TypedDict):
    """The content of metadata.json; docs/bundle_format.md describes each key."""

    format: int
    name: str
    tag: str | None
    task: str
    summary: str
    about: About
    signatures: dict[str, SignatureSpec]
    config: dict[str, Any]
    parameters: int
    weights_dtype: str
    data: dict[str, Any]
    training: dict[str, Any]
    metrics: dict[str, Any]
    figures: list[str]
    dentalzoo: str
    tensorflow: str
    keras: str
    python: str
    date: str
    familiarity: NotRequired[dict[str, Any]]
    calibration: NotRequired[dict[str, Any]]


# ---- the schema ----------------------------------------------------------------------------------

MAX_BYTES = 1 << 20  # of the file; the released ones have 4,860 to 9,445

NAME = Text(64, r"[a-z][a-z0-9_]*", "lower-case letters, digits and _")
TAG = Text(64, r"[a-z0-9][a-z0-9_-]*", "lower-case letters, digits, _ and -")
FIGURE = FileName((".png", ".jpg", ".jpeg"))
_IDENTIFIER = Text(64, r"[A-Za-z][A-Za-z0-9_]*", "letters, digits and _")
_VERSION = Text(64, r"[0-9A-Za-z.+!_-]+", "a version")
_DATE = Text(10, r"[0-9]{4}-[0-9]{2}-[0-9]{2}", "a date as YYYY-MM-DD")
_LINE = Text(4_000)
_DTYPES = (
    *("bool", "string", "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64"),
    *("bfloat16", "float16", "float32", "float64"),
)
_PART = Record({"centre": Number(), "bound": Number()})
_ERROR = Record({"value": Number(), "low": Optional(Number()), "high": Optional(Number())})
_CALIBRATION: Mapping[str, Kind] = {
    **{"temperature": Number(), "bias": Number(), "images": Whole(0), "folds": Whole(0)},
    **{"data": _LINE, "split": Optional(_LINE), "date": _DATE},
}
_TENSORS = Table(
    Record(
        {"shape": ListOf(Optional(Whole(0, 2**31 - 1)), longest=8), "dtype": Choice(_DTYPES)},
    ),
    keys=_IDENTIFIER,
    most=64,
)

METADATA = Record(
    {
        "format": Choice((FORMAT,)),
        "name": NAME,
        "tag": Optional(TAG),
        "task": NAME,
        "summary": _LINE,
        "about": Record(dict.fromkeys(About.__annotations__, _LINE), others=_LINE),
        "signatures": Table(
            Record({"inputs": _TENSORS, "outputs": _TENSORS}), keys=_IDENTIFIER, fewest=1, most=64
        ),
        "config": Table(Plain(depth=3), keys=_IDENTIFIER),
        "parameters": Whole(0),
        "weights_dtype": Choice(("float32", "float16", "int8")),
        "data": Table(_LINE),
        "training": Record({}, optional={"category_ids": Table(Plain(depth=1))}),
        "metrics": Table(Plain()),
        "figures": ListOf(FIGURE, longest=100),
        "dentalzoo": _VERSION,
        "tensorflow": _VERSION,
        "keras": _VERSION,
        "python": _VERSION,
        "date": _DATE,
    },
    optional={
        "familiarity": Record({"parts": Table(_PART, keys=_IDENTIFIER, most=64)}),
        "calibration": Record(_CALIBRATION, dict.fromkeys(("ece_before", "ece_after"), _ERROR)),
    },
)


# The shape that a task needs of a tensor: None for an axis of any size, `int` for one of a known
# size, a number for one of this size, the name of a setting for one of its size, (setting, index)
# for one of the size of an item of it, `...` for one more axis or none.
_Shape = tuple[None | type[int] | int | str | tuple[str, int] | EllipsisType, ...]
_Need = tuple[str, _Shape]  # dtype and shape
_Function = tuple[Mapping[str, _Need], Mapping[str, _Need]]  # inputs, and the outputs that are read


class Needs(NamedTuple):
    """What a task needs of its bundles besides METADATA.

    Attributes:
        signatures: name -> inputs and outputs of a signature that the task calls.
        settings: setting of `config` that the task reads -> its kind.
        optional: the signatures that a bundle may lack.
    """

    signatures: Mapping[str, _Function]
    settings: Mapping[str, Kind] = {}
    optional: Mapping[str, _Function] = {}


_IMAGES: _Need = ("uint8", (None,) * 4)
_VIEWS: _Need = ("uint8", (None,) * 5)
_Z: _Need = ("float32", (None, "latent_dim"))
_SIZE: _Shape = (("input_size", 0), ("input_size", 1), "channels")
_DECODED: _Need = ("float32", (None, *_SIZE))
_MESHES: Mapping[str, _Need] = {"points": ("float32", (None, None, 3))}

_CODED = Needs(
    {
        "encode": ({"images": _IMAGES}, {"z_mean": _Z, "z_log_var": _Z, "image": _DECODED}),
        "decode": ({"z": _Z}, {"image": _DECODED}),
    },
    {"latent_dim": Whole(1), "channels": Choice((1, 3)), "input_size": ListOf(Whole(1), 2, 2)},
)
_GENERATE: _Function = ({"seed": ("int64", ()), "n": ("int64", ())}, {"image": _DECODED})
_OVERLAY: _Function = (
    {"images": _IMAGES, "weights": ("float32", (None,))},
    {"image": ("float32", _SIZE), "z": ("float32", ("latent_dim",))},
)
_MASK: _Need = ("uint8", (None, None, None, 1))
_SEGMENT: _Function = ({"images": _IMAGES}, {"mask": _MASK})
_SERVE: _Function = (
    {"images": _IMAGES},
    {
        "mask": _MASK,
        "probabilities": ("float32", (None, None, None, int)),
    },
)
_DETECT: _Function = (
    {"images": _IMAGES},
    {
        "boxes": ("float32", (None, None, 4)),
        "scores": ("float32", (None, None)),
        "classes": ("int32", (None, None)),
        "num": ("int32", (None,)),
    },
)
_RAW: _Function = (
    {"images": _IMAGES},
    {"boxes": ("float32", (None, None, ..., 4)), "scores": ("float32", (None, None, int))},
)
_FAMILIAR: Mapping[str, _Function] = {
    "familiarity": ({"images": _IMAGES}, {"score": ("float32", (None,))})
}
TASKS: Mapping[str, Needs] = {
    "segmentation": Needs({"serve": _SERVE}, optional={"segment": _SEGMENT, **_FAMILIAR}),
    "detection": Needs({"detect": _DETECT}, {"classes": ListOf(_LINE)}, {"raw": _RAW, **_FAMILIAR}),
    "generation": _CODED._replace(
        signatures={**_CODED.signatures, "generate": _GENERATE}, optional=_FAMILIAR
    ),
    "superimposition": _CODED._replace(
        signatures={**_CODED.signatures, "overlay": _OVERLAY}, optional=_FAMILIAR
    ),
    "reconstruction": Needs(
        {"serve": ({"views": _VIEWS}, _MESHES)},
        {"image_size": Whole(1, 4096)},
        {
            "serve_some": ({"views": _VIEWS, "places": ("int32", (None,))}, _MESHES),
            "serve_refined": (
                {"views": _VIEWS, "places": ("int32", (None,))},
                {**_MESHES, "refined": ("bool", (None,))},
            ),
            "mean_shapes": ({}, _MESHES),
        },
    ),
}

# What the translation of older formats reads, before it is done.
_TRANSLATED = Record(
    {"format": Choice((1, FORMAT)), **{key: METADATA.fields[key] for key in ("name", "task")}},
    optional={key: METADATA.fields[key] for key in ("config", "metrics")},
)


# ---- reading -------------------------------------------------------------------------------------


def read_metadata(path: Path) -> Metadata:
    """Return the metadata of the bundle in a folder, checked and in the present format.

    Raises:
        DentalzooError: metadata.json cannot be read, does not describe a bundle, or is of a format
            that this version does not know.
    """
    file = path / "metadata.json"
    try:
        content = parsed(file)
        number = content.get("format")
        if type(number) is int and number not in (1, FORMAT):
            raise DentalzooError(
                f"this version of dentalzoo reads bundles of format 1 and {FORMAT}; install a "
                f"newer one. Received: format {shown(number)}"
            )
        _TRANSLATED.check(content, "")
        return checked(upgrade(content))
    except OSError as error:
        reason = f"it cannot be read. Received: {error.strerror}"
    except (Mismatch, RecursionError) as error:
        reason = str(error)
    raise DentalzooError(f"{file} does not describe a bundle: {reason}")


def checked(content: Mapping[str, Any]) -> Metadata:
    """Return metadata of the present format whose settings are of the types of the paper's config.

    Raises:
        Mismatch: they do not follow METADATA, TASKS or the settings of the paper; its message
            names the place.
    """
    METADATA.check(content, "")
    name, task = content["name"], content["task"]
    if name in registry.ZOO:
        if task != registry.ZOO[name].task:
            raise Mismatch.of("task", f"{registry.ZOO[name].task} for {name}", task)
        content = {**content, "config": _settings(name, content["config"])}
    if task in TASKS:
        _check_needs(TASKS[task], content)
    return cast(Metadata, content)


def parsed(file: Path) -> dict[str, Any]:
    """Return the content of a JSON file, which must be a table.

    Raises:
        OSError: it cannot be read.
        Mismatch: it is too large or not JSON, or a table has a key twice.
    """
    if file.exists() and not file.is_file():  # a pipe would be waited for
        raise Mismatch.of("it", "a file", "something else")
    with file.open("rb") as stream:
        text = stream.read(MAX_BYTES + 1)
    if len(text) > MAX_BYTES:
        raise Mismatch.of("the file", f"at most {MAX_BYTES} bytes", "a larger one")
    try:
        content = json.loads(text.decode(), object_pairs_hook=_unique)
    except Mismatch:
        raise
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)[:120]
        raise Mismatch.of("the file", "JSON in UTF-8", reason) from None
    if not isinstance(content, dict):
        raise Mismatch.of("the file", METADATA, content)
    return content


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        keys = [key for key, _ in pairs]
        raise Mismatch.of("each key of a table", "there once", max(keys, key=keys.count))
    return content


def _settings(name: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings in the types that the paper's config declares.

    A setting that this version does not know, of a bundle of a newer one, stays as it is.
    """
    paper = registry.module_of(name).Config
    known = {key: config[key] for key in field_names(paper) if key in config}
    try:
        made = dataclasses.asdict(paper(**known))
    except DentalzooError as error:
        reason = str(error)
        short = reason if len(reason) <= 400 else f"{reason[:400]}..."
        raise Mismatch(f"config: {short}") from None
    return {**config, **json.loads(json.dumps({key: made[key] for key in known}))}


def _check_needs(needs: Needs, content: Mapping[str, Any]) -> None:
    """Check what a task needs of its bundles; raise Mismatch where it is not there."""
    config, signatures = content["config"], content["signatures"]
    Record(needs.settings).check(config, "config")
    for name, (inputs, outputs) in {**needs.optional, **needs.signatures}.items():
        if name not in signatures:
            if name in needs.optional:
                continue
            raise Mismatch(f"signatures must have {name!r}. Received: {shown([*signatures])}")
        for side, tensors in (("inputs", inputs), ("outputs", outputs)):
            specs, where = signatures[name][side], f"signatures.{name}.{side}"
            if tensors.keys() - specs.keys() or (side == "inputs" and len(specs) > len(tensors)):
                raise Mismatch.of(where, f"a table with: {', '.join(tensors)}", [*specs])
            for key, (dtype, shape) in tensors.items():
                sizes = [_size(axis, config) for axis in shape]
                spec: TensorSpec = specs[key]
                if spec["dtype"] != dtype or not _fits(spec["shape"], sizes):
                    words = {int: "known", None: "any", ...: "..."}
                    needed = ", ".join(words.get(size) or str(size) for size in sizes)
                    raise Mismatch.of(f"{where}.{key}", f"{dtype} ({needed})", spec)


def _fits(shape: Sequence[int | None], sizes: Sequence[Any]) -> bool:
    """Return whether a shape is the one that is needed, with or without the axis `...`."""
    if ... in sizes:
        place = sizes.index(...)
        more = len(shape) == len(sizes)
        sizes = [*sizes[:place], *([None] if more else []), *sizes[place + 1 :]]
    return len(shape) == len(sizes) and all(
        (bool(found) if size is int else size is None or found in (None, size))
        for size, found in zip(sizes, shape, strict=True)
    )


def _size(axis: Any, config: Mapping[str, Any]) -> Any:
    """Return the size of an axis whose size a setting has; another axis as it is."""
    if isinstance(axis, tuple):
        return config[axis[0]][axis[1]]
    return config[axis] if isinstance(axis, str) else axis


def upgrade(metadata: Mapping[str, Any]) -> Metadata:
    """Return metadata of format 1 or 2 in the present format.

    The settings in `config` get the names that the paper gives them today.
    """
    keys = RENAMED["keys"]
    content = {keys.get(key, key): value for key, value in metadata.items()}
    name = content["name"]
    if name in registry.ZOO:
        content["config"] = registry.module_of(name).Config.renamed(content.get("config", {}))
    if content["format"] == 1:
        content.setdefault("figures", [])
        content["task"] = RENAMED["task"].get(content["task"], content["task"])
        metrics = RENAMED["metrics"]
        content["metrics"] = {
            metrics.get(key, key): value for key, value in content.get("metrics", {}).items()
        }
    content["format"] = FORMAT
    return cast(Metadata, content)


def name_of(metadata: Metadata) -> str:
    """Return `model.tag`, or the model's name where there is no tag."""
    tag = metadata["tag"]
    return metadata["name"] + (f".{tag}" if tag else "")


def describe(specs: Mapping[str, TensorSpec], quote: str = "") -> str:
    """Return specs as text: `images uint8 (?, ?, ?, 3), weights float32 (?)`.

    Args:
        quote: put on both sides of each name.
    """
    return ", ".join(
        f"{quote}{key}{quote} {spec['dtype']} "
        f"({', '.join('?' if size is None else str(size) for size in spec['shape'])})"
        for key, spec in specs.items()
    )


def spec_of(traced: Any) -> SignatureSpec:
    """Describe the inputs and outputs of a `tf.types.experimental.ConcreteFunction`."""

    def plain(specs: Mapping[str, Any]) -> dict[str, TensorSpec]:
        return {
            key: {"shape": spec.shape.as_list(), "dtype": spec.dtype.name}
            for key, spec in specs.items()
        }

    positional, named = traced.structured_input_signature
    inputs = {spec.name: spec for spec in (*positional, *named.values())}
    return {"inputs": plain(inputs), "outputs": plain(traced.structured_outputs)}
