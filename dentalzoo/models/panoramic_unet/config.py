"""Settings and variants of panoramic_unet; the defaults are the paper's."""

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from dentalzoo.config import PaperConfig, require_multiple, setting
from dentalzoo.errors import DentalzooError

if TYPE_CHECKING:
    from dentalzoo.ops.calibration import Scaling

# Encoders of our own beside those of segmentation-models: MobileNet v1 of a given width.
SLIM_ENCODERS = {f"mobilenet_{alpha}": alpha for alpha in (0.25, 0.5, 0.75)}
DECODERS = {"unet": "Unet", "fpn": "FPN", "linknet": "Linknet", "pspnet": "PSPNet"}


@dataclass(frozen=True)
class Config(PaperConfig):
    """Settings of the network and of its training."""

    CALIBRATES = True
    RENAMED_VALUES = {("augmentation", "film"): "radiograph"}

    decoder: str = setting("unet", "article; the others: ours", choices=(*DECODERS, "wide"))
    encoder: str = setting("vgg16", "article")
    encoder_weights: str | None = setting(
        "imagenet", "article; or a file, or None: random weights", init=True
    )
    freeze_encoder: bool = setting(False, "not stated for VGG-16; ours")
    num_classes: int = setting(1, "preprocessing notebook: one binary mask", low=1, high=255)
    classes: tuple[str, ...] = setting(
        (), "ours: names of the classes 1..K-1; COCO data needs them"
    )
    annotations: str = setting(
        "auto", "ours: auto takes masks where there are any", choices=("auto", "masks", "coco")
    )
    input_size: tuple[int, int] = setting(
        (256, 256), "preprocessing notebook: (height, width)", low=1
    )
    input_range: tuple[float, float] = setting(
        (0.0, 1.0), "preprocessing notebook: image / 255", rising=True
    )
    decoder_filters: tuple[int, int, int, int, int] = setting(
        (256, 128, 64, 32, 16), "segmentation-models 1.0.1", low=1
    )
    bn_momentum: float = setting(0.99, "Keras' default", low=0, high=1)
    augmentation: str | None = setting(
        "paper", "preprocessing notebook; radiograph: ours", choices=("paper", "radiograph")
    )
    loss: str = setting(
        "dice", "curves of the published run; article: bce_dice", choices=("dice", "bce_dice")
    )
    learning_rate: float = setting(1e-4, "article, third text", low=0)
    schedule: str = setting(
        "plateau", "the author's VGG-19 notebook; cosine: ours", choices=("plateau", "cosine")
    )
    early_stopping: int | None = setting(2, "VGG-19 notebook: epochs without a better Dice", low=1)
    batch_size: int = setting(8, "preprocessing notebook", low=1)
    epochs: int = setting(8, "curves of the published run", low=1)
    temperature: float = setting(
        1.0, "arXiv:1706.04599: fitted after training; 1: not calibrated", low=0.01, high=100
    )
    monitor: str = setting("val_dice", "VGG-19 notebook")
    monitor_mode: str = setting(
        "max",
        "ours: the VGG-19 notebook says nothing, hence min, which is a mistake",
        choices=("max", "min"),
    )

    def calibrated(self, scaling: "Scaling") -> Self:
        """Return the config with the temperature; the mask, above 0.5, stays the same.

        Raises:
            DentalzooError: the map has a bias, which would move the 0.5.
        """
        if scaling.bias:
            raise DentalzooError(f"masks must be calibrated without a bias. Received: {scaling}")
        return dataclasses.replace(self, temperature=scaling.temperature)

    def check(self) -> None:
        """Check the names of the classes, the size, and that decoder and encoder go together.

        Raises:
            DentalzooError: they contradict each other.
        """
        if self.input_range[0] == self.input_range[1]:
            raise DentalzooError(
                f"input_range must be (low, high) with low < high. Received: {self.input_range}"
            )
        if self.classes and len(self.classes) != max(1, self.num_classes - 1):
            raise DentalzooError(
                f"classes must name every class but the background, {max(1, self.num_classes - 1)} "
                f"here. Received: {self.classes}"
            )
        require_multiple(
            "input_size", self.input_size, multiple=48 if self.decoder == "pspnet" else 32
        )
        slim = self.encoder in SLIM_ENCODERS
        if slim and self.decoder != "unet" or self.decoder == "wide" and self.encoder != "vgg16":
            raise DentalzooError(
                "encoder must be vgg16 for decoder=wide, and decoder must be unet for the slim "
                f"MobileNets. Received: decoder={self.decoder!r}, encoder={self.encoder!r}"
            )


_PAPER = Config()
_LIGHT = dataclasses.replace(
    _PAPER,
    encoder="mobilenet_0.25",
    input_size=(256, 640),
    input_range=(-1.0, 1.0),  # what MobileNet's ImageNet weights were trained with
    decoder_filters=(128, 64, 48, 32, 16),
    bn_momentum=0.9,
    augmentation="radiograph",
    loss="bce_dice",
    learning_rate=1e-3,
    schedule="cosine",
    early_stopping=None,
    batch_size=4,
    epochs=60,
)
VARIANTS = {
    "paper": _PAPER,
    "wide": dataclasses.replace(_PAPER, decoder="wide", freeze_encoder=True),
    "light": _LIGHT,
    "tiny": dataclasses.replace(
        _LIGHT,
        encoder_weights=None,
        input_size=(32, 64),
        decoder_filters=(8, 8, 8, 8, 8),
        augmentation="paper",
        epochs=2,
        batch_size=2,
    ),
}
