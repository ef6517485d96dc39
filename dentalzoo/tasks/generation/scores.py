"""Scores of variational autoencoders in NumPy: bounds of log p(x), latent units, image similarity.

The formulas are those of `dentalzoo.nn.vae`, in float64 where sums are long.
"""

import math
from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np

from dentalzoo.tasks.autoencoders import MIN_ACTIVE, MIN_NATS

_EPSILON = 1e-7  # Keras' own, which keeps probabilities off 0 and 1
_C1, _C2 = 0.01**2, 0.03**2  # Wang et al. 2004, for images in [0, 1]
_WINDOW, _SIGMA = 11, 1.5  # Wang et al. 2004


def log_likelihood(
    image: np.ndarray, decoded: np.ndarray, likelihood: str = "bernoulli", sigma: float = 0.1
) -> np.ndarray:
    """log p(x | z) of images, summed over height, width and channels, in nats.

    Args:
        image, decoded: (..., H, W, C) float32 in [0, 1]; they may broadcast.
        likelihood: "bernoulli", the negative cross-entropy; or "gaussian" of deviation `sigma`.

    Returns:
        (...,) float64.
    """
    image = np.asarray(image, np.float32)
    if likelihood == "bernoulli":
        p = np.clip(np.asarray(decoded, np.float32), _EPSILON, 1 - np.float32(_EPSILON))
        logs = image * np.log(p) + (1 - image) * np.log1p(-p)
    else:
        logs = -0.5 * np.square((image - decoded) / np.float32(sigma))
        logs -= np.float32(math.log(sigma * math.sqrt(2 * math.pi)))
    total: np.ndarray = logs.sum((-3, -2, -1), dtype=np.float64)
    return total


def log_weights(
    log_p_x: np.ndarray, z: np.ndarray, z_mean: np.ndarray, z_log_var: np.ndarray
) -> np.ndarray:
    """log p(x, z_k) / q(z_k | x) of k samples z_k.

    Args:
        log_p_x: log p(x | z), (k, B).
        z: the samples, (k, B, D).
        z_mean, z_log_var: (B, D).

    Returns:
        (k, B) float64.
    """
    z, mean, log_var = (np.asarray(part, np.float64) for part in (z, z_mean, z_log_var))
    log_p_z = -0.5 * z**2  # both densities without log(2 pi) / 2, which cancels
    log_q_z = -0.5 * (log_var + (z - mean) ** 2 / np.exp(log_var))
    return np.asarray(log_p_x + (log_p_z - log_q_z).sum(-1))


def importance_bound(log_weights: np.ndarray, k: int | None = None) -> np.ndarray:
    """The k-sample bound of log p(x): the expectation of log mean_k p(x, z_k) / q(z_k | x).

    It is averaged over all runs of k neighbours of the n samples, where the first follows the last.
    So each sample counts equally often, all n samples serve every k, and for the same samples the
    bound of 1, the ELBO, is never above that of k, and that never above that of n.

    Args:
        log_weights: (n, B), see `log_weights`.
        k: at most n; None for n.

    Returns:
        (B,) float64, in nats.
    """
    log_weights = np.asarray(log_weights, np.float64)
    n = len(log_weights)
    starts = range(n if k and k < n else 1)
    runs = (log_weights[np.arange(start, start + (k or n)) % n] for start in starts)
    return np.asarray(np.mean([_log_mean_exp(run) for run in runs], axis=0))


def _log_mean_exp(logs: np.ndarray) -> np.ndarray:
    top = logs.max(0)
    return np.asarray(top + np.log(np.exp(logs - top).mean(0)))


def active_units(means_variance: np.ndarray, kl: np.ndarray) -> dict[str, int]:
    """Count the latent units that carry information, by two definitions.

    Args:
        means_variance: variance over the images of each unit's mean, (D,).
        kl: the mean over the images of each unit's KL divergence, (D,), in nats.

    Returns:
        "variance": units with a variance above 0.01, as Burda et al. count them; "kl": units with
        a divergence above 0.01 nats.
    """
    counts = {"variance": means_variance, "kl": kl}
    return {key: int((np.asarray(values) > MIN_ACTIVE).sum()) for key, values in counts.items()}


def collapse(active: int, kl: float, config: Mapping[str, Any]) -> str | None:
    """Return a warning and what to change where the code carries no information; else None.

    Args:
        active: active units, by the variance of their means.
        kl: the divergence of the whole code, in nats.
        config: of the network; only settings that it has are named.
    """
    if active and kl >= MIN_NATS:
        return None
    ways = {
        "beta": "a lower beta",
        "warmup_epochs": "more warmup_epochs",
        "free_bits": "free_bits above 0",
        "learning_rate": "a lower learning_rate",
        "hidden_activation": "another hidden_activation (leaky_relu: a dead relu unit stays dead)",
        "invert": "another invert (bright marks on a dark background are learned more easily)",
    }
    known = [way for key, way in ways.items() if key in config] or list(ways.values())[:1]
    return (
        f"the code has collapsed: it carries {kl:.3f} nats in {active} active units, so every "
        f"image is decoded alike. Train again with {', or '.join(known)}"
    )


def psnr(mse: float) -> float:
    """Peak signal-to-noise ratio in dB, of images in [0, 1]; at most 100."""
    return float(-10 * np.log10(np.maximum(mse, 1e-10)))


def ssim(image: np.ndarray, other: np.ndarray) -> float:
    """Structural similarity (Wang et al. 2004) of two images, the mean over pixels and channels.

    Gaussian windows of 11 pixels and deviation 1.5 that lie inside the image; the image is mirrored
    at its border where it is smaller than two windows.

    Args:
        image, other: (H, W, C) float32 in [0, 1].
    """
    stack = np.asarray([image, other, image * image, other * other, image * other], np.float64)
    mean, mean_other, square, square_other, product = (_smooth(part) for part in stack)
    products, squares = mean * mean_other, mean**2 + mean_other**2
    score = (2 * products + _C1) * (2 * (product - products) + _C2)
    score /= (squares + _C1) * (square + square_other - squares + _C2)
    edge = _WINDOW // 2 if min(score.shape[:2]) >= 2 * _WINDOW else 0
    return float(score[edge : len(score) - edge, edge : score.shape[1] - edge].mean())


def _smooth(image: np.ndarray) -> np.ndarray:
    blurred = cv2.GaussianBlur(image, (_WINDOW, _WINDOW), _SIGMA)
    return blurred.reshape(image.shape)
