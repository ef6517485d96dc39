"""Synthetic photographs of teeth: determined by the seed, exact labels, plausible colours."""

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
from PIL import Image

from dentalzoo.data.io.images import read_image
from dentalzoo.data.io.listing import list_images
from dentalzoo.data.synthetic import SHADES, tooth_photo, write_tooth_photos
from dentalzoo.data.synthetic import photo as generator
from dentalzoo.data.synthetic.mouth import make_mouth
from dentalzoo.data.synthetic.shapes import LOWER, UPPER
from dentalzoo.errors import DentalzooError


@pytest.fixture(scope="module")
def photos():
    return [tooth_photo(seed) for seed in range(60)]


def digest(photo):
    parts = [photo.image.tobytes(), photo.teeth.tobytes(), repr((photo.fdi, photo.shade)).encode()]
    return hashlib.sha256(b"".join(parts)).hexdigest()


def test_a_seed_gives_the_same_photo_in_another_process():
    code = (
        "import hashlib\nfrom dentalzoo.data.synthetic import tooth_photo\n"
        + inspect.getsource(digest)
        + "print(*[digest(tooth_photo(seed, 48)) for seed in range(5)])"
    )
    root = Path(__file__).parents[3]
    process = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root
    )
    assert process.stdout.split() == [digest(tooth_photo(seed, 48)) for seed in range(5)]


def test_seeds_differ_and_global_random_state_is_unchanged(photos):
    assert len({digest(photo) for photo in photos}) == len(photos)
    np.random.seed(3)
    before = np.random.get_state()[1].copy()
    tooth_photo(1)
    assert (np.random.get_state()[1] == before).all()


@pytest.mark.parametrize("size", [28, 64, 128, 256])
def test_any_size(size):
    photo = tooth_photo(3, size)
    assert photo.image.shape == (size, size, 3) and photo.teeth.shape == (size, size)
    assert photo.image.dtype == photo.teeth.dtype == photo.tooth.dtype == np.uint8
    assert set(np.unique(photo.tooth)) == {0, 1}


def test_sizes_show_the_same_tooth():
    for seed in range(6):
        small, large = tooth_photo(seed, 64), tooth_photo(seed, 256)
        assert (small.fdi, small.shade) == (large.fdi, large.shade)
        reduced = cv2.resize(large.teeth, (64, 64), interpolation=cv2.INTER_NEAREST)
        assert (reduced == small.teeth).mean() > 0.95
        shrunk = cv2.resize(large.image, (64, 64), interpolation=cv2.INTER_AREA)
        assert np.abs(shrunk.astype(int) - small.image).mean() < 12


def test_the_tooth_is_one_piece_in_the_centre(photos):
    for photo in photos:
        pieces, labels = cv2.connectedComponents(photo.tooth)
        sizes = np.bincount(labels.ravel())[1:]
        assert sizes.max() > 0.95 * sizes.sum()
        assert 0.1 < photo.tooth.mean() < 0.65
        rows, columns = np.nonzero(photo.tooth)
        assert abs(rows.mean() - 32) < 12 and abs(columns.mean() - 32) < 12


def test_neighbours_stand_in_the_order_of_their_numbers(photos):
    for photo in photos:
        assert photo.fdi in (UPPER if photo.fdi < 30 else LOWER)
        for order in (UPPER, LOWER):
            seen = [fdi for fdi in order if (photo.teeth == fdi).sum() > 20]
            columns = [np.nonzero(photo.teeth == fdi)[1].mean() for fdi in seen]
            assert columns == sorted(columns), seen
        upper = (photo.teeth > 0) & (photo.teeth < 30)
        lower = photo.teeth > 30
        if upper.any() and lower.any():
            assert np.nonzero(upper)[0].mean() < np.nonzero(lower)[0].mean()


def test_labels_are_the_visible_crowns():
    """What the front crown covers has its number, whatever is behind it."""
    for seed in range(8):
        body = np.random.default_rng((seed, 7, 0))
        mouth = make_mouth(body)
        frame = generator.aim(body, mouth, 128)
        photo = tooth_photo(seed, 128)
        assert photo.fdi == mouth.target.fdi
        for row in (mouth.upper, mouth.lower):
            assert (np.diff([crown.origin[0] for crown in row]) > 0).all()
        whole = slice(0, 128), slice(0, 128)
        upper = frame.cover([crown.outline for crown in mouth.upper], whole)
        lower = frame.cover([crown.outline for crown in mouth.lower], whole)
        front = (photo.teeth > 0) & (photo.teeth < 30)
        assert (front[upper > 0.99]).all() and not front[upper == 0].any()
        assert not (photo.teeth > 30)[lower == 0].any()
        alone = [crown.outline for crown in (*mouth.upper, *mouth.lower) if crown.fdi == photo.fdi]
        assert not photo.tooth[frame.cover(alone, whole) < 0.5].any()


def test_teeth_are_lighter_and_less_red_than_the_gum(photos):
    lighter, redder = [], []
    for photo in photos:
        lab = cv2.cvtColor(photo.image, cv2.COLOR_RGB2Lab).astype(float)
        rows = np.nonzero(photo.tooth)[0]
        gum = photo.teeth == 0
        if photo.fdi < 30:
            gum[rows.min() + 5 :] = False
        else:
            gum[: rows.max() - 5] = False
        if gum.sum() > 100:
            tooth = lab[photo.tooth > 0].mean(0)
            lighter.append(tooth[0] - lab[gum].mean(0)[0])
            redder.append(lab[gum].mean(0)[1] - tooth[1])
    assert len(lighter) > 40
    assert min(lighter) > 0 and np.mean(lighter) > 40
    assert min(redder) > 5 and np.mean(redder) > 15


def test_the_neck_is_yellower_than_the_biting_edge(photos):
    differences = []
    for photo in photos:
        lab = cv2.cvtColor(photo.image, cv2.COLOR_RGB2Lab).astype(float)
        rows, columns = np.nonzero(photo.tooth)
        upright = (rows - rows.min()) / (np.ptp(rows) + 1)
        height = upright if photo.fdi > 30 else 1 - upright
        yellow = lab[rows, columns, 2]
        neck, edge = (height > 0.6) & (height < 0.85), (height > 0.1) & (height < 0.35)
        differences.append(yellow[neck].mean() - yellow[edge].mean())
    assert np.mean(differences) > 2


def test_lighter_shades_make_lighter_teeth():
    photos = [tooth_photo(seed, 32) for seed in range(150)]
    shades = [SHADES[photo.shade][0] for photo in photos]
    teeth = [np.median(photo.image[photo.tooth > 0]) for photo in photos]
    assert np.corrcoef(shades, teeth)[0, 1] > 0.3


def test_variety(photos):
    assert len({photo.fdi for photo in photos}) >= 15
    assert len({photo.shade for photo in photos}) >= 10
    assert {photo.fdi < 30 for photo in photos} == {True, False}
    medians = [np.median(photo.image[photo.tooth > 0]) for photo in photos]
    assert np.std(medians) > 8
    sharpness = [cv2.Laplacian(photo.image, cv2.CV_64F).std() for photo in photos]
    assert max(sharpness) > 2 * min(sharpness)
    reflections = [(photo.image[photo.tooth > 0].min(1) > 235).mean() for photo in photos]
    assert 0.1 < np.mean(np.array(reflections) > 0.002) < 0.95


@pytest.mark.parametrize("arguments", [(-1,), (0.5,), (0, 15), (0, 32.5)])
def test_refuses(arguments):
    with pytest.raises(DentalzooError, match="Received: "):
        tooth_photo(*arguments)


def test_quick_enough():
    spent = []
    for seed in range(20):
        start = time.process_time()
        tooth_photo(seed)
        spent.append(time.process_time() - start)
    print(f"CPU time of a photo of 64 x 64: {1000 * statistics.median(spent):.1f} ms")
    assert statistics.median(spent) < 0.05


def test_written_photos(tmp_path):
    folder = write_tooth_photos(tmp_path / "photos", 3, seed=5, size=48)
    paths = list_images(folder)
    assert [path.name for path in paths] == ["0000.png", "0001.png", "0002.png"]
    assert set(folder.glob("[!.]*")) == set(paths)
    for seed, path in enumerate(paths, 5):
        with Image.open(path) as image:
            assert image.mode == "RGB"
        assert (read_image(path) == tooth_photo(seed, 48).image).all()
    with pytest.raises(DentalzooError, match="Received: 0"):
        write_tooth_photos(tmp_path, 0)
