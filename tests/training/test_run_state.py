"""Which epoch of a run is the best."""

from math import inf, nan
from types import SimpleNamespace

import numpy as np
import pytest

from dentalzoo.errors import DentalzooError
from dentalzoo.training import checkpoint
from dentalzoo.training.run_state import Run, is_better


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
        (nan, None, "min", False),
        (inf, None, "max", False),
        (inf, 0.4, "max", False),
        (-inf, 0.4, "min", False),
        (nan, nan, "min", False),
        (0.4, inf, "max", True),
    ],
)
def test_only_finite_values_are_the_best(value, best, mode, expected):
    assert is_better(value, best, mode) == expected


@pytest.mark.parametrize("values", [(nan, nan), (inf, nan)])
def test_without_a_finite_value_no_epoch_is_the_best(tmp_path, values):
    run = Run(tmp_path, SimpleNamespace(monitor="val_loss", monitor_mode="min"))
    run.epoch, run.history = 2, [{"val_loss": value} for value in values]
    with pytest.raises(DentalzooError, match="val_loss must be finite in one epoch or more") as e:
        run.best_weights()
    assert "\n" not in str(e.value) and "epoch 2 is intact" in str(e.value)
    run.history.append({"val_loss": 0.5})
    checkpoint.save(run._best_file, [np.ones(2)], {"epoch": 3})
    assert run.best_weights()[0].tolist() == [1, 1]
