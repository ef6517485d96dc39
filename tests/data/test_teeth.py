"""Tooth numbers: which names are one, and what they are in a mirror."""

import pytest

from dentalzoo.data.teeth import mirrored, tooth_numbers
from dentalzoo.errors import DentalzooError


@pytest.mark.parametrize(
    ("names", "numbers"),
    [
        (("11", "48"), (11, 48)),
        (("tooth 18", "Tooth_55", "fdi-31"), (18, 55, 31)),
        (("11", "implant"), None),
        (("19",), None),
        (("56",), None),
        (("11", "tooth 11"), None),
        ((), None),
    ],
)
def test_tooth_numbers_are_those_of_iso_3950(names, numbers):
    assert tooth_numbers(names) == numbers


def test_a_mirror_exchanges_the_quadrants_of_a_jaw():
    permanent = [10 * quadrant + place for quadrant in (1, 2, 3, 4) for place in range(1, 9)]
    deciduous = [10 * quadrant + place for quadrant in (5, 6, 7, 8) for place in range(1, 6)]
    pairs = {1: 2, 2: 1, 3: 4, 4: 3, 5: 6, 6: 5, 7: 8, 8: 7}
    numbers = permanent + deciduous
    found = [numbers[label - 1] for label in mirrored([str(number) for number in numbers])]
    assert found == [10 * pairs[number // 10] + number % 10 for number in numbers]


def test_what_has_no_number_is_the_same_in_a_mirror():
    assert mirrored(()) == ()
    assert mirrored(("implant", "restoration", "caries 2")) == (1, 2, 3)
    assert mirrored(("implant", "Tooth 48", "tooth 1x", "Tooth 38", "75", "85")) == (
        1, 4, 3, 2, 6, 5
    )  # fmt: skip


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (("implant", "11", "12", "22"), "'21' was expected among the classes. Received: '11'"),
        (("tooth 11", "21"), "'tooth 21' was expected.*Received: 'tooth 11'"),
        (("0", "11", "21"), "ISO 3950 was expected. Received: '0'"),
        (("19", "29"), "Received: '19'"),
        (("56", "66"), "Received: '56'"),
    ],
)
def test_numbers_without_a_mirror_image_are_named(names, says):
    with pytest.raises(DentalzooError, match=says):
        mirrored(names)
