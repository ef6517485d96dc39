"""The content of metadata.json as types, and the translation of older formats."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypedDict, cast

from dentalzoo import registry
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


def read_metadata(path: Path) -> Metadata:
    """Return the metadata of the bundle in a folder, in the present format.

    Raises:
        DentalzooError: metadata.json cannot be read, does not describe a bundle, or is of a format
            that this version does not know.
    """
    try:
        content = json.loads((path / "metadata.json").read_text())
        number, _ = content["format"], (content["name"], content["tag"], content["signatures"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DentalzooError(
            f"{path / 'metadata.json'} does not describe a bundle. Received: {error!r}"
        ) from None
    if number not in (1, FORMAT):
        raise DentalzooError(
            f"this version of dentalzoo reads bundles of format 1 and {FORMAT}; install a newer "
            f"one. Received: format {number}"
        )
    return upgrade(content)


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
