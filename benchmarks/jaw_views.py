"""Which views of a jaw suffice, and what cameras that are off by some degrees cost.

    python benchmarks/jaw_views.py [--bundle NAME_OR_DIR] [--data DIR] [--out DIR] [--quick]

Views are chosen one by one on half of the jaws, each time the one that lowers their mean error
most, and measured on the other half beside random orders. Prints two tables and draws `views.png`.
benchmarks/README.md has the results.
"""

import argparse
import os
import tempfile
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from peers.turns import show

import dentalzoo as dz
from dentalzoo.data.io.images import write_png
from dentalzoo.data.meshes import find_meshes, load_mesh
from dentalzoo.data.synthetic import write_jaw_dataset
from dentalzoo.data.views import VIEWS, cameras, render_views
from dentalzoo.ops.intervals import interval, mean_of
from dentalzoo.ops.meshes import nearest, sample_surface, unit
from dentalzoo.plots.figures import figure_pixels, plot_figure
from dentalzoo.tasks.reconstruction.inference import as_seen

RELEASED = "jaw_reconstruction.drawn_scans_v3"
DEGREES = (0, 1, 2, 5)
POINTS = 10_000  # of each surface, enough for a mean


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bundle", default=RELEASED, help=f"default {RELEASED}")
    parser.add_argument("--data", help="a folder of upper jaws (default: 24 synthetic ones)")
    parser.add_argument("--out", default=".", help="folder of views.png (default: this one)")
    parser.add_argument("--orders", type=int, default=4, help="random orders (default 4)")
    parser.add_argument("--quick", action="store_true", help="four jaws and one order: a trial run")
    options = parser.parse_args()
    bundle = dz.load(options.bundle)
    with tempfile.TemporaryDirectory() as folder:
        count = 4 if options.quick else 24
        data = options.data or write_jaw_dataset(Path(folder) / "jaws", count, seed=9000)
        samples = find_meshes(data).samples[: count if options.quick else None]
        jaws = [Jaw(sample, bundle.config.image_size) for sample in samples]
    print(f"{bundle.name}, {len(jaws)} jaws of {options.data or 'dentalzoo synthetic'}\n")
    chosen, measured = jaws[::2], jaws[1::2]
    order = greedy_order(bundle, chosen)
    rng = np.random.default_rng(0)
    orders = [
        rng.permutation(VIEWS).tolist() for _ in range(1 if options.quick else options.orders)
    ]
    best = errors_along(bundle, measured, order)  # (jaws, 10)
    others = np.mean([errors_along(bundle, measured, o) for o in orders], axis=0)
    rows = [
        [k + 1, " ".join(map(str, sorted(order[: k + 1]))), with_interval(best[:, k]),
         with_interval(others[:, k])]
        for k in range(VIEWS)
    ]  # fmt: skip
    show("Mean error in mm, both ways, by the number of views",
         ["views", "chosen", "chosen one by one", "random orders"], rows)  # fmt: skip
    off = {degrees: turned_errors(bundle, measured, degrees) for degrees in DEGREES}
    show("Mean error in mm with cameras off", ["degrees", "each its own way", "all alike"],
         [[d, *map(with_interval, both)] for d, both in off.items()])  # fmt: skip
    path = Path(options.out) / "views.png"
    write_png(path, drawn(best, others, off))
    print(path)


class Jaw:
    """A jaw in the frame of the cameras, its views, and points of its surface in mm."""

    def __init__(self, sample, size: int) -> None:
        self.mesh, shape = as_seen(*load_mesh(sample))
        self.size, self.views = size, render_views(self.mesh, size)
        self.points = sample_surface(*shape.surface, POINTS)[0]

    def errors(self, bundle, views: np.ndarray) -> list[float]:
        """Return the error, mean of both ways, of each set of views (B, 10, S, S, 1)."""
        predicted = bundle.serve(views)["points"]
        step = max(1, predicted.shape[1] // POINTS)
        return [
            (nearest(points[::step], self.points)[0].mean()
             + nearest(self.points, points)[0].mean()) / 2
            for points in predicted
        ]  # fmt: skip

    def with_sets(self, sets: list[list[int]]) -> np.ndarray:
        """Return the views once for each set of cameras, those outside it black."""
        shown = np.zeros((len(sets), VIEWS, 1, 1, 1), np.uint8)
        for row, cameras_of_set in zip(shown, sets, strict=True):
            row[cameras_of_set] = 1
        return shown * self.views


def greedy_order(bundle, jaws: list[Jaw]) -> list[int]:
    order: list[int] = []
    while len(order) < VIEWS:
        rest = [view for view in range(VIEWS) if view not in order]
        sets = [[*order, view] for view in rest]
        means = np.mean([jaw.errors(bundle, jaw.with_sets(sets)) for jaw in jaws], axis=0)
        order.append(rest[int(np.argmin(means))])
    return order


def errors_along(bundle, jaws: list[Jaw], order: list[int]) -> np.ndarray:
    """Return the errors with the first 1 to 10 views of an order, (jaws, 10)."""
    sets = [order[: count + 1] for count in range(VIEWS)]
    return np.array([jaw.errors(bundle, jaw.with_sets(sets)) for jaw in jaws])


def turned_errors(bundle, jaws: list[Jaw], degrees: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the errors with cameras off: each in a random direction, and all in the same one."""
    rng, found = np.random.default_rng(1), []
    for jaw in jaws:
        alike = rng.normal(size=3)
        sets = [
            render_views(jaw.mesh, jaw.size, at=np.stack([
                turned(camera, axis, degrees) for camera, axis in zip(cameras(), axes, strict=True)
            ]))
            for axes in (rng.normal(size=(VIEWS, 3)), np.tile(alike, (VIEWS, 1)))
        ]  # fmt: skip
        found.append(jaw.errors(bundle, np.stack(sets)))
    own, together = np.transpose(found)
    return own, together


def turned(camera: np.ndarray, axis: np.ndarray, degrees: float) -> np.ndarray:
    """Return a camera that is turned around the middle of the jaw (Rodrigues 1840)."""
    axis, angle = unit(axis), np.deg2rad(degrees)
    along = (camera @ axis)[:, None] * axis
    return (
        camera * np.cos(angle)
        + np.cross(axis, camera) * np.sin(angle)
        + along * (1 - np.cos(angle))
    )


def with_interval(values: np.ndarray) -> str:
    row = interval(mean_of(values), len(values), 0)
    return f"{row['value']:.2f} ({row['low']:.2f} to {row['high']:.2f})"


def drawn(best: np.ndarray, others: np.ndarray, off: dict) -> np.ndarray:
    figure, plot = plot_figure(900, 380)
    plot.remove()
    left, right = figure.subplots(1, 2)
    counts = np.arange(1, VIEWS + 1)
    for values, label in ((best, "chosen one by one"), (others, "random orders")):
        left.plot(counts, values.mean(axis=0), marker="o", label=label)
    for index, label in enumerate(("each its own way", "all alike")):
        right.plot([*off], [both[index].mean() for both in off.values()], marker="o", label=label)
    left.set(xlabel="views", ylabel="mean error in mm", xticks=counts, ylim=(0, None))
    right.set(xlabel="degrees that cameras are off", ylabel="mean error in mm", ylim=(0, None))
    for axis in (left, right):
        axis.legend()
        axis.grid(alpha=0.3)
    return figure_pixels(figure)


if __name__ == "__main__":
    main()
