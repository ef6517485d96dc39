"""The command line from end to end: its files, its messages and its exit status."""

import functools
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

import dentalzoo as dz
from dentalzoo.cli import main
from dentalzoo.data.io.images import read_image
from dentalzoo.exporters import saved_model
from dentalzoo.tasks import predictor
from dentalzoo.training import checkpoint, loop
from tests.hostile import make_hostile

VAL = ("plain_4.png", "plain_5.png", "bitmap.bmp")
TRAIN = ("train", "panoramic_unet", "--variant", "tiny")


@pytest.fixture
def command(capfd):
    """A function that runs the command in this process: arguments -> (status, stdout, stderr)."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], logging.getLogger("dentalzoo").level

    def run(*arguments):
        capfd.readouterr()
        try:
            status = main([str(argument) for argument in arguments])
        except SystemExit as end:
            status = end.code
        out, err = capfd.readouterr()
        return status, out, err.splitlines()

    yield run
    root.handlers[:] = handlers
    logging.getLogger("dentalzoo").setLevel(level)


def fresh(*arguments):
    """Run the command in a new process: arguments -> (status, stdout, lines of stderr)."""
    words = [sys.executable, "-m", "dentalzoo", *map(str, arguments)]
    done = subprocess.run(words, capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr.splitlines()


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """A data set of good, unusual and broken images; some good ones are for validation."""
    folder = tmp_path_factory.mktemp("hostile") / "data"
    expected = make_hostile(folder)
    rows = [f"{name},{'val' if name in VAL else 'train'}" for name in expected]
    (folder / "split.csv").write_text("\n".join(["id,split", *rows]) + "\n")
    return folder, expected


@pytest.fixture(scope="module")
def damaged(run, tmp_path_factory):
    """A copy of the bundle with one bit of its weights flipped."""
    folder = tmp_path_factory.mktemp("damaged") / "bundle"
    shutil.copytree(run / "bundle", folder)
    weights = next((folder / "saved_model" / "variables").glob("*.data-*"))
    content = bytearray(weights.read_bytes())
    content[len(content) // 2] ^= 1
    weights.write_bytes(content)
    return folder


def naming(name, lines):
    """Return the lines that contain the complete name of a file."""
    return [line for line in lines if Path(name).name in line.replace(":", "/").split("/")]


# ---- hostile data --------------------------------------------------------------------------------


@pytest.mark.slow
def test_predict_on_hostile_images(run, hostile, tmp_path):
    folder, expected = hostile
    images = sorted((folder / "images").iterdir())
    status, out, lines = fresh("predict", run, folder / "images", "--out", tmp_path / "masks")
    assert status == 1
    bad = [path for path in images if not expected[path.name].image]
    assert len(bad) >= 12
    for path in bad:
        assert len(naming(path.name, lines)) == 1, (path.name, lines)
    # The others are doubts about images that have a result: nearly black, another bit depth.
    doubts = [line for line in lines if not any(naming(path.name, [line]) for path in bad)]
    assert len(lines) == len(bad) + len(doubts) and len(doubts) <= 2, lines
    assert all(line.startswith(str(folder / "images")) for line in doubts), doubts
    good = {path.name for path in images} - {path.name for path in bad}
    assert out == f"{len(good)} written to {tmp_path / 'masks'}, {len(bad)} failed\n"
    written = {path.stem: path for path in (tmp_path / "masks").glob("[!.]*")}
    assert len(written) == len(good)
    for name in good:
        shape = read_image(folder / "images" / name).shape[:2]
        assert (
            np.asarray(Image.open(written.get(Path(name).stem, written.get(name)))).shape == shape
        )


@pytest.mark.slow
def test_train_on_hostile_data(command, hostile, tmp_path):
    folder, expected = hostile
    out = tmp_path / "run"
    status, text, lines = command(*TRAIN, "--data", folder, "--out", out, "--epochs", 1)
    assert (status, text) == (0, f"{out / 'bundle'}\n"), lines
    bad = [name for name, e in expected.items() if not e.pair and e.image is not None]
    assert len(bad) >= 20
    skipped = [line.partition(": ")[0] for line in lines if line.startswith("skipped ")]
    assert len(skipped) == len(set(skipped))
    skipped = {Path(line).name for line in skipped}
    for name in bad:
        assert skipped & {name, f"{Path(name).stem}.png", f"{name}_mask.png"}, (name, lines)
    assert [line for line in lines if "and bitmap.bmp of val show the same" in line]
    assert not [line for line in lines if "Traceback" in line]
    metadata = dz.load(out).metadata
    assert metadata["metrics"]["images"] == len(VAL)


def test_a_file_name_that_is_not_utf_8(command, run, tmp_path):
    """Linux allows any bytes in a file name."""
    folder = tmp_path / "data"
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True)
        name = os.fsdecode(b"r\xf6ntgen.png")
        Image.new("L", (64, 32)).save(folder / kind / name)
    report, out = tmp_path / "report", tmp_path / "masks"
    status, text, _ = command("evaluate", run, "--data", folder, "--json", "--out", report)
    assert status == 0 and json.loads(text)["images"] == 1
    assert json.loads((report / "evaluation.json").read_text(errors="surrogateescape"))
    assert command("predict", run, folder / "images", "--out", out)[0] == 0
    assert [os.fsencode(path.name) for path in out.glob("[!.]*")] == [b"r\xf6ntgen.png"]


# ---- errors of the user --------------------------------------------------------------------------

# Arguments -> part of the message. {} are the paths of `paths`.
MISTAKES = {
    "": "required",
    "nonsense": "invalid choice",
    "list --task x": "task must be one of",
    "info panoramic_umet": "Did you mean panoramic_unet",
    "train panoramic_umet --data {radiographs} --out {new}": "Did you mean panoramic_unet",
    "train panoramic_unet --data {radiographs}": "--out",
    "{train} --data {radiographs} --out {new} --variant huge": "variants of panoramic_unet",
    "{train} --data {radiographs} --out {new} --set epoch=3": "Did you mean epochs",
    "{train} --data {radiographs} --out {new} --set epochs": "KEY=VALUE",
    "{train} --data {radiographs} --out {new} --set learning_rate=fast": "a value like 0.001",
    "{train} --data {radiographs} --out {new} --set learning_rate=(1,2)": "learning_rate must be",
    "{train} --data {radiographs} --out {new} --set learning_rate=-1": "learning_rate must be",
    "{train} --data {radiographs} --out {new} --set early_stopping=soon": "early_stopping must be",
    "{train} --data {radiographs} --out {new} --set decoder_filters=(8,8)": "5 integers",
    "{train} --data {radiographs} --out {new} --set input_range=(0,)": "(low, high)",
    "{train} --data {radiographs} --out {new} --set input_size=(33,64)": "multiples of 32",
    "{train} --data {radiographs} --out {new} --set encoder=resnet9": "resnet9",
    "{train} --data {radiographs} --out {new} --encoder-weights nowhere.h5": "nowhere.h5",
    "{train} --data {radiographs} --out {new} --epochs 0": "epochs must be",
    "{train} --data {radiographs} --out {new} --seed -1": "seed must be",
    "{train} --data {radiographs} --out {new} --strategy faster": "invalid choice: 'faster'",
    "{train} --data {radiographs} --out {new} --init {damaged}": "damaged",
    "{train} --data {absent} --out {new}": "no such folder",
    "{train} --data {empty} --out {new}": "no image with a mask",
    "{train} --data {radiographs} --out {file}": "cannot be written",
    "{train} --data {radiographs} --out {run}": "--resume",
    "{train} --data {radiographs} --out {run} --resume --seed 5": "seed was 0 and is 5",
    "evaluate panoramic_umet.x_v1 --data {radiographs}": "panoramic_umet.x_v1",
    "evaluate {damaged} --data {radiographs}": "damaged",
    "evaluate {run} --data {absent}": "no such folder",
    "evaluate {run} --data {empty}": "no image with a mask",
    "evaluate {run} --data {radiographs} --split winter": "split must be one of",
    "evaluate {run} --data {radiographs} --threshold 2": "threshold must be",
    "evaluate {run} --data {radiographs} --out {radiographs}/images": "a folder without inputs",
    "predict {absent} {radiographs}/images --out {new}": "no directory",
    "predict {damaged} {radiographs}/images --out {new}": "damaged",
    "predict {run} {empty} --out {new}": "the folder must hold images",
    "predict {run} {radiographs}/images --out {radiographs}/images": "a folder without inputs",
    "predict {run} {radiographs}/images --out {file}": "cannot be created",
    "export {absent} --out {new}": "no directory",
    "export {run} --out {radiographs}": "something else",
    "superimpose {run} a.png b.png --out {new}": "needs a bundle for superimposition",
    "export {run} --out {new} --about-data licence": "KEY=VALUE",
    "export {run} --out {new} --format torch": "invalid choice: 'torch'",
    "export {run} --out {new} --format saved_model --tag x_v1": "cannot be combined with --tag",
    "export {run} --out {new} --tag V/1": "tag must be",
    "export {run} --out {run}/bundle/new": "must be outside of bundles",
    "evaluate {run} --data {radiographs} --out {run}/bundle": "must be outside of bundles",
    "verify {damaged}": "SHA-256",
    "verify {empty}": "must hold a bundle",
    "check {absent}": "no such folder",
    "check {empty}": "no image with a mask",
    "check {radiographs} --num-classes 0": "num_classes must be",
    "synthetic --out {new} --count 0": "count ",
    "synthetic --out {file} --count 1": "{file}",
}


@pytest.fixture(scope="module")
def paths(run, phantoms, damaged, tmp_path_factory):
    folder = tmp_path_factory.mktemp("paths")
    radiographs, other = folder / "radiographs", shutil.ignore_patterns("teeth", "*.json")
    shutil.copytree(phantoms, radiographs, ignore=other)
    (folder / "empty").mkdir()
    (folder / "file").write_text("a file")
    new = {name: folder / name for name in ("absent", "empty", "file", "new")}
    return {
        **new,
        "run": run,
        "radiographs": radiographs,
        "damaged": damaged,
        "train": " ".join(TRAIN),
    }


@pytest.fixture(scope="module")
def load_once():
    return functools.cache(saved_model.load)


@pytest.fixture
def loaded_once(load_once, monkeypatch):
    """Let TensorFlow load a SavedModel once for all tests: that is most of a command's time."""
    monkeypatch.setattr(saved_model, "load", load_once)


@pytest.mark.usefixtures("loaded_once")
@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line(command, paths, mistake):
    status, out, lines = command(*mistake.format(**paths).split())
    assert (status, out) == (2, "")
    assert MISTAKES[mistake].format(**paths) in lines[-1], lines
    assert lines[-1].startswith("dentalzoo") and len(lines) == 1, lines
    left = paths["new"].rglob("*") if paths["new"].exists() else ()
    assert {path.name for path in left} <= {"run.json", "init.json", ".lock"}


# ---- one JSON object -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words", ["list", "info panoramic_unet", "verify {run}", "check {radiographs}"]
)
def test_stdout_is_one_json_object(command, paths, words):
    status, out, _ = command(*words.format(**paths).split(), "--json")
    assert status == 0 and isinstance(json.loads(out), dict)


def test_check_lists_what_is_invalid(command, hostile):
    status, out, _ = command("check", hostile[0], "--json")
    report = json.loads(out)
    assert status == 1 and len(report["skipped"]) >= 20


# ---- all steps -----------------------------------------------------------------------------------


@pytest.mark.slow
def test_train_evaluate_export_verify_predict(command, tmp_path):
    radiographs, out, small = tmp_path / "radiographs", tmp_path / "run", tmp_path / "small"
    size = ("--size", 128, 256)
    assert command("synthetic", "--out", radiographs, "--count", 6, *size)[:2] == (
        0,
        f"{radiographs}\n",
    )
    status, text, lines = fresh(*TRAIN, "--data", radiographs, "--out", out, "--epochs", 1)
    assert (status, text) == (0, f"{out / 'bundle'}\n") and "epoch 1/1" in "\n".join(lines)

    status, text, lines = fresh("evaluate", out, "--data", radiographs, "--split", "val", "--json")
    report = json.loads(text)
    assert status == 0 and report["images"] == 1 and not [x for x in lines if "Traceback" in x]
    assert report["mean"]["dice"] == dz.load(out).metadata["metrics"]["dice"]

    tagged = ("--tag", "x_v1", "--weights-dtype", "float16")
    assert command("export", out, "--out", small, *tagged)[:2] == (0, f"{small}\n")
    status, text, _ = command("verify", small, "--json")
    assert status == 0 and json.loads(text)["files"] >= 5
    assert dz.load(small).name == "panoramic_unet.x_v1"

    masks = tmp_path / "masks"
    status, text, _ = command("predict", small, radiographs / "images", "--out", masks, "--overlay")
    assert (status, text) == (0, f"6 written to {masks}, 0 failed\n")
    for radiograph in (radiographs / "images").iterdir():
        mask = read_image(masks / radiograph.name)
        assert mask.shape == (128, 256, 1) and set(np.unique(mask)) <= {0, 255}
        assert read_image(masks / f"{radiograph.stem}_overlay.png").shape == (128, 256, 3)


def test_a_second_evaluation_is_saved_on_request(command, run, phantoms, tmp_path):
    copy = shutil.copytree(run / "bundle", tmp_path / "bundle")
    before = (copy / "metadata.json").read_bytes()
    words = ("evaluate", copy, "--data", phantoms, "--split", "train", "--json")
    assert command(*words)[0] == 0 and (copy / "metadata.json").read_bytes() == before
    assert json.loads(command(*words, "--save-metrics")[1])["split"] == "train"
    assert dz.load(copy).metadata["metrics"]["split"] == "train"


@pytest.mark.slow
def test_a_training_ends_at_a_signal(command, tmp_path):
    data, out = tmp_path / "teeth", tmp_path / "run"
    assert command("synthetic", "--kind", "teeth", "--out", data, "--count", 14)[0] == 0
    words = ["train", "tooth_vae", "--variant", "tiny", "--data", data, "--out", out]
    words += ["--resume", "--epochs"]
    done = 0
    for number in (signal.SIGINT, signal.SIGTERM):
        child = subprocess.Popen(
            [sys.executable, "-m", "dentalzoo", *map(str, words), "100000"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        deadline = time.monotonic() + 900
        while _epochs(out) <= done and child.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        child.send_signal(number)
        text, errors = child.communicate(timeout=600)
        lines = errors.splitlines()
        assert (child.returncode, text) == (130, ""), lines
        assert "--resume" in lines[-2] and lines[-1] == "dentalzoo: interrupted"
        assert not [line for line in lines if "Traceback" in line]
        assert _epochs(out) > done
        done = _epochs(out)
    status, _, lines = command(*words, done + 1)
    assert status == 0 and f"resuming after epoch {done}" in lines
    assert len(checkpoint.Checkpoints(out / "checkpoints").latest()[1]["history"]) == done + 1


def _epochs(run):
    return max((int(path.stem[-6:]) for path in run.glob("checkpoints/epoch-*.npz")), default=0)


def test_images_in_train_and_val_are_named(command, phantoms, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "_fit", lambda *arguments, **options: None)  # it is said before
    monkeypatch.setattr(loop, "_write_results", lambda *_: SimpleNamespace(path="a bundle"))
    radiographs = shutil.copytree(phantoms, tmp_path / "radiographs")
    for kind in ("images", "masks"):
        shutil.copy(radiographs / kind / "0000.png", radiographs / kind / "copy.png")
    with open(radiographs / "split.csv", "a") as table:
        table.write("copy,val\n")
    out = tmp_path / "run"
    status, _, lines = command(*TRAIN, "--data", radiographs, "--out", out, "--epochs", 1)
    warnings = [line for line in lines if "same" in line]
    assert status == 0, lines
    assert warnings == ["0000.png of train and copy.png of val show the same (same pixels)"]


# ---- many images -------------------------------------------------------------------------------


# The memory of one image, kept for all but the first 50, would be 300 and 85 MB.
@pytest.mark.parametrize(
    ("count", "size", "bound"),
    [(300, (640, 320), 50e6), pytest.param(5_000, (64, 32), 25e6, marks=pytest.mark.slow)],
)
def test_memory_does_not_grow_with_the_images(
    command, run, tmp_path, monkeypatch, count, size, bound
):
    (tmp_path / "radiographs").mkdir()
    Image.effect_noise(size, 60).save(tmp_path / "radiograph.png")
    for index in range(count):
        os.link(tmp_path / "radiograph.png", tmp_path / "radiographs" / f"{index}.png")
    resident, write = [], predictor.write_files

    def write_and_measure(*arguments, **options):
        write(*arguments, **options)
        resident.append(int(Path("/proc/self/statm").read_text().split()[1]) * 4096)

    monkeypatch.setattr(predictor, "write_files", write_and_measure)
    masks = tmp_path / "masks"
    assert command("predict", run, tmp_path / "radiographs", "--out", masks)[0] == 0
    assert len(resident) == count and resident[-1] - resident[49] < bound
