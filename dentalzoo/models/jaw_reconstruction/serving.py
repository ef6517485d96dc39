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
    - `serve_refined`, of decoder=depth: the inputs of `serve_some`, which may be all ten views ->
      the same, after `refinement.refine`, which takes seconds for each jaw, and refined bool (B,):
      False for a jaw that it left as it is, since its views are lit otherwise.
    - `serve_encoded`, `serve_some_encoded`: encoded, string (B, 10) or (B, V), in place of views:
      each the bytes of one PNG, JPEG, BMP or GIF, of any size -> the same; EXIF orientation is not
      applied.
    - `mean_shapes`, of a morphable model: the mean of each family, points float32 (F, N, 3) in mm
      and faces.

    Args:
        model: `build_model`'s, or what computes like it and its parts.
    """
    import tensorflow as tf

    from dentalzoo.data.io.graph import encoded_spec, files_to_network, to_network
    from dentalzoo.models.jaw_reconstruction.fusion import fuse
    from dentalzoo.models.jaw_reconstruction.refinement import refine
    from dentalzoo.models.jaw_reconstruction.tones import matched, without_background

    size, channels = (config.image_size, config.image_size), config.channels

    def views_spec(count: int | None) -> "tf.TensorSpec":
        return tf.TensorSpec((None, count, None, None, None), tf.uint8, "views")

    places_spec = tf.TensorSpec((None,), tf.int32, "places")

    def by_jaw(images: "tf.Tensor", views: "tf.Tensor") -> "tf.Tensor":
        """Return images (B * V, S, S, C) with the axes B and V of the views."""
        # Its number where it is known: converters do not infer it.
        count = views.shape[1] or tf.shape(views)[1]
        return tf.reshape(images, [-1, count, *size, channels])

    def read(views: "tf.Tensor") -> "tf.Tensor":
        """Return float32 (B, V, S, S, C) in [0, 1]."""
        shape = tf.shape(views)
        images = tf.reshape(views, tf.concat([[-1], shape[2:]], axis=0))
        return by_jaw(to_network(images, size, channels), views)

    def read_files(encoded: "tf.Tensor") -> "tf.Tensor":
        """Return float32 (B, V, S, S, C) in [0, 1]."""
        return by_jaw(files_to_network(tf.reshape(encoded, [-1]), size, channels)[0], encoded)

    def checked(views: "tf.Tensor", places: "tf.Tensor | None" = None) -> "tf.Tensor":
        """Return views, or files of them, whose number is that of the cameras or of `places`."""
        count = tf.shape(views)[1]
        if places is None:
            message = "views must be ten views of a jaw; serve_some takes fewer"
            checks = [tf.debugging.assert_equal(count, VIEWS, message)]
        else:
            message = "there must be a camera index for each view"
            different = tf.size(tf.unique(places)[0])
            known = tf.reduce_all((places >= 0) & (places < VIEWS))
            checks = [
                tf.debugging.assert_equal(tf.size(places), count, message),
                tf.debugging.assert_equal(
                    different, tf.size(places), "camera indices must differ from each other"
                ),
                tf.debugging.assert_equal(known, True, "camera indices must be 0 to 9"),
            ]
        with tf.control_dependencies(checks):
            return tf.identity(views)

    def placed(images: "tf.Tensor", places: "tf.Tensor") -> "tf.Tensor":
        """Return (B, 10, S, S, C): the images at the places of their cameras, others black."""
        shape = tf.concat([[VIEWS], tf.shape(images)[:1], [*size, channels]], axis=0)
        slots = tf.scatter_nd(places[:, None], tf.transpose(images, (1, 0, 2, 3, 4)), shape)
        return tf.transpose(slots, (1, 0, 2, 3, 4))

    def named(outputs: Any) -> "dict[str, tf.Tensor]":
        points, *faces = outputs if isinstance(outputs, list | tuple) else [outputs]
        return {"points": points * SCALE} | ({"faces": faces[0]} if faces else {})

    # The network and its tables are in the graph once: the signatures call them.
    images_spec = tf.TensorSpec((None, VIEWS, *size, channels))

    @tf.function(input_signature=[images_spec])
    def see(images: "tf.Tensor") -> "tuple[tf.Tensor, tf.Tensor]":
        """Return the maps of decoder=depth, and the views that it was given."""
        images = without_background(images)
        if config.tones:
            images = matched(images, config.tones)
        return model(images), images

    @tf.function(input_signature=[tf.TensorSpec((None, VIEWS, *size, 4)), images_spec])
    def join(maps: "tf.Tensor", images: "tf.Tensor") -> "dict[str, tf.Tensor]":
        return named(fuse(maps, images, config.num_points))

    @tf.function(input_signature=[images_spec])
    def reconstruct(images: "tf.Tensor") -> "dict[str, tf.Tensor]":
        if config.decoder == "depth":
            return join(*see(images))
        return named(model.decoder(model.encoder(images)))

    @tf.function(input_signature=[views_spec(VIEWS)])
    def serve(views: "tf.Tensor") -> "dict[str, tf.Tensor]":
        return reconstruct(read(checked(views)))

    @tf.function(input_signature=[encoded_spec(VIEWS, views=True)])
    def serve_encoded(encoded: "tf.Tensor") -> "dict[str, tf.Tensor]":
        return reconstruct(read_files(checked(encoded)))

    @tf.function(input_signature=[views_spec(None), places_spec])
    def serve_some(views: "tf.Tensor", places: "tf.Tensor") -> "dict[str, tf.Tensor]":
        return reconstruct(placed(read(checked(views, places)), places))

    @tf.function(input_signature=[encoded_spec(views=True), places_spec])
    def serve_some_encoded(encoded: "tf.Tensor", places: "tf.Tensor") -> "dict[str, tf.Tensor]":
        return reconstruct(placed(read_files(checked(encoded, places)), places))

    functions = {
        "serve": serve,
        "serve_encoded": serve_encoded,
        "serve_some": serve_some,
        "serve_some_encoded": serve_some_encoded,
    }
    if config.decoder == "depth":

        @tf.function(input_signature=[views_spec(None), places_spec])
        def serve_refined(views: "tf.Tensor", places: "tf.Tensor") -> "dict[str, tf.Tensor]":
            maps, images = see(placed(read(checked(views, places)), places))
            maps, refined = refine(maps, images)
            return {**join(maps, images), "refined": refined}

        functions["serve_refined"] = serve_refined
    if config.decoder == "morphable":

        @tf.function(input_signature=[])
        def mean_shapes() -> "dict[str, tf.Tensor]":
            families = max(1, len(config.faces))
            code = tf.eye(families, families * (1 + config.components))
            return named(model.decoder(code))

        functions["mean_shapes"] = mean_shapes
    return functions
