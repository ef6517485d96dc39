"""Confidences and track ids of YOLO lines, in the order of any tool: read right or refused."""

import numpy as np
import pytest

from dentalzoo.data.boxes import find_boxes
from dentalzoo.data.formats import base
from dentalzoo.data.formats.yolo.lines import decide
from dentalzoo.errors import DentalzooError
from tests.data.formats.test_yolo import labelled

BOX = (0.5, 0.5, 0.2, 0.4)


def lines(order, count, seed=0, low=0.05):
    """Random lines of boxes that lie in their images, with the numbers of a detector."""
    rng = np.random.default_rng(seed)
    rows = []
    for number in range(count):
        w, h = rng.uniform(0.02, 0.12, 2)
        parts = {"w": w, "h": h, "id": number + 1, "conf": rng.uniform(low, 1)}
        parts |= {"cx": rng.uniform(w / 2, 1 - w / 2), "cy": rng.uniform(h / 2, 1 - h / 2)}
        rows.append([0.0 if key == "class" else parts[key] for key in order.split()])
    return rows


@pytest.mark.parametrize(
    ("order", "extra"),
    [
        ("class cx cy w h conf", {6: 1}),
        ("class cx cy w h id", {6: 1}),
        ("class cx cy w h conf id", {7: 2}),
        ("class cx cy w h id conf", {7: 2}),
    ],
)
@pytest.mark.parametrize("seed", range(20))
def test_numbers_after_the_box_are_left_out(order, extra, seed):
    meaning = decide(lines(order, 30, seed))
    assert meaning.refused == "" and meaning.extra == extra


@pytest.mark.parametrize(
    ("order", "what"),
    [
        ("class conf cx cy w h", "confidence"),
        ("class conf cx cy w h id", "confidence"),
        ("class id cx cy w h", "an id before the box"),
        ("id class cx cy w h", "an id before the box"),
        ("id class cx cy w h conf", "an id before the box"),
        ("class id cx cy w h conf", "an id before the box"),
    ],
)
@pytest.mark.parametrize("count", [1, 3, 30])
def test_numbers_before_the_box_are_refused(order, what, count):
    for seed in range(20):
        meaning = decide(lines(order, count, seed))
        assert what in meaning.refused, seed


def test_lines_that_fit_both_orders_are_refused_with_what_to_do(tmp_path):
    """All boxes lie in their images, whichever number is the confidence."""
    root = labelled(tmp_path, a="0 0.5 0.5 0.3 0.3 0.4", b="0 0.55 0.45 0.3 0.35 0.5")
    with pytest.raises(DentalzooError, match="fit as `class confidence cx cy w h` as well; remove"):
        find_boxes(root)


def test_one_line_that_fits_one_order_alone_decides_for_all(tmp_path):
    root = labelled(tmp_path, a="0 0.5 0.5 0.3 0.3 0.4", b="0 0.9 0.5 0.1 0.05 0.9")
    found = find_boxes(root)
    assert [round(s.boxes[0].bottom - s.boxes[0].top, 6) for s in found.samples] == [0.3, 0.05]


def outline(points, rng):
    """A contour as Ultralytics writes one of a tooth."""
    angles = np.linspace(0, 2 * np.pi, points, endpoint=False)
    x = rng.uniform(0.2, 0.8) + rng.uniform(0.02, 0.1) * np.cos(angles)
    y = rng.uniform(0.2, 0.8) + rng.uniform(0.02, 0.1) * np.sin(angles)
    return np.stack([x, y], 1).ravel().tolist()


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("before", [False, True])
def test_the_confidence_of_polygons_stands_last_or_is_refused(seed, before):
    rng = np.random.default_rng(seed)
    rows = []
    for points in (9, 12, 17, 30):
        extra = [rng.uniform(0.25, 1)]
        flat = outline(points, rng)
        rows.append([0, *extra, *flat] if before else [0, *flat, *extra])
    meaning = decide(rows)
    assert ("before the points" in meaning.refused) == before
    assert before or meaning.extra == {20: 1, 26: 1, 36: 1, 62: 1}


def test_triangles_at_the_left_border_are_polygons():
    rows = [[0, 0, 0.1, 0.4, 0.12, 0.4, 0.9], [0, 0.3, 0.1, 0.4, 0.12, 0.4, 0.9]]
    assert decide(rows, "segment").kind == "polygons" and not decide(rows, "segment").refused
    assert decide(rows).extra == {}


def test_corners_with_sizes_are_refused(tmp_path):
    """left top w h: only boxes near the border tell."""
    rows = ["0 0.01 0.3 0.2 0.1", "0 0.02 0.02 0.3 0.3", "0 0.4 0.5 0.1 0.1"]
    with pytest.raises(DentalzooError, match="left top w h. alone.*2 of 3 boxes outside"):
        find_boxes(labelled(tmp_path, a=rows))


def test_boxes_that_cross_the_border_on_all_sides_are_cut_off(tmp_path):
    rows = ["0 0.01 0.3 0.2 0.1", "0 0.95 0.5 0.3 0.3", "0 0.4 0.5 0.1 0.1"]
    assert len(find_boxes(labelled(tmp_path, a=rows)).samples[0].boxes) == 3


def test_boxes_that_would_all_fit_as_corners_are_said(tmp_path, caplog):
    base.notice_once.cache_clear()
    rows = ["0 0.4 0.4 0.6 0.6", "0 0.3 0.35 0.5 0.55"]
    find_boxes(labelled(tmp_path, a=rows, b="0 0.45 0.3 0.62 0.5"))
    assert "all 3 boxes would also fit as left top right bottom; look at some" in caplog.text


def test_boxes_of_whole_jaws_are_no_corners():
    assert not decide([[0, 0.5, 0.55, 0.9, 0.8], [0, 0.52, 0.5, 0.85, 0.75]]).notice
