"""Speed of the Chamfer distance, forward and backward, beside other ways to find the neighbours.

    python benchmarks/points.py [--quick]

What is compared runs in turn, round after round, so that a busy machine slows all of it alike:
read the ratios. benchmarks/README.md says what each row is.
"""

import argparse
import datetime
import os
import platform
import statistics
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf
from scipy.spatial import cKDTree

from dentalzoo.ops import meshes, points

SCIPY, MATRIX = "scipy cKDTree, forward", "matrix, forward and backward"
FITS = 5_000  # points whose matrix of differences fits: 0.3 GB, several times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few points, once: no measurement")
    quick = parser.parse_args().quick
    tf.get_logger().setLevel("ERROR")  # each way is traced for each case
    few, many = (500, 2_000) if quick else (FITS, 50_000)
    cases = {
        f"{few:,} points": (few, near),
        f"{many:,} points": (many, near),
        f"{many:,}, found in one blob": (many, far),
    }
    try:
        import open3d
    except (ImportError, OSError) as error:  # also where a library of the system is missing
        print(f"open3d cannot be imported ({error}): no row of it")
        open3d = None
    table = {}
    for count, place in cases.values():
        ways = ways_to_measure(*place(count), open3d)
        seconds = measure(ways, rounds=1 if quick else 5)
        for way, value in seconds.items():
            ratio = value / seconds[SCIPY] if value else None
            table.setdefault(way, []).extend(figures(value and value * 1e3, ratio))
    gpus = len(tf.config.list_physical_devices("GPU")) or "no"
    print(datetime.date.today(), f"{os.cpu_count()} cores, {gpus} GPU, {platform.python_version()}")
    print(f"load: {os.getloadavg()[1]:.1f} over five minutes, this process included\n")
    heads = ["", *(head for case in cases for head in (f"{case}: ms", "x scipy"))]
    for row in [heads, ["---", *["---:"] * (len(heads) - 1)], *([k, *v] for k, v in table.items())]:
        print(f"| {' | '.join(row)} |")


def near(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Points of half a ring, 40 mm wide, and found ones that are 0.3 mm off: (count, 3) float32."""
    side = 200
    turn, tilt = np.meshgrid(np.linspace(0, np.pi, side), np.linspace(0, 2 * np.pi, side))
    out = 30 + 10 * np.cos(tilt)
    ring = np.stack([out * np.cos(turn), out * np.sin(turn), 10 * np.sin(tilt)], -1).reshape(-1, 3)
    at = np.arange(side**2).reshape(side, side)
    halves = (at[:-1, :-1], at[1:, :-1], at[:-1, 1:]), (at[1:, 1:], at[1:, :-1], at[:-1, 1:])
    faces = np.concatenate([np.stack(half, -1).reshape(-1, 3) for half in halves])
    random = np.random.default_rng(0)
    true, found = (meshes.sample_surface(ring, faces, count, seed)[0] for seed in range(2))
    found += random.normal(scale=0.3, size=found.shape)
    return random.permutation(np.float32(found)), random.permutation(np.float32(true))


def far(count: int) -> tuple[np.ndarray, np.ndarray]:
    """The same true points, and found ones that lie together in their midst and touch none."""
    true = near(count)[1]
    return np.random.default_rng(1).normal(scale=0.5, size=true.shape).astype(np.float32), true


def ways_to_measure(found: np.ndarray, true: np.ndarray, open3d) -> dict:
    """Name -> function that measures once, or None where it would not fit."""
    pair = tf.constant(found[None]), tf.constant(true[None])

    def scipy():
        there, back = (
            cKDTree(to).query(of, workers=-1)[0] for of, to in ((found, true), (true, found))
        )
        return (there**2).mean() + (back**2).mean()

    def step(loss):
        @tf.function
        def both(some, others):
            value = loss(some, others)
            return value, tf.gradients(value, some)[0]

        return lambda: [part.numpy() for part in both(*pair)]

    def ours(**settings):
        return step(lambda some, others: points.chamfer(some, others, **settings))

    forward = tf.function(points.chamfer)
    fewer = len(found) // 5
    ways = {
        SCIPY: scipy,
        "dentalzoo tree, forward": lambda: forward(*pair, backend="tree").numpy(),
        "dentalzoo tree, forward and backward": ours(backend="tree"),
        "the same, max_points a fifth": ours(backend="tree", max_points=fewer),
        "dentalzoo chunked, forward and backward": ours(backend="chunked"),
        MATRIX: step(matrix) if len(found) <= FITS else None,
    }
    if open3d is not None:
        clouds = [
            open3d.geometry.PointCloud(open3d.utility.Vector3dVector(c)) for c in (found, true)
        ]
        ways["open3d, forward"] = lambda: [
            np.square(of.compute_point_cloud_distance(to)).mean()
            for of, to in (clouds, clouds[::-1])
        ]
    return ways


def matrix(some, others):
    """The Chamfer distance as one writes it first, from all differences at once."""
    squares = tf.reduce_sum(tf.square(some[:, :, None] - others[:, None]), -1)
    means = (tf.reduce_mean(tf.reduce_min(squares, axis), -1) for axis in (1, 2))
    return sum(means) / 2


def measure(ways: dict, rounds: int) -> dict[str, float | None]:
    """Median seconds of each way, all in turn; the first round traces."""
    seconds = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, way in ways.items():
            start = time.perf_counter()
            if way is not None:
                way()
            if number:
                seconds[name].append(time.perf_counter() - start)
    return {name: ways[name] and statistics.median(values) for name, values in seconds.items()}


def figures(*values: float | None) -> list[str]:
    return [
        "-" if value is None else f"{value:.0f}" if value >= 100 else f"{value:.3g}"
        for value in values
    ]


if __name__ == "__main__":
    main()
