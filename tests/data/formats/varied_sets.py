"""Sets of one to three images that differ much: names, sizes, extremes at edges, splits, marks."""

import numpy as np
from PIL import Image

from dentalzoo.data.boxes import Box, BoxSample
from dentalzoo.data.formats.base import RunLengths
from dentalzoo.data.formats.outlines import count_runs
from dentalzoo.data.formats.semantic import extent
from tests.data.formats.generated_sets import TEETH, different

NAMES = (
    *("Karies", "crown 2", "Zahn ö", "зуб", "歯", "Füllung, alt", 'say "x"', "<&>", "it's", "a/b"),
    *("11", "3.5", "true", "no", "x:y", "# 1", "50%", "a_b", "UPPER", "[v]", "{w}", "a\\b", "*"),
)
KINDS = (
    ("box",),
    ("polygon", "star"),
    ("areas",),
    ("runs", "areas"),
    ("polygon", "parts"),
    ("box", "polygon", "star", "parts", "runs"),
)
STEMS = ("x", "Zahn ä ", "a.b-", "50% #", "UPPER_", "歯", "(1) ", "é", "it's & ")
SIDES = (2, 3, 5, 8, 9, 13, 16, 40)


def generate_varied(root, seed, numbered=False):
    """Return the samples of a seed and their classes; `numbered` takes tooth numbers as names."""
    rng = np.random.default_rng(seed)
    several, splits, groups, marks = (rng.random(4) < (0.3, 0.5, 0.4, 0.3)).tolist()
    count = int(rng.choice([1, 2, 3, 5, len(NAMES)]))
    classes = list(TEETH if numbered else rng.permutation(NAMES)[:count].tolist())
    kinds = KINDS[seed % len(KINDS)]
    samples = []
    for number in range(rng.integers(1, 4)):
        size = tuple(rng.choice(SIDES, 2).tolist())
        folder = root / (("one", "two")[number % 2] if several else "one")
        path = _image(rng, folder, size, number)
        boxes = []
        for _ in range(rng.integers(number == 0, 4)):
            label = classes[rng.integers(max(1, len(classes) - 1))]  # the last is often unused
            kind = kinds[rng.integers(len(kinds))]
            boxes.append(_object(rng, kind, size, label, marks))
        together = groups and number == 1  # and so in one split
        split = ("train", "val", "test")[rng.integers(3)] if splits else "train"
        split = samples[0].split if together else split
        group = samples[0].group if together else f"g {number}"
        samples.append(BoxSample(path.stem, path, tuple(different(boxes)), group, split))
    return samples, classes


def _image(rng, folder, size, number):
    stem = f"{STEMS[rng.integers(len(STEMS))]}{number:03d}"
    image = rng.integers(0, 256, size, np.uint8)
    if rng.random() < 0.3:
        image = np.stack([image, image, image // 2], -1)
    suffix = (".png", ".png", ".PNG", ".bmp", ".tif")[rng.integers(5)]
    path = folder / f"{stem}{suffix}"
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)
    return path


def _object(rng, kind, size, label, marks):
    """Return an object of a kind."""
    height, width = size
    difficult, crowd = (rng.random(2) < (0.3, 0.2)).tolist() if marks else (False, False)
    if kind == "box":
        top, bottom = _ends(rng, height)
        left, right = _ends(rng, width)
        edges = top / height, left / width, bottom / height, right / width
        return Box(label, *edges, difficult=difficult, crowd=crowd)
    if kind in ("runs", "areas"):
        inside = _pixels(rng, size) if kind == "runs" else _area(rng, size)
        outline = RunLengths(*size, tuple(count_runs(inside)))
        top, left, bottom, right = extent(inside)
    else:
        outline = {"polygon": _rectangle, "star": _star, "parts": _two}[kind](rng, size)
        points = np.concatenate([np.reshape(polygon, (-1, 2)) for polygon in outline])
        (left, top), (right, bottom) = points.min(0).tolist(), points.max(0).tolist()
    edges = top / height, left / width, bottom / height, right / width
    return Box(label, *edges, difficult=difficult, crowd=crowd, outline=outline)


def _ends(rng, side):
    """Return where something begins and ends: at whole pixels, between them, tiny, or all."""
    begin = int(rng.integers(0, side))
    end = int(rng.integers(begin + 1, side + 1))
    return (
        (begin, end),
        (0, end),
        (begin, side),
        (0, side),
        (begin, begin + 1),
        (side - 1, side),
        (begin + 0.2, end - 0.2),
        (begin + 1 / 3, end),
        (begin + 0.123456, begin + 0.723456),  # less than a pixel; half a one is the least
        (begin + 0.4, side),
    )[rng.integers(10)]


def _rectangle(rng, size):
    (top, bottom), (left, right) = _ends(rng, size[0]), _ends(rng, size[1])
    return (tuple(map(float, (left, top, right, top, right, bottom, left, bottom))),)


def _star(rng, size):
    """Return a polygon of 3 to 12 corners, often with one point at an edge of the image."""
    height, width = size
    count = int(rng.integers(3, 13))
    angles = np.linspace(0, 2 * np.pi, count, endpoint=False) + rng.uniform(0, 1 / count)
    radii = rng.uniform(0.3, 0.45, count) * max(rng.choice([0.1, 0.5, 1]), 2 / min(size))
    points = np.stack([np.cos(angles), np.sin(angles)], 1) * radii[:, None] + 0.5
    points = np.round(points * (width, height), int(rng.choice([1, 2, 6])))
    if rng.random() < 0.6:  # the outermost corner moves to the edge
        axis, end = rng.integers(2, size=2)
        corner = points[:, axis].argmax() if end else points[:, axis].argmin()
        points[corner, axis] = (width, height)[axis] if end else 0
    return (tuple(points.ravel().tolist()),)


def _two(rng, size):
    """Return two rectangles one beside the other, where there is room for a gap."""
    height, width = size
    if width < 3:
        return _rectangle(rng, size)
    middle = int(rng.integers(1, width - 1))
    polygons = []
    for left, right in ((0, middle), (middle + 1, width)):
        top, bottom = _ends(rng, height)
        polygons.append(tuple(map(float, (left, top, right, top, right, bottom, left, bottom))))
    return tuple(polygons)


def _pixels(rng, size):
    """Return pixels of any form: one, a corner, all, a chequerboard, a ring, at random."""
    inside = np.zeros(size, bool)
    kind = rng.integers(6)
    if kind == 0:
        inside[rng.integers(size[0]), rng.integers(size[1])] = True
    elif kind == 1:
        inside[rng.choice([0, -1]), rng.choice([0, -1])] = True
    elif kind == 2:
        inside[:] = True
    elif kind == 3:
        inside = np.indices(size).sum(0) % 2 == rng.integers(2)
    elif kind == 4:
        inside[:] = True
        inside[1:-1, 1:-1] = False
    else:
        inside = rng.random(size) < 0.5
        inside[0, 0] = True
    return inside


def _area(rng, size):
    """Return a connected area; several of one image seldom touch one another."""
    height, width = size
    top, left = int(rng.integers(height)), int(rng.integers(width))
    inside = np.zeros(size, bool)
    inside[top : top + rng.integers(1, height // 2 + 1), left] = True
    inside[top, left : left + rng.integers(1, width // 2 + 1)] = True
    return inside
