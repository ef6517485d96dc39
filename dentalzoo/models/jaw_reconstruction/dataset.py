"""Views of jaws, and points on them, to train on."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dentalzoo.contracts import DataOptions, Stream
from dentalzoo.data.meshes import find_meshes
from dentalzoo.data.pipeline import batches
from dentalzoo.data.views import VIEWS, cache_views
from dentalzoo.models.jaw_reconstruction.config import Config

if TYPE_CHECKING:
    import tensorflow as tf


def make_dataset(data: str | Path, config: Config, options: DataOptions = DataOptions()) -> Stream:
    """Return batches of views of jaws and of points on them.

    Args:
        data: a folder of meshes, see docs/data_formats.md.
        config: sizes, points, batch size and the fraction of jaws with missing views.
        options: see `DataOptions`; training hides views, and the cache takes 0.8 MB a jaw.

    Returns:
        Batches {"views": float32 (B, 10, S, S, C) in [0, 1], hidden ones black, "points": float32
        (B, N, 3), 40 mm = 1}. Bad files are logged and left out. For decoder=depth "depth" float32
        (B, 10, S, S, 1) takes the place of "points": along each camera's axis, 0 beside the jaw.

    Raises:
        DentalzooError: no mesh of the split can be used.
    """
    jaws = cache_views(
        find_meshes(data, options.split).samples,
        options.cache,
        config.image_size,
        config.channels,
        config.num_points,
        "order" if config.pairs == "index" else config.sampling,
        depth=config.decoder == "depth",
    )
    target = "depth" if config.decoder == "depth" else "points"

    def hide(sample: dict[str, np.ndarray], epoch: int, index: int) -> dict[str, np.ndarray]:
        """Hide one to nine views of some jaws."""
        random = np.random.default_rng((options.seed, epoch, index))
        if random.random() >= config.missing_views:
            return sample
        views = sample["views"].copy()
        views[random.permutation(VIEWS)[: random.integers(1, VIEWS)]] = 0
        return {**sample, "views": views}

    def finish(batch: "dict[str, tf.Tensor]") -> "dict[str, tf.Tensor]":
        import tensorflow as tf

        views = tf.cast(batch["views"], tf.float32) / 255.0
        return {"views": views, target: tf.cast(batch[target], tf.float32)}

    return batches(
        jaws,
        config.batch_size,
        epochs=options.epochs,
        shuffle=options.training,
        augment=hide if options.training and config.missing_views else None,
        finish=finish,
        seed=options.seed,
        shard=options.shard,
        devices=options.devices,
    )


def example_batch(config: Config) -> dict[str, np.ndarray]:
    """Return two synthetic jaws as `make_dataset` delivers them."""
    from dentalzoo.data.io.mesh_files import Mesh
    from dentalzoo.data.jaw_pose import find_pose
    from dentalzoo.data.meshes import sample_points
    from dentalzoo.data.synthetic import upper_jaw
    from dentalzoo.data.views import render_views

    views, points = [], []
    for seed in range(2):
        jaw = upper_jaw(seed)
        mesh = Mesh(jaw.vertices, jaw.faces)
        mesh = Mesh(find_pose(mesh).apply(jaw.vertices), jaw.faces)
        views.append(render_views(mesh, config.image_size, config.channels))
        points.append(sample_points(mesh, config.num_points, config.sampling, seed))
    return {"views": np.stack(views) / np.float32(255), "points": np.stack(points)}
