"""In a process of its own: TensorFlow Datasets keeps a registry and imports TensorFlow."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dentalzoo.data.synthetic import write_jaw_dataset, write_panoramic_dataset
from tests.data.test_images import put, text

ROOT = Path(__file__).parents[2]
SCRIPT = """
import sys
import tensorflow_datasets as tfds
import dentalzoo.data.tfds_builders
config = tfds.download.DownloadConfig(manual_dir=sys.argv[1])
sets, info = tfds.load(
    "panoramic_segmentation", data_dir=sys.argv[2], with_info=True,
    download_and_prepare_kwargs={"download_config": config},
)
for split, data in sorted(sets.items()):
    for row in sorted(tfds.as_numpy(data), key=lambda row: row["name"]):
        print(split, row["name"].decode(), row["image"].shape, row["mask"].shape,
              row["image"].dtype, int(row["image"].max()), int(row["mask"].sum()))

manual = tfds.download.DownloadConfig(manual_dir=sys.argv[3])
sets, info = tfds.load(
    "panoramic_detection", data_dir=sys.argv[2], with_info=True,
    download_and_prepare_kwargs={"download_config": manual},
)
names = tfds.builder("panoramic_detection", data_dir=sys.argv[2]).info.features["objects"]["label"]
print(names.names)
for split, data in sorted(sets.items()):
    for row in sorted(tfds.as_numpy(data), key=lambda row: row["name"]):
        found = row["objects"]
        print(split, row["name"].decode(), row["image"].shape, found["bbox"].tolist(),
              found["label"].tolist(), found["is_difficult"].tolist(), found["is_crowd"].tolist())

manual = tfds.download.DownloadConfig(manual_dir=sys.argv[4])
sets = tfds.load(
    "jaw_reconstruction", data_dir=sys.argv[2],
    download_and_prepare_kwargs={"download_config": manual},
)
for split, data in sorted(sets.items()):
    for row in tfds.as_numpy(data):
        print(split, row["name"].decode(), row["views"].shape, row["views"].dtype,
              row["points"].shape, row["points"].dtype)
"""


def test_builders_serve_the_splits_of_a_folder(tmp_path):
    for split, name in (("train", "a"), ("train", "b"), ("valid", "c")):
        for part, value in (("images", 200), ("mask", 255)):
            folder = tmp_path / "manual" / split / f"{split}_{part}"
            folder.mkdir(parents=True, exist_ok=True)
            array = np.zeros((8, 12), np.uint8)
            array[2:4, 3:9] = value
            Image.fromarray(array).save(folder / f"{name}.png")
    (tmp_path / "manual" / "train" / "train_images" / "b.png").write_bytes(b"broken")
    boxes = tmp_path / "boxes" / "panoramic_detection"
    put(boxes, "images/train/1.png", "images/val/2.png", "images/train/3.png")
    text(boxes / "labels" / "train" / "1.txt", "1 0.5 0.5 0.5 0.25", "0 0.25 0.25 0.5 0.5")
    text(boxes / "labels" / "val" / "2.txt")
    text(boxes / "labels" / "train" / "3.txt", "0 0.5 0.5 0.5 0.5")
    text(boxes / "classes.txt", "root", "implant")
    content = (boxes / "images" / "train" / "3.png").read_bytes()
    (boxes / "images" / "train" / "3.png").write_bytes(content[: len(content) // 2])

    jaws = write_jaw_dataset(tmp_path / "jaws", 3, val_fraction=0.3)
    (jaws / "upper" / "0001" / "0001_upper.obj").write_text("v 1 2")

    done = subprocess.run(
        [
            sys.executable,
            "-c",
            SCRIPT,
            *map(tmp_path.joinpath, ("manual", "prepared", "boxes")),
            jaws,
        ],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "3"},
    )

    assert done.returncode == 0, done.stderr
    told = [line for line in done.stdout.splitlines() if line.startswith(("train ", "val ", "["))]
    assert told == [  # between what TensorFlow Datasets tells
        "train a (8, 12, 1) (8, 12, 1) uint8 200 12",
        "val c (8, 12, 1) (8, 12, 1) uint8 200 12",
        "['root', 'implant']",
        "train 1 (90, 120, 3) [[0.375, 0.25, 0.625, 0.75], [0.0, 0.0, 0.5, 0.5]] [1, 0] "
        "[False, False] [False, False]",
        "val 2 (90, 120, 3) [] [] [] []",
        "train 0000_upper (10, 224, 224, 1) uint8 (50000, 3) float32",
        "val 0002_upper (10, 224, 224, 1) uint8 (50000, 3) float32",
    ]
    for name in ("b.png", "3.png", "0001_upper.obj"):
        assert f"{name}: " in done.stderr


ON_BEAM = """
import hashlib, sys
from pathlib import Path
import tensorflow_datasets as tfds
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
import dentalzoo.data.tfds_builders
kinds = {"here": {}, "beam": {"beam_runner": FnApiRunner()}}
for name in ("panoramic_segmentation", "panoramic_detection"):
    for kind, settings in kinds.items():
        config = tfds.download.DownloadConfig(manual_dir=sys.argv[1], **settings)
        builder = tfds.builder(name, data_dir=Path(sys.argv[2]) / kind)
        builder.download_and_prepare(download_config=config)
        for path in sorted(Path(builder.data_dir).iterdir()):
            print(kind, name, path.name, hashlib.sha256(path.read_bytes()).hexdigest())
"""


@pytest.mark.slow
def test_beam_prepares_the_same_files(tmp_path):
    pytest.importorskip("apache_beam")
    data = write_panoramic_dataset(tmp_path / "data", 8, 0, 64, 128, val_fraction=0.3)
    broken = next((data / "images").rglob("*.png"))
    broken.write_bytes(broken.read_bytes()[:100])
    done = subprocess.run(
        [sys.executable, "-c", ON_BEAM, data, tmp_path / "prepared"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "3"},
    )

    assert done.returncode == 0, done.stderr
    lines = [line.split(" ", 1) for line in done.stdout.splitlines() if " panoramic_" in line]
    here, beam = ({text for kind, text in lines if kind == k} for k in ("here", "beam"))
    assert here == beam
    assert sum(".tfrecord" in line for line in beam) == 4
    assert f"{broken.name}: " in done.stderr
