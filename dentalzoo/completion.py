"""Examples at the end of each command's `--help`, and completion of commands in a shell."""

import argparse
import sys
from collections.abc import Mapping
from typing import Any

from dentalzoo.errors import DentalzooError, require
from dentalzoo.registry import ZOO

# Arguments and flags that take files or folders.
_FILES = (
    *("bundle", "cache", "data", "encoder_weights", "figures", "fix", "folders", "images", "init"),
    *("inputs", "key", "option_ground_truth", "option_instances", "other", "out", "report"),
    "shape_model",
)
SHELLS = ("bash", "zsh", "tcsh")
EXAMPLES = {
    "list": ("dentalzoo list --task segmentation",),
    "info": (
        "dentalzoo info panoramic_unet",
        "dentalzoo info panoramic_unet.panoramic_teeth_v2",
    ),
    "doctor": ("dentalzoo doctor",),
    "train": (
        "dentalzoo train panoramic_unet --variant light --data data/opg --out runs/opg",
        "dentalzoo train panoramic_unet --variant light --data data/opg --out runs/opg --resume",
    ),
    "evaluate": ("dentalzoo evaluate runs/opg --data data/opg --split test --out out/evaluation",),
    "compare": ("dentalzoo compare runs/a runs/b --data data/boxes --split test --out out/ab",),
    "predict": (
        "dentalzoo predict panoramic_unet.panoramic_teeth_v2 images/ --out out/masks --overlay",
        "dentalzoo predict panoramic_detection.dentex_fdi_v2 a.png --out out/teeth --format cvat",
    ),
    "chart": (
        "dentalzoo chart radiograph.png images/ --out out/charts",
        "dentalzoo chart --compare 2020_chart.json 2026_chart.json --out out/changes",
    ),
    "serve": (
        "dentalzoo serve --port 8000",
        "dentalzoo serve panoramic_unet.panoramic_teeth_v2 --page out/page",
    ),
    "views": ("dentalzoo views jaw.stl --out data/views",),
    "generate": ("dentalzoo generate tooth_vae --out out/teeth --count 64 --seed 7",),
    "superimpose": ("dentalzoo superimpose defect_overlay_vae a.png b.png --out out/both",),
    "augment": ("dentalzoo augment runs/defects --data data/defects --out data/more --count 500",),
    "export": (
        "dentalzoo export runs/opg --out bundles/opg --tag opg_v1 --weights-dtype float16",
        "dentalzoo export panoramic_unet --out onnx --to onnx",
    ),
    "verify": ("dentalzoo verify bundles/opg",),
    "push": ("dentalzoo push bundles/opg hf://user/opg --private",),
    "check": (
        "dentalzoo check data/opg --report out/check",
        "dentalzoo check data/boxes --boxes",
    ),
    "agree": ("dentalzoo agree reader1 reader2 out/masks --out out/agreement",),
    "convert": ("dentalzoo convert data/opg --to coco --out data/coco",),
    "split": ("dentalzoo split data/opg --val 0.1 --test 0.1",),
    "tfrecord": ("dentalzoo tfrecord data/boxes records --classes caries crown",),
    "shape-model": ("dentalzoo shape-model data/jaws --out shapes.npz",),
    "synthetic": ("dentalzoo synthetic --kind radiographs --count 10 --out data/synthetic",),
}


def epilog(command: str) -> str:
    """Return the end of the `--help` of a command."""
    return "\n".join(["examples:", *(f"  {line}" for line in EXAMPLES[command])])


class PrintCompletion(argparse.Action):
    """Print the script that completes commands in a shell, and exit.

    Names of models are completed where they are taken, and files.
    """

    def __call__(self, parser: argparse.ArgumentParser, *arguments: Any) -> None:
        try:
            shtab = require("shtab", "completion")
        except DentalzooError as error:
            parser.exit(2, f"{parser.prog}: {error}\n")
        _complete_values(parser, shtab.FILE)
        _, shell, _ = arguments
        sys.stdout.write(shtab.complete(parser, shell) + "\n")
        parser.exit()


def _complete_values(parser: argparse.ArgumentParser, file: Mapping[str, str]) -> None:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for subparser in action.choices.values():
                _complete_values(subparser, file)
        elif action.dest in ("name", "model"):
            action.choices = tuple(ZOO)
        elif action.dest in _FILES:
            action.complete = file  # type: ignore[attr-defined]  # read by shtab
