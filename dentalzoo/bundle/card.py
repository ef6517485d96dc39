"""The model card: the README.md of a bundle, written from its metadata.

It begins with the header that the Hugging Face Hub reads:
https://huggingface.co/docs/hub/model-cards#model-card-metadata
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from dentalzoo.bundle import comparison
from dentalzoo.bundle.licences import hub_identifier, slug
from dentalzoo.bundle.metadata import Metadata, describe, name_of

# What `metrics` holds besides metrics: what they were measured on, and with which thresholds.
MEASURED_ON = ("data", "split", "threshold", "score_threshold", "images", "jaws", "date")

_PIPELINE_TAGS = {
    "segmentation": "image-segmentation",
    "detection": "object-detection",
    "generation": "unconditional-image-generation",
    "superimposition": "image-to-image",
    "reconstruction": "image-to-3d",
}
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)

_TEMPLATE = """---
{header}---
# {title}

{summary}.

**{intended_use}**

| | |
|---|---|
| paper | {paper} |
| inputs | {inputs} |
| outputs | {outputs} |
| parameters | {parameters:,}, weights in {weights_dtype} |
| trained on | {data} |
| licence | {licence} |
| made with | dentalzoo {dentalzoo}, TensorFlow {tensorflow}, Keras {keras}, {date} |

## Use

```python
import tensorflow as tf

model = tf.saved_model.load("saved_model")       # keep this object
{use}
```

or `dentalzoo.load("path/of/this/folder")`. `sha256sum -c SHA256SUMS` verifies the files.

## Signatures

{signatures}

## Metrics

{metrics}
{calibration}{figures}{runtimes}
## Training

{training}
"""


def model_card(metadata: Metadata, runtimes: Sequence[Mapping[str, Any]] = ()) -> str:
    """Return the model card of a bundle with this metadata, as Markdown.

    Args:
        runtimes: of each runtime that the bundle also holds files for, what `comparison.read` does.
    """
    first, signature = next(iter(metadata["signatures"].items()))
    arguments = ", ".join(f"{key}={key}" for key in signature["inputs"])
    about, data = metadata["about"], metadata["data"]
    return _TEMPLATE.format(
        header=_header(metadata),
        **{key: escaped(about[key]) for key in ("intended_use", "paper", "inputs", "outputs")},
        title=name_of(metadata),
        summary=escaped(metadata["summary"]),
        parameters=metadata["parameters"],
        weights_dtype=metadata["weights_dtype"],
        dentalzoo=metadata["dentalzoo"],
        tensorflow=metadata["tensorflow"],
        keras=metadata["keras"],
        date=metadata["date"],
        data="; ".join(escaped(v) for k, v in data.items() if k not in ("licence", "licence_note"))
        or "not recorded",
        licence=escaped("; ".join([data.get("licence", "not recorded"), *_note(data)])),
        use=f'results = model.signatures["{first}"]({arguments})',
        signatures="\n".join(
            f"- `{name}`: {describe(spec['inputs'], '`')} -> {describe(spec['outputs'], '`')}"
            for name, spec in metadata["signatures"].items()
        ),
        metrics=_table(metadata["metrics"]) or "Not measured.",
        calibration=_calibration(metadata.get("calibration", {})),
        figures="".join(
            f"\n![{escaped(name.partition('.')[0])}](<{name}>)\n" for name in metadata["figures"]
        ),
        runtimes="".join(
            f"\n## Files for {content['exporter']}\n\n{comparison.tables(content)}\n"
            for content in runtimes
        ),
        training=_table(metadata["training"]) or "Not recorded.",
    )


def _calibration(record: Mapping[str, Any]) -> str:
    """Return the section on calibrated probabilities; empty for a bundle without."""
    if not record:
        return ""
    keys = "ece_before", "ece_after"
    measured = all(key in record for key in keys)
    errors = [_with_bounds(record[key]) for key in keys] if measured else []
    lines = [
        f"Temperature {record['temperature']:.3f}, bias {record['bias']:.3f}, fitted to "
        f"{record['images']} images of {escaped(str(record['data']))}, "
        f"{escaped(str(record['split']))}. Masks, and boxes above the bundle's threshold, are the "
        "same as without."
    ]
    if errors:
        lines += [
            "Expected calibration error, 15 bins, with a 95 % interval over images: before "
            f"{errors[0]}, after {errors[1]}. That after is "
            f"cross-validated in {record['folds']} folds: no image was calibrated with a fit to "
            "itself."
        ]
    return "\n## Calibration\n\n" + "\n\n".join(lines) + "\n"


def _with_bounds(row: Mapping[str, Any]) -> str:
    """Return a number with its interval as text."""
    value, low, high = (row[key] for key in ("value", "low", "high"))
    return f"{value:.4f}" if low is None else f"{value:.4f} ({low:.4f} to {high:.4f})"


def has_header(card: str) -> bool:
    """Return True for a card with the header for the Hub; those of older bundles have none."""
    return card.startswith("---\n")


def _note(data: Mapping[str, str]) -> list[str]:
    return [data["licence_note"]] if "licence_note" in data else []


def _header(metadata: Metadata) -> str:
    """Return the header of a card, as YAML."""
    import yaml

    task, data = metadata["task"], metadata["data"]
    tag = _PIPELINE_TAGS.get(task)
    content: dict[str, Any] = _licence(data.get("licence"))
    content["library_name"] = "dentalzoo"
    if tag:
        content["pipeline_tag"] = tag
    content["tags"] = ["dental", "tensorflow", task, metadata["name"]]
    if _HUB_ID.fullmatch(data.get("name", "")):
        content["datasets"] = [data["name"]]
    init = metadata["training"].get("init")
    address = init.get("address") if isinstance(init, dict) else None
    if isinstance(address, str) and address.startswith("hf://"):
        content["base_model"] = address.removeprefix("hf://").partition("@")[0]
        content["base_model_relation"] = "finetune"
    if results := _results(metadata, tag or task):
        content["model-index"] = [{"name": name_of(metadata), "results": results}]
    return str(yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=1000))


def _licence(licence: str | None) -> dict[str, Any]:
    if licence is None:
        return {"license": "unknown"}
    known = hub_identifier(licence)
    return {"license": known} if known else {"license": "other", "license_name": slug(licence)}


def _results(metadata: Metadata, task: str) -> list[dict[str, Any]]:
    """Return the metrics in the form of the Hub; none where there are none."""
    measured = metadata["metrics"]
    metrics = [
        {"type": key, "value": value}
        for key, value in measured.items()
        if type(value) in (int, float) and key not in MEASURED_ON and re.fullmatch(r"\w+", key)
    ]
    if not metrics:
        return []
    data = str(measured.get("data") or metadata["data"].get("name") or "not recorded")
    dataset = {"name": data, "type": data}
    if isinstance(measured.get("split"), str):
        dataset["split"] = measured["split"]
    return [{"task": {"type": task}, "dataset": dataset, "metrics": metrics}]


def escaped(text: str) -> str:
    """Return text for one line of Markdown that shows it as it is: no link, image, HTML or cell."""
    return re.sub(r"[\\`*\[\]<>|&~$]", r"\\\g<0>", " ".join(text.split()))


def _table(values: Mapping[str, Any]) -> str:
    """Return plain values as a Markdown table, those of nested dicts under dotted keys."""

    def rows(values: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
        for key, value in values.items():
            name = prefix + escaped(key)
            if isinstance(value, dict):
                yield from rows(value, f"{name}.")
            elif isinstance(value, float):
                yield f"| {name} | {value:.4f} |"
            elif not isinstance(value, list):
                yield f"| {name} | {escaped(str(value))} |"

    lines = list(rows(values))
    return "\n".join(["| | |", "|---|---|", *lines]) if lines else ""
