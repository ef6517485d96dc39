"""Faster R-CNN (Ren et al. 2015, arXiv:1506.01497) on a feature pyramid (arXiv:1612.03144).

The first stage proposes regions that may hold a finding; the second classifies each and refines its
box.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from dentalzoo.models.panoramic_detection.anchors import CODER, decode, label, labeler, make_anchors
from dentalzoo.models.panoramic_detection.config import Config
from dentalzoo.models.panoramic_detection.detector import Detector
from dentalzoo.models.panoramic_detection.keras2_bridge import Network, keras2_policy, vision
from dentalzoo.models.panoramic_detection.losses import box_losses
from dentalzoo.ops import suppression

_CROP = 7  # sides of a region's features: its fastercnn.config, 14 halved by pooling


class SecondStage(keras.layers.Layer):
    """Objectness (B, A), codes (B, A, 4) and the maps of a pyramid -> class logits (B, P, 1 + C),
    of the background first, and the boxes (B, P, C, 4) yxyx in [0, 1] of P proposals.

    Args:
        config: the paper's.
    """

    def __init__(self, config: Config, **options: Any) -> None:
        super().__init__(**options)
        self.config = config
        self.anchors = make_anchors(config)
        classes = 1 + len(config.classes)
        self.head = Network(
            self._parts,
            self._run,
            {"classes": (None, classes), "boxes": (None, 4 * classes)},
            name="head",
        )

    def _parts(self) -> Sequence[Any]:
        import tf_keras

        head = vision("modeling.heads.instance_heads").DetectionHead(
            num_classes=1 + len(self.config.classes),
            fc_dims=self.config.hidden_units,
            norm_momentum=self.config.bn_momentum,
            norm_epsilon=1e-3,
        )
        head(tf_keras.Input((1, _CROP, _CROP, self.config.pyramid_filters)))
        with keras2_policy("float32"):  # coordinates of boxes in pixels
            align = vision("modeling.layers.roi_aligner").MultilevelROIAligner(_CROP)
        return [align, head]

    def _run(self, parts: Sequence[Any], x: Any, training: bool) -> dict[str, Any]:
        align, head = parts
        maps, regions = x
        low, high = self.config.levels
        maps = dict(zip(map(str, range(low, high + 1)), maps, strict=True))
        outputs = head(align(maps, regions), training=training)
        return dict(zip(("classes", "boxes"), outputs, strict=True))

    def propose(self, objectness: tf.Tensor, codes: tf.Tensor) -> tf.Tensor:
        """Return the likeliest regions that overlap little: (B, P, 4) yxyx in [0, 1].

        Where there are fewer than P they are repeated; suppression removes the copies at the end.
        """
        number = self.config.num_proposals
        proposals, _, _, count = suppression.suppress(
            decode(codes, self.anchors)[:, :, None],
            tf.sigmoid(objectness)[..., None],
            number,
            number,
            self.config.proposal_iou,
            score=0.0,
        )
        rows = tf.range(number)[None] % tf.maximum(count, 1)[:, None]
        proposals = tf.gather(proposals, rows, axis=1, batch_dims=1)
        return tf.ensure_shape(tf.stop_gradient(proposals), (None, number, 4))

    def classify(
        self, maps: Sequence[tf.Tensor], regions: tf.Tensor, training: bool
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Return class logits (B, R, 1 + C) and codes (B, R, 1 + C, 4) of regions (B, R, 4)."""
        pixels = regions * np.float32(np.tile(self.config.input_size, 2))
        outputs = self.head((maps, pixels), training=training)
        classes = outputs["classes"]
        return classes, tf.reshape(outputs["boxes"], (-1, *classes.shape[1:], 4))

    def call(
        self, objectness: tf.Tensor, codes: tf.Tensor, maps: Sequence[tf.Tensor]
    ) -> dict[str, tf.Tensor]:
        regions = self.propose(objectness, codes)
        classes, codes = self.classify(maps, regions, training=False)
        each = [decode(codes[:, :, n], regions) for n in range(1, classes.shape[-1])]
        return {"classes": classes, "boxes": tf.stack(each, axis=2)}

    def compute_output_spec(
        self, objectness: Any, codes: Any, maps: Sequence[Any]
    ) -> dict[str, keras.KerasTensor]:
        shape, classes = (objectness.shape[0], self.config.num_proposals), len(self.config.classes)
        return {
            "classes": keras.KerasTensor((*shape, 1 + classes), dtype="float32"),
            "boxes": keras.KerasTensor((*shape, classes, 4), dtype="float32"),
        }


class FasterRCNN(Detector):
    """image -> {"classes": (B, P, 1 + C) logits, of the background first, "boxes": (B, P, C, 4)
    yxyx in [0, 1]} of P proposals.

    In training a call returns what the first stage returns, and the loss passes regions that are
    sampled around the findings and elsewhere to the second stage. `class_loss` and `box_loss` are
    sums of both stages', for each sampled anchor and each sampled region.

    Args:
        image, outputs: of the functional model.
        config: the paper's.
        first: the inputs of the second stage, of the functional model.
    """

    def __init__(
        self,
        image: keras.KerasTensor,
        outputs: dict[str, keras.KerasTensor],
        config: Config,
        first: Sequence[Any],
    ) -> None:
        super().__init__(image, outputs, config)
        parts = dict(zip(("objectness", "codes", "maps"), first, strict=True))
        self.first, self.second = keras.Model(image, parts, name="first"), self.get_layer("second")

    def make_labeler(self) -> Any:
        return labeler(self.config.match, samples=self.config.anchor_samples)

    def call(self, inputs: tf.Tensor, training: bool | None = None, mask: Any = None) -> Any:
        return self.first(inputs, training=True) if training else super().call(inputs)

    def sample_losses(
        self,
        x: tf.Tensor,
        y: Mapping[str, tf.Tensor],
        y_pred: Mapping[str, tf.Tensor],
        training: bool,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        config = self.config
        if not training:
            y_pred = self.first(x, training=False)
        objectness, codes = y_pred["objectness"], y_pred["codes"]
        targets, target_codes = label(self.labeler, self.anchors, y["boxes"], y["classes"])
        losses = tf.nn.sigmoid_cross_entropy_with_logits(
            tf.cast(targets > 0, tf.float32), objectness
        )
        losses = tf.where(targets < 0, 0.0, losses)
        class_loss = tf.reduce_sum(losses, axis=1) / config.anchor_samples
        box_loss = box_losses(target_codes, codes, targets > 0, config.box_delta)
        box_loss /= config.anchor_samples

        regions, targets, target_codes = self._regions(self.second.propose(objectness, codes), y)
        classes, codes = self.second.classify(y_pred["maps"], regions, training)
        codes = tf.gather(codes, targets, axis=2, batch_dims=2)  # those of 0 are the background's
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(targets, classes)
        class_loss += tf.reduce_mean(losses, axis=1)
        region_loss = box_losses(target_codes, codes, targets > 0, config.box_delta)
        return class_loss, box_loss + region_loss / config.region_samples

    def _regions(
        self, proposals: tf.Tensor, y: Mapping[str, tf.Tensor]
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Sample regions (B, R, 4) of proposals and findings, their classes (B, R) and codes."""
        number = self.config.region_samples
        sampler = vision("modeling.layers.roi_sampler").ROISampler(
            mix_gt_boxes=False, num_sampled_rois=number, foreground_fraction=0.25
        )
        real = y["classes"] > 0  # the other rows are padding
        # The sampler would mix in the empty rows of the findings, too: regions outside of the
        # radiograph.
        rows = tf.range(real.shape[1]) % proposals.shape[1]
        more = tf.where(real[..., None], y["boxes"], tf.gather(proposals, rows, axis=1))
        regions = tf.concat([proposals, more], axis=1)
        boxes = tf.where(real[..., None], y["boxes"], -1.0)

        @tf.autograph.experimental.do_not_convert
        def one(sample: tuple[tf.Tensor, ...]) -> tuple[tf.Tensor, ...]:
            regions, boxes, classes, _ = sampler(*(part[None] for part in sample))
            return regions[0], tf.cast(classes[0], tf.int32), boxes[0]

        specs = (
            tf.TensorSpec((number, 4), tf.float32),
            tf.TensorSpec((number,), tf.int32),
            tf.TensorSpec((number, 4), tf.float32),
        )
        samples = regions, boxes, tf.where(real, y["classes"], -1)
        regions, classes, boxes = tf.map_fn(one, samples, fn_output_signature=specs)
        codes = vision("ops.box_ops").encode_boxes(boxes, regions, weights=list(CODER))
        return tf.stop_gradient(regions), classes, tf.stop_gradient(codes)
