"""Strategy names: one table, one function each."""

import pytest

from dentalzoo.errors import DentalzooError
from dentalzoo.training import distribute
from dentalzoo.training.distribute import STRATEGIES, strategy


def test_a_process_has_one_mirrored_strategy(mirrored):
    assert strategy("mirrored") is mirrored


def test_a_registered_strategy_is_used(monkeypatch):
    monkeypatch.setitem(distribute.STRATEGIES, "test", lambda: "the strategy")
    assert strategy("test") == "the strategy"


def test_an_unknown_name_is_refused():
    names = "default, mirrored, multi_worker, tpu"
    with pytest.raises(DentalzooError, match=f"must be one of: {names}. Received: 'x'"):
        strategy("x")
    assert list(STRATEGIES) == ["default", "mirrored", "multi_worker", "tpu"]
