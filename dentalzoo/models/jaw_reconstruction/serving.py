"""The functions of the SavedModel: views in, points and faces out."""

from dentalzoo.data.jaw_pose import SCALE
from dentalzoo.data.views import VIEWS


def signatures(model, config) -> dict:
    """The functions of the SavedModel; all pre- and post-processing is inside the graph.

    - `serve`: views uint8 (B, 10, h, w, 1 or 3), any size, view i of camera i, black where it is
      missing -> points float32 (B, N, 3) in mm: x to the patient's right, y to the back, z to the
      biting edges, the middle of the jaw's box at 0. A decoder with faces adds them, int32
      (B, M, 3), counted from 0; rows of -1 at their end are none.
    - `serve_some`: views uint8 (B, V, h, w, 1 or 3) and places int32 (V,), the camera of each, all
      different -> the same.
    - `mean_shapes`, of a morphable model: the mean of each family, points float32 (F, N, 3) in mm
      and faces.

    Args:
        model: has the callables `encoder` and `decoder`.
        config: the paper's.
    """
    import tensorflow as tf

    from dentalzoo.data.io.graph import to_network

    def views_spec(count):
        return tf.TensorSpec((None, count, None, None, None), tf.uint8, "views")

    def read(views):
        """To (B, 10, S, S, C) in [0, 1]."""
        shape = tf.shape(views)
        message = "ten views of a jaw were expected; serve_some takes fewer"
        with tf.control_dependencies([tf.debugging.assert_equal(shape[1], VIEWS, message)]):
            views = tf.identity(views)
        images = tf.reshape(views, tf.concat([[-1], shape[2:]], axis=0))
        size = (config.image_size, config.image_size)
        images = to_network(images, size, config.channels)
        return tf.reshape(images, [-1, VIEWS, *size, config.channels])

    def named(found):
        points, *faces = found if isinstance(found, list | tuple) else [found]
        return {"points": points * SCALE} | ({"faces": faces[0]} if faces else {})

    @tf.function(input_signature=[views_spec(VIEWS)])
    def serve(views):
        return named(model.decoder(model.encoder(read(views))))

    @tf.function(input_signature=[views_spec(None), tf.TensorSpec((None,), tf.int32, "places")])
    def serve_some(views, places):
        checks = [
            tf.debugging.assert_equal(
                tf.size(places), tf.shape(views)[1], "a place for each view was expected"
            ),
            tf.debugging.assert_equal(
                tf.size(tf.unique(places)[0]), tf.size(places), "places differ from each other"
            ),
            tf.debugging.assert_equal(
                tf.reduce_all((places >= 0) & (places < VIEWS)), True, "places are 0 to 9"
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

    found = {"serve": serve, "serve_some": serve_some}
    if config.decoder == "morphable":

        @tf.function(input_signature=[])
        def mean_shapes():
            families = max(1, len(config.faces))
            code = tf.eye(families, families * (1 + config.components))
            return named(model.decoder(code))

        found["mean_shapes"] = mean_shapes
    return found
