"""Boxes that are suspicious: what most boxes of a data set have in common."""

from collections import Counter
from collections.abc import Sequence

from dentalzoo.data.formats.base import Box

# Ours. Of 6,383 boxes on radiographs 0.4 % have one size and 0.2 % one place, and no shorter side
# is above 0.13 of the image.
_MOST = 0.9
_WHOLE = 0.95  # of a side
_LEAST = 20  # boxes


def suspicious_boxes(boxes: Sequence[Sequence[Box]]) -> list[str]:
    """Return a phrase for each thing that is suspicious about the boxes of a data set.

    Args:
        boxes: of each image.

    Returns:
        Phrases with counts: no box at all; of 20 boxes or more, nearly all of one size, in one
        place or around the whole image. Empty for nothing.
    """
    every = [box for image in boxes for box in image]
    if boxes and not every:
        return [f"no image has a box: all {len(boxes)} are empty"]
    if len(every) < _LEAST:
        return []
    sizes = Counter(
        (round(box.bottom - box.top, 3), round(box.right - box.left, 3)) for box in every
    )
    places = Counter(
        (round(box.bottom + box.top, 2), round(box.right + box.left, 2)) for box in every
    )
    whole = sum(min(box.bottom - box.top, box.right - box.left) > _WHOLE for box in every)
    counts = {
        "have one size": sizes.most_common(1)[0][1],
        "lie in one place": places.most_common(1)[0][1],
        "cover the whole image": whole,
    }
    return [
        f"{count} of {len(every)} boxes {what}"
        for what, count in counts.items()
        if count > _MOST * len(every)
    ]
