"""Images that cannot be views of one jaw are refused, with what would make them agree."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from dentalzoo.data import views as rendering
from dentalzoo.data.io.mesh_files import Mesh
from dentalzoo.data.shading import light_side
from dentalzoo.data.silhouettes import (
    MIN_AGREEMENT,
    MIN_COHERENCE,
    agreement,
    check_views,
    coherence,
    project,
    silhouettes,
)
from dentalzoo.data.synthetic import upper_jaw
from dentalzoo.errors import BadFile

pytest.importorskip("open3d")

ALL = np.arange(10, dtype=np.int32)


@pytest.fixture(scope="module")
def jaw():
    synthetic = upper_jaw(11, missing=0.35)
    middle = (synthetic.vertices.min(0) + synthetic.vertices.max(0)) / 2
    return Mesh((synthetic.vertices - middle) / np.float32(40), synthetic.faces)


@pytest.fixture(scope="module")
def views(jaw):
    return rendering.render_views(jaw, 128)


def exchanged(views, one, other):
    changed = views.copy()
    changed[[one, other]] = views[[other, one]]
    return changed


def ring(order):
    return lambda views: np.concatenate([views[order], views[9:]])


WRONG = {
    "on white": (lambda v: np.where(v > 20, v, 255).astype(np.uint8), "on white? Received: view 0"),
    "inverted": (lambda v: 255 - v, "is it inverted, or on white?"),
    "the same ten times": (lambda v: np.repeat(v[3:4], 10, 0), "same image as view 0 and view 1"),
    "one of them twice": (lambda v: v[[0, 1, 2, 3, 4, 5, 6, 7, 7, 9]], "view 7 and view 8"),
    "nearly black": (lambda v: v // 8, "nearly black"),
    "mirrored": (lambda v: v[:, :, ::-1], "mirrored left to right or numbered the other way"),
    "upside down": (lambda v: v[:, ::-1], "they seem to be upside down"),
    "turned by 180": (lambda v: v[:, ::-1, ::-1], "rotated by 180 degrees"),
    "turned by 90": (lambda v: np.rot90(v, 1, (1, 2)), "rotated by 270 degrees"),
    "turned by 270": (lambda v: np.rot90(v, 3, (1, 2)), "rotated by 90 degrees"),
    "in reverse order": (lambda v: v[::-1], "in reverse order"),
    "around the other way": (ring([0, *range(8, 0, -1)]), "numbered the other way around"),
    "counted from 1 beside 9": (ring([8, *range(8)]), "numbered 1 too high"),
    "one too low": (ring([*range(1, 9), 0]), "numbered 1 too low"),
    "from above first": (lambda v: np.roll(v, 1, 0), "with the view from above first"),
    "two exchanged": (lambda v: exchanged(v, 3, 4), "in another order"),
    "the most alike exchanged": (lambda v: exchanged(v, 5, 8), "in another order"),
    "one mirrored": (lambda v: np.concatenate([v[:3], v[3:4, :, ::-1], v[4:]]), "in another order"),
    "shifted": (lambda v: np.roll(v, 8, 2), "in another order, of other cameras"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_views_that_contradict_each_other_are_refused(views, name):
    spoil, reason = WRONG[name]
    with pytest.raises(BadFile) as refused:
        check_views(Path("jaw"), np.ascontiguousarray(spoil(views)), ALL)
    text = str(refused.value)
    assert reason in text and "must" in text and "Received: " in text and "\n" not in text


def test_views_of_any_size_and_slightly_off_pass(views, caplog):
    small = [cv2.resize(view, (32, 32), interpolation=cv2.INTER_AREA)[..., None] for view in views]
    noise = np.random.default_rng(0).integers(0, 9, views.shape, np.uint8)
    for changed in (views, np.stack(small), np.repeat(views, 3, 3), np.roll(views, 1, 2),
                    np.maximum(views, noise), np.uint8(views * 0.85)):  # fmt: skip
        check_views(Path("jaw"), changed, ALL)
    for some in ([9], [0, 4], [2, 5, 9], [0, 2, 4, 5, 7]):
        check_views(Path("jaw"), views[some], np.array(some, np.int32))
    assert not caplog.records


def test_views_that_hardly_agree_are_said(views, caplog):
    turn = cv2.getRotationMatrix2D((64, 64), 6, 1)
    turned = np.stack([cv2.warpAffine(view, turn, (128, 128))[..., None] for view in views])
    for changed in (turned, np.roll(views, 2, 2)):
        caplog.clear()
        check_views(Path("jaw"), changed, ALL)
        assert len(caplog.records) == 1 and "agree less than those of one jaw do" in caplog.text
        assert "is filled, expected 0.994" in caplog.text


def test_views_mirrored_in_mirrored_order_show_by_their_light(views, caplog):
    assert light_side(views) < -0.05
    ring = [0, *range(8, 0, -1), 9]
    check_views(Path("jaw"), np.ascontiguousarray(views[ring][:, :, ::-1]), ALL)
    assert "lit from the right" in caplog.text


def test_a_jaw_that_is_cut_off_is_noticed(views, caplog):
    grow = np.float32([[1.45, 0, -28.8], [0, 1.45, -28.8]])
    check_views(
        Path("jaw"), np.stack([cv2.warpAffine(v, grow, (128, 128))[..., None] for v in views]), ALL
    )
    assert "cuts the jaw off at its border" in caplog.text


def test_points_are_projected_where_the_cameras_see_them(jaw, views):
    for view, camera in zip(views, rendering.cameras(), strict=True):
        column, row = project(jaw.vertices, camera, 128).T
        outside = cv2.dilate(view, np.ones((3, 3), np.uint8))[row, column] == 0
        assert outside.mean() < 0.001


def test_a_jaw_agrees_with_its_own_views_alone(jaw, views):
    assert coherence(silhouettes(views), ALL).min() > 0.99 > MIN_COHERENCE
    assert agreement(jaw.vertices, views, ALL) > 0.97
    assert agreement(jaw.vertices[:, [1, 0, 2]], views, ALL) < MIN_AGREEMENT
    assert agreement(jaw.vertices * np.float32(1.25), views, ALL) < MIN_AGREEMENT
    some = np.array([1, 9])
    assert agreement(jaw.vertices, views[some], some) > 0.97
