"""Every format that is written, from every other: equal after the round trip, or refused."""

import itertools

import pytest

from dentalzoo.data.boxes import BoxDataset
from dentalzoo.data.conversion import find_objects
from dentalzoo.data.formats import FORMATS
from dentalzoo.data.formats.writing import losses, write_annotations
from dentalzoo.errors import DentalzooError
from tests.data.formats.generated_sets import CLASSES, TEETH, differences, generate

WRITTEN = [form for form in FORMATS if form.WRITES]
NUMBERED = "DENTEX"
SETS, IMAGES = 10, 50  # 500 images for each pair of formats


def write_what_it_holds(form, samples, classes, out):
    """Write the samples that a format holds, and check that the others are refused by name."""
    held = [sample for sample in samples if not losses(form, [sample])]
    refused = [sample for sample in samples if losses(form, [sample])]
    for sample in refused[:1]:
        with pytest.raises(DentalzooError, match=f"^{form.NAME} cannot hold all of it"):
            write_annotations(form, [sample], out, classes)
        assert not out.exists()
    if losses(form, held):  # of the whole set: boxes beside polygons
        held = [sample for sample in held if all(box.outline for box in sample.boxes)]
    if not any(sample.boxes for sample in held):
        return []
    write_annotations(form, held, out, classes, link=True)
    return held


def read_back(form, held, classes, out):
    read = find_objects(out)
    assert differences(held, read.samples) == [], form.NAME
    assert read.format == form.NAME
    if "names" in form.WRITES and form.NAME != NUMBERED:  # which has all teeth, always
        assert read.classes == tuple(classes)
    return read


@pytest.fixture(scope="module")
def readings(tmp_path_factory):
    """What each format makes of the same samples: (seed, images) -> name -> reading."""
    known = {}

    def of(form, seed, count, names):
        key = (form.NAME, seed, count, names)
        if key not in known:
            root = tmp_path_factory.mktemp("first")
            kinds = ("box",) if seed % 2 and "boxes" in form.WRITES else ("polygon", "runs")
            kinds = kinds if seed % 3 else ("box", "polygon", "slanted", "runs", "parts")
            samples, classes = generate(root / "in", seed, count, kinds, names)
            held = write_what_it_holds(form, samples, classes, root / "out")
            known[key] = read_back(form, held, classes, root / "out") if held else None
        return known[key]

    return of


def check_pair(readings, tmp_path, first, second, seed, count):
    names = TEETH if NUMBERED in (first.NAME, second.NAME) else CLASSES
    read: BoxDataset | None = readings(first, seed, count, names)
    if read is None:  # the first format holds none of the generated samples
        return
    held = write_what_it_holds(second, read.samples, read.classes, tmp_path / f"{seed}")
    if held:
        read_back(second, held, read.classes, tmp_path / f"{seed}")


PAIRS = [
    pytest.param(*pair, id="-".join(form.NAME for form in pair))
    for pair in itertools.product(WRITTEN, repeat=2)
]


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_one_set_goes_from_each_format_to_each_other(readings, tmp_path, first, second):
    check_pair(readings, tmp_path, first, second, seed=3, count=4)


@pytest.mark.slow
@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_many_sets_go_from_each_format_to_each_other(readings, tmp_path, first, second):
    for seed in range(100, 100 + SETS):
        check_pair(readings, tmp_path, first, second, seed, IMAGES)
