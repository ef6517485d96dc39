"""The data layouts of this package as TensorFlow Datasets; importing this module registers them.

Example:
    >>> import tensorflow_datasets as tfds
    >>> import dentalzoo.data.tfds_builders
    >>> manual = tfds.download.DownloadConfig(manual_dir="data/opg")
    >>> train = tfds.load(
    ...     "panoramic_segmentation",
    ...     split="train",
    ...     download_and_prepare_kwargs={"download_config": manual},
    ... )

Data that take too long to prepare in one process are prepared on Apache Beam (extra `beam`): with
`beam_runner` or `beam_options` in the `DownloadConfig`, each sample is read by one of its workers,
which must reach the same folders. The prepared files are the same. The workers log what they leave
out.
"""

import logging
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dentalzoo.data.boxes import BoxDataset, BoxSample, find_boxes, load_boxes
from dentalzoo.data.masks import MaskDataset, MaskSample, find_masks, load
from dentalzoo.data.meshes import MeshDataset, MeshSample, find_meshes
from dentalzoo.data.views import VIEWS, load_views
from dentalzoo.errors import BadFile, require

if TYPE_CHECKING:
    import tensorflow_datasets as tfds
else:
    tfds = require("tensorflow_datasets", "tfds")

_Sample = MaskSample | BoxSample | MeshSample
_Examples = Iterator[tuple[str, dict[str, Any]]]
_log = logging.getLogger("dentalzoo")


class _FilesOrBeam:
    """The part of a builder that reads its samples one by one, or on Beam where that is asked."""

    _on_beam = False

    def _download_and_prepare(
        self, dl_manager: Any, download_config: tfds.download.DownloadConfig
    ) -> None:
        self._on_beam = bool(download_config.beam_runner or download_config.beam_options)
        super()._download_and_prepare(dl_manager, download_config)  # type: ignore[misc]  # of the builder

    def _examples(
        self, samples: Sequence[_Sample], load_one: Callable[[Any], dict[str, Any]]
    ) -> Any:
        """Return an iterator of examples, or the transform that makes them on Beam."""
        if not self._on_beam:
            return (example for sample in samples for example in _example(sample, load_one))
        beam = require("apache_beam", "beam")
        return beam.Create(samples) | beam.Reshuffle() | beam.FlatMap(_example, load_one)


def _example(sample: _Sample, load_one: Callable[[Any], dict[str, Any]]) -> _Examples:
    """Yield the key and the example of a sample; nothing for a bad one, which is logged."""
    try:
        yield sample.name, load_one(sample)
    except BadFile as error:
        _log.warning("skipped %s", error)


class PanoramicSegmentation(_FilesOrBeam, tfds.core.GeneratorBasedBuilder):
    """Panoramic radiographs with binary masks, from local files.

    Any layout that `dentalzoo.data.masks.find_masks` understands. Bad files are logged and left
    out.

    Splits: those of the data, "train", "val", "test"; one "train" where it names none.
    """

    VERSION = tfds.core.Version("1.0.0")
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "Put the images and masks, in a layout of docs/data_formats.md, into manual_dir or into "
        "its subfolder panoramic_segmentation."
    )

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description="Panoramic radiographs with binary masks, read from local files.",
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(None, None, 1)),
                    "mask": tfds.features.Image(shape=(None, None, 1)),
                    "name": tfds.features.Text(),
                }
            ),
            supervised_keys=("image", "mask"),
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Any]:
        samples = _by_split(find_masks(_folder(self, dl_manager)))
        return {split: self._generate_examples(group) for split, group in samples.items()}

    def _generate_examples(self, samples: Sequence[MaskSample]) -> Any:
        return self._examples(samples, partial(load, num_classes=1, channels=1))


class PanoramicDetection(_FilesOrBeam, tfds.core.GeneratorBasedBuilder):
    """Panoramic radiographs with boxes, from local files.

    Any layout that `dentalzoo.data.boxes.find_boxes` understands. Bad files are logged and left
    out.

    Splits: those of the data, else held out by `find_boxes`. A label is the index of its class
    from 0, one less than in a label map; the names are those of the data.
    """

    VERSION = tfds.core.Version("1.0.0")
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "Put the images and boxes, in a layout of docs/data_formats.md, into manual_dir or into "
        "its subfolder panoramic_detection."
    )

    def _info(self) -> tfds.core.DatasetInfo:
        box = {
            "bbox": tfds.features.BBoxFeature(),
            "label": tfds.features.ClassLabel(),
            "is_difficult": np.bool_,
            "is_crowd": np.bool_,
        }
        return tfds.core.DatasetInfo(
            builder=self,
            description="Panoramic radiographs with boxes of findings, read from local files.",
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(None, None, 3)),
                    "objects": tfds.features.Sequence(box),
                    "name": tfds.features.Text(),
                }
            ),
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Any]:
        dataset = find_boxes(_folder(self, dl_manager))
        self.info.features["objects"]["label"].names = list(dataset.classes)
        return {
            split: self._generate_examples(group, dataset.classes)
            for split, group in _by_split(dataset).items()
        }

    def _generate_examples(self, samples: Sequence[BoxSample], classes: Sequence[str]) -> Any:
        return self._examples(samples, partial(_with_objects, classes=classes))


def _with_objects(sample: BoxSample, classes: Sequence[str]) -> dict[str, Any]:
    loaded = load_boxes(sample, classes)
    keys = ("boxes", "labels", "difficult", "crowd")
    objects = [
        {
            "bbox": tfds.features.BBox(*map(float, box)),
            "label": int(label) - 1,
            "is_difficult": difficult,
            "is_crowd": crowd,
        }
        for box, label, difficult, crowd in zip(*(loaded[k] for k in keys), strict=True)
    ]
    return {"image": loaded["image"], "objects": objects, "name": sample.name}


class JawReconstruction(_FilesOrBeam, tfds.core.GeneratorBasedBuilder):
    """Upper jaws as ten rendered views and 50,000 points, from local files.

    Any layout that `dentalzoo.data.meshes.find_meshes` understands. Bad files are logged and left
    out.

    Splits: those of the data, else held out by `find_meshes`.
    """

    VERSION = tfds.core.Version("1.0.0")
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "Put the meshes, in a layout of docs/data_formats.md, into manual_dir or into its "
        "subfolder jaw_reconstruction."
    )

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description="Views of upper jaws with points on them, made from local files.",
            features=tfds.features.FeaturesDict(
                {
                    "views": tfds.features.Tensor(shape=(VIEWS, 224, 224, 1), dtype=np.uint8),
                    "points": tfds.features.Tensor(shape=(50_000, 3), dtype=np.float32),
                    "name": tfds.features.Text(),
                }
            ),
            supervised_keys=("views", "points"),
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Any]:
        samples = _by_split(find_meshes(_folder(self, dl_manager)))
        return {split: self._generate_examples(group) for split, group in samples.items()}

    def _generate_examples(self, samples: Sequence[MeshSample]) -> Any:
        return self._examples(samples, _jaw)


def _jaw(sample: MeshSample) -> dict[str, Any]:
    loaded = load_views(sample)
    return {"views": loaded["views"], "points": loaded["points"], "name": sample.name}


def _folder(
    builder: tfds.core.GeneratorBasedBuilder, dl_manager: tfds.download.DownloadManager
) -> Path:
    manual = Path(dl_manager.manual_dir)
    own = manual / builder.name
    return own if own.is_dir() else manual


def _by_split(dataset: MaskDataset | BoxDataset | MeshDataset) -> dict[str, list[Any]]:
    samples: dict[str, list[Any]] = defaultdict(list)
    for sample in dataset.samples:
        samples[sample.split or "train"].append(sample)
    return samples
