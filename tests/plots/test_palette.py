"""The palette, as colour-blind people see it."""

import numpy as np
import pytest

from dentalzoo.plots.palette import GROUND_TRUTH, PREDICTION, hex_colour, palette


def test_the_colours_of_32_teeth_differ():
    colours = palette()
    assert len(colours) == 256 and len(set(colours[:33])) == 33


def simulated(colour, kind):
    """A colour as seen without one kind of cone, in linear light; Vienot et al. 1999."""
    linear = (np.array(colour) / 255) ** 2.2
    matrices = {
        "protan": [[0.11238, 0.88762, 0], [0.11238, 0.88762, 0], [0.00401, -0.00401, 1]],
        "deutan": [[0.29275, 0.70725, 0], [0.29275, 0.70725, 0], [-0.02234, 0.02234, 1]],
    }
    return np.clip(np.array(matrices[kind]) @ linear, 0, 1) ** (1 / 2.2) * 255


@pytest.mark.parametrize("kind", ["protan", "deutan"])
def test_ground_truth_and_prediction_differ_for_the_colour_blind(kind):
    gt, prediction = (simulated(c, kind) for c in (GROUND_TRUTH, PREDICTION))
    assert np.linalg.norm(gt - prediction) > 100
    red, green = simulated((220, 60, 40), kind), simulated((60, 140, 40), kind)
    assert np.linalg.norm(red - green) < 100  # the usual choice


def test_a_colour_for_matplotlib():
    assert hex_colour((230, 159, 0)) == "#e69f00"
