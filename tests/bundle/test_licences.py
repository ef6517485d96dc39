"""Licences follow the weights."""

import pytest

from dentalzoo.bundle.licences import followed, hub_identifier, is_free, restrictions, slug
from dentalzoo.errors import DentalzooError

NC, SA = "CC-BY-NC-3.0", "CC BY-SA 4.0"


@pytest.mark.parametrize(
    ("licence", "expected"),
    [
        ("CC-BY-NC-3.0", {"non-commercial"}),
        ("cc by-nc-sa 4.0", {"non-commercial", "share-alike"}),
        ("CC-BY-NC-ND-4.0", {"non-commercial", "no derivatives"}),
        ("for research only", {"non-commercial"}),
        ("Noncommercial use", {"non-commercial"}),
        ("AGPL-3.0-only", {"share-alike"}),
        ("LGPL 2.1", {"share-alike"}),
        ("CC-BY-4.0", set()),
        ("Apache-2.0", set()),
        ("ncsa", set()),
        ("a licence of ours", set()),
    ],
)
def test_restrictions(licence, expected):
    assert restrictions(licence) == expected


@pytest.mark.parametrize(
    "licence",
    ["MIT", "Apache 2.0", "CC-BY-4.0", "CC BY 3.0", "CC0-1.0", "BSD-3-Clause", "the MIT License",
     "Apache-2.0 (synthetic jaws), MIT (shape model)", "MIT or Apache-2.0", "Public Domain"],
)  # fmt: skip
def test_free_licences(licence):
    assert is_free(licence)
    assert followed(licence, None) is None
    assert followed(licence, "GPL-3.0") == "GPL-3.0"


@pytest.mark.parametrize(
    "licence",
    [NC, SA, "MIT, CC-BY-NC-4.0", "ask us", "GPL-3.0", "CC-BY-ND-4.0", "mitochondria", "cc-by-xx",
     "MIT with the Commons Clause", "BSD-4-Clause-Uc", "not recorded", "CC"],
)  # fmt: skip
def test_other_licences_stay(licence):
    assert not is_free(licence)
    assert followed(licence, None) == licence
    assert followed(licence, licence) == licence
    for own in ("MIT", "Apache-2.0", "CC-BY-4.0", "ours"):
        with pytest.raises(DentalzooError, match="--licence-note TEXT. Received: ") as caught:
            followed(licence, own)
        assert "\n" not in str(caught.value)
    assert followed(licence, "MIT", "the authors agreed, 2026-11-29") == "MIT"


@pytest.mark.parametrize(
    ("origin", "own"),
    [(NC, "CC-BY-NC-4.0"), (NC, "CC BY-NC-SA 4.0"), (NC, "cc-by-nc-3.0"), (SA, "CC-BY-SA-3.0"),
     (SA, "cc_by-sa 4.0"), ("GPL-2.0-or-later", "GPL-3.0-only"), (None, "MIT"), ("", "MIT")],
)  # fmt: skip
def test_what_is_no_freer(origin, own):
    assert followed(origin, own) == own


@pytest.mark.parametrize(
    ("origin", "own"),
    [(SA, "CC-BY-4.0"), (SA, "GPL-3.0"), (SA, NC), (NC, SA), ("CC-BY-NC-SA-4.0", NC)],
)
def test_what_is_freer_or_another(origin, own):
    with pytest.raises(DentalzooError, match="the licence must be that of the weights"):
        followed(origin, own)


def test_the_spelling_of_the_hub():
    assert hub_identifier("CC BY-NC 3.0") == "cc-by-nc-3.0"
    assert hub_identifier("Apache-2.0") == "apache-2.0"
    assert hub_identifier("CC-BY-NC-7.0") is None
    assert slug("Ours, v1.2 (draft)\n") == "ours-v1.2-draft" and slug("???") == "unnamed"
