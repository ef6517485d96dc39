"""Synthetic defects: determined by the seed, exact masks, contrast of the requested sign."""

import csv
import hashlib
import inspect
import statistics
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from dentalzoo.data.masks import find_masks, load
from dentalzoo.data.synthetic import DEFECTS, TEXTURES, defect, write_defect_dataset
from dentalzoo.data.synthetic import defects as generator
from dentalzoo.errors import DentalzooError

INSIDE = [kind for kind in DEFECTS if kind != "border"]


def digest(sample):
    parts = [sample.image.tobytes(), sample.mask.tobytes()]
    parts.append(repr((sample.box, sample.kind)).encode())
    return hashlib.sha256(b"".join(parts)).hexdigest()


def test_a_seed_gives_the_same_defect_in_another_process():
    code = (
        "import hashlib\nfrom dentalzoo.data.synthetic import DEFECTS, defect\n"
        + inspect.getsource(digest)
        + "print(*[digest(defect(4, kind, 48)) for kind in (None, *DEFECTS)])"
    )
    root = Path(__file__).parents[3]
    process = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root
    )
    assert process.stdout.split() == [digest(defect(4, kind, 48)) for kind in (None, *DEFECTS)]


def test_seeds_differ_and_global_random_state_is_unchanged():
    assert len({digest(defect(seed, "crack", 32)) for seed in range(40)}) == 40
    np.random.seed(3)
    before = np.random.get_state()[1].copy()
    defect(1)
    assert (np.random.get_state()[1] == before).all()


@pytest.mark.parametrize("size", [28, 64, 128, 256])
@pytest.mark.parametrize("kind", DEFECTS)
def test_any_size(size, kind):
    sample = defect(6, kind, size)
    assert sample.kind == kind
    assert sample.image.shape == sample.mask.shape == (size, size)
    assert sample.image.dtype == np.uint8 and sample.mask.dtype == bool
    assert 0 < sample.mask.mean() < 0.5


@pytest.mark.parametrize("kind", DEFECTS)
def test_sizes_show_the_same_defect(kind):
    for seed in range(5):
        small, large = defect(seed, kind, 64).mask, defect(seed, kind, 256).mask
        reduced = cv2.resize(large.astype(np.float32), (64, 64), interpolation=cv2.INTER_AREA)
        near = cv2.dilate(reduced, np.ones((3, 3)))
        assert not small[near == 0].any()
        assert small[reduced > 0.7].all()


def test_the_box_is_the_tight_box_of_the_mask():
    for seed in range(30):
        sample = defect(seed, size=40)
        rows, columns = np.nonzero(sample.mask)
        low, high = (rows.min(), columns.min()), (rows.max() + 1, columns.max() + 1)
        assert sample.box == pytest.approx(np.array([*low, *high]) / 40)


@pytest.mark.parametrize("kind", ["pore", "border"])
def test_masks_keep_the_area_at_every_size(kind):
    """Half covered is the threshold that keeps areas: the same at 64 pixels as at 512."""
    small, large = (
        np.mean([defect(seed, kind, size, border=0).mask.mean() for seed in range(30)])
        for size in (64, 512)
    )
    assert small == pytest.approx(large, rel=0.05)


@pytest.mark.parametrize("kind", DEFECTS)
def test_the_mask_is_the_difference_from_the_surface_without_defect(kind, monkeypatch):
    """The same seed without a defect gives the same image, up to the blur at its edge."""
    nothing = np.full((3, 2), -9.0)
    for seed in range(6):
        sample = defect(seed, kind, 128, contrast=0.6, border=0)
        with monkeypatch.context() as patch:
            patch.setitem(generator._OUTLINES, kind, lambda *_: [nothing])
            patch.setattr(generator, "_beyond", lambda *_: nothing)
            sound = defect(seed, kind, 128, contrast=0.6, border=0)
        change = sound.image.astype(int) - sample.image
        mask = sample.mask.astype(np.uint8)
        inner = cv2.erode(mask, np.ones((3, 3))) > 0
        outer = cv2.dilate(mask, np.ones((9, 9))) == 0
        unchanged = change[inner] < 0.15 * sound.image[inner]
        assert unchanged.sum() <= 0.01 * inner.sum()
        assert np.abs(change[outer]).max() <= 3


def ring_difference(sample):
    """Mean grey of the defect minus that of its surroundings."""
    mask = sample.mask.astype(np.uint8)
    ring = (cv2.dilate(mask, np.ones((9, 9))) > 0) & (cv2.dilate(mask, np.ones((5, 5))) == 0)
    return sample.image[sample.mask].mean() - sample.image[ring].mean()


@pytest.mark.parametrize("kind", INSIDE)
def test_the_sign_of_the_contrast(kind):
    for seed in range(12):
        look = dict(size=64, border=0, background=0.6)
        assert ring_difference(defect(seed, kind, **look)) < -10
        assert ring_difference(defect(seed, kind, contrast=0.5, **look)) < -15
        assert ring_difference(defect(seed, kind, contrast=-0.7, **look)) > 15
        assert ring_difference(defect(seed, kind, contrast=0.5, invert=True, **look)) > 15


def test_invert_is_the_negative():
    plain, inverse = defect(3, "pore"), defect(3, "pore", invert=True)
    assert (inverse.image == 255 - plain.image).all() and (inverse.mask == plain.mask).all()
    dark = defect(3, "crack", background=0.97, contrast=1.0, invert=True, texture="plain", border=0)
    assert np.median(dark.image) < 60 and dark.image[dark.mask].mean() > 130


def test_background_is_the_mean_grey():
    for background in (0.3, 0.5, 0.7):
        greys = [
            np.median(defect(seed, "pore", background=background, border=0).image)
            for seed in range(12)
        ]
        assert np.mean(greys) / 255 == pytest.approx(background, abs=0.06)


def test_kinds_have_their_shapes():
    def pieces(kind):
        masks = (defect(seed, kind, 128, border=0).mask.astype(np.uint8) for seed in range(12))
        return [cv2.connectedComponents(mask)[0] - 1 for mask in masks]

    def slenderness(kind):
        masks = [defect(seed, kind, 128, border=0).mask.astype(np.uint8) for seed in range(12)]
        return np.mean([np.sqrt(mask.sum()) / cv2.distanceTransform(mask, 2, 5).max()
                        for mask in masks])  # fmt: skip

    assert set(pieces("crack")) == {1} and set(pieces("pore")) == {1}
    assert np.mean(pieces("branched_crack")) < 1.5
    assert max(pieces("double_crack")) == 2 and np.mean(pieces("double_crack")) > 1.5
    assert np.mean(pieces("pores")) > 2.5
    assert slenderness("crack") > 2.5 * slenderness("pore")


def test_a_crack_tapers():
    ratios = []
    for seed in range(20):
        mask = defect(seed, "crack", 256, border=0).mask.astype(np.uint8)
        depth = cv2.distanceTransform(mask, cv2.DIST_L2, 5)
        top, left, bottom, right = (round(256 * value) for value in defect(
            seed, "crack", 256, border=0).box)  # fmt: skip
        upright = bottom - top > right - left
        profile = depth.max(1)[top:bottom] if upright else depth.max(0)[left:right]
        tenth = max(1, len(profile) // 10)
        ratios.append(min(profile[:tenth].mean(), profile[-tenth:].mean()) / profile.max())
    assert np.median(ratios) < 0.5


def test_a_border_lies_at_a_side_and_is_dark():
    seen = set()
    for seed in range(24):
        sample = defect(seed, "border")
        sides = (sample.mask[0], sample.mask[-1], sample.mask[:, 0], sample.mask[:, -1])
        assert any(side.all() for side in sides)
        seen |= {index for index, side in enumerate(sides) if side.all()}
        assert sample.image[sample.mask].mean() < 25
        assert not sample.mask[24:40, 24:40].all()
    assert seen == {0, 1, 2, 3}


def test_textures_differ():
    def grain(texture):
        images = [defect(seed, "pore", 128, texture=texture, border=0).image for seed in range(8)]
        return np.mean([(image - cv2.blur(image.astype(float), (9, 9))).std() for image in images])

    assert grain("plain") < 0.7 * grain("ground") and grain("plain") < 0.7 * grain("grainy")


def test_variety():
    samples = [defect(seed, size=32) for seed in range(120)]
    assert {one.kind for one in samples} == set(DEFECTS)
    greys = [np.median(one.image) for one in samples]
    assert np.std(greys) > 20
    centres = [one.box for one in samples if one.kind == "pore"]
    assert np.std(centres, axis=0).min() > 0.05


@pytest.mark.parametrize(
    "arguments",
    [
        {"seed": -1},
        {"size": 8},
        {"kind": "dent"},
        {"texture": "wood"},
        {"background": 0.1},
        {"contrast": 0},
        {"contrast": 1.5},
        {"border": 2},
    ],
)
def test_refuses(arguments):
    with pytest.raises(DentalzooError, match=f"Received: {list(arguments.values())[0]!r}"):
        defect(**{"seed": 0, **arguments})


def test_quick_enough():
    spent = []
    for seed in range(20):
        start = time.process_time()
        defect(seed)
        spent.append(time.process_time() - start)
    print(f"CPU time of a defect of 64 x 64: {1000 * statistics.median(spent):.1f} ms")
    assert statistics.median(spent) < 0.02


def test_written_dataset(tmp_path):
    folder = write_defect_dataset(tmp_path / "tiles", 10, seed=30, size=32, background=0.7)
    train, val = find_masks(folder, "train"), find_masks(folder, "val")
    assert [sample.name for sample in train.samples] == [f"{i:04d}" for i in range(8)]
    assert [sample.name for sample in val.samples] == ["0008", "0009"]
    assert not train.skipped and train.num_classes == 1
    with open(folder / "defects.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    for index, file in enumerate([*train.samples, *val.samples]):
        sample = defect(30 + index, DEFECTS[index % 6], 32, background=0.7)
        loaded = load(file, 1, 1)
        assert (loaded["image"][..., 0] == sample.image).all()
        assert (loaded["mask"][..., 0] == sample.mask).all()
        assert (rows[index]["id"], rows[index]["kind"]) == (file.name, sample.kind)
        box = [float(rows[index][side]) for side in ("top", "left", "bottom", "right")]
        assert box == pytest.approx(sample.box)


@pytest.mark.parametrize(
    "arguments", [{"count": 0}, {"val_fraction": 1}, {"kinds": ()}, {"kinds": "crack"}]
)
def test_refuses_a_dataset(tmp_path, arguments):
    with pytest.raises(DentalzooError, match="Received: "):
        write_defect_dataset(tmp_path, **{"count": 2, **arguments})


def test_textures_are_named():
    assert TEXTURES == ("plain", "ground", "grainy")
