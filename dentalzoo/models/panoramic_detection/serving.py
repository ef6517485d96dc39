"""The functions of the SavedModel: images or files of images in, boxes out."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from dentalzoo.models.panoramic_detection.config import Config

if TYPE_CHECKING:
    import tensorflow as tf


def signatures(model: Any, config: Config) -> Mapping[str, Any]:
    """Return the functions of the SavedModel, with all pre- and post-processing in the graph.

    - `detect`: images uint8 (B, h, w, 1 or 3), any size -> boxes float32 (B, K, 4) yxyx in [0, 1]
      of the image, scores float32 (B, K), falling, classes int32 (B, K) from 1 and num int32
      (B,): rows from num on are zeros. Of overlapping boxes of a class the likeliest is kept.
      Scores are calibrated where the config has a temperature; the boxes are the same with any.
    - `detect_encoded`: encoded, string (B,), each the bytes of one PNG, JPEG, BMP or GIF, of any
      size -> the same, in [0, 1] of each image as stored: EXIF orientation is not applied.
    - `detect_example`: examples, string (B,), each a serialised `tf.train.Example` whose feature
      `image/encoded` holds such bytes -> the same.
    - `raw`: images as for `detect` -> boxes (B, A, 4) and scores (B, A, C) of all anchors, without
      suppression; of Faster R-CNN boxes (B, P, C, 4) and scores (B, P, C) of all proposals.

    Args:
        model: maps images in [0, 1] to class logits and box codes.
    """
    import tensorflow as tf

    from dentalzoo.data.io.graph import encoded_spec, files_to_network, image_spec, to_network
    from dentalzoo.models.panoramic_detection.anchors import decode, make_anchors
    from dentalzoo.ops import calibration, suppression

    anchors, size = make_anchors(config), config.input_size

    # The network is in the graph once: the signatures call these two.
    @tf.function(input_signature=[tf.TensorSpec((None, *size, 3))])
    def predict(images: "tf.Tensor") -> "dict[str, tf.Tensor]":
        outputs = model(images)
        if config.network == "faster_rcnn":
            return {
                "boxes": outputs["boxes"],
                "scores": tf.nn.softmax(outputs["classes"])[..., 1:],
            }
        boxes = decode(outputs["boxes"], tf.constant(anchors))
        return {"boxes": boxes, "scores": tf.sigmoid(outputs["classes"])}

    def calibrated(scores: "tf.Tensor") -> "tf.Tensor":
        if (config.temperature, config.score_bias) == (1, 0):
            return scores
        return calibration.scaled(scores, config.temperature, config.score_bias)

    @tf.function(input_signature=[tf.TensorSpec((None, *size, 3))])
    def suppress(images: "tf.Tensor") -> "dict[str, tf.Tensor]":
        candidates = predict(images)
        boxes = candidates["boxes"]
        boxes, scores, classes, num = suppression.suppress(
            boxes if boxes.shape.rank == 4 else boxes[:, :, None],  # a box for each class, or one
            candidates["scores"],
            config.max_per_class,
            config.max_detections,
            config.nms_iou,
            config.score_threshold,
        )
        counts = tf.range(config.max_detections)[None] < num[:, None]
        classes = tf.where(counts, tf.cast(classes, tf.int32) + 1, 0)
        scores = tf.where(counts, calibrated(scores), 0.0)
        return {"boxes": boxes, "scores": scores, "classes": classes, "num": num}

    @tf.function(input_signature=[image_spec()])
    def raw(images: "tf.Tensor") -> "dict[str, tf.Tensor]":
        candidates = predict(to_network(images, size, 3))
        return {"boxes": candidates["boxes"], "scores": calibrated(candidates["scores"])}

    @tf.function(input_signature=[image_spec()])
    def detect(images: "tf.Tensor") -> "dict[str, tf.Tensor]":
        return suppress(to_network(images, size, 3))

    @tf.function(input_signature=[encoded_spec()])
    def detect_encoded(encoded: "tf.Tensor") -> "dict[str, tf.Tensor]":
        return suppress(files_to_network(encoded, size, 3)[0])

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.string, "examples")])
    def detect_example(examples: "tf.Tensor") -> "dict[str, tf.Tensor]":
        features = {"image/encoded": tf.io.FixedLenFeature((), tf.string)}
        encoded = tf.io.parse_example(examples, features)["image/encoded"]
        return suppress(files_to_network(encoded, size, 3)[0])

    return {
        "detect": detect,
        "detect_encoded": detect_encoded,
        "detect_example": detect_example,
        "raw": raw,
    }
