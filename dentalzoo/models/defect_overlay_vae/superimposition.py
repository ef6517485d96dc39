"""Sums of the latent vectors of defect_overlay_vae, and the images that they should decode to.

Tensors are those of the Keras backend, or NumPy arrays.
"""

import math
from typing import Any

import keras
import numpy as np
from keras import metrics, ops, saving

from dentalzoo.nn.vae import VAE

_TAPS = 11  # pixels of a row or column whose median is the background, every third of 64
# What exceeds the grain of its own surface by less is averaged, above it one defect wins.
_FAINT, _POWER = 0.01, 6
_DEVIATION = 1.4826  # standard deviation of a normal distribution in medians of its distances
_EMPHASIS, _PLAIN = 20, 0.1  # factor on the error of a pixel of a defect of that contrast
_OTHER = 0.25  # factor on the strength of a bright stain where defects are dark

Tensor = Any


def combine(z: Tensor, weights: Tensor, averaged: int = 0) -> Tensor:
    """Sum latent vectors, of which the first `averaged` units are averaged instead.

    Args:
        z: (K, ..., D).
        weights: (K, ...), one or more of them positive.
        averaged: number of units of the background; two backgrounds do not add up.

    Returns:
        (..., D).
    """
    weights = ops.cast(weights, z.dtype)[..., None]
    total = ops.sum(weights * z, axis=0)
    if not averaged:
        return total
    mean = total[..., :averaged] / ops.sum(weights, axis=0)
    return ops.concatenate([mean, total[..., averaged:]], axis=-1)


def background(images: Tensor) -> Tensor:
    """Remove what is narrow: medians along the rows, then along the columns.

    Args:
        images: (..., H, W, C) float32.

    Returns:
        (..., H, W, C) float32.
    """
    for axis in (-2, -3):
        side = images.shape[axis]
        taps = (np.arange(_TAPS) - _TAPS // 2) * max(1, 3 * side // 64)
        pixels = np.clip(np.arange(side)[:, None] + taps, 0, side - 1)
        # (..., H, W, taps, C) or (..., H, taps, W, C), with the taps last for sorting.
        windows = ops.moveaxis(ops.take(images, pixels, axis=axis), axis, -1)
        images = ops.sort(windows, axis=-1)[..., _TAPS // 2]
    return images


def composite(images: Tensor, behind: Tensor, weights: Tensor, polarity: int = -1) -> Tensor:
    """Superimpose images: the mean of the backgrounds and, on it, every defect.

    Where defects meet the strongest is seen; strength is what exceeds the grain of the defect's own
    surface, so that coarse grain does not hide a faint defect of a smooth one. Grain is averaged.

    Args:
        images: (K, ..., H, W, C) float32 in [0, 1].
        behind: their `background`.
        weights: (K, ...), not negative: contrasts of the defects and shares of the backgrounds.
        polarity: -1 where defects are darker than the surface, 1 where they are brighter, 0 for
            either.

    Returns:
        (..., H, W, C) float32 in [0, 1].
    """
    ground, defects = _parts(images, behind, weights, polarity)
    return ops.clip(ground + defects, 0.0, 1.0)


def _parts(images: Tensor, behind: Tensor, weights: Tensor, polarity: int) -> tuple[Tensor, Tensor]:
    """Return the background and the defects, which `composite` adds."""
    weights = ops.cast(weights, images.dtype)[..., None, None, None]
    defects = weights * (images - behind)
    seen = _smooth(defects)
    strength = ops.abs(seen)
    if polarity:
        strength = strength * ops.where(polarity * seen < 0, _OTHER, 1.0)
    strength = ops.maximum(strength - _grain(seen), 0.0)
    shares = ops.sign(weights) * (strength**_POWER + _FAINT**_POWER)
    defects = ops.sum(shares * defects, axis=0) / ops.sum(shares, axis=0)
    return ops.sum(weights * behind, axis=0) / ops.sum(weights, axis=0), defects


def _grain(seen: Tensor) -> Tensor:
    """Return the deviation (..., 1, 1, 1) of the grain of (..., H, W, C); defects cover little."""
    distances = ops.reshape(ops.abs(seen), (*ops.shape(seen)[:-3], -1))
    middle = math.prod(seen.shape[-3:]) // 2
    grain = _DEVIATION * ops.sort(distances, axis=-1)[..., middle]
    return ops.expand_dims(grain, (-3, -2, -1))


def _smooth(images: Tensor) -> Tensor:
    """Blur by a Gaussian of a pixel of 64; products of matrices, the same on each backend."""

    def gaussian(side: int) -> np.ndarray:
        distance = np.subtract.outer(np.arange(side), np.arange(side)) * (64 / side)
        rows = np.exp(-0.5 * distance**2)
        return (rows / rows.sum(axis=1, keepdims=True)).astype(np.float32)

    rows, columns = (gaussian(side) for side in images.shape[-3:-1])
    return ops.einsum("ih,...hwc,jw->...ijc", rows, images, columns)


@saving.register_keras_serializable("dentalzoo")
class OverlayVAE(VAE):
    """A variational autoencoder that can learn to superimpose images by summing latent vectors.

    Args:
        encoder, decoder, options: of `dentalzoo.nn.vae.VAE`.
        averaged: see `combine`.
        polarity: see `composite`.
        mixture: factor on the squared error, in units of `sigma`, of what the sum of the latent
            vectors of one to three images of the batch decodes to; the target is their `composite`.
        separated: report `separation`.
    """

    def __init__(
        self,
        encoder: keras.Model,
        decoder: keras.Model,
        *,
        averaged: int = 0,
        polarity: int = -1,
        mixture: float = 0.0,
        separated: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(encoder, decoder, **options)
        self.averaged, self.polarity = averaged, polarity
        self.mixture, self.separated = mixture, separated
        if mixture:
            self.mixture_tracker = metrics.Mean(name="mixture_loss")
        if separated:
            self.separation_tracker = metrics.Mean(name="separation")

    def losses_of(
        self, image: Tensor, outputs: dict[str, Tensor], training: bool = False
    ) -> tuple[Tensor, Tensor, Tensor]:
        loss, reconstruction, kl = super().losses_of(image, outputs, training)
        if self.separated:
            distance = separation(image, outputs["z_mean"], outputs["z_log_var"])
            self.separation_tracker.update_state(distance)
        if self.mixture:
            mixture_loss = self._mixture_loss(ops.cast(image, "float32"), outputs["z"])
            self.mixture_tracker.update_state(mixture_loss)
            loss = loss + self.mixture * mixture_loss
        return loss, reconstruction, kl

    def _mixture_loss(self, image: Tensor, z: Tensor) -> Tensor:
        """Return the error (B,) of each image alone, with one, or with two before it, in turn."""
        turn = ops.arange(ops.shape(z)[0]) % 3
        weights = ops.stack([ops.cast(turn >= number, "float32") for number in range(3)])
        decoded = self.decoder(combine(_rolled(z), weights, self.averaged))
        behind = _rolled(background(image))
        ground, defects = _parts(_rolled(image), behind, weights, self.polarity)
        target = ops.clip(ground + defects, 0.0, 1.0)
        # Defects are few of the pixels: without this most of the loss is grain.
        emphasis = 1 + _EMPHASIS * ops.minimum(ops.abs(_smooth(defects)) / _PLAIN, 1.0)
        squares = ops.square((target - ops.cast(decoded, "float32")) / self.sigma)
        return ops.sum(0.5 * emphasis * squares, axis=(1, 2, 3))

    def get_config(self) -> dict[str, Any]:
        keys = ("averaged", "polarity", "mixture", "separated")
        return {**super().get_config(), **{key: getattr(self, key) for key in keys}}


def _rolled(batch: Tensor) -> Tensor:
    """Stack every sample with the two before it: (B, ...) -> (3, B, ...)."""
    return ops.stack([ops.roll(batch, shift, axis=0) for shift in range(3)])


def separation(image: Tensor, z_mean: Tensor, z_log_var: Tensor) -> Tensor:
    """Return the least distance between the means of two images, in units of the largest deviation.

    Copies of an image count as one; where all are copies of one the result is infinite.
    """
    image = ops.reshape(ops.cast(image, "float32"), (ops.shape(image)[0], -1))
    differ = ops.max(ops.abs(image[:, None] - image[None]), axis=-1) > 1e-6
    distances = ops.sqrt(ops.sum(ops.square(z_mean[:, None] - z_mean[None]), axis=-1))
    nearest = ops.min(ops.where(differ, distances, np.float32(np.inf)))
    return nearest / ops.exp(0.5 * ops.max(z_log_var))
