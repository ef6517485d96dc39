"""Settings and variants of panoramic_detection; the defaults are the paper's."""

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from dentalzoo.config import PaperConfig, require_multiple, setting
from dentalzoo.errors import DentalzooError

if TYPE_CHECKING:
    from dentalzoo.ops.calibration import Scaling


@dataclass(frozen=True)
class Config(PaperConfig):
    """Settings of the network and of its training."""

    CALIBRATES = True
    RENAMED = {"holdout": "val_fraction"}

    network: str = setting(
        "ssd",
        "the paper's final choice; faster_rcnn: its other; fpn: ours",
        choices=("ssd", "fpn", "faster_rcnn"),
    )
    classes: tuple[str, ...] = setting(
        ("root", "implant", "restoration", "endodontic"), "its label map", min_items=1
    )
    input_size: tuple[int, int] = setting((300, 300), "its ssd.config", low=1)
    input_range: tuple[float, float] = setting((-1.0, 1.0), "its feature extractor", rising=True)
    backbone: str = setting(
        "mobilenet_v1",
        "its ssd.config; resnet50: its later configs",
        choices=("mobilenet_v1", "resnet50"),
    )
    backbone_alpha: float = setting(
        1.0, "its ssd.config: depth multiplier; of mobilenet_v1", low=0.01, high=4
    )
    encoder_weights: str | None = setting(
        None, "its own were of COCO; a file, imagenet or None: random weights", init=True
    )
    bn_momentum: float = setting(0.9997, "its ssd.config", low=0, high=1)
    weight_decay: float = setting(4e-5, "its ssd.config", low=0, high=1)
    levels: tuple[int, int] = setting((3, 6), "ours; of fpn and faster_rcnn", low=2, high=8)
    pyramid_filters: int = setting(96, "ours; of fpn and faster_rcnn", low=1)
    head_convs: int = setting(2, "ours; of fpn", low=0)
    num_scales: int = setting(2, "ours; of fpn and faster_rcnn", low=1)
    aspect_ratios: tuple[float, ...] = setting(
        (0.5, 1.0, 2.0),
        "arXiv:1708.02002; of fpn and faster_rcnn",
        low=0.01,
        high=100,
        min_items=1,
    )
    anchor_size: float = setting(
        3.0, "ours; of fpn and faster_rcnn: sides of an anchor in strides", low=0.1, high=100
    )
    num_proposals: int = setting(300, "its fastercnn.config; of faster_rcnn", low=1)
    proposal_iou: float = setting(
        0.7, "its fastercnn.config: IoU threshold of proposals; of faster_rcnn", low=0, high=1
    )
    anchor_samples: int = setting(
        256, "the API's: anchors of a radiograph that the first stage learns from", low=1
    )
    region_samples: int = setting(
        64, "the API's: regions of a radiograph that the second stage learns from", low=1
    )
    hidden_units: int = setting(
        1024, "arXiv:1612.03144: of the two layers of the second stage", low=1
    )
    loss: str = setting(
        "hard_negatives",
        "its ssd.config; focal: ours, arXiv:1708.02002",
        choices=("hard_negatives", "focal"),
    )
    negatives: float = setting(3.0, "its ssd.config: for each positive; of hard_negatives", low=1)
    focal_alpha: float = setting(0.25, "arXiv:1708.02002", low=0, high=1)
    focal_gamma: float = setting(2.0, "arXiv:1708.02002", low=0, high=10)
    box_weight: float = setting(1.0, "its ssd.config", low=0)
    box_delta: float = setting(
        1.0, "its ssd.config: smooth L1; smaller is nearer to L1", low=1e-3, high=10
    )
    match: tuple[float, float] = setting(
        (0.5, 0.5),
        "its ssd.config: IoU, background below, finding above",
        low=0,
        high=1,
        rising=True,
    )
    nms_iou: float = setting(
        0.5, "its ssd.config in the cloud; 0.3 in the local one", low=0, high=1
    )
    score_threshold: float = setting(
        0.01,
        "ours, of the network's own scores; its ssd.config: 1e-8, which writes a hundred boxes a "
        "radiograph",
        low=0,
        high=1,
    )
    max_per_class: int = setting(64, "its ssd.config", low=1)
    max_detections: int = setting(100, "its ssd.config", low=1)
    operating_threshold: float = setting(
        0.3, "ours: confidence threshold of boxes that are drawn and counted", low=0, high=1
    )
    temperature: float = setting(
        1.0, "arXiv:1706.04599: fitted after training; 1: not calibrated", low=0.01, high=100
    )
    score_bias: float = setting(
        0.0, "ours: added to the logit of a score, with the temperature", low=-100, high=100
    )
    max_boxes: int = setting(100, "ours: findings of a radiograph that are learned from", low=1)
    augmentation: str | None = setting(
        "paper",
        "its ssd.config; ours: radiograph; panoramic: as panoramic_unet's, never upside down",
        choices=("paper", "radiograph", "panoramic"),
    )
    val_fraction: float = setting(
        0.1, "not stated; ours: part for validation where the data name none", low=0, high=0.9
    )
    optimizer: str = setting(
        "rmsprop",
        "its ssd.config; momentum: its fastercnn.config; adam: ours",
        choices=("rmsprop", "momentum", "adam"),
    )
    learning_rate: float = setting(0.008, "its ssd.config", low=0)
    schedule: str = setting(
        "constant",
        "its decay starts after 800,720 steps; cosine: ours",
        choices=("constant", "cosine"),
    )
    clip_norm: float | None = setting(None, "ours", low=1e-6)
    batch_size: int = setting(10, "its ssd.config", low=1)
    epochs: int = setting(60, "not stated: 60,000 steps", low=1)
    monitor: str | None = setting(
        "val_loss", "ours: metric of the best epoch; None takes the last epoch"
    )
    monitor_mode: str = setting("min", "ours", choices=("max", "min"))

    def calibrated(self, scaling: "Scaling") -> Self:
        """Return the config with temperature and bias, and the operating threshold moved along.

        So the boxes above it are the same.
        """
        of_network = self.scaling.inverse.of(self.operating_threshold)
        return dataclasses.replace(
            self,
            temperature=scaling.temperature,
            score_bias=scaling.bias,
            operating_threshold=scaling.of(of_network),
        )

    def check(self) -> None:
        """Check the names of the classes, the pyramid, and that network and backbone go together.

        Raises:
            DentalzooError: they contradict each other.
        """
        names = [name.strip() for name in self.classes]
        if not all(names) or len(names) != len(set(names)):
            raise DentalzooError(f"classes must be different names. Received: {self.classes}")
        low, high = self.levels
        if not low <= min(high, 5):
            raise DentalzooError(
                "levels must be (first, last) of a pyramid, the first from 2 to 5, the last up to "
                f"8. Received: {self.levels}"
            )
        require_multiple(
            "input_size", self.input_size, multiple=1 if self.network == "ssd" else 2**high
        )
        if self.backbone == "resnet50" and self.encoder_weights is not None:
            raise DentalzooError(
                "backbone must be mobilenet_v1 for encoder_weights, which are those of Keras' "
                "MobileNet v1. "
                f"Received: backbone='resnet50' with {self.encoder_weights!r}"
            )
        if self.backbone == "resnet50" and self.network == "ssd":
            raise DentalzooError(
                "backbone must be mobilenet_v1 for network=ssd; resnet50 is for fpn and "
                "faster_rcnn. Received: backbone='resnet50'"
            )


_PAPER = Config()
_FPN = dataclasses.replace(
    _PAPER,
    network="fpn",
    input_size=(320, 320),
    backbone_alpha=0.25,
    bn_momentum=0.95,
    loss="focal",
    box_weight=0.2,  # near 50 / 4 of arXiv:1708.02002 with its delta of 0.1, for codes times 10
    match=(0.4, 0.5),
    augmentation="radiograph",
    optimizer="adam",
    learning_rate=2e-3,
    schedule="cosine",
    clip_norm=10.0,
    batch_size=16,
    epochs=50,
)
_FASTER = dataclasses.replace(
    _PAPER,
    network="faster_rcnn",
    input_size=(256, 512),  # its fastercnn.config: sides of 300 to 512
    backbone="resnet50",  # its later configs; inception_v2 in 2018
    weight_decay=0.0,  # its fastercnn.config
    levels=(2, 6),  # arXiv:1612.03144
    pyramid_filters=256,  # arXiv:1612.03144
    num_scales=1,  # arXiv:1612.03144
    anchor_size=8.0,  # arXiv:1612.03144
    box_weight=2.0,  # its fastercnn.config
    match=(0.3, 0.7),  # its fastercnn.config: the API's
    nms_iou=0.2,  # its fastercnn.config
    max_per_class=32,  # its fastercnn.config: a mouth has so many teeth
    max_detections=90,  # its fastercnn.config
    optimizer="momentum",
    learning_rate=2e-4,  # its fastercnn.config
    clip_norm=10.0,  # its fastercnn.config
    batch_size=1,  # its fastercnn.config
    epochs=400,  # not stated: 200,000 steps
    monitor=None,  # the more regions the first stage finds, the more the second one is asked
)
_FASTER_SMALL = dataclasses.replace(
    _FPN,
    network="faster_rcnn",
    num_proposals=100,
    hidden_units=128,
    box_weight=2.0,
    match=(0.3, 0.7),
    monitor=None,
)
VARIANTS = {
    "ssd_mobilenet_v1": _PAPER,
    "ssd_mobilenet_v1_fpn": _FPN,
    "faster_rcnn": _FASTER,
    "faster_rcnn_mobilenet_v1": _FASTER_SMALL,
    "tiny": dataclasses.replace(
        _FPN,
        input_size=(64, 128),
        levels=(3, 5),
        pyramid_filters=16,
        head_convs=0,
        epochs=2,
        batch_size=2,
    ),
}
