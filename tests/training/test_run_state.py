"""Which epoch of a run is the best."""

from math import inf, nan

import pytest

from dentalzoo.training.run_state import is_better


@pytest.mark.parametrize(
    ("value", "best", "mode", "expected"),
    [
        (None, None, "min", True),
        (None, 0.5, "min", True),
        (0.4, 0.5, "min", True),
        (0.4, 0.5, "max", False),
        (0.5, 0.5, "max", False),
        (0.4, nan, "min", True),
        (nan, 0.4, "max", False),
        (nan, 0.4, "min", False),
        (0.4, inf, "min", True),
    ],
)
def test_a_number_is_better_than_nan(value, best, mode, expected):
    assert is_better(value, best, mode) == expected
