"""The flags of `dentalzoo train` that say on what and how a training is computed."""

import argparse
import logging
from typing import Any

from dentalzoo.training import computing
from dentalzoo.training.distribute import STRATEGIES

log = logging.getLogger("dentalzoo")
# Keywords of `train`.
NAMES = ("workers", "index", "tpu", *computing.NAMES)


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add a flag for each of NAMES."""
    parser.add_argument(
        "--strategy", choices=STRATEGIES, default="default", help="devices to use (default: one)"
    )
    parser.add_argument(
        "--workers",
        metavar="HOST:PORT,...",
        help="the processes of multi_worker, the chief first (default: of TF_CONFIG or SLURM)",
    )
    parser.add_argument(
        "--index", type=int, metavar="N", help="which of --workers this process is, from 0"
    )
    parser.add_argument(
        "--tpu", metavar="NAME", help="TPU of strategy tpu (default: TPU_NAME, or this machine's)"
    )
    parser.add_argument(
        "--mixed-precision",
        nargs="?",
        const=True,
        choices=computing.PRECISIONS,
        help="compute in this dtype, with weights in float32 (default: float32)",
    )
    parser.add_argument(
        "--jit-compile",
        action=argparse.BooleanOptionalAction,
        help="compile the steps with XLA (default: as the model and Keras choose)",
    )
    parser.add_argument(
        "--accumulate",
        type=int,
        default=1,
        metavar="N",
        help="batches whose mean gradient makes one step of the optimizer (default 1)",
    )
    parser.add_argument(
        "--sync-batchnorm",
        action="store_true",
        help="normalise with the statistics of the batch of all devices (default: of each device)",
    )


def keywords(options: argparse.Namespace) -> dict[str, Any]:
    """Return the keywords of `train` that were given as flags, by name."""
    values = {name: getattr(options, name) for name in NAMES}
    if values["mixed_precision"] is True:
        log.warning(
            "--mixed-precision without a dtype is deprecated since dentalzoo 0.2.0; use "
            "--mixed-precision bfloat16 instead"
        )
        values["mixed_precision"] = "bfloat16"
    return values
