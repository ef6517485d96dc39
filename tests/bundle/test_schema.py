"""The kinds of values of metadata.json, safe names, and what metadata must say."""

import json
import shutil
from types import SimpleNamespace

import pytest

from dentalzoo import registry
from dentalzoo.bundle import runtimes
from dentalzoo.bundle.card import model_card
from dentalzoo.bundle.loaded import Bundle
from dentalzoo.bundle.metadata import FIGURE, METADATA, read_metadata
from dentalzoo.bundle.paths import is_safe_name, is_safe_path
from dentalzoo.bundle.schema import Mismatch, Plain, Text, Whole, cleaned, fits, shown
from dentalzoo.errors import DentalzooError
from tests.bundle.test_fuzzed_metadata import RELEASED

GOOD_NAMES = ("a", "a.b", ".hidden", "saved_model.pb", "röntgen.png", "console", "com10.txt", "a b")
BAD_NAMES = (
    *(
        "",
        ".",
        "..",
        "...",
        "a.",
        "a ",
        "a/b",
        "a\\b",
        "/a",
        "c:a",
        "a\nb",
        "a\0",
        "a\x7f",
        "a\u202eb",
    ),
    *("con", "NUL", "nul.txt", "Com1", "lpt9.tar.gz", "aux .x", "a|b", "a?b", "x" * 256, "\udcff"),
)


@pytest.mark.parametrize("name", GOOD_NAMES)
def test_safe_names(name):
    assert is_safe_name(name) and is_safe_path(f"{name}/{name}")


@pytest.mark.parametrize("name", BAD_NAMES, ids=ascii)
def test_unsafe_names(name):
    assert not is_safe_name(name)
    assert name == "a/b" or not is_safe_path(f"a/{name}/b")
    assert not fits(FIGURE, name) and not fits(FIGURE, f"{name}/x.png")


def test_a_path_that_is_too_deep_is_unsafe():
    assert is_safe_path("a/" * 20 + "a") and not is_safe_path("a/" * 40 + "a")


def test_figures_are_png_or_jpeg():
    assert [
        fits(FIGURE, n) for n in ("a.png", "A.JPG", "a.jpeg", "a.svg", ".png", "SHA256SUMS")
    ] == [*(True, True, True, False, False, False)]


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), 2**63, "a\x1b[0m", "\ud800", [[[[1]]]], {"": 1}]
)
def test_plain_values_are_finite_short_and_flat(value):
    assert not fits(Plain(depth=3), value) and not fits(Plain(), {"x": [value] * 10_001})


def test_kinds_say_what_is_expected():
    with pytest.raises(Mismatch) as caught:
        Whole(0, 9).check(True, "a.b")
    assert str(caught.value) == "a.b must be an integer from 0 to 9. Received: True"
    with pytest.raises(Mismatch, match="^x must be digits of at most 3 characters, .* '1234'$"):
        Text(3, "[0-9]*", "digits").check("1234", "x")
    assert len(shown([["x" * 10**6] * 10**4] * 10)) < 1000


def test_values_are_cleaned_before_they_are_written():
    dirty = {"a\udcff": float("nan"), "b": ("x\x1by", 1, None, True, 0.5)}
    assert cleaned(dirty) == {"a\ufffd": None, "b": ["x\ufffdy", 1, None, True, 0.5]}


# ---- whole files ---------------------------------------------------------------------------------


@pytest.fixture
def write(tmp_path):
    """Write the metadata of a released bundle with changes: read(name, key, ..., value)."""

    def written(name, *change):
        source = next(path for path in RELEASED if path.parent.name.startswith(name))
        content = json.loads(source.read_text())
        *path, key, value = change
        holder = content
        for step in path:
            holder = holder[step]
        holder[key] = value
        (tmp_path / "metadata.json").write_text(json.dumps(content))
        return tmp_path

    return written


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (("figures", ["../../../x.png"]), r"figures\[0\] must be a file name in .png or .jpg or"),
        (("name", "../x"), "name must be lower-case letters, digits and _ of at most 64"),
        (("tag", "a/b"), "tag must be null, or lower-case letters, digits, _ and -"),
        (("task", "detection"), "task must be segmentation for panoramic_unet. Received: 'detec"),
        (("about", {}), "about must have 'paper'. Received: none"),
        (("parameters", -1), "parameters must be an integer from 0"),
        (("metrics", "dice", float("nan")), "metrics.dice must be a finite number"),
        (("config", "input_size", [0, 1]), "config: input_size must be .* integers >= 1. Received"),
        (("signatures", "serve", "outputs", "mask", "dtype", "int32"), r"mask must be uint8 \(any"),
        (
            ("signatures", "serve", "outputs", "probabilities", "shape", [None] * 4),
            r"probabilities must be float32 \(any, any, any, known\)",
        ),
        (("signatures", {}), "signatures must be a table of 1 to 64 entries. Received: {}"),
    ],
    ids=lambda value: str(value[0]) if isinstance(value, tuple) else "",
)
def test_a_wrong_value_is_named(write, change, reason):
    with pytest.raises(
        DentalzooError, match=f"metadata.json does not describe a bundle: .*{reason}"
    ):
        read_metadata(write("panoramic_unet", *change))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (
            b'{"format": 2, "format": 2}',
            "each key of a table must be there once. Received: 'format'",
        ),
        (b"\xff{}", "the file must be JSON in UTF-8"),
        (b"[" * 100_000, "the file must be JSON in UTF-8"),
        (b"9" * 5_000, "the file must be JSON in UTF-8"),
        (b" " * (1 << 21), "the file must be at most 1048576 bytes"),
        (b"null", "the file must be a table with: format, name"),
    ],
    ids=lambda value: "" if isinstance(value, bytes) else value[:12],
)
def test_a_file_that_is_no_table_is_refused(tmp_path, content, reason):
    (tmp_path / "metadata.json").write_bytes(content)
    with pytest.raises(DentalzooError, match=f"does not describe a bundle: {reason}"):
        read_metadata(tmp_path)


def test_what_a_newer_version_adds_is_read(write):
    folder = write("tooth_vae", "runtime", {"file": "x.onnx"})
    assert read_metadata(folder)["runtime"] == {"file": "x.onnx"}
    assert read_metadata(write("tooth_vae", "config", "not_yet", 3))["config"]["not_yet"] == 3
    assert "runtime" not in METADATA.fields


def test_the_text_of_a_card_is_escaped(write):
    text = "a|b\n# head <img src=x> [x](javascript:y) `code` &lt; *b*"
    folder = write("tooth_vae", "summary", text)
    metadata = read_metadata(folder)
    metadata["data"]["licence"] = metadata["metrics"]["x"] = metadata["metrics"][text] = text
    card = model_card(metadata)
    safe = r"a\|b # head \<img src=x\> \[x\](javascript:y) \`code\` \&lt; \*b\*"
    assert card.count(safe) == 5 and text not in card and "\n# head" not in card
    assert f"| {safe} | {safe} |" in card and f"| licence | {safe} |" in card


def test_figures_of_a_bundle_stay_inside(tmp_path, write):
    """`../../../x` was read from outside of the bundle when it was exported again."""
    (tmp_path / "x.png").write_bytes(b"secret")
    folder = write("tooth_vae", "pictures", ["../x.png"])
    shutil.copy(folder / "metadata.json", tmp_path / "again")
    with pytest.raises(DentalzooError, match=r"figures\[0\] must be a file name"):
        read_metadata(folder)


def test_the_functions_of_a_saved_model_are_those_described(write):
    metadata = read_metadata(write("tooth_vae", "tag", None))
    runtimes._compare(RELEASED[0], metadata["signatures"], metadata["signatures"])
    changed = json.loads(json.dumps(metadata["signatures"]))
    changed["decode"]["outputs"]["image"]["dtype"] = "uint8"
    more = {**changed, "decode": metadata["signatures"]["decode"], "other": {}}
    less = {key: value for key, value in metadata["signatures"].items() if key != "generate"}
    for described, received in (
        (changed, "decode with .*uint8"),
        (more, "other, in saved_model only"),
        (less, "generate, in metadata.json only"),
    ):
        with pytest.raises(DentalzooError, match=f"those of metadata.*Received: {received}"):
            runtimes._compare(RELEASED[0], metadata["signatures"], described)


@pytest.mark.parametrize(
    ("shape", "is_one"),
    [([None, 9, 4], True), ([None, 9, 3, 4], True), ([None, 9, 3, 4, 4], False), ([9, 4], False)],
)
def test_raw_boxes_are_one_for_each_class_or_one_for_all(write, shape, is_one):
    name = "panoramic_detection"
    released = next(path for path in RELEASED if name in path.parent.name)
    signatures = json.loads(released.read_text())["signatures"]
    signatures["raw"]["outputs"]["boxes"]["shape"] = shape
    folder = write(name, "signatures", signatures)
    if is_one:
        assert read_metadata(folder)["signatures"] == signatures
        return
    with pytest.raises(DentalzooError, match=r"boxes must be float32 \(any, any, \.\.\., 4\)"):
        read_metadata(folder)


def test_a_network_that_cannot_be_built_is_one_line(write, monkeypatch):
    metadata = read_metadata(write("tooth_vae", "tag", None))
    bundle = Bundle(RELEASED[0].parent, metadata, SimpleNamespace(read_weights=list))
    monkeypatch.setattr("dentalzoo.bundle.loaded.prepare_keras", lambda: None)

    def build_model(config):
        raise ValueError("Negative dimension size\ncaused by ...")

    monkeypatch.setattr(registry.module_of("tooth_vae"), "build_model", build_model)
    with pytest.raises(DentalzooError, match="cannot be built. Received: Neg.* size caused"):
        bundle.to_keras()
