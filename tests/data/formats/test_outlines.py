"""Masks as objects with outlines, and back."""

from pathlib import Path

import numpy as np
import pytest

from dentalzoo.data.formats import outlines as formats_outlines
from dentalzoo.data.formats.base import ImageAnnotation, RunLengths
from dentalzoo.data.formats.outlines import (
    Regions,
    objects_of_mask,
    outline_edges,
    rasterise,
)
from dentalzoo.data.formats.shapes import from_outline, from_pixels, join

PIXEL = np.ones((1, 1), bool), 6, 6, (8, 8)


def as_segmentation(outline):
    if isinstance(outline, RunLengths):
        return {"size": [outline.height, outline.width], "counts": list(outline.counts)}
    return [list(polygon) for polygon in outline]


def draw(boxes, classes, size):
    shapes = tuple((classes.index(b.label) + 1, as_segmentation(b.outline)) for b in boxes)
    return rasterise(Regions("test", *size, shapes), *size)


@pytest.mark.parametrize("seed", range(5))
def test_the_objects_of_a_mask_cover_exactly_its_pixels(seed):
    rng = np.random.default_rng(seed)
    mask = rng.integers(0, 3, (23, 31)) * (rng.random((23, 31)) < 0.8)
    boxes = objects_of_mask(mask, ["a", "b"])
    np.testing.assert_array_equal(draw(boxes, ["a", "b"], mask.shape), mask)
    for box in boxes:
        edges = np.multiply((box.top, box.left, box.bottom, box.right), (*mask.shape,) * 2)
        assert outline_edges(as_segmentation(box.outline)) == pytest.approx(tuple(edges))


def test_areas_of_a_class_are_objects_and_a_ring_has_run_lengths():
    mask = np.zeros((10, 12), int)
    mask[1:3, 1:4] = 1
    mask[5:9, 5:9] = 1
    mask[6:8, 6:8] = 0
    mask[6, 6] = 2
    one, ring, dot = objects_of_mask(mask, ["x", "y", "unused"])
    assert (one.label, ring.label, dot.label) == ("x", "x", "y")
    assert one.outline == ((1.0, 1.0, 4.0, 1.0, 4.0, 3.0, 1.0, 3.0),)
    assert isinstance(ring.outline, RunLengths) and sum(ring.outline.counts) == 120
    assert (dot.top, dot.left, dot.bottom, dot.right) == (0.6, 0.5, 0.7, 7 / 12)
    assert objects_of_mask(mask * 0, ["x"]) == []


def test_a_tolerance_saves_points_and_moves_the_edge_by_no_more():
    y, x = np.mgrid[:80, :100]
    mask = (((y - 40) / 30) ** 2 + ((x - 50) / 40) ** 2 < 1).astype(int)
    (exact,), (simple,) = objects_of_mask(mask, ["x"]), objects_of_mask(mask, ["x"], 1.0)
    assert len(simple.outline[0]) < len(exact.outline[0]) / 4
    drawn = draw([simple], ["x"], mask.shape)
    assert 2 * (drawn & mask).sum() / (drawn.sum() + mask.sum()) > 0.99


def test_a_class_can_be_one_object_and_specks_none():
    mask = np.zeros((20, 30), int)
    mask[2:4, 2:6] = mask[8:14, 8:14] = mask[16, 20] = 1
    mask[0, 29] = 2
    assert [box.label for box in objects_of_mask(mask, ["x", "y"], min_area=2)] == ["x", "x"]
    (whole,) = objects_of_mask(mask, ["x", "y"], min_area=2, whole=True)
    assert len(whole.outline) == 2 and whole.outline[0][:2] == (8.0, 8.0)  # the largest first
    edges = np.multiply((whole.top, whole.left, whole.bottom, whole.right), (20, 30, 20, 30))
    assert edges == pytest.approx((2, 2, 14, 14))
    drawn = draw([whole], ["x"], mask.shape)
    mask[16, 20] = mask[0, 29] = 0
    np.testing.assert_array_equal(drawn, mask)
    mask[10, 10] = 0
    (ring,) = objects_of_mask(mask, ["x"], 1.0, whole=True)
    np.testing.assert_array_equal(draw([ring], ["x"], mask.shape), mask)


def test_a_module_that_is_missing_is_no_fault_of_an_outline(monkeypatch):
    def missing(*_):
        raise ModuleNotFoundError("No module named 'pycocotools'")

    monkeypatch.setattr(formats_outlines.coco, "frPyObjects", missing)
    shape = (1, [[0, 0, 5, 0, 5, 5]])
    with pytest.raises(ModuleNotFoundError):
        rasterise(Regions("test", 8, 8, (shape,)), 8, 8)
    parts = [from_outline("x", "1", [[0, 0, 5, 0, 5, 5]]), from_pixels("x", "2", *PIXEL)]
    with pytest.raises(ModuleNotFoundError):
        ImageAnnotation(Path("test"), "test").add("1", lambda: join(parts, (8, 8)))
