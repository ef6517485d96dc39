"""Depth that fits the grey values of the views: a few hundred steps of gradient for each jaw.

The network's depth is smooth where the jaw is not. A view's grey values say how its surface is
inclined, and the other views where it lies: depth is moved so that its shading is that of the view,
while it stays near to what all views agree on. Ours, after the outlook of the paper (refinement
modules); shape from shading: Horn 1970, MIT AI-TR-232.
"""

from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from dentalzoo.data.views import BRIGHT, DARK, FOCAL, camera_axes, lights
from dentalzoo.models.jaw_reconstruction.fusion import agreed_depth

# All values are ours, chosen on 10 synthetic scans, seeds from 800000.
_ROUNDS = 3  # what the views agree on is computed anew after each
_STEPS = 100
_RATE = 5e-4  # of Adam, in units of 40 mm
_MOMENTS = 0.9, 0.999
_UNIT = 0.01  # 0.4 mm: of the distances that the weights below compare with grey values in [0, 1]
_AGREED, _SMOOTH = 3e-4, 1e-4
_KNOWN = 0.105  # mean difference of shading and view at the start; other light has 0.117 and more
_EDGE = 0.05  # 2 mm: neighbouring pixels that differ more belong to different surfaces


def refine(maps: tf.Tensor, views: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return maps with another depth, and of which jaws it is another.

    Args:
        maps: (B, 10, S, S, 4) float32, of `depth_network`.
        views: (B, 10, S, S, 1) float32 in [0, 1], a missing one black.

    Returns:
        (B, 10, S, S, 4) float32, the same beside the jaw, and (B,) bool. Maps of a jaw whose views
        are not lit as those of `render_views` stay as they are, False: their grey values would
        mislead. Where all are, it takes no time.
    """
    seen = _inside(views[..., 0] > 0)
    known = _strangeness(maps[..., 0], views[..., 0], seen) <= _KNOWN
    some = tf.reduce_max(tf.cast(known, tf.int32)) > 0

    def with_depth(depth: tf.Tensor) -> tf.Tensor:
        return tf.concat([depth[..., None], maps[..., 1:]], axis=-1)

    def turn(number: tf.Tensor, depth: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        agreed = tf.where(seen, agreed_depth(with_depth(depth), views), depth)
        aim = _Aim(agreed, views[..., 0], seen, _smooth_places(agreed, seen))
        return number + 1, _descended(depth, aim)

    start = tf.constant(0), maps[..., 0]
    depth = tf.while_loop(lambda number, _: (number < _ROUNDS) & some, turn, start)[1]
    return tf.where(known[:, None, None, None, None], with_depth(depth), maps), known


def _strangeness(depth: tf.Tensor, view: tf.Tensor, seen: tf.Tensor) -> tf.Tensor:
    """Return how far the views of each jaw are from the shading of a depth, (B,) in [0, 1]."""
    smooth = _smooth_places(depth, seen)
    apart = tf.reduce_sum(smooth * tf.abs(_shading(depth) - view), axis=(1, 2, 3))
    return apart / tf.maximum(tf.reduce_sum(smooth, axis=(1, 2, 3)), 1)


class _Aim(NamedTuple):
    """What depth should fit, (B, 10, S, S) each."""

    agreed: tf.Tensor
    view: tf.Tensor
    seen: tf.Tensor  # bool
    smooth: tf.Tensor  # 1 where a pixel and its neighbours show one surface, else 0

    def gradient(self, depth: tf.Tensor) -> tf.Tensor:
        """Return the gradient of the squared errors, 0 beside the jaw."""
        with tf.GradientTape() as tape:
            tape.watch(depth)
            loss = tf.reduce_sum(self.smooth * tf.square(_shading(depth) - self.view))
            apart = tf.where(self.seen, depth - self.agreed, 0.0) / _UNIT
            loss += _AGREED * tf.reduce_sum(tf.square(apart))
            for axis in (2, 3):
                bend = _next(depth, axis) + _next(depth, axis, -1) - 2 * depth
                loss += _SMOOTH * tf.reduce_sum(self.smooth * tf.square(bend / _UNIT))
        return tf.where(self.seen, tape.gradient(loss, depth), 0.0)


def _descended(depth: tf.Tensor, aim: _Aim) -> tf.Tensor:
    """Return depth after the steps of a round, by Adam."""
    first, second = _MOMENTS

    def step(number: Any, depth: Any, mean: Any, square: Any) -> tuple[Any, Any, Any, Any]:
        gradient = aim.gradient(depth)
        mean = first * mean + (1 - first) * gradient
        square = second * square + (1 - second) * tf.square(gradient)
        done = tf.cast(number + 1, tf.float32)
        rate = _RATE * tf.sqrt(1 - second**done) / (1 - first**done)
        return number + 1, depth - rate * mean / (tf.sqrt(square) + 1e-7), mean, square

    start = (tf.constant(0), depth, tf.zeros_like(depth), tf.zeros_like(depth))
    return tf.while_loop(lambda number, *_: number < _STEPS, step, start)[1]


def _shading(depth: tf.Tensor) -> tf.Tensor:
    """Return the grey values of a surface, (B, 10, S, S) in [0, 1], as `render_views` has them."""
    side = depth.shape[2]
    line = ((np.arange(side) + 0.5 - side / 2) / (side * FOCAL)).astype(np.float32)
    columns, rows = np.meshgrid(line, line)
    points = columns * depth, rows * depth, depth
    across = [_next(part, 3, 1) - _next(part, 3, -1) for part in points]
    down = [_next(part, 2, 1) - _next(part, 2, -1) for part in points]
    normal = (
        down[1] * across[2] - down[2] * across[1],
        down[2] * across[0] - down[0] * across[2],
        down[0] * across[1] - down[1] * across[0],
    )
    light = np.einsum("vad,vd->va", camera_axes(), lights()).astype(np.float32)
    lit, facing, length = tf.zeros_like(depth), tf.zeros_like(depth), 1e-18
    for part, point, toward in zip(normal, points, light.T, strict=True):
        lit += part * toward[:, None, None]
        facing -= part * point
        length += tf.square(part)
    lit *= tf.sign(facing) / tf.sqrt(length)
    return (DARK + (BRIGHT - DARK) * tf.clip_by_value(lit, 0.0, 1.0)) / 255


def _smooth_places(depth: tf.Tensor, seen: tf.Tensor) -> tf.Tensor:
    for axis in (2, 3):
        for step in (1, -1):
            near = tf.abs(_next(depth, axis, step) - depth) < _EDGE
            seen &= _next(seen, axis, step) & near
    return tf.cast(seen, tf.float32)


def _inside(seen: tf.Tensor) -> tf.Tensor:
    """Leave out the pixels at the border, which have no neighbours."""
    inner = np.zeros(seen.shape[2:], bool)
    inner[1:-1, 1:-1] = True
    return seen & inner


def _next(x: tf.Tensor, axis: int, step: int = 1) -> tf.Tensor:
    """Return at each pixel the value of its neighbour along a row (axis 3) or a column (axis 2)."""
    return tf.roll(x, -step, axis)
