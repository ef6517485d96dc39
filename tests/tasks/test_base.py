"""What every task shares, and that each one fulfils the contract."""

import importlib
import inspect
import json
from pathlib import Path

import numpy as np
import pytest

from dentalzoo.contracts import Task, missing_parts
from dentalzoo.data.io.images import write_png
from dentalzoo.errors import BadFile, DentalzooError
from dentalzoo.tasks import TASKS
from dentalzoo.tasks.base import (
    named_images,
    names_of_results,
    output_names,
    refuse_empty,
    report_header,
    skipped_files,
    without_folders,
)
from dentalzoo.tasks.options import OPTIONS

# ---- the contract --------------------------------------------------------------------------------


@pytest.mark.parametrize("task", TASKS)
def test_a_task_fulfils_the_contract(task):
    assert missing_parts(importlib.import_module(TASKS[task]), Task) == []


@pytest.mark.parametrize(
    ("task", "verb"), [(task, verb) for task, verbs in OPTIONS.items() for verb in verbs]
)
def test_a_verb_takes_its_options(task, verb):
    function = getattr(importlib.import_module(TASKS[task]), verb)
    parameter = inspect.signature(function).parameters["options"]
    assert parameter.default == OPTIONS[task][verb]()
    assert parameter.kind is parameter.KEYWORD_ONLY


def test_every_task_has_options():
    assert OPTIONS.keys() == TASKS.keys()


# ---- inputs --------------------------------------------------------------------------------------


def test_an_image_that_is_given_twice_is_taken_once(tmp_path):
    for name in ("a.png", "b.png"):
        write_png(tmp_path / "in" / name, np.zeros((2, 2), np.uint8))
    images = named_images([tmp_path / "in", tmp_path / "in" / "a.png"], tmp_path / "out")
    assert images == {tmp_path / "in" / "a.png": "a", tmp_path / "in" / "b.png": "b"}
    assert (tmp_path / "out").is_dir()


def test_inputs_must_be_images(tmp_path):
    with pytest.raises(DentalzooError, match="inputs must be images or folders of images"):
        named_images([], tmp_path / "out")
    assert not (tmp_path / "out").exists()


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


def test_reports_hold_no_folder_of_what_was_skipped(tmp_path):
    image, mask = tmp_path / "patient" / "a.jpg", tmp_path / "masks" / "a.png"
    errors = {
        "damaged": BadFile(image, "damaged"),
        "a.png: not like a.png": BadFile(mask, f"not like {mask}"),
        "a.jpg has no place": DentalzooError(f"{image} has no place"),
    }
    for reason, error in errors.items():
        made = without_folders(error, image)
        assert (made.path, made.reason) == (image, reason)
    failed = [(str(image), "damaged")]
    assert json.loads(json.dumps(skipped_files(failed))) == [["a.jpg", "damaged"]]


def test_the_key_of_the_current_folder_lies_beside_it(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    names_of_results([tmp_path / "a.png"], Path("."), anonymize=True)
    assert (tmp_path / "here_key.csv").is_file()
