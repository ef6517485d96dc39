"""Speed of the Chamfer distance, forward and backward, beside other searches for neighbours.

    python benchmarks/points.py [--quick]

The compared implementations take turns, round after round, so that other load slows all of them
alike: read the ratios. benchmarks/README.md describes each row.
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
    parser.add_argument("--quick", action="store_true", help="few points, once: a trial run")
    quick = parser.parse_args().quick
    tf.get_logger().setLevel("ERROR")  # each way is traced for each case
    few, many = (500, 2_000) if quick else (FITS, 50_000)
    cases = {
        f"{few:,} points": (few, near),
        f"{many:,} points": (many, near),
        f"{many:,}, predictions in one blob": (many, far),
    }
    try:
        import open3d
    except (ImportError, OSError) as error:  # also if a system library is missing
        print(f"open3d cannot be imported ({error}): its row is left out")
        open3d = None
    table = {}
    for count, make_points in cases.values():
        ways = ways_to_measure(*make_points(count), open3d)
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
    """Return predictions with noise of 0.3 mm and points of half a ring: (count, 3) float32.

    The tube of the ring is 20 mm wide, the ring 80 mm.
    """
    side = 200
    turn, tilt = np.meshgrid(np.linspace(0, np.pi, side), np.linspace(0, 2 * np.pi, side))
    out = 30 + 10 * np.cos(tilt)
    ring = np.stack([out * np.cos(turn), out * np.sin(turn), 10 * np.sin(tilt)], -1).reshape(-1, 3)
    at = np.arange(side**2).reshape(side, side)
    halves = (at[:-1, :-1], at[1:, :-1], at[:-1, 1:]), (at[1:, 1:], at[1:, :-1], at[:-1, 1:])
    faces = np.concatenate([np.stack(half, -1).reshape(-1, 3) for half in halves])
    random = np.random.default_rng(0)
    gt, pred = (meshes.sample_surface(ring, faces, count, seed)[0] for seed in range(2))
    pred += random.normal(scale=0.3, size=pred.shape)
    return random.permutation(np.float32(pred)), random.permutation(np.float32(gt))


def far(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return predictions close together in the middle of the same half ring, and its points."""
    gt = near(count)[1]
    return np.random.default_rng(1).normal(scale=0.5, size=gt.shape).astype(np.float32), gt


def ways_to_measure(pred: np.ndarray, gt: np.ndarray, open3d) -> dict:
    """Return name -> function that runs once, or None where it would not fit into memory."""
    pair = tf.constant(pred[None]), tf.constant(gt[None])

    def scipy():
        pred_to_gt, gt_to_pred = (
            cKDTree(to).query(of, workers=-1)[0] for of, to in ((pred, gt), (gt, pred))
        )
        return (pred_to_gt**2).mean() + (gt_to_pred**2).mean()

    def step(loss):
        @tf.function
        def both(some, others):
            value = loss(some, others)
            return value, tf.gradients(value, some)[0]

        return lambda: [part.numpy() for part in both(*pair)]

    def ours(**settings):
        return step(lambda some, others: points.chamfer(some, others, **settings))

    forward = tf.function(points.chamfer)
    fewer = len(pred) // 5
    ways = {
        SCIPY: scipy,
        "dentalzoo tree, forward": lambda: forward(*pair, backend="tree").numpy(),
        "dentalzoo tree, forward and backward": ours(backend="tree"),
        "the same, max_points a fifth": ours(backend="tree", max_points=fewer),
        "dentalzoo chunked, forward and backward": ours(backend="chunked"),
        MATRIX: step(matrix) if len(pred) <= FITS else None,
    }
    if open3d is not None:
        clouds = [open3d.geometry.PointCloud(open3d.utility.Vector3dVector(c)) for c in (pred, gt)]
        ways["open3d, forward"] = lambda: [
            np.square(of.compute_point_cloud_distance(to)).mean()
            for of, to in (clouds, clouds[::-1])
        ]
    return ways


def matrix(some, others):
    """Compute the Chamfer distance in the obvious way, from all differences at once."""
    squares = tf.reduce_sum(tf.square(some[:, :, None] - others[:, None]), -1)
    means = (tf.reduce_mean(tf.reduce_min(squares, axis), -1) for axis in (1, 2))
    return sum(means) / 2


def measure(ways: dict, rounds: int) -> dict[str, float | None]:
    """Return the median seconds of each way, all in turn; the first round traces."""
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
