"""SSD and Faster R-CNN: restorations, endodontic treatments and implants on panoramic X-rays.

L. Joudet, P.-A. Fourcade, "Detection of dental treatments on panoramic X-rays", 2018-06-10; code:
clemkoa/tooth-detection at 4dc6010. SSD: Liu et al. 2016, arXiv:1512.02325. MobileNet: Howard et al.
2017, arXiv:1704.04861. RetinaNet: Lin et al. 2018, arXiv:1708.02002. Faster R-CNN: Ren et al. 2015,
arXiv:1506.01497.

A radiograph goes through a convolutional network, whose maps predict for each of many anchors which
finding it holds and how its box differs from the anchor; Faster R-CNN looks at the likeliest of
these boxes once more. Overlapping boxes of one class are dropped for the most likely one. Backbone,
pyramid, head, anchor matching and box codes are those of TensorFlow's model garden, which succeeded
the Object Detection API that the authors used.

Inputs: image (B, H, W, 3) float32 in [0, 1], H and W as in the config.
Outputs: for each of A anchors `classes` (B, A, C) logits and `boxes` (B, A, 4) codes; `build_model`
tells those of Faster R-CNN. The SavedModel takes uint8 images of any size and returns boxes, see
`signatures`.

Differences from the paper:
- The classes are those of the data. The paper's code has `root` as a fourth, before the three.
- Hard-negative mining takes the negatives of the highest loss without first dropping those that
  overlap each other by 0.99.
- Predictors and extra maps have the Object Detection API's layout; its backbone was the same
  network in another code, so that no weights of it can be loaded.
- Its Faster R-CNN stood on Inception v2 and one map, later on ResNet-50; `faster_rcnn` has
  ResNet-50 and a feature pyramid.
- `ssd_mobilenet_v1_fpn`, with the focal loss, and `faster_rcnn_mobilenet_v1` are ours, for CPUs.

Example:
    >>> import dentalzoo as dz
    >>> bundle = dz.train("panoramic_detection", data="radiographs", out="runs/findings")
    >>> found = bundle.detect(radiograph)  # boxes (K, 4) yxyx in [0, 1], scores, classes, num
"""

import dataclasses
import math
from dataclasses import dataclass

import numpy as np

from dentalzoo.bundle.hub import Weights
from dentalzoo.config import (
    check_choices,
    check_numbers,
    check_rising,
    check_size,
    check_whole_numbers,
    make_tuples,
)
from dentalzoo.data.io.images import resize
from dentalzoo.errors import DentalzooError
from dentalzoo.models.panoramic_detection.dataset import AUGMENTATIONS
from dentalzoo.models.panoramic_detection.dataset import make_dataset as make_dataset
from dentalzoo.models.panoramic_detection.serving import signatures as signatures

ABOUT = {
    "paper": "Joudet, Fourcade, Detection of dental treatments on panoramic X-rays, 2018",
    "inputs": "images: uint8 (B, H, W, 1 or 3), any size",
    "outputs": "boxes: float32 (B, K, 4) yxyx in [0, 1]; scores: float32 (B, K), falling; classes: "
    "int32 (B, K) from 1; num: int32 (B,), the rows that count",
    "intended_use": "Research. Not a medical device, not for diagnosis.",
}


@dataclass(frozen=True)
class Config:
    """Settings of the network and of its training; the defaults are the paper's."""

    network: str = "ssd"  # the paper's final choice; faster_rcnn, its other; ours: fpn
    classes: tuple[str, ...] = ("root", "implant", "restoration", "endodontic")  # its label map
    input_size: tuple[int, int] = (300, 300)  # its ssd.config
    input_range: tuple[float, float] = (-1.0, 1.0)  # its feature extractor
    backbone: str = "mobilenet_v1"  # its ssd.config; resnet50: its later configs
    backbone_alpha: float = 1.0  # its ssd.config: depth multiplier; of mobilenet_v1
    encoder_weights: str | None = None  # its own were of COCO; a file, imagenet or None
    bn_momentum: float = 0.9997  # its ssd.config
    weight_decay: float = 4e-5  # its ssd.config
    levels: tuple[int, int] = (3, 6)  # ours; of fpn and faster_rcnn
    pyramid_filters: int = 96  # ours; of both
    head_convs: int = 2  # ours; of fpn
    num_scales: int = 2  # ours; of both
    aspect_ratios: tuple[float, ...] = (0.5, 1.0, 2.0)  # arXiv:1708.02002; of both
    anchor_size: float = 3.0  # ours; of both: sides of an anchor in strides
    num_proposals: int = 300  # its fastercnn.config; of faster_rcnn, as the next four
    proposal_iou: float = 0.7  # its fastercnn.config: of two proposals
    anchor_samples: int = 256  # the API's: anchors of a radiograph that the first stage learns from
    region_samples: int = 64  # the API's: regions of a radiograph that the second stage learns from
    hidden_units: int = 1024  # arXiv:1612.03144: of the two layers of the second stage
    loss: str = "hard_negatives"  # its ssd.config; or focal
    negatives: float = 3.0  # its ssd.config: for each positive; of hard_negatives
    focal_alpha: float = 0.25  # arXiv:1708.02002
    focal_gamma: float = 2.0  # arXiv:1708.02002
    box_weight: float = 1.0  # its ssd.config
    box_delta: float = 1.0  # smooth L1; smaller is nearer to L1
    match: tuple[float, float] = (0.5, 0.5)  # its ssd.config: background below, finding above
    nms_iou: float = 0.5  # its ssd.config in the cloud; 0.3 in the local one
    score_threshold: float = (
        0.01  # ours; its ssd.config 1e-8, which writes a hundred boxes a radiograph
    )
    max_per_class: int = 64  # its ssd.config
    max_detections: int = 100  # its ssd.config
    operating_threshold: float = 0.3  # ours: scores from which boxes are drawn and counted
    max_boxes: int = 100  # ours: findings of a radiograph that are learned from
    augmentation: str | None = "paper"  # its ssd.config; ours: radiograph
    val_fraction: float = 0.1  # not stated; ours: part for validation where the data name none
    optimizer: str = "rmsprop"  # its ssd.config; momentum: its fastercnn.config; or adam
    learning_rate: float = 0.008  # its ssd.config
    schedule: str = "constant"  # its decay starts after 800,720 steps; or cosine
    clip_norm: float | None = None  # ours
    batch_size: int = 10  # its ssd.config
    epochs: int = 60  # not stated: 60,000 steps
    monitor: str | None = "val_loss"  # ours: what tells the best epoch; the last one where None
    monitor_mode: str = "min"  # ours

    def __post_init__(self):
        make_tuples(self, "classes", "levels", "aspect_ratios")
        check_rising(self, input_range=(-math.inf, math.inf), match=(0, 1))
        check_choices(
            self,
            network=("ssd", "fpn", "faster_rcnn"),
            backbone=("mobilenet_v1", "resnet50"),
            loss=("hard_negatives", "focal"),
            augmentation=tuple(AUGMENTATIONS),
            optimizer=("rmsprop", "momentum", "adam"),
            schedule=("constant", "cosine"),
            monitor_mode=("max", "min"),
        )
        check_whole_numbers(self, "pyramid_filters", "num_scales", "max_per_class", "max_boxes")
        check_whole_numbers(self, "max_detections", "batch_size", "epochs", "num_proposals")
        check_whole_numbers(self, "anchor_samples", "region_samples", "hidden_units")
        check_whole_numbers(self, "head_convs", least=0)
        check_numbers(
            self,
            backbone_alpha=(0.01, 4),
            bn_momentum=(0, 1),
            weight_decay=(0, 1),
            anchor_size=(0.1, 100),
            negatives=(1, math.inf),
            focal_alpha=(0, 1),
            focal_gamma=(0, 10),
            box_weight=(0, math.inf),
            box_delta=(1e-3, 10),
            nms_iou=(0, 1),
            proposal_iou=(0, 1),
            score_threshold=(0, 1),
            operating_threshold=(0, 1),
            val_fraction=(0, 0.9),
            learning_rate=(0, math.inf),
        )
        if self.clip_norm is not None:
            check_numbers(self, clip_norm=(1e-6, math.inf))
        names = [name.strip() for name in map(str, self.classes)]
        if not all(names) or not 0 < len(names) == len(set(names)):
            raise DentalzooError(f"classes are different names. Received: {self.classes}")
        ratios = self.aspect_ratios
        if not ratios or any(not isinstance(r, int | float) or not 0 < r < 100 for r in ratios):
            raise DentalzooError(f"aspect_ratios are numbers above 0. Received: {ratios}")
        low, high = self.levels if len(self.levels) == 2 else (0, 0)
        if not 2 <= low <= min(high, 5) <= high <= 8:
            raise DentalzooError(
                "levels is (first, last) of a pyramid, the first from 2 to 5, the last up to 8. "
                f"Received: {self.levels}"
            )
        check_size(self, "input_size", multiple=1 if self.network == "ssd" else 2**high)
        if self.backbone == "resnet50" and self.encoder_weights is not None:
            raise DentalzooError(
                "an encoder's weights are those of Keras' MobileNet v1, for the backbone "
                f"mobilenet_v1. Received: backbone='resnet50' with {self.encoder_weights!r}"
            )
        if self.backbone == "resnet50" and self.network == "ssd":
            raise DentalzooError(
                "the network ssd has the backbone mobilenet_v1; resnet50 is for fpn and "
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


# ------------------------------------------------------------------------------------ the network


def build_model(config: Config):
    """Builds the network.

    Returns:
        A `Detector`: image (B, H, W, 3) float32 in [0, 1] -> {"classes": (B, A, C) logits, "boxes":
        (B, A, 4) codes}, float32; of `faster_rcnn` a `FasterRCNN`: {"classes": (B, P, 1 + C)
        logits, "boxes": (B, P, C, 4) yxyx in [0, 1]}.

    Raises:
        DentalzooError: the encoder's weights cannot be loaded, or the model garden is missing.
    """
    import keras

    from dentalzoo.models.panoramic_detection.detector import Detector
    from dentalzoo.models.panoramic_detection.network import NETWORKS, regions
    from dentalzoo.models.panoramic_detection.two_stages import FasterRCNN, SecondStage

    image = keras.Input((*config.input_size, 3), name="image")
    low, high = config.input_range
    x = keras.layers.Rescaling(high - low, offset=low, name="rescale")(image)
    if config.network == "faster_rcnn":
        first = regions(config, x)
        found = SecondStage(config, name="second")(*first)
    else:
        found = dict(zip(("classes", "boxes"), NETWORKS[config.network](config, x), strict=True))
    outputs = {key: keras.layers.Identity(name=key)(tensor) for key, tensor in found.items()}
    if config.network == "faster_rcnn":
        return FasterRCNN(image, outputs, config, first)
    return Detector(image, outputs, config)


def compile_model(model, config: Config, steps: int = 1) -> None:
    """Compiles the model with the config's optimizer; it carries its own loss.

    Args:
        steps: number of training steps, over which a cosine schedule falls to zero.
    """
    import keras

    rate = config.learning_rate
    if config.schedule == "cosine":
        warm = min(200, steps // 10)
        options = {"warmup_target": rate, "warmup_steps": warm} if warm else {}
        start = 0.0 if warm else rate
        rate = keras.optimizers.schedules.CosineDecay(start, max(1, steps - warm), **options)
    if config.optimizer == "rmsprop":  # its ssd.config
        optimizer = keras.optimizers.RMSprop(
            rate, rho=0.9, momentum=0.9, epsilon=1.0, global_clipnorm=config.clip_norm
        )
    elif config.optimizer == "momentum":  # its fastercnn.config
        optimizer = keras.optimizers.SGD(rate, momentum=0.9, global_clipnorm=config.clip_norm)
    else:
        optimizer = keras.optimizers.Adam(rate, global_clipnorm=config.clip_norm)
    model.compile(optimizer=optimizer, jit_compile=False)


def callbacks(config: Config) -> list:
    """The recipe has none."""
    return []


PRETRAINED = {
    "dental_radiography_v1": Weights(  # ships with the repository
        metrics={"ap50": 0.596, "ap": 0.302},  # over the 98 radiographs of the val split
        data="dental_radiography: 458 panoramic radiographs with boxes",
        licence="CC-BY-4.0",
        command="see docs/models/panoramic_detection.md",
    ),
    "drawn_films_v1": Weights(
        metrics={"ap50": 0.872, "ap": 0.518},  # over the 120 drawn radiographs of the val split
        data="drawn_films: 480 drawn panoramic radiographs with boxes",
        licence="Apache-2.0",
        command="see docs/models/panoramic_detection.md",
    ),
}


def example_batch(config: Config) -> dict[str, np.ndarray]:
    """Two phantoms as `make_dataset` would deliver them."""
    from dentalzoo.data.synthetic import panoramic

    height, width = config.input_size
    radiographs = [panoramic(seed, 128, 256) for seed in range(2)]
    images = [
        np.repeat(resize(radiograph.image[..., None], (height, width)), 3, -1)
        for radiograph in radiographs
    ]
    boxes = np.zeros((2, config.max_boxes, 4), np.float32)
    classes = np.zeros((2, config.max_boxes), np.int32)
    boxes[:, 0], classes[:, 0] = (0.2, 0.3, 0.6, 0.5), 1
    return {"image": np.stack(images).astype(np.float32) / 255, "boxes": boxes, "classes": classes}
