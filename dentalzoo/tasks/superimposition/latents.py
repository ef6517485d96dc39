"""The latent space of a bundle: its collapse, its main plane, and a scan of it."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from dentalzoo.tasks.autoencoders import MIN_NATS, kl_divergence

if TYPE_CHECKING:
    from dentalzoo.bundle import Bundle

MIN_SEPARATION = 3.0
"""The least distance of two images' means in standard deviations. Below it their samples mix, and
so do the decoded images."""

SCAN, STEP = (-15.0, 15.0, -10.0, 10.0), 0.1
"""The ranges of the two latent units that the paper scans, and its step."""

MAX_SEPARATED = 10  # ours: more images cannot all lie apart, and need not
_BLOCK = 512  # points decoded at a time


def separation(z_mean: np.ndarray, z_log_var: np.ndarray) -> float | None:
    """Least distance between two of (N, D) means / the largest deviation; None for N = 1."""
    if len(z_mean) < 2:
        return None
    means, nearest = z_mean.astype(np.float64), math.inf
    squares = (means**2).sum(1)
    for start in range(0, len(means), _BLOCK):  # all pairs at once may be too many
        rows = slice(start, start + _BLOCK)
        block = squares[rows, None] + squares - 2 * means[rows] @ means.T
        block[np.arange(len(block)), np.arange(start, start + len(block))] = np.inf
        nearest = min(nearest, float(block.min()))
    return float(np.sqrt(max(nearest, 0)) / np.exp(z_log_var.max() / 2))


def collapse(z_mean: np.ndarray, z_log_var: np.ndarray, config: Mapping[str, Any]) -> str | None:
    """Return a warning and what to change where the codes of images cannot be distinguished.

    Args:
        z_mean, z_log_var: (N, D), of N different images.
        config: of the network; only settings that it has are named.

    Returns:
        A sentence, or None where the codes are distinct.
    """
    total = float(kl_divergence(z_mean, z_log_var).mean(0).sum())
    if total < MIN_NATS:
        problem = (
            f"the code has collapsed: it carries {total:.3f} nats, so every image is decoded "
            "alike and no superimposed image can show its sources"
        )
    else:
        apart = separation(z_mean, z_log_var)
        if apart is None or len(z_mean) > MAX_SEPARATED or apart >= MIN_SEPARATION:
            return None
        problem = (
            f"two images nearly coincide in the latent space: their means are {apart:.1f} standard "
            f"deviations apart, and {MIN_SEPARATION:g} are needed to decode each as itself"
        )
    advice = []
    if config.get("hidden_activation") == "relu" and config.get("network", "conv") == "conv":
        advice.append('hidden_activation="leaky_relu" (a dead relu unit stays dead)')
    if config.get("invert") is False:
        advice.append("invert=True where defects are dark (bright ones on black are learned first)")
    if z_mean.shape[1] == 2:
        advice.append("a larger latent_dim")
    advice.append("the variant robust")
    return f"{problem}. Train again with {', or '.join(advice)}"


@dataclass(frozen=True)
class Plane:
    """A plane of the latent space: z = centre + x * axes[0] + y * axes[1].

    Attributes:
        centre: (D,).
        axes: (2, D).
        names: of x and y.
        x, y: the ranges (from, to) that a scan covers.
        step: between two points of a scan.
    """

    centre: np.ndarray
    axes: np.ndarray
    names: tuple[str, str] = ("first latent unit", "second latent unit")
    x: tuple[float, float] = SCAN[:2]
    y: tuple[float, float] = SCAN[2:]
    step: float = STEP

    def project(self, z: np.ndarray) -> np.ndarray:
        """Return the point of the plane nearest to each z, (N, D) -> (N, 2)."""
        return np.asarray((z - self.centre) @ np.linalg.pinv(self.axes))

    def points(self, xy: np.ndarray) -> np.ndarray:
        """Return the latent vectors (N, D) float32 of points (N, 2)."""
        return np.asarray(self.centre + xy @ self.axes, np.float32)

    def spread(self, z_log_var: np.ndarray) -> np.ndarray:
        """Return the covariances in the plane, (N, 2, 2), of log-variances (N, D)."""
        onto = np.linalg.pinv(self.axes)
        return np.asarray(np.einsum("da,nd,db->nab", onto, np.exp(z_log_var), onto))

    def grid(self) -> tuple[np.ndarray, np.ndarray]:
        """Return x of the columns and y of the rows of a scan, both ends included, y falling."""
        counts = [round((end - start) / self.step) + 1 for start, end in (self.x, self.y)]
        return np.linspace(*self.x, counts[0]), np.linspace(*self.y[::-1], counts[1])


def main_plane(z_mean: np.ndarray) -> Plane:
    """Return the plane of the two latent units, or of the two principal axes of means (N, D)."""
    if z_mean.shape[1] == 2:
        return Plane(np.zeros(2), np.eye(2))
    centre = z_mean.mean(0)
    axes = np.zeros((2, z_mean.shape[1]))
    directions = np.linalg.svd(z_mean - centre, full_matrices=False)[2][:2]
    axes[: len(directions)] = directions
    axes *= np.where(axes.sum(1) < 0, -1, 1)[:, None]  # the sign is arbitrary
    return Plane(
        centre, axes, ("first principal axis of the means", "second principal axis of the means")
    )


def scan_plane(z_mean: np.ndarray, config: Mapping[str, Any], step: float | None = None) -> Plane:
    """Return the plane that a scan covers.

    Two latent units are scanned themselves. For more it is the plane of the sums of two images,
    z = x * first + y * second: the images lie at (1, 0) and (0, 1), their mean at (0.5, 0.5) and
    their sum at (1, 1). Units that the bundle averages are held at the mean of the two.

    Args:
        z_mean: of the images, (K, D).
        config: of the network, for `averaged`, and `scan` and `scan_step` of two units.
        step: of the scan instead of the config's, or of 0.05.
    """
    dims = z_mean.shape[1]
    if dims == 2:
        left, right, low, high = config.get("scan", SCAN)
        units, step = Plane(np.zeros(2), np.eye(2)), step or config.get("scan_step", STEP)
        return replace(units, x=(left, right), y=(low, high), step=step)
    averaged = np.arange(dims) < config.get("averaged", 0)
    centre = np.where(averaged, z_mean[:2].mean(0), 0)
    axes = np.where(averaged, 0, z_mean[:2])
    names = ("weight of A", "weight of B")
    return Plane(centre, axes, names, (-0.5, 1.5), (-0.5, 1.5), step or 0.05)


def scan(
    bundle: "Bundle",
    x: tuple[float, float] = SCAN[:2],
    y: tuple[float, float] = SCAN[2:],
    step: float = STEP,
    plane: Plane | None = None,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Decode a grid of points of the latent space, block by block, in constant memory.

    Args:
        bundle: with two latent units, unless `plane` is given.
        x, y: the ranges of the two units, both ends included; the paper's by default, which with
            its step are 301 x 201 points.
        step: between two points.
        plane: a plane with ranges and step instead of these.

    Yields:
        (row and column (n, 2) int, images (n, H, W, C) float32 in [0, 1]); the first row is that
        of the largest y.
    """
    plane = plane or Plane(np.zeros(2), np.eye(2), x=x, y=y, step=step)
    xs, ys = plane.grid()
    for start in range(0, len(xs) * len(ys), _BLOCK):
        indices = np.arange(start, min(start + _BLOCK, len(xs) * len(ys)))
        rows, columns = np.divmod(indices, len(xs))
        z = plane.points(np.stack([xs[columns], ys[rows]], 1))
        yield np.stack([rows, columns], 1), bundle.decode(z)["image"]
