"""Mutations of the released metadata.json: each is used as before or refused in one line."""

import copy
import json
import random
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from dentalzoo.bundle import integrity, reading, runtimes, writing
from dentalzoo.bundle.card import model_card
from dentalzoo.bundle.metadata import read_metadata
from dentalzoo.dispatch import make_options, task_of
from dentalzoo.errors import DentalzooError
from dentalzoo.tasks.predictor import predict_all

RELEASED = sorted((Path(__file__).resolve().parents[2] / "pretrained").glob("*/metadata.json"))

VALUES = (
    *(None, True, False, 0, 1, -1, 2, 10**9, 2**63, -(2**70), 10**400, 0.5, -0.5, 1e308),
    *(float("nan"), float("inf"), float("-inf"), "", " ", "x", "0", "None", "serve", "images"),
    *("../../../x", "/etc/passwd", "a\\b", "a/b", "con", "x\0y", "two\nlines", "| <b>&`[x](y)"),
    *("\x1b[31m", "\ud800", "é" * 300, "{name}", "%s", "uint8", "string", "x" * 100_000),
    *([], [None], [0], [1, 2, 3, 4], [[]], ["x"], ["../x"], [1.5], [None] * 5, [True] * 2),
    *({}, {"x": None}, {"x": {}}, {"": 1}, {"../x": []}, {"shape": [], "dtype": "uint8"}),
    *({"inputs": {}, "outputs": {}}, {"serve": {"inputs": {}, "outputs": {}}}),
)


def nested(depth):
    value = "end"
    for _ in range(depth):
        value = {"x": value} if depth % 2 else [value]
    return value


def places(value, path=()):
    """Every path below a value of JSON."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in items:
        yield (*path, key)
        if isinstance(inner, dict | list):
            yield from places(inner, (*path, key))


def mutate(content, rng):
    """Change one to three places: another value, none, a doubled, renamed or added one."""
    content = copy.deepcopy(content)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        *above, key = rng.choice(list(places(content)))
        holder = content
        for step in above:
            holder = holder[step]
        kind = rng.choice(("value", "value", "value", "number", "missing", "renamed", "added"))
        if kind == "number" and isinstance(holder[key], int | float):
            holder[key] = rng.choice((-holder[key], holder[key] * 10**6, holder[key] + 0.5, 3))
        elif kind == "missing":
            del holder[key]
        elif kind == "renamed" and isinstance(holder, dict):
            holder[rng.choice(("x", "../x", "", "a b", "_private", "serve"))] = holder.pop(key)
        elif kind == "added" and isinstance(holder, dict):
            holder[rng.choice(("x", "metadata", "path", "é\n"))] = copy.deepcopy(rng.choice(VALUES))
        else:
            deep = rng.random() < 0.04
            holder[key] = nested(rng.choice((9, 40, 300))) if deep else rng.choice(VALUES)
        if not content:
            break
    return content


def mutated_text(text, rng):
    """Return metadata.json with changed values, or with changed bytes."""
    if rng.random() < 0.9:
        return json.dumps(mutate(json.loads(text), rng)).encode("utf-8", "surrogatepass")
    content = bytearray(text.encode())
    for _ in range(rng.choice((1, 1, 2, 5))):
        at = rng.randrange(len(content))
        kind = rng.randrange(4)
        if kind == 0:
            content[at] = rng.randrange(256)
        elif kind == 1:
            del content[at : at + rng.choice((1, 5, 500))]
        elif kind == 2:
            content[at:at] = rng.choice((b"[" * 100_000, b"\xff", b"NaN", b"9" * 5000, b"\0", b'"'))
        else:
            content[at:at] = content[at : at + 30]
    return bytes(content)


# ---- what is done with each ----------------------------------------------------------------------


class Functions(dict):
    """The functions of a released bundle, which return zeros of the described shapes."""

    def __init__(self, metadata):
        super().__init__()
        for name, spec in metadata["signatures"].items():
            self[name] = lambda spec=spec, **arrays: self.zeros(spec, arrays)
        self.described = lambda: metadata["signatures"]

    def zeros(self, spec, arrays):
        assert arrays.keys() == spec["inputs"].keys()
        first = next((a for a in arrays.values() if isinstance(a, np.ndarray)), np.zeros(1))
        sizes = (*first.shape, 1, 1, 1, 1)
        return {
            key: np.zeros(
                [sizes[i] if size is None else size for i, size in enumerate(output["shape"])],
                output["dtype"],
            )
            for key, output in spec["outputs"].items()
        }


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """An image and a folder of views, by whether the task takes jaws."""
    folder = tmp_path_factory.mktemp("inputs")
    Image.fromarray(np.arange(1024).astype(np.uint8).reshape(32, 32)).save(folder / "image.png")
    (folder / "jaw").mkdir()
    for camera in range(10):
        shutil.copy(folder / "image.png", folder / "jaw" / f"view_{camera}.png")
    return {False: folder / "image.png", True: folder / "jaw"}


@pytest.fixture
def without_tensorflow(monkeypatch):
    """Load what metadata.json says, with functions that return zeros; export up to the network."""
    monkeypatch.setattr("os.fsync", lambda handle: None)  # most of the time of 2,000 bundles
    monkeypatch.setattr(runtimes, "prepare_tensorflow", lambda: None)
    monkeypatch.setattr(runtimes.guard, "refuse_unsafe_graph", lambda path: None)
    released = {path.parent.name: read_metadata(path.parent) for path in RELEASED}
    monkeypatch.setattr(
        runtimes.saved_model,
        "load",
        lambda path: Functions(released[path.parent.name.removeprefix("changed_")]),
    )

    def exported(model, path, name, config, *, tag, figures, **more):
        writing._read_figures(figures)

    monkeypatch.setattr(writing, "export", exported)
    monkeypatch.setattr("dentalzoo.bundle.loaded.Bundle.to_keras", lambda bundle: None)


def use(folder, inputs, out):
    """Do with a bundle all that reads its metadata. Yields after each part."""
    yield reading.task_on_disk(folder)
    yield reading.verify(folder)
    yield read_metadata(folder)
    bundle = reading.load(folder)
    yield bundle.name, bundle.task, repr(bundle), dir(bundle), bundle.config
    yield [(repr(s), s.__doc__) for s in bundle.signatures.values()]
    card = model_card(bundle.metadata)
    yield card.encode()
    options = make_options(bundle.task, "predict", {})
    predictor = task_of(bundle).Predictor(bundle, options)
    of_jaws = bundle.task == "reconstruction"
    predictor.plan(inputs[of_jaws], out)
    yield
    if of_jaws:  # figures of 50,000 points take half a second each
        jaw = SimpleNamespace(views=np.zeros((10, 8, 8, 1), np.uint8), cameras=np.arange(10))
        yield predictor.compute(None, jaw)
    else:
        yield predict_all(predictor, inputs[False], out)
    writing.reexport(folder, out / "again", tag="x_v1")
    yield writing.add_metrics(bundle, {"dice": 0.5})


def attempt(number, inputs, folder):
    """Use one mutated bundle; return the error of one line that it ended with, if any."""
    rng = random.Random(number)
    source = RELEASED[number % len(RELEASED)]
    bundle = folder / f"changed_{source.parent.name}"
    shutil.rmtree(folder, ignore_errors=True)
    (bundle / "saved_model").mkdir(parents=True)
    (bundle / "saved_model" / "saved_model.pb").write_bytes(b"")
    for figure in source.parent.glob("*.jpg"):
        shutil.copy(figure, bundle)
    (bundle / "metadata.json").write_bytes(mutated_text(source.read_text(), rng))
    (bundle / "SHA256SUMS").write_text(integrity.sums(bundle))
    try:
        for _ in use(bundle, inputs, folder / "out"):
            pass
    except DentalzooError as error:
        return str(error)
    return None


def test_the_released_metadata_work(inputs, tmp_path, without_tensorflow, monkeypatch):
    monkeypatch.setitem(globals(), "mutated_text", lambda text, rng: text.encode())
    for number in range(len(RELEASED)):
        assert attempt(number, inputs, tmp_path / "x") is None


def run(numbers, inputs, folder):
    messages = [attempt(number, inputs, folder) for number in numbers]
    for message in filter(None, messages):
        assert "\n" not in message and message.isprintable() and len(message) < 1000, message
    return messages


def test_a_hundred_fuzzed_metadata(inputs, tmp_path, without_tensorflow):
    run(range(100), inputs, tmp_path / "x")


@pytest.mark.slow
def test_two_thousand_fuzzed_metadata(inputs, tmp_path, without_tensorflow):
    messages = run(range(100, 2100), inputs, tmp_path / "x")
    assert 200 < messages.count(None) < 1800
