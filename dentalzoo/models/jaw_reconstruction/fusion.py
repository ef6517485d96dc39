"""From the depth of each view to points of the jaw, evenly spread: the views correct each other.

A pixel's point is moved to the mean of where the views see the surface in its place, weighted by
their expected errors; points that views look through, or that lie beside a silhouette, are dropped.
"""

import math
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from dentalzoo.data.views import FOCAL, VIEWS, camera_axes, cameras

# All values are ours, in units of 40 mm where they are lengths.
_PIXELS = 1 << 15  # at most, of all views together
_NEAR = (0.06, 0.04, 0.03)  # 2.4, 1.6 and 1.2 mm: how far views may disagree, by the round
_THROUGH = 0.045  # 1.8 mm: a view sees so far behind a point that the point is not there
_OFFSETS = (-1 / 3, 0.0, 1 / 3)  # of the points of a pixel, along its rows and columns
_CELL = 0.009  # 0.36 mm: the spacing of 50,000 points of a jaw
# Cells along each axis, to 1.22, 1.15 and 0.65 on either side. Fewer than 2^24 in all: ONNX sorts
# integers as float32.
_CELLS = (272, 256, 144)
_EDGE = 0.05  # 2 mm: neighbouring pixels that differ more belong to different surfaces


class _Maps(NamedTuple):
    """What the views see, pixels flat: (B, 10 * S * S) each."""

    depth: tf.Tensor
    weight: tf.Tensor  # 0 beside the jaw and where a view is missing
    beside: tf.Tensor  # bool: the view is there, and the jaw is not near this pixel
    side: int


def fuse(maps: tf.Tensor, views: tf.Tensor, num_points: int) -> tf.Tensor:
    """Fuse the depth of the views of a jaw.

    Args:
        maps: (B, 10, S, S, 4) float32, of `depth_network`.
        views: (B, 10, S, S, 1) float32, a missing one black.
        num_points: N.

    Returns:
        (B, N, 3) float32 in the frame of the cameras; all the origin where no view shows a jaw.
    """
    seen = _flat_maps(maps, views)
    chosen = tf.math.top_k(seen.weight, min(_PIXELS, VIEWS * seen.side**2), sorted=False)[1]
    rays = tf.gather(tf.constant(_rays(seen.side)), chosen)
    points = _back_projected(seen, chosen, rays)
    kept = tf.gather(seen.weight, chosen, batch_dims=1) > 0
    moved = points
    for near in _NEAR:
        moved, supported = _corrected(moved, seen, near)
    kept &= supported
    points = _with_neighbours(seen, chosen, rays, points) + (moved - points)[:, :, None]
    batch, count = tf.shape(points)[0], points.shape[2]
    kept = tf.reshape(tf.tile(kept[..., None], (1, 1, count)), (batch, -1))
    return _spread(tf.reshape(points, (batch, -1, 3)), kept, num_points)


def agreed_depth(maps: tf.Tensor, views: tf.Tensor) -> tf.Tensor:
    """Return how far the surface of each pixel is once the views have corrected each other.

    Args:
        maps, views: as of `fuse`.

    Returns:
        (B, 10, S, S) float32, along each camera's axis.
    """
    seen = _flat_maps(maps, views)
    # Views and pixels are axes, so that what is constant is small in the graph.
    apart, flat = (-1, VIEWS, seen.side**2, 3), (-1, VIEWS * seen.side**2, 3)
    axes, eyes = (tf.constant(x, tf.float32) for x in (camera_axes(), cameras()[:, :1]))
    rays = tf.constant(_plane(seen.side), tf.float32) @ axes
    points = eyes + tf.reshape(seen.depth, apart[:3])[..., None] * rays
    points = tf.reshape(points, flat)
    for near in _NEAR:
        points, _ = _corrected(points, seen, near)
    along = tf.reduce_sum((tf.reshape(points, apart) - eyes) * axes[:, 2:], axis=-1)
    return tf.reshape(along, tf.shape(maps)[:-1])


def _flat_maps(maps: tf.Tensor, views: tf.Tensor) -> _Maps:
    depth, log_scale, _, _ = tf.unstack(maps, axis=-1)
    batch, side = tf.shape(maps)[0], maps.shape[2]
    shown = tf.cast(views > 0, tf.float32)
    shape = tf.reshape(shown, (-1, side, side, 1))
    wide = tf.nn.max_pool2d(shape, 3, 1, "SAME")
    there = tf.reduce_max(shown, axis=(2, 3, 4), keepdims=True)
    beside = (tf.reshape(wide, tf.shape(shown)) < 1) & (there > 0)
    flat = (batch, VIEWS * side * side)
    weight = shown[..., 0] * tf.exp(-2 * tf.clip_by_value(log_scale, -8.0, 0.0))
    return _Maps(tf.reshape(depth, flat), tf.reshape(weight, flat), tf.reshape(beside, flat), side)


def _rays(side: int) -> np.ndarray:
    """Return the ray of each pixel of each camera, 1 along its axis: (10 * S * S, 3) float32."""
    return (_plane(side) @ camera_axes()).reshape(-1, 3).astype(np.float32)


def _plane(side: int) -> np.ndarray:
    """Return the ray of each pixel in the axes of its camera: (1, S * S, 3) float64."""
    line = (np.arange(side) + 0.5 - side / 2) / (side * FOCAL)
    column, row = np.meshgrid(line, line)
    return np.stack([column, row, np.ones_like(row)], axis=-1).reshape(1, -1, 3)


def _back_projected(seen: _Maps, chosen: tf.Tensor, rays: tf.Tensor) -> tf.Tensor:
    """Return the points of pixels (B, K): (B, K, 3)."""
    eyes = tf.gather(tf.constant(cameras()[:, 0], tf.float32), chosen // seen.side**2)
    return eyes + tf.gather(seen.depth, chosen, batch_dims=1)[..., None] * rays


def _with_neighbours(
    seen: _Maps, chosen: tf.Tensor, rays: tf.Tensor, middle: tf.Tensor
) -> tf.Tensor:
    """Return nine points on the surface within each pixel, around its `middle`: (B, K, 9, 3)."""
    side, step = seen.side, 1 / (seen.side * FOCAL)
    depth = tf.gather(seen.depth, chosen, batch_dims=1)
    view = chosen // (side * side)
    axes = tf.gather(tf.constant(camera_axes(), tf.float32), view)  # (B, K, 3, 3)
    slopes = []
    for stride, place in ((1, chosen % side), (side, chosen // side % side)):
        sides = []
        for sign, inside in ((1, place < side - 1), (-1, place > 0)):
            other = tf.where(inside, chosen + sign * stride, chosen)
            change = sign * (tf.gather(seen.depth, other, batch_dims=1) - depth)
            there = (tf.gather(seen.weight, other, batch_dims=1) > 0) & inside
            sides.append((change, there & (tf.abs(change) < _EDGE)))
        (after, has_after), (before, has_before) = sides
        total = tf.where(has_after, after, 0.0) + tf.where(has_before, before, 0.0)
        count = tf.cast(has_after, tf.float32) + tf.cast(has_before, tf.float32)
        slopes.append(total / tf.maximum(count, 1))
    points = []
    for down in _OFFSETS:
        for across in _OFFSETS:
            ahead = (across * slopes[0] + down * slopes[1])[..., None]
            flat = (across * axes[..., 0, :] + down * axes[..., 1, :]) * step
            points.append(middle + ahead * rays + depth[..., None] * flat)
    return tf.stack(points, axis=2)


def _corrected(points: tf.Tensor, seen: _Maps, near: float) -> tuple[tf.Tensor, tf.Tensor]:
    """Return points (B, K, 3) moved to where the views see the surface, and which to keep."""
    side = seen.side
    total, weights = tf.zeros_like(points), tf.zeros_like(points[..., :1])
    agreeing, against = tf.zeros_like(points[..., 0]), tf.zeros_like(points[..., 0])
    outside = tf.zeros_like(points[..., 0], tf.bool)
    for number, ((eye, _), axes) in enumerate(zip(cameras(), camera_axes(), strict=True)):
        away = points - tf.constant(eye, tf.float32)
        local = tf.einsum("bkd,ad->bka", away, tf.constant(axes, tf.float32))
        z = tf.maximum(local[..., 2], 0.1)
        pixel = side / 2 + side * FOCAL * local[..., :2] / z[..., None]
        pixel = tf.cast(tf.clip_by_value(tf.floor(pixel), 0, side - 1), tf.int32)
        flat = (number * side + pixel[..., 1]) * side + pixel[..., 0]
        depth = tf.gather(seen.depth, flat, batch_dims=1)
        weight = tf.gather(seen.weight, flat, batch_dims=1)
        behind = depth - z
        agrees = (weight > 0) & (tf.abs(behind) < near)
        weight = tf.where(agrees, weight, 0.0)[..., None]
        total += weight * away * (behind / z)[..., None]
        weights += weight
        agreeing += tf.cast(agrees, tf.float32)
        through = (tf.gather(seen.weight, flat, batch_dims=1) > 0) & (behind > _THROUGH)
        against += tf.cast(through, tf.float32)
        outside |= tf.gather(seen.beside, flat, batch_dims=1)
    moved = points + total / tf.maximum(weights, 1e-6)
    return moved, ~outside & (agreeing > against)


def _spread(points: tf.Tensor, kept: tf.Tensor, num_points: int) -> tf.Tensor:
    """Return N of the points (B, M, 3) that are kept, evenly spread: (B, N, 3).

    Space is divided into cells. A point of every cell is taken, or of random ones where there are
    more cells than points, then a second point of each.
    """
    counts = tf.constant(_CELLS)
    cell = tf.cast(tf.floor(points / _CELL), tf.int32) + counts // 2
    cell = tf.clip_by_value(cell, 0, counts - 1)
    key = (cell[..., 0] * _CELLS[1] + cell[..., 1]) * _CELLS[2] + cell[..., 2]
    nowhere = math.prod(_CELLS)
    key = tf.where(kept, key, nowhere)
    order = tf.argsort(key, axis=1, stable=True)
    key = tf.gather(key, order, batch_dims=1)
    index = tf.range(tf.shape(key)[1])
    # A point's number in its cell: the points before it, less those of the cells before.
    opens = tf.concat([tf.ones_like(key[:, :1], tf.bool), key[:, 1:] != key[:, :-1]], axis=1)
    starts = tf.sort(tf.where(opens, index, tf.size(index)), axis=1)
    number = tf.cumsum(tf.cast(opens, tf.int32), axis=1) - 1
    rank = index - tf.gather(starts, number, batch_dims=1)
    lot = tf.constant(np.random.default_rng(0).random(1 << 12), tf.float32)
    lots = tf.gather(lot, (index * 7919) % len(lot))
    turn = tf.where(key < nowhere, tf.cast(rank, tf.float32) + lots, 1e9)
    first = tf.math.top_k(-turn, num_points, sorted=True)[1]
    total = tf.maximum(tf.reduce_sum(tf.cast(kept, tf.int32), axis=1, keepdims=True), 1)
    again = tf.range(num_points)[None] % total  # a small jaw's points are repeated
    first = tf.gather(first, again, batch_dims=1)
    return tf.gather(tf.gather(points, order, batch_dims=1), first, batch_dims=1)
