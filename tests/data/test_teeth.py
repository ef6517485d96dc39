"""Tooth numbers: which class names have one, and their mirror images."""

import pytest

from dentalzoo.data.teeth import have_sides, mirrored, tooth_numbers
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
        (("11 - Central Incisor", "14 - 1st Premolar", "Molar_46"), (11, 14, 46)),
        (("11 caries", "12 caries"), None),
        (("11 - Canine 2", "12"), None),
        ((), None),
    ],
)
def test_tooth_numbers_are_those_of_iso_3950(names, numbers):
    assert tooth_numbers(names) == numbers


def test_a_mirror_exchanges_the_quadrants_of_a_jaw():
    permanent = [10 * quadrant + tooth for quadrant in (1, 2, 3, 4) for tooth in range(1, 9)]
    deciduous = [10 * quadrant + tooth for quadrant in (5, 6, 7, 8) for tooth in range(1, 6)]
    pairs = {1: 2, 2: 1, 3: 4, 4: 3, 5: 6, 6: 5, 7: 8, 8: 7}
    numbers = permanent + deciduous
    images = [numbers[label - 1] for label in mirrored([str(number) for number in numbers])]
    assert images == [10 * pairs[number // 10] + number % 10 for number in numbers]


def test_classes_without_a_number_do_not_change():
    assert mirrored(()) == ()
    assert mirrored(("implant", "restoration", "caries 2")) == (1, 2, 3)
    assert mirrored(("implant", "Tooth 48", "tooth 1x", "Tooth 38", "75", "85")) == (
        1, 4, 3, 2, 6, 5
    )  # fmt: skip


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("implant", "11", "12", "22"), "'21' must be among the classes.*Received: only '11'"),
        (("tooth 11", "implant"), "'tooth 21' must be among.*Received: only 'tooth 11'"),
        (("11 - Canine", "12 - Canine"), "'21 - Canine' must be among.*only '11 - Canine'"),
        (("left condyle", "Right sinus"), "'right condyle' must be among.*only 'left condyle'"),
        (("caries 14", "caries"), "'caries 24' must be among"),
        (("0", "11", "21"), "must be of ISO 3950. Received: '0'"),
        (("19", "29"), "Received: '19'"),
        (("56", "66"), "Received: '56'"),
    ],
)
def test_numbers_without_a_mirror_image_are_named(names, message):
    with pytest.raises(DentalzooError, match=message):
        mirrored(names)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("tooth 11", "21"),
        ("11 - Central Incisor", "21 - Central Incisor"),
        ("16 - First Molar", "26 - first molar"),
        ("caries 14", "caries 24"),
        ("11 upper right incisor", "21 upper left incisor"),
        ("left condyle", "right condyle"),
        ("Left_Canal", "Right_Canal"),
        ("CANAL LEFT", "CANAL RIGHT"),
        ("Kiefergelenk links", "Kiefergelenk rechts"),
        ("UR1", "UL1"),
        ("lr 8", "ll 8"),
        ("quadrant 1", "quadrant 2"),
        ("Q3", "Q4"),
    ],
)
def test_names_of_sides_change_places(one, other):
    assert mirrored((one, "implant", other)) == (3, 2, 1)
    assert have_sides((one, "implant", other)) and have_sides((one,))


def test_other_names_have_no_side():
    names = (
        *("bright area", "Impacted Tooth", "Crown - Bridge", "ulcer", "curl", "All", "stage 1"),
        *("35 %", "12 mm", "1.12", "caries 2", "leftover", "FDI", "quadrant"),
    )
    assert mirrored(names) == tuple(range(1, 1 + len(names))) and not have_sides(names)
    assert not have_sides(())
