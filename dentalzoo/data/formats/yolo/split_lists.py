"""Splits of YOLO data: the folders and lists that data.yaml or obj.data name, or train.txt.

Paths in lists are often those of another machine. A line means the image whose path ends like it:
the one that shares most of its last parts.
"""

import logging
import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dentalzoo.data.formats.label_maps import read_text
from dentalzoo.data.formats.tree import SPLITS, Tree, normal, split_word
from dentalzoo.data.formats.yolo.names import Description
from dentalzoo.data.io.images import IMAGE_SUFFIXES

_log = logging.getLogger("dentalzoo")

_PRECEDENCE = ("test", "val", "train")  # of an image in several lists: never train on a test image


@dataclass
class Splits:
    """What lists say.

    Attributes:
        of: image -> split.
        source: the files that say so; "" where none does, and `of` is empty.
        named: the splits that they name.
        lists: all lists of images that were found, which are not labels.
    """

    of: dict[Path, str] = field(default_factory=dict)
    source: str = ""
    named: set[str] = field(default_factory=set)
    lists: set[Path] = field(default_factory=set)


def read_split_lists(
    tree: Tree, images: Sequence[Path], descriptions: Sequence[Description], labels: set[Path]
) -> Splits:
    """Return the splits of `images`.

    A description counts before lists that lie about, and each of several exports that lie side by
    side in folders of their own; without one, the texts named after splits
    count (train.txt, val.txt, 2007_test.txt). One list alone, and training images that are the
    validation images, are no split.

    Args:
        tree: the data folder.
        images: of the data set.
        descriptions: of data.yaml and obj.data, the most important first.
        labels: texts that are labels of images.
    """
    finder, splits = _Finder(tree, images), Splits()
    lying = [
        path
        for path in tree.notes_of(".txt")
        if split_word(path.stem) and path not in labels and finder.is_list(path)
    ]
    splits.lists.update(lying)
    every: dict[str, set[Path]] = {}
    used: list[Description] = []
    others: list[str] = []
    for one in [one for one in descriptions if one.splits]:
        if any(_overlap(one.path.parent, other.path.parent) for other in used):
            others.append(tree.name(one.path))
            continue
        named: dict[str, set[Path]] = {}
        for split, texts in one.splits.items():
            for text in texts:
                there = finder.look_up(one, text, splits.lists)
                if there is None:
                    _log.warning("%s: %s: %s is not there", tree.name(one.path), split, text[:100])
                named.setdefault(split, set()).update(there or ())
        if any(named.values()):
            used.append(one)
            for split, found in named.items():
                every.setdefault(split, set()).update(found)
    if used:
        source = ", ".join(tree.name(one.path) for one in used)
        if others:
            _log.info("splits of %s; not of %s", source, ", ".join(others))
        tree.use(*(one.path for one in used))
        return _settle(tree, splits, every, source, len(images))
    named = {}
    for path in lying:
        named.setdefault(split_word(path.stem), set()).update(finder.read(path))
    return _settle(tree, splits, named, ", ".join(map(tree.name, lying)), len(images))


def _overlap(one: Path, other: Path) -> bool:
    """Return whether one folder is the other or lies in it: exports side by side do not."""
    return one == other or one in other.parents or other in one.parents


def _settle(
    tree: Tree, splits: Splits, named: dict[str, set[Path]], source: str, total: int
) -> Splits:
    named = {split: images for split, images in named.items() if images}
    if named.get("train") and named.get("train") == named.get("val"):
        _log.warning("%s: train and val are the same images, and taken for no split", source)
        if "test" not in named:
            return splits
        named = {"train": named["train"], "test": named["test"]}
    if len(named) == 1 and "train" in named and len(named["train"]) == total:
        return splits  # all images, as CVAT lists them
    twice = 0
    for split in reversed([s for s in _PRECEDENCE if s in SPLITS]):
        twice += len(named.get(split, set()) & splits.of.keys())
        splits.of.update(dict.fromkeys(named.get(split, ()), split))
    if twice:
        _log.warning(
            "%s: %d images are in several splits; test counts before val before train",
            source,
            twice,
        )
    splits.source, splits.named = (source, {*named}) if splits.of else ("", set())
    tree.use(*splits.lists)
    return splits


class _Finder:
    """Finds the images that a path in a list may mean."""

    def __init__(self, tree: Tree, images: Sequence[Path]):
        self._tree, self._images = tree, images
        self._by_name: dict[str, list[Path]] = defaultdict(list)
        for image in images:
            self._by_name[normal(image.name).casefold()].append(image)
        self._by_stem: dict[str, list[Path]] = defaultdict(list)
        for image in images:
            self._by_stem[normal(image.stem).casefold()].append(image)
        self._read: dict[Path, list[Path]] = {}

    def is_list(self, path: Path) -> bool:
        """Return whether the first lines of a text are paths of images, or names without suffix."""
        try:
            lines = [line.strip() for line in read_text(path).splitlines()[:20]]
        except (OSError, ValueError):
            return False
        lines = [line for line in lines if line]
        paths = all(Path(line).suffix.lower() in IMAGE_SUFFIXES for line in lines)
        return bool(lines) and (paths or all(map(self._candidates, lines)))

    def read(self, path: Path) -> list[Path]:
        """Return the images of a list; lines without an image are counted in the log."""
        if path not in self._read:
            try:
                lines = [line.strip() for line in read_text(path).splitlines() if line.strip()]
            except (OSError, ValueError) as error:
                _log.warning("%s: cannot be read: %s", self._tree.name(path), error)
                lines = []
            found = [(line, self._image(line)) for line in lines]
            lost = [line for line, image in found if image is None]
            if lost:
                _log.warning(
                    "%s: %d of %d lines name no image, or several; the first: %s",
                    self._tree.name(path),
                    len(lost),
                    len(lines),
                    lost[0][:100],
                )
            self._read[path] = [image for _, image in found if image is not None]
        return self._read[path]

    def look_up(self, description: Description, text: str, lists: set[Path]) -> list[Path] | None:
        """Return the images of a folder, a list or an image that data.yaml names; None: not there.

        Below `path`, beside data.yaml, or where the end of the path is found in the data folder.
        """
        root, folder = self._tree.root, description.path.parent
        parts = _parts(text)
        if parts and "*" in parts[-1]:  # images/*.jpg
            parts = parts[:-1]
        base = _parts(description.base)
        places = [[*base[i:], *parts] for i in range(len(base) + 1)]
        places += [parts[i:] for i in range(1, len(parts))]
        for place in places:
            for start in dict.fromkeys((folder, root)):
                path = start.joinpath(*place)
                # Of os.path: a name that is too long for the file system is not there.
                if os.path.isdir(path) and place:
                    return [image for image in self._images if path in image.parents]
                if path.suffix.lower() == ".txt" and os.path.isfile(path):
                    lists.add(path)
                    return self.read(path)
        if not parts and not base:  # "." or "../"
            return [image for image in self._images if folder in image.parents]
        image = self._image(text)
        return None if image is None else [image]

    def _candidates(self, line: str) -> list[Path]:
        """Return the images of the name that a path ends in, else of this name without suffix."""
        name = normal(_parts(line)[-1]).casefold() if _parts(line) else ""
        by_name = self._by_name.get(name, [])
        return by_name or (
            [] if Path(name).suffix in IMAGE_SUFFIXES else self._by_stem.get(name, [])
        )

    def _image(self, line: str) -> Path | None:
        parts, candidates = _parts(line), self._candidates(line)
        if len(candidates) > 1:
            alike = [image for image in candidates if image.name == parts[-1]] or candidates
            shared = {image: _shared(image.parts, parts) for image in alike}
            most = max(shared.values())
            candidates = [image for image in alike if shared[image] == most]
        return candidates[0] if len(candidates) == 1 else None


def _parts(text: str) -> list[str]:
    """Return the parts of a path of any system, without drive, "." and ".."."""
    parts = text.strip().strip("'\"").replace("\\", "/").split("/")
    return [part for part in parts if part not in ("", ".", "..") and not part.endswith(":")]


def _shared(path: Sequence[str], parts: Sequence[str]) -> int:
    pairs = zip(reversed(path), reversed(parts), strict=False)
    return next((i for i, (a, b) in enumerate(pairs) if a != b), len(parts))
