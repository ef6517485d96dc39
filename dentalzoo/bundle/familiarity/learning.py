"""From images to the statistics of a bundle."""

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dentalzoo import registry
from dentalzoo.bundle.familiarity.graph import measure
from dentalzoo.bundle.familiarity.statistics import (
    MIN_IMAGES,
    MIN_VALIDATION,
    Measures,
    Statistics,
    fit,
)
from dentalzoo.bundle.metadata import name_of, read_metadata
from dentalzoo.bundle.reading import find
from dentalzoo.contracts import DataOptions
from dentalzoo.errors import BadFile, DentalzooError, MissingSplit

_log = logging.getLogger("dentalzoo")
_MOST = 600  # images of a split that are measured; ours
_HELD_OUT = 5  # without validation images, every fifth training image takes their place

Images = Sequence[Callable[[], np.ndarray]]  # each, called, reads one: uint8 (H, W, 1 or 3)


@dataclass(frozen=True)
class Examples:
    """What a bundle was trained on, and what else of the kind is known.

    Attributes:
        training: the training images, at their own sizes.
        validation: images that were not trained on; empty where there are none.
    """

    training: Images
    validation: Images = ()


def examples_of(name_or_path: str | Path, data: str | Path | None) -> Examples | None:
    """Return the images that a bundle was trained on, from their data; None without data.

    Args:
        name_or_path: of a bundle or a run.
        data: the folder of the data, with a train and, better, a val split.

    Raises:
        DentalzooError: no such bundle, no such data, or the bundle's inputs are not images.
    """
    if data is None:
        return None
    metadata = read_metadata(find(name_or_path))
    paper = registry.module_of(metadata["name"])
    config = paper.Config.from_metadata(metadata["config"])
    training = paper.make_dataset(data, config, DataOptions(split="train"))
    validation: Images = ()
    with suppress(MissingSplit):
        validation = paper.make_dataset(data, config, DataOptions(split="val")).originals
    if not training.originals:
        raise DentalzooError(
            "familiarity is learned by bundles whose inputs are single images. "
            f"Received: {name_of(metadata)}"
        )
    return Examples(training.originals, validation)


def learned(
    maps: Callable[[Any], Any], config: Any, given: Examples | Statistics
) -> Statistics | None:
    """Return the statistics of images; None where there are too few, which is logged.

    Args:
        maps, config: see `graph.measure`.
        given: the images, of many every second, third, ...; or what was learned before, which is
            dropped where it was of another network.
    """
    import tensorflow as tf

    from dentalzoo.data.io.graph import image_spec

    measured = tf.function(measure(maps, config), input_signature=[image_spec()])
    if isinstance(given, Statistics):
        shapes = measured.get_concrete_function().structured_outputs
        sizes = shapes["features"].shape[1], shapes["fields"].shape[1]
        if (given.mean.size, given.template.size) == sizes:
            return given
        _log.warning("familiarity is left out: it was learned by another version of dentalzoo")
        return None

    def all_of(images: Images) -> Measures | None:
        rows = []
        for read in images[:: max(1, -(-len(images) // _MOST))]:
            with suppress(BadFile):  # which reading the data has logged
                rows.append({key: v.numpy()[0] for key, v in measured(read()[None]).items()})
        return {key: np.stack([row[key] for row in rows]) for key in rows[0]} if rows else None

    training, validation = all_of(given.training), all_of(given.validation)
    split = "val"
    if training is not None and (validation is None or _count(validation) < MIN_VALIDATION):
        held = np.arange(_count(training)) % _HELD_OUT == 0
        split = "train, every fifth image"
        validation = {key: value[held] for key, value in training.items()}
        training = {key: value[~held] for key, value in training.items()}
    counts = [_count(each) for each in (training, validation)]
    few = counts[0] < MIN_IMAGES or counts[1] < MIN_VALIDATION
    if training is None or validation is None or few:
        _log.info(
            "familiarity is not learned: it takes %d images to learn from and %d others. "
            "Received: %d and %d",
            *(MIN_IMAGES, MIN_VALIDATION, *counts),
        )
        return None
    return fit(training, validation, {"calibrated_on": split})


def _count(measures: Measures | None) -> int:
    return len(measures["features"]) if measures else 0
