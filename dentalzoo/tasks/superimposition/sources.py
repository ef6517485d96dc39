"""The images of a data set at the size of a bundle's network, and their latent vectors."""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dentalzoo.data.images import ImageDataset, ImageSample, find_images, load_image
from dentalzoo.errors import DentalzooError
from dentalzoo.tasks.autoencoders import image_shape
from dentalzoo.tasks.base import measured_here, refuse_empty, skipped_files, without_folders
from dentalzoo.tasks.options import CropOptions
from dentalzoo.tasks.superimposition.scores import FAINT, contrast

if TYPE_CHECKING:
    from dentalzoo.bundle import Bundle

_log = logging.getLogger("dentalzoo")
_KEPT = 256  # loaded images kept in memory: each is superimposed several times
_SHRUNK = 2.0  # ours: of road cracks, success falls from 0.97 to 0.84 at 2, and to 0.52 at 5
_PART = 0.25  # ours: of the windows
_FEW = 0.8  # ours: of superimposed images that succeed


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
    if settings.get("crops") == "auto":
        settings["smallest"] = max(image_shape(bundle)[:2])
    return find_images(data, split, **settings)


@dataclass(frozen=True)
class Encoded:
    """What is kept of an image.

    Attributes:
        z_mean, z_log_var: (D,) float32.
        errors: (2,) mean absolute and mean squared error of the decoded mean.
        contrast: of its mask alone; NaN where there is none.
    """

    z_mean: np.ndarray
    z_log_var: np.ndarray
    errors: np.ndarray
    contrast: float


@dataclass(frozen=True)
class Encoding:
    """The `Measure` that encodes an image.

    Attributes:
        shape: H, W, C of the network.
    """

    shape: tuple[int, int, int]

    def read(self, sample: ImageSample) -> Source:
        try:
            return load_source(sample, self.shape)
        except DentalzooError as error:
            raise without_folders(error, sample.image) from error

    def __call__(self, bundle: "Bundle", sample: ImageSample, source: Source) -> Encoded:
        code = bundle.encode(source.image[None])
        error = bundle.decode(code["z_mean"])["image"] - code["image"]
        errors = np.stack([np.abs(error).mean(), (error**2).mean()])
        return Encoded(code["z_mean"][0], code["z_log_var"][0], errors, _own_contrast(source))

    def name(self, sample: ImageSample) -> str:
        return str(sample.image)


class Loader:
    """Loads images at a network's size (H, W, C) and keeps some, since each is used several times.

    It can be pickled, without what it keeps.
    """

    def __init__(self, shape: tuple[int, int, int]) -> None:
        self.shape = shape
        self._load = lru_cache(_KEPT)(partial(load_source, shape=shape))

    def __reduce__(self) -> tuple[Any, ...]:
        return Loader, (self.shape,)

    def __call__(self, sample: ImageSample) -> Source:
        return self._load(sample)


@dataclass(frozen=True)
class SourceSet:
    """Images to superimpose: their indices, themselves, and the means of their codes (K, D)."""

    chosen: tuple[int, ...]
    samples: tuple[ImageSample, ...]
    z_mean: np.ndarray


class Sources:
    """The usable images of a data set, encoded once; pixels are loaded when they are needed.

    Args:
        bundle: of the task "superimposition".
        data: the folder of the data set, for messages.
        dataset: what `find_sources` returned.
        results: of `Encoding` for its samples, see `dentalzoo.tasks.base.Evaluation.report`.
        failed: (name, reason) of those without a result; whole when the results have ended.

    Attributes:
        samples: the N images.
        z_mean, z_log_var: (N, D) float32.
        errors: (N, 2) mean absolute and mean squared error of the decoded means.
        contrasts: (N,) of each mask alone; NaN where there is none.
        skipped: [file, reason] of each image that could not be used.
        loader: loads an image.

    Raises:
        DentalzooError: no image can be used.
    """

    def __init__(
        self,
        bundle: "Bundle",
        data: str | Path,
        dataset: ImageDataset,
        results: Iterable[tuple[ImageSample, Encoded]],
        failed: Sequence[tuple[str, str]],
    ) -> None:
        self.shape = image_shape(bundle)
        pairs = list(results)
        skipped = skipped_files(failed)
        self.skipped = [*map(list, dataset.skipped), *skipped]
        if not pairs:
            refuse_empty(data, len(dataset), skipped)
        self.samples = [sample for sample, _ in pairs]
        self.z_mean = np.stack([one.z_mean for _, one in pairs])
        self.z_log_var = np.stack([one.z_log_var for _, one in pairs])
        self.errors = np.stack([one.errors for _, one in pairs])
        self.contrasts = np.array([one.contrast for _, one in pairs])
        self.loader = Loader(self.shape)

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def labels(self) -> list[str]:
        """Return the label of each image, "" where it has none."""
        return [sample.label for sample in self.samples]

    def judgeable(self) -> list[int]:
        """Return the indices of the images whose own defect, taken alone, can be judged."""
        return [i for i, own in enumerate(self.contrasts) if abs(own) >= FAINT]

    def of(self, chosen: tuple[int, ...]) -> SourceSet:
        """Return the set of the images with some indices."""
        samples = tuple(self.samples[index] for index in chosen)
        return SourceSet(chosen, samples, self.z_mean[list(chosen)])

    def tell_shrunk(self, successes: int, tried: int) -> None:
        """Log why few superimposed images may have succeeded: windows are shrunk, cracks fade."""
        height, width, _ = self.shape
        windows = [sample.window for sample in self.samples if sample.window]
        shrunk = sum(bottom - top >= _SHRUNK * height for top, _, bottom, _ in windows)
        if shrunk > _PART * len(windows) and successes < _FEW * tried:
            _log.warning(
                "%d of %d succeed: %d of %d windows are shrunk %g times or more, to %d x %d, where "
                "thin defects fade; crops=masks window=%d cuts out parts of them as they are",
                *(successes, tried, shrunk, len(windows), _SHRUNK, width, height, width),
            )

    def load(self, index: int) -> Source:
        """Load an image."""
        return self.loader(self.samples[index])


def encoded(bundle: "Bundle", data: str | Path, dataset: ImageDataset) -> Sources:
    """Encode the images of a data set in this process, see `Sources`."""
    failed: list[tuple[str, str]] = []
    encoding = Encoding(image_shape(bundle))
    results = measured_here(bundle, dataset.samples, encoding, failed, title="encoding")
    return Sources(bundle, data, dataset, results, failed)


def load_source(sample: ImageSample, shape: tuple[int, int, int]) -> Source:
    """Load an image at a network's size (H, W, C).

    Raises:
        BadFile: as `load_image`.
    """
    height, width, channels = shape
    arrays = load_image(sample, (height, width), channels)
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
