"""What every task shares."""

from pathlib import Path

import pytest

from dentalzoo.errors import DentalzooError
from dentalzoo.tasks.base import output_names, refuse_empty, report_header

# ---- names of results ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("images", "names"),
    [
        (["a.png", "b.jpg"], ["a", "b"]),
        (["a.png", "a.jpg", "b.png"], ["a.png", "a.jpg", "b"]),
        (["x/a.png", "y/a.jpg"], ["a.png", "a.jpg"]),
        (["x/a.png", "y/a.png", "y/a.jpg"], ["x_a.png", "y_a.png", "a.jpg"]),
        (["x/p/a.png", "y/p/a.png"], ["x_p_a.png", "y_p_a.png"]),
        (["A.png", "a.jpg"], ["A.png", "a.jpg"]),
        (["a.png", "a.jpg", "a.png.png"], ["data_a.png", "a.jpg", "a.png.png"]),
        (["a.png", "a_overlay.png"], ["a", "a_overlay"]),
    ],
)
def test_names_clash_with_nothing(images, names):
    assert output_names([Path("/data", image) for image in images]) == names


def test_names_clash_with_no_overlay():
    names = output_names([Path("a.png"), Path("a_overlay.png"), Path("b.png")], ["overlay"])
    written = [name + end for name in names for end in ("", "_overlay")]
    assert len(set(written)) == 6 and names[2] == "b"


def test_names_differ_even_where_every_folder_does_not_help():
    names = output_names([Path("/x_y/a.png"), Path("/x/y_a.png"), Path("/x/y/a.png")])
    assert len(set(names)) == 3 and not any("/" in name for name in names)


# ---- reports -------------------------------------------------------------------------------------


def test_a_report_names_the_folder_of_the_data_and_none_above_it(tmp_path):
    class Bundle:
        name = "a bundle"

    header = report_header(Bundle(), tmp_path / "patient" / "images", "val")
    assert header.pop("date")
    assert header == {"bundle": "a bundle", "data": "images", "split": "val"}


def test_an_evaluation_of_nothing_names_the_first_reason():
    with pytest.raises(DentalzooError, match="data: none of 3 jaws can be used.*a.png: damaged"):
        refuse_empty("data", 3, [("a.png", "damaged"), ("b.png", "no mask")], "jaws")
    with pytest.raises(DentalzooError, match="Received: nothing"):
        refuse_empty("data", 0, [])
