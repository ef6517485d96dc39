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
documents those of Faster R-CNN. The SavedModel takes uint8 images of any size and returns boxes,
see `signatures`.

Differences from the paper:
- The classes are those of the data. The paper's code has `root` as a fourth, before the three.
- Hard-negative mining takes the negatives of the highest loss without first dropping those that
  overlap each other by 0.99.
- Predictors and extra maps have the Object Detection API's layout; its backbone was the same
  network in other code, so that its weights cannot be loaded.
- Its Faster R-CNN stood on Inception v2 and one map, later on ResNet-50; `faster_rcnn` has
  ResNet-50 and a feature pyramid.
- `ssd_mobilenet_v1_fpn`, with the focal loss, and `faster_rcnn_mobilenet_v1` are ours, for CPUs.

Example:
    >>> import dentalzoo as dz
    >>> bundle = dz.train("panoramic_detection", data="radiographs", out="runs/findings")
    >>> result = bundle.detect(radiograph)  # boxes (K, 4) yxyx in [0, 1], scores, classes, num
"""

from dentalzoo.models.panoramic_detection.about import ABOUT as ABOUT
from dentalzoo.models.panoramic_detection.about import PRETRAINED as PRETRAINED
from dentalzoo.models.panoramic_detection.config import VARIANTS as VARIANTS
from dentalzoo.models.panoramic_detection.config import Config as Config
from dentalzoo.models.panoramic_detection.dataset import example_batch as example_batch
from dentalzoo.models.panoramic_detection.dataset import make_dataset as make_dataset
from dentalzoo.models.panoramic_detection.network import build_model as build_model
from dentalzoo.models.panoramic_detection.network import callbacks as callbacks
from dentalzoo.models.panoramic_detection.network import compile_model as compile_model
from dentalzoo.models.panoramic_detection.network import feature_maps as feature_maps
from dentalzoo.models.panoramic_detection.serving import signatures as signatures
