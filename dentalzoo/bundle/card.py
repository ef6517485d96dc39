"""The model card: the README.md of a bundle, written from its metadata."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from dentalzoo.bundle.metadata import Metadata, describe, name_of

_TEMPLATE = """# {title}

{summary}.

**{intended_use}**

| | |
|---|---|
| paper | {paper} |
| inputs | {inputs} |
| outputs | {outputs} |
| parameters | {parameters:,}, weights in {weights_dtype} |
| trained on | {data} |
| licence of the data | {licence} |
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
{figures}
## Training

{training}
"""


def model_card(metadata: Metadata) -> str:
    """Return the model card of a bundle with this metadata, as Markdown."""
    first, signature = next(iter(metadata["signatures"].items()))
    arguments = ", ".join(f"{key}={key}" for key in signature["inputs"])
    about = metadata["about"]
    return _TEMPLATE.format(
        **{key: escaped(about[key]) for key in ("intended_use", "paper", "inputs", "outputs")},
        title=name_of(metadata),
        summary=escaped(metadata["summary"]),
        parameters=metadata["parameters"],
        weights_dtype=metadata["weights_dtype"],
        dentalzoo=metadata["dentalzoo"],
        tensorflow=metadata["tensorflow"],
        keras=metadata["keras"],
        date=metadata["date"],
        data="; ".join(escaped(v) for key, v in metadata["data"].items() if key != "licence")
        or "not recorded",
        licence=escaped(metadata["data"].get("licence", "not recorded")),
        use=f'results = model.signatures["{first}"]({arguments})',
        signatures="\n".join(
            f"- `{name}`: {describe(spec['inputs'], '`')} -> {describe(spec['outputs'], '`')}"
            for name, spec in metadata["signatures"].items()
        ),
        metrics=_table(metadata["metrics"]) or "Not measured.",
        figures="".join(
            f"\n![{escaped(name.partition('.')[0])}](<{name}>)\n" for name in metadata["figures"]
        ),
        training=_table(metadata["training"]) or "Not recorded.",
    )


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
