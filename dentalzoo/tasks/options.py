"""The options of every task and verb, declared once.

A dataclass per task and verb: its fields are the flags of the command line and the keywords of
`dz.evaluate`, `dz.predict` and the rest. Importing this module imports nothing heavy. None as a
default stands for the bundle's own setting.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from dentalzoo.config import check_fields, option
from dentalzoo.errors import DentalzooError

CROPS = ("boundaries", "boxes", "masks")
TEETH_RULES = ("all", "single", "ordered")
FLIPS = ("horizontal", "vertical")
ENHANCEMENTS = ("contrast",)
_TTA = "see each image flipped too, and fuse what was found: takes two or four times as long"
# Annotation formats that predictions are written in, to be corrected in their tools.
PROJECT_FORMATS = (
    "coco",
    "cvat",
    "label_studio",
    "labelme",
    "supervisely",
    "voc",
    "vott",
    "yolo",
)
MESH_FORMATS = ("ply", "stl", "obj")
PICTURE_FORMATS = ("png", "jpg")
_ENHANCE = "stretch the contrast of each image first: helps on faded ones (default: do not)"
_SEED = "random seed of the bootstrap intervals"
_OVERLAY_FORMAT = "format of these pictures: png, or jpg, which is smaller and faster to write"
MASK_DICOM, BOX_DICOM = ("seg", "sr", "sc"), ("sr", "sc")  # docs/dicom.md


@dataclass(frozen=True)
class Options:
    """Base of all options; values are checked when an instance is made."""

    def __post_init__(self) -> None:
        check_fields(self)


# ---- segmentation --------------------------------------------------------------------------------


@dataclass(frozen=True)
class SegmentationEvaluateOptions(Options):
    """Options of `evaluate` for segmentation."""

    threshold: float | None = option(
        None,
        "probability above which a pixel of a binary mask is foreground (default: the bundle's "
        "own, 0.5)",
        low=0,
        high=1,
    )
    classes: tuple[str, ...] | None = option(
        None,
        "names of the class ids 1..n, in order; COCO data needs them (default: the bundle's own)",
    )
    tta: tuple[str, ...] = option((), _TTA, choices=FLIPS)
    enhance: str | None = option(None, _ENHANCE, choices=ENHANCEMENTS)


@dataclass(frozen=True)
class SegmentationPredictOptions(Options):
    """Options of `predict` for segmentation."""

    overlay: bool = option(False, "also write each image with its result drawn on it")
    overlay_format: str = option("png", _OVERLAY_FORMAT, choices=PICTURE_FORMATS)
    format: tuple[str, ...] = option(
        (),
        "also write a project of an annotation tool, to correct the results there",
        choices=PROJECT_FORMATS,
    )
    anonymize: bool = option(
        False,
        "give the results hashed names, and DICOM results no patient's identity; their key goes to "
        "OUT_key.csv",
    )
    threshold: float | None = option(
        None,
        "probability above which a pixel of a binary mask is foreground (default: the bundle's "
        "own, 0.5)",
        low=0,
        high=1,
    )
    classes: tuple[str, ...] | None = option(
        None,
        "names of the class ids 1..n, in order, for DICOM (default: the bundle's own)",
    )
    dicom: tuple[str, ...] = option(
        (),
        "for DICOM images also write the mask as a Segmentation (seg), a Structured Report that "
        "refers to it (sr), the image with its mask as a Secondary Capture (sc)",
        choices=MASK_DICOM,
    )
    instances: str | Path | None = option(
        None,
        "divide the mask into numbered teeth by the boxes of this bundle, such as "
        "panoramic_detection.dentex_fdi_v2: a name, folder or address",
    )
    probabilities: bool = option(
        False,
        "also write the probability of each pixel as a grey PNG of 16 bits, 65535 for 1; of each "
        "class where there are several",
    )
    tta: tuple[str, ...] = option((), _TTA, choices=FLIPS)
    enhance: str | None = option(None, _ENHANCE, choices=ENHANCEMENTS)

    def __post_init__(self) -> None:
        if isinstance(self.instances, Path):
            object.__setattr__(self, "instances", str(self.instances))
        super().__post_init__()
        if self.instances and self.classes:
            raise DentalzooError(
                "classes must be None with instances, whose bundle names the teeth. "
                f"Received: {' '.join(self.classes)}"
            )
        if "sr" in self.dicom and "seg" not in self.dicom:
            raise DentalzooError(
                "dicom must hold seg where it holds sr, which refers to its segments. "
                f"Received: {' '.join(self.dicom)}"
            )


@dataclass(frozen=True)
class SegmentationCompareOptions(SegmentationEvaluateOptions):
    """Options of `compare` for segmentation."""

    seed: int = option(0, _SEED, low=0)


# ---- detection -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class BoxOptions(Options):
    """What happens to the boxes of the network, shared by `evaluate` and `predict`."""

    score_threshold: float | None = option(
        None,
        "confidence threshold: boxes with a lower score do not count (default: the bundle's own, "
        "else 0.5)",
        low=0,
        high=1,
    )
    nms_iou: float | None = option(
        None,
        "IoU threshold for non-maximum suppression (default: the bundle's own)",
        low=0,
        high=1,
    )
    max_per_class: int | None = option(
        None, "maximum number of boxes per class and image (default: the bundle's own)", low=1
    )
    teeth: str | None = option(
        None,
        "for FDI classes: keep all boxes, one box for each tooth and number, chosen together "
        "(single), or of these only boxes in anatomical order (ordered) (default: single in "
        "predict, all in evaluate)",
        choices=TEETH_RULES,
    )
    tta: tuple[str, ...] = option((), _TTA, choices=FLIPS)
    enhance: str | None = option(None, _ENHANCE, choices=ENHANCEMENTS)


@dataclass(frozen=True)
class DetectionEvaluateOptions(BoxOptions):
    """Options of `evaluate` for detection."""

    sweep: bool = option(False, "also measure other suppression settings and thresholds")


@dataclass(frozen=True)
class DetectionPredictOptions(BoxOptions):
    """Options of `predict` for detection."""

    overlay: bool = option(False, "also write each image with its result drawn on it")
    overlay_format: str = option("png", _OVERLAY_FORMAT, choices=PICTURE_FORMATS)
    format: tuple[str, ...] = option(
        (),
        "also write a project of an annotation tool, to correct the results there",
        choices=PROJECT_FORMATS,
    )
    anonymize: bool = option(
        False,
        "give the results hashed names, and DICOM results no patient's identity; their key goes to "
        "OUT_key.csv",
    )
    vott: tuple[int, ...] = option(
        (), "also write a project of VoTT version 1 or 2", choices=(1, 2)
    )
    dicom: tuple[str, ...] = option(
        (),
        "for DICOM images also write the boxes as a Structured Report (sr), the image with its "
        "boxes as a Secondary Capture (sc)",
        choices=BOX_DICOM,
    )


@dataclass(frozen=True)
class DetectionCompareOptions(BoxOptions):
    """Options of `compare` for detection."""

    seed: int = option(0, _SEED, low=0)


# ---- generation ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class GenerationEvaluateOptions(Options):
    """Options of `evaluate` for generation."""

    crops: str | None = option(
        None,
        "crop single teeth by drawn boundaries, boxes or masks; whole: whole images",
        choices=(*CROPS, "whole"),
    )
    samples: int = option(64, "samples of the importance-weighted bound", low=1)
    count: int = option(500, "number of generated images to compare", low=2)
    seed: int = option(0, "random seed", low=0)


@dataclass(frozen=True)
class GenerationPredictOptions(Options):
    """Options of `predict` for generation and superimposition: encode and decode images."""

    overlay: bool = option(False, "also write each image beside its reconstruction")
    overlay_format: str = option("png", _OVERLAY_FORMAT, choices=PICTURE_FORMATS)
    anonymize: bool = option(False, "give the results hashed names; their key goes to OUT_key.csv")


@dataclass(frozen=True)
class GenerateOptions(Options):
    """Options of `generate`."""

    count: int = option(64, "number of images", low=1)
    seed: int = option(0, "random seed", low=0)


# ---- superimposition -----------------------------------------------------------------------------


@dataclass(frozen=True)
class CropOptions(Options):
    """How single defects are cut out of images; None for the bundle's own setting."""

    crops: str | None = option(
        None,
        "crop single defects by drawn boundaries, boxes or masks; whole: whole images; auto: masks "
        "where there are any, never enlarged (default: as the bundle was trained)",
        choices=(*CROPS, "auto", "whole"),
    )
    margin: float | None = option(
        None, "side of a crop as a multiple of the longer side of its box", low=1, high=100
    )
    window: int | None = option(None, "side of every crop in pixels instead of a margin", low=1)


@dataclass(frozen=True)
class SuperimpositionCompareOptions(CropOptions):
    """Options of `compare` for superimposition."""

    count: int = option(200, "number of superimposed images to judge", low=1)
    seed: int = option(0, "random seed", low=0)


@dataclass(frozen=True)
class SuperimpositionEvaluateOptions(SuperimpositionCompareOptions):
    """Options of `evaluate` for superimposition."""

    step: float | None = option(None, "step of the scan of the latent plane", low=1e-6)


@dataclass(frozen=True)
class SuperimposeOptions(Options):
    """Options of `superimpose`."""

    weights: tuple[float, ...] | None = option(
        None, "a positive number for each image: the factor on its contrast", low=0
    )


@dataclass(frozen=True)
class AugmentOptions(CropOptions):
    """Options of `augment_dataset`."""

    count: int = option(200, "number of superimposed images", low=1)
    split: str = option("train", "split whose images are combined")
    sizes: tuple[int, ...] = option((2, 3), "how many images make one, in turn", low=2)
    seed: int = option(0, "random seed", low=0)
    keep: str = option(
        "successful", "which superimposed images are kept", choices=("successful", "all")
    )
    noise: float = option(
        0.0, "factor on the deviation of latent vectors; for sums and means only", low=0
    )


# ---- reconstruction ------------------------------------------------------------------------------

_REFINE = (
    "move the points until their shading is that of the views; takes seconds for each jaw, and "
    "TensorFlow"
)


@dataclass(frozen=True)
class ReconstructionEvaluateOptions(Options):
    """Options of `evaluate` for reconstruction."""

    num_points: int = option(50_000, "points sampled on each ground-truth surface", low=2)
    seed: int = option(0, "random seed of these points", low=0)
    views: tuple[int, ...] | None = option(
        None, "camera indices of the views that are used, 0 to 9", low=0, high=9
    )
    axes: str | None = option(
        None,
        "axes of the meshes that become x (to the patient's right), y (to the back) and z (along "
        "the crowns), such as -x,-z,-y; auto: detect them",
    )
    refine: bool = option(False, _REFINE)


@dataclass(frozen=True)
class ReconstructionPredictOptions(Options):
    """Options of `predict` for reconstruction."""

    mesh: tuple[str, ...] | None = option(
        None, "mesh formats to write beside PLY", choices=MESH_FORMATS
    )
    ground_truth: str | Path | None = option(
        None, "ground-truth meshes for folders of views: a mesh, or a folder of them"
    )
    axes: str | None = option(
        None,
        "axes of the meshes that become x (to the patient's right), y (to the back) and z (along "
        "the crowns), such as -x,-z,-y; auto: detect them",
    )
    refine: bool = option(False, _REFINE)
    anonymize: bool = option(False, "give the results hashed names; their key goes to OUT_key.csv")

    def __post_init__(self) -> None:
        if isinstance(self.ground_truth, Path):
            object.__setattr__(self, "ground_truth", str(self.ground_truth))
        super().__post_init__()


# task -> verb -> its options. The verbs are functions of the task's package.
OPTIONS: Mapping[str, Mapping[str, type[Options]]] = MappingProxyType(
    {
        "segmentation": {
            "evaluate": SegmentationEvaluateOptions,
            "predict": SegmentationPredictOptions,
            "compare": SegmentationCompareOptions,
        },
        "detection": {
            "evaluate": DetectionEvaluateOptions,
            "predict": DetectionPredictOptions,
            "compare": DetectionCompareOptions,
        },
        "generation": {
            "evaluate": GenerationEvaluateOptions,
            "predict": GenerationPredictOptions,
            "compare": GenerationEvaluateOptions,
            "generate": GenerateOptions,
        },
        "superimposition": {
            "evaluate": SuperimpositionEvaluateOptions,
            "predict": GenerationPredictOptions,
            "compare": SuperimpositionCompareOptions,
            "superimpose": SuperimposeOptions,
            "augment_dataset": AugmentOptions,
        },
        "reconstruction": {
            "evaluate": ReconstructionEvaluateOptions,
            "predict": ReconstructionPredictOptions,
            "compare": ReconstructionEvaluateOptions,
        },
    }
)
