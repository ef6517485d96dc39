"""Checks that the papers' configs share; each raises a DentalzooError that names the setting."""

import dataclasses
import math
from collections.abc import Sequence

from dentalzoo.errors import DentalzooError

# Settings of files that a training starts from; what is built to be loaded into goes without.
STARTS = ("encoder_weights", "morphable_model")


def without_starts(config, keep: Sequence[str] = ()):
    """The config of a network that gets its weights from elsewhere."""
    starts = {key: None for key in STARTS if hasattr(config, key) and key not in keep}
    return dataclasses.replace(config, **starts)


def check_choices(config, **allowed: Sequence) -> None:
    """Each setting is one of its allowed values."""
    for key, values in allowed.items():
        if getattr(config, key) not in values:
            words = ", ".join(map(str, values))
            raise DentalzooError(f"{key} is one of: {words}. Received: {getattr(config, key)!r}")


def check_whole_numbers(config, *keys: str, least: int = 1, most: int | None = None) -> None:
    """Each setting is an int between `least` and `most`."""
    for key in keys:
        value = getattr(config, key)
        whole = isinstance(value, int) and not isinstance(value, bool)
        if not whole or value < least or (most is not None and value > most):
            bound = f"at least {least}" if most is None else f"from {least} to {most}"
            raise DentalzooError(f"{key} is a whole number, {bound}. Received: {value!r}")


def check_numbers(config, **bounds: tuple[float, float]) -> None:
    """Each setting is a number between its bounds, which may be infinite; it may not."""
    for key, (least, most) in bounds.items():
        value = getattr(config, key)
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not math.isfinite(value) or not least <= value <= most:
            bound = f"at least {least}" if math.isinf(most) else f"from {least} to {most}"
            raise DentalzooError(f"{key} is a number, {bound}. Received: {value!r}")


def check_rising(config, **bounds: tuple[float, float]) -> None:
    """Each setting is a tuple of two numbers between its bounds, the second not the smaller."""
    for key, (least, most) in bounds.items():
        make_tuples(config, key)
        pair = getattr(config, key)
        numbers = all(isinstance(n, int | float) and math.isfinite(n) for n in pair)
        if len(pair) != 2 or not numbers or not least <= pair[0] <= pair[1] <= most:
            bound = "" if math.isinf(most) else f", from {least} to {most}"
            raise DentalzooError(f"{key} is two rising numbers{bound}. Received: {pair}")


def make_tuples(config, *keys: str) -> None:
    """Each setting is a tuple; lists, which JSON brings, become one."""
    for key in keys:
        value = getattr(config, key)
        if not isinstance(value, list | tuple):
            raise DentalzooError(f"{key} is a tuple of numbers. Received: {value!r}")
        object.__setattr__(config, key, tuple(value))


def check_size(config, key: str, multiple: int = 1) -> None:
    """The setting is (height, width), both positive multiples of `multiple`."""
    make_tuples(config, key)
    size = getattr(config, key)
    if len(size) != 2 or any(not isinstance(n, int) or n < 1 or n % multiple for n in size):
        raise DentalzooError(
            f"{key} is (height, width), multiples of {multiple}; images of other sizes are "
            f"resized to it. Received: {size}"
        )


def check_filters(config, key: str = "filters", count: int | None = None) -> None:
    """The setting is a tuple of positive whole numbers, `count` of them where it is given."""
    make_tuples(config, key)
    filters = getattr(config, key)
    if len(filters) != (count or max(1, len(filters))) or any(
        not isinstance(number, int) or number < 1 for number in filters
    ):
        words = "whole numbers" if count is None else f"{count} whole numbers"
        raise DentalzooError(f"{key} are {words}, at least 1. Received: {filters}")
