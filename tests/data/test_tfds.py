"""In a process of its own: TensorFlow Datasets keeps a registry and imports TensorFlow."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

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
"""


def test_builder_serves_the_splits_of_a_folder(tmp_path):
    for split, name in (("train", "a"), ("train", "b"), ("valid", "c")):
        for part, value in (("images", 200), ("mask", 255)):
            folder = tmp_path / "manual" / split / f"{split}_{part}"
            folder.mkdir(parents=True, exist_ok=True)
            array = np.zeros((8, 12), np.uint8)
            array[2:4, 3:9] = value
            Image.fromarray(array).save(folder / f"{name}.png")
    (tmp_path / "manual" / "train" / "train_images" / "b.png").write_bytes(b"broken")

    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, tmp_path / "manual", tmp_path / "prepared"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "3"},
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-2:] == [  # after what TensorFlow Datasets tells
        "train a (8, 12, 1) (8, 12, 1) uint8 200 12",
        "val c (8, 12, 1) (8, 12, 1) uint8 200 12",
    ]
    assert "skipped" in done.stderr and "b.png" in done.stderr
