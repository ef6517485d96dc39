"""Raw folders of nnU-Net."""

import numpy as np

from dentalzoo.data.images import find_images
from dentalzoo.data.io.images import write_png
from dentalzoo.data.masks import find_masks

SIZE = (12, 8)


def raw(root, labels=True, test=2):
    """A raw data set of five images with two classes, and `test` images without labels."""
    rng = np.random.default_rng(0)
    for number in range(5):
        image = rng.integers(0, 256, SIZE, np.uint8)
        write_png(root / "imagesTr" / f"jaw_{number:03d}_0000.png", image)
        if labels:
            ids = rng.integers(0, 3, SIZE, np.uint8)
            write_png(root / "labelsTr" / f"jaw_{number:03d}.png", ids)
    for number in range(test):
        image = rng.integers(0, 256, SIZE, np.uint8)
        write_png(root / "imagesTs" / f"jaw_{900 + number}_0000.png", image)
    return root


def test_label_maps_are_not_images_and_test_images_are_not_trained_on(tmp_path):
    raw(tmp_path)
    found = find_images(tmp_path)
    assert {s.split for s in found.samples if s.name.startswith("jaw_0")} == {"train"}
    assert {s.split for s in found.samples if s.name.startswith("jaw_9")} == {"test"}
    assert len(found.samples) == 7


def test_images_and_label_maps_are_paired(tmp_path):
    raw(tmp_path)
    found = find_masks(tmp_path)
    assert [s.mask.name for s in found.samples] == [f"jaw_{n:03d}.png" for n in range(5)]
    assert {s.split for s in found.samples} == {"train"}
