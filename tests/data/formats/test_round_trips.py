"""Every format that is written, from every other: equal after the round trip, or refused."""

import logging
import os
import shutil
import tempfile
from collections import Counter
from pathlib import Path

import pytest

from dentalzoo.data.conversion import find_objects
from dentalzoo.data.formats import FORMATS
from dentalzoo.data.formats.writing import losses, write_annotations
from dentalzoo.errors import DentalzooError
from tests.data.formats.generated_sets import differences, number_of, size_of
from tests.data.formats.varied_sets import generate_varied

WRITTEN = [form for form in FORMATS if form.WRITES]
NUMBERED = "DENTEX"
# Sets for each pair of formats: all of them take 5 minutes of a processor and more.
SETS = 500 if os.environ.get("DENTALZOO_ALL_SETS") else 50
PART = 25  # sets of one test, for several processors


def what_it_holds(form, samples):
    """Return the samples that a format holds together, none of them where none has an object."""
    held = [sample for sample in samples if not losses(form, [sample])]
    if losses(form, held):  # of the whole set: boxes beside polygons
        held = [sample for sample in held if all(box.outline for box in sample.boxes)]
    return held if any(sample.boxes for sample in held) else []


def _with_size(samples):
    sizes = size_of(samples)
    return [(box, sizes[number_of(sample)]) for sample in samples for box in sample.boxes]


def go_round(form, samples, classes, out):
    """Write and read back what a format holds of samples.

    Returns:
        The reading, None where the set is refused; and a line for each fault.
    """
    faults = []
    for sample in samples:
        if losses(form, [sample]):
            with pytest.raises(DentalzooError, match=f"^{form.NAME} cannot hold all of it"):
                write_annotations(form, [sample], out, classes)
    held = what_it_holds(form, samples)
    if not held:
        return None, faults
    try:
        write_annotations(form, held, out, classes, link=True)
    except DentalzooError as error:
        named = str(error).startswith("the name of a class must")
        return None, [] if named and not out.exists() else [f"not written: {error}"]
    try:
        read = find_objects(out)
    except DentalzooError as error:
        # Of a file with objects in the first two pixels alone readers do not trust the unit.
        splits = [[one for one in held if one.split == s] for s in {one.split for one in held}]
        ends = [
            max((max(b.bottom * h, b.right * w) for b, (h, w) in _with_size(part)), default=9)
            for part in splits
        ]
        unclear = " pixels" in str(error) and min(ends) < 2.001
        return None, faults if unclear else [*faults, f"not read: {error}"]
    faults += differences(held, read.samples)
    faults += [] if read.format == form.NAME else [f"read as {read.format}"]
    if "names" in form.WRITES and form.NAME != NUMBERED and read.classes != tuple(classes):
        faults.append(f"classes {tuple(classes)} became {read.classes}")
    return read, faults


def check_all_pairs(root, seed, trips):
    """Take the set of a seed from each format to each other; count the pairs in `trips`.

    A pair with the format of numbered teeth goes with teeth as classes, another with any names.
    """
    faults = []
    for numbered in (False, True):
        samples, classes = generate_varied(root / f"{numbered}", seed, numbered)
        for first in WRITTEN:
            if first.NAME == NUMBERED and not numbered:
                continue
            out = root / f"{numbered} {first.NAME}"
            read, wrong = go_round(first, samples, classes, out)
            faults += [f"{first.NAME}: {line}" for line in wrong]
            for second in WRITTEN if read else ():
                if (NUMBERED in (first.NAME, second.NAME)) == numbered:
                    out = root / f"{numbered} {first.NAME} {second.NAME}"
                    again, wrong = go_round(second, read.samples, read.classes, out)
                    faults += [f"{first.NAME} to {second.NAME}: {line}" for line in wrong]
                    trips[first.NAME, second.NAME] += again is not None
    return [f"seed {seed}: {fault}" for fault in faults]


@pytest.fixture
def memory():
    """A folder in memory where there is one: up to 40,000 small sets are written."""
    place = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=place) as folder:
        yield Path(folder)


@pytest.mark.parametrize("seed", [0, 2, 5])  # boxes, areas, all kinds
def test_one_set_goes_from_each_format_to_each_other(memory, seed):
    assert check_all_pairs(memory, seed, Counter()) == []


@pytest.mark.slow
@pytest.mark.parametrize("part", range(SETS // PART))
def test_many_sets_go_from_each_format_to_each_other(memory, caplog, part):
    caplog.set_level(logging.CRITICAL)  # a line for each of thousands of sets says nothing
    trips: Counter[tuple[str, str]] = Counter()
    for seed in range(PART * part, PART * (part + 1)):
        assert check_all_pairs(memory / f"{seed}", seed, trips) == []
        shutil.rmtree(memory / f"{seed}")
    assert len(+trips) > 0.8 * len(WRITTEN) ** 2, trips  # the others can hold nothing in common
    assert trips.total() > 0.3 * len(WRITTEN) ** 2 * PART  # the rest is refused by name
