"""Images by the paths and addresses that annotation tools have for them."""

from pathlib import Path

import pytest

from dentalzoo.data.formats.references import ImageReferences

ROOT = Path("/data")
IMAGES = [
    ROOT / name
    for name in (
        "p1/a.png",
        "p2/a.png",
        "p2/b 1 (c).png",
        "x%20y.png",
        "x y.png",
        "ä+b.png",
        "q?.png",
    )
]
REFERENCES = ImageReferences(IMAGES)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("a.png", ["p1/a.png", "p2/a.png"]),
        ("p2/a.png", ["p2/a.png"]),
        ("D:\\scans\\p1\\a.png", ["p1/a.png"]),
        ("../p1/./a.png", ["p1/a.png"]),
        ("b_1_c.PNG", ["p2/b 1 (c).png"]),
        ("x%20y.png", ["x%20y.png"]),  # as written, before it is decoded
        ("s3://bucket/x y.png", ["x y.png"]),
        ("/data/local-files/?d=some%2F%C3%A4%2Bb.png", ["ä+b.png"]),
        ("https://host/p2/a.png?token=1#top", ["p2/a.png"]),
        ("q?.png", ["q?.png"]),
        ("0a1b2c3d-a.png", []),
        ("", []),
        ("/", []),
        ("..", []),
        ("gone.png", []),
    ],
)
def test_images_are_found_by_what_is_written(written, expected):
    found = REFERENCES.find(written, ROOT / "notes" / "x.json")
    assert found == [ROOT / name for name in expected]


def test_the_nearest_image_of_one_name_counts():
    assert REFERENCES.find("a.png", ROOT / "p2" / "x.json") == [ROOT / "p2" / "a.png"]
    assert REFERENCES.of_stem("a", ROOT / "p1" / "a.json") == [ROOT / "p1" / "a.png"]


def test_what_an_upload_puts_before_a_name_may_be_left_out():
    source = ROOT / "p1" / "x.json"
    assert REFERENCES.find("u/0a1b2c3d-a.png", source, uploaded=True) == [ROOT / "p1" / "a.png"]
    assert REFERENCES.find("u/0a1b2c3-a.png", source, uploaded=True) == []
