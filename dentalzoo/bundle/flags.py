"""The flags of `dentalzoo export`."""

import argparse

from dentalzoo.bundle.runtimes import LIGHT
from dentalzoo.bundle.weights import WEIGHTS_DTYPES
from dentalzoo.exporters import EXPORTERS


def add_export_flags(parser: argparse.ArgumentParser, split_help: str) -> None:
    """Add the arguments and flags of the sub-command."""
    parser.add_argument("bundle", help="name or folder of a bundle or a run")
    parser.add_argument("--out", required=True, help="folder for the new bundle")
    parser.add_argument("--tag", help="<training data>_v<N> of a release")
    add_weights_dtype(parser)
    parser.add_argument(
        "--about-data",
        nargs="+",
        action="extend",
        default=[],
        metavar="KEY=VALUE",
        help="entries on the training data in the metadata: name, licence",
    )
    parser.add_argument(
        "--licence-note",
        metavar="TEXT",
        help="why the licence in --about-data applies, where that of the weights restricts more",
    )
    parser.add_argument("--figures", nargs="+", default=[], help="image files for the model card")
    parser.add_argument(
        "--to",
        "--format",
        dest="format",
        choices=EXPORTERS,
        help="write the functions alone, in this format, to --out, and compare them",
    )
    parser.add_argument(
        "--with",
        dest="runtimes",
        nargs="+",
        default=[],
        choices=LIGHT,
        help="also hold files for a light runtime, on which the bundle runs without TensorFlow",
    )
    parser.add_argument(
        "--familiarity",
        metavar="DATA",
        help="data that the bundle was trained on: learn from its training and validation images "
        "which images are familiar (default: what the bundle has)",
    )
    parser.add_argument(
        "--calibrate",
        metavar="DATA",
        help="annotated data, to whose val split a temperature is fitted: the probabilities of "
        "masks and the scores of boxes are then calibrated",
    )
    parser.add_argument("--data", help="annotated data, to measure or compare the metrics on")
    parser.add_argument("--split", help=split_help)
    parser.add_argument(
        "--images",
        nargs="+",
        action="extend",
        default=[],
        metavar="FILE",
        help="with those: images to compare on, to calibrate int8 with (default: synthetic)",
    )


def add_weights_dtype(parser: argparse.ArgumentParser) -> None:
    """Add the flag for the dtype of the stored weights."""
    parser.add_argument(
        "--weights-dtype",
        choices=WEIGHTS_DTYPES,
        default="float32",
        help="number type of the stored weights: weight-only quantization (default float32)",
    )
