"""Faster R-CNN (Ren et al. 2015, arXiv:1506.01497): regions that may hold a finding are proposed,
and each is looked at again. Pyramid: Lin et al. 2017, arXiv:1612.03144."""

import keras
import numpy as np
import tensorflow as tf

from dentalzoo.models.panoramic_detection.anchors import CODER, decode, label, labeler, make_anchors
from dentalzoo.models.panoramic_detection.detector import Detector, box_losses
from dentalzoo.models.panoramic_detection.keras2_bridge import Network, vision

_CROP = 7  # sides of a region's features: its fastercnn.config, 14 halved by pooling


class SecondStage(keras.layers.Layer):
    """Objectness (B, A), codes (B, A, 4) and the maps of a pyramid -> class logits (B, P, 1 + C),
    of the background first, and the boxes (B, P, C, 4) yxyx in [0, 1] of P proposals.

    Args:
        config: the paper's.
    """

    def __init__(self, config, **options):
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

    def _parts(self):
        import tf_keras

        head = vision("modeling.heads.instance_heads").DetectionHead(
            num_classes=1 + len(self.config.classes),
            fc_dims=self.config.hidden_units,
            norm_momentum=self.config.bn_momentum,
            norm_epsilon=1e-3,
        )
        head(tf_keras.Input((1, _CROP, _CROP, self.config.pyramid_filters)))
        return [vision("modeling.layers.roi_aligner").MultilevelROIAligner(_CROP), head]

    def _run(self, parts, x, training):
        align, head = parts
        maps, regions = x
        low, high = self.config.levels
        maps = dict(zip(map(str, range(low, high + 1)), maps, strict=True))
        found = head(align(maps, regions), training=training)
        return dict(zip(("classes", "boxes"), found, strict=True))

    def propose(self, objectness, codes):
        """The likeliest regions that overlap little: (B, P, 4) yxyx in [0, 1].

        Where there are fewer than P, they come again, until suppression takes the copies.
        """
        number = self.config.num_proposals
        found, _, _, count = tf.image.combined_non_max_suppression(
            decode(codes, self.anchors)[:, :, None],
            tf.sigmoid(objectness)[..., None],
            number,
            number,
            self.config.proposal_iou,
            score_threshold=0.0,
        )
        places = tf.range(number)[None] % tf.maximum(count, 1)[:, None]
        found = tf.gather(found, places, axis=1, batch_dims=1)
        return tf.ensure_shape(tf.stop_gradient(found), (None, number, 4))

    def look(self, maps, regions, training: bool):
        """What regions (B, R, 4) hold: class logits (B, R, 1 + C), codes (B, R, 1 + C, 4)."""
        pixels = regions * np.float32(np.tile(self.config.input_size, 2))
        found = self.head((maps, pixels), training=training)
        classes = found["classes"]
        return classes, tf.reshape(found["boxes"], (-1, *classes.shape[1:], 4))

    def call(self, objectness, codes, maps):
        regions = self.propose(objectness, codes)
        classes, codes = self.look(maps, regions, training=False)
        each = [decode(codes[:, :, n], regions) for n in range(1, classes.shape[-1])]
        return {"classes": classes, "boxes": tf.stack(each, axis=2)}

    def compute_output_spec(self, objectness, codes, maps):
        shape, classes = (objectness.shape[0], self.config.num_proposals), len(self.config.classes)
        return {
            "classes": keras.KerasTensor((*shape, 1 + classes), dtype="float32"),
            "boxes": keras.KerasTensor((*shape, classes, 4), dtype="float32"),
        }


class FasterRCNN(Detector):
    """image -> {"classes": (B, P, 1 + C) logits, of the background first, "boxes": (B, P, C, 4)
    yxyx in [0, 1]} of P proposals.

    In training the second stage looks at regions drawn around the findings and elsewhere, in the
    loss, and a call gives what the first stage gives. `class_loss` and `box_loss` are sums of both
    stages', for each anchor and each region that is drawn.

    Args:
        image, outputs: of the functional model.
        config: the paper's.
        first: the inputs of the second stage, of the functional model.
    """

    def __init__(self, image, outputs: dict, config, first):
        super().__init__(image, outputs, config)
        parts = dict(zip(("objectness", "codes", "maps"), first, strict=True))
        self.first, self.second = keras.Model(image, parts, name="first"), self.get_layer("second")

    def make_labeler(self):
        return labeler(self.config.match, samples=self.config.anchor_samples)

    def call(self, inputs, training=None, mask=None):
        return self.first(inputs, training=True) if training else super().call(inputs)

    def sample_losses(self, x, y, y_pred, training: bool):
        config = self.config
        if not training:
            y_pred = self.first(x, training=False)
        objectness, codes = y_pred["objectness"], y_pred["codes"]
        wanted, wanted_codes = label(self.labeler, self.anchors, y["boxes"], y["classes"])
        missed = tf.nn.sigmoid_cross_entropy_with_logits(
            tf.cast(wanted > 0, tf.float32), objectness
        )
        missed = tf.reduce_sum(tf.where(wanted < 0, 0.0, missed), axis=1) / config.anchor_samples
        off = box_losses(wanted_codes, codes, wanted > 0, config.box_delta) / config.anchor_samples

        regions, wanted, wanted_codes = self._regions(self.second.propose(objectness, codes), y)
        classes, codes = self.second.look(y_pred["maps"], regions, training)
        codes = tf.gather(codes, wanted, axis=2, batch_dims=2)  # those of 0 are the background's
        wrong = tf.nn.sparse_softmax_cross_entropy_with_logits(wanted, classes)
        missed += tf.reduce_mean(wrong, axis=1)
        off += box_losses(wanted_codes, codes, wanted > 0, config.box_delta) / config.region_samples
        return missed, off

    def _regions(self, proposals, y):
        """Regions (B, R, 4) of proposals and findings, their classes (B, R) and codes (B, R, 4)."""
        number = self.config.region_samples
        sampler = vision("modeling.layers.roi_sampler").ROISampler(
            mix_gt_boxes=False, num_sampled_rois=number, foreground_fraction=0.25
        )
        found = y["classes"] > 0
        # The sampler would mix in the empty rows of the findings, too: regions outside of the
        # radiograph.
        places = tf.range(found.shape[1]) % proposals.shape[1]
        more = tf.where(found[..., None], y["boxes"], tf.gather(proposals, places, axis=1))
        regions = tf.concat([proposals, more], axis=1)
        boxes = tf.where(found[..., None], y["boxes"], -1.0)

        @tf.autograph.experimental.do_not_convert
        def one(sample):
            regions, boxes, classes, _ = sampler(*(part[None] for part in sample))
            return regions[0], tf.cast(classes[0], tf.int32), boxes[0]

        specs = (
            tf.TensorSpec((number, 4), tf.float32),
            tf.TensorSpec((number,), tf.int32),
            tf.TensorSpec((number, 4), tf.float32),
        )
        samples = regions, boxes, tf.where(found, y["classes"], -1)
        regions, classes, boxes = tf.map_fn(one, samples, fn_output_signature=specs)
        codes = vision("ops.box_ops").encode_boxes(boxes, regions, weights=list(CODER))
        return tf.stop_gradient(regions), classes, tf.stop_gradient(codes)
