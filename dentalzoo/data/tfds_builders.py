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
"""

import logging
from collections import defaultdict
from collections.abc import Iterator, Sequence
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

_Examples = Iterator[tuple[str, dict[str, Any]]]
_log = logging.getLogger("dentalzoo")


class PanoramicSegmentation(tfds.core.GeneratorBasedBuilder):
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

    def _generate_examples(self, samples: Sequence[MaskSample]) -> _Examples:
        for sample in samples:
            try:
                yield sample.name, load(sample, num_classes=1, channels=1)
            except BadFile as error:
                _log.warning("skipped %s", error)


class PanoramicDetection(tfds.core.GeneratorBasedBuilder):
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

    def _generate_examples(self, samples: Sequence[BoxSample], classes: Sequence[str]) -> _Examples:
        for sample in samples:
            try:
                loaded = load_boxes(sample, classes)
            except BadFile as error:
                _log.warning("skipped %s", error)
                continue
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
            example = {"image": loaded["image"], "objects": objects, "name": sample.name}
            yield sample.name, example


class JawReconstruction(tfds.core.GeneratorBasedBuilder):
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

    def _generate_examples(self, samples: Sequence[MeshSample]) -> _Examples:
        for sample in samples:
            try:
                loaded = load_views(sample)
            except BadFile as error:
                _log.warning("skipped %s", error)
                continue
            example = {key: loaded[key] for key in ("views", "points")}
            yield sample.name, example | {"name": sample.name}


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
