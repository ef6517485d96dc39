"""The content of a data folder from one walk: images, other files, splits in folder names."""

import json
import logging
import os
import re
from collections import defaultdict, deque
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from dentalzoo.data.formats.names import SPLITS as SPLITS
from dentalzoo.data.formats.names import boundary_word, role_of
from dentalzoo.data.formats.names import normal as normal
from dentalzoo.data.formats.names import split_word as split_word
from dentalzoo.data.formats.results import holds_results, predictions_among
from dentalzoo.data.io.images import natural_key
from dentalzoo.data.io.listing import report_objects, what_else
from dentalzoo.errors import DentalzooError

UNDERSTOOD = (
    "images/ beside masks/ (also <split>/<split>_images and <split>/<split>_mask), x.jpg beside "
    "x_mask.png or x.jpg_mask.png, or COCO JSON (such as *annotations.coco.json) with the images"
)

_RECORDS = re.compile(r".+\.(tf)?records?(-\d+-of-\d+)?", re.IGNORECASE)
_MAY_ANNOTATE = (".json", ".xml", ".txt", ".vott")
_MAX_DEPTH = 5  # the deepest layout known has 4: <download>/<data set>/<split>/<split>_images
_MAX_FOLDERS = 10_000  # beyond it the path is a mistake, such as a home folder
_MAX_KEPT_JSON = 64 << 20  # ours: bytes of JSON files whose content stays in memory


@dataclass(frozen=True)
class Folder:
    """A folder that holds images.

    Attributes:
        path: the folder.
        role: "images", "masks" or "" by its name.
        key: the same for a folder of images and its folder of masks.
        split: one of `SPLITS`, or "".
        images: its image files, in natural order.
    """

    path: Path
    role: str
    key: tuple[str, ...]
    split: str
    images: list[Path]


@dataclass(frozen=True)
class FileEntry:
    """A file of a data set: an image, or a mesh.

    Attributes:
        path: the file.
        folder: the folder that lists it; None for a mesh.
        partner: the file that belongs to it: the mask of an image, the labels of a mesh.
        name: unique in its data set.
        group: files of one group lie in one split.
        label: what it shows, as a folder or a table names it; "" where nothing does.
        split: one of `SPLITS`, or "".
    """

    path: Path
    folder: Folder | None = None
    partner: Path | None = None
    name: str = ""
    group: str = ""
    label: str = ""
    split: str = ""


@dataclass(frozen=True)
class Skip:
    """A file or a table row that is not used, and the reason."""

    name: str
    reason: str
    split: str = ""


@dataclass(frozen=True)
class Tree:
    """The content of a data folder, before images are matched with annotations.

    Attributes:
        root: the data folder.
        folders: every folder with images, from the top down.
        coco: *annotations.coco.json.
        split_csv: split.csv in the data folder, in any case.
        unreadable: broken links and folders that are named like images.
        notes: all other files; those that may hold annotations are among them.
        records: TFRecord files.
        too_deep: folders that are not read, because they lie too deep.
        results: folders of a trainer's results, which are not read.
        predictions: files and projects that `dentalzoo predict` wrote, which are not read.
        used: the files that something was read from, besides images, masks and annotations.
        other_formats: phrases for what is there of annotation formats that are not used.
    """

    root: Path
    folders: list[Folder]
    coco: list[Path]
    split_csv: Path | None
    unreadable: list[Path]
    notes: list[Path] = field(default_factory=list)
    records: list[Path] = field(default_factory=list)
    too_deep: list[Path] = field(default_factory=list)
    results: list[Path] = field(default_factory=list)
    predictions: list[Path] = field(default_factory=list)
    used: set[Path] = field(default_factory=set, repr=False, compare=False)
    other_formats: list[str] = field(default_factory=list, repr=False, compare=False)
    _json: dict[Path, Any] = field(default_factory=dict, repr=False, compare=False)
    _json_bytes: list[int] = field(default_factory=list, repr=False, compare=False)
    _json_keys: dict[Path, frozenset[str]] = field(default_factory=dict, repr=False, compare=False)
    _json_recoded: set[Path] = field(default_factory=set, repr=False, compare=False)

    @cached_property
    def images_by_name(self) -> dict[str, list[tuple[Path, Folder]]]:
        """File name -> the images of that name outside of folders of masks."""
        images = defaultdict(list)
        for folder in self.folders:
            for image in folder.images if folder.role != "masks" else ():
                images[normal(image.name)].append((image, folder))
        return images

    @cached_property
    def images_by_loose_name(self) -> dict[str, list[tuple[Path, Folder]]]:
        """The same by names in lower case."""
        images: dict[str, list[tuple[Path, Folder]]] = defaultdict(list)
        for name, pairs in self.images_by_name.items():
            images[name.casefold()] += pairs
        return images

    @cached_property
    def entries(self) -> tuple[list[FileEntry], list[Skip]]:
        """The images of the data set, each with its mask where there is one, and unusable masks."""
        from dentalzoo.data.formats.pairing import find_entries

        return find_entries(self)

    @cached_property
    def boundary_folders(self) -> list[Folder]:
        """The folders of boundary drawings."""
        return [folder for folder in self.folders if boundary_key(self, folder)]

    @cached_property
    def boundary_paths(self) -> frozenset[Path]:
        """The paths of `boundary_folders`."""
        return frozenset(folder.path for folder in self.boundary_folders)

    def use(self, *paths: Path) -> None:
        """Note that files are used, so that they are not listed as unused."""
        self.used.update(paths)

    def notes_of(self, *suffixes: str) -> list[Path]:
        """Return the files of `notes` that end in one of `suffixes`, which are lower case."""
        return [path for path in self.notes if path.suffix.lower() in suffixes]

    def json(self, path: Path) -> Any:
        """Return the content of a JSON file, which is parsed once.

        Beyond 64 MB of files in all, contents are not kept and would be parsed again.

        Raises:
            OSError: the file cannot be read.
            ValueError: it is not JSON.
            RecursionError: it is nested too deeply.
        """
        if path in self._json:
            return self._json[path]
        text = path.read_bytes()
        try:
            content = json.loads(text)
        except UnicodeDecodeError:
            content = json.loads(text.decode("cp1252"))
            self._json_recoded.add(path)
        # The first file is kept whatever its size: a large data set has one file for all images.
        total = len(text) + (self._json_bytes[-1] if self._json_bytes else 0)
        if not self._json or total <= _MAX_KEPT_JSON:
            self._json[path] = content
            self._json_bytes.append(total)
        return content

    def json_notes(self, path: Path) -> list[str]:
        """Return what was corrected in a JSON file that has been read: a text that is not UTF-8."""
        recoded = path in self._json_recoded
        return ["the text is not UTF-8; read as Windows-1252"] if recoded else []

    def json_keys(self, path: Path) -> frozenset[str]:
        """Return the keys of a JSON file's object, by which formats recognise their files.

        Of a list, the keys of its first element and "[]". Empty for anything else, and for a file
        that cannot be read. The file is parsed once.
        """
        if path not in self._json_keys:
            try:
                content = self.json(path)
            except (OSError, ValueError, RecursionError):
                content = None
            is_list = isinstance(content, list) and bool(content)
            first = content[0] if is_list else content
            keys = {str(key) for key in first} if isinstance(first, dict) else set()
            self._json_keys[path] = frozenset(keys | {"[]"} if is_list and keys else keys)
        return self._json_keys[path]

    def json_samples(self, count: int = 3) -> Iterator[Any]:
        """Yield the content of the first JSON files of `notes`, up to `count`.

        Files that are not JSON and files of more than 64 MB are left out.
        """
        for path in self.notes_of(".json")[:count]:
            try:
                if path.stat().st_size <= _MAX_KEPT_JSON:
                    yield self.json(path)
            except (OSError, ValueError, RecursionError):
                continue

    def name(self, path: Path) -> str:
        """Return a path relative to the data folder, with forward slashes."""
        text, root = str(path), f"{self.root}{os.sep}"  # ten times faster than pathlib
        if text.startswith(root):
            return text[len(root) :].replace(os.sep, "/")
        return path.relative_to(self.root).as_posix()

    def summary(self) -> str:
        """Return one phrase for error messages: the folders with images, and the first files."""
        folders = [f"{self.name(f.path)}/ ({len(f.images)} images)" for f in self.folders]
        files = [self.name(path) for path in (*self.coco, *self.records)]
        deep = [f"{self.name(path)}/, which lies too deep" for path in self.too_deep]
        projects = [f"{self.name(p)}/, results of predict" for p in self.predictions if p.is_dir()]
        listed = folders[:6] + files[:3] + deep[:1] + projects[:3]
        more = len(folders) + len(files) + len(deep) + len(projects) - len(listed)
        return (", ".join(listed) or "no image at all") + (f" and {more} more" if more else "")


# ---- the walk ------------------------------------------------------------------------------------


def scan(root: Path, depth: int = _MAX_DEPTH) -> Tree:
    """Walk `root`, `depth` folders deep and without hidden ones, and sort what it holds.

    Raises:
        DentalzooError: `root` is not a folder, or holds more than 10,000 folders.
    """
    if not root.is_dir():
        if known := _known_annotations(root):
            raise DentalzooError(
                f"{root}: must be a data folder; give the folder that holds this file and its "
                f"images. Received: a file, {known}"
            )
        what = "a file" if root.exists() else "no such folder"
        raise DentalzooError(f"{root}: must be a data folder with {UNDERSTOOD}. Received: {what}")
    walk = _Walk(root)
    walk.enter(root, depth)
    for project in list(walk.projects):
        # VoTT projects without images annotate those of the data, where nothing else does.
        if not walk.folders or not (walk.is_annotated or any(project.glob("*/"))):
            walk.projects.remove(project)
            walk.read.append(project)
    for project in walk.read:
        walk.enter(project, depth - 1)
    report_objects(root, walk.notes)
    tree = Tree(
        root,
        walk.folders,
        walk.coco,
        find_table(root, "split.csv"),
        walk.unreadable,
        walk.notes,
        walk.records,
        walk.too_deep,
        walk.results,
        walk.predictions + walk.projects,
    )
    if walk.read:
        from dentalzoo.data.formats.base import notice_once

        names = ", ".join(f"{tree.name(path)}/" for path in walk.read)
        what = f"results of predict are read as data, since there are no other: {names}"
        notice_once(what, root, logging.INFO)
    return tree


def _known_annotations(file: Path) -> str:
    """Return what a file holds of an annotation format; "" for any other file."""
    from dentalzoo.data.formats import FORMATS

    if not file.is_file() or not what_else(file):
        return ""
    is_coco = file.name.lower().endswith("annotations.coco.json")
    is_record = bool(_RECORDS.fullmatch(file.name))
    listed = [[file] if one else [] for one in (is_coco, is_record, not (is_coco or is_record))]
    tree = Tree(file.parent, [], listed[0], None, [], notes=listed[2], records=listed[1])
    return next((what for form in FORMATS if (what := form.sniff(tree))), "")


class _Walk:
    """Sorts the content of folders; the attributes are those of `Tree`.

    Attributes:
        projects: of annotation tools, that predict wrote and that were not entered.
        read: those that are.
    """

    def __init__(self, root: Path):
        self._root = root
        self._visited: set[Path] = set()
        self.folders: list[Folder] = []
        self.coco: list[Path] = []
        self.unreadable: list[Path] = []
        self.notes: list[Path] = []
        self.records: list[Path] = []
        self.too_deep: list[Path] = []
        self.results: list[Path] = []
        self.predictions: list[Path] = []
        self.projects: list[Path] = []
        self.read: list[Path] = []

    @property
    def is_annotated(self) -> bool:
        """Whether files may annotate images."""
        listed = (path for path in self.notes if path.suffix.lower() in _MAY_ANNOTATE)
        return bool(self.coco or self.records or any(listed))

    def enter(self, start: Path, depth: int) -> None:
        """Walk a folder, `depth` folders deep.

        Raises:
            DentalzooError: there are more than 10,000 folders.
        """
        waiting = deque([(start, depth)])
        while waiting:
            path, deeper = waiting.popleft()
            real = path.resolve()
            if real in self._visited:  # a link to a folder above
                continue
            self._visited.add(real)
            if len(self._visited) > _MAX_FOLDERS:
                raise DentalzooError(
                    f"{self._root}: must hold one data set with {UNDERSTOOD}. "
                    f"Received: more than {_MAX_FOLDERS:,} folders"
                )
            images: list[Path] = []
            entries = sorted(path.iterdir(), key=natural_key)
            predicted = predictions_among(self._root, path, entries)
            for entry in entries:
                if entry.name.startswith((".", "__MACOSX")):
                    continue
                if entry in predicted:
                    (self.projects if entry.is_dir() else self.predictions).append(entry)
                elif not what_else(entry):
                    (images if entry.is_file() else self.unreadable).append(entry)
                elif entry.is_dir():
                    if holds_results(entry):
                        self.results.append(entry)
                    elif deeper:
                        waiting.append((entry, deeper - 1))
                    else:
                        self.too_deep.append(entry)
                elif entry.name.lower().endswith("annotations.coco.json"):
                    self.coco.append(entry)
                elif _RECORDS.fullmatch(entry.name):
                    self.records.append(entry)
                else:
                    self.notes.append(entry)
            if images:
                role, key = role_of(path.relative_to(self._root).parts)
                split = split_of(self._root, path)
                self.folders.append(Folder(path, role, key, split, images))


def find_table(folder: Path, name: str) -> Path | None:
    """Return the file `name` in a folder, or one whose name differs in case alone."""
    path = folder / name
    if path.is_file():
        return path
    try:
        listed = os.listdir(folder)
    except OSError:
        return None
    others = sorted(folder / other for other in listed if other.casefold() == name)
    return next((path for path in others if path.is_file()), None)


def boundary_key(tree: Tree, folder: Folder) -> tuple[str, ...] | None:
    """Return the `Folder.key` of the images that a folder of boundary drawings belongs to.

    None where the name of the folder does not end in "boundary" or "boundaries".
    """
    return boundary_word(folder.path.relative_to(tree.root).parts)


def split_of(root: Path, path: Path) -> str:
    """Return the split in the name of the folder `path`, or of the nearest one above it.

    Folders above `root` do not count; "" where no name has a split.
    """
    parts = path.relative_to(root).parts
    return next((word for part in reversed(parts) if (word := split_word(part))), "")


def split_of_file(tree: Tree, path: Path) -> str:
    """Return the split in the name of an annotation file, else of its folder."""
    return split_word(path.name) or split_of(tree.root, path.parent)


def split_first(tree: Tree, paths: Iterable[Path]) -> list[Path]:
    """Return annotation files, those of a split first: test, val, train, then those of all images.

    The first file that lists an image counts: with `all.json` beside `test.json`, the test split
    must not be lost.
    """
    order = (*SPLITS[::-1], "")
    return sorted(paths, key=lambda path: order.index(split_of_file(tree, path)))


def skip_alone(
    tree: Tree, entries: Sequence[FileEntry], known: Container[Path], reason: str
) -> list[Skip]:
    """Return the skips of `skip_unused` for the images that are not `known`, folder by folder."""
    alone: dict[Path, list[Path]] = {}
    folders: dict[Path, Folder] = {}
    for entry in entries:
        if entry.folder:
            folders[entry.folder.path] = entry.folder
            images = alone.setdefault(entry.folder.path, [])
            images += [] if entry.path in known else [entry.path]
    return [
        skip
        for path, images in alone.items()
        for skip in skip_unused(tree, folders[path], images, reason)
    ]


def skip_unused(tree: Tree, folder: Folder, images: Sequence[Path], reason: str) -> list[Skip]:
    """Return a skip for each of `images`, with `reason`.

    None for a folder that is named neither images nor after a split and of which no image is used:
    it holds something else, such as previews, results or other annotations, and is listed as a
    whole where nothing else uses it.
    """
    if not folder.role and not folder.split and len(images) == len(folder.images):
        return []
    return [Skip(tree.name(image), reason, folder.split) for image in images]
