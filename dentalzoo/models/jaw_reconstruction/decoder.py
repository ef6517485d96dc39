"""The decoder of jaw_reconstruction: a code -> points, by an MLP or a statistical shape model."""

from typing import Any

import keras
from keras import layers, ops

from dentalzoo.data import morphable
from dentalzoo.models.jaw_reconstruction.config import Config


def decoder(config: Config, size: int) -> keras.Model:
    """Return a model: code (B, D) -> points (B, N, 3).

    Of a morphable model whose faces are known: [points, faces (B, M, 3) int32].

    Args:
        size: D.
    """
    x = code = keras.Input((size,), name="code")
    if config.decoder == "morphable":
        return keras.Model(code, MorphableModel(config, name="morphable")(x), name="decoder")
    for number, units in enumerate(config.hidden):
        x = layers.Dense(units, activation="relu", name=f"hidden_{number}")(x)
    x = layers.Dense(config.num_points * 3, dtype="float32", name="coordinates")(x)
    points = layers.Reshape((config.num_points, 3), dtype="float32")(x)
    return keras.Model(code, points, name="decoder")


def code_size(config: Config) -> int:
    """Return the code's size for a morphable model: per family a logit and its coefficients."""
    return max(1, len(config.faces)) * (1 + config.components)


class MorphableModel(layers.Layer):
    """A statistical shape model: points = mean + modes @ coefficients.

    A family is the jaws whose meshes have the same faces, so that their vertices correspond; each
    has a mean and modes. The code contains the family of a jaw: in training the families are mixed
    by softmax, in use the likeliest one is taken. The shapes are weights that training does not
    change where they come from a file, and learns where they do not.
    """

    def __init__(self, config: Config, **options: Any) -> None:
        super().__init__(dtype="float32", **options)
        self.config = config
        self.families = max(1, len(config.faces))

    def build(self, _: tuple[int | None, ...]) -> None:
        config = self.config
        model = None
        if config.morphable_model is not None:
            model = morphable.load(config.morphable_model)
            model.check(config.num_points, config.components, config.faces)
        learn = model is None
        size = config.num_points * 3
        self.means: list[keras.Variable] = []  # (N * 3,) of each family
        self.modes: list[keras.Variable] = []  # (N * 3, components)
        self.triangles: list[keras.Variable] = []  # (M * 3,), vertex numbers
        for family in range(self.families):
            # Vectors: a bundle stores them in float32 whatever the dtype of its matrices.
            self.means.append(self._weight(f"mean_{family}", (size,), 0.3, learn))
            self.modes.append(
                self._weight(f"modes_{family}", (size, config.components), 0.05, learn)
            )
        for family, count in enumerate(config.faces):
            self.triangles.append(self._weight(f"faces_{family}", (count * 3,), 0.0, False))
        if model is not None:
            for family in range(self.families):
                self.means[family].assign(model.means[family].reshape(-1))
                self.modes[family].assign(model.modes[family].reshape(size, -1))
                self.triangles[family].assign(model.faces[family].reshape(-1))

    def _weight(
        self, name: str, shape: tuple[int, ...], deviation: float, trainable: bool
    ) -> keras.Variable:
        start = keras.initializers.RandomNormal(stddev=deviation)
        return self.add_weight(shape=shape, initializer=start, trainable=trainable, name=name)

    def call(self, code: Any, training: bool = False) -> Any:
        count = self.families
        logits, coefficients = code[:, :count], ops.split(code[:, count:], count, axis=1)
        # Not `argmax`: Keras compares bits in it, which few runtimes can.
        likeliest = ops.top_k(logits, 1)[1][..., 0]
        mixed = training and count > 1
        shares = ops.softmax(logits) if mixed else ops.one_hot(likeliest, count)

        size = ops.shape(code)[0], self.config.num_points * 3

        def shape(family: int) -> Any:
            moved = ops.matmul(coefficients[family], ops.transpose(self.modes[family]))
            return shares[:, family : family + 1] * (self.means[family] + moved)

        def shape_if_used(family: int) -> Any:
            """Return `shape`, or zeros without reading the modes where no jaw is of the family."""
            used = ops.max(shares[:, family]) > 0
            return ops.cond(used, lambda: shape(family), lambda: ops.zeros(size))

        one = shape if training or count == 1 else shape_if_used
        points = sum(one(family) for family in range(count))
        points = ops.reshape(points, (-1, self.config.num_points, 3))
        if not self.triangles:
            return points
        return [points, ops.take(self._faces(), likeliest, axis=0)]

    def _faces(self) -> Any:
        """Return the faces (F, M, 3) int32; families of fewer faces end in rows of -1."""
        most = max(self.config.faces)
        rows = [ops.reshape(faces, (-1, 3)) for faces in self.triangles]
        rows = [ops.pad(r, ((0, most - r.shape[0]), (0, 0)), constant_values=-1) for r in rows]
        return ops.cast(ops.stack(rows), "int32")
