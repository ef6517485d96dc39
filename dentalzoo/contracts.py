"""The seams of the package as types: what a paper, a task, a format and an exporter must have.

A paper is a package of `dentalzoo.models`, a task one of `dentalzoo.tasks`, an annotation format a
module of `dentalzoo.data.formats`, an exporter a module of `dentalzoo.exporters`. Each is listed in
one table, which a type checker and one test compare with the protocols here.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol, TypedDict

from dentalzoo.errors import DentalzooError

if TYPE_CHECKING:
    import keras
    import numpy as np
    import tensorflow as tf

    from dentalzoo.bundle import Bundle
    from dentalzoo.config import PaperConfig
    from dentalzoo.data.formats.base import BoxSample, Content, ParsedAnnotations, Place, Purpose
    from dentalzoo.data.formats.tree import Tree
    from dentalzoo.data.pipeline import Cache
    from dentalzoo.tasks.base import Evaluation, PredictionReport
    from dentalzoo.tasks.predictor import Predictor

Report = dict[str, Any]  # plain values, ready for JSON


# ---- papers --------------------------------------------------------------------------------------


class About(TypedDict):
    """What a reader must know of a paper, a sentence each."""

    paper: str
    inputs: str
    outputs: str
    intended_use: str


@dataclass(frozen=True)
class Weights:
    """A released bundle: where it lies and what must be known before it is used.

    Attributes:
        url: http(s) address of the bundle as .tar.gz or .zip; None: it ships with the repository.
        sha256: hexadecimal digest of that archive; required with a url.
        size: bytes of that archive; required with a url.
        metrics: name -> value on the split that `data` names.
        data: training data.
        licence: of the weights, as an SPDX identifier where there is one.
        command: the command that trained it.

    Raises:
        DentalzooError: an address that is not http(s), or one without size and SHA-256.
    """

    url: str | None = None
    sha256: str | None = None
    size: int | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    data: str = ""
    licence: str = ""
    command: str = ""

    def __post_init__(self) -> None:
        if self.url is None:
            return
        if not self.url.startswith(("https://", "http://")):
            raise DentalzooError(f"url must be an http(s) address. Received: {self.url!r}")
        if not self.url.endswith((".tar.gz", ".zip")):
            raise DentalzooError(f"url must end in .tar.gz or .zip. Received: {self.url!r}")
        if not self.size or not re.fullmatch(r"[0-9a-f]{64}", self.sha256 or ""):
            raise DentalzooError(
                "Weights with a url must have a size in bytes and a SHA-256 in lower case. "
                f"Received: size={self.size!r}, sha256={self.sha256!r}"
            )


@dataclass(frozen=True)
class DataOptions:
    """Which data a paper's `make_dataset` delivers, and how.

    Attributes:
        split: "train", "val" or "test"; None for all samples.
        training: shuffle and augment.
        epochs: the epochs to deliver, one after the other.
        seed: seed of the order and of the augmentation.
        cache: folder for the decoded samples; memory where None.
        devices: every batch is a multiple of this number.
        shard: (index, number of shards): this worker's share of each epoch.
    """

    split: str | None = None
    training: bool = False
    epochs: range = range(1)
    seed: int = 0
    cache: Path | None = None
    devices: int = 1
    shard: tuple[int, int] = (0, 1)


@dataclass(frozen=True)
class Stream:
    """Batches, and the decoded samples that they are made of.

    Attributes:
        make: returns `dataset`; the one part that needs TensorFlow.
        dataset: a `tf.data.Dataset` of dicts of tensors, of known cardinality; made when it is
            asked for.
        cache: the decoded samples, their names, and what was skipped.
        record: what the metadata of a bundle keeps of the data, in plain values.
        samples: number of samples in the batches of an epoch; 0 where it is not known.
        originals: each, called, reads a sample's image as a caller of the bundle would have it:
            uint8 (H, W, 1 or 3), at its own size. Empty where the samples are no single images.
    """

    make: "Callable[[], tf.data.Dataset]"
    cache: "Cache"
    record: Mapping[str, Any] = field(default_factory=dict)
    samples: int = 0
    originals: "Sequence[Callable[[], np.ndarray]]" = ()

    @cached_property
    def dataset(self) -> "tf.data.Dataset":
        return self.make()

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self.dataset)


class Paper(Protocol):
    """A package of `dentalzoo.models`; registry, training and bundles know nothing more of it."""

    @property
    def ABOUT(self) -> About: ...

    @property
    def Config(self) -> "type[PaperConfig]": ...

    @property
    def VARIANTS(self) -> "Mapping[str, PaperConfig]":
        """The first is the default, "tiny" is for tests."""

    @property
    def PRETRAINED(self) -> Mapping[str, Weights]:
        """Tag -> released bundle, the newest first."""

    def make_dataset(
        self, data: str | Path, config: Any, options: DataOptions = DataOptions()
    ) -> Stream:
        """Return batches whose elements are named after the model's inputs and outputs."""

    def build_model(self, config: Any) -> "keras.Model":
        """Return the network with random or, where the config names them, pretrained weights."""

    def compile_model(self, model: Any, config: Any, steps: int = 1) -> None:
        """Compile the model with the config's loss, optimizer and metrics."""

    def callbacks(self, config: Any) -> "list[keras.callbacks.Callback]":
        """Return the recipe's callbacks; an empty list where it has none."""

    def feature_maps(self, model: Any, config: Any) -> "keras.Model | None":
        """Return what the network sees, for the bundle's signature `familiarity`.

        A model that shares the network's weights: image float32 (B, H, W, C) in [0, 1], as
        `signatures` makes it -> maps (B, h, w, F) at several resolutions. None where the network's
        input is not one image, or there are no maps: the bundles have no `familiarity` then.
        """

    def signatures(self, model: Any, config: Any) -> Mapping[str, Any]:
        """Return the functions of the SavedModel, name -> `tf.function` with an input signature."""

    def example_batch(self, config: Any) -> Mapping[str, Any]:
        """Return two synthetic samples as `make_dataset` delivers them, name -> array."""


# ---- tasks ---------------------------------------------------------------------------------------


class Task(Protocol):
    """A package of `dentalzoo.tasks`; its options are dataclasses of `dentalzoo.tasks.options`.

    Further verbs (`generate`, `compare`, ...) are functions of the same form, each listed with its
    options in `dentalzoo.tasks.options.OPTIONS`.
    """

    @property
    def Predictor(self) -> "type[Predictor]":
        """What `predict` does, in parts that can run in different processes or on an engine."""

    @property
    def Evaluation(self) -> "Callable[..., Evaluation]":
        """What `evaluate` does, sample by sample, in this process or on an engine.

        Its arguments are those of `evaluate`.
        """

    def evaluate(
        self,
        bundle: "Bundle",
        data: str | Path,
        *,
        split: str | None = None,
        out: str | Path | None = None,
        options: Any = ...,
    ) -> Report:
        """Measure a bundle on annotated data; write the report and figures to `out`."""

    def predict(
        self,
        bundle: "Bundle",
        inputs: str | Path | Iterable[str | Path],
        out: str | Path,
        *,
        options: Any = ...,
    ) -> "PredictionReport":
        """Apply a bundle to files and folders and write a result of each to `out`."""

    def summary_metrics(self, report: Report) -> dict[str, float]:
        """Return the few numbers that stand for a report of `evaluate`."""


# ---- annotation formats --------------------------------------------------------------------------


class AnnotationFormat(Protocol):
    """A module of `dentalzoo.data.formats`: recognises, reads and writes one annotation format.

    Attributes:
        NAME: as in messages and reports.
        HOLDS: what this version reads from its files: "boxes", "polygons", "masks" (pixels),
            "names" (classes in the order of their ids, those without an object too), "splits",
            "difficult", "crowd", "attributes".
        READS: the purposes that it is read for: "boxes", "masks", "boundaries"; empty for a format
            that is recognised and not read.
        WRITES: what `write` writes, in the words of `HOLDS`; empty where nothing is written.
    """

    NAME: str
    HOLDS: "tuple[Content, ...]"
    READS: "tuple[Purpose, ...]"
    WRITES: "tuple[Content, ...]"

    def sniff(self, tree: "Tree") -> str:
        """Name what a data folder holds of this format, such as "LabelMe JSON (polygons)".

        Decided by content and cheaply, from a few files; "" where the folder holds nothing of it.
        """

    def read(self, tree: "Tree", purpose: "Purpose") -> "ParsedAnnotations":
        """Read the annotations of all images for a purpose of `READS`.

        A file that cannot be read is a skip. Nothing of the format there: no annotation, no skip.
        Objects have their box and, where the file has one, their outline, whatever the purpose.

        Raises:
            BadFile: a file that all annotations depend on is broken.
        """

    def lost(self, samples: "Sequence[BoxSample]") -> list[str]:
        """Return a phrase for each object that `write` cannot hold in spite of `WRITES`.

        Such as "of several polygons"; `formats.writing.nothing_more` where there is nothing.
        `formats.outcomes` has what `write` makes of each, for messages.
        """

    def write(
        self, samples: "Sequence[BoxSample]", out: Path, classes: Sequence[str], place: "Place"
    ) -> Path:
        """Write images with boxes and outlines and return the file or folder that a tool opens.

        Called by `formats.writing.write_annotations`, which has checked that `WRITES` holds what
        the samples have, and which makes the folder whole or leaves it as it was.

        Args:
            samples: of which each object has its `Box`.
            out: an existing folder.
            classes: the names of the ids 1..n, those without an object included.
            place: puts the image of a sample into a folder below `out`, under a name of its own,
                and returns its path.

        Raises:
            DentalzooError: the format cannot be written, or the disk is full.
        """


# ---- exporters -----------------------------------------------------------------------------------


class Exporter(Protocol):
    """A module of `dentalzoo.exporters`: writes a model in the format of one runtime."""

    NAME: str  # of the format on the command line, and of the module, which has _ for each -
    SUFFIX: str  # of the file it writes; empty for a folder
    BOUND: float  # what may differ from the bundle where no metric is measured, see bundle.parity
    FAMILIARITY: bool  # whether `familiarity` is among the functions that it is given
    PACKAGES: Mapping[str, str]  # optional modules that it needs -> the extra that installs each

    def export(
        self,
        model: Any,
        path: Path,
        functions: Mapping[str, Any],
        samples: Mapping[str, Sequence[Mapping[str, Any]]],
    ) -> Path:
        """Write the functions of a model and return `path`.

        Args:
            model: the `tf.Module` that holds the variables of the functions.
            path: the file or folder to make; its parent exists.
            functions: name -> `tf.function` with an input signature, which returns a dict.
            samples: name -> the inputs of some calls, named arrays, to calibrate with.

        Raises:
            OSError: it cannot be written; what was written so far is removed by the caller.
            DentalzooError: the format cannot hold a function.
        """

    def load(self, path: Path) -> Mapping[str, Callable[..., dict[str, Any]]]:
        """Load what `export` wrote.

        Returns:
            name -> function from named NumPy arrays, and bytes where an input is a string, to a
            dict of NumPy arrays.
        """


# ---- the check -----------------------------------------------------------------------------------


def missing_parts(module: ModuleType | object, protocol: type) -> list[str]:
    """Name what an object lacks to fulfil a protocol of this module.

    Args:
        module: a module or an instance.
        protocol: `Paper`, `Task`, `AnnotationFormat` or `Exporter`.

    Returns:
        A line for each absent attribute, and for each function whose parameters are not those of
        the protocol; empty where nothing is missing.
    """
    import inspect

    lines = []
    for name, member in vars(protocol).items():
        if name.startswith("_") or not inspect.isfunction(member):
            continue
        function = getattr(module, name, None)
        if not callable(function):
            lines.append(f"{name}: a function was expected. Received: {function!r}")
            continue
        wanted = list(inspect.signature(member).parameters.values())[1:]
        given = inspect.signature(function).parameters
        for parameter in wanted:
            if parameter.name not in given:
                lines.append(f"{name}: has no parameter {parameter.name!r}")
            elif given[parameter.name].kind not in (
                parameter.kind,
                parameter.POSITIONAL_OR_KEYWORD,
            ):
                lines.append(f"{name}: the parameter {parameter.name!r} is of another kind")
    names = {key for key in getattr(protocol, "__annotations__", {}) if not key.startswith("_")}
    names |= {key for key, member in vars(protocol).items() if isinstance(member, property)}
    lines += [f"{key}: is missing" for key in sorted(names) if not hasattr(module, key)]
    return lines
