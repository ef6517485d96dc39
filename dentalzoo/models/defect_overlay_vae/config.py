"""Settings and variants of defect_overlay_vae; the defaults are the paper's."""

import dataclasses
import math
from dataclasses import dataclass

from dentalzoo.config import PaperConfig, require_multiple, setting
from dentalzoo.errors import DentalzooError

ACTIVATIONS = ("relu", "leaky_relu", "elu", "silu", "gelu", "tanh", "sigmoid", "linear")
POLARITY = {"dark": -1, "bright": 1, "both": 0}


@dataclass(frozen=True)
class Config(PaperConfig):
    """Settings of the network and of its training."""

    RENAMED = {"holdout": "val_fraction"}

    network: str = setting(
        "conv",
        "the Keras example; map, ours: latent units of image patches",
        choices=("conv", "map"),
    )
    input_size: tuple[int, int] = setting((64, 64), "not stated; ours: (height, width)", low=1)
    channels: int = setting(1, "section 3: black and white", choices=(1, 3))
    latent_dim: int = setting(2, "section 3", low=1)
    filters: tuple[int, ...] = setting((32, 64), "the Keras example", low=1, min_items=1)
    hidden: int = setting(16, "the Keras example; of conv", low=1)
    hidden_activation: str = setting("relu", "the Keras example; of conv", choices=ACTIVATIONS)
    activation: str = setting("relu", "the Keras example", choices=ACTIVATIONS)
    likelihood: str = setting(
        "bernoulli", "the Keras example; gaussian: ours", choices=("bernoulli", "gaussian")
    )
    sigma: float = setting(
        0.1, "ours: standard deviation of the gaussian likelihood", low=1e-3, high=1
    )
    beta: float = setting(1.0, "the Keras example has none", low=0)
    kl_reduction: str = setting(
        "sum", "the Keras example; its first form of 2020: mean", choices=("sum", "mean")
    )
    free_bits: float = setting(0.0, "ours: nats of each latent unit that cost nothing", low=0)
    warmup_epochs: int = setting(0, "ours: epochs over which beta rises from 0", low=0)
    mixture: float = setting(0.0, "ours: weight of the loss of superimposed images", low=0)
    averaged: int = setting(
        0, "ours: the first latent units are of the background, which is averaged", low=0
    )
    defects: str = setting(
        "dark", "ours: which defect is seen where several meet", choices=tuple(POLARITY)
    )
    overlay: str = setting(
        "sum",
        "section 4; ours: mean, or maximum, which works on the decoded images",
        choices=("sum", "mean", "maximum"),
    )
    invert: bool = setting(False, "ours: the network works on 1 - image")
    copies: int = setting(1, "section 3; section 4: 500", low=1)
    stratified: bool = setting(False, "section 4: every minibatch holds every image")
    crops: str | None = setting(
        None,
        "ours: boundaries, boxes or masks cut single defects out; auto: masks if there are any",
        choices=("boundaries", "boxes", "masks", "auto"),
    )
    margin: float = setting(1.3, "ours: side of a crop in sides of its box", low=1, high=100)
    window: int | None = setting(None, "ours: side of a crop in pixels instead", low=1)
    val_fraction: float = setting(0.0, "the paper keeps no images for validation", low=0, high=0.9)
    scan: tuple[float, float, float, float] = setting(
        (-15.0, 15.0, -10.0, 10.0), "section 3: ranges of the two units"
    )
    scan_step: float = setting(0.1, "section 3", low=1e-3)
    augmentation: str | None = setting(
        None, "ours: flips, random for each image and epoch", choices=("flips",)
    )
    optimizer: str = setting("rmsprop", "section 3; adam: ours", choices=("rmsprop", "adam"))
    learning_rate: float = setting(2e-3, "section 3", low=0)
    schedule: str = setting("constant", "section 3; cosine: ours", choices=("constant", "cosine"))
    batch_size: int = setting(10, "section 3", low=1)
    epochs: int = setting(100, "section 3; section 4: 20", low=1)
    monitor: str = setting("val_loss", "ours")
    monitor_mode: str = setting("min", "ours", choices=("max", "min"))

    def check(self) -> None:
        """Check the size, the scan, and the number of latent units.

        Raises:
            DentalzooError: the network cannot be built, or a range of the scan is empty.
        """
        if self.averaged >= self.latent_dim:
            raise DentalzooError(
                "averaged must be less than latent_dim. "
                f"Received: averaged={self.averaged}, latent_dim={self.latent_dim}"
            )
        require_multiple("input_size", self.input_size, multiple=2 ** len(self.filters))
        if self.scan[0] >= self.scan[1] or self.scan[2] >= self.scan[3]:
            raise DentalzooError(
                "scan must be (low, high, low, high) of the first and the second unit, with "
                f"low < high. Received: {self.scan}"
            )
        patches = math.prod(side // 2 ** len(self.filters) for side in self.input_size)
        units = self.averaged, self.latent_dim
        if self.network == "map" and (any(n % patches for n in units) or not self.averaged):
            raise DentalzooError(
                f"averaged and latent_dim must be multiples of {patches}, the units of one map, "
                f"for network=map. Received: averaged={self.averaged}, latent_dim={self.latent_dim}"
            )


_PAPER = Config()
_FEW = dataclasses.replace(_PAPER, copies=500, stratified=True, epochs=20)
_ROBUST = dataclasses.replace(
    _PAPER,
    network="map",
    filters=(32, 32),
    latent_dim=1536,
    averaged=256,
    activation="silu",
    likelihood="gaussian",
    sigma=0.03,
    mixture=1.0,
    overlay="maximum",
    crops="auto",
    augmentation="flips",
    optimizer="adam",
    schedule="cosine",
)
VARIANTS = {
    "paper": _PAPER,
    "few": _FEW,
    "robust": _ROBUST,
    "robust_few": dataclasses.replace(
        _ROBUST, augmentation=None, copies=500, stratified=True, epochs=4
    ),
    "tiny": dataclasses.replace(
        _PAPER, input_size=(16, 16), filters=(8, 8), epochs=2, batch_size=4
    ),
}
