"""Write projects of the annotation tool VoTT, versions 1 and 2, from data sets or predictions."""

import colorsys
import hashlib
import json
import logging
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote

from dentalzoo.atomic import write_atomically
from dentalzoo.data.formats.base import Box, BoxSample, check_class_list
from dentalzoo.data.formats.rules import image_size
from dentalzoo.data.formats.vott.reader import TAGGED, VISITED
from dentalzoo.errors import DentalzooError
from dentalzoo.output_dirs import final_path

_log = logging.getLogger("dentalzoo")

_VERSION = "2.2.0"  # of the tool, the newest release
_IMAGE = 1  # a kind of asset; 2 is a video

_Json = dict[str, Any]


def write_vott_v1(path: str | Path, samples: Iterable[BoxSample], classes: Sequence[str]) -> Path:
    """Write the project of a folder of images, for VoTT 1.5 to 1.7.

    The tool finds it as `<folder>.json` beside the folder that it opens.

    Args:
        path: the file.
        samples: images with their boxes, annotated or predicted; crowds are left out.
        classes: the tags, in the order of their ids.

    Raises:
        BadFile: an image cannot be opened.
        DentalzooError: two images have one name, a class holds a comma, the class of a box is not
            in `classes`, or the file cannot be written.
    """
    classes = check_class_list(classes)
    if any("," in name for name in classes):
        raise DentalzooError(f"the tags of VoTT 1 must not hold a comma. Received: {classes}")
    names: dict[str, None] = {}

    def write(file: BinaryIO) -> None:  # frame by frame, so that their regions take no memory
        separator = '{"frames": {'
        for name, regions in _frames_v1(samples, classes, names):
            text = json.dumps({name: regions}, ensure_ascii=False)[1:-1]
            file.write(f"{separator}{text}".encode())
            separator = ", "
        content = {
            "framerate": "1",
            "inputTags": ",".join(classes),
            "suggestiontype": "track",
            "scd": False,
            "visitedFrames": [*names],
            "tag_colors": _colours(len(classes)),
        }
        start = "}, " if names else separator + "}, "
        file.write(f"{start}{json.dumps(content, ensure_ascii=False)[1:]}".encode())

    write_atomically(path, write)
    return Path(path)


def _frames_v1(
    samples: Iterable[BoxSample], classes: Sequence[str], names: dict[str, None]
) -> Iterator[tuple[str, list[_Json]]]:
    """Yield the name of each image, which `names` gets too, and its regions."""
    number = 0
    for sample in samples:
        name = sample.image.name
        if name in names:
            raise DentalzooError(
                f"VoTT 1 must have images of different names. Received: {name!r} twice"
            )
        names[name] = None
        regions: list[_Json] = []
        for box, (height, width), (top, left, bottom, right) in _pixel_boxes(sample, classes):
            corners = {"x1": left, "y1": top, "x2": right, "y2": bottom}
            region = {
                **corners,
                "width": width,
                "height": height,
                "box": corners,
                "points": _points(top, left, bottom, right),
                "UID": _id(f"{name} {number}")[:8],
                "id": number,
                "type": "rect",
                "tags": [box.label],
                "name": len(regions) + 1,
            }
            regions.append(region)
            number += 1
        yield name, regions


def write_vott_v2(
    folder: str | Path, samples: Iterable[BoxSample], classes: Sequence[str], name: str
) -> Path:
    """Write a project that VoTT 2 opens: `<name>.vott` and one `<id>-asset.json` for each image.

    The tool identifies an image by its absolute path: the images must stay where they are. Inside
    of `output_dirs.whole_folder` the paths are those at the end.

    Args:
        folder: of the project, on the machine that opens it; the images may lie in another folder.
        samples: images with their boxes, annotated or predicted; crowds are left out.
        classes: the tags, in the order of their ids.
        name: of the project.

    Returns:
        The file of the project.

    Raises:
        BadFile: an image cannot be opened.
        DentalzooError: there is no image, the class of a box is not in `classes`, or a file cannot
            be written.
    """
    folder, classes = Path(folder).resolve(), check_class_list(classes)
    assets: dict[str, _Json] = {}
    images: Path | None = None
    for sample in samples:
        image = final_path(sample.image.parent.resolve()) / sample.image.name
        images = images or image.parent
        path = "file:" + quote(str(image), safe="/~!@$&*()=:,;+'")
        size, _ = image_size(sample.image)
        regions = [
            {
                "id": _id(f"{path} {number}")[:9],
                "type": "POLYGON" if isinstance(box.outline, tuple) else "RECTANGLE",
                "tags": [box.label],
                "boundingBox": {
                    "left": left,
                    "top": top,
                    "width": right - left,
                    "height": bottom - top,
                },
                "points": _polygon(box) or _points(top, left, bottom, right),
            }
            for number, (box, _, (top, left, bottom, right)) in enumerate(
                _pixel_boxes(sample, classes)
            )
        ]
        asset: _Json = {
            "format": image.suffix[1:],
            "id": _id(path),
            "name": image.name,
            "path": path,
            "size": {"width": size[1], "height": size[0]},
            "state": TAGGED if regions else VISITED,
            "type": _IMAGE,
        }
        assets[asset["id"]] = asset
        content = {"asset": asset, "regions": regions, "version": _VERSION}
        _write(folder / f"{asset['id']}-asset.json", content)
    if images is None:
        raise DentalzooError("a project must have at least one image. Received: none")
    colours = _colours(len(classes))
    place = final_path(folder)
    project: _Json = {
        "name": name,
        "id": _id(f"{place} {name}")[:9],
        "version": _VERSION,
        "securityToken": f"{name} Token",
        "description": "written by dentalzoo",
        "tags": [{"name": n, "color": c} for n, c in zip(classes, colours, strict=True)],
        "sourceConnection": _connection(f"{name} images", images),
        "targetConnection": _connection(f"{name} project", place),
        "exportFormat": None,
        "videoSettings": {"frameExtractionRate": 15},
        "activeLearningSettings": {
            "autoDetect": False,
            "predictTag": True,
            "modelPathType": "coco",
        },
        "autoSave": True,
        "assets": assets,
    }
    _write(folder / f"{name}.vott", project)
    return folder / f"{name}.vott"


def _pixel_boxes(
    sample: BoxSample, classes: Sequence[str]
) -> Iterator[tuple[Box, tuple[int, int], tuple[float, float, float, float]]]:
    """Yield each box with the (height, width) of its image and its edges in pixels."""
    height, width = image_size(sample.image)[0]
    for box in sample.boxes:
        if box.label not in classes:
            raise DentalzooError(
                f"{sample.name}: the class of a box must be one of {tuple(classes)}. "
                f"Received: {box.label!r}"
            )
        if box.crowd:
            _log.info("%s: a crowd is left out; VoTT has no crowds", sample.name)
            continue
        edges = box.top * height, box.left * width, box.bottom * height, box.right * width
        yield box, (height, width), edges


def _points(top: float, left: float, bottom: float, right: float) -> list[dict[str, float]]:
    corners = ((left, top), (right, top), (right, bottom), (left, bottom))
    return [{"x": x, "y": y} for x, y in corners]


def _polygon(box: Box) -> list[dict[str, float]]:
    """Return the points of a polygon, the first one where there are several; [] for none."""
    if not isinstance(box.outline, tuple):
        return []
    polygon = box.outline[0]
    return [{"x": x, "y": y} for x, y in zip(polygon[::2], polygon[1::2], strict=True)]


def _id(text: str) -> str:
    """Return an id as VoTT makes it: that of an image is the MD5 of its path."""
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def _colours(count: int) -> list[str]:
    hues = ((0.61803 * i) % 1 for i in range(count))
    rgb = (colorsys.hsv_to_rgb(hue, 0.75, 0.9) for hue in hues)
    return ["#" + "".join(f"{round(255 * c):02x}" for c in colour) for colour in rgb]


def _connection(name: str, folder: Path) -> _Json:
    return {
        "name": name,
        "id": _id(f"{name} {folder}")[:9],
        "providerType": "localFileSystemProxy",
        "providerOptions": {"folderPath": str(folder)},
    }


def _write(path: Path, content: _Json) -> None:
    write_atomically(path, json.dumps(content, indent=4, ensure_ascii=False), durable=False)
