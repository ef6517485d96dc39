"""Read projects of the annotation tool VoTT, versions 1 and 2, from their JSON and CSV files."""

import json
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal
from urllib.parse import unquote

from tqdm import tqdm

from dentalzoo.data.formats.base import (
    ImageAnnotation,
    ParsedAnnotations,
    Purpose,
    RawBox,
    images_by_name,
    merge_names,
    nearest_images,
    parse_size,
)
from dentalzoo.data.formats.shapes import finish
from dentalzoo.data.formats.tree import Tree, normal
from dentalzoo.data.formats.vott.exports import export_rows, read_export
from dentalzoo.data.io.images import natural_key

VISITED, TAGGED = 1, 2  # the states of an image in VoTT 2; 0 is not visited

_POLYGON = "POLYGON"  # the type of a region of version 2; all others are boxes
_FAR, _LEAST_FAR = 0.25, 2  # ours: of the longer side, and pixels: points beyond their box
_SNIFFED = 3  # files
_MAX_DIGITS = 9  # ours: of the number of a frame

_Kind = Literal["v1", "asset", "export", "project", ""]
_Json = dict[str, Any]
_Images = dict[str, list[Path]]  # file name -> images


def sniff(tree: Tree) -> str:
    """Name a project, asset or export among the first JSON files."""
    for path in _paths(tree)[:_SNIFFED]:
        try:
            kind = _kind(path, tree.json(path))
        except (OSError, ValueError, RecursionError):
            continue
        if kind:
            return "VoTT JSON (boxes)"
    return "VoTT CSV (boxes)" if any(export_rows(tree, parsed=None)) else ""


def read(tree: Tree, purpose: Purpose) -> ParsedAnnotations:
    """Read VoTT's JSON files anywhere in the tree, or `<folder>.json` beside it.

    Version 1 keeps one file for a folder of images; version 2 a project `*.vott` with an
    `*-asset.json` for each image, and exports `*-export.json` and `*-export.csv`. A CSV file is
    read for images that no JSON file is about.
    """
    entries, _ = tree.entries
    parsed = ParsedAnnotations(images=entries)
    names: list[list[str]] = []
    images = images_by_name(entries)
    projects = [(path, content, kind) for path, content, kind in _projects(tree, parsed) if kind]
    # What the tool saves for each image is newer than an export; a project knows its visits.
    order = ("v1", "asset", "export", "project")
    seen: set[object] = set()
    for path, content, kind in sorted(projects, key=lambda p: order.index(p[2])):
        if kind == "v1":
            tags = [name.strip() for name in str(content.get("inputTags") or "").split(",")]
            _read_v1(tree, parsed, path, content, images)
        else:
            tags = [str(tag.get("name")) for tag in _dicts(content.get("tags"))]
            _read_v2(tree, parsed, path, content, images, seen)
        names.append([name for name in tags if name])
    for export in export_rows(tree, parsed):
        read_export(tree, parsed, export, images)
    parsed.classes = merge_names(names) or None
    return finish(tree, parsed, purpose, None)


def _paths(tree: Tree) -> list[Path]:
    """Return the JSON files of the tree, else `<folder>.json` beside it."""
    paths = tree.notes_of(".json", ".vott")
    beside = tree.root.resolve().with_name(f"{tree.root.resolve().name}.json")
    return [beside] if not paths and beside.is_file() else paths


def _projects(tree: Tree, parsed: ParsedAnnotations) -> Iterator[tuple[Path, Any, _Kind]]:
    """Yield each JSON file with its content and its kind."""
    for path in tqdm(_paths(tree), "reading boxes", leave=False, disable=None):
        try:
            content = tree.json(path)
        except (OSError, ValueError, RecursionError) as error:
            reason = f"must be JSON. Received: {' '.join(str(error).split())[:120]}"
            parsed.refuse(_name(tree, path), reason)
            continue
        yield path, content, _kind(path, content)


def _kind(path: Path, content: Any) -> _Kind:
    if isinstance(content, dict):
        if isinstance(content.get("frames"), dict):
            return "v1"
        if isinstance(content.get("asset"), dict):
            return "asset"
        if isinstance(content.get("assets"), dict):
            return "project" if path.suffix.lower() == ".vott" else "export"
    return ""


def _name(tree: Tree, path: Path) -> str:
    return tree.name(path) if path.is_relative_to(tree.root) else path.name


def _dicts(content: Any) -> list[_Json]:
    return [entry for entry in _list(content) if isinstance(entry, dict)]


def _list(content: Any) -> list[Any]:
    return content if isinstance(content, list) else []


def _numbers(content: Any, keys: Sequence[str]) -> list[float]:
    try:
        return [float(content[key]) for key in keys]
    except (KeyError, TypeError, ValueError, OverflowError):
        shown = json.dumps(content)[:80] if isinstance(content, dict) else repr(content)
        raise ValueError(f"must have the numbers {', '.join(keys)}. Received: {shown}") from None


# ---- version 1 -----------------------------------------------------------------------------------


def _read_v1(
    tree: Tree, parsed: ParsedAnnotations, path: Path, content: _Json, images: _Images
) -> None:
    by_name = content.get("framesByImagesName")  # beside frames by number, in versions between
    frames = by_name if isinstance(by_name, dict) and by_name else content["frames"]
    listed = content.get("visitedFrames")
    visited = [str(key) for key in listed] if isinstance(listed, list) else None
    kinds = {key.isdecimal() for key in (*frames, *(visited or ()))}
    if len(kinds) > 1:  # frames by name and visits by number cannot be matched
        visited = None
    keys = [*frames, *(visited or ())]
    imgs = _numbered(tree, parsed, path, keys, images)
    for key in dict.fromkeys(keys):
        name = f"{_name(tree, path)}: {key}"
        regions = _list(frames.get(key))
        image = imgs.get(key) or images.get(normal(key), [])
        image = nearest_images(image, path.with_suffix(""))
        if regions != (frames.get(key) or []):
            parsed.refuse(name, "must have a list of regions", image)
            continue
        if not regions and visited is not None and key not in visited:
            parsed.refuse(name, "not visited in VoTT", image)
            continue
        annotation = ImageAnnotation(path, name, unit="display")
        for number, region in enumerate(regions, start=1):
            where = f"region {number}"
            annotation.add(where, partial(_region_v1, annotation, region, where))
        parsed.assign(image, annotation)


def _numbered(
    tree: Tree, parsed: ParsedAnnotations, path: Path, keys: list[str], images: _Images
) -> _Images:
    """Return key -> images for frames that are numbered from 0, as old versions have them.

    Frame i is <i + 1>.png where all images have such names, else the i-th image by name.
    """
    short = (key for key in keys if len(key) <= _MAX_DIGITS)
    numbers = [key for key in short if key.isdecimal() and normal(key) not in images]
    if not numbers:
        return {}
    flat = [image for same in images.values() for image in same]
    own = [image for image in flat if image.parent == path.with_suffix("")]
    own = own or [image for image in flat if image.parent == path.parent] or flat
    by_stem = {image.stem: image for image in sorted(own, key=natural_key)}
    counted: dict[str, Path | None] = {key: by_stem.get(str(int(key) + 1)) for key in numbers}
    if not all(counted.values()):
        ordered = sorted(own, key=lambda image: image.name)
        counted = {k: ordered[int(k)] if int(k) < len(ordered) else None for k in numbers}
    first = next((f"frame {key} is {image.name}" for key, image in counted.items() if image), "")
    parsed.repaired.append((_name(tree, path), f"frames are numbered, not named; {first}"))
    return {key: [image] for key, image in counted.items() if image}


def _region_v1(annotation: ImageAnnotation, region: Any, where: str) -> RawBox:
    """Return a region on the window of the first region of its image.

    The size of the window may change from one region to the next.
    """
    if not isinstance(region, dict):
        raise ValueError(f"must be a region. Received: {region!r}")
    keys = ("y1", "x1", "y2", "x2")
    edges = _numbers(region if "x1" in region else region.get("box"), keys)
    size = parse_size(region.get("height"), region.get("width"))
    notes = []
    if size is None:
        raise ValueError("a region must have the width and height of its window")
    height, width = float(region["height"]), float(region["width"])
    if annotation.size is None:
        annotation.size = size
    y, x = annotation.size[0] / height, annotation.size[1] / width
    top, left, bottom, right = edges
    tags = _tags(region)
    if len(tags) > 1:
        notes.append(f"the last of several tags counts, as in VoTT. Received: {', '.join(tags)}")
    return RawBox(
        tags[-1], (top * y, left * x, bottom * y, right * x), where, repaired=tuple(notes)
    )


def _tags(region: _Json) -> list[str]:
    listed = region.get("tags")
    listed = [listed] if isinstance(listed, str) else _list(listed)
    entries = [t.get("name") if isinstance(t, dict) else t for t in listed]
    tags = [str(tag) for tag in entries if isinstance(tag, str | int) and tag]
    if not tags:
        raise ValueError("a region must have a tag")
    return tags


# ---- version 2 -----------------------------------------------------------------------------------


def _read_v2(
    tree: Tree,
    parsed: ParsedAnnotations,
    path: Path,
    content: _Json,
    images: _Images,
    seen: set[object],
) -> None:
    entries = [content] if "asset" in content else content["assets"].values()
    for entry in _dicts(list(entries)):
        asset = entry["asset"] if isinstance(entry.get("asset"), dict) else entry
        key = str(asset.get("id") or asset.get("path") or asset.get("name"))
        if key in seen:
            continue
        seen.add(key)
        name = f"{_name(tree, path)}: {asset.get('name')}"
        regions = _list(entry.get("regions"))
        image = _asset_images(asset, images, path)
        if "regions" not in entry and asset.get("state") == TAGGED:
            parsed.refuse(name, f"tagged, but {key}-asset.json is missing", image)
            continue
        if not regions and asset.get("state") not in (VISITED, TAGGED):
            parsed.refuse(name, "not visited in VoTT", image)
            continue
        size = asset["size"] if isinstance(asset.get("size"), dict) else {}
        sides = parse_size(size.get("height"), size.get("width"))
        annotation = ImageAnnotation(path, name, sides)
        for number, region in enumerate(regions, start=1):
            where = f"region {number}"
            try:
                if not isinstance(region, dict):
                    raise ValueError(f"must be a region. Received: {str(region)[:60]}")
                tags = _tags(region)
            except ValueError as error:
                annotation.invalid.append((where, str(error)))
                continue
            for tag in tags:  # one object for each, as VoTT 2 exports them
                annotation.add(where, partial(_region_v2, region, tag, where))
        parsed.assign(image, annotation)


def _asset_images(asset: _Json, images: _Images, source: Path) -> list[Path]:
    """Return the images of an asset: by its name, else by the file name in its path.

    The folders in the path may be those of another machine.
    """
    end = str(asset.get("path") or "").replace("\\", "/").rsplit("/", 1)[-1]
    for name in (str(asset.get("name") or ""), end):
        for text in (name, unquote(name)):
            if same := images.get(normal(text)):
                return nearest_images(same, source)
    return []


def _region_v2(region: _Json, tag: str, where: str) -> RawBox:
    box = region.get("boundingBox")
    pairs = [_numbers(point, ("x", "y")) for point in _list(region.get("points"))]
    outline = None
    if region.get("type") == _POLYGON:
        if len(pairs) < 3:
            raise ValueError(f"a polygon must have three points or more. Received: {len(pairs)}")
        outline = [[value for pair in pairs for value in pair]]
    extent = None
    if pairs:
        xs, ys = zip(*pairs, strict=True)
        extent = (min(ys), min(xs), max(ys), max(xs))
    if isinstance(box, dict):
        top, left, height, width = _numbers(box, ("top", "left", "height", "width"))
        edges = (top, left, top + height, left + width)
        room = max(_FAR * max(abs(height), abs(width)), _LEAST_FAR)
        apart = extent and max(abs(a - b) for a, b in zip(edges, extent, strict=True)) > room
        notes = ("its points lie beyond its boundingBox, which counts",) if apart else ()
        return RawBox(tag, edges, where, repaired=notes, outline=outline)
    if extent is None:
        raise ValueError("a region must have a boundingBox or points")
    return RawBox(tag, extent, where, outline=outline)
