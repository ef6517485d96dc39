"""The functions of the SavedModel: radiographs in, masks and probabilities out."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from dentalzoo.models.panoramic_unet.config import Config

if TYPE_CHECKING:
    import tensorflow as tf


def signatures(model: Any, config: Config) -> Mapping[str, Any]:
    """Return the functions of the SavedModel, with all pre- and post-processing in the graph.

    - `serve`: images uint8 (B, H, W, 1 or 3), any B, H, W -> mask uint8 (B, H, W, 1), class ids;
      probabilities float32 (B, H, W, K).
    - `serve_encoded`: the bytes of one PNG, JPEG, BMP or GIF -> the same for B = 1. The image is
      taken as stored: EXIF orientation is not applied.

    Args:
        model: callable, image float32 (B, H, W, 3) in [0, 1] -> probabilities (B, H, W, K).
    """
    import tensorflow as tf

    from dentalzoo.data.io.graph import decode_file, image_spec, to_network
    from dentalzoo.ops.resizing import resize

    @tf.function(input_signature=[image_spec()])
    def serve(images: "tf.Tensor") -> "dict[str, tf.Tensor]":
        probabilities = model(to_network(images, config.input_size, channels=3))
        probabilities = resize(probabilities, tf.shape(images)[1:3])
        if config.num_classes == 1:
            mask = tf.cast(probabilities > 0.5, tf.uint8)
        else:
            mask = tf.cast(tf.argmax(probabilities, axis=-1)[..., None], tf.uint8)
        return {"mask": mask, "probabilities": probabilities}

    @tf.function(input_signature=[tf.TensorSpec((), tf.string, "encoded")])
    def serve_encoded(encoded: "tf.Tensor") -> "dict[str, tf.Tensor]":
        return serve(decode_file(encoded)[None])

    return {"serve": serve, "serve_encoded": serve_encoded}
