"""What an evaluation of a variational autoencoder measures of one image, or of generated ones."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dentalzoo.data.images import ImageSample, load_image
from dentalzoo.errors import DentalzooError
from dentalzoo.tasks.autoencoders import decode, kl_divergence
from dentalzoo.tasks.base import without_folders
from dentalzoo.tasks.generation import copying, distance, scores
from dentalzoo.tasks.generation.sampling import BLOCK, sample_block

if TYPE_CHECKING:
    from dentalzoo.bundle import Bundle


@dataclass(frozen=True)
class Sample:
    """An image, or a block of generated ones, and what is measured of it.

    Attributes:
        index: of the image in the split, or of the block.
        image: None for generated images.
        scores: whether the bundle describes it.
        features, thumbnail: whether the report needs them.
    """

    index: int
    image: ImageSample | None
    scores: bool = False
    features: bool = False
    thumbnail: bool = False


@dataclass(frozen=True)
class Scored:
    """Scores of an image, the mean of its code (D,), and the KL divergence of its units (D,)."""

    row: dict[str, float]
    z_mean: np.ndarray
    kl: np.ndarray


@dataclass(frozen=True)
class Result:
    """What the report needs of n images: scores of one, features (n, F), thumbnails (n, ...)."""

    scored: Scored | None = None
    features: np.ndarray | None = None
    thumbnails: np.ndarray | None = None


@dataclass(frozen=True)
class Measure:
    """The `Measure` of `evaluate`, with its settings.

    Attributes:
        shape: H, W, C of the network.
        samples, count, seed: of the options.
    """

    shape: tuple[int, int, int]
    samples: int
    count: int
    seed: int

    def read(self, sample: Sample) -> np.ndarray | None:
        if sample.image is None:
            return None
        height, width, channels = self.shape
        try:
            image: np.ndarray = load_image(sample.image, (height, width), channels)["image"]
        except DentalzooError as error:
            raise without_folders(error, sample.image.image) from error
        return image

    def __call__(self, bundle: "Bundle", sample: Sample, image: np.ndarray | None) -> Result:
        scored, code = None, {}
        if image is None:
            number = self.count - sample.index * BLOCK
            images = sample_block(bundle, sample.index, self.seed)[:number]
        else:
            images = image[None].astype(np.float32) / 255
        if sample.scores and image is not None:
            code = bundle.encode(image[None])
            scored = _describe(bundle, code, self._noise(sample.index, code["z_mean"].shape[1]))
        return Result(
            scored,
            distance.features(code.get("image", images)) if sample.features else None,
            copying.thumbnails(images) if sample.thumbnail else None,
        )

    def _noise(self, index: int, units: int) -> np.ndarray:
        return np.random.default_rng((self.seed, index)).standard_normal((self.samples, units))

    def name(self, sample: Sample) -> str:
        if sample.image is None:
            return f"generated images, block {sample.index}"
        return str(sample.image.image)


def _describe(bundle: "Bundle", code: dict[str, np.ndarray], noise: np.ndarray) -> Scored:
    """Return what is known of an image.

    Args:
        code: of the image, from `encode`, with a batch of 1.
        noise: (k, D), of N(0, 1).
    """
    config = bundle.metadata["config"]
    image, z_mean, z_log_var = code["image"][0], code["z_mean"], code["z_log_var"]
    z = z_mean + np.exp(0.5 * np.float64(z_log_var)) * noise
    log_p = np.concatenate(
        [
            scores.log_likelihood(image, decoded, config["likelihood"], config.get("sigma", 0.1))
            for decoded in decode(bundle, z)
        ]
    )
    log_weights = scores.log_weights(log_p[:, None], z[:, None], z_mean, z_log_var)
    mean = np.concatenate(list(decode(bundle, z_mean)))[0]
    kl = kl_divergence(z_mean, z_log_var)[0]
    square = np.square(np.float64(mean) - image).mean()
    row = {
        f"iwae_{k}": scores.importance_bound(log_weights, k)[0]
        for k in sorted({1, min(5, len(z)), len(z)})
    } | {
        "log_likelihood": log_p.mean(),
        "kl": kl.sum(),
        "mse": square,
        "psnr": scores.psnr(square),
        "ssim": scores.ssim(image, mean),
    }
    rounded = {key: round(float(value), 6) for key, value in row.items()}
    return Scored(rounded, z_mean[0], kl)
