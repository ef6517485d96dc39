"""The functions of the SavedModel: images in, codes out, and teeth from codes and from noise."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from dentalzoo.models.tooth_vae.config import Config

if TYPE_CHECKING:
    import tensorflow as tf


def signatures(model: Any, config: Config) -> Mapping[str, Any]:
    """Return the functions of the SavedModel, with all pre- and post-processing in the graph.

    - `encode`: images uint8 (B, h, w, 1 or 3), any size -> z_mean and z_log_var (B, D), and the
      image as the network read it, float32 (B, H, W, C) in [0, 1].
    - `encode_encoded`: encoded, string (B,), each the bytes of one image file, of any size -> the
      same.
    - `decode`: z float32 (B, D) -> image float32 (B, H, W, C) in [0, 1].
    - `generate`: seed and n, int64 -> image float32 (n, H, W, C): decoded samples of the prior,
      their deviation multiplied by the temperature. The same seed gives the same images.

    Args:
        model: has the callables `encoder`, `decoder` and, where it is fitted, `prior`.
    """
    import tensorflow as tf

    from dentalzoo.nn.vae import latent_signatures

    @tf.function(input_signature=[tf.TensorSpec((), tf.int64, name) for name in ("seed", "n")])
    def generate(seed: "tf.Tensor", n: "tf.Tensor") -> "dict[str, tf.Tensor]":
        tf.debugging.assert_positive(n, "n, the number of images, must be at least 1")
        noise = tf.random.stateless_normal([n, config.latent_dim], tf.stack([seed, 0]))
        noise = config.temperature * noise
        return {"image": model.decoder(model.prior(noise) if config.prior == "fitted" else noise)}

    return {**latent_signatures(model, config), "generate": generate}
