"""The functions of the SavedModel: images in, codes and superimposed images out."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from dentalzoo.models.defect_overlay_vae.config import POLARITY, Config

if TYPE_CHECKING:
    import tensorflow as tf


def signatures(model: Any, config: Config) -> Mapping[str, Any]:
    """Return the functions of the SavedModel, with all pre- and post-processing in the graph.

    - `encode`: images uint8 (B, h, w, 1 or 3), any size -> z_mean and z_log_var (B, D), and the
      image as the network reads it, float32 (B, H, W, C) in [0, 1], not inverted.
    - `encode_encoded`: encoded, string (B,), each the bytes of one image file, of any size -> the
      same.
    - `decode`: z float32 (B, D) -> image float32 (B, H, W, C) in [0, 1], not inverted.
    - `overlay`: images uint8 (K, h, w, 1 or 3) and weights float32 (K,) -> image float32 (H, W, C)
      in [0, 1] and z (D,): the images superimposed by the config's method, with the weighted sum
      of the means.
    - `overlay_encoded`: encoded string (K,) and weights -> the same.

    Args:
        model: has the callables `encoder` and `decoder`.
    """
    import tensorflow as tf

    from dentalzoo.data.io.graph import encoded_spec, image_spec
    from dentalzoo.models.defect_overlay_vae.superimposition import background, combine, composite
    from dentalzoo.nn.vae import latent_signatures

    functions = latent_signatures(model, config, config.invert)

    def superimposed(means: "tf.Tensor", weights: "tf.Tensor") -> "dict[str, tf.Tensor]":
        z = combine(means, weights, config.averaged)
        if config.overlay == "maximum":
            decoded = functions["decode"](means)["image"]
            polarity = POLARITY[config.defects]
            image = composite(decoded, background(decoded), weights, polarity)
            return {"image": image, "z": z}
        if config.overlay == "mean":
            z = combine(means, weights, config.latent_dim)
        return {"image": functions["decode"](z[None])["image"][0], "z": z}

    def check(images: "tf.Tensor", weights: "tf.Tensor") -> None:
        tf.debugging.assert_equal(
            tf.shape(images)[0], tf.shape(weights)[0], "there must be one weight for each image"
        )
        tf.debugging.assert_positive(tf.reduce_sum(weights), "the weights' sum must be positive")

    weights_spec = tf.TensorSpec((None,), tf.float32, "weights")

    @tf.function(input_signature=[image_spec(), weights_spec])
    def overlay(images: "tf.Tensor", weights: "tf.Tensor") -> "dict[str, tf.Tensor]":
        check(images, weights)
        return superimposed(functions["encode"](images)["z_mean"], weights)

    @tf.function(input_signature=[encoded_spec(), weights_spec])
    def overlay_encoded(encoded: "tf.Tensor", weights: "tf.Tensor") -> "dict[str, tf.Tensor]":
        check(encoded, weights)
        return superimposed(functions["encode_encoded"](encoded)["z_mean"], weights)

    return {**functions, "overlay": overlay, "overlay_encoded": overlay_encoded}
