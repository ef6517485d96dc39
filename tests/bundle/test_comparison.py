"""The comparison of files for a runtime with their bundle: lines, tables, and the card."""

import json

import pytest

from dentalzoo.bundle import comparison, writing
from dentalzoo.bundle.metadata import read_metadata
from dentalzoo.errors import BadFile
from tests.zoo_case import RELEASED

CONTENT = {
    "exporter": "onnx",
    "parity": {
        "serve": {
            "mask": {"changed": 0.00125},
            "probabilities": {"largest": 0.00012, "relative": 3.2e-05},
            "latency_ratio": 0.784,
        },
        "detect": {"boxes": {"changed": 0.0}, "latency_ratio": 2.5},
    },
    "metrics": {"dice": {"bundle": 0.9304, "exported": 0.9299}},
    "left_out": {"serve_encoded": "decodes image files: decode them"},
}
TABLES = """| function | output | largest difference | mean | changed | time |
|---|---|---:|---:|---:|---:|
| `serve` | mask |  |  | 0.12 % | 0.78 |
|  | probabilities | 0.00012 | 3.2e-05 |  |  |
| `detect` | boxes |  |  | 0.00 % | 2.50 |

| metric | SavedModel | `onnx` | difference |
|---|---:|---:|---:|
| dice | 0.9304 | 0.9299 | -0.0005 |

Left to TensorFlow: `serve_encoded`."""


def written(folder, content):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / comparison.FILE).write_text(json.dumps(content))
    return folder


def test_the_tables():
    note, _, rest = comparison.tables(CONTENT).partition("\n\n")
    assert "`onnx`" in note and rest == TABLES


def test_the_lines():
    assert comparison.lines(CONTENT) == [
        "serve: mask changed 0.0013; probabilities largest 0.00012, relative 3.2e-05; time 0.78 of "
        "the bundle's",
        "detect: boxes changed 0; time 2.50 of the bundle's",
        "dice: 0.9299, of the bundle 0.9304",
        "serve_encoded: left out: it decodes image files: decode them",
    ]


def test_the_card_of_a_bundle_has_the_tables_of_its_runtimes(tmp_path):
    metadata = read_metadata(RELEASED / "panoramic_unet.panoramic_teeth_v2")
    writing._write_description(tmp_path, metadata)
    assert "Files for" not in (tmp_path / "README.md").read_text()
    for name in "onnx", "litert":
        written(tmp_path / name, {**CONTENT, "exporter": name})
    writing._write_description(tmp_path, metadata)
    card = (tmp_path / "README.md").read_text()
    assert TABLES in card
    places = [card.index(f"## {title}") for title in ("Files for onnx", "Files for litert")]
    assert card.index("## Metrics") < places[0] < places[1] < card.index("## Training")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"parity": []}, "parity must be a table"),
        ({"parity": {"serve": {"mask": {"changed": 0}}}}, "must have 'latency_ratio'"),
        ({"parity": {"serve": {"latency_ratio": "1"}}}, "parity.serve.latency_ratio must be"),
        ({"parity": {"serve": {"latency_ratio": None}}}, "parity.serve.latency_ratio must be"),
        ({"parity": {"a | b": {"latency_ratio": 1}}}, "a key of parity must be"),
        ({"exporter": "x](y)"}, "exporter must be"),
        ({"metrics": {"dice": {"bundle": 1}}}, "metrics must be null, or a table"),
        ({"left_out": {"`": "x"}}, "a key of left_out must be"),
    ],
)
def test_another_file_is_refused_in_one_line(tmp_path, change, message):
    folder = written(tmp_path / "onnx", {**CONTENT, **change})
    with pytest.raises(BadFile, match=message) as error:
        comparison.read(folder)
    assert "\n" not in str(error.value)


def test_a_folder_without_a_description_has_no_comparison(tmp_path):
    assert comparison.read(tmp_path) is None
