"""Training: deterministic, killed and resumed, mirrored, with clear errors."""

import csv
import hashlib
import json
import os
import random
import subprocess
import sys
import time

import numpy as np
import pytest

import dentalzoo as dz
from dentalzoo.bundle import reexport
from dentalzoo.contracts import DataOptions
from dentalzoo.training import checkpoint, loop

# Of all models it is traced and exported fastest, for what does not depend on the model.
SMALL = "tooth_vae"
COMMAND = [sys.executable, "-m", "dentalzoo", "train", SMALL, "--variant", "tiny"]


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """The data of `SMALL`: 40 photographs of teeth."""
    from dentalzoo.data.synthetic import write_tooth_photos

    return write_tooth_photos(tmp_path_factory.mktemp("photos") / "teeth", 40, size=16)


@pytest.fixture
def without_results(monkeypatch):
    """Let a training end with its last checkpoint, without a bundle and its evaluation."""
    monkeypatch.setattr(loop, "_write_results", lambda *arguments: None)


def final_state(folder):
    """The last checkpoint's arrays (weights and optimizer) and its state without the times."""
    arrays, state = checkpoint.Checkpoints(folder / "checkpoints").latest()
    for row in state["history"]:
        del row["seconds"]
    return arrays, state


def assert_same_run(left, right):
    (one, state), (two, other) = final_state(left), final_state(right)
    assert state == other
    assert all(np.array_equal(a, b) for a, b in zip(one, two, strict=True))
    best = [checkpoint.read(folder / "checkpoints" / "best.npz") for folder in (left, right)]
    assert all(np.array_equal(a, b) for a, b in zip(best[0][0], best[1][0], strict=True))


def test_a_run_writes_its_files(run):
    names = {path.name for path in run.iterdir()} - {".lock"}
    assert names == {
        *("run.json", "history.csv", "curves.png", "checkpoints"),
        *("logs", "bundle", "evaluation"),
    }
    rows = list(csv.DictReader((run / "history.csv").read_text().splitlines()))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert {"loss", "dice", "iou", "precision", "recall", "accuracy", "val_dice"} <= set(rows[0])
    assert list((run / "logs").rglob("events.out.tfevents.*"))
    assert (run / "curves.png").read_bytes()[:4] == b"\x89PNG"


def test_resuming_after_the_first_epoch_equals_not_stopping(
    run, phantoms, tmp_path, without_results
):
    """Optimizer, order, augmentation and best value are restored from the disk."""
    half = tmp_path / "half"

    class Stop(Exception):
        pass

    from dentalzoo.training.run_state import Run

    end = Run.end_epoch

    def stop_after_one(self, epoch, logs):
        end(self, epoch, logs)
        if epoch == 1:
            raise Stop

    Run.end_epoch = stop_after_one
    try:
        with pytest.raises(Stop):
            dz.train("panoramic_unet", phantoms, half, "tiny")
    finally:
        Run.end_epoch = end
    assert not (half / "bundle").exists()
    dz.train("panoramic_unet", phantoms, half, "tiny", resume=True)
    assert_same_run(run, half)


@pytest.mark.slow
def test_killed_five_times_equals_not_killed(photos, tmp_path):
    settings = ["--data", str(photos), "--epochs", "60", "--set", "batch_size=2"]
    subprocess.run([*COMMAND, *settings, "--out", str(tmp_path / "whole")], check=True)
    killed, seed = tmp_path / "killed", random.randrange(2**32)
    rng = random.Random(seed)
    print("seed of the moments of the kills:", seed)
    for _ in range(5):
        child = subprocess.Popen([*COMMAND, *settings, "--out", str(killed), "--resume"])
        # From before the first step to the middle of the epoch after next.
        target = _epoch(killed) + rng.choice((0, 1, 2))
        deadline = time.monotonic() + 900
        while _epoch(killed) < target and child.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(rng.uniform(0, 0.15))  # of up to 60 epochs of 0.05 s or more
        assert child.poll() is None, "it finished before it was killed"
        child.kill()
        child.wait()
    subprocess.run([*COMMAND, *settings, "--out", str(killed), "--resume"], check=True)
    assert_same_run(tmp_path / "whole", killed)
    assert not list(killed.rglob(".*.tmp"))


def _epoch(folder):
    epochs = [int(path.stem[-6:]) for path in folder.glob("checkpoints/epoch-*")]
    return max(epochs, default=0)


def test_a_run_is_not_overwritten_and_not_resumed_with_other_settings(run, phantoms):
    with pytest.raises(dz.DentalzooError, match="out must be a new folder; resume"):
        dz.train("panoramic_unet", phantoms, run, "tiny")
    with pytest.raises(dz.DentalzooError, match="learning_rate was 0.001 and is 0.1"):
        dz.train("panoramic_unet", phantoms, run, "tiny", learning_rate=0.1, resume=True)


def test_two_processes_do_not_train_in_one_folder(run, phantoms):
    import fcntl

    with open(run / ".lock", "w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        with pytest.raises(dz.DentalzooError, match="another process"):
            dz.train("panoramic_unet", phantoms, run, "tiny", resume=True)


@pytest.mark.slow
def test_an_epoch_without_a_finite_validation_value_is_not_the_best(photos, tmp_path, monkeypatch):
    from dentalzoo.training.run_state import Run

    end, spoilt = Run.end_epoch, {1}

    def spoil(self, epoch, logs):
        end(self, epoch, {**logs, self.config.monitor: float("nan")} if epoch in spoilt else logs)

    monkeypatch.setattr(Run, "end_epoch", spoil)
    run = tmp_path / "run"
    made = dz.train(SMALL, photos, run, "tiny", epochs=2)
    assert made.metadata["training"]["best_epoch"] == 2
    spoilt.add(2)
    run = tmp_path / "none"
    with pytest.raises(dz.DentalzooError, match="must be finite in one epoch or more"):
        dz.train(SMALL, photos, run, "tiny", epochs=2)
    assert not (run / "bundle").exists() and (run / "checkpoints" / "epoch-000002.npz").exists()
    made = dz.train(SMALL, photos, run, "tiny", epochs=3, resume=True)
    assert made.metadata["training"]["best_epoch"] == 3


def test_a_loss_of_nan_stops_and_keeps_the_checkpoint(phantoms, tmp_path):
    # Adam's steps overflow float32 at this learning rate.
    with pytest.raises(
        dz.DentalzooError, match="the loss became NaN or infinite.*Received: loss (nan|inf)"
    ):
        dz.train(
            "panoramic_unet",
            phantoms,
            tmp_path / "run",
            "tiny",
            epochs=3,
            learning_rate=1e38,
            schedule="plateau",
        )
    assert not (tmp_path / "run" / "bundle").exists()


def test_an_augmentation_that_fails_names_its_file(phantoms, tmp_path, monkeypatch):
    from dentalzoo.models.panoramic_unet import dataset

    def broken():
        class Fails:
            def __init__(self):
                raise RuntimeError("no such transform")

        return [Fails()]

    monkeypatch.setitem(dataset.AUGMENTATIONS, "paper", broken)
    with pytest.raises(dz.DentalzooError, match="epoch 1;.*Received: .*png: augmentation failed"):
        dz.train("panoramic_unet", phantoms, tmp_path / "run", "tiny")


@pytest.mark.slow
def test_early_stopping_and_plateau_survive_a_resume(phantoms, tmp_path, without_results):
    settings = {"schedule": "plateau", "early_stopping": 2}
    settings |= {"learning_rate": 0.0, "bn_momentum": 1.0}  # nothing gets better
    whole = tmp_path / "whole"
    dz.train("panoramic_unet", phantoms, whole, "tiny", epochs=9, **settings)
    parts = tmp_path / "parts"
    for epochs in (1, 9):
        dz.train("panoramic_unet", phantoms, parts, "tiny", epochs=epochs, resume=True, **settings)
    assert_same_run(whole, parts)
    assert final_state(whole)[1]["stopped"]


def test_mirrored_equals_one_device(mirrored, phantoms):
    """Two replicas with half the batch each take the step that one takes with all of it."""
    import keras
    import tensorflow as tf

    from dentalzoo.registry import configure, module_of
    from dentalzoo.training.loop import _pair

    module = module_of("panoramic_unet")
    config = configure("panoramic_unet", "tiny", batch_size=6, augmentation=None)

    def twice(element):
        """Each replica's half is the same, so that Dice over a half is Dice over the whole."""
        return {key: tf.tile(value[:3], (2, 1, 1, 1)) for key, value in element.items()}

    def step(strategy):
        keras.utils.set_random_seed(1)
        with strategy.scope():
            model = module.build_model(config)
            module.compile_model(model, config)
            model.compile(keras.optimizers.SGD(0.1), model.loss)
        data = module.make_dataset(phantoms, config, DataOptions("train", training=True)).dataset
        before = model.get_weights()
        batch = data.take(1).map(twice).map(_pair(model))
        history = model.fit(batch, shuffle=False, verbose=0)
        moved = [after - start for after, start in zip(model.get_weights(), before, strict=True)]
        return np.concatenate([m.ravel() for m in moved]), history.history["loss"]

    one, loss = step(tf.distribute.get_strategy())
    two, other = step(mirrored)
    assert loss == pytest.approx(other, abs=1e-3)  # smooth = 1 counts once or twice
    assert np.linalg.norm(one) > 0.1
    assert np.linalg.norm(one - two) < 0.01 * np.linalg.norm(one)


@pytest.mark.slow
def test_strategy_mirrored_trains_and_resumes(photos, tmp_path):
    code = (
        "import sys, tensorflow as tf\n"
        "cpu, half = tf.config.list_physical_devices('CPU')[0], "
        "tf.config.LogicalDeviceConfiguration()\n"
        "tf.config.set_logical_device_configuration(cpu, [half, half])\n"
        "from dentalzoo.cli import main\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    command = [sys.executable, "-c", code, *COMMAND[3:], "--data", str(photos)]
    command += ["--out", str(tmp_path / "run"), "--strategy", "mirrored", "--resume"]
    for epochs in ("1", "3"):
        subprocess.run([*command, "--epochs", epochs], check=True, env={**os.environ})
    assert len(final_state(tmp_path / "run")[1]["history"]) == 3
    assert dz.load(tmp_path / "run").metadata["training"]["strategy"] == "mirrored"


@pytest.fixture(scope="module")
def by_heart(tmp_path_factory):
    """Eight radiographs and two for validation, and settings that learn them by heart."""
    from dentalzoo.data.synthetic import write_panoramic_dataset

    folder = tmp_path_factory.mktemp("by_heart") / "radiographs"
    settings = {"epochs": 30, "input_size": (64, 128), "augmentation": None}
    settings |= {"decoder_filters": (32, 32, 16, 16, 16), "learning_rate": 3e-3}
    return write_panoramic_dataset(folder, 10, 1, 128, 256, val_fraction=0.2), settings


@pytest.mark.slow
def test_it_learns(by_heart, tmp_path):
    folder, settings = by_heart
    dz.train("panoramic_unet", folder, tmp_path / "run", "tiny", **settings)
    report = dz.evaluate(tmp_path / "run", folder, split="train")
    assert report["pooled"]["dice"] > 0.85, report["pooled"]
    assert dz.load(tmp_path / "run").metadata["metrics"]["dice"] > 0.7


@pytest.mark.slow
def test_it_learns_in_mixed_precision(by_heart, tmp_path, without_results):
    """Its bundle is that of float32: `test_a_model_of_16_bits_is_exported_in_float32`."""
    folder, settings = by_heart
    settings = {**settings, "mixed_precision": "bfloat16"}
    dz.train("panoramic_unet", folder, tmp_path / "run", "tiny", **settings)
    row = final_state(tmp_path / "run")[1]["history"][-1]
    assert row["dice"] > 0.85 and row["val_dice"] > 0.7, row


def test_without_a_val_split_the_last_epoch_is_the_result(photos, tmp_path, caplog):
    made = dz.train(SMALL, photos, tmp_path / "run", "tiny", epochs=1, val_fraction=0.0)
    assert made.metadata["metrics"] == {} and "no val split" in caplog.text
    state = json.loads(json.dumps(final_state(tmp_path / "run")[1]))
    assert state["best_epoch"] == 1


def test_starting_from_a_bundle(photos, tmp_path):
    first = dz.export(dz.build(SMALL, "tiny"), tmp_path / "first", SMALL)
    settings = {"init": first.path, "epochs": 1, "learning_rate": 0.0}
    made = dz.train(SMALL, photos, tmp_path / "run", "tiny", **settings)
    pairs = zip(made.to_keras().get_weights(), first.to_keras().get_weights(), strict=True)
    assert all(np.array_equal(a, b) for a, b in pairs)
    digest = hashlib.sha256((first.path / "SHA256SUMS").read_bytes()).hexdigest()
    init = {"bundle": SMALL, "sha256sums": digest}
    assert made.metadata["training"]["init"] == init
    card = (made.path / "README.md").read_text()
    assert f"| init.bundle | {SMALL} |\n| init.sha256sums | {digest} |" in card
    assert "licence" not in made.metadata["data"]


@pytest.mark.slow
def test_the_unet_starts_from_a_bundle(run, bundle, phantoms, tmp_path, without_results):
    settings = {"init": run, "epochs": 1, "learning_rate": 0.0, "schedule": "plateau"}
    dz.train("panoramic_unet", phantoms, tmp_path / "run", "tiny", **settings)
    weights, _ = checkpoint.read(tmp_path / "run" / "checkpoints" / "best.npz")
    kernels = [
        [array for array in arrays if array.ndim > 1]  # what is normalised moves
        for arrays in (weights, bundle.to_keras().get_weights())
    ]
    assert all(np.array_equal(a, b) for a, b in zip(*kernels, strict=True))


@pytest.mark.slow
def test_the_licence_of_a_bundle_follows_its_weights(photos, tmp_path):
    """Through two fine-tunings, an export and a hand-made one, until a note says otherwise."""
    bundle = dz.export(dz.build(SMALL, "tiny"), tmp_path / "bundle", SMALL)
    first = reexport(bundle.path, tmp_path / "first", data={"licence": "CC-BY-NC-3.0"})
    made, settings = first, {"epochs": 1, "learning_rate": 0.0}
    for name in ("second", "third"):
        out = tmp_path / name
        made = dz.train(SMALL, photos, out, "tiny", init=made.path, **settings)
        assert made.metadata["data"]["licence"] == "CC-BY-NC-3.0"
        assert made.metadata["training"]["init"]["licence"] == "CC-BY-NC-3.0"
        assert "\nlicense: cc-by-nc-3.0\n" in (made.path / "README.md").read_text()
    by_hand = dz.export(made.to_keras(), tmp_path / "hand", SMALL, data={"name": "x"})
    assert by_hand.metadata["data"] == {"name": "x", "licence": "CC-BY-NC-3.0"}
    free = {"licence": "MIT"}
    for export in (
        lambda: reexport(made.path, tmp_path / "free", data=free),
        lambda: dz.export(made.to_keras(), tmp_path / "free", SMALL, data=free),
    ):
        with pytest.raises(dz.DentalzooError, match="must be that of the weights.*CC-BY-NC-3.0"):
            export()
        assert not (tmp_path / "free").exists()
    noted = reexport(made.path, tmp_path / "noted", data=free, licence_note="they agreed")
    assert noted.metadata["data"]["licence_note"] == "they agreed"
    assert "| licence | MIT; they agreed |" in (noted.path / "README.md").read_text()
    again = reexport(noted.path, tmp_path / "again")
    assert again.metadata["data"]["licence"] == "MIT"
