"""Boxes in NumPy beside values by hand."""

import numpy as np

from dentalzoo.ops.boxes import overlaps


def test_overlaps_by_hand_and_of_nothing():
    box, half, none = (0, 0, 2, 2), (0, 1, 2, 3), (5, 5, 5, 5)
    table = overlaps([box, none], [box, half, none])
    np.testing.assert_allclose(table, [[1, 2 / 6, 0], [0, 0, 0]])
    np.testing.assert_allclose(overlaps([half], [(0, 0, 4, 2)], of_first=True), [[0.5]])
    assert overlaps([], [box]).shape == (0, 1) and overlaps([box], []).shape == (1, 0)
