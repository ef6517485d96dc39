"""Brightness of views: exposure, contrast and gamma are undone, in NumPy and in the graph."""

import numpy as np
import pytest
import tensorflow as tf

from dentalzoo.data.io.mesh_files import Mesh
from dentalzoo.data.synthetic import upper_scan
from dentalzoo.data.tones import BLACK, LEVELS, match_tones
from dentalzoo.data.views import render_views
from dentalzoo.models.jaw_reconstruction.tones import matched, without_background

TONES = (172, 191, 205, 231, 239, 244)


@pytest.fixture(scope="module")
def views():
    jaw = upper_scan(0)
    middle = (jaw.vertices.min(axis=0) + jaw.vertices.max(axis=0)) / 2
    return render_views(Mesh((jaw.vertices - middle) / np.float32(40), jaw.faces), 96)


CHANGES = {
    "darker": lambda grey: 0.7 * grey,
    "half the contrast": lambda grey: 0.5 * grey + 95,
    "gamma 0.45": lambda grey: 255 * (grey / 255) ** 0.45,
    "gamma 1.6": lambda grey: 255 * (grey / 255) ** 1.6,
}


def changed(views, change):
    grey = np.clip(np.rint(CHANGES[change](views.astype(float))), 0, 255)
    return np.where(views > BLACK, grey, views).astype(np.uint8)


@pytest.mark.parametrize("change", CHANGES)
def test_a_jaw_is_as_bright_as_before(views, change):
    seen = changed(views, change)
    jaw = seen > BLACK
    found = match_tones(seen, TONES)
    np.testing.assert_allclose(np.quantile(found[jaw], LEVELS), (191, 239), atol=2)
    before, after = (np.abs(v[jaw] - views[jaw].astype(float)).mean() for v in (seen, found))
    assert after < min(16, 0.7 * before)
    assert (found[~jaw] == seen[~jaw]).all()


@pytest.mark.parametrize("change", CHANGES)
def test_the_graph_does_the_same_for_each_jaw_of_a_batch(views, change):
    both = np.stack([changed(views, change), views[:, ::-1]])
    images = without_background(tf.constant(both / np.float32(255)))
    found = 255 * matched(images, TONES).numpy()
    expected = np.stack([match_tones(jaw, TONES) for jaw in both])
    np.testing.assert_allclose(found, np.where(both > BLACK, expected, 0), atol=1)


@pytest.mark.parametrize("grey", [0, 20, 160], ids=["nothing", "all but black", "flat"])
def test_views_that_tell_no_slopes_stay_as_they_are(views, grey):
    flat = np.where(views > BLACK, np.uint8(grey), np.uint8(0))
    assert (match_tones(flat, TONES) == flat).all()
    images = without_background(flat[None] / np.float32(255))
    np.testing.assert_allclose(matched(images, TONES), images, atol=1e-6)


def test_views_that_are_bright_enough_stay_as_they_are(views):
    assert match_tones(views, TONES) is views


def test_without_tones_views_stay_as_they_are(views):
    assert match_tones(views, ()) is views
