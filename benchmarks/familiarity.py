"""How well a bundle knows its own kind of images from others: false alarms and detection.

    python benchmarks/familiarity.py --bundle NAME_OR_DIR --data DIR [--foreign NAME=DIR ...]

`--data` is what the bundle was trained on. False alarms are counted on images of its val split that
did not choose the bounds: half of them choose, the other half is judged, in 100 random divisions.
Prints a table of the shares above 1 and above 2 with 95 % intervals, and the time it takes.
benchmarks/README.md has the results.
"""

import argparse
import os
import time
from collections.abc import Callable, Iterable

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import cv2
import numpy as np
from peers.turns import show

import dentalzoo as dz
from dentalzoo.bundle.familiarity import PARTS, examples_of
from dentalzoo.bundle.familiarity.statistics import bounds_of
from dentalzoo.data.io.images import read_image
from dentalzoo.data.io.listing import list_images
from dentalzoo.ops.intervals import interval, mean_of, wilson
from dentalzoo.tasks.familiarity import FOREIGN

DIVISIONS = 100
NOISE = 60  # images
MAIN = {"segmentation": "segment", "detection": "detect"}  # else encode


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bundle", required=True, help="with the signature familiarity")
    parser.add_argument("--data", required=True, help="the data that it was trained on")
    parser.add_argument(
        "--foreign", nargs="*", default=[], metavar="NAME=DIR", help="folders of other images"
    )
    parser.add_argument("--most", type=int, default=100, help="images of a kind (default 100)")
    options = parser.parse_args()
    bundle = dz.load(options.bundle)
    own = examples_of(options.bundle, options.data)
    images = [read() for read in own.validation]
    known = bundle.metadata["familiarity"]
    print(f"{bundle.name}: {known['images']} training images; {known['validation_images']} of val "
          f"chose the bounds ({known['bound']})\n")  # fmt: skip
    rows = [["own kind, val", len(images), alarms(bundle, images), "", ""]]
    training = [read() for read in own.training[:: max(1, len(own.training) // options.most)]]
    for name, made in {"own kind, train": training, **derived(images)}.items():
        rows.append(row(bundle, name, made))
    for word in options.foreign:
        name, _, folder = word.partition("=")
        files = list_images(folder)
        step = max(1, len(files) // options.most)
        rows.append(row(bundle, name, map(read_image, files[::step])))
    show(f"Familiarity of `{bundle.name}`", ["images", "number", "above 1", f"above {FOREIGN:g}",
         "score, median (lowest)"], rows)  # fmt: skip
    main = bundle.signatures.get(MAIN.get(bundle.task, "encode")) or bundle.serve
    times = turns([lambda: main(images[0]), lambda: bundle.familiarity(images[0])])
    show("Time of one image, median", ["ms", "and familiarity", "ratio"],
         [[f"{times[0]:.1f}", f"{sum(times):.1f}", f"{sum(times) / times[0]:.2f}"]])  # fmt: skip


def ratios(bundle: dz.Bundle, images: Iterable[np.ndarray]) -> np.ndarray:
    """Return the parts of images, (N, 6)."""
    found = [bundle.familiarity(image) for image in images]
    return np.array([[float(each[part]) for part in PARTS] for each in found])


def alarms(bundle: dz.Bundle, images: list[np.ndarray]) -> str:
    """Return the share of images above bounds that the other half of them chose."""
    known = bundle.metadata["familiarity"]["parts"]
    parts = ratios(bundle, images) * [known[part]["bound"] for part in PARTS]  # distances
    raised = np.zeros((DIVISIONS, len(parts)))
    for division, out in enumerate(raised):
        order = np.random.default_rng(division).permutation(len(parts))
        chosen, judged = np.array_split(order, 2)
        out[:] = np.nan
        out[judged] = np.abs(parts[judged] / bounds_of(parts[chosen])).max(1) > 1
    of_image = np.nanmean(raised, axis=0)
    return share(interval(mean_of(of_image), len(parts)))


def row(bundle: dz.Bundle, name: str, images: Iterable[np.ndarray]) -> list[object]:
    scores = np.abs(ratios(bundle, images)).max(1)
    shares = [share(wilson(int((scores > bound).sum()), len(scores))) for bound in (1, FOREIGN)]
    return [name, len(scores), *shares, f"{np.median(scores):.2f} ({scores.min():.2f})"]


def share(found: dict[str, float | None]) -> str:
    value, low, high = (100 * (found[key] or 0) for key in ("value", "low", "high"))
    return f"{value:.1f} % ({low:.1f} to {high:.1f})"


def derived(images: list[np.ndarray]) -> dict[str, list[np.ndarray]]:
    """Return images that are not of the kind, made of some that are."""
    rng = np.random.default_rng(0)
    return {
        "inverted": [255 - image for image in images],
        "crops, half of each side": [cut(image, 0.5, 0.5, rng) for image in images],
        "bitewing-like crops, 4:3": [cut(image, 0.45, None, rng) for image in images],
        "noise": [noise(index, rng) for index in range(NOISE)],
    }


def cut(
    image: np.ndarray, down: float, across: float | None, rng: np.random.Generator
) -> np.ndarray:
    """Return a random part of an image, of the aspect 4:3 without a width."""
    height, width = image.shape[:2]
    rows = max(1, round(down * height))
    columns = round(across * width) if across else round(rows * 4 / 3)
    columns = max(1, min(columns, width))
    top, left = rng.integers(0, height - rows + 1), rng.integers(0, width - columns + 1)
    return image[top : top + rows, left : left + columns]


def noise(index: int, rng: np.random.Generator) -> np.ndarray:
    """Return uniform, normal or smooth noise, in turn."""
    if index % 3 == 0:
        return rng.integers(0, 256, (600, 1200, 1)).astype(np.uint8)
    if index % 3 == 1:
        return np.clip(rng.normal(128, 40, (600, 1200, 1)), 0, 255).astype(np.uint8)
    smooth = cv2.resize(rng.normal(size=(20, 40)), (1200, 600), interpolation=cv2.INTER_CUBIC)
    return np.uint8(255 * (smooth - smooth.min()) / np.ptp(smooth))[..., None]


def turns(functions: list[Callable[[], object]], rounds: int = 15) -> list[float]:
    """Return the median time of functions that take turns, in ms; a first round does not count."""
    times = np.zeros((rounds + 1, len(functions)))
    for each in times:
        for index, function in enumerate(functions):
            start = time.perf_counter()
            function()
            each[index] = 1000 * (time.perf_counter() - start)
    return np.median(times[1:], axis=0).tolist()


if __name__ == "__main__":
    main()
