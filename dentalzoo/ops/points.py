"""Nearest points and the Chamfer distance in TensorFlow.

Point clouds are (B, N, 3) and (B, M, 3); dtypes below float32 are cast to it. The matrix of all
distances is never stored: at 50,000 points it would be 10 GB. Two backends find the neighbours:

- "tree": SciPy's KD-tree in a host call, for CPUs. XLA cannot compile a host call: a step with one
  fails under `jit_compile=True`, and on a TPU.
- "chunked": all differences, 512 points at a time, always compiled by XLA. For GPUs and TPUs;
  correct on a CPU too, but a hundred times slower than the tree.

"auto" is "chunked" where XLA compiles the step and where TensorFlow has a GPU or a TPU, else
"tree".

For the gradient the neighbours are constants, which is exact wherever they are unique. A sample
with a coordinate that is NaN or infinite has distances of NaN, with both backends.
"""

import numpy as np
import tensorflow as tf

from dentalzoo.errors import DentalzooError
from dentalzoo.ops import meshes
from dentalzoo.ops.xla import in_xla

BACKENDS = ("auto", "tree", "chunked")
CHUNK = 512


def nearest(points: tf.Tensor, others: tf.Tensor, backend: str = "auto") -> tf.Tensor:
    """Return the index of the nearest of the others for each point; ties are broken arbitrarily.

    Args:
        points: (B, N, 3).
        others: (B, M, 3).
        backend: one of BACKENDS.

    Returns:
        (B, N) int32. Any index below M in a sample with a coordinate that is not finite.

    Raises:
        DentalzooError: other shapes, an empty cloud, or an unknown backend.
    """
    points, others = map(tf.stop_gradient, _clouds(points, others))
    if _choose(backend) == "chunked":
        return tf.ensure_shape(_nearest_chunked(points, others), points.shape[:2])
    indices = tf.numpy_function(_nearest_tree, [points, others], tf.int32, stateful=False)
    return tf.ensure_shape(indices, points.shape[:2])


def distances(
    points: tf.Tensor, others: tf.Tensor, squared: bool = False, backend: str = "auto"
) -> tf.Tensor:
    """Return the distance of each point to the nearest of the others, as in the Chamfer distance.

    The gradient flows to both clouds. Where a distance is 0, so is its gradient, squared or not.

    Args:
        points: (B, N, 3).
        others: (B, M, 3).
        squared: return the squares.
        backend: one of BACKENDS.

    Returns:
        (B, N), in the unit of the coordinates, or in its square.

    Raises:
        DentalzooError: other shapes, an empty cloud, or an unknown backend.
    """
    points, others = _clouds(points, others)
    index = nearest(points, others, backend)
    squares = _squares(points - tf.gather(others, index, batch_dims=1))
    finite = _finite(points) & _finite(others)
    squares = tf.where(finite[:, None], squares, tf.constant(np.nan, squares.dtype))
    return squares if squared else _root(squares)


def chamfer(
    points: tf.Tensor,
    others: tf.Tensor,
    squared: bool = True,
    backend: str = "auto",
    max_points: int | None = None,
) -> tf.Tensor:
    """Chamfer distance: the mean of both directions' means of nearest distances.

    It is a mean, so that unsquared it is an error in the unit of the coordinates; papers that add
    the two directions report twice this value.

    Args:
        points: (B, N, 3).
        others: (B, M, 3).
        squared: square the distances before taking the means.
        backend: one of BACKENDS.
        max_points: number of points of each cloud, sampled at each call, whose nearest point in
            the whole other cloud is found: an unbiased estimate at a fraction of the cost. None
            for all.

    Returns:
        (B,), so that Keras takes the mean over all replicas: usable as a loss in `compile`.

    Raises:
        DentalzooError: other shapes, an empty cloud, or an unknown backend.
    """
    points, others = _clouds(points, others)
    there = distances(subset(points, max_points), others, squared, backend)
    back = distances(subset(others, max_points), points, squared, backend)
    return (tf.reduce_mean(there, -1) + tf.reduce_mean(back, -1)) / 2


def subset(points: tf.Tensor, count: int | None) -> tf.Tensor:
    """Sample `count` of the points without replacement, the same indices in every sample.

    TensorFlow's global seed is used.

    Args:
        points: (B, N, 3).
        count: number of points; None, or N or more, for all.

    Returns:
        (B, count or N, 3).
    """
    if count is None or (points.shape[1] is not None and points.shape[1] <= count):
        return points
    order = tf.random.shuffle(tf.range(tf.shape(points)[1]))
    return tf.gather(points, order[:count], axis=1)


def _choose(backend: str) -> str:
    if backend not in BACKENDS:
        raise DentalzooError(f"backend must be one of {', '.join(BACKENDS)}. Received: {backend!r}")
    if backend != "auto":
        return backend
    devices = tf.config.list_logical_devices
    return "chunked" if in_xla() or devices("GPU") or devices("TPU") else "tree"


def _clouds(points: tf.Tensor, others: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Check both and convert them to tensors of one dtype, float32 or float64."""
    points, others = tf.convert_to_tensor(points), tf.convert_to_tensor(others)
    shapes = points.shape, others.shape
    valid = all(s.rank == 3 and s[2] in (3, None) and s[1] != 0 for s in shapes)
    if not valid or not shapes[0][:1].is_compatible_with(shapes[1][:1]):
        raise DentalzooError(
            "point clouds must be (B, N, 3) and (B, M, 3) with N and M >= 1. "
            f"Received: {shapes[0]} and {shapes[1]}"
        )
    dtype = tf.float64 if tf.float64 in (points.dtype, others.dtype) else tf.float32
    return tf.cast(points, dtype), tf.cast(others, dtype)


def _nearest_tree(points: np.ndarray, others: np.ndarray) -> np.ndarray:
    indices = np.zeros(points.shape[:2], np.int32)
    for row, cloud, other in zip(indices, points, others, strict=True):
        if np.isfinite(cloud).all() and np.isfinite(other).all():
            row[:] = meshes.kd_tree(other).query(cloud, workers=-1)[1]
    return indices


@tf.function(jit_compile=True, autograph=False)
def _nearest_chunked(points: tf.Tensor, others: tf.Tensor) -> tf.Tensor:
    batch, count = tf.shape(points)[0], tf.shape(points)[1]
    padded = tf.pad(points, [[0, 0], [0, -count % CHUNK], [0, 0]])
    chunks = tf.transpose(tf.reshape(padded, [batch, -1, CHUNK, 3]), [1, 0, 2, 3])

    def nearest_of_chunk(chunk: tf.Tensor) -> tf.Tensor:
        # Differences: in float32, |a|^2 + |b|^2 - 2ab picks wrong neighbours among close points
        squares = sum(
            tf.square(chunk[:, :, None, axis] - others[:, None, :, axis]) for axis in range(3)
        )
        return tf.argmin(squares, -1, output_type=tf.int32)

    indices = tf.map_fn(nearest_of_chunk, chunks, fn_output_signature=tf.int32)
    return tf.reshape(tf.transpose(indices, [1, 0, 2]), [batch, -1])[:, :count]


def _squares(vectors: tf.Tensor) -> tf.Tensor:
    """Return the squared lengths of vectors (..., 3)."""
    return tf.reduce_sum(tf.square(vectors), -1)


def _root(squares: tf.Tensor) -> tf.Tensor:
    """Return the square root, with a gradient of 0 at 0 instead of infinity."""
    nonzero = tf.not_equal(squares, 0)  # NaN included
    return tf.where(nonzero, tf.sqrt(tf.where(nonzero, squares, 1)), 0)


def _finite(points: tf.Tensor) -> tf.Tensor:
    """Return (B,) bool: all coordinates of a sample are finite."""
    return tf.reduce_all(tf.math.is_finite(points), axis=(1, 2))
