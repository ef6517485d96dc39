"""The verbs of the package, the flags of the command and the option dataclasses are one."""

import argparse
import dataclasses
import inspect
import typing
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import dentalzoo as dz
from dentalzoo import api, cli
from dentalzoo.bundle.inputs import as_input
from dentalzoo.contracts import Task, missing_parts
from dentalzoo.tasks.options import OPTIONS

COMMON = {
    "evaluate": {"bundle", "data", "split", "out"},
    "predict": {"bundle", "inputs", "out", "workers", "shards", "shard"},
    "compare": {"bundle", "other", "data", "split", "out"},
    "generate": {"bundle", "out"},
    "superimpose": {"bundle", "inputs", "out"},
    "augment_dataset": {"bundle", "data", "out"},
}
VERBS = [(task, verb) for task, kinds in OPTIONS.items() for verb in kinds]
COMMANDS = {verb: command for command, verb in cli.VERBS.items()}


def options_of(function, verb):
    """Name -> (default, annotation without the kind of sequence) of a function's options."""
    return {
        name: (parameter.default, plain(parameter.annotation))
        for name, parameter in inspect.signature(function).parameters.items()
        if name not in COMMON[verb]
    }


def plain(annotation):
    """An annotation in which `tuple[int, ...]` and `Sequence[int]` are the same."""
    text = str(annotation).replace("collections.abc.Sequence", "tuple")
    return text.replace(", ...]", "]").replace("<class '", "").replace("'>", "")


def declared(task, verb):
    return {
        field.name: (field.default, plain(field.type))
        for field in dataclasses.fields(OPTIONS[task][verb])
    }


def test_every_verb_is_public_and_known():
    assert {verb for _, verb in VERBS} == set(COMMON)
    for verb in COMMON:
        assert getattr(dz, verb) is getattr(api, verb)


@pytest.mark.parametrize(("task", "verb"), VERBS)
def test_signatures_are_those_of_the_dataclasses(task, verb):
    function = getattr(dz, verb)
    overloads = typing.get_overloads(function) or [function]
    assert declared(task, verb) in [options_of(one, verb) for one in overloads]


@pytest.mark.parametrize("verb", ["evaluate", "predict", "compare"])
def test_there_is_no_further_overload(verb):
    kinds = [declared(task, verb) for task in OPTIONS]
    assert all(options_of(one, verb) in kinds for one in typing.get_overloads(getattr(dz, verb)))


@pytest.mark.parametrize("verb", ["evaluate", "predict", "compare"])
def test_an_interactive_shell_completes_every_option(verb):
    names = set(inspect.signature(getattr(dz, verb)).parameters)
    assert names == COMMON[verb].union(*(declared(task, verb) for task in OPTIONS))


@pytest.mark.parametrize(("task", "verb"), VERBS)
def test_flags_are_those_of_the_dataclasses(task, verb):
    parser = cli.subparsers_of(cli.make_parser(task))[COMMANDS.get(verb, verb)]
    flags = {
        action.dest.removeprefix("option_"): action
        for action in parser._actions
        if action.dest.startswith("option_")
    }
    assert set(flags) == set(declared(task, verb))
    for name, action in flags.items():
        assert action.option_strings == [f"--{name.replace('_', '-')}"]
        assert action.default is argparse.SUPPRESS  # the dataclass has the default
        assert action.help
        default = declared(task, verb)[name][0]
        if default not in (None, False, ()):
            shown = " ".join(map(str, default)) if isinstance(default, tuple) else str(default)
            assert f"(default {shown})" in action.help


def help_of(capsys, *words):
    with pytest.raises(SystemExit) as stop:
        cli.main([*words, "--help"])
    assert stop.value.code == 0
    return capsys.readouterr().out


def test_help_groups_options_by_task(capsys):
    text = help_of(capsys, "predict")
    groups = [line for line in text.splitlines() if line.startswith("options for ")]
    assert "options for detection:" in groups and "options for reconstruction:" in groups
    assert text.index("options for detection:") < text.index("--nms-iou NMS_IOU  ")


def test_help_of_a_bundle_has_the_options_of_its_task(capsys, bundle):
    for name in ("panoramic_unet.panoramic_teeth_v2", str(bundle.path), str(bundle.path.parent)):
        text = help_of(capsys, "predict", name)
        assert "--threshold" in text and "--nms-iou" not in text and "--mesh" not in text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("predict panoramic_unet a.png --out o --treshold 1", "did you mean --threshold?"),
        ("predict panoramic_unet a.png --out o --nms-iou 1", "option for detection; the bundle is"),
        ("predict unknown a.png --out o --tooth x", "did you mean --teeth?"),
        ("train panoramic_unet --data d --out o --epoch 3", "did you mean --epochs?"),
        ("verify panoramic_unet again", "unexpected argument 'again'"),
        ("evaluate panoramic_unet --data d --threshold high", "invalid float value: 'high'"),
    ],
)
def test_a_wrong_flag_is_refused_in_one_line(capsys, words, message):
    with pytest.raises(SystemExit) as stop:
        cli.main(words.split())
    text = capsys.readouterr().err
    assert stop.value.code == 2
    assert message in text and text.count("\n") == 1


def test_a_flag_among_the_settings_and_a_run_in_its_data_are_refused(capsys, tmp_path):
    for words, message in (
        (
            f"train tooth_vae --data {tmp_path} --out o --set seed=1",
            "has a flag of its own, --seed",
        ),
        (f"train tooth_vae --data {tmp_path} --out {tmp_path}", "must be another folder than data"),
    ):
        status, text = cli.main(words.split()), capsys.readouterr().err
        assert status == 2 and message in text and text.count("\n") == 1
    assert not [*tmp_path.iterdir()]


def test_a_wrong_keyword_is_refused_in_one_line(bundle, tmp_path):
    with pytest.raises(dz.DentalzooError, match="Did you mean threshold.*Received: 'treshold'"):
        dz.predict(bundle, tmp_path, tmp_path / "out", treshold=0.5)
    with pytest.raises(dz.DentalzooError, match="option for detection.*Received: 'nms_iou'"):
        dz.predict(bundle, tmp_path, tmp_path / "out", nms_iou=0.5)
    with pytest.raises(dz.DentalzooError, match="threshold must be a number from 0 to 1.*: 2"):
        dz.predict(bundle, tmp_path, tmp_path / "out", threshold=2)
    with pytest.raises(dz.DentalzooError, match="generate needs a bundle for generation"):
        dz.generate(bundle, tmp_path / "out")


def test_pixels_in_the_place_of_paths_are_refused_in_one_line(bundle, tmp_path):
    pixels = np.zeros((8, 8), np.uint8)
    for inputs in (pixels, [pixels], Image.fromarray(pixels), None):
        with pytest.raises(dz.DentalzooError, match="inputs must be paths .*bundle.serve.*: "):
            dz.predict(bundle, inputs, tmp_path / "out")


@pytest.mark.parametrize("mode", ["P", "1", "LA", "CMYK", "YCbCr", "HSV"])
def test_only_grey_and_rgb_images_of_pillow_are_taken(mode):
    spec = {"shape": [None, None, None, None], "dtype": "uint8"}
    image = Image.fromarray(np.full((8, 8, 3), 90, np.uint8)).convert(
        "L" if mode == "LA" else "RGB"
    )
    with pytest.raises(dz.DentalzooError, match=f"must be grey or RGB.*mode {mode}$"):
        as_input("images", spec, image.convert(mode))
    assert as_input("images", spec, image)[0].shape[:3] == (1, 8, 8)
    with pytest.raises(dz.DentalzooError, match="images must not be empty"):
        as_input("images", spec, [])


def test_a_missing_part_is_named():
    class Half:
        def evaluate(self, bundle, data, *, split=None, out=None):
            pass

        def summary_metrics(self, report):
            pass

    assert missing_parts(Half(), Task) == [
        "evaluate: has no parameter 'options'",
        "predict: a function was expected. Received: None",
        "Evaluation: is missing",
        "Predictor: is missing",
    ]


def test_a_bundle_completes_its_signatures(bundle):
    assert {"serve", "serve_encoded"} <= set(dir(bundle))
    assert isinstance(bundle.path, Path)


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"shards": 2}, "shards and shard must be given together. Received: shards=2, shard=None"),
        ({"shard": 0, "workers": 2}, "shards and shard must be given together"),
        ({"out": "s3://bucket/out"}, "out must be a folder of a file system. Received: s3://"),
        ({"workers": 2, "overlap": True}, "predict for segmentation has.*Did you mean overlay"),
    ],
)
def test_what_a_run_over_an_archive_needs(options, line, tmp_path):
    options = {"out": tmp_path / "out", **options}
    with pytest.raises(dz.DentalzooError, match=line):
        dz.predict("panoramic_unet", tmp_path, **options)
    assert not (tmp_path / "out").exists()


def test_an_engine_is_not_combined_with_shards(capsys):
    command = ["predict", "panoramic_unet", "in", "--out", "out", "--runner", "DirectRunner"]
    assert cli.main([*command, "--workers", "2"]) == 2
    assert "--runner cannot be combined with --workers" in capsys.readouterr().err
