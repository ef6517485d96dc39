"""Depth in each view, fused: ten views -> how far the jaw is at each pixel of each of them.

A U-Net reads each view. Its features are gathered in a volume around the jaw, where views that see
the same place agree or contradict each other; a 3D U-Net decides where the surface is. Each view
renders a coarse depth from the volume, and its U-Net refines it. Ours, after the outlook of the
paper (alternative decoders); volumes of features: Atlas, arXiv:2003.10432.
"""

from collections.abc import Sequence
from typing import Any

import keras
from keras import layers, ops

from dentalzoo.data.views import DISTANCE, FOCAL, VIEWS, camera_axes, cameras
from dentalzoo.models.jaw_reconstruction.config import Config
from dentalzoo.models.jaw_reconstruction.encoder import attend, seen_views

# In units of 40 mm: half the box of the voxels, and their side.
BOX = (1.2, 1.1, 0.6)
VOXEL = 0.05
GRID = tuple(round(2 * half / VOXEL) for half in BOX)  # (48, 44, 24)
_REACH = 1.3  # of the samples along a ray, before and behind the middle of the jaw
_STEP = 0.05
_FEATURES = 8  # of each view, in the volume
_FILTERS = (16, 32, 48)  # of the 3D U-Net
_SCALE = 0.1  # a residual of 1 is 4 mm


def depth_network(config: Config) -> keras.Model:
    """Return a model: views (B, 10, S, S, 1) in [0, 1], a missing one black -> depth.

    "depth" is (B, 10, S, S, 4) float32: depth along the camera's axis in units of 40 mm; logarithm
    of its expected error; the coarse depth; the logit of whether the jaw is there.
    """
    side, filters = config.image_size, config.filters
    views = keras.Input((VIEWS, side, side, 1), name="views")
    seen = seen_views(views)  # (B, 10)
    images = ops.reshape(views, (-1, side, side, 1))
    x = layers.Concatenate()([images, ops.cast(images > 0, images.dtype)])
    x = Coordinates(name="coordinates")(x)
    skips = []
    for number, count in enumerate(filters):
        x = _convolved(config, x, count, stride=1 if number == 0 else 2)
        x = _convolved(config, x, count)
        skips.append(x)
    x = _informed(config, x, seen)
    for count, skip in zip(filters[-2:0:-1], skips[-2:0:-1], strict=True):
        x = _joined(config, x, skip, count)
    features = layers.Conv2D(_FEATURES, 1, name="features")(x)  # (B * 10, S / 2, S / 2, 8)
    volume = Volume(name="volume")([features, images, seen])
    density = _volume_network(config, volume)
    coarse = Rendered(side // 2, name="rendered", dtype="float32")(
        density
    )  # (B * 10, S / 2, S / 2, 2)
    x = _convolved(config, layers.Concatenate()([x, coarse]), filters[1])
    x = _joined(config, x, skips[0], filters[0])
    fine = layers.Conv2D(2, 1, kernel_initializer="zeros", dtype="float32", name="fine")(x)
    coarse = layers.UpSampling2D(interpolation="bilinear", dtype="float32")(coarse)
    depth = coarse[..., :1] + _SCALE * fine[..., :1]
    maps = ops.concatenate([depth, fine[..., 1:] - 3.0, coarse], axis=-1)
    return keras.Model(views, Unfolded(name="depth", dtype="float32")(maps), name="depth_network")


# ---- parts ---------------------------------------------------------------------------------------


def _convolved(config: Config, x: Any, count: int, stride: int = 1) -> Any:
    convolve = layers.Conv3D if len(x.shape) == 5 else layers.Conv2D
    x = convolve(count, 3, strides=stride, padding="same", use_bias=False)(x)
    return layers.ReLU()(layers.BatchNormalization(momentum=config.bn_momentum)(x))


def _joined(config: Config, x: Any, skip: Any, count: int) -> Any:
    enlarged = Doubled()(x) if len(x.shape) == 5 else layers.UpSampling2D()(x)
    return _convolved(config, layers.Concatenate()([enlarged, skip]), count)


def _informed(config: Config, x: Any, seen: Any) -> Any:
    """Add to each view's map (B * 10, h, h, C) what attention over all views finds."""
    tokens = layers.Dense(config.embedding, name="token")(layers.GlobalAveragePooling2D()(x))
    tokens = attend(config, ops.reshape(tokens, (-1, VIEWS, config.embedding)), seen)
    tokens = layers.Dense(x.shape[-1], name="informed")(tokens)
    return x + ops.reshape(tokens, (-1, 1, 1, x.shape[-1]))


def _volume_network(config: Config, volume: Any) -> Any:
    """Return the logit of the surface's density in each voxel, (B, X, Y, Z)."""
    skips, x = [], volume
    for number, count in enumerate(_FILTERS):
        x = _convolved(config, x, count, stride=1 if number == 0 else 2)
        if number:
            x = _convolved(config, x, count)
        skips.append(x)
    for count, skip in zip(_FILTERS[-2::-1], skips[-2::-1], strict=True):
        x = _joined(config, x, skip, count)
    start = keras.initializers.Constant(-4.0)  # nearly empty
    x = layers.Conv3D(1, 1, bias_initializer=start, dtype="float32", name="density")(x)
    return x[..., 0]


@keras.saving.register_keras_serializable("dentalzoo")
class Coordinates(layers.Layer):
    """Appends to images (N, S, S, C) the column and the row of each pixel, in [-1, 1]."""

    def call(self, x: Any) -> Any:
        side = x.shape[1]
        line = ops.cast(ops.arange(side, dtype="float32") * (2 / (side - 1)) - 1, x.dtype)
        column, row = ops.meshgrid(line, line)
        grid = ops.stack([column, row], axis=-1)[None]
        return ops.concatenate([x, grid + ops.zeros_like(x[..., :1])], axis=-1)


@keras.saving.register_keras_serializable("dentalzoo")
class Volume(layers.Layer):
    """What the views see at each voxel.

    Features (B * 10, h, h, F), images (B * 10, S, S, 1) and seen (B, 10) -> (B, X, Y, Z, 2 F + 1):
    mean and standard deviation over the views that are there, and the share of views in whose
    silhouette the voxel lies.
    """

    def call(self, inputs: Sequence[Any]) -> Any:
        features, images, seen = inputs
        side, count = features.shape[1], features.shape[-1]
        step = images.shape[1] // side
        shape = ops.average_pool(images, step, step)
        shape = ops.cast(shape > 0, features.dtype)
        maps = ops.concatenate([features, shape], axis=-1)
        maps = ops.reshape(maps, (-1, VIEWS * side * side, count + 1))
        pixels = _voxel_pixels(side)  # (10, V)
        sampled = [
            ops.take(maps, pixels[view] + view * side * side, axis=1) for view in range(VIEWS)
        ]
        weights = ops.cast(seen, maps.dtype)
        total = ops.maximum(ops.sum(weights, axis=1), 1)[:, None, None]
        weighted = [s * weights[:, view, None, None] for view, s in enumerate(sampled)]
        mean = sum(weighted) / total
        square = sum(w * s for w, s in zip(weighted, sampled, strict=True)) / total
        spread = ops.sqrt(ops.maximum(square - mean * mean, 0) + 1e-6)
        volume = ops.concatenate([mean, spread[..., :count]], axis=-1)
        return ops.reshape(volume, (-1, *GRID, 2 * count + 1))


@keras.saving.register_keras_serializable("dentalzoo")
class Rendered(layers.Layer):
    """Depth and presence of the jaw along the rays of each view.

    Logits of density (B, X, Y, Z) -> (B * 10, h, h, 2) float32: the depth at which a ray is
    expected to end, and the logit of that it ends.
    """

    def __init__(self, side: int, **options: Any) -> None:
        super().__init__(**options)
        self.side = side

    def call(self, density: Any) -> Any:
        voxels, depth = _ray_voxels(self.side)  # (10 * h * h, T), (T,)
        empty = ops.zeros_like(density[:, :1, 0, 0]) - 20.0
        flat = ops.concatenate([ops.reshape(density, (-1, GRID[0] * GRID[1] * GRID[2])), empty], 1)
        logits = ops.take(flat, voxels, axis=1)  # (B, 10 * h * h, T)
        passed = ops.log_sigmoid(-logits)
        before = ops.cumsum(passed, axis=-1) - passed
        weights = ops.exp(before + ops.log_sigmoid(logits))
        total = ops.sum(weights, axis=-1)
        middle = (ops.sum(weights * depth, axis=-1) + 1e-3 * DISTANCE) / (total + 1e-3)
        through = ops.clip(ops.exp(ops.sum(passed, axis=-1)), 1e-4, 1 - 1e-4)
        ends = ops.log(1 - through) - ops.log(through)
        return ops.reshape(ops.stack([middle, ends], -1), (-1, self.side, self.side, 2))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "side": self.side}


@keras.saving.register_keras_serializable("dentalzoo")
class Doubled(layers.Layer):
    """Repeats each voxel along each axis: (B, X, Y, Z, C) -> (B, 2 X, 2 Y, 2 Z, C).

    As Keras' UpSampling3D, in operations that a bundle may have.
    """

    def call(self, x: Any) -> Any:
        for axis in (1, 2, 3):
            shape = [-1, *x.shape[1:]]
            shape[axis] *= 2
            x = ops.reshape(ops.stack([x, x], axis=axis + 1), shape)
        return x


@keras.saving.register_keras_serializable("dentalzoo")
class Unfolded(layers.Layer):
    """(B * 10, S, S, C) -> (B, 10, S, S, C)."""

    def call(self, x: Any) -> Any:
        return ops.reshape(x, (-1, VIEWS, *x.shape[1:]))


# ---- geometry ------------------------------------------------------------------------------------


def _voxel_pixels(side: int) -> Any:
    """Return the pixel, row * side + column, of each voxel in each camera: (10, V) int32."""
    lines = [(ops.arange(count, dtype="float32") + 0.5) * VOXEL - half
             for count, half in zip(GRID, BOX, strict=True)]  # fmt: skip
    points = ops.reshape(ops.stack(ops.meshgrid(*lines, indexing="ij"), axis=-1), (1, -1, 3))
    eyes = ops.convert_to_tensor(cameras()[:, :1], "float32")
    axes = ops.convert_to_tensor(camera_axes(), "float32")
    away = ops.matmul(points - eyes, ops.transpose(axes, (0, 2, 1)))  # (10, V, 3)
    pixels = side / 2 + side * FOCAL * away[..., :2] / away[..., 2:]
    pixels = ops.cast(ops.clip(ops.floor(pixels), 0, side - 1), "int32")
    return pixels[..., 1] * side + pixels[..., 0]


def _ray_voxels(side: int) -> tuple[Any, Any]:
    """Return the voxels along each ray, (10 * side * side, T) int32, and their depth (T,).

    Beside the volume it is the number of voxels.
    """
    # From above, the samples are the middles of voxels.
    first = DISTANCE - _REACH + _STEP / 2
    depth = ops.arange(first, DISTANCE + _REACH, _STEP, dtype="float32")
    line = (ops.arange(side, dtype="float32") + 0.5 - side / 2) / (side * FOCAL)
    column, row = ops.meshgrid(line, line)  # (h, h)
    rays = ops.reshape(ops.stack([column, row, ops.ones_like(row)], axis=-1), (1, -1, 3))
    rays = ops.matmul(rays, ops.convert_to_tensor(camera_axes(), "float32"))  # (10, h * h, 3)
    eyes = ops.convert_to_tensor(cameras()[:, :1], "float32")
    points = eyes[:, :, None] + rays[:, :, None] * depth[:, None]  # (10, h * h, T, 3)
    half = ops.convert_to_tensor(BOX, "float32")
    index = ops.cast(ops.floor((points + half) / VOXEL), "int32")
    size = ops.convert_to_tensor(GRID, "int32")
    inside = ops.all((index >= 0) & (index < size), axis=-1)
    flat = (index[..., 0] * GRID[1] + index[..., 1]) * GRID[2] + index[..., 2]
    flat = ops.where(inside, flat, GRID[0] * GRID[1] * GRID[2])
    return ops.reshape(flat, (VIEWS * side * side, -1)), depth
