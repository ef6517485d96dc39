"""An upper jaw in 3-D from ten images of it: MobileNetV2 per view, attention, 50,000 points.

J. Cho, S.-Y. Jeong, E.-J. Bae, S.-Y. Ihm, arXiv:2606.05998, 2026 (English version of a paper of the
Korea Multimedia Society Conference, November 2025). Known here by its abstract alone.

One encoder reads ten views of a jaw, from cameras at fixed places; attention over the views makes
one code of them, and a decoder makes points of the code. Training is on jaws whose surface is
known, by L1 between points first and by the Chamfer distance then.

Inputs: views (B, 10, S, S, C) float32 in [0, 1], view i of camera i of
`dentalzoo.data.views.cameras`; a view that is missing is black.
Outputs: points (B, N, 3) float32 in the frame of the cameras, 40 mm = 1. The SavedModel takes uint8
views of any size and gives millimetres, see `signatures`.

Differences from the paper:
- What the abstract does not state is ours: cameras, image size, widths, modulator, weights of the
  losses, optimizer; each is marked in `Config`.
- L1 needs to know which point belongs to which. Where the jaws have their vertices in one order
  (`pairs="index"`) that order tells; else (`pairs="nearest"`) it is the nearest one, and stage 1 is
  the Chamfer distance without squares.
- `morphable` is not the paper's: its decoder is a morphable model, means and modes of jaws, so that
  points are spread evenly, the result is a mesh, and the bundle is small.

Example:
    >>> import dentalzoo as dz
    >>> jaw = dz.load("jaw_reconstruction.jaws_and_crowns_v1")
    >>> found = jaw.serve(views)                    # views: uint8 (10, H, W)
    >>> found["points"], found["faces"]             # (50000, 3) mm, (98952, 3)
"""

import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dentalzoo.bundle.hub import Weights
from dentalzoo.config import (
    check_choices,
    check_filters,
    check_numbers,
    check_whole_numbers,
    make_tuples,
)
from dentalzoo.data.jaw_pose import SCALE
from dentalzoo.data.meshes import find_meshes
from dentalzoo.data.pipeline.batching import batches
from dentalzoo.data.views import VIEWS, cache_views
from dentalzoo.errors import DentalzooError
from dentalzoo.models.jaw_reconstruction.serving import signatures as signatures

ABOUT = {
    "paper": "J. Cho, S.-Y. Jeong, E.-J. Bae, S.-Y. Ihm, arXiv:2606.05998, 2026",
    "inputs": "views: uint8 (B, 10, H, W, 1 or 3), any size; an upper jaw from ten cameras at "
    "fixed places, nine around it and one above; serve_some takes fewer",
    "outputs": "points: float32 (B, N, 3) mm; faces: int32 (B, M, 3) where the decoder has them",
    "intended_use": "Research on the reconstruction of jaws from images. Not a medical device, "
    "not for diagnosis or for the making of appliances.",
}


@dataclass(frozen=True)
class Config:
    """Settings of the network and of its training; the defaults are the paper's."""

    encoder: str = "mobilenet_v2"  # abstract; or convolutions
    encoder_weights: str | None = None  # not stated; ours: imagenet, or a file, or None
    alpha: float = 1.0  # not stated; ours: MobileNetV2's width
    filters: tuple[int, ...] = (16, 32, 64, 128)  # ours: of convolutions
    bn_momentum: float = 0.9  # not stated; ours: Keras' .999 lags behind short trainings
    image_size: int = 224  # not stated; ours: MobileNetV2's
    channels: int = 3  # not stated; ours: MobileNetV2's
    pooling: str = "mean"  # not stated; ours: MobileNetV2's; or grid
    token_filters: int = 32  # ours: of each place of the grid
    embedding: int = 256  # not stated; ours
    heads: int = 4  # not stated; ours
    blocks: int = 1  # not stated; ours: of attention
    fusion: str = "mean"  # not stated; ours; or all: the tokens side by side
    modulator_scale: float = 0.1  # abstract: a fixed scale; its value is not stated, so ours
    decoder: str = "mlp"  # abstract; or morphable
    hidden: tuple[int, ...] = (256,)  # not stated; ours: of the mlp
    num_points: int = 50_000  # abstract
    morphable_model: str | None = None  # ours: a file of `dentalzoo shape-model`
    components: int = 64  # ours: modes of each family of a morphable model
    faces: tuple[int, ...] = ()  # ours: number of faces of each of its families
    pairs: str = "nearest"  # not stated; ours: what L1 compares; or index
    sampling: str = "area"  # not stated; ours: how points are drawn; or vertices
    l1_weights: tuple[float, float] = (1.0, 0.1)  # abstract: by epoch; ours: of either stage
    chamfer_weights: tuple[float, float] = (0.0, 1.0)  # likewise
    first_stage: float = 0.5  # not stated; ours: the part of the epochs
    max_points: int | None = None  # ours: points that a Chamfer distance looks from; None for all
    missing_views: float = 0.0  # ours: the part of jaws some of whose views are hidden
    learning_rate: float = 1e-3  # not stated; ours
    schedule: str = "cosine"  # not stated; ours; or constant
    batch_size: int = 8  # not stated; ours
    epochs: int = 100  # not stated; ours
    monitor: str = "val_error_mm"  # ours
    monitor_mode: str = "min"  # of it

    def __post_init__(self):
        check_choices(
            self,
            encoder=("mobilenet_v2", "convolutions"),
            pooling=("mean", "grid"),
            fusion=("mean", "all"),
            decoder=("mlp", "morphable"),
            channels=(1, 3),
            pairs=("nearest", "index"),
            sampling=("area", "vertices"),
            schedule=("cosine", "constant"),
            monitor_mode=("min", "max"),
        )
        check_filters(self)
        check_filters(self, "hidden")
        check_whole_numbers(self, "image_size", least=32)
        for key in ("token_filters", "embedding", "heads", "num_points", "components"):
            check_whole_numbers(self, key)
        check_whole_numbers(self, "channels", "blocks", "batch_size", "epochs")
        if self.max_points is not None:
            check_whole_numbers(self, "max_points")
        check_numbers(
            self,
            alpha=(0.05, 2),
            bn_momentum=(0, 1),
            modulator_scale=(0, math.inf),
            first_stage=(0, 1),
            missing_views=(0, 1),
            learning_rate=(0, math.inf),
        )
        make_tuples(self, "faces", "l1_weights", "chamfer_weights")
        if any(not isinstance(count, int) or count < 1 for count in self.faces):
            raise DentalzooError(
                f"faces has the number of faces of each family. Received: {self.faces}"
            )
        weights = self.l1_weights, self.chamfer_weights
        if (
            any(len(pair) != 2 for pair in weights)
            or any(
                not isinstance(n, int | float) or not 0 <= n < math.inf for n in sum(weights, ())
            )
            or not all(map(sum, zip(*weights, strict=True)))
        ):
            raise DentalzooError(
                "l1_weights and chamfer_weights are two numbers from 0, of either stage, of which "
                f"not both are 0. Received: {self.l1_weights} and {self.chamfer_weights}"
            )
        if self.morphable_model is not None and (
            not isinstance(self.morphable_model, str) or self.decoder != "morphable"
        ):
            raise DentalzooError(
                "morphable_model is the name of a file, and goes with decoder=morphable. "
                f"Received: {self.morphable_model!r} with decoder={self.decoder}"
            )
        if self.embedding % self.heads:
            raise DentalzooError(
                "embedding is a multiple of heads. "
                f"Received: embedding={self.embedding}, heads={self.heads}"
            )


_PAPER = Config()
_MORPHABLE = dataclasses.replace(
    _PAPER,
    encoder="convolutions",
    image_size=128,
    channels=1,
    pooling="grid",
    embedding=128,
    fusion="all",
    modulator_scale=0.0,
    decoder="morphable",
    pairs="index",
    l1_weights=(1.0, 1.0),
    chamfer_weights=(0.0, 0.0),
    missing_views=0.2,
    learning_rate=2e-3,
    batch_size=16,
    epochs=40,
)
VARIANTS = {
    "paper": _PAPER,
    "morphable": _MORPHABLE,
    "tiny": dataclasses.replace(
        _MORPHABLE,
        filters=(4, 4),
        image_size=32,
        token_filters=2,
        embedding=8,
        heads=2,
        num_points=300,
        components=3,
        faces=(8, 4),
        pairs="nearest",
        l1_weights=_PAPER.l1_weights,
        chamfer_weights=_PAPER.chamfer_weights,
        batch_size=2,
        epochs=2,
    ),
}


def make_dataset(
    data_dir: str | Path,
    split: str | None,
    config: Config,
    *,
    training: bool = False,
    epochs: range = range(1),
    seed: int = 0,
    cache: str | Path | None = None,
    devices: int = 1,
):
    """Batches of views of jaws and of points on them.

    Args:
        data_dir: a folder of meshes, see docs/data_formats.md.
        split: `train`, `val`, `test` or None for all jaws.
        config: sizes, points, batch size and the part of jaws with missing views.
        training: shuffle and hide views.
        epochs: the epochs to deliver, one after the other.
        seed: seed of the order, of the points and of what is hidden.
        cache: folder for what was drawn, 0.8 MB a jaw; memory where None.
        devices: see `dentalzoo.data.pipeline.batches`.

    Returns:
        A `tf.data.Dataset` of {"views": float32 (B, 10, S, S, C) in [0, 1], hidden ones black,
        "points": float32 (B, N, 3), 40 mm = 1}. Bad files are logged and left out.

    Raises:
        DentalzooError: no mesh of the split can be used.
    """
    import tensorflow as tf

    jaws = cache_views(
        find_meshes(data_dir, split).samples,
        cache,
        config.image_size,
        config.channels,
        config.num_points,
        "order" if config.pairs == "index" else config.sampling,
    )

    def hide(sample, epoch, index):
        """Of some jaws one to nine views are not there."""
        random = np.random.default_rng((seed, epoch, index))
        if random.random() >= config.missing_views:
            return sample
        views = sample["views"].copy()
        views[random.permutation(VIEWS)[: random.integers(1, VIEWS)]] = 0
        return {**sample, "views": views}

    return batches(
        jaws,
        config.batch_size,
        epochs=epochs,
        shuffle=training,
        augment=hide if training and config.missing_views else None,
        finish=lambda batch: {
            "views": tf.cast(batch["views"], tf.float32) / 255.0,
            "points": batch["points"],
        },
        seed=seed,
        devices=devices,
    )


# ------------------------------------------------------------------------------------ the network


def build_model(config: Config):
    """Builds the network.

    Returns:
        A `keras.Model`: views (B, 10, S, S, C) float32 in [0, 1] -> points (B, N, 3) float32. Its
        parts are the models `encoder`, views -> code, and `decoder`, code -> points (and faces
        (B, M, 3) int32 where the config has them).

    Raises:
        DentalzooError: weights or a morphable model that cannot be loaded, or of other sizes.
    """
    import keras

    from dentalzoo.models.jaw_reconstruction import network

    encoder = network.encoder(config)
    decoder = network.decoder(config, encoder.output_shape[-1])
    shape = (VIEWS, config.image_size, config.image_size, config.channels)
    views = keras.Input(shape, name="views")
    found = decoder(encoder(views))
    points = found[0] if isinstance(found, list) else found
    # A layer of the output's name, which is how Keras names an output.
    points = keras.layers.Identity(name="points", dtype="float32")(points)
    return keras.Model(views, points, name="jaw_reconstruction")


def compile_model(model, config: Config, steps: int = 1) -> None:
    """Compiles the model with the loss of both stages and the mean error in mm.

    Args:
        steps: number of training steps: what part of them is done tells the stage.
    """
    import keras

    rate = config.learning_rate
    if config.schedule == "cosine":
        rise = steps // 20
        rate = keras.optimizers.schedules.CosineDecay(
            0.0, steps - rise, warmup_target=rate, warmup_steps=rise
        )
    # No XLA: it compiles no KD-tree, see `dentalzoo.ops.points`.
    model.compile(
        optimizer=keras.optimizers.Adam(rate),
        loss=_loss(model, config, steps),
        metrics=[_error_mm(config)],
        jit_compile=False,
    )


def callbacks(config: Config) -> list:
    """None: the recipe is a number of epochs."""
    return []


# ------------------------------------------------------------------------------------------- loss


def stage_weights(epoch: int, config: Config) -> tuple[float, float]:
    """What L1 and the Chamfer distance count in an epoch, counted from 0: (l1, chamfer)."""
    stage = int(epoch >= round(config.first_stage * config.epochs))
    return config.l1_weights[stage], config.chamfer_weights[stage]


def _loss(model, config: Config, steps: int):
    """(true, found), both (B, N, 3) -> (B,)."""
    import tensorflow as tf

    from dentalzoo.ops import points

    table = np.float32([stage_weights(epoch, config) for epoch in range(config.epochs)])

    def l1(true, found):
        if config.pairs == "index":
            return tf.reduce_mean(tf.abs(found - true), axis=(1, 2))
        return points.chamfer(found, true, squared=False, max_points=config.max_points)

    def chamfer(true, found):
        return points.chamfer(found, true, max_points=config.max_points)

    def weighted(part, weight, true, found):
        """Not computed in a stage that does not count it."""
        none = tf.zeros(tf.shape(true)[:1])
        return tf.cond(weight > 0, lambda: weight * part(true, found), lambda: none)

    def loss(true, found):
        epoch = tf.cast(model.optimizer.iterations, tf.int64) * config.epochs // steps
        weights = tf.gather(table, tf.minimum(epoch, config.epochs - 1))
        parts = [(l1, weights[0])] * any(table[:, 0]) + [(chamfer, weights[1])] * any(table[:, 1])
        return tf.add_n([weighted(*part, true, found) for part in parts])

    return loss


def _error_mm(config: Config):
    """A metric: how far points are from theirs, on average, in mm."""
    import tensorflow as tf

    from dentalzoo.ops import points

    def error_mm(true, found):
        if config.pairs == "index":
            return SCALE * tf.reduce_mean(tf.norm(found - true, axis=-1), axis=-1)
        most = min(2048, config.max_points or config.num_points)  # enough for a mean
        return SCALE * points.chamfer(found, true, squared=False, max_points=most)

    return error_mm


# ---------------------------------------------------------------------------------------- released

PRETRAINED = {
    "jaws_and_crowns_v1": Weights(  # ships with the repository
        # means over 120 unseen jaws, half of them rows of crowns
        metrics={"f_score_at_1_4mm": 0.995, "pred_to_gt_mm": 0.314, "gt_to_pred_mm": 0.303},
        data="jaws_and_crowns: 1,600 drawn upper jaws, and 800 rows of crowns drawn from a "
        "statistical shape model",
        licence="Apache-2.0 (drawn jaws), MIT (shape model)",
        command="see docs/models/jaw_reconstruction.md",
    ),
}


def example_batch(config: Config) -> dict[str, np.ndarray]:
    """Two drawn jaws as `make_dataset` would deliver them."""
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
