"""Settings and variants of tooth_vae. The paper states none of them."""

import dataclasses
from dataclasses import dataclass

from dentalzoo.config import PaperConfig, require_multiple, setting


@dataclass(frozen=True)
class Config(PaperConfig):
    """Settings of the network and of its training."""

    RENAMED = {"holdout": "val_fraction"}

    network: str = setting("conv", "the Keras example's; deep: ours", choices=("conv", "deep"))
    input_size: tuple[int, int] = setting((64, 64), "not stated; ours: (height, width)", low=1)
    channels: int = setting(3, "not stated; the paper has photographs", choices=(1, 3))
    latent_dim: int = setting(64, "not stated; ours", low=1)
    filters: tuple[int, ...] = setting((32, 64), "the Keras example", low=1, min_items=1)
    hidden: int = setting(16, "the Keras example; of conv", low=1)
    likelihood: str = setting(
        "bernoulli", "the Keras example; gaussian: ours", choices=("bernoulli", "gaussian")
    )
    sigma: float = setting(
        0.1, "ours: standard deviation of the gaussian likelihood", low=1e-3, high=1
    )
    beta: float = setting(1.0, "the bound itself", low=0)
    free_bits: float = setting(0.0, "ours: nats of each latent unit that cost nothing", low=0)
    warmup_epochs: int = setting(0, "ours: epochs over which beta rises from 0", low=0)
    importance_samples: int = setting(
        1, "k of the importance-weighted bound that the paper cites; 1 is the ELBO", low=1
    )
    prior: str = setting(
        "standard",
        "of `generate`: N(0, I); fitted, ours: the distribution of the codes",
        choices=("standard", "fitted"),
    )
    temperature: float = setting(
        1.0, "of `generate`: factor on the standard deviation of its samples", low=0
    )
    crops: str | None = setting(
        None,
        "ours: boundaries, boxes or masks cut single teeth out",
        choices=("boundaries", "boxes", "masks"),
    )
    margin: float = setting(1.3, "ours: side of a crop in sides of its box", low=1)
    val_fraction: float = setting(
        0.1, "ours: part kept for validation where the data name no split", low=0, high=0.9
    )
    augmentation: str | None = setting(
        "flip",
        "ours: left and right are alike; photograph: place, size, tilt and light too",
        choices=("flip", "photograph"),
    )
    learning_rate: float = setting(1e-3, "the Keras example: Adam's default", low=0)
    schedule: str = setting(
        "constant", "the Keras example; cosine: ours", choices=("constant", "cosine")
    )
    batch_size: int = setting(32, "not stated; ours", low=1)
    epochs: int = setting(100, "not stated; ours", low=1)
    monitor: str = setting("val_loss", "ours")
    monitor_mode: str = setting("min", "ours", choices=("max", "min"))

    def check(self) -> None:
        """Check that each level of the network can halve the image."""
        require_multiple("input_size", self.input_size, multiple=2 ** len(self.filters))


_PAPER = Config()
_DEEP = dataclasses.replace(
    _PAPER,
    network="deep",
    latent_dim=48,
    filters=(32, 64, 128, 256),
    likelihood="gaussian",
    sigma=0.15,
    prior="fitted",
    schedule="cosine",
    epochs=50,
    batch_size=64,
)
VARIANTS = {
    "paper": _PAPER,
    "deep": _DEEP,
    "tiny": dataclasses.replace(
        _PAPER, input_size=(16, 16), latent_dim=4, filters=(8, 8), epochs=2, batch_size=8
    ),
}
