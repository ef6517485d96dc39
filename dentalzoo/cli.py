"""The `dentalzoo` command: one sub-command per public function, see `commands`."""

import argparse
import logging
import os
import signal
import sys
import threading
from collections.abc import Sequence
from contextlib import contextmanager

import dentalzoo as dz
from dentalzoo import commands
from dentalzoo.bundle.storage import STORAGE
from dentalzoo.errors import DentalzooError
from dentalzoo.training.distribute import STRATEGIES


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command.

    Returns:
        The exit status: 0; 1 where something is wrong with some images; 2 for a user's error,
        told in one line; 130 after Ctrl-C or a request to end (SIGTERM).
    """
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr, force=True)
    logging.getLogger("dentalzoo").setLevel(logging.INFO)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow's own chatter
    try:
        with _each_line_once(), _ended_as_by_ctrl_c():
            return options.run(options) or 0
    except BrokenPipeError:  # the reader, `head` say, has left
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except (DentalzooError, OSError) as error:
        print("dentalzoo:", *str(error).splitlines(), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("dentalzoo: interrupted", file=sys.stderr)
        return 130


@contextmanager
def _each_line_once():
    """What is wrong with a file is said once: a training reads its data to learn and to measure."""
    log, seen = logging.getLogger("dentalzoo"), set()

    def is_new(record: logging.LogRecord) -> bool:
        line = record.getMessage()
        return line not in seen and not seen.add(line)

    log.addFilter(is_new)
    try:
        yield
    finally:
        log.removeFilter(is_new)


@contextmanager
def _ended_as_by_ctrl_c():
    """SIGTERM, which schedulers and containers send, ends the command as Ctrl-C does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class _Parser(argparse.ArgumentParser):
    """Tells a mistake in one line."""

    def error(self, message: str):
        self.exit(2, f"{self.prog}: {message}; `{self.prog} --help` explains\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="dentalzoo", description="Published models for dental imaging.")
    parser.add_argument("--version", action="version", version=dz.__version__)
    words = parser.add_subparsers(metavar="COMMAND", required=True)

    def command(name, text, *, as_json=False):
        made = words.add_parser(name, help=text, description=text)
        made.set_defaults(run=getattr(commands, f"do_{name}"))
        if as_json:
            made.add_argument("--json", action="store_true", help="one JSON object on stdout")
        return made

    add = command("list", "the models of the zoo", as_json=True)
    add.add_argument("--task", help="only those of this task")
    add.add_argument("--markdown", action="store_true", help="the table of the README")

    add = command("info", "what is known about a model", as_json=True)
    add.add_argument("name")

    add = command("train", "train a model and write a bundle")
    add.add_argument("name")
    add.add_argument("--data", required=True, help="folder of annotated images")
    add.add_argument("--out", required=True, help="folder of the run")
    add.add_argument("--variant", help="see `dentalzoo info NAME`")
    add.add_argument("--epochs")
    add.add_argument("--batch-size")
    add.add_argument("--encoder-weights", help="imagenet, a file, or none")
    add.add_argument(
        "--set", nargs="+", action="extend", default=[], metavar="KEY=VALUE", help="other settings"
    )
    add.add_argument("--cache", help="keep the decoded images in this folder, not in memory")
    add.add_argument("--seed", type=int, default=0)
    add.add_argument("--strategy", choices=STRATEGIES, default="default")
    add.add_argument("--mixed-precision", action="store_true", help="compute in bfloat16")
    add.add_argument("--init", metavar="BUNDLE", help="start from a bundle of the same network")
    add.add_argument("--resume", action="store_true", help="go on with the run in --out")
    add.add_argument("--storage", choices=STORAGE, default="float32")

    add = command("evaluate", "measure a bundle on annotated data", as_json=True)
    add.add_argument("bundle")
    add.add_argument("--data", required=True)
    add.add_argument("--split", help="train, val or test; all images where not given")
    add.add_argument("--out", help="folder for evaluation.json and evaluation.png")
    add.add_argument("--threshold", type=float, help="of binary masks")
    add.add_argument("--count", type=int, help="how many samples or overlays are judged")
    add.add_argument("--seed", type=int, help="of samples, overlays and points")
    add.add_argument("--samples", type=int, help="of the importance-weighted bound")
    add.add_argument(
        "--crops", choices=("boundaries", "boxes", "masks"), help="cut to single teeth or defects"
    )
    _add_box_options(add)
    add.add_argument(
        "--places", type=int, nargs="+", help="which views of jaws are given, 0 to 9; all"
    )
    add.add_argument(
        "--sweep", action="store_true", default=None, help="try other suppression and thresholds"
    )
    add.add_argument("--record", action="store_true", help="write the scores into the bundle too")

    add = command("compare", "measure two bundles on the same data", as_json=True)
    add.add_argument("bundle")
    add.add_argument("other")
    add.add_argument("--data", required=True)
    add.add_argument("--split", help="train, val or test; all images where not given")
    add.add_argument("--out", required=True, help="folder for comparison.json and the charts")
    add.add_argument("--score-threshold", type=float, help="of both, from which on boxes count")
    add.add_argument("--seed", type=int, help="of the interval")

    add = command("predict", "apply a bundle to images, or to views of jaws")
    add.add_argument("bundle")
    add.add_argument("inputs", nargs="+", metavar="FILE_OR_DIR")
    add.add_argument("--out", required=True)
    add.add_argument(
        "--overlay",
        action="store_true",
        default=None,
        help="also the image with the result on it",
    )
    add.add_argument("--threshold", type=float)
    _add_box_options(add)
    add.add_argument(
        "--vott", type=int, nargs="+", choices=(1, 2), help="also a project of VoTT 1 or 2"
    )
    add.add_argument(
        "--mesh", nargs="+", choices=("ply", "stl", "obj"), help="formats of jaws beside PLY (stl)"
    )
    add.add_argument("--truth", help="true jaws of folders of views: a mesh, or a folder of them")

    add = command("views", "draw upper jaws as ten cameras see them")
    add.add_argument("inputs", nargs="+", metavar="MESH", help="OBJ, PLY, STL, or folders of them")
    add.add_argument("--out", required=True)
    add.add_argument("--size", type=int, default=224, help="height and width in pixels")

    add = command("generate", "write new images that a bundle draws")
    add.add_argument("bundle")
    add.add_argument("--out", required=True)
    add.add_argument("--count", type=int)
    add.add_argument("--seed", type=int)

    add = command("overlay", "put the defects of several images onto one")
    add.add_argument("bundle")
    add.add_argument("inputs", nargs="+", metavar="FILE")
    add.add_argument("--out", required=True)
    add.add_argument("--weights", type=float, nargs="+", help="a number for each image")

    add = command("enlarge", "make a data set of overlays of a data set's images")
    add.add_argument("bundle")
    add.add_argument("--data", required=True, help="folder of images with masks")
    add.add_argument("--out", required=True)
    add.add_argument("--count", type=int, help="how many overlays")
    add.add_argument("--split", help="whose images are combined")
    add.add_argument("--sizes", type=int, nargs="+", help="how many images make one (2 3)")
    add.add_argument("--keep", choices=("successful", "all"))
    add.add_argument("--noise", type=float, help="on the latent vectors, of sums and means alone")
    add.add_argument("--seed", type=int)

    add = command("export", "write a run or a bundle as a bundle, anew")
    add.add_argument("bundle")
    add.add_argument("--out", required=True)
    add.add_argument("--tag", help="<training data>_v<N>")
    add.add_argument("--storage", choices=STORAGE, default="float32")
    add.add_argument(
        "--about-data",
        nargs="+",
        action="extend",
        default=[],
        metavar="KEY=VALUE",
        help="what the metadata say of the training data: name, licence",
    )
    add.add_argument("--images", nargs="+", default=[], help="sheets that the card shows")

    add = command("verify", "compare a bundle's files with their SHA-256", as_json=True)
    add.add_argument("bundle")

    add = command("check", "read annotated data and say what is wrong", as_json=True)
    add.add_argument("data")
    add.add_argument("--split")
    add.add_argument("--num-classes", type=int, default=1, help="of the masks")
    add.add_argument(
        "--images", action="store_true", help="images with or without masks, for autoencoders"
    )
    add.add_argument(
        "--boxes",
        action="store_true",
        help="images with boxes: YOLO, COCO, PASCAL VOC, VoTT, TFRecord",
    )
    add.add_argument("--meshes", action="store_true", help="upper jaws: OBJ, PLY, STL")
    add.add_argument(
        "--crops", choices=("boundaries", "boxes", "masks"), help="the same, cut to single teeth"
    )

    add = command("records", "write images with boxes as TFRecord files")
    add.add_argument("data", help="folder of images with boxes")
    add.add_argument("out", help="folder of the records; a part of them is gone on with")
    add.add_argument("--classes", nargs="+", help="only these, numbered from 1 in this order")
    add.add_argument("--clahe", action="store_true", help="grey, with the contrast equalised")
    add.add_argument("--skip-empty", action="store_true", help="leave out images without boxes")
    add.add_argument("--shards", type=int, default=8, help="files of each split")
    add.add_argument("--quality", type=int, default=95, help="of JPEG, where encoded anew")

    add = command("morphable", "fit means and modes of shape to jaws of one topology", as_json=True)
    add.add_argument("data", help="folder of upper jaws; those with the same faces are a family")
    add.add_argument("--out", required=True, help="the .npz, for `train --set morphable_model=`")
    add.add_argument("--components", type=int, default=64, help="modes of each family")
    add.add_argument("--split", default="train", help="whose jaws")

    add = command("phantoms", "draw images or jaws with exact labels, for trials and tests")
    add.add_argument("--out", required=True)
    kinds = ("radiographs", "teeth", "defects", "jaws", "crowns")
    add.add_argument("--kind", choices=kinds, default="radiographs")
    add.add_argument("--count", type=int, default=20)
    add.add_argument("--seed", type=int, default=0)
    add.add_argument(
        "--size",
        type=int,
        nargs="+",
        help="height and width of radiographs (512 1024), a side (64)",
    )
    add.add_argument("--shape-model", help=".npz of real crowns, for crowns")
    return parser


def _add_box_options(add) -> None:
    add.add_argument("--score-threshold", type=float, help="from which on boxes count")
    add.add_argument("--nms-iou", type=float, help="boxes that overlap by more are one")
    add.add_argument("--max-per-class", type=int, help="boxes of a class in an image")
    add.add_argument(
        "--teeth",
        choices=("single", "ordered"),
        help="one box for each tooth number",
    )
