"""The `dentalzoo` command: one sub-command per public function, see `commands`.

The flags of a task come from its option dataclasses in `dentalzoo.tasks.options`. `--help` after a
verb groups them by task; `--help` after a verb and a bundle shows those of the bundle's task.
"""

import argparse
import difflib
import io
import logging
import os
import re
import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import fields
from typing import Any, NoReturn

import dentalzoo as dz
from dentalzoo import commands, completion, engines, limits
from dentalzoo.bundle import runtimes, task_on_disk
from dentalzoo.bundle.flags import add_export_flags, add_weights_dtype
from dentalzoo.charting.flags import add_chart_flags
from dentalzoo.data.io.file_warnings import forget_files
from dentalzoo.environment import light_start, variable
from dentalzoo.errors import DentalzooError
from dentalzoo.flags import add_task_options
from dentalzoo.serving.flags import add_serve_flags
from dentalzoo.tasks.options import CROPS, OPTIONS
from dentalzoo.training.flags import add_flags

# Sub-commands whose flags are the options of a task's verb, where the name differs from the verb.
VERBS = {"augment": "augment_dataset"}
_AXES_HELP = "axes of meshes that become x, y and z, such as -x,-z,-y; auto: detect them"
_SPLIT_HELP = "train, val or test (default: all samples)"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Returns:
        The exit status: 0; 1 where some inputs failed or are invalid; 2 for a user's error, which
        is printed in one line; 130 after Ctrl-C or SIGTERM.
    """
    for stream in (sys.stdout, sys.stderr):  # names of files may not fit into the encoding
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")
    own_process = arguments is None
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    options = parse(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr, force=True)
    logging.getLogger("dentalzoo").setLevel(logging.INFO)
    warnings.filterwarnings("ignore", module=r"PIL\.")  # of damaged tags in usable images
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow's own log
    try:
        with (
            _each_line_once(),
            _sigterm_as_ctrl_c(),
            variable("DENTALZOO_OFFLINE", "1" if options.offline else None),
            variable(runtimes.VARIABLE, getattr(options, "runtime", None)),
            limits.of_command(options),
            light_start() if own_process else nullcontext(),
        ):
            return options.run(options) or 0
    except BrokenPipeError:  # the reader, such as `head`, has ended
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except (DentalzooError, OSError) as error:
        print("dentalzoo:", *str(error).splitlines(), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("dentalzoo: interrupted", file=sys.stderr)
        return 130


@contextmanager
def _each_line_once() -> Iterator[None]:
    """Log each line once: a training reads its data to learn and again to evaluate."""
    log, seen = logging.getLogger("dentalzoo"), set()

    def is_new(record: logging.LogRecord) -> bool:
        line = record.getMessage()
        if line in seen:
            return False
        seen.add(line)
        return True

    log.addFilter(is_new)
    forget_files()
    try:
        yield
    finally:
        log.removeFilter(is_new)


@contextmanager
def _sigterm_as_ctrl_c() -> Iterator[None]:
    """Let SIGTERM, which schedulers and containers send, end the command as Ctrl-C does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


# ---- parsing -------------------------------------------------------------------------------------


class Parser(argparse.ArgumentParser):
    """A parser that prints an error in one line and takes no abbreviated flags."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"allow_abbrev": False, **kwargs})
        self._negative_number_matcher = re.compile(r"-\d+$|-\d*\.\d+$|-[xyz],")  # --axes -x,-z,-y

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}; `{self.prog} --help` explains\n")


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Parse a command line; exit with status 2 and one line where it is wrong.

    Returns:
        The values by name; `given` holds the task options that were given, by name.
    """
    command = arguments[0] if arguments else ""
    task = _task_named(arguments) if VERBS.get(command, command) in _verbs() else None
    parser = make_parser(task)
    options, unknown = parser.parse_known_args(arguments)
    if unknown:
        subparser = subparsers_of(parser)[command]
        subparser.error(_unknown(unknown[0], command, task, subparser))
    options.given = {
        key.removeprefix("option_"): tuple(value) if isinstance(value, list) else value
        for key, value in vars(options).items()
        if key.startswith("option_")
    }
    return options


def _verbs() -> set[str]:
    return {verb for kinds in OPTIONS.values() for verb in kinds}


def _task_named(arguments: Sequence[str]) -> str | None:
    """Return the task of the bundle that is the first argument after the verb, if it is known."""
    bundle = next((word for word in arguments[1:] if not word.startswith("-")), None)
    return None if bundle is None else task_on_disk(bundle)


def _unknown(word: str, command: str, task: str | None, subparser: Parser) -> str:
    """Describe a flag or an argument that the sub-command does not have."""
    flag = word.partition("=")[0]
    if not flag.startswith("-"):
        return f"unexpected argument {word!r}"
    verb = VERBS.get(command, command)
    name = flag.lstrip("-").replace("-", "_")
    others = [
        other
        for other, kinds in OPTIONS.items()
        if verb in kinds and name in {field.name for field in fields(kinds[verb])}
    ]
    if task and others:
        return f"{flag} is an option for {', '.join(others)}; the bundle is for {task}"
    flags = [flag_ for action in subparser._actions for flag_ in action.option_strings]
    close = difflib.get_close_matches(flag, flags, n=1)
    return f"unknown option {flag}" + (f"; did you mean {close[0]}?" if close else "")


def subparsers_of(parser: argparse.ArgumentParser) -> dict[str, Parser]:
    """Return the parser of each sub-command by its name."""
    action = next(a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
    return dict(action.choices)


def make_parser(task: str | None = None) -> Parser:
    """Return the parser of the command.

    Args:
        task: show and accept the options of this task alone; None for those of all tasks.
    """
    parser = Parser(prog="dentalzoo", description="Published models for dental imaging.")
    parser.add_argument("--version", action="version", version=dz.__version__)
    parser.add_argument(
        "--print-completion",
        action=completion.PrintCompletion,
        choices=completion.SHELLS,
        help="print the script that completes commands in a shell",
    )
    subparsers = parser.add_subparsers(metavar="COMMAND", dest="command", required=True)

    def command(name: str, text: str, *, as_json: bool = False) -> Parser:
        made = subparsers.add_parser(
            name,
            help=text,
            description=text[0].upper() + text[1:] + ".",
            epilog=completion.epilog(name),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        made.set_defaults(run=getattr(commands, f"do_{name.replace('-', '_')}"))
        if as_json:
            made.add_argument("--json", action="store_true", help="print one JSON object to stdout")
        made.add_argument("--offline", action="store_true", help="download nothing")
        return made

    add = command("list", "list the models of the zoo", as_json=True)
    add.add_argument("--task", help="list only the models for this task")
    add.add_argument("--markdown", action="store_true", help="print the table of the README")

    add = command("info", "describe a model, or a bundle: data, metrics, functions", as_json=True)
    add.add_argument("name")

    command("doctor", "list what is installed, what is missing and what mends it", as_json=True)

    add = command("train", "train a model and write a bundle")
    add.add_argument("name")
    add.add_argument("--data", required=True, help="folder of annotated images or of meshes")
    add.add_argument("--out", required=True, help="folder of the run")
    add.add_argument("--variant", help="variant of the model; `dentalzoo info NAME` lists them")
    add.add_argument("--epochs", help="number of epochs (default: the variant's)")
    add.add_argument("--batch-size", help="samples per training step (default: the variant's)")
    add.add_argument("--encoder-weights", help="imagenet, a file, or none (default: the variant's)")
    add.add_argument(
        "--set",
        nargs="+",
        action="extend",
        default=[],
        metavar="KEY=VALUE",
        help="other settings; `dentalzoo info NAME` lists them",
    )
    add.add_argument("--cache", help="folder for the decoded samples (default: keep in memory)")
    add.add_argument("--seed", type=int, default=0, help="random seed (default 0)")
    add_flags(add)
    add.add_argument("--init", metavar="BUNDLE", help="start from a bundle of the same network")
    add.add_argument("--resume", action="store_true", help="resume an interrupted run in --out")
    add_weights_dtype(add)

    add = command("evaluate", "measure a bundle on annotated data", as_json=True)
    add.add_argument("bundle", help="name or folder of a bundle")
    add.add_argument("--data", required=True, help="folder of annotated images or of meshes")
    add.add_argument("--split", help=_SPLIT_HELP)
    add.add_argument("--out", help="folder for evaluation.json and figures")
    add.add_argument(
        "--save-metrics", action="store_true", help="write the summary into the bundle too"
    )
    engines.add_flags(add)
    _add_runtime(add)
    add_task_options(add, "evaluate", task)

    add = command("compare", "measure two bundles of one task side by side", as_json=True)
    add.add_argument("bundle", help="name or folder of a bundle")
    add.add_argument("other", help="name or folder of a bundle")
    add.add_argument("--data", required=True, help="folder of annotated images or of meshes")
    add.add_argument("--split", help=_SPLIT_HELP)
    add.add_argument("--out", help="folder for comparison.json and figures")
    _add_runtime(add)
    add_task_options(add, "compare", task)

    add = command("predict", "apply a bundle to images, views or meshes")
    add.add_argument("bundle", help="name or folder of a bundle")
    add.add_argument("inputs", nargs="+", metavar="FILE_OR_DIR")
    add.add_argument("--out", required=True, help="folder for the results")
    add.add_argument(
        "--workers", type=int, metavar="N", help="processes that divide the work; restartable"
    )
    add.add_argument(
        "--shards", type=int, metavar="K", help="commands, on any machine, that divide the inputs"
    )
    add.add_argument("--shard", type=int, metavar="I", help="which of these this is, from 0")
    engines.add_flags(add)
    _add_runtime(add)
    add_task_options(add, "predict", task)

    add = command("chart", "write a dental chart of each panoramic radiograph", as_json=True)
    add_chart_flags(add)
    _add_runtime(add)

    add = command("serve", "apply bundles over HTTP, on this machine")
    add_serve_flags(add)

    add = command("views", "render the ten views of upper jaws")
    add.add_argument("inputs", nargs="+", metavar="MESH", help="OBJ, PLY, STL, or folders of them")
    add.add_argument("--out", required=True, help="folder for the views")
    add.add_argument(
        "--size", type=int, default=224, help="height and width in pixels (default 224)"
    )
    add.add_argument("--axes", help=_AXES_HELP)

    add = command("generate", "write new images that a bundle generates")
    add.add_argument("bundle", help="name or folder of a bundle")
    add.add_argument("--out", required=True, help="folder for the images")
    _add_runtime(add)
    add_task_options(add, "generate", task)

    add = command("superimpose", "write one image with the defects of several images")
    add.add_argument("bundle", help="name or folder of a bundle")
    add.add_argument("inputs", nargs="+", metavar="FILE")
    add.add_argument("--out", required=True, help="folder for the image")
    _add_runtime(add)
    add_task_options(add, "superimpose", task)

    add = command("augment", "write a data set of superimposed images of a data set")
    add.add_argument("bundle", help="name or folder of a bundle")
    add.add_argument("--data", required=True, help="folder of images with masks")
    add.add_argument("--out", required=True, help="folder for the new data set")
    _add_runtime(add)
    add_task_options(add, "augment_dataset", task)

    add = command("export", "write a run or a bundle as a new bundle")
    add_export_flags(add, _SPLIT_HELP)

    add = command("verify", "compare a bundle's files with their SHA-256", as_json=True)
    add.add_argument("bundle", help="name or folder of a bundle")
    add.add_argument(
        "--key",
        metavar="FILE",
        help="public key of minisign, by whose owner the bundle must be signed",
    )

    add = command("push", "upload a bundle to the Hugging Face Hub")
    add.add_argument("bundle", help="name or folder of a bundle")
    add.add_argument("address", metavar="hf://USER/NAME", help="or hf://USER/NAME@BRANCH")
    add.add_argument("--private", action="store_true", help="make a private repository")

    add = command("check", "read annotated data and list what is invalid", as_json=True)
    add.add_argument("data", help="folder of the data set")
    add.add_argument("--split", help=_SPLIT_HELP)
    add.add_argument(
        "--num-classes",
        type=int,
        help="classes of the masks (default: --classes or a list beside them, else binary)",
    )
    add.add_argument("--classes", nargs="+", help="only these classes, numbered in this order")
    add.add_argument("--images", action="store_true", help="the data are images for autoencoders")
    add.add_argument("--model", help="check what this model would train on, with its settings")
    add.add_argument("--variant", help="of the model (default: its first)")
    add.add_argument(
        "--set", nargs="+", action="extend", default=[], metavar="KEY=VALUE", help="its settings"
    )
    add.add_argument("--boxes", action="store_true", help="the data are images with boxes")
    add.add_argument("--meshes", action="store_true", help="the data are meshes of upper jaws")
    add.add_argument("--axes", help=_AXES_HELP)
    add.add_argument("--fix", metavar="DIR", help="write a copy of meshes with right axes and unit")
    add.add_argument("--crops", choices=CROPS, help="crop images to single teeth or defects")
    add.add_argument("--report", metavar="DIR", help="write a page with pictures (index.html)")
    add.add_argument("--bundle", help="list boxes or masks that this model contradicts")
    add.add_argument("--seed", type=int, default=0, help="seed of the report's sample (default 0)")

    add = command("agree", "compare annotators and models on the same images", as_json=True)
    add.add_argument(
        "folders", nargs="+", metavar="DIR", help="annotated images, or results of predict"
    )
    add.add_argument("--out", help="folder for agreement.json and agreement.png")
    add.add_argument(
        "--kind", choices=("auto", "masks", "boxes"), default="auto", help="what is compared"
    )
    add.add_argument("--classes", nargs="+", help="names of the class ids 1..n, in order")
    add.add_argument(
        "--ignore-classes", action="store_true", help="with --kind boxes: whatever their class"
    )
    add.add_argument("--score-threshold", type=float, help="confidence threshold of models' boxes")
    add.add_argument("--seed", type=int, default=0, help="seed of the intervals (default 0)")

    add = command("convert", "write annotated images in another annotation format", as_json=True)
    add.add_argument("data", help="folder of annotated images, in any format that is read")
    add.add_argument("--to", required=True, metavar="FORMAT", help="coco, yolo, labelme, cvat, ...")
    add.add_argument("--out", required=True, help="folder for the new data set")
    add.add_argument("--split", help=_SPLIT_HELP)
    add.add_argument("--classes", nargs="+", help="only these classes, numbered in this order")
    add.add_argument("--link", action="store_true", help="link the images instead of copying them")
    add.add_argument(
        "--lossy", action="store_true", help="leave out what the format cannot hold, and say it"
    )
    add.add_argument(
        "--anonymize", action="store_true", help="hashed names; their key goes to OUT_key.csv"
    )

    add = command("split", "divide a data set into train, val and test: split.csv", as_json=True)
    add.add_argument("data", help="folder of images with boxes, with masks, or of images alone")
    add.add_argument("--out", help="the file to write (default: split.csv in the data folder)")
    add.add_argument("--val", type=float, default=0.1, help="part for validation (default 0.1)")
    add.add_argument("--test", type=float, default=0.0, help="part for testing (default 0)")
    add.add_argument("--seed", type=int, default=0, help="random seed (default 0)")

    add = command("tfrecord", "write images with boxes as TFRecord files")
    add.add_argument("data", help="folder of images with boxes")
    add.add_argument("out", help="output folder; an interrupted run is resumed")
    add.add_argument(
        "--classes", nargs="+", help="only these classes, numbered from 1 in this order"
    )
    add.add_argument("--clahe", action="store_true", help="equalise the contrast, in grey (CLAHE)")
    add.add_argument("--skip-empty", action="store_true", help="leave out images without boxes")
    add.add_argument("--shards", type=int, default=8, help="files per split (default 8)")
    add.add_argument("--quality", type=int, default=95, help="JPEG quality (default 95)")
    engines.add_flags(add)

    add = command("shape-model", "fit a statistical shape model to jaws", as_json=True)
    add.add_argument("data", help="folder of upper jaws; those with the same faces form a family")
    add.add_argument("--out", required=True, help=".npz file for --set morphable_model=FILE")
    add.add_argument("--components", type=int, default=64, help="modes per family (default 64)")
    add.add_argument("--split", default="train", help="split of the jaws (default train)")

    add = command("synthetic", "write synthetic images or jaws with exact labels")
    add.add_argument("--out", required=True, help="folder for the data set")
    add.add_argument(
        "--kind",
        choices=tuple(commands.SYNTHETIC),
        default="radiographs",
        help="what is generated (default radiographs)",
    )
    add.add_argument("--count", type=int, default=20, help="number of samples (default 20)")
    add.add_argument("--seed", type=int, default=0, help="random seed (default 0)")
    add.add_argument(
        "--size",
        type=int,
        nargs="+",
        help="height and width of radiographs (default 512 1024), side of other images (64)",
    )
    add.add_argument("--shape-model", help=".npz file of real crowns, for --kind crowns or scans")
    return parser


def _add_runtime(parser: Parser) -> None:
    parser.add_argument(
        "--runtime",
        choices=("auto", *runtimes.RUNTIMES),
        help="what computes the bundle (default: DENTALZOO_RUNTIME, else auto: the lightest one "
        "that it has files for and that is installed)",
    )
    limits.add_flags(parser)
