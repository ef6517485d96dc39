"""Synthetic clinical photographs of single teeth with their neighbours, gum and antagonists."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from dentalzoo.data.formats.tree import SPLITS
from dentalzoo.data.io.images import write_png
from dentalzoo.data.synthetic.canvas import Frame, blur, field
from dentalzoo.data.synthetic.mouth import SHADES, Crown, Mouth, aim, make_mouth
from dentalzoo.data.synthetic.shapes import rounded
from dentalzoo.errors import DentalzooError
from dentalzoo.output_dirs import whole_folder


@dataclass(frozen=True)
class ToothPhoto:
    """A synthetic photograph of one tooth, with its labels.

    Attributes:
        image: uint8 (H, W, 3), RGB.
        teeth: uint8 (H, W), the FDI number of the visible tooth at each pixel, 0 for none.
        fdi: the FDI number of the tooth in the centre.
        shade: its shade, a key of SHADES.
    """

    image: np.ndarray
    teeth: np.ndarray
    fdi: int
    shade: str

    @property
    def tooth(self) -> np.ndarray:
        """uint8 (H, W): 1 on the tooth in the centre, 0 elsewhere."""
        return (self.teeth == self.fdi).astype(np.uint8)


def tooth_photo(seed: int, size: int = 64) -> ToothPhoto:
    """Generate a photograph of the outer side of a tooth; a seed shows one tooth at every size.

    The crop is 1.15 to 1.6 times as large as the tooth, upper or lower, with parts of its
    neighbours, gum, the other jaw's teeth or the dark of the mouth.

    Args:
        seed: a non-negative integer.
        size: height and width in pixels, at least 16.

    Raises:
        DentalzooError: the seed or the size is out of range.
    """
    if seed < 0 or int(seed) != seed:
        raise DentalzooError(f"seed must be a non-negative integer. Received: {seed!r}")
    if size < 16 or int(size) != size:
        raise DentalzooError(f"size must be an integer >= 16. Received: {size!r}")
    body, light, camera = (np.random.default_rng((int(seed), 7, stream)) for stream in range(3))
    mouth = make_mouth(body)
    frame = aim(body, mouth, int(size))
    image, teeth = _render(light, mouth, frame)
    return ToothPhoto(_expose(camera, image), teeth, mouth.target.fdi, mouth.shade)


def write_tooth_photos(
    out_dir: str | Path, count: int, seed: int = 0, size: int = 64, split: str = ""
) -> Path:
    """Generate photographs `seed`, `seed + 1`, ... and write them as `NNNN.png` into one folder.

    Args:
        out_dir: absent, empty, or an older data set of this function, which is replaced.
        count: number of photographs, at least 1.
        seed: seed of the first photograph.
        size: height and width in pixels.
        split: "train", "val" or "test": the split of all photographs, written to `split.csv`
            (id,split); "" writes no such file.

    Returns:
        The folder.

    Raises:
        DentalzooError: count or split is out of range, `out_dir` holds other files, or as
            `tooth_photo`.
    """
    if count < 1:
        raise DentalzooError(f"count must be at least 1. Received: {count!r}")
    if split and split not in SPLITS:
        raise DentalzooError(f"split must be one of {SPLITS} or ''. Received: {split!r}")
    names = [f"{index:04d}" for index in range(count)]
    with whole_folder(out_dir, "write_tooth_photos") as folder:
        for index, name in enumerate(names):
            write_png(folder / f"{name}.png", tooth_photo(seed + index, size).image)
        if split:
            rows = ["id,split", *(f"{name},{split}" for name in names)]
            (folder / "split.csv").write_text("\n".join(rows) + "\n")
    return Path(out_dir)


def _rgb(lab: npt.ArrayLike) -> np.ndarray:
    """Convert CIE L*, a*, b* to RGB, (3,) float32 in [0, 1]."""
    return cv2.cvtColor(np.array([[lab]], np.float32), cv2.COLOR_Lab2RGB)[0, 0]


class _Look:
    """Colours and light of an image; all ranges are ours, compared with clinical photographs."""

    def __init__(self, rng: np.random.Generator, shade: str) -> None:
        # a flash photograph is lighter and warmer than the shade guide
        tint = np.array(SHADES[shade]) + (11, 2.0, 3.5) + rng.normal(0, (2, 0.5, 1.5))
        self.body = _rgb(tint)
        self.neck = _rgb(tint + rng.uniform((-8, 0, 3), (-2, 3, 9)))
        self.edge = _rgb(tint + rng.uniform((-7, -1, -8), (2, -1, -3)))
        self.edge_depth = rng.uniform(0.08, 0.3)  # of the crown's height
        self.gum = _rgb(rng.uniform((42, 19, 7), (62, 28, 17)))
        self.mucosa = _rgb(rng.uniform((42, 20, 12), (60, 30, 18)))
        self.blood = _rgb(rng.uniform((34, 26, 11), (48, 36, 18)))
        self.sore = rng.uniform(0, 1)
        self.crease = rng.uniform(-0.05, 0.25)
        self.contact = rng.uniform(0.02, 0.2)
        self.wet = rng.gamma(2.0, 0.5)
        self.shine = rng.gamma(2.0, 0.5)
        self.side = rng.normal(0, 0.35)  # of the light: negative for the left


def _render(rng: np.random.Generator, mouth: Mouth, frame: Frame) -> tuple[np.ndarray, np.ndarray]:
    """Paint from the back to the front: RGB float32 in about [0, 1.3], and FDI numbers."""
    shape = (frame.height, frame.width)
    look = _Look(rng, mouth.shade)
    clouds = [field(rng, shape, (shape[0] / n, shape[1] / n)) for n in (4, 9, 22)]
    veins = field(rng, shape, (shape[0] / 3, shape[1] / 24))
    dark = _rgb(rng.uniform((4, 4, 2), (22, 16, 10)))
    image = (1 + np.float32(0.25) * clouds[0][..., None]) * dark
    teeth = np.zeros(shape, np.uint8)
    for row, line, end in ((mouth.lower, mouth.lower_gum, 40), (mouth.upper, mouth.upper_gum, -40)):
        beyond = [(line[-1, 0] + 9, end), (line[0, 0] - 9, end)]
        gum = rounded(np.concatenate([line, beyond]), 2)
        _paint_gum(rng, image, teeth, frame, gum, row, look, clouds, veins)
        for crown in sorted(row, key=lambda crown: crown.facing + 0.1 * rng.random()):
            _paint_crown(rng, image, teeth, frame, crown, look, clouds)
    return image * _depth(rng, mouth.target, frame), teeth


def _depth(rng: np.random.Generator, crown: Crown, frame: Frame) -> np.ndarray:
    """Return the factor by which light falls off to the back of the mouth: float32 (H, W, 1)."""
    max_loss = (0.06, 0.12, 0.25, 0.5, 0.6, 0.7)[crown.fdi % 10 - 1]
    strength = np.float32(rng.random() ** 2 * max_loss)
    x, _ = frame.units()
    back = (x - np.float32(crown.origin[0])) / np.float32(12)
    back = back if crown.fdi // 10 in (2, 3) else -back
    return (1 - strength * np.clip(0.45 + back, 0, 1.3) ** 1.5)[..., None]


def _paint_gum(
    rng: np.random.Generator,
    image: np.ndarray,
    teeth: np.ndarray,
    frame: Frame,
    gum: np.ndarray,
    row: Sequence[Crown],
    look: _Look,
    clouds: Sequence[np.ndarray],
    veins: np.ndarray,
) -> None:
    """Paint the gum of a row of crowns, pale near them and red far away, with wet glints."""
    whole = slice(0, frame.height), slice(0, frame.width)
    cover = frame.cover([gum], whole)
    crowns = frame.cover([crown.outline for crown in row], whole)
    near = blur(crowns, 1.2 * frame.scale)
    rim = blur(crowns, 0.35 * frame.scale)
    far = np.clip(1.2 - 2.6 * near + 0.3 * clouds[0], 0, 1)[..., None]
    sore = look.sore * np.clip(2.4 * near - 0.5 + 0.35 * clouds[1], 0, 1)[..., None]
    colour = look.gum + far * (look.mucosa - look.gum)
    colour += sore * (look.blood - colour)
    light = 1 + 0.06 * clouds[0] + 0.04 * clouds[1] + 0.02 * clouds[2]
    bulge = 0.4 * look.wet * np.clip(near - rim, 0, 0.2)
    light *= 1 - look.crease * np.clip(rim - 0.2, 0, 1) + bulge
    colour *= light[..., None]
    veins = np.clip(1 - 3.2 * near, 0, 1) * veins
    colour *= 1 + np.array((0.0, 0.03, 0.025), np.float32) * veins[..., None]
    image += cover[..., None] * (colour - image)
    shine = np.zeros(cover.shape, np.float32)
    for where, start, away, radius, strength, length in rng.random((rng.poisson(10 * look.wet), 6)):
        crown = row[int(where * len(row))]
        angles = np.pi * (start + 0.12 * length * rng.random(1 + int(7 * length**3)))
        reach = 0.5 + 0.25 * away * away + 0.02 * rng.standard_normal(len(angles))
        streak = crown.to_mm(reach * np.cos(angles), 0.56 + reach * np.sin(angles))
        for spot, faint in zip(streak, rng.random(len(angles)), strict=True):
            _glint(shine, frame, spot, 0.04 + 0.22 * radius**2, strength * (1 - 0.7 * faint))
    shine *= cover * (1 - crowns)
    image += shine[..., None] * (1.15 - image)
    teeth[cover >= 0.5] = 0


def _glint(
    shine: np.ndarray, frame: Frame, spot: np.ndarray, radius: float, strength: float
) -> None:
    """Paint a small bright reflection at a point (2,) in mm."""
    x, y = frame.pixels([spot])[0]
    radius = max(0.45, radius * frame.scale)
    window = tuple(
        slice(max(0, int(c - 3 * radius)), max(0, int(c + 3 * radius) + 2)) for c in (y, x)
    )
    tile = shine[window]
    rows, columns = (
        np.arange(part.start, part.start + length, dtype=np.float32) + np.float32(0.5)
        for part, length in zip(window, tile.shape, strict=True)
    )
    away = (rows - np.float32(y))[:, None] ** 2 + (columns - np.float32(x)) ** 2
    near = np.exp(away * np.float32(-1 / radius**2))
    np.maximum(tile, np.clip(np.float32(1.6 * strength) * near, 0, 1), out=tile)


def _paint_crown(
    rng: np.random.Generator,
    image: np.ndarray,
    teeth: np.ndarray,
    frame: Frame,
    crown: Crown,
    look: _Look,
    clouds: Sequence[np.ndarray],
) -> None:
    """Paint a crown over what is behind it: dentine through enamel, rounding, reflections."""
    numbers = rng.random(12)
    window = frame.window([crown.outline], 1.0 * frame.scale)
    if window is None:
        return
    cover = frame.cover([crown.outline], window)
    u, v = crown.to_local(*frame.units(window))
    tile = image[window]
    shadow = blur(cover, 0.3 * frame.scale) * look.contact * (0.5 + numbers[0])
    tile *= (1 - shadow)[..., None]
    dome = np.clip(2 * blur(cover, 0.11 * crown.width * frame.scale) - 1, 0, 1)
    dome += (1 - dome) * np.clip((v - 0.55) / 0.35, 0, 1)  # the gum hides the turn of the neck
    broad = np.clip(1 - (2 * u - look.side * 0.5) ** 2 * 0.16 - (v - 0.45) ** 2 * 0.3, 0, 1)
    light = (0.86 + 0.14 * cv2.pow(dome, 0.7)) * broad * (0.45 + 0.55 * crown.facing)
    light *= 1.06 + 0.02 * clouds[0][window] + 0.008 * clouds[1][window]
    light *= 1 + 0.02 * np.cos(2 * np.pi * (1.5 * u + numbers[1])) * (1 - v)
    neck = np.clip((v - 0.5 + 0.1 * numbers[2]) / 0.5, 0, 1) ** 2
    neck += 1.2 * np.clip((np.abs(2 * u) - 0.7) / 0.3, 0, 1) ** 2 * np.clip(v + 0.2, 0, 0.8)
    edge = np.clip(1 - v / look.edge_depth, 0, 1)
    colour = look.body + neck[..., None] * (look.neck - look.body)
    colour += edge[..., None] * (look.edge - look.body)
    colour = colour * light[..., None] * np.float32(1 + 0.05 * (numbers[3] - 0.5))
    shine = np.zeros(cover.shape, np.float32)
    for a, b, c, d in numbers[4:12].reshape(2, 4):
        across = (u - 0.6 * (a - 0.5) - 0.2 * look.side) / (0.04 + 0.1 * b)
        down = (v - 0.2 - 0.45 * c) / (0.06 + 0.18 * d)
        patch = np.exp(-(across**2) - down**2)
        glint = np.clip(patch * (1 + 0.8 * clouds[2][window]) - 0.45, 0, 1)
        shine += look.shine * (0.15 * patch + 1.6 * d * d * glint)
    shine = np.clip(shine, 0, 1)[..., None] * crown.facing
    colour += shine * (1.2 - colour)
    soft = blur(cover, 0.16 * frame.scale)
    soft = cover + np.clip((v - 0.35) / 0.3, 0, 1) * (soft - cover)
    tile += soft[..., None] * (colour - tile)
    teeth[window][cover >= 0.5] = crown.fdi


def _expose(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """Convert light to a uint8 photograph: focus, flash, exposure, white balance, noise."""
    size = image.shape[0]
    image = blur(image, (0.004 + min(rng.gamma(1.0, 0.006), 0.018)) * size)
    y = np.linspace(-1, 1, size, dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, size, dtype=np.float32)
    haze = np.float32(0.2 * rng.random() ** 2)
    image = image + haze * (image.mean((0, 1)) - image)
    flash = 1 + np.float32(rng.normal(0, 0.08)) * x + np.float32(rng.normal(0, 0.06)) * y
    exposure = np.clip(rng.normal(1.1, 0.09), 0.8, 1.25)
    gain = exposure * np.array([1.03, 1.0, 0.93]) * rng.normal(1, 0.012, 3)
    image = image * flash[..., None] * np.float32(gain)
    bright = np.maximum(image - np.float32(0.75), 0)
    image += 0.28 * np.tanh(bright / 0.28) - bright  # highlights roll off
    noise = rng.standard_normal(image.shape, dtype=np.float32) * np.float32(rng.uniform(0.3, 1.6))
    return np.clip(image * 255 + noise + 0.5, 0, 255).astype(np.uint8)
