"""Settings and variants of jaw_reconstruction; the defaults are the paper's where it states any."""

import dataclasses
from dataclasses import dataclass

from dentalzoo.config import PaperConfig, setting
from dentalzoo.data.tones import LEVELS
from dentalzoo.errors import DentalzooError


@dataclass(frozen=True)
class Config(PaperConfig):
    """Settings of the network and of its training."""

    encoder: str = setting(
        "mobilenet_v2", "abstract; convolutions: ours", choices=("mobilenet_v2", "convolutions")
    )
    encoder_weights: str | None = setting(
        None, "not stated; ours: imagenet, or a file, or None: random weights", init=True
    )
    alpha: float = setting(1.0, "not stated; ours: MobileNetV2's width", low=0.05, high=2)
    filters: tuple[int, ...] = setting(
        (16, 32, 64, 128), "ours: of convolutions", low=1, min_items=1
    )
    bn_momentum: float = setting(
        0.9, "not stated; ours: Keras' .999 lags behind short trainings", low=0, high=1
    )
    image_size: int = setting(224, "not stated; ours: MobileNetV2's", low=32)
    channels: int = setting(3, "not stated; ours: MobileNetV2's", choices=(1, 3))
    pooling: str = setting("mean", "not stated; ours: MobileNetV2's", choices=("mean", "grid"))
    token_filters: int = setting(32, "ours: of each cell of the grid", low=1)
    embedding: int = setting(256, "not stated; ours", low=1)
    heads: int = setting(4, "not stated; ours", low=1)
    blocks: int = setting(1, "not stated; ours: of attention", low=1)
    fusion: str = setting(
        "mean", "not stated; ours; all: the tokens side by side", choices=("mean", "all")
    )
    modulator_scale: float = setting(
        0.1, "abstract: a fixed scale; its value is not stated, so ours", low=0
    )
    decoder: str = setting(
        "mlp",
        "abstract; morphable: ours; depth: ours, in each view, fused",
        choices=("mlp", "morphable", "depth"),
    )
    hidden: tuple[int, ...] = setting((256,), "not stated; ours: of the mlp", low=1, min_items=1)
    num_points: int = setting(50_000, "abstract", low=1)
    tones: tuple[float, ...] = setting(
        (), "ours: of decoder=depth: how bright views are made, see `match_tones`", low=0, high=255
    )
    morphable_model: str | None = setting(
        None, "ours: a file of `dentalzoo shape-model`", init=True, freezes=True
    )
    components: int = setting(64, "ours: modes of each family of a morphable model", low=1)
    faces: tuple[int, ...] = setting((), "ours: number of faces of each of its families", low=1)
    pairs: str = setting(
        "nearest", "not stated; ours: which points L1 compares", choices=("nearest", "index")
    )
    sampling: str = setting(
        "area", "not stated; ours: how points are sampled", choices=("area", "vertices")
    )
    l1_weights: tuple[float, float] = setting(
        (1.0, 0.1), "abstract: by epoch; ours: of the first and the second stage", low=0
    )
    chamfer_weights: tuple[float, float] = setting(
        (0.0, 1.0), "abstract: by epoch; ours: of the first and the second stage", low=0
    )
    first_stage: float = setting(0.5, "not stated; ours: fraction of the epochs", low=0, high=1)
    max_points: int | None = setting(
        None, "ours: points from which a Chamfer distance is measured; None for all", low=1
    )
    missing_views: float = setting(
        0.0, "ours: fraction of jaws some of whose views are hidden", low=0, high=1
    )
    learning_rate: float = setting(1e-3, "not stated; ours", low=0)
    schedule: str = setting("cosine", "not stated; ours", choices=("cosine", "constant"))
    batch_size: int = setting(8, "not stated; ours", low=1)
    epochs: int = setting(100, "not stated; ours", low=1)
    monitor: str = setting("val_error_mm", "ours")
    monitor_mode: str = setting("min", "ours", choices=("min", "max"))

    def check(self) -> None:
        """Check the weights of the losses, the shape model and the heads of the attention.

        Raises:
            DentalzooError: they contradict each other.
        """
        if not all(map(sum, zip(self.l1_weights, self.chamfer_weights, strict=True))):
            raise DentalzooError(
                "l1_weights or chamfer_weights must be above 0 in each stage; not both are 0. "
                f"Received: {self.l1_weights} and {self.chamfer_weights}"
            )
        if self.morphable_model is not None and self.decoder != "morphable":
            raise DentalzooError(
                "morphable_model must be None, or decoder must be morphable; it goes with "
                f"decoder=morphable. Received: {self.morphable_model!r} with "
                f"decoder={self.decoder}"
            )
        if self.decoder == "depth":
            multiple = 2 ** (len(self.filters) - 1)
            if self.channels != 1 or self.image_size % multiple or len(self.filters) < 3:
                raise DentalzooError(
                    "decoder=depth must have channels=1, three or more filters and an image_size "
                    f"that is a multiple of {multiple}, 2 for each filter but the first. Received: "
                    f"{self.channels}, {self.filters} and {self.image_size}"
                )
        if self.tones and not (
            self.decoder == "depth"
            and len(self.tones) == 3 * len(LEVELS)
            and list(self.tones) == sorted(set(self.tones))
        ):
            raise DentalzooError(
                f"tones must be empty, or {3 * len(LEVELS)} rising grey values with decoder=depth. "
                f"Received: {self.tones} with decoder={self.decoder}"
            )
        if self.embedding % self.heads:
            raise DentalzooError(
                "embedding must be a multiple of heads. "
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
_DEPTH = dataclasses.replace(
    _PAPER,
    encoder="convolutions",
    filters=(16, 24, 40, 64, 96),
    image_size=128,
    channels=1,
    embedding=128,
    modulator_scale=0.0,
    decoder="depth",
    # Of 24 synthetic scans (seed 78000), wide enough for whole jaws and rows of crowns.
    tones=(172, 191, 205, 231, 239, 244),
    missing_views=0.2,
    learning_rate=2e-3,
    batch_size=4,
    epochs=40,
)
VARIANTS = {
    "paper": _PAPER,
    "morphable": _MORPHABLE,
    "depth": _DEPTH,
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
