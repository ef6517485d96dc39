"""Write COCO data sets as CVAT and FiftyOne open them.

`out`/
    annotations/instances_train.json    of each split; instances_default.json without splits
    images/train/x.png                  named by `file_name` without folders
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from dentalzoo.data.formats.base import Box, BoxSample, Place, RunLengths, check_class_list
from dentalzoo.data.formats.rules import image_size
from dentalzoo.data.formats.tree import SPLITS
from dentalzoo.errors import DentalzooError

NAME = "COCO"


def write(samples: Sequence[BoxSample], out: Path, classes: Sequence[str], place: Place) -> Path:
    """Write images and an annotation file for each split, with ids from 1.

    Polygons are written as they are, pixels as compressed run lengths, confidences as `score`. The
    ids of images and annotations count through all files.

    Returns:
        The annotation file, or the folder of several.

    Raises:
        DentalzooError: some images have a split and others none.
    """
    names = check_class_list(classes)
    ids = {name: number for number, name in enumerate(names, start=1)}
    categories = [{"id": i, "name": n, "supercategory": ""} for n, i in ids.items()]
    (out / "annotations").mkdir()

    def place_in(sample: BoxSample) -> Path:
        return place(sample, out / "images" / (sample.split or "default"))

    paths = []
    for split, entries in entries_by_split(
        NAME, samples, place_in, lambda label: {"category_id": ids[label]}
    ):
        path = out / "annotations" / f"instances_{split or 'default'}.json"
        write_file(path, {"categories": categories, **entries})
        paths.append(path)
    return paths[0] if len(paths) == 1 else out / "annotations"


def entries_by_split(
    name: str,
    samples: Sequence[BoxSample],
    place: Callable[[BoxSample], Path],
    category_of: Callable[[str], dict[str, int]],
) -> Iterator[tuple[str, dict[str, list[dict[str, Any]]]]]:
    """Yield each split, or "", with its "images" and "annotations"; images are placed.

    Args:
        name: of the format, for messages.
        samples: to write.
        place: puts the image of a sample where it belongs, and returns its path.
        category_of: returns what an annotation says of a class.

    Raises:
        DentalzooError: some images have a split and others none.
    """
    count = Counter(sample.split for sample in samples)
    if count[""] and len(count) > 1:
        raise DentalzooError(
            f"{name} data must have a split for every image or for none. "
            f"Received: {count['']} of {len(samples)} images without one"
        )
    number = objects = 0
    for split in [s for s in (*SPLITS, "") if count[s]]:
        entries: dict[str, list[dict[str, Any]]] = {"images": [], "annotations": []}
        for sample in samples:
            if sample.split != split:
                continue
            number += 1
            image = place(sample)
            size = image_size(image)[0]
            entries["images"].append(
                {"id": number, "file_name": image.name, "height": size[0], "width": size[1]}
            )
            for box in sample.boxes:
                objects += 1
                about = {"id": objects, "image_id": number, **category_of(box.label)}
                entries["annotations"].append({**about, **_object(box, size)})
        yield split, entries


def write_file(path: Path, content: dict[str, Any]) -> None:
    """Write the content of an annotation file, with COCO's other keys."""
    content = {"info": {"description": "written by dentalzoo"}, "licenses": [], **content}
    with path.open("w", encoding="utf-8") as stream:
        start = "{"
        for key, value in content.items():
            stream.write(f"{start}{json.dumps(key, ensure_ascii=False)}: ")
            if isinstance(value, list):  # in pieces: as one text they take twice the memory
                for index, item in enumerate(value):
                    text = json.dumps(item, ensure_ascii=False)
                    stream.write(f"{', ' if index else '['}{text}")
                stream.write("]" if value else "[]")
            else:
                stream.write(json.dumps(value, ensure_ascii=False))
            start = ", "
        stream.write("}")


def _object(box: Box, size: tuple[int, int]) -> dict[str, Any]:
    height, width = size
    left, top = box.left * width, box.top * height
    wide, tall = box.right * width - left, box.bottom * height - top
    segmentation, area = _outline(box, wide * tall)
    entry = {
        "bbox": [left, top, wide, tall],
        "area": area,
        "iscrowd": int(box.crowd),
        "segmentation": segmentation,
    }
    return entry if box.score is None else {**entry, "score": box.score}


def _outline(box: Box, area: float) -> tuple[Any, float]:
    """Return the COCO segmentation of an object and its area; `area` of a box alone."""
    if box.outline is None:
        return [], area
    if isinstance(box.outline, RunLengths):
        runs = box.outline
        counts = compress(runs.counts)
        return {"size": [runs.height, runs.width], "counts": counts}, sum(runs.counts[1::2])
    return [list(p) for p in box.outline], sum(abs(_area(p)) for p in box.outline)


def _area(polygon: Sequence[float]) -> float:
    xs, ys = polygon[::2], polygon[1::2]
    corners = enumerate(zip(xs, ys, strict=True))
    return 0.5 * sum(x * ys[i - 1] - xs[i - 1] * y for i, (x, y) in corners)


def compress(counts: Sequence[int]) -> str:
    """Return run lengths as COCO's compressed string.

    5 bits a character, lowest first, and from the fourth on the difference to the count two before.
    """
    text = []
    for i, count in enumerate(counts):
        value = count - counts[i - 2] if i > 2 else count
        more = True
        while more:
            bits = value & 31
            value >>= 5
            more = value != (-1 if bits & 16 else 0)
            text.append(chr(48 + (bits | 32 if more else bits)))
    return "".join(text)
