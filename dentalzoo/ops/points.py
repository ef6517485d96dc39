"""Nearest points and the Chamfer distance in TensorFlow, and how even a fixed topology lies.

Clouds are (B, N, 3) and (B, M, 3); what is less precise than float32 is raised to it. The matrix of
all distances is never held: at 50,000 points it would be 10 GB. Two backends find the neighbours:

- "tree": SciPy's KD-tree in a host call, for CPUs. XLA compiles no host call: a step that holds one
  fails under `jit_compile=True`, and so it does on a TPU.
- "chunked": all differences, 512 points at a time, compiled by XLA whether the step is or not. For
  GPUs and TPUs; right on a CPU too, but a hundred times slower than the tree.

"auto" is "chunked" where TensorFlow has a GPU or a TPU, else "tree". Models compiled with
`jit_compile=False` train with every backend. Keras' own "auto" compiles beside a GPU, where "auto"
here still works and "tree" does not.

To the gradient the neighbours are constants, which is exact wherever they are unique. A sample with
a coordinate that is NaN or infinite has distances of NaN, with both backends.
"""

import numpy as np
import tensorflow as tf

from dentalzoo.errors import DentalzooError
from dentalzoo.ops import meshes

BACKENDS = ("auto", "tree", "chunked")
CHUNK = 512


def nearest(points, others, backend: str = "auto"):
    """Which of the others is nearest to each point; of several equally near ones any.

    Args:
        points: (B, N, 3).
        others: (B, M, 3).
        backend: one of BACKENDS.

    Returns:
        (B, N) int32. Any number below M in a sample with a coordinate that is not finite.

    Raises:
        DentalzooError: other shapes, an empty cloud, or an unknown backend.
    """
    points, others = map(tf.stop_gradient, _clouds(points, others))
    if _choose(backend) == "chunked":
        return tf.ensure_shape(_nearest_chunked(points, others), points.shape[:2])
    found = tf.numpy_function(_nearest_tree, [points, others], tf.int32, stateful=False)
    return tf.ensure_shape(found, points.shape[:2])


def distances(points, others, squared: bool = False, backend: str = "auto"):
    """How far each point is from the nearest of the others: one side of the Chamfer distance.

    The gradient flows to both clouds. Where a distance is 0, so is its gradient, squared or not.

    Args:
        points: (B, N, 3).
        others: (B, M, 3).
        squared: return the squares.
        backend: one of BACKENDS.

    Returns:
        (B, N), in the unit of the coordinates, or its square.

    Raises:
        DentalzooError: other shapes, an empty cloud, or an unknown backend.
    """
    points, others = _clouds(points, others)
    index = nearest(points, others, backend)
    squares = _squares(points - tf.gather(others, index, batch_dims=1))
    finite = _finite(points) & _finite(others)
    squares = tf.where(finite[:, None], squares, tf.constant(np.nan, squares.dtype))
    return squares if squared else _root(squares)


def chamfer(points, others, squared: bool = True, backend: str = "auto", max_points=None):
    """The Chamfer distance: the mean of both directions' means of nearest distances.

    A mean, so that unsquared it is an error in the unit of the coordinates; papers that add the
    directions report twice as much.

    Args:
        points: (B, N, 3).
        others: (B, M, 3).
        squared: whether the distances are squared before the means.
        backend: one of BACKENDS.
        max_points: at most so many points of each cloud, drawn anew at each call, look for their
            nearest in the whole of the other: an estimate without bias, at a fraction of the cost.
            None for all.

    Returns:
        (B,), so that Keras takes the mean over all replicas: a loss for `compile` as it is.

    Raises:
        DentalzooError: other shapes, an empty cloud, or an unknown backend.
    """
    points, others = _clouds(points, others)
    there = distances(subset(points, max_points), others, squared, backend)
    back = distances(subset(others, max_points), points, squared, backend)
    return (tf.reduce_mean(there, -1) + tf.reduce_mean(back, -1)) / 2


def subset(points, count: int | None):
    """`count` of the points (B, N, 3), each at most once, the same ones in every sample.

    Drawn with TensorFlow's global seed. All of them where `count` is None or not below N.
    """
    if count is None or (points.shape[1] is not None and points.shape[1] <= count):
        return points
    order = tf.random.shuffle(tf.range(tf.shape(points)[1]))
    return tf.gather(points, order[:count], axis=1)


def _choose(backend: str) -> str:
    if backend not in BACKENDS:
        raise DentalzooError(f"the backends are: {', '.join(BACKENDS)}. Received: {backend!r}")
    if backend != "auto":
        return backend
    devices = tf.config.list_logical_devices
    return "chunked" if devices("GPU") or devices("TPU") else "tree"


def _clouds(points, others):
    """Both as tensors of one dtype, float32 or float64."""
    points, others = tf.convert_to_tensor(points), tf.convert_to_tensor(others)
    shapes = points.shape, others.shape
    right = all(s.rank == 3 and s[2] in (3, None) and s[1] != 0 for s in shapes)
    if not right or not shapes[0][:1].is_compatible_with(shapes[1][:1]):
        raise DentalzooError(
            "clouds have the shapes (B, N, 3) and (B, M, 3), N and M at least 1. "
            f"Received: {shapes[0]} and {shapes[1]}"
        )
    dtype = tf.float64 if tf.float64 in (points.dtype, others.dtype) else tf.float32
    return tf.cast(points, dtype), tf.cast(others, dtype)


def _nearest_tree(points: np.ndarray, others: np.ndarray) -> np.ndarray:
    found = np.zeros(points.shape[:2], np.int32)
    for row, cloud, other in zip(found, points, others, strict=True):
        if np.isfinite(cloud).all() and np.isfinite(other).all():
            row[:] = meshes.tree(other).query(cloud, workers=-1)[1]
    return found


@tf.function(jit_compile=True, autograph=False)
def _nearest_chunked(points, others):
    batch, count = tf.shape(points)[0], tf.shape(points)[1]
    padded = tf.pad(points, [[0, 0], [0, -count % CHUNK], [0, 0]])
    chunks = tf.transpose(tf.reshape(padded, [batch, -1, CHUNK, 3]), [1, 0, 2, 3])

    def of_chunk(chunk):
        # Differences, since |a|^2 + |b|^2 - 2ab takes wrong neighbours among close ones in float32
        squares = sum(
            tf.square(chunk[:, :, None, axis] - others[:, None, :, axis]) for axis in range(3)
        )
        return tf.argmin(squares, -1, output_type=tf.int32)

    found = tf.map_fn(of_chunk, chunks, fn_output_signature=tf.int32)
    return tf.reshape(tf.transpose(found, [1, 0, 2]), [batch, -1])[:, :count]


def _squares(vectors):
    return tf.reduce_sum(tf.square(vectors), -1)


def _root(squares):
    """The root, with a gradient of 0 at 0 instead of infinity."""
    apart = tf.not_equal(squares, 0)  # true of NaN
    return tf.where(apart, tf.sqrt(tf.where(apart, squares, 1)), 0)


def _finite(points):
    return tf.reduce_all(tf.math.is_finite(points), axis=(1, 2))


# ---- a fixed topology ----------------------------------------------------------------------------


def edge_variation(points, edges, rest=None):
    """How unevenly edges are stretched: the variance of their lengths over their squared mean.

    0 where all edges have the length they have at rest times any one factor; the root is the
    coefficient of variation. Sizes and shapes stay free, spacing does not.

    Args:
        points: (B, V, 3).
        edges: (E, 2), see `meshes.edges`.
        rest: (V, 3), the lengths at rest, none of them 0. None: all are to be equal.

    Returns:
        (B,).
    """
    lengths = _lengths(points, edges)
    if rest is not None:
        lengths /= _lengths(tf.cast(rest, lengths.dtype)[None], edges)
    mean = tf.reduce_mean(lengths, -1, keepdims=True)
    return tf.reduce_mean(tf.square(tf.math.divide_no_nan(lengths, mean) - 1), -1)


def _lengths(points, edges):
    starts, ends = (tf.gather(points, edges[:, end], axis=1) for end in range(2))
    return _root(_squares(ends - starts))


def roughness(points, edges):
    """The mean squared distance of points from the mean of their neighbours: of the Laplacian.

    Given displacements from a template instead of points, it leaves the template's forms alone.

    Args:
        points: (B, V, 3), V known.
        edges: (E, 2), see `meshes.edges`. A point without edges counts as smooth.

    Returns:
        (B,), in the square of the unit.
    """
    points = tf.convert_to_tensor(points)
    each, other = np.concatenate([edges, np.flip(edges, 1)]).T
    degree = np.bincount(each, minlength=points.shape[1])
    apart = tf.gather(points, other, axis=1) - tf.gather(points, each, axis=1)
    weights = tf.constant(1 / degree[each], points.dtype)
    moved = tf.math.unsorted_segment_sum(
        tf.transpose(apart * weights[:, None], [1, 0, 2]), each, len(degree)
    )
    return tf.reduce_mean(_squares(moved), 0)
