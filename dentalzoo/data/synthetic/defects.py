"""Synthetic grey surfaces with defects, cracks and pores, and a data set of them.

A surface has sides of 1 unit, x to the right and y downward, whatever its resolution.
"""

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dentalzoo.data.io.images import write_png
from dentalzoo.data.synthetic.canvas import Frame, blur, field
from dentalzoo.data.synthetic.shapes import ribbon
from dentalzoo.errors import DentalzooError
from dentalzoo.output_dirs import whole_folder

DEFECTS = ("crack", "double_crack", "branched_crack", "pore", "pores", "border")
"""The kinds of defects. `pores` is a cluster; `border` is the edge of the product without a defect,
its mask the area beyond the edge."""

TEXTURES = ("plain", "ground", "grainy")
"""Plain has only noise, ground is striped along one direction, grainy is mottled."""


@dataclass(frozen=True)
class Defect:
    """A synthetic surface with one defect.

    Attributes:
        image: uint8 (H, W).
        mask: bool (H, W): the pixels of which the defect covers at least half; for a defect too
            small for that, the pixel it covers most.
        box: the tight box of the mask, yxyx in [0, 1], bottom and right exclusive.
        kind: one of DEFECTS.
    """

    image: np.ndarray
    mask: np.ndarray
    box: tuple[float, float, float, float]
    kind: str


def defect(
    seed: int,
    kind: str | None = None,
    size: int = 64,
    *,
    texture: str | None = None,
    background: float | None = None,
    contrast: float | None = None,
    invert: bool = False,
    border: float = 0.2,
) -> Defect:
    """Generate a surface with a defect.

    A defect is at least about a pixel thick at every size. Arguments that are None are random.

    Args:
        seed: a non-negative integer.
        kind: one of DEFECTS.
        size: height and width in pixels, at least 16.
        texture: one of TEXTURES.
        background: mean grey of the surface before inversion, in [0.2, 1].
        contrast: in (0, 1], a defect is darker than its surroundings by this fraction of them; in
            [-1, 0), it is brighter by this fraction of the distance to white.
        invert: return 255 - image: a bright background gives a bright defect on a dark surface.
        border: probability that a surface shows the edge of the product.

    Raises:
        DentalzooError: an argument is out of range.
    """
    _check(seed, kind, size, texture, background, contrast, border)
    shape, surface, device = (np.random.default_rng((int(seed), 11, i)) for i in range(3))
    random_kind = str(shape.choice(DEFECTS))
    random_texture = str(surface.choice(TEXTURES, p=(0.25, 0.5, 0.25)))
    grey, depth, bordered = surface.uniform(0.3, 0.8), surface.uniform(0.3, 0.85), surface.random()
    kind, texture = kind or random_kind, texture or random_texture
    background = grey if background is None else background
    contrast = depth if contrast is None else contrast

    size = int(size)
    fine = max(4, 512 // size)
    frame = Frame(size, size, np.array([[size, 0.0, 0.0], [0.0, size, 0.0]]), fine)
    whole = slice(0, size), slice(0, size)
    image = np.float32(background) * _surface(surface, size, texture)
    if kind == "border":
        cover = frame.cover([_beyond(shape, 0.4)], whole)
        image *= 1 - 0.95 * cover
    else:
        cover = frame.cover(_OUTLINES[kind](shape, 0.55 / size), whole)
        if bordered < border:
            beyond = frame.cover([_beyond(shape, 0.14)], whole)
            image *= 1 - 0.95 * beyond
            cover *= 1 - beyond
        rough = np.clip(1 + 0.15 * field(shape, (size, size), (size / 12, size / 12)), 0.5, 1.2)
        rough -= np.float32(shape.uniform(0, 0.45)) * blur(cover, 0.03 * size)  # a lighter middle
        soft = np.clip(np.maximum(cover, 0.7 * blur(cover, 0.01 * size)) * rough, 0, 1)
        image -= soft * np.float32(contrast) * (image if contrast > 0 else 1 - image)
    mask = cover >= min(0.5, cover.max())
    image = blur(image, device.uniform(0.0, 0.006) * size) * 255
    noise = device.standard_normal(image.shape, dtype=np.float32)
    image += np.float32(device.uniform(0.5, 3.0)) * noise
    image = np.clip(image + 0.5, 0, 255).astype(np.uint8)
    return Defect(255 - image if invert else image, mask, _box(mask), kind)


def write_defect_dataset(
    out_dir: str | Path,
    count: int,
    seed: int = 0,
    size: int = 64,
    val_fraction: float = 0.2,
    kinds: Sequence[str] = DEFECTS,
    **look: Any,
) -> Path:
    """Generate surfaces `seed`, `seed + 1`, ... and write them as images with masks.

    `images/NNNN.png` are the grey images, `masks/NNNN.png` their defects (0 or 255),
    `split.csv` (id,split) the split, train or val, and `defects.csv`
    (id,kind,top,left,bottom,right) the kind and the box in [0, 1].

    Args:
        out_dir: absent, empty, or an older data set of this function, which is replaced.
        count: number of images, at least 1.
        seed: seed of the first image.
        size: height and width in pixels.
        val_fraction: validation fraction, in [0, 1): the last images.
        kinds: of DEFECTS, in turn.
        look: passed on to `defect`: texture, background, contrast, invert, border.

    Returns:
        The folder.

    Raises:
        DentalzooError: count, val_fraction or kinds is out of range, `out_dir` holds other files,
            or as `defect`.
    """
    if count < 1:
        raise DentalzooError(f"count must be at least 1. Received: {count!r}")
    if not 0 <= val_fraction < 1:
        raise DentalzooError(f"val_fraction must be in [0, 1). Received: {val_fraction!r}")
    if isinstance(kinds, str) or not kinds:
        raise DentalzooError(f"kinds must be a list of at least one kind. Received: {kinds!r}")
    num_train = count - round(count * val_fraction)
    splits: list[tuple[Any, ...]] = [("id", "split")]
    labels: list[tuple[Any, ...]] = [("id", "kind", "top", "left", "bottom", "right")]
    with whole_folder(out_dir, "write_defect_dataset") as folder:
        for name in ("images", "masks"):
            (folder / name).mkdir()
        for index in range(count):
            surface = defect(seed + index, kinds[index % len(kinds)], size, **look)
            name = f"{index:04d}"
            write_png(folder / "images" / f"{name}.png", surface.image)
            write_png(folder / "masks" / f"{name}.png", surface.mask.astype(np.uint8) * 255)
            splits.append((name, "train" if index < num_train else "val"))
            labels.append((name, surface.kind, *surface.box))
        for name, rows in (("split.csv", splits), ("defects.csv", labels)):
            with open(folder / name, "w", newline="") as stream:
                csv.writer(stream, lineterminator="\n").writerows(rows)
    return Path(out_dir)


# ---- outlines ------------------------------------------------------------------------------------


def _crack(
    rng: np.random.Generator,
    thin: float,
    centre: np.ndarray | None = None,
    angle: float | None = None,
    length: float | None = None,
    half: float | None = None,
) -> tuple[list[np.ndarray], np.ndarray]:
    """Generate a jagged line that tapers to one end or both, as quadrangles and as points (33, 2).

    Half of its width is at least `thin`.
    """
    centre = rng.uniform(0.35, 0.65, 2) if centre is None else centre
    angle = rng.uniform(0, 2 * np.pi) if angle is None else angle
    length = rng.uniform(0.4, 1.1) if length is None else length
    half = rng.uniform(0.007, 0.022) if half is None else half
    along = np.array([np.cos(angle), np.sin(angle)])
    bends = _jagged(rng, 33, rng.uniform(0.05, 0.25)) * length
    t = np.linspace(0, 1, 33)
    line = centre + (t - 0.5)[:, None] * length * along + bends[:, None] * along[::-1] * (-1, 1)
    taper = (1 - t) ** rng.uniform(0.4, 1) if rng.random() < 0.6 else np.sin(np.pi * t) ** 0.6
    widths = half * taper * (1 + 0.8 * _jagged(rng, 33, 1.0))
    return _chain(line, np.maximum(widths, thin)), line


def _double(rng: np.random.Generator, thin: float) -> list[np.ndarray]:
    first, line = _crack(rng, thin)
    angle = np.arctan2(*(line[-1] - line[0])[::-1])
    side = rng.choice((-1, 1)) * rng.uniform(0.1, 0.28)
    centre = line.mean(0) + side * np.array([-np.sin(angle), np.cos(angle)])
    second, _ = _crack(rng, thin, centre, angle + rng.normal(0, 0.2))
    return first + second


def _branched(rng: np.random.Generator, thin: float) -> list[np.ndarray]:
    half = rng.uniform(0.01, 0.024)
    pieces, line = _crack(rng, thin, length=rng.uniform(0.6, 1.1), half=half)
    angle = np.arctan2(*(line[-1] - line[0])[::-1])
    for _ in range(rng.integers(1, 4)):
        start = line[rng.integers(6, 24)]
        turned = angle + rng.choice((-1, 1)) * rng.uniform(0.35, 1.1)
        length = rng.uniform(0.15, 0.4)
        centre = start + 0.5 * length * np.array([np.cos(turned), np.sin(turned)])
        twig, path = _crack(rng, thin, centre, turned, length, 0.6 * half)
        pieces += twig + _chain(np.stack([start, path[0]]), np.full(2, max(0.5 * half, thin)))
    return pieces


def _pore(
    rng: np.random.Generator,
    thin: float,
    centre: np.ndarray | None = None,
    radius: float | None = None,
) -> list[np.ndarray]:
    """Generate the outline of a nearly round blob."""
    centre = rng.uniform(0.25, 0.75, 2) if centre is None else centre
    radius = rng.uniform(0.02, 0.09) if radius is None else radius
    angles = np.linspace(0, 2 * np.pi, 33)[:-1]
    waves: Any = sum(
        rng.normal(0, 0.12 / k) * np.cos(k * angles + rng.uniform(0, 6)) for k in (2, 3, 4, 5)
    )
    reach = max(radius, 2.5 * thin) * (1 + waves)
    points = reach[:, None] * np.stack([np.cos(angles), np.sin(angles)], 1)
    turn = rng.uniform(0, np.pi)
    across = np.array([np.cos(turn), np.sin(turn)])
    points -= (points @ across)[:, None] * across * 0.6 * rng.beta(1, 2)
    return [centre + points]


def _pores(rng: np.random.Generator, thin: float) -> list[np.ndarray]:
    middle = rng.uniform(0.35, 0.65, 2)
    spread = rng.uniform(0.06, 0.16)
    return [
        _pore(rng, thin, middle + np.clip(rng.normal(0, spread, 2), -0.33, 0.33),
              rng.uniform(0.012, 0.05))[0]
        for _ in range(rng.integers(3, 10))
    ]  # fmt: skip


def _beyond(rng: np.random.Generator, max_depth: float) -> np.ndarray:
    """Generate the outline of the area beyond an edge of the product, along a side of the image."""
    depth = rng.uniform(0.3, 1.0) * max_depth
    t = np.linspace(-0.2, 1.2, 15)
    line = depth + rng.normal(0, 0.04) * (t - 0.5) + rng.normal(0, 0.06) * (t - 0.5) ** 2
    line += 0.004 * rng.normal(0, 1, 15)
    outline = np.concatenate([np.stack([t, line], 1), [(1.2, -0.5), (-0.2, -0.5)]])
    side = rng.integers(4)
    if side % 2:
        outline = outline[:, ::-1]
    return outline if side < 2 else 1 - outline


_OUTLINES: dict[str, Callable[[np.random.Generator, float], list[np.ndarray]]] = {
    "crack": lambda rng, thin: _crack(rng, thin)[0],
    "double_crack": _double,
    "branched_crack": _branched,
    "pore": _pore,
    "pores": _pores,
}


def _jagged(rng: np.random.Generator, count: int, rough: float) -> np.ndarray:
    """Generate a fractal line of 2**k + 1 values, 0 at both ends, by midpoint displacement."""
    values = np.zeros(2)
    while len(values) < count:
        middle = (values[1:] + values[:-1]) / 2 + rng.normal(0, rough / 2, len(values) - 1)
        values = np.insert(values, np.arange(1, len(values)), middle)
        rough *= 0.55
    return values


def _chain(line: np.ndarray, half_widths: np.ndarray) -> list[np.ndarray]:
    """Split a line (N, 2) into N - 1 quadrangles, so that it is filled where it crosses itself."""
    sides = ribbon(line, half_widths)
    left, right = sides[: len(line)], sides[len(line) :][::-1]
    return list(np.stack([left[:-1], left[1:], right[1:], right[:-1]], 1))


# ---- surface -------------------------------------------------------------------------------------


def _surface(rng: np.random.Generator, size: int, texture: str | None) -> np.ndarray:
    """Generate the surface without defects, float32 (size, size), 1 in the mean."""
    shape = (size, size)
    slope = rng.normal(0, 0.12, 2)
    t = np.linspace(-1, 1, size, dtype=np.float32)
    grey = 1 + np.float32(slope[0]) * t[:, None] + np.float32(slope[1]) * t
    grey += np.float32(rng.uniform(0.01, 0.06)) * field(rng, shape, (size / 3, size / 3))
    grey -= np.float32(0.12 * rng.random()) * np.clip(
        field(rng, shape, (size / 6, size / 6)) - 1, 0, 1
    )
    strength = np.float32(rng.uniform(0.5, 1.5))
    if texture == "ground":
        grain = field(rng, shape, (size / 80, size / 150))
        lines = 0.025 * field(rng, shape, (size / 2, size / 150)) + 0.045 * grain
        lines += 0.035 * field(rng, shape, (size / 2, size / 20))
        scratches = np.clip(field(rng, shape, (size / 2, size / 70)) - 1.2, 0, 2)
        lines += 0.12 * scratches * (1 + grain)
        sides = 1 - np.float32(rng.uniform(0, 0.5)) * t ** np.float32(4)
        grey, lines = grey * sides, lines * sides
        grey += strength * lines
        grey = grey if rng.random() < 0.7 else grey.T
    elif texture == "grainy":
        for cells in (12, 30, 70):
            grey += strength * np.float32(0.035) * field(rng, shape, (size / cells, size / cells))
    return np.clip(grey, 0.3, 1.9).astype(np.float32)


def _box(mask: np.ndarray) -> tuple[float, float, float, float]:
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    height, width = mask.shape
    return (float(rows[0] / height), float(columns[0] / width),
            float((rows[-1] + 1) / height), float((columns[-1] + 1) / width))  # fmt: skip


def _check(
    seed: int,
    kind: str | None,
    size: int,
    texture: str | None,
    background: float | None,
    contrast: float | None,
    border: float,
) -> None:
    if seed < 0 or int(seed) != seed:
        raise DentalzooError(f"seed must be a non-negative integer. Received: {seed!r}")
    if size < 16 or int(size) != size:
        raise DentalzooError(f"size must be an integer >= 16. Received: {size!r}")
    for name, value, known in (("kind", kind, DEFECTS), ("texture", texture, TEXTURES)):
        if value is not None and value not in known:
            raise DentalzooError(f"{name} must be one of {', '.join(known)}. Received: {value!r}")
    if background is not None and not 0.2 <= background <= 1:
        raise DentalzooError(f"background must be in [0.2, 1]. Received: {background!r}")
    if contrast is not None and not 0 < abs(contrast) <= 1:
        raise DentalzooError(f"contrast must be in [-1, 0) or (0, 1]. Received: {contrast!r}")
    if not 0 <= border <= 1:
        raise DentalzooError(f"border must be in [0, 1]. Received: {border!r}")
