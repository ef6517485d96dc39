"""Counts and pictures of a data set, gathered while `dentalzoo check` reads each image once."""

from array import array
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from dentalzoo.contracts import Report
from dentalzoo.data.box_findings import BoxFinding
from dentalzoo.data.formats.base import Box
from dentalzoo.data_report import drawing, figures
from dentalzoo.data_report.contradictions import BoxCritic, MaskCritic
from dentalzoo.data_report.gallery import Gallery

PER_CLASS = 6  # pictures of the sample of a class
_MOST_CLASSES = 60  # with pictures; ours
_PER_FINDING = 12  # pictures of a kind of finding
# Ours: an object of a mask below this part of the image is a speck. On 85 radiographs with teeth
# outlined by hand the smallest whole tooth has 0.1 %.
_SPECK = 2e-5
# Ours: the foreground of a mask is far from the others where the logarithm of its area is so many
# times the median absolute deviation from the median, and its area so many times smaller or larger.
_SPREADS, _TIMES, _LEAST = 6.0, 4.0, 20


class Recorder:
    """What the images of a data set show; `watch` is called with each.

    Memory grows by some numbers for each image and box; pictures are bounded.

    Args:
        critic: finds what a bundle contradicts; None for no bundle.
        draw: keep pictures.
        per_class: how many pictures of each class.
        seed: of their choice.
    """

    def __init__(
        self,
        critic: BoxCritic | MaskCritic | None = None,
        *,
        draw: bool = True,
        per_class: int = PER_CLASS,
        seed: int = 0,
    ):
        self.gallery = Gallery(seed)
        self.places: dict[str, tuple[Path, Any]] = {}  # name -> image, window
        self.classes: tuple[str, ...] = ()
        self._critic, self._draw, self._per_class = critic, draw, per_class
        self._sizes: Counter[tuple[int, int]] = Counter()
        self._objects: dict[str, Counter[str]] = defaultdict(Counter)  # split -> class -> number
        self._images: dict[str, Counter[str]] = defaultdict(Counter)
        self._sides: dict[str, array[float]] = defaultdict(lambda: array("f"))
        self._without: list[str] = []  # names of annotated images without any object
        self._areas: dict[str, float] = {}  # name -> part of the image that its mask covers
        self._contradictions: list[tuple[float, list[str]]] = []  # with the score
        self._to_check: list[list[str]] = []

    def watch(self, sample: Any, arrays: dict[str, Any]) -> None:
        """Record a sample of a `BoxDataset`, `MaskDataset` or `ImageDataset`.

        Args:
            sample: of the data set.
            arrays: "image" (H, W, C) uint8, and what the check of its kind adds.
        """
        image = arrays["image"]
        split = sample.split or "no split"
        window = getattr(sample, "window", None)
        self.places[sample.name] = sample.image, window
        self._sizes[image.shape[:2]] += 1
        if "classes" in arrays and not self.classes:
            self.classes = tuple(arrays["classes"])
            if self._critic:
                self._critic.check_classes(self.classes)
        if "findings" in arrays:
            self._watch_boxes(sample.name, split, image, sample.boxes, arrays["findings"])
        elif "mask" in arrays:
            self._watch_mask(sample, split, image, arrays["mask"])
        else:
            label = getattr(sample, "label", "") or "images"
            self._count(split, {label: 1})
            self._sample({label}, sample.name, sample.name, lambda: drawing.picture(image))

    def _count(self, split: str, objects: Mapping[str, int]) -> None:
        self._objects[split].update(objects)
        self._images[split].update({*objects})

    def _sample(
        self, labels: set[str], name: str, caption: str, draw: Callable[[], np.ndarray]
    ) -> None:
        """Offer a picture to the sample of each of its classes."""
        if not self._draw:
            return
        for label in sorted(labels):
            section = f"sample {label}"
            shown = self.gallery.count("sample ")
            if shown < _MOST_CLASSES or self.gallery.has(section):
                self.gallery.offer(section, name, caption, draw, most=self._per_class)

    # ---- boxes -----------------------------------------------------------------------------------

    def _watch_boxes(
        self,
        name: str,
        split: str,
        image: np.ndarray,
        boxes: Sequence[Box],
        findings: Sequence[BoxFinding],
    ) -> None:
        height, width = image.shape[:2]
        labels = Counter(box.label for box in boxes)
        self._without += [] if boxes else [name]
        self._count(split, labels)
        for box in boxes:
            area = (box.bottom - box.top) * height * (box.right - box.left) * width
            self._sides[box.label].append(area**0.5)

        def draw() -> np.ndarray:
            return drawing.with_boxes(image, boxes, self.classes)

        caption = f"{name} ({split}), {len(boxes)} boxes"
        self._sample({*labels} or {"without boxes"}, name, caption, draw)
        about: list[tuple[BoxFinding, Box | None]] = [(one, None) for one in findings]
        if isinstance(self._critic, BoxCritic):
            for one, box in self._critic(image, boxes):
                self._contradictions.append((box.score or 0.0, [name, one.text]))
                about.append((one, box))
        for one, predicted in about if self._draw else ():
            shown = [boxes[index] for index in one.boxes]
            self.gallery.offer(
                f"finding {one.kind}",
                name,
                f"{name}: {one.text}",
                lambda s=shown, p=predicted: drawing.detail(  # type: ignore[misc]
                    image, s, self.classes, p
                ),
                most=_PER_FINDING,
                rank=None if predicted is None or predicted.score is None else -predicted.score,
                what=one.text,
            )

    # ---- masks -----------------------------------------------------------------------------------

    def _watch_mask(self, sample: Any, split: str, image: np.ndarray, mask: np.ndarray) -> None:
        name, ids = sample.name, mask[..., 0]
        classes = self.classes or (getattr(sample, "label", "") or "foreground",)
        present = np.flatnonzero(np.bincount(ids.ravel(), minlength=256)[1:])
        labels = {classes[i] if i < len(classes) else f"id {i + 1}" for i in present.tolist()}
        self._count(split, dict.fromkeys(labels, 1))
        area = float((ids > 0).mean())
        self._areas[name] = area
        self._without += [] if area else [name]
        specks = _specks(ids)
        what = f"{specks} speck{'s' * (specks > 1)} below {_SPECK:.3%} of the image"
        if specks:
            self._to_check.append([name, what])

        def draw() -> np.ndarray:
            return drawing.with_mask(image, mask)

        caption = f"{name} ({split}), {area:.1%} of the image"
        self._sample(labels or {"empty masks"}, name, caption, draw)
        if self._draw:
            offer = self.gallery.offer
            if area:
                offer("areas smallest", name, caption, draw, most=self._per_class, rank=area)
                offer("areas largest", name, caption, draw, most=self._per_class, rank=-area)
            if specks:
                text = f"{name}: {what}"
                offer("finding specks", name, text, draw, most=_PER_FINDING, rank=-specks)
        if isinstance(self._critic, MaskCritic):
            predicted, dice = self._critic(name, image, mask)
            if self._draw:
                self.gallery.offer(
                    "model masks",
                    name,
                    f"{name}: Dice {dice:.3f}; mask blue, model orange",
                    lambda: drawing.with_two_masks(image, mask, predicted),
                    most=self._per_class,
                    rank=dice,
                    what="model",
                )

    # ---- results ---------------------------------------------------------------------------------

    def report(self) -> Report:
        """Return counts, sizes and findings as plain values.

        Returns:
            "per_split": split -> class -> {"objects", "images"} (of masks and images, objects are
            images); "without_objects", the names of images; "image_sizes": {"smallest", "largest"},
            [height, width], and "most_frequent", [height, width, number]; of boxes "box_sizes":
            class -> the quartiles of the root of the area in pixels; of masks "mask_areas": the
            quartiles of the part of the image, and "masks_to_check" [name, what]; with a bundle
            "contradictions" [name, what], and the score "confident_from" or the quartiles
            "model_dice".
        """
        if not self._sizes:
            return {}
        by_area = sorted(self._sizes, key=lambda size: size[0] * size[1])
        content: Report = {
            "per_split": {
                split: {
                    label: {"objects": count, "images": self._images[split][label]}
                    for label, count in sorted(self._objects[split].items())
                }
                for split in sorted(self._objects, key=_order)
            },
            "image_sizes": {
                "smallest": [*by_area[0]],
                "largest": [*by_area[-1]],
                "most_frequent": [[*size, n] for size, n in self._sizes.most_common(5)],
            },
        }
        if self._without:
            content["without_objects"] = [*self._without]
        if self._sides:
            content["box_sizes"] = {name: _quartiles(v) for name, v in sorted(self._sides.items())}
        if self._areas:
            content["mask_areas"] = _quartiles([*self._areas.values()])
            content["masks_to_check"] = [*self._to_check, *self._odd_areas()]
        if isinstance(self._critic, MaskCritic):
            content["model_dice"] = _quartiles(self._critic.scores())
            content["contradictions"] = self._critic.findings()
        elif self._critic:
            limit = content["confident_from"] = round(self._critic.confident_from(), 4)
            sure = sorted((one for one in self._contradictions if one[0] >= limit), reverse=True)
            content["contradictions"] = [entry for _, entry in sure]
        return content

    def figures(self) -> dict[str, np.ndarray]:
        """Return name -> figure of the sizes, (H, W, 3) uint8."""
        made = {"image_sizes": figures.image_sizes(self._sizes)} if self._sizes else {}
        if self._sides:
            sides = np.concatenate([np.asarray(values) for values in self._sides.values()])
            title = "Box sizes"
            made["box_sizes"] = figures.histogram(sides, "root of the area, in pixels", title)
            made["box_sizes_by_class"] = figures.box_sizes(self._sides)
        areas = np.array([area for area in self._areas.values() if area])
        if len(areas):
            label, title = "part of the image", "Areas of masks, without empty ones"
            made["mask_areas"] = figures.histogram(areas, label, title, logarithmic=False)
        return made

    def _odd_areas(self) -> list[list[str]]:
        """Return masks whose area is far from the others."""
        areas = {name: area for name, area in self._areas.items() if area}
        if len(areas) < _LEAST:
            return []
        logs = np.log([*areas.values()])
        median = float(np.median(logs))
        spread = float(np.median(np.abs(logs - median)))
        limit = max(_SPREADS * spread, float(np.log(_TIMES)))
        return [
            [name, f"its mask covers {areas[name]:.2%} of the image, median {np.exp(median):.2%}"]
            for name, value in zip(areas, logs, strict=True)
            if abs(value - median) > limit
        ]


def _specks(ids: np.ndarray) -> int:
    """Return the number of objects that are too small to be one."""
    limit = _SPECK * ids.size
    if limit < 1:  # a single pixel may be the object of a small image
        return 0
    _, _, stats, _ = cv2.connectedComponentsWithStats((ids > 0).astype(np.uint8), connectivity=8)
    return int((stats[1:, cv2.CC_STAT_AREA] < limit).sum())


def _quartiles(values: Sequence[float]) -> dict[str, float]:
    keys = ("min", "q1", "median", "q3", "max")
    numbers = np.percentile(np.asarray(values, np.float64), (0, 25, 50, 75, 100))
    return {key: round(float(value), 4) for key, value in zip(keys, numbers, strict=True)}


def _order(split: str) -> tuple[int, str]:
    known = ("train", "val", "test")
    return (known.index(split) if split in known else len(known)), split
