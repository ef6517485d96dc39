"""How far a bundle for masks or boxes falls on degraded images, and whether enhancing them helps.

    python benchmarks/robustness.py [--bundle NAME_OR_DIR] [--data DIR] [--split NAME] [--limit N]
        [--half 1|2] [--enhance NAME ...] [--out DIR] [--quick]

Each degradation changes every image, with its mask or boxes where the geometry changes, and is
evaluated as `dentalzoo evaluate` does. Prints a table of the mean Dice or the AP50 with 95 %
intervals over images, the difference to the clean images paired by image, and for each `--enhance`
the difference that it makes; draws `robustness.png`, one image in all its forms.
"""

import argparse
import os
import random
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zlib import crc32

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import cv2
import numpy as np
from peers.turns import show

import dentalzoo as dz
from dentalzoo.data import enhancement
from dentalzoo.data.io.images import write_png
from dentalzoo.data.pipeline.augmentation import albumentations
from dentalzoo.data.synthetic import write_panoramic_dataset
from dentalzoo.data.teeth import tooth_numbers
from dentalzoo.dispatch import task_of
from dentalzoo.ops.intervals import interval, mean_of, mean_of_known
from dentalzoo.plots.contact_sheet import contact_sheet
from dentalzoo.plots.pixels import fit
from dentalzoo.tasks.base import measured_here
from dentalzoo.tasks.detection.numbering import numbering
from dentalzoo.tasks.detection.resampling import resampled_areas

A = albumentations()
RELEASED = "panoramic_unet.panoramic_teeth_v2"
VISIBLE = 0.5  # a box of which less is left is ignored, as a difficult one


# ---- degradations and their cure -----------------------------------------------------------------


def crop(height: int, width: int) -> Any:
    return A.CenterCrop(round(0.8 * height), round(0.8 * width))


def half(height: int, width: int) -> Any:
    return A.Resize(height // 2, width // 2, cv2.INTER_AREA)


# name -> the transform of an image of (height, width)
DEGRADATIONS = {
    "clean": lambda *_: A.NoOp(),
    "noise, deviation 0.1": lambda *_: A.GaussNoise((0.1, 0.1), p=1),
    "blur, 3 pixels": lambda *_: A.GaussianBlur(0, (3, 3), p=1),
    "underexposed by 0.3": lambda *_: A.RandomBrightnessContrast((-0.3, -0.3), (0, 0), p=1),
    "overexposed by 0.3": lambda *_: A.RandomBrightnessContrast((0.3, 0.3), (0, 0), p=1),
    "low contrast, 0.4": lambda *_: A.RandomBrightnessContrast((0, 0), (-0.6, -0.6), p=1),
    "JPEG, quality 30": lambda *_: A.ImageCompression("jpeg", (30, 30), p=1),
    "rotated by 5 degrees": lambda *_: A.Rotate((5, 5), rotate_method="ellipse", p=1),
    "inverted": lambda *_: A.InvertImg(p=1),
    "cropped to 0.8 of each side": crop,
    "half resolution": half,
}


def clahe(image: np.ndarray) -> np.ndarray:
    return cv2.createCLAHE(2.0, (8, 8)).apply(image)


def contrast(image: np.ndarray) -> np.ndarray:
    return enhancement.enhanced(image[..., None], "contrast")[..., 0]


# name -> function of a grey image (H, W) uint8
ENHANCEMENTS = {
    "clahe": clahe,
    "contrast": contrast,
    "median": lambda image: cv2.medianBlur(image, 5),
    "nlm": lambda image: cv2.fastNlMeansDenoising(image, None, 15),
}


def enhanced(image: np.ndarray, name: str | None) -> np.ndarray:
    """Return an image (H, W, C); of a colour image the brightness is enhanced."""
    if name is None:
        return image
    function = ENHANCEMENTS[name]
    if image.shape[-1] == 1 or (image == image[..., :1]).all():
        return np.repeat(function(image[..., 0])[..., None], image.shape[-1], -1)
    lab = cv2.cvtColor(image, cv2.COLOR_RGB2LAB)
    lab[..., 0] = function(np.ascontiguousarray(lab[..., 0]))
    return cv2.cvtColor(lab, cv2.COLOR_LAB2RGB)


def degraded(arrays: dict[str, np.ndarray], name: str, seed: int) -> dict[str, np.ndarray]:
    """Return what a task reads of a sample, degraded."""
    image, boxes = arrays["image"], arrays.get("boxes")
    transform = DEGRADATIONS[name](*image.shape[:2])
    options, more = {}, {}
    if boxes is not None:
        options = {"bbox_params": A.BboxParams("albumentations", ["rows"], clip=True)}
        rows = np.flatnonzero((boxes[:, 2:] > boxes[:, :2]).all(1))
        more = {"bboxes": boxes[rows][:, [1, 0, 3, 2]], "rows": rows}
    if "mask" in arrays:
        more["mask"] = arrays["mask"]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Got processor for")  # where boxes stay as they are
        compose = A.Compose([transform], **options)
    compose.set_random_state(np.random.default_rng(seed), random.Random(seed))
    done = compose(image=image, **more)
    shape = done["image"].shape
    result = {**arrays, "image": done["image"].reshape(*shape[:2], -1)}
    if "mask" in arrays:
        result["mask"] = done["mask"].reshape(*shape[:2], 1)
    if boxes is not None:
        rows = np.asarray(done["rows"], int)
        moved = np.asarray(done["bboxes"], np.float32).reshape(-1, 4)[:, [1, 0, 3, 2]]
        scale = 0.64 if name.startswith("cropped") else 1.0  # part of the image that is left
        left = area(moved) * scale / np.maximum(area(boxes[rows]), 1e-9)
        result |= {key: arrays[key][rows] for key in ("labels", "difficult", "crowd")}
        result["boxes"] = moved
        result["difficult"] = result["difficult"] | (left < VISIBLE)
    return result


def area(boxes: np.ndarray) -> np.ndarray:
    return np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)


@dataclass(frozen=True)
class Degraded:
    """The `Measure` of a task, whose samples are degraded, and perhaps enhanced, once read."""

    measure: Any
    degradation: str
    enhancement: str | None

    def read(self, sample: Any) -> dict[str, np.ndarray]:
        seed = crc32(self.name(sample).rpartition("/")[2].encode())
        arrays = degraded(self.measure.read(sample), self.degradation, seed)
        return {**arrays, "image": enhanced(arrays["image"], self.enhancement)}

    def __call__(self, bundle: Any, sample: Any, value: Any) -> Any:
        return self.measure(bundle, sample, value)

    def name(self, sample: Any) -> str:
        return self.measure.name(sample)


# ---- measuring -----------------------------------------------------------------------------------


class Scores:
    """A number over images, as a function of how often each image counts."""

    def __init__(self, statistic: Any, images: int) -> None:
        self.statistic, self.images = statistic, images

    def __str__(self) -> str:
        row = interval(self.statistic, self.images, 0)
        return f"{row['value']:.3f} ({row['low']:.3f} to {row['high']:.3f})"

    def less(self, other: "Scores") -> str:
        """Return the difference to the same number of other forms of the same images."""

        def difference(times: np.ndarray) -> np.ndarray:
            return self.statistic(times) - other.statistic(times)

        row = interval(difference, self.images, 0)
        return f"{row['value']:+.3f} ({row['low']:+.3f} to {row['high']:+.3f})"


def scores_of(evaluation: Any, degradation: str, enhancement: str | None) -> dict[str, Scores]:
    """Evaluate a bundle and return name -> score."""

    def each(bundle: Any, samples: Any, measure: Any, failed: Any, **words: Any) -> Any:
        changed = Degraded(measure, degradation, enhancement)
        return measured_here(bundle, samples, changed, failed, title=degradation[:20])

    evaluation.each, failed = each, []
    results = evaluation.results(failed)
    if evaluation.bundle.task == "segmentation":
        rows = evaluation.report(results, failed)["per_image"]
        dice = np.array([row["dice"] for row in rows])
        return {"Dice": Scores(mean_of(dice), len(dice))}
    measured = evaluation.measured(results, failed)
    images = len(measured.cases)

    def ap50(times: np.ndarray) -> np.ndarray:
        return mean_of_known(list(resampled_areas(measured.matches, times).T))

    found = {"AP50": Scores(ap50, images)}
    numbers = tooth_numbers(evaluation.detector.classes)
    if numbers:
        rows = numbering(measured.cases, numbers, evaluation.threshold)["all"]
        found |= {
            "teeth found": f"{rows['recall']['value']:.3f}",
            "right number": f"{rows['right_number']['value']:.3f}",
        }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bundle", default=RELEASED, help=f"default {RELEASED}")
    parser.add_argument("--data", help="annotated images (default: synthetic ones)")
    parser.add_argument("--split", help="train, val or test (default: all samples)")
    parser.add_argument("--limit", type=int, help="measure this many images, evenly taken")
    parser.add_argument("--half", type=int, choices=(1, 2), help="measure every other image")
    parser.add_argument(
        "--enhance", nargs="+", default=[], choices=ENHANCEMENTS, help="what is tried as a cure"
    )
    parser.add_argument("--only", nargs="+", help="degradations, by the beginning of their names")
    parser.add_argument("--out", default=".", help="folder of robustness.png (default: this one)")
    parser.add_argument("--quick", action="store_true", help="two images: a trial run")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data = options.data or write_panoramic_dataset(Path(folder) / "data", 4, seed=9000)
        run(options, data)


def run(options: Any, data: Any) -> None:
    bundle = dz.load(options.bundle)
    evaluation = task_of(bundle).Evaluation(bundle, data, split=options.split)
    if options.half:
        evaluation.samples = list(evaluation.samples)[options.half - 1 :: 2]
    limit = 2 if options.quick else options.limit or len(evaluation.samples)
    chosen = np.linspace(0, len(evaluation.samples) - 1, min(limit, len(evaluation.samples)))
    evaluation.samples = [evaluation.samples[int(index)] for index in chosen]
    print(f"{bundle.name}, {len(evaluation.samples)} images of {options.data or 'synthetic data'}")
    draw(evaluation, Path(options.out) / "robustness.png")
    names = [
        name
        for name in DEGRADATIONS
        if not options.only or name.startswith(("clean", *options.only))
    ]
    found = {name: scores_of(evaluation, name, None) for name in names}
    clean = found["clean"]
    main_score = next(iter(clean))
    rows = []
    for name, scores in found.items():
        less = "" if name == "clean" else scores[main_score].less(clean[main_score])
        rows.append([name, *scores.values(), less])
    show("Degraded images", ["", *clean, "less clean"], rows)
    if options.enhance:
        rows = []
        for name in names:
            cured = [scores_of(evaluation, name, cure)[main_score] for cure in options.enhance]
            rows.append([name, *(score.less(found[name][main_score]) for score in cured)])
        show(f"What enhancing changes of the {main_score}", ["", *options.enhance], rows)


def draw(evaluation: Any, path: Path) -> None:
    """Draw one image in all its forms, with its mask or boxes."""
    sample = evaluation.samples[len(evaluation.samples) // 2]
    sheets = []
    for name in DEGRADATIONS:
        arrays = Degraded(evaluation.measure, name, None).read(sample)
        if "mask" in arrays:
            from dentalzoo.tasks.segmentation.drawing import overlay

            image = overlay(arrays["image"], arrays["mask"])
        else:
            from dentalzoo.tasks.detection.drawing import overlay

            seen = ~arrays["difficult"]
            boxes, labels = arrays["boxes"][seen], arrays["labels"][seen]
            image = overlay(arrays["image"], boxes, labels, evaluation.detector.classes)
        sheets.append(contact_sheet([[fit(image, (420, 300))]], [name]))
    height, width = np.max([sheet.shape[:2] for sheet in sheets], 0)
    canvas = np.full((-(-len(sheets) // 3) * height, 3 * width, 3), 255, np.uint8)
    for index, sheet in enumerate(sheets):
        top, left = index // 3 * height, index % 3 * width
        canvas[top : top + sheet.shape[0], left : left + sheet.shape[1]] = sheet
    write_png(path, canvas)
    print(path)


if __name__ == "__main__":
    main()
