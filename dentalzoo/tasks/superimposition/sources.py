"""The images of a data set at the size of a bundle's network, and their latent vectors."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dentalzoo.data.images import ImageDataset, ImageSample, find_images, load_image
from dentalzoo.tasks.autoencoders import batches_of, image_shape
from dentalzoo.tasks.base import refuse_empty
from dentalzoo.tasks.options import CropOptions
from dentalzoo.tasks.superimposition.scores import FAINT, contrast

if TYPE_CHECKING:
    from dentalzoo.bundle import Bundle

_KEPT = 256  # loaded images kept in memory: each is superimposed several times


@dataclass(frozen=True)
class Source:
    """An image at the network's size: (H, W, C) uint8, and its mask (H, W) bool or None."""

    image: np.ndarray
    mask: np.ndarray | None

    @property
    def grey(self) -> np.ndarray:
        """Return the grey image, (H, W) float32 in [0, 1]."""
        return grey(self.image.astype(np.float32) / 255)


def find_sources(
    bundle: "Bundle", data: str | Path, split: str | None, crops: CropOptions
) -> ImageDataset:
    """Find the images of a split, cropped as those the bundle was trained on.

    Args:
        crops: settings that replace the bundle's own; "whole" for whole images.

    Raises:
        DentalzooError: as `find_images`.
    """
    config = bundle.metadata["config"]
    keys = ("crops", "margin", "window", "val_fraction")
    settings = {key: config[key] for key in keys if key in config}
    given = {key: getattr(crops, key) for key in ("crops", "margin", "window")}
    settings |= {key: value for key, value in given.items() if value is not None}
    if settings.get("crops") == "whole":
        settings["crops"] = None
    return find_images(data, split, **settings)


class Sources:
    """The usable images of a data set, encoded once; pixels are loaded when they are needed.

    Args:
        bundle: of the task "superimposition".
        data: the folder of the data set, for messages.
        dataset: what `find_sources` returned.

    Attributes:
        samples: the N images.
        z_mean, z_log_var: (N, D) float32.
        errors: (N, 2) mean absolute and mean squared error of the decoded means.
        contrasts: (N,) of each mask alone; NaN where there is none.
        skipped: [file, reason] of each image that could not be used.

    Raises:
        DentalzooError: no image can be used.
    """

    def __init__(self, bundle: "Bundle", data: str | Path, dataset: ImageDataset) -> None:
        height, width, self.channels = image_shape(bundle)
        self.size = height, width
        self.skipped = [list(skip) for skip in dataset.skipped]
        self.samples: list[ImageSample] = []
        columns: dict[str, list[np.ndarray]] = {
            key: [] for key in ("z_mean", "z_log_var", "errors", "contrasts")
        }
        for indices, sources in batches_of(
            dataset.samples, self._read, title="encoding", skipped=self.skipped
        ):
            images = np.stack([source.image for source in sources])
            code = bundle.encode(images)
            decoded = bundle.decode(code["z_mean"])["image"]
            error = (decoded - code["image"]).reshape(len(images), -1)
            columns["z_mean"].append(code["z_mean"])
            columns["z_log_var"].append(code["z_log_var"])
            columns["errors"].append(np.stack([np.abs(error).mean(1), (error**2).mean(1)], 1))
            columns["contrasts"].append(np.array([_own_contrast(source) for source in sources]))
            self.samples += [dataset.samples[index] for index in indices]
        if not self.samples:
            refuse_empty(data, len(dataset), self.skipped[len(dataset.skipped) :])
        self.z_mean, self.z_log_var, self.errors, self.contrasts = (
            np.concatenate(parts) for parts in columns.values()
        )
        self.load = lru_cache(_KEPT)(self._load)

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def labels(self) -> list[str]:
        """Return the label of each image, "" where it has none."""
        return [sample.label for sample in self.samples]

    def judgeable(self) -> list[int]:
        """Return the indices of the images whose own defect, taken alone, can be judged."""
        return [i for i, own in enumerate(self.contrasts) if abs(own) >= FAINT]

    def _load(self, index: int) -> Source:
        return self._read(self.samples[index])

    def _read(self, sample: ImageSample) -> Source:
        return load_source(sample, self.size, self.channels)


def load_source(sample: ImageSample, size: tuple[int, int], channels: int) -> Source:
    """Load an image at a network's size (height, width).

    Raises:
        BadFile: as `load_image`.
    """
    arrays = load_image(sample, size, channels)
    mask = arrays["mask"][..., 0].astype(bool) if "mask" in arrays else None
    return Source(arrays["image"], mask)


def grey(images: np.ndarray) -> np.ndarray:
    """Return the mean of the channels, (..., H, W, C) -> (..., H, W)."""
    return np.asarray(images.mean(-1))


def stacked(sources: Sequence[Source]) -> tuple[np.ndarray, np.ndarray]:
    """Return greys (K, H, W) float32 in [0, 1] and masks (K, H, W) bool of sources with masks."""
    return np.stack([s.grey for s in sources]), masks_of(sources)


def masks_of(sources: Sequence[Source]) -> np.ndarray:
    """Return the masks (K, H, W) bool of sources that all have one."""
    return np.stack([source.mask for source in sources if source.mask is not None])


def _own_contrast(source: Source) -> float:
    return np.nan if source.mask is None else contrast(source.grey, source.mask)
