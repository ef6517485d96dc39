"""The README.md of a bundle, written from its metadata."""

_TEMPLATE = """# {title}

{summary}.

**{intended_use}**

| | |
|---|---|
| paper | {paper} |
| inputs | {inputs} |
| outputs | {outputs} |
| parameters | {parameters:,}, stored as {storage} |
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
{images}
## Training

{training}
"""


def model_card(metadata: dict) -> str:
    """The card of a bundle with this metadata, as Markdown."""
    tag = metadata["tag"]
    first, signature = next(iter(metadata["signatures"].items()))
    arguments = ", ".join(f"{key}={key}" for key in signature["inputs"])
    return _TEMPLATE.format(
        **{key: metadata[key] for key in ("summary", "parameters", "storage", "dentalzoo")},
        **{key: metadata[key] for key in ("tensorflow", "keras", "date")},
        **metadata["about"],
        title=metadata["name"] + (f".{tag}" if tag else ""),
        data="; ".join(v for key, v in metadata["data"].items() if key != "licence")
        or "not recorded",
        licence=metadata["data"].get("licence", "not recorded"),
        use=f'results = model.signatures["{first}"]({arguments})',
        signatures="\n".join(
            f"- `{name}`: {_specs(spec['inputs'])} -> {_specs(spec['outputs'])}"
            for name, spec in metadata["signatures"].items()
        ),
        metrics=_table(metadata["metrics"]) or "Not measured.",
        images="".join(
            f"\n![{name.partition('.')[0]}](<{name}>)\n" for name in metadata.get("images", ())
        ),
        training=_table(metadata["training"]) or "Not recorded.",
    )


def _specs(specs: dict) -> str:
    return ", ".join(
        f"`{key}` {spec['dtype']} "
        f"({', '.join('?' if size is None else str(size) for size in spec['shape'])})"
        for key, spec in specs.items()
    )


def _table(values: dict) -> str:
    """Plain values of a dict, nested dicts as dotted keys, as a Markdown table."""

    def rows(values: dict, prefix: str = ""):
        for key, value in values.items():
            if isinstance(value, dict):
                yield from rows(value, f"{prefix}{key}.")
            elif isinstance(value, float):
                yield f"| {prefix}{key} | {value:.4f} |"
            elif not isinstance(value, list):
                yield f"| {prefix}{key} | {value} |"

    lines = list(rows(values))
    return "\n".join(["| | |", "|---|---|", *lines]) if lines else ""
