"""Files beside YOLO labels: names of classes, lists of images, and data.yaml, which has both.

Names come from the nearest folder, from the labels' own up to the data folder, that has one of
these files; in one folder the first of them counts, and a list that differs is logged:

    classes.json, classes.txt          a list, or a line for each class
    data.yaml, another *.yaml          `names`, a list or a mapping (Ultralytics, Roboflow)
    *.names, _darknet.labels           a line for each class (darknet, CVAT)
    notes.json                         `categories` (Label Studio)
"""

import logging
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dentalzoo.data.formats.label_maps import read_class_file, read_text
from dentalzoo.data.formats.tree import Tree
from dentalzoo.errors import BadFile

_log = logging.getLogger("dentalzoo")

_MAX_YAML = 1 << 20  # ours, in bytes: 1,000 classes need 20 kB
_MAX_DEPTH = 20  # ours: data.yaml has 2
_SPLIT_KEYS = {
    "train": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
}
_TASKS = ("detect", "segment", "pose", "obb")


@dataclass(frozen=True)
class NameList:
    """The names of class ids in one file; `names` may have gaps."""

    path: Path
    names: dict[int, str]


@dataclass(frozen=True)
class Description:
    """What data.yaml or obj.data says.

    Attributes:
        path: the file.
        base: its `path`, "" where it has none.
        splits: split -> the folders and lists of images that it names.
        task: one of detect, segment, pose, obb; "" where it does not say.
        keypoints: numbers of a line that belong to keypoints; 0 where it does not say.
    """

    path: Path
    base: str = ""
    splits: dict[str, list[str]] = field(default_factory=dict)
    task: str = ""
    keypoints: int = 0


class Lists:
    """The name lists and descriptions of a data folder, each file read once.

    Raises:
        BadFile: data.yaml or a list of names is broken.
    """

    def __init__(self, tree: Tree):
        self._tree = tree
        self.descriptions: list[Description] = []
        self._lists: dict[Path, list[NameList]] = {}
        self._said: set[tuple[Path, Path]] = set()
        for _, path in sorted((rank, p) for p in tree.notes if (rank := _rank(p)) is not None):
            names = self._read(path)
            if names is not None:
                self._lists.setdefault(path.parent, []).append(NameList(path, names))

    def names(self, folder: Path) -> NameList | None:
        """Return the list of names for the labels in a folder; None where there is none."""
        found: list[NameList] = []
        for parent in (folder, *folder.parents):
            found += self._lists.get(parent, [])
            if parent == self._tree.root:
                break
        self._tree.use(*(one.path for one in found))
        for other in found[1:]:
            if other.names != found[0].names and (pair := (found[0].path, other.path)):
                if pair not in self._said:
                    self._say(found[0], other)
                self._said.add(pair)
        return found[0] if found else None

    def elsewhere(self) -> list[str]:
        """Return the lists of names in the data folder, and data.yaml above it, for a hint."""
        above = self._tree.root.absolute().parent / "data.yaml"
        inside = [self._tree.name(one.path) for lists in self._lists.values() for one in lists]
        return inside + (["../data.yaml"] if above.is_file() else [])

    def _say(self, used: NameList, other: NameList) -> None:
        number = next(
            i
            for i in sorted({*used.names, *other.names})
            if used.names.get(i) != other.names.get(i)
        )
        _log.warning(
            "%s names the classes; %s names others: class %d is %r, not %r",
            self._tree.name(used.path),
            self._tree.name(other.path),
            number,
            used.names.get(number),
            other.names.get(number),
        )

    def _read(self, path: Path) -> dict[int, str] | None:
        name, suffix = path.name.lower(), path.suffix.lower()
        if suffix in (".yaml", ".yml"):
            return self._read_yaml(path)
        if suffix == ".data":
            self._read_data(path)
            return None
        if name == "notes.json":
            return _read_notes(self._tree, path)
        lines = read_class_file(path)
        return {i: " ".join(line.split()) for i, line in enumerate(lines) if line.strip()}

    def _read_yaml(self, path: Path) -> dict[int, str] | None:
        usual = path.stem.lower() in ("data", "dataset")
        try:
            content = _load_yaml(path)
        except (OSError, ValueError, RecursionError) as error:
            if usual:
                raise BadFile(
                    path,
                    "must be YAML with names. "
                    f"Received: {' '.join(str(error).split())[:120] or type(error).__name__}",
                ) from error
            return None
        if not isinstance(content, dict) or not {"names", "nc"} & {*content}:
            return None
        names = _yaml_names(path, content)
        splits: dict[str, list[str]] = {}
        for key, split in _SPLIT_KEYS.items():
            values = content.get(key)
            values = values if isinstance(values, list) else [values]
            kept = [value for value in values if isinstance(value, str) and value.strip()]
            if kept:
                splits[split] = splits.get(split, []) + kept
        base, task = content.get("path", ""), content.get("task", "")
        task = task if isinstance(task, str) else ""
        self.descriptions.append(
            Description(
                path,
                base if isinstance(base, str) else "",
                splits,
                task if task in _TASKS else "",
                _keypoint_numbers(path, content.get("kpt_shape")),
            )
        )
        return names

    def _read_data(self, path: Path) -> None:
        """Add the description of darknet's `key = value` lines."""
        try:
            lines = read_text(path).splitlines()
        except (OSError, ValueError):
            return
        values = dict(re.findall(r"^\s*(\w+)\s*=\s*(.*?)\s*$", "\n".join(lines), re.MULTILINE))
        splits = {s: [values[k]] for k, s in _SPLIT_KEYS.items() if values.get(k)}
        if splits and "names" in values:
            self.descriptions.append(Description(path, splits=splits))


def _rank(path: Path) -> tuple[int, str] | None:
    """Return the place of a file among those of its folder; None for other files."""
    name, suffix = path.name.lower(), path.suffix.lower()
    if name in ("classes.json", "classes.txt"):
        return ("classes.json", "classes.txt").index(name), ""
    if suffix in (".yaml", ".yml"):
        usual = ("data", "dataset")
        return 2 + (usual.index(path.stem.lower()) if path.stem.lower() in usual else 2), name
    if suffix == ".names" or name == "_darknet.labels":
        return 5, name
    if name == "notes.json":
        return 6, name
    return (7, name) if suffix == ".data" else None


def _load_yaml(path: Path) -> Any:
    """Return the content of a YAML file with every scalar as text.

    So `no`, `011` and `1.10` stay names. Aliases are refused: a few of them stand for gigabytes.

    Raises:
        ValueError: it is not YAML, too large or too deep, or has an alias.
    """
    import yaml

    if path.stat().st_size > _MAX_YAML:
        raise ValueError(f"more than {_MAX_YAML:,} bytes")
    text = read_text(path)
    try:
        depth = 0
        for token in yaml.scan(text):
            depth += isinstance(token, yaml.FlowSequenceStartToken | yaml.FlowMappingStartToken)
            depth -= isinstance(token, yaml.FlowSequenceEndToken | yaml.FlowMappingEndToken)
            if depth > _MAX_DEPTH:  # each level makes the next one slower
                raise ValueError(f"more than {_MAX_DEPTH} brackets in each other")
            if isinstance(token, yaml.AliasToken):
                raise ValueError("an alias (*name), which is not read")
        return yaml.load(text, Loader=yaml.BaseLoader)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error


def _yaml_names(path: Path, content: dict[str, Any]) -> dict[int, str] | None:
    """Return the names of data.yaml, whose ids are the place in a list or the key of a mapping."""
    names, count = content.get("names"), content.get("nc")
    try:
        size = None if count in (None, "") else int(str(count))
        if names is None or names == "":
            return None if size is None else {i: str(i) for i in range(size)}
        pairs = names.items() if isinstance(names, dict) else enumerate(names)
        if isinstance(names, str) or not all(isinstance(name, str) for _, name in pairs):
            raise ValueError("other things")
        pairs = names.items() if isinstance(names, dict) else enumerate(names)
        ids = {int(key): " ".join(name.split()) for key, name in pairs}
        if min(ids, default=0) < 0 or len(ids) < len(names):
            raise ValueError("ids below 0 or twice")
    except (ValueError, TypeError) as error:
        raise BadFile(
            path,
            "names must be a list, or a mapping from ids to names, and nc their number. "
            f"Received: {' '.join(str(error).split())[:100]}",
        ) from error
    if size is not None and size != len(ids):
        raise BadFile(
            path, f"nc must be the number of names. Received: nc {size}, {len(ids)} names"
        )
    return {number: name for number, name in ids.items() if name}


def _keypoint_numbers(path: Path, shape: Any) -> int:
    if shape is None:
        return 0
    try:
        points, numbers = (int(value) for value in shape)
        if points < 1 or numbers not in (2, 3):
            raise ValueError
    except (ValueError, TypeError):
        raise BadFile(
            path, "kpt_shape must be [number of keypoints, 2 or 3]. Received: something else"
        ) from None
    return points * numbers


def _read_notes(tree: Tree, path: Path) -> dict[int, str] | None:
    """Return the categories of Label Studio's notes.json; None for a file of another kind."""
    if "categories" not in tree.json_keys(path):
        return None
    try:
        categories = tree.json(path)["categories"]
        return {int(one["id"]): " ".join(str(one["name"]).split()) for one in categories}
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise BadFile(
            path,
            "must hold categories, each with an id and a name. "
            f"Received: {type(error).__name__}: {' '.join(str(error).split())[:80]}",
        ) from error


def twice(names: Iterable[str]) -> list[str]:
    """Return the names that stand for several ids."""
    seen: set[str] = set()
    return [name for name in names if name in seen or seen.add(name)]  # type: ignore[func-returns-value]
