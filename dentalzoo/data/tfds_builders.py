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
from pathlib import Path

from dentalzoo.data.masks import find_masks, load
from dentalzoo.errors import BadFile, require

tfds = require("tensorflow_datasets", "tfds")
_log = logging.getLogger("dentalzoo")


class PanoramicSegmentation(tfds.core.GeneratorBasedBuilder):
    """Panoramic X-rays with binary masks, from a folder of your own in any layout that
    `dentalzoo.data.masks.find_masks` understands. Bad files are logged and left out.

    Splits: those of the data, "train", "val", "test"; one "train" where it names none.
    """

    VERSION = tfds.core.Version("1.0.0")
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "Put the pictures and masks, in a layout of docs/data_formats.md, into manual_dir or into "
        "its subfolder panoramic_segmentation."
    )

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description="Panoramic X-rays with binary masks, read from local files.",
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(None, None, 1)),
                    "mask": tfds.features.Image(shape=(None, None, 1)),
                    "name": tfds.features.Text(),
                }
            ),
            supervised_keys=("image", "mask"),
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict:
        manual = Path(dl_manager.manual_dir)
        own = manual / self.name
        samples = defaultdict(list)
        for sample in find_masks(own if own.is_dir() else manual).samples:
            samples[sample.split or "train"].append(sample)
        return {split: self._generate_examples(group) for split, group in samples.items()}

    def _generate_examples(self, samples):
        for sample in samples:
            try:
                yield sample.name, load(sample, num_classes=1, channels=1)
            except BadFile as error:
                _log.warning("skipped %s", error)
