"""Grey levels: the depth of integer samples, and images in which nothing can be seen.

**Depth.** A 16-bit file seldom says how many of its bits the detector used. Where the container
says it, that depth counts. Else the depth is the smallest of `DEPTHS` that holds the image, and a
few pixels do not decide it: beyond the depth may lie one pixel in 1,000 (hot pixels), and besides
those the pixels of one single value (a burnt-in label, a frame, saturated metal), at most nine in
ten, if the rest has the many grey values of a radiograph. A label with soft edges has many values:
three pixels in 100 may be beyond a depth of 10 bits or more, if just above it there is a gap and
the rest uses its upper half. Whole depths instead of each image's own
range keep the images of one series alike. All pixels beyond the depth become white.

**Nothing to see.** `nothing_to_see` names images that are nearly flat, black, white or without
grey values; `images.read_image` logs that, once for each file.
"""

import cv2
import numpy as np

DEPTHS = (8, 10, 12, 14, 16)  # bits of detectors and of files, ours; 11 or 13 bits count as 12, 14
MAX_BEYOND = 1000  # one pixel in so many may be beyond the depth, ours: hot pixels are far fewer
MAX_TENTHS = 9  # of all pixels that may be beyond the depth, ours: a round radiograph in a frame
MAX_APART = 3  # percent of all pixels beyond a gap, ours: letters, marks and noise
GAP_QUARTERS, GAP_SHARE = 1, 16  # ours: the gap's height, quarters of the depth; 1 / share of those
GAP_BITS, UPPER_PERCENT = 10, 1  # ours: a smaller depth may be noise, as may an unused upper half
MIN_VALUES = 32  # ours: fewer grey values below a single brighter value are a drawing, not an image
_OUTLYING = 1.25  # ours: what the extremes may add to the range of the rest and still count
_CHUNK = 1 << 22  # samples counted at once: OpenCV counts in float32, exact to 1 << 24

# Ours; see docs/data_formats.md for how near real data come.
_SHARE = 0.005  # of the darkest and of the brightest pixels that do not count
_BLACK, _WHITE, _FLAT = 32, 223, 16  # grey levels of 255
_EXTREME, _EXTREMES = 8, 0.98  # this near to 0 or 255 is black or white; the share of such pixels


def depth_of(counts: np.ndarray, stated: int | None = None) -> int:
    """Return the bits of integer samples, see the module.

    Args:
        counts: (65536,) the number of samples of each value.
        stated: the depth that the file states, 8 to 15; it counts if it holds the image.

    Returns:
        `stated`, or one of `DEPTHS`.
    """
    if stated is not None and _holds(counts, stated):
        return stated
    return next(bits for bits in DEPTHS if _holds(counts, bits))


def _holds(counts: np.ndarray, bits: int) -> bool:
    below, beyond = counts[: 1 << bits], counts[1 << bits :]
    number, total = int(beyond.sum()), int(counts.sum())
    if not number:
        return True
    if 10 * number > MAX_TENTHS * total or np.count_nonzero(below) < MIN_VALUES:
        return False
    if (number - int(beyond.max())) * MAX_BEYOND <= total:
        return True
    gap, upper = beyond[: GAP_QUARTERS << (bits - 2)].sum(), below[1 << (bits - 1) :].sum()
    return bool(
        bits >= GAP_BITS
        and 100 * number <= MAX_APART * total
        and GAP_SHARE * gap <= number
        and 100 * upper >= UPPER_PERCENT * total
    )


def to_8_bits(samples: np.ndarray, stated: int | None = None) -> tuple[np.ndarray, int | None]:
    """Scale integer samples so that the largest value of their depth becomes 255.

    Samples that were spread over all 16 bits have that depth however dark they are: multiples of
    257, which are 8 bits widened, and those of a stated depth as PNG wants it.

    Args:
        samples: any shape, integers in 0..65535.
        stated: as for `depth_of`.

    Returns:
        uint8 of the same shape; and the bits of the depth where it was guessed, else None.
    """
    samples = np.ascontiguousarray(samples, np.uint16)
    flat = samples.reshape(-1, 1)
    counts = np.zeros(65536, np.int64)
    for start in range(0, flat.size, _CHUNK):
        part = cv2.calcHist([flat[start : start + _CHUNK]], [0], None, [65536], [0, 65536])
        counts += part.ravel().astype(np.int64)
    spread = _spread(counts, 8) or (stated is not None and _spread(counts, stated))
    bits = 16 if spread else depth_of(counts, stated)
    top = (1 << bits) - 1
    table = np.minimum((np.arange(65536) * 255 + top // 2) // top, 255).astype(np.uint8)
    return table[samples], None if spread or bits == stated else bits


def robust_range(values: np.ndarray) -> tuple[float, float]:
    """Return the smallest and the largest value that count for a stretch to black and white.

    These are the extremes of an ordinary image. Where hot or dead pixels, a label or padding hold
    the extremes (the pixels of the extreme value, and one in 1,000 of the others), so that the rest
    has less than 1 / `_OUTLYING` of the range, the rest counts.

    Args:
        values: any shape, finite numbers.

    Returns:
        (low, high), (0, 0) without values.
    """
    if not values.size:
        return 0.0, 0.0
    low, high = float(values.min()), float(values.max())
    inner = values[(values > low) & (values < high)]
    few = inner.size // MAX_BEYOND
    if (
        2 * inner.size < values.size
        or len(np.unique(inner[:: 1 + inner.size // _CHUNK])) < MIN_VALUES
    ):
        return low, high
    ordered = np.partition(inner, sorted({few, inner.size - 1 - few}))
    first, last = float(ordered[few]), float(ordered[inner.size - 1 - few])
    if high - first > _OUTLYING * (last - first):
        high = last
    if high - low > _OUTLYING * (high - first):
        low = first
    return low, high


def _spread(counts: np.ndarray, bits: int) -> bool:
    """Return whether all values are those of `bits` spread over 16, PNG 1.2, 12.5.

    By repeated or scaled bits, or, for more than 8, by zeros below them. Few dark values may be so
    by chance.
    """
    values = np.flatnonzero(counts)
    if len(values) < MIN_VALUES and (len(values) < 3 or values[-1] < 1 << bits):
        return False
    shift, top = 16 - bits, (1 << bits) - 1
    high = values >> shift
    if bits > 8 and (high << shift == values).all():
        return True
    scaled = (high * 65535 + top // 2) // top
    repeated = high << shift | high >> (bits - shift)
    return bool((scaled == values).all() or (repeated == values).all())


def nothing_to_see(image: np.ndarray) -> str:
    """Return why nothing can be seen in an image, "" for an ordinary one.

    The darkest and the brightest 0.5 % of the pixels do not count. Then the image is nearly black
    if all are below 32, nearly white above 223, nearly flat if they span fewer than 16 grey levels;
    and without grey values if 98 % of all pixels are within 8 levels of 0 or of 255. A colour
    image is so only if each of its channels is.

    Args:
        image: (H, W, C) uint8.
    """
    reasons = [_of_channel(image[..., c]) for c in range(image.shape[-1])]
    return reasons[0] if all(reasons) else ""


def _of_channel(grey: np.ndarray) -> str:
    counts = cv2.calcHist([np.ascontiguousarray(grey)], [0], None, [256], [0, 256]).ravel()
    share = np.cumsum(counts, dtype=np.float64) / grey.size
    low = int(np.searchsorted(share, _SHARE, "right"))
    high = int(np.searchsorted(share, 1 - _SHARE))
    if high < _BLACK:
        return f"nearly black: 99.5 % of the pixels are below {high + 1} of 255"
    if low > _WHITE:
        return f"nearly white: 99.5 % of the pixels are above {low - 1} of 255"
    if high - low < _FLAT:
        return f"nearly flat: 99 % of the pixels are from {low} to {high} of 255"
    extremes = counts[: _EXTREME + 1].sum() + counts[-_EXTREME - 1 :].sum()
    if extremes >= _EXTREMES * grey.size:
        return f"no grey values: {extremes / grey.size:.1%} of the pixels are black or white"
    return ""
