"""The images of a data set as a bundle sees them, and their latent vectors."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from dentalzoo.data.images import ImageDataset, ImageSample, find_images, load_image
from dentalzoo.data.pipeline.prefetch import read_ahead
from dentalzoo.errors import BadFile, DentalzooError
from dentalzoo.tasks.superimposition.scores import FAINT, contrast

_log = logging.getLogger("dentalzoo")
_BATCH = 32  # images that go through the network at a time
_KEPT = 256  # loaded images kept in memory: overlays use each several times


@dataclass(frozen=True)
class Source:
    """An image at the network's size: (H, W, C) uint8, and its mask (H, W) bool or None."""

    image: np.ndarray
    mask: np.ndarray | None

    @property
    def grey(self) -> np.ndarray:
        """(H, W) float32 in [0, 1]."""
        return grey(np.float32(self.image) / 255)


def find_sources(bundle, data: str | Path, split: str | None = None, **crops) -> ImageDataset:
    """Finds the images of a split, cut as those the bundle was trained on.

    Args:
        crops: `crops`, `margin` and `window` of `find_images` instead of the bundle's own; None
            for its own.

    Raises:
        DentalzooError: as `find_images`.
    """
    config = bundle.metadata["config"]
    keys = ("crops", "margin", "window", "val_fraction")
    options = {key: config[key] for key in keys if key in config}
    options |= {key: value for key, value in crops.items() if value is not None}
    return find_images(data, split, **options)


class Sources:
    """The usable images of a data set, encoded once; pixels are loaded when they are asked for.

    Args:
        bundle: of the task "overlay".
        found: what `find_sources` found.

    Attributes:
        samples: the N images.
        z_mean, z_log_var: (N, D) float32.
        errors: (N, 2) mean absolute and mean squared error of the decoded means.
        contrasts: (N,) of each mask alone; NaN where there is none.
        skipped: [file, reason] of what takes no part.

    Raises:
        DentalzooError: no image can be used.
    """

    def __init__(self, bundle, found: ImageDataset):
        self.size, self.channels = network_size(bundle)
        self.skipped = [list(skip) for skip in found.skipped]
        self.samples: list[ImageSample] = []
        columns = {key: [] for key in ("z_mean", "z_log_var", "errors", "contrasts")}
        for samples, sources in self._batches(found.samples):
            images = np.stack([source.image for source in sources])
            code = bundle.encode(images)
            decoded = bundle.decode(code["z_mean"])["image"]
            wrong = (decoded - code["image"]).reshape(len(images), -1)
            columns["z_mean"].append(code["z_mean"])
            columns["z_log_var"].append(code["z_log_var"])
            columns["errors"].append(np.stack([np.abs(wrong).mean(1), (wrong**2).mean(1)], 1))
            columns["contrasts"].append([_own_contrast(source) for source in sources])
            self.samples += samples
        if not self.samples:
            first = ": ".join(self.skipped[len(found.skipped)])
            raise DentalzooError(f"none of {len(found)} images can be used. Received: {first}")
        self.z_mean, self.z_log_var, self.errors, self.contrasts = (
            np.concatenate(parts) for parts in columns.values()
        )
        self.load = lru_cache(_KEPT)(self._load)

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def labels(self) -> list[str]:
        return [sample.label for sample in self.samples]

    def judgeable(self) -> list[int]:
        """The images whose own defect, taken alone, can be judged."""
        return [i for i, own in enumerate(self.contrasts) if abs(own) >= FAINT]

    def _load(self, index: int) -> Source:
        return load_source(self.samples[index], self.size, self.channels)

    def _batches(
        self, samples: list[ImageSample]
    ) -> Iterator[tuple[list[ImageSample], list[Source]]]:
        """Loads images in the background; what cannot be read goes to `skipped`."""
        reading = read_ahead(lambda s: load_source(s, self.size, self.channels), samples)
        batch = []
        with logging_redirect_tqdm():
            for pair in tqdm(reading, "encoding", len(samples), disable=None, unit="image"):
                sample, source = pair
                if isinstance(source, BadFile):
                    path = Path(source.path)
                    reason = source.reason.replace(str(path), path.name)
                    _log.warning("skipped %s", source)
                    self.skipped.append([path.name, reason])
                    continue
                if isinstance(source, DentalzooError):
                    raise source
                batch.append(pair)
                if len(batch) == _BATCH:
                    yield tuple(map(list, zip(*batch, strict=True)))
                    batch = []
        if batch:
            yield tuple(map(list, zip(*batch, strict=True)))


def load_source(sample: ImageSample, size: tuple[int, int], channels: int) -> Source:
    """Loads an image at a network's size (height, width).

    Raises:
        BadFile: as `load_image`.
    """
    arrays = load_image(sample, size, channels)
    mask = arrays["mask"][..., 0].astype(bool) if "mask" in arrays else None
    return Source(arrays["image"], mask)


def network_size(bundle) -> tuple[tuple[int, int], int]:
    """(height, width) and channels of the images that a bundle works on."""
    config = bundle.metadata["config"]
    return tuple(config["input_size"]), config["channels"]


def grey(images: np.ndarray) -> np.ndarray:
    """(..., H, W, C) -> (..., H, W): the mean of the channels."""
    return images.mean(-1)


def stacked(sources: Sequence[Source]) -> tuple[np.ndarray, np.ndarray]:
    """Greys (K, H, W) float32 in [0, 1] and masks (K, H, W) bool of sources with masks."""
    return np.stack([s.grey for s in sources]), np.stack([s.mask for s in sources])


def _own_contrast(source: Source) -> float:
    return np.nan if source.mask is None else contrast(source.grey, source.mask)
