"""JSON exports of the tool Label Studio: boxes, polygons, brushes and predictions.

A file holds a list of tasks (the exports JSON and JSON-MIN), one task, or one annotation with its
task. What is drawn is a result: a list of regions in parts in a hundred of their image.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from dentalzoo.data.formats.base import (
    BoxSample,
    Content,
    ImageAnnotation,
    ParsedAnnotations,
    Place,
    Purpose,
)
from dentalzoo.data.formats.label_studio.regions import read_regions, shape_of
from dentalzoo.data.formats.label_studio.writer import class_list, write_project
from dentalzoo.data.formats.references import ImageReferences, refuse_broken_json
from dentalzoo.data.formats.rules import image_size
from dentalzoo.data.formats.shapes import finish
from dentalzoo.data.formats.tree import Tree, split_first, split_of_file, split_word
from dentalzoo.data.formats.writing import other_extents
from dentalzoo.errors import BadFile

NAME = "Label Studio"
HOLDS: tuple[Content, ...] = ("boxes", "polygons", "masks", "names", "splits")
WRITES: tuple[Content, ...] = ("boxes", "polygons", "masks", "names", "splits")
READS: tuple[Purpose, ...] = ("boxes", "masks")
lost = other_extents

_IN_DATA = ("data", "annotations", "completions", "predictions", "drafts", "task", "result")


@dataclass
class _Task:
    """A task with what was drawn on it."""

    source: Path
    name: str
    data: dict[str, Any]
    annotations: list[dict[str, Any]] = field(default_factory=list)
    predictions: list[dict[str, Any]] = field(default_factory=list)
    drafts: int = 0
    split: str = ""  # of the file


def sniff(tree: Tree) -> str:
    """Name a list of tasks, each with data and annotations, completions or predictions."""
    for content in tree.json_samples():
        task = content[0] if isinstance(content, list) and content else content
        if isinstance(task, dict) and _is_task({*task}):
            return f"Label Studio JSON ({_kind(task)})"
    return ""


def _is_task(keys: Iterable[str]) -> bool:
    keys = {*keys}
    if "data" in keys and keys & {"annotations", "completions", "predictions"}:
        return True
    return "annotation_id" in keys or {"task", "result"} <= keys  # JSON-MIN; a target storage


def _kind(task: dict[str, Any]) -> str:
    """Return what the first region of a task is."""
    listed = task.get("annotations") or task.get("completions") or task.get("predictions")
    for annotation in listed if isinstance(listed, list) else ():
        regions = annotation.get("result") if isinstance(annotation, dict) else None
        for region in regions if isinstance(regions, list) else ():
            kind = str(region.get("type")) if isinstance(region, dict) else ""
            for word, name in (("polygon", "polygons"), ("brush", "masks"), ("rectangle", "boxes")):
                if kind.startswith(word):
                    return name
    return "regions"


def read(tree: Tree, purpose: Purpose) -> ParsedAnnotations:
    """Read the annotation of each task: the first one that was not cancelled, the truth before it.

    Predictions are read where no task has an annotation, which is reported.
    """
    parsed = ParsedAnnotations(images=tree.entries[0])
    images = ImageReferences(entry.path for entry in parsed.images)
    tasks = list(_tasks(tree, parsed, images))
    predicted = not any(task.annotations for task in tasks)
    for task in tqdm(tasks, "reading Label Studio", leave=False, disable=None):
        _read_task(parsed, images, task, predicted)
    classes = class_list(tree) if tasks else None
    return finish(tree, parsed, purpose, classes, percent=True)


def write(samples: Sequence[BoxSample], out: Path, classes: Sequence[str], place: Place) -> Path:
    """Write `images/`, `tasks.json` and `config.xml`; return the tasks, which are imported.

    Where a box has a score, all are predictions, which annotators see and correct.
    """
    return write_project(samples, out, classes, place)


# ---- tasks ---------------------------------------------------------------------------------------


def _tasks(tree: Tree, parsed: ParsedAnnotations, images: ImageReferences) -> Iterator[_Task]:
    for path in split_first(tree, tree.notes_of(".json")):
        keys = tree.json_keys(path)
        if not keys and not images.of_stem(path.stem, path):  # else it is LabelMe's to report
            refuse_broken_json(tree, parsed, path, ())
        if not _is_task(keys):
            continue
        content = tree.json(path)
        entries = content if isinstance(content, list) else [content]
        notes, split = tree.json_notes(path), split_of_file(tree, path)
        parsed.repaired += [(tree.name(path), note) for note in notes]
        for number, entry in enumerate(entries, start=1):
            name = tree.name(path) if entry is content else f"{tree.name(path)}: task {number}"
            if not isinstance(entry, dict):
                parsed.refuse(name, f"a task must be an object. Received: {str(entry)[:40]!r}")
            else:
                yield replace(_task(path, name, entry), split=split)


def _task(path: Path, name: str, entry: dict[str, Any]) -> _Task:
    if "task" in entry and "result" in entry:  # an annotation, as a target storage holds it
        inner = entry["task"] if isinstance(entry["task"], dict) else {}
        return _Task(path, name, _dict(inner.get("data")), [entry])
    if "data" in entry:
        annotations = _dicts(entry.get("annotations")) or _dicts(entry.get("completions"))
        drafts = _dicts(entry.get("drafts"))
        predictions = _dicts(entry.get("predictions"))
        return _Task(path, name, _dict(entry["data"]), annotations, predictions, len(drafts))
    data = {k: v for k, v in entry.items() if isinstance(v, str)}
    # JSON-MIN: the values of the regions alone, under the names of their tags
    values = [v for k, v in entry.items() if k not in _IN_DATA and isinstance(v, list)]
    items = [_min_item(value) for listed in values for value in listed if isinstance(value, dict)]
    return _Task(path, name, data, [{"result": items}])


def _min_item(value: dict[str, Any]) -> dict[str, Any]:
    """Return the item of a value; a shape and its labels may stand under two tags."""
    kind = next((key for key in value if key.endswith("labels") and key != "labels"), "labels")
    sizes = {key: value.get(key) for key in ("original_width", "original_height")}
    geometry = {key: value[key] for key in sorted(value) if not key.endswith("labels")}
    own = {"id": json.dumps(geometry), "value": value, **sizes}
    return {**own, "type": kind if kind != "labels" or "labels" in value else shape_of(value)}


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


# ---- one task ------------------------------------------------------------------------------------


def _read_task(
    parsed: ParsedAnnotations, images: ImageReferences, task: _Task, predicted: bool
) -> None:
    found, file_name = _images_of(images, task)
    name = f"{task.name}, {file_name}" if file_name else task.name
    if len(found) != 1:
        what = f"a task of {len(found)} images" if found else "annotation without image"
        parsed.refuse(name, what, found)
        return
    chosen, notes, reason = _chosen(task, predicted)
    if chosen is None:
        parsed.refuse(name, reason, found)
        return
    items = chosen.get("result")
    if not isinstance(items, list):
        parsed.refuse(name, f"result must be a list. Received: {str(items)[:40]!r}", found)
        return
    annotation = ImageAnnotation(task.source, name, repaired=notes)
    try:
        read_regions(annotation, items, image_size(found[0])[0])
    except BadFile as error:
        parsed.refuse(name, error.reason, found)
        return
    parsed.assign(found, annotation)
    split = split_word(str(task.data.get("split", ""))) or task.split
    if split and parsed.annotations.get(found[0]) is annotation:
        parsed.splits[found[0]] = split
        parsed.split_source = "the tasks"


def _images_of(images: ImageReferences, task: _Task) -> tuple[list[Path], str]:
    """Return the images that the data of a task name, and the name of the first."""
    found: dict[Path, None] = {}
    shown = ""
    for value in task.data.values():
        for text in [value] if isinstance(value, str) else value if isinstance(value, list) else []:
            if not isinstance(text, str) or len(text) > 4096 or text.startswith("data:"):
                continue
            here = images.find(text, task.source, uploaded=True)
            found.update(dict.fromkeys(here))
            if (here or not shown) and ("/" in text or "." in text):
                shown = text.replace("\\", "/").rpartition("/")[2][-80:]
    return list(found), shown


def _chosen(task: _Task, predicted: bool) -> tuple[dict[str, Any] | None, list[str], str]:
    """Return the annotation of a task that counts, what is to be reported, or why there is none."""
    done = [a for a in task.annotations if not (a.get("was_cancelled") or a.get("skipped"))]
    if done:
        truth = [a for a in done if a.get("ground_truth")]
        notes = []
        if len(done) > 1:
            which = "the one marked as ground truth" if truth else "the first one"
            notes.append(f"{len(done)} annotations of a task; {which} counts")
        return (truth or done)[0], notes, ""
    if task.annotations:
        return None, [], "the annotation was cancelled"
    if task.predictions and predicted:
        first = task.predictions[0]
        model = str(first.get("model_version") or "")[:60]
        note = f"a prediction{f' of {model!r}' if model else ''}, not an annotation"
        if len(task.predictions) > 1:
            note += f"; the first of {len(task.predictions)} counts"
        return first, [note], ""
    if task.predictions:
        return None, [], "a task with predictions alone, beside tasks with annotations"
    return None, [], "a task with a draft alone" if task.drafts else "a task without annotation"
