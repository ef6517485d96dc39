"""Reads the boxes of projects of the annotation tool VoTT, versions 1 and 2, from their JSON."""

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from urllib.parse import unquote

from tqdm import tqdm

from dentalzoo.data.formats.annotations import (
    Drawing,
    DrawnBox,
    Found,
    merged,
    nearest,
    told_size,
)
from dentalzoo.data.formats.image_files import FileEntry
from dentalzoo.data.formats.tree import Tree, normal
from dentalzoo.data.io.images import natural_key

VISITED, TAGGED = 1, 2  # the states of an image in VoTT 2; 0 is not visited


def read_vott(tree: Tree, files: list[FileEntry]) -> Found:
    """The boxes of VoTT's JSON files anywhere in the tree, or of `<folder>.json` beside it.

    Version 1 keeps one file for a folder of images; version 2 a project `*.vott` with an
    `*-asset.json` for each image, and exports `*-export.json`.
    """
    found, names = Found(), []
    images = {}
    for file in files:
        images.setdefault(normal(file.image.name), []).append(file.image)
    projects = [(path, content, kind) for path, content, kind in _projects(tree, found) if kind]
    # What the tool saves for each image is newer than an export; a project knows its visits.
    order = ("v1", "asset", "export", "project")
    seen = set()
    for path, content, kind in sorted(projects, key=lambda p: order.index(p[2])):
        if kind == "v1":
            told = [name.strip() for name in str(content.get("inputTags") or "").split(",")]
            _read_v1(tree, found, path, content, images)
        else:
            told = [str(tag.get("name")) for tag in _dicts(content.get("tags"))]
            _read_v2(tree, found, path, content, images, seen)
        names.append(name for name in told if name)
    found.names = merged(names) or None
    return found


def _projects(tree: Tree, found: Found):
    """(path, content, "v1", "asset", "export", "project" or "") of the JSON files."""
    paths = [path for path in tree.notes if path.suffix.lower() in (".json", ".vott")]
    beside = tree.root.resolve().with_name(f"{tree.root.resolve().name}.json")
    if not paths and beside.is_file():
        paths = [beside]
    for path in tqdm(paths, "reading boxes", leave=False, disable=None):
        try:
            content = json.loads(path.read_bytes())
        except (OSError, ValueError, RecursionError) as error:
            reason = f"expected JSON. Received: {' '.join(str(error).split())[:120]}"
            found.refuse(_name(tree, path), reason)
            continue
        kind = ""
        if isinstance(content, dict):
            if isinstance(content.get("frames"), dict):
                kind = "v1"
            elif isinstance(content.get("asset"), dict):
                kind = "asset"
            elif isinstance(content.get("assets"), dict):
                kind = "project" if path.suffix.lower() == ".vott" else "export"
        yield path, content, kind


def _name(tree: Tree, path: Path) -> str:
    return tree.name(path) if path.is_relative_to(tree.root) else path.name


def _dicts(content) -> list[dict]:
    return [entry for entry in content or () if isinstance(entry, dict)] if content else []


def _numbers(content, keys: Sequence[str]) -> list[float]:
    try:
        return [float(content[key]) for key in keys]
    except (KeyError, TypeError, ValueError):
        shown = json.dumps(content)[:80] if isinstance(content, dict) else repr(content)
        raise ValueError(f"expected the numbers {', '.join(keys)}. Received: {shown}") from None


# ---- version 1 -----------------------------------------------------------------------------------


def _read_v1(tree: Tree, found: Found, path: Path, content: dict, images: dict) -> None:
    by_name = content.get("framesByImagesName")  # beside frames by number, in versions between
    frames = by_name if isinstance(by_name, dict) and by_name else content["frames"]
    visited = content.get("visitedFrames")
    visited = [str(key) for key in visited] if isinstance(visited, list) else None
    kinds = {key.isdecimal() for key in (*frames, *(visited or ()))}
    if len(kinds) > 1:  # the visits are numbers and the frames names: nothing to learn from them
        visited = None
    keys = [*frames, *(visited or ())]
    imgs = _numbered(tree, found, path, keys, images)
    for key in dict.fromkeys(keys):
        name = f"{_name(tree, path)}: {key}"
        regions = frames.get(key) or []
        image = imgs.get(key) or images.get(normal(key), [])
        image = nearest(image, path.with_suffix("")) if image else []
        if not regions and visited is not None and key not in visited:
            found.refuse(name, "not visited in VoTT", image)
            continue
        drawing = Drawing(path, name, unit="display")
        for number, region in enumerate(regions, start=1):
            where = f"region {number}"
            drawing.add(where, partial(_region_v1, drawing, region, where))
        found.place(image, drawing)


def _numbered(tree: Tree, found: Found, path: Path, keys: list[str], images: dict) -> dict:
    """key -> images for frames that are numbered from 0, as old versions have them: <i + 1>.png
    where all images are called so, else in the order of the names."""
    numbers = [key for key in keys if key.isdecimal() and normal(key) not in images]
    if not numbers:
        return {}
    flat = [image for same in images.values() for image in same]
    own = [image for image in flat if image.parent == path.with_suffix("")]
    own = own or [image for image in flat if image.parent == path.parent] or flat
    by_stem = {image.stem: image for image in sorted(own, key=natural_key)}
    counted = {key: by_stem.get(str(int(key) + 1)) for key in numbers}
    if not all(counted.values()):
        ordered = sorted(own, key=lambda image: image.name)
        counted = {k: ordered[int(k)] if int(k) < len(ordered) else None for k in numbers}
    first = next((f"frame {key} is {image.name}" for key, image in counted.items() if image), "")
    found.repaired.append((_name(tree, path), f"frames are numbered, not named; {first}"))
    return {key: [image] for key, image in counted.items() if image}


def _region_v1(drawing: Drawing, region, where: str) -> DrawnBox:
    """A region, with its corners on the window that the first region of the image was drawn
    on: windows change their size from one region to the next."""
    if not isinstance(region, dict):
        raise ValueError(f"expected a region. Received: {region!r}")
    keys = ("y1", "x1", "y2", "x2")
    edges = _numbers(region if "x1" in region else region.get("box"), keys)
    size = told_size(region.get("height"), region.get("width"))
    notes = []
    if size is None:
        raise ValueError("a region without the width and height of its window. Received: none")
    height, width = float(region["height"]), float(region["width"])
    if drawing.size is None:
        drawing.size = size
    scales = (drawing.size[0] / height, drawing.size[1] / width)
    edges = [edge * scale for edge, scale in zip(edges, scales * 2, strict=True)]
    tags = _tags(region)
    if len(tags) > 1:
        notes.append(f"the last of several tags counts, as in VoTT. Received: {', '.join(tags)}")
    return DrawnBox(tags[-1], tuple(edges), where, repaired=tuple(notes))


def _tags(region: dict) -> list[str]:
    tags = region.get("tags")
    tags = [t.get("name") if isinstance(t, dict) else t for t in tags or ()]
    tags = [str(tag) for tag in tags if tag]
    if not tags:
        raise ValueError("a region without a tag")
    return tags


# ---- version 2 -----------------------------------------------------------------------------------


def _read_v2(tree: Tree, found: Found, path: Path, content: dict, images: dict, seen: set) -> None:
    entries = [content] if "asset" in content else content["assets"].values()
    for entry in _dicts(list(entries)):
        asset = entry["asset"] if isinstance(entry.get("asset"), dict) else entry
        key = asset.get("id") or asset.get("path") or asset.get("name")
        if key in seen:
            continue
        seen.add(key)
        name = f"{_name(tree, path)}: {asset.get('name')}"
        regions = _dicts(entry.get("regions"))
        image = _asset_images(asset, images, path)
        if "regions" not in entry and asset.get("state") == TAGGED:
            found.refuse(name, f"tagged, but {key}-asset.json is missing", image)
            continue
        if not regions and asset.get("state") not in (VISITED, TAGGED):
            found.refuse(name, "not visited in VoTT", image)
            continue
        size = asset.get("size") if isinstance(asset.get("size"), dict) else {}
        drawing = Drawing(path, name, told_size(size.get("height"), size.get("width")))
        for number, region in enumerate(regions, start=1):
            where = f"region {number}"
            try:
                tags = _tags(region)
            except ValueError as error:
                drawing.bad.append((where, str(error)))
                continue
            for tag in tags:  # one object for each, as VoTT 2 exports them
                drawing.add(where, partial(_region_v2, region, tag, where))
        found.place(image, drawing)


def _asset_images(asset: dict, images: dict, source: Path) -> list[Path]:
    """By its name; its path is that of another machine, but for the name at the end."""
    end = str(asset.get("path") or "").replace("\\", "/").rsplit("/", 1)[-1]
    for name in (str(asset.get("name") or ""), end):
        for text in (name, unquote(name)):
            if found := images.get(normal(text)):
                return nearest(found, source)
    return []


def _region_v2(region: dict, tag: str, where: str) -> DrawnBox:
    box = region.get("boundingBox")
    if isinstance(box, dict):
        top, left, height, width = _numbers(box, ("top", "left", "height", "width"))
        return DrawnBox(tag, (top, left, top + height, left + width), where)
    points = [_numbers(point, ("y", "x")) for point in region.get("points") or ()]
    if not points:
        raise ValueError("a region without boundingBox and points")
    ys, xs = zip(*points, strict=True)
    return DrawnBox(tag, (min(ys), min(xs), max(ys), max(xs)), where)
