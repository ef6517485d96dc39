"""The functions of the SavedModel: radiographs in, masks and probabilities out."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from dentalzoo.models.panoramic_unet.config import Config

if TYPE_CHECKING:
    import tensorflow as tf


def signatures(model: Any, config: Config) -> Mapping[str, Any]:
    """Return the functions of the SavedModel, with all pre- and post-processing in the graph.

    - `segment`: images uint8 (B, H, W, 1 or 3), any B, H, W -> mask uint8 (B, H, W, 1), class ids.
    - `segment_encoded`: encoded, string (B,), each the bytes of one PNG, JPEG, BMP or GIF, of any
      size -> mask_bytes, string (B,), each the mask of its image as the bytes of a grey PNG of 8
      bits. The images are taken as stored: EXIF orientation is not applied.
    - `serve`: images as for `segment` -> mask, and probabilities float32 (B, H, W, K), calibrated
      where the config has a temperature; the mask is the same with any.
    - `serve_encoded`: encoded as for `segment_encoded` -> the same; images of one size only.

    Args:
        model: callable, image float32 (B, H, W, 3) in [0, 1] -> probabilities (B, H, W, K).
    """
    import tensorflow as tf

    from dentalzoo.data.io.graph import encoded_spec, files_to_network, image_spec, to_network
    from dentalzoo.ops.calibration import scaled, scaled_classes
    from dentalzoo.ops.resizing import resize

    size = config.input_size

    # The network is in the graph once: the signatures call it.
    @tf.function(input_signature=[tf.TensorSpec((None, *size, 3))])
    def predict(images: "tf.Tensor") -> "tf.Tensor":
        return model(images)

    def mask_of(probabilities: "tf.Tensor") -> "tf.Tensor":
        if config.num_classes == 1:
            # Whether it is above 0.5: one half is rounded to 0. ONNX Runtime compares each value of
            # a last axis of size 1 with a number of its own, thirty times slower.
            return tf.cast(tf.round(probabilities), tf.uint8)
        return tf.cast(tf.argmax(probabilities, axis=-1)[..., None], tf.uint8)

    def calibrated(probabilities: "tf.Tensor") -> "tf.Tensor":
        if config.temperature == 1:
            return probabilities
        of_classes = scaled if config.num_classes == 1 else scaled_classes
        return of_classes(probabilities, config.temperature)

    @tf.function(input_signature=[image_spec()])
    def segment(images: "tf.Tensor") -> "dict[str, tf.Tensor]":
        probabilities = predict(to_network(images, size, channels=3))
        return {"mask": mask_of(resize(probabilities, tf.shape(images)[1:3]))}

    @tf.function(input_signature=[encoded_spec()])
    def segment_encoded(encoded: "tf.Tensor") -> "dict[str, tf.Tensor]":
        images, sizes = files_to_network(encoded, size, channels=3)

        def png(item: "tuple[tf.Tensor, ...]") -> "tf.Tensor":
            _, probabilities, size = item
            return tf.io.encode_png(mask_of(resize(probabilities[None], size))[0])

        # The files first: the loop counts them, which bounds it by what the caller sent.
        items = encoded, predict(images), sizes
        masks = tf.map_fn(png, items, fn_output_signature=tf.TensorSpec((), tf.string))
        return {"mask_bytes": masks}

    @tf.function(input_signature=[image_spec()])
    def serve(images: "tf.Tensor") -> "dict[str, tf.Tensor]":
        probabilities = predict(to_network(images, size, channels=3))
        probabilities = resize(probabilities, tf.shape(images)[1:3])
        return {"mask": mask_of(probabilities), "probabilities": calibrated(probabilities)}

    @tf.function(input_signature=[encoded_spec()])
    def serve_encoded(encoded: "tf.Tensor") -> "dict[str, tf.Tensor]":
        images, sizes = files_to_network(encoded, size, channels=3)
        message = "the images of a batch must have one size; segment_encoded takes several"
        with tf.control_dependencies([tf.debugging.assert_equal(sizes, sizes[:1], message)]):
            probabilities = resize(predict(images), tf.identity(sizes[0]))
        return {"mask": mask_of(probabilities), "probabilities": calibrated(probabilities)}

    return {
        "segment": segment,
        "segment_encoded": segment_encoded,
        "serve": serve,
        "serve_encoded": serve_encoded,
    }
