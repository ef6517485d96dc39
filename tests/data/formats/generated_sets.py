"""Random annotated images of every kind, small and fast, for the tests of all formats."""

import re
from collections import defaultdict

import numpy as np

from dentalzoo.data.boxes import Box, BoxSample
from dentalzoo.data.formats.base import RunLengths
from dentalzoo.data.formats.outlines import as_coco, count_runs, fill
from dentalzoo.data.formats.semantic import extent
from dentalzoo.data.io.images import write_png

CLASSES = ("Karies", "crown 2", "Zahn ö", "unused")
TEETH = ("11", "26", "48", "33")  # for the format of numbered teeth
SIZES = ((8, 12), (12, 8), (7, 13), (9, 9))
TOLERANCE = 1e-4  # of edges in [0, 1], and of points in pixels


KINDS = ("box", "polygon", "slanted", "runs", "parts")


def generate(root, seed, count, kinds=KINDS, classes=CLASSES):
    """Return `count` samples with their classes; images lie in one folder or in several."""
    rng = np.random.default_rng(seed)
    several, splits, groups = rng.integers(0, 2, 3).tolist()
    samples = []
    for number in range(count):
        size = SIZES[rng.integers(len(SIZES))]
        prefix = ("x", "Zahn ä ", "a.b-")[rng.integers(3)]
        folder = root / (("one", "two")[number % 2] if several else "one")
        path = folder / f"{prefix}{number:03d}.png"
        image = rng.integers(0, 256, size, np.uint8)
        write_png(path, image if rng.integers(2) else np.stack([image, image, image // 2], -1))
        split = ("train", "val", "test")[number // 2 % 3] if splits else "train"
        group = f"g{number // 2}" if groups else f"own{number}"
        boxes = [_object(rng, size, kinds, classes) for _ in range(rng.integers(0, 4))]
        if number == 0 and not boxes:
            boxes = [_object(rng, size, kinds, classes)]
        samples.append(BoxSample(path.stem, path, tuple(different(boxes)), group, split))
    return samples, list(classes)


def different(boxes):
    """Return the boxes without those that a reader takes for repeated ones."""
    kept = {}
    for box in boxes:
        kept.setdefault((box.label, *(round(e, 4) for e in edges(box))), box)
    return list(kept.values())


def _object(rng, size, kinds, classes):
    height, width = size
    label = classes[rng.integers(3)]
    marks = {"difficult": rng.random() < 0.1, "crowd": rng.random() < 0.05}
    top, left = int(rng.integers(0, height - 3)), int(rng.integers(0, width - 3))
    bottom, right = int(rng.integers(top + 2, height + 1)), int(rng.integers(left + 2, width + 1))
    kind = kinds[rng.integers(len(kinds))]
    whole = (top, left, bottom, right)
    if kind == "box":
        ends = np.array(whole) + rng.choice([0, 0.25, 1 / 3, 0.123456]) * np.array([1, 1, -1, -1])
        return Box(label, *_parts(ends, size), **marks)
    if kind in ("polygon", "slanted", "parts"):
        square = (left, top, right, top, right, bottom, left, bottom)
        slanted = (left + 0.25, top, right, top + 0.5, right, bottom, left, bottom)
        polygons = [tuple(map(float, square if kind != "slanted" else slanted))]
        if kind == "parts" and bottom + 1 < height:
            polygons.append(tuple(map(float, (0, bottom + 1, 2, bottom + 1, 2, height, 0, height))))
        points = np.concatenate([np.reshape(p, (-1, 2)) for p in polygons])
        ends = (*points.min(0)[::-1], *points.max(0)[::-1])
        return Box(label, *_parts(ends, size), outline=tuple(polygons), **marks)
    inside = np.zeros(size, bool)
    inside[top:bottom, left:right] = True
    if rng.integers(2):
        inside[top + 1 : bottom - 1, left + 1 : right - 1] = False  # a hole, where there is room
    elif rng.integers(2):
        inside &= rng.random(size) < 0.7
        inside[top, left] = True
    runs = RunLengths(*size, tuple(count_runs(inside)))
    return Box(label, *_parts(extent(inside), size), outline=runs, **marks)


def _parts(ends, size):
    height, width = size
    top, left, bottom, right = map(float, ends)
    return top / height, left / width, bottom / height, right / width


def edges(box):
    return box.top, box.left, box.bottom, box.right


def number_of(sample):
    """Return the number in the name of a generated image, whatever a format makes of the name."""
    return int(re.search(r"(\d{3})(_0000)?(\.\w+)?$", sample.name)[1])


def size_of(samples):
    from dentalzoo.data.formats.rules import image_size

    return {number_of(sample): image_size(sample.image)[0] for sample in samples}


def differences(before, after):
    """Return a line for each difference between the samples of two readings; empty for none."""
    sizes = size_of(before)
    lines = []
    old, new = ({number_of(s): s for s in samples} for samples in (before, after))
    if old.keys() != new.keys():
        return [f"images: {sorted(old.keys() ^ new.keys())} in one alone"]
    for number, sample in old.items():
        rest = list(new[number].boxes)
        for box in sample.boxes:
            match = next((b for b in rest if _equal(box, b, sizes[number])), None)
            if match is None:
                lines.append(f"{sample.name}: {box} not among {rest}")
            else:
                rest.remove(match)
        lines += [f"{sample.name}: {box} is new" for box in rest]
        if sample.split != new[number].split:
            lines.append(f"{sample.name}: {sample.split} became {new[number].split!r}")
    if _partition(old) != _partition(new):
        lines.append(f"groups: {_partition(old)} became {_partition(new)}")
    return lines


def _partition(samples):
    groups = defaultdict(set)
    for number, sample in samples.items():
        groups[sample.group].add(number)
    return sorted(map(sorted, groups.values()))


def _equal(one, other, size):
    if (one.label, one.difficult, one.crowd) != (other.label, other.difficult, other.crowd):
        return False
    if not np.allclose(edges(one), edges(other), rtol=0, atol=TOLERANCE):
        return False
    if one.outline is None or other.outline is None:
        return one.outline is other.outline
    if isinstance(one.outline, tuple) and isinstance(other.outline, tuple):
        flat = [np.concatenate([np.ravel(p) for p in b.outline]) for b in (one, other)]
        if len(flat[0]) == len(flat[1]) and np.allclose(*flat, rtol=0, atol=TOLERANCE * 13):
            return True
    return bool(np.array_equal(*(fill(as_coco(b.outline), *size) for b in (one, other))))
