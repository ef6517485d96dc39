"""Label Studio projects: tasks with annotations or predictions, and the labeling configuration."""

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree

from dentalzoo.data.formats.base import Box, BoxSample, Place, RunLengths, check_class_list
from dentalzoo.data.formats.label_studio import brush
from dentalzoo.data.formats.label_studio.regions import PART_OF
from dentalzoo.data.formats.outlines import run_lengths
from dentalzoo.data.formats.rules import image_size
from dentalzoo.data.formats.shapes import Size, pairs
from dentalzoo.data.formats.tree import Tree
from dentalzoo.data.formats.voc import parse_xml
from dentalzoo.errors import BadFile

MODEL = "dentalzoo"  # model_version of predictions

_TASKS, _CONFIG, _IMAGES = "tasks.json", "config.xml", "images"
_TAGS = {"box": "RectangleLabels", "polygon": "PolygonLabels", "brush": "BrushLabels"}
_MAX_CONFIG = 1 << 20  # ours: bytes of a labeling configuration


# ---- the labeling configuration ------------------------------------------------------------------


def class_list(tree: Tree) -> list[str] | None:
    """Return the labels of the labeling configurations in order; None where there is none."""
    names: dict[str, None] = {}
    for path in tree.notes_of(".xml"):
        try:
            if path.stat().st_size > _MAX_CONFIG or b"<View" not in path.read_bytes():
                continue
            root, _ = parse_xml(path)
        except (OSError, BadFile):
            continue
        if root.tag == "View":
            tree.use(path)
            for tag in root.iter():
                if tag.tag.lower().endswith("labels"):
                    values = (label.get("value", "").strip() for label in tag.iter("Label"))
                    names.update(dict.fromkeys(value for value in values if value))
    return list(names) or None


def _config(classes: Sequence[str]) -> bytes:
    view = ElementTree.Element("View")
    ElementTree.SubElement(view, "Image", name="image", value="$image", zoom="true")
    for name, tag in _TAGS.items():
        control = ElementTree.SubElement(view, tag, name=name, toName="image")
        for label in classes:
            ElementTree.SubElement(control, "Label", value=label)
    relations = ElementTree.SubElement(view, "Relations")
    ElementTree.SubElement(relations, "Relation", value=PART_OF)
    ElementTree.indent(view)
    content: bytes = ElementTree.tostring(view, encoding="utf-8")
    return content + b"\n"


# ---- tasks ---------------------------------------------------------------------------------------


def write_project(
    samples: Sequence[BoxSample], out: Path, classes: Sequence[str], place: Place
) -> Path:
    """Write a project; `dentalzoo.data.formats.label_studio.write` describes it."""
    names = check_class_list(classes)
    predicted = any(box.score is not None for sample in samples for box in sample.boxes)
    (out / _CONFIG).write_bytes(_config(names))
    path, separator = out / _TASKS, "["
    with path.open("w", encoding="utf-8") as stream:
        for task in _tasks(samples, out, place, predicted):  # one by one: they take much memory
            text = json.dumps(task, ensure_ascii=False, indent=1).replace("\n", "\n ")
            stream.write(f"{separator}\n {text}")
            separator = ","
        stream.write("[]" if separator == "[" else "\n]")
    return path


def _tasks(
    samples: Iterable[BoxSample], out: Path, place: Place, predicted: bool
) -> Iterator[dict[str, Any]]:
    for number, sample in enumerate(samples, start=1):
        image = place(sample, out / _IMAGES)
        data = {"image": f"/data/local-files/?d={quote(image.relative_to(out).as_posix())}"}
        if sample.split:
            data["split"] = sample.split
        size, _ = image_size(image)
        result = regions_of(sample.boxes, number, size)
        task: dict[str, Any] = {"id": number, "data": data, "annotations": [], "predictions": []}
        if predicted:
            scores = [float(box.score) for box in sample.boxes if box.score is not None]
            score = sum(scores) / len(scores) if scores else 0.0
            task["predictions"].append({"model_version": MODEL, "score": score, "result": result})
        else:
            task["annotations"].append({"result": result, "was_cancelled": False})
        yield task


def regions_of(boxes: Iterable[Box], task: int, size: Size) -> list[dict[str, Any]]:
    """Return objects as the regions and relations of a Label Studio result.

    Args:
        boxes: the objects of an image.
        task: a number, from which their ids are made.
        size: height and width of the image in pixels.
    """
    result: list[dict[str, Any]] = []
    relations: list[dict[str, Any]] = []
    for number, box in enumerate(boxes, start=1):
        own = f"t{task}r{number}"
        for part, (kind, value) in enumerate(_values(box, size)):
            key = f"{own}p{part}" if part else own
            labels = _TAGS[kind].lower()
            item: dict[str, Any] = {
                "id": key,
                "type": labels,
                "from_name": kind,
                "to_name": "image",
                "original_width": size[1],
                "original_height": size[0],
                "image_rotation": 0,
                "value": value | {labels: [box.label]},
            }
            if box.score is not None:
                item["score"] = float(box.score)
            result.append(item)
            if part:
                ends = {"from_id": key, "to_id": own, "direction": "right"}
                relations.append({"type": "relation", **ends, "labels": [PART_OF]})
    return result + relations


def _values(box: Box, size: Size) -> list[tuple[str, dict[str, Any]]]:
    """Return the kind and the value of each region of an object."""
    height, width = size
    if isinstance(box.outline, RunLengths):
        lengths = {"size": [height, width], "counts": list(box.outline.counts)}
        rle = brush.encode(run_lengths(lengths, height, width))
        return [("brush", {"format": "rle", "rle": rle})]
    if box.outline:
        corners = [
            [[x * 100 / width, y * 100 / height] for x, y in pairs(polygon)]
            for polygon in box.outline
        ]
        return [("polygon", {"points": one, "closed": True}) for one in corners]
    value = {
        "x": float(box.left) * 100,
        "y": float(box.top) * 100,
        "width": float(box.right - box.left) * 100,
        "height": float(box.bottom - box.top) * 100,
        "rotation": 0,
    }
    return [("box", value)]
