"""Images that look like views and are exposed, lit or focused otherwise are doubted."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from dentalzoo.data import views as rendering
from dentalzoo.data.io.mesh_files import Mesh
from dentalzoo.data.shading import (
    MAX_DIFFERENCE,
    light_side,
    shading_difference,
    shading_doubts,
    sharpness,
)
from dentalzoo.data.silhouettes import check_views
from dentalzoo.data.synthetic import upper_jaw

pytest.importorskip("open3d")

ALL = np.arange(10, dtype=np.int32)


def posed(seed, missing=0.35):
    vertices = upper_jaw(seed, missing=missing).vertices.reshape(400, 125, 3)[::2, ::2]
    at = np.arange(vertices[..., 0].size).reshape(vertices.shape[:2])
    a, b, c, d = at[:-1, :-1], at[1:, :-1], at[:-1, 1:], at[1:, 1:]
    faces = np.concatenate([np.stack(half, -1).reshape(-1, 3) for half in ((a, b, c), (c, b, d))])
    vertices = vertices.reshape(-1, 3)
    middle = (vertices.min(0) + vertices.max(0)) / 2
    return Mesh((vertices - middle) / np.float32(40), faces.astype(np.int32))


@pytest.fixture(scope="module")
def jaw():
    return posed(11)


@pytest.fixture(scope="module")
def views(jaw):
    return rendering.render_views(jaw, 128)


def times(factor):
    return lambda views: np.clip(views * float(factor), 0, 255).astype(np.uint8)


def contrast(factor):
    return lambda views: np.where(views > 20, 190 + factor * (views - 190.0), 0).astype(np.uint8)


def each(change):
    return lambda views: np.stack([change(view[..., 0]) for view in views])[..., None]


def blurred(sigma):
    return each(lambda image: cv2.GaussianBlur(image, (0, 0), sigma))


def jpeg(quality):
    def change(image):
        return cv2.imdecode(cv2.imencode(".jpg", image, [1, quality])[1], cv2.IMREAD_GRAYSCALE)

    return each(change)


DOUBTFUL = {
    "three times brighter": (times(3), "of the jaw is white (250 or more)"),
    "a little too bright": (times(1.3), "of the jaw is white (250 or more)"),
    "half as bright": (times(0.5), "95 % of the jaw is darker than 119"),
    "a fifth of the contrast": (contrast(0.2), "the jaw is flat, grey values 189 +- 9"),
    "one grey value": (contrast(0), "the jaw is flat, grey values 190 +- 0"),
    "blurred by 2 pixels of 128": (blurred(2), "the jaw is blurred, sharpness 0.0"),
    "enlarged from 24 pixels": (
        each(lambda image: cv2.resize(cv2.resize(image, (24, 24), interpolation=3), (128, 128))),
        "the jaw is blurred, sharpness 0.0",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", DOUBTFUL)
def test_other_grey_values_than_rendered_ones_are_doubted(views, caplog, name):
    spoil, reason = DOUBTFUL[name]
    check_views(Path("jaw"), spoil(views), ALL)
    assert len(caplog.records) == 1 and "\n" not in caplog.text.strip()
    assert "jaw: the views are shaded otherwise than `dentalzoo views` renders" in caplog.text
    assert reason in caplog.text and "of rendered views" in caplog.text


@pytest.mark.parametrize("seed", range(5000, 5004))
def test_rendered_views_of_other_jaws_are_not_doubted(seed):
    views = rendering.render_views(posed(seed), 128)
    small = each(lambda image: cv2.resize(image, (32, 32), interpolation=cv2.INTER_AREA))(views)
    harmless = (times(0.85), jpeg(10), blurred(0.7), lambda views: np.repeat(views, 3, 3))
    for shown in (views, small, *(view[None] for view in views), *(f(views) for f in harmless)):
        assert not shading_doubts(shown)
    assert sharpness(views) > 0.18 and light_side(views) < -0.05


def test_a_jaw_is_shaded_as_its_own_views_are_and_no_other(jaw, views, monkeypatch):
    assert shading_difference(jaw, views, ALL) < 3 < MAX_DIFFERENCE
    assert shading_difference(jaw, views[[2, 9]], ALL[[2, 9]]) < 3
    assert shading_difference(jaw, jpeg(20)(views), ALL) < 4
    for spoil in (times(0.5), times(2), contrast(-1), contrast(0)):
        assert shading_difference(jaw, spoil(views), ALL) > 1.5 * MAX_DIFFERENCE
    assert shading_difference(jaw, np.zeros_like(views), ALL) == 255
    for light in ((0.3, 0.4, 1.0), (0, 0, 1.0), (-0.3, -0.4, 1.0)):  # right, front, below
        monkeypatch.setattr(rendering, "_LIGHT", light)
        lit = rendering.render_views(jaw, 112)
        monkeypatch.undo()
        assert shading_difference(jaw, lit, ALL) > 1.5 * MAX_DIFFERENCE, light


def test_a_wrong_shape_within_a_right_silhouette_is_seen(jaw, views):
    smooth = jaw.vertices.copy()
    top = smooth[:, 2] > 0
    smooth[top, 2] = 0  # teeth ground off
    assert shading_difference(Mesh(smooth, jaw.faces), views, ALL) > MAX_DIFFERENCE
