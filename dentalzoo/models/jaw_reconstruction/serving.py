"""The functions of the SavedModel: views in, points and faces out."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from dentalzoo.data.jaw_pose import SCALE
from dentalzoo.data.views import VIEWS
from dentalzoo.models.jaw_reconstruction.config import Config

if TYPE_CHECKING:
    import tensorflow as tf


def signatures(model: Any, config: Config) -> Mapping[str, Any]:
    """Return the functions of the SavedModel, with all pre- and post-processing in the graph.

    - `serve`: views uint8 (B, 10, h, w, 1 or 3), any size, view i of camera i, black where it is
      missing -> points float32 (B, N, 3) in mm: x to the patient's right, y to the back, z to the
      biting edges, the middle of the jaw's box at 0. A decoder with faces adds them, int32
      (B, M, 3), counted from 0; rows of -1 at their end are padding.
    - `serve_some`: views uint8 (B, V, h, w, 1 or 3) and places int32 (V,), the camera index of
      each, all different -> the same.
    - `mean_shapes`, of a morphable model: the mean of each family, points float32 (F, N, 3) in mm
      and faces.

    Args:
        model: has the callables `encoder` and `decoder`.
    """
    import tensorflow as tf

    from dentalzoo.data.io.graph import to_network

    def views_spec(count: int | None) -> "tf.TensorSpec":
        return tf.TensorSpec((None, count, None, None, None), tf.uint8, "views")

    def read(views: "tf.Tensor") -> "tf.Tensor":
        """Return float32 (B, 10, S, S, C) in [0, 1]."""
        shape = tf.shape(views)
        message = "views must be ten views of a jaw; serve_some takes fewer"
        with tf.control_dependencies([tf.debugging.assert_equal(shape[1], VIEWS, message)]):
            views = tf.identity(views)
        images = tf.reshape(views, tf.concat([[-1], shape[2:]], axis=0))
        size = (config.image_size, config.image_size)
        images = to_network(images, size, config.channels)
        return tf.reshape(images, [-1, VIEWS, *size, config.channels])

    def named(outputs: Any) -> "dict[str, tf.Tensor]":
        points, *faces = outputs if isinstance(outputs, list | tuple) else [outputs]
        return {"points": points * SCALE} | ({"faces": faces[0]} if faces else {})

    @tf.function(input_signature=[views_spec(VIEWS)])
    def serve(views: "tf.Tensor") -> "dict[str, tf.Tensor]":
        return named(model.decoder(model.encoder(read(views))))

    @tf.function(input_signature=[views_spec(None), tf.TensorSpec((None,), tf.int32, "places")])
    def serve_some(views: "tf.Tensor", places: "tf.Tensor") -> "dict[str, tf.Tensor]":
        checks = [
            tf.debugging.assert_equal(
                tf.size(places), tf.shape(views)[1], "there must be a camera index for each view"
            ),
            tf.debugging.assert_equal(
                tf.size(tf.unique(places)[0]),
                tf.size(places),
                "camera indices must differ from each other",
            ),
            tf.debugging.assert_equal(
                tf.reduce_all((places >= 0) & (places < VIEWS)),
                True,
                "camera indices must be 0 to 9",
            ),
        ]
        with tf.control_dependencies(checks):
            views = tf.identity(views)
        shape = tf.shape(views)
        slots = tf.scatter_nd(
            places[:, None],
            tf.transpose(views, (1, 0, 2, 3, 4)),
            tf.concat([[VIEWS], shape[:1], shape[2:]], axis=0),
        )
        return serve(tf.transpose(slots, (1, 0, 2, 3, 4)))

    functions = {"serve": serve, "serve_some": serve_some}
    if config.decoder == "morphable":

        @tf.function(input_signature=[])
        def mean_shapes() -> "dict[str, tf.Tensor]":
            families = max(1, len(config.faces))
            code = tf.eye(families, families * (1 + config.components))
            return named(model.decoder(code))

        functions["mean_shapes"] = mean_shapes
    return functions
