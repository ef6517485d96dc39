"""Damaged data sets of every format: only the package's own errors, and in bounded time."""

import json
import os
import random
import shutil
import time
from pathlib import Path

import pytest

from dentalzoo.data.boxes import find_boxes
from dentalzoo.data.formats import FORMATS
from dentalzoo.data.formats.writing import losses, write_annotations
from dentalzoo.data.io.images import IMAGE_SUFFIXES
from dentalzoo.data.masks import find_masks, load
from dentalzoo.errors import DentalzooError
from tests.data.formats.generated_sets import CLASSES, KINDS, TEETH, generate

WRITTEN = [form for form in FORMATS if form.WRITES]
# damaged data sets of each format
FEW, MANY = 5, 2000 if os.environ.get("DENTALZOO_ALL_SETS") else 300
LIMIT = 5.0  # seconds of the processor for one

ODD_JSON = [
    *("null", "NaN", "Infinity", "1e308", "-1", "0.5", "[]", "{}", '""', "true", "[[1]]"),
    *("9" * 400, '"9e999"', '"\\ud800"', '[null, {"a": 1}]', "[" * 50 + "]" * 50, '"x"', "-1e-320"),
]
ODD_TEXT = ["nan", "inf", "1e308", "-1", "", "9" * 400, "80,5", "\0", "²", "\ud800", "<", "&", "x"]


def odd_values(value, rng):
    """Return a JSON value with one part of it replaced, removed or doubled."""
    if isinstance(value, dict) and value and rng.random() < 0.85:
        key = rng.choice(list(value))
        if rng.random() < 0.1:
            return {k: v for k, v in value.items() if k != key}
        return {**value, key: odd_values(value[key], rng)}
    if isinstance(value, list) and value and rng.random() < 0.85:
        index = rng.randrange(len(value))
        if rng.random() < 0.1:
            return value[:index] + value[index + 1 :] * 2
        return [*value[:index], odd_values(value[index], rng), *value[index + 1 :]]
    return json.loads(rng.choice(ODD_JSON))


def odd_text(text, rng):
    """Return a text with one word of it replaced, removed or moved."""
    import re

    words = list(re.finditer(r"[\w.-]+", text))
    if not words:
        return text + rng.choice(ODD_TEXT)
    word = rng.choice(words)
    other = rng.choice([*ODD_TEXT, rng.choice(words).group()])
    return text[: word.start()] + other + text[word.end() :]


def odd_bytes(content, rng):
    """Return bytes with a few of them changed, cut off or repeated."""
    changed = bytearray(content)
    for _ in range(rng.randrange(1, 4)):
        if changed:
            changed[rng.randrange(len(changed))] = rng.randrange(256)
    if rng.random() < 0.2:
        changed = changed[: rng.randrange(len(changed) + 1)]
    return bytes(changed)


def damage(path: Path, content: bytes, rng: random.Random) -> bytes:
    if rng.random() < 0.2 or path.suffix.lower() in (*IMAGE_SUFFIXES, ".tfrecord"):
        return odd_bytes(content, rng)
    if path.suffix in (".json", ".vott") and rng.random() < 0.8:
        value = json.loads(content)
        for _ in range(rng.randrange(1, 3)):
            value = odd_values(value, rng)
        return json.dumps(value).encode()
    text = content.decode("utf-8", "replace")
    for _ in range(rng.randrange(1, 3)):
        text = odd_text(text, rng)
    return text.encode("utf-8", "surrogatepass")


def seed_set(form, root):
    """Write a valid data set of three images and return its folder."""
    names = TEETH if form.NAME == "DENTEX" else CLASSES
    for seed in range(20):
        samples, classes = generate(root / f"in{seed}", seed, 6, KINDS, names)
        held = [sample for sample in samples if not losses(form, [sample])]
        if sum(bool(sample.boxes) for sample in held) >= 2:
            write_annotations(form, held[:3], root / "set", classes)
            return root / "set"
    raise AssertionError(f"{form.NAME} holds none of the generated samples")


def check_damaged(form, root, count):
    source = seed_set(form, root)
    files = [path for path in sorted(source.rglob("*")) if path.is_file()]
    files = [path for path in files if not path.name.startswith(".")]
    notes = [path for path in files if path.suffix.lower() not in IMAGE_SUFFIXES] or files
    pixels = [path for path in files if path.suffix.lower() in IMAGE_SUFFIXES]
    rng = random.Random(form.NAME)
    for number in range(count):
        path = rng.choice(pixels if pixels and rng.random() < 0.1 else notes)
        content = path.read_bytes()
        path.write_bytes(damage(path, content, rng))
        started = time.process_time()
        try:
            for find in (find_boxes, find_masks):
                try:
                    found = find(source)
                    if find is find_masks:
                        for sample in found.samples:
                            load(sample, found.num_classes)
                except DentalzooError as error:
                    assert "\n" not in str(error), str(error)
        except Exception as error:
            kept = root / "damaged"
            shutil.copytree(source, kept, dirs_exist_ok=True)
            raise AssertionError(f"{form.NAME}, set {number}, {path.name}, {kept}") from error
        finally:
            path.write_bytes(content)
        assert time.process_time() - started < LIMIT, f"{form.NAME}, set {number}, {path.name}"


@pytest.mark.parametrize("form", WRITTEN, ids=lambda form: form.NAME)
def test_a_few_damaged_data_sets(form, tmp_path):
    check_damaged(form, tmp_path, FEW)


@pytest.mark.slow
@pytest.mark.parametrize("form", WRITTEN, ids=lambda form: form.NAME)
def test_many_damaged_data_sets(form, tmp_path, caplog):
    caplog.set_level("CRITICAL", "dentalzoo")
    check_damaged(form, tmp_path, MANY)
