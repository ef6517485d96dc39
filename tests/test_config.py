"""Settings: allowed values, messages, what a training starts from, and configs of older bundles."""

import dataclasses
import math
from dataclasses import dataclass

import numpy as np
import pytest

import dentalzoo as dz
from dentalzoo.config import PaperConfig, require_multiple, setting, settings_of
from dentalzoo.errors import DentalzooError


@dataclass(frozen=True)
class Config(PaperConfig):
    """A setting of each kind."""

    RENAMED = {"holdout": "val_fraction"}
    RENAMED_VALUES = {("look", "film"): "radiograph"}

    count: int = setting(3, "table 1", low=1, high=9)
    rate: float = setting(0.1, "section 2", low=0)
    look: str = setting("radiograph", "ours", choices=("radiograph", "photo"))
    crops: str | None = setting(None, "ours", choices=("boxes", "masks"))
    flag: bool = setting(False, "ours")
    size: tuple[int, int] = setting((4, 8), "ours", low=1)
    pair: tuple[float, float] = setting((0.0, 1.0), "ours", rising=True)
    filters: tuple[int, ...] = setting((8,), "ours", low=1, min_items=1)
    names: tuple[str, ...] = setting((), "ours")
    window: int | None = setting(None, "ours", low=1)
    val_fraction: float = setting(0.1, "ours", low=0, high=0.9)
    weights: str | None = setting(None, "ours", init=True)
    shapes: str | None = setting(None, "ours", init=True, freezes=True)

    def check(self) -> None:
        require_multiple("size", self.size, 4)


@pytest.mark.parametrize(
    ("name", "value", "kept"),
    [
        ("rate", 1, 1.0),
        ("rate", np.float64(0.5), 0.5),
        ("size", [8, 4], (8, 4)),
        ("pair", (0, 0), (0.0, 0.0)),
        ("pair", [-1, 2.5], (-1.0, 2.5)),
        ("filters", [1, 2, 3], (1, 2, 3)),
        ("names", ["a", "b"], ("a", "b")),
        ("crops", "boxes", "boxes"),
        ("window", None, None),
        ("window", 5, 5),
    ],
)
def test_values_become_those_of_the_annotation(name, value, kept):
    got = getattr(Config(**{name: value}), name)
    assert got == kept and type(got) is type(kept)
    if isinstance(kept, tuple):
        assert [type(item) for item in got] == [type(item) for item in kept]


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("count", 0, "an integer from 1 to 9"),
        ("count", 10, "an integer from 1 to 9"),
        ("count", 3.5, "an integer from 1 to 9"),
        ("count", True, "an integer from 1 to 9"),
        ("count", None, "an integer from 1 to 9"),
        ("rate", -0.1, "a number >= 0"),
        ("rate", math.nan, "a number >= 0"),
        ("rate", math.inf, "a number >= 0"),
        ("rate", "0.1", "a number >= 0"),
        ("rate", False, "a number >= 0"),
        ("look", "film", "one of: radiograph, photo"),
        ("look", None, "one of: radiograph, photo"),
        ("crops", "boundaries", "one of: boxes, masks, or None"),
        ("flag", 1, "True or False"),
        ("size", 4, "a tuple of 2 integers >= 1"),
        ("size", (4,), "a tuple of 2 integers >= 1"),
        ("size", (0, 4), "a tuple of 2 integers >= 1"),
        ("size", (4, 6), "(height, width), multiples of 4"),
        ("pair", (1.0, 0.5), "(low, high) with low <= high"),
        ("filters", (), "a tuple of 1 or more integers >= 1"),
        ("filters", (2, "3"), "a tuple of 1 or more integers >= 1"),
        ("names", "ab", "a tuple of strings"),
        ("names", (1,), "a tuple of strings"),
        ("window", 0, "an integer >= 1, or None"),
        ("weights", 5, "a string, or None"),
    ],
)
def test_what_is_not_allowed_is_refused_in_one_line(name, value, expected):
    with pytest.raises(DentalzooError) as caught:
        Config(**{name: value})
    message = str(caught.value)
    assert message.startswith(f"{name} must be {expected}")
    assert message.endswith(f". Received: {value!r}") and "\n" not in message


def test_settings_are_shown_with_what_they_may_hold():
    shown = settings_of(Config())
    assert list(shown) == [field.name for field in dataclasses.fields(Config)]
    assert shown["count"] == {"value": 3, "allowed": "an integer from 1 to 9", "source": "table 1"}


def test_a_network_to_be_loaded_into_starts_from_no_file():
    config = Config(weights="a.h5", shapes="b.npz")
    assert config.without_init() == Config()
    assert config.without_init(keep=("weights",)) == Config(weights="a.h5")
    assert config.without_init(for_training=True) == Config(shapes="b.npz")


def test_configs_of_older_bundles_are_read():
    assert Config.from_metadata({}) == Config()
    assert Config.from_metadata({"holdout": 0, "look": "film"}) == Config(val_fraction=0.0)
    with pytest.raises(DentalzooError, match="Did you mean filters. Received: filter=3"):
        Config.from_metadata({"filter": 3})
    with pytest.raises(DentalzooError, match="Received: 'drawing'"):
        Config.from_metadata({"look": "drawing"})


@pytest.mark.parametrize(
    ("key", "given", "kept"),
    [
        ("learning_rate", 1, 1.0),
        ("learning_rate", np.float32(0.5), 0.5),
        ("epochs", 5.0, 5),
        ("epochs", np.int64(5), 5),
        ("epochs", np.float64(5), 5),
        ("input_size", [64.0, 64], (64, 64)),
        ("input_size", np.array([64, 64]), (64, 64)),
    ],
)
def test_the_right_value_of_another_number_type_is_taken(key, given, kept):
    value = getattr(dz.configure("tooth_vae", "tiny", **{key: given}), key)
    assert value == kept and repr(value) == repr(kept)


@pytest.mark.parametrize("value", [5.5, True, np.True_, np.float64("nan"), np.zeros(2), "five"])
def test_another_number_is_not_a_count(value):
    with pytest.raises(dz.DentalzooError, match="epochs must be"):
        dz.configure("tooth_vae", "tiny", epochs=value)
