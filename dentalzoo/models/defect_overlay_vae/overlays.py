"""Sums of the latent vectors of defect_overlay_vae, and the images that they should decode to."""

import numpy as np
from keras import metrics, ops, saving

from dentalzoo.nn.vae import VAE

_TAPS = 11  # pixels of a row or column whose median is the background, every third of 64
_FAINT, _POWER = (
    0.02,
    6,
)  # below a fortieth of the grey range grain is averaged, above one defect wins
_EMPHASIS, _PLAIN = 20, 0.1  # how much more a pixel of a plain defect counts in training
_OTHER = 0.25  # what counts of a stain that is bright where defects are dark


def combine(z, weights, averaged: int = 0):
    """The sum of latent vectors, of which the first `averaged` units are averaged instead.

    Args:
        z: (K, ..., D).
        weights: (K, ...), one or more of them positive.
        averaged: units that say what is behind the defects; two such do not add up.

    Returns:
        (..., D).
    """
    weights = ops.cast(weights, z.dtype)[..., None]
    total = ops.sum(weights * z, axis=0)
    if not averaged:
        return total
    mean = total[..., :averaged] / ops.sum(weights, axis=0)
    return ops.concatenate([mean, total[..., averaged:]], axis=-1)


def background(images):
    """Images without what is narrow: medians along the rows, then along the columns.

    Args:
        images: (..., H, W, C) float32.
    """
    for axis in (-2, -3):
        side = images.shape[axis]
        taps = (np.arange(_TAPS) - _TAPS // 2) * max(1, 3 * side // 64)
        places = np.clip(np.arange(side)[:, None] + taps, 0, side - 1)
        # (..., H, W, taps, C) or (..., H, taps, W, C), with the taps last for sorting.
        found = ops.moveaxis(ops.take(images, places, axis=axis), axis, -1)
        images = ops.sort(found, axis=-1)[..., _TAPS // 2]
    return images


def composite(images, behind, weights, polarity: int = -1):
    """What an overlay should be: the mean of the backgrounds and, on it, every defect.

    Where defects meet the strongest is seen. The grain of the surfaces is averaged.

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


def _parts(images, behind, weights, polarity):
    """The two that `composite` adds."""
    weights = ops.cast(weights, images.dtype)[..., None, None, None]
    defects = weights * (images - behind)
    seen = _smooth(defects)
    strength = ops.abs(seen)
    if polarity:
        strength = strength * ops.where(polarity * seen < 0, _OTHER, 1.0)
    shares = ops.sign(weights) * (strength**_POWER + _FAINT**_POWER)
    defects = ops.sum(shares * defects, axis=0) / ops.sum(shares, axis=0)
    return ops.sum(weights * behind, axis=0) / ops.sum(weights, axis=0), defects


def _smooth(images):
    """A Gaussian mean over a pixel of 64; products of matrices, the same on each backend."""

    def gaussian(side):
        distance = np.subtract.outer(np.arange(side), np.arange(side)) * (64 / side)
        rows = np.exp(-0.5 * distance**2)
        return (rows / rows.sum(axis=1, keepdims=True)).astype(np.float32)

    rows, columns = (gaussian(side) for side in images.shape[-3:-1])
    return ops.einsum("ih,...hwc,jw->...ijc", rows, images, columns)


@saving.register_keras_serializable("dentalzoo")
class OverlayVAE(VAE):
    """A variational autoencoder that can learn that sums of its latent vectors are overlays.

    Args:
        encoder, decoder, options: of `dentalzoo.nn.vae.VAE`.
        averaged: see `combine`.
        polarity: see `composite`.
        mixture: factor on the squared error, in units of `sigma`, of what the sum of the latent
            vectors of one to three images of the batch decodes to; `composite` is wanted.
        separated: report `separation`.
    """

    def __init__(
        self,
        encoder,
        decoder,
        *,
        averaged: int = 0,
        polarity: int = -1,
        mixture: float = 0.0,
        separated: bool = False,
        **options,
    ):
        super().__init__(encoder, decoder, **options)
        self.averaged, self.polarity = averaged, polarity
        self.mixture, self.separated = mixture, separated
        if mixture:
            self.mixture_tracker = metrics.Mean(name="mixture_loss")
        if separated:
            self.separation_tracker = metrics.Mean(name="separation")

    def losses_of(self, image, outputs: dict, training: bool = False):
        loss, reconstruction, kl = super().losses_of(image, outputs, training)
        if self.separated:
            found = separation(image, outputs["z_mean"], outputs["z_log_var"])
            self.separation_tracker.update_state(found)
        if self.mixture:
            missed = self._missed_overlays(ops.cast(image, "float32"), outputs["z"])
            self.mixture_tracker.update_state(missed)
            loss = loss + self.mixture * missed
        return loss, reconstruction, kl

    def _missed_overlays(self, image, z):
        """Every image alone, with the one before it in the batch, or with two, in turn."""
        turn = ops.arange(ops.shape(z)[0]) % 3
        weights = ops.stack([ops.cast(turn >= number, "float32") for number in range(3)])
        overlays = self.decoder(combine(_rolled(z), weights, self.averaged))
        behind = _rolled(background(image))
        ground, defects = _parts(_rolled(image), behind, weights, self.polarity)
        wanted = ops.clip(ground + defects, 0.0, 1.0)
        # Defects are few of the pixels: without this most of the loss is grain.
        counted = 1 + _EMPHASIS * ops.minimum(ops.abs(_smooth(defects)) / _PLAIN, 1.0)
        missed = ops.square((wanted - ops.cast(overlays, "float32")) / self.sigma)
        return ops.sum(0.5 * counted * missed, axis=(1, 2, 3))

    def get_config(self):
        keys = ("averaged", "polarity", "mixture", "separated")
        return {**super().get_config(), **{key: getattr(self, key) for key in keys}}


def _rolled(batch):
    """(B, ...) -> (3, B, ...): every sample with the two before it."""
    return ops.stack([ops.roll(batch, shift, axis=0) for shift in range(3)])


def separation(image, z_mean, z_log_var):
    """The least distance between the means of two images in units of the largest deviation.

    Copies of an image count as one; where all are copies of one the result is infinite.
    """
    image = ops.reshape(ops.cast(image, "float32"), (ops.shape(image)[0], -1))
    differ = ops.max(ops.abs(image[:, None] - image[None]), axis=-1) > 1e-6
    distances = ops.sqrt(ops.sum(ops.square(z_mean[:, None] - z_mean[None]), axis=-1))
    nearest = ops.min(ops.where(differ, distances, np.float32(np.inf)))
    return nearest / ops.exp(0.5 * ops.max(z_log_var))
