"""Points in TensorFlow against float64 brute force, with both backends."""

import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.spatial import cKDTree

from dentalzoo.errors import DentalzooError
from dentalzoo.ops import points

BACKENDS = ("tree", "chunked")
both = pytest.mark.parametrize("backend", BACKENDS)
N, M = 700, 530  # more than a chunk, and not a multiple of it


def clouds(seed=0, batch=2, sizes=(N, M), dtype=np.float32):
    random = np.random.default_rng(seed)
    return [random.normal(size=(batch, size, 3)).astype(dtype) for size in sizes]


def table(some, others):
    """All distances (B, N, M), in float64."""
    some, others = np.float64(some), np.float64(others)
    return np.linalg.norm(some[:, :, None] - others[:, None], axis=-1)


def brute_force(some, others, squared):
    apart = table(some, others) ** (2 if squared else 1)
    return (apart.min(2).mean(1) + apart.min(1).mean(1)) / 2


# ---- values --------------------------------------------------------------------------------------


@both
def test_nearest_is_brute_force(backend):
    some, others = clouds()
    np.testing.assert_array_equal(
        points.nearest(some, others, backend), table(some, others).argmin(2)
    )
    np.testing.assert_array_equal(
        points.nearest(others, some, backend), table(some, others).argmin(1)
    )


@both
@pytest.mark.parametrize("squared", [True, False])
def test_chamfer_is_brute_force(backend, squared):
    some, others = clouds()
    result = points.chamfer(some, others, squared, backend)
    assert result.shape == (2,) and result.dtype == tf.float32
    np.testing.assert_allclose(result, brute_force(some, others, squared), rtol=1e-6)
    np.testing.assert_allclose(result, points.chamfer(others, some, squared, backend), rtol=1e-6)
    exact = points.chamfer(*(np.float64(cloud) for cloud in (some, others)), squared, backend)
    np.testing.assert_allclose(exact, brute_force(some, others, squared), rtol=1e-14)


@both
def test_close_points_far_from_the_origin_keep_their_neighbours(backend):
    """Spaced 0.3 mm at 90 mm, as in scans: |a|^2 + |b|^2 - 2ab picks wrong ones in float32."""
    random = np.random.default_rng(1)
    some, others = (random.uniform(0, 4, (2, 1, 600, 3)) + [0, 0, -90]).astype(np.float32)
    tree = cKDTree(others[0])
    np.testing.assert_array_equal(points.nearest(some, others, backend)[0], tree.query(some[0])[1])


@both
def test_a_far_away_blob_is_exact(backend):
    some, others = clouds(batch=1)
    some = some * 1e-3 + np.float32(20)
    np.testing.assert_allclose(
        points.distances(some, others, backend=backend), table(some, others).min(2), rtol=1e-6
    )


@both
def test_one_point_and_halves(backend):
    some, others = clouds(sizes=(1, M))
    result = points.chamfer(some.astype(np.float16), others, True, backend)
    assert result.dtype == tf.float32
    expected = brute_force(some.astype(np.float16), others, True)
    np.testing.assert_allclose(result, expected, rtol=1e-5)


def test_auto_is_the_tree_on_a_cpu():
    if tf.config.list_physical_devices("GPU"):
        pytest.skip("a GPU is present")
    some, others = clouds()

    def names(backend):
        graph = tf.function(lambda a, b: points.nearest(a, b, backend)).get_concrete_function(
            some, others
        )
        return {operation.type for operation in graph.graph.get_operations()}

    assert "PyFuncStateless" in names("auto")
    assert "PyFuncStateless" not in names("chunked")


# ---- gradients -----------------------------------------------------------------------------------


def gradients(some, others, **settings):
    some, others = tf.constant(some), tf.constant(others)
    with tf.GradientTape() as tape:
        tape.watch([some, others])
        loss = points.chamfer(some, others, **settings)
    return tape.gradient(loss, [some, others])


@both
@pytest.mark.parametrize("squared", [True, False])
def test_gradients_are_central_differences(backend, squared):
    pair = clouds(3, sizes=(12, 9), dtype=np.float64)
    exact = gradients(*pair, squared=squared, backend=backend)
    step = 1e-6
    for which in range(2):
        expected = np.zeros_like(pair[which])
        for place in np.ndindex(*expected.shape):
            values = []
            for sign in (1, -1):
                moved = [cloud.copy() for cloud in pair]
                moved[which][place] += sign * step
                values.append(brute_force(*moved, squared)[place[0]])
            expected[place] = (values[0] - values[1]) / (2 * step)
        np.testing.assert_allclose(exact[which], expected, atol=1e-8)


@both
@pytest.mark.parametrize("squared", [True, False])
def test_equal_clouds_have_no_distance_and_no_gradient(backend, squared):
    some = clouds()[0]
    assert not points.chamfer(some, some, squared, backend).numpy().any()
    for gradient in gradients(some, some, squared=squared, backend=backend):
        assert not np.asarray(gradient).any()


# ---- invalid points ------------------------------------------------------------------------------


@both
@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("which", [0, 1])
def test_a_sample_that_is_not_finite_is_nan_and_no_other(backend, value, which):
    pair = clouds()
    pair[which][1, 7, 2] = value
    assert np.isnan(points.chamfer(*pair, backend=backend)).tolist() == [False, True]
    for squared in (True, False):
        side = points.distances(*pair, squared=squared, backend=backend)
        assert np.isnan(side).all(1).tolist() == [False, True]
        assert not np.isnan(side[0]).any()


@pytest.mark.parametrize(
    ("shapes", "backend", "received"),
    [
        (((1, 5, 3), (1, 0, 3)), "auto", r"\(1, 5, 3\) and \(1, 0, 3\)"),
        (((1, 5, 3), (1, 5, 2)), "auto", r"\(1, 5, 2\)"),
        (((5, 3), (1, 5, 3)), "auto", r"\(5, 3\)"),
        (((2, 5, 3), (3, 5, 3)), "auto", r"\(3, 5, 3\)"),
        (((1, 5, 3), (1, 5, 3)), "kd", "'kd'"),
    ],
)
def test_errors_name_the_received_value(shapes, backend, received):
    with pytest.raises(DentalzooError, match=f"Received: .*{received}"):
        points.chamfer(*(np.zeros(shape, np.float32) for shape in shapes), backend=backend)


# ---- graphs, fit, replicas -----------------------------------------------------------------------


@both
def test_in_a_graph_of_unknown_sizes(backend):
    signature = [tf.TensorSpec([None, None, 3])] * 2
    step = tf.function(lambda a, b: points.chamfer(a, b, backend=backend), signature)
    pair = clouds()
    np.testing.assert_allclose(step(*pair), brute_force(*pair, True), rtol=1e-6)


def test_xla_compiles_a_step_with_chunks_and_none_with_a_tree():
    pair = clouds()

    def step(backend):
        return tf.function(
            lambda a, b: tf.gradients(points.chamfer(a, b, backend=backend, max_points=90), a),
            jit_compile=True,
        )

    (gradient,) = step("chunked")(*pair)
    assert np.count_nonzero(np.asarray(gradient).any(-1)) > 90
    with pytest.raises(tf.errors.InvalidArgumentError, match="PyFunc"):
        step("tree")(*pair)


def still(start):
    """A network whose output is its weights: as many points as `start`, for every input."""
    inputs = keras.Input([1])
    outputs = keras.layers.Dense(start.size, kernel_initializer="zeros")(inputs)
    model = keras.Model(inputs, keras.layers.Reshape(start.shape)(outputs))
    model.layers[1].bias.assign(start.ravel())
    return model


def fit(backend, start, target, strategy=None, epochs=3):
    with (strategy or tf.distribute.get_strategy()).scope():
        model = still(start)

        def loss(y_true, y_pred):
            return points.chamfer(y_true, y_pred, backend=backend)

        model.compile(keras.optimizers.SGD(10.0), loss)
    ones = np.ones([len(target), 1], np.float32)
    data = tf.data.Dataset.from_tensor_slices((ones, target)).batch(len(target))
    history = model.fit(data, epochs=epochs, verbose=0, shuffle=False).history["loss"]
    return history, model.layers[1].bias.numpy()


def test_both_backends_fit_alike():
    target, start = clouds(sizes=(40, 30))
    losses, weights = zip(*(fit(backend, start[0], target) for backend in BACKENDS), strict=True)
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-5)
    np.testing.assert_allclose(weights[0], weights[1], atol=1e-5)
    assert losses[0][-1] < 0.9 * losses[0][0]


@pytest.mark.parametrize("backend", ["tree", pytest.param("chunked", marks=pytest.mark.slow)])
def test_two_replicas_fit_like_one(backend, mirrored):
    target, start = clouds(batch=4, sizes=(40, 30))
    one, two = fit(backend, start[0], target), fit(backend, start[0], target, mirrored)
    np.testing.assert_allclose(one[0], two[0], rtol=1e-5)
    np.testing.assert_allclose(one[1], two[1], atol=1e-5)


# ---- fewer points --------------------------------------------------------------------------------


def test_a_subset_is_random_and_without_replacement():
    some = clouds()[0]
    subsets = [np.asarray(points.subset(tf.constant(some), 100)) for _ in range(2)]
    assert (subsets[0] != subsets[1]).any()
    index = cKDTree(some[0]).query(subsets[0][0])[1]
    assert len(set(index)) == 100
    np.testing.assert_array_equal(subsets[0], some[:, index])
    for count in (None, N, N + 1):
        assert points.subset(some, count) is some


@both
def test_fewer_points_estimate_the_same_distance(backend):
    keras.utils.set_random_seed(0)
    pair = clouds(batch=1)
    estimate = tf.function(lambda: points.chamfer(*pair, True, backend, max_points=100))
    estimates = np.float64([estimate()[0] for _ in range(100)])
    exact = brute_force(*pair, True)[0]
    assert estimates.mean() == pytest.approx(exact, abs=4 * estimates.std() / 10)
    assert estimates.std() > 0.01 * exact


# ---- memory --------------------------------------------------------------------------------------

PEAK = """
import sys
import numpy as np, tensorflow as tf
from dentalzoo.ops import points

def peak():
    return int(open("/proc/self/status").read().split("VmHWM:")[1].split()[0]) / 1e3

@tf.function
def step(some, others):
    loss = points.chamfer(some, others, backend=sys.argv[1])
    return loss, tf.gradients(loss, [some, others])

def run(count):
    random = np.random.default_rng(0)
    step(*(random.normal(size=(1, count, 3)).astype("f4") for _ in range(2)))

run(600)
before = peak()
run(50_000)
print(peak() - before)
"""


@both
@pytest.mark.slow
def test_the_matrix_is_never_stored(backend):
    command = [sys.executable, "-c", PEAK, backend]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert float(done.stdout) < 300, "MB more for 50,000 points"


def test_a_compiled_function_takes_no_tree():
    """And the distances and gradients are the same."""
    import tensorflow as tf

    clouds = [
        tf.constant(np.random.RandomState(seed).standard_normal((2, count, 3)), tf.float32)
        for seed, count in ((0, 30), (1, 20))
    ]

    def chamfer(one, other):
        with tf.GradientTape() as tape:
            tape.watch(one)
            value = points.chamfer(one, other)
        return value, tape.gradient(value, one)

    expected, result = chamfer(*clouds), tf.function(chamfer, jit_compile=True)(*clouds)
    for one, two in zip(expected, result, strict=True):
        assert np.array(two) == pytest.approx(np.array(one), abs=1e-6)
